//! What a disk holds of each log, read from the frames alone: signatures, positions, roots (I3).

use super::{Broken, Judgement, promise, tree::Leaves};
use crate::{disk::SimDisk, federation};
use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};
use tally_core::Entry;
use tally_protocol::{
    batch::Batch,
    checkpoint::Checkpoint,
    hash::{Hash, sha256},
    ids::LogId,
};

/// Leaves of batches and opened notes, so that nothing is expanded or verified twice.
#[derive(Debug, Default)]
pub struct Read {
    leaves: HashMap<Vec<u8>, Arc<[Hash]>>,
    notes: HashMap<String, Option<(u64, Hash)>>,
}

impl Read {
    /// The leaves of an encoded batch, and where it starts.
    pub fn batch(&mut self, bytes: &[u8]) -> Result<(u64, Arc<[Hash]>), Broken> {
        let batch = Batch::decode(bytes).map_err(|e| Broken(format!("I3: a frame does not decode: {e}")))?;
        if let Some(known) = self.leaves.get(bytes) {
            return Ok((batch.start, known.clone()));
        }
        let records = batch.records().map_err(|e| Broken(format!("I3: records do not expand: {e}")))?;
        let leaves: Arc<[Hash]> = records.iter().map(|r| sha256(&[&[0], r])).collect();
        self.leaves.insert(bytes.to_vec(), leaves.clone());
        Ok((batch.start, leaves))
    }

    /// Size and root of a checkpoint, if the log's key signed it.
    pub fn note(&mut self, log: LogId, note: &str) -> Option<(u64, Hash)> {
        if let Some(known) = self.notes.get(note) {
            return *known;
        }
        let opened = Checkpoint::open(note, &federation::log_key(log)).ok().map(|c| (c.size, c.root));
        self.notes.insert(note.to_owned(), opened);
        opened
    }
}

/// Which frames of a disk count.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Counts {
    /// All that were ever written: what an index has seen.
    Written,
    /// All but those that a start has found missing: what the process believes to have.
    Believed,
    /// Good copies alone.
    Intact,
}

/// Every log on a disk, as far as it goes on from its first record.
#[derive(Debug, Default)]
pub struct Logs {
    read: usize,
    generation: u64,
    pieces: BTreeMap<LogId, BTreeMap<u64, Arc<[Hash]>>>,
    logs: BTreeMap<LogId, Leaves>,
}

/// A batch that was read for the first time.
#[derive(Debug)]
pub struct News {
    pub log: LogId,
    pub start: u64,
    pub leaves: Arc<[Hash]>,
}

impl Logs {
    /// Reads on where it stopped, or from the start when the disk is not what it was.
    pub fn read_on(&mut self, disk: &SimDisk, counts: Counts, read: &mut Read) -> Result<Vec<News>, Broken> {
        if self.generation != disk.generation {
            *self = Self { generation: disk.generation, ..Self::default() };
        }
        let mut news = Vec::new();
        let frames = disk.durable();
        for frame in frames.get(self.read..).unwrap_or_default() {
            let Entry::Batch { log, start, note, tree, .. } = frame.append.entry() else { continue };
            match counts {
                Counts::Believed if frame.known_gone => continue,
                Counts::Intact if frame.harm.is_some() => continue,
                _ => {}
            }
            let (first, leaves) = read.batch(frame.append.body())?;
            let signed = read.note(*log, note).ok_or_else(|| Broken(format!("I3: {log}: nobody signed a batch")))?;
            let end = start + leaves.len() as u64;
            promise((first, signed.0, tree.size()) == (*start, end, end), || format!("I3: {log}: sizes differ"))?;
            let before = self.pieces.entry(*log).or_default().insert(*start, leaves.clone());
            promise(before.is_none_or(|b| b == leaves), || format!("I3: {log} stands on one disk in two ways"))?;
            self.grow(*log);
            let whole = self.logs.entry(*log).or_default();
            if whole.len() >= end {
                promise(whole.root(end) == signed.1, || format!("I3: {log} at {end} does not lead to its root"))?;
            }
            news.push(News { log: *log, start: *start, leaves });
        }
        self.read = frames.len();
        Ok(news)
    }

    fn grow(&mut self, log: LogId) {
        let (Some(pieces), whole) = (self.pieces.get(&log), self.logs.entry(log).or_default()) else { return };
        while let Some(next) = pieces.get(&whole.len()) {
            whole.extend(next);
        }
    }

    /// Leaf hashes of a log.
    pub fn of(&self, log: LogId) -> &[Hash] {
        self.logs.get(&log).map_or(&[], Leaves::all)
    }

    /// Where batches of a log end.
    pub fn ends(&self, log: LogId) -> Vec<u64> {
        let size = self.of(log).len() as u64;
        let all = self.pieces.get(&log).into_iter().flatten().map(|(start, leaves)| start + leaves.len() as u64);
        all.filter(|end| *end <= size).collect()
    }

    pub fn root(&mut self, log: LogId, size: u64) -> Hash {
        self.logs.entry(log).or_default().root(size)
    }

    /// A log has no two batches in one place.
    pub fn check(&self) -> Judgement {
        for (log, pieces) in &self.pieces {
            let mut at = 0;
            for (start, leaves) in pieces {
                promise(*start >= at, || format!("I3: batches of {log} overlap at {start}"))?;
                at = start + leaves.len() as u64;
            }
        }
        Ok(())
    }
}
