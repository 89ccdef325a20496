//! What a node remembers of its neighbours, for its own decisions and for status. It decides nothing.

use super::LinkId;
use crate::Push;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use tally_protocol::{
    hash::Hash,
    ids::{Division, LogId},
    wire::{CharterMark, Head, Refusal},
};

/// The parent, linked or not.
#[derive(Debug, Clone, Default)]
pub struct Parent {
    /// The live link.
    pub link: Option<ParentLink>,
    /// When the last link went, POSIX milliseconds.
    pub lost_ms: Option<u64>,
    /// When the parent last confirmed anything, POSIX milliseconds.
    pub last_ack_ms: Option<u64>,
    /// The parent's last word if it refused: stable name and reason.
    pub refused: Option<(Refusal, String)>,
    /// Why it cannot be reached.
    pub trouble: Option<String>,
    /// The parent asked to come back later: not before, POSIX milliseconds.
    pub busy_until_ms: Option<u64>,
    /// Logs that the parent does not take, and why.
    pub rejected: BTreeMap<LogId, Rejected>,
    /// Logs of which the parent holds less than it had confirmed, and how much it holds.
    pub set_back: BTreeMap<LogId, u64>,
    /// Whether its copy of this division is the same, by its heartbeats.
    pub agreement: Agreement,
    /// The parent's latest head of this node's own log: size and root.
    pub own_head: Option<(u64, Hash)>,
    /// It spoke of a log that the charter in force here does not know: this charter is behind.
    pub charter_behind: bool,
    /// How much the parent holds of each log of this node's division, also of earlier epochs.
    pub own_sizes: BTreeMap<LogId, u64>,
    /// Records of logs below that the parent has given back since the start.
    pub fetched_below: u64,
    /// Logs of which a batch cannot be read from this disk, and why.
    pub damaged: BTreeMap<LogId, String>,
}

/// The parent's refusal of a log's next batch.
#[derive(Debug, Clone)]
pub struct Rejected {
    /// Stable name.
    pub code: Refusal,
    /// For people.
    pub reason: String,
    /// Where the parent said to stand.
    pub start: u64,
    /// When, POSIX milliseconds.
    pub since_ms: u64,
    /// So many times in a row.
    pub times: u32,
}

/// A link to the parent.
#[derive(Debug, Clone)]
pub struct ParentLink {
    /// Its name.
    pub id: LinkId,
    /// The parent.
    pub peer: Division,
    /// The welcome has arrived.
    pub welcomed: bool,
    /// Version of the messages, once welcomed.
    pub version: u16,
    /// The charter in force there, as it last said.
    pub charter: Option<CharterMark>,
    /// When anything was last heard, POSIX milliseconds.
    pub heard_ms: u64,
    /// The parent's clock minus ours, milliseconds (includes half a round trip).
    pub skew_ms: i64,
    /// The frontier has arrived whole.
    pub frontier_known: bool,
    /// Sessions by log, from the frontier on.
    pub pushes: BTreeMap<LogId, Push>,
    /// Logs of which the parent holds more than is held here: nothing to push.
    pub ahead: BTreeMap<LogId, u64>,
    /// Heads of the parent that are not known to be of the history held here: nothing of those logs is pushed until they are.
    pub unproved: BTreeMap<LogId, Head>,
    /// The epoch of the parent whose key this link was opened with.
    pub epoch: Option<LogId>,
    /// Logs that were asked for on this link, and up to where.
    pub fetching: BTreeMap<LogId, u64>,
    /// From where on it was asked for them.
    pub asked_from: BTreeMap<LogId, u64>,
    /// The parent's clock when it last spoke of it, and this node's then: the next heartbeat sends it back.
    pub clock_heard: Option<(u64, u64)>,
}

/// A child that has called since the start.
#[derive(Debug, Clone, Default)]
pub struct Child {
    /// The live link.
    pub link: Option<ChildLink>,
    /// When anything was last heard, POSIX milliseconds.
    pub seen_ms: Option<u64>,
    /// When a bundle of it was taken in, POSIX milliseconds.
    pub carried_ms: Option<u64>,
    /// Records that the child says to hold of its division and below.
    pub records: Option<u64>,
    /// Whether its digest was ours at its last heartbeat.
    pub agreement: Agreement,
    /// Why it was last refused, until it is welcomed again.
    pub refused: Option<(Refusal, String)>,
    /// Its software.
    pub software: String,
    /// The charter in force there, as it last said.
    pub charter: Option<CharterMark>,
    /// Logs of which a batch was refused, and why.
    pub rejected: BTreeMap<LogId, (Refusal, String)>,
    /// The runs of it that have called since the start, latest last, each with its latest count of links.
    runs: VecDeque<([u8; 16], u64)>,
    /// When it last showed that two machines run with its key, POSIX milliseconds.
    pub same_key_ms: Option<u64>,
}

/// Runs of a child that are remembered.
const RUNS_MAX: usize = 8;

impl Child {
    /// Takes the run and the count of links that a hello tells. The answer is whether it shows that two machines run with one
    /// key: a run comes back after another one, or a count comes twice.
    pub fn met(&mut self, run: [u8; 16], links: u64) -> bool {
        if let Some((_, count)) = self.runs.back_mut().filter(|(latest, _)| *latest == run) {
            let twice = links <= *count;
            *count = links.max(*count);
            return twice;
        }
        let before = self.runs.iter().position(|(known, _)| *known == run);
        let came_back = before.and_then(|at| self.runs.remove(at)).is_some();
        if self.runs.len() == RUNS_MAX {
            self.runs.pop_front();
        }
        self.runs.push_back((run, links));
        came_back
    }
}

/// Whether two neighbours hold the same.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub enum Agreement {
    /// Not compared yet.
    #[default]
    Unknown,
    /// Same digest since, POSIX milliseconds.
    Agrees(u64),
    /// Different digests since, POSIX milliseconds.
    Differs(u64),
}

impl Agreement {
    /// Takes a comparison made at `now_ms`.
    pub fn compared(&mut self, same: bool, now_ms: u64) {
        *self = match (*self, same) {
            (Self::Agrees(since), true) => Self::Agrees(since),
            (Self::Differs(since), false) => Self::Differs(since),
            (_, true) => Self::Agrees(now_ms),
            (_, false) => Self::Differs(now_ms),
        };
    }
}

/// A link from a child.
#[derive(Debug, Clone)]
pub struct ChildLink {
    /// Its name.
    pub id: LinkId,
    /// Who, by key.
    pub peer: LogId,
    /// The hello was answered with a welcome.
    pub welcomed: bool,
    /// Version of the messages, once welcomed.
    pub version: u16,
    /// When anything was last heard, POSIX milliseconds.
    pub heard_ms: u64,
    /// The child's clock minus ours, milliseconds.
    pub skew_ms: i64,
    /// From which log and holder on it has still to be told what receipts there are; none: it was told of all.
    pub receipts_left: Option<(LogId, Option<Division>)>,
    /// Logs that the child asked for.
    pub serving: BTreeMap<LogId, Push>,
    /// Logs of which it was told a sure head.
    pub told: BTreeSet<LogId>,
    /// Sizes of this node's log and its ancestors' that it was told.
    pub told_above: BTreeMap<LogId, u64>,
    /// It was told last that something is wrong with a log of its branch.
    pub told_faults: bool,
    /// The child's clock when it last spoke of it, and this node's then: the next heartbeat sends it back.
    pub clock_heard: Option<(u64, u64)>,
}
