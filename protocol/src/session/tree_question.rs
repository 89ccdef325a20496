//! What a descent says: questions for hashes of one level, and their answers.
//!
//! Four levels of the binary tree are one level here: node `i` of level `l` covers the leaves `i · 16^l` up to
//! `(i + 1) · 16^l`, cut off at the size. Only the last node of a level can be cut off; its hash is the RFC 9162 tree
//! hash of what is left.

#![warn(clippy::indexing_slicing, clippy::arithmetic_side_effects)]

use super::runs;
use crate::{
    codec::{self, CodecError},
    limits::{CONTROL_BYTES_MAX, DESCENT_HASH_BYTES, DESCENT_PARENTS_MAX},
    merkle::{Nodes, proof::range_hash},
};
use std::{collections::VecDeque, ops::Range};

/// Highest level: 16^16 leaves are more than any tree has.
const LEVEL_MAX: u32 = 15;
/// Bound of a question's size and level, in bytes.
const HEAD_BYTES_MAX: usize = 16;
/// Bound of an answer's list of absent hashes, in bytes.
const ABSENT_BYTES_MAX: usize = DESCENT_PARENTS_MAX * 16 * 6;

/// The first bytes of a hash.
pub type HashPrefix = [u8; DESCENT_HASH_BYTES];

/// Nodes at `level` of a tree of `size` leaves.
pub(super) fn width(size: u64, level: u32) -> u64 {
    // Rounded up; a division would cost more than the lookup it is for.
    let below = level.saturating_mul(4);
    let rest = size & !u64::MAX.unbounded_shl(below);
    size.unbounded_shr(below).saturating_add(u64::from(rest > 0))
}

/// The leaves below node `index` of `level`.
pub(super) fn leaves(size: u64, level: u32, index: u64) -> Range<u64> {
    let below = level.saturating_mul(4);
    let start = index.unbounded_shl(below);
    start..size.min(start.saturating_add(1_u64.unbounded_shl(below)))
}

/// The first bytes of the hash of node `index` of `level`; `None` if a hash that it needs is not held.
pub(super) fn hash_prefix(nodes: &impl Nodes, size: u64, level: u32, index: u64) -> Option<HashPrefix> {
    let Range { start, end } = leaves(size, level, index);
    let below = level.saturating_mul(4);
    let hash = if end.saturating_sub(start) == 1_u64.unbounded_shl(below) {
        nodes.node(below, index)?
    } else {
        range_hash(nodes, start, end).ok()?
    };
    hash.0.first_chunk().copied()
}

/// Asks for the hashes of all children of some nodes, at most [`DESCENT_PARENTS_MAX`] nodes. What it says fits its
/// size, whoever made it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TreeQuestion {
    size: u64,
    level: u32,
    parents: Vec<Range<u64>>,
}

impl TreeQuestion {
    /// About the children, at `level`, of these nodes of the level above.
    pub(super) fn new(size: u64, level: u32, parents: Vec<Range<u64>>) -> Self {
        Self { size, level, parents }
    }

    /// Leaves of the trees that are compared. Who answers must hold as many: what is not held counts as different.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Level of the hashes asked for, in steps of 16; 0 are leaves.
    pub fn level(&self) -> u32 {
        self.level
    }

    /// Hashes that the answer must account for, at most 16 · [`DESCENT_PARENTS_MAX`].
    pub fn hashes(&self) -> usize {
        self.parents().map(|p| self.children(p)).map(|c| c.end.saturating_sub(c.start) as usize).sum()
    }

    /// The nodes whose children are asked for, ascending.
    pub(super) fn parents(&self) -> impl Iterator<Item = u64> {
        self.parents.iter().cloned().flatten()
    }

    /// The children of a node.
    pub(super) fn children(&self, parent: u64) -> Range<u64> {
        let first = parent.saturating_mul(16);
        first..width(self.size, self.level).min(first.saturating_add(16))
    }

    /// The question as the bytes of a frame: size and level as a bincode value, then the nodes as ranges.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = codec::encode(&(self.size, self.level as u8));
        runs::encode(&mut out, self.parents.iter().cloned());
        out
    }

    /// Reads a frame.
    ///
    /// # Errors
    /// [`CodecError`]; what a tree of the stated size does not have is malformed.
    pub fn decode(bytes: &[u8]) -> Result<Self, CodecError> {
        if bytes.len() > CONTROL_BYTES_MAX {
            return Err(CodecError::TooLong { bytes: bytes.len(), limit: CONTROL_BYTES_MAX });
        }
        let ((size, level), rest) = codec::decode_prefix::<(u64, u8), HEAD_BYTES_MAX>(bytes)?;
        let level = u32::from(level);
        if !(1..=runs::END_MAX).contains(&size) || level > LEVEL_MAX {
            return Err(CodecError::Malformed("no tree has this size and level".into()));
        }
        let parents = runs::decode(rest, DESCENT_PARENTS_MAX, width(size, level).div_ceil(16))?;
        if !(1..=DESCENT_PARENTS_MAX as u64).contains(&runs::total(&parents)) {
            return Err(CodecError::Malformed(format!("1 to {DESCENT_PARENTS_MAX} nodes can be asked for")));
        }
        Ok(Self { size, level, parents })
    }
}

