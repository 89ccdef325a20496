//! Where two trees differ: found in a few round trips, at a cost that grows with the difference and log(n).
//!
//! Each round compares one level of the 16-ary tree, below the nodes that differed in the round before. Hashes are cut
//! to 16 bytes: they only locate, and what is fetched afterwards is proved by signed roots. Neither side is taken to
//! be right. A stored hash that is missing, or differs from what lies below it, is found where the descent passes, which is
//! only below hashes that differ; whether a leaf's hash is that of its record is what verify tells.

#![warn(clippy::indexing_slicing, clippy::arithmetic_side_effects)]

use super::{
    runs,
    tree_question::{TreeAnswer, TreeQuestion, hash_prefix, leaves, split, width},
};
use crate::{limits::DESCENT_OPEN_MAX, merkle::Nodes};
use std::{collections::VecDeque, ops::Range};

/// Why an answer was not taken; the descent stands where it stood.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum DescentError {
    /// No question is open.
    #[error("an answer to no question")]
    Unasked,
    /// Another number of hashes than was asked for.
    #[error("{got} hashes, {asked} were asked for")]
    Length {
        /// Hashes and absent places in the answer.
        got: usize,
        /// Hashes asked for.
        asked: usize,
    },
}

/// The asking side. Whatever the answers are, it ends after one round a level (16 at most, 6 for 10 million leaves),
/// looks into at most [`DESCENT_OPEN_MAX`] nodes a level, and reports at most
/// [`DESCENT_RANGES_MAX`](crate::limits::DESCENT_RANGES_MAX) ranges.
#[derive(Debug, Clone)]
pub struct Descent {
    size: u64,
    /// Of the hashes that are asked for now.
    level: u32,
    /// Of this level, not answered yet.
    questions: VecDeque<TreeQuestion>,
    /// Nodes of this level that differ and will be looked into.
    open: Vec<Range<u64>>,
    open_nodes: usize,
    /// Leaves found different on this level. They lie before those of the levels above: nodes are opened from the
    /// left, and once they are too many, all that follow are reported.
    found: Vec<Range<u64>>,
    differences: Vec<Range<u64>>,
    faults: Vec<Range<u64>>,
    exact_to: u64,
    rounds: u32,
}

impl Descent {
    /// Compares the first `size` leaves. Roots that are known to be equal need no descent.
    pub fn new(size: u64) -> Self {
        let size = size.min(runs::END_MAX);
        let level = (0..).find(|level| width(size, *level) <= 16).unwrap_or_default();
        let questions = (size > 0).then(|| TreeQuestion::new(size, level, std::iter::once(0..1).collect()));
        Self {
            size,
            level,
            questions: questions.into_iter().collect(),
            open: Vec::new(),
            open_nodes: 0,
            found: Vec::new(),
            differences: Vec::new(),
            faults: Vec::new(),
            exact_to: size,
            rounds: 0,
        }
    }

    /// The questions of this round that are not answered yet, all of which can be sent at once, and again after a lost
    /// link; none: finished.
    pub fn ask(&self) -> impl ExactSizeIterator<Item = &TreeQuestion> {
        self.questions.iter()
    }

    /// Takes the answer to the first open question and compares it with the own tree. A hash that either side does not
    /// hold is different.
    ///
    /// # Errors
    /// [`DescentError`].
    pub fn take(&mut self, nodes: &impl Nodes, answer: &TreeAnswer) -> Result<(), DescentError> {
        let asked = self.questions.front().ok_or(DescentError::Unasked)?.hashes();
        if answer.len() != asked {
            return Err(DescentError::Length { got: answer.len(), asked });
        }
        let Some(question) = self.questions.pop_front() else { return Err(DescentError::Unasked) };
        let mut theirs = answer.iter();
        for parent in question.parents() {
            let mut same = true;
            for child in question.children(parent) {
                let theirs = theirs.next().flatten();
                if theirs.is_none() || theirs != hash_prefix(nodes, self.size, self.level, child) {
                    same = false;
                    self.differs(child);
                }
            }
            // The first question's parent, the root, was not compared.
            if same && self.rounds > 0 && self.faults.len() < DESCENT_OPEN_MAX {
                self.faults.push(leaves(self.size, self.level.saturating_add(1), parent));
            }
        }
        if self.questions.is_empty() {
            self.next_level();
        }
        Ok(())
    }

    /// Ranges of leaves that differ, ascending; complete once finished. Up to [`Self::exact_to`] exactly those that
    /// differ.
    pub fn differences(&self) -> &[Range<u64>] {
        &self.differences
    }

    /// From this leaf on there was too much to look into, and the differences are whole subtrees in which something
    /// differs: mend what lies before, and compare again. The size, if everything is exact.
    pub fn exact_to(&self) -> u64 {
        self.exact_to
    }

    /// Subtrees that differ although all that is below them agrees: their stored hash is wrong or missing in one of
    /// the trees, not a record. Ascending once finished; the first [`DESCENT_OPEN_MAX`] that were met.
    pub fn tree_faults(&self) -> &[Range<u64>] {
        &self.faults
    }

