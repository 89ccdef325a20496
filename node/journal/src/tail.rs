//! What was written since the last flush, kept in memory: if the flush fails, only this still has it.
//!
//! It begins before the durable end, with the frames that share a page with it: the disk writes pages, and a write that
//! fails may take with it what was in the page before. How a new segment is made of it is not known here.

use super::frame;
use std::collections::VecDeque;

/// Bytes that a disk writes together.
pub(super) const PAGE_BYTES: u64 = 4 << 10;
/// More room than this is not kept for the next round.
const CAPACITY_MAX: usize = 8 << 20;

/// The last bytes of the segment that is written to.
#[derive(Debug, Default)]
pub(super) struct Tail {
    from: u64,
    bytes: Vec<u8>,
    /// Where each frame in it starts, ascending.
    starts: VecDeque<u64>,
}

/// A place to go back to.
#[derive(Debug, Clone, Copy)]
pub(super) struct TailEnd {
    bytes: usize,
    frames: usize,
}

impl Tail {
    /// An empty one at `from`.
    pub(super) fn at(from: u64) -> Self {
        Self { from, ..Self::default() }
    }

    /// Whole frames that stand from `from` on, one behind the other.
    pub(super) fn of(from: u64, bytes: Vec<u8>) -> Self {
        let mut tail = Self { from, bytes, starts: VecDeque::new() };
        let mut at = 0_usize;
        while let Some(head) = tail.bytes.get(at..).and_then(frame::Head::parse) {
            tail.starts.push_back(from.saturating_add(at as u64));
            at = at.saturating_add(usize::try_from(head.frame_bytes()).unwrap_or(usize::MAX));
        }
        tail
    }

    /// Where it starts.
    pub(super) fn from(&self) -> u64 {
        self.from
    }

    /// Where it ends: where the next frame starts.
    pub(super) fn end(&self) -> u64 {
        self.from.saturating_add(self.bytes.len() as u64)
    }

    /// All of it.
    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// What stands from `offset` on.
    pub(super) fn behind(&self, offset: u64) -> &[u8] {
        usize::try_from(offset.saturating_sub(self.from)).ok().and_then(|n| self.bytes.get(n..)).unwrap_or_default()
    }

    /// Takes a frame at the end.
    pub(super) fn push(&mut self, kind: u8, meta: &[u8], body: &[u8], durable_to: u64) {
        self.starts.push_back(self.end());
        frame::encode(kind, meta, body, durable_to, &mut self.bytes);
    }

    /// Where it ends now, to go back to.
    pub(super) fn here(&self) -> TailEnd {
        TailEnd { bytes: self.bytes.len(), frames: self.starts.len() }
    }

    /// Forgets what was pushed since.
    pub(super) fn back_to(&mut self, end: TailEnd) {
        self.bytes.truncate(end.bytes);
        self.starts.truncate(end.frames);
    }

    /// All of it is durable: what does not share a page with its end is not needed any more.
    pub(super) fn is_durable(&mut self) {
        let end = self.end();
        let page = end.saturating_sub(end.checked_rem(PAGE_BYTES).unwrap_or(0));
        // A frame ends where the next one starts.
        while self.starts.get(1).copied().unwrap_or(end) <= page && self.starts.pop_front().is_some() {}
        let from = self.starts.front().copied().unwrap_or(end);
        let passed = usize::try_from(from.saturating_sub(self.from)).unwrap_or(usize::MAX);
        self.bytes.drain(..passed.min(self.bytes.len()));
        self.from = from;
        if self.bytes.capacity() > CAPACITY_MAX {
            self.bytes.shrink_to(CAPACITY_MAX);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_shares_the_last_page_stays() {
        let mut tail = Tail::at(128);
        let starts: Vec<_> = (0..200)
            .map(|n| {
                let at = tail.end();
                tail.push(2, &[n; 30], &[], 128);
                at
            })
            .collect();
        let (end, page) = (tail.end(), tail.end() / PAGE_BYTES * PAGE_BYTES);
        tail.is_durable();
        let first = starts.iter().position(|s| s + 102 > page).unwrap();
        assert_eq!((tail.from(), tail.end()), (starts[first], end));
        let there = Tail::of(tail.from(), tail.bytes().to_vec());
        assert_eq!(there.starts, &starts[first..]);

        let before = tail.here();
        tail.push(2, &[1; 4_096], &[], 128);
        tail.back_to(before);
        assert_eq!((tail.end(), tail.starts.len()), (end, starts.len() - first));
    }

    #[test]
    fn nothing_shares_a_page_that_ends_with_the_last_frame() {
        let mut tail = Tail::at(128);
        tail.push(2, &[1; 1_000], &[], 128);
        tail.push(2, &vec![1; (PAGE_BYTES - 128 - 1_072 - 72) as usize], &[], 128);
        assert_eq!(tail.end(), PAGE_BYTES);
        tail.is_durable();
        assert_eq!((tail.from(), tail.bytes()), (PAGE_BYTES, &[][..]));
    }
}
