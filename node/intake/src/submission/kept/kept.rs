//! What is kept of an answer and of its rows, as it stands on the disk and in the API.

use crate::Noted;
use serde::{Deserialize, Serialize};
use tally_protocol::finding::Finding;

/// An answer that is kept, without its rows.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Meta {
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
    /// The client's own key for this submission.
    #[serde(default)]
    pub idempotency_key: Option<String>,
    /// Counts.
    #[serde(default)]
    pub read: u64,
    /// See [`crate::Answer`].
    #[serde(default)]
    pub accepted: u64,
    /// See [`crate::Answer`].
    #[serde(default)]
    pub duplicate: u64,
    /// See [`crate::Answer`].
    #[serde(default)]
    pub rejected: u64,
    /// See [`crate::Answer`].
    #[serde(default)]
    pub questions: u64,
    /// See [`crate::Answer`].
    #[serde(default)]
    pub log: String,
    /// See [`crate::Answer`].
    #[serde(default)]
    pub from: Option<u64>,
    /// See [`crate::Answer`].
    #[serde(default)]
    pub to: Option<u64>,
    /// See [`crate::Answer`].
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<Noted>,
    /// See [`crate::Answer`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub format: Option<String>,
}

impl Meta {
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
