//! Group commit: submitters share batches, each waits for its own records to be durable. Here also is judged what
//! depends on the records held: whether a row is a duplicate, conflicts with what is held, or has no original.
//!
//! Runs on a thread of its own, because the answer may need the disk.

pub(crate) mod dedup;

use crate::{
    Good,
    batcher::dedup::{Before, Policy, Verdict},
};
use std::{
    collections::{HashMap, VecDeque},
    panic::AssertUnwindSafe,
    sync::{Arc, atomic::AtomicU64, atomic::Ordering},
    time::Duration,
};
use tally_core::NotSealed;
use tally_core::Place;
use tally_driver::{Mail, Mailbox};
use tally_protocol::{
    batch::raw_len,
    limits::{BATCH_CLOSE_BYTES, BATCH_CLOSE_MS, BATCH_RECORDS_MAX},
    record::{Record, RecordId},
};
use tally_store::index::{Known, Progress};
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

/// Records that one submitter handed in together.
#[derive(Debug)]
pub struct Chunk {
    /// In the order of the input.
    pub records: Vec<Good>,
    /// What follows from what is found.
    pub policy: Policy,
    /// Answered when all of them are durable.
    pub reply: oneshot::Sender<Result<ChunkResult, ChunkError>>,
}

/// Where the result of a chunk comes.
pub type ChunkAnswer = oneshot::Receiver<Result<ChunkResult, ChunkError>>;

impl Chunk {
    /// A chunk, and where its result will come.
    pub fn of(records: Vec<Good>, policy: Policy) -> (Self, ChunkAnswer) {
        let (reply, answer) = oneshot::channel();
        (Self { records, policy, reply }, answer)
    }
}

/// All records of a chunk that were taken are durable.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ChunkResult {
    /// New records.
    pub accepted: u64,
    /// Records that this log holds already, or whose content is held under the same business key.
    pub duplicate: u64,
    /// Records that were not taken.
    pub rejected: u64,
    /// The duplicates among them, by their place in the chunk, and the record that is held.
    pub held: Vec<(usize, RecordId)>,
    /// What was found, by the record's place in the chunk, and what follows.
    pub verdicts: Vec<(usize, Verdict, Severity)>,
    /// First index and one past the last of the batches they went into.
    pub range: Option<(u64, u64)>,
}

/// Some records of a chunk were not taken. Those that were will be found to be duplicates next time.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ChunkError {
    /// Nothing may be signed now.
    #[error(transparent)]
    NotSealed(#[from] NotSealed),
    /// The index cannot say whether a record is new.
    #[error("the index does not answer: {0}")]
    Index(String),
    /// The node ends.
    #[error("the node is stopping")]
    Stopping,
}

/// Where submitters hand in chunks.
#[derive(Debug, Clone)]
pub struct Intake {
    chunks: mpsc::Sender<Chunk>,
    /// Totals since the start, for metrics.
    pub totals: Arc<Totals>,
}

/// Counters since the start.
#[derive(Debug, Default)]
pub struct Totals {
    /// New records.
    pub accepted: AtomicU64,
    /// Duplicates.
    pub duplicate: AtomicU64,
    /// Rejected lines.
    pub rejected: AtomicU64,
}

impl Intake {
    /// Hands in a chunk; the receiver resolves when it is durable.
    ///
    /// # Errors
    /// [`ChunkError::Stopping`].
    pub async fn submit(&self, (chunk, answer): (Chunk, ChunkAnswer)) -> Result<ChunkAnswer, ChunkError> {
        self.chunks.send(chunk).await.map_err(|_| ChunkError::Stopping)?;
        Ok(answer)
    }
}

/// What the batcher needs to know which records the log holds.
#[derive(Debug, Clone)]
pub struct Holdings {
    /// Ids that are known.
    pub known: Arc<Known>,
    /// How far the index is.
    pub progress: watch::Receiver<Progress>,
    /// End of the durable journal.
    pub durable: watch::Receiver<Place>,
}

