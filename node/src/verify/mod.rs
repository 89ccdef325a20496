//! Verify: reads the journal from the disk, not from caches or the index, and names what does not hold.
//!
//! Every frame's checksums; every batch through `admit()`, the door it came in by: signatures, position, every leaf, the
//! root; every receipt; and by position what is missing. It changes nothing.

#[cfg(test)]
mod tests;

use crate::journal::{DamageKind, Meta, Reader, Step, Walk};
use serde::{Deserialize, Serialize};
use std::{collections::BTreeMap, io};
use tally_protocol::{checkpoint::Checkpoint, hash::Hash, ids::LogId, log::Place, merkle::Tree, note::NoteSignature};
use tally_topology::{
    admit::{AdmitError, admit},
    charter::Charter,
};

/// What is wrong with a place.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// A frame whose bytes are not those that were written.
    Altered,
    /// Bytes that are no frame.
    Unreadable,
    /// A frame that ends beyond its file.
    Truncated,
    /// A whole segment file is not there.
    MissingSegment,
    /// Records between two batches are nowhere.
    MissingFrame,
    /// The frame is whole, but its signature does not hold.
    Signature,
    /// The frame is whole and signed, but its records do not lead to the root.
    Root,
    /// The file system refuses to read it.
    UnreadableFile,
}

/// One damaged place.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Damaged {
    /// Origin of the log; null if no log's records are touched, or it is not known which.
    pub log: Option<String>,
    /// First record; null if no record is touched.
    pub from: Option<u64>,
    /// One past the last record.
    pub to: Option<u64>,
    /// The same as `from`.
    pub index: Option<u64>,
    /// Segment number.
    pub segment: u32,
    /// Byte offset in it.
    pub offset: u64,
    /// What is wrong.
    pub kind: Kind,
}

/// The result; its JSON is the contract of `tally verify --json`.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Report {
    /// Frames that are whole.
    pub frames: u64,
    /// Records that were rehashed and hold.
    pub records: u64,
    /// Bytes read.
    pub bytes: u64,
    /// Places that do not hold.
    pub damaged: Vec<Damaged>,
}

/// What the node says to hold: the size of each log.
pub type Held = BTreeMap<LogId, u64>;

/// A log as far as the walk has come.
#[derive(Default)]
struct Walked {
    tree: Tree,
    /// The tree before the next batch is known, so its leaves can be checked against the root.
    known: bool,
    roots: BTreeMap<u64, Hash>,
}

struct Verifier<'a> {
    charter: &'a Charter,
    only: Option<LogId>,
    report: Report,
    logs: BTreeMap<LogId, Walked>,
    /// Damaged places that named no log, in journal order.
    nameless: Vec<Damaged>,
}

/// Verifies the journal up to `until`. With `only`, only that log's records are rehashed and reported.
///
/// # Errors
/// When the folder itself cannot be read.
pub fn verify(
    reader: &Reader,
    until: Place,
    charter: &Charter,
    held: &Held,
    only: Option<LogId>,
) -> io::Result<Report> {
    let mut v = Verifier { charter, only, report: Report::default(), logs: BTreeMap::new(), nameless: Vec::new() };
    for segment in 1..=until.segment {
        match reader.walk(segment, until) {
            Ok(Some(mut walk)) => v.segment(reader, segment, &mut walk),
            Ok(None) => v.nameless(segment, 0, Kind::MissingSegment),
            Err(_) => v.nameless(segment, 0, Kind::UnreadableFile),
        }
    }
    v.missing_tails(held, until);
    let named = |d: &Damaged| v.report.damaged.iter().any(|x| (x.segment, x.offset) == (d.segment, d.offset));
    let unnamed: Vec<_> = v.nameless.iter().filter(|d| !named(d)).cloned().collect();
    v.report.damaged.extend(unnamed);
    v.report.damaged.sort_by_key(|d| (d.segment, d.offset, d.from));
    Ok(v.report)
}

