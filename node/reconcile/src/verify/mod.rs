//! Verify: reads the journal from the disk, not from caches or the index, and names what does not hold.
//!
//! Every frame's checksums; every batch through `admit()`, the door it came in by: signatures, position, every leaf, the
//! root; every receipt; and by position what is missing. It changes nothing.

mod coverage;
mod report;
#[cfg(test)]
mod tests;

pub use report::{Damaged, DefectKind, IndexState, Lack, Survey, VerifyReport};

use coverage::Coverage;
use serde::{Deserialize, Serialize};
use std::{collections::BTreeMap, io};
use tally_core::{Entry, Place, log::WholeCopy};
use tally_journal::{Damage, DamageKind, Position, ReadError, Step, Walk};
use tally_protocol::{checkpoint::Checkpoint, hash::Hash, ids::LogId, merkle::Tree, note::NoteSignature};
use tally_store::entries::{self, EntryReader, position};
use tally_topology::{
    admit::{AdmitError, admit},
    charter::Charter,
};

/// What the node says to hold: the size of each log.
pub type ClaimedSizes = BTreeMap<LogId, u64>;

/// What is to be read.
#[derive(Debug, Clone, Copy)]
pub struct VerifyInput<'a> {
    /// End of the durable journal.
    pub until: Place,
    /// Keys and closed epochs.
    pub charter: &'a Charter,
    /// Sizes of logs by the node's own word.
    pub held: &'a ClaimedSizes,
    /// Damage that cannot be seen by reading what is there: files and tails that were gone when the node started.
    pub known_damage: &'a [Damage],
    /// Only this log's records are rehashed and reported.
    pub only: Option<LogId>,
    /// What an earlier verify, stopped in the middle, has read already.
    pub before: &'a Watermark,
}

/// Where a verify stopped, for another one to go on.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Watermark {
    /// Of segments before this one only frame heads are read again.
    pub segment: u32,
    /// Records that held.
    pub records: u64,
    /// Bytes read.
    pub bytes: u64,
    /// Frames whose head holds and whose content does not: segment, offset.
    pub bad: Vec<(u32, u64)>,
}

/// Who asked to stop in the middle.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stopped;

/// Why there is no report.
#[derive(Debug, thiserror::Error)]
pub enum VerifyError {
    /// A file could not be opened, for want of memory, descriptors or rights: that is no damage.
    #[error("the journal cannot be read: {0}")]
    System(#[from] io::Error),
    /// It was told to stop.
    #[error("stopped")]
    Stopped,
}

/// Told before each frame how many bytes will be read, and where another verify could go on; may wait, and may end it.
pub type BeforeFrame<'p> = &'p mut dyn FnMut(u64, &Watermark) -> Result<(), Stopped>;

/// A log as far as the walk has come.
#[derive(Default)]
struct Walked {
    /// The log's right edge in the order of the walk.
    edge: Tree,
    /// Edges at which records are missing so far: what comes later may continue them.
    edges: BTreeMap<u64, Tree>,
    roots: BTreeMap<u64, Hash>,
    good: Coverage,
    copies: Vec<WholeCopy>,
    bad: Vec<Bad>,
    /// First record of a gap, and where its records may have lain.
    gaps: BTreeMap<u64, (Place, DefectKind)>,
    /// Batches whose leaves could not be checked yet, because the tree before them was not known.
    waiting: Vec<(u64, u64, Place, u64)>,
}

impl Walked {
    fn good(&mut self, start: u64, end: u64, place: Place) {
        self.good.add(start, end);
        self.copies.extend(self.roots.get(&end).map(|root| WholeCopy { start, end, root: *root, place }));
    }
}

/// A frame whose head holds and whose content does not.
#[derive(Clone, Copy)]
struct Bad {
    from: u64,
    to: u64,
    place: Place,
    kind: DefectKind,
}

/// A receipt whose batch had not come yet when it did.
struct LateReceipt {
    log: LogId,
    holder: LogId,
    size: u64,
    line: String,
    place: Place,
    bytes: u64,
}

struct Verifier<'a> {
    reader: &'a EntryReader,
    input: VerifyInput<'a>,
    report: VerifyReport,
    logs: BTreeMap<LogId, Walked>,
    places: Vec<Damage>,
    watermark: Watermark,
    /// Length of each segment's file.
    lengths: BTreeMap<u32, u64>,
    /// Frames to be named that no repair may touch.
    apart: Vec<Damaged>,
    /// The system refused something: then nothing is said of damage.
    trouble: Option<io::Error>,
    /// Damaged places that named no log, in journal order.
    nameless: Vec<(Place, DefectKind)>,
    receipts: Vec<LateReceipt>,
    bodies: bool,
}

