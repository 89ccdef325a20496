//! Files that have their answer and could not be put away: what was said of them is kept until they are, so that they are not
//! handed in again and again, each time with another answer that is kept.
//!
//! It is in memory: what a stop leaves in `work` is handed in once more.

use super::{FileEnd, held::FileState};
use std::{
    collections::BTreeMap,
    ffi::{OsStr, OsString},
};

/// Most files that wait so: what is said of each takes some 4 MiB at most (`ERRORS_BYTES_MAX`).
const ANSWERED_MAX: usize = 16;

/// Files that have their answer and could not be put away, by their names in `work`.
#[derive(Debug, Default)]
pub(super) struct Answered(BTreeMap<OsString, (FileState, FileEnd)>);

impl Answered {
    /// Takes out how a file ended that is unchanged since.
    pub(super) fn take(&mut self, file: &OsStr, state: FileState) -> Option<FileEnd> {
        self.0.remove(file).filter(|(before, _)| *before == state).map(|(_, end)| end)
    }

    /// A file could not be put away. `state`: as it was before it was handed in.
    pub(super) fn keep(&mut self, file: OsString, state: FileState, end: FileEnd) {
        self.0.insert(file, (state, end));
    }

    /// As many wait as may: no other file is handed in before one of them is put away.
    pub(super) fn is_full(&self) -> bool {
        self.0.len() >= ANSWERED_MAX
    }

    /// Forgets all but these, which are what lies in `work`.
    pub(super) fn keep_only(&mut self, files: &[OsString]) {
        self.0.retain(|file, _| files.contains(file));
    }
}
