//! The department's rows, looked up among what is held.
use super::{
    CompareError, CompareTerms,
    sink::JudgedFileRow,
    spool::{RowSpool, SpooledRow},
    table::{HeldTable, RowState},
};
use std::{
    collections::{HashMap, VecDeque},
    path::Path,
    sync::{Arc, atomic::AtomicBool},
};
use tally_intake::{CheckedRecord, InputError, InputNote, ListedErrors, SubmissionTerms};
use tally_protocol::{
    canonical::Object,
    finding::{AtLine, Finding, Severity},
    ids::Division,
};
use tally_store::index::Engine;
use tally_topology::{
    content::{Dimensions, Operation},
    judge::shown,
    signed::SignedCharter,
};
use tokio::task::JoinHandle;

/// [`NewKey::place`] of a row that withdraws what is not held.
const NOWHERE: u64 = u64::MAX;

/// The node that compares.
#[derive(Debug)]
pub struct CompareInputs<'n> {
    /// The index, which has caught up.
    pub engine: &'n dyn Engine,
    /// The charter in force.
    pub charter: Arc<SignedCharter>,
    /// Its division.
    pub me: Division,
    /// The disk is nearly full.
    pub full: Arc<AtomicBool>,
    /// A folder for the rows that differ.
    pub spool: &'n Path,
}

/// A business key of the file of which nothing was ever held.
#[derive(Debug, Clone, Copy)]
pub(super) struct NewKey {
    pub(super) place: u64,
    line: u32,
}

/// What is said about rows; bounded.
#[derive(Debug, Default)]
pub(super) struct RowErrors {
    pub(super) listed: ListedErrors,
    /// What is meant by them, in rows or records.
    pub(super) meant: u64,
}

impl RowErrors {
    pub(super) fn say(&mut self, finding: AtLine) {
        self.say_of(1, finding);
    }

    /// Says the same of several at once.
    pub(super) fn say_of(&mut self, meant: u64, finding: AtLine) {
        self.meant += meant;
        self.listed.say(finding.line, &finding.finding);
    }
}

/// How many rows were what.
#[derive(Debug, Default)]
pub(super) struct RowCounts {
    pub(super) read: u64,
    /// Not in order, or not of what is compared.
    pub(super) rejected: u64,
    /// Followed by another row of the same business key, which counts.
    pub(super) repeated: u64,
    /// Not in order in such a way that nobody knows which record they are.
    pub(super) unplaced: u64,
}

/// A comparison under way: a sink for the file's rows.
#[derive(Debug)]
pub struct Comparison {
    pub(super) terms: CompareTerms,
    pub(super) charter: Arc<SignedCharter>,
    pub(super) table: HeldTable,
    pub(super) fresh: HashMap<[u8; 16], NewKey>,
    pub(super) spool: RowSpool,
    pub(super) counts: RowCounts,
    pub(super) errors: RowErrors,
    pub(super) notes: Vec<InputNote>,
    pub(super) format: Option<String>,
    pub(super) me: Division,
    pub(super) full: Arc<AtomicBool>,
    pub(super) row_terms: Arc<SubmissionTerms>,
    pub(super) judging: VecDeque<JoinHandle<Vec<JudgedFileRow>>>,
}

impl Comparison {
    /// Gathers what is held; the file's rows may then come. Blocking.
    ///
    /// # Errors
    /// [`CompareError`].
    pub fn open(node: CompareInputs<'_>, terms: CompareTerms) -> Result<Self, CompareError> {
        let CompareInputs { engine, charter, me, full, spool } = node;
        let table = HeldTable::gather(engine, charter.charter(), &terms)?;
        Ok(Self {
            row_terms: Arc::new(terms.row_terms()),
            terms,
            charter,
            table,
            fresh: HashMap::new(),
            spool: RowSpool::new(spool)?,
            counts: RowCounts::default(),
            errors: RowErrors::default(),
            notes: Vec::new(),
            format: None,
            me,
            full,
            judging: VecDeque::new(),
        })
    }

    /// There are no more rows: every one is looked up after this.
    ///
    /// # Errors
    /// [`InputError`].
    pub async fn finish(&mut self) -> Result<(), InputError> {
        while !self.judging.is_empty() {
            self.settle().await?;
        }
        Ok(self.spool.flush().await?)
    }

    /// The oldest judged chunk is looked up.
    pub(super) async fn settle(&mut self) -> Result<(), InputError> {
        let Some(judging) = self.judging.pop_front() else { return Ok(()) };
        for row in judging.await.map_err(|_| InputError::stopping())? {
            match row {
                JudgedFileRow::Checked(line, checked) => match self.outside(&checked) {
                    Some(finding) => self.reject(line, vec![finding]),
                    None => self.place(line, &checked),
                },
                JudgedFileRow::Bad { line, key, known, findings } => self.unclear(line, key, known, findings),
            }
        }
        Ok(self.spool.write_full().await?)
    }

