//! How bad a node's state is: one table for `tally check`, `/readyz`, and whoever else judges a status.
//!
//! It judges what [`Status`] says and looks at nothing itself. A code that it does not know weighs as a warning.

use crate::status::{Action, Status};
use serde::Serialize;

/// How bad something is, as monitoring counts it. The number is the exit code of `tally check`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum CheckLevel {
    /// In order.
    Ok = 0,
    /// Look at it within the day.
    Warning = 1,
    /// Look at it now.
    Critical = 2,
    /// Nobody knows.
    Unknown = 3,
}

impl CheckLevel {
    /// Which of two is worse: what is known to be critical goes before what nobody knows.
    pub fn rank(self) -> u8 {
        match self {
            Self::Ok => 0,
            Self::Warning => 1,
            Self::Unknown => 2,
            Self::Critical => 3,
        }
    }

    /// As monitoring writes it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Ok => "OK",
            Self::Warning => "WARNING",
            Self::Critical => "CRITICAL",
            Self::Unknown => "UNKNOWN",
        }
    }
}

/// What is looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum CheckScope {
    /// Links, neighbours, nodes below and above, the clock.
    Peers,
    /// The disk, the logs, the index, what is staged, drop folders.
    Store,
    /// Whether deadlines can be counted, and what is overdue.
    Deadlines,
    /// The charter, keys and epochs.
    Charter,
}

impl CheckScope {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Peers, Self::Store, Self::Deadlines, Self::Charter];

    /// As on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::Peers => "peers",
            Self::Store => "store",
            Self::Deadlines => "deadlines",
            Self::Charter => "charter",
        }
    }
}

/// What is known of a code.
#[derive(Debug)]
struct Weight {
    code: &'static str,
    scope: CheckScope,
    level: CheckLevel,
    /// The check of `/readyz` that fails with it.
    unready: Option<&'static str>,
}

const fn weight(code: &'static str, scope: CheckScope, level: CheckLevel) -> Weight {
    Weight { code, scope, level, unready: None }
}

const fn unready(code: &'static str, scope: CheckScope, level: CheckLevel, check: &'static str) -> Weight {
    Weight { code, scope, level, unready: Some(check) }
}

use CheckLevel::{Critical, Ok as Fine, Warning};
use CheckScope::{Charter, Deadlines, Peers, Store};

/// Every code of [`Status::actions`]. Critical is what loses data or stops work if nobody looks: what passes by itself, or
/// waits for a person without harm, is a warning.
const WEIGHTS: [Weight; 43] = [
    unready("parent_not_live", Peers, Warning, "parent"),
    weight("unconfirmed", Peers, Warning),
    weight("log_rejected", Peers, Critical),
    weight("batch_refused", Peers, Critical),
    weight("conflict_reported", Peers, Critical),
    weight("same_key_twice", Peers, Critical),
    weight("bundle_due", Peers, Warning),
    weight("clock_off", Peers, Critical),
    weight("clock_skew", Peers, Warning),
    weight("node_lost", Peers, Critical),
    weight("node_never_seen", Peers, Warning),
    weight("node_refused", Peers, Critical),
    weight("node_damaged", Peers, Critical),
    weight("node_disagrees", Peers, Critical),
    weight("node_staged", Peers, Warning),
    weight("node_late", Peers, Warning),
    weight("node_clock", Peers, Warning),
    weight("refused_above", Peers, Critical),
    weight("damaged_above", Peers, Critical),
    weight("frozen_above", Peers, Critical),
    weight("retired_rows", Peers, Warning),
    weight("parent_retired", Peers, Critical),
    unready("storage_full", Store, Critical, "store"),
    unready("journal_damaged", Store, Critical, "store"),
    unready("log_damaged", Store, Critical, "store"),
    weight("damaged_again", Store, Critical),
    weight("log_frozen", Store, Critical),
    weight("dead_branch", Store, Warning),
    weight("lost_records", Store, Critical),
    weight("staged", Store, Warning),
    weight("staged_damaged", Store, Critical),
    weight("not_signing", Store, Warning),
    weight("gate_opened", Store, Fine),
    weight("folder_refused", Store, Warning),
    unready("index_failed", Store, Warning, "index"),
    weight("index_behind", Store, Fine),
    weight("calendar_ends", Deadlines, Warning),
    weight("charter_behind", Charter, Warning),
    weight("charter_differs", Charter, Critical),
    weight("key_missing", Charter, Critical),
    weight("epoch_requested", Charter, Warning),
    weight("epoch_rejected", Charter, Critical),
    weight("request_pending", Charter, Warning),
];

