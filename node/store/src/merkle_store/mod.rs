//! Hashes of a log's tree, read from the journal: what proofs, tiles and a comparison with a neighbour need.
//!
//! A log's leaves are its records, and those lie in the journal. In memory are only the roots of complete subtrees of
//! 256 leaves and the levels above them: 64 bytes for 256 records, 25 MB for 100 million. They are built when first
//! asked for, by reading the log once, and extended by what came since. The levels below come from the one or two
//! batches that hold the 256 leaves in question.
//!
//! What is built is proved before it is used: it must lead to the root that the caller holds signed. Everything here
//! reads the disk: not for async threads.

#[cfg(test)]
mod tests;

use crate::batch_map::{BatchMap, BatchMapError};
use crate::entries::EntryReader;
use std::{
    collections::{BTreeMap, VecDeque},
    ops::Range,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, RwLock,
        atomic::{AtomicU64, Ordering},
    },
};
use tally_protocol::{
    hash::Hash,
    ids::LogId,
    merkle::{FullTree, Nodes, leaf_hash, node_hash, proof, proof::ProofError, tile::WIDTH},
};

/// Level of the hashes that are kept: roots of complete subtrees of 256 leaves.
const KEPT_LEVEL: u32 = 8;
/// Leaves of so many tiles stay with a [`LogTree`], 8 KiB each: a proof needs that of its record and the last one.
const TILES: usize = 2;

/// Why a tree's hashes cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum TreeError {
    /// Records that are needed are not held, or their batch cannot be read from this disk.
    #[error("log {log}: records {from}..{to} cannot be read: {source}")]
    Unreadable {
        /// Which log.
        log: LogId,
        /// First record of the batch, or of what was wanted.
        from: u64,
        /// One past the last.
        to: u64,
        /// What is wrong with it.
        source: BatchMapError,
    },
    /// The records on this disk do not lead to the root that is held signed.
    #[error("log {log}: the records on this disk do not lead to the signed root of size {size}")]
    Root {
        /// Which log.
        log: LogId,
        /// At which size.
        size: u64,
    },
    /// Hashes beyond the size that was opened.
    #[error("log {log}: {why}")]
    Proof {
        /// Which log.
        log: LogId,
        /// What was wrong with the question.
        why: ProofError,
    },
}

/// What is kept of one log.
#[derive(Debug, Default)]
struct KeptTree {
    /// Its leaves are the roots of 256 records each.
    upper: RwLock<FullTree>,
    /// So many of them have led to a signed root.
    proved: AtomicU64,
    /// Held while it is extended: one reading of a log at a time.
    build: Mutex<()>,
}

impl KeptTree {
    /// Records below the kept hashes.
    fn records(&self) -> u64 {
        self.upper.read().unwrap_or_else(PoisonError::into_inner).size() * WIDTH
    }
}

/// The trees of all logs. Cheap to clone; clones share what is kept.
#[derive(Debug, Clone)]
pub struct MerkleStore {
    reader: EntryReader,
    logs: Arc<Mutex<BTreeMap<LogId, Arc<KeptTree>>>>,
}

impl MerkleStore {
    /// Over this journal.
    pub fn new(reader: EntryReader) -> Self {
        Self { reader, logs: Arc::default() }
    }

    fn logs(&self) -> MutexGuard<'_, BTreeMap<LogId, Arc<KeptTree>>> {
        self.logs.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Records of the log whose hashes are kept.
    pub fn kept(&self, log: LogId) -> u64 {
        self.logs().get(&log).map_or(0, |k| k.records())
    }

    /// Forgets what is kept of a log: its records on disk are no longer the same. [`LogTree`]s already open stay as they
    /// are.
    pub fn forget(&self, log: LogId) {
        self.logs().remove(&log);
    }

    /// The tree of the first `size` records of a log, which has this `root`. `batches` holds at least the batches from
    /// [`MerkleStore::kept`] on, those of the last tile, and those of the tiles that will be asked for. Reads what is not
    /// kept yet, and waits for another caller who does that already.
    ///
    /// # Errors
    /// [`TreeError::Unreadable`] naming the damaged records; [`TreeError::Root`], after which nothing is kept.
    pub fn at(&self, log: LogId, batches: BatchMap, size: u64, root: &Hash) -> Result<LogTree, TreeError> {
        let kept = self.logs().entry(log).or_default().clone();
        let tree = LogTree {
            log,
            size,
            batches,
            reader: self.reader.clone(),
            kept: kept.clone(),
            tiles: Mutex::default(),
            failed: Mutex::default(),
        };
        let _one = kept.build.lock().unwrap_or_else(PoisonError::into_inner);
        let tiles = size / WIDTH;
        if tiles <= kept.proved.load(Ordering::Acquire) {
            return Ok(tree);
        }
        tree.extend()?;
        if tree.range_hash(0..size)? == *root {
            kept.proved.store(tiles, Ordering::Release);
            return Ok(tree);
        }
        let mut logs = self.logs();
        if logs.get(&log).is_some_and(|k| Arc::ptr_eq(k, &kept)) {
            logs.remove(&log);
        }
        Err(TreeError::Root { log, size })
    }
}

