//! What is sealed before anything new: records carried over from a closed epoch, then staged rows as they came.
//!
//! Sealing is idempotent by id: a record that the own log has is not sealed again. So a stop at any point, and an order that was
//! given twice, changes nothing. Whatever was accepted is sealed, or is held: it is judged by no rule any more.

use super::{Batcher, ChunkError, ChunkResult, OwnLog, RecordChunk, RowFate, RowOutcome};
use crate::CheckedRecord;
use std::{collections::HashSet, time::Duration};
use tally_core::NotSealed;
use tally_driver::Mail;
use tally_journal::JournalError;
use tally_protocol::{
    batch::raw_len,
    ids::LogId,
    limits::{BATCH_CLOSE_BYTES, BATCH_RECORDS_MAX},
    record::{Record, RecordId},
};
use tally_store::{
    index::query::holders,
    staged::{FrameOutcome, StagedFrame},
};
use tokio::{
    sync::oneshot,
    time::{Instant, timeout},
};

/// Whether something may be signed again is looked at this often.
pub(super) const LOOK: Duration = Duration::from_millis(100);
/// After the core has refused to seal, rows are staged for so long before it is asked again.
const REFUSED_FOR: Duration = Duration::from_secs(1);

/// How far the backlog was worked off.
pub(super) enum WorkedOff {
    /// Nothing is left.
    All,
    /// Nothing may be signed, for this reason.
    Shut(NotSealed),
    /// It cannot go on now.
    Blocked(ChunkError),
}

/// A staged row that is about to be sealed: of which frame, by its place among those taken out together.
struct FreshRow {
    frame: usize,
    record: Record,
}

impl Batcher {
    /// Whether something has to be sealed before anything new.
    pub(super) fn has_backlog(&self) -> bool {
        self.carried.is_some() || !self.staged.is_empty()
    }

    /// Why nothing may be signed now.
    pub(super) fn shut(&self) -> Option<NotSealed> {
        let refused = || self.refused.as_ref().filter(|(_, until)| Instant::now() < *until).map(|(why, _)| why.clone());
        (self.own)().closed.or_else(refused).or_else(|| self.in_hole())
    }

    /// Records of the own logs that the index does not know because they stand in a hole: what is sealed now might stand there.
    /// A hole that the index knew before does no harm.
    pub(super) fn in_hole(&self) -> Option<NotSealed> {
        let missing = self.sources.progress.borrow().own_missing;
        let why = || {
            format!(
                "{missing} of them, of which nobody can say here what they were; tally reconcile --with parent --repair brings them back"
            )
        };
        (missing > 0).then(|| NotSealed::Damaged(why()))
    }

    /// The core refused to seal, though the gate seemed to be open.
    pub(super) fn was_refused(&mut self, why: NotSealed) {
        self.refused = Some((why, Instant::now() + REFUSED_FOR));
        self.indexed = false;
    }

    /// Seals what comes before anything new, as far as that may be done now.
    pub(super) async fn work_off(&mut self) -> Result<WorkedOff, JournalError> {
        self.land().await?;
        loop {
            if *self.stop.borrow() {
                return Ok(WorkedOff::Blocked(ChunkError::Stopping));
            }
            if let Some(why) = self.shut() {
                self.indexed = false;
                self.staged.pause_sealing();
                return Ok(WorkedOff::Shut(why));
            }
            (self.patience, self.says) = (None, false);
            if !self.has_backlog() {
                return Ok(WorkedOff::All);
            }
            match self.caught_up().await {
                Ok(()) => {}
                Err(ChunkError::NotSealed(why)) => return Ok(WorkedOff::Shut(why)),
                Err(why) => return Ok(WorkedOff::Blocked(why)),
            }
            let step = if self.carried.is_some() { self.carry_over().await } else { self.seal_staged().await? };
            match step {
                Ok(()) => {}
                Err(ChunkError::NotSealed(why)) => self.was_refused(why),
                Err(why) => return Ok(WorkedOff::Blocked(why)),
            }
        }
    }

