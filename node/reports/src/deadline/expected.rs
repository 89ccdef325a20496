//! What units should deliver by the registry and the routes, held against what there is.

use super::{
    lines::{Kind, LiaisonTask, Line},
    survey::{Scene, Survey},
    verdict,
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
    scene: &'s Scene<'a>,
    survey: &'s Survey,
    lines: Vec<Line>,
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
pub(super) fn expected(scene: &Scene<'_>, survey: &Survey) -> Vec<Line> {
    let mut e = Expected { scene, survey, lines: Vec::new(), linked: HashSet::new(), rules: HashSet::new() };
    for unit in scene.charter.units().iter().filter(|u| scene.answers_for(u.division) && !u.ended(scene.month.first()))
    {
        e.unit(unit);
    }
    e.other_routes();
    e.zero_reports();
    e.other_tasks();
    e.lines
}

impl<'a> Expected<'_, 'a> {
    fn line(&self, kind: Kind, division: Option<Division>, unit: &str, category: &str) -> Line {
        let charter = self.scene.charter;
        let line = Line::new(kind).of_division(charter, division).of_unit(charter, unit);
        if category.is_empty() { line } else { line.of_category(charter, category) }
    }

    fn unit(&mut self, unit: &'a Unit) {
        let scene = self.scene;
        for category in unit.categories.iter().filter(|c| scene.question.wants(c)) {
            if self.is_collected(category) {
                self.pair(unit, category);
            }
        }
        if !unit.categories.is_empty() {
            return;
        }
        // Nothing is said of what it delivers: only routes that fit it tell of a task.
        let names = |r: &RouteRule| r.case == Case::Central && names(r, unit);
        for (i, rule) in scene.charter.routes().iter().enumerate().filter(|(_, r)| names(r)) {
            let (category, day) = (rule.category.as_deref().unwrap_or_default(), scene.month.last());
            let asked = Asked { unit: &unit.code, unit_name: &unit.name, category, division: unit.division, day };
            let here = scene.charter.route(&asked).and_then(|r| r.rule).is_some_and(|(n, _)| n == i + 1);
            if here && (category.is_empty() || scene.question.wants(category)) {
                self.rules.insert(i);
                self.liaison(Some(unit.division), &unit.code, category, Some(rule));
            }
        }
    }

    /// Whether records of a category are collected in this month at all.
    fn is_collected(&self, category: &str) -> bool {
        let month = self.scene.month;
        let found = verdict::category(self.scene.charter.catalogs(), category, month.first());
        found.is_some_and(|c| c.counts && c.closed_from.is_none_or(|d| d > month.first()))
    }

    fn pair(&mut self, unit: &'a Unit, category: &str) {
        let (charter, day) = (self.scene.charter, self.scene.month.last());
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
                let line = self.line(Kind::Covered, Some(unit.division), &unit.code, category);
                self.lines.push(line.by_route(charter, &route));
            }
            _ => {
                if let Some(note) = self.missing(unit, category) {
                    let mut line = self.line(Kind::Missing, Some(unit.division), &unit.code, category);
                    line.note = note;
                    self.lines.push(line.by_route(charter, &route));
                }
            }
        }
    }

    /// `None`: nothing is missing. Else what is to be said.
    fn missing(&self, unit: &Unit, category: &str) -> Option<Option<String>> {
        let (month, today) = (self.scene.month, self.scene.today);
        let pair = (unit.code.clone(), category.to_owned());
        if month.first() > today || self.survey.present.contains(&pair) {
            return None;
        }
        let Some(zero) = self.survey.declared.zero.get(&pair) else { return Some(None) };
        // A month that is not over can only be declared so far.
        if today <= month.last() {
            return None;
        }
        let calendar = self.scene.charter.calendar();
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
        let passed = due_on.as_ref().and_then(|d| d.parse::<Date>().ok()).is_some_and(|d| d < self.scene.today);
        let mut line = self.line(Kind::Liaison, division, unit, category);
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
        let (scene, charter) = (self.scene, self.scene.charter);
        for (i, rule) in charter.routes().iter().enumerate().filter(|(_, r)| r.case == Case::Central) {
            let category = rule.category.as_deref().unwrap_or_default();
            let wanted = category.is_empty() || scene.question.wants(category);
            if self.rules.contains(&i) || !wanted || charter.units().iter().any(|u| names(rule, u)) {
                continue;
            }
            let by_code = || digits::uscc_division(rule.unit.as_ref()?).filter(|d| charter.entry_node(*d).is_some());
            let division = rule.division.or_else(by_code);
            if division.map_or(scene.question.division.is_none(), |d| scene.answers_for(d)) {
                self.liaison(division, rule.unit.as_deref().unwrap_or_default(), category, Some(rule));
                if let (Some(line), Some(word)) = (self.lines.last_mut(), &rule.unit_word) {
                    line.unit_name = Some(format!("*{word}*"));
                }
            }
        }
    }

    fn zero_reports(&mut self) {
        let scene = self.scene;
        for ((unit, category), zero) in &self.survey.declared.zero {
            if scene.wants_division(zero.division) && scene.question.wants(category) {
                let mut line = self.line(Kind::ZeroReport, zero.division, unit, category);
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
            let wanted = self.scene.wants_division(task.division) && self.scene.question.wants(category);
            if wanted && !self.linked.contains(&(unit.clone(), category.clone())) {
                self.liaison(task.division, unit, category, None);
            }
        }
    }
}

#[cfg(test)]
mod tests;
