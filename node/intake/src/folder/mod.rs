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
//! None of the folders is ever reached through a link: they are held open, and what lies in them is worked on through that
//! (`held`). Their modes do not follow the umask: the group of the drop folder writes to `inbox` and reads in `done` and
//! `rejected` (`places`).
//!
//! Each folder has a thread of its own, which alone touches it: a share that hangs holds that thread and nothing else. Only
//! handing in is asynchronous, and the thread waits for it.

mod answered;
mod away;
mod file;
mod held;
mod inbox;
mod outcome;
mod places;

use crate::{
    Rights,
    submission::{SubmissionAnswer, Submissions},
};
use answered::Answered;
use away::PutAway;
use held::{Found, HeldFolder, PlaceError};
use inbox::Inbox;
use places::Places;
use serde::Deserialize;
use std::{
    collections::{BTreeMap, BTreeSet},
    ffi::{OsStr, OsString},
    io,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};
use tally_protocol::ids::Division;
use tokio::{runtime::Handle, sync::watch};

/// `[[folder]]`: files that are dropped into `PATH/inbox` are handed in.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
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
    /// Its files are loads of history (历史补录), which are not late: for a folder that is there for that alone.
    #[serde(default)]
    pub backfill: bool,
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

/// Which drop folders cannot be used, and why. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct FolderTroubles(Arc<Mutex<BTreeMap<PathBuf, String>>>);

impl FolderTroubles {
    fn lock(&self) -> MutexGuard<'_, BTreeMap<PathBuf, String>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Each folder that cannot be used, by its path, with the reason.
    pub fn list(&self) -> Vec<(PathBuf, String)> {
        self.lock().iter().map(|(path, why)| (path.clone(), why.clone())).collect()
    }

    /// Notes why a folder cannot be used; `None`: it can.
    fn note(&self, path: &Path, why: Option<&str>) {
        match why {
            Some(why) => self.lock().insert(path.to_owned(), why.to_owned()),
            None => self.lock().remove(path),
        };
    }
}

