//! A hole in this node's own log: the parent is asked for it once, and what nobody has is taken down in `data/lost.json`.
//!
//! It decides nothing about signing (the core does) and mends nothing by itself (a task does).

use std::{sync::Arc, time::Duration};
use tally_core::View;
use tally_reconcile::{
    ReconcileContext,
    task::{TaskKind, Tasks, With},
};
use tally_store::{
    index::{DedupIndex, Engine},
    lost::{LostRange, LostRecords, Ranges, ids_of},
};

/// The view is looked at this often.
const LOOK: Duration = Duration::from_millis(500);
/// So many looks between two questions to the parent about the same hole: an hour.
const ASK_EVERY: u32 = 7_200;

/// What watching the own log works with.
pub(super) struct OwnDamage {
    pub(super) reconcile: ReconcileContext,
    pub(super) tasks: Tasks,
    pub(super) engine: Arc<dyn Engine>,
    pub(super) known: Arc<DedupIndex>,
    pub(super) lost: LostRecords,
}

impl OwnDamage {
    /// With the parts that the node has.
    pub(super) fn of(
        reconcile: &ReconcileContext,
        tasks: &Tasks,
        engine: &Arc<dyn Engine>,
        known: Arc<DedupIndex>,
        lost: &LostRecords,
    ) -> Self {
        let (reconcile, tasks, engine, lost) = (reconcile.clone(), tasks.clone(), engine.clone(), lost.clone());
        Self { reconcile, tasks, engine, known, lost }
    }

    /// Watches until the node stops.
    pub(super) async fn watch(self) {
        let (mut noted, mut asked) = (None, None::<(Vec<(u64, u64)>, u32)>);
        self.known.set_lost(certain(&self.lost));
        loop {
            tokio::time::sleep(LOOK).await;
            let view = self.reconcile.mailbox.view();
            asked = self.ask_the_parent(&view, asked);
            let now = (view.lost(), missing(&view));
            if noted.as_ref() != Some(&now) && self.take_down(&view, &now.0).await {
                noted = Some(now);
            }
        }
    }

    /// Once for each hole: reads the own log from the disk and has the parent's copy put in place of what is damaged.
    fn ask_the_parent(&self, view: &View, asked: Option<(Vec<(u64, u64)>, u32)>) -> Option<(Vec<(u64, u64)>, u32)> {
        let own = view.own();
        let damaged = view.log(own).is_some_and(|l| !l.is_whole()) || view.parent().damaged.contains_key(&own);
        if !damaged {
            return None;
        }
        let holes = missing(view);
        match asked {
            Some((before, looks)) if before == holes && looks < ASK_EVERY => return Some((before, looks + 1)),
            before if view.parent().link.as_ref().is_none_or(|l| !l.frontier_known) => return before,
            _ => {}
        }
        let kind = TaskKind::Reconcile { with: With::Parent, log: Some(own), repair: true, quick: false };
        let why = "records of this node's own log are damaged".to_owned();
        if let Err(why) = self.tasks.add(kind, why, true, 0) {
            tracing::warn!(event = "damage.not_asked", reason = %why, "the parent is not asked for what is damaged");
        }
        Some((holes, 0))
    }

    /// Writes down what is lost, with the ids that the index knows, and takes out what is there again. Answers whether that
    /// is done.
    async fn take_down(&self, view: &View, lost: &[(u64, u64)]) -> bool {
        let own = view.own();
        let ranges = if lost.is_empty() { Ranges::new() } else { Ranges::from([(own, lost.to_vec())]) };
        let holes = missing(view);
        let (list, engine) = (self.lost.clone(), self.engine.clone());
        let work = move || {
            let ids = if ranges.is_empty() { Vec::new() } else { ids_of(&*engine, &ranges).unwrap_or_default() };
            list.note(&ranges, &ids, true, tally_clock::now_ms() / 1_000)?;
            let lacks = |r: &LostRange| r.log != own || holes.iter().any(|(from, to)| *from < r.to && r.from < *to);
            list.came_back(lacks)
        };
        match tokio::task::spawn_blocking(work).await {
            Ok(Ok(())) => {
                self.known.set_lost(certain(&self.lost));
                for (from, to) in lost {
                    tracing::error!(event = "records.lost", log = %own, from, to,
                        "acknowledged records are on no disk any more; next: tally epoch next");
                }
                true
            }
            Ok(Err(e)) => {
                tracing::error!(event = "records.lost_not_noted", reason = %e, "data/lost.json cannot be written; tried again");
                false
            }
            Err(_) => false,
        }
    }
}

fn missing(view: &View) -> Vec<(u64, u64)> {
    view.log(view.own()).map_or_else(Vec::new, tally_core::log::HeldLog::missing)
}

fn certain(lost: &LostRecords) -> Ranges {
    let mut ranges = Ranges::new();
    for r in lost.ranges().into_iter().filter(|r| r.certain) {
        ranges.entry(r.log).or_default().push((r.from, r.to));
    }
    ranges
}
