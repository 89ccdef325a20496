//! A log as this node holds it: its right edge, where its batches lie, what of them is damaged, who has confirmed it.
//!
//! Batches never overlap, and two copies of one batch have the same root. It must not know what a batch says, nor who may
//! sign it: only what was admitted comes here.

use crate::{
    HeadStanding, Place,
    chunks::{Chunks, Keyed, Packs},
};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use tally_protocol::{fork::ForkEvidence, hash::Hash, ids::Division, merkle::Tree};

/// A whole copy of a batch, where it was seen on the disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WholeCopy {
    /// Index of its first record.
    pub start: u64,
    /// One past its last.
    pub end: u64,
    /// Root of the tree with it.
    pub root: Hash,
    /// Where it lies.
    pub place: Place,
}

/// One batch that is on disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HeldBatch {
    /// Index of the first record.
    pub start: u64,
    /// One past the last.
    pub end: u64,
    /// Root at its end.
    pub root: Hash,
    /// When the origin sealed it, POSIX seconds.
    pub sealed_at: u64,
    /// Where it lies.
    pub place: Place,
}

/// A holder's statement that it has a log up to `size` on disk: one cosignature line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Receipt {
    /// Records covered.
    pub size: u64,
    /// When the holder signed, POSIX seconds.
    pub time: u64,
    /// Epoch of the holder whose key signed.
    pub epoch: u32,
    /// The signature line, as received.
    pub line: String,
}

/// A receipt whose frame is in the journal; its line can be read there. 32 bytes; some 7 once others came behind it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KeptReceipt {
    /// Records covered.
    pub size: u64,
    /// When the holder signed, POSIX seconds.
    pub time: u64,
    /// Epoch of the holder whose key signed.
    pub epoch: u32,
    place: Place,
}

impl Keyed for HeldBatch {
    fn key(&self) -> u64 {
        self.end
    }
}

impl Keyed for KeptReceipt {
    fn key(&self) -> u64 {
        self.size
    }
}

impl Packs for HeldBatch {
    fn numbers(&self) -> [u64; 4] {
        [self.end, self.end.wrapping_sub(self.start), self.sealed_at, self.place.0]
    }

    fn bytes(&self) -> &[u8] {
        &self.root.0
    }

    fn of([end, records, sealed_at, place]: [u64; 4], root: &[u8]) -> Option<Self> {
        let root = Hash(root.try_into().ok()?);
        Some(Self { start: end.wrapping_sub(records), end, root, sealed_at, place: Place(place) })
    }
}

impl Packs for KeptReceipt {
    fn numbers(&self) -> [u64; 4] {
        [self.size, self.time, self.epoch.into(), self.place.0]
    }

    fn bytes(&self) -> &[u8] {
        &[]
    }

    fn of([size, time, epoch, place]: [u64; 4], _: &[u8]) -> Option<Self> {
        Some(Self { size, time, epoch: u32::try_from(epoch).ok()?, place: Place(place) })
    }
}

impl KeptReceipt {
    /// Where its frame lies.
    pub fn place(&self) -> Place {
        self.place
    }
}

/// Why a log takes no more records.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Frozen {
    /// For people: what was found.
    pub reason: String,
    /// Both signed checkpoints, and what shows that they contradict each other.
    pub evidence: ForkEvidence,
}

/// A log as this node holds it.
#[derive(Debug, Clone, Default)]
pub struct HeldLog {
    tree: Tree,
    /// By one past their last record.
    batches: Chunks<HeldBatch>,
    /// Records in them: less than the size if there are gaps.
    records: u64,
    /// Batches whose bytes were found damaged, first record to one past the last.
    lost: BTreeMap<u64, u64>,
    /// Signed checkpoint of the current size; empty for an empty log.
    pub note: String,
    /// Latest receipt of each holder.
    pub receipts: BTreeMap<Division, Receipt>,
    /// Every receipt of each holder that is in the journal, by size. Not more than one a batch and holder.
    kept: BTreeMap<Division, Chunks<KeptReceipt>>,
    /// Set once two conflicting checkpoints were seen.
    pub frozen: Option<Frozen>,
}

impl HeldLog {
    /// Records held.
    pub fn size(&self) -> u64 {
        self.tree.size()
    }

    /// The right edge.
    pub fn tree(&self) -> &Tree {
        &self.tree
    }

