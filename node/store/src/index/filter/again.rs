//! Records that come again as they were: whether all that would be said of each is what was said when nothing was: nothing.
//!
//! Asked for many at once, by their places in the own log. A "no" is no verdict: whoever asks then looks at the row itself.

use super::{DedupIndex, OTHER_TEXT, OtherText, lock};
use crate::index::{Effect, EngineError, InForce, IndexEntry, positions};
use std::{collections::HashSet, sync::atomic::Ordering};
use tally_protocol::{ids::LogId, record::RecordId};
use tally_topology::content::Operation;

/// Subjects with another name that are told one by one: 4 bytes each, some 1 MiB.
const RENAMED_MAX: usize = 1 << 17;

/// Of which subject a row was when nothing was to be said of it, and when that was.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct SubjectMark {
    /// Beginning of the hash of its code; 0: the row has none that counts.
    code: u32,
    /// How often the list of renamed subjects had been begun anew.
    era: u32,
}

impl SubjectMark {
    /// The mark of the subject with this code, as of when this one was taken.
    #[must_use]
    pub fn of(self, code: Option<&str>) -> Self {
        Self { code: code.map_or(0, code_of), ..self }
    }
}

/// Subjects that were registered, or registered by another name, since this era began.
#[derive(Debug, Default)]
pub(super) struct Renamed {
    era: u32,
    codes: HashSet<u32>,
}

fn code_of(code: &str) -> u32 {
    let [a, b, c, d, ..] = *blake3::hash(code.as_bytes()).as_bytes();
    u32::from_le_bytes([a, b, c, d]).max(1)
}

impl DedupIndex {
    /// A mark to be taken before rows are judged, of no subject yet.
    pub fn subject_mark(&self) -> SubjectMark {
        SubjectMark { code: 0, era: lock(&self.renamed).era }
    }

    /// Where a log holds a record, if that is known: asked for many in the order in which they stand, each is found beside the one
    /// before.
    pub fn index_of(&self, log: LogId, id: &RecordId) -> Option<u64> {
        let mut beside = lock(&self.beside_again);
        let next = beside.next(&*self.engine).ok()?.filter(|(of, held, _)| (*of, held) == (log, id));
        let index = match next.map(|(.., e)| e.index) {
            Some(index) => index,
            None => positions::of_record_in(&*self.engine, *id, log).ok()??.index,
        };
        beside.found((log, index));
        Some(index)
    }

    /// What the registrations say of a subject is not what they said.
    pub(in crate::index) fn renamed(&self, code: &str) {
        if lock(&self.renamed).codes.len() >= RENAMED_MAX {
            self.all_renamed();
        }
        lock(&self.renamed).codes.insert(code_of(code));
    }

    /// Whoever was marked before is looked at as ever.
    pub(super) fn all_renamed(&self) {
        let mut renamed = lock(&self.renamed);
        *renamed = Renamed { era: renamed.era.wrapping_add(1), codes: HashSet::new() };
    }

    /// Of records of `log`, each given by its index, the beginning of its id and its subject, those of which a row that comes again
    /// is a duplicate and nothing else is to be said: held, the only version of its number in whatever form, in force, and its
    /// subject called as before. In their order, of each the hash of its number's form; while the index is not whole, none.
    ///
    /// # Errors
    /// The engine's.
    pub fn stand(
        &self,
        log: LogId,
        asked: &[(u64, [u8; 3], SubjectMark)],
    ) -> Result<Vec<Option<[u8; 16]>>, EngineError> {
        let mut stand = vec![None; asked.len()];
        if !self.complete.load(Ordering::Acquire) || !self.whole.load(Ordering::Acquire) {
            return Ok(stand);
        }
        let mut wanted: Vec<_> = asked.iter().map(|(index, ..)| (log, *index)).collect();
        wanted.sort_unstable();
        wanted.dedup();
        let mut held = Vec::with_capacity(wanted.len());
        positions::at_each(&*self.engine, &wanted, |_, id, e| held.push((id, e)))?;
        let signed = self.charter.charter();
        let in_force = InForce::new(&*self.engine, signed.charter());
        for (stands, (index, beginning, subject)) in stand.iter_mut().zip(asked) {
            let Ok(at) = held.binary_search_by_key(index, |(_, e)| e.index) else { continue };
            let Some((id, e)) = held.get(at).filter(|(id, _)| id.0.0.starts_with(beginning)) else { continue };
            let as_before = !self.is_lost(log, *index)
                && self.is_called_as_before(*subject)
                && self.is_alone(e)
                && is_in_force(&in_force, log, *id, e)?;
            *stands = as_before.then(|| e.content.forms().common());
        }
        Ok(stand)
    }

    fn is_called_as_before(&self, subject: SubjectMark) -> bool {
        let renamed = lock(&self.renamed);
        subject.code == 0 || subject.era == renamed.era && !renamed.codes.contains(&subject.code)
    }

    /// Whether nothing else is held, or on its way, of the record's number, in whatever form.
    fn is_alone(&self, e: &IndexEntry) -> bool {
        let forms = e.content.forms();
        let common = OtherText(forms.common(), OTHER_TEXT);
        let waits = {
            let pending = lock(&self.pending);
            pending.keys.contains_key(&forms.key)
                || pending.forms.contains_key(&forms.common())
                || forms.form.is_some_and(|key| pending.keys.contains_key(&key))
        };
        let several = || lock(&self.several);
        !waits
            && !several().contains(&forms.key)
            && match forms.form {
                // Its text is not the form itself: no other text has the form, nor is it a text.
                Some(key) => !several().contains(&common) && !lock(&self.keys).contains(&key),
                None => !lock(&self.keys).contains(&common),
            }
    }
}

/// Whether an original counts that is the only version of its key.
fn is_in_force(in_force: &InForce<'_>, log: LogId, id: RecordId, e: &IndexEntry) -> Result<bool, EngineError> {
    let original = e.content.operation == Operation::Create && e.content.amends.is_none();
    // What has no day is judged by that of today, and its place may be another tomorrow.
    let has_day = e.dimensions.produced_on > 0;
    Ok(original && has_day && in_force.only_version(log, id, e)?.effect == Effect::InForce)
}
