//! Drop folders: a department copies a file into `inbox/`, and finds its receipt, and the rows to correct, beside it.
//!
//! ```text
//! inbox/处罚.csv  ─ settled ─>  work/处罚.csv  ─ handed in ─>  done/2026-11-25/处罚.csv
//!                                                                             处罚.csv.receipt.txt   .receipt.json
//!                                                                             处罚.csv_需更正.xlsx
//!                                              ─ nothing taken ─>  rejected/2026-11-25/...
//! ```
//!
//! Folders are polled: network shares tell nobody of changes. A file is taken once its size and time have not changed
//! for a while, or at once when `NAME.ok` lies beside it. What a stop left in `work/` is handed in again: rows that were
//! taken before are then duplicates. So is a file that goes on growing after it was put away.
//!
//! Each folder has a thread of its own, which alone touches it: a share that hangs holds that thread and nothing else. Only
//! handing in is asynchronous, and the thread waits for it.

mod away;
mod file;
mod inbox;
mod outcome;

use crate::{
    Rights,
    submission::{SubmissionAnswer, Submissions},
};
use away::PutAway;
use inbox::Inbox;
use serde::Deserialize;
use std::{
    fs::{self, File},
    io,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};
use tally_protocol::ids::Division;
use tokio::{runtime::Handle, sync::watch};

/// `[[folder]]`: files that are dropped into `PATH/inbox` are handed in.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FolderSection {
    /// The folder; `inbox`, `work`, `done` and `rejected` are made in it.
    pub path: PathBuf,
    /// Category of its rows; by default the heads of each table say it.
    #[serde(default)]
    pub category: Option<String>,
    /// Credit code of the unit whose folder it is: other units' rows are rejected.
    #[serde(default)]
    pub unit: Option<String>,
    /// Division of rows that name none.
    #[serde(default)]
    pub division: Option<Division>,
    /// Looked at so often, in milliseconds.
    #[serde(default = "default_poll")]
    pub poll_ms: u64,
    /// A file is whole when it has not changed for so long, in milliseconds.
    #[serde(default = "default_settle")]
    pub settle_ms: u64,
}

impl FolderSection {
    /// A unit's folder may be written to by others than the unit, so its rows may be that unit's only.
    pub fn rights(&self) -> Option<Rights> {
        let unit = self.unit.clone()?;
        Some(Rights { unit: Some(unit), ..Rights::default() })
    }
}

fn default_poll() -> u64 {
    5_000
}
fn default_settle() -> u64 {
    10_000
}
/// Pause before a file is tried again that could not be handed in for a reason that passes.
const AGAIN_AFTER: Duration = Duration::from_secs(5);
/// A stop waits so long for a file that is being handed in; the batcher refuses rows at once, a share may hang.
const STOP_PATIENCE: Duration = Duration::from_secs(2);

/// One drop folder.
#[derive(Debug)]
pub struct Folder {
    /// Where it is, and as what its files are handed in.
    pub section: FolderSection,
    /// Its place, made absolute by the config's folder.
    pub path: PathBuf,
    /// Where rows are handed in.
    pub submissions: Submissions,
}

