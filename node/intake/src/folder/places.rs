//! The five folders of a drop folder, held open while they stay in their places.

use super::held::{HeldFolder, PlaceError};
use std::path::Path;

/// The folder itself: its group looks into it, and changes nothing there. The group of whatever is made in it is its own.
const TOP: u32 = 0o2750;
/// Where files are dropped: the group writes.
const DROP: u32 = 0o2770;
/// Where a file is while it is handed in: nobody else's.
const WORK: u32 = 0o700;
/// Where files and their receipts end up: the group reads.
const ENDED: u32 = 0o2750;

/// A drop folder's folders.
#[derive(Debug)]
pub(super) struct Places {
    top: HeldFolder,
    pub(super) inbox: HeldFolder,
    pub(super) work: HeldFolder,
    done: HeldFolder,
    rejected: HeldFolder,
    /// The folders of the day that was last asked for.
    day: Option<(String, [Option<HeldFolder>; 2])>,
}

impl Places {
    /// Opens them all; what is missing is made. None of them may be a link.
    pub(super) fn open(path: &Path) -> Result<Self, PlaceError> {
        let top = HeldFolder::open(path, TOP)?;
        Ok(Self {
            inbox: top.sub("inbox", DROP)?,
            work: top.sub("work", WORK)?,
            done: top.sub("done", ENDED)?,
            rejected: top.sub("rejected", ENDED)?,
            top,
            day: None,
        })
    }

    /// Whether each still is what has its name.
    pub(super) fn are_in_place(&self) -> bool {
        let subs = [&self.inbox, &self.work, &self.done, &self.rejected];
        self.top.is_in(None) && subs.iter().all(|sub| sub.is_in(Some(&self.top)))
    }

    /// The folder of a day, among those of files of which something was taken, or of the others.
    pub(super) fn of_day(&mut self, taken: bool, day: &str) -> Result<HeldFolder, PlaceError> {
        let above = if taken { &self.done } else { &self.rejected };
        if self.day.as_ref().is_none_or(|(known, _)| known != day) {
            self.day = Some((day.to_owned(), [None, None]));
        }
        let held = self.day.as_mut().map(|(_, both)| &mut both[usize::from(taken)]);
        match held {
            Some(Some(folder)) if folder.is_in(Some(above)) => Ok(folder.clone()),
            Some(place) => Ok(place.insert(above.sub(day, ENDED)?).clone()),
            None => above.sub(day, ENDED),
        }
    }
}
