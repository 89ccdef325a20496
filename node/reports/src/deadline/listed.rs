//! Single records: what each counts for, how it stands to its deadline, and whether it is asked about. A page at a time, by
//! record id, from the index; of those listed alone the journal is read, for their names.

use super::{
    Arrivals,
    judge::{self, DeadlineJudge},
};
use jiff::civil::Date;
use serde::{Deserialize, Serialize};
use std::ops::ControlFlow;
use tally_clock::time;
use tally_protocol::{canonical::Object, ids::Division, record::RecordId};
use tally_store::index::{
    Engine, EngineError, InForce, IndexEntry, findings,
    query::{Attested, Source, attested, each_record_after, read_each},
};
use tally_topology::{charter::Charter, content::Operation, deadline::DeadlineState};

/// Which records are listed. What is not named does not matter.
#[derive(Debug, Clone, Default)]
pub struct RecordFilter {
    /// That count for this division or those below it.
    pub division: Option<Division>,
    /// Of this category.
    pub category: Option<String>,
    /// Produced by the unit with this code.
    pub unit: Option<String>,
    /// Produced on this day or later.
    pub from: Option<Date>,
    /// Produced on this day or earlier.
    pub to: Option<Date>,
    /// Late or overdue.
    pub late: bool,
    /// Asked about by this node, and not amended since.
    pub question: bool,
    /// This one alone, whatever became of it.
    pub only: Option<RecordId>,
    /// Behind this one.
    pub after: Option<RecordId>,
    /// At most so many.
    pub limit: usize,
}

/// A record in a list.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ListedRecord {
    /// Its id.
    pub id: RecordId,
    /// Origin of the log that holds it.
    pub log: String,
    /// Its index there.
    pub index: u64,
    /// When it was sealed.
    pub sealed_at: String,
    /// Category.
    pub category: String,
    /// Division that it counts for; null: none of this federation.
    pub division: Option<Division>,
    /// Code of the producing unit.
    pub unit: String,
    /// The day it was produced; null: not known.
    pub produced_on: Option<String>,
    /// Who it is about; null: it cannot be read from this disk, or says nothing.
    pub subject_name: Option<String>,
    /// `create`, `amend` or `withdraw`.
    pub operation: String,
    /// `on_time`, `late`, `pending`, `due_soon`, `overdue`; null: it has no deadline.
    pub deadline: Option<DeadlineState>,
    /// Day by which it must have reached the province.
    pub collect_due: Option<String>,
    /// Working days after that day.
    pub days_over: i64,
    /// Codes of what is asked about it here.
    pub questions: Vec<String>,
}

/// A page of records.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct RecordPage {
    /// In the order of their ids.
    pub records: Vec<ListedRecord>,
    /// Give it as `after` to go on; null: these were the last.
    pub next: Option<RecordId>,
}

/// What is listed from.
#[derive(Debug)]
pub struct RecordSources<'a> {
    /// The index, which must have caught up.
    pub engine: &'a dyn Engine,
    /// The journal, and the charter in force.
    pub source: &'a Source<'a>,
    /// The core's receipts.
    pub arrivals: &'a Arrivals,
    /// POSIX seconds.
    pub now: u64,
}

/// Lists records in force, each once. Blocking.
///
/// # Errors
/// The engine's.
pub fn list_records(held: &RecordSources<'_>, filter: &RecordFilter) -> Result<RecordPage, EngineError> {
    let mut lister = Lister {
        held,
        filter,
        judge: DeadlineJudge::new(held.source.charter, tally_clock::day(held.now)),
        places: Vec::new(),
        page: RecordPage::default(),
    };
    let in_force = InForce::new(held.engine, held.source.charter);
    match filter.only {
        Some(id) => drop(lister.take(&in_force, id, attested(&in_force, id)?)?),
        None => each_record_after(&in_force, filter.after, |id, attested| lister.take(&in_force, id, attested))?,
    }
    lister.name();
    Ok(lister.page)
}

