//! Since when each level has had a record on disk: the first receipt that covers it.

use serde::{Deserialize, Serialize};
use std::cmp::Reverse;
use tally_clock::time;
use tally_core::View;
use tally_protocol::{
    ids::{Division, LogId},
    record::RecordId,
};
use tally_topology::charter::Level;
use utoipa::ToSchema;

/// One level's copy.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct HeldBy {
    /// Who has it on disk.
    #[schema(value_type = String)]
    pub holder: Division,
    /// Level of the holder; null if the charter does not name it.
    #[schema(value_type = Option<String>)]
    pub level: Option<Level>,
    /// Records of the log that the holder's first receipt over this record covers.
    pub size: u64,
    /// When the holder signed it; for the origin, when it sealed the record's batch.
    pub time: String,
}

/// Where a record is. One element of the contract of `tally receipt --json`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct RecordReceipts {
    /// The record.
    #[schema(value_type = String)]
    pub id: RecordId,
    /// Origin of the log that had it first; null: not held here.
    pub log: Option<String>,
    /// Its index there.
    pub index: Option<u64>,
    /// When it was sealed there, that is, durable at its origin.
    pub sealed_at: Option<String>,
    /// Since when it is staged at this node: only this disk has it, and nobody has signed it.
    pub staged_since: Option<String>,
    /// The origin, then those above as far as their receipts are known here, lower levels first.
    pub held_by: Vec<HeldBy>,
    /// Where it stood, if it was acknowledged here and is on no disk any more: it has to be handed in again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lost: Option<LostPlace>,
}

/// Where a record stood that is on no disk any more.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct LostPlace {
    /// Origin of the log.
    pub log: String,
    /// Its index there.
    pub index: u64,
}

impl RecordReceipts {
    /// A record that no log held here has.
    pub fn missing(id: RecordId) -> Self {
        Self { id, log: None, index: None, sealed_at: None, staged_since: None, held_by: Vec::new(), lost: None }
    }

    /// A record that is staged here since then, POSIX seconds.
    pub fn staged(id: RecordId, since: u64) -> Self {
        Self { staged_since: Some(time(since)), ..Self::missing(id) }
    }

    /// Of the record at `index` of `log`.
    pub fn of(r: &View, id: RecordId, log: LogId, index: u64) -> Self {
        let (sealed_at, held_by) = held_by(r, log, index);
        let log = Some(r.charter().federation().origin(log));
        Self { log, index: Some(index), sealed_at, held_by, ..Self::missing(id) }
    }
}

/// When the record at `index` of `log` was sealed, and who has it on disk since when: the origin, then those above as far as their
/// receipts are known here, lower levels first.
pub(crate) fn held_by(r: &View, log: LogId, index: u64) -> (Option<String>, Vec<HeldBy>) {
    let charter = r.charter();
    let level = |d| charter.node(d).map(|n| n.level);
    let held_by = |holder, size, at| HeldBy { holder, level: level(holder), size, time: time(at) };
    let (mut sealed_at, mut all) = (None, Vec::new());
    let Some(held) = r.log(log) else { return (sealed_at, all) };
    if let Some((end, batch)) = held.batch_of(index) {
        sealed_at = Some(time(batch.sealed_at));
        all.push(held_by(log.division, end, batch.sealed_at));
    }
    let mut above: Vec<_> = held.holders().filter(|d| *d != log.division).collect();
    above.sort_by_key(|d| (Reverse(level(*d)), *d));
    for holder in above {
        all.extend(held.first_receipt(holder, index).map(|k| held_by(holder, k.size, k.time)));
    }
    (sealed_at, all)
}
