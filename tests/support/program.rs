//! The program under test: the `tally` that belongs to the profile of the running test.

use serde_json::Value;
use std::{
    env,
    ffi::{OsStr, OsString},
    fs::File,
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
    sync::OnceLock,
};

/// The binary under test. Cargo builds it first where it is not fresh, once for each process of tests; `TALLY_BIN` names
/// one that is taken as it is.
pub fn tally() -> &'static Path {
    static PROGRAM: OnceLock<Result<PathBuf, String>> = OnceLock::new();
    let found = PROGRAM.get_or_init(|| match env::var_os("TALLY_BIN") {
        Some(path) => named(path.into()),
        None => Place::of_this_test()?.build(),
    });
    found.as_ref().unwrap_or_else(|why| panic!("there is no program to test: {why}"))
}

fn named(path: PathBuf) -> Result<PathBuf, String> {
    // Tests run it in other folders too.
    path.canonicalize().map_err(|e| format!("TALLY_BIN={}: {e}", path.display()))
}

/// Where cargo puts what it builds for the running test.
#[derive(Debug)]
struct Place {
    target: PathBuf,
    /// Only with `--target`.
    triple: Option<OsString>,
    /// Name of the profile's folder.
    profile: OsString,
    /// `target[/triple]/profile`
    folder: PathBuf,
}

impl Place {
    /// From the path of the running test, `target[/triple]/profile/deps/name`.
    fn of_this_test() -> Result<Self, String> {
        let test = env::current_exe().map_err(|e| format!("the path of this test: {e}"))?;
        let elsewhere = || format!("{} is not where cargo puts tests; TALLY_BIN may name a program", test.display());
        let deps = test.parent().filter(|p| p.ends_with("deps")).ok_or_else(elsewhere)?;
        let folder = deps.parent().ok_or_else(elsewhere)?;
        let name = |path: &Path| path.file_name().map(OsStr::to_owned);
        let (above, profile) = folder.parent().zip(name(folder)).ok_or_else(elsewhere)?;
        // With `--target`, the folder of the triple lies between.
        let is_target = |path: &&Path| [".rustc_info.json", "CACHEDIR.TAG"].iter().any(|mark| path.join(mark).exists());
        let (target, triple) = match above.parent().filter(is_target) {
            Some(target) if !is_target(&above) => (target, name(above)),
            _ => (above, None),
        };
        Ok(Self { target: target.to_owned(), triple, profile, folder: folder.to_owned() })
    }

    /// Makes sure that the program is fresh. `cargo test` has released its lock when tests run, so cargo can be run again.
    fn build(&self) -> Result<PathBuf, String> {
        let lock = self.folder.join("tally-tests.lock");
        // Held until the build is over: other processes of tests wait here and then find everything fresh.
        let lock = File::create(&lock).and_then(|f| f.lock().map(|()| f)).map_err(|e| format!("{lock:?}: {e}"))?;
        let mut command = self.command();
        let ran = command.output().map_err(|e| format!("{command:?}: {e}"))?;
        drop(lock);
        if !ran.status.success() {
            let said = String::from_utf8_lossy(&ran.stderr);
            let args: Vec<_> = command.get_args().map(OsStr::to_string_lossy).collect();
            return Err(format!("`cargo {}` failed, {}:\n{said}", args.join(" "), ran.status));
        }
        Ok(self.folder.join("tally"))
    }

    fn command(&self) -> Command {
        let mut command = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
        command.args(["build", "--quiet", "--locked", "--bin", "tally"]);
        // Together with this package, so that the dependencies have the features with which they were built for it.
        command.args(["--package", "tally-node", "--package", "tally-tests"]);
        command.args(["--manifest-path", &crate::shipped("Cargo.toml")]).arg("--target-dir").arg(&self.target);
        // The profile whose folder is called debug is called dev.
        if self.profile != "debug" {
            command.arg("--profile").arg(&self.profile);
        }
        if let Some(triple) = &self.triple {
            command.arg("--target").arg(triple);
        }
        // What cargo tells a test about its package would look like a change to the packages that read it.
        let of_package = |name: &OsString| {
            let name = name.to_string_lossy();
            ["CARGO_PKG_", "CARGO_MANIFEST_", "CARGO_BIN_EXE_"].iter().any(|p| name.starts_with(p))
        };
        env::vars_os().map(|(name, _)| name).filter(of_package).for_each(|name| {
            command.env_remove(name);
        });
        command.stdin(Stdio::null());
        command
    }
}

/// What a command did.
#[derive(Debug)]
pub struct Ran {
    pub code: i32,
    pub out: String,
    pub err: String,
}

impl Ran {
    /// The end of a command whose output was kept.
    pub fn of(output: Output) -> Self {
        let text = |bytes| String::from_utf8(bytes).expect("output is UTF-8");
        Self { code: output.status.code().unwrap_or(-1), out: text(output.stdout), err: text(output.stderr) }
    }

    /// stdout of a command that must have gone well.
    pub fn done(self) -> String {
        assert_eq!(self.code, 0, "{self:?}");
        self.out
    }

    /// stdout as one JSON document; null if there is nothing at all.
    pub fn json(&self) -> Value {
        if self.out.is_empty() {
            return Value::Null;
        }
        serde_json::from_str(&self.out).unwrap_or_else(|e| panic!("not one JSON document: {e}: {self:?}"))
    }
}

/// Runs `tally` to its end.
pub fn run(args: &[&str]) -> Ran {
    Ran::of(Command::new(tally()).args(args).output().unwrap())
}
