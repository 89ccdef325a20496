//! Where the batches of one log lie: a snapshot of the core's map, to read records by position on any thread. It never changes;
//! a batch that was repaired since may lie elsewhere by now.

use crate::entries::EntryReader;
use std::sync::Arc;
use tally_core::{Place, log::HeldLog};
use tally_journal::ReadError;
use tally_protocol::{
    batch::{Batch, Records},
    ids::{Division, LogId},
};

/// One batch of a [`BatchMap`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BatchLocation {
    /// Index of its first record.
    pub start: u64,
    /// One past its last.
    pub end: u64,
    /// Where its frame lies.
    pub place: Place,
}

/// The batches of a log in log order, as they are held at one moment. Cheap to make and to clone: it shares them.
#[derive(Debug, Clone, Default)]
pub struct BatchMap(Arc<HeldLog>);

/// Why a record cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum BatchMapError {
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

impl BatchMap {
    /// As the log is held now.
    pub fn of(log: &Arc<HeldLog>) -> Self {
        Self(log.clone())
    }

    /// Records of the log, those that are missing here included.
    pub fn size(&self) -> u64 {
        self.0.size()
    }

    /// The batch that holds record `index`.
    pub fn batch_of(&self, index: u64) -> Option<BatchLocation> {
        self.0.batch_of(index).map(|(end, h)| BatchLocation { start: h.start, end, place: h.place })
    }

    /// First record of the first batch that starts after `index`.
    pub fn next_start(&self, index: u64) -> Option<u64> {
        self.0.batches_within(index.checked_add(1)?, u64::MAX).map(|(_, h)| h.start).find(|start| *start > index)
    }

    /// When a record of `log` came to node `me`, by its own clock: for a log of its own when it was sealed, for another's
    /// when it issued the first receipt over it. POSIX seconds; `None`: not known.
    pub fn arrived(&self, me: Division, log: LogId, index: u64) -> Option<u64> {
        if log.division == me {
            return self.0.batch_of(index).map(|(_, h)| h.sealed_at);
        }
        self.0.first_receipt(me, index).map(|r| r.time)
    }

    /// Records of all batches.
    pub fn records(&self) -> u64 {
        self.0.batches().map(|(end, held)| end.saturating_sub(held.start)).fold(0, u64::saturating_add)
    }

    /// Records before the first that cannot be read from this disk.
    pub fn whole_to(&self) -> u64 {
        if self.0.is_whole() {
            return self.0.size();
        }
        self.0.missing().first().map_or(self.0.size(), |(from, _)| *from)
    }

    /// Reads the batch that holds record `index`, checksums checked.
    ///
    /// # Errors
    /// [`BatchMapError`].
    pub fn read(&self, reader: &EntryReader, index: u64) -> Result<(BatchLocation, Records), BatchMapError> {
        let batch = self.batch_of(index).ok_or(BatchMapError::NotHeld(index))?;
        let frame = reader.read(batch.place)?;
        let records = Batch::decode(&frame.body).and_then(|b| b.records());
        Ok((batch, records.map_err(|_| BatchMapError::Batch(index))?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tally_protocol::merkle::{Tree, leaf_hash};

    #[test]
    fn batches_are_found_and_holes_are_holes() {
        let mut log = HeldLog::default();
        let mut put = |start: u64, end: u64, place: u64| {
            let mut tree = Tree::default();
            (0..end).for_each(|n| tree.push(leaf_hash(&n.to_be_bytes())));
            assert!(log.put(start, tree, 0, String::new(), Place(place)));
        };
        put(0, 3, 16);
        put(3, 4, 99);
        put(7, 9, 200);
        let map = BatchMap::of(&Arc::new(log));
        let at = |i| map.batch_of(i).map(|b| b.place.0);
        assert_eq!((at(0), at(2), at(3), at(4), at(6)), (Some(16), Some(16), Some(99), None, None));
        assert_eq!((at(7), at(8), at(9)), (Some(200), Some(200), None));
        assert_eq!((map.next_start(4), map.next_start(0), map.next_start(7)), (Some(7), Some(3), None));
    }
}
