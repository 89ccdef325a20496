//! Keys and values of the index.
//!
//! ```text
//! r ‖ record id (32) ‖ log (8)                         -> Entry
//! k ‖ business key hash (16) ‖ sealed_at ‖ log ‖ index  -> record id ‖ operation
//! m ‖ "state"                                          -> State, written together with what it counts
//! ```

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use tally_protocol::{
    canonical::Object,
    codec::{self, CodecError},
    hash::Hash,
    ids::LogId,
    record::RecordId,
};

/// Where one log holds a record, and what is needed to find its other versions. Where the log's bytes lie on the disk
/// is the core's knowledge: repair moves them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// Index in the log.
    pub index: u64,
    /// When it was sealed, POSIX seconds.
    pub sealed_at: u64,
    /// What it does.
    pub operation: Operation,
    /// Hash of its business key.
    pub key: [u8; 16],
}

/// What a record does to its business key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Operation {
    /// 新增
    Create,
    /// 变更
    Amend,
    /// 撤销
    Withdraw,
}

/// How far the index is, and what it counts; changes atomically with the entries.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct State {
    /// Everything before this place is in.
    pub(super) segment: u32,
    pub(super) offset: u64,
    /// And so many records of the batch that lies at it.
    pub(super) done: u16,
    /// Distinct records.
    pub(super) distinct: u64,
    /// Entries of each log.
    pub(super) logs: BTreeMap<LogId, u64>,
    /// Keys under `r` of each log: as many as its entries, unless a record stands twice in a log.
    pub(super) keys: BTreeMap<LogId, u64>,
    /// One past the last record seen of each log: what comes below may be in already.
    pub(super) reached: BTreeMap<LogId, u64>,
}

const STATE_BYTES_MAX: usize = 1 << 20;
const ENTRY_BYTES_MAX: usize = 128;

impl State {
    pub(super) fn encode(&self) -> Vec<u8> {
        codec::encode(self)
    }
    pub(super) fn decode(bytes: &[u8]) -> Result<Self, CodecError> {
        codec::decode::<Self, STATE_BYTES_MAX>(bytes)
    }
}

pub(super) const STATE_KEY: &[u8] = b"mstate";

pub(super) fn record_prefix(id: RecordId) -> Vec<u8> {
    [b"r", &id.0.0[..]].concat()
}

fn log_bytes(log: LogId) -> [u8; 8] {
    let mut b = [0; 8];
    b[..4].copy_from_slice(&log.division.code().to_be_bytes());
    b[4..].copy_from_slice(&log.epoch.to_be_bytes());
    b
}

fn log_of(bytes: &[u8]) -> Option<LogId> {
    let code = u32::from_be_bytes(bytes.get(..4)?.try_into().ok()?);
    let epoch = u32::from_be_bytes(bytes.get(4..8)?.try_into().ok()?);
    Some(LogId { division: code.try_into().ok()?, epoch })
}

pub(super) fn record_key(id: RecordId, log: LogId) -> Vec<u8> {
    [&record_prefix(id)[..], &log_bytes(log)].concat()
}

/// Reads a pair under `r`.
pub(super) fn read_record(key: &[u8], value: &[u8]) -> Option<(RecordId, LogId, Entry)> {
    let id = RecordId(Hash(key.get(1..33)?.try_into().ok()?));
    let log = log_of(key.get(33..41)?)?;
    Some((id, log, codec::decode::<Entry, ENTRY_BYTES_MAX>(value).ok()?))
}

pub(super) fn version_prefix(key: &[u8; 16]) -> Vec<u8> {
    [b"k", &key[..]].concat()
}

pub(super) fn version_key(log: LogId, e: &Entry) -> Vec<u8> {
    let (time, index) = (e.sealed_at.to_be_bytes(), e.index.to_be_bytes());
    [&version_prefix(&e.key)[..], &time, &log_bytes(log), &index].concat()
}

pub(super) fn version_value(id: RecordId, operation: Operation) -> Vec<u8> {
    [&id.0.0[..], &[operation as u8]].concat()
}

/// Reads a value under `k`: which record, and whether it withdraws.
pub(super) fn read_version(value: &[u8]) -> Option<(RecordId, bool)> {
    let id = RecordId(Hash(value.get(..32)?.try_into().ok()?));
    Some((id, *value.get(32)? == Operation::Withdraw as u8))
}

/// What the index needs of a record's content. A record that is not as intake would let it in (another node's intake
/// may be older or newer) is indexed as a `create` of its own.
pub(super) fn facts(id: RecordId, bytes: &[u8]) -> (Operation, [u8; 16]) {
    let parsed = Object::parse(bytes).ok();
    let fields = parsed.as_ref().and_then(|o| {
        Some((o.text("category")?, o.text("producer_uscc")?, o.text("business_key")?, o.text("operation")?))
    });
    let Some((category, producer, business_key, operation)) = fields else {
        let key = blake3::hash(&id.0.0);
        return (Operation::Create, first16(key.as_bytes()));
    };
    let mut h = blake3::Hasher::new();
    for part in [category, producer, business_key] {
        h.update(&(part.len() as u64).to_be_bytes()).update(part.as_bytes());
    }
    let operation = match operation {
        "withdraw" => Operation::Withdraw,
        "amend" => Operation::Amend,
        _ => Operation::Create,
    };
    (operation, first16(h.finalize().as_bytes()))
}

fn first16(hash: &[u8; 32]) -> [u8; 16] {
    let mut out = [0; 16];
    out.copy_from_slice(&hash[..16]);
    out
}

/// The pairs for one record of a log.
pub(super) fn pairs(id: RecordId, log: LogId, e: &Entry) -> [(Vec<u8>, Vec<u8>); 2] {
    [(record_key(id, log), codec::encode(e)), (version_key(log, e), version_value(id, e.operation))]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pairs_read_back() {
        let log: LogId = "350102/e1".parse().unwrap();
        let json = br#"{"business_key":"b","category":"c","operation":"withdraw","producer_uscc":"u"}"#;
        let id = RecordId::of(json);
        let (operation, key) = facts(id, json);
        let e = Entry { index: 9, sealed_at: 5, operation, key };
        let [(rk, rv), (vk, vv)] = pairs(id, log, &e);
        assert_eq!(read_record(&rk, &rv), Some((id, log, e)));
        assert!(vk.starts_with(&version_prefix(&key)));
        assert_eq!(read_version(&vv), Some((id, true)));
        assert_eq!(facts(id, b"?").0, Operation::Create);
        let other = br#"{"business_key":"b2","category":"c","operation":"amend","producer_uscc":"u"}"#;
        assert_ne!(facts(id, other).1, key);
    }
}
