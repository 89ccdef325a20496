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

mod inbox;
mod outcome;

use crate::Rights;
use crate::{
    Answer, Columns, Desk, Format, PourError, Submission, Upload, UploadError,
    answers::{Meta, Store},
    file_pieces, pour,
};
use inbox::Inbox;
use serde::Deserialize;
use std::{
    collections::VecDeque,
    fs::{self, File},
    io,
    os::unix::fs::{MetadataExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
    time::{Duration, Instant, SystemTime},
};
use tally_protocol::ids::Division;
use tokio::sync::watch;

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
    /// Division that rows count for which do not say.
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
    /// Whoever may write into a unit's folder hands in for that unit only.
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
/// A file that was put away and changes within so long was not whole yet.
const WATCHED: Duration = Duration::from_secs(30 * 60);
/// Most files that are watched so.
const WATCHED_MAX: usize = 1_000;
/// Pause before a file is tried again that could not be handed in for a reason that passes.
const AGAIN_AFTER: Duration = Duration::from_secs(5);

/// One drop folder at work.
#[derive(Debug)]
pub struct Folder {
    /// Where it is, and as what its files are handed in.
    pub section: FolderSection,
    /// Its place, made absolute by the config's folder.
    pub path: PathBuf,
    /// Where rows are handed in.
    pub desk: Desk,
    /// Where answers are kept.
    pub answers: Store,
    /// For workbooks while they are read.
    pub spool: PathBuf,
}

/// How a file ended.
#[derive(Debug)]
enum End {
    /// Every row has its verdict.
    Answered(Box<Answer>),
    /// It is no table or list of records.
    Refused { code: &'static str, message: String, message_zh: String },
    /// It is tried again.
    Later(String),
}

/// Number, size and time of a file, by which it is seen to change.
type State = (u64, u64, SystemTime);

fn state(file: &Path) -> Option<State> {
    let meta = fs::symlink_metadata(file).ok()?;
    Some((meta.ino(), meta.len(), meta.modified().ok()?))
}

/// Watches a folder until `stop` becomes true.
pub async fn watch(folder: Folder, mut stop: watch::Receiver<bool>) {
    let path = folder.path.display().to_string();
    let poll = Duration::from_millis(folder.section.poll_ms.max(50));
    let mut inbox = Inbox::new(&folder.path, Duration::from_millis(folder.section.settle_ms));
    let mut away = Away::default();
    loop {
        let worked = match folder.round(&mut inbox, &mut away).await {
            Ok(worked) => worked,
            Err(e) => {
                tracing::error!(event = "folder.failed", %path, reason = %e, "the drop folder cannot be used");
                false
            }
        };
        let pause = if worked { Duration::ZERO } else { poll };
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            _ = stop.wait_for(|s| *s) => return,
        }
    }
}

impl Folder {
    /// Hands in everything that is ready; answers whether there was anything.
    async fn round(&self, inbox: &mut Inbox, away: &mut Away) -> io::Result<bool> {
        for place in ["inbox", "work", "done", "rejected"] {
            fs::create_dir_all(self.path.join(place))?;
        }
        away.take_back(&self.path.join("inbox"));
        inbox.take_ready()?;
        let mut work: Vec<PathBuf> =
            fs::read_dir(self.path.join("work"))?.filter_map(|e| Some(e.ok()?.path())).collect();
        // A link might lead anywhere.
        work.retain(|p| fs::symlink_metadata(p).is_ok_and(|m| m.is_file()));
        work.sort();
        let (mut any, mut later) = (false, false);
        for file in work {
            let (before, end) = (state(&file), self.hand_in(&file).await);
            let done = match &end {
                End::Later(why) => Err(why.clone()),
                end => self.put_away(&file, end).map(|target| away.watch(target, before)).map_err(|e| e.to_string()),
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
            tokio::time::sleep(AGAIN_AFTER).await;
        }
        Ok(any && !later)
    }

    async fn hand_in(&self, file: &Path) -> End {
        let name = file.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
        let opened = File::options().read(true).custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK).open(file);
        let source = match opened {
            Ok(source) => source,
            Err(e) if e.kind() == io::ErrorKind::PermissionDenied => {
                let message = "the node may not read this file: give its user the right to".to_owned();
                return End::Refused {
                    code: "permission", message, message_zh: "节点无权读取该文件".to_owned()
                };
            }
            Err(e) => return End::Later(e.to_string()),
        };
        let before = state(file);
        let s = &self.section;
        let terms =
            Submission { category: s.category.clone(), unit: s.unit.clone(), division: s.division, rights: s.rights() };
        let meta =
            Meta { file: Some(name.clone()), source: "folder".into(), category: s.category.clone(), ..Meta::default() };
        let meta = Meta { folder: Some(self.path.display().to_string()), ..meta };
        let keeping = self.answers.keep(meta);
        let mut upload = Upload::new(self.desk.clone(), terms, Box::new(keeping.clone()));
        let told = &mut |columns: &Columns, category: &str| {
            keeping.describe(|m| {
                m.heads.clone_from(&columns.heads);
                m.category.get_or_insert_with(|| category.to_owned());
            });
        };
        let format = match name.rsplit_once('.').map(|(_, end)| end.to_ascii_lowercase()).as_deref() {
            Some("ndjson" | "jsonl" | "json") => Format::Ndjson,
            _ => Format::Csv,
        };
        let poured = pour(&mut upload, file_pieces(source), format, &self.spool, told).await;
        let (mut answer, ended) = match upload.finish().await {
            Ok(answer) => (answer, poured),
            Err((e, answer)) => (answer, poured.and(Err(e.into()))),
        };
        // Whoever still writes it has not been read to the end.
        if before.is_none() || state(file) != before {
            return End::Later("the file changed while it was read".into());
        }
        match ended {
            Ok(()) => match keeping.finish(&answer) {
                Ok(id) => {
                    answer.answer = id;
                    End::Answered(Box::new(answer))
                }
                Err(e) => End::Later(e.to_string()),
            },
            Err(PourError::Refused(e)) => End::Refused { code: e.code, message: e.message, message_zh: e.message_zh },
            Err(PourError::Upload(UploadError::Full)) => End::Later("the disk is nearly full".into()),
            Err(e) => End::Later(e.to_string()),
        }
    }

    /// Writes what is to be known beside the file, then moves it: a stop in between only repeats.
    fn put_away(&self, file: &Path, end: &End) -> io::Result<PathBuf> {
        let taken = matches!(end, End::Answered(a) if a.accepted + a.duplicate > 0);
        let day = tally_clock::today().to_string();
        let dir = self.path.join(if taken { "done" } else { "rejected" }).join(day);
        fs::create_dir_all(&dir)?;
        let target = outcome::free_name(&dir, file);
        outcome::write(&target, end, &self.answers)?;
        fs::rename(file, &target)?;
        File::open(&dir)?.sync_all()?;
        tracing::info!(event = "folder.answered", file = %target.display(), "a file has its answer");
        Ok(target)
    }
}

/// Files that have their answer, and may still be open to a slow writer.
#[derive(Debug, Default)]
struct Away(VecDeque<Watched>);

/// A file, how it was when it was read, and since when it lies there.
type Watched = (PathBuf, Option<State>, Instant);

impl Away {
    fn watch(&mut self, file: PathBuf, state: Option<State>) {
        if self.0.len() == WATCHED_MAX {
            self.0.pop_front();
        }
        self.0.push_back((file, state, Instant::now()));
    }

    /// Moves what has changed since back to the inbox: it settles there again, and has its rows judged to the end.
    fn take_back(&mut self, inbox: &Path) {
        self.0.retain(|(file, before, since)| {
            let now = state(file);
            // Another one in its place is not it.
            let same = now.zip(*before).is_some_and(|(now, before)| now.0 == before.0);
            if !same || since.elapsed() > WATCHED {
                return false;
            }
            if now == *before {
                return true;
            }
            let back = outcome::free_name(inbox, file);
            let shown = file.display();
            match fs::rename(file, &back) {
                Ok(()) => {
                    tracing::warn!(event = "folder.unfinished", file = %shown, "a file was still written after it was handed in: it is handed in again");
                }
                Err(e) => {
                    tracing::error!(event = "folder.unfinished", file = %shown, reason = %e, "a file was still written after it was handed in: hand it in again");
                }
            }
            false
        });
    }
}
