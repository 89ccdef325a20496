//! A node of the federation as the charter names it: level, epochs with their keys, what it covers.

#![warn(clippy::indexing_slicing, clippy::arithmetic_side_effects)]

use super::expected::Expected;
use jiff::civil::Date;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use tally_protocol::{
    hash::Hash,
    ids::{Division, LogId},
    keys::VerifierKey,
};

/// Level of a node. A parent's level is above its child's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Level {
    /// 国家级
    National,
    /// 省级
    Province,
    /// 设区市级
    Prefecture,
    /// 县（市、区）级
    County,
}

impl Level {
    /// As in JSON and TOML.
    pub fn name(self) -> &'static str {
        match self {
            Self::National => "national",
            Self::Province => "province",
            Self::Prefecture => "prefecture",
            Self::County => "county",
        }
    }

    /// The level that a division's code has by GB/T 2260: 35 and four zeros a province, four digits and two zeros a
    /// prefecture, all others counties.
    pub fn of(division: Division) -> Self {
        match division.code() {
            code if code % 10_000 == 0 => Self::Province,
            code if code % 100 == 0 => Self::Prefecture,
            _ => Self::County,
        }
    }
}

impl std::str::FromStr for Level {
    type Err = String;
    fn from_str(name: &str) -> Result<Self, String> {
        let all = [Self::National, Self::Province, Self::Prefecture, Self::County];
        let names = || all.map(Self::name).join(", ");
        all.into_iter().find(|l| l.name() == name).ok_or_else(|| format!("{name:?} is no level: one of {}", names()))
    }
}

/// A division without a node of its own whose records enter at the node that covers it. In the text: `350199`, or
/// `350199 until 2026-06-30` for one that has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct Cover {
    /// The division.
    pub division: Division,
    /// The last day, inclusive, by the day on which a record was produced.
    pub until: Option<Date>,
}

impl TryFrom<String> for Cover {
    type Error = String;
    fn try_from(text: String) -> Result<Self, String> {
        let (division, until) = match text.split_once(" until ") {
            None => (text.as_str(), None),
            Some((division, day)) => (division, Some(day)),
        };
        let day = |d: &str| d.parse().map_err(|_| format!("covers: until {d:?} is not a day such as 2026-01-31"));
        let division = division.parse().map_err(|e| format!("covers: {e}"))?;
        Ok(Self { division, until: until.map(day).transpose()? })
    }
}

impl std::fmt::Display for Cover {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.until {
            None => write!(f, "{}", self.division),
            Some(day) => write!(f, "{} until {day}", self.division),
        }
    }
}

/// A node of the federation.
#[derive(Debug, Clone)]
pub struct Node {
    /// Its division; also its name on the wire.
    pub division: Division,
    /// For people.
    pub name: String,
    /// Its level.
    pub level: Level,
    /// Where it reports to. Only the top has none.
    pub parent: Option<Division>,
    /// `host:port` on which it listens for its children (UDP).
    pub addresses: Vec<String>,
    /// Divisions without a node of their own, whose records enter here.
    pub covers: Vec<Cover>,
    /// Out of service: its logs stay, no link is admitted.
    pub retired: bool,
    /// When it is expected to be linked.
    pub expected: Expected,
    /// Epochs from 1 on; the last is current.
    pub epochs: Vec<Epoch>,
}

/// The keys of one epoch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Epoch {
    /// Signs the checkpoints of the records log.
    pub log: VerifierKey,
    /// Signs the checkpoints of the operations log.
    pub operations: VerifierKey,
    /// Signs the checkpoints of all return logs, of each under its own origin: see [`super::Charter::log_key`].
    pub returns: VerifierKey,
    /// Signs receipts.
    pub mirror: VerifierKey,
    /// Identifies the node on links.
    pub link: VerifierKey,
    /// Set when the epoch is closed: nothing of its records log beyond this checkpoint is admitted.
    pub last: Option<(u64, Hash)>,
    /// The same for its other logs. One that is not named here is not closed: it may still be fetched to its end.
    pub(super) closed: BTreeMap<LogId, (u64, Hash)>,
}

impl Epoch {
    /// Whether another epoch has the same keys.
    pub(crate) fn same_keys(&self, other: &Self) -> bool {
        let keys = |e: &Self| [&e.log, &e.operations, &e.returns, &e.mirror, &e.link].map(ToString::to_string);
        keys(self) == keys(other)
    }

    /// The first log that is closed here and not at the same checkpoint there.
    pub(crate) fn reopened(&self, there: &Self) -> Option<LogId> {
        self.closed.iter().find(|(log, last)| there.closed.get(log) != Some(last)).map(|(log, _)| *log)
    }
}
