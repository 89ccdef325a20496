//! What each kind of task does. A job asks the parts of the node and decides nothing about records; what it found is its result,
//! with the exit code of the command that waits for it.
//!
//! A job that is dropped half-way is still on the list as running, and is taken up again later. When tasks run, and how the
//! list is kept, is not known here.

use super::{
    TaskContext, TaskControl, TaskKind, Tasks,
    comparing::{At, ReconcileOptions, reconcile},
    turns::Turns,
};
use crate::{
    ReconcileError,
    context::chain,
    session::SessionOptions,
    survey::Throttle,
    verify::{IndexState, VerifyReport},
};
use std::{sync::Arc, time::Duration};
use tally_core::{Gate, View};
use tally_protocol::{
    ids::{Division, LogId},
    wire::Refusal,
};
use tracing::Instrument as _;

/// How a task ended well.
#[derive(Debug, Clone)]
pub struct Outcome {
    /// For the command that waits for it.
    pub result: serde_json::Value,
    /// Its exit code.
    pub exit: u8,
    /// The index is not that of the journal: it is to be built anew, now that this is over.
    pub rebuild_index: bool,
}

impl Outcome {
    pub(super) fn new(result: serde_json::Value, exit: u8) -> Self {
        Self { result, exit, rebuild_index: false }
    }
}

/// An index that has not caught up after this is called behind.
const INDEX_PATIENCE: Duration = Duration::from_secs(10);
/// All in order.
pub(super) const IN_ORDER: u8 = 0;
/// Done, something to look at.
pub(super) const LOOK: u8 = 3;
/// Differences or damage.
pub(super) const DIFFERENCES: u8 = 4;

/// Runs a task in a span of its own and puts its end on the list.
///
/// Cancel-safe: the task stays on the list as running, and is queued again by [`Tasks::suspend`] or at the next start.
pub(super) async fn run(
    context: &TaskContext,
    tasks: &Tasks,
    turns: &Turns,
    (id, kind, control): (String, TaskKind, Arc<TaskControl>),
) {
    let span = tracing::info_span!("task", id = %id, kind = kind.name());
    work(context, tasks, turns, (id, kind, control)).instrument(span).await;
}

