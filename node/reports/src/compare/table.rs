//! The current version of every business key of a unit and category, in one sorted table.
use super::{CompareError, CompareTerms, ROWS_MAX};
use std::{collections::BTreeMap, ops::ControlFlow};
use tally_protocol::ids::LogId;
use tally_store::index::{Engine, InForce, IndexEntry, walk};
use tally_topology::charter::Charter;
use tally_topology::content::Operation;

/// How the file's last row of a business key stands to what is held of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum RowState {
    /// There is none.
    Unseen,
    /// It says the same.
    Same,
    /// It says something else.
    Other,
    /// It is not in order, so nobody knows.
    Unclear,
}

/// What is held of one business key. 64 bytes.
#[derive(Debug, Clone, Copy)]
pub(super) struct HeldVersion {
    /// Hash of the business key.
    pub(super) key: [u8; 16],
    /// Hash of the content.
    pub(super) content: [u8; 16],
    /// Index in the log.
    pub(super) index: u64,
    /// Where the file's row lies in the spool; only in [`RowState::Other`].
    pub(super) place: u64,
    /// Line of the file's row; 0: none.
    pub(super) line: u32,
    /// Which log: its place in [`HeldTable::log`].
    pub(super) log: u32,
    /// What the file says.
    pub(super) state: RowState,
    /// The current version is a withdrawal: nothing is held any more.
    pub(super) withdrawn: bool,
    /// It counts for the division that is compared.
    pub(super) in_scope: bool,
}

/// All of them, by key.
#[derive(Debug, Default)]
pub(super) struct HeldTable {
    rows: Vec<HeldVersion>,
    logs: Vec<LogId>,
}

impl HeldTable {
    /// Gathers them in one walk through the index.
    ///
    /// # Errors
    /// [`CompareError::Index`], [`CompareError::TooManyHeld`].
    pub(super) fn gather(engine: &dyn Engine, charter: &Charter, terms: &CompareTerms) -> Result<Self, CompareError> {
        let mut table = Self::default();
        let (mut numbers, mut scopes) = (BTreeMap::new(), BTreeMap::new());
        let in_force = InForce::as_of_now(engine, charter)?;
        walk(&in_force, |id, _, e| {
            if e.dimensions.category != terms.category || e.dimensions.unit != terms.unit {
                return Ok(ControlFlow::Continue(()));
            }
            // What counts, as in an export; a withdrawal too.
            let standing = in_force.standing(&e.content.key)?;
            let Some(first) = standing.first().filter(|v| v.version.id == id) else {
                return Ok(ControlFlow::Continue(()));
            };
            if table.rows.len() > ROWS_MAX {
                return Ok(ControlFlow::Break(()));
            }
            let (log, e) = (first.log, &first.entry);
            let number = *numbers.entry(log).or_insert_with(|| {
                table.logs.push(log);
                table.logs.len() as u32 - 1
            });
            let code = e.dimensions.division;
            let in_scope = *scopes.entry(code).or_insert_with(|| terms.covers(charter, code));
            table.add(e, number, in_scope);
            Ok(ControlFlow::Continue(()))
        })?;
        if table.rows.len() > ROWS_MAX {
            return Err(CompareError::TooManyHeld);
        }
        table.rows.sort_unstable_by_key(|h| h.key);
        Ok(table)
    }

    fn add(&mut self, e: &IndexEntry, log: u32, in_scope: bool) {
        // Not doubled: half of that would stay empty.
        if self.rows.len() == self.rows.capacity() {
            self.rows.reserve_exact(self.rows.len() / 4 + 1_024);
        }
        self.rows.push(HeldVersion {
            key: e.content.key,
            content: e.content.content,
            index: e.index,
            place: 0,
            line: 0,
            log,
            state: RowState::Unseen,
            withdrawn: e.content.operation == Operation::Withdraw,
            in_scope,
        });
    }

    /// Where a business key stands.
    pub(super) fn find(&self, key: &[u8; 16]) -> Option<usize> {
        self.rows.binary_search_by(|h| h.key.cmp(key)).ok()
    }

    pub(super) fn get(&self, at: usize) -> Option<&HeldVersion> {
        self.rows.get(at)
    }

