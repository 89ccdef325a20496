//! Compare with the source (R-51): a department's full export against the current versions that are held of its unit and
//! category, and the difference turned into records.
//!
//! ```text
//! index ─> held: the current version of every business key ─┐
//! file  ─> input ─> the rules of intake ─> source: rows looked up ┴─> report ─> apply: create, amend, withdraw by intake
//!                                       └─> spool: rows that differ, on the disk meanwhile
//! ```
//!
//! Memory: 64 to 80 bytes for each held record of the unit and category, and at most some 60 for each row that is new.

mod apply;
mod fields;
mod reader;
mod records;
mod report;
mod runs;
mod sink;
mod source;
mod spool;
mod table;
mod workflow;

pub use fields::FieldDifference;
pub use reader::RecordReader;
pub use report::{
    CompareReport, DifferentRecord, DifferentRecords, MissingRow, MissingRows, UnknownRecord, UnknownRecords,
};
pub use runs::{Comparisons, DryRun, RUN_HOURS, RunKey};
pub use source::{CompareInputs, Comparison};
pub use workflow::{CompareFailure, CompareJob, CompareRequest};

use std::io;
use tally_protocol::ids::Division;
use tally_store::index::EngineError;
use tally_topology::charter::Charter;

/// Most rows of one file, and most held records of one unit and category.
pub const ROWS_MAX: usize = 5_000_000;
/// Most entries of each list of an answer; the counts are of all.
pub const LISTED_MAX: usize = 10_000;

/// What is compared: everything that this unit produced in this category.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CompareTerms {
    /// Code of the producing unit.
    pub unit: String,
    /// Category.
    pub category: String,
    /// Only what counts for this division or those below it.
    pub division: Option<Division>,
}

impl CompareTerms {
    /// Whether what counts for a division (as its number; 0: not known) is compared.
    fn covers(&self, charter: &Charter, code: u32) -> bool {
        let Some(top) = self.division else { return true };
        let Ok(division) = Division::try_from(code) else { return false };
        division == top || charter.entry_node(division).is_some_and(|n| charter.is_within(n, top))
    }
}

/// Why there is no comparison.
#[derive(Debug, thiserror::Error)]
pub enum CompareError {
    /// The index does not answer.
    #[error(transparent)]
    Index(#[from] EngineError),
    /// More is held of the unit and category than [`ROWS_MAX`].
    #[error(
        "more than {ROWS_MAX} records of this unit and category are held, at most so many are compared / 该单位该信息类别的记录超过 {ROWS_MAX} 条，无法比对"
    )]
    TooManyHeld,
    /// The file that rows are put into meanwhile cannot be used.
    #[error("rows cannot be put on the disk meanwhile")]
    Spool(#[from] io::Error),
}

#[cfg(test)]
mod tests;
