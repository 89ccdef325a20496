//! Collection paths (R-40 to R-43, R-47): at which node the records of a unit, a category and a division enter.
//!
//! Rules stand in the charter; the first that fits counts, and where none fits, the territorial case does.

mod path;
pub(crate) mod rule;
mod standing;

pub use path::{PathClaim, PathStanding};
pub use rule::{Case, ROUTE_ID_BYTES_MAX, ROUTES_MAX, RouteRule};
pub use standing::{Door, LogStanding, Submitted};

use crate::charter::{Charter, Level};
use jiff::civil::Date;
use tally_protocol::ids::Division;

/// What a route is asked for.
#[derive(Debug, Clone, Copy)]
pub struct Asked<'a> {
    /// Code of the producing unit.
    pub unit: &'a str,
    /// Its name, for rules that go by it; may be empty.
    pub unit_name: &'a str,
    /// Category.
    pub category: &'a str,
    /// Division that the record counts for.
    pub division: Division,
    /// The day on which it was produced.
    pub day: Date,
}

/// The route of a record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Route<'c> {
    /// Which case.
    pub case: Case,
    /// The rule that says so and its number from 1; none: no rule fits.
    pub rule: Option<(usize, &'c RouteRule)>,
    /// The node at which the record enters.
    pub entry: Division,
}

