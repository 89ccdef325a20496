//! Judges what nodes do, by definitions of its own: trees from RFC 9162 word for word, signatures from the note format.

use std::collections::{BTreeMap, BTreeSet};
use tally_core::{Append, Entry};
use tally_protocol::{
    batch::Batch,
    checkpoint::Checkpoint,
    hash::{Hash, sha256},
    ids::LogId,
    note::NoteSignature,
};
use tally_topology::charter::Charter;

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

/// Every log on a disk as the list of its leaf hashes, read from the frames alone.
#[derive(Debug, Default)]
pub struct Logs {
    read: usize,
    leaves: BTreeMap<LogId, Vec<Hash>>,
}

impl Logs {
    /// Reads on where it stopped.
    pub fn read_on(&mut self, frames: &[Append]) {
        for frame in &frames[self.read..] {
            let Entry::Batch { .. } = frame.entry() else { continue };
            let batch = Batch::decode(frame.body()).expect("a frame on disk decodes");
            let leaves = self.leaves.entry(batch.log).or_default();
            assert_eq!(leaves.len() as u64, batch.start, "I3: {} has a hole or an overlap", batch.log);
            leaves.extend(batch.records().expect("records expand").iter().map(|r| sha256(&[&[0], r])));
        }
        self.read = frames.len();
    }

    /// Leaf hashes of a log.
    pub fn of(&self, log: LogId) -> &[Hash] {
        self.leaves.get(&log).map_or(&[], Vec::as_slice)
    }
}

/// Reads a whole disk.
pub fn logs_on(frames: &[Append]) -> Logs {
    let mut logs = Logs::default();
    logs.read_on(frames);
    logs
}

/// What has ever been signed or said, over the whole run.
#[derive(Debug, Default)]
pub struct Oracle {
    /// Root of every checkpoint seen, by log and size.
    checkpoints: BTreeMap<(LogId, u64), Hash>,
    /// Records acknowledged to submitters, by log.
    pub acknowledged: BTreeMap<LogId, BTreeSet<Hash>>,
    /// A forger is at work: its log may show two histories.
    pub forged: Option<LogId>,
}

impl Oracle {
    /// I4: no two checkpoints of one log and size differ.
    pub fn saw_checkpoint(&mut self, charter: &Charter, log: LogId, note: &str) {
        if note.is_empty() || self.forged == Some(log) {
            return;
        }
        let key = &charter.epoch(log).expect("a log of the charter").log;
        let c = Checkpoint::open(note, key).expect("I3: a checkpoint that is spoken of is signed");
        let first = self.checkpoints.entry((log, c.size)).or_insert(c.root);
        assert_eq!(*first, c.root, "I4: two histories of {log} at size {}", c.size);
    }

    /// What only the lost part of a disk had signed is gone with it: nobody can hold it against the log.
    pub fn forget_beyond(&mut self, log: LogId, size: u64) {
        self.checkpoints.retain(|(l, s), _| *l != log || *s <= size);
    }

    /// I2: the holder has on disk what it attests, exactly.
    pub fn saw_receipt(&self, charter: &Charter, log: LogId, size: u64, holder: LogId, line: &str, disk: &Logs) {
        let leaves = disk.of(log);
        assert!(leaves.len() as u64 >= size, "I2: {holder} attests {size} of {log}, {} are on its disk", leaves.len());
        let origin = charter.federation().origin(log);
        let text = Checkpoint { origin, size, root: tree_hash(&leaves[..size as usize]) }.text();
        let key = &charter.epoch(holder).expect("a holder of the charter").mirror;
        let line = NoteSignature::parse(line.trim_end()).expect("a signature line");
        line.verify(key, &text).expect("I2: the receipt is for what is on disk");
    }

    /// I3: every batch on a disk is signed and leads to its root.
    pub fn check_disk(&mut self, charter: &Charter, frames: &[Append]) {
        let logs = logs_on(frames);
        for frame in frames {
            let Entry::Batch { log, note, .. } = frame.entry() else { continue };
            self.saw_checkpoint(charter, *log, note);
            let key = &charter.epoch(*log).expect("a log of the charter").log;
            let c = Checkpoint::open(note, key).expect("I3: signed");
            let root = tree_hash(&logs.of(*log)[..c.size as usize]);
            assert_eq!(root, c.root, "I3: {log} at {} does not lead to its root", c.size);
        }
        for (log, leaves) in &logs.leaves {
            let distinct: BTreeSet<_> = leaves.iter().collect();
            assert_eq!(distinct.len(), leaves.len(), "I5: {log} holds a record twice");
        }
    }
}