    pub(super) fn get_mut(&mut self, at: usize) -> Option<&mut HeldVersion> {
        self.rows.get_mut(at)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &HeldVersion> {
        self.rows.iter()
    }

    /// The log that a record stands in.
    pub(super) fn log(&self, h: &HeldVersion) -> Option<LogId> {
        self.logs.get(h.log as usize).copied()
    }

    /// Places of records that are held and not in the file, in the order of the logs. 4 bytes each.
    pub(super) fn unknown(&self) -> Vec<u32> {
        let mut places: Vec<u32> = (0..).zip(&self.rows).filter(|(_, h)| h.is_unknown()).map(|(i, _)| i).collect();
        self.sort(&mut places);
        places
    }

    /// Sorts places by where the records stand in their logs.
    pub(super) fn sort(&self, places: &mut [u32]) {
        places.sort_unstable_by_key(|i| self.rows.get(*i as usize).map(|h| (self.log(h), h.index)));
    }
}

impl HeldVersion {
    /// Held, and not in the file.
    pub(super) fn is_unknown(&self) -> bool {
        self.state == RowState::Unseen && !self.withdrawn && self.in_scope
    }

    /// Held, with other content in the file.
    pub(super) fn is_different(&self) -> bool {
        self.state == RowState::Other && !self.withdrawn
    }
}

#[cfg(test)]
mod tests {
    use super::{super::tests::*, *};
    use tally_protocol::record::RecordId;

    fn entry(key: u8, content: u8, operation: Operation, division: u32) -> IndexEntry {
        // Of whenever it says to have been sealed.
        let mut e =
            IndexEntry { index: u64::from(content), sealed_at: 99 - u64::from(content), ..IndexEntry::default() };
        (e.content.operation, e.content.key, e.content.content) = (operation, [key; 16], [content; 16]);
        (e.dimensions.category, e.dimensions.unit, e.dimensions.division) =
            ("spot_check".into(), UNIT.into(), division);
        e
    }

    #[test]
    fn a_row_takes_64_bytes() {
        assert_eq!(size_of::<HeldVersion>(), 64);
    }

    #[test]
    fn what_is_in_force_counts_and_a_late_second_path_revives_nothing() {
        let memory = Memory::default();
        let county = "350102/e1".parse().unwrap();
        let put = |n: u8, e: &IndexEntry, log: LogId| memory.put(RecordId::of(&[n]), log, e);
        put(1, &entry(1, 1, Operation::Create, 350_102), county);
        put(2, &entry(1, 2, Operation::Amend, 350_102), county);
        put(1, &entry(1, 1, Operation::Create, 350_102), "350100/e1".parse().unwrap());
        put(3, &entry(2, 3, Operation::Create, 350_103), "350103/e1".parse().unwrap());
        put(4, &entry(3, 4, Operation::Create, 350_102), county);
        put(5, &entry(3, 5, Operation::Withdraw, 350_102), county);
        // A log that may not submit for the county.
        put(7, &entry(1, 7, Operation::Withdraw, 350_102), "350103/e1".parse().unwrap());
        let mut other = entry(4, 6, Operation::Create, 350_102);
        other.dimensions.unit = "another".into();
        put(6, &other, county);
        let charter = charter();
        let terms = CompareTerms { division: Some("350102".parse().unwrap()), ..terms() };
        let table = HeldTable::gather(&memory, charter.charter(), &terms).unwrap();
        let seen: Vec<_> = table.iter().map(|h| (h.key[0], h.content[0], h.withdrawn, h.in_scope)).collect();
        assert_eq!(seen, [(1, 2, false, true), (2, 3, false, false), (3, 5, true, true)]);
        assert_eq!((table.find(&[3; 16]), table.find(&[4; 16])), (Some(2), None));
        assert_eq!(table.unknown(), [0], "a withdrawn one and one of another division are not missed");
        let all = CompareTerms { division: Some("350100".parse().unwrap()), ..terms };
        assert_eq!(HeldTable::gather(&memory, charter.charter(), &all).unwrap().unknown(), [0, 1]);
    }
}