    /// Rounds that were answered; questions sent together count once.
    pub fn rounds(&self) -> u32 {
        self.rounds
    }

    fn differs(&mut self, node: u64) {
        if self.level > 0 && self.open_nodes < DESCENT_OPEN_MAX {
            runs::push(&mut self.open, node..node.saturating_add(1));
            self.open_nodes = self.open_nodes.saturating_add(1);
            return;
        }
        let below = leaves(self.size, self.level, node);
        // At level 0 the leaves of the open nodes are the bound.
        let whole = self.level > 0;
        if whole {
            self.exact_to = self.exact_to.min(below.start);
        }
        let full = whole && self.differences.len().saturating_add(self.found.len()) >= DESCENT_OPEN_MAX;
        add(&mut self.found, below, full);
    }

    fn next_level(&mut self) {
        self.rounds = self.rounds.saturating_add(1);
        let above = std::mem::replace(&mut self.differences, std::mem::take(&mut self.found));
        above.into_iter().for_each(|run| runs::push(&mut self.differences, run));
        self.questions = split(self.size, self.level.saturating_sub(1), &self.open);
        self.open.clear();
        self.open_nodes = 0;
        self.level = self.level.saturating_sub(1);
        if self.questions.is_empty() {
            let mut faults = std::mem::take(&mut self.faults);
            faults.sort_unstable_by_key(|r| r.start);
            faults.into_iter().for_each(|run| runs::push(&mut self.faults, run));
        }
    }
}

/// Adds a range; joins it to the last one, with what lies between, if the list is full.
fn add(runs: &mut Vec<Range<u64>>, run: Range<u64>, full: bool) {
    match runs.last_mut() {
        Some(last) if full => last.end = run.end,
        _ => runs::push(runs, run),
    }
}

#[cfg(test)]
#[allow(clippy::arithmetic_side_effects, reason = "in a test a panic is a finding")]
#[allow(clippy::single_range_in_vec_init)] // lists of one range
mod tests {
    use super::super::tree_question::answer;
    use super::*;
    use crate::{
        hash::{Hash, sha256},
        limits::DESCENT_RANGES_MAX,
        merkle::{FullTree, tests::numbered},
    };
    use proptest::prelude::*;
    use std::collections::{BTreeSet, HashSet};

    fn tree(leaves: &[Hash]) -> FullTree {
        let mut tree = FullTree::default();
        leaves.iter().for_each(|l| tree.push(*l));
        tree
    }

    fn altered(leaves: &[Hash], which: impl IntoIterator<Item = u64>) -> FullTree {
        let mut leaves = leaves.to_vec();
        which.into_iter().for_each(|i| leaves[i as usize] = sha256(&[&leaves[i as usize].0]));
        tree(&leaves)
    }

    /// Both sides over encoded bytes; answers what both sides sent.
    fn run(size: u64, mine: &impl Nodes, theirs: &impl Nodes) -> (Descent, usize) {
        let (mut descent, mut bytes) = (Descent::new(size), 0);
        while descent.ask().len() > 0 {
            let asked: Vec<_> = descent.ask().map(TreeQuestion::encode).collect();
            for question in asked {
                let said = answer(theirs, &TreeQuestion::decode(&question).unwrap()).encode();
                bytes += question.len() + said.len();
                descent.take(mine, &TreeAnswer::decode(&said).unwrap()).unwrap();
            }
        }
        (descent, bytes)
    }

    fn merged(leaves: &BTreeSet<u64>) -> Vec<Range<u64>> {
        let mut runs = Vec::new();
        leaves.iter().for_each(|l| runs::push(&mut runs, *l..*l + 1));
        runs
    }

