//! A want-list: the records of one log that a node asks for. It knows them itself, what is damaged from the signed
//! roots and what is missing by position, so one round trip and a few bytes a record are enough.

#![warn(clippy::indexing_slicing, clippy::arithmetic_side_effects)]

use super::runs;
use crate::{
    codec::{self, CodecError},
    ids::LogId,
    limits::{CONTROL_BYTES_MAX, WANT_RANGES_MAX},
};
use std::{collections::BTreeMap, ops::Range};

/// Bound of the log's name, in bytes.
const LOG_BYTES_MAX: usize = 16;

/// Ranges of records of one log, merged and ascending. As many as are put in; a message carries at most
/// [`WANT_RANGES_MAX`] of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wants {
    /// Which log.
    pub log: LogId,
    /// End of each range, by its start.
    ranges: BTreeMap<u64, u64>,
}

impl Wants {
    /// Nothing yet.
    pub fn new(log: LogId) -> Self {
        Self { log, ranges: BTreeMap::new() }
    }

    /// Adds records. What overlaps or touches is merged; an empty range changes nothing, and no log has records at or
    /// beyond 2^63 - 1.
    pub fn insert(&mut self, range: Range<u64>) {
        let (mut start, mut end) = (range.start, range.end.min(runs::END_MAX));
        if start >= end {
            return;
        }
        while let Some((&s, &e)) = self.ranges.range(..=end).next_back().filter(|(_, e)| **e >= start) {
            self.ranges.remove(&s);
            (start, end) = (start.min(s), end.max(e));
        }
        self.ranges.insert(start, end);
    }

    /// The ranges, ascending; none touches the next.
    pub fn ranges(&self) -> impl ExactSizeIterator<Item = Range<u64>> {
        self.ranges.iter().map(|(start, end)| *start..*end)
    }

    /// Whether record `index` is wanted.
    pub fn contains(&self, index: u64) -> bool {
        self.ranges.range(..=index).next_back().is_some_and(|(_, end)| *end > index)
    }

    /// The first record at or after `index` that is wanted.
    pub fn first_from(&self, index: u64) -> Option<u64> {
        if self.contains(index) {
            return Some(index);
        }
        self.ranges.range(index..).next().map(|(start, _)| *start)
    }

    /// Whether any record of the range is wanted.
    pub fn touches(&self, range: &Range<u64>) -> bool {
        !range.is_empty() && self.ranges.range(..range.end).next_back().is_some_and(|(_, end)| *end > range.start)
    }

    /// What is wanted here and not in `other`.
    pub fn without(&self, other: &Self) -> Self {
        let mut left = Self::new(self.log);
        for range in self.ranges() {
            let mut at = range.start;
            let from = other.ranges.range(..=at).next_back().map_or(at, |(start, _)| *start);
            for (start, end) in other.ranges.range(from..range.end) {
                left.insert(at..(*start).min(range.end));
                at = at.max(*end);
            }
            left.insert(at..range.end);
        }
        left
    }

    /// Records wanted.
    pub fn len(&self) -> u64 {
        self.ranges().map(|r| r.end.saturating_sub(r.start)).sum()
    }

    /// Whether nothing is wanted.
    pub fn is_empty(&self) -> bool {
        self.ranges.is_empty()
    }

    /// The same wants in lists that each fit a message.
    pub fn pages(&self) -> impl Iterator<Item = Self> {
        let mut rest = self.ranges.iter().map(|(s, e)| (*s, *e)).peekable();
        std::iter::from_fn(move || {
            rest.peek()?;
            Some(Self { log: self.log, ranges: rest.by_ref().take(WANT_RANGES_MAX).collect() })
        })
    }

    /// One page as the bytes of a frame: the log as a bincode value, then the ranges.
    pub fn encode(&self) -> Vec<u8> {
        debug_assert!(self.ranges.len() <= WANT_RANGES_MAX, "see pages");
        let mut out = codec::encode(&self.log);
        runs::encode(&mut out, self.ranges());
        out
    }