/// Questions for the children of the nodes, each within its bound.
pub(super) fn split(size: u64, level: u32, parents: &[Range<u64>]) -> VecDeque<TreeQuestion> {
    let (mut questions, mut part, mut room) = (VecDeque::new(), Vec::new(), DESCENT_PARENTS_MAX as u64);
    for run in parents {
        let mut start = run.start;
        while start < run.end {
            let end = run.end.min(start.saturating_add(room));
            part.push(start..end);
            room = room.saturating_sub(end.saturating_sub(start));
            start = end;
            if room == 0 {
                questions.push_back(TreeQuestion::new(size, level, std::mem::take(&mut part)));
                room = DESCENT_PARENTS_MAX as u64;
            }
        }
    }
    if !part.is_empty() {
        questions.push_back(TreeQuestion::new(size, level, part));
    }
    questions
}

/// Hashes in the order asked for, and which of them are not held.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct TreeAnswer {
    /// Places in the answer without a hash.
    absent: Vec<Range<u64>>,
    hashes: Vec<HashPrefix>,
}

impl TreeAnswer {
    /// Hashes accounted for, held or not.
    pub fn len(&self) -> usize {
        self.hashes.len().saturating_add(runs::total(&self.absent) as usize)
    }

    /// No question has an empty answer.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// What was asked for, in order; `None` is not held.
    pub fn iter(&self) -> impl Iterator<Item = Option<HashPrefix>> {
        let (mut hashes, mut absent) = (self.hashes.iter(), self.absent.iter());
        let mut run = absent.next();
        (0..self.len() as u64).map(move |place| {
            if run.is_some_and(|r| r.end <= place) {
                run = absent.next();
            }
            if run.is_some_and(|r| r.contains(&place)) { None } else { hashes.next().copied() }
        })
    }

    /// The answer as the bytes of a frame: the absent places as a bincode byte string (one byte if there are none),
    /// then the hashes.
    pub fn encode(&self) -> Vec<u8> {
        let mut absent = Vec::new();
        runs::encode(&mut absent, self.absent.iter().cloned());
        let mut out = codec::encode(&absent);
        let hashes = self.hashes.as_flattened();
        out.reserve_exact(hashes.len());
        out.extend_from_slice(hashes);
        out
    }

    /// Reads a frame. Whether it answers the question, [`super::Descent::take`] tells.
    ///
    /// # Errors
    /// [`CodecError`]; allocates at most in proportion to `bytes`.
    pub fn decode(bytes: &[u8]) -> Result<Self, CodecError> {
        if bytes.len() > CONTROL_BYTES_MAX {
            return Err(CodecError::TooLong { bytes: bytes.len(), limit: CONTROL_BYTES_MAX });
        }
        let (absent, rest) = codec::decode_prefix::<Vec<u8>, ABSENT_BYTES_MAX>(bytes)?;
        let most = DESCENT_PARENTS_MAX * 16;
        let absent = runs::decode(&absent, most, most as u64)?;
        let (hashes, rest) = rest.as_chunks();
        if !rest.is_empty() {
            return Err(CodecError::Trailing(rest.len()));
        }
        let answer = Self { absent, hashes: hashes.to_vec() };
        if answer.len() > most || answer.absent.last().is_some_and(|r| r.end > answer.len() as u64) {
            return Err(CodecError::Malformed("hashes and absent places do not fit each other".into()));
        }
        Ok(answer)
    }
}

/// Answers a question from `nodes`: at most 16 · [`DESCENT_PARENTS_MAX`] hashes are looked up, and for the right edge
/// those that it is made of.
pub fn answer(nodes: &impl Nodes, question: &TreeQuestion) -> TreeAnswer {
    let mut answer = TreeAnswer { absent: Vec::new(), hashes: Vec::with_capacity(question.hashes()) };
    let children = question.parents().flat_map(|p| question.children(p));
    for (place, child) in (0_u64..).zip(children) {
        match hash_prefix(nodes, question.size, question.level, child) {
            Some(hash) => answer.hashes.push(hash),
            None => runs::push(&mut answer.absent, place..place.saturating_add(1)),
        }
    }
    answer
}

