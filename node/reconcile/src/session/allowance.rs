//! How long one neighbour may take for one reconcile: it grows with what is asked of it, and ends.
//!
//! A neighbour decides itself how fast it answers, and what it says of its progress cannot be proved. So no word of it alone
//! buys time without end: whoever is slower than the slowest disk and the slowest line that are reckoned with is left. Tasks
//! with other neighbours do not wait for it meanwhile (`task::turns`).

use std::time::{Duration, Instant};

/// A neighbour may take this long whatever is asked: it may have to let others go first. One whose reading gets nowhere for
/// as long is left.
pub(super) const STANDSTILL: Duration = Duration::from_mins(30);
/// Bytes a second that a neighbour reads of its disk, at least.
const READ_MIN: u64 = 4 << 20;
/// Bytes a second that come or go over the slowest line.
const MOVE_MIN: u64 = 4 << 10;
/// No reconcile with one neighbour takes longer, whatever it says and sends. What came until then is kept, and another one
/// goes on from there.
const LONGEST: Duration = Duration::from_hours(24);

/// What one neighbour may take, and has taken.
#[derive(Debug)]
pub(super) struct Allowance {
    began: Instant,
    /// Whether the neighbour was asked to read its disk.
    deep: bool,
    /// Bytes that the neighbour reads for this, by its first word.
    to_read: u64,
    /// Bytes of answers and of what was given; words that it is at work are not among them.
    moved: u64,
    /// How far its reading was at last, and since when.
    read: u64,
    read_since: Instant,
}

impl Allowance {
    /// From now on, for a neighbour that is asked to read its disk if `deep`.
    pub(super) fn new(deep: bool, now: Instant) -> Self {
        Self { began: now, deep, to_read: 0, moved: 0, read: 0, read_since: now }
    }

    /// Bytes of what was asked for have come, or gone.
    pub(super) fn moved(&mut self, bytes: usize, now: Instant) {
        self.moved = self.moved.saturating_add(bytes as u64);
        // It has read what was to be read.
        (self.read, self.read_since) = (0, now);
    }

    /// The neighbour says that it has read `done` of `total` bytes. The total is that of its first word: it reads once.
    pub(super) fn reads(&mut self, done: u64, total: u64, now: Instant) {
        if self.deep && self.to_read == 0 {
            self.to_read = total;
        }
        if done > self.read {
            (self.read, self.read_since) = (done, now);
        }
    }

    /// How long the neighbour may still take; zero: it is to be left.
    pub(super) fn left(&self, now: Instant) -> Duration {
        let whole = STANDSTILL
            .saturating_add(Duration::from_secs(self.to_read / READ_MIN))
            .saturating_add(Duration::from_secs(self.moved / MOVE_MIN))
            .min(LONGEST);
        let whole = whole.saturating_sub(now.saturating_duration_since(self.began));
        whole.min(STANDSTILL.saturating_sub(now.saturating_duration_since(self.read_since)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// M15: a neighbour that says every second that it has read one byte more is left, whatever total it claims.
    #[test]
    fn tiny_progress_for_ever_ends() {
        let began = Instant::now();
        let at = |s| began + Duration::from_secs(s);
        for (deep, total, hours) in [(true, 0, 1), (true, 1 << 30, 1), (true, u64::MAX, 24), (false, u64::MAX, 1)] {
            let mut allowance = Allowance::new(deep, began);
            let left_at = (1..200_000).find(|s| {
                allowance.reads(*s, total.max(*s), at(*s));
                allowance.left(at(*s)).is_zero()
            });
            assert!(left_at.is_some_and(|s| s <= hours * 3_600), "{total}: {left_at:?}");
        }
        // Answers that come byte by byte buy no time either, and a great deal of them buys no more than the longest.
        let mut allowance = Allowance::new(true, began);
        let left_at = (1..200_000).find(|s| {
            allowance.moved(64, at(*s));
            allowance.left(at(*s)).is_zero()
        });
        assert!(left_at.is_some_and(|s| s < 3_600), "{left_at:?}");
        let mut allowance = Allowance::new(true, began);
        allowance.moved(usize::MAX, began);
        allowance.moved(usize::MAX, at(LONGEST.as_secs()));
        assert!(allowance.left(at(LONGEST.as_secs())).is_zero());
    }

    #[test]
    fn honest_neighbours_have_the_time_that_they_need() {
        let began = Instant::now();
        let at = |s| began + Duration::from_secs(s);
        // 30 GB, read at 8 MiB a second for others first and then for this node.
        let (total, step) = (30_u64 << 30, 8_u64 << 20);
        let mut allowance = Allowance::new(true, began);
        let seconds = total / step;
        for s in 0..=seconds {
            allowance.reads(s * step, total, at(1_200 + s));
            assert!(!allowance.left(at(1_200 + s)).is_zero(), "after {s} s");
        }
        // 2 GB over a line of 64 kbit a second: a day's worth comes, whole.
        let mut allowance = Allowance::new(true, began);
        for s in 0..80_000 {
            allowance.moved(8 << 10, at(s));
            assert!(!allowance.left(at(s)).is_zero(), "after {s} s");
        }
        // One that says nothing new for half an hour is left, however large its disk.
        let mut allowance = Allowance::new(true, began);
        allowance.reads(1, u64::MAX, began);
        assert!(!allowance.left(at(1_799)).is_zero() && allowance.left(at(1_800)).is_zero());
    }
}