impl Charter {
    /// The route of a record; `None`: its division is not of this federation.
    pub fn route(&self, asked: &Asked<'_>) -> Option<Route<'_>> {
        let own = self.entry_node_on(asked.division, asked.day)?;
        let fits = |r: &&RouteRule| self.fits(r, asked, own);
        let rule = self.routes().iter().enumerate().find(|(_, r)| fits(r)).map(|(i, r)| (i + 1, r));
        let case = rule.map_or(Case::Territorial, |(_, r)| r.case);
        let entry = match case {
            Case::Territorial => own,
            Case::Prefecture => self.at_level(own, Level::Prefecture).unwrap_or(own),
            Case::Central | Case::Provincial => self.at_level(own, Level::Province).or(self.top())?,
        };
        Some(Route { case, rule, entry })
    }

    fn fits(&self, rule: &RouteRule, asked: &Asked<'_>, own: Division) -> bool {
        let within = |d: Division| asked.division == d || self.is_within(own, d);
        rule.category.as_deref().is_none_or(|c| c == asked.category)
            && rule.unit.as_deref().is_none_or(|u| u == asked.unit)
            && rule.unit_word.as_deref().is_none_or(|w| asked.unit_name.contains(w))
            && rule.division.is_none_or(within)
            && rule.from.as_deref().is_none_or(|from| from.parse().is_ok_and(|from: Date| from <= asked.day))
            && rule.until.as_deref().is_none_or(|until| until.parse().is_ok_and(|until: Date| asked.day <= until))
    }

    /// The node at or above `below` that is of this level.
    fn at_level(&self, below: Division, level: Level) -> Option<Division> {
        self.path(below).find(|d| self.node(*d).is_some_and(|n| n.level == level))
    }

    /// The nodes that a record passes which enters at `entry`: itself, its parent, and so on to the top.
    pub fn path(&self, entry: Division) -> impl Iterator<Item = Division> {
        std::iter::successors(self.node(entry).map(|n| n.division), |d| self.parent(*d))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::charter::tests::{document, sample};

    fn d(code: u32) -> Division {
        Division::try_from(code).unwrap()
    }

    const RULES: &str = r#"
[[route]]
id = "r1"
case = "territorial"
category = "registration"
division = "350128"
[[route]]
id = "r2"
case = "provincial"
category = "registration"
by = "11350000001234562W"
[[route]]
id = "r3"
case = "prefecture"
category = "spot_check"
division = "350100"
[[route]]
id = "r4"
case = "provincial"
category = "other"
from = "2026-06-04"
[[route]]
id = "r5"
case = "provincial"
category = "trademark"
from = "2026-06-03"
[[route]]
id = "r6"
case = "central"
unit_word = "税务局"
owner = "省税务局办公室"
due_on = "2026-12-31"
"#;

    fn entry(category: &str, name: &str, division: u32) -> Option<(Case, Option<usize>, Division)> {
        let charter = Charter::parse(&(document(1, &sample()) + RULES)).unwrap();
        let day = "2026-06-03".parse().unwrap();
        let asked = Asked { unit: "113501020036012589", unit_name: name, category, division: d(division), day };
        charter.route(&asked).map(|r| (r.case, r.rule.map(|(n, _)| n), r.entry))
    }

    #[test]
    fn the_four_cases_and_their_doors() {
        assert_eq!(entry("admin_license", "", 350_102), Some((Case::Territorial, None, d(350_102))));
        assert_eq!(entry("admin_license", "", 350_199), Some((Case::Territorial, None, d(350_100))));
        assert_eq!(entry("registration", "", 350_102), Some((Case::Provincial, Some(2), d(350_000))));
        assert_eq!(entry("registration", "", 350_128), Some((Case::Territorial, Some(1), d(350_128))));
        assert_eq!(entry("spot_check", "", 350_102), Some((Case::Prefecture, Some(3), d(350_100))));
        assert_eq!(entry("spot_check", "", 350_128), Some((Case::Territorial, None, d(350_128))));
        assert_eq!(
            entry("admin_penalty", "国家税务总局福州市鼓楼区税务局", 350_102),
            Some((Case::Central, Some(6), d(350_000)))
        );
        assert_eq!(entry("admin_license", "", 110_101), None);
        // A rule counts for what is produced from its day on.
        assert_eq!(entry("other", "", 350_102), Some((Case::Territorial, None, d(350_102))));
        assert_eq!(entry("trademark", "", 350_102), Some((Case::Provincial, Some(5), d(350_000))));
    }

    #[test]
    fn rules_and_covers_end_after_their_last_day() {
        let rule = "[[route]]\nid = \"a\"\ncase = \"provincial\"\ncategory = \"other\"\nuntil = \"2026-06-03\"\n";
        let nodes = sample().concat().replace("\"350199\"", "\"350199 until 2026-06-03\"");
        let charter = Charter::parse(&(document(1, &[nodes]) + rule)).unwrap();
        let on = |category, division, day: &str| {
            let (division, day) = (d(division), day.parse().unwrap());
            let asked = Asked { unit: "113501020036012589", unit_name: "", category, division, day };
            charter.route(&asked).map(|r| r.entry)
        };
        assert_eq!(on("other", 350_102, "2026-06-03"), Some(d(350_000)));
        assert_eq!(on("other", 350_102, "2026-06-04"), Some(d(350_102)));
        assert_eq!(on("admin_license", 350_199, "2026-06-03"), Some(d(350_100)));
        assert_eq!(on("admin_license", 350_199, "2026-06-04"), None);
    }

    #[test]
    fn rules_have_names_of_their_own() {
        let rule = |id: &str| format!("[[route]]\nid = \"{id}\"\ncase = \"territorial\"\n");
        let why = |rules: String| Charter::parse(&(document(1, &sample()) + &rules)).unwrap_err().to_string();
        assert!(why(rule("a") + &rule("a")).contains("id \"a\" stands there twice"));
        assert!(why(rule("")).contains("is not 1 to 64 lower-case letters"));
        assert!(why(rule("A b")).contains("is not 1 to 64 lower-case letters"));
        assert!(why("[[route]]\ncase = \"territorial\"\n".into()).contains("missing field `id`"));
    }

    #[test]
    fn the_path_goes_up_to_the_top() {
        let charter = Charter::parse(&document(1, &sample())).unwrap();
        assert_eq!(charter.path(d(350_102)).collect::<Vec<_>>(), [d(350_102), d(350_100), d(350_000)]);
        assert_eq!(charter.path(d(350_128)).collect::<Vec<_>>(), [d(350_128), d(350_000)]);
        assert_eq!(charter.path(d(110_101)).count(), 0);
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (rule, expected) in [
            ("case = \"central\"\ncategory = \"weather\"", "\"weather\" is not a category"),
            ("case = \"central\"\ndivision = \"110101\"", "110101 is neither"),
            ("case = \"central\"\ndue_on = \"soon\"", "due_on \"soon\" is not a day"),
            ("case = \"central\"\nfrom = \"soon\"", "from \"soon\" is not a day"),
            ("case = \"central\"\nuntil = \"soon\"", "until \"soon\" is not a day"),
            ("case = \"central\"\nby = \"x\"", "`by` names"),
            ("case = \"provincial\"\nowner = \"x\"", "liaison task"),
            ("case = \"sideways\"", "sideways"),
        ] {
            let text = document(1, &sample()) + "[[route]]\nid = \"x\"\n" + rule + "\n";
            let why = Charter::parse(&text).unwrap_err().to_string();
            assert!(why.contains(expected), "{expected:?} in {why}");
        }
    }
}
