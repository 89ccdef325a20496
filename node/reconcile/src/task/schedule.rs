//! What the node does by itself: verify everything within a number of days, compare with the parent every hour.
//!
//! Time is taken from a clock that only goes forward, so a wall clock that jumps stops nothing and starts nothing. What the wall
//! clock said before this start is asked once, by the list.

use super::{TaskContext, TaskKind, Tasks, With};
use serde::Deserialize;
use std::time::{Duration, Instant};

/// `[schedule]`
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ScheduleSection {
    /// Everything on the disk is verified within so many days; 0: never by itself.
    pub verify_days: u64,
    /// What is held is compared with the parent every so many minutes; 0: never by itself.
    pub reconcile_minutes: u64,
    /// Records that are known to be missing are fetched, and damage that is found is mended.
    pub repair: bool,
    /// MiB a second that scheduled work may read; 0: as fast as the disk.
    pub rate_mib: u64,
}

impl Default for ScheduleSection {
    fn default() -> Self {
        Self { verify_days: 30, reconcile_minutes: 60, repair: true, rate_mib: 16 }
    }
}

/// What could not be done is tried again after this, at the soonest.
const AGAIN: Duration = Duration::from_mins(15);
/// It is looked this often whether something is due.
const LOOK: Duration = Duration::from_secs(20);

/// Puts scheduled tasks on the list until the node stops.
///
/// Cancel-safe: it adds a task or does not.
pub(super) async fn run(context: TaskContext, tasks: Tasks, config: ScheduleSection) {
    let mut spread = [0; 8];
    // Without randomness the times are regular, which is only less polite.
    let _ = getrandom::fill(&mut spread);
    let spread = u64::from_le_bytes(spread);
    let (mut verify_tried, mut reconcile_tried) = (None, None);
    loop {
        tokio::time::sleep(LOOK).await;
        let add = |kind: TaskKind, rate| {
            if let Err(e) = tasks.add(kind, "schedule".into(), true, rate) {
                tracing::warn!(event = "schedule.skipped", reason = %e, "scheduled work could not be put on the list");
            }
        };
        let (verified, reconciled) = tasks.since_last();
        let again = |tried: Option<Instant>| tried.is_none_or(|t| t.elapsed() >= AGAIN);
        let verifying = tasks.pending(|k| matches!(k, TaskKind::Verify { log: None }));
        let every = Duration::from_hours(config.verify_days.min(DAYS_MAX).saturating_mul(24));
        if is_due(verified, every, spread) && !verifying && again(verify_tried) {
            verify_tried = Some(Instant::now());
            add(TaskKind::Verify { log: None }, config.rate_mib);
        }
        let comparing = tasks.pending(|k| matches!(k, TaskKind::Reconcile { with: With::Parent | With::All, .. }));
        let every = Duration::from_mins(config.reconcile_minutes.min(DAYS_MAX.saturating_mul(1_440)));
        // Without a live link there is nothing to compare with, which status shows already.
        let view = context.reconcile.mailbox.view();
        let linked = view.charter().parent(view.me()).is_some_and(|parent| view.common_ground(parent).is_ok());
        if is_due(reconciled, every, spread) && !comparing && again(reconcile_tried) && linked {
            reconcile_tried = Some(Instant::now());
            let (with, log, repair) = (With::Parent, None, config.repair);
            add(TaskKind::Reconcile { with, log, repair, quick: true, own_disk: false }, config.rate_mib);
        }
    }
}

/// Longer is never: a hundred years.
const DAYS_MAX: u64 = 36_500;

/// Whether what is done every so often, and was last done so long ago, is due: a tenth of the time before it is over, at most,
/// so that neighbours spread out and nothing comes late. Every 0: never.
fn is_due(ago: Duration, every: Duration, spread: u64) -> bool {
    let tenth = (every.as_millis() / 10).max(1);
    let early = u128::from(spread).checked_rem(tenth).unwrap_or(0);
    !every.is_zero() && ago.as_millis().saturating_add(early) >= every.as_millis()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_comes_late_and_neighbours_spread_out() {
        let every = Duration::from_secs(100);
        let due_at = |spread| (0..=100).find(|s| is_due(Duration::from_secs(*s), every, spread)).unwrap();
        let times: Vec<_> = (0..50).map(|i| due_at(i * 7_919)).collect();
        assert!(times.iter().all(|t| (90..=100).contains(t)), "{times:?}");
        assert!(times.iter().max() > times.iter().min());
        assert!(!is_due(Duration::MAX, Duration::ZERO, 7), "0 is never");
        assert!(is_due(Duration::MAX, Duration::from_hours(DAYS_MAX * 24), u64::MAX));
    }
}
