//! Who hands in what, and where: V016 and V017.

use super::{RecordJudge, shown, text};
use crate::{
    catalog::{Category, Severity},
    route::{Asked, Case, Route},
    unit::Unit,
};
use jiff::civil::Date;
use tally_protocol::ids::Division;

impl RecordJudge<'_> {
    /// The submitting unit may submit for the division and category (V016).
    pub(super) fn units(&mut self, category: &Category) {
        let (Some(code), Some(division)) = (self.text("submitter_uscc"), self.division("producer_division")) else {
            return;
        };
        let charter = self.context.charter;
        let units = charter.units();
        let producer = self.text("producer_uscc").filter(|p| *p != code).map(str::to_owned);
        let code = code.to_owned();
        if units.is_empty() && !units.closed {
            return;
        }
        let day = self.produced();
        // An open registry is not complete: what it does not say is asked about.
        let most = if units.closed { Severity::Reject } else { Severity::Question };
        for (field, code) in [("submitter_uscc", Some(&code)), ("producer_uscc", producer.as_ref())] {
            let Some(code) = code else { continue };
            let known = units.get(code);
            if let Some((unit, until)) =
                known.and_then(|u| Some((u, u.until.as_deref()?))).filter(|(u, _)| u.ended(day))
            {
                let (name, code) = (&unit.name, shown(code));
                let en = format!("{field} {code} ({name}) is in the registry of units until {until} only");
                let zh = format!("报送单位无权限：{name}（{code}）在单位名录内的截止日期为 {until}");
                self.say_so(most, "V016", field, (en, zh));
            }
            if known.is_none() {
                let en = format!("{field} {} is not in the registry of units: ask the province to add it", shown(code));
                let zh = format!("报送单位无权限：{} 不在单位名录内", shown(code));
                self.say_so(most, "V016", field, (en, zh));
            }
        }
        let Some(unit) = units.get(&code).filter(|u| !u.ended(day)) else { return };
        if !self.may_submit_for(unit, division, category) {
            let en = format!(
                "{} ({code}) may not submit for {division}: the registry of units names {}",
                unit.name, unit.division
            );
            let zh = format!("报送单位无权限：{} 不得报送 {division} 的信息", unit.name);
            self.say_so(most, "V016", "submitter_uscc", (en, zh));
        }
        // the producer corrects its records. Who delivers for others is named by a route, or serves divisions.
        if let Some(producer) = &producer
            && unit.division == division
            && unit.serves.is_empty()
            && self.route(category, division).is_some_and(|r| r.case == Case::Territorial)
        {
            let changes = matches!(self.text("operation"), Some("amend" | "withdraw"));
            let most = if changes { most } else { Severity::Question };
            let (name, other) = (&unit.name, shown(producer));
            let en = format!(
                "{name} ({code}) submits for {other}, and neither a route nor the registry of units says so: the producer hands its records in itself"
            );
            let zh = format!("报送单位无权限：{name} 报送了 {other} 产生的信息，应由产生单位报送或更正");
            self.say_so(most, "V016", "submitter_uscc", (en, zh));
        }
        if !unit.categories.is_empty() && !unit.categories.iter().any(|c| **c == *category.id) && category.counts {
            let en = format!("{} ({code}) does not deliver {}: see the registry of units", unit.name, category.id);
            let zh = format!("报送单位无权限：{} 不报送{}", unit.name, category.zh);
            self.say_so(most, "V016", "submitter_uscc", (en, zh));
        }
    }

    fn may_submit_for(&self, unit: &Unit, division: Division, category: &Category) -> bool {
        let charter = self.context.charter;
        let within =
            |top: Division| division == top || charter.entry_node(division).is_some_and(|n| charter.is_within(n, top));
        unit.division == division
            || unit.serves.iter().any(|d| within(*d))
            || self
                .route(category, division)
                .is_some_and(|r| r.rule.is_some_and(|(_, rule)| rule.by.as_deref() == Some(unit.code.as_str())))
    }

    fn route(&self, category: &Category, division: Division) -> Option<Route<'_>> {
        self.route_on(category, division, self.produced())
    }

    /// The day on which the record was produced; today where it does not say.
    fn produced(&self) -> Date {
        self.text("produced_on").and_then(text::date).unwrap_or(self.context.today)
    }

    fn route_on(&self, category: &Category, division: Division, day: Date) -> Option<Route<'_>> {
        let asked = Asked {
            unit: self.text("producer_uscc").unwrap_or_default(),
            unit_name: self.text("producer_name").unwrap_or_default(),
            category: &category.id,
            division,
            day,
        };
        self.context.charter.route(&asked)
    }

    /// The record enters where the charter's routes say (V017, R-47).
    pub(super) fn path(&mut self, category: &Category) {
        // A field that is no division was named before.
        let Some(division) = self.division("producer_division") else { return };
        let charter = self.context.charter;
        let Some(route) = self.route(category, division) else {
            let en = format!("{division} is not a division of this federation's charter");
            return self.say_so(
                Severity::Reject,
                "V017",
                "producer_division",
                (en, format!("归集路径不符：{division} 不在本体系内")),
            );
        };
        let submitter = self.division("submitter_division");
        if let Some(s) = submitter
            && charter.entry_node(s).is_none()
        {
            let en = format!("{s} is not a division of this federation's charter");
            return self.say_so(
                Severity::Reject,
                "V017",
                "submitter_division",
                (en, format!("归集路径不符：{s} 不在本体系内")),
            );
        }
        let (origin, right) = (self.context.origin, route.entry);
        // Where nothing is handed in, a task is kept and told by whoever sees to it, at any of the levels.
        let own = charter.entry_node(division).unwrap_or(right);
        if !category.counts && route.case == Case::Central && charter.is_within(own, origin) {
            return;
        }
        // What entered before a rule began is amended and withdrawn where it is held.
        let before = self.route_on(category, division, Date::MIN);
        if self.text("operation") != Some("create")
            && before.is_some_and(|r| r.entry == origin && r.rule.map(|(n, _)| n) != route.rule.map(|(n, _)| n))
        {
            return;
        }
        if let Some((_, rule)) = route.rule
            && let Some(by) = rule.by.clone()
            && self.text("submitter_uscc") != Some(by.as_str())
        {
            let name = charter.units().get(&by).map_or("", |u| u.name.as_str());
            let (case, zh) = (route.case.name(), route.case.name_zh());
            let en = format!("by the route ({case}) {name} {by} delivers this for all: do not deliver it twice");
            let zh = format!("归集路径不符：{zh}，由 {name} {by} 报送，请勿重复报送");
            return self.say_so(Severity::Reject, "V017", "submitter_uscc", (en, zh));
        }
        if origin == right {
            return;
        }
        // Where no rule of the charter speaks, a unit that submits for another's division may do so at its own node, and
        // a node above takes what belongs below it; then a record can come by two paths, so it is asked about.
        let elsewhere = submitter.filter(|s| *s != division).and_then(|s| charter.entry_node(s));
        let lenient = route.rule.is_none() && !charter.units().strict_paths;
        let soft = lenient && (elsewhere == Some(origin) || charter.is_within(right, origin));
        let most = if soft { Severity::Question } else { Severity::Reject };
        let name = charter.node(right).map_or("", |n| n.name.as_str());
        let case = route.case.name();
        let en = match route.case {
            Case::Central => format!(
                "by the route ({case}) the central authority delivers this from above, at {right} {name}: nothing is handed in at {origin}"
            ),
            _ => format!("this record does not belong to {origin}: by the route ({case}) hand it in at {right} {name}"),
        };
        let zh = format!("归集路径不符：{}，应报送至 {right} {name}", route.case.name_zh());
        self.say_so(most, "V017", "submitter_division", (en, zh));
    }
}
