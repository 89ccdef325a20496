//! Whether a log may submit for a record's producer (I11): only then does the record replace, withdraw or count.
//!
//! The answer is a function of the charter and of what the record says, also of its day (`until`, `from`), and of nothing
//! else. What a node finds wrong with a record otherwise changes nothing here.

use super::{Asked, PathClaim, PathStanding};
use crate::{
    catalog::Severity,
    charter::Charter,
    content::{Dimensions, Operation, unit_mark},
};
use jiff::civil::Date;
use tally_protocol::ids::Division;

/// How a log stands to the producer of a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum LogStanding {
    /// The route names its node.
    Named,
    /// A node above the one that the route names, where no rule speaks.
    Above,
    /// Another node that took it although it belongs elsewhere, in a way that the charter only asks about.
    Guest,
    /// It may not submit for this producer.
    Closed,
}

/// The node at which a record belongs, and how the log that holds it stands to that.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Door {
    /// The node; for a log that is not named, the one that is.
    pub node: Division,
    /// The log's standing.
    pub standing: LogStanding,
}

/// What a record says of itself, as far as its standing depends on it.
#[derive(Debug, Clone, Copy)]
pub struct Submitted<'a> {
    /// What it counts for, and who submitted it.
    pub dimensions: &'a Dimensions,
    /// Name of the producing unit, for rules that go by it.
    pub unit_name: &'a str,
    /// What it does.
    pub operation: Operation,
}

impl Charter {
    /// Where a record belongs, and how a log of `origin` stands to it.
    pub fn door(&self, origin: Division, submitted: &Submitted<'_>) -> Door {
        let closed = Door { node: origin, standing: LogStanding::Closed };
        let d = submitted.dimensions;
        let Ok(division) = Division::try_from(d.division) else { return closed };
        let claimed = self.door_of(origin, submitted, division);
        // A registry that is closed knows every unit; an open one is believed as far as it goes.
        let refuses = self.units().closed && self.refuses("V016");
        let Some(unit) = self.units().get(&d.unit) else {
            return if refuses { closed } else { claimed };
        };
        let within = |top: &Division| {
            division == *top || self.entry_node(division).is_some_and(|node| self.is_within(node, *top))
        };
        let of_unit = unit.division == division || unit.serves.iter().any(within);
        if of_unit && !unit.ended(d.day().unwrap_or(Date::MIN)) {
            return claimed;
        }
        if refuses || claimed.standing == LogStanding::Closed {
            return closed;
        }
        // The record names another division than the registry does: it gives way to whoever submits for that one.
        let home = self.door_of(origin, submitted, unit.division);
        Door { node: home.node, standing: LogStanding::Guest }
    }

    /// Whether a log of `origin` may amend or withdraw a record that another node's log holds.
    pub fn may_change(&self, origin: Division, submitted: &Submitted<'_>) -> bool {
        self.door(origin, submitted).standing <= LogStanding::Above
    }

    fn door_of(&self, origin: Division, submitted: &Submitted<'_>, division: Division) -> Door {
        let d = submitted.dimensions;
        let newest = self.catalogs().versions().iter().rev().find_map(|c| c.category(&d.category));
        let claim = PathClaim {
            asked: Asked {
                unit: &d.unit,
                unit_name: submitted.unit_name,
                category: &d.category,
                division,
                // Who names no day is judged by the rules that stand.
                day: d.day().unwrap_or(Date::MAX),
            },
            submitter_division: Division::try_from(d.submitter_division).ok(),
            changes: submitted.operation != Operation::Create,
            counts: newest.is_none_or(|c| c.counts),
        };
        let refused = if self.refuses("V017") { LogStanding::Closed } else { LogStanding::Guest };
        match self.path_standing(origin, &claim, |unit| unit_mark(unit) == d.submitter) {
            PathStanding::Right => Door { node: origin, standing: LogStanding::Named },
            PathStanding::Lenient(route) => {
                let above = self.is_within(route.entry, origin);
                let standing = if above { LogStanding::Above } else { LogStanding::Guest };
                Door { node: route.entry, standing }
            }
            PathStanding::Elsewhere(route) | PathStanding::DeliveredBy(route, _) => {
                Door { node: route.entry, standing: refused }
            }
            PathStanding::NoDivision | PathStanding::NoSubmitter(_) => Door { node: origin, standing: refused },
        }
    }

    /// Whether the newest catalog makes an entry node refuse what breaks this rule. What it lets in counts.
    fn refuses(&self, rule: &str) -> bool {
        let newest = self.catalogs().versions().last();
        newest.and_then(|c| c.rule(rule)).is_some_and(|r| r.severity == Some(Severity::Reject))
    }
}

