//! What units should deliver by the registry and the routes, held against what there is.

use super::{
    judge,
    lines::{LiaisonTask, LineKind, ReportLine},
    survey::{DeadlineSurvey, SurveyContext},
};
use jiff::civil::Date;
use std::collections::HashSet;
use tally_protocol::ids::Division;
use tally_topology::{
    digits,
    route::{Asked, Case, RouteRule},
    unit::Unit,
};

struct Expected<'s, 'a> {
    context: &'s SurveyContext<'a>,
    survey: &'s DeadlineSurvey,
    lines: Vec<ReportLine>,
    /// Liaison lines there are, and routes that they come from.
    linked: HashSet<(String, String)>,
    rules: HashSet<usize>,
}

/// Whether a rule is about a unit, wherever and whatever it delivers.
fn names(rule: &RouteRule, unit: &Unit) -> bool {
    rule.unit.as_ref().is_none_or(|code| *code == unit.code)
        && rule.unit_word.as_ref().is_none_or(|w| unit.name.contains(w))
}

/// Lines of what is missing, declared, covered by others, or not expected here.
pub(super) fn expected(context: &SurveyContext<'_>, survey: &DeadlineSurvey) -> Vec<ReportLine> {
    let mut e = Expected { context, survey, lines: Vec::new(), linked: HashSet::new(), rules: HashSet::new() };
    let (charter, first) = (context.charter, context.month.first());
    for unit in charter.units().iter().filter(|u| context.answers_for(u.division) && !u.ended(first)) {
        e.unit(unit);
    }
    e.other_routes();
    e.zero_reports();
    e.other_tasks();
    e.lines
}

