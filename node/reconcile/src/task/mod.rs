//! Long work as tasks of the node: whoever asks for it may leave; it survives a restart, can be paused and cancelled, and
//! says truthfully how far it is.
//!
//! One runs at a time: heavy work shares the disk with replication. What an operator asks for goes before what the schedule
//! does, which stops where it is and goes on afterwards.

mod control;
mod jobs;
mod kind;
mod list;
mod schedule;

pub use control::TaskControl;
pub use jobs::{DifferenceOut, Outcome, ReconcileResult, Skipped};
pub use kind::{Task, TaskKind, TaskProgress, TaskState, With};
pub use list::{TaskError, Tasks};
pub use schedule::ScheduleSection;

use crate::ReconcileContext;
use std::sync::Arc;
use tally_store::index::{Engine, IndexProgress};
use tokio::{sync::watch, task::JoinSet};

/// What jobs work with.
#[derive(Debug, Clone)]
pub struct TaskContext {
    /// Agreement.
    pub reconcile: ReconcileContext,
    /// The index.
    pub engine: Arc<dyn Engine>,
    /// How far it is.
    pub progress: watch::Receiver<IndexProgress>,
    /// Told when the index has to be built anew; the node starts again without it.
    pub rebuild_index: Arc<tokio::sync::Notify>,
}

/// Works off the list until the node stops: then the task under way stays on the list, to go on at the next start.
///
/// Cancel-safe: the same holds after a stop that was not clean, from where the task was last remembered.
pub async fn work(context: TaskContext, tasks: Tasks, schedule: ScheduleSection, mut stop: watch::Receiver<bool>) {
    let ticking = schedule::run(context.clone(), tasks.clone(), schedule);
    let working = async {
        // A restore only waits for the parent: others need not wait for it.
        let mut restores = JoinSet::new();
        loop {
            let (id, kind, control) = tokio::select! {
                next = tasks.next() => next,
                Some(done) = restores.join_next() => {
                    if let Some(panic) = done.err().and_then(|e| e.try_into_panic().ok()) {
                        std::panic::resume_unwind(panic);
                    }
                    continue;
                }
            };
            if kind == TaskKind::Restore {
                let (context, tasks) = (context.clone(), tasks.clone());
                restores.spawn(async move { jobs::run(&context, &tasks, id, kind, control).await });
            } else {
                jobs::run(&context, &tasks, id, kind, control).await;
            }
        }
    };
    tokio::select! {
        () = ticking => {}
        () = working => {}
        _ = stop.wait_for(|s| *s) => {}
    }
    tasks.suspend();
}
