//! How many records are overdue or due soon, and what is missing, for whoever looks at the node all the time. Counting goes through
//! the whole index, so it is done now and then by the node itself, and what is shown is what was counted last, with its time.

use super::{ApiContext, deadlines::counted};
use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};
use tally_reports::deadline::{DeadlineReport, GroupBy};
use tokio::sync::watch;

/// Counted so often.
const EVERY: Duration = Duration::from_secs(3_600);
/// So long after the index was behind or could not be read it is tried again.
const AGAIN: Duration = Duration::from_secs(10);

/// What was counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct DueFigures {
    /// When, POSIX seconds.
    pub(super) at: u64,
    /// Records whose limit has passed, and which are not known to have arrived.
    pub(super) overdue: u64,
    /// Records whose limit ends within two working days.
    pub(super) due_soon: u64,
    /// Units and categories of which nothing came although the charter says that they deliver.
    pub(super) missing: u64,
}

impl DueFigures {
    fn of(report: &DeadlineReport, at: u64) -> Option<Self> {
        let (counts, lines) = (report.total.counts.as_ref()?, report.total.lines?);
        Some(Self { at, overdue: counts.overdue, due_soon: counts.due_soon, missing: lines.missing })
    }
}

/// What was counted last. Cheap to clone; all clones are one.
#[derive(Debug, Clone, Default)]
pub(super) struct DueLast(Arc<Mutex<Option<DueFigures>>>);

impl DueLast {
    /// As it was counted last; `None`: it was not counted since the start.
    pub(super) fn figures(&self) -> Option<DueFigures> {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn put(&self, figures: DueFigures) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(figures);
    }
}

/// Counts until the node stops: first as soon as the index has everything, then once an hour.
///
/// Cancel-safe: what was counted last stays.
pub async fn count_deadlines(api: ApiContext, mut stopping: watch::Receiver<bool>) {
    loop {
        let pause = tokio::select! {
            _ = stopping.wait_for(|s| *s) => return,
            figures = count(&api) => figures.map_or(AGAIN, |figures| {
                api.shown_to_all.due.put(figures);
                EVERY
            }),
        };
        tokio::select! {
            _ = stopping.wait_for(|s| *s) => return,
            () = tokio::time::sleep(pause) => {}
        }
    }
}

/// Over all that is held; `None`: the index is behind, or cannot be read.
async fn count(api: &ApiContext) -> Option<DueFigures> {
    api.index_caught_up().await?;
    let (api, at) = (api.clone(), tally_clock::now_ms() / 1_000);
    let report = tokio::task::spawn_blocking(move || counted(&api, GroupBy::Division)).await.ok()?;
    report
        .inspect_err(|e| tracing::debug!(event = "deadlines.not_counted", reason = %e.detail, "tried again"))
        .ok()
        .and_then(|report| DueFigures::of(&report, at))
}
