//! While nothing may be signed, records are judged as always and staged: durable when they are answered (I12).
//!
//! What is found is what the index says, if it has caught up with the journal or does so within [`PATIENCE`]; else only a
//! record's id is looked for, nothing is said of what is held, and what turns out to be held is found when it is sealed.

use super::{
    BLOCKED, Batcher, ChunkError, ChunkResult, RecordChunk, RowFate, RowOutcome,
    dedup::{DedupLookup, HeldRecord, Looked},
    waiting::WaitingChunk,
};
use crate::CheckedRecord;
use std::{collections::HashMap, sync::atomic::Ordering, time::Duration};
use tally_core::NotSealed;
use tally_journal::JournalError;
use tally_protocol::record::Record;
use tally_store::staged::StagedStore;
use tally_topology::catalog::Severity;
use tokio::{
    sync::mpsc,
    time::{Instant, timeout, timeout_at},
};

/// Chunks that are staged with one flush.
const TOGETHER: usize = 8;
/// After signing has stopped, the index has this long to catch up before rows are staged without it.
const PATIENCE: Duration = Duration::from_secs(2);

impl Batcher {
    /// Stages a chunk, and those that wait behind it.
    pub(super) async fn stage(
        &mut self,
        chunk: RecordChunk,
        queue: &mut mpsc::Receiver<RecordChunk>,
        why: &NotSealed,
    ) -> Result<(), JournalError> {
        // What came before is staged before.
        self.land().await?;
        let indexed = self.index_says(why).await;
        let (mut next, mut done) = (Some(chunk), Vec::new());
        while let Some(RecordChunk { records, policy, reply, .. }) = next.take() {
            let mut result = ChunkResult::default();
            let fresh = self.look_at(records, indexed.then_some(&policy), &mut result);
            let staged = self.keep_staged(&fresh, why, &mut result).await?;
            done.push((reply, staged.map(|()| result)));
            if done.len() < TOGETHER {
                next = queue.try_recv().ok();
            }
        }
        self.with_room(StagedStore::flush).await?;
        self.written_at = Some(Instant::now());
        for (reply, result) in done {
            if let Ok(result) = &result {
                self.count(result);
            }
            let _ = reply.send(result);
        }
        Ok(())
    }

    /// Calls the store of staged rows until it has room for what it does, or the node is told to stop. Nothing of it was said.
    async fn with_room<T>(
        &mut self,
        mut call: impl FnMut(&mut StagedStore) -> Result<T, JournalError>,
    ) -> Result<T, JournalError> {
        let mut told = false;
        loop {
            match call(&mut self.staged) {
                Err(e) if e.shortage().is_some() && !*self.stop.borrow() => {
                    if !std::mem::replace(&mut told, true) {
                        tracing::error!(event = "storage.full", reason = %e, "no room: staged rows wait until there is");
                    }
                }
                done => return done,
            }
            let stopped = self.stop.wait_for(|s| *s);
            let _ = timeout(BLOCKED, stopped).await;
        }
    }

    pub(super) fn count(&self, result: &ChunkResult) {
        self.totals.accepted.fetch_add(result.accepted(), Ordering::Relaxed);
        self.totals.duplicate.fetch_add(result.duplicates(), Ordering::Relaxed);
    }

    /// Whether the index can be asked what is held.
    async fn index_says(&mut self, why: &NotSealed) -> bool {
        let until = *self.sources.durable.borrow();
        let patience = *self.patience.get_or_insert_with(|| Instant::now() + PATIENCE);
        let progress = &mut self.sources.progress;
        let caught_up = timeout_at(patience, progress.wait_for(|p| p.cursor >= until || p.trouble.is_some())).await;
        let now = matches!(caught_up, Ok(Ok(p)) if p.trouble.is_none());
        // Records of other logs come in all the time; of the own one only while it is fetched.
        self.says = now || self.says && !matches!(why, NotSealed::Fetching(_));
        self.says
    }

