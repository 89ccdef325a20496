//! Keys and values of the index.
//!
//! ```text
//! r ‖ record id (32) ‖ log (8)                         -> Entry
//! k ‖ business key hash (16) ‖ sealed_at ‖ log ‖ index  -> Version
//! s ‖ subject's credit code                            -> its name, by the newest registration held
//! f ‖ log (8) ‖ index (8)                              -> what was found wrong with the record, see `findings`
//! v ‖ holder (4) ‖ log (8) ‖ index (8)                 -> what a node above found wrong with it
//! w ‖ holder (4) ‖ log (8)                             -> one past the last of these
//! m ‖ "state"                                          -> State, written together with what it counts
//! ```

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use tally_protocol::{
    canonical::{Object, Value},
    codec::{self, CodecError},
    hash::Hash,
    ids::{Division, LOG_ID_BYTES, LogId},
    record::{Record, RecordId},
};

/// Where one log holds a record, and what is needed to find its other versions and to count it. Where the log's bytes
/// lie on the disk is the core's knowledge: repair moves them.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// Index in the log.
    pub index: u64,
    /// When it was sealed, POSIX seconds.
    pub sealed_at: u64,
    /// Which version of what.
    pub facts: Facts,
    /// What it counts for.
    pub counts: Counted,
}

/// Which version of which business key a record is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Facts {
    /// What it does.
    pub operation: Operation,
    /// Hash of its business key.
    pub key: [u8; 16],
    /// Hash of its content, whatever its operation, the catalog's version and what it amends.
    pub content: [u8; 16],
    /// Hash of its matter: the content whoever delivers it and from where.
    pub matter: [u8; 8],
}

/// What a record counts for, in statistics, deadlines and comparisons.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counted {
    /// The day it was produced, as the number YYYYMMDD; 0: not known.
    pub produced_on: u32,
    /// The division it counts for; 0: not known.
    pub division: u32,
    /// Category.
    pub category: String,
    /// Code of the producing unit.
    pub unit: String,
}

/// What a record does to its business key.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Operation {
    /// 新增
    #[default]
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
    pub(super) place: u64,
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
const ENTRY_BYTES_MAX: usize = 512;
/// Longest texts kept in an entry, in bytes.
const CATEGORY_BYTES_MAX: usize = 64;
const UNIT_BYTES_MAX: usize = 32;
/// Members that do not make two records different in content.
pub const NOT_CONTENT: &[&str] = &["amends", "catalog_version", "operation"];
/// Members that tell by whom a record is delivered, which may be the city for its counties (R-43), not what it says.
const DELIVERY: &[&str] =
    &["source_unit", "source_unit_uscc", "submitter_division", "submitter_name", "submitter_uscc"];
/// All of these.
const NOT_MATTER: &[&str] = &[
    "amends",
    "catalog_version",
    "operation",
    "source_unit",
    "source_unit_uscc",
    "submitter_division",
    "submitter_name",
    "submitter_uscc",
];

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

fn log_bytes(log: LogId) -> [u8; LOG_ID_BYTES] {
    log.to_bytes()
}

fn log_of(bytes: &[u8]) -> Option<LogId> {
    LogId::from_bytes(bytes.try_into().ok()?).ok()
}

pub(super) fn record_key(id: RecordId, log: LogId) -> Vec<u8> {
    [&record_prefix(id)[..], &log_bytes(log)].concat()
}

/// Reads a pair under `r`.
pub(super) fn read_record(key: &[u8], value: &[u8]) -> Option<(RecordId, LogId, Entry)> {
    let id = RecordId(Hash(key.get(1..33)?.try_into().ok()?));
    let log = log_of(key.get(33..33 + LOG_ID_BYTES)?)?;
    Some((id, log, codec::decode::<Entry, ENTRY_BYTES_MAX>(value).ok()?))
}

pub(super) fn version_prefix(key: &[u8; 16]) -> Vec<u8> {
    [b"k", &key[..]].concat()
}

pub(super) fn version_key(log: LogId, e: &Entry) -> Vec<u8> {
    let (time, index) = (e.sealed_at.to_be_bytes(), e.index.to_be_bytes());
    [&version_prefix(&e.facts.key)[..], &time, &log_bytes(log), &index].concat()
}

/// The log in a key under `k`.
pub(super) fn version_log(key: &[u8]) -> Option<LogId> {
    log_of(key.get(25..25 + LOG_ID_BYTES)?)
}

/// A version of a business key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Version {
    /// The record.
    pub id: RecordId,
    /// What it does.
    pub operation: Operation,
    /// Hash of its content.
    pub content: [u8; 16],
    /// Hash of its matter.
    pub matter: [u8; 8],
}

