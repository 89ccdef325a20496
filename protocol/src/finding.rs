//! What a rule found: the one form of it, from the rule that looked, over the wire and the index, to the screen.
//!
//! A [`Finding`] says what is wrong and what follows. It does not say where: whoever knows a line or a record puts that
//! beside it, in a type of its own.

use crate::findings_exchange::{MESSAGE_BYTES_MAX, cut};
use serde::{Deserialize, Serialize, Serializer, ser::SerializeStruct as _};

/// What follows from a broken rule, as the catalog says for each. The worse is the greater. The order is that of the encoding.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    /// 提示: it is told.
    Note,
    /// 疑问: the row is taken, and the producer must look at it (R-52).
    Question,
    /// 退回: the row is not taken.
    Reject,
}

impl Severity {
    /// As in JSON.
    pub fn name(self) -> &'static str {
        match self {
            Self::Note => "note",
            Self::Question => "question",
            Self::Reject => "reject",
        }
    }
}

/// One thing that is wrong with a record or a row.
///
/// Made by [`Finding::of`] alone, which bounds every text of it: whatever stands in a row, what is said of it is short.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[non_exhaustive]
pub struct Finding {
    /// Field; empty when the whole record is meant.
    pub field: String,
    /// Stable code.
    pub code: String,
    /// A stable name besides, such as `EXCLUDED_STATISTICS`.
    #[serde(default)]
    pub name: Option<String>,
    /// What follows.
    pub severity: Severity,
    /// What is wrong and what to do.
    pub message: String,
    /// The same in Chinese.
    pub message_zh: String,
}

/// JSON leaves out a name that is not there; the binary form has a place for every member.
impl Serialize for Finding {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let leaves_out_name = serializer.is_human_readable() && self.name.is_none();
        let mut out = serializer.serialize_struct("Finding", if leaves_out_name { 5 } else { 6 })?;
        out.serialize_field("field", &self.field)?;
        out.serialize_field("code", &self.code)?;
        if leaves_out_name {
            out.skip_field("name")?;
        } else {
            out.serialize_field("name", &self.name)?;
        }
        out.serialize_field("severity", &self.severity)?;
        out.serialize_field("message", &self.message)?;
        out.serialize_field("message_zh", &self.message_zh)?;
        out.end()
    }
}

/// Most bytes that a finding takes in memory, its five texts included: [`MESSAGE_BYTES_MAX`] is the longest of each.
pub const FINDING_BYTES_MAX: usize = size_of::<Finding>() + 5 * MESSAGE_BYTES_MAX;

impl Finding {
    /// The one way to make a finding. Each text is cut to [`MESSAGE_BYTES_MAX`] bytes; values of a row that a message
    /// repeats are shortened and tamed by whoever looked.
    pub fn of(
        severity: Severity,
        code: &str,
        field: &str,
        message: impl Into<String>,
        message_zh: impl Into<String>,
    ) -> Self {
        let bounded = |text: String| if text.len() > MESSAGE_BYTES_MAX { cut(&text) } else { text };
        Self {
            field: cut(field),
            code: cut(code),
            name: None,
            severity,
            message: bounded(message.into()),
            message_zh: bounded(message_zh.into()),
        }
    }

    /// Of a row that is not taken.
    pub fn reject(code: &str, field: &str, message: impl Into<String>, message_zh: impl Into<String>) -> Self {
        Self::of(Severity::Reject, code, field, message, message_zh)
    }

    /// The same with a stable name besides its code.
    #[must_use]
    pub fn named(self, name: &str) -> Self {
        Self { name: Some(cut(name)), ..self }
    }

    /// Bytes that it takes in memory.
    pub fn bytes(&self) -> usize {
        let texts = [&self.field, &self.code, &self.message, &self.message_zh];
        let texts: usize = texts.into_iter().chain(&self.name).map(String::len).sum();
        size_of::<Self>().saturating_add(texts)
    }

    /// The same with another severity.
    #[must_use]
    pub fn with_severity(self, severity: Severity) -> Self {
        Self { severity, ..self }
    }
}

/// A finding about one line of an input; its JSON is part of the contract of `tally ingest --json`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct AtLine {
    /// Line in the input, from 1; the row's number in a spreadsheet; 0: no line of it.
    pub line: u64,
    /// What was found.
    #[serde(flatten)]
    pub finding: Finding,
}

impl Finding {
    /// Says of which line it is.
    pub fn at_line(self, line: u64) -> AtLine {
        AtLine { line, finding: self }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec;

    #[test]
    fn no_text_of_a_finding_is_longer_than_a_message_may_be() {
        let long = "名".repeat(60_000);
        let found = Finding::reject(&long, &long, long.clone(), long.clone()).named(&long);
        for text in [&found.code, &found.field, &found.message, &found.message_zh, found.name.as_ref().unwrap()] {
            assert!(text.len() <= MESSAGE_BYTES_MAX && long.starts_with(text.as_str()), "{}", text.len());
        }
        assert!(found.bytes() <= FINDING_BYTES_MAX);
        let short = Finding::of(Severity::Note, "V001", "f", "en", "zh");
        assert_eq!((short.message.as_str(), short.name.as_deref()), ("en", None));
    }

    #[test]
    fn json_names_the_line_first_and_leaves_out_what_is_not_there() {
        let found = Finding::reject("V001", "f", "en", "zh").at_line(7);
        let json = r#"{"line":7,"field":"f","code":"V001","severity":"reject","message":"en","message_zh":"zh"}"#;
        assert_eq!(serde_json::to_string(&found).unwrap(), json);
        assert_eq!(serde_json::from_str::<Finding>(json).unwrap(), found.finding);
        let named = Finding { name: Some("EXCLUDED".to_owned()), ..found.finding };
        let json = serde_json::to_string(&named).unwrap();
        assert!(json.contains(r#""name":"EXCLUDED""#), "{json}");
        assert_eq!(serde_json::from_str::<Finding>(&json).unwrap(), named);
    }

    #[test]
    fn the_binary_form_has_every_member_and_severities_are_their_numbers() {
        let finding = |name: Option<&str>, severity| Finding {
            name: name.map(str::to_owned),
            ..Finding::reject("V001", "f", "en", "zh").with_severity(severity)
        };
        let bytes = |severity: u8| [b"\x01f\x04V001\0", &[severity][..], b"\x02en\x02zh"].concat();
        for (severity, number) in [(Severity::Note, 0), (Severity::Question, 1), (Severity::Reject, 2)] {
            assert_eq!(codec::encode(&finding(None, severity)), bytes(number));
        }
        for name in [None, Some("EXCLUDED")] {
            let found = finding(name, Severity::Question);
            assert_eq!(codec::decode::<Finding, 1_024>(&codec::encode(&found)), Ok(found));
        }
        assert!(codec::decode::<Finding, 1_024>(&bytes(3)).is_err());
    }
}
