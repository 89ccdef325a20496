//! Group commit: submitters share batches, and each waits for its own records to be durable. What depends on the records
//! held is judged here too, because only here is known what is about to be held.
//!
//! ```text
//! mod.rs      chunks into batches, batches to the driver     waiting.rs  who waits for which batch
//! closing.rs  when a batch closes                            budget.rs   how many may be small
//! staging.rs  rows while nothing may be signed               backlog.rs  what is sealed before anything new
//! dedup.rs    what is held of a record                       outcome.rs  what is answered
//! ```
//!
//! Every record that is handed over has one [`RowOutcome`], and a chunk is answered once all that were taken are durable: in the
//! own log, or staged. Nothing overtakes: records carried over come first, then staged ones, then new ones.
//! A submitter that goes away changes nothing: its chunk is taken or not as a whole, and the answer is dropped.
//!
//! When a batch closes: at 1,000 records or 1 MiB; once somebody waits for a record in it and nothing is on its way to the
//! disk, so that a lone record waits for one flush and a crowd shares the next one; in the middle of a long submission, which
//! waits for its end only, 200 ms after its first record.
//!
//! Runs on a thread of its own, because to look a record up may need the disk. It knows no rows, files or clients.

mod backlog;
mod budget;
mod closing;
mod dedup;
mod handle;
mod outcome;
mod staging;
mod waiting;

pub use dedup::DedupPolicy;
pub use handle::{BatcherHandle, CarryHandle, ChunkAnswer, DedupSources, IntakeTotals, RecordChunk};
pub use outcome::{ChunkError, ChunkResult, HeldFinding, RowFate, RowOutcome};

use crate::CheckedRecord;
use backlog::{LOOK, WorkedOff};
use budget::SmallBatches;
use dedup::DedupLookup;
use std::{
    collections::{HashMap, VecDeque},
    sync::Arc,
    time::Duration,
};
use tally_core::NotSealed;
use tally_driver::Mailbox;
use tally_journal::JournalError;
use tally_protocol::{
    batch::raw_len,
    ids::LogId,
    limits::{BATCH_CLOSE_BYTES, BATCH_CLOSE_MS, BATCH_RECORDS_MAX},
    record::{Record, RecordId},
};
use tally_store::staged::{STAGED_ROWS_MAX, StagedStore};
use tally_topology::catalog::Severity;
use tokio::{
    sync::{mpsc, watch},
    time::{Instant, sleep, sleep_until},
};
use waiting::{Sealed, SealingBatch, UnsealedRow, WaitingChunk, next_result};

/// Chunks that may wait; submitters beyond wait at their own end.
const CHUNKS: usize = 8;
/// Sealed batches on their way to disk.
const FLYING: usize = 8;
/// Ids that may wait for the index before intake waits too: bounds memory at about 30 MB.
const PENDING_MAX: usize = 400_000;
const _: () = assert!(STAGED_ROWS_MAX as usize <= PENDING_MAX);
/// When the backlog cannot be worked off, it is tried again after this.
const BLOCKED: Duration = Duration::from_secs(1);
/// A record for which somebody waits lies in an open batch no longer than this when no small batch is left.
const WITHOUT_BUDGET: Duration = Duration::from_millis(50);
/// When nothing was staged for so long, the disk is told that what is there is durable.
const REST: Duration = Duration::from_secs(1);

/// The own log as it stands now: what the batcher needs to know of the node.
struct OwnLog {
    log: LogId,
    size: u64,
    /// Why it may not be signed.
    closed: Option<NotSealed>,
}

type LookAtLog = Box<dyn Fn() -> OwnLog + Send>;

/// The batcher's ends: for new records and for those carried over; and what its thread has to run.
#[derive(Debug)]
pub struct BatcherParts<R> {
    /// For new records.
    pub handle: BatcherHandle,
    /// For records carried over. Nothing else is sealed before this is dropped.
    pub carry: CarryHandle,
    /// What its thread runs.
    pub run: R,
}

