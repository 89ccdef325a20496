//! What is said about a row.

use serde::Serialize;
use std::borrow::Cow;
use tally_topology::{catalog::Severity, judge};

/// One thing said about one row; its JSON is part of the contract of `tally ingest --json`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct Finding {
    /// Line in the input, from 1; the row's number in a spreadsheet.
    pub line: u64,
    /// Field, or empty when the whole row is meant.
    pub field: String,
    /// Stable code.
    #[schema(value_type = String)]
    pub code: Cow<'static, str>,
    /// A stable name besides.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// What follows.
    #[schema(value_type = String, example = "reject")]
    pub severity: Severity,
    /// What is wrong and what to do.
    pub message: String,
    /// The same in Chinese.
    pub message_zh: String,
}

impl Finding {
    /// A row that is not taken.
    pub fn reject(
        line: u64,
        code: &'static str,
        field: &str,
        message: impl Into<String>,
        message_zh: impl Into<String>,
    ) -> Self {
        Self {
            line,
            field: field.to_owned(),
            code: code.into(),
            name: None,
            severity: Severity::Reject,
            message: message.into(),
            message_zh: message_zh.into(),
        }
    }

    /// What a rule of the catalog found.
    pub fn of(line: u64, found: judge::Finding) -> Self {
        let judge::Finding { field, code, name, severity, message, message_zh } = found;
        Self { line, field, code: code.into(), name, severity, message, message_zh }
    }
}