/// Hands the records of a range of `log` to `take`, with their indices, each batch read once.
///
/// # Errors
/// [`TreeError::Unreadable`].
pub fn records(
    reader: &EntryReader,
    log: LogId,
    batches: &BatchMap,
    range: Range<u64>,
    mut take: impl FnMut(u64, &[u8]),
) -> Result<(), TreeError> {
    let mut at = range.start;
    while at < range.end {
        let (batch, records) = batches.read(reader, at).map_err(|source| {
            let (from, to) = batches.batch_of(at).map_or((at, range.end), |l| (l.start, l.end));
            TreeError::Unreadable { log, from, to, source }
        })?;
        let wanted = (batch.start..).zip(records.iter());
        wanted.filter(|(i, _)| range.contains(i)).for_each(|(i, record)| take(i, record));
        at = batch.end;
    }
    Ok(())
}

/// Leaf hashes of one tile, and its number.
type Leaves = (u64, Arc<[Hash]>);

/// The tree of the first records of one log. As [`Nodes`] it serves `merkle::proof` and `merkle::tile`; where those
/// can only say that a hash is missing, [`LogTree::why`] knows more.
#[derive(Debug)]
pub struct LogTree {
    log: LogId,
    size: u64,
    batches: BatchMap,
    reader: EntryReader,
    kept: Arc<KeptTree>,
    tiles: Mutex<VecDeque<Leaves>>,
    failed: Mutex<Option<TreeError>>,
}

impl LogTree {
    /// Records in the tree.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Proof that record `index` is in the tree of `size` records, not above this tree's.
    ///
    /// # Errors
    /// [`TreeError`].
    pub fn inclusion(&self, index: u64, size: u64) -> Result<Vec<Hash>, TreeError> {
        self.within(size)?;
        proof::inclusion(self, index, size).map_err(|e| self.why(e))
    }

    /// Proof that the tree of `second` records starts with that of `first`.
    ///
    /// # Errors
    /// [`TreeError`].
    pub fn consistency(&self, first: u64, second: u64) -> Result<Vec<Hash>, TreeError> {
        self.within(second)?;
        proof::consistency(self, first, second).map_err(|e| self.why(e))
    }

    /// Tree hash of a range of records, as `merkle::proof::range_hash`.
    ///
    /// # Errors
    /// [`TreeError`].
    pub fn range_hash(&self, range: Range<u64>) -> Result<Hash, TreeError> {
        proof::range_hash(self, range.start, range.end).map_err(|e| self.why(e))
    }

    fn within(&self, size: u64) -> Result<(), TreeError> {
        if size <= self.size { Ok(()) } else { Err(TreeError::Proof { log: self.log, why: ProofError::Range }) }
    }

    /// What stands behind an error of `merkle`: the records that could not be read, if it was that.
    pub fn why(&self, error: ProofError) -> TreeError {
        let failed = self.failed.lock().unwrap_or_else(PoisonError::into_inner).take();
        failed.unwrap_or(TreeError::Proof { log: self.log, why: error })
    }

    fn records(&self, range: Range<u64>, take: impl FnMut(u64, &[u8])) -> Result<(), TreeError> {
        records(&self.reader, self.log, &self.batches, range, take)
    }

    /// Adds the complete tiles that are not kept yet.
    fn extend(&self) -> Result<(), TreeError> {
        let (from, to) = (self.kept.records(), self.size - self.size % WIDTH);
        let mut leaves = Vec::with_capacity(WIDTH as usize);
        self.records(from..to, |_, record| {
            leaves.push(leaf_hash(record));
            if leaves.len() as u64 == WIDTH {
                self.kept.upper.write().unwrap_or_else(PoisonError::into_inner).push(fold(&leaves));
                leaves.clear();
            }
        })
    }

    /// Leaf hashes of the tile that starts at record `number` · 256, as far as this tree goes.
    fn leaves(&self, number: u64) -> Result<Arc<[Hash]>, TreeError> {
        let mut tiles = self.tiles.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, leaves)) = tiles.iter().find(|(n, _)| *n == number) {
            return Ok(leaves.clone());
        }
        let start = number.saturating_mul(WIDTH);
        let mut leaves = Vec::with_capacity(WIDTH as usize);
        self.records(start..(start + WIDTH).min(self.size), |_, record| leaves.push(leaf_hash(record)))?;
        let leaves: Arc<[Hash]> = leaves.into();
        if tiles.len() == TILES {
            tiles.pop_front();
        }
        tiles.push_back((number, leaves.clone()));
        Ok(leaves)
    }
}

impl Nodes for LogTree {
    fn node(&self, level: u32, index: u64) -> Option<Hash> {
        let end = index.checked_add(1)?.checked_mul(1_u64.checked_shl(level)?)?;
        if end > self.size {
            return None;
        }
        if level >= KEPT_LEVEL {
            return self.kept.upper.read().unwrap_or_else(PoisonError::into_inner).node(level - KEPT_LEVEL, index);
        }
        let width = 1 << level;
        let start = end - width;
        match self.leaves(start / WIDTH) {
            Ok(leaves) => {
                let at = (start % WIDTH) as usize;
                leaves.get(at..at + width as usize).map(fold)
            }
            Err(why) => {
                *self.failed.lock().unwrap_or_else(PoisonError::into_inner) = Some(why);
                None
            }
        }
    }
}

/// Root of a complete subtree: `leaves` are a power of two.
fn fold(leaves: &[Hash]) -> Hash {
    debug_assert!(leaves.len().is_power_of_two());
    let mut row = leaves.to_vec();
    while row.len() > 1 {
        row = row.chunks_exact(2).map(|pair| node_hash(&pair[0], &pair[1])).collect();
    }
    row[0]
}
