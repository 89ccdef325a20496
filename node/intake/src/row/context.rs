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