/// The batcher of the own log. It ends when `stop` becomes true: what was handed in until then becomes durable and is answered.
/// It ends with an error when the disk of staged rows failed; nothing that was not durable has been said.
pub fn batcher(
    sources: DedupSources,
    staged: StagedStore,
    mailbox: Mailbox,
    stop: watch::Receiver<bool>,
    runtime: tokio::runtime::Handle,
) -> BatcherParts<impl FnOnce() -> Result<(), JournalError> + Send + 'static> {
    let views = mailbox.clone();
    let own = move || {
        let view = views.view();
        let log = view.own();
        OwnLog { log, size: view.log(log).map_or(0, |held| held.size()), closed: view.closed() }
    };
    let close_after = Duration::from_millis(BATCH_CLOSE_MS);
    batcher_of(Box::new(own), sources, staged, mailbox, stop, runtime, close_after)
}

fn batcher_of(
    own: LookAtLog,
    sources: DedupSources,
    staged: StagedStore,
    mailbox: Mailbox,
    stop: watch::Receiver<bool>,
    runtime: tokio::runtime::Handle,
    close_after: Duration,
) -> BatcherParts<impl FnOnce() -> Result<(), JournalError> + Send + 'static> {
    let (chunks, queue) = mpsc::channel(CHUNKS);
    let (carry, carried) = mpsc::channel(1);
    let totals = Arc::new(IntakeTotals::default());
    let held = Some(sources.index.clone());
    let batcher = Batcher {
        own,
        sources,
        staged,
        stop,
        carried: Some(carried),
        indexed: false,
        sealed_to: 0,
        says: false,
        patience: None,
        refused: None,
        cut: false,
        look_at: Instant::now(),
        written_at: None,
        mailbox,
        totals: totals.clone(),
        open: Vec::new(),
        open_bytes: 0,
        close_after,
        deadline: None,
        awaited: false,
        small: SmallBatches::new(Instant::now()),
        number: 1,
        unsealed: HashMap::new(),
        flying: VecDeque::new(),
        waiting: VecDeque::new(),
    };
    let run = move || runtime.block_on(batcher.run(queue));
    BatcherParts { handle: BatcherHandle { chunks, held, totals }, carry: CarryHandle { chunks: carry }, run }
}

struct Batcher {
    own: LookAtLog,
    sources: DedupSources,
    staged: StagedStore,
    /// Becomes true when the node is to stop.
    stop: watch::Receiver<bool>,
    /// Records that are carried over; `None`: there are no more.
    carried: Option<mpsc::Receiver<RecordChunk>>,
    /// The index has seen everything of the own log that was not sealed by this batcher.
    indexed: bool,
    /// Size of the own log as this batcher knows it; another says that somebody else wrote it.
    sealed_to: u64,
    /// While nothing may be signed: the index can be asked what is held.
    says: bool,
    /// And it is waited for until then.
    patience: Option<Instant>,
    /// The core refused to seal although the gate seemed open, and it is not asked again before this.
    refused: Option<(NotSealed, Instant)>,
    /// Rows were on their way that were neither signed nor staged: what came behind them may rest on them, and goes the same way.
    cut: bool,
    /// When the backlog is looked at next.
    look_at: Instant,
    /// When something was staged last, if the disk has not been told since that it is durable.
    written_at: Option<Instant>,
    mailbox: Mailbox,
    totals: Arc<IntakeTotals>,
    open: Vec<Record>,
    open_bytes: usize,
    /// A batch closes so long after its first record.
    close_after: Duration,
    deadline: Option<Instant>,
    /// Somebody waits for a record of the open batch.
    awaited: bool,
    small: SmallBatches,
    /// Of the open batch; the oldest flying one has `number - flying.len()`.
    number: u64,
    /// Ids in the open batch or on their way, with the batch's number.
    unsealed: HashMap<RecordId, u64>,
    flying: VecDeque<SealingBatch>,
    waiting: VecDeque<WaitingChunk>,
}

impl Batcher {
    async fn run(mut self, mut queue: mpsc::Receiver<RecordChunk>) -> Result<(), JournalError> {
        let ended = self.take_all(&mut queue).await;
        match ended.and_then(|()| self.staged.stop()) {
            // Nothing of it was said, and the next start finds what was.
            Err(e) if e.shortage().is_some() && *self.stop.borrow() => {
                tracing::warn!(event = "staged.not_closed", reason = %e, "staged rows are left as they are");
                Ok(())
            }
            ended => ended,
        }
    }

