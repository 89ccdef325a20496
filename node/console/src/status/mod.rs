//! The snapshot behind `tally status`, `/v1/status`, `/readyz` and `/metrics`.

mod action;
mod advice;
mod below;
mod disk;
mod neighbours;

pub use below::NodeBelowStatus;

use crate::AskedEpoch;
use serde::{Deserialize, Serialize};
use std::path::PathBuf;
use tally_clock::time;
use tally_core::{Gate, NotSealed, Place, View, log::HeldLog};
use tally_driver::Shortage;
use tally_journal::Found;
use tally_protocol::{
    hash::Hash,
    ids::{Division, LogId},
};
use tally_reconcile::task::RepeatedDamage;
use tally_store::{index::IndexProgress, lost::LostRange, staged::StagedCounts};
use tally_topology::charter::{Level, RowsOfNode};
use utoipa::ToSchema;

/// State of a log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum LogState {
    /// Held, and confirmed by the parent as far as there is one.
    Ok,
    /// The parent has not confirmed all of it yet.
    Behind,
    /// Two histories were signed; nothing more is taken.
    Frozen,
    /// Parts cannot be read from this disk.
    Damaged,
    /// Nothing of it has ever arrived.
    Unknown,
}

/// State of a neighbour.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum PeerState {
    /// Linked and heard from.
    Live,
    /// Linked, but silent.
    Stalled,
    /// Was linked.
    Lost,
    /// Never linked since this node started.
    NeverSeen,
    /// Refused, by it or by us.
    Refused,
}

impl PeerState {
    /// As in JSON.
    pub fn name(self) -> &'static str {
        match self {
            Self::Live => "live",
            Self::Stalled => "stalled",
            Self::Lost => "lost",
            Self::NeverSeen => "never_seen",
            Self::Refused => "refused",
        }
    }
}

/// The whole snapshot; its JSON is the contract of `tally status --json`.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct Status {
    /// Who.
    pub node: NodeStatus,
    /// Distinct records; null while the index is behind.
    pub records: Option<u64>,
    /// Division digest of what this node holds; null when it holds nothing.
    #[schema(value_type = Option<String>)]
    pub digest: Option<Hash>,
    /// Rows that were taken and are not signed yet; `records` and `digest` leave them out.
    pub staged: StagedStatus,
    /// Logs of this division and those below.
    pub logs: Vec<LogStatus>,
    /// The parent; null at the top.
    pub parent: Option<ParentStatus>,
    /// Every enrolled child, linked or not; a retired one until its records are accounted for.
    pub children: Vec<ChildStatus>,
    /// Every enrolled node below, at any depth, linked or not.
    #[serde(default)]
    pub nodes: Vec<NodeBelowStatus>,
    /// Retired nodes below, at any depth, whose records are not all accounted for.
    pub retired: Vec<RetiredStatus>,
    /// Digests of this division and all below, as held here.
    pub divisions: Vec<DivisionStatus>,
    /// What needs somebody's attention.
    pub actions: Vec<Action>,
    /// `open`, `asking`, `fetching`, `frozen` or `damaged`: whether the own log is signed.
    pub signing: String,
    /// Records (counted per log) not in the index yet, or null when it does not work.
    pub index_behind: bool,
    /// Version of the charter in force, by which it is told what is in force.
    pub charter_version: u64,
    /// Version of the charter by which all findings are; below that of the charter in force while records are being judged
    /// again.
    #[serde(default)]
    pub judged_by: u64,
    /// Version of the catalog that rows are judged by today.
    pub catalog_version: String,
}

/// Rows that only this node's disk has.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct StagedStatus {
    /// How many.
    pub records: u64,
    /// When the oldest of them was taken; null if there is none.
    pub oldest: Option<String>,
    /// Why they are not signed, as in answers; null if they may be.
    pub because: Option<String>,
}

/// Who answers.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct NodeStatus {
    /// Division code.
    #[schema(value_type = String)]
    pub division: Division,
    /// Name by charter.
    pub name: String,
    /// Level by charter.
    #[schema(value_type = String)]
    pub level: Level,
    /// Software.
    pub version: String,
    /// Epoch of its log.
    pub epoch: u32,
}

/// One log.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct LogStatus {
    /// Origin.
    pub log: String,
    /// Records; null when nothing of it ever arrived.
    pub size: Option<u64>,
    /// Root at that size.
    #[schema(value_type = Option<String>)]
    pub root: Option<Hash>,
    /// The same as `size`: a log holds a record once.
    pub records: Option<u64>,
    /// State.
    pub state: LogState,
    /// Latest receipt of each holder.
    pub receipts: Vec<ReceiptStatus>,
}

