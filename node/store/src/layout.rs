//! Where the batches of one log lie: a snapshot to read by position, taken from the core.

use crate::entries::EntryReader;
use std::{ops::Range, sync::Arc};
use tally_core::{Place, log::HeldLog};
use tally_journal::ReadError;
use tally_protocol::batch::{Batch, Records};

/// One batch of a [`Layout`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lying {
    /// Index of its first record.
    pub start: u64,
    /// One past its last.
    pub end: u64,
    /// Where its frame lies.
    pub place: Place,
}

/// The batches of a log in log order. Cheap to clone; 32 bytes a batch.
#[derive(Debug, Clone, Default)]
pub struct Layout(Arc<[Lying]>);

/// Why a record cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum LayoutError {
    /// The log has no such record, or a hole there.
    #[error("record {0} is not held")]
    NotHeld(u64),
    /// The disk.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// The frame is whole, and its body is no batch.
    #[error("the batch of record {0} cannot be read")]
    Batch(u64),
}

impl Layout {
    /// As the log is held now.
    pub fn of(log: &HeldLog) -> Self {
        Self(log.batches().map(|(end, h)| Lying { start: h.start, end, place: h.place }).collect())
    }

    /// Only the batches that hold records of these ranges: what a reader of a part needs of a log of millions of
    /// records.
    pub fn covering(log: &HeldLog, ranges: &[Range<u64>]) -> Self {
        let mut lying = Vec::new();
        for range in ranges.iter().filter(|r| r.start < r.end) {
            let batches = log.batches_within(range.start, range.end);
            lying.extend(batches.map(|(end, h)| Lying { start: h.start, end, place: h.place }));
        }
        lying.sort_unstable_by_key(|l| l.end);
        lying.dedup();
        Self(lying.into())
    }

    /// The batch that holds record `index`.
    pub fn batch_of(&self, index: u64) -> Option<Lying> {
        let at = self.0.partition_point(|b| b.end <= index);
        self.0.get(at).copied().filter(|b| b.start <= index)
    }

    /// First record of the first batch that starts after `index`.
    pub fn next_start(&self, index: u64) -> Option<u64> {
        self.0.get(self.0.partition_point(|b| b.start <= index)).map(|b| b.start)
    }

    /// Reads the batch that holds record `index`, checksums checked.
    ///
    /// # Errors
    /// [`LayoutError`].
    pub fn read(&self, reader: &EntryReader, index: u64) -> Result<(Lying, Records), LayoutError> {
        let lying = self.batch_of(index).ok_or(LayoutError::NotHeld(index))?;
        let frame = reader.read(lying.place)?;
        let records = Batch::decode(&frame.body).and_then(|b| b.records());
        Ok((lying, records.map_err(|_| LayoutError::Batch(index))?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn batches_are_found_and_holes_are_holes() {
        let place = Place;
        let lying = |start, end, offset| Lying { start, end, place: place(offset) };
        let layout = Layout([lying(0, 3, 16), lying(3, 4, 99), lying(7, 9, 200)].into());
        let at = |i| layout.batch_of(i).map(|b| b.place.0);
        assert_eq!((at(0), at(2), at(3), at(4), at(6)), (Some(16), Some(16), Some(99), None, None));
        assert_eq!((at(7), at(8), at(9)), (Some(200), Some(200), None));
        assert_eq!((layout.next_start(4), layout.next_start(0), layout.next_start(7)), (Some(7), Some(3), None));
    }
}
