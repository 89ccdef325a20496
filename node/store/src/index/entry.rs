//! Keys and values of the index.
//!
//! ```text
//! r ‖ record id (32) ‖ log (8)                         -> IndexEntry
//! k ‖ business key hash (16) ‖ log ‖ index             -> Version
//! a ‖ form of a business key (16) ‖ business key hash  -> nothing: another text has this form
//! n ‖ mark of a producing unit's name (8)              -> the name
//! s ‖ subject's credit code                            -> SubjectName, by the newest registration held
//! f ‖ log (8) ‖ index (8)                              -> what was found wrong with the record, see `findings`
//! v ‖ holder (4) ‖ log (8) ‖ index (8)                 -> what a node above found wrong with it
//! w ‖ holder (4) ‖ log (8)                             -> one past the last of these
//! m ‖ "state"                                          -> State, written together with what it counts
//! ```

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use tally_protocol::{
    codec::{self, CodecError},
    hash::Hash,
    ids::{Division, LOG_ID_BYTES, LogId},
    record::RecordId,
};
use tally_topology::content::{ContentId, Dimensions, KeyForms, Operation};

/// Where one log holds a record, and what is needed to find its other versions and to count it. Where the log's bytes
/// lie on the disk is the core's knowledge: repair moves them.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct IndexEntry {
    /// Index in the log.
    pub index: u64,
    /// When it was sealed, POSIX seconds.
    pub sealed_at: u64,
    /// Which version of what.
    pub content: ContentId,
    /// What it counts for.
    pub dimensions: Dimensions,
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
    /// By which rules the findings are.
    pub(super) judged: Judged,
}

/// By which charter the records that are in were judged. What is in force does not depend on it: that is judged when asked.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Judged {
    /// Mark of the rules by which all are, or were before they are judged again.
    pub(super) rules: [u8; 8],
    /// Version of a charter that has these rules.
    pub(super) charter: u64,
    /// All are being judged again.
    pub(super) again: Option<JudgedAgain>,
}

/// Records that are in are judged again by a new charter.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct JudgedAgain {
    pub(super) rules: [u8; 8],
    pub(super) charter: u64,
    /// Everything before this place was.
    pub(super) place: u64,
    /// What lies behind this place was judged when it came.
    pub(super) until: u64,
}

const STATE_BYTES_MAX: usize = 1 << 20;
const ENTRY_BYTES_MAX: usize = 512;
impl State {
    /// Records that stand before others that are in, and are not in themselves.
    pub(super) fn missing(&self, of: impl Fn(LogId) -> bool) -> u64 {
        let held = |log: &LogId| self.logs.get(log).copied().unwrap_or(0);
        let logs = self.reached.iter().filter(|(log, _)| of(**log));
        logs.map(|(log, reached)| reached.saturating_sub(held(log))).fold(0, u64::saturating_add)
    }

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
pub(super) fn read_record(key: &[u8], value: &[u8]) -> Option<(RecordId, LogId, IndexEntry)> {
    let id = RecordId(Hash(key.get(1..33)?.try_into().ok()?));
    let log = log_of(key.get(33..33 + LOG_ID_BYTES)?)?;
    Some((id, log, codec::decode::<IndexEntry, ENTRY_BYTES_MAX>(value).ok()?))
}

/// Of all pairs under `k`.
pub(super) fn versions_prefix() -> &'static [u8] {
    b"k"
}

/// Business key in a key under `k`.
pub(super) fn version_business_key(key: &[u8]) -> Option<[u8; 16]> {
    key.get(1..17)?.try_into().ok()
}

pub(super) fn version_prefix(key: &[u8; 16]) -> Vec<u8> {
    [b"k", &key[..]].concat()
}

/// Versions that logs of one division hold.
pub(super) fn version_prefix_of(key: &[u8; 16], division: Division) -> Vec<u8> {
    let [_, code @ ..] = division.code().to_be_bytes();
    [&version_prefix(key)[..], &code].concat()
}

pub(super) fn version_key(log: LogId, e: &IndexEntry) -> Vec<u8> {
    [&version_prefix(&e.content.key)[..], &log_bytes(log), &e.index.to_be_bytes()].concat()
}

/// Log and index in a key under `k`.
pub(super) fn version_place(key: &[u8]) -> Option<(LogId, u64)> {
    let (log, index) = key.get(17..25 + LOG_ID_BYTES)?.split_at(LOG_ID_BYTES);
    Some((log_of(log)?, u64::from_be_bytes(index.try_into().ok()?)))
}

/// Under `a`: business keys whose text is another than their form.
pub(super) fn form_prefix(form: &[u8; 16]) -> Vec<u8> {
    [b"a", &form[..]].concat()
}