#[cfg(test)]
#[allow(clippy::single_range_in_vec_init)] // lists of one range
mod tests {
    use super::*;
    use crate::merkle::{FullTree, tests::numbered};
    use proptest::prelude::*;

    #[test]
    fn frozen_bytes() {
        let question = TreeQuestion::new(300, 0, vec![1..2, 17..19]);
        let bytes = question.encode();
        assert_eq!(bytes, b"\xfb\x2c\x01\x00\x02\x1d\x00");
        assert_eq!(TreeQuestion::decode(&bytes), Ok(question.clone()));
        // The last node has 300 - 18 · 16 = 12 leaves.
        assert_eq!(question.hashes(), 44);

        let answer = TreeAnswer { absent: vec![0..1, 3..5], hashes: vec![[7; 16], [8; 16]] };
        let bytes = answer.encode();
        assert_eq!(bytes, [b"\x03\x00\x03\x00".as_slice(), &[7; 16], &[8; 16]].concat());
        assert_eq!(TreeAnswer::decode(&bytes), Ok(answer.clone()));
        assert_eq!(answer.iter().collect::<Vec<_>>(), [None, Some([7; 16]), Some([8; 16]), None, None]);
    }

    #[test]
    fn what_no_tree_has_is_refused() {
        let with = |size: u64, level: u8, runs: &[u8]| [&codec::encode(&(size, level)), runs].concat();
        assert!(TreeQuestion::decode(&with(256, 0, b"\x1e")).is_ok());
        for bad in [
            with(256, 0, b"\x20"),                // node 16 of 16
            with(0, 0, b"\x00"),                  // no leaves
            with(u64::MAX, 0, b"\x00"),           // too many
            with(256, 16, b"\x00"),               // too high
            with(256, 0, b""),                    // no nodes
            with(10_000_000, 0, b"\x01\x9f\x1f"), // 4,001 nodes
        ] {
            assert!(matches!(TreeQuestion::decode(&bad), Err(CodecError::Malformed(_))), "{bad:?}");
        }
        assert!(TreeQuestion::decode(&with(10_000_000, 0, b"\x01\x9e\x1f")).is_ok());
        assert!(matches!(TreeQuestion::decode(&vec![0; CONTROL_BYTES_MAX + 1]), Err(CodecError::TooLong { .. })));
        assert!(matches!(TreeAnswer::decode(&vec![0; CONTROL_BYTES_MAX + 1]), Err(CodecError::TooLong { .. })));
        assert_eq!(TreeAnswer::decode(b"\x00abc"), Err(CodecError::Trailing(3)));
        // Place 5 is absent from an answer of one.
        assert!(matches!(TreeAnswer::decode(b"\x01\x0a"), Err(CodecError::Malformed(_))));
    }

    #[test]
    fn the_largest_answers_fit_a_message() {
        let question = TreeQuestion::new(1 << 40, 0, vec![0..DESCENT_PARENTS_MAX as u64]);
        let most = question.hashes();
        let held = TreeAnswer { absent: Vec::new(), hashes: vec![[1; 16]; most] };
        // Every other one absent: the longest list.
        let absent = (0..most as u64 / 2).map(|i| i * 2..i * 2 + 1).collect();
        let half = TreeAnswer { absent, hashes: vec![[1; 16]; most / 2] };
        let none = answer(&FullTree::default(), &question);
        for answer in [held, half, none] {
            assert_eq!(answer.len(), most);
            let bytes = answer.encode();
            assert!(bytes.len() < CONTROL_BYTES_MAX);
            assert_eq!(TreeAnswer::decode(&bytes), Ok(answer));
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_answered(
            bytes in prop::collection::vec(any::<u8>(), 0..200),
            size in any::<u64>(), level in any::<u8>(), tail in prop::collection::vec(any::<u8>(), 1..6)
        ) {
            let mut tree = FullTree::default();
            numbered(40).into_iter().for_each(|l| tree.push(l));
            let likely = [codec::encode(&(size, level % 16)), tail].concat();
            for bytes in [&bytes, &likely] {
                if let Ok(question) = TreeQuestion::decode(bytes) {
                    prop_assert_eq!(TreeQuestion::decode(&question.encode()), Ok(question.clone()));
                    let answer = answer(&tree, &question);
                    prop_assert_eq!(answer.len(), question.hashes());
                    prop_assert_eq!(TreeAnswer::decode(&answer.encode()), Ok(answer));
                }
                if let Ok(answer) = TreeAnswer::decode(bytes) {
                    prop_assert_eq!(answer.iter().count(), answer.len());
                    prop_assert_eq!(TreeAnswer::decode(&answer.encode()), Ok(answer));
                }
            }
        }
    }
}