#[cfg(test)]
mod tests {
    use super::{LogStanding::*, *};
    use crate::sample;

    const UNIT: &str = "113501020036012589";

    fn d(code: u32) -> Division {
        Division::try_from(code).unwrap()
    }

    fn of(division: u32, submitter_division: u32, day: u32) -> Dimensions {
        Dimensions {
            produced_on: day,
            division,
            category: "admin_license".into(),
            unit: UNIT.into(),
            submitter_division,
            submitter: unit_mark(UNIT),
            ..Dimensions::default()
        }
    }

    fn standing(charter: &Charter, origin: u32, dimensions: &Dimensions) -> (u32, LogStanding) {
        let submitted = Submitted { dimensions, unit_name: "", operation: Operation::Create };
        let door = charter.door(d(origin), &submitted);
        (door.node.code(), door.standing)
    }

    #[test]
    fn a_log_may_submit_where_the_routes_lead() {
        let charter = sample::charter("");
        let county = of(350_102, 350_102, 20_260_603);
        assert_eq!(standing(&charter, 350_102, &county), (350_102, Named));
        assert_eq!(standing(&charter, 350_100, &county), (350_102, Above));
        assert_eq!(standing(&charter, 350_103, &county), (350_102, Closed));
        assert_eq!(standing(&charter, 350_103, &of(350_102, 350_103, 20_260_603)), (350_102, Guest));
        assert_eq!(standing(&charter, 350_100, &of(350_199, 0, 20_260_603)), (350_100, Named), "it covers it");
        assert_eq!(standing(&charter, 350_102, &of(0, 350_102, 20_260_603)).1, Closed, "it names no division");
        assert_eq!(standing(&charter, 350_102, &of(110_101, 0, 20_260_603)).1, Closed);
        let strict = sample::charter("[registry]\nstrict_paths = true\n");
        assert_eq!(standing(&strict, 350_100, &county).1, Closed);
        assert_eq!(standing(&strict, 350_103, &of(350_102, 350_103, 20_260_603)).1, Closed);
    }

    #[test]
    fn what_took_effect_by_a_rule_that_ended_keeps_it() {
        let rule = "[[route]]\nid = \"a\"\ncase = \"provincial\"\ncategory = \"admin_license\"\nby = \"113501020036012589\"\nuntil = \"2026-06-03\"\n";
        let charter = sample::charter(rule);
        assert_eq!(standing(&charter, 350_000, &of(350_102, 350_000, 20_260_603)), (350_000, Named));
        assert_eq!(standing(&charter, 350_102, &of(350_102, 350_102, 20_260_603)).1, Closed);
        assert_eq!(standing(&charter, 350_102, &of(350_102, 350_102, 20_260_604)), (350_102, Named));
        let mut by_another = of(350_102, 350_000, 20_260_603);
        by_another.submitter = unit_mark("another");
        assert_eq!(standing(&charter, 350_000, &by_another).1, Closed, "another unit delivers for all");
    }

    #[test]
    fn the_registry_says_whose_unit_it_is() {
        let unit = |more: &str| {
            format!(
                "[[unit]]\ncode = \"{UNIT}\"\nname = \"U\"\ndivision = \"350103\"\nkind = \"county_dept\"\n{more}\n"
            )
        };
        // A county that claims a unit of its neighbour gives way to the neighbour.
        let stolen = of(350_102, 350_102, 20_260_603);
        let open = sample::charter(&unit(""));
        assert_eq!(standing(&open, 350_102, &stolen), (350_103, Guest));
        assert_eq!(standing(&open, 350_103, &of(350_103, 350_103, 20_260_603)), (350_103, Named));
        let closed = sample::charter(&format!("[registry]\nclosed = true\n{}", unit("")));
        assert_eq!(standing(&closed, 350_102, &stolen).1, Closed);
        let serves = sample::charter(&format!("[registry]\nclosed = true\n{}", unit("serves = [\"350100\"]")));
        assert_eq!(standing(&serves, 350_102, &stolen), (350_102, Named));
        let ended = sample::charter(&format!("[registry]\nclosed = true\n{}", unit("until = \"2026-06-03\"")));
        assert_eq!(standing(&ended, 350_103, &of(350_103, 350_103, 20_260_603)).1, Named);
        assert_eq!(standing(&ended, 350_103, &of(350_103, 350_103, 20_260_604)).1, Closed);
    }
}
