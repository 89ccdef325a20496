//! The rules of collection paths as they stand in the charter.

use crate::catalog::Catalogs;
use jiff::civil::Date;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use tally_protocol::ids::Division;

/// Most route rules of one charter.
pub const ROUTES_MAX: usize = 2_000;

/// Longest id of a route rule, in bytes.
pub const ROUTE_ID_BYTES_MAX: usize = 64;

/// The four cases of the plan.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Case {
    /// A: to the platform of the unit's own level.
    Territorial,
    /// B: the data lie with the central authority; nothing is expected here, a liaison task is kept.
    Central,
    /// C: a provincial department delivers for all.
    Provincial,
    /// D: the city delivers for its counties.
    Prefecture,
}

impl Case {
    /// As in JSON.
    pub fn name(self) -> &'static str {
        match self {
            Self::Territorial => "territorial",
            Self::Central => "central",
            Self::Provincial => "provincial",
            Self::Prefecture => "prefecture",
        }
    }

    /// As the plan says it.
    pub fn name_zh(self) -> &'static str {
        match self {
            Self::Territorial => "按属地向本级共享平台归集",
            Self::Central => "中央驻闽机构与上级部门对接",
            Self::Provincial => "省级有关部门统一向省级共享平台归集",
            Self::Prefecture => "设区市统一归集",
        }
    }
}

/// `[[route]]`
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RouteRule {
    /// Its name for ever: 1 to 64 lower-case letters, digits and '-'. A rule is ended by `until`, never deleted or changed
    /// in what it says of whom.
    pub id: String,
    /// Which case.
    pub case: Case,
    /// Only this producing unit.
    #[serde(default)]
    pub unit: Option<String>,
    /// Only units whose name holds this: a vertical system such as 税务局.
    #[serde(default)]
    pub unit_word: Option<String>,
    /// Only this category.
    #[serde(default)]
    pub category: Option<String>,
    /// Only this division and those below it.
    #[serde(default)]
    pub division: Option<Division>,
    /// Only records produced from this day on, so that a change of paths is none for what was delivered before.
    #[serde(default)]
    pub from: Option<String>,
    /// The last day, inclusive: only records produced up to it.
    #[serde(default)]
    pub until: Option<String>,
    /// The unit that delivers for the others (cases C and D).
    #[serde(default)]
    pub by: Option<String>,
    /// Who keeps in touch with the central authority (case B).
    #[serde(default)]
    pub owner: Option<String>,
    /// By when (case B), a day.
    #[serde(default)]
    pub due_on: Option<String>,
    /// Why, for people.
    #[serde(default)]
    pub note: Option<String>,
}

impl RouteRule {
    /// Whether another rule says the same of the same records, but for the end and what is for people.
    pub(crate) fn says_the_same(&self, other: &Self) -> bool {
        let matter = |r: &Self| Self { until: None, owner: None, due_on: None, note: None, ..r.clone() };
        matter(self) == matter(other)
    }
}

/// Checks the rules of a charter; `enters` tells whether records of a division enter anywhere.
pub(crate) fn check(rules: &[RouteRule], catalogs: &Catalogs, enters: impl Fn(Division) -> bool) -> Result<(), String> {
    if rules.len() > ROUTES_MAX {
        return Err(format!("{} routes; at most {ROUTES_MAX} can be had", rules.len()));
    }
    let mut ids = BTreeSet::new();
    for (i, r) in rules.iter().enumerate() {
        let n = i + 1;
        let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
        if !(1..=ROUTE_ID_BYTES_MAX).contains(&r.id.len()) || !r.id.bytes().all(plain) {
            let (id, most) = (&r.id, ROUTE_ID_BYTES_MAX);
            return Err(format!("route {n}: id {id:?} is not 1 to {most} lower-case letters, digits and '-'"));
        }
        if !ids.insert(&r.id) {
            return Err(format!("route {n}: id {:?} stands there twice", r.id));
        }
        if let Some(c) = &r.category
            && catalogs.versions().iter().all(|v| v.category(c).is_none())
        {
            return Err(format!("route {n}: {c:?} is not a category of the catalog"));
        }
        if let Some(d) = r.division
            && !enters(d)
        {
            return Err(format!("route {n}: {d} is neither a node of this charter nor covered by one"));
        }
        for (name, day) in [("due_on", &r.due_on), ("from", &r.from), ("until", &r.until)] {
            if let Some(day) = day
                && day.parse::<Date>().is_err()
            {
                return Err(format!("route {n}: {name} {day:?} is not a day such as 2026-01-31"));
            }
        }
        if r.by.is_some() && !matches!(r.case, Case::Provincial | Case::Prefecture) {
            return Err(format!("route {n}: `by` names who delivers for others, which is provincial or prefecture"));
        }
        if (r.owner.is_some() || r.due_on.is_some()) && r.case != Case::Central {
            return Err(format!("route {n}: owner and due_on are of a liaison task, which the case central keeps"));
        }
    }
    Ok(())
}