/// Starts the batcher of the own log on a thread of its own. It ends when `stop` becomes true: what was handed in until
/// then becomes durable and is answered.
///
/// # Errors
/// When the thread cannot be made.
pub fn start(
    holdings: Holdings,
    mailbox: Mailbox,
    stop: watch::Receiver<bool>,
    failed: watch::Sender<Option<String>>,
    runtime: tokio::runtime::Handle,
) -> std::io::Result<(Intake, std::thread::JoinHandle<()>)> {
    let (chunks, queue) = mpsc::channel(CHUNKS);
    let totals = Arc::new(Totals::default());
    let batcher = Batcher {
        holdings,
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
    let run = move || {
        let body = AssertUnwindSafe(|| runtime.block_on(batcher.run(queue, stop)));
        if std::panic::catch_unwind(body).is_err() {
            // Without intake the node would only look alive.
            failed.send_replace(Some("the thread that takes records in has panicked".into()));
        }
    };
    let thread = std::thread::Builder::new().name("intake".into()).spawn(run)?;
    Ok((Intake { chunks, totals }, thread))
}

struct Flying {
    ids: Vec<RecordId>,
    result: oneshot::Receiver<Result<(u64, u64), NotSealed>>,
}

/// A chunk that waits for batch number `last` to be durable.
struct Waiting {
    last: u64,
    result: ChunkResult,
    failed: Option<NotSealed>,
    first: u64,
    reply: oneshot::Sender<Result<ChunkResult, ChunkError>>,
}

struct Batcher {
    holdings: Holdings,
    /// The index has seen everything of the own log that was not sealed by this batcher.
    indexed: bool,
    mailbox: Mailbox,
    totals: Arc<Totals>,
    open: Vec<Record>,
    open_bytes: usize,
    deadline: Option<Instant>,
    /// Of the open batch; the oldest flying one has `number - flying.len()`.
    number: u64,
    /// Ids in the open batch or on their way, with the batch's number.
    unsealed: HashMap<RecordId, u64>,
    flying: VecDeque<Flying>,
    waiting: VecDeque<Waiting>,
    patience: Instant,
}

impl Batcher {
    async fn run(mut self, mut queue: mpsc::Receiver<Chunk>, mut stop: watch::Receiver<bool>) {
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

    async fn take(&mut self, chunk: Chunk, stop: &mut watch::Receiver<bool>) {
        let may_seal = tokio::select! {
            may = self.may_seal() => may,
            _ = stop.wait_for(|s| *s) => Err(ChunkError::Stopping),
        };
        if let Err(why) = may_seal {
            let _ = chunk.reply.send(Err(why));
            return;
        }
        // In the queue from the start: batches with its first records may be durable before its last are looked at.
        self.waiting.push_back(Waiting {
            first: u64::MAX,
            last: u64::MAX,
            result: ChunkResult::default(),
            failed: None,
            reply: chunk.reply,
        });
        let mut last = 0;
        for (i, good) in chunk.records.into_iter().enumerate() {
            let before = Before { known: &self.holdings.known, unsealed: &self.unsealed };
            let looked = before.look(&good, &chunk.policy);
            let Some(w) = self.waiting.back_mut() else { return };
            let found = match looked {
                Ok(found) => found,
                Err(e) => {
                    if let Some(w) = self.waiting.pop_back() {
                        let _ = w.reply.send(Err(ChunkError::Index(e.0)));
                    }
                    return;
                }
            };
            let rejected = found.verdicts.iter().any(|(_, s)| *s == Severity::Reject);
            w.result.verdicts.extend(found.verdicts.into_iter().map(|(v, s)| (i, v, s)));
            if let Some(held) = found.held {
                w.result.duplicate += 1;
                w.result.held.push((i, held));
                if let Some(number) = found.on_its_way {
                    (w.first, last) = (w.first.min(number), last.max(number));
                }
            } else if rejected {
                w.result.rejected += 1;
            } else {
                w.result.accepted += 1;
                (w.first, last) = (w.first.min(self.number), last.max(self.number));
                self.add(good).await;
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
            match self.mailbox.closed() {
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
        while self.holdings.known.pending() > PENDING_MAX {
            if let Some(why) = self.holdings.progress.borrow().trouble.clone() {
                return Err(ChunkError::Index(why));
            }
            sleep(Duration::from_millis(20)).await;
        }
        Ok(())
    }

    /// After a start, and after fetching from the parent, the log holds records that neither the index nor the pending
    /// ids know yet. Until the index has them, nobody can say what is a duplicate.
    async fn catch_up(&mut self) -> Result<(), ChunkError> {
        let until = *self.holdings.durable.borrow();
        let caught_up = self.holdings.progress.wait_for(|p| p.cursor >= until || p.trouble.is_some()).await;
        let trouble = caught_up.map_err(|_| ChunkError::Stopping)?.trouble.clone();
        match trouble {
            Some(why) => Err(ChunkError::Index(why)),
            None => {
                self.indexed = true;
                Ok(())
            }
        }
    }

    async fn add(&mut self, good: Good) {
        let Good { record, content, .. } = good;
        let id = record.id();
        self.unsealed.insert(id, self.number);
        self.holdings.known.add_pending(id, &content);
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
        self.flying.push_back(Flying { ids, result });
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
                }
                None
            }
            Some(Err(why)) => Some(why),
            None => Some(NotSealed::Asking),
        };
        if let Some(why) = failed {
            self.holdings.known.forget_pending(flying.ids.iter());
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
                    let range = w.result.range.filter(|_| w.result.accepted > 0);
                    let result = ChunkResult { range, ..w.result };
                    self.totals.accepted.fetch_add(result.accepted, Ordering::Relaxed);
                    self.totals.duplicate.fetch_add(result.duplicate, Ordering::Relaxed);
                    Ok(result)
                }
                Some(why) => Err(why.into()),
            };
            let _ = w.reply.send(result);
        }
    }
}

/// Result of the oldest batch on its way; it stays in the queue until [`Batcher::finished`].
async fn next_result(flying: &mut VecDeque<Flying>) -> Option<Result<(u64, u64), NotSealed>> {
    match flying.front_mut() {
        Some(f) => (&mut f.result).await.ok(),
        None => std::future::pending().await,
    }
}
