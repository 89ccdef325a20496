//! Judges a disk by what was promised: definitions of its own, trees from RFC 9162 word for word.
//!
//! It reads what stands in the journal, batch by batch, and believes nothing that the node says of itself.

use crate::{
    nodes::{CITY, City, journal_dir, log, reader, said},
    volume::RecordingVolume,
};
use std::{
    cell::RefCell,
    collections::{BTreeMap, BTreeSet, HashMap},
};
use tally_core::{Entry, Place};
use tally_protocol::{
    batch::Batch,
    checkpoint::Checkpoint,
    hash::{Hash, sha256},
    ids::LogId,
    note::NoteSignature,
};
use tally_topology::charter::Charter;

/// A promise that was not kept, or a node that cannot go on.
#[derive(Debug, Clone)]
pub struct Broken(pub String);

/// Fails with what is broken.
macro_rules! hold {
    ($holds:expr, $($why:tt)+) => {
        if !$holds {
            return Err($crate::oracle::Broken(format!($($why)+)));
        }
    };
}
pub(crate) use hold;

/// RFC 9162 §2.1.1.
pub fn tree_hash(leaves: &[Hash]) -> Hash {
    match leaves {
        [] => sha256(&[]),
        [one] => *one,
        _ => {
            let k = leaves.len().next_power_of_two() / 2;
            sha256(&[&[1], &tree_hash(&leaves[..k]).0, &tree_hash(&leaves[k..]).0])
        }
    }
}

/// Log and start of an encoded batch, and the leaf hashes of its records.
type Leaves = (LogId, u64, Vec<Hash>);

/// The same bytes are read from many images, and unpacked once.
pub fn leaves(body: &[u8]) -> Leaves {
    thread_local!(static READ: RefCell<HashMap<[u8; 32], Leaves>> = RefCell::default());
    let of = || {
        let batch = Batch::decode(body).expect("a batch decodes");
        let records = batch.records().expect("records expand");
        (batch.log, batch.start, records.iter().map(|r| sha256(&[&[0], r])).collect())
    };
    READ.with_borrow_mut(|read| read.entry(*blake3::hash(body).as_bytes()).or_insert_with(of).clone())
}

/// Every log on a disk as the list of its leaf hashes.
#[derive(Debug, Default)]
pub struct Logs {
    leaves: BTreeMap<LogId, Vec<Hash>>,
    /// Sizes at which a batch of the own log ends.
    ends: Vec<u64>,
    /// Batches that do not continue what stands before them.
    holes: Vec<String>,
}

impl Logs {
    pub fn of(&self, log: LogId) -> &[Hash] {
        self.leaves.get(&log).map_or(&[], Vec::as_slice)
    }

    /// Reads the journal from its first frame to `until`.
    pub fn read(volume: &RecordingVolume, from: Place, until: Place) -> Result<Self, Broken> {
        let (mut logs, mut from, reader) = (Self::default(), from, reader(volume));
        while let Some((at, kept, next)) = reader.next(from, until).map_err(|e| Broken(said(&e)))? {
            from = next;
            let Entry::Batch { log: id, tree, .. } = &kept.entry else { continue };
            let (of, start, new) = leaves(&kept.body);
            let there = logs.leaves.entry(*id).or_default();
            // A second copy is none the worse for being one.
            if of == *id && there.get(start as usize..start as usize + new.len()) == Some(&new[..]) {
                continue;
            }
            if of != *id || start != there.len() as u64 || start + new.len() as u64 != tree.size() {
                logs.holes.push(format!("{id} has a hole or an overlap before {start} at {at:?}"));
                continue;
            }
            there.extend(new);
            if *id == log(CITY) {
                logs.ends.push(tree.size());
            }
        }
        Ok(logs)
    }
}

/// What was said to somebody, so that it has to be true from then on.
#[derive(Debug, Default, Clone)]
pub struct Promises {
    /// Records acknowledged to submitters: index of the first, and their ids.
    acknowledged: Vec<(u64, Vec<Hash>)>,
    /// Records covered by receipts that went out, by log.
    receipted: BTreeMap<LogId, u64>,
    /// Root of every checkpoint of the own log that went out, by size.
    checkpoints: BTreeMap<u64, Hash>,
    /// The version of the charter that is in force.
    charter: u64,
    /// Logs of which it was said that they are frozen.
    frozen: BTreeSet<LogId>,
    /// What the other logs truly are.
    truth: BTreeMap<LogId, Vec<Hash>>,
    /// The disk has destroyed what was durable: what of it is lost must be named, and be there a second time.
    pub destroyed: bool,
}