    /// The next chunk that is carried over, if it comes soon.
    async fn carry_over(&mut self) -> Result<(), ChunkError> {
        let Some(carried) = &mut self.carried else { return Ok(()) };
        match timeout(LOOK, carried.recv()).await {
            Err(_) => Ok(()),
            Ok(None) => {
                self.carried = None;
                Ok(())
            }
            Ok(Some(RecordChunk { records, reply, .. })) => {
                let result = self.seal_carried(records).await;
                let refused = result.as_ref().err().cloned();
                let _ = reply.send(result);
                refused.map_or(Ok(()), Err)
            }
        }
    }

    async fn seal_carried(&mut self, records: Vec<CheckedRecord>) -> Result<ChunkResult, ChunkError> {
        let mut result = ChunkResult::default();
        let (mut batch, mut rows, mut bytes) = (Vec::new(), Vec::new(), 0);
        for CheckedRecord { record, content, .. } in records {
            let id = record.id();
            let held = self.sources.index.holds(&id).map_err(|e| ChunkError::Index(e.reason()))?;
            let fate = if held { RowFate::Duplicate { held: id } } else { RowFate::Accepted { index: u64::MAX } };
            result.rows.push(RowOutcome { fate, findings: Vec::new() });
            if held {
                continue;
            }
            self.sources.index.add_pending(id, &content);
            bytes += raw_len(&record);
            rows.push(result.rows.len() - 1);
            batch.push(record);
            if batch.len() >= BATCH_RECORDS_MAX || bytes >= BATCH_CLOSE_BYTES {
                self.seal_rows(std::mem::take(&mut batch), &std::mem::take(&mut rows), &mut result).await?;
                bytes = 0;
            }
        }
        self.seal_rows(batch, &rows, &mut result).await?;
        self.count(&result);
        Ok(result)
    }

    async fn seal_rows(
        &mut self,
        batch: Vec<Record>,
        rows: &[usize],
        result: &mut ChunkResult,
    ) -> Result<(), ChunkError> {
        if batch.is_empty() {
            return Ok(());
        }
        let ids: Vec<_> = batch.iter().map(Record::id).collect();
        match self.seal(batch).await {
            Ok((start, end)) => {
                self.sealed_to = self.sealed_to.max(end);
                let (low, high) = result.range.unwrap_or((start, end));
                result.range = Some((low.min(start), high.max(end)));
                rows.iter().zip(start..).for_each(|(row, index)| result.set(*row, RowFate::Accepted { index }));
                Ok(())
            }
            Err(why) => {
                self.sources.index.forget_pending(ids.iter());
                Err(why)
            }
        }
    }

    /// Seals records as one batch, and waits until they are durable.
    async fn seal(&self, records: Vec<Record>) -> Result<(u64, u64), ChunkError> {
        let (reply, result) = oneshot::channel();
        // If the driver has ended, the reply is dropped.
        let _ = self.mailbox.send(Mail::Seal { records, follows: false, reply }).await;
        Ok(result.await.map_err(|_| ChunkError::DiskFailed)??)
    }