impl Version {
    /// Of a record.
    pub(super) fn of(id: RecordId, facts: &Facts) -> Self {
        Self { id, operation: facts.operation, content: facts.content, matter: facts.matter }
    }
}

pub(super) fn version_value(id: RecordId, facts: &Facts) -> Vec<u8> {
    [&id.0.0[..], &[facts.operation as u8], &facts.content, &facts.matter].concat()
}

/// Reads a value under `k`.
pub(super) fn read_version(value: &[u8]) -> Option<Version> {
    let id = RecordId(Hash(value.get(..32)?.try_into().ok()?));
    let operation = match *value.get(32)? {
        1 => Operation::Amend,
        2 => Operation::Withdraw,
        _ => Operation::Create,
    };
    let (content, matter) = (value.get(33..49)?.try_into().ok()?, value.get(49..57)?.try_into().ok()?);
    Some(Version { id, operation, content, matter })
}

pub(super) fn subject_key(code: &str) -> Vec<u8> {
    [b"s", code.as_bytes()].concat()
}

/// Value under `s`: the day of the registration, YYYYMMDD, and the name.
pub(super) fn subject_value(day: u32, name: &str) -> Vec<u8> {
    [&day.to_be_bytes()[..], name.as_bytes()].concat()
}

/// Reads a value under `s`.
pub(super) fn read_subject(value: &[u8]) -> Option<(u32, String)> {
    let (day, name) = value.split_at_checked(4)?;
    Some((u32::from_be_bytes(day.try_into().ok()?), std::str::from_utf8(name).ok()?.to_owned()))
}

/// Under `f`: what this node found wrong with a record.
pub(super) fn finding_key(log: LogId, index: u64) -> Vec<u8> {
    [b"f", &log_bytes(log)[..], &index.to_be_bytes()].concat()
}

/// Reads a key under `f`.
pub(super) fn read_finding_key(key: &[u8]) -> Option<(LogId, u64)> {
    let (log, index) = key.get(1..9 + LOG_ID_BYTES)?.split_at(LOG_ID_BYTES);
    Some((log_of(log)?, u64::from_be_bytes(index.try_into().ok()?)))
}

pub(super) fn finding_prefix(log: LogId) -> Vec<u8> {
    [b"f", &log_bytes(log)[..]].concat()
}

/// Under `v`: what a node above found wrong.
pub(super) fn verdict_prefix(holder: Division, log: LogId) -> Vec<u8> {
    [b"v", &holder.code().to_be_bytes()[..], &log_bytes(log)].concat()
}

pub(super) fn verdict_key(holder: Division, log: LogId, index: u64) -> Vec<u8> {
    [&verdict_prefix(holder, log)[..], &index.to_be_bytes()].concat()
}

/// Under `w`: how far that is known.
pub(super) fn reached_key(holder: Division, log: LogId) -> Vec<u8> {
    [b"w", &holder.code().to_be_bytes()[..], &log_bytes(log)].concat()
}

impl Facts {
    /// Of a record that intake has let in.
    pub fn of(object: &Object<'_>, record: &Record) -> Self {
        facts(record.id(), Some(object))
    }
}

/// What the index needs of a record's content. A record that is not as intake would let it in (another node's intake
/// may be older or newer) is indexed as a `create` of its own.
pub(super) fn facts(id: RecordId, object: Option<&Object<'_>>) -> Facts {
    // One walk over the members: this is done of every record, twice.
    let (mut known, mut delivery) = ([None; 4], [None; DELIVERY.len()]);
    for (name, value) in object.iter().flat_map(|o| o.members()) {
        let Value::Text(text) = value else { continue };
        let found = match name {
            "category" => &mut known[0],
            "producer_uscc" => &mut known[1],
            "business_key" => &mut known[2],
            "operation" => &mut known[3],
            _ => match DELIVERY.iter().position(|d| *d == name) {
                Some(i) => &mut delivery[i],
                None => continue,
            },
        };
        *found = Some(text.as_ref());
    }
    let (Some(object), [Some(category), Some(producer), Some(business_key), Some(operation)]) = (object, known) else {
        let key = first16(blake3::hash(&id.0.0).as_bytes());
        return Facts { operation: Operation::Create, key, content: key, matter: first8(&key) };
    };
    let operation = match operation {
        "withdraw" => Operation::Withdraw,
        "amend" => Operation::Amend,
        _ => Operation::Create,
    };
    let mut bytes = Vec::with_capacity(1_024);
    object.write_without(NOT_MATTER, &mut bytes);
    let matter = blake3::hash(&bytes);
    // The content is the matter and what tells of its delivery: one pass over the large part does for both.
    let mut content = blake3::Hasher::new();
    content.update(matter.as_bytes());
    for text in delivery {
        content.update(&[u8::from(text.is_some())]).update(&(text.map_or(0, str::len) as u64).to_be_bytes());
        content.update(text.unwrap_or_default().as_bytes());
    }
    let content = first16(content.finalize().as_bytes());
    let key = business_key_hash(category, producer, business_key);
    Facts { operation, key, content, matter: first8(matter.as_bytes()) }
}

