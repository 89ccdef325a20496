//! By whom and as what rows are handed in, and what takes them.

use super::{HeldReader, KnownRows};
use crate::{BatcherHandle, DedupPolicy, Rights, RowContext};
use std::sync::{Arc, atomic::AtomicBool};
use tally_protocol::ids::{Division, LogId};
use tally_store::staged::StagedBook;
use tally_topology::{charter::Charter, in_force::CharterHandle};

/// What every submission needs of the node to have its rows taken.
#[derive(Debug, Clone)]
pub struct IntakeHandle {
    /// The charter in force.
    pub charter: CharterHandle,
    /// The batcher.
    pub batcher: BatcherHandle,
    /// The own log.
    pub own: LogId,
    /// Rows that are not signed yet.
    pub staged: StagedBook,
    /// The disk is nearly full.
    pub full: Arc<AtomicBool>,
    /// The registrations held are all there are: a subject that is not among them is asked about (V011).
    pub base_is_complete: bool,
    /// Rows that are known byte for byte.
    pub known: KnownRows,
    /// Reads what is held, to say in what a row differs from it.
    pub held: Arc<dyn HeldReader>,
}

/// By whom and as what rows are handed in.
#[derive(Debug, Clone, Default)]
pub struct SubmissionTerms {
    /// Category of rows that name none.
    pub category: Option<String>,
    /// Code of the unit that hands in.
    pub unit: Option<String>,
    /// Division of rows that name none.
    pub division: Option<Division>,
    /// What the one who hands in may do.
    pub rights: Option<Rights>,
    /// The rows are a load of history (历史补录), which is not late.
    pub backfill: bool,
}

impl SubmissionTerms {
    /// BLAKE3, in hexadecimal digits, of what a client says of its rows beside them: the same rows under other terms are another
    /// submission. What its token may do is the operator's word, not the client's.
    pub(super) fn mark(&self, format: &str) -> String {
        let Self { category, unit, division, rights: _, backfill } = self;
        // As JSON, no value reads as two.
        let said = serde_json::json!([format, category, unit, division.map(|d| d.to_string()), backfill]);
        blake3::hash(said.to_string().as_bytes()).to_hex().to_string()
    }

    /// As what its rows are judged today, at the node `me`.
    pub fn row_context<'a>(&'a self, charter: &'a Charter, me: Division) -> RowContext<'a> {
        RowContext {
            charter,
            me,
            today: tally_clock::judging_day(),
            category: self.category.as_deref(),
            unit: self.unit.as_deref(),
            division: self.division,
            rights: self.rights.as_ref(),
            backfill: self.backfill,
        }
    }
}

/// What follows from the rules that depend on what is held, by the catalog in force today.
pub(super) fn policy(charter: &Charter, base_is_complete: bool) -> DedupPolicy {
    let catalog = charter.catalogs().current(tally_clock::judging_day());
    let of = |rule: &str| catalog.rule(rule).and_then(|r| r.severity);
    DedupPolicy {
        other_name: of("V010"),
        no_subject: of("V011").filter(|_| base_is_complete),
        conflict: of("V013"),
        no_original: of("V014"),
        other_form: of("V028"),
    }
}
