//! Tiles: the tree in files of 256 hashes (c2sp.org/tlog-tiles).

#![warn(clippy::indexing_slicing, clippy::arithmetic_side_effects)]

use super::{Nodes, proof::ProofError};
use crate::hash::Hash;
use std::fmt::Write as _;

/// Hashes in a full tile; a tile is 8 levels high.
pub const WIDTH: u64 = 256;

/// A tile's place: `level` 0 holds leaf hashes, level 1 the hashes of full level-0 tiles, and so on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tile {
    /// 0 to 7: a tree has fewer than 2^63 leaves.
    pub level: u8,
    /// Position in its level.
    pub number: u64,
    /// Hashes in it, 1 to 256; fewer than 256 only at the right edge.
    pub width: u16,
}

impl Tile {
    /// Path below the log's prefix: `tile/0/x001/x234/067`, with `.p/<width>` for a partial tile.
    pub fn path(&self) -> String {
        self.path_under(&format!("tile/{}", self.level))
    }

    /// Path of the entry bundle at the same place (level 0): `tile/entries/...`.
    pub fn entries_path(&self) -> String {
        self.path_under("tile/entries")
    }

    fn path_under(&self, prefix: &str) -> String {
        let mut groups = vec![self.number % 1_000];
        let mut n = self.number / 1_000;
        while n > 0 {
            groups.push(n % 1_000);
            n /= 1_000;
        }
        let mut path = prefix.to_owned();
        for (i, group) in groups.iter().enumerate().rev() {
            // Writing to a String cannot fail.
            let _ = write!(path, "/{}{group:03}", if i > 0 { "x" } else { "" });
        }
        if u64::from(self.width) < WIDTH {
            let _ = write!(path, ".p/{}", self.width);
        }
        path
    }

    /// Reads what [`Self::path`] writes, and nothing else.
    pub fn parse(path: &str) -> Option<Self> {
        let (level, rest) = path.strip_prefix("tile/")?.split_once('/')?;
        let (rest, width) = match rest.split_once(".p/") {
            Some((rest, width)) => (rest, width.parse().ok()?),
            None => (rest, 256),
        };
        let mut number = 0_u64;
        for group in rest.split('/') {
            let digits = group.strip_prefix('x').unwrap_or(group);
            if digits.len() != 3 || !digits.bytes().all(|b| b.is_ascii_digit()) {
                return None;
            }
            number = number.checked_mul(1_000)?.checked_add(digits.parse().ok()?)?;
        }
        let tile = Self { level: level.parse().ok()?, number, width };
        // Only one spelling of a place is right.
        (tile.level < 8 && (1..=256).contains(&width) && tile.path() == path).then_some(tile)
    }

    /// The tile's content, 32 bytes a hash.
    ///
    /// # Errors
    /// [`ProofError::Missing`] when `nodes` does not hold all of it.
    pub fn content(&self, nodes: &impl Nodes) -> Result<Vec<u8>, ProofError> {
        let first = self.number.checked_mul(WIDTH).ok_or(ProofError::Range)?;
        let mut out = Vec::with_capacity(usize::from(self.width) * 32);
        for i in 0..u64::from(self.width) {
            let index = first.checked_add(i).ok_or(ProofError::Range)?;
            let Hash(h) = nodes.node(u32::from(self.level) * 8, index).ok_or(ProofError::Missing)?;
            out.extend_from_slice(&h);
        }
        Ok(out)
    }
}

/// All tiles of a tree of `size` leaves, the partial ones last in their level.
pub fn tiles(size: u64) -> impl Iterator<Item = Tile> {
    (0..8_u8).flat_map(move |level| {
        let hashes = size >> (8 * u32::from(level));
        let full = (0..hashes / WIDTH).map(move |number| Tile { level, number, width: 256 });
        let partial = (hashes % WIDTH) as u16;
        full.chain((partial > 0).then_some(Tile { level, number: hashes / WIDTH, width: partial }))
    })
}

#[cfg(test)]
mod tests {
    use super::super::{
        FullTree,
        proof::{consistency, inclusion, range_hash},
        tests::numbered,
    };
    use super::*;
    use std::collections::HashMap;

    #[test]
    fn published_paths_and_sizes() {
        let tile = Tile { level: 0, number: 1_234_067, width: 256 };
        assert_eq!(tile.path(), "tile/0/x001/x234/067");
        assert_eq!(Tile { width: 8, ..tile }.path(), "tile/0/x001/x234/067.p/8");
        assert_eq!(tile.entries_path(), "tile/entries/x001/x234/067");
        let count = |size, level, width| tiles(size).filter(|t| (t.level, t.width) == (level, width)).count();
        assert_eq!((count(70_000, 0, 256), count(70_000, 0, 112)), (273, 1));
        assert_eq!((count(70_000, 1, 256), count(70_000, 1, 17), count(70_000, 2, 1)), (1, 1, 1));
        assert_eq!((count(256, 0, 256), count(256, 1, 1), tiles(256).count()), (1, 1, 2));
        assert_eq!(tiles(0).count(), 0);
    }

    #[test]
    fn paths_have_one_spelling() {
        for size in [1, 255, 256, 257, 70_000, 300_000] {
            for tile in tiles(size) {
                assert_eq!(Tile::parse(&tile.path()), Some(tile));
            }
        }
        for bad in ["tile/0/x000/001", "tile/0/1", "tile/8/000", "tile/0/000.p/0", "tile/0/000.p/256", "tile/00/000"] {
            assert_eq!(Tile::parse(bad), None, "{bad}");
        }
    }

    /// tlog_tiles reads our tiles, authenticates them against our root, and its proofs are ours.
    #[test]
    fn agrees_with_tlog_tiles() {
        struct Served(HashMap<String, Vec<u8>>);
        impl tlog_tiles::TileReader for Served {
            fn height(&self) -> u8 {
                8
            }
            fn read_tiles(&self, tiles: &[tlog_tiles::Tile]) -> Result<Vec<Vec<u8>>, tlog_tiles::Error> {
                // Their paths name the height; C2SP's, which came later, do not.
                Ok(tiles.iter().map(|t| self.0[&t.path().replacen("tile/8/", "tile/", 1)].clone()).collect())
            }
            fn save_tiles(&self, _: &[tlog_tiles::Tile], _: &[Vec<u8>]) {}
        }
        for size in [1, 2, 255, 256, 257, 3_000] {
            let leaves = numbered(size);
            let mut tree = FullTree::default();
            leaves.iter().for_each(|l| tree.push(*l));
            let n = size as u64;
            let served = Served(tiles(n).map(|t| (t.path(), t.content(&tree).unwrap())).collect());
            let root = tlog_tiles::Hash(range_hash(&tree, 0, n).unwrap().0);
            let reader = tlog_tiles::TileHashReader::new(n, root, &served);
            for index in [0, n / 3, n / 2, n - 1] {
                let theirs = tlog_tiles::prove_record(n, index, &reader).unwrap();
                let ours = inclusion(&tree, index, n).unwrap();
                assert_eq!(ours, theirs.iter().map(|h| Hash(h.0)).collect::<Vec<_>>());
            }
            for first in [1, n / 2, n - 1, n].into_iter().filter(|f| *f > 0) {
                let theirs = tlog_tiles::prove_tree(n, first, &reader).unwrap();
                let ours = consistency(&tree, first, n).unwrap();
                assert_eq!(ours, theirs.iter().map(|h| Hash(h.0)).collect::<Vec<_>>());
            }
        }
    }
}
