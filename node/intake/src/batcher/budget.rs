//! How many batches may be cut small because somebody waits: a lone record must not wait for a timer, and every batch costs
//! a signature at its node and one look at each node above, for ever.

use std::time::Duration;
use tokio::time::Instant;

/// So many small batches may come at once.
const BATCHES: u32 = 10_000;
/// And one more each time that this has passed: some three million a year.
const ONE_EACH: Duration = Duration::from_secs(10);

/// The small batches that may still be cut.
#[derive(Debug)]
pub(super) struct SmallBatches {
    left: u32,
    /// When the last one was added.
    added: Instant,
}

impl SmallBatches {
    pub(super) fn new(now: Instant) -> Self {
        Self { left: BATCHES, added: now }
    }

    /// Takes one; answers whether there was one.
    pub(super) fn take(&mut self, now: Instant) -> bool {
        let due = now.saturating_duration_since(self.added).as_nanos() / ONE_EACH.as_nanos();
        let due = u32::try_from(due).unwrap_or(u32::MAX);
        self.left = self.left.saturating_add(due).min(BATCHES);
        // What is full gains nothing by waiting longer.
        self.added = if self.left == BATCHES { now } else { self.added + ONE_EACH * due };
        let one = self.left.checked_sub(1);
        self.left = one.unwrap_or(0);
        one.is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_used_up_comes_back_slowly() {
        let start = Instant::now();
        let mut small = SmallBatches::new(start);
        let taken = |small: &mut SmallBatches, at: Instant| (0..2 * BATCHES).filter(|_| small.take(at)).count() as u32;
        assert_eq!(taken(&mut small, start), BATCHES);
        assert_eq!(taken(&mut small, start + ONE_EACH / 2), 0);
        assert_eq!(taken(&mut small, start + ONE_EACH * 5 / 2), 2);
        assert_eq!(taken(&mut small, start + ONE_EACH * 3), 1, "what had begun goes on");
        assert_eq!(taken(&mut small, start + ONE_EACH * (5 * BATCHES)), BATCHES);
        // A clock that stands still, or steps back, gives none.
        assert_eq!(taken(&mut small, start), 0);
    }
}
