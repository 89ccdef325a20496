//! Nodes whose calls to the system fail: a library that is loaded before the C library (shim/fault.c), built once and
//! told by environment variables what is to fail.

use crate::{Federation, shipped};
use std::{
    env, fs,
    path::{Path, PathBuf},
    process::{Command, id},
    sync::OnceLock,
};

/// What fails in a node's process, from the start or once it is armed.
#[derive(Debug, Clone, Copy)]
pub struct SystemFault<'f> {
    /// `sync`, `write` or `open`, several with commas.
    pub call: &'f str,
    /// A part of the path.
    pub path: &'f str,
    /// `EIO`, `ENOSPC` or `EMFILE`.
    pub error: &'f str,
    /// So many such calls fail; 0: all.
    pub times: u64,
}

/// The library, if there is a C compiler; without one the test says so and is skipped.
pub fn shim() -> Option<&'static Path> {
    static SHIM: OnceLock<Option<PathBuf>> = OnceLock::new();
    let built = SHIM.get_or_init(|| {
        let built = build();
        if let Err(why) = &built {
            println!("SKIPPED: calls to the system cannot be made to fail: {why}");
        }
        built.ok()
    });
    built.as_deref()
}

fn build() -> Result<PathBuf, String> {
    let test = env::current_exe().map_err(|e| e.to_string())?;
    let target = test.ancestors().nth(3).ok_or("no folder for what is built")?.join("tmp");
    fs::create_dir_all(&target).map_err(|e| e.to_string())?;
    // Other processes of tests build it too: each under a name of its own, then in place at once.
    let (new, library) = (target.join(format!("fault-{}.so", id())), target.join("fault.so"));
    let mut cc = Command::new("cc");
    cc.args(["-shared", "-fPIC", "-O1", "-Wall", "-Werror", "-o"])
        .arg(&new)
        .arg(shipped("tests/shim/fault.c"))
        .arg("-ldl");
    let ran = match cc.output() {
        Err(e) => return Err(format!("there is no `cc` ({e})")),
        Ok(ran) => ran,
    };
    assert!(ran.status.success(), "shim/fault.c does not compile:\n{}", String::from_utf8_lossy(&ran.stderr));
    fs::rename(&new, &library).map_err(|e| e.to_string())?;
    Ok(library)
}

/// Beside a node's config: what is in its environment at its next start.
fn file(config: &str) -> PathBuf {
    Path::new(config).with_file_name("environment")
}

/// What a node with this config has in its environment, beside what the test has.
pub(crate) fn environment(config: &str) -> Vec<(String, String)> {
    let lines = fs::read_to_string(file(config)).unwrap_or_default();
    let pair = |line: &str| line.split_once('=').map(|(name, value)| (name.to_owned(), value.to_owned()));
    lines.lines().filter_map(pair).collect()
}

impl Federation {
    /// From its next start on this fails in the node's process, while it is armed.
    pub fn will_fail(&self, division: &str, shim: &Path, fault: SystemFault<'_>) {
        let SystemFault { call, path, error, times } = fault;
        let set = [
            ("LD_PRELOAD", shim.to_string_lossy().into_owned()),
            ("TALLY_FAULT_CALL", call.into()),
            ("TALLY_FAULT_PATH", path.into()),
            ("TALLY_FAULT_ERROR", error.into()),
            ("TALLY_FAULT_TIMES", times.to_string()),
            ("TALLY_FAULT_ARMED", self.armed(division)),
        ];
        let lines: String = set.iter().map(|(name, value)| format!("{name}={value}\n")).collect();
        fs::write(file(&self.config(division)), lines).unwrap();
    }

    /// From its next start on the clock on the node's wall is so many seconds ahead.
    pub fn clock_ahead(&self, division: &str, shim: &Path, seconds: i64) {
        let lines = format!("LD_PRELOAD={}\nTALLY_FAULT_CLOCK={seconds}\n", shim.display());
        fs::write(file(&self.config(division)), lines).unwrap();
    }

    /// From its next start on nothing is made to fail.
    pub fn will_work(&self, division: &str) {
        self.disarm(division);
        let _ = fs::remove_file(file(&self.config(division)));
    }

    fn armed(&self, division: &str) -> String {
        self.file(division, "fault.armed")
    }

    /// What is to fail fails from now on.
    pub fn arm(&self, division: &str) {
        fs::write(self.armed(division), "").unwrap();
    }

    /// What was to fail works from now on.
    pub fn disarm(&self, division: &str) {
        let _ = fs::remove_file(self.armed(division));
    }
}