async fn work(
    context: &TaskContext,
    tasks: &Tasks,
    turns: &Turns,
    (id, kind, control): (String, TaskKind, Arc<TaskControl>),
) {
    let reason = tasks.get(&id).map(|t| t.reason).unwrap_or_default();
    let work = async {
        match kind {
            TaskKind::Verify { log } => {
                let _turn = turns.disk(&id, &control).await;
                verify(context, log, &control).await
            }
            TaskKind::Reconcile { with, log, repair, quick, own_disk } => {
                let why = format!("task {id}{}{reason}", if reason.is_empty() { "" } else { ": " });
                let options = ReconcileOptions { with, log, repair, deep: !quick, own_disk: own_disk || !quick, why };
                reconcile(context, &options, &At { id: id.clone(), turns: turns.clone(), control: control.clone() })
                    .await
            }
            TaskKind::Restore => restore(context, &control).await,
            TaskKind::Rebuild => {
                context.rebuild_index.notify_one();
                // The node starts again without its index; there is nothing more to do here.
                Ok(Outcome::new(serde_json::json!({ "index": "is built anew" }), IN_ORDER))
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
    let rebuild = result.as_ref().is_ok_and(|outcome| outcome.rebuild_index);
    tasks.finished(&id, result);
    // The node starts again for it: this task is over then.
    if rebuild && let Err(e) = tasks.add(TaskKind::Rebuild, "the index differs from the journal".into(), false, 0) {
        tracing::warn!(event = "index.not_rebuilt", reason = %e, "the index differs from the journal, and is not built anew");
    }
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

pub(super) fn failed(e: &(impl std::error::Error + 'static)) -> String {
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
    Ok(Outcome::new(serde_json::to_value(&report).map_err(|e| failed(&e))?, exit))
}

/// Counts the index, once it has followed the journal up to now.
pub(super) async fn index(context: &TaskContext) -> Result<IndexState, String> {
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

/// What a restore waits at.
const PARENT: &str = "parent";

/// Waits until nothing of the own history is missing any more: the core fetches it by itself.
async fn restore(context: &TaskContext, control: &Arc<TaskControl>) -> Result<Outcome, String> {
    let mut total = None;
    control.tell(|p| p.unit = "records".into());
    loop {
        let view = context.reconcile.mailbox.view();
        let (left, gate) = (view.restoring(), view.gate().clone());
        let Some(parent) = view.charter().parent(view.me()) else {
            return Err("the top node has no parent to restore from".into());
        };
        if gate == Gate::Frozen {
            return Err("the histories conflict: see `tally status`".into());
        }
        if let Some((held, wanted)) = left {
            let total = *total.get_or_insert(wanted);
            control.tell(|p| (p.total, p.done) = (Some(total), held));
            if held >= wanted && gate == Gate::Open {
                return restored(context, parent, control).await;
            }
        }
        control.waits(PARENT, waits_for(&view, parent, left));
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// For what a restore waits; `None`: records come.
fn waits_for(view: &View, parent: Division, left: Option<(u64, u64)>) -> Option<String> {
    let linked = view.parent().link.as_ref().is_some_and(|l| l.welcomed);
    match left {
        _ if !linked => {
            let mut why = view.parent().trouble.clone().unwrap_or_else(|| "no link yet".to_owned());
            // The disk that had the newer charters is gone: what is left is the file, which may be the one of the first day.
            let by_key = |(code, _): &&(Refusal, String)| matches!(code, Refusal::Identity | Refusal::NotAdmitted);
            if view.parent().refused.as_ref().filter(by_key).is_some() {
                why += &format!(
                    " (the charter file here is version {}: if a later one is in force, put that in its place and start \
                     again; any node has it, GET /v1/charter)",
                    view.charter().version()
                );
            }
            Some(format!("the parent {parent}: {why}"))
        }
        None => Some(format!("the parent {parent}, to say what it holds")),
        Some((held, wanted)) if held >= wanted => {
            Some(format!("the parent {parent}, to be sure that nobody above holds more"))
        }
        Some(_) => None,
    }
}

/// Ends a restore: the own history is back, and what the parent holds of nodes below. What is missing inside is fetched; the
/// rest they send themselves. A parent that goes away meanwhile is waited for.
async fn restored(context: &TaskContext, parent: Division, control: &Arc<TaskControl>) -> Result<Outcome, String> {
    let options = SessionOptions { peer: parent, log: None, deep: false, repair: true };
    let (mut fetched, mut why) = (0_u64, None);
    let agree = loop {
        control.waits(PARENT, Some(format!("the parent {parent}, for what it holds of nodes below")));
        let (done, ended) = context.reconcile.reconcile(&options, &|_, _| {}).await;
        fetched = fetched.saturating_add(done.repaired);
        match ended {
            Ok(()) => break done.agree,
            Err(e @ (ReconcileError::NoPeer(_) | ReconcileError::Exchange { .. })) => {
                control.waits(PARENT, Some(format!("the parent {parent}: {}", chain(&e))));
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
            Err(e) => {
                why = Some(chain(&e));
                break false;
            }
        }
    };
    control.waits(PARENT, None);
    let view = context.reconcile.mailbox.view();
    let own = view.logs().iter().filter(|(id, _)| id.division == view.me());
    let logs: Vec<_> = own.map(|(id, l)| (view.charter().federation().origin(*id), l.size())).collect();
    // The own history is back either way; what is missing of nodes below, these send again.
    let held: u64 = logs.iter().map(|(_, size)| size).sum();
    let logs: Vec<_> = logs.iter().map(|(log, n)| serde_json::json!({ "log": log, "records": n })).collect();
    let came = view.parent().fetched_below.saturating_add(fetched);
    let exit = if agree { IN_ORDER } else { LOOK };
    let result = serde_json::json!({ "records": held, "logs": logs, "below": came, "agree": agree, "why": why });
    Ok(Outcome::new(result, exit))
}
