//! Chunks that wait for their records to be durable, and batches on their way to the journal.

use super::{ChunkError, ChunkResult, RowFate};
use std::collections::VecDeque;
use tally_core::NotSealed;
use tally_protocol::record::Record;
use tokio::sync::oneshot;

/// The core's answer to a batch: first index and one past the last.
pub(super) type Sealed = Result<(u64, u64), NotSealed>;

/// A batch on its way. Its records are kept until it is durable: if it may not be signed, they are staged.
pub(super) struct SealingBatch {
    pub(super) records: Vec<Record>,
    pub(super) result: oneshot::Receiver<Sealed>,
}

/// Result of the oldest batch on its way, which stays in the queue; `None`: the driver has ended.
pub(super) async fn next_result(flying: &mut VecDeque<SealingBatch>) -> Option<Sealed> {
    match flying.front_mut() {
        Some(f) => (&mut f.result).await.ok(),
        None => std::future::pending().await,
    }
}

/// A record of a chunk that is in a batch whose place in the log is not known yet.
pub(super) struct UnsealedRow {
    /// Its place in the chunk.
    pub(super) row: usize,
    /// Number of its batch, and its place there.
    pub(super) batch: u64,
    pub(super) offset: usize,
}

/// A chunk that waits for batch number `last` to be durable.
pub(super) struct WaitingChunk {
    pub(super) first: u64,
    pub(super) last: u64,
    pub(super) result: ChunkResult,
    pub(super) unsealed: Vec<UnsealedRow>,
    pub(super) failed: Option<ChunkError>,
    pub(super) reply: oneshot::Sender<Result<ChunkResult, ChunkError>>,
}

impl WaitingChunk {
    /// A chunk of which nothing has been looked at. It stands in the queue from the start: batches with its first records may
    /// be durable before its last are looked at.
    pub(super) fn new(reply: oneshot::Sender<Result<ChunkResult, ChunkError>>) -> Self {
        let (result, unsealed) = (ChunkResult::default(), Vec::new());
        Self { first: u64::MAX, last: u64::MAX, result, unsealed, failed: None, reply }
    }

    /// Whether it waits for this batch.
    pub(super) fn waits_for(&self, batch: u64) -> bool {
        self.first <= batch && batch <= self.last
    }

    /// A batch has these indexes of the log: so its records in it have theirs.
    pub(super) fn sealed(&mut self, batch: u64, (start, end): (u64, u64)) {
        let (low, high) = self.result.range.unwrap_or((start, end));
        self.result.range = Some((low.min(start), high.max(end)));
        for (row, offset) in self.taken_from(batch) {
            self.result.set(row, RowFate::Accepted { index: start + offset as u64 });
        }
    }

    /// Takes out its rows that are in a batch: the place of each in the chunk, and in the batch.
    pub(super) fn taken_from(&mut self, batch: u64) -> Vec<(usize, usize)> {
        let rows = self.unsealed.extract_if(.., |u| u.batch == batch);
        rows.map(|u| (u.row, u.offset)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::{super::RowOutcome, *};

    #[test]
    fn a_record_has_the_index_of_its_place_in_its_batch() {
        let (reply, _answer) = oneshot::channel();
        let accepted = || RowOutcome { fate: RowFate::Accepted { index: u64::MAX }, findings: Vec::new() };
        let rejected = RowOutcome { fate: RowFate::Rejected, findings: Vec::new() };
        let unsealed = |row, batch, offset| UnsealedRow { row, batch, offset };
        let mut chunk = WaitingChunk::new(reply);
        (chunk.first, chunk.last) = (1, 2);
        chunk.result.rows = vec![accepted(), rejected, accepted(), accepted()];
        chunk.unsealed = vec![unsealed(0, 1, 5), unsealed(2, 1, 6), unsealed(3, 2, 0)];
        chunk.sealed(1, (100, 107));
        let indexes = |c: &WaitingChunk| -> Vec<Option<u64>> {
            let index = |r: &RowOutcome| match r.fate {
                RowFate::Accepted { index } => Some(index),
                _ => None,
            };
            c.result.rows.iter().map(index).collect()
        };
        assert_eq!(indexes(&chunk), [Some(105), None, Some(106), Some(u64::MAX)]);
        chunk.sealed(2, (107, 108));
        assert_eq!(indexes(&chunk), [Some(105), None, Some(106), Some(107)]);
        assert!(chunk.unsealed.is_empty());
        assert_eq!((chunk.result.range, chunk.result.accepted(), chunk.result.duplicates()), (Some((100, 108)), 3, 0));
    }
}
