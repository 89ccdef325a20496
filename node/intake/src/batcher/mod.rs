//! Group commit: submitters share batches, and each waits for its own records to be durable. What depends on the records
//! held is judged here too, because only here is known what is about to be held.
//!
//! Every record that is handed over has one [`RowOutcome`], and a chunk is answered once all that were taken are durable.
//! A submitter that goes away changes nothing: its chunk is taken or not as a whole, and the answer is dropped.
//!
//! Runs on a thread of its own, because to look a record up may need the disk. It knows no rows, files or clients.

mod dedup;
mod handle;
mod outcome;

pub use dedup::DedupPolicy;
pub use handle::{BatcherHandle, ChunkAnswer, DedupSources, IntakeTotals, RecordChunk};
pub use outcome::{ChunkError, ChunkResult, HeldFinding, RowFate, RowOutcome};

use crate::CheckedRecord;
use dedup::DedupLookup;
use std::{
    collections::{HashMap, VecDeque},
    sync::{Arc, atomic::Ordering},
    time::Duration,
};
use tally_core::NotSealed;
use tally_driver::{Mail, Mailbox};
use tally_protocol::{
    batch::raw_len,
    limits::{BATCH_CLOSE_BYTES, BATCH_CLOSE_MS, BATCH_RECORDS_MAX},
    record::{Record, RecordId},
};

use tally_topology::catalog::Severity;
use tokio::{
    sync::{mpsc, oneshot, watch},
    time::{Instant, sleep, sleep_until},
};

/// Chunks that may wait; submitters beyond wait at their own end.
const CHUNKS: usize = 8;
/// Sealed batches on their way to disk.
const FLYING: usize = 8;
/// Ids that may wait for the index before intake waits too: bounds memory at about 30 MB.
const PENDING_MAX: usize = 400_000;
/// After a start the parent has this long to confirm before submitters are told to come back.
const GATE_PATIENCE: Duration = Duration::from_secs(20);

/// The batcher of the own log, and what its thread has to run. It ends when `stop` becomes true: what was handed in until
/// then becomes durable and is answered.
pub fn batcher(
    sources: DedupSources,
    mailbox: Mailbox,
    stop: watch::Receiver<bool>,
    runtime: tokio::runtime::Handle,
) -> (BatcherHandle, impl FnOnce() + Send + 'static) {
    let (chunks, queue) = mpsc::channel(CHUNKS);
    let totals = Arc::new(IntakeTotals::default());
    let batcher = Batcher {
        sources,
        indexed: false,
        mailbox,
        totals: totals.clone(),
        open: Vec::new(),
        open_bytes: 0,
        deadline: None,
        number: 1,
        unsealed: HashMap::new(),
        flying: VecDeque::new(),
        waiting: VecDeque::new(),
        patience: Instant::now() + GATE_PATIENCE,
    };
    let run = move || runtime.block_on(batcher.run(queue, stop));
    (BatcherHandle { chunks, totals }, run)
}

struct SealingBatch {
    ids: Vec<RecordId>,
    result: oneshot::Receiver<Result<(u64, u64), NotSealed>>,
}

/// A record of a chunk that is in a batch whose place in the log is not known yet.
struct UnsealedRow {
    /// Its place in the chunk.
    row: usize,
    /// Number of its batch, and its place there.
    batch: u64,
    offset: u64,
}

/// A chunk that waits for batch number `last` to be durable.
struct WaitingChunk {
    last: u64,
    result: ChunkResult,
    unsealed: Vec<UnsealedRow>,
    failed: Option<NotSealed>,
    first: u64,
    reply: oneshot::Sender<Result<ChunkResult, ChunkError>>,
}

impl WaitingChunk {
    /// A batch begins at this index of the log: so the records in it have theirs.
    fn sealed(&mut self, batch: u64, start: u64) {
        let rows = &mut self.result.rows;
        self.unsealed.retain(|u| {
            if u.batch == batch
                && let Some(outcome) = rows.get_mut(u.row)
            {
                outcome.fate = RowFate::Accepted { index: start + u.offset };
            }
            u.batch != batch
        });
    }
}

struct Batcher {
    sources: DedupSources,
    /// The index has seen everything of the own log that was not sealed by this batcher.
    indexed: bool,
    mailbox: Mailbox,
    totals: Arc<IntakeTotals>,
    open: Vec<Record>,
    open_bytes: usize,
    deadline: Option<Instant>,
    /// Of the open batch; the oldest flying one has `number - flying.len()`.
    number: u64,
    /// Ids in the open batch or on their way, with the batch's number.
    unsealed: HashMap<RecordId, u64>,
    flying: VecDeque<SealingBatch>,
    waiting: VecDeque<WaitingChunk>,
    patience: Instant,
}

