//! Long work as tasks of the node: whoever asks for it may leave; it survives a restart, can be paused and cancelled, and
//! says truthfully how far it is.
//!
//! One at a time reads the disk, which heavy work shares with replication, and one at a time compares with a neighbour: so no
//! neighbour holds up a task that has nothing to do with it. What an operator asks for goes before what the schedule does,
//! which stops where it is and goes on afterwards.

mod comparing;
mod control;
mod jobs;
mod kind;
mod list;
mod saver;
mod schedule;
mod since;
mod turns;
mod upkeep;

pub use comparing::{DifferenceOut, ReconcileResult, Skipped};
pub use control::TaskControl;
pub use jobs::Outcome;
pub use kind::{Task, TaskKind, TaskProgress, TaskState, With};
pub use list::{TaskError, Tasks};
pub use schedule::ScheduleSection;
pub use upkeep::{DamageBook, KnownHoles, RepeatedDamage, Upkeep};

use crate::ReconcileContext;
use std::sync::Arc;
use tally_store::index::{Engine, IndexProgress};
use tokio::{
    sync::watch,
    task::{JoinError, JoinSet},
};

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
        let turns = turns::Turns::default();
        let mut running = JoinSet::new();
        loop {
            let (id, kind, control) = tokio::select! {
                next = tasks.next() => next,
                Some(done) = running.join_next() => {
                    panic_goes_on(done);
                    continue;
                }
            };
            let (context, tasks, turns) = (context.clone(), tasks.clone(), turns.clone());
            running.spawn(async move { jobs::run(&context, &tasks, &turns, (id, kind, control)).await });
        }
    };
    tokio::select! {
        () = ticking => {}
        () = working => {}
        _ = stop.wait_for(|s| *s) => {}
    }
    tasks.suspend();
    tasks.saved().await;
}

/// A task that has panicked panics here too: whoever supervises this task hears of it, and the node ends.
fn panic_goes_on(ended: Result<(), JoinError>) {
    if let Some(panic) = ended.err().and_then(|e| e.try_into_panic().ok()) {
        std::panic::resume_unwind(panic);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_panic_of_a_task_is_not_lost_and_its_end_is_no_panic() {
        let mut running = JoinSet::new();
        running.spawn(async { panic!("at its work") });
        let ended = running.join_next().await.unwrap();
        let panic = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| panic_goes_on(ended))).unwrap_err();
        assert_eq!(panic.downcast_ref(), Some(&"at its work"));
        running.spawn(async {});
        panic_goes_on(running.join_next().await.unwrap());
        running.spawn(std::future::pending());
        running.abort_all();
        panic_goes_on(running.join_next().await.unwrap());
    }
}