impl<'a> Expected<'_, 'a> {
    fn line(&self, kind: LineKind, division: Option<Division>, unit: &str, category: &str) -> ReportLine {
        let charter = self.context.charter;
        let line = ReportLine::new(kind).of_division(charter, division).of_unit(charter, unit);
        if category.is_empty() { line } else { line.of_category(charter, category) }
    }

    fn unit(&mut self, unit: &'a Unit) {
        let context = self.context;
        for category in unit.categories.iter().filter(|c| context.question.wants(c)) {
            if self.is_collected(category) {
                self.pair(unit, category);
            }
        }
        if !unit.categories.is_empty() {
            return;
        }
        // The registry says nothing of what the unit delivers, so only a route that fits it tells of a task.
        let names = |r: &RouteRule| r.case == Case::Central && names(r, unit);
        for (i, rule) in context.charter.routes().iter().enumerate().filter(|(_, r)| names(r)) {
            let (category, day) = (rule.category.as_deref().unwrap_or_default(), context.month.last());
            let asked = Asked { unit: &unit.code, unit_name: &unit.name, category, division: unit.division, day };
            let here = context.charter.route(&asked).and_then(|r| r.rule).is_some_and(|(n, _)| n == i + 1);
            if here && (category.is_empty() || context.question.wants(category)) {
                self.rules.insert(i);
                self.liaison(Some(unit.division), &unit.code, category, Some(rule));
            }
        }
    }

    /// Whether records of a category are collected in this month at all.
    fn is_collected(&self, category: &str) -> bool {
        let month = self.context.month;
        let found = judge::category(self.context.charter.catalogs(), category, month.first());
        found.is_some_and(|c| c.counts && c.closed_from.is_none_or(|d| d > month.first()))
    }

    fn pair(&mut self, unit: &'a Unit, category: &str) {
        let (charter, day) = (self.context.charter, self.context.month.last());
        let asked = Asked { unit: &unit.code, unit_name: &unit.name, category, division: unit.division, day };
        let Some(route) = charter.route(&asked) else { return };
        let delivers = route.rule.is_some_and(|(_, r)| r.by.as_ref() == Some(&unit.code));
        match route.case {
            Case::Central => {
                let rule = route.rule.map(|(n, r)| {
                    self.rules.insert(n - 1);
                    r
                });
                self.liaison(Some(unit.division), &unit.code, category, rule);
            }
            Case::Provincial | Case::Prefecture if !delivers => {
                let line = self.line(LineKind::Covered, Some(unit.division), &unit.code, category);
                self.lines.push(line.by_route(charter, &route));
            }
            _ => {
                if let Some(note) = self.missing(unit, category) {
                    let mut line = self.line(LineKind::Missing, Some(unit.division), &unit.code, category);
                    line.note = note;
                    self.lines.push(line.by_route(charter, &route));
                }
            }
        }
    }

    /// `None`: nothing is missing. Else what is to be said.
    fn missing(&self, unit: &Unit, category: &str) -> Option<Option<String>> {
        let (month, today) = (self.context.month, self.context.today);
        let pair = (unit.code.clone(), category.to_owned());
        if month.first() > today || self.survey.present.contains(&pair) {
            return None;
        }
        let Some(zero) = self.survey.declared.zero.get(&pair) else { return Some(None) };
        // A month that is not over can only be declared so far.
        if today <= month.last() {
            return None;
        }
        let calendar = self.context.charter.calendar();
        let days = std::iter::successors(Some(month.first()), |d| d.tomorrow().ok().filter(|d| *d <= month.last()));
        let left = days.filter(|d| calendar.is_workday(*d) && !zero.covers(*d)).count();
        (left > 0).then(|| {
            Some(format!("zero reports leave {left} working days of the month open / 零报告未覆盖当月 {left} 个工作日"))
        })
    }

    fn liaison(&mut self, division: Option<Division>, unit: &str, category: &str, rule: Option<&RouteRule>) {
        let survey = self.survey;
        let of_unit = survey.declared.liaison.range((unit.to_owned(), String::new())..);
        let held =
            of_unit.take_while(|((u, _), _)| u == unit).filter(|((_, c), _)| category.is_empty() || c == category);
        self.linked.extend(held.clone().map(|(pair, _)| pair.clone()));
        // A line for all categories is done when every task of the unit is.
        let open = held.clone().find(|(_, t)| t.state.as_deref() != Some("done"));
        let task = open.or_else(|| held.clone().next()).map(|(_, t)| t);
        // What is recorded of a task is newer than the rule that asked for it.
        let due_on = task.and_then(|t| t.due_on.clone()).or_else(|| rule?.due_on.clone());
        let state = task.and_then(|t| t.state.clone());
        let passed = due_on.as_ref().and_then(|d| d.parse::<Date>().ok()).is_some_and(|d| d < self.context.today);
        let mut line = self.line(LineKind::Liaison, division, unit, category);
        line.route = rule.map(|r| r.case);
        line.note = rule.and_then(|r| r.note.clone());
        line.liaison = Some(LiaisonTask {
            owner: task.and_then(|t| t.owner.clone()).or_else(|| rule?.owner.clone()),
            due_on,
            overdue: passed && state.as_deref() != Some("done"),
            state,
        });
        self.lines.push(line);
    }

    /// Routes of the central case that no unit of the registry is on.
    fn other_routes(&mut self) {
        let (context, charter) = (self.context, self.context.charter);
        for (i, rule) in charter.routes().iter().enumerate().filter(|(_, r)| r.case == Case::Central) {
            let category = rule.category.as_deref().unwrap_or_default();
            let wanted = category.is_empty() || context.question.wants(category);
            if self.rules.contains(&i) || !wanted || charter.units().iter().any(|u| names(rule, u)) {
                continue;
            }
            let by_code = || digits::uscc_division(rule.unit.as_ref()?).filter(|d| charter.entry_node(*d).is_some());
            let division = rule.division.or_else(by_code);
            if division.map_or(context.question.division.is_none(), |d| context.answers_for(d)) {
                self.liaison(division, rule.unit.as_deref().unwrap_or_default(), category, Some(rule));
                if let (Some(line), Some(word)) = (self.lines.last_mut(), &rule.unit_word) {
                    line.unit_name = Some(format!("*{word}*"));
                }
            }
        }
    }

    fn zero_reports(&mut self) {
        let context = self.context;
        for ((unit, category), zero) in &self.survey.declared.zero {
            if context.wants_division(zero.division) && context.question.wants(category) {
                let mut line = self.line(LineKind::ZeroReport, zero.division, unit, category);
                line.zero_reports_held = Some(zero.reports);
                if self.survey.present.contains(&(unit.clone(), category.clone())) {
                    let note = "there are records of the month as well / 当月另有报送记录，与零报告不符";
                    line.note = Some(note.to_owned());
                }
                self.lines.push(line);
            }
        }
    }

    /// Tasks that somebody keeps and no route asks for.
    fn other_tasks(&mut self) {
        for ((unit, category), task) in &self.survey.declared.liaison {
            let wanted = self.context.wants_division(task.division) && self.context.question.wants(category);
            if wanted && !self.linked.contains(&(unit.clone(), category.clone())) {
                self.liaison(task.division, unit, category, None);
            }
        }
    }
}

#[cfg(test)]
mod tests;