    /// Looks at the records of a chunk; answers the new ones. Without a policy only ids are looked for.
    fn look_at(
        &mut self,
        records: Vec<CheckedRecord>,
        policy: Option<&super::DedupPolicy>,
        result: &mut ChunkResult,
    ) -> Vec<Record> {
        let (index, unsealed) = (&self.sources.index, HashMap::new());
        let mut fresh: Vec<Record> = Vec::new();
        for checked in records {
            // What the index cannot say now it says before the row is sealed.
            let by_id = || Looked {
                held: index.is_found(&checked.record.id()).then(|| HeldRecord {
                    id: checked.record.id(),
                    on_its_way: None,
                    in_force: true,
                }),
                findings: Vec::new(),
            };
            let looked = policy.and_then(|p| DedupLookup { index, unsealed: &unsealed }.look(&checked, p).ok());
            result.by_id |= looked.is_none();
            let looked = looked.unwrap_or_else(by_id);
            let fate = match looked.held {
                Some(held) if held.in_force => RowFate::Duplicate { held: held.id },
                Some(held) => RowFate::Superseded { held: held.id },
                None if looked.findings.iter().any(|(_, s)| *s == Severity::Reject) => RowFate::Rejected,
                None => {
                    index.add_pending(checked.record.id(), &checked.content);
                    fresh.push(checked.record);
                    RowFate::Staged
                }
            };
            result.rows.push(RowOutcome { fate, findings: looked.findings });
        }
        fresh
    }

    /// Writes new records, all or none of them; they are durable after the next flush.
    async fn keep_staged(
        &mut self,
        fresh: &[Record],
        why: &NotSealed,
        result: &mut ChunkResult,
    ) -> Result<Result<(), ChunkError>, JournalError> {
        let bytes = fresh.iter().map(|r| r.bytes().len() + 1).sum();
        if !fresh.is_empty() && !self.staged.has_room(fresh.len(), bytes) {
            self.sources.index.forget_pending(fresh.iter().map(Record::id).collect::<Vec<_>>().iter());
            return Ok(Err(ChunkError::StagedFull(why.clone())));
        }
        if let Some(run) = self.with_room(|staged| staged.append(fresh)).await? {
            result.staged.push(run);
            result.because = Some(why.clone());
        }
        Ok(Ok(()))
    }

    /// A batch that was on its way may not be signed: its records are staged in its place, each chunk's by itself. Behind the first
    /// for which there is no room none is staged before all that was judged with it in sight is answered.
    pub(super) async fn stage_batch(
        &mut self,
        number: u64,
        records: &[Record],
        why: &NotSealed,
    ) -> Result<(), JournalError> {
        let mut left: Vec<Option<&Record>> = records.iter().map(Some).collect();
        let mut waiting = std::mem::take(&mut self.waiting);
        for w in waiting.iter_mut().filter(|w| w.waits_for(number)) {
            let rows = w.taken_from(number);
            let fresh: Vec<_> = rows.iter().filter_map(|(_, at)| left.get_mut(*at)?.take().cloned()).collect();
            let mut result = std::mem::take(&mut w.result);
            match self.keep_unless_cut(&fresh, why, &mut result).await? {
                Ok(()) => rows.iter().for_each(|(row, _)| result.set(*row, RowFate::Staged)),
                Err(full) => w.failed = Some(full),
            }
            w.result = result;
        }
        // Of chunks that were refused meanwhile: another may be told that it hands in the same.
        let rest: Vec<_> = left.into_iter().flatten().cloned().collect();
        let refused = self.keep_unless_cut(&rest, why, &mut ChunkResult::default()).await?.is_err();
        self.with_room(StagedStore::flush).await?;
        self.written_at = Some(Instant::now());
        // Whoever waits for this batch may wait for a record of it that was not kept.
        let concerned = |w: &&mut WaitingChunk| w.waits_for(number);
        if refused || waiting.iter_mut().filter(concerned).any(|w| w.failed.is_some()) {
            let full = ChunkError::StagedFull(why.clone());
            waiting.iter_mut().filter(concerned).for_each(|w| w.failed = Some(full.clone()));
        }
        self.waiting = waiting;
        self.cut &= !(self.flying.is_empty() && self.open.is_empty());
        Ok(())
    }

    /// Stages records of a batch that was on its way, if all before them were.
    async fn keep_unless_cut(
        &mut self,
        fresh: &[Record],
        why: &NotSealed,
        result: &mut ChunkResult,
    ) -> Result<Result<(), ChunkError>, JournalError> {
        if self.cut && !fresh.is_empty() {
            self.sources.index.forget_pending(fresh.iter().map(Record::id).collect::<Vec<_>>().iter());
            return Ok(Err(ChunkError::StagedFull(why.clone())));
        }
        let kept = self.keep_staged(fresh, why, result).await?;
        self.cut |= kept.is_err();
        Ok(kept)
    }
}
