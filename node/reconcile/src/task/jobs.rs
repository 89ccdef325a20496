//! What each kind of task does. A job asks the parts of the node and decides nothing about records; what it found is its result,
//! with the exit code of the command that waits for it.
//!
//! A job that is dropped half-way is still on the list as running, and is taken up again later. When tasks run, and how the
//! list is kept, is not known here.

use super::{TaskContext, TaskControl, TaskKind, Tasks, With};
use crate::{
    ReconcileError,
    context::chain,
    session::{Reconciled, SessionOptions},
    survey::Throttle,
    verify::{IndexState, VerifyError, VerifyReport, Watermark},
};
use serde::{Deserialize, Serialize};
use std::{sync::Arc, time::Duration};
use tally_core::Gate;
use tally_protocol::{
    ids::{Division, Federation, LogId},
    session::reconcile::RangeHolding,
};
use tracing::Instrument as _;

/// How a task ended well.
#[derive(Debug, Clone)]
pub struct Outcome {
    /// For the command that waits for it.
    pub result: serde_json::Value,
    /// Its exit code.
    pub exit: u8,
}

/// An index that has not caught up after this is called behind.
const INDEX_PATIENCE: Duration = Duration::from_secs(10);
/// All in order.
const IN_ORDER: u8 = 0;
/// Done, something to look at.
const LOOK: u8 = 3;
/// Differences or damage.
const DIFFERENCES: u8 = 4;

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

/// Runs a task in a span of its own and puts its end on the list.
///
/// Cancel-safe: the task stays on the list as running, and is queued again by [`Tasks::suspend`] or at the next start.
pub(super) async fn run(context: &TaskContext, tasks: &Tasks, id: String, kind: TaskKind, control: Arc<TaskControl>) {
    let span = tracing::info_span!("task", id = %id, kind = kind.name());
    work(context, tasks, id, kind, control).instrument(span).await;
}