    /// Takes a batch that is on disk: records `start..tree.size()`. It continues the log (over a gap, if frames were
    /// lost to damage), fills a gap, or takes the place of a copy of itself: the latest copy counts. The answer is
    /// whether it fits; what overlaps held batches otherwise, or has another root, does not.
    pub fn put(&mut self, start: u64, tree: Tree, sealed_at: u64, note: String, place: Place) -> bool {
        let (end, root) = (tree.size(), tree.root());
        if !self.fits(start, end, &root) {
            return false;
        }
        if self.batches.insert(HeldBatch { start, end, root, sealed_at, place }).is_none() {
            self.records += end - start;
        }
        self.lost.remove(&start);
        if end > self.size() {
            self.tree = tree;
            self.note = note;
        }
        true
    }

    /// Whether the batch `start..end` with this root would fit: see [`Self::put`].
    pub fn fits(&self, start: u64, end: u64, root: &Hash) -> bool {
        let overlapping = self.batches.from(start.saturating_add(1)).next().filter(|h| h.start < end);
        end > start && overlapping.is_none_or(|h| (h.start, h.end, &h.root) == (start, end, root))
    }

    /// Cuts the log back to `tree`, whose size must be one at which a batch ends: the charter has closed it there. The
    /// answer is what lay beyond, in log order. Receipts of more are forgotten.
    pub fn cut(&mut self, tree: Tree, note: String) -> Vec<HeldBatch> {
        let size = tree.size();
        debug_assert!(size == 0 || self.root_at(size) == Some(tree.root()));
        let beyond = self.batches.cut(size + 1);
        self.records = self.batches.iter().map(|h| h.end - h.start).sum();
        self.lost.retain(|start, _| *start < size);
        self.receipts.retain(|_, r| r.size <= size);
        self.kept.values_mut().for_each(|all| drop(all.cut(size + 1)));
        (self.tree, self.note) = (tree, note);
        beyond
    }

    /// The batch that starts at `start` cannot be read from this disk any more.
    pub fn lose(&mut self, start: u64) {
        if let Some((end, _)) = self.batch_at(start) {
            self.lost.insert(start, end);
        }
    }

    /// Everything from `from` to `until` was read from the disk: of the batches there, exactly those that touch a range
    /// in `damaged` (ascending) are lost. One whose whole copies all lie elsewhere (files were exchanged) is pointed to
    /// one of them; `copies` are in order of their ends.
    pub fn surveyed(&mut self, damaged: &[(u64, u64)], copies: &[WholeCopy], from: Place, until: Place) {
        let touched = |start: u64, end: u64| {
            let at = damaged.partition_point(|(_, to)| *to <= start);
            damaged.get(at).is_some_and(|(from, _)| *from < end)
        };
        let read = |h: &HeldBatch| (from..until).contains(&h.place);
        for held in self.batches.iter().filter(|h| read(h)) {
            if touched(held.start, held.end) {
                self.lost.insert(held.start, held.end);
            } else {
                self.lost.remove(&held.start);
            }
        }
        self.batches.replace(|held| {
            let mine = copies.get(copies.partition_point(|c| c.end < held.end)..).unwrap_or_default();
            let here = |c: &&WholeCopy| (c.start, c.root) == (held.start, held.root);
            let mine: Vec<_> = mine.iter().take_while(|c| c.end == held.end).filter(here).map(|c| c.place).collect();
            let elsewhere = mine.first().filter(|_| read(held) && !mine.contains(&held.place))?;
            Some(HeldBatch { place: *elsewhere, ..*held })
        });
    }

    /// Whether any record of `start..end` is not to be had from this disk.
    pub fn misses(&self, start: u64, end: u64) -> bool {
        let lost = self.lost.range(..end).next_back().is_some_and(|(_, to)| *to > start);
        let mut at = start;
        for held in self.batches.from(start.saturating_add(1)) {
            if held.start > at || at >= end {
                break;
            }
            at = held.end;
        }
        lost || at < end
    }

    /// Whether every record up to the size can be had from this disk, as far as is known.
    pub fn is_whole(&self) -> bool {
        self.lost.is_empty() && self.records == self.size()
    }

