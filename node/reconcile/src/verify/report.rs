//! What verify says: to people as JSON, to repair as places to mend and records to fetch.

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use tally_core::{Place, log::WholeCopy};
use tally_journal::Damage;
use tally_protocol::ids::LogId;

/// What is wrong with a place.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DefectKind {
    /// A frame whose bytes are not those that were written.
    Altered,
    /// Bytes that are no frame.
    Unreadable,
    /// A frame that ends beyond its file, or a file that ends too early.
    Truncated,
    /// A whole segment file is not there.
    MissingSegment,
    /// The segment's first bytes are not its own: overwritten, or files were exchanged.
    SegmentHeader,
    /// Records between two batches are nowhere.
    MissingFrame,
    /// The frame is whole, but its signature does not hold.
    Signature,
    /// The frame is whole and signed, but its records do not lead to the root.
    Root,
    /// The file system refuses to read it.
    UnreadableFile,
    /// A whole frame of a log or holder that the charter in force does not know: nothing is wrong with the frame, but it
    /// cannot be checked. A newer charter is missing here.
    NotInCharter,
}

impl DefectKind {
    /// As in JSON.
    pub fn name(self) -> &'static str {
        match self {
            Self::Altered => "altered",
            Self::Unreadable => "unreadable",
            Self::Truncated => "truncated",
            Self::MissingSegment => "missing_segment",
            Self::SegmentHeader => "segment_header",
            Self::MissingFrame => "missing_frame",
            Self::Signature => "signature",
            Self::Root => "root",
            Self::UnreadableFile => "unreadable_file",
            Self::NotInCharter => "not_in_charter",
        }
    }
}

/// One damaged place.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Damaged {
    /// Origin of the log; null if no record is lost with this place, or it is not known which.
    pub log: Option<String>,
    /// First record; null if no record is lost with this place.
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
    pub kind: DefectKind,
}

/// A batch beyond the end of a closed epoch, or in a history that it was not closed with. Nothing is wrong: it does not count
/// any more.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClosedBranch {
    /// Origin of the log.
    pub log: String,
    /// First record.
    pub from: u64,
    /// One past the last.
    pub to: u64,
    /// Segment number.
    pub segment: u32,
    /// Byte offset in it.
    pub offset: u64,
    /// It could be carried over into the next epoch.
    pub readable: bool,
}

/// The result; its JSON is the contract of `tally verify --json`.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct VerifyReport {
    /// Frames that are whole.
    pub frames: u64,
    /// Records that were rehashed and hold.
    pub records: u64,
    /// Bytes read.
    pub bytes: u64,
    /// Places that do not hold.
    pub damaged: Vec<Damaged>,
    /// Batches that do not count, because the charter closed their log before them.
    #[serde(default)]
    pub closed_branch: Vec<ClosedBranch>,
    /// Whether the index holds what the journal holds; null if only one log was verified.
    #[serde(default)]
    pub index: Option<IndexState>,
}

/// The index against the journal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum IndexState {
    /// As many entries of each log as it has records.
    Ok,
    /// It is being built: nothing can be said yet.
    Behind,
    /// It lost entries, or cannot be read: to be built anew, which touches no record.
    Differs,
}

/// Records that are not to be had from this disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lack {
    /// First record.
    pub from: u64,
    /// One past the last.
    pub to: u64,
    /// Where their batch lies, if its head still holds: then they are exactly that batch.
    pub place: Option<Place>,
}

/// What repair has to know.
#[derive(Debug, Clone, Default)]
pub struct Survey {
    /// For people.
    pub report: VerifyReport,
    /// What is missing, by log, in log order.
    pub lacks: BTreeMap<LogId, Vec<Lack>>,
    /// Whole copies of batches, by log, in the order of their ends.
    pub copies: BTreeMap<LogId, Vec<WholeCopy>>,
    /// Places to put right once nothing is missing any more.
    pub places: Vec<Damage>,
}
