//! Inclusion and consistency proofs (RFC 9162 §2.1.3 and §2.1.4).

#![warn(clippy::indexing_slicing, clippy::arithmetic_side_effects)]

use super::{Nodes, node_hash};
use crate::{hash::Hash, limits::PROOF_HASHES_MAX};

/// Why a proof does not hold, or could not be made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ProofError {
    /// Positions that no tree can have: an index at or beyond the size, a first size beyond the second.
    #[error("the positions do not fit each other")]
    Range,
    /// Too few, too many, or more than [`PROOF_HASHES_MAX`] hashes.
    #[error("the proof does not have the right number of hashes")]
    Length,
    /// The hashes lead to another root.
    #[error("the proof does not lead to the signed root")]
    Root,
    /// A subtree hash that is needed is not held.
    #[error("a hash that the proof needs is missing")]
    Missing,
}

/// The largest power of two below `n`, which is above 1: the first at or above its half.
fn largest_power_below(n: u64) -> u64 {
    debug_assert!(n > 1);
    n.div_ceil(2).next_power_of_two()
}

/// Where the subtree of `lo..hi`, of two leaves or more, is cut in two.
fn middle_of(lo: u64, hi: u64) -> u64 {
    lo.saturating_add(largest_power_below(hi.saturating_sub(lo)))
}

/// Tree hash of the leaves `lo..hi` (not empty; `lo` a multiple of the largest power of two in the range).
///
/// # Errors
/// [`ProofError::Missing`].
pub fn range_hash(nodes: &impl Nodes, lo: u64, hi: u64) -> Result<Hash, ProofError> {
    let n = hi.checked_sub(lo).filter(|n| *n > 0).ok_or(ProofError::Range)?;
    if n.is_power_of_two() && lo.is_multiple_of(n) {
        let level = n.trailing_zeros();
        return nodes.node(level, lo.unbounded_shr(level)).ok_or(ProofError::Missing);
    }
    let middle = middle_of(lo, hi);
    Ok(node_hash(&range_hash(nodes, lo, middle)?, &range_hash(nodes, middle, hi)?))
}

/// Proof that leaf `index` is in the tree of `size` leaves; leaf side first.
///
/// # Errors
/// [`ProofError::Range`], [`ProofError::Missing`].
pub fn inclusion(nodes: &impl Nodes, index: u64, size: u64) -> Result<Vec<Hash>, ProofError> {
    if index >= size {
        return Err(ProofError::Range);
    }
    let (mut lo, mut hi, mut path) = (0, size, Vec::new());
    while hi.saturating_sub(lo) > 1 {
        let middle = middle_of(lo, hi);
        if index < middle {
            path.push(range_hash(nodes, middle, hi)?);
            hi = middle;
        } else {
            path.push(range_hash(nodes, lo, middle)?);
            lo = middle;
        }
    }
    path.reverse();
    Ok(path)
}

/// Proof that the tree of `second` leaves starts with the tree of `first` leaves. Empty for `first` 0 or equal sizes.
///
/// # Errors
/// [`ProofError::Range`], [`ProofError::Missing`].
pub fn consistency(nodes: &impl Nodes, first: u64, second: u64) -> Result<Vec<Hash>, ProofError> {
    if first > second {
        return Err(ProofError::Range);
    }
    if first == 0 || first == second {
        return Ok(Vec::new());
    }
    let (mut lo, mut hi, mut path, mut whole) = (0, second, Vec::new(), true);
    while first != hi {
        let middle = middle_of(lo, hi);
        if first <= middle {
            path.push(range_hash(nodes, middle, hi)?);
            hi = middle;
        } else {
            path.push(range_hash(nodes, lo, middle)?);
            lo = middle;
            whole = false;
        }
    }
    if !whole {
        path.push(range_hash(nodes, lo, hi)?);
    }
    path.reverse();
    Ok(path)
}

/// RFC 9162 §2.1.3.2.
///
/// # Errors
/// [`ProofError`]: which step failed.
pub fn verify_inclusion(index: u64, size: u64, leaf: &Hash, path: &[Hash], root: &Hash) -> Result<(), ProofError> {
    let last = size.checked_sub(1).filter(|last| index <= *last).ok_or(ProofError::Range)?;
    if path.len() > PROOF_HASHES_MAX {
        return Err(ProofError::Length);
    }
    let (mut f, mut s, mut r) = (index, last, *leaf);
    for p in path {
        if s == 0 {
            return Err(ProofError::Length);
        }
        if f & 1 == 1 || f == s {
            r = node_hash(p, &r);
            while f & 1 == 0 && f != 0 {
                f >>= 1;
                s >>= 1;
            }
        } else {
            r = node_hash(&r, p);
        }
        f >>= 1;
        s >>= 1;
    }
    if s != 0 {
        return Err(ProofError::Length);
    }
    if r == *root { Ok(()) } else { Err(ProofError::Root) }
}