/// Hash of a business key: it is unique within a category and a producing unit.
pub fn business_key_hash(category: &str, producer: &str, business_key: &str) -> [u8; 16] {
    let mut h = blake3::Hasher::new();
    for part in [category, producer, business_key] {
        h.update(&(part.len() as u64).to_be_bytes()).update(part.as_bytes());
    }
    first16(h.finalize().as_bytes())
}

impl Counted {
    /// Of a record's content.
    pub fn of(object: &Object<'_>) -> Self {
        let text = |f: &str, most: usize| object.text(f).filter(|t| t.len() <= most).unwrap_or_default();
        let day: String = text("produced_on", 10).bytes().filter(u8::is_ascii_digit).map(char::from).collect();
        Self {
            produced_on: day.parse().unwrap_or(0),
            division: text("producer_division", 6).parse().unwrap_or(0),
            category: text("category", CATEGORY_BYTES_MAX).to_owned(),
            unit: text("producer_uscc", UNIT_BYTES_MAX).to_owned(),
        }
    }
}

fn first8(hash: &[u8]) -> [u8; 8] {
    let mut out = [0; 8];
    out.iter_mut().zip(hash).for_each(|(o, b)| *o = *b);
    out
}

fn first16(hash: &[u8; 32]) -> [u8; 16] {
    let mut out = [0; 16];
    out.copy_from_slice(&hash[..16]);
    out
}

/// The pairs for one record of a log.
pub fn pairs(id: RecordId, log: LogId, e: &Entry) -> [(Vec<u8>, Vec<u8>); 2] {
    [(record_key(id, log), codec::encode(e)), (version_key(log, e), version_value(id, &e.facts))]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn facts_of(json: &str) -> Facts {
        facts(RecordId::of(json.as_bytes()), Some(&Object::parse(json.as_bytes()).unwrap()))
    }

    #[test]
    fn pairs_read_back() {
        let log: LogId = "350102/e1".parse().unwrap();
        let json = r#"{"business_key":"b","category":"c","operation":"withdraw","produced_on":"2026-01-31","producer_division":"350102","producer_uscc":"u"}"#;
        let id = RecordId::of(json.as_bytes());
        let facts = facts_of(json);
        let counts = Counted::of(&Object::parse(json.as_bytes()).unwrap());
        assert_eq!((counts.produced_on, counts.division), (20_260_131, 350_102));
        let e = Entry { index: 9, sealed_at: 5, facts, counts };
        let [(rk, rv), (vk, vv)] = pairs(id, log, &e);
        assert_eq!(read_record(&rk, &rv), Some((id, log, e)));
        assert!(vk.starts_with(&version_prefix(&facts.key)));
        assert_eq!(version_log(&vk), Some(log));
        let (operation, content, matter) = (Operation::Withdraw, facts.content, facts.matter);
        assert_eq!(read_version(&vv), Some(Version { id, operation, content, matter }));
        assert_eq!(super::facts(id, None).operation, Operation::Create);
        let other = r#"{"business_key":"b2","category":"c","operation":"amend","producer_uscc":"u"}"#;
        assert_ne!(facts_of(other).key, facts.key);
        assert_eq!(read_finding_key(&finding_key(log, 7)), Some((log, 7)));
    }

    #[test]
    fn neither_operation_nor_catalog_make_other_content() {
        let of = |operation: &str, version: &str, more: &str| {
            facts_of(&format!(
                r#"{{"business_key":"b","catalog_version":"{version}","category":"c","operation":"{operation}","producer_uscc":"u"{more}}}"#
            ))
        };
        let first = of("create", "2026.1", "");
        assert_eq!(of("amend", "2026.2", "").content, first.content);
        assert_eq!(of("create", "2026.1", r#","amends":"x""#).content, first.content);
        let other = of("create", "2026.1", r#","remark":"x""#);
        assert!(other.content != first.content && other.matter != first.matter);
        for name in DELIVERY {
            let by = of("create", "2026.1", &format!(r#","{name}":"x""#));
            assert!(by.content != first.content && by.matter == first.matter, "{name}");
        }
        assert!(DELIVERY.iter().chain(NOT_CONTENT).all(|n| NOT_MATTER.contains(n)));
    }
}
