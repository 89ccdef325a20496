//! Who hands in what, and where: V016 and V017.

use super::{RecordJudge, shown, text};
use crate::{
    catalog::{Category, Severity},
    divisions,
    route::{Asked, Case, PathClaim, PathStanding, Route},
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
        self.context.charter.route(&self.asked(category, division, self.produced()))
    }

    /// The day on which the record was produced; today where it does not say.
    fn produced(&self) -> Date {
        self.text("produced_on").and_then(text::date).unwrap_or(self.context.today)
    }

    fn asked<'a>(&'a self, category: &'a Category, division: Division, day: Date) -> Asked<'a> {
        Asked {
            unit: self.text("producer_uscc").unwrap_or_default(),
            unit_name: self.text("producer_name").unwrap_or_default(),
            category: &category.id,
            division,
            day,
        }
    }

    /// The record enters where the charter's routes say (V017, R-47).
    pub(super) fn path(&mut self, category: &Category) {
        // A field that is no division was named before.
        let Some(division) = self.division("producer_division") else { return };
        let charter = self.context.charter;
        let claim = PathClaim {
            asked: self.asked(category, division, self.produced()),
            submitter_division: self.division("submitter_division"),
            changes: self.text("operation") != Some("create"),
            counts: category.counts,
        };
        let origin = self.context.origin;
        let submitter = self.text("submitter_uscc");
        match charter.path_standing(origin, &claim, |unit| submitter == Some(unit)) {
            PathStanding::Right => {}
            PathStanding::NoDivision => self.no_division("producer_division", division),
            PathStanding::NoSubmitter(s) => self.no_division("submitter_division", s),
            PathStanding::DeliveredBy(route, by) => {
                let name = charter.units().get(by).map_or("", |u| u.name.as_str());
                let (case, zh) = (route.case.name(), route.case.name_zh());
                let en = format!("by the route ({case}) {name} {by} delivers this for all: do not deliver it twice");
                let zh = format!("归集路径不符：{zh}，由 {name} {by} 报送，请勿重复报送");
                self.say_so(Severity::Reject, "V017", "submitter_uscc", (en, zh));
            }
            PathStanding::Lenient(route) => self.wrong_door(Severity::Question, &route),
            PathStanding::Elsewhere(route) => self.wrong_door(Severity::Reject, &route),
        }
    }

    fn no_division(&mut self, field: &str, division: Division) {
        let mut en = format!("{division} is not a division of this federation's charter");
        let mut zh = format!("归集路径不符：{division} 不在本体系内");
        if let Some((more, more_zh)) = divisions::told_of_former(division) {
            en += &format!(": {more}");
            zh += &format!("：{more_zh}");
        }
        self.say_so(Severity::Reject, "V017", field, (en, zh));
    }

    fn wrong_door(&mut self, most: Severity, route: &Route<'_>) {
        let (origin, right) = (self.context.origin, route.entry);
        let name = self.context.charter.node(right).map_or("", |n| n.name.as_str());
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