/// RFC 9162 §2.1.4.2, with the edges of c2sp.org/tlog-witness: from size 0 nothing is proved and the path is empty;
/// for equal sizes the path is empty and the roots are equal.
///
/// # Errors
/// [`ProofError`]: which step failed.
pub fn verify_consistency(
    first: u64,
    first_root: &Hash,
    second: u64,
    second_root: &Hash,
    path: &[Hash],
) -> Result<(), ProofError> {
    if first > second {
        return Err(ProofError::Range);
    }
    if path.len() > PROOF_HASHES_MAX {
        return Err(ProofError::Length);
    }
    if first == 0 || first == second {
        let same = first == 0 || first_root == second_root;
        return match (path.is_empty(), same) {
            (false, _) => Err(ProofError::Length),
            (true, false) => Err(ProofError::Root),
            (true, true) => Ok(()),
        };
    }
    // Neither is 0 here.
    let (mut f, mut s) = (first.saturating_sub(1), second.saturating_sub(1));
    while f & 1 == 1 {
        f >>= 1;
        s >>= 1;
    }
    let mut rest = path.iter();
    let start = if first.is_power_of_two() { first_root } else { rest.next().ok_or(ProofError::Length)? };
    let (mut fr, mut sr) = (*start, *start);
    if path.is_empty() {
        return Err(ProofError::Length);
    }
    for c in rest {
        if s == 0 {
            return Err(ProofError::Length);
        }
        if f & 1 == 1 || f == s {
            fr = node_hash(c, &fr);
            sr = node_hash(c, &sr);
            while f & 1 == 0 && f != 0 {
                f >>= 1;
                s >>= 1;
            }
        } else {
            sr = node_hash(&sr, c);
        }
        f >>= 1;
        s >>= 1;
    }
    if s != 0 {
        return Err(ProofError::Length);
    }
    if fr == *first_root && sr == *second_root { Ok(()) } else { Err(ProofError::Root) }
}

#[cfg(test)]
#[allow(clippy::arithmetic_side_effects, reason = "in a test a panic is a finding")]
mod tests {
    use super::super::{
        FullTree, Tree, leaf_hash,
        tests::{LEAVES, by_definition, numbered},
    };
    use super::*;
    use proptest::prelude::*;

    fn full(leaves: &[Hash]) -> FullTree {
        let mut t = FullTree::default();
        leaves.iter().for_each(|l| t.push(*l));
        t
    }

    #[test]
    fn published_consistency_proof() {
        let leaves: Vec<_> = LEAVES.iter().map(|l| leaf_hash(l)).collect();
        let path = consistency(&full(&leaves), 3, 7).unwrap();
        let starts: Vec<_> = path.iter().map(|h| h.to_string()[..8].to_owned()).collect();
        assert_eq!(starts, ["0298d122", "07506a85", "fac54203", "837dbb15"]);
    }

    #[test]
    fn every_proof_of_small_trees_holds_and_no_altered_one() {
        let leaves = numbered(33);
        let tree = full(&leaves);
        for size in 1..=33_u64 {
            let root = by_definition(&leaves[..size as usize]);
            for index in 0..size {
                let path = inclusion(&tree, index, size).unwrap();
                let leaf = &leaves[index as usize];
                assert_eq!(verify_inclusion(index, size, leaf, &path, &root), Ok(()));
                assert!(verify_inclusion(index, size, &root, &path, &root).is_err() || size == 1);
                assert!(verify_inclusion((index + 1) % size, size, leaf, &path, &root).is_err() || size == 1);
                let longer = [&path[..], &[root]].concat();
                assert_eq!(verify_inclusion(index, size, leaf, &longer, &root), Err(ProofError::Length));
                if let Some((_, shorter)) = path.split_last() {
                    assert!(verify_inclusion(index, size, leaf, shorter, &root).is_err());
                }
            }
            for first in 0..=size {
                let old = by_definition(&leaves[..first as usize]);
                let path = consistency(&tree, first, size).unwrap();
                assert_eq!(verify_consistency(first, &old, size, &root, &path), Ok(()), "{first} {size}");
                if first > 0 {
                    let wrong = leaf_hash(b"wrong");
                    assert!(verify_consistency(first, &wrong, size, &root, &path).is_err());
                    assert!(verify_consistency(first, &old, size, &wrong, &path).is_err());
                    let longer = [&path[..], &[root]].concat();
                    assert!(verify_consistency(first, &old, size, &root, &longer).is_err());
                }
            }
        }
        assert_eq!(inclusion(&tree, 33, 33), Err(ProofError::Range));
        assert_eq!(inclusion(&tree, 1, 40), Err(ProofError::Missing));
        assert_eq!(consistency(&tree, 4, 3), Err(ProofError::Range));
        let too_long = vec![leaves[0]; PROOF_HASHES_MAX + 1];
        assert_eq!(verify_inclusion(0, u64::MAX, &leaves[0], &too_long, &leaves[0]), Err(ProofError::Length));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(48))]
        #[test]
        fn proofs_of_larger_trees(n in 2_usize..3_000, i in any::<prop::sample::Index>(), flip in 0_usize..256) {
            let leaves = numbered(n);
            let tree = full(&leaves);
            let mut edge = Tree::default();
            leaves.iter().for_each(|l| edge.push(*l));
            let (size, index) = (n as u64, i.index(n) as u64);
            let mut path = inclusion(&tree, index, size).unwrap();
            prop_assert!(verify_inclusion(index, size, &leaves[index as usize], &path, &edge.root()).is_ok());
            let k = flip % path.len();
            path[k].0[flip % 32] ^= 1;
            prop_assert!(verify_inclusion(index, size, &leaves[index as usize], &path, &edge.root()).is_err());
        }

        #[test]
        fn hostile_proofs_never_panic(
            a in any::<u64>(), b in any::<u64>(), path in prop::collection::vec(any::<[u8; 32]>(), 0..70)
        ) {
            let path: Vec<_> = path.into_iter().map(Hash).collect();
            let h = leaf_hash(b"x");
            prop_assert!(verify_inclusion(a, b, &h, &path, &h).is_err() || path.is_empty());
            let _ = verify_consistency(a, &h, b, &h, &path);
        }
    }
}
