//! Damage of this node's journal: a repair of it is put on the list of tasks, and what nobody has of the own log is taken down
//! in `data/lost.json`.
//!
//! It decides nothing about signing (the core does) or about when a repair is due (`Upkeep` does), and mends nothing by itself
//! (a task does).

use std::{
    sync::Arc,
    time::{Duration, Instant},
};
use tally_core::View;
use tally_reconcile::{
    ReconcileContext,
    task::{DamageBook, KnownHoles, ScheduleSection, TaskKind, Tasks, Upkeep, With},
};
use tally_store::{
    index::{DedupIndex, Engine},
    lost::{LostRange, LostRecords, Ranges, ids_of},
};

/// The view is looked at this often.
const LOOK: Duration = Duration::from_millis(500);

/// What watching the journal works with.
pub(super) struct OwnDamage {
    pub(super) reconcile: ReconcileContext,
    pub(super) tasks: Tasks,
    pub(super) engine: Arc<dyn Engine>,
    pub(super) known: Arc<DedupIndex>,
    pub(super) lost: LostRecords,
    pub(super) schedule: ScheduleSection,
    pub(super) book: DamageBook,
}

impl OwnDamage {
    /// With the parts that the node has.
    pub(super) fn of(
        reconcile: &ReconcileContext,
        tasks: &Tasks,
        engine: &Arc<dyn Engine>,
        known: Arc<DedupIndex>,
        lost: &LostRecords,
        (schedule, book): (&ScheduleSection, &DamageBook),
    ) -> Self {
        let (reconcile, tasks, engine, lost) = (reconcile.clone(), tasks.clone(), engine.clone(), lost.clone());
        let (schedule, book) = (schedule.clone(), book.clone());
        let all = Self { reconcile, tasks, engine, known, lost, schedule, book };
        // Before anything is handed in, what is carried over among it.
        all.known.set_lost(all.not_held(&all.reconcile.mailbox.view()));
        all
    }

    /// Watches until the node stops.
    pub(super) async fn watch(self) {
        let (mut noted, mut upkeep) = (None, Upkeep::new(self.book.clone()));
        loop {
            tokio::time::sleep(LOOK).await;
            let view = self.reconcile.mailbox.view();
            self.mend(&view, &mut upkeep);
            let now = (view.lost(), missing(&view));
            if noted.as_ref() != Some(&now) && self.take_down(&view, &now.0).await {
                noted = Some(now);
            }
        }
    }

    /// Has what is damaged mended: this node's disk is read, and every neighbour is asked for what it knows to hold.
    fn mend(&self, view: &View, upkeep: &mut Upkeep) {
        let linked = |d| view.common_ground(d).is_ok();
        let able = self.schedule.repair
            && (view.charter().parent(view.me()).is_some_and(linked) || view.children().keys().any(|d| linked(*d)))
            && !self.tasks.pending(|k| matches!(k, TaskKind::Reconcile { with: With::All, repair: true, .. }));
        let holes = known_holes(view, self.reconcile.known_damage.count());
        if !upkeep.is_due(&holes, able, Instant::now(), tally_clock::now_ms() / 1_000) {
            return;
        }
        let kind = TaskKind::Reconcile { with: With::All, log: None, repair: true, quick: true, own_disk: true };
        if let Err(why) = self.tasks.add(kind, "damage was found".to_owned(), true, self.schedule.rate_mib) {
            tracing::warn!(event = "damage.not_mended", reason = %why, "what is damaged is not mended now");
        }
    }

    /// Ranges whose records do not count as held: lost ones, and those of a history that the charter has not closed with.
    fn not_held(&self, view: &View) -> Ranges {
        let mut ranges = certain(&self.lost);
        for (log, from, to) in view.dead_branches() {
            ranges.entry(log).or_default().push((from, to));
        }
        ranges
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
                self.known.set_lost(self.not_held(view));
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

/// What is known to be damaged and may be had from somebody.
fn known_holes(view: &View, places: usize) -> KnownHoles {
    let lost = view.lost();
    let mut records = Vec::new();
    for (id, log) in view.logs().iter().filter(|(_, l)| !l.is_whole()) {
        let gone = |from, to| *id == view.own() && lost.iter().any(|(f, t)| *f <= from && to <= *t);
        records.extend(log.missing().into_iter().filter(|(f, t)| !gone(*f, *t)).map(|(f, t)| (id.to_string(), f, t)));
    }
    // The parent has read of these what this node has not read itself yet.
    records.extend(view.parent().damaged.keys().map(|id| (id.to_string(), 0, 0)));
    // What nobody has is no reason to look again and again; its places are put right with the next epoch.
    let places = if records.is_empty() && !lost.is_empty() { 0 } else { places };
    KnownHoles { records, places }
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