/// One holder's latest receipt.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct ReceiptStatus {
    /// Who has it on disk.
    #[schema(value_type = String)]
    pub holder: Division,
    /// Level of the holder.
    #[schema(value_type = Option<String>)]
    pub level: Option<Level>,
    /// Records covered.
    pub size: u64,
    /// When it signed.
    pub time: String,
}

/// The parent.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct ParentStatus {
    /// Division code.
    #[schema(value_type = String)]
    pub division: Division,
    /// State of the link.
    pub state: PeerState,
    /// When it last confirmed anything.
    pub last_ack: Option<String>,
    /// Records, over all logs held here, that it has not confirmed.
    pub unacked_records: u64,
    /// When the oldest of them was sealed.
    pub oldest_unacked: Option<String>,
    /// Its clock minus ours.
    pub clock_skew_ms: Option<i64>,
    /// Whether its digest of this division was ours at its last heartbeat; null unless it is live and was
    /// compared, and while either of the two copies is not whole.
    pub agrees: Option<bool>,
    /// Since when.
    pub since: Option<String>,
    /// By charter, silence between the two is in order now: no alarm.
    pub excused: bool,
}

/// One child.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct ChildStatus {
    /// Division code.
    #[schema(value_type = String)]
    pub division: Division,
    /// Name by charter.
    pub name: String,
    /// State of the link.
    pub state: PeerState,
    /// When it was last heard.
    pub last_seen: Option<String>,
    /// Records that it holds and this node does not; null when unknown.
    pub behind_records: Option<u64>,
    /// Whether its digest was ours at its last heartbeat; null unless it is live and was
    /// compared, and while either of the two copies is not whole.
    pub agrees: Option<bool>,
    /// Since when.
    pub since: Option<String>,
    /// The charter retires it: it has no link any more.
    pub retired: bool,
    /// It is silent, and the charter says that this is in order now: no alarm.
    pub excused: bool,
}

/// A retired node whose records are not all accounted for.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct RetiredStatus {
    /// Division code.
    #[schema(value_type = String)]
    pub division: Division,
    /// Name by charter.
    pub name: String,
    /// Where it reported to.
    #[schema(value_type = Option<String>)]
    pub parent: Option<Division>,
    /// Records held here of it, and of those that came through it.
    pub held: u64,
    /// How many there are: where the charter closes its last epoch, or as it said last; null when unknown.
    pub had: Option<u64>,
}

/// What is held here of one division and those below it.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct DivisionStatus {
    /// Division code.
    #[schema(value_type = String)]
    pub division: Division,
    /// Digest.
    #[schema(value_type = Option<String>)]
    pub digest: Option<Hash>,
    /// Records, counted per log.
    pub log_records: u64,
}

/// Something to look at: what, why, and what to do next.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Action {
    /// Stable name.
    pub code: String,
    /// What is affected.
    pub what: String,
    /// Why.
    pub why: String,
    /// What to do.
    pub next: String,
}

/// What the snapshot needs besides the core.
#[derive(Debug, Clone)]
pub struct StatusInputs {
    /// State of the index.
    pub progress: IndexProgress,
    /// End of the durable journal.
    pub durable: Place,
    /// What the node is short of: while it is, nothing more is taken in.
    pub short_of: Option<Shortage>,
    /// What opening the journal found: damaged places and bytes.
    pub damaged_places: usize,
    /// Drop folders that cannot be used, and why.
    pub folders: Vec<(PathBuf, String)>,
    /// The disk has damaged what was whole again and again.
    pub damaged_again: Option<RepeatedDamage>,
    /// Rows that are not signed yet.
    pub staged: StagedCounts,
    /// Records that are on no disk any more, as far as the operator has not acknowledged them.
    pub lost: Vec<LostRange>,
    /// The next epoch, if this node has asked for it and nobody has answered.
    pub asked: Option<AskedEpoch>,
}

impl StatusInputs {
    /// Places that opening found damaged.
    pub fn damaged(found: &Found) -> usize {
        found.damage.len()
    }
}

