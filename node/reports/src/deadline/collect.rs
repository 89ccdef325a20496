//! Makes the report of what a node holds.

use super::{
    Arrivals, DeadlineQuestion, DeadlineReport, GroupBy, LineKind, LineScope, Month, ReportLine, ReportTotals,
    ReportWarning,
    counters::Counters,
    expected::expected,
    lines::LineCounts,
    report::{not_covered, years},
    survey::{DeadlineSurvey, Key, SurveyContext, survey},
};
use std::collections::BTreeMap;
use tally_clock::time;
use tally_protocol::ids::Division;
use tally_store::index::{Engine, EngineError, query::Source};
use tally_topology::{
    charter::{Charter, Level},
    route::Asked,
};

/// What a node holds, for the report.
#[derive(Debug)]
pub struct DeadlineSources<'a> {
    /// The index, which must have caught up.
    pub engine: &'a dyn Engine,
    /// The journal, and the charter in force.
    pub source: &'a Source<'a>,
    /// The core's receipts.
    pub arrivals: &'a Arrivals,
    /// This node.
    pub me: Division,
    /// POSIX seconds.
    pub now: u64,
}

/// A total while it is added up.
#[derive(Debug, Clone, Default)]
struct LineTotal {
    records: Counters,
    lines: LineCounts,
}

/// Makes a report. Memory: the lines, of which there are no more than 100,000 about records.
///
/// # Errors
/// The index engine's.
pub fn collect(held: &DeadlineSources<'_>, question: &DeadlineQuestion) -> Result<DeadlineReport, EngineError> {
    let charter = held.source.charter;
    let today = tally_clock::day(held.now);
    let month = question.month.unwrap_or(Month::of(today));
    let context = SurveyContext { charter, me: held.me, today, month, question };
    let survey = survey(&context, held.engine, held.source, held.arrivals)?;
    Ok(assemble(&context, &survey, held.now))
}

/// Puts what was found into a document.
fn assemble(context: &SurveyContext<'_>, survey: &DeadlineSurvey, now: u64) -> DeadlineReport {
    let (charter, question) = (context.charter, context.question);
    let node = charter.node(context.me);
    // Where records have arrived: at the province, or the top where there is none.
    let collects = node.is_some_and(|n| n.level <= Level::Province || n.parent.is_none());
    let mut adder = Adder::new(charter, context.month.last(), collects);
    let mut rows: Vec<ReportLine> = survey.rows.iter().map(|(key, sums)| adder.records(key, sums)).collect();
    rows.extend(expected(context, survey).into_iter().inspect(|line| adder.line(line)));
    rows.sort_by(|a, b| (a.division, &a.unit, &a.category, a.kind).cmp(&(b.division, &b.unit, &b.category, b.kind)));
    let total = adder.shown(&adder.all, ReportLine::new(LineKind::Total));
    let totals = adder.totals();
    let (rows, totals) = match question.by {
        None => (rows, Some(totals)),
        Some(GroupBy::Division) => (totals.divisions, None),
        Some(GroupBy::Unit) => (totals.units, None),
        Some(GroupBy::Category) => (totals.categories, None),
    };
    DeadlineReport {
        generated_at: time(now),
        today: context.today.to_string(),
        node: context.me,
        node_name: node.map_or(String::new(), |n| n.name.clone()),
        node_level: node.map_or(Level::County, |n| n.level),
        month: question.month.map(|m| m.to_string()),
        month_over: context.month.last() < context.today,
        division: question.division,
        by: question.by,
        charter_version: charter.version(),
        calendar_until: charter.calendar().until().map(|d| d.to_string()),
        certain: adder.all.records.uncertain() == 0,
        without_deadline: survey.without_deadline,
        unreadable: survey.unreadable,
        warnings: warnings(survey, &adder.all.records),
        notes: notes(context, collects, &adder.all),
        total,
        rows,
        totals,
    }
}

fn warnings(survey: &DeadlineSurvey, all: &Counters) -> Vec<ReportWarning> {
    let mut warnings = Vec::new();
    let uncertain = all.uncertain();
    if uncertain > 0 {
        let years = years(survey.years.iter().copied());
        let (what, zh) = (format!("the limits of {uncertain} records are"), format!("{uncertain} 条记录的时限"));
        warnings.push(not_covered(&years, &what, &zh));
    }
    if survey.without_deadline > 0 {
        let n = survey.without_deadline;
        let message = format!(
            "{n} records have no deadline: no produced_on, or a category that no catalog of the charter has; \
             `tally export` shows them"
        );
        warnings.push(ReportWarning::new(
            "without_deadline",
            message,
            format!("{n} 条记录无法计算时限：缺产生日期或类别不在目录中"),
        ));
    }
    if survey.unreadable > 0 {
        let n = survey.unreadable;
        let message = format!(
            "{n} zero reports or liaison tasks cannot be read from this disk, so lines may say missing wrongly; \
             `tally reconcile --with all --repair` mends them"
        );
        let zh =
            format!("{n} 条零报告或对接任务无法从本机读取，漏报可能不准；请执行 tally reconcile --with all --repair");
        warnings.push(ReportWarning::new("unreadable", message, zh));
    }
    if survey.folded || survey.declared.full {
        let message =
            "more lines than one report shows: units are put together; ask for one --division, or --by division";
        let zh = "行数超过上限，部分单位已合并；请按 --division 分区划查询，或用 --by division";
        warnings.push(ReportWarning::new("too_many_lines", message.to_owned(), zh.to_owned()));
    }
    warnings
}

