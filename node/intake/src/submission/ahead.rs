//! What a submission brings before a row of its own: a row that is known byte for byte is answered as one only if no row before
//! it, of which the index cannot know yet, has its number.
//!
//! Known rows are taken off while they are judged, when rows before them may not even be at the batcher. What is settled the
//! index tells of.

use std::collections::{BTreeMap, HashSet, VecDeque};

/// The hash that all business keys of one form have in common.
pub(super) type CommonForm = [u8; 16];

/// The numbers of rows that are on their way, chunk by chunk: at most as many chunks as one submission has judged and waiting,
/// some 40,000 rows.
#[derive(Debug, Default)]
pub(super) struct RowsAhead {
    /// Chunks that are settled.
    settled: u64,
    /// Those of the chunk with this number, counted from 0, and of each after it.
    first: u64,
    chunks: VecDeque<HashSet<CommonForm>>,
}

impl RowsAhead {
    /// To be taken when the judging of a chunk begins: what is settled by then the index tells of.
    pub(super) fn mark(&self) -> u64 {
        self.settled
    }

    /// A chunk goes to the batcher.
    pub(super) fn sent(&mut self, forms: HashSet<CommonForm>) {
        self.chunks.push_back(forms);
    }

    /// The oldest chunk that was sent is settled. `needed`: the oldest mark of those that are being judged.
    pub(super) fn settled(&mut self, needed: Option<u64>) {
        self.settled += 1;
        let needed = needed.unwrap_or(self.settled).min(self.settled);
        while self.first < needed && self.chunks.pop_front().is_some() {
            self.first += 1;
        }
    }

    /// Whether a row that was sent since the mark has this number.
    pub(super) fn has(&self, since: u64, form: &CommonForm) -> bool {
        let before = usize::try_from(since.saturating_sub(self.first)).unwrap_or(usize::MAX);
        self.chunks.iter().skip(before).any(|chunk| chunk.contains(form))
    }
}

/// Of rows of a chunk, by their places, the first place of each number.
pub(super) fn first_places(rows: impl Iterator<Item = (usize, CommonForm)>) -> BTreeMap<CommonForm, usize> {
    let mut first = BTreeMap::new();
    for (place, form) in rows {
        first.entry(form).and_modify(|p: &mut usize| *p = place.min(*p)).or_insert(place);
    }
    first
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_is_ahead_until_whoever_was_marked_before_is_done() {
        let mut ahead = RowsAhead::default();
        let one = |n: u8| HashSet::from([[n; 16]]);
        let before = ahead.mark();
        ahead.sent(one(1));
        ahead.sent(one(2));
        assert!(ahead.has(before, &[1; 16]) && ahead.has(before, &[2; 16]) && !ahead.has(before, &[3; 16]));
        // One that is being judged since before still asks for it.
        ahead.settled(Some(before));
        let after = ahead.mark();
        assert!(ahead.has(before, &[1; 16]) && !ahead.has(after, &[1; 16]) && ahead.has(after, &[2; 16]));
        ahead.settled(None);
        ahead.sent(one(3));
        assert_eq!((ahead.first, ahead.chunks.len()), (2, 1));
        assert!(ahead.has(ahead.mark(), &[3; 16]) && !ahead.has(ahead.mark(), &[2; 16]));
    }
}
