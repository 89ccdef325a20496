//! What a node above found wrong with records of a node below: asked for by the child over an exchange of its own, page by
//! page, each answer a frame. They are reports, not proofs: nothing is stored or changed because of them but themselves.

#![warn(clippy::indexing_slicing, clippy::arithmetic_side_effects)]

use crate::{
    codec::{self, CodecError},
    finding::Finding,
    ids::{Division, LogId},
    record::RecordId,
    tame::tame,
};
use serde::{Deserialize, Serialize};

/// Largest frame of either side, in bytes.
pub const PAGE_BYTES_MAX: usize = 256 << 10;
/// Most reports of one answer.
pub const REPORTS_MAX: usize = 500;
/// Most places from which reports are asked for: one of each holder and log.
pub const CURSORS_MAX: usize = 4_096;
/// Longest text of a message, in bytes; longer ones are cut.
pub const MESSAGE_BYTES_MAX: usize = 1_024;
/// Most findings of one report.
pub const FINDINGS_MAX: usize = 16;

/// From where on reports are wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct FindingsCursor {
    /// Who judged.
    pub holder: Division,
    /// On which log.
    pub log: LogId,
    /// The first index that is wanted.
    pub from: u64,
}

/// A child's question.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct FindingsQuery {
    /// What the child has already; of holders and logs that are not named, everything is wanted.
    pub cursors: Vec<FindingsCursor>,
}

/// What was found about one record.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FindingsReport {
    /// Who judged.
    pub holder: Division,
    /// The record's log.
    pub log: LogId,
    /// Its index.
    pub index: u64,
    /// Its id.
    pub id: RecordId,
    /// What was found.
    pub findings: Vec<Finding>,
}

/// A parent's answer.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct FindingsPage {
    /// In the order of holder, log and index.
    pub reports: Vec<FindingsReport>,
    /// There are more.
    pub more: bool,
}

impl FindingsQuery {
    /// The frame.
    pub fn encode(&self) -> Vec<u8> {
        codec::encode(self)
    }

    /// Reads a frame.
    ///
    /// # Errors
    /// [`CodecError`]; more than [`CURSORS_MAX`] cursors are malformed.
    pub fn decode(bytes: &[u8]) -> Result<Self, CodecError> {
        let ask = codec::decode::<Self, PAGE_BYTES_MAX>(bytes)?;
        bounded(ask.cursors.len(), CURSORS_MAX).map(|()| ask)
    }
}

impl FindingsPage {
    /// The frame.
    pub fn encode(&self) -> Vec<u8> {
        codec::encode(self)
    }

    /// Reads a frame.
    ///
    /// # Errors
    /// [`CodecError`]; more than is allowed of anything is malformed.
    pub fn decode(bytes: &[u8]) -> Result<Self, CodecError> {
        let mut answer = codec::decode::<Self, PAGE_BYTES_MAX>(bytes)?;
        bounded(answer.reports.len(), REPORTS_MAX)?;
        for v in &mut answer.reports {
            bounded(v.findings.len(), FINDINGS_MAX)?;
            for f in &v.findings {
                let longest = [&f.field, &f.code, &f.message, &f.message_zh];
                let longest = longest.into_iter().chain(f.name.as_ref()).map(String::len).max();
                bounded(longest.unwrap_or(0), MESSAGE_BYTES_MAX)?;
            }
            // People read it; names and codes are compared with nothing that was signed.
            for f in &mut v.findings {
                let texts = [&mut f.field, &mut f.code, &mut f.message, &mut f.message_zh];
                for text in texts.into_iter().chain(f.name.as_mut()) {
                    *text = cut(&tame(text));
                }
            }
        }
        Ok(answer)
    }
}

fn bounded(found: usize, most: usize) -> Result<(), CodecError> {
    if found > most { Err(CodecError::Malformed(format!("{found}, at most {most} are allowed"))) } else { Ok(()) }
}

/// As much of a text as a message may have.
pub fn cut(text: &str) -> String {
    crate::bounded::cut(text, MESSAGE_BYTES_MAX).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hash::Hash;

    #[test]
    fn frames_are_read_back_and_bounded() {
        let log: LogId = "350102/e1".parse().unwrap();
        let holder = Division::try_from(350_100).unwrap();
        let ask = FindingsQuery { cursors: vec![FindingsCursor { holder, log, from: 7 }] };
        assert_eq!(FindingsQuery::decode(&ask.encode()), Ok(ask.clone()));
        let text = |n: usize| "名".repeat(n);
        // Longer than one that is made here can be: so a peer may send it.
        let finding = |message: String| Finding { message, ..Finding::reject("V017", "f", "", "") };
        let id = RecordId(Hash([1; 32]));
        let verdict = |message: String| FindingsReport { holder, log, index: 1, id, findings: vec![finding(message)] };
        let answer = FindingsPage { reports: vec![verdict(cut(&text(1_000)))], more: true };
        assert_eq!(FindingsPage::decode(&answer.encode()), Ok(answer));
        let wild = FindingsPage { reports: vec![verdict("a\n\u{1b}[2J".into())], more: false };
        let read = FindingsPage::decode(&wild.encode()).unwrap();
        assert_eq!(read.reports[0].findings[0].message, "a\\n\\u001b[2J");
        let long = FindingsPage { reports: vec![verdict(text(1_000))], more: false };
        assert!(FindingsPage::decode(&long.encode()).is_err());
        let many = FindingsQuery { cursors: vec![ask.cursors[0]; CURSORS_MAX + 1] };
        assert!(FindingsQuery::decode(&many.encode()).is_err() && FindingsQuery::decode(b"\xff\xff\xff").is_err());
    }
}