/// Verifies the journal up to `input.until`.
///
/// # Errors
/// [`VerifyError`].
pub fn verify(
    reader: &EntryReader,
    input: VerifyInput<'_>,
    before_frame: BeforeFrame<'_>,
) -> Result<Survey, VerifyError> {
    let mut v = Verifier {
        reader,
        input,
        report: VerifyReport { records: input.before.records, bytes: input.before.bytes, ..VerifyReport::default() },
        logs: BTreeMap::new(),
        places: Vec::new(),
        watermark: input.before.clone(),
        lengths: BTreeMap::new(),
        apart: Vec::new(),
        trouble: None,
        nameless: Vec::new(),
        receipts: Vec::new(),
        bodies: true,
    };
    let last = position(input.until).segment;
    for segment in 1..=last {
        v.bodies = segment >= input.before.segment;
        if v.bodies {
            let (records, bytes) = (v.report.records, v.report.bytes);
            v.watermark = Watermark { segment, records, bytes, bad: std::mem::take(&mut v.watermark.bad) };
        }
        match reader.walk(segment, input.until) {
            Ok(Some(mut walk)) => v.segment(segment, &mut walk, before_frame)?,
            Ok(None) => v.nameless(Damage { segment, offset: 0, bytes: 0, kind: DamageKind::Missing }),
            // The file is what refuses. What else keeps it from being opened (no memory, no descriptors) is no damage.
            Err(e) if e.kind() == io::ErrorKind::PermissionDenied || e.raw_os_error() == Some(libc::EIO) => {
                v.nameless(Damage { segment, offset: 0, bytes: 0, kind: DamageKind::Refused });
            }
            Err(e) => return Err(e.into()),
        }
        for known_damage in
            input.known_damage.iter().filter(|d| d.segment == segment && d.kind == DamageKind::Truncated)
        {
            v.nameless(known_damage.clone());
        }
    }
    v.cut_segments();
    v.late_receipts();
    v.finish()
}

fn kind_of(kind: DamageKind) -> DefectKind {
    match kind {
        DamageKind::Unreadable | DamageKind::Altered => DefectKind::Unreadable,
        DamageKind::Truncated => DefectKind::Truncated,
        DamageKind::Refused => DefectKind::UnreadableFile,
        DamageKind::Header => DefectKind::SegmentHeader,
        DamageKind::Missing => DefectKind::MissingSegment,
    }
}

