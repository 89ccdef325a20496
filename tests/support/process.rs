//! Nodes as processes: start, stop, kill, and what the system says of them.

use crate::{Federation, log::OF_A_KILL, poll, program::tally, seconds, shim::environment, wait_for};
use std::{
    collections::BTreeMap,
    fs::{self, File},
    io::Write as _,
    path::Path,
    process::{Child, Command, ExitStatus, Stdio},
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
    time::Duration,
};

const READY_WITHIN: Duration = Duration::from_secs(60);
const STOP_WITHIN: Duration = Duration::from_secs(10);
/// "Start me again", of the exit codes.
const AGAIN: i32 = 75;
/// Ended nodes are looked for this often.
const TENDED_EVERY: Duration = Duration::from_millis(20);
/// How the system says that a port is taken.
const IN_USE: &str = "Address already in use";
/// Stands in a node's log file before the output of each start.
const START: &str = "---- start ----";

impl Federation {
    fn processes(&self) -> MutexGuard<'_, BTreeMap<String, Child>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Starts a node and waits until it says that it is ready.
    pub fn start(&self, division: &str) {
        self.spawn(division);
        self.ready(division);
    }

    /// Starts a node and does not wait.
    pub fn spawn(&self, division: &str) {
        let (config, log) = (self.config(division), self.file(division, "node.log"));
        let before = self.processes().insert(division.into(), launch(&config, &log));
        assert!(before.is_none(), "{division} runs already");
        let (running, division) = (Arc::downgrade(&self.running), division.to_owned());
        std::thread::spawn(move || start_again(&running, &division, &config, &log));
    }

    pub fn ready(&self, division: &str) {
        let ready = poll(READY_WITHIN, || {
            let log = self.log(division);
            let last = log.rsplit(START).next().unwrap_or_default();
            let said = last.lines().any(|l| l.starts_with("ready "));
            let ended = !said && self.ended(division).is_some();
            if ended && last.contains(IN_USE) {
                // Some other program has the port just now; no test has.
                self.processes().remove(division);
                self.spawn(division);
                return None;
            }
            (said || ended).then_some(said)
        });
        assert_eq!(ready, Some(true), "{division} is not ready:\n{}", self.tail(division));
    }

    /// Ends a node that refuses to start, and answers how it did.
    pub fn refused(&self, division: &str) -> i32 {
        self.spawn(division);
        let status = poll(seconds(20), || self.ended(division));
        if let Some(mut child) = self.processes().remove(division) {
            end(&mut child);
        }
        let code = status.and_then(|s| s.code());
        code.unwrap_or_else(|| panic!("{division} runs, but should not:\n{}", self.tail(division)))
    }

    /// A node that runs ends by itself, and answers how.
    pub fn ends(&self, division: &str) -> i32 {
        let status = wait_for("the node ends", STOP_WITHIN, || self.ended(division));
        self.processes().remove(division);
        status.code().unwrap_or(-1)
    }

    fn ended(&self, division: &str) -> Option<ExitStatus> {
        self.processes().get_mut(division)?.try_wait().unwrap()
    }

    fn take(&self, division: &str) -> Child {
        if let Some(status) = self.ended(division) {
            panic!("{division} ended by itself ({status}):\n{}", self.tail(division));
        }
        self.processes().remove(division).unwrap_or_else(|| panic!("{division} does not run"))
    }

    pub fn kill9(&self, division: &str) {
        self.expects(OF_A_KILL);
        end(&mut self.take(division));
    }

    /// SIGTERM; it has to end well, and soon.
    pub fn stop(&self, division: &str) {
        let mut child = self.take(division);
        let signalled = Command::new("kill").args(["-TERM", &child.id().to_string()]).status();
        let ended = poll(STOP_WITHIN, || child.try_wait().unwrap());
        end(&mut child);
        assert!(signalled.unwrap().success());
        let good = ended.is_some_and(|s| s.success());
        assert!(good, "{division} on SIGTERM: {ended:?} within {STOP_WITHIN:?}:\n{}", self.tail(division));
    }

    /// Sends a signal by its name.
    pub fn signal(&self, division: &str, name: &str) {
        let pid = self.processes()[division].id();
        assert!(Command::new("kill").args([format!("-{name}"), pid.to_string()]).status().unwrap().success());
    }

    /// From its next start on the node's process begins with this mask of modes, in octal digits.
    pub fn starts_with_umask(&self, division: &str, mask: &str) {
        fs::write(self.file(division, UMASK), mask).unwrap();
    }

