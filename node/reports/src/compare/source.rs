//! The department's rows, looked up among what is held.
use super::{
    CompareError, Terms,
    held::{State, Table},
    judged::Judged,
    spool::{Kept, Spool},
};
use std::{
    collections::{HashMap, VecDeque},
    io,
    path::Path,
    sync::{Arc, atomic::AtomicBool},
};
use tally_intake::{ERRORS_MAX, Good, Noted, PourError, Submission};
use tally_protocol::{
    canonical::Object,
    finding::{AtLine, Finding, Severity},
    ids::Division,
};
use tally_store::index::Engine;
use tally_topology::content::{Dimensions, Operation};
use tally_topology::signed::SignedCharter;
use tokio::task::JoinHandle;

/// [`Fresh::place`] of a row that withdraws what is not held.
const NOWHERE: u64 = u64::MAX;

/// The node that compares.
#[derive(Debug)]
pub struct Node<'n> {
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
pub(super) struct Fresh {
    pub(super) place: u64,
    line: u32,
}

/// What is said about rows; bounded.
#[derive(Debug, Default)]
pub(super) struct Errors {
    pub(super) list: Vec<AtLine>,
    pub(super) omitted: u64,
    /// What is meant by them, in rows or records.
    pub(super) meant: u64,
}

impl Errors {
    pub(super) fn say(&mut self, finding: AtLine) {
        self.say_of(1, finding);
    }

    /// Says the same of several at once.
    pub(super) fn say_of(&mut self, meant: u64, finding: AtLine) {
        self.meant += meant;
        if self.list.len() < ERRORS_MAX {
            self.list.push(finding);
        } else {
            self.omitted += 1;
        }
    }
}

/// How many rows were what.
#[derive(Debug, Default)]
pub(super) struct Counts {
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
    pub(super) terms: Terms,
    pub(super) charter: Arc<SignedCharter>,
    pub(super) table: Table,
    pub(super) fresh: HashMap<[u8; 16], Fresh>,
    pub(super) spool: Spool,
    pub(super) counts: Counts,
    pub(super) errors: Errors,
    pub(super) notes: Vec<Noted>,
    pub(super) format: Option<String>,
    pub(super) me: Division,
    pub(super) full: Arc<AtomicBool>,
    pub(super) submission: Arc<Submission>,
    pub(super) judging: VecDeque<JoinHandle<Vec<Judged>>>,
}

fn spool_failed(e: &io::Error) -> PourError {
    PourError::Spool(e.to_string())
}

