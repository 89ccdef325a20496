//! What this disk lacks: by reading it anew, or as the core knows. It changes nothing on the disk; what a reading found is told
//! to the core.

use crate::verify::{self, ClaimedSizes, Stopped, Survey, VerifyInput, Watermark};
use crate::{ReconcileContext, ReconcileError};
use std::{fmt, path::Path, sync::Arc};
use tally_core::Place;
use tally_core::{Input, View};
use tally_driver::Mail;
use tally_journal::{Journal, Position, segment_path};
use tally_protocol::{
    blocks,
    hash::Hash,
    ids::LogId,
    session::{
        Wants,
        reconcile::{Lacking, REMAINS_MAX, Remains, Scope, ScopeStanding},
    },
    wire::Head,
};
use tally_store::entries::position;
use tokio::sync::oneshot;

/// How far a reading of the disk is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SurveyProgress {
    /// Bytes read, with the frame that comes now.
    pub done: u64,
    /// Bytes to read: fixed when the reading starts.
    pub total: u64,
    /// Bytes of the frame that comes now.
    pub frame: u64,
}

/// Takes how far a reading is and where another could go on.
type ThrottleFn = dyn Fn(&SurveyProgress, &Watermark) -> Result<(), Stopped> + Send + Sync;

/// Told before each frame; may wait, and may end the reading.
#[derive(Clone)]
pub struct Throttle(pub Arc<ThrottleFn>);

impl fmt::Debug for Throttle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Throttle")
    }
}

/// A batch that is missing, and where its damaged copy lies.
struct Lost {
    log: LogId,
    start: u64,
    place: Place,
}

impl ReconcileContext {
    /// Reads the disk and tells the core what it found; goes on where an earlier reading stopped.
    ///
    /// Not cancel-safe: the reading itself goes on until its throttle ends it.
    ///
    /// # Errors
    /// [`ReconcileError`].
    pub async fn survey(
        &self,
        only: Option<LogId>,
        before: Watermark,
        throttle: Throttle,
    ) -> Result<Survey, ReconcileError> {
        // Sizes first: the journal holds at least as much by the time it is read.
        let view = self.mailbox.view();
        let dead = view.dead_branches();
        let counts = |id: &LogId| dead.iter().find(|(log, ..)| log == id).map(|(_, from, _)| *from);
        let held: ClaimedSizes =
            view.logs().iter().map(|(id, l)| (*id, counts(id).unwrap_or_else(|| l.size()))).collect();
        // Receipts are not flushed for by themselves; what is damaged of them is to be seen too.
        let (reply, flushed) = oneshot::channel();
        self.mailbox.send(Mail::Flush(reply)).await?;
        flushed.await.map_err(|_| tally_driver::Stopping)?;
        let until = *self.durable.borrow();
        let context = self.clone();
        let logs: Vec<_> = held.keys().copied().collect();
        let survey = tokio::task::spawn_blocking(move || {
            // What a descriptor still shows of a deleted file is not on the disk.
            context.reader.forget_files();
            let charter = context.charter.charter();
            let known_damage = context.known_damage.at_start();
            let total = before.bytes + bytes_to_read(context.reader.dir(), before.segment, position(until));
            let charter = charter.charter();
            let (held, dead, known_damage) = (&held, &*dead, &*known_damage);
            let input = VerifyInput { until, charter, held, known_damage, dead, only, before: &before };
            let mut done = before.bytes;
            let mut told = |frame: u64, watermark: &Watermark| {
                done += frame;
                (throttle.0)(&SurveyProgress { done: done.min(total), total, frame }, watermark)
            };
            verify::verify(&context.reader, input, &mut told)
        });
        let mut survey = survey.await.map_err(|_| ReconcileError::Thread)??;
        let from = Place(0);
        for log in logs.into_iter().filter(|l| only.is_none_or(|o| o == *l)) {
            let lacks = survey.lacks.get(&log).map_or(&[][..], Vec::as_slice);
            let missing = lacks.iter().map(|l| (l.from, l.to)).collect();
            let copies = survey.copies.remove(&log).unwrap_or_default();
            self.mailbox.send(Mail::Core(Input::Surveyed { log, missing, copies, from, until })).await?;
        }
        if only.is_none() {
            self.known_damage.set(survey.places.clone());
        }
        for d in &survey.report.damaged {
            let kind = d.kind.name();
            tracing::error!(event = "verify.damaged", segment = d.segment, offset = d.offset, kind, log = ?d.log, from = ?d.from, to = ?d.to, "damaged");
        }
        Ok(survey)
    }

    /// Where this node stands, as the core knows: heads, and what is missing with what is left of it.
    ///
    /// Cancel-safe: it changes nothing.
    ///
    /// # Errors
    /// [`ReconcileError`].
    pub async fn standing(&self, scope: Scope) -> Result<(Option<Hash>, ScopeStanding), ReconcileError> {
        // What a survey found was sent to the core just before.
        let (digest, mut standing, lost) = stand(&*self.mailbox.settled().await?, scope);
        let reader = self.reader.clone();
        let read = move || {
            let remains = |l: Lost| {
                let (bytes, total) = reader.remains(l.place)?;
                Some((l.log, Remains { start: l.start, total: total as u32, sums: blocks::sums(&bytes) }))
            };
            lost.into_iter().take(REMAINS_MAX).filter_map(remains).collect::<Vec<_>>()
        };
        for (log, remains) in tokio::task::spawn_blocking(read).await.map_err(|_| ReconcileError::Thread)? {
            if let Some(lacking) = standing.lacks.get_mut(&log) {
                lacking.remains.push(remains);
            }
        }
        Ok((digest, standing))
    }
}

fn in_scope(r: &View, scope: Scope, log: LogId) -> bool {
    match scope {
        Scope::Log(only) => only == log,
        Scope::Division(top) => r.charter().is_within(log.division, top),
    }
}

fn stand(r: &View, scope: Scope) -> (Option<Hash>, ScopeStanding, Vec<Lost>) {
    let digest = match scope {
        Scope::Division(d) => r.digest(d),
        Scope::Log(log) => r.logs().get(&log).filter(|l| l.size() > 0).map(|l| l.tree().root()),
    };
    let (mut standing, mut lost) = (ScopeStanding::default(), Vec::new());
    for (id, log) in r.logs().iter().filter(|(id, l)| l.size() > 0 && in_scope(r, scope, **id)) {
        let head = Head { log: *id, size: log.size(), root: log.tree().root(), note: log.note.clone() };
        standing.heads.insert(*id, head);
        let mut wants = Wants::new(*id);
        for (from, to) in log.missing() {
            wants.insert(from..to);
            if let Some((_, held)) = log.batch_at(from) {
                lost.push(Lost { log: *id, start: from, place: held.place });
            }
        }
        // One message a page; what does not fit one page is input in the next comparison.
        if let Some(page) = wants.pages().next() {
            standing.lacks.insert(*id, Lacking { wants: page.encode(), remains: Vec::new() });
        }
    }
    (digest, standing, lost)
}

#[expect(clippy::disallowed_methods, reason = "the thread that reads the segments calls it")]
fn bytes_to_read(dir: &Path, from_segment: u32, until: Position) -> u64 {
    let head = Journal::origin().offset;
    let len = |segment| std::fs::metadata(segment_path(dir, segment)).map_or(0, |m| m.len().saturating_sub(head));
    let sealed: u64 = (from_segment.max(1)..until.segment).map(len).sum();
    sealed + len(until.segment).min(until.offset.saturating_sub(head))
}