    /// Highest and present resident memory of a node, in KiB.
    pub fn memory_kib(&self, division: &str) -> (u64, u64) {
        let pid = self.processes()[division].id();
        let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
        let field = |name: &str| {
            let line = status.lines().find_map(|l| l.strip_prefix(name)).unwrap();
            line.split_whitespace().next().unwrap().parse().unwrap()
        };
        (field("VmHWM:"), field("VmRSS:"))
    }

    /// Bytes on the disk of a file of a node, or of all below one of its folders.
    pub fn disk_bytes(&self, division: &str, name: &str) -> u64 {
        fn below(path: &Path) -> std::io::Result<u64> {
            use std::os::unix::fs::MetadataExt as _;
            let meta = fs::symlink_metadata(path)?;
            if !meta.is_dir() {
                return Ok(meta.blocks() * 512);
            }
            fs::read_dir(path)?.map(|e| below(&e?.path())).sum()
        }
        below(Path::new(&self.file(division, name))).unwrap_or(0)
    }

    /// Processor time that a node has used since its start, in milliseconds.
    pub fn cpu_ms(&self, division: &str) -> u64 {
        let pid = self.processes()[division].id();
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
        // Behind the name in brackets the state is the first field; user and system time are the 12th and 13th, in 1/100 s.
        let fields: Vec<_> = stat.rsplit(')').next().unwrap().split_whitespace().collect();
        fields[11..13].iter().map(|ticks| ticks.parse::<u64>().unwrap() * 10).sum()
    }

    /// Bytes of the journal's segments.
    pub fn journal_bytes(&self, division: &str) -> u64 {
        let files = fs::read_dir(self.file(division, "data/journal")).unwrap().map(|f| f.unwrap());
        files.filter(|f| is_segment(&f.path())).map(|f| f.metadata().unwrap().len()).sum()
    }

    /// What a node has written to its log and to stderr.
    pub fn log(&self, division: &str) -> String {
        let bytes = fs::read(self.file(division, "node.log")).unwrap_or_default();
        String::from_utf8_lossy(&bytes).into_owned()
    }

    fn tail(&self, division: &str) -> String {
        let log = self.log(division);
        let lines: Vec<_> = log.lines().collect();
        lines[lines.len().saturating_sub(30)..].join("\n")
    }
}

/// Beside a node's config: the mask of modes that its process starts with.
const UMASK: &str = "umask";

fn launch(config: &str, log: &str) -> Child {
    let mut log = File::options().create(true).append(true).open(log).unwrap();
    writeln!(log, "{START}").unwrap();
    let mut command = match fs::read_to_string(Path::new(config).with_file_name(UMASK)) {
        Err(_) => Command::new(tally()),
        Ok(mask) => {
            let mut shell = Command::new("sh");
            shell.args(["-c", "umask \"$0\" && exec \"$@\"", &mask]).arg(tally());
            shell
        }
    };
    command.args(["run", "--config", config]);
    command.envs(environment(config));
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log).spawn().unwrap()
}

/// What a service manager does: a node that ends with 75 is started again, until somebody else takes care of it.
fn start_again(running: &Weak<Mutex<BTreeMap<String, Child>>>, division: &str, config: &str, log: &str) {
    let pid = |running: &BTreeMap<String, Child>| running.get(division).map(Child::id);
    let mut mine = None;
    loop {
        std::thread::sleep(TENDED_EVERY);
        let Some(running) = running.upgrade() else { return };
        let mut running = running.lock().unwrap_or_else(PoisonError::into_inner);
        if mine.is_some() && mine != pid(&running) {
            return;
        }
        mine = pid(&running);
        let Some(child) = running.get_mut(division) else { return };
        if child.try_wait().unwrap().and_then(|s| s.code()) == Some(AGAIN) {
            *child = launch(config, log);
            mine = pid(&running);
        }
    }
}

impl Drop for Federation {
    fn drop(&mut self) {
        self.processes().values_mut().for_each(end);
        if std::thread::panicking() {
            for m in &self.members {
                eprintln!("==== log of {} ends with ====\n{}", m.division, self.tail(&m.division));
            }
            return;
        }
        let unexpected = self.unexpected();
        let (count, first) = (unexpected.len(), unexpected.iter().take(5).cloned().collect::<Vec<_>>());
        assert!(count == 0, "{count} lines in the logs that the test does not expect, such as:\n{}", first.join("\n"));
    }
}

fn end(child: &mut Child) {
    let _ = child.kill();
    let _ = child.wait();
}

fn is_segment(path: &Path) -> bool {
    path.extension().is_some_and(|e| e == "seg")
}
