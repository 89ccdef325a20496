//! Health of the nodes below and of the logs above, as neighbours tell each other.

#![warn(clippy::indexing_slicing, clippy::arithmetic_side_effects)]

use crate::{
    bounded,
    ids::{Division, LogId},
    limits::HEALTH_NODES_MAX,
};
use serde::{Deserialize, Serialize};

/// What a node does with rows, as far as the sender knows. New kinds go at the end: the number is on the wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum HealthState {
    /// Nothing was ever heard of it.
    Unknown,
    /// It seals what it takes.
    Signing,
    /// Its parent has not answered since its start; rows are staged.
    Asking,
    /// It is an old copy and fetches the rest; rows are staged.
    Fetching,
    /// It may not sign for another reason; rows are staged.
    Staging,
    /// Two histories of its log were signed.
    Frozen,
    /// It brings its data into the form of a new release.
    Migrating,
    /// Its parent does not admit it, or does not take what it pushes.
    Refused,
    /// Two machines run with its key; rows are staged at both.
    SameKey,
}

/// The health of one node, as it was last heard of. Times are ages in milliseconds: each hop adds its own. `None`: not
/// known, which is never the same as 0.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeHealth {
    /// Which node.
    pub division: Division,
    /// Through whom it is known: the last node that told it.
    pub via: Division,
    /// What it does.
    pub state: HealthState,
    /// Age of the last word of it, in milliseconds.
    pub heard_ms: Option<u64>,
    /// Records that its parent has not confirmed.
    pub waiting: Option<u64>,
    /// Age of the oldest of them, in milliseconds.
    pub oldest_ms: Option<u64>,
    /// Rows that are staged.
    pub staged: Option<u64>,
    /// Whether it and its parent hold the same of its division.
    pub agrees: Option<bool>,
    /// Records that it cannot read from its disk.
    pub damaged: Option<u64>,
    /// Logs that it holds and that are frozen.
    pub frozen: Option<u64>,
    /// Its clock minus its parent's, in milliseconds.
    pub skew_ms: Option<i64>,
    /// Version of the charter in force there.
    pub charter: Option<u64>,
    /// Release of its software; cut to [`crate::limits::SOFTWARE_BYTES_MAX`] bytes.
    #[serde(with = "bounded::software_if_known")]
    pub software: Option<String>,
}

/// What a child tells of itself and of all nodes below it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct HealthSummary {
    /// All nodes are in it; otherwise those of which something changed.
    pub whole: bool,
    /// At most [`HEALTH_NODES_MAX`].
    #[serde(deserialize_with = "bounded::list::<_, _, HEALTH_NODES_MAX>")]
    pub nodes: Vec<NodeHealth>,
}

/// What is wrong with a log at a level above. New kinds go at the end: the number is on the wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AboveFault {
    /// It is not taken there.
    Refused,
    /// Part of it cannot be read there.
    Damaged,
    /// It is frozen there.
    Frozen,
    /// Two machines run with the key that signs it.
    SameKeyTwice,
}

/// What a level above says of a log of the receiver's.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AboveWord {
    /// Which log.
    pub log: LogId,
    /// Who says it.
    pub by: Division,
    /// What.
    pub fault: AboveFault,
    /// Since when: its age in milliseconds, to which each hop adds its own.
    pub since_ms: u64,
    /// For people; cut to [`crate::limits::REASON_BYTES_MAX`] bytes.
    #[serde(with = "bounded::reason")]
    pub reason: String,
}
