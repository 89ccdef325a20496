//! Ascending, disjoint ranges in few bytes: what a descent asks for and what a node wants.
//!
//! A range is the varint of (gap since the one before) · 2, plus 1 if it is longer than one; then, if so, the varint
//! of its length - 2. Varints are LEB128. A set of ranges has one encoding only.

#![warn(clippy::indexing_slicing, clippy::arithmetic_side_effects)]

use crate::codec::CodecError;
use std::ops::Range;

/// Largest end of a range: a tree has fewer than 2^63 leaves, and a gap keeps one bit free.
pub(super) const END_MAX: u64 = i64::MAX as u64;

/// Appends a range at or after the end of the last one; one that touches it is merged.
pub(super) fn push(runs: &mut Vec<Range<u64>>, run: Range<u64>) {
    debug_assert!(run.start < run.end && runs.last().is_none_or(|last| last.end <= run.start));
    match runs.last_mut() {
        Some(last) if last.end == run.start => last.end = run.end,
        _ => runs.push(run),
    }
}

/// How many numbers the ranges hold.
pub(super) fn total(runs: &[Range<u64>]) -> u64 {
    runs.iter().map(|r| r.end.saturating_sub(r.start)).sum()
}

fn put(out: &mut Vec<u8>, mut n: u64) {
    while n > 0x7f {
        out.push(n as u8 | 0x80);
        n >>= 7;
    }
    out.push(n as u8);
}

fn get(bytes: &mut &[u8]) -> Option<u64> {
    let mut n = 0_u64;
    for shift in (0..64).step_by(7) {
        let (byte, rest) = bytes.split_first()?;
        *bytes = rest;
        let part = u64::from(byte & 0x7f);
        // The tenth byte has room for one bit.
        if shift == 63 && part > 1 {
            return None;
        }
        n |= part << shift;
        if byte & 0x80 == 0 {
            // Only the shortest form counts.
            return (*byte != 0 || shift == 0).then_some(n);
        }
    }
    None
}

/// Appends the encoding of ascending ranges that do not touch and end at [`END_MAX`] or before.
pub(super) fn encode(out: &mut Vec<u8>, runs: impl IntoIterator<Item = Range<u64>>) {
    let mut free = 0_u64;
    for run in runs {
        debug_assert!(free <= run.start && run.start < run.end && run.end <= END_MAX);
        let (gap, length) = (run.start.saturating_sub(free), run.end.saturating_sub(run.start));
        put(out, gap << 1 | u64::from(length > 1));
        if length > 1 {
            put(out, length.saturating_sub(2));
        }
        // The next range cannot touch this one.
        free = run.end.saturating_add(1);
    }
}

/// Reads ranges that take all of `bytes`: at most `most` of them, none ending beyond `end`.
///
/// # Errors
/// [`CodecError::Malformed`].
pub(super) fn decode(mut bytes: &[u8], most: usize, end: u64) -> Result<Vec<Range<u64>>, CodecError> {
    let malformed = |what: &str| CodecError::Malformed(format!("ranges: {what}"));
    // A range takes a byte at least, so that the bytes bound what is reserved.
    let mut runs = Vec::with_capacity(most.min(bytes.len()));
    let mut free = 0_u64;
    while !bytes.is_empty() {
        if runs.len() == most {
            return Err(malformed("too many"));
        }
        let head = get(&mut bytes).ok_or_else(|| malformed("a broken number"))?;
        let length = match head & 1 {
            0 => Some(1),
            _ => get(&mut bytes).and_then(|n| n.checked_add(2)),
        };
        let start = free.checked_add(head >> 1);
        let stop = start.zip(length).and_then(|(start, length)| start.checked_add(length));
        let (Some(start), Some(stop)) = (start, stop.filter(|s| *s <= end.min(END_MAX))) else {
            return Err(malformed("beyond the end"));
        };
        runs.push(start..stop);
        free = stop.saturating_add(1);
    }
    Ok(runs)
}

#[cfg(test)]
#[allow(clippy::single_range_in_vec_init)] // lists of one range
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn coded(runs: &[Range<u64>]) -> Vec<u8> {
        let mut out = Vec::new();
        encode(&mut out, runs.iter().cloned());
        out
    }

    #[test]
    fn frozen_bytes() {
        let runs = [0..1, 2..4, 1_000..1_001, 5_000..15_000];
        let bytes = coded(&runs);
        assert_eq!(bytes, b"\x00\x01\x00\xc6\x0f\xbd\x3e\x8e\x4e");
        assert_eq!(decode(&bytes, 4, 15_000).unwrap(), runs);
        assert!(decode(&bytes, 3, 15_000).is_err());
        assert!(decode(&bytes, 4, 14_999).is_err());
        let far = [END_MAX - 1..END_MAX];
        assert_eq!(decode(&coded(&far), 1, u64::MAX).unwrap(), far);
        let wide = 0..END_MAX;
        assert_eq!(decode(&coded(std::slice::from_ref(&wide)), 1, u64::MAX), Ok(vec![wide]));
    }

    #[test]
    fn one_form_only() {
        for bad in [&b"\x80"[..], b"\x80\x00", b"\x01", b"\x01\xff", b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\x02"] {
            assert!(decode(bad, 9, u64::MAX).is_err(), "{bad:?}");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_answered(bytes in prop::collection::vec(any::<u8>(), 0..60), end in any::<u64>()) {
            if let Ok(runs) = decode(&bytes, 20, end) {
                prop_assert!(runs.len() <= 20 && runs.last().is_none_or(|r| r.end <= end));
                prop_assert_eq!(coded(&runs), bytes);
            }
        }
    }
}