    /// Why a row is not of what is compared.
    fn outside(&self, checked: &CheckedRecord) -> Option<Finding> {
        // The key is that of the unit and category; what is held of the division and has moved elsewhere differs.
        let held = self.table.find(&checked.content.key).and_then(|at| self.table.get(at));
        if held.is_some_and(|h| h.in_scope) {
            return None;
        }
        let counts = Object::parse(checked.record.bytes()).map(|o| Dimensions::of(&o)).unwrap_or_default();
        let (unit, found) = (&self.terms.unit, shown(&counts.unit));
        if counts.unit != *unit {
            let en = format!("the row was produced by {found}, {unit} is compared: it is left out");
            let zh = format!("该行产生单位为 {found}，本次比对 {unit}，未纳入");
            return Some(Finding::reject("C001", "producer_uscc", en, zh));
        }
        if !self.terms.covers(self.charter.charter(), counts.division) {
            let (top, found) = (self.terms.division.map(|d| d.to_string()).unwrap_or_default(), counts.division);
            let en = format!("the row counts for {found}, {top} and what lies below it are compared: it is left out");
            let zh = format!("该行区划为 {found}，本次比对 {top} 及其下级，未纳入");
            return Some(Finding::reject("C002", "producer_division", en, zh));
        }
        None
    }

    fn reject(&mut self, line: u64, findings: Vec<Finding>) {
        self.counts.rejected += 1;
        findings.into_iter().for_each(|f| self.errors.say(f.at_line(line)));
    }

    /// A row that is in order takes its place.
    fn place(&mut self, line: u64, checked: &CheckedRecord) {
        let content = &checked.content;
        let withdraws = content.operation == Operation::Withdraw;
        let at = self.table.find(&content.key);
        let before = self.row_before(at, &content.key);
        let same = match at.and_then(|at| self.table.get(at)) {
            Some(h) if h.withdrawn => withdraws,
            Some(h) => !withdraws && h.content == content.content,
            None => withdraws,
        };
        let kept =
            |key| SpooledRow { key, line, operation: content.operation, record: checked.record.bytes().to_vec() };
        let place = if same { NOWHERE } else { self.spool.put(&kept(content.key)) };
        let number = u32::try_from(line).unwrap_or(u32::MAX);
        match at.and_then(|at| self.table.get_mut(at)) {
            Some(h) => {
                h.state = if same { RowState::Same } else { RowState::Other };
                (h.place, h.line) = (place, number);
            }
            None => {
                self.fresh.insert(content.key, NewKey { place, line: number });
            }
        }
        self.repeated(before, line);
    }

    /// Line of the row that counted for this business key until now.
    fn row_before(&self, at: Option<usize>, key: &[u8; 16]) -> Option<u32> {
        match at.and_then(|at| self.table.get(at)) {
            Some(h) => matches!(h.state, RowState::Same | RowState::Other).then_some(h.line),
            None => self.fresh.get(key).map(|f| f.line),
        }
    }

    fn repeated(&mut self, before: Option<u32>, line: u64) {
        let Some(before) = before else { return };
        self.counts.repeated += 1;
        let en = format!("line {line} has the same business key: that one counts, this one does not");
        let zh = format!("与第 {line} 行业务主键相同，以后者为准，本行不计");
        let finding = Finding::reject("C003", "business_key", en, zh);
        self.errors.say(finding.with_severity(Severity::Question).at_line(before.into()));
    }

    /// A row that is not in order: of the record that it is, nothing is known.
    pub(super) fn unclear(&mut self, line: u64, key: Option<[u8; 16]>, known: bool, findings: Vec<Finding>) {
        self.reject(line, findings);
        self.counts.unplaced += u64::from(!known);
        let Some(key) = key else { return };
        let at = self.table.find(&key);
        let before = self.row_before(at, &key);
        match at.and_then(|at| self.table.get_mut(at)) {
            Some(h) => h.state = RowState::Unclear,
            None => {
                self.fresh.remove(&key);
            }
        }
        self.repeated(before, line);
    }

    /// Rows of the file that are no record here.
    pub(super) fn missing(&self) -> u64 {
        let again = self.table.iter().filter(|h| h.state == RowState::Other && h.withdrawn).count();
        (self.missing_keys().count() + again) as u64
    }

    /// Business keys of the file of which nothing was ever held.
    pub(super) fn missing_keys(&self) -> impl Iterator<Item = &[u8; 16]> {
        self.fresh.iter().filter(|(_, f)| f.place != NOWHERE).map(|(key, _)| key)
    }

    /// Rows of the file that say what is held.
    pub(super) fn same(&self) -> u64 {
        let gone = self.fresh.values().filter(|f| f.place == NOWHERE).count();
        (self.table.iter().filter(|h| h.state == RowState::Same).count() + gone) as u64
    }

    /// What a row in the spool is in the end.
    pub(super) fn class(&self, key: &[u8; 16], place: u64) -> RowClass {
        match self.table.find(key).and_then(|at| Some((at, self.table.get(at)?))) {
            Some((at, h)) if h.state == RowState::Other && h.place == place => match h.withdrawn {
                true => RowClass::Missing,
                false => RowClass::Different(at as u32),
            },
            None if self.fresh.get(key).is_some_and(|f| f.place == place) => RowClass::Missing,
            _ => RowClass::Superseded,
        }
    }
}

/// See [`Comparison::class`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum RowClass {
    /// Not held; or no more.
    Missing,
    /// Held with other content, at this place of the table.
    Different(u32),
    /// Another row of the file counts.
    Superseded,
}

impl CompareTerms {
    /// As what the file's rows are read.
    pub(super) fn row_terms(&self) -> SubmissionTerms {
        SubmissionTerms {
            category: Some(self.category.clone()),
            unit: Some(self.unit.clone()),
            division: self.division,
            rights: None,
            backfill: false,
        }
    }
}