impl Verifier<'_> {
    fn segment(&mut self, segment: u32, walk: &mut Walk, before_frame: BeforeFrame<'_>) -> Result<(), VerifyError> {
        self.lengths.insert(segment, walk.bytes());
        if !walk.head_holds() {
            self.nameless(Damage { segment, offset: 0, bytes: 0, kind: DamageKind::Header });
        }
        let mut bad_until = 0;
        while let Some(step) = walk.step() {
            match step {
                Step::Frame { head, at, end } => {
                    let bytes = end - at.offset;
                    if self.bodies {
                        before_frame(bytes, &self.watermark).map_err(|Stopped| VerifyError::Stopped)?;
                        self.report.bytes += bytes;
                    }
                    self.frame(entries::decode(&head), entries::place(at), bytes);
                    if let Some(source) = self.trouble.take() {
                        return Err(source.into());
                    }
                }
                Step::Bad(d) => {
                    if self.bodies {
                        self.report.bytes += d.bytes;
                    }
                    bad_until = d.offset + d.bytes;
                    self.nameless(d);
                }
            }
        }
        // A frame that runs beyond the end has been named already.
        if let Some((offset, bytes)) = walk.cut_off().filter(|(end, _)| *end != bad_until) {
            self.nameless(Damage { segment, offset, bytes, kind: DamageKind::Truncated });
        }
        Ok(())
    }

    /// Sealed segments that are shorter than they were, and whose end is not damaged otherwise.
    fn cut_segments(&mut self) {
        let named = |places: &[Damage], segment: u32, end: u64| {
            places.iter().any(|d| d.segment == segment && d.offset <= end && d.offset + d.bytes >= end)
        };
        for (segment, end) in std::mem::take(&mut self.lengths) {
            let Some(bytes) = self.reader.sealed_length(segment).filter(|bytes| end < *bytes) else { continue };
            if segment < position(self.input.until).segment && !named(&self.places, segment, end) {
                self.nameless(Damage { segment, offset: end, bytes: bytes - end, kind: DamageKind::Truncated });
            }
        }
    }

    fn nameless(&mut self, d: Damage) {
        self.nameless.push((place_of(&d), kind_of(d.kind)));
        self.places.push(d);
    }

    fn frame(&mut self, entry: Option<Entry>, place: Place, bytes: u64) {
        match entry {
            Some(Entry::Batch { log, start, tree, note, .. }) => {
                self.batch_frame(log, start, tree, &note, place, bytes);
            }
            Some(Entry::Receipt { log, holder, size, line, .. }) => {
                let receipt = LateReceipt { log, holder, size, line, place, bytes };
                if self.logs.get(&log).is_some_and(|w| w.roots.contains_key(&size)) {
                    self.receipt(&receipt);
                } else {
                    self.receipts.push(receipt);
                }
            }
            Some(Entry::Freeze { .. } | Entry::Charter { .. }) | None => self.report.frames += 1,
        }
    }

    fn batch_frame(&mut self, log: LogId, start: u64, tree: Tree, note: &str, place: Place, bytes: u64) {
        let (charter, end) = (self.input.charter, tree.size());
        // What no key is known for cannot be checked; it is not touched either.
        let Some(key) = charter.log_key(log) else {
            self.apart.push(nothing_lost(place, DefectKind::NotInCharter));
            return;
        };
        // Records beyond the end of a closed epoch do not count, and are not missed; but they may still be carried over.
        if charter.closed_at(log).is_some_and(|(last, _)| end > last) {
            match self.reader.read(place) {
                Ok(_) => self.report.frames += 1,
                Err(_) => self.apart.push(nothing_lost(place, DefectKind::Altered)),
            }
            return;
        }
        let signed = Checkpoint::open(note, &key).ok();
        let tree = Some(tree).filter(|t| signed.is_some_and(|c| (c.size, c.root) == (end, t.root())));
        let mut last = self.nameless.last().copied();
        let walked = self.logs.entry(log).or_default();
        let Some(tree) = tree else {
            self.bad(log, start, end, place, DefectKind::Signature, bytes);
            return;
        };
        let size = walked.edge.size();
        let before = match start {
            0 => Some(Tree::default()),
            _ if start == size => Some(walked.edge.clone()),
            _ => walked.edges.get(&start).cloned(),
        };
        if start > size {
            walked.gaps.entry(size).or_insert_with(|| last.take().unwrap_or((place, DefectKind::MissingFrame)));
            walked.edges.insert(size, walked.edge.clone());
        }
        walked.roots.insert(end, tree.root());
        if end > size {
            walked.edge = tree;
        } else {
            walked.edges.insert(end, tree);
        }
        let read = self.bodies && self.input.only.is_none_or(|only| only == log);
        match before {
            before if !read => {
                if self.input.before.bad.contains(&numbers(place)) {
                    walked.edges.extend(before.map(|tree| (start, tree)));
                    self.bad(log, start, end, place, DefectKind::Altered, bytes);
                } else {
                    walked.good(start, end, place);
                    self.report.frames += 1;
                }
            }
            Some(before) => self.batch(log, &before, start, end, place, bytes),
            None => walked.waiting.push((start, end, place, bytes)),
        }
    }

    /// Reads a batch and checks it as if it came in now.
    fn batch(&mut self, log: LogId, before: &Tree, start: u64, end: u64, place: Place, bytes: u64) {
        // A copy that stands elsewhere continues from the same edge.
        self.logs.entry(log).or_default().edges.insert(start, before.clone());
        let frame = match self.reader.read(place) {
            Ok(frame) => frame,
            Err(ReadError::Io { source, .. }) => {
                self.trouble.get_or_insert(source);
                return;
            }
            Err(ReadError::Damaged { .. }) => return self.bad(log, start, end, place, DefectKind::Altered, bytes),
        };
        match admit(self.input.charter, log, before, frame.body) {
            Ok(batch) if batch.end() == end => {
                self.good(log, start, end, place);
                self.logs.entry(log).or_default().edges.remove(&start);
            }
            Err(AdmitError::Root { .. }) => self.bad(log, start, end, place, DefectKind::Root, bytes),
            Err(AdmitError::Checkpoint(_) | AdmitError::Cosignature(_)) => {
                self.bad(log, start, end, place, DefectKind::Signature, bytes);
            }
            Ok(_) | Err(_) => self.bad(log, start, end, place, DefectKind::Altered, bytes),
        }
    }

    fn good(&mut self, log: LogId, start: u64, end: u64, place: Place) {
        self.report.frames += 1;
        self.report.records += end - start;
        self.logs.entry(log).or_default().good(start, end, place);
    }

    fn bad(&mut self, log: LogId, from: u64, to: u64, place: Place, kind: DefectKind, bytes: u64) {
        let Position { segment, offset } = position(place);
        self.places.push(Damage { segment, offset, bytes, kind: DamageKind::Altered });
        if !self.watermark.bad.contains(&(segment, offset)) {
            self.watermark.bad.push((segment, offset));
        }
        self.logs.entry(log).or_default().bad.push(Bad { from, to, place, kind });
    }

    fn late_receipts(&mut self) {
        for receipt in std::mem::take(&mut self.receipts) {
            if self.logs.get(&receipt.log).is_some_and(|w| w.roots.contains_key(&receipt.size)) {
                self.receipt(&receipt);
            } else {
                // Its batch is damaged or gone, which is reported there.
                self.report.frames += 1;
            }
        }
    }

    fn receipt(&mut self, r: &LateReceipt) {
        let charter = self.input.charter;
        let Some(root) = self.logs.get(&r.log).and_then(|w| w.roots.get(&r.size)).copied() else { return };
        let text = Checkpoint { origin: charter.federation().origin(r.log), size: r.size, root }.text();
        let line = r.line.strip_suffix('\n').map(NoteSignature::parse);
        let Some(holder) = charter.epoch(r.holder) else {
            self.apart.push(nothing_lost(r.place, DefectKind::NotInCharter));
            return;
        };
        let holds = matches!(line, Some(Ok(line)) if line.verify(&holder.mirror, &text).is_ok());
        if holds {
            self.report.frames += 1;
        } else {
            let Position { segment, offset } = position(r.place);
            self.nameless.push((r.place, DefectKind::Signature));
            self.places.push(Damage { segment, offset, bytes: r.bytes, kind: DamageKind::Altered });
        }
    }

    /// Batches that had to wait for the tree before them, then what is missing after all.
    fn finish(mut self) -> Result<Survey, VerifyError> {
        let logs: Vec<_> = self.logs.keys().copied().collect();
        for log in logs {
            let waiting = self.logs.get_mut(&log).map(|w| std::mem::take(&mut w.waiting)).unwrap_or_default();
            for (start, end, place, bytes) in waiting {
                match self.logs.get(&log).and_then(|w| w.edges.get(&start)).cloned() {
                    Some(before) => self.batch(log, &before, start, end, place, bytes),
                    // The frames before it are lost, and with them the tree that its leaves would have to continue. Its
                    // checksum and its signature are what can be checked.
                    None => match self.reader.read(place) {
                        Ok(_) => {
                            self.report.frames += 1;
                            self.logs.entry(log).or_default().good(start, end, place);
                        }
                        Err(ReadError::Damaged { .. }) => self.bad(log, start, end, place, DefectKind::Altered, bytes),
                        Err(ReadError::Io { source, .. }) => {
                            self.trouble.get_or_insert(source);
                        }
                    },
                }
            }
        }
        match self.trouble.take() {
            Some(source) => Err(source.into()),
            None => Ok(self.name_what_is_missing()),
        }
    }

    fn name_what_is_missing(self) -> Survey {
        let Self { input, mut report, mut logs, places, nameless, apart, .. } = self;
        let origin = |log| input.charter.federation().origin(log);
        let mut lacks: BTreeMap<LogId, Vec<Lack>> = BTreeMap::new();
        let mut named = Vec::new();
        let copies = |(log, walked): (&LogId, &mut Walked)| {
            let mut copies = std::mem::take(&mut walked.copies);
            copies.sort_unstable_by_key(|c| (c.end, c.start, c.place));
            (*log, copies)
        };
        let copies = logs.iter_mut().map(copies).collect();
        let nothing = Walked::default();
        let mut all: Vec<_> = logs.keys().chain(input.held.keys()).copied().collect();
        all.sort_unstable();
        all.dedup();
        for log in all.into_iter().filter(|l| input.only.is_none_or(|only| only == *l)) {
            let walked = logs.get(&log).unwrap_or(&nothing);
            let size = input.held.get(&log).copied().unwrap_or(0).max(walked.edge.size());
            let tail = nameless.last().copied().unwrap_or((input.until, DefectKind::MissingFrame));
            let lack = lacks.entry(log).or_default();
            let mut add = |from, to, (place, kind): (Place, DefectKind), exact: bool| {
                lack.push(Lack { from, to, place: exact.then_some(place) });
                named.push(place);
                let Position { segment, offset } = position(place);
                let log = Some(origin(log));
                report.damaged.push(Damaged {
                    log,
                    from: Some(from),
                    to: Some(to),
                    index: Some(from),
                    segment,
                    offset,
                    kind,
                });
            };
            for (from, to) in walked.good.holes(size) {
                // Of the hole, what damaged frames say to have held; the rest lies where frames are no frames any more.
                let mut at = from;
                let mut inside: Vec<_> = walked.bad.iter().filter(|b| b.from >= from && b.to <= to).copied().collect();
                inside.sort_unstable_by_key(|b| (b.from, std::cmp::Reverse(b.place)));
                // A gap that was met before any damaged place: repaired copies stand out of order, so it lies behind.
                let seen_at = |at| match walked.gaps.range(..=at).next_back() {
                    Some((_, (_, DefectKind::MissingFrame))) | None => tail,
                    Some((_, seen)) => *seen,
                };
                for b in inside {
                    if b.from < at {
                        continue;
                    }
                    if b.from > at {
                        add(at, b.from, seen_at(at), false);
                    }
                    add(b.from, b.to, (b.place, b.kind), true);
                    at = b.to;
                }
                if at < to {
                    let beyond = at >= walked.edge.size();
                    add(at, to, if beyond { tail } else { seen_at(at) }, false);
                }
            }
            // Damaged copies of records that are good elsewhere.
            for b in walked.bad.iter().filter(|b| walked.good.covers(b.from, b.to)) {
                report.damaged.push(nothing_lost(b.place, b.kind));
            }
        }
        lacks.retain(|_, l| !l.is_empty());
        let unnamed = nameless.iter().filter(|(place, _)| !named.contains(place));
        report.damaged.extend(unnamed.map(|(place, kind)| nothing_lost(*place, *kind)));
        report.damaged.extend(apart);
        report.damaged.sort_by_key(|d| (d.segment, d.offset, d.from));
        Survey { report, lacks, copies, places }
    }
}

fn place_of(d: &Damage) -> Place {
    entries::place(Position { segment: d.segment, offset: d.offset })
}

fn numbers(place: Place) -> (u32, u64) {
    let Position { segment, offset } = position(place);
    (segment, offset)
}

fn nothing_lost(place: Place, kind: DefectKind) -> Damaged {
    let (segment, offset) = numbers(place);
    Damaged { log: None, from: None, to: None, index: None, segment, offset, kind }
}