/// The pair by which a business key is found by its form, where that is another text.
pub(super) fn form_pair(forms: KeyForms) -> Option<(Vec<u8>, Vec<u8>)> {
    forms.form.map(|form| ([&form_prefix(&form)[..], &forms.key].concat(), vec![1]))
}

/// Hash of the business key in a key under `a`.
pub(super) fn read_form(key: &[u8]) -> Option<[u8; 16]> {
    key.get(17..33)?.try_into().ok()
}

/// Under `n`: names of producing units, which some routes go by.
pub(super) fn unit_name_key(mark: [u8; 8]) -> Vec<u8> {
    [b"n", &mark[..]].concat()
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
    /// Hash of its substance.
    pub substance: [u8; 8],
}

impl Version {
    /// Of a record.
    pub(super) fn of(id: RecordId, content: &ContentId) -> Self {
        Self { id, operation: content.operation, content: content.content, substance: content.substance }
    }
}

pub(super) fn version_value(id: RecordId, content: &ContentId) -> Vec<u8> {
    [&id.0.0[..], &[content.operation as u8], &content.content, &content.substance].concat()
}

/// Reads a value under `k`.
pub(super) fn read_version(value: &[u8]) -> Option<Version> {
    let id = RecordId(Hash(value.get(..32)?.try_into().ok()?));
    let operation = match *value.get(32)? {
        1 => Operation::Amend,
        2 => Operation::Withdraw,
        _ => Operation::Create,
    };
    let (content, substance) = (value.get(33..49)?.try_into().ok()?, value.get(49..57)?.try_into().ok()?);
    Some(Version { id, operation, content, substance })
}

pub(super) fn subject_key(code: &str) -> Vec<u8> {
    [b"s", code.as_bytes()].concat()
}

/// A registration of a subject that is held.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct SubjectName {
    /// Its day, YYYYMMDD.
    pub(super) day: u32,
    /// What it says.
    pub(super) name: String,
    /// By which rules it was found right.
    pub(super) rules: [u8; 8],
}

impl SubjectName {
    /// Value under `s`.
    pub(super) fn encode(&self) -> Vec<u8> {
        [&self.rules[..], &self.day.to_be_bytes(), self.name.as_bytes()].concat()
    }

    /// Reads a value under `s`.
    pub(super) fn decode(value: &[u8]) -> Option<Self> {
        let (rules, rest) = value.split_at_checked(8)?;
        let (day, name) = rest.split_at_checked(4)?;
        let (rules, day) = (rules.try_into().ok()?, u32::from_be_bytes(day.try_into().ok()?));
        Some(Self { day, name: std::str::from_utf8(name).ok()?.to_owned(), rules })
    }
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
pub(super) fn above_prefix(holder: Division, log: LogId) -> Vec<u8> {
    [b"v", &holder.code().to_be_bytes()[..], &log_bytes(log)].concat()
}

pub(super) fn above_key(holder: Division, log: LogId, index: u64) -> Vec<u8> {
    [&above_prefix(holder, log)[..], &index.to_be_bytes()].concat()
}

/// Under `w`: how far that is known.
pub(super) fn reached_key(holder: Division, log: LogId) -> Vec<u8> {
    [b"w", &holder.code().to_be_bytes()[..], &log_bytes(log)].concat()
}

/// The pairs for one record of a log.
pub fn pairs(id: RecordId, log: LogId, e: &IndexEntry) -> [(Vec<u8>, Vec<u8>); 2] {
    [(record_key(id, log), codec::encode(e)), (version_key(log, e), version_value(id, &e.content))]
}

#[cfg(test)]
mod tests {
    use super::*;
    use tally_protocol::canonical::Object;

    #[test]
    fn pairs_read_back() {
        let log: LogId = "350102/e1".parse().unwrap();
        let json = r#"{"business_key":"b","category":"c","operation":"withdraw","produced_on":"2026-01-31","producer_division":"350102","producer_uscc":"u"}"#;
        let id = RecordId::of(json.as_bytes());
        let object = Object::parse(json.as_bytes()).unwrap();
        let (content, dimensions) = (ContentId::of(id, &object), Dimensions::of(&object));
        assert_eq!((dimensions.produced_on, dimensions.division), (20_260_131, 350_102));
        let e = IndexEntry { index: 9, sealed_at: 5, content, dimensions };
        let [(rk, rv), (vk, vv)] = pairs(id, log, &e);
        assert_eq!(read_record(&rk, &rv), Some((id, log, e)));
        assert!(vk.starts_with(&version_prefix(&content.key)));
        assert_eq!(version_place(&vk), Some((log, 9)));
        assert!(vk.starts_with(&version_prefix_of(&content.key, log.division)));
        assert_eq!(read_version(&vv), Some(Version::of(id, &content)));
        assert_eq!(read_finding_key(&finding_key(log, 7)), Some((log, 7)));
    }
}
