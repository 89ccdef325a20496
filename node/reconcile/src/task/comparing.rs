//! The job that compares with neighbours: whom to ask in which order, what came of it all, and the exit code.
//!
//! What is said to one neighbour is not known here (`session`), nor when tasks run.

use super::{
    TaskContext, TaskControl, With,
    jobs::{DIFFERENCES, IN_ORDER, LOOK, Outcome, failed, index},
    turns::{DISK, Turns},
};
use crate::{
    ReconcileError,
    context::chain,
    session::{Reconciled, SessionOptions},
    survey::Throttle,
    verify::{IndexState, Survey, VerifyError, Watermark},
};
use serde::{Deserialize, Serialize};
use std::{sync::Arc, time::Duration};
use tally_protocol::{
    ids::{Division, Federation, LogId},
    session::reconcile::RangeHolding,
};
use tokio::{
    sync::{Semaphore, watch},
    task::JoinSet,
};
use tracing::Instrument as _;

/// The result of a reconcile; its JSON is the contract of `tally reconcile --json`.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct ReconcileResult {
    /// With whom.
    pub with: String,
    /// In the end all neighbours that were reached hold the same, and all of it.
    pub agree: bool,
    /// What was found, before anything was mended.
    pub differences: Vec<DifferenceOut>,
    /// Records that came back, here and there.
    pub repaired: u64,
    /// Places of this node's journal that were put right.
    pub mended_places: u64,
    /// Bytes that came in.
    pub fetched_bytes: u64,
    /// Bytes that went out.
    pub sent_bytes: u64,
    /// Round trips.
    pub rounds: u64,
    /// Whether this was a dry run: what is missing was named and not moved.
    pub dry_run: bool,
    /// The index was not that of the journal, and is built anew.
    pub index_rebuilt: bool,
    /// Neighbours that could not be compared with, and why.
    pub skipped: Vec<Skipped>,
    /// Why something could not be mended, the last of it.
    pub trouble: Option<String>,
}

/// Records that do not stand alike at both sides.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct DifferenceOut {
    /// With which neighbour.
    pub with: Division,
    /// Origin of the log.
    pub log: String,
    /// First record.
    pub index: u64,
    /// One past the last.
    pub to: u64,
    /// At this node: `ok`, `damaged`, `missing`, `other`.
    pub here: RangeHolding,
    /// At the neighbour.
    pub there: RangeHolding,
    /// It is gone by now.
    pub mended: bool,
}

/// A neighbour that could not be compared with.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Skipped {
    /// Who.
    pub division: Division,
    /// Why.
    pub why: String,
}

/// The neighbours meant by `with`, in the order of asking: the parent first, because it has seen most.
fn neighbours(context: &TaskContext, with: With) -> Result<Vec<Division>, String> {
    let r = context.reconcile.mailbox.view();
    let parent = r.charter().parent(r.me());
    let children: Vec<_> = r.charter().children(r.me()).filter(|n| !n.retired).map(|n| n.division).collect();
    match with {
        With::Parent => parent.map(|p| vec![p]).ok_or_else(|| "this node has no parent".to_owned()),
        With::All => Ok(parent.into_iter().chain(children).collect()),
        With::Division(d) if parent == Some(d) || children.contains(&d) => Ok(vec![d]),
        With::Division(d) => Err(format!("{d} is neither the parent nor a child of this node")),
    }
}

/// What a reconcile is to do.
pub(super) struct ReconcileOptions {
    pub(super) with: With,
    pub(super) log: Option<LogId>,
    pub(super) repair: bool,
    /// Neighbours read their disks first.
    pub(super) deep: bool,
    /// This node reads its disk first.
    pub(super) own_disk: bool,
    pub(super) why: String,
}

/// The task that does it.
#[derive(Clone)]
pub(super) struct At {
    pub(super) id: String,
    pub(super) turns: Turns,
    pub(super) control: Arc<TaskControl>,
}

/// Comparisons of one task at the same time.
const AT_ONCE: usize = 4;
/// The parent has seen most: what it brings is not fetched from children too, if it brings it within this time.
const HEAD_START: Duration = Duration::from_mins(5);

pub(super) async fn reconcile(context: &TaskContext, options: &ReconcileOptions, at: &At) -> Result<Outcome, String> {
    let peers = neighbours(context, options.with)?;
    let control = &at.control;
    let mut all = ReconcileResult { with: options.with.to_string(), dry_run: !options.repair, ..Default::default() };
    control.tell(|p| (p.unit, p.total) = ("neighbours".into(), Some(peers.len() as u64)));
    // The own disk is read once for all neighbours.
    let mut survey = None;
    if options.repair {
        context.reconcile.rescue().await.map_err(|e| failed(&e))?;
    }
    if options.own_disk {
        let _turn = at.turns.disk(&at.id, control).await;
        control.waits(DISK, Some(DISK.into()));
        let gate = control.clone();
        let throttle = Throttle(Arc::new(move |p, _| gate.pace(p.frame, &Watermark::default())));
        let read = context.reconcile.survey(options.log, Watermark::default(), throttle).await;
        control.waits(DISK, None);
        survey = Some(read.map_err(|e| failed(&e))?);
    }
    let mut open = all.compare(context, options, (&peers, options.deep), at, survey.as_mut()).await?;
    // What a later neighbour brought may be what an earlier one lacks.
    if options.repair && peers.len() > 1 {
        open = all.compare(context, options, (&open, false), at, survey.as_mut()).await?;
    }
    all.mend(context, options, survey.as_mut()).await?;
    // If the index is what is wrong, it is built anew; the data is not touched for it.
    all.index_rebuilt = options.repair && options.deep && index(context).await? == IndexState::Differs;
    if options.with != With::All
        && let Some(skipped) = all.skipped.first()
    {
        return Err(skipped.why.clone());
    }
    all.agree = open.is_empty() && all.skipped.len() < peers.len().max(1);
    let exit = match () {
        () if !open.is_empty() => DIFFERENCES,
        () if !all.skipped.is_empty() => LOOK,
        () => IN_ORDER,
    };
    let place = |d: Division| peers.iter().position(|p| *p == d);
    all.differences.sort_by_key(|d| place(d.with));
    all.skipped.sort_by_key(|s| place(s.division));
    let rebuild_index = all.index_rebuilt;
    Ok(Outcome { result: serde_json::to_value(&all).map_err(|e| failed(&e))?, exit, rebuild_index })
}