    /// Until the node is told to stop.
    async fn take_all(&mut self, queue: &mut mpsc::Receiver<RecordChunk>) -> Result<(), JournalError> {
        self.remember_staged();
        let mut open = true;
        let mut stopping = false;
        let mut stop = self.stop.clone();
        while open || !self.open.is_empty() || !self.flying.is_empty() {
            let (deadline, look_at) = (self.deadline, self.look_at);
            tokio::select! {
                biased;
                result = next_result(&mut self.flying), if !self.flying.is_empty() => self.finished(result).await?,
                () = sleep_until(deadline.unwrap_or_else(Instant::now)), if deadline.is_some() => self.close().await?,
                _ = stop.wait_for(|s| *s), if !stopping => {
                    // Nothing new comes in; an upload that is still open is told that the node stops.
                    stopping = true;
                    queue.close();
                }
                () = sleep_until(look_at), if !stopping && (self.has_backlog() || self.written_at.is_some()) => {
                    self.look().await?;
                }
                chunk = queue.recv(), if open => match chunk {
                    Some(chunk) => self.take(chunk, queue).await?,
                    None => {
                        open = false;
                        self.close().await?;
                    }
                },
            }
            if queue.is_empty() {
                self.close_if_awaited().await?;
            }
        }
        Ok(())
    }

    /// What is staged counts as about to be held.
    fn remember_staged(&mut self) {
        let (staged, index) = (&mut self.staged, &self.sources.index);
        staged.read_all(|id, bytes| {
            if let Some(checked) = CheckedRecord::acknowledged(bytes) {
                index.add_pending(id, &checked.content);
            }
        });
        let counts = staged.book().counts();
        if counts.records > 0 {
            tracing::info!(event = "staged.found", records = counts.records, "rows that were staged before this start");
        }
    }

    /// Works off the backlog as far as that may be done.
    async fn look(&mut self) -> Result<(), JournalError> {
        if self.written_at.is_some_and(|at| at.elapsed() > REST) {
            match self.staged.rest() {
                Err(e) if e.shortage().is_some() => {}
                told => {
                    told?;
                    self.written_at = None;
                }
            }
        }
        let pause = match self.has_backlog() {
            false => LOOK,
            true => match self.work_off().await? {
                WorkedOff::All | WorkedOff::Shut(_) => LOOK,
                WorkedOff::Blocked(_) => BLOCKED,
            },
        };
        self.look_at = Instant::now() + pause;
        Ok(())
    }

    /// Takes a chunk: into batches, or, while nothing may be signed, among what is staged.
    async fn take(&mut self, chunk: RecordChunk, queue: &mut mpsc::Receiver<RecordChunk>) -> Result<(), JournalError> {
        let ended = match self.shut() {
            Some(why) => WorkedOff::Shut(why),
            None if self.has_backlog() => self.work_off().await?,
            None => WorkedOff::All,
        };
        match ended {
            WorkedOff::Shut(why) => {
                self.indexed = false;
                self.stage(chunk, queue, &why).await
            }
            WorkedOff::Blocked(why) => {
                let _ = chunk.reply.send(Err(why));
                Ok(())
            }
            WorkedOff::All => {
                (self.patience, self.says) = (None, false);
                match self.caught_up().await {
                    Ok(()) => self.batch(chunk).await,
                    Err(ChunkError::NotSealed(why)) => self.stage(chunk, queue, &why).await,
                    Err(why) => {
                        let _ = chunk.reply.send(Err(why));
                        Ok(())
                    }
                }
            }
        }
    }

    /// Puts the new records of a chunk into batches.
    async fn batch(&mut self, chunk: RecordChunk) -> Result<(), JournalError> {
        let awaited = chunk.awaited;
        self.waiting.push_back(WaitingChunk::new(chunk.reply));
        let mut last = 0;
        for checked in chunk.records {
            let lookup = DedupLookup { index: &self.sources.index, unsealed: &self.unsealed };
            let looked = lookup.look(&checked, &chunk.policy);
            let Some(w) = self.waiting.back_mut() else { return Ok(()) };
            let looked = match looked {
                Ok(looked) => looked,
                Err(e) => {
                    if let Some(w) = self.waiting.pop_back() {
                        let _ = w.reply.send(Err(ChunkError::Index(e.reason())));
                    }
                    return Ok(());
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
                    let (row, offset) = (w.result.rows.len(), self.open.len());
                    w.unsealed.push(UnsealedRow { row, batch: self.number, offset });
                    // Its index is known once its batch is sealed.
                    RowFate::Accepted { index: u64::MAX }
                }
            };
            let accepted = matches!(fate, RowFate::Accepted { .. });
            w.result.rows.push(RowOutcome { fate, findings: looked.findings });
            if accepted {
                self.add(checked).await?;
            }
        }
        if let Some(w) = self.waiting.back_mut() {
            w.last = last;
        }
        self.awaited |= awaited && last == self.number;
        self.answer();
        Ok(())
    }