/// How a file ended.
#[derive(Debug)]
enum FileEnd {
    /// Every row has its verdict.
    Answered(Box<SubmissionAnswer>),
    /// It is no table or list of records.
    Refused { code: &'static str, message: String, message_zh: String },
    /// It is tried again.
    Later(String),
}

/// Number, size and time of a file, by which it is seen to change.
type FileState = (u64, u64, SystemTime);

fn state(file: &Path) -> Option<FileState> {
    let meta = fs::symlink_metadata(file).ok()?;
    Some((meta.ino(), meta.len(), meta.modified().ok()?))
}

/// Watches a folder until `stop` becomes true. It blocks, and wants a thread of its own; that may outlive the stop for as
/// long as its folder hangs, and hands in nothing any more.
pub fn watch(folder: Folder, stop: watch::Receiver<bool>, runtime: Handle) {
    Watcher { folder, stop, runtime }.run();
}

/// A folder at work.
struct Watcher {
    folder: Folder,
    stop: watch::Receiver<bool>,
    runtime: Handle,
}

impl Watcher {
    fn run(&self) {
        let section = &self.folder.section;
        let poll = Duration::from_millis(section.poll_ms.max(50));
        let mut inbox = Inbox::new(&self.folder.path, Duration::from_millis(section.settle_ms));
        let mut away = PutAway::default();
        while !self.is_stopped() {
            let worked = match self.round(&mut inbox, &mut away) {
                Ok(worked) => worked,
                Err(e) => {
                    let path = self.folder.path.display();
                    tracing::error!(event = "folder.failed", %path, reason = %e, "the drop folder cannot be used");
                    false
                }
            };
            if !worked {
                self.pause(poll);
            }
        }
    }

    fn is_stopped(&self) -> bool {
        *self.stop.borrow()
    }

    /// Waits, but not beyond a stop.
    fn pause(&self, time: Duration) {
        let mut stop = self.stop.clone();
        let _ = self.runtime.block_on(async { tokio::time::timeout(time, stop.wait_for(|s| *s)).await.map(drop) });
    }

    /// Hands in everything that is ready; answers whether there was anything.
    fn round(&self, inbox: &mut Inbox, away: &mut PutAway) -> io::Result<bool> {
        let folder = &self.folder;
        for place in ["inbox", "work", "done", "rejected"] {
            fs::create_dir_all(folder.path.join(place))?;
        }
        away.take_back(&folder.path.join("inbox"));
        inbox.take_ready()?;
        let mut work: Vec<PathBuf> =
            fs::read_dir(folder.path.join("work"))?.filter_map(|e| Some(e.ok()?.path())).collect();
        work.sort();
        let (mut any, mut later) = (false, false);
        for file in work {
            if self.is_stopped() {
                return Ok(false);
            }
            let (before, end) = (state(&file), self.hand_in(&file));
            let done = match &end {
                FileEnd::Later(why) => Err(why.clone()),
                end => folder.put_away(&file, end).map(|target| away.watch(target, before)).map_err(|e| e.to_string()),
            };
            // One that cannot be done does not stop the others.
            match done {
                Ok(()) => any = true,
                Err(why) => {
                    let shown = file.display();
                    tracing::warn!(event = "folder.later", file = %shown, reason = %why, "handed in again later");
                    later = true;
                }
            }
        }
        if later {
            self.pause(AGAIN_AFTER);
        }
        Ok(any && !later)
    }

    /// Hands in a file, and waits for its answer. After a stop there is none for long: the next start hands it in again.
    fn hand_in(&self, file: &Path) -> FileEnd {
        let mut stop = self.stop.clone();
        self.runtime.block_on(async {
            let stopped = async {
                let _ = stop.wait_for(|s| *s).await;
                tokio::time::sleep(STOP_PATIENCE).await;
            };
            tokio::select! {
                end = file::hand_in(&self.folder, file) => end,
                () = stopped => FileEnd::Later("the node is stopping".into()),
            }
        })
    }
}

impl Folder {
    /// Writes what is to be known beside the file, then moves it: a stop in between only repeats.
    fn put_away(&self, file: &Path, end: &FileEnd) -> io::Result<PathBuf> {
        let taken = matches!(end, FileEnd::Answered(a) if a.accepted + a.duplicate > 0);
        let day = tally_clock::today().to_string();
        let dir = self.path.join(if taken { "done" } else { "rejected" }).join(day);
        fs::create_dir_all(&dir)?;
        let target = outcome::free_name(&dir, file);
        outcome::write(&target, end, self.submissions.kept())?;
        fs::rename(file, &target)?;
        File::open(&dir)?.sync_all()?;
        tracing::info!(event = "folder.answered", file = %target.display(), "a file has its answer");
        Ok(target)
    }
}