    struct Holes<'a>(&'a FullTree, HashSet<(u32, u64)>);
    impl Nodes for Holes<'_> {
        fn node(&self, level: u32, index: u64) -> Option<Hash> {
            if self.1.contains(&(level, index)) { None } else { self.0.node(level, index) }
        }
    }

    /// Every hash of even nodes is wrong, whatever is asked: hostile, and never ending if it could.
    struct Liar;
    impl Nodes for Liar {
        fn node(&self, _: u32, index: u64) -> Option<Hash> {
            Some(Hash([(index % 2) as u8; 32]))
        }
    }
    struct Zero;
    impl Nodes for Zero {
        fn node(&self, _: u32, _: u64) -> Option<Hash> {
            Some(Hash([1; 32]))
        }
    }

    #[test]
    fn costs_stay_within_the_goals() {
        let n = 65_536;
        let leaves = numbered(n as usize);
        let mine = altered(&leaves, []);
        let (same, bytes) = run(n, &mine, &mine);
        assert_eq!((same.rounds(), same.differences(), same.exact_to()), (1, &[][..], n));
        assert!(bytes < 280, "{bytes}");

        let (one, bytes) = run(n, &mine, &altered(&leaves, [40_000]));
        assert_eq!((one.rounds(), one.differences()), (4, &[40_000..40_001][..]));
        // 16 hashes a level; 10 million leaves have two levels more, 1.6 KB.
        assert!(bytes < 4 * 270, "{bytes}");

        let (run_of, bytes) = run(n, &mine, &altered(&leaves, 30_000..40_000));
        assert_eq!(run_of.differences(), [30_000..40_000]);
        assert!(bytes < 20 * 10_000, "{bytes}");

        let spread: BTreeSet<_> = (0..n / 64).map(|i| i * 64 + i % 64).collect();
        let (spread_out, bytes) = run(n, &mine, &altered(&leaves, spread.iter().copied()));
        assert_eq!(spread_out.differences(), merged(&spread));
        assert!(bytes < 900 * spread.len(), "{bytes}");
    }

    #[test]
    fn levels_are_split_and_questions_can_be_sent_again() {
        let n = 150_000;
        let leaves = numbered(n as usize);
        let (mine, theirs) = (altered(&leaves, []), altered(&leaves, 0..n));
        let mut descent = Descent::new(n);
        let mut most = 0;
        while descent.ask().len() > 0 {
            most = most.max(descent.ask().len());
            let first = descent.ask().next().unwrap().clone();
            assert_eq!(Some(&first), descent.ask().next());
            let said = answer(&theirs, &first);
            let asked = first.hashes();
            assert_eq!(descent.take(&mine, &TreeAnswer::default()), Err(DescentError::Length { got: 0, asked }));
            descent.take(&mine, &said).unwrap();
        }
        assert_eq!((most, descent.rounds()), (3, 5));
        assert_eq!(descent.differences(), [0..n]);
        assert_eq!(descent.take(&mine, &TreeAnswer::default()), Err(DescentError::Unasked));
        assert_eq!(Descent::new(0).ask().len(), 0);
    }

    #[test]
    fn a_hostile_side_costs_a_bounded_amount() {
        let n = 1 << 31;
        let (descent, _) = run(n, &Zero, &Liar);
        assert_eq!(descent.rounds(), 8);
        assert!(descent.differences().len() <= DESCENT_RANGES_MAX);
        assert!(descent.differences().windows(2).all(|w| w[0].end < w[1].start));
        // The last even nodes down to level 2, the first with too many.
        let end = 6 * (1 << 28) + (2..=6).map(|level| 14 << (4 * level)).sum::<u64>() + 256;
        assert_eq!(descent.differences().last().unwrap().end, end);
        let exact = descent.differences().iter().take_while(|r| r.end <= descent.exact_to());
        assert_eq!(exact.map(|r| r.end - r.start).sum::<u64>(), 8 * DESCENT_OPEN_MAX as u64);
    }

    #[test]
    fn faults_of_a_tree_are_told_from_other_records() {
        let n = 1_000;
        let leaves = numbered(n as usize);
        let whole = altered(&leaves, []);
        let other = altered(&leaves, [17]);
        // Missing: an inner node, a leaf beside the other record, and a node that only the right edge needs.
        let holes = Holes(&other, [(4, 9), (0, 20), (3, 124)].into());
        for (descent, _) in [run(n, &whole, &holes), run(n, &holes, &whole)] {
            assert_eq!(descent.differences(), [17..18, 20..21]);
            assert_eq!(descent.tree_faults(), [144..160, 992..1_000]);
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(96))]
        #[test]
        fn finds_exactly_the_altered_leaves(
            n in 1_u64..5_000, more in 0_u64..100,
            which in prop::collection::vec(any::<prop::sample::Index>(), 0..60),
            from in any::<prop::sample::Index>(), long in 0_u64..700, swapped in any::<bool>()
        ) {
            let mut which: BTreeSet<_> = which.iter().map(|i| i.index(n as usize) as u64).collect();
            let from = from.index(n as usize) as u64;
            which.extend(from..n.min(from + long));
            let leaves = numbered((n + more) as usize);
            // One side is ahead: only the common prefix is compared.
            let (a, b) = (altered(&leaves, []), altered(&leaves[..n as usize], which.iter().copied()));
            let (descent, _) = if swapped { run(n, &b, &a) } else { run(n, &a, &b) };
            prop_assert_eq!(descent.differences(), merged(&which));
            prop_assert_eq!((descent.tree_faults(), descent.exact_to()), (&[][..], n));
        }

        #[test]
        fn missing_hashes_hide_nothing(
            n in 1_u64..3_000, which in prop::collection::btree_set(0_u64..3_000, 0..20),
            holes in prop::collection::hash_set((0_u32..12, 0_u64..3_000), 0..40)
        ) {
            let which: BTreeSet<_> = which.into_iter().filter(|i| *i < n).collect();
            let leaves = numbered(n as usize);
            let (a, b) = (altered(&leaves, []), altered(&leaves, which.iter().copied()));
            // A missing leaf is seen where the descent passes, so it may be reported, or not.
            let absent: BTreeSet<_> = holes.iter().filter(|h| h.0 == 0).map(|h| h.1).collect();
            let (descent, _) = run(n, &a, &Holes(&b, holes));
            let found: BTreeSet<_> = descent.differences().iter().cloned().flatten().collect();
            prop_assert!(found.is_superset(&which));
            prop_assert!(found.difference(&which).all(|leaf| absent.contains(leaf)));
        }
    }
}
