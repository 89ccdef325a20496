//! What everybody else may know of staged rows: how many, since when, and what became of which. Clones share it; only the store
//! writes it.

use super::{
    StagedRun,
    done::{self, FrameOutcome, span},
    frames::RowsMeta,
};
use std::{
    collections::{BTreeMap, HashMap, VecDeque},
    io,
    path::PathBuf,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};
use tally_journal::Position;
use tally_protocol::{ids::LogId, record::RecordId};

/// Staged rows, to look at.
#[derive(Debug, Clone)]
pub struct StagedBook {
    dir: Arc<PathBuf>,
    inner: Arc<Mutex<Entries>>,
}

/// Frames that wait to be sealed, in their order, and the outcomes that no file has yet.
#[derive(Debug, Default)]
pub(super) struct Entries {
    pub(super) frames: VecDeque<(Position, RowsMeta)>,
    /// Number of the frame by which each staged record is to be sealed.
    pub(super) ids: HashMap<RecordId, u64>,
    /// By the frames' numbers, with their segments.
    pub(super) outcomes: BTreeMap<u64, (u32, FrameOutcome)>,
    pub(super) records: u64,
    pub(super) bytes: u64,
    /// Places that cannot be read, for people.
    pub(super) damaged: Vec<String>,
}

/// How many rows are staged.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct StagedCounts {
    /// Rows that wait to be sealed.
    pub records: u64,
    /// When the first of them was staged, POSIX seconds; none if none waits.
    pub oldest: Option<u64>,
    /// Places of the files of staged rows that cannot be read: what stood there is lost, or was sealed before.
    pub damaged: Vec<String>,
}

/// What became of rows that were staged.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct StagedOutcome {
    /// Sealed.
    pub sealed: u64,
    /// They turned out to be held.
    pub duplicate: u64,
    /// Not to be read from this disk any more.
    pub lost: u64,
    /// Some of them are still staged.
    pub waits: bool,
    /// The log that has those that were sealed, the first of them and one past the last.
    pub place: Option<(LogId, u64, u64)>,
}

impl StagedBook {
    /// Of the folder of staged rows; nothing is in it.
    pub fn new(dir: PathBuf) -> Self {
        Self { dir: Arc::new(dir), inner: Arc::default() }
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, Entries> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How many rows are staged now.
    pub fn counts(&self) -> StagedCounts {
        let inner = self.lock();
        let oldest = inner.frames.front().map(|(_, meta)| meta.staged_at);
        StagedCounts { records: inner.records, oldest, damaged: inner.damaged.clone() }
    }

    /// Since when a record is staged, POSIX seconds; `None`: it is not.
    pub fn since(&self, id: &RecordId) -> Option<u64> {
        let inner = self.lock();
        let number = *inner.ids.get(id)?;
        let place = inner.frames.binary_search_by_key(&number, |(_, meta)| meta.number).ok()?;
        inner.frames.get(place).map(|(_, meta)| meta.staged_at)
    }

    /// What became of the rows of these runs. It reads files of outcomes.
    ///
    /// # Errors
    /// The system's.
    pub fn outcome(&self, runs: &[StagedRun]) -> io::Result<StagedOutcome> {
        let within = |number: u64| runs.iter().any(|r| r.first <= number && number <= r.last);
        let (mut known, waits) = {
            let inner = self.lock();
            let first = inner.frames.front().map(|(_, meta)| meta.number);
            let waits = first.is_some_and(|first| runs.iter().any(|r| r.last >= first));
            let known: BTreeMap<_, _> = inner.outcomes.iter().map(|(number, (_, o))| (*number, o.clone())).collect();
            (known, waits)
        };
        for (first, last) in done::ranges(&self.dir)? {
            if runs.iter().any(|r| r.first <= last && first <= r.last) {
                done::read(&self.dir, (first, last), &mut known)?;
            }
        }
        let mut sum = StagedOutcome { waits, ..StagedOutcome::default() };
        for outcome in known.into_values().filter(|o| within(o.number)) {
            sum.sealed = sum.sealed.saturating_add(outcome.sealed);
            sum.duplicate = sum.duplicate.saturating_add(outcome.duplicate);
            sum.lost = sum.lost.saturating_add(outcome.lost);
            sum.place = outcome.place.map_or(sum.place, |place| span(sum.place, place));
        }
        Ok(sum)
    }
}