impl Status {
    /// Takes the snapshot at `now_ms`.
    pub fn of(r: &View, now_ms: u64, inputs: &StatusInputs) -> Self {
        let charter = r.charter();
        let me = r.me();
        let node = charter.node(me);
        let indexed = inputs.progress.cursor >= inputs.durable && inputs.progress.trouble.is_none();
        let mut divisions: Vec<_> = charter.nodes().map(|n| n.division).filter(|d| charter.is_within(*d, me)).collect();
        divisions.sort();
        let (missed, nodes) = (retired(r), below::nodes(r, now_ms));
        let mut status = Self {
            node: NodeStatus {
                division: me,
                name: node.map_or(String::new(), |n| n.name.clone()),
                level: node.map_or(Level::County, |n| n.level),
                version: env!("CARGO_PKG_VERSION").to_owned(),
                epoch: r.own().epoch,
            },
            records: indexed.then_some(inputs.progress.distinct),
            digest: r.digest(me),
            staged: StagedStatus {
                records: inputs.staged.records,
                oldest: inputs.staged.oldest.map(time),
                because: r.closed().map(|why| why.code().to_owned()),
            },
            logs: logs(r, &divisions),
            parent: neighbours::parent(r, now_ms),
            children: charter
                .children(me)
                .filter(|n| !n.retired || missed.iter().any(|m| m.division == n.division))
                .map(|n| neighbours::child(r, now_ms, n.division, &nodes))
                .collect(),
            nodes,
            retired: missed,
            divisions: divisions
                .iter()
                .map(|d| DivisionStatus { division: *d, digest: r.digest(*d), log_records: r.records_of(*d) })
                .collect(),
            actions: Vec::new(),
            signing: signing(r).to_owned(),
            index_behind: !indexed,
            charter_version: charter.version(),
            judged_by: inputs.progress.judged_by,
            catalog_version: charter.catalogs().current(tally_clock::day(now_ms / 1_000)).version.to_string(),
        };
        status.actions = advice::actions(r, now_ms, inputs, &status);
        status
    }
}

fn signing(r: &View) -> &'static str {
    match r.gate() {
        _ if matches!(r.closed(), Some(NotSealed::Damaged(_))) => "damaged",
        Gate::Asking => "asking",
        Gate::Fetching(_) => "fetching",
        Gate::Open => "open",
        Gate::Frozen => "frozen",
    }
}

fn confirmed(r: &View, id: LogId, log: &HeldLog) -> Option<u64> {
    let parent = r.charter().parent(r.me())?;
    let receipt = log.receipts.get(&parent).map_or(0, |x| x.size);
    Some(r.parent().set_back.get(&id).map_or(receipt, |now| receipt.min(*now)))
}

fn log_state(r: &View, id: LogId, log: &HeldLog) -> LogState {
    if log.frozen.is_some() {
        LogState::Frozen
    } else if !log.is_whole() || r.parent().damaged.contains_key(&id) {
        LogState::Damaged
    } else if confirmed(r, id, log).is_some_and(|c| c < log.size()) {
        LogState::Behind
    } else {
        LogState::Ok
    }
}

fn logs(r: &View, divisions: &[Division]) -> Vec<LogStatus> {
    let charter = r.charter();
    let mut all: Vec<_> = divisions.iter().filter_map(|d| charter.current_log(*d)).collect();
    all.extend(r.logs().keys().copied());
    all.sort();
    all.dedup();
    // The own log is known to be empty before its first record; others are not known.
    let nothing = HeldLog::default();
    let level = |d: Division| charter.node(d).map(|n| n.level);
    let one = |id: LogId| {
        let log = charter.federation().origin(id);
        let own = (id == r.own()).then_some(&nothing);
        let Some(held) = r.log(id).filter(|l| l.size() > 0).or(own) else {
            let (size, root, records) = (None, None, None);
            return LogStatus { log, size, root, records, state: LogState::Unknown, receipts: Vec::new() };
        };
        let receipts = held.receipts.iter();
        let receipts = receipts
            .map(|(h, x)| ReceiptStatus { holder: *h, level: level(*h), size: x.size, time: time(x.time) })
            .collect();
        let (size, root) = (Some(held.size()), Some(held.tree().root()));
        LogStatus { log, size, root, records: size, state: log_state(r, id, held), receipts }
    };
    all.into_iter().map(one).collect()
}

fn retired(r: &View) -> Vec<RetiredStatus> {
    let missed = r.retired_and_missed().into_iter();
    let one = |(division, rows): (Division, RowsOfNode)| RetiredStatus {
        division,
        name: r.charter().node(division).map_or(String::new(), |n| n.name.clone()),
        parent: r.charter().parent(division),
        held: rows.held,
        had: rows.had,
    };
    missed.map(one).collect()
}

#[cfg(test)]
mod tests;