    /// Ranges of records that are not to be had from this disk: gaps between batches, and batches found damaged.
    pub fn missing(&self) -> Vec<(u64, u64)> {
        // Asked of each log at each heartbeat: batches are gone through only where something is missing.
        if self.is_whole() {
            return Vec::new();
        }
        let mut all = self.gaps();
        all.extend(self.lost.iter().map(|(start, end)| (*start, *end)));
        all.sort_unstable();
        all
    }

    /// The batch that starts at `start`.
    pub fn batch_at(&self, start: u64) -> Option<(u64, HeldBatch)> {
        self.batches.from(start.checked_add(1)?).next().filter(|h| h.start == start).map(|h| (h.end, h))
    }

    /// The batch that holds record `index`.
    pub fn batch_of(&self, index: u64) -> Option<(u64, HeldBatch)> {
        self.batches.from(index.checked_add(1)?).next().filter(|h| h.start <= index).map(|h| (h.end, h))
    }

    /// The batches that hold records of `from..to`, by one past their last record.
    pub fn batches_within(&self, from: u64, to: u64) -> impl Iterator<Item = (u64, HeldBatch)> {
        self.batches.from(from.saturating_add(1)).take_while(move |h| h.start < to).map(|h| (h.end, h))
    }

    /// All batches, by one past their last record.
    pub fn batches(&self) -> impl Iterator<Item = (u64, HeldBatch)> {
        self.batches.iter().map(|h| (h.end, h))
    }

    /// Root at `size`, if a batch ends there (or `size` is 0).
    pub fn root_at(&self, size: u64) -> Option<Hash> {
        if size == 0 {
            return Some(Tree::default().root());
        }
        self.batches.get(size).map(|h| h.root)
    }

    /// Ranges of records that are missing between batches.
    pub fn gaps(&self) -> Vec<(u64, u64)> {
        let mut at = 0;
        let mut gaps = Vec::new();
        for held in self.batches.iter() {
            if held.start > at {
                gaps.push((at, held.start));
            }
            at = held.end;
        }
        gaps
    }

    /// How a neighbour with this head stands to what is held here. What the head says is taken as said.
    pub fn compare(&self, size: u64, root: &Hash) -> HeadStanding {
        if size > self.size() {
            return HeadStanding::TheyAreAhead;
        }
        let same = self.root_at(size) == Some(*root);
        match (same, size == self.size()) {
            (true, true) => HeadStanding::Equal,
            (true, false) => HeadStanding::TheyAreBehind,
            (false, true) => HeadStanding::Fork,
            (false, false) if self.is_whole() => HeadStanding::Unproved,
            (false, false) => HeadStanding::Hole,
        }
    }

    /// Keeps a receipt if it is news. Receipts of a holder only grow.
    pub fn receipt(&mut self, holder: Division, receipt: Receipt) -> bool {
        let news = self.receipts.get(&holder).is_none_or(|r| r.size < receipt.size);
        if news {
            self.receipts.insert(holder, receipt);
        }
        news
    }

    /// A receipt's frame is in the journal at `place`. The first frame of a size counts: a later one can only be a
    /// repetition.
    pub fn keep_receipt(&mut self, holder: Division, (size, time, epoch): (u64, u64, u32), place: Place) {
        let kept = self.kept.entry(holder).or_default();
        if kept.get(size).is_none() {
            kept.insert(KeptReceipt { size, time, epoch, place });
        }
    }

    /// Whether a receipt of `holder` for just so many records is in the journal.
    pub fn has_receipt(&self, holder: Division, size: u64) -> bool {
        self.kept.get(&holder).is_some_and(|kept| kept.get(size).is_some())
    }

    /// The first receipt of `holder` that covers record `index`: the one of the smallest size above it.
    pub fn first_receipt(&self, holder: Division, index: u64) -> Option<KeptReceipt> {
        self.receipts_over(holder, index).next()
    }

    /// All receipts of `holder` that cover record `index`, smallest first: where the frame of one cannot be read, the
    /// next covers the record too.
    pub fn receipts_over(&self, holder: Division, index: u64) -> impl Iterator<Item = KeptReceipt> {
        self.kept.get(&holder).into_iter().flat_map(move |kept| kept.from(index.saturating_add(1)))
    }

    /// Who has issued receipts that are in the journal.
    pub fn holders(&self) -> impl Iterator<Item = Division> {
        self.kept.keys().copied()
    }
}

#[cfg(test)]
mod tests;