impl Batcher {
    async fn run(mut self, mut queue: mpsc::Receiver<RecordChunk>, mut stop: watch::Receiver<bool>) {
        let mut open = true;
        let mut stopping = false;
        let mut stopped = stop.clone();
        while open || !self.open.is_empty() || !self.flying.is_empty() {
            let deadline = self.deadline;
            tokio::select! {
                biased;
                result = next_result(&mut self.flying), if !self.flying.is_empty() => self.finished(result),
                () = sleep_until(deadline.unwrap_or_else(Instant::now)), if deadline.is_some() => self.close().await,
                _ = stop.wait_for(|s| *s), if !stopping => {
                    // Nothing new comes in; an upload that is still open is told that the node stops.
                    stopping = true;
                    queue.close();
                }
                chunk = queue.recv(), if open => match chunk {
                    Some(chunk) => self.take(chunk, &mut stopped).await,
                    None => {
                        open = false;
                        self.close().await;
                    }
                },
            }
        }
    }

    async fn take(&mut self, chunk: RecordChunk, stop: &mut watch::Receiver<bool>) {
        let may_seal = tokio::select! {
            may = self.may_seal() => may,
            _ = stop.wait_for(|s| *s) => Err(ChunkError::Stopping),
        };
        if let Err(why) = may_seal {
            let _ = chunk.reply.send(Err(why));
            return;
        }
        // In the queue from the start: batches with its first records may be durable before its last are looked at.
        self.waiting.push_back(WaitingChunk {
            first: u64::MAX,
            last: u64::MAX,
            result: ChunkResult::default(),
            unsealed: Vec::new(),
            failed: None,
            reply: chunk.reply,
        });
        let mut last = 0;
        for checked in chunk.records {
            let lookup = DedupLookup { index: &self.sources.index, unsealed: &self.unsealed };
            let looked = lookup.look(&checked, &chunk.policy);
            let Some(w) = self.waiting.back_mut() else { return };
            let looked = match looked {
                Ok(looked) => looked,
                Err(e) => {
                    if let Some(w) = self.waiting.pop_back() {
                        let _ = w.reply.send(Err(ChunkError::Index(e.reason())));
                    }
                    return;
                }
            };
            let rejects = looked.findings.iter().any(|(_, s)| *s == Severity::Reject);
            let waits_for = match &looked.held {
                Some(held) => held.on_its_way,
                None => (!rejects).then_some(self.number),
            };
            if let Some(number) = waits_for {
                (w.first, last) = (w.first.min(number), last.max(number));
            }
            let fate = match looked.held {
                Some(held) if held.in_force => RowFate::Duplicate { held: held.id },
                Some(held) => RowFate::Superseded { held: held.id },
                None if rejects => RowFate::Rejected,
                None => {
                    let (row, offset) = (w.result.rows.len(), self.open.len() as u64);
                    w.unsealed.push(UnsealedRow { row, batch: self.number, offset });
                    // Its index is known once its batch is sealed.
                    RowFate::Accepted { index: u64::MAX }
                }
            };
            let accepted = matches!(fate, RowFate::Accepted { .. });
            w.result.rows.push(RowOutcome { fate, findings: looked.findings });
            if accepted {
                self.add(checked).await;
            }
        }
        if let Some(w) = self.waiting.back_mut() {
            w.last = last;
        }
        self.answer();
    }

    /// Waits for the gate right after a start, and for the index when too much waits for it.
    async fn may_seal(&mut self) -> Result<(), ChunkError> {
        loop {
            match self.mailbox.view().closed() {
                None => break,
                Some(NotSealed::Frozen(why)) => return Err(NotSealed::Frozen(why).into()),
                Some(why) if Instant::now() > self.patience => return Err(why.into()),
                Some(_) => {
                    self.indexed = false;
                    sleep(Duration::from_millis(50)).await;
                }
            }
        }
        if !self.indexed {
            self.catch_up().await?;
        }
        while self.sources.index.pending() > PENDING_MAX {
            if let Some(why) = self.sources.progress.borrow().trouble.clone() {
                return Err(ChunkError::Index(why));
            }
            sleep(Duration::from_millis(20)).await;
        }
        Ok(())
    }

    /// After a start, and after fetching from the parent, the log holds records that neither the index nor the pending
    /// ids know yet. Until the index has them, nobody can say what is a duplicate.
    async fn catch_up(&mut self) -> Result<(), ChunkError> {
        let until = *self.sources.durable.borrow();
        let caught_up = self.sources.progress.wait_for(|p| p.cursor >= until || p.trouble.is_some()).await;
        let trouble = caught_up.map_err(|_| ChunkError::Stopping)?.trouble.clone();
        match trouble {
            Some(why) => Err(ChunkError::Index(why)),
            None => {
                self.indexed = true;
                Ok(())
            }
        }
    }

