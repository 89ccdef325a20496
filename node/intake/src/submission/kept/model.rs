//! What is kept of an answer and of its rows, as it stands on the disk and in the API.

use super::phrases::{PhraseBook, Phrases, Said};
use crate::{
    InputNote, RawRow, Reply, RowKey,
    submission::{EarlyEnd, RowsNotKept, SubmissionAnswer},
};
use serde::{Deserialize, Serialize};
use std::io;
use tally_protocol::finding::Finding;
use tally_store::staged::StagedRun;

/// An answer that is kept, without its rows.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SubmissionMeta {
    /// Its name: division, day, number.
    pub id: String,
    /// When it was given, RFC 3339.
    pub at: String,
    /// Of which file, if it was one.
    #[serde(default)]
    pub file: Option<String>,
    /// By which way it came: `cli`, `http`, `folder`, `compare`.
    pub source: String,
    /// Name of the token, over HTTP.
    #[serde(default)]
    pub token: Option<String>,
    /// Path of the drop folder, if it came by one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub folder: Option<String>,
    /// Category, if one was named.
    #[serde(default)]
    pub category: Option<String>,
    /// Heads of the table, if it was one.
    #[serde(default)]
    pub heads: Vec<String>,
    /// BLAKE3 of the input, where it was known when the answer was given.
    #[serde(default)]
    pub digest: Option<String>,
    /// BLAKE3 of the terms under which it was handed in, where the client named a key; an answer of a program before this has
    /// none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub terms: Option<String>,
    /// The client's own key for this submission.
    #[serde(default)]
    pub idempotency_key: Option<String>,
    /// Counts.
    #[serde(default)]
    pub read: u64,
    /// See [`SubmissionAnswer`].
    #[serde(default)]
    pub accepted: u64,
    /// See [`SubmissionAnswer`]; as it was when the answer was given.
    #[serde(default)]
    pub staged: u64,
    /// See [`SubmissionAnswer`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub staged_because: Option<String>,
    /// See [`SubmissionAnswer`].
    #[serde(default, skip_serializing_if = "is_zero")]
    pub staged_lost: u64,
    /// See [`SubmissionAnswer`].
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub staged_runs: Vec<StagedRun>,
    /// See [`SubmissionAnswer`].
    #[serde(default)]
    pub duplicate: u64,
    /// See [`SubmissionAnswer`].
    #[serde(default)]
    pub rejected: u64,
    /// See [`SubmissionAnswer`].
    #[serde(default)]
    pub questions: u64,
    /// See [`SubmissionAnswer`].
    #[serde(default)]
    pub log: Option<String>,
    /// See [`SubmissionAnswer`].
    #[serde(default)]
    pub from: Option<u64>,
    /// See [`SubmissionAnswer`].
    #[serde(default)]
    pub to: Option<u64>,
    /// See [`SubmissionAnswer`].
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<InputNote>,
    /// See [`SubmissionAnswer`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub format: Option<String>,
    /// See [`SubmissionAnswer`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub not_kept: Option<RowsNotKept>,
    /// See [`SubmissionAnswer`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended: Option<EarlyEnd>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
fn is_zero(n: &u64) -> bool {
    *n == 0
}

/// Most bytes of a row that are kept; as JSON, control characters take six.
const KEPT_BYTES_MAX: usize = 512 << 10;

impl SubmissionMeta {
    /// The submission has its answer now.
    pub(super) fn answered(&mut self, answer: &SubmissionAnswer) {
        self.at = tally_clock::time(tally_clock::now_ms() / 1_000);
        (self.read, self.accepted, self.duplicate) = (answer.read, answer.accepted, answer.duplicate);
        (self.rejected, self.questions) = (answer.rejected, answer.questions);
        (self.log, self.from, self.to) = (answer.log.clone(), answer.from, answer.to);
        (self.staged, self.staged_because) = (answer.staged, answer.staged_because.clone());
        self.staged_runs.clone_from(&answer.staged_runs);
        (self.notes, self.format) = (answer.notes.clone(), answer.format.clone());
        (self.not_kept, self.ended) = (answer.not_kept, answer.ended.clone());
    }

    /// Whether the submitter of this one may correct rows of another: a token its own, a folder its own, and the operator
    /// of this machine any.
    pub(super) fn may_correct(&self, of: &Self) -> bool {
        match self.source.as_str() {
            "folder" => self.folder == of.folder,
            _ => self.token.is_none() || self.token == of.token,
        }
    }
}

/// A row that is kept.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeptRow {
    /// Its line.
    pub line: u64,
    /// Its cells, if it was a table's.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub cells: Vec<String>,
    /// The line, if it was NDJSON.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub text: String,
    /// When it was judged, POSIX seconds.
    #[serde(default)]
    pub at: u64,
    /// Its category, producing unit and business key, as far as it got.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub category: Option<String>,
    /// See `category`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unit: Option<String>,
    /// See `category`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    /// To what it replied itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reply: Option<String>,
    /// What was said of it.
    pub findings: Vec<Finding>,
}

impl KeptRow {
    /// A row as it came, judged now. What is longer than can be read back is kept by its beginning.
    pub fn new(
        line: u64,
        raw: &RawRow<'_>,
        findings: Vec<Finding>,
        key: Option<&RowKey>,
        reply: Option<&Reply>,
    ) -> Self {
        let mut room = KEPT_BYTES_MAX;
        let mut kept = |text: &str| {
            let mut end = text.len().min(room);
            while !text.is_char_boundary(end) {
                end -= 1;
            }
            room -= end;
            text[..end].to_owned()
        };
        let (cells, text) = match raw {
            RawRow::Line(l) => (Vec::new(), kept(&String::from_utf8_lossy(l))),
            RawRow::Cells(c) => (c.iter().map(|c| kept(c)).collect(), String::new()),
        };
        let part = |p: fn(&RowKey) -> &String| key.map(p).filter(|p| !p.is_empty()).cloned();
        Self {
            line,
            cells,
            text,
            at: tally_clock::now_ms() / 1_000,
            category: part(|k| &k.category),
            unit: part(|k| &k.unit),
            key: part(|k| &k.business_key),
            reply: reply.map(ToString::to_string),
            findings,
        }
    }
}

/// A row as it stands on the disk: what was said of it by its phrases. A program before this kept it word for word, as is
/// done still with what has no phrase.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct StoredRow {
    #[serde(flatten)]
    row: KeptRow,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    said: Vec<Said>,
}

impl StoredRow {
    pub(super) fn new(mut row: KeptRow, phrases: &mut PhraseBook) -> Self {
        let said: Option<Vec<Said>> = row.findings.iter().map(|f| phrases.say(f)).collect();
        match said {
            Some(said) => {
                row.findings = Vec::new();
                Self { row, said }
            }
            None => Self { row, said: Vec::new() },
        }
    }

    /// The row, with what was said of it in words.
    pub(super) fn worded(self, phrases: &Phrases) -> io::Result<KeptRow> {
        let Self { mut row, said } = self;
        for said in &said {
            row.findings.push(phrases.word(said).ok_or_else(|| io::Error::other("a phrase of the answer is missing"))?);
        }
        Ok(row)
    }
}
