//! Some rows on their way to a verdict: which of them are known, and what the others say.
//!
//! Whether a record is held, and what becomes of it, is not decided here.

use super::{
    IntakeHandle, SubmissionTerms,
    ahead::{CommonForm, first_places},
    known::{KnownPart, RowTag, TakenRow, Terms},
    terms::policy,
};
use crate::{DedupPolicy, JudgedRow, RowChunk, RowFate, RowOutcome};
use std::{collections::HashSet, sync::Arc};
use tally_protocol::finding::Severity;
use tally_store::index::SubjectMark;
use tokio::task::JoinHandle;

/// Bytes of what is said of the rows of one chunk: the rest of a chunk of which more is said is judged after it.
pub(super) const JUDGED_BYTES: usize = 2 << 20;

/// Rows with their verdicts, as far as they follow from the rows themselves.
pub(super) struct JudgedChunk {
    /// Those that are not known.
    pub(super) rows: RowChunk,
    /// Where they stood in the chunk.
    places: Vec<usize>,
    /// Rows that are known byte for byte.
    known: Option<KnownPart>,
    /// By which the others can be remembered.
    pub(super) tags: Vec<Tagged>,
    /// In their order.
    pub(super) judged: Vec<JudgedRow>,
    /// Rows that are to be judged after these: more was said of the chunk than may wait at once.
    pub(super) rest: RowChunk,
    /// What follows from what is held.
    pub(super) policy: DedupPolicy,
}

impl JudgedChunk {
    /// Rows that are known byte for byte.
    pub(super) fn known(&self) -> u64 {
        self.known.as_ref().map_or(0, |known| known.places.len() as u64)
    }

    /// The numbers of the records in it that are to be taken.
    pub(super) fn forms(&self) -> HashSet<CommonForm> {
        self.judged.iter().filter_map(form).collect()
    }

    /// Whether a row before a known one has its number: in the chunk itself, or among what came before it.
    pub(super) fn is_overtaken(&self, is_ahead: impl Fn(&CommonForm) -> bool) -> bool {
        let Some(known) = self.known.as_ref().filter(|known| !known.places.is_empty()) else { return false };
        let here = self.places.iter().zip(&self.judged).filter_map(|(place, row)| Some((*place, form(row)?)));
        let first = first_places(here);
        let before = |(place, f): (&usize, &CommonForm)| first.get(f).is_some_and(|first| first < place) || is_ahead(f);
        known.places.iter().zip(&known.forms).any(before)
    }

    /// All rows of the chunk as they came, to be judged anew.
    pub(super) fn into_rows(self) -> RowChunk {
        let rows = match self.known {
            Some(known) => self.rows.put_back(&self.places, known.rows, &known.places),
            None => self.rows,
        };
        rows.followed_by(self.rest)
    }
}

/// The number of a row's record.
fn form(row: &JudgedRow) -> Option<CommonForm> {
    Some(row.record.as_ref()?.content.forms().common())
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
        let (all, mut known, mut tags) = (rows.len(), None, Vec::new());
        if let Some(index) = &held {
            let (part, left) = known_rows.take_off(&Terms { context, own, policy }, index, &mut rows);
            (known, tags) = (Some(part), left);
        }
        let mut places = left_places(all, known.as_ref());
        // Before they are judged: a subject that is renamed meanwhile is not remembered as it was.
        let era = held.as_ref().map(|index| index.subject_mark()).unwrap_or_default();
        let judged = rows.judged_within(&context, JUDGED_BYTES);
        let mut rest = rows.split_off(judged.len());
        let rest_places = places.split_off(judged.len().min(places.len()));
        // Known rows behind the first that is judged later come with it, so that it stays before them.
        if let (Some(known), Some(first)) = (&mut known, rest_places.first()) {
            let behind = known.split_off(*first);
            rest = rest.put_back(&rest_places, behind.rows, &behind.places);
        }
        let subject = |row: &JudgedRow| Some(row.record.as_ref()?.subject.as_ref()?.0.clone());
        let tagged = |(tag, row)| Tagged { tag, subject: era.of(subject(row).as_deref()) };
        let tags = tags.into_iter().zip(&judged).map(tagged).collect();
        JudgedChunk { rows, places, known, tags, judged, rest, policy }
    })
}

/// Places of the rows of a chunk that are not known.
fn left_places(all: usize, known: Option<&KnownPart>) -> Vec<usize> {
    let mut known = known.map_or(&[][..], |part| &part.places).iter().peekable();
    (0..all).filter(|place| known.next_if_eq(&place).is_none()).collect()
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

    /// F7: a row before a known one, in its chunk or on its way, may change what is to be said of it.
    #[test]
    fn a_known_row_is_overtaken_by_one_of_its_number_before_it() {
        let number = form(&judged_row()).unwrap();
        let line = |place: usize| RowChunk::Lines(vec![(place as u64, Vec::new())]);
        // A row that is to be taken, a known one, and one that is judged after them.
        let chunk = |new: usize, known: usize, of: CommonForm| JudgedChunk {
            rows: line(new),
            places: vec![new],
            known: Some(KnownPart { rows: line(known), places: vec![known], forms: vec![of] }),
            tags: Vec::new(),
            judged: vec![judged_row()],
            rest: line(9),
            policy: DedupPolicy::default(),
        };
        assert!(chunk(0, 1, number).is_overtaken(|_| false));
        assert!(!chunk(1, 0, number).is_overtaken(|_| false), "what stands behind it is nothing to it");
        assert!(!chunk(0, 1, [0; 16]).is_overtaken(|_| false), "another number");
        assert!(chunk(1, 0, number).is_overtaken(|form| *form == number), "it is on its way");
        for (new, known) in [(0, 1), (1, 0)] {
            let RowChunk::Lines(lines) = chunk(new, known, number).into_rows() else { panic!("lines") };
            assert_eq!(lines.iter().map(|(n, _)| *n).collect::<Vec<_>>(), [0, 1, 9]);
        }
        // What is judged later takes the known rows behind it along.
        let mut known = KnownPart { rows: line(2).followed_by(line(5)), places: vec![2, 5], forms: vec![number; 2] };
        let behind = known.split_off(4);
        assert_eq!((known.places, behind.places, behind.rows.line(0)), (vec![2], vec![5], 5));
        assert_eq!(left_places(4, None), [0, 1, 2, 3]);
        let known = KnownPart { rows: line(1), places: vec![1, 2], forms: vec![number; 2] };
        assert_eq!(left_places(4, Some(&known)), [0, 3]);
    }
}
