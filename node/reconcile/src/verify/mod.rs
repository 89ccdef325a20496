//! Verify: reads the journal from the disk, not from caches or the index, and names what does not hold.
//!
//! Every frame's checksums; every batch through `admit()`, the door it came in by: signatures, position, every leaf, the
//! root; every receipt; and by position what is missing. It changes nothing.

mod check;
mod coverage;
mod missing;
mod report;
#[cfg(test)]
mod tests;
mod walk;

pub use report::{ClosedBranch, Damaged, DefectKind, IndexState, Lack, Survey, VerifyReport};

use coverage::Coverage;
use serde::{Deserialize, Serialize};
use std::{collections::BTreeMap, io};
use tally_core::{Place, log::WholeCopy};
use tally_journal::{Damage, DamageKind, Position};
use tally_protocol::{hash::Hash, ids::LogId, merkle::Tree};
use tally_store::entries::{EntryReader, position};
use tally_topology::charter::Charter;

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
    /// Own histories that the charter has not closed their log with: log, first record, one past the last.
    pub dead: &'a [(LogId, u64, u64)],
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

fn numbers(place: Place) -> (u32, u64) {
    let Position { segment, offset } = position(place);
    (segment, offset)
}

fn nothing_lost(place: Place, kind: DefectKind) -> Damaged {
    let (segment, offset) = numbers(place);
    Damaged { log: None, from: None, to: None, index: None, segment, offset, kind }
}