impl Comparison {
    /// Gathers what is held; the file's rows may then come. Blocking.
    ///
    /// # Errors
    /// [`CompareError`].
    pub fn open(node: Node<'_>, terms: Terms) -> Result<Self, CompareError> {
        let Node { engine, charter, me, full, spool } = node;
        let table = Table::gather(engine, charter.charter(), &terms)?;
        Ok(Self {
            submission: Arc::new(terms.submission()),
            terms,
            charter,
            table,
            fresh: HashMap::new(),
            spool: Spool::new(spool)?,
            counts: Counts::default(),
            errors: Errors::default(),
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
    /// [`PourError`].
    pub async fn finish(&mut self) -> Result<(), PourError> {
        while !self.judging.is_empty() {
            self.settle().await?;
        }
        self.spool.flush().map_err(|e| spool_failed(&e))
    }

    /// The oldest judged chunk is looked up.
    pub(super) async fn settle(&mut self) -> Result<(), PourError> {
        let Some(judging) = self.judging.pop_front() else { return Ok(()) };
        let ended = |_| PourError::Ended { code: "stopping", message: "the node is stopping".to_owned() };
        for row in judging.await.map_err(ended)? {
            match row {
                Judged::Good(line, good) => match self.outside(&good) {
                    Some(finding) => self.reject(line, vec![finding]),
                    None => self.place(line, &good).map_err(|e| spool_failed(&e))?,
                },
                Judged::Bad { line, key, known, findings } => self.unclear(line, key, known, findings),
            }
        }
        Ok(())
    }

    /// Why a row is not of what is compared.
    fn outside(&self, good: &Good) -> Option<Finding> {
        // The key is that of the unit and category; what is held of the division and has moved elsewhere differs.
        let held = self.table.find(&good.content.key).and_then(|at| self.table.get(at));
        if held.is_some_and(|h| h.in_scope) {
            return None;
        }
        let counts = Object::parse(good.record.bytes()).map(|o| Dimensions::of(&o)).unwrap_or_default();
        let (unit, found) = (&self.terms.unit, &counts.unit);
        if found != unit {
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
    fn place(&mut self, line: u64, good: &Good) -> io::Result<()> {
        let content = &good.content;
        let withdraws = content.operation == Operation::Withdraw;
        let at = self.table.find(&content.key);
        let before = self.row_before(at, &content.key);
        let same = match at.and_then(|at| self.table.get(at)) {
            Some(h) if h.withdrawn => withdraws,
            Some(h) => !withdraws && h.content == content.content,
            None => withdraws,
        };
        let kept = |key| Kept { key, line, operation: content.operation, record: good.record.bytes().to_vec() };
        let place = if same { NOWHERE } else { self.spool.put(&kept(content.key))? };
        let number = u32::try_from(line).unwrap_or(u32::MAX);
        match at.and_then(|at| self.table.get_mut(at)) {
            Some(h) => {
                h.state = if same { State::Same } else { State::Other };
                (h.place, h.line) = (place, number);
            }
            None => {
                self.fresh.insert(content.key, Fresh { place, line: number });
            }
        }
        self.repeated(before, line);
        Ok(())
    }

    /// Line of the row that counted for this business key until now.
    fn row_before(&self, at: Option<usize>, key: &[u8; 16]) -> Option<u32> {
        match at.and_then(|at| self.table.get(at)) {
            Some(h) => matches!(h.state, State::Same | State::Other).then_some(h.line),
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
            Some(h) => h.state = State::Unclear,
            None => {
                self.fresh.remove(&key);
            }
        }
        self.repeated(before, line);
    }

    /// Rows of the file that are no record here.
    pub(super) fn missing(&self) -> u64 {
        let again = self.table.iter().filter(|h| h.state == State::Other && h.withdrawn).count();
        (self.missing_keys().count() + again) as u64
    }

    /// Business keys of the file of which nothing was ever held.
    pub(super) fn missing_keys(&self) -> impl Iterator<Item = &[u8; 16]> {
        self.fresh.iter().filter(|(_, f)| f.place != NOWHERE).map(|(key, _)| key)
    }

    /// Rows of the file that say what is held.
    pub(super) fn same(&self) -> u64 {
        let gone = self.fresh.values().filter(|f| f.place == NOWHERE).count();
        (self.table.iter().filter(|h| h.state == State::Same).count() + gone) as u64
    }

    /// What a row in the spool is in the end.
    pub(super) fn class(&self, key: &[u8; 16], place: u64) -> Class {
        match self.table.find(key).and_then(|at| Some((at, self.table.get(at)?))) {
            Some((at, h)) if h.state == State::Other && h.place == place => match h.withdrawn {
                true => Class::Missing,
                false => Class::Different(at as u32),
            },
            None if self.fresh.get(key).is_some_and(|f| f.place == place) => Class::Missing,
            _ => Class::Superseded,
        }
    }
}

/// See [`Comparison::class`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Class {
    /// Not held; or no more.
    Missing,
    /// Held with other content, at this place of the table.
    Different(u32),
    /// Another row of the file counts.
    Superseded,
}

impl Terms {
    /// As what the file's rows are read.
    pub(super) fn submission(&self) -> Submission {
        Submission {
            category: Some(self.category.clone()),
            unit: Some(self.unit.clone()),
            division: self.division,
            rights: None,
        }
    }
}