async fn work(context: &TaskContext, tasks: &Tasks, id: String, kind: TaskKind, control: Arc<TaskControl>) {
    let reason = tasks.get(&id).map(|t| t.reason).unwrap_or_default();
    let work = async {
        match kind {
            TaskKind::Verify { log } => verify(context, log, &control).await,
            TaskKind::Reconcile { with, log, repair, quick } => {
                let why = format!("task {id}{}{reason}", if reason.is_empty() { "" } else { ": " });
                reconcile(context, &ReconcileOptions { with, log, repair, deep: !quick, why }, tasks, &control).await
            }
            TaskKind::Restore => restore(context, &control).await,
            TaskKind::Rebuild => {
                context.rebuild_index.notify_one();
                // The node starts again without its index; there is nothing more to do here.
                Ok(Outcome { result: serde_json::json!({ "index": "is built anew" }), exit: IN_ORDER })
            }
        }
    };
    // Work that waits for a neighbour does not look at its control: it is dropped here.
    let ended = async {
        while !control.is_stopped() {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    let remember = async {
        loop {
            tokio::time::sleep(Duration::from_secs(5)).await;
            tasks.remember();
        }
    };
    let result = tokio::select! {
        result = work => result,
        () = ended => Err("stopped".to_owned()),
        () = remember => Err("stopped".to_owned()),
    };
    match &result {
        Ok(outcome) => tracing::info!(event = "task.done", task = %id, exit = outcome.exit, "a task is done"),
        Err(why) if control.is_stopped() => {
            tracing::info!(event = "task.stopped", task = %id, reason = %why, "a task was stopped")
        }
        Err(why) => tracing::warn!(event = "task.failed", task = %id, reason = %why, "a task failed"),
    }
    tasks.finished(&id, result);
}

fn throttle_of(control: &Arc<TaskControl>) -> Throttle {
    let control = control.clone();
    Throttle(Arc::new(move |p, watermark| {
        control.tell(|t| {
            t.total.get_or_insert(p.total);
            (t.done, t.unit) = (p.done, "bytes".into());
        });
        control.pace(p.frame, watermark)
    }))
}

fn failed(e: &(impl std::error::Error + 'static)) -> String {
    chain(e)
}

async fn verify(context: &TaskContext, log: Option<LogId>, control: &Arc<TaskControl>) -> Result<Outcome, String> {
    let survey =
        context.reconcile.survey(log, control.watermark(), throttle_of(control)).await.map_err(|e| failed(&e))?;
    // What a segment repeats of the one before is counted in its length, and not read again.
    control.tell(|t| t.done = t.total.unwrap_or(t.done));
    let mut report: VerifyReport = survey.report;
    report.index = match log {
        None => Some(index(context).await?),
        Some(_) => None,
    };
    let exit = match report.index {
        _ if !report.damaged.is_empty() => DIFFERENCES,
        Some(IndexState::Differs) => LOOK,
        _ => IN_ORDER,
    };
    Ok(Outcome { result: serde_json::to_value(&report).map_err(|e| failed(&e))?, exit })
}

/// Counts the index, once it has followed the journal up to now.
async fn index(context: &TaskContext) -> Result<IndexState, String> {
    let until = *context.reconcile.durable.borrow();
    let mut progress = context.progress.clone();
    let there = progress.wait_for(|p| p.cursor >= until || p.trouble.is_some());
    match tokio::time::timeout(INDEX_PATIENCE, there).await {
        Ok(Ok(p)) if p.trouble.is_some() => return Ok(IndexState::Differs),
        Ok(Ok(_)) => {}
        Ok(Err(_)) | Err(_) => return Ok(IndexState::Behind),
    }
    let engine = context.engine.clone();
    match tokio::task::spawn_blocking(move || tally_store::index::audit::is_whole(&*engine)).await {
        Ok(Ok(true)) => Ok(IndexState::Ok),
        Ok(Ok(false) | Err(_)) => Ok(IndexState::Differs),
        Err(e) => Err(failed(&e)),
    }
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
struct ReconcileOptions {
    with: With,
    log: Option<LogId>,
    repair: bool,
    deep: bool,
    why: String,
}

async fn reconcile(
    context: &TaskContext,
    options: &ReconcileOptions,
    tasks: &Tasks,
    control: &Arc<TaskControl>,
) -> Result<Outcome, String> {
    let peers = neighbours(context, options.with)?;
    let mut all = ReconcileResult { with: options.with.to_string(), dry_run: !options.repair, ..Default::default() };
    control.tell(|p| (p.unit, p.total) = ("neighbours".into(), Some(peers.len() as u64)));
    // The own disk is read once for all neighbours.
    let mut survey = None;
    if options.repair {
        context.reconcile.rescue().await.map_err(|e| failed(&e))?;
    }
    if options.deep {
        control.tell(|p| p.waiting_for = Some("this node's own disk".into()));
        let gate = control.clone();
        let throttle = Throttle(Arc::new(move |p, _| gate.pace(p.frame, &Watermark::default())));
        survey =
            Some(context.reconcile.survey(options.log, Watermark::default(), throttle).await.map_err(|e| failed(&e))?);
    }
    let mut open = Vec::new();
    for (i, peer) in peers.iter().enumerate() {
        control.tell(|p| p.done = i as u64);
        if !all.compare(context, options, *peer, options.deep, control).await? {
            open.push(*peer);
        }
    }
    // What a later neighbour brought may be what an earlier one lacks.
    if options.repair && peers.len() > 1 {
        let mut still = Vec::new();
        for peer in open {
            if !all.compare(context, options, peer, false, control).await? {
                still.push(peer);
            }
        }
        open = still;
    }
    control.tell(|p| (p.done, p.waiting_for) = (peers.len() as u64, None));
    if let Some(mut survey) = survey.filter(|_| options.repair) {
        all.mended_places = context.reconcile.mend(&mut survey, &options.why).await.map_err(|e| failed(&e))?;
    }
    // If the index is what is wrong, it is built anew; the data is not touched for it.
    if options.repair && options.deep && index(context).await? == IndexState::Differs {
        all.index_rebuilt = tasks.add(TaskKind::Rebuild, "the index differs from the journal".into(), false, 0).is_ok();
    }
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
    Ok(Outcome { result: serde_json::to_value(&all).map_err(|e| failed(&e))?, exit })
}

impl ReconcileResult {
    /// Compares with one neighbour; answers whether all is in order with it, or it could not be asked.
    async fn compare(
        &mut self,
        context: &TaskContext,
        options: &ReconcileOptions,
        peer: Division,
        deep: bool,
        control: &Arc<TaskControl>,
    ) -> Result<bool, String> {
        control.tell(|p| p.waiting_for = Some(peer.to_string()));
        let options = SessionOptions { peer, log: options.log, deep, repair: options.repair };
        let told = control.clone();
        let waiting = move |done: u64, total: u64| {
            let read = format!("{peer}, which has read {} of {} MiB", done >> 20, total >> 20);
            told.tell(|p| p.waiting_for = Some(if total == 0 { peer.to_string() } else { read }));
        };
        match context.reconcile.reconcile(&options, &waiting).await {
            Ok(done) => {
                let agree = done.agree;
                self.add(peer, done, context.reconcile.charter.charter().charter().federation());
                Ok(agree)
            }
            Err(ReconcileError::Verify(VerifyError::Stopped)) => Err("stopped".into()),
            Err(ReconcileError::Stopping(e)) => Err(failed(&e)),
            Err(e) => {
                self.skipped.retain(|s| s.division != peer);
                self.skipped.push(Skipped { division: peer, why: chain(&e) });
                Ok(true)
            }
        }
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

/// Waits until nothing of the own history is missing any more: the core fetches it by itself.
async fn restore(context: &TaskContext, control: &Arc<TaskControl>) -> Result<Outcome, String> {
    let mut total = None;
    loop {
        let view = context.reconcile.mailbox.view();
        let (left, gate, parent) = (view.restoring(), view.gate().clone(), view.charter().parent(view.me()));
        let Some(parent) = parent else { return Err("the top node has no parent to restore from".into()) };
        if gate == Gate::Frozen {
            return Err("the histories conflict: see `tally status`".into());
        }
        match left {
            None => {
                control.tell(|p| (p.unit, p.waiting_for) = ("records".into(), Some(format!("the parent {parent}"))))
            }
            Some((held, wanted)) => {
                let total = *total.get_or_insert(wanted);
                control.tell(|p| {
                    (p.unit, p.waiting_for, p.total, p.done) = ("records".into(), None, Some(total), held);
                });
                if held >= wanted && gate == Gate::Open {
                    return restored(context, parent, control).await;
                }
            }
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// Ends a restore: the own history is back, and what the parent holds of nodes below. What is missing inside is fetched; the
/// rest they send themselves.
async fn restored(context: &TaskContext, parent: Division, control: &Arc<TaskControl>) -> Result<Outcome, String> {
    control.tell(|p| p.waiting_for = Some(format!("{parent}, for what it holds of nodes below")));
    let options = SessionOptions { peer: parent, log: None, deep: false, repair: true };
    let mended = context.reconcile.reconcile(&options, &|_, _| {}).await;
    control.tell(|p| p.waiting_for = None);
    let view = context.reconcile.mailbox.view();
    let own = view.logs().iter().filter(|(id, _)| id.division == view.me());
    let logs: Vec<_> = own.map(|(id, l)| (view.charter().federation().origin(*id), l.size())).collect();
    let logs: Vec<_> = logs.iter().map(|(log, n)| serde_json::json!({ "log": log, "records": n })).collect();
    // The own history is back either way; what is missing of nodes below, these send again.
    let own = view.logs().iter().filter(|(id, _)| id.division == view.me());
    let held: u64 = own.map(|(_, log)| log.size()).sum();
    let came = view.parent().fetched_below.saturating_add(mended.as_ref().map_or(0, |b| b.repaired));
    let agree = mended.is_ok_and(|b| b.agree);
    let exit = if agree { IN_ORDER } else { LOOK };
    let result = serde_json::json!({ "records": held, "logs": logs, "below": came, "agree": agree });
    Ok(Outcome { result, exit })
}
