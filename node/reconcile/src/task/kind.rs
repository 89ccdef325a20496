//! What a task is: what it does, how far it is, what came of it. Its JSON is what the list's file and the API say.

use crate::verify::Watermark;
use serde::{Deserialize, Serialize};
use tally_protocol::ids::{Division, LogId};

/// Whom to compare with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum With {
    /// The parent.
    Parent,
    /// One neighbour.
    Division(Division),
    /// The parent and every child.
    All,
}

impl std::fmt::Display for With {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Parent => f.write_str("parent"),
            Self::All => f.write_str("all"),
            Self::Division(d) => write!(f, "{d}"),
        }
    }
}

impl std::str::FromStr for With {
    type Err = String;
    fn from_str(s: &str) -> Result<Self, String> {
        match s {
            "parent" => Ok(Self::Parent),
            "all" => Ok(Self::All),
            code => code.parse().map(Self::Division).map_err(|e| format!("{e}; or `parent`, or `all`")),
        }
    }
}

impl Serialize for With {
    fn serialize<S: serde::Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for With {
    fn deserialize<D: serde::Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        String::deserialize(d)?.parse().map_err(serde::de::Error::custom)
    }
}

/// What a task does.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum TaskKind {
    /// Reads the journal from the disk.
    Verify {
        /// Only this log.
        #[serde(default, with = "log_text")]
        log: Option<LogId>,
    },
    /// Compares with neighbours.
    Reconcile {
        /// With whom.
        with: With,
        /// Only this log.
        #[serde(default, with = "log_text")]
        log: Option<LogId>,
        /// Mend what is wrong.
        #[serde(default)]
        repair: bool,
        /// Compare what both sides know, without reading their disks.
        #[serde(default)]
        quick: bool,
        /// This node's own disk is read all the same.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        own_disk: bool,
    },
    /// Waits until the own history is back from the parent.
    Restore,
    /// Builds the index anew.
    Rebuild,
}

impl TaskKind {
    /// As in JSON.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Verify { .. } => "verify",
            Self::Reconcile { .. } => "reconcile",
            Self::Restore => "restore",
            Self::Rebuild => "rebuild",
        }
    }

    /// Whether it has to wait for one of the other kind to end. Whatever else they share, they take in turns.
    pub(super) fn waits_for(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Verify { .. }, Self::Verify { .. }) | (Self::Rebuild, Self::Rebuild) => true,
            (Self::Reconcile { with: mine, .. }, Self::Reconcile { with: theirs, .. }) => mine == theirs,
            _ => false,
        }
    }

    /// Whether the schedule's work of the other kind makes room for it.
    pub(super) fn displaces(&self, other: &Self) -> bool {
        *self == Self::Rebuild || self.waits_for(other) || self.reads_disk() && other.reads_disk()
    }

    fn reads_disk(&self) -> bool {
        matches!(
            self,
            Self::Verify { .. } | Self::Reconcile { quick: false, .. } | Self::Reconcile { own_disk: true, .. }
        )
    }
}

mod log_text {
    use super::{Deserialize, LogId};
    pub(super) fn serialize<S: serde::Serializer>(log: &Option<LogId>, s: S) -> Result<S::Ok, S::Error> {
        match log {
            Some(log) => s.collect_str(log),
            None => s.serialize_none(),
        }
    }
    pub(super) fn deserialize<'de, D: serde::Deserializer<'de>>(d: D) -> Result<Option<LogId>, D::Error> {
        let text = Option::<String>::deserialize(d)?;
        text.map(|t| t.parse().map_err(serde::de::Error::custom)).transpose()
    }
}

/// TaskState of a task.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TaskState {
    /// Waits for its turn.
    Queued,
    /// Under way.
    Running,
    /// Held by the operator.
    Paused,
    /// Done.
    Done,
    /// Could not be done.
    Failed,
    /// Ended by the operator.
    Cancelled,
}

impl TaskState {
    /// Nothing more will happen.
    pub fn is_over(self) -> bool {
        matches!(self, Self::Done | Self::Failed | Self::Cancelled)
    }
}

/// How far a task is.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TaskProgress {
    /// Units done.
    pub done: u64,
    /// Units to do, fixed once known; null before.
    pub total: Option<u64>,
    /// `bytes`, `neighbours`, `records`.
    pub unit: String,
    /// Whom it waits for; null if it does not.
    pub waiting_for: Option<String>,
}

/// One task.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Task {
    /// Its name: `t-` and a number.
    pub id: String,
    /// What it does.
    #[serde(flatten)]
    pub kind: TaskKind,
    /// TaskState.
    pub state: TaskState,
    /// Why it was started, by the operator's word.
    pub reason: String,
    /// Started by the schedule.
    pub scheduled: bool,
    /// MiB a second that it may read; 0: as fast as the disk.
    pub rate_mib: u64,
    /// When it was asked for.
    pub created: String,
    /// When it began, the first time.
    pub started: Option<String>,
    /// When it ended.
    pub ended: Option<String>,
    /// How far it is.
    pub progress: TaskProgress,
    /// What came of it.
    pub result: Option<serde_json::Value>,
    /// Exit code of a command that waited for it.
    pub exit: Option<u8>,
    /// Why it failed.
    pub error: Option<String>,
    /// Where it goes on after a stop.
    #[serde(default)]
    pub watermark: Watermark,
}