    /// Waits for the index: after a start and after fetching, until it has the own log, and when too much waits for it.
    async fn caught_up(&mut self) -> Result<(), ChunkError> {
        let mut stop = self.stop.clone();
        tokio::select! {
            caught_up = self.catch_up() => caught_up,
            _ = stop.wait_for(|s| *s) => Err(ChunkError::Stopping),
        }
    }

    /// After a start, and after fetching from the parent, the log holds records that neither the index nor the pending
    /// ids know yet. Until the index has them, nobody can say what is a duplicate.
    async fn catch_up(&mut self) -> Result<(), ChunkError> {
        let size = (self.own)().size;
        if size > self.sealed_to && self.flying.is_empty() {
            (self.indexed, self.sealed_to) = (false, size);
        }
        if !self.indexed {
            let until = *self.sources.durable.borrow();
            let caught_up = self.sources.progress.wait_for(|p| p.cursor >= until || p.trouble.is_some()).await;
            let trouble = caught_up.map_err(|_| ChunkError::Stopping)?.trouble.clone();
            if let Some(why) = trouble {
                return Err(ChunkError::Index(why));
            }
            self.indexed = true;
        }
        if let Some(why) = self.in_hole() {
            return Err(why.into());
        }
        // Staged rows wait for no index.
        while self.sources.index.pending() > PENDING_MAX.saturating_add(self.staged.book().counts().records as usize) {
            if let Some(why) = self.sources.progress.borrow().trouble.clone() {
                return Err(ChunkError::Index(why));
            }
            sleep(Duration::from_millis(20)).await;
        }
        Ok(())
    }

    async fn add(&mut self, checked: CheckedRecord) -> Result<(), JournalError> {
        let CheckedRecord { record, content, .. } = checked;
        let id = record.id();
        self.unsealed.insert(id, self.number);
        self.sources.index.add_pending(id, &content);
        if self.open.is_empty() {
            self.deadline = Some(Instant::now() + self.close_after);
        }
        self.open_bytes += raw_len(&record);
        self.open.push(record);
        if self.open.len() >= BATCH_RECORDS_MAX || self.open_bytes >= BATCH_CLOSE_BYTES {
            self.close().await?;
        }
        Ok(())
    }

    async fn finished(&mut self, result: Option<Sealed>) -> Result<(), JournalError> {
        let Some(flying) = self.flying.pop_front() else { return Ok(()) };
        let number = self.number - 1 - self.flying.len() as u64;
        let ids: Vec<_> = flying.records.iter().map(Record::id).collect();
        for id in &ids {
            self.unsealed.remove(id);
        }
        match result {
            Some(Ok(range)) => {
                self.sealed_to = self.sealed_to.max(range.1);
                self.waiting.iter_mut().filter(|w| w.waits_for(number)).for_each(|w| w.sealed(number, range));
            }
            Some(Err(why)) => {
                self.is_refused(number, &flying.records, &why).await?;
                self.was_refused(why);
            }
            None => {
                self.sources.index.forget_pending(ids.iter());
                let concerned = self.waiting.iter_mut().filter(|w| w.waits_for(number));
                concerned.for_each(|w| w.failed = Some(ChunkError::DiskFailed));
            }
        }
        self.answer();
        Ok(())
    }

    /// Answers every chunk whose last batch is durable.
    fn answer(&mut self) {
        let durable = self.number - self.flying.len() as u64;
        while self.waiting.front().is_some_and(|w| w.last < durable) {
            let Some(w) = self.waiting.pop_front() else { return };
            let result = match w.failed {
                None => {
                    self.count(&w.result);
                    let range = w.result.range.filter(|_| w.result.accepted() > 0);
                    Ok(ChunkResult { range, ..w.result })
                }
                Some(why) => Err(why),
            };
            let _ = w.reply.send(result);
        }
    }
}

#[cfg(test)]
mod tests;
