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

/// One level's copy.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HeldBy {
    /// Who has it on disk.
    pub holder: Division,
    /// Level of the holder; null if the charter does not name it.
    pub level: Option<Level>,
    /// Records of the log that the holder's first receipt over this record covers.
    pub size: u64,
    /// When the holder signed it; for the origin, when it sealed the record's batch.
    pub time: String,
}

/// Where a record is. One element of the contract of `tally receipt --json`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RecordReceipts {
    /// The record.
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
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
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
        let charter = r.charter();
        let level = |d| charter.node(d).map(|n| n.level);
        let held_by = |holder, size, at| HeldBy { holder, level: level(holder), size, time: time(at) };
        let mut answer = Self { log: Some(charter.federation().origin(log)), index: Some(index), ..Self::missing(id) };
        let Some(held) = r.log(log) else { return answer };
        if let Some((end, batch)) = held.batch_of(index) {
            answer.sealed_at = Some(time(batch.sealed_at));
            answer.held_by.push(held_by(log.division, end, batch.sealed_at));
        }
        let mut above: Vec<_> = held.holders().filter(|d| *d != log.division).collect();
        above.sort_by_key(|d| (Reverse(level(*d)), *d));
        for holder in above {
            answer.held_by.extend(held.first_receipt(holder, index).map(|k| held_by(holder, k.size, k.time)));
        }
        answer
    }
}
