//! The answer to a submission; its JSON is the contract of `tally ingest --json`.

use super::{EarlyEnd, RowsNotKept, Trial};
use crate::FieldChange;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use tally_protocol::finding::{AtLine, Finding};
use tally_store::staged::StagedRun;

/// What became of a submission: `read` = `accepted` + `duplicate` + `rejected`.
#[derive(Debug, Clone, Default, Serialize)]
pub struct SubmissionAnswer {
    /// Rows that were not blank and no heads or notes of a table.
    pub read: u64,
    /// New records, durable: in the log, or staged.
    pub accepted: u64,
    /// Accepted rows that are not signed yet: only this node's disk has them.
    pub staged: u64,
    /// Why they could not be signed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub staged_because: Option<String>,
    /// Staged rows that cannot be read from this disk any more: to be handed in again.
    #[serde(skip_serializing_if = "is_zero")]
    pub staged_lost: u64,
    /// Where staged rows are kept.
    #[serde(skip)]
    pub staged_runs: Vec<StagedRun>,
    /// Records that are held already.
    pub duplicate: u64,
    /// Rows not taken; `errors` tells why.
    pub rejected: u64,
    /// Accepted rows with a question to the producer.
    pub questions: u64,
    /// Origin of the log they went into; null while some are staged.
    pub log: Option<String>,
    /// First index of the batches that hold them; null if nothing was new, and while some are staged.
    pub from: Option<u64>,
    /// One past their last index.
    pub to: Option<u64>,
    /// What is wrong with rejected and questioned rows, in line order.
    pub errors: Vec<AtLine>,
    /// Findings that `errors` does not list; the kept answer has those of rows that it keeps.
    #[serde(skip_serializing_if = "is_zero")]
    pub errors_omitted: u64,
    /// Rows to look at that the kept answer has no room for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub not_kept: Option<RowsNotKept>,
    /// Why not every row was looked at; `read` counts those that were.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ended: Option<EarlyEnd>,
    /// What was changed or is to be known, by field, without a row being wrong.
    pub notes: Vec<InputNote>,
    /// Under this name the answer is kept, with every rejected and questioned row.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub answer: Option<String>,
    /// What the input was taken for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub format: Option<String>,
    /// The submission was only tried: nothing was taken, and this is what would become of each row.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub trial: Option<Box<Trial>>,
}

impl SubmissionAnswer {
    /// Its counts, without what is listed.
    pub(super) fn counts(&self) -> Self {
        Self {
            read: self.read,
            accepted: self.accepted,
            staged: self.staged,
            staged_because: self.staged_because.clone(),
            duplicate: self.duplicate,
            rejected: self.rejected,
            questions: self.questions,
            log: self.log.clone(),
            from: self.from,
            to: self.to,
            ..Self::default()
        }
    }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
fn is_zero(n: &u64) -> bool {
    *n == 0
}

/// The same note about many rows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct InputNote {
    /// Field or column.
    pub field: String,
    /// Stable name.
    pub code: String,
    /// Rows.
    pub count: u64,
    /// The first of them.
    pub line: u64,
    /// For people.
    pub message: String,
    /// The same in Chinese.
    pub message_zh: String,
}

/// Notes gathered by field and code. Bounded: fields and codes are the catalog's.
#[derive(Debug, Default)]
pub(super) struct NotesByField(BTreeMap<(String, String), InputNote>);

/// Kinds of notes that are told apart.
const KINDS_MAX: usize = 500;

impl NotesByField {
    pub(super) fn add(&mut self, noted: InputNote) {
        let key = (noted.field.clone(), noted.code.clone());
        if let Some(known) = self.0.get_mut(&key) {
            known.count += noted.count;
        } else if self.0.len() < KINDS_MAX {
            self.0.insert(key, noted);
        }
    }

    pub(super) fn changed(&mut self, line: u64, FieldChange { field, change, from, to }: &FieldChange) {
        let (message, zh) = change.message();
        let code = serde_json::to_value(change).ok().and_then(|v| v.as_str().map(str::to_owned)).unwrap_or_default();
        let key = (field.clone(), code);
        if let Some(known) = self.0.get_mut(&key) {
            known.count += 1;
            return;
        }
        // The first value that it was done to is shown, where that says more.
        let shown = match (from.is_empty(), to.is_empty()) {
            _ if from == to => String::new(),
            (false, true) => format!(" ({from})"),
            _ => format!(" ({from} -> {to})"),
        };
        let (message, message_zh) = (format!("{message}{shown}"), format!("{zh}{shown}"));
        self.add(InputNote { field: key.0, code: key.1, count: 1, line, message, message_zh });
    }

    pub(super) fn found(&mut self, line: u64, f: Finding) {
        let key = (f.field, f.code);
        if let Some(known) = self.0.get_mut(&key) {
            known.count += 1;
        } else {
            let (message, message_zh) = (f.message, f.message_zh);
            self.add(InputNote { field: key.0, code: key.1, count: 1, line, message, message_zh });
        }
    }

    pub(super) fn into_list(self) -> Vec<InputNote> {
        self.0.into_values().collect()
    }
}