/// One drop folder.
#[derive(Debug)]
pub struct Folder {
    /// Where it is, and as what its files are handed in.
    pub section: FolderSection,
    /// Its place, made absolute by the config's folder.
    pub path: PathBuf,
    /// Where rows are handed in.
    pub submissions: Submissions,
    /// Where it is said that it cannot be used.
    pub troubles: FolderTroubles,
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

/// Watches a folder until `stop` becomes true. It blocks, and wants a thread of its own; that may outlive the stop for as
/// long as its folder hangs, and hands in nothing any more.
pub fn watch(folder: Folder, stop: watch::Receiver<bool>, runtime: Handle) {
    Watcher::new(folder, stop, runtime).run();
}

/// A folder at work.
struct Watcher {
    folder: Folder,
    stop: watch::Receiver<bool>,
    runtime: Handle,
    /// Held open while they stay where they are.
    places: Option<Places>,
    /// Why it cannot be used, as it was told last.
    told: Option<String>,
    /// What lies in `work` and is no file of its own, as it was told.
    passed_over: BTreeSet<OsString>,
    /// Files in `work` that have their answer.
    answered: Answered,
}

/// Why a round could not be worked.
#[derive(Debug, thiserror::Error)]
enum RoundError {
    /// A folder is not what it should be.
    #[error(transparent)]
    Place(#[from] PlaceError),
    /// The file system's word.
    #[error("{0}")]
    Io(#[from] io::Error),
}

impl Watcher {
    fn new(folder: Folder, stop: watch::Receiver<bool>, runtime: Handle) -> Self {
        let (passed_over, answered) = (BTreeSet::new(), Answered::default());
        Self { folder, stop, runtime, places: None, told: None, passed_over, answered }
    }

    fn run(&mut self) {
        let mut inbox = Inbox::new(Duration::from_millis(self.folder.section.settle_ms));
        let mut away = PutAway::default();
        while !self.is_stopped() {
            let pause = match self.round(&mut inbox, &mut away) {
                Ok(pause) => {
                    // Also what another watcher said of it, before the config was read again.
                    let path = &self.folder.path;
                    self.folder.troubles.note(path, None);
                    if self.told.take().is_some() {
                        tracing::info!(event = "folder.restored", ?path, "the drop folder can be used again");
                    }
                    pause
                }
                Err(e) => {
                    self.places = None;
                    self.tell(&e);
                    self.poll()
                }
            };
            self.pause(pause);
        }
        // Of a folder that is watched no more nothing is said.
        self.folder.troubles.note(&self.folder.path, None);
    }

    /// Says once why the folder cannot be used.
    fn tell(&mut self, e: &RoundError) {
        let (path, reason) = (&self.folder.path, e.to_string());
        if self.told.as_ref() == Some(&reason) {
            return;
        }
        match e {
            RoundError::Place(PlaceError::Link(_) | PlaceError::NoFolder(_)) => {
                tracing::error!(event = "folder.refused", ?path, %reason, "the drop folder is not used: nothing in it is moved or read");
            }
            RoundError::Place(PlaceError::Io(..)) | RoundError::Io(_) => {
                tracing::error!(event = "folder.failed", ?path, %reason, "the drop folder cannot be used");
            }
        }
        self.folder.troubles.note(path, Some(&reason));
        self.told = Some(reason);
    }

    /// The folders, opened anew if one of them is not where it was.
    fn in_place(&mut self) -> Result<&mut Places, PlaceError> {
        let held = self.places.take().filter(Places::are_in_place);
        let held = held.map_or_else(|| Places::open(&self.folder.path), Ok)?;
        Ok(self.places.insert(held))
    }

    /// Pause between two looks at the folder.
    fn poll(&self) -> Duration {
        Duration::from_millis(self.folder.section.poll_ms.max(50))
    }

    fn is_stopped(&self) -> bool {
        *self.stop.borrow()
    }

    /// Waits, but not beyond a stop.
    fn pause(&self, time: Duration) {
        let mut stop = self.stop.clone();
        let _ = self.runtime.block_on(async { tokio::time::timeout(time, stop.wait_for(|s| *s)).await.map(drop) });
    }

    /// Hands in everything that is ready; answers when to look again.
    fn round(&mut self, inbox: &mut Inbox, away: &mut PutAway) -> Result<Duration, RoundError> {
        let places = self.in_place()?;
        away.take_back(&places.inbox);
        inbox.take_ready(places)?;
        let work = places.work.clone();
        let (mut any, mut later, mut passed_over) = (false, false, BTreeSet::new());
        let files = work.names()?;
        self.answered.keep_only(&files);
        for file in files {
            if self.is_stopped() {
                return Ok(Duration::ZERO);
            }
            let before = match work.look(&file)? {
                Some(Found::File(state)) => state,
                Some(Found::Linked | Found::Other) => {
                    passed_over.insert(file);
                    continue;
                }
                None => continue,
            };
            let end = match self.answered.take(&file, before) {
                Some(end) => end,
                None if self.answered.is_full() => FileEnd::Later("other files wait to be put away".into()),
                None => self.hand_in(&work, &file),
            };
            let done = match end {
                FileEnd::Later(why) => Err(why),
                end => match self.put_away(&work, &file, &end) {
                    Ok(at) => {
                        away.watch(at, Some(before));
                        Ok(())
                    }
                    Err(e) => {
                        self.answered.keep(file.clone(), before, end);
                        Err(format!("it has its answer and cannot be put away: {e}"))
                    }
                },
            };
            // One that cannot be done does not stop the others.
            match done {
                Ok(()) => any = true,
                Err(reason) => {
                    let file = work.shown(&file);
                    tracing::warn!(event = "folder.later", ?file, %reason, "tried again later");
                    later = true;
                }
            }
        }
        for file in passed_over.difference(&self.passed_over) {
            let file = work.shown(file);
            tracing::warn!(event = "folder.linked", ?file, "passed over: it is no file of its own; take it away");
        }
        self.passed_over = passed_over;
        Ok(match (later, any) {
            (true, _) => AGAIN_AFTER,
            (false, true) => Duration::ZERO,
            (false, false) => self.poll(),
        })
    }

    /// Hands in a file, and waits for its answer. After a stop there is none for long: the next start hands it in again.
    fn hand_in(&self, work: &HeldFolder, file: &OsStr) -> FileEnd {
        let mut stop = self.stop.clone();
        self.runtime.block_on(async {
            let stopped = async {
                let _ = stop.wait_for(|s| *s).await;
                tokio::time::sleep(STOP_PATIENCE).await;
            };
            tokio::select! {
                end = file::hand_in(&self.folder, work, file) => end,
                () = stopped => FileEnd::Later("the node is stopping".into()),
            }
        })
    }

    /// Writes what is to be known beside the file, then moves it: a stop in between only repeats.
    fn put_away(
        &mut self,
        work: &HeldFolder,
        file: &OsStr,
        end: &FileEnd,
    ) -> Result<(HeldFolder, OsString), RoundError> {
        let taken = matches!(end, FileEnd::Answered(a) if a.accepted + a.duplicate > 0);
        let dir = self.in_place()?.of_day(taken, &tally_clock::today().to_string())?;
        let target = outcome::free_name(&dir, file)?;
        let submissions = &self.folder.submissions;
        let written = outcome::write(&dir, &target, end, (submissions.kept(), submissions.spool()));
        if let Err(e) = written.and_then(|()| work.rename(file, &dir, &target)) {
            // Else each try would leave a receipt more, without its file.
            outcome::remove(&dir, &target);
            return Err(e.into());
        }
        dir.sync()?;
        let file = dir.shown(&target);
        tracing::info!(event = "folder.answered", ?file, "a file has its answer");
        Ok((dir, target))
    }
}

#[cfg(test)]
mod tests;
