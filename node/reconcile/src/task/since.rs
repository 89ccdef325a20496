//! How long ago something was done, by a clock that only goes forward.
//!
//! What was done before this start is known by the wall clock alone, so it is reckoned once; a time in the future, which a clock
//! that was ahead has left behind, counts as now. The wall clock is not read here.

use std::time::{Duration, Instant};

/// The last time of something.
#[derive(Debug, Clone, Copy)]
pub(super) struct Since {
    at: Instant,
    before: Duration,
}

impl Since {
    /// It was done at `told_ms` by the wall clock, which says `now_ms` now; both POSIX milliseconds.
    pub(super) fn told(told_ms: u64, now_ms: u64) -> Self {
        Self { at: Instant::now(), before: Duration::from_millis(now_ms.saturating_sub(told_ms)) }
    }

    /// It is done now.
    pub(super) fn now() -> Self {
        Self { at: Instant::now(), before: Duration::ZERO }
    }

    /// How long ago that is.
    pub(super) fn elapsed(self) -> Duration {
        self.before.saturating_add(self.at.elapsed())
    }
}
