//! How many signatures a child may have this node check: as many as it needs, and not so many that others wait.
//!
//! What brings news costs nothing here, because there is only so much of it. It must not know what a message means.

/// Checks that are free again each second: some 12 ms of a processor.
const CHECKS_A_SECOND: u64 = 200;
/// Checks that may be asked for at once: a frontier of all logs that a child can have, and what it tells beside it.
const CHECKS_AT_ONCE: u64 = 8_192;

/// What one child has used, and when.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Meter {
    used: u64,
    at_ms: u64,
}

impl Meter {
    /// Whether so many checks more are within bounds at this time. A clock that is set back gives nothing back.
    pub(super) fn spend(&mut self, now_ms: u64, checks: u64) -> bool {
        let free = now_ms.saturating_sub(self.at_ms).saturating_mul(CHECKS_A_SECOND) / 1_000;
        if free > 0 || now_ms < self.at_ms {
            (self.used, self.at_ms) = (self.used.saturating_sub(free), now_ms);
        }
        self.used = self.used.saturating_add(checks);
        self.used <= CHECKS_AT_ONCE
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bursts_are_bounded_and_what_is_used_comes_back() {
        let mut meter = Meter::default();
        let now = 1_790_000_000_000;
        assert!(meter.spend(now, CHECKS_AT_ONCE));
        assert!(!meter.spend(now, 1));
        // A little at a time comes back too.
        let mut spent = 0;
        for ms in (now..now + 10_000).step_by(3) {
            spent += u64::from(meter.spend(ms, 1));
        }
        assert!(spent < 10 * CHECKS_A_SECOND, "{spent} in ten seconds");
        assert!(meter.spend(now + 3_600_000, CHECKS_AT_ONCE));
        assert!(!meter.spend(now - 3_600_000, 1));
    }
}
