//! One pass over the index: what was due, and which zero reports and liaison tasks are to be read.
use super::{
    Arrivals, DeadlineQuestion, Month,
    counters::Counters,
    declared::{Declared, LIAISON, ZERO_REPORT},
    judge::{self, DeadlineJudge},
};
use jiff::civil::Date;
use std::{
    collections::{BTreeMap, HashSet},
    ops::ControlFlow,
};
use tally_protocol::{ids::Division, record::RecordId};
use tally_store::index::{
    Engine, EngineError, InForce,
    query::{Attested, Source, each_record, read_each},
};
use tally_topology::content::{Dimensions, Operation};
use tally_topology::{charter::Charter, deadline::DeadlineState};

/// Lines about records; beyond, units are put together.
const ROWS_MAX: usize = 100_000;
/// Records that are read at once.
const READ_AT_ONCE: usize = 4_096;

/// What is read, and for whom.
#[derive(Debug)]
pub(super) struct SurveyContext<'a> {
    pub(super) charter: &'a Charter,
    pub(super) me: Division,
    pub(super) today: Date,
    /// The month that was asked for, or the current one.
    pub(super) month: Month,
    pub(super) question: &'a DeadlineQuestion,
}

/// Of whom a line is.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Key {
    /// 0: none of this federation.
    pub(super) division: u32,
    /// Empty: several.
    pub(super) unit: String,
    pub(super) category: String,
}

/// What was found.
#[derive(Debug, Default)]
pub(super) struct DeadlineSurvey {
    pub(super) rows: BTreeMap<Key, Counters>,
    /// Units of the registry and their categories of which the month has a record.
    pub(super) present: HashSet<(String, String)>,
    pub(super) declared: Declared,
    /// Records without a day, or of a category that no catalog has: they have no deadline.
    pub(super) without_deadline: u64,
    /// Declarations that cannot be read from this disk.
    pub(super) unreadable: u64,
    /// Units were put together.
    pub(super) folded: bool,
    /// Years that limits were counted in and the calendar does not cover.
    pub(super) years: std::collections::BTreeSet<i16>,
}

impl SurveyContext<'_> {
    /// Whether records that count for a division are asked for. Without a question of it all are that are held, also
    /// those that name none.
    pub(super) fn wants_division(&self, division: Option<Division>) -> bool {
        self.question.division.is_none_or(|top| division.is_some_and(|d| self.is_within(d, top)))
    }

    /// Whether a division's own duties are asked for: within this node, and within what is asked for.
    pub(super) fn answers_for(&self, division: Division) -> bool {
        self.is_within(division, self.question.division.unwrap_or(self.me))
    }

    fn is_within(&self, division: Division, top: Division) -> bool {
        division == top || self.charter.entry_node(division).is_some_and(|n| self.charter.is_within(n, top))
    }

    fn division(&self, code: u32) -> Option<Division> {
        Division::try_from(code).ok().filter(|d| self.charter.entry_node(*d).is_some())
    }
}

/// Goes through everything that is held.
///
/// # Errors
/// The engine's.
pub(super) fn survey(
    context: &SurveyContext<'_>,
    engine: &dyn Engine,
    source: &Source<'_>,
    arrivals: &Arrivals,
) -> Result<DeadlineSurvey, EngineError> {
    let mut survey = DeadlineSurvey::default();
    let mut judge = DeadlineJudge::new(context.charter, context.today);
    let mut to_read: Vec<(RecordId, Attested)> = Vec::new();
    let in_force = InForce::new(engine, context.charter);
    each_record(&in_force, |id, attested| {
        let Some((_, first)) = attested.first() else { return Ok(ControlFlow::Continue(())) };
        if [ZERO_REPORT, LIAISON].contains(&first.dimensions.category.as_str()) {
            if is_declaration(context, &in_force, id, &attested)? {
                to_read.push((id, attested));
            }
            if to_read.len() >= READ_AT_ONCE {
                survey.read(context, source, &mut to_read);
            }
        } else {
            let attested = in_force.counting(id, attested)?;
            survey.take(context, &mut judge, arrivals, attested);
        }
        Ok(ControlFlow::Continue(()))
    })?;
    survey.read(context, source, &mut to_read);
    survey.years = judge.years;
    Ok(survey)
}

/// Only the version of a declaration that counts, and no zero report of a time before the month.
fn is_declaration(
    context: &SurveyContext<'_>,
    in_force: &InForce<'_>,
    id: RecordId,
    attested: &Attested,
) -> Result<bool, EngineError> {
    let Some((_, first)) = attested.first() else { return Ok(false) };
    // The day of a zero report is the end of its period.
    let old = first.dimensions.category == ZERO_REPORT
        && judge::day(first.dimensions.produced_on).is_none_or(|d| d < context.month.first());
    if old || first.content.operation == Operation::Withdraw {
        return Ok(false);
    }
    in_force.is_current(id, attested)
}

impl DeadlineSurvey {
    fn read(&mut self, context: &SurveyContext<'_>, source: &Source<'_>, to_read: &mut Vec<(RecordId, Attested)>) {
        let declared = &mut self.declared;
        self.unreadable += read_each(source, to_read, |log, e, bytes| {
            declared.take(context.month, (log.epoch, e.index, log), bytes);
        });
        to_read.clear();
    }

    fn take(
        &mut self,
        context: &SurveyContext<'_>,
        judge: &mut DeadlineJudge<'_>,
        arrivals: &Arrivals,
        mut attested: Attested,
    ) {
        let received = arrivals.received(attested.iter().map(|(log, e)| (*log, e.index, e.sealed_at)));
        let Some((_, first)) = attested.first_mut() else { return };
        let Dimensions { produced_on, division, category, unit, backfill, .. } = std::mem::take(&mut first.dimensions);
        let division = context.division(division);
        let judgeable = judge::day(produced_on)
            .and_then(|day| Some((day, judge::category(context.charter.catalogs(), &category, day)?)));
        let Some(((produced_on, limits), received)) = judgeable.zip(received) else {
            self.without_deadline += u64::from(context.wants_division(division));
            return;
        };
        if !limits.counts {
            return;
        }
        let judged = judge.judge(produced_on, limits, &received);
        let due_then = context.month.holds(judged.collect_due);
        if (due_then || context.month.holds(produced_on)) && context.charter.units().get(&unit).is_some() {
            self.present.insert((unit.clone(), category.clone()));
        }
        let open = matches!(judged.state, DeadlineState::Pending | DeadlineState::DueSoon | DeadlineState::Overdue);
        // A load of history is nobody's delay: it is counted by itself, and never left out of a report without a month.
        let counts = due_then || (context.question.month.is_none() && (open || backfill));
        if !counts || !context.wants_division(division) || !context.question.wants(&category) {
            return;
        }
        let key = Key { division: division.map_or(0, Division::code), unit, category };
        if backfill {
            return self.row(key).add_backfill();
        }
        judge.note_years(produced_on, &judged);
        self.row(key).add(&judged, &judge::took(&judged, &received));
    }

    fn row(&mut self, mut key: Key) -> &mut Counters {
        if self.rows.len() >= ROWS_MAX && !self.rows.contains_key(&key) {
            self.folded = true;
            key.unit.clear();
        }
        self.rows.entry(key).or_default()
    }
}