    /// Reads a frame. How many records the ranges hold is bounded only by the log's size: who answers cuts them there.
    ///
    /// # Errors
    /// [`CodecError`]; at most [`CONTROL_BYTES_MAX`] bytes are looked at, [`WANT_RANGES_MAX`] ranges allocated.
    pub fn decode(bytes: &[u8]) -> Result<Self, CodecError> {
        if bytes.len() > CONTROL_BYTES_MAX {
            return Err(CodecError::TooLong { bytes: bytes.len(), limit: CONTROL_BYTES_MAX });
        }
        let (log, rest) = codec::decode_prefix::<LogId, LOG_BYTES_MAX>(bytes)?;
        let ranges = runs::decode(rest, WANT_RANGES_MAX, runs::END_MAX)?;
        Ok(Self { log, ranges: ranges.into_iter().map(|r| (r.start, r.end)).collect() })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::arithmetic_side_effects, reason = "in a test a panic is a finding")]
    #![allow(clippy::single_range_in_vec_init, reason = "lists of ranges, some with one")]

    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    fn wants(ranges: impl IntoIterator<Item = Range<u64>>) -> Wants {
        let mut wants = Wants::new("350102/e1".parse().unwrap());
        ranges.into_iter().for_each(|r| wants.insert(r));
        wants
    }

    #[test]
    fn frozen_bytes() {
        let wants = wants([7..9, 1_000_000..1_000_001, 3..5]);
        let bytes = wants.encode();
        assert_eq!(bytes, b"\x05\x57\x96\0\0\0\x01\0\0\0\x07\x00\x03\x00\xec\x88\x7a");
        assert_eq!(Wants::decode(&bytes), Ok(wants));
    }

    #[test]
    fn overlaps_and_neighbours_merge() {
        let all = wants([10..20, 30..40, 20..25, 0..1, 35..36, 5..5, 24..31]);
        assert_eq!(all.ranges().collect::<Vec<_>>(), [0..1, 10..40]);
        assert_eq!(all.len(), 31);
        assert!(all.touches(&(39..40)) && !all.touches(&(15..15)), "nothing touches nothing");
        let edge = wants([u64::MAX - 1..u64::MAX, 5..u64::MAX]);
        assert_eq!(edge.ranges().collect::<Vec<_>>(), [5..i64::MAX as u64]);
        assert_eq!(Wants::decode(&edge.encode()), Ok(edge));
    }

    proptest! {
        #[test]
        fn sets_are_sets(a in prop::collection::vec((0_u64..60, 0_u64..9), 0..9),
                         b in prop::collection::vec((0_u64..60, 0_u64..9), 0..9), from in 0_u64..70, len in 0_u64..9) {
            let set = |ranges: &[(u64, u64)]| ranges.iter().flat_map(|(s, n)| *s..s + n).collect::<BTreeSet<_>>();
            let of = |ranges: &[(u64, u64)]| wants(ranges.iter().map(|(s, n)| *s..s + n));
            let (wa, wb, sa, sb) = (of(&a), of(&b), set(&a), set(&b));
            let left: BTreeSet<_> = wa.without(&wb).ranges().flatten().collect();
            prop_assert_eq!(left, sa.difference(&sb).copied().collect::<BTreeSet<_>>());
            prop_assert_eq!(wa.contains(from), sa.contains(&from));
            prop_assert_eq!(wa.first_from(from), sa.range(from..).next().copied());
            prop_assert_eq!(wa.touches(&(from..from + len)), (from..from + len).any(|i| sa.contains(&i)));
        }
    }

    #[test]
    fn few_bytes_a_record() {
        let one = wants(std::iter::once(9_999_999..10_000_000)).encode();
        assert!(one.len() <= 15, "{}", one.len());
        let scattered = wants((0..10_000).map(|i| i * 1_000 + i % 7..i * 1_000 + i % 7 + 1)).encode();
        assert!(scattered.len() <= 2 * 10_000 + 14, "{}", scattered.len());
        let clustered = wants(std::iter::once(1_000_000..1_010_000)).encode();
        assert!(clustered.len() <= 19, "{}", clustered.len());
    }

    #[test]
    fn pages_fit_and_are_everything() {
        let many = wants((0..2 * WANT_RANGES_MAX as u64 + 5).map(|i| i << 40..(i << 40) + 2));
        let mut again = Wants::new(many.log);
        let mut sizes = Vec::new();
        for page in many.pages() {
            let bytes = page.encode();
            assert!(bytes.len() <= CONTROL_BYTES_MAX);
            let page = Wants::decode(&bytes).unwrap();
            sizes.push(page.ranges().len());
            page.ranges().for_each(|r| again.insert(r));
        }
        assert_eq!(sizes, [WANT_RANGES_MAX, WANT_RANGES_MAX, 5]);
        assert_eq!(again, many);
        assert_eq!(Wants::new(many.log).pages().count(), 0);
        let over = [&codec::encode(&many.log)[..], &[0; WANT_RANGES_MAX + 1]].concat();
        assert!(matches!(Wants::decode(&over), Err(CodecError::Malformed(_))));
        assert!(Wants::decode(&over[..over.len() - 1]).is_ok());
        assert!(matches!(Wants::decode(&vec![0; CONTROL_BYTES_MAX + 1]), Err(CodecError::TooLong { .. })));
    }

    proptest! {
        #[test]
        fn a_set_of_numbers(ranges in prop::collection::vec((0_u64..500, 0_u64..30), 0..40)) {
            let wants = wants(ranges.iter().map(|(s, l)| *s..s + l));
            let model: BTreeSet<_> = ranges.iter().flat_map(|(s, l)| *s..s + l).collect();
            prop_assert_eq!(wants.ranges().flatten().collect::<BTreeSet<_>>(), model);
            prop_assert!(wants.ranges().zip(wants.ranges().skip(1)).all(|(a, b)| a.end < b.start));
            prop_assert_eq!(Wants::decode(&wants.encode()), Ok(wants));
        }

        #[test]
        fn any_bytes_are_answered(tail in prop::collection::vec(any::<u8>(), 0..200), named in any::<bool>()) {
            let head = if named { codec::encode(&wants([]).log) } else { Vec::new() };
            if let Ok(wants) = Wants::decode(&[head, tail].concat()) {
                prop_assert_eq!(Wants::decode(&wants.encode()), Ok(wants));
            }
        }
    }
}