fn notes(context: &SurveyContext<'_>, collects: bool, all: &LineTotal) -> Vec<ReportWarning> {
    let mut notes = Vec::new();
    let overdue = all.records.overdue();
    if !collects && overdue > 0 {
        let message = format!(
            "{overdue} records count as overdue because the province's receipt is not known here; it may have them: \
             `tally status` shows the link and how far its receipts go"
        );
        let zh = format!("{overdue} 条按逾期计，因本机尚未收到省级回执，省级可能已收到；链路与回执见 tally status");
        notes.push(ReportWarning::new("receipts_not_known", message, zh));
    }
    if context.today <= context.month.last() && all.lines.missing > 0 {
        let (month, n) = (context.month, all.lines.missing);
        let message = format!("{month} is not over: {n} lines `missing` are of units that have not delivered yet");
        notes.push(ReportWarning::new(
            "month_not_over",
            message,
            format!("{month} 尚未结束：{n} 项漏报为目前尚未报送"),
        ));
    }
    notes
}

struct Adder<'c> {
    charter: &'c Charter,
    /// By which day routes are told.
    day: jiff::civil::Date,
    collects: bool,
    all: LineTotal,
    divisions: BTreeMap<Option<Division>, LineTotal>,
    units: BTreeMap<String, LineTotal>,
    categories: BTreeMap<String, LineTotal>,
}

impl<'c> Adder<'c> {
    fn new(charter: &'c Charter, day: jiff::civil::Date, collects: bool) -> Self {
        Self {
            charter,
            day,
            collects,
            all: LineTotal::default(),
            divisions: BTreeMap::new(),
            units: BTreeMap::new(),
            categories: BTreeMap::new(),
        }
    }

    /// The line of a unit's records. Their time is credited to whoever delivers.
    fn records(&mut self, key: &Key, sums: &Counters) -> ReportLine {
        let charter = self.charter;
        let division = Division::try_from(key.division).ok();
        let mut line = ReportLine::new(LineKind::Records)
            .of_division(charter, division)
            .of_unit(charter, &key.unit)
            .of_category(charter, &key.category);
        let unit_name = line.unit_name.clone().unwrap_or_default();
        let (unit, category, day) = (key.unit.as_str(), key.category.as_str(), self.day);
        let asked = |division| Asked { unit, unit_name: &unit_name, category, division, day };
        if let Some(route) = division.and_then(|d| charter.route(&asked(d))) {
            line = line.by_route(charter, &route);
        }
        line.counts = Some(sums.counts(self.collects));
        let (division, unit) = match &line.provider {
            Some(p) => (Some(p.division), p.unit.as_ref().unwrap_or(&key.unit)),
            None => (division, &key.unit),
        };
        self.each(division, Some(unit), Some(&key.category), |s| s.records.merge(sums));
        line
    }

    /// Counts a line that is not about records.
    fn line(&mut self, line: &ReportLine) {
        let (unit, category) = (line.unit.clone(), line.category.clone());
        self.each(line.division, unit.as_ref(), category.as_ref(), |s| s.lines.add(line));
    }

    fn each(
        &mut self,
        division: Option<Division>,
        unit: Option<&String>,
        category: Option<&String>,
        add: impl Fn(&mut LineTotal),
    ) {
        add(&mut self.all);
        add(self.divisions.entry(division).or_default());
        if let Some(unit) = unit {
            add(self.units.entry(unit.clone()).or_default());
        }
        if let Some(category) = category {
            add(self.categories.entry(category.clone()).or_default());
        }
    }

    fn shown(&self, sum: &LineTotal, mut line: ReportLine) -> ReportLine {
        line.counts = Some(sum.records.counts(self.collects));
        line.lines = Some(sum.lines);
        line
    }

    fn totals(&self) -> ReportTotals {
        let charter = self.charter;
        let line = || ReportLine::new(LineKind::Total);
        let units = self.units.iter().map(|(u, s)| self.shown(s, line().of_unit(charter, u)));
        let categories = self.categories.iter().map(|(c, s)| self.shown(s, line().of_category(charter, c)));
        ReportTotals { divisions: self.by_division(), units: units.collect(), categories: categories.collect() }
    }

    /// Each division alone; and if there is anything below it, once more with all of that.
    fn by_division(&self) -> Vec<ReportLine> {
        let charter = self.charter;
        let mut with_below: BTreeMap<Division, LineTotal> = BTreeMap::new();
        let mut has_below: BTreeMap<Division, bool> = BTreeMap::new();
        for (division, sum) in self.divisions.iter().filter_map(|(d, s)| Some(((*d)?, s))) {
            let Some(entry) = charter.entry_node(division) else { continue };
            for above in charter.path(entry) {
                let total = with_below.entry(above).or_default();
                total.records.merge(&sum.records);
                total.lines.merge(&sum.lines);
                *has_below.entry(above).or_default() |= above != division;
            }
        }
        let mut lines = Vec::new();
        let line = |d| ReportLine::new(LineKind::Total).of_division(charter, d);
        for (division, sum) in &self.divisions {
            let mut own = self.shown(sum, line(*division));
            own.scope = Some(LineScope::Own);
            lines.push(own);
        }
        for (division, sum) in with_below.iter().filter(|(d, _)| has_below.get(*d) == Some(&true)) {
            let mut all = self.shown(sum, line(Some(*division)));
            all.scope = Some(LineScope::WithBelow);
            lines.push(all);
        }
        lines.sort_by_key(|l| (l.division, l.scope));
        lines
    }
}

#[cfg(test)]
mod tests;