    /// Seals the next staged rows, at most a batch of them, and puts them away.
    async fn seal_staged(&mut self) -> Result<Result<(), ChunkError>, JournalError> {
        let OwnLog { log: own, size, .. } = (self.own)();
        match self.staged.begin_sealing(own, size) {
            Err(e) if e.shortage().is_some() => return Ok(Err(ChunkError::Staged(e.to_string()))),
            begun => begun?,
        }
        let frames = match self.staged.next(BATCH_RECORDS_MAX, BATCH_CLOSE_BYTES) {
            Ok(frames) => frames,
            Err(e) => return Ok(Err(ChunkError::Staged(e.to_string()))),
        };
        let mut outcomes: Vec<_> = frames.iter().map(|f| FrameOutcome::of(f.number)).collect();
        let (mut fresh, mut ids, mut taken) = (Vec::new(), Vec::new(), HashSet::new());
        for (place, (frame, outcome)) in frames.into_iter().zip(&mut outcomes).enumerate() {
            match self.sort_out(frame, outcome, &mut ids, &mut taken) {
                Ok(records) => fresh.extend(records.into_iter().map(|record| FreshRow { frame: place, record })),
                Err(why) => return Ok(Err(why)),
            }
        }
        if !fresh.is_empty() {
            let (places, records): (Vec<_>, Vec<_>) = fresh.into_iter().map(|f| (f.frame, f.record)).unzip();
            match self.seal(records).await {
                Ok((start, end)) => {
                    self.sealed_to = self.sealed_to.max(end);
                    for (place, index) in places.into_iter().zip(start..) {
                        if let Some(outcome) = outcomes.get_mut(place) {
                            outcome.sealed_at(own, index);
                        }
                    }
                }
                Err(why) => return Ok(Err(why)),
            }
        }
        let (sealed, held): (u64, u64) = outcomes.iter().fold((0, 0), |s, o| (s.0 + o.sealed, s.1 + o.duplicate));
        self.staged.forget(ids.iter());
        self.staged.put_away(outcomes)?;
        tracing::info!(
            event = "staged.sealed",
            sealed,
            held,
            left = self.staged.book().counts().records,
            "rows that were staged"
        );
        Ok(Ok(()))
    }

    /// Tells rows of a frame that are to be sealed, which it answers, from those that the own log has.
    fn sort_out(
        &self,
        frame: StagedFrame,
        outcome: &mut FrameOutcome,
        ids: &mut Vec<RecordId>,
        taken: &mut HashSet<RecordId>,
    ) -> Result<Vec<Record>, ChunkError> {
        let rows = match frame.rows {
            Ok(rows) => rows,
            Err(lost) => {
                outcome.lost = lost.records;
                self.are_lost(&lost.ids);
                return Ok(Vec::new());
            }
        };
        let mut fresh = Vec::new();
        for bytes in rows {
            // It was one when it was staged.
            let Some(CheckedRecord { record, content, .. }) = CheckedRecord::acknowledged(&bytes) else {
                outcome.lost += 1;
                self.are_lost(&[RecordId::of(&bytes)]);
                continue;
            };
            let id = record.id();
            // What an earlier frame has is sealed with that; a frame itself may stand on the disk twice.
            if !self.staged.is_of(&id, frame.number) || !taken.insert(id) {
                outcome.duplicate += 1;
                continue;
            }
            // It counts as about to be held since it was staged; now it matters whether it is held.
            self.sources.index.forget_pending(std::iter::once(&id));
            match self.held_at(id) {
                Ok(None) => {
                    self.sources.index.add_pending(id, &content);
                    fresh.push(record);
                }
                Ok(Some((log, index))) if self.staged.was_sealed(frame.number, log, index) => {
                    outcome.sealed_at(log, index)
                }
                Ok(Some(_)) => outcome.duplicate += 1,
                Err(why) => {
                    self.sources.index.add_pending(id, &content);
                    return Err(why);
                }
            }
            ids.push(id);
        }
        Ok(fresh)
    }

    /// Nobody has these rows any more: they are no duplicates when they come again.
    fn are_lost(&self, ids: &[RecordId]) {
        self.sources.index.forget_pending(ids.iter());
        self.staged.forget(ids.iter());
    }

    /// Where this node's own logs have a record.
    fn held_at(&self, id: RecordId) -> Result<Option<(LogId, u64)>, ChunkError> {
        let index = |e: tally_store::index::EngineError| ChunkError::Index(e.reason());
        if !self.sources.index.holds(&id).map_err(index)? {
            return Ok(None);
        }
        let own = (self.own)().log.division;
        let found = holders(&*self.sources.engine, id).map_err(index)?;
        Ok(found.into_iter().filter(|(log, _)| log.division == own).map(|(log, e)| (log, e.index)).max())
    }
}