struct Lister<'l> {
    held: &'l RecordSources<'l>,
    filter: &'l RecordFilter,
    judge: DeadlineJudge<'l>,
    places: Vec<(RecordId, Attested)>,
    page: RecordPage,
}

impl Lister<'_> {
    fn take(
        &mut self,
        in_force: &InForce<'_>,
        id: RecordId,
        attested: Attested,
    ) -> Result<ControlFlow<()>, EngineError> {
        let go_on = Ok(ControlFlow::Continue(()));
        let Some((log, e)) = attested.first() else { return go_on };
        if !self.wants(e) {
            return go_on;
        }
        // An id that is asked for is shown whatever became of it; a list is of what is in force.
        if self.filter.only.is_none()
            && (e.content.operation == Operation::Withdraw || !in_force.is_current(id, &attested)?)
        {
            return go_on;
        }
        let questions: Vec<String> = findings::at(self.held.engine, *log, e.index)?
            .into_iter()
            .filter(|f| f.severity >= tally_topology::catalog::Severity::Question)
            .map(|f| f.code)
            .collect();
        if self.filter.question && questions.is_empty() {
            return go_on;
        }
        let charter = self.held.source.charter;
        let received = self.held.arrivals.received(attested.iter().map(|(log, e)| (*log, e.index, e.sealed_at)));
        let judged = judge::day(e.dimensions.produced_on).zip(received).and_then(|(day, received)| {
            let limits = judge::category(charter.catalogs(), &e.dimensions.category, day)?;
            (limits.counts && !e.dimensions.backfill).then(|| self.judge.judge(day, limits, &received))
        });
        let state = judged.map(|j| j.state);
        if self.filter.late && !matches!(state, Some(DeadlineState::Late | DeadlineState::Overdue)) {
            return go_on;
        }
        if self.page.records.len() >= self.filter.limit {
            self.page.next = self.page.records.last().map(|r| r.id);
            return Ok(ControlFlow::Break(()));
        }
        self.page.records.push(ListedRecord {
            id,
            log: charter.federation().origin(*log),
            index: e.index,
            sealed_at: time(e.sealed_at),
            category: e.dimensions.category.clone(),
            division: division(charter, e),
            unit: e.dimensions.unit.clone(),
            produced_on: judge::day(e.dimensions.produced_on).map(|d| d.to_string()),
            subject_name: None,
            operation: format!("{:?}", e.content.operation).to_ascii_lowercase(),
            deadline: state,
            collect_due: judged.map(|j| j.collect_due.to_string()),
            days_over: judged.map_or(0, |j| j.days_over),
            questions,
        });
        self.places.push((id, attested));
        go_on
    }

    fn wants(&self, e: &IndexEntry) -> bool {
        let (f, d) = (self.filter, &e.dimensions);
        let charter = self.held.source.charter;
        let within = |top: Division| {
            let is = |own: Division| own == top || charter.entry_node(own).is_some_and(|n| charter.is_within(n, top));
            division(charter, e).is_some_and(is)
        };
        let day = judge::day(d.produced_on);
        f.division.is_none_or(within)
            && f.category.as_ref().is_none_or(|c| *c == d.category)
            && f.unit.as_ref().is_none_or(|u| *u == d.unit)
            && f.from.is_none_or(|from| day.is_some_and(|d| d >= from))
            && f.to.is_none_or(|to| day.is_some_and(|d| d <= to))
    }

    /// Reads who each listed record is about.
    fn name(&mut self) {
        let records = &mut self.page.records;
        read_each(self.held.source, &self.places, |_, _, bytes| {
            let id = RecordId::of(bytes);
            let Ok(at) = records.binary_search_by_key(&id, |r| r.id) else { return };
            if let (Some(record), Ok(object)) = (records.get_mut(at), Object::parse(bytes)) {
                record.subject_name = object.text("subject_name").map(str::to_owned);
            }
        });
    }
}

fn division(charter: &Charter, e: &IndexEntry) -> Option<Division> {
    Division::try_from(e.dimensions.division).ok().filter(|d| charter.entry_node(*d).is_some())
}
