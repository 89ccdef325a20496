//! The demo's nodes as processes: each is started again when it asks for that, as a service manager would.

use super::fleet::Fleet;
use std::{
    fs::{self, File},
    io,
    process::{Child, Command, Stdio},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        mpsc::{RecvTimeoutError, SyncSender, sync_channel},
    },
    thread::JoinHandle,
    time::{Duration, Instant},
};
use tally_client::{Exit, Failure};
use tally_protocol::ids::Division;

/// A node has this long to say that it is ready.
const READY_WITHIN: Duration = Duration::from_secs(60);
/// Ended processes are looked for this often.
const LOOK: Duration = Duration::from_millis(100);

/// One node's process, and how to start it again.
#[derive(Debug)]
struct Process {
    division: Division,
    command: Command,
    log: std::path::PathBuf,
    child: Child,
}

impl Process {
    fn start(division: Division, mut command: Command, log: std::path::PathBuf) -> io::Result<Self> {
        let child = launch(&mut command, &log)?;
        Ok(Self { division, command, log, child })
    }

    /// Starts it again if it has ended and asked for that; answers whether it has ended for good.
    fn tend(&mut self) -> bool {
        match self.child.try_wait() {
            Ok(Some(status)) if status.code() == Some(Exit::Restart as i32) => {
                match launch(&mut self.command, &self.log) {
                    Ok(child) => {
                        self.child = child;
                        false
                    }
                    Err(_) => true,
                }
            }
            Ok(Some(_)) | Err(_) => true,
            Ok(None) => false,
        }
    }
}

fn launch(command: &mut Command, log: &std::path::Path) -> io::Result<Child> {
    let log = File::options().create(true).append(true).open(log)?;
    command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(log).spawn()
}

/// The running processes. Dropping it ends them: each node stops when its standard input closes.
#[derive(Debug)]
pub(super) struct Processes {
    all: Arc<Mutex<Vec<Process>>>,
    /// The thread that starts them again; it ends when the sender goes.
    tending: Option<(SyncSender<()>, JoinHandle<()>)>,
}

impl Processes {
    /// Starts every node as a process of its own, its log in `<node>/node.log`.
    pub(super) fn start(fleet: &Fleet) -> Result<Self, Failure> {
        let program = std::env::current_exe().map_err(Failure::failed)?;
        let processes = Self { all: Arc::default(), tending: None };
        for member in &fleet.members {
            let mut command = Command::new(&program);
            command.args(["run", "--until-stdin-closes", "--config"]).arg(fleet.config(member));
            let log = fleet.folder(member).join("node.log");
            let process = Process::start(member.division, command, log).map_err(Failure::failed)?;
            processes.lock().push(process);
        }
        Ok(processes.tended())
    }

    fn tended(mut self) -> Self {
        let (ends, ended) = sync_channel::<()>(1);
        let all = self.all.clone();
        let tend = move || {
            while ended.recv_timeout(LOOK) == Err(RecvTimeoutError::Timeout) {
                for process in all.lock().unwrap_or_else(PoisonError::into_inner).iter_mut() {
                    process.tend();
                }
            }
        };
        self.tending = Some((ends, std::thread::spawn(tend)));
        self
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Process>> {
        self.all.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until every node answers.
    pub(super) async fn ready(&mut self, fleet: &Fleet) -> Result<(), Failure> {
        let deadline = Instant::now() + READY_WITHIN;
        for member in &fleet.members {
            let client = fleet.client(member);
            while client.get("/healthz").await.is_err() {
                let ended = self.lock().iter_mut().find(|p| p.division == member.division).is_some_and(Process::tend);
                if ended || Instant::now() > deadline {
                    let log = fleet.folder(member).join("node.log");
                    let text = fs::read_to_string(&log).unwrap_or_default();
                    let last: Vec<_> = text.lines().rev().take(5).collect();
                    let last: Vec<_> = last.into_iter().rev().collect();
                    let what = if ended { "ended" } else { "is not ready" };
                    let (division, log) = (member.division, log.display());
                    return Err(Failure::failed(format!(
                        "node {division} {what}; {log} ends with:\n{}",
                        last.join("\n")
                    )));
                }
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        }
        Ok(())
    }

    /// Ends all nodes and waits for them.
    pub(super) fn stop(mut self) {
        self.close();
    }

    fn close(&mut self) {
        if let Some((ends, thread)) = self.tending.take() {
            drop(ends);
            let _ = thread.join();
        }
        let mut all = self.lock();
        for process in all.iter_mut() {
            drop(process.child.stdin.take());
        }
        for mut process in all.drain(..) {
            let _ = process.child.wait();
        }
    }
}

impl Drop for Processes {
    fn drop(&mut self) {
        self.close();
    }
}