/// Compares with each of these, some at a time: the parent before the children, unless it takes long.
fn begin(
    context: &TaskContext,
    options: &ReconcileOptions,
    (peers, deep): (&[Division], bool),
    at: &At,
) -> JoinSet<(Division, Reconciled, Result<(), ReconcileError>)> {
    let view = context.reconcile.mailbox.view();
    let parent = view.charter().parent(view.me()).filter(|p| peers.contains(p));
    // Dropped with the comparison that has it.
    let (head, started) = watch::channel(());
    let mut head = parent.map(|_| head);
    let room = Arc::new(Semaphore::new(AT_ONCE));
    let mut comparing = JoinSet::new();
    for peer in peers.iter().copied() {
        let first = if parent == Some(peer) { head.take() } else { None };
        let (context, at, room, mut started) = (context.reconcile.clone(), at.clone(), room.clone(), started.clone());
        let options = SessionOptions { peer, log: options.log, deep, repair: options.repair };
        let work = async move {
            if first.is_none() {
                // It ends in an error when the parent's comparison has ended, or there is none.
                let _ = tokio::time::timeout(HEAD_START, started.changed()).await;
            }
            let _room = room.acquire().await;
            let _turn = at.turns.with(peer, &at.id, &at.control).await;
            let whom = peer.to_string();
            let waiting = |done: u64, total: u64| {
                let read = format!("{peer}, which has read {} of {} MiB", done >> 20, total >> 20);
                at.control.waits(&whom, Some(if total == 0 { whom.clone() } else { read }));
            };
            waiting(0, 0);
            let (done, ended) = context.reconcile(&options, &waiting).await;
            at.control.waits(&whom, None);
            drop(first);
            (peer, done, ended)
        };
        comparing.spawn(work.in_current_span());
    }
    comparing
}

impl ReconcileResult {
    /// Compares with these neighbours; answers those with which not all is in order. Whoever could not be asked is skipped.
    async fn compare(
        &mut self,
        context: &TaskContext,
        options: &ReconcileOptions,
        with: (&[Division], bool),
        at: &At,
        mut survey: Option<&mut Survey>,
    ) -> Result<Vec<Division>, String> {
        let mut comparing = begin(context, options, with, at);
        let mut open = Vec::new();
        while let Some(ended) = comparing.join_next().await {
            let (peer, done, ended) = ended.map_err(|e| match e.try_into_panic() {
                Ok(panic) => std::panic::resume_unwind(panic),
                Err(e) => failed(&e),
            })?;
            let (agree, came) = (done.agree, done.repaired > 0);
            self.add(peer, done, context.reconcile.charter.charter().charter().federation());
            match ended {
                Ok(()) => at.control.tell(|p| p.done = p.done.saturating_add(1)),
                Err(ReconcileError::Verify(VerifyError::Stopped)) => return Err("stopped".into()),
                Err(ReconcileError::Stopping(e)) => return Err(failed(&e)),
                Err(e) => {
                    self.skipped.retain(|s| s.division != peer);
                    self.skipped.push(Skipped { division: peer, why: chain(&e) });
                    continue;
                }
            }
            if !agree {
                open.push(peer);
            }
            // Places are put right as soon as what they held is here: another neighbour may take its time.
            if came {
                self.mend(context, options, survey.as_deref_mut()).await?;
            }
        }
        Ok(open)
    }

    /// Puts right the places of this node's journal that can be.
    async fn mend(
        &mut self,
        context: &TaskContext,
        options: &ReconcileOptions,
        survey: Option<&mut Survey>,
    ) -> Result<(), String> {
        if let Some(survey) = survey.filter(|_| options.repair) {
            let mended = context.reconcile.mend(survey, &options.why).await.map_err(|e| failed(&e))?;
            self.mended_places = self.mended_places.saturating_add(mended);
        }
        Ok(())
    }

    /// Adds what a comparison found. After a second comparison with the same neighbour, what the first found and the second
    /// did not is mended.
    fn add(&mut self, with: Division, done: Reconciled, federation: &Federation) {
        let found: Vec<_> = done
            .found
            .iter()
            .map(|f| DifferenceOut {
                with,
                log: federation.origin(f.difference.log),
                index: f.difference.from,
                to: f.difference.to,
                here: f.difference.here,
                there: f.difference.there,
                mended: f.mended,
            })
            .collect();
        let open =
            |d: &DifferenceOut| found.iter().any(|f| !f.mended && f.log == d.log && f.index < d.to && d.index < f.to);
        let earlier = self.differences.iter().any(|d| d.with == with);
        for d in self.differences.iter_mut().filter(|d| d.with == with) {
            d.mended = !open(d);
        }
        if !earlier {
            self.differences.extend(found);
        }
        self.repaired = self.repaired.saturating_add(done.repaired);
        self.fetched_bytes += done.fetched_bytes;
        self.sent_bytes += done.sent_bytes;
        self.rounds += done.rounds;
        self.trouble = done.trouble.or(self.trouble.take());
    }
}