impl Promises {
    pub fn acknowledge(&mut self, (start, end): (u64, u64), ids: Vec<Hash>) -> Result<(), Broken> {
        hold!(end - start == ids.len() as u64, "{} records were acknowledged as {start}..{end}", ids.len());
        self.acknowledged.push((start, ids));
        Ok(())
    }

    /// Records that were acknowledged so far.
    pub fn records(&self) -> u64 {
        self.acknowledged.iter().map(|(_, ids)| ids.len() as u64).sum()
    }

    pub fn charter(&mut self, version: u64) {
        self.charter = self.charter.max(version);
    }

    pub fn frozen(&mut self, log: LogId) {
        self.frozen.insert(log);
    }

    /// A log as its own origin has it.
    pub fn is_truly(&mut self, log: LogId, leaves: Vec<Hash>) {
        self.truth.insert(log, leaves);
    }

    /// I4: of one size there is one root.
    pub fn goes_out(&mut self, size: u64, root: Hash) -> Result<(), Broken> {
        let first = *self.checkpoints.entry(size).or_insert(root);
        hold!(first == root, "I4: a second history is signed, of size {size}");
        Ok(())
    }

    /// I2: the receipt is for what its log truly is; later disks are held against it.
    pub fn receipt(&mut self, charter: &Charter, id: LogId, size: u64, line: &str) -> Result<(), Broken> {
        let truth = self.truth.get(&id).map_or(&[][..], Vec::as_slice);
        hold!(truth.len() as u64 >= size, "I2: a receipt for {size} of {id}, which has {}", truth.len());
        let origin = charter.federation().origin(id);
        let text = Checkpoint { origin, size, root: tree_hash(&truth[..size as usize]) }.text();
        let key = &charter.epoch(log(CITY)).expect("a node of the charter").mirror;
        let line = NoteSignature::parse(line.trim_end()).expect("a signature line");
        hold!(line.verify(key, &text).is_ok(), "I2: a receipt for {size} of {id} is for something else");
        let before = self.receipted.entry(id).or_default();
        *before = size.max(*before);
        Ok(())
    }

    /// Holds a disk against all that was promised. Nothing of it was damaged, so nothing may be called so.
    pub fn judge(&self, volume: &RecordingVolume, city: &City) -> Result<(), Broken> {
        let logs = Logs::read(volume, tally_store::entries::origin(), city.journal.durable())?;
        let own = logs.of(log(CITY));
        for (start, ids) in &self.acknowledged {
            let there = own.get(*start as usize..*start as usize + ids.len());
            let end = start + ids.len() as u64;
            hold!(there.is_some(), "I1: records {start}..{end} were acknowledged, {} are there", own.len());
            hold!(there == Some(ids), "I1: other records stand at {start}..{end} than were acknowledged there");
        }
        for (id, size) in &self.receipted {
            let (there, truth) = (logs.of(*id), &self.truth[id]);
            hold!(there.len() as u64 >= *size, "I2: a receipt covers {size} of {id}, {} are there", there.len());
            hold!(there[..*size as usize] == truth[..*size as usize], "I2: {id} is not what a receipt was given for");
        }
        for size in logs.ends.iter().filter(|size| self.checkpoints.contains_key(size)) {
            let root = tree_hash(&own[..*size as usize]);
            hold!(self.checkpoints[size] == root, "I4: the disk has another history of size {size} than went out");
        }
        hold!(logs.holes.is_empty(), "I3: {:?}", logs.holes);
        let found = &city.found;
        hold!(found.damage.is_empty() || self.destroyed, "torn writes are called damage: {:?}", found.damage);
        hold!(city.replica.view().unproved() == 0, "{} frames are of nobody", city.replica.view().unproved());
        let version = city.replica.view().charter().version();
        hold!(version >= self.charter, "charter {} was said to be in force, now it is {version}", self.charter);
        for (id, held) in city.replica.view().logs() {
            let there = logs.of(*id).len() as u64;
            hold!(
                held.size() == there && held.is_whole(),
                "{id}: {there} records are there, the node says {}",
                held.size()
            );
        }
        for id in &self.frozen {
            let is = city.replica.view().logs().get(id).is_some_and(|l| l.frozen.is_some());
            hold!(is, "{id} was said to be frozen and is not any more");
        }
        self.nothing_else_stands_there(volume)
    }

    /// What is no segment was set aside or is gone.
    fn nothing_else_stands_there(&self, volume: &RecordingVolume) -> Result<(), Broken> {
        let media = volume.media();
        let strays = media.names.keys().filter(|p| p.parent() == Some(&journal_dir()));
        let strays: Vec<_> = strays.filter(|p| p.extension().is_none_or(|e| e != "seg")).collect();
        hold!(strays.is_empty(), "left in the journal's folder: {strays:?}");
        Ok(())
    }
}
