//! What submitters have of the batcher: chunks go in, results come out.
//!
//! A chunk is taken as a whole or not at all, and its answer comes when all of it that was taken is durable. How batches are cut
//! and where the rows came from is not known here.

use super::{ChunkError, ChunkResult, DedupPolicy, RowFate, RowOutcome, dedup::DedupLookup};
use crate::CheckedRecord;
use std::{
    collections::HashMap,
    sync::{Arc, atomic::AtomicU64},
};
use tally_core::Place;
use tally_protocol::finding::Severity;
use tally_store::index::{DedupIndex, Engine, IndexProgress};
use tokio::sync::{mpsc, oneshot, watch};

/// Records that one submitter handed in together.
#[derive(Debug)]
pub struct RecordChunk {
    /// In the order of the input.
    pub records: Vec<CheckedRecord>,
    /// What follows from what is found.
    pub policy: DedupPolicy,
    /// Its submitter hands in no more before it is answered.
    pub awaited: bool,
    /// Answered when all of them are durable.
    pub reply: oneshot::Sender<Result<ChunkResult, ChunkError>>,
}

/// Where the result of a chunk comes.
pub type ChunkAnswer = oneshot::Receiver<Result<ChunkResult, ChunkError>>;

impl RecordChunk {
    /// A chunk that its submitter waits for, and where its result will come.
    pub fn of(records: Vec<CheckedRecord>, policy: DedupPolicy) -> (Self, ChunkAnswer) {
        let (reply, answer) = oneshot::channel();
        (Self { records, policy, awaited: true, reply }, answer)
    }

    /// One after which more of the same submission come.
    pub fn followed(records: Vec<CheckedRecord>, policy: DedupPolicy) -> (Self, ChunkAnswer) {
        let (chunk, answer) = Self::of(records, policy);
        (Self { awaited: false, ..chunk }, answer)
    }
}

/// Where submitters hand in chunks.
#[derive(Debug, Clone)]
pub struct BatcherHandle {
    pub(super) chunks: mpsc::Sender<RecordChunk>,
    /// What is held, for those who only ask; none where nothing is.
    pub(super) held: Option<Arc<DedupIndex>>,
    /// Totals since the start, for metrics.
    pub totals: Arc<IntakeTotals>,
}

/// Counters since the start.
#[derive(Debug, Default)]
pub struct IntakeTotals {
    /// New records.
    pub accepted: AtomicU64,
    /// Duplicates.
    pub duplicate: AtomicU64,
    /// Duplicates among them that were known byte for byte.
    pub known: AtomicU64,
    /// Rejected lines.
    pub rejected: AtomicU64,
}

impl BatcherHandle {
    /// What is held, for those who only ask.
    pub fn held(&self) -> Option<Arc<DedupIndex>> {
        self.held.clone()
    }

    /// Hands in a chunk; the receiver resolves when it is durable. Cancel-safe: a chunk that was not handed in is not taken.
    ///
    /// # Errors
    /// [`ChunkError::Stopping`].
    pub async fn submit(&self, (chunk, answer): (RecordChunk, ChunkAnswer)) -> Result<ChunkAnswer, ChunkError> {
        self.chunks.send(chunk).await.map_err(|_| ChunkError::Stopping)?;
        Ok(answer)
    }

    /// What would become of records if they were handed in now, one by one. Nothing is taken, and nothing is waited for. Reads
    /// the index: not for a task that others wait for.
    ///
    /// # Errors
    /// [`ChunkError::Index`], when it cannot say whether they are new.
    pub fn look(&self, records: &[CheckedRecord], policy: &DedupPolicy) -> Result<Vec<RowOutcome>, ChunkError> {
        let unsealed = HashMap::new();
        let one = |checked: &CheckedRecord| {
            let Some(index) = &self.held else { return Ok(RowOutcome { fate: RowFate::Staged, findings: Vec::new() }) };
            let looked = DedupLookup { index, unsealed: &unsealed }.look(checked, policy);
            let looked = looked.map_err(|e| ChunkError::Index(e.reason()))?;
            let fate = match looked.held {
                Some(held) if held.in_force => RowFate::Duplicate { held: held.id },
                Some(held) => RowFate::Superseded { held: held.id },
                None if looked.findings.iter().any(|(_, s)| *s == Severity::Reject) => RowFate::Rejected,
                None => RowFate::Staged,
            };
            Ok(RowOutcome { fate, findings: looked.findings })
        };
        records.iter().map(one).collect()
    }
}

/// Where records are handed in once more that this node had acknowledged in an epoch that is closed. They come before all
/// that is staged or new, and that waits until this is dropped.
#[derive(Debug)]
pub struct CarryHandle {
    pub(super) chunks: mpsc::Sender<RecordChunk>,
}

impl CarryHandle {
    /// Hands in a chunk; the receiver resolves when it is durable. While nothing may be signed it waits.
    ///
    /// # Errors
    /// [`ChunkError::Stopping`].
    pub async fn submit(&self, (chunk, answer): (RecordChunk, ChunkAnswer)) -> Result<ChunkAnswer, ChunkError> {
        self.chunks.send(chunk).await.map_err(|_| ChunkError::Stopping)?;
        Ok(answer)
    }
}

#[cfg(test)]
impl BatcherHandle {
    /// A handle, and the chunks that are handed in by it.
    pub(crate) fn of_test() -> (Self, mpsc::Receiver<RecordChunk>) {
        let (chunks, queue) = mpsc::channel(8);
        (Self { chunks, held: None, totals: Arc::default() }, queue)
    }
}

/// What the batcher needs to know which records the log holds.
#[derive(Debug, Clone)]
pub struct DedupSources {
    /// What is held, and what is about to be.
    pub index: Arc<DedupIndex>,
    /// The index itself: where a record is held.
    pub engine: Arc<dyn Engine>,
    /// How far the index is.
    pub progress: watch::Receiver<IndexProgress>,
    /// End of the durable journal.
    pub durable: watch::Receiver<Place>,
}
