//! Files that have their answer, and may still be open to a slow writer.

use super::{
    held::{FileState, HeldFolder},
    outcome,
};
use std::{
    collections::VecDeque,
    ffi::OsString,
    time::{Duration, Instant},
};

/// A file that was put away and changes within so long was not whole yet.
const WATCHED: Duration = Duration::from_secs(30 * 60);
/// Most files that are watched so.
const WATCHED_MAX: usize = 1_000;

/// Files that have their answer, and may still be open to a slow writer.
#[derive(Debug, Default)]
pub(super) struct PutAway(VecDeque<Watched>);

/// A file in its folder, how it was when it was read, and since when it lies there.
type Watched = (HeldFolder, OsString, Option<FileState>, Instant);

impl PutAway {
    pub(super) fn watch(&mut self, (folder, name): (HeldFolder, OsString), state: Option<FileState>) {
        if self.0.len() == WATCHED_MAX {
            self.0.pop_front();
        }
        self.0.push_back((folder, name, state, Instant::now()));
    }

    /// Moves what has changed since back to the inbox: it settles there again, and has its rows judged to the end.
    pub(super) fn take_back(&mut self, inbox: &HeldFolder) {
        self.0.retain(|(folder, name, before, since)| {
            let now = folder.state(name);
            // Another one in its place is not it.
            let same = now.zip(*before).is_some_and(|(now, before)| now.number == before.number);
            if !same || since.elapsed() > WATCHED {
                return false;
            }
            if now == *before {
                return true;
            }
            let file = folder.shown(name);
            match outcome::free_name(inbox, name).and_then(|back| folder.rename(name, inbox, &back)) {
                Ok(()) => {
                    tracing::warn!(event = "folder.unfinished", ?file, "a file was still written after it was handed in: it is handed in again");
                }
                Err(e) => {
                    tracing::error!(event = "folder.unfinished", ?file, reason = %e, "a file was still written after it was handed in: hand it in again");
                }
            }
            false
        });
    }
}
