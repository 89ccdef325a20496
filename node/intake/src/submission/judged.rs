//! Some rows on their way to a verdict: which of them are known, and what the others say.
//!
//! Whether a record is held, and what becomes of it, is not decided here.

use super::{
    IntakeHandle, SubmissionTerms,
    known::{RowTag, TakenRow, Terms},
    terms::policy,
};
use crate::{DedupPolicy, JudgedRow, RowChunk, RowFate, RowOutcome};
use std::sync::Arc;
use tally_protocol::finding::Severity;
use tally_store::index::SubjectMark;
use tokio::task::JoinHandle;

/// Bytes of what is said of the rows of one chunk: the rest of a chunk of which more is said is judged after it.
pub(super) const JUDGED_BYTES: usize = 2 << 20;

/// Rows with their verdicts, as far as they follow from the rows themselves.
pub(super) struct JudgedChunk {
    /// Those that are not known.
    pub(super) rows: RowChunk,
    /// Rows that are known byte for byte.
    pub(super) known: u64,
    /// By which the others can be remembered.
    pub(super) tags: Vec<Tagged>,
    /// In their order.
    pub(super) judged: Vec<JudgedRow>,
    /// Rows that are to be judged after these: more was said of the chunk than may wait at once.
    pub(super) rest: RowChunk,
    /// What follows from what is held.
    pub(super) policy: DedupPolicy,
}

/// By what a row can be remembered.
#[derive(Default)]
pub(super) struct Tagged {
    /// `None`: not at all.
    tag: Option<RowTag>,
    subject: SubjectMark,
}

impl Tagged {
    /// The row as one that may be known next time, and whether its place is known already: it is in the own log, and nothing is
    /// said of it, not even that something was brought into form. What the rules note of a row they note once, when it is taken;
    /// what is noted by what is held is told each time.
    pub(super) fn taken(self, row: &JudgedRow, outcome: &RowOutcome) -> Option<(TakenRow, bool)> {
        let (tag, id) = (self.tag?, row.id?);
        let is_asked = row.findings.iter().any(|f| f.severity > Severity::Note) || !outcome.findings.is_empty();
        if is_asked || !row.changes.is_empty() || row.reply.is_some() {
            return None;
        }
        let (index, is_placed) = match outcome.fate {
            RowFate::Accepted { index } => (index, true),
            RowFate::Duplicate { held } if held == id => (0, false),
            RowFate::Duplicate { .. } | RowFate::Superseded { .. } | RowFate::Staged | RowFate::Rejected => {
                return None;
            }
        };
        Some((TakenRow { tag, index, id, subject: self.subject }, is_placed))
    }
}

/// Judges rows on a thread, as many as may wait at once; those that are known byte for byte are only counted, if they may be.
pub(super) fn judge(
    intake: &IntakeHandle,
    terms: &Arc<SubmissionTerms>,
    mut rows: RowChunk,
    may_be_known: bool,
) -> JoinHandle<JudgedChunk> {
    let (in_force, terms, me) = (intake.charter.clone(), terms.clone(), intake.own.division);
    let base_is_complete = intake.base_is_complete;
    let held = intake.batcher.held().filter(|_| may_be_known);
    let (known_rows, own) = (intake.known.clone(), intake.own);
    tokio::task::spawn_blocking(move || {
        let charter = in_force.charter();
        let charter = charter.charter();
        let (context, policy) = (terms.row_context(charter, me), policy(charter, base_is_complete));
        let (mut known, mut tags) = (0, Vec::new());
        if let Some(index) = &held {
            (known, tags) = known_rows.take_off(&Terms { context, own, policy }, index, &mut rows);
        }
        // Before they are judged: a subject that is renamed meanwhile is not remembered as it was.
        let era = held.as_ref().map(|index| index.subject_mark()).unwrap_or_default();
        let judged = rows.judged_within(&context, JUDGED_BYTES);
        let rest = rows.split_off(judged.len());
        let subject = |row: &JudgedRow| Some(row.record.as_ref()?.subject.as_ref()?.0.clone());
        let tagged = |(tag, row)| Tagged { tag, subject: era.of(subject(row).as_deref()) };
        let tags = tags.into_iter().zip(&judged).map(tagged).collect();
        JudgedChunk { rows, known, tags, judged, rest, policy }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{HeldFinding, submission::tests::judged_row};

    /// F8: a note by what is held is told each time that the row comes, so the row is read each time.
    #[test]
    fn a_row_is_remembered_only_if_nothing_is_said_by_what_is_held() {
        let row = judged_row();
        let held = row.id.unwrap();
        let taken = |fate: RowFate, findings: &[(HeldFinding, Severity)]| {
            let tagged = Tagged { tag: Some(RowTag::default()), subject: SubjectMark::default() };
            tagged.taken(&row, &RowOutcome { fate, findings: findings.to_vec() }).map(|(_, is_placed)| is_placed)
        };
        assert_eq!(taken(RowFate::Accepted { index: 1 }, &[]), Some(true));
        assert_eq!(taken(RowFate::Duplicate { held }, &[]), Some(false));
        for severity in [Severity::Note, Severity::Question] {
            for found in [HeldFinding::OtherName("x".into()), HeldFinding::NoSubject, HeldFinding::OtherForm(held)] {
                assert_eq!(taken(RowFate::Duplicate { held }, &[(found.clone(), severity)]), None, "{found:?}");
                assert_eq!(taken(RowFate::Accepted { index: 1 }, &[(found, severity)]), None);
            }
        }
    }
}
