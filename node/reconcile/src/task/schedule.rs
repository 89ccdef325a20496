//! What the node does by itself: verify everything within a number of days, compare with the parent every hour.

use super::{TaskContext, TaskKind, Tasks, With};
use serde::Deserialize;
use std::time::Duration;
use tally_clock::now_ms;

/// `[schedule]`
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ScheduleSection {
    /// Everything on the disk is verified within so many days; 0: never by itself.
    pub verify_days: u64,
    /// What is held is compared with the parent every so many minutes; 0: never by itself.
    pub reconcile_minutes: u64,
    /// Records that are then known to be missing are fetched.
    pub repair: bool,
    /// MiB a second that scheduled work may read; 0: as fast as the disk.
    pub rate_mib: u64,
}

impl Default for ScheduleSection {
    fn default() -> Self {
        Self { verify_days: 30, reconcile_minutes: 60, repair: true, rate_mib: 16 }
    }
}

/// What could not be done is tried again after this, at the soonest, in milliseconds.
const AGAIN_MS: u64 = 15 * MINUTE_MS;
/// The clock is looked at this often.
const LOOK: Duration = Duration::from_secs(20);
const HOUR_MS: u64 = 3_600_000;
const MINUTE_MS: u64 = 60_000;

/// Puts scheduled tasks on the list until the node stops.
///
/// Cancel-safe: it adds a task or does not.
pub(super) async fn run(context: TaskContext, tasks: Tasks, config: ScheduleSection) {
    let mut spread = [0; 8];
    // Without randomness the times are regular, which is only less polite.
    let _ = getrandom::fill(&mut spread);
    let spread = u64::from_le_bytes(spread);
    let (mut verify_tried, mut reconcile_tried) = (0, 0);
    loop {
        tokio::time::sleep(LOOK).await;
        let now = now_ms();
        let (first, verified, reconciled) = tasks.last();
        let add = |kind: TaskKind, rate| {
            if let Err(e) = tasks.add(kind, "schedule".into(), true, rate) {
                tracing::warn!(event = "schedule.skipped", reason = %e, "scheduled work could not be put on the list");
            }
        };
        let verifying = tasks.pending(|k| matches!(k, TaskKind::Verify { log: None }));
        let last = verified.unwrap_or(first);
        let again = |tried: u64| now >= tried + AGAIN_MS;
        let verify_due = now >= due(last, config.verify_days * 24 * HOUR_MS, spread);
        if config.verify_days > 0 && !verifying && verify_due && again(verify_tried) {
            verify_tried = now;
            add(TaskKind::Verify { log: None }, config.rate_mib);
        }
        let comparing = tasks.pending(|k| matches!(k, TaskKind::Reconcile { .. }));
        let every = config.reconcile_minutes * MINUTE_MS;
        // Without a live link there is nothing to compare with, which status shows already.
        let view = context.reconcile.mailbox.view();
        let linked = view.charter().parent(view.me()).is_some_and(|parent| view.common_ground(parent).is_ok());
        let reconcile_due = every > 0 && now >= due(reconciled.unwrap_or(first), every, spread);
        if reconcile_due && !comparing && again(reconcile_tried) && linked {
            reconcile_tried = now;
            let (with, log, repair, quick) = (With::Parent, None, config.repair, true);
            add(TaskKind::Reconcile { with, log, repair, quick }, config.rate_mib);
        }
    }
}

/// A tenth of the time before it is over, at most, so that neighbours spread out and nothing comes late.
fn due(last_ms: u64, every_ms: u64, spread: u64) -> u64 {
    last_ms.saturating_add(every_ms - spread % (every_ms / 10).max(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_comes_late_and_neighbours_spread_out() {
        let times: Vec<_> = (0..50).map(|i| due(1_000, 100_000, i * 7_919)).collect();
        assert!(times.iter().all(|t| (91_000..=101_000).contains(t)), "{times:?}");
        assert!(times.iter().max() > times.iter().min());
    }
}
