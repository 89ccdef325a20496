//! A submission that is only tried: every row has its verdict, and nothing of it is taken or kept.
//!
//! What is told of rows is bounded in number and in bytes, as errors are.

use super::{ERRORS_BYTES_MAX, ERRORS_MAX};
use crate::{FieldChange, RowFate};
use serde::Serialize;
use std::collections::HashSet;
use tally_protocol::{
    finding::Finding,
    record::{Record, RecordId},
};

/// What a trial tells of rows, in the order of their lines.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Trial {
    /// The rows.
    pub rows: Vec<TrialRow>,
    /// Rows behind them that are counted and not told.
    pub rows_omitted: u64,
    #[serde(skip)]
    bytes: usize,
    /// Records that the same input has brought already.
    #[serde(skip)]
    seen: HashSet<RecordId>,
}

/// What would become of a row.
#[derive(Debug, Clone, Serialize)]
pub struct TrialRow {
    /// Its line.
    pub line: u64,
    /// `accepted`, `duplicate` or `rejected`.
    pub verdict: &'static str,
    /// The record as it would be stored; none for a rejected row.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub record: Option<serde_json::Value>,
    /// Every value that is not stored as it came.
    pub changes: Vec<TrialChange>,
    /// What is said of it.
    pub findings: Vec<Finding>,
}

/// A value that is not stored as it came.
#[derive(Debug, Clone, Serialize)]
pub struct TrialChange {
    /// Its field.
    pub field: String,
    /// Stable name of what is done.
    pub code: crate::Change,
    /// As it came, shortened; of personal data its middle is hidden.
    pub from: String,
    /// As it would be stored, in the same way; empty: it is left out.
    pub to: String,
    /// For people.
    pub message: &'static str,
    /// The same in Chinese.
    pub message_zh: &'static str,
}

impl From<FieldChange> for TrialChange {
    fn from(FieldChange { field, change, from, to }: FieldChange) -> Self {
        let (message, message_zh) = change.message();
        Self { field, code: change, from, to, message, message_zh }
    }
}

impl Trial {
    /// Whether the same input has brought this record before; it has now.
    pub(super) fn brought(&mut self, id: RecordId) -> bool {
        // A record of which nothing is told any more is not remembered either.
        if self.seen.len() >= ERRORS_MAX { self.seen.contains(&id) } else { !self.seen.insert(id) }
    }

    /// Tells of a row, or counts it.
    pub(super) fn tell(
        &mut self,
        line: u64,
        fate: &RowFate,
        (record, changes, findings): (Option<&Record>, &[FieldChange], &[Finding]),
    ) {
        let stored = record.filter(|_| !matches!(fate, RowFate::Rejected));
        let said: usize =
            findings.iter().map(Finding::bytes).sum::<usize>() + changes.iter().map(FieldChange::bytes).sum::<usize>();
        self.bytes += said + stored.map_or(0, |r| r.bytes().len());
        if self.rows_omitted > 0 || self.rows.len() >= ERRORS_MAX || self.bytes > ERRORS_BYTES_MAX {
            self.rows_omitted += 1;
            return;
        }
        let verdict = match fate {
            RowFate::Accepted { .. } | RowFate::Staged => "accepted",
            RowFate::Duplicate { .. } | RowFate::Superseded { .. } => "duplicate",
            RowFate::Rejected => "rejected",
        };
        let record = stored.and_then(|r| serde_json::from_slice(r.bytes()).ok());
        let changes = changes.iter().cloned().map(TrialChange::from).collect();
        self.rows.push(TrialRow { line, verdict, record, changes, findings: findings.to_vec() });
    }
}
