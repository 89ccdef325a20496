//! The RFC 9162 Merkle tree over SHA-256: append, proofs, tiles.

pub mod proof;
pub mod tile;

use crate::hash::{Hash, sha256};
use serde::{Deserialize, Serialize};

/// Hash of a leaf: SHA-256(0x00 ‖ entry), RFC 9162 §2.1.1.
pub fn leaf_hash(entry: &[u8]) -> Hash {
    sha256(&[&[0], entry])
}

/// Hash of an inner node: SHA-256(0x01 ‖ left ‖ right), RFC 9162 §2.1.1.
pub fn node_hash(left: &Hash, right: &Hash) -> Hash {
    sha256(&[&[1], &left.0, &right.0])
}

/// The right edge of a tree: enough to append and to tell the root, in log(n) space.
///
/// `peaks` are the roots of the complete subtrees that make up the tree, largest first: one for each bit set in
/// `size`.
///
/// ```
/// use tally_protocol::merkle::{Tree, leaf_hash, node_hash};
///
/// let (first, second) = (leaf_hash(b""), leaf_hash(b"\0"));
/// let mut tree = Tree::default();
/// tree.push(first);
/// tree.push(second);
/// assert_eq!(tree.size(), 2);
/// assert_eq!(tree.root(), node_hash(&first, &second));
/// assert!(tree.root().to_string().starts_with("fac54203e7cc696c"), "as published with RFC 6962");
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(try_from = "RightEdge", into = "RightEdge")]
pub struct Tree {
    size: u64,
    peaks: Vec<Hash>,
}

/// A [`Tree`] as it is written: size, then peaks.
#[derive(Serialize, Deserialize)]
struct RightEdge {
    size: u64,
    peaks: Vec<Hash>,
}

impl From<Tree> for RightEdge {
    fn from(tree: Tree) -> Self {
        Self { size: tree.size, peaks: tree.peaks }
    }
}

impl TryFrom<RightEdge> for Tree {
    type Error = &'static str;
    fn try_from(edge: RightEdge) -> Result<Self, Self::Error> {
        Self::from_peaks(edge.size, edge.peaks).ok_or("the number of peaks does not fit the size")
    }
}

impl Tree {
    /// A tree of `size` leaves with these peaks; `None` when their number does not fit. Whether they are the right
    /// ones, only a signed root can tell.
    pub fn from_peaks(size: u64, peaks: Vec<Hash>) -> Option<Self> {
        (peaks.len() == size.count_ones() as usize).then_some(Self { size, peaks })
    }

    /// Leaves in the tree.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Roots of the complete subtrees, largest first.
    pub fn peaks(&self) -> &[Hash] {
        &self.peaks
    }

    /// Appends one leaf hash.
    pub fn push(&mut self, leaf: Hash) {
        let mut hash = leaf;
        let mut n = self.size;
        while n & 1 == 1 {
            if let Some(left) = self.peaks.pop() {
                hash = node_hash(&left, &hash);
            }
            n >>= 1;
        }
        self.peaks.push(hash);
        self.size += 1;
    }

    /// The tree hash; SHA-256 of nothing for an empty tree.
    pub fn root(&self) -> Hash {
        let mut peaks = self.peaks.iter().rev();
        match peaks.next() {
            None => sha256(&[]),
            Some(&last) => peaks.fold(last, |right, left| node_hash(left, &right)),
        }
    }
}

/// Where hashes of complete subtrees come from: memory, tiles, a neighbour.
pub trait Nodes {
    /// Hash of the complete subtree of 2^`level` leaves that starts at leaf `index` · 2^`level`; `None` if not held.
    fn node(&self, level: u32, index: u64) -> Option<Hash>;
}

/// Hashes of all complete subtrees, in memory: 64 bytes a leaf.
#[derive(Debug, Clone, Default)]
pub struct FullTree {
    levels: Vec<Vec<Hash>>,
}

impl FullTree {
    /// Appends one leaf hash.
    pub fn push(&mut self, leaf: Hash) {
        let mut hash = leaf;
        for level in 0.. {
            if self.levels.len() == level {
                self.levels.push(Vec::new());
            }
            let row = &mut self.levels[level];
            row.push(hash);
            let [.., left, right] = row.as_slice() else {
                return;
            };
            if row.len() % 2 == 1 {
                return;
            }
            hash = node_hash(left, right);
        }
    }

    /// Leaves in the tree.
    pub fn size(&self) -> u64 {
        self.levels.first().map_or(0, |l| l.len() as u64)
    }
}

impl Nodes for FullTree {
    fn node(&self, level: u32, index: u64) -> Option<Hash> {
        self.levels.get(level as usize)?.get(usize::try_from(index).ok()?).copied()
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use proptest::prelude::*;

    pub(crate) const LEAVES: [&[u8]; 8] = [
        b"",
        b"\x00",
        b"\x10",
        b"\x20\x21",
        b"\x30\x31",
        b"\x40\x41\x42\x43",
        b"\x50\x51\x52\x53\x54\x55\x56\x57",
        b"\x60\x61\x62\x63\x64\x65\x66\x67\x68\x69\x6a\x6b\x6c\x6d\x6e\x6f",
    ];
    /// RFC 6962 reference roots for 0 to 8 of the leaves above.
    const ROOTS: [&str; 9] = [
        "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
        "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
        "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
        "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
        "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
        "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
        "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
        "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
        "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
    ];

    #[test]
    fn published_roots() {
        let mut tree = Tree::default();
        assert_eq!(tree.root().to_string(), ROOTS[0]);
        for (leaf, root) in LEAVES.iter().zip(&ROOTS[1..]) {
            tree.push(leaf_hash(leaf));
            assert_eq!(&tree.root().to_string(), root);
        }
    }

    /// The definition in RFC 9162 §2.1.1, word for word, as the model.
    pub(crate) fn by_definition(leaves: &[Hash]) -> Hash {
        match leaves {
            [] => sha256(&[]),
            [one] => *one,
            _ => {
                let k = leaves.len().next_power_of_two() / 2;
                node_hash(&by_definition(&leaves[..k]), &by_definition(&leaves[k..]))
            }
        }
    }

    pub(crate) fn numbered(n: usize) -> Vec<Hash> {
        (0..n).map(|i| leaf_hash(&i.to_le_bytes())).collect()
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn incremental_is_the_definition(n in 0_usize..600) {
            let leaves = numbered(n);
            let mut tree = Tree::default();
            leaves.iter().for_each(|l| tree.push(*l));
            prop_assert_eq!(tree.root(), by_definition(&leaves));
            let again = Tree::from_peaks(tree.size(), tree.peaks().to_vec());
            prop_assert_eq!(again.as_ref(), Some(&tree));
            prop_assert_eq!(Tree::from_peaks(tree.size() + 1, vec![]).is_some(), false);
        }
    }

    #[test]
    fn agrees_with_ct_merkle() {
        // ct-merkle is generic over the hash; with SHA-256 it is RFC 9162.
        let mut theirs = ct_merkle::mem_backed_tree::MemoryBackedTree::<sha2::Sha256, Vec<u8>>::new();
        let mut ours = Tree::default();
        for i in 0..700_u32 {
            let entry = i.to_be_bytes().repeat((i % 7) as usize);
            theirs.push(entry.clone());
            ours.push(leaf_hash(&entry));
            assert_eq!(ours.root().0.as_slice(), theirs.root().as_bytes().as_slice());
        }
    }
}
