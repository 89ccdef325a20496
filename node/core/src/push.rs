//! One log over one link: which batch is to be sent next, and not more at once than the window.
//!
//! Batches go in order, each once, and none after a stop. It knows sizes only: neither batches nor the link, nor why it was
//! stopped.

use tally_protocol::limits::PUSH_WINDOW;

/// Sends a log's batches in order, from where the parent stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Push {
    begun: u64,
    next: u64,
    until: u64,
    outstanding: usize,
    stopped: bool,
}

impl Push {
    /// The parent holds the first `parent_size` records.
    pub fn from(parent_size: u64) -> Self {
        Self::between(parent_size, u64::MAX)
    }

    /// The other side asked for the records from `from` on, as far as `until`: what comes later is not sent back to it.
    pub fn between(from: u64, until: u64) -> Self {
        Self { begun: from, next: from, until, outstanding: 0, stopped: false }
    }

    /// The same push from its beginning: what had stopped it is mended. What was sent is known there.
    pub fn again(&self) -> Self {
        Self::between(self.begun, self.until)
    }

    /// One past the last record that was handed to the transport: the parent holds no more of the log.
    pub fn next(&self) -> u64 {
        self.next
    }

    /// Start of the batch to hand to the transport now, if the log has grown to `size` and the window is open.
    pub fn wants(&self, size: u64) -> Option<u64> {
        let more = self.next < size.min(self.until);
        (!self.stopped && self.outstanding < PUSH_WINDOW && more).then_some(self.next)
    }

    /// The batch up to `end` was handed over.
    pub fn sent(&mut self, end: u64) {
        debug_assert!(end > self.next);
        self.next = end;
        self.outstanding += 1;
    }

    /// The transport took one batch.
    pub fn taken(&mut self) {
        self.outstanding = self.outstanding.saturating_sub(1);
    }

    /// A batch was refused or could not be read, or the log is frozen: nothing more of this log goes out until a new push takes
    /// its place.
    pub fn stop(&mut self) {
        self.stopped = true;
    }

    /// Whether it was stopped.
    pub fn stopped(&self) -> bool {
        self.stopped
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn window_and_order() {
        let mut push = Push::from(10);
        assert_eq!(push.wants(10), None);
        for i in 0..PUSH_WINDOW as u64 {
            assert_eq!(push.wants(100), Some(10 + i));
            push.sent(11 + i);
        }
        assert_eq!(push.wants(100), None);
        push.taken();
        assert_eq!(push.wants(100), Some(10 + PUSH_WINDOW as u64));
        push.stop();
        assert_eq!(push.wants(100), None);
        assert_eq!(push.again(), Push::from(10));
    }

    #[test]
    fn what_was_asked_for_ends_where_the_log_ended_then() {
        let mut push = Push::between(4, 8);
        push.sent(8);
        assert_eq!(push.wants(100), None);
    }
}