/// A node that is retired is not looked after any more.
const RETIRED: Weight = weight("retired", Charter, Warning);

fn known(code: &str) -> Option<&'static Weight> {
    WEIGHTS.iter().chain([&RETIRED]).find(|w| w.code == code)
}

/// Every code that a status may name.
pub fn action_codes() -> impl Iterator<Item = &'static str> {
    WEIGHTS.iter().chain([&RETIRED]).map(|w| w.code)
}

/// One thing that was found.
#[derive(Debug, Clone, Serialize)]
pub struct CheckFinding {
    /// Where it belongs.
    pub scope: CheckScope,
    /// How bad it is.
    pub level: CheckLevel,
    /// What it is, why, and what to do.
    #[serde(flatten)]
    pub action: Action,
}

/// What of a status belongs to these scopes, the worst first.
pub fn judged(status: &Status, scopes: &[CheckScope]) -> Vec<CheckFinding> {
    let one = |action: &Action| {
        let (scope, level) = known(&action.code).map_or((Store, Warning), |w| (w.scope, w.level));
        CheckFinding { scope, level, action: action.clone() }
    };
    let mut found: Vec<_> = status.actions.iter().map(one).filter(|f| scopes.contains(&f.scope)).collect();
    found.sort_by_key(|f| std::cmp::Reverse(f.level.rank()));
    found
}

/// The checks of `/readyz`: whether records can be taken in and signed now, and the parent is linked; each with the code of
/// why not, if it fails. Whatever keeps a node from signing counts, also where the page calls it by another name: whoever
/// sends rows to this node learns that only its disk has them.
pub(crate) fn readiness(status: &Status) -> [(&'static str, Option<&str>); 4] {
    let fails = |check| {
        let failing = |a: &&Action| known(&a.code).is_some_and(|w| w.unready == Some(check));
        status.actions.iter().find(failing).map(|a| a.code.as_str())
    };
    ["signing", "store", "index", "parent"].map(|check| match check {
        "signing" => (check, status.staged.because.as_deref()),
        check => (check, fails(check)),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    /// Words in the form of a code that stand in quotes before the tests of a source.
    fn quoted(source: &str) -> BTreeSet<&str> {
        let source = source.split("#[cfg(test)]").next().unwrap_or_default();
        let word = |t: &&str| t.len() > 4 && t.bytes().all(|b| b.is_ascii_lowercase() || b == b'_');
        source.split('"').skip(1).step_by(2).filter(word).collect()
    }

    #[test]
    fn every_code_that_a_status_names_has_its_weight_and_no_other_has() {
        let sources =
            [include_str!("status/advice.rs"), include_str!("status/below.rs"), include_str!("status/disk.rs")];
        let named: BTreeSet<&str> = sources.into_iter().flat_map(quoted).collect();
        // Words of these sources that are no codes.
        let others = ["never", "asked"];
        let named: BTreeSet<&str> = named.into_iter().filter(|w| w.contains('_') || known(w).is_some()).collect();
        let named: BTreeSet<&str> = named.into_iter().filter(|w| !others.contains(w)).collect();
        let weighed: BTreeSet<&str> = action_codes().collect();
        assert_eq!(named, weighed);
    }
}
