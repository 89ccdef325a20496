//! By whom, where and when rows are handed in: all that is needed besides a row to make a record of it.

use jiff::civil::Date;
use tally_protocol::ids::Division;
use tally_topology::charter::Charter;

/// Where and by whom rows are handed in.
#[derive(Debug, Clone, Copy)]
pub struct RowContext<'a> {
    /// The charter in force.
    pub charter: &'a Charter,
    /// This node.
    pub me: Division,
    /// Today in China.
    pub today: Date,
    /// Category of rows that name none; others are then rejected.
    pub category: Option<&'a str>,
    /// Code of the unit that hands in, if it is known.
    pub unit: Option<&'a str>,
    /// Division of rows that name none.
    pub division: Option<Division>,
    /// What the one who hands in may do; none: everything.
    pub rights: Option<&'a Rights>,
    /// The rows are a load of history (历史补录), which is not late.
    pub backfill: bool,
}

/// Limits of a token.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Rights {
    /// Only records that this unit submits.
    pub unit: Option<String>,
    /// Only records that count for one of these divisions; none named: any.
    pub divisions: Vec<Division>,
    /// Only these categories; none named: any.
    pub categories: Vec<String>,
}

impl Rights {
    /// Whether what counts for this division, in this category, is among what the one who has these limits may see, if this
    /// unit produced it. A division that cannot be told is nobody's who is limited to some.
    pub fn cover(&self, category: &str, unit: &str, division: Option<Division>) -> bool {
        self.unit.as_deref().is_none_or(|u| u == unit)
            && (self.categories.is_empty() || self.categories.iter().any(|c| c == category))
            && (self.divisions.is_empty() || division.is_some_and(|d| self.divisions.contains(&d)))
    }
}
