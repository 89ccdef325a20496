//! Files that have their answer, and may still be open to a slow writer.

use super::{FileState, outcome, state};
use std::{
    collections::VecDeque,
    fs,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

/// A file that was put away and changes within so long was not whole yet.
const WATCHED: Duration = Duration::from_secs(30 * 60);
/// Most files that are watched so.
const WATCHED_MAX: usize = 1_000;

/// Files that have their answer, and may still be open to a slow writer.
#[derive(Debug, Default)]
pub(super) struct PutAway(VecDeque<Watched>);

/// A file, how it was when it was read, and since when it lies there.
type Watched = (PathBuf, Option<FileState>, Instant);

impl PutAway {
    pub(super) fn watch(&mut self, file: PathBuf, state: Option<FileState>) {
        if self.0.len() == WATCHED_MAX {
            self.0.pop_front();
        }
        self.0.push_back((file, state, Instant::now()));
    }

    /// Moves what has changed since back to the inbox: it settles there again, and has its rows judged to the end.
    pub(super) fn take_back(&mut self, inbox: &Path) {
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
