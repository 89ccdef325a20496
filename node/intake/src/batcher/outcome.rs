//! What the batcher answers: one outcome for each record, in their order.

use tally_core::NotSealed;
use tally_protocol::{finding::Severity, record::RecordId};
use tally_store::staged::{STAGED_ROWS_MAX, StagedRun};

/// Something found about a record by what is held, and what follows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HeldFinding {
    /// V010: the subject is registered under this name.
    OtherName(String),
    /// V011: no registration of the subject is held.
    NoSubject,
    /// V013: the business key is held with other content, by this record.
    Conflict(RecordId),
    /// V028: its number is held in another form, by this record.
    OtherForm(RecordId),
    /// V014: nothing is held that it could amend or withdraw.
    NoOriginal,
}

/// What became of a record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RowFate {
    /// It is new, and durable at this index of the own log.
    Accepted {
        /// Its index.
        index: u64,
    },
    /// It is new, durable on this disk, and not signed yet.
    Staged,
    /// It is held already, and in force: as itself, or as another record with the same content under its business key.
    Duplicate {
        /// The record that is held.
        held: RecordId,
    },
    /// It is held already, and was amended or withdrawn since; handing it in again does not bring it back.
    Superseded {
        /// The record that is held.
        held: RecordId,
    },
    /// A rule rejects it: it was not taken.
    Rejected,
}

/// The fate of one record, and what was found about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RowOutcome {
    /// What became of it.
    pub fate: RowFate,
    /// What is to be said of it. Only a rejected record has a finding that rejects.
    pub findings: Vec<(HeldFinding, Severity)>,
}

/// Every record of a chunk has its outcome, and all that were taken are durable.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ChunkResult {
    /// In the order of the records.
    pub rows: Vec<RowOutcome>,
    /// First index and one past the last of the batches into which new records went; none if none was new.
    pub range: Option<(u64, u64)>,
    /// Where those that are staged are kept.
    pub staged: Vec<StagedRun>,
    /// Why they could not be signed.
    pub because: Option<NotSealed>,
    /// Some rows were looked for by their ids alone, as the index could not answer: that nothing is said of such a row does not mean
    /// that there is nothing to say.
    pub by_id: bool,
}

impl ChunkResult {
    /// New records, staged ones too.
    pub fn accepted(&self) -> u64 {
        self.count(|f| matches!(f, RowFate::Accepted { .. } | RowFate::Staged))
    }

    /// Records that are held already.
    pub fn duplicates(&self) -> u64 {
        self.count(|f| matches!(f, RowFate::Duplicate { .. } | RowFate::Superseded { .. }))
    }

    /// New records that are staged.
    pub fn staged(&self) -> u64 {
        self.count(|f| matches!(f, RowFate::Staged))
    }

    pub(super) fn set(&mut self, row: usize, fate: RowFate) {
        if let Some(outcome) = self.rows.get_mut(row) {
            outcome.fate = fate;
        }
    }

    fn count(&self, which: impl Fn(&RowFate) -> bool) -> u64 {
        self.rows.iter().filter(|r| which(&r.fate)).count() as u64
    }
}

/// Some records of a chunk were not taken. Those that were will be found to be duplicates next time.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ChunkError {
    /// Nothing may be signed now, and the records may not be staged: they are in the journal.
    #[error(transparent)]
    NotSealed(#[from] NotSealed),
    /// As many rows are staged as may be.
    #[error(
        "nothing is signed now, and as many rows are staged as may be (storage.staged_mib, or {STAGED_ROWS_MAX} rows): {0}"
    )]
    StagedFull(NotSealed),
    /// The index cannot say whether a record is new.
    #[error("the index does not answer: {0}")]
    Index(String),
    /// Rows that were staged before these cannot be signed now, as their files cannot be read or written.
    #[error("rows that were staged before cannot be worked off now, and are tried again: {0}")]
    Staged(String),
    /// The journal's thread has ended.
    #[error(
        "this node's disk could not be written (its log tells why), and the node starts again: nothing of this is confirmed"
    )]
    DiskFailed,
    /// The node ends.
    #[error("the node is stopping")]
    Stopping,
}