    async fn add(&mut self, checked: CheckedRecord) {
        let CheckedRecord { record, content, .. } = checked;
        let id = record.id();
        self.unsealed.insert(id, self.number);
        self.sources.index.add_pending(id, &content);
        if self.open.is_empty() {
            self.deadline = Some(Instant::now() + Duration::from_millis(BATCH_CLOSE_MS));
        }
        self.open_bytes += raw_len(&record);
        self.open.push(record);
        if self.open.len() >= BATCH_RECORDS_MAX || self.open_bytes >= BATCH_CLOSE_BYTES {
            self.close().await;
        }
    }

    async fn close(&mut self) {
        self.deadline = None;
        if self.open.is_empty() {
            return;
        }
        while self.flying.len() >= FLYING {
            let result = next_result(&mut self.flying).await;
            self.finished(result);
        }
        let records = std::mem::take(&mut self.open);
        self.open_bytes = 0;
        self.number += 1;
        let ids = records.iter().map(Record::id).collect();
        let (reply, result) = oneshot::channel();
        // If the driver has ended, the reply is dropped and the chunk is told so.
        let _ = self.mailbox.send(Mail::Seal { records, reply }).await;
        self.flying.push_back(SealingBatch { ids, result });
    }

    fn finished(&mut self, result: Option<Result<(u64, u64), NotSealed>>) {
        let Some(flying) = self.flying.pop_front() else { return };
        let number = self.number - 1 - self.flying.len() as u64;
        for id in &flying.ids {
            self.unsealed.remove(id);
        }
        let failed = match result {
            Some(Ok((start, end))) => {
                for w in self.waiting.iter_mut().filter(|w| w.first <= number && number <= w.last) {
                    let (low, high) = w.result.range.unwrap_or((start, end));
                    w.result.range = Some((low.min(start), high.max(end)));
                    w.sealed(number, start);
                }
                None
            }
            Some(Err(why)) => Some(why),
            None => Some(NotSealed::Asking),
        };
        if let Some(why) = failed {
            self.sources.index.forget_pending(flying.ids.iter());
            for w in self.waiting.iter_mut().filter(|w| w.first <= number && number <= w.last) {
                w.failed = Some(why.clone());
            }
        }
        self.answer();
    }

    /// Answers every chunk whose last batch is durable.
    fn answer(&mut self) {
        let durable = self.number - self.flying.len() as u64;
        while self.waiting.front().is_some_and(|w| w.last < durable) {
            let Some(w) = self.waiting.pop_front() else { return };
            let result = match w.failed {
                None => {
                    let (accepted, duplicates) = (w.result.accepted(), w.result.duplicates());
                    self.totals.accepted.fetch_add(accepted, Ordering::Relaxed);
                    self.totals.duplicate.fetch_add(duplicates, Ordering::Relaxed);
                    let range = w.result.range.filter(|_| accepted > 0);
                    Ok(ChunkResult { range, ..w.result })
                }
                Some(why) => Err(why.into()),
            };
            let _ = w.reply.send(result);
        }
    }
}

/// Result of the oldest batch on its way; it stays in the queue until [`Batcher::finished`].
async fn next_result(flying: &mut VecDeque<SealingBatch>) -> Option<Result<(u64, u64), NotSealed>> {
    match flying.front_mut() {
        Some(f) => (&mut f.result).await.ok(),
        None => std::future::pending().await,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_has_the_index_of_its_place_in_its_batch() {
        let (reply, _answer) = oneshot::channel();
        let accepted = || RowOutcome { fate: RowFate::Accepted { index: u64::MAX }, findings: Vec::new() };
        let rejected = RowOutcome { fate: RowFate::Rejected, findings: Vec::new() };
        let unsealed = |row, batch, offset| UnsealedRow { row, batch, offset };
        let mut chunk = WaitingChunk {
            first: 1,
            last: 2,
            result: ChunkResult { rows: vec![accepted(), rejected, accepted(), accepted()], range: None },
            unsealed: vec![unsealed(0, 1, 5), unsealed(2, 1, 6), unsealed(3, 2, 0)],
            failed: None,
            reply,
        };
        chunk.sealed(1, 100);
        let indexes = |c: &WaitingChunk| -> Vec<Option<u64>> {
            let index = |r: &RowOutcome| match r.fate {
                RowFate::Accepted { index } => Some(index),
                _ => None,
            };
            c.result.rows.iter().map(index).collect()
        };
        assert_eq!(indexes(&chunk), [Some(105), None, Some(106), Some(u64::MAX)]);
        chunk.sealed(2, 107);
        assert_eq!(indexes(&chunk), [Some(105), None, Some(106), Some(107)]);
        assert!(chunk.unsealed.is_empty());
        assert_eq!((chunk.result.accepted(), chunk.result.duplicates()), (3, 0));
    }
}