impl Verifier<'_> {
    fn segment(&mut self, reader: &Reader, segment: u32, walk: &mut Walk) {
        loop {
            match walk.step() {
                Ok(Some(Step::Frame { meta, place, end })) => {
                    self.report.bytes += end - place.offset;
                    self.frame(reader, meta, place);
                }
                Ok(Some(Step::Bad(d))) => {
                    self.report.bytes += d.bytes;
                    let kind = match d.kind {
                        DamageKind::Unreadable | DamageKind::Altered => Kind::Unreadable,
                        DamageKind::Truncated => Kind::Truncated,
                    };
                    self.nameless(segment, d.offset, kind);
                }
                Ok(None) => return,
                Err(_) => {
                    self.nameless(segment, walk.offset(), Kind::UnreadableFile);
                    return;
                }
            }
        }
    }

    fn nameless(&mut self, segment: u32, offset: u64, kind: Kind) {
        self.nameless.push(Damaged { log: None, from: None, to: None, index: None, segment, offset, kind });
    }

    fn damaged(&mut self, log: LogId, from: u64, to: u64, place: Place, kind: Kind) {
        if self.only.is_some_and(|only| only != log) {
            return;
        }
        let log = Some(self.charter.federation().origin(log));
        let Place { segment, offset } = place;
        self.report.damaged.push(Damaged {
            log,
            from: Some(from),
            to: Some(to),
            index: Some(from),
            segment,
            offset,
            kind,
        });
    }

    fn frame(&mut self, reader: &Reader, meta: Meta, place: Place) {
        match meta {
            Meta::Batch { log, start, end, peaks, note, .. } => {
                self.gap_before(log, start, place);
                if self.only.is_none_or(|only| only == log) {
                    self.batch(reader, log, start, end, place);
                }
                // What follows stands on the signed root in this frame's head, whether or not its body holds.
                let signed = self.charter.epoch(log).and_then(|e| Checkpoint::open(&note, &e.log).ok());
                let walked = self.logs.entry(log).or_default();
                let tree = Tree::from_peaks(end, peaks).filter(|t| signed.is_some_and(|c| c.root == t.root()));
                walked.known = tree.is_some();
                walked.tree = tree.unwrap_or_default();
                walked.roots.insert(end, walked.tree.root());
            }
            Meta::Receipt { log, holder, size, line, .. } => {
                let known = self.logs.get(&log).and_then(|w| w.roots.get(&size)).copied();
                let key = self.charter.epoch(holder).map(|e| e.mirror.clone());
                let holds = match (known, key) {
                    (Some(root), Some(key)) => {
                        let text = Checkpoint { origin: self.charter.federation().origin(log), size, root }.text();
                        let line = line.strip_suffix('\n').map(NoteSignature::parse);
                        matches!(line, Some(Ok(l)) if l.verify(&key, &text).is_ok())
                    }
                    // Its batch is damaged, which is reported there.
                    (None, _) => true,
                    (_, None) => false,
                };
                if holds {
                    self.report.frames += 1;
                } else {
                    self.damaged(log, size, size, place, Kind::Signature);
                }
            }
            Meta::Freeze { .. } | Meta::Charter { .. } => self.report.frames += 1,
        }
    }

    fn batch(&mut self, reader: &Reader, log: LogId, start: u64, end: u64, place: Place) {
        let body = match reader.read(place) {
            Ok(frame) => frame.body,
            Err(_) => return self.damaged(log, start, end, place, Kind::Altered),
        };
        let Some(walked) = self.logs.get(&log).filter(|w| w.known) else {
            // Frames before it are lost, and with them the tree that its leaves would have to continue. Its checksum
            // and its signature hold.
            self.report.frames += 1;
            return;
        };
        match admit(self.charter, log, &walked.tree, body) {
            Ok(_) => {
                self.report.frames += 1;
                self.report.records += end - start;
            }
            Err(AdmitError::Root { .. }) => self.damaged(log, start, end, place, Kind::Root),
            Err(AdmitError::Checkpoint(_) | AdmitError::Cosignature(_)) => {
                self.damaged(log, start, end, place, Kind::Signature);
            }
            Err(_) => self.damaged(log, start, end, place, Kind::Altered),
        }
    }

    /// Records between the last batch of a log and this one are nowhere: named at the damaged place that held them.
    fn gap_before(&mut self, log: LogId, start: u64, place: Place) {
        let walked = self.logs.entry(log).or_insert_with(|| Walked { known: true, ..Walked::default() });
        let size = walked.roots.last_key_value().map_or(0, |(end, _)| *end);
        if start > size {
            walked.known = false;
            self.missing(log, size, start, place);
        }
    }

    fn missing(&mut self, log: LogId, from: u64, to: u64, seen_at: Place) {
        let held_them = self.nameless.last().map(|d| (Place { segment: d.segment, offset: d.offset }, d.kind));
        let (place, kind) = held_them.unwrap_or((seen_at, Kind::MissingFrame));
        self.damaged(log, from, to, place, kind);
    }

    /// What the node holds by its own word and the disk does not.
    fn missing_tails(&mut self, held: &Held, until: Place) {
        for (log, size) in held {
            let seen = self.logs.get(log).and_then(|w| w.roots.last_key_value()).map_or(0, |(end, _)| *end);
            if seen < *size {
                self.missing(*log, seen, *size, until);
            }
        }
    }
}
