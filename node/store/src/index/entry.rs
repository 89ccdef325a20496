//! Keys and values of the index. What it knows of a record stands once, by its position in its log; everything by which a record
//! is looked for leads there.
//!
//! ```text
//! r ‖ beginning of a record's id (8) ‖ log (10) ‖ index (5)          -> nothing
//! k ‖ beginning of a business key's hash (8) ‖ log ‖ index           -> nothing
//! p ‖ log ‖ index of a chunk's first record (5)                      -> the chunk, see `chunk`
//! p ‖ log ‖ the same (5) ‖ position in the chunk (1)                 -> one record, as long as its chunk is not complete
//! a ‖ form of a business key (16) ‖ business key hash                -> nothing: another text has this form
//! n ‖ mark of a producing unit's name (8)                            -> the name
//! s ‖ subject's credit code                                          -> SubjectName, by the newest registration held
//! f ‖ log (10) ‖ index (8)                                           -> what was found wrong with the record, see `findings`
//! v ‖ holder (4) ‖ log (10) ‖ index (8)                              -> what a node above found wrong with it
//! w ‖ holder (4) ‖ log (10)                                          -> one past the last of these
//! m ‖ "state"                                                        -> State, written together with what it counts
//! ```
//!
//! To come, in the same form as `r`: beginnings of document numbers, of credit codes, and fragments of names.

use super::{
    Engine, EngineError,
    chunk::{CHUNK, ChunkBuilder},
};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use tally_protocol::{
    codec::{self, CodecError},
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
    /// Records of each log that have their keys and stand under `p`.
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

/// Some 45 bytes a log: of more logs than a charter can name.
const STATE_BYTES_MAX: usize = 16 << 20;
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

/// What the index counts, as of its last write.
///
/// # Errors
/// The engine's, or what stands there has no right form.
pub(super) fn state(engine: &dyn Engine) -> Result<State, EngineError> {
    engine.get(STATE_KEY)?.map_or(Ok(State::default()), |bytes| Ok(State::decode(&bytes)?))
}

/// One past the last record of each log that is in.
///
/// # Errors
/// Those of [`state`].
pub(super) fn reached(engine: &dyn Engine) -> Result<BTreeMap<LogId, u64>, EngineError> {
    Ok(state(engine)?.reached)
}

fn log_bytes(log: LogId) -> [u8; LOG_ID_BYTES] {
    log.to_bytes()
}

fn log_of(bytes: &[u8]) -> Option<LogId> {
    LogId::from_bytes(bytes.try_into().ok()?).ok()
}

/// Where a record stands: log, and index there.
pub(super) type Position = (LogId, u64);

/// Bytes of an index in a key: at a thousand records a second a log fills them in 35 years.
const INDEX_BYTES: usize = 5;
/// Bytes of a hash by which a record is looked for. Others may begin with the same: what stands at the position decides.
const BEGINNING_BYTES: usize = 8;
/// Of a key that leads to a position: kind and beginning of a hash.
pub(super) const LOOKUP_PREFIX_BYTES: usize = 1 + BEGINNING_BYTES;
/// Of the whole key.
pub(super) const LOOKUP_BYTES: usize = LOOKUP_PREFIX_BYTES + LOG_ID_BYTES + INDEX_BYTES;
/// Of a key that leads to a position, up to the log.
pub(super) const LOOKUP_LOG_BYTES: usize = LOOKUP_PREFIX_BYTES + LOG_ID_BYTES;
const CHUNK_KEY_BYTES: usize = 1 + LOG_ID_BYTES + INDEX_BYTES;
/// Keys of one chunk: its own, and those of its records.
pub(super) const CHUNK_KEYS: usize = CHUNK as usize + 1;

/// By what a record is looked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Lookup {
    /// By its id.
    Record(RecordId),
    /// By its business key.
    Key([u8; 16]),
}

impl Lookup {
    /// What all keys that may lead to it begin with.
    pub(super) fn prefix(self) -> [u8; LOOKUP_PREFIX_BYTES] {
        let (kind, hash) = match &self {
            Self::Record(id) => (b'r', &id.0.0[..]),
            Self::Key(key) => (b'k', &key[..]),
        };
        let mut prefix = [kind; LOOKUP_PREFIX_BYTES];
        prefix.iter_mut().skip(1).zip(hash).for_each(|(p, h)| *p = *h);
        prefix
    }

    /// The key that leads to a position.
    pub(super) fn key(self, log: LogId, index: u64) -> [u8; LOOKUP_BYTES] {
        let mut key = [0; LOOKUP_BYTES];
        let bytes = self.prefix().into_iter().chain(log_bytes(log)).chain(index_bytes(index));
        key.iter_mut().zip(bytes).for_each(|(k, b)| *k = b);
        key
    }

    /// What keys that lead to positions in logs of one division begin with.
    pub(super) fn prefix_of(self, division: Division) -> Vec<u8> {
        let [_, code @ ..] = division.code().to_be_bytes();
        [&self.prefix()[..], &code].concat()
    }
}

/// Of all keys by record id.
pub(super) const RECORDS: &[u8] = b"r";
/// Of all keys by business key.
pub(super) const KEYS: &[u8] = b"k";
/// Of all chunks and single records.
pub(super) const CHUNKS: &[u8] = b"p";

/// Beginning of a business key's hash, as it stands in a key.
pub(super) fn beginning_of(key: &[u8; 16]) -> &[u8; BEGINNING_BYTES] {
    key.first_chunk().unwrap_or(&[0; BEGINNING_BYTES])
}

/// Beginning of the hash in a key that leads to a position.
pub(super) fn beginning(key: &[u8]) -> Option<[u8; BEGINNING_BYTES]> {
    key.get(1..LOOKUP_PREFIX_BYTES)?.try_into().ok()
}

/// The position that a key leads to.
pub(super) fn position(key: &[u8]) -> Option<Position> {
    let (log, index) = key.get(LOOKUP_PREFIX_BYTES..LOOKUP_BYTES)?.split_at(LOG_ID_BYTES);
    Some((log_of(log)?, read_index(index)?))
}

fn index_bytes(index: u64) -> [u8; INDEX_BYTES] {
    let [_, _, _, bytes @ ..] = index.to_be_bytes();
    bytes
}

fn read_index(bytes: &[u8]) -> Option<u64> {
    let [a, b, c, d, e] = *bytes.first_chunk::<INDEX_BYTES>()?;
    Some(u64::from_be_bytes([0, 0, 0, a, b, c, d, e]))
}

/// Index of the first record of the chunk in which an index lies.
pub(super) fn first_of(index: u64) -> u64 {
    index - index % CHUNK
}

/// Of all chunks of a log.
pub(super) fn chunks_of(log: LogId) -> Vec<u8> {
    [CHUNKS, &log_bytes(log)].concat()
}

/// Of the chunk in which a record lies, and of what stands by itself as long as it is not complete.
pub(super) fn chunk_key(log: LogId, index: u64) -> Vec<u8> {
    [CHUNKS, &log_bytes(log), &index_bytes(first_of(index))].concat()
}

/// Of a record by itself.
pub(super) fn single_key(log: LogId, index: u64) -> Vec<u8> {
    let mut key = chunk_key(log, index);
    key.push((index % CHUNK) as u8);
    key
}

/// Log, first record of the chunk, and whether it is a whole chunk, in a key under `p`.
pub(super) fn read_chunk_key(key: &[u8]) -> Option<(LogId, u64, bool)> {
    let (log, index) = key.get(1..CHUNK_KEY_BYTES)?.split_at(LOG_ID_BYTES);
    Some((log_of(log)?, read_index(index)?, key.len() == CHUNK_KEY_BYTES))
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

/// Before what nodes above found wrong.
pub(super) const ABOVE: &[u8; 1] = b"v";

/// Under `v`: what a node above found wrong.
pub(super) fn above_prefix(holder: Division, log: LogId) -> Vec<u8> {
    [&ABOVE[..], &holder.code().to_be_bytes()[..], &log_bytes(log)].concat()
}

pub(super) fn above_key(holder: Division, log: LogId, index: u64) -> Vec<u8> {
    [&above_prefix(holder, log)[..], &index.to_be_bytes()].concat()
}

/// Under `w`: how far that is known.
pub(super) fn reached_key(holder: Division, log: LogId) -> Vec<u8> {
    [b"w", &holder.code().to_be_bytes()[..], &log_bytes(log)].concat()
}

/// The pairs for one record of a log that stands by itself.
pub fn pairs(id: RecordId, log: LogId, e: &IndexEntry) -> [(Vec<u8>, Vec<u8>); 3] {
    let mut alone = ChunkBuilder::default();
    alone.put(id, e);
    let single = (single_key(log, e.index), alone.encode());
    let [record, key] =
        [Lookup::Record(id), Lookup::Key(e.content.key)].map(|by| (by.key(log, e.index).to_vec(), vec![]));
    [record, key, single]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_read_back() {
        let log: LogId = "350102/e1".parse().unwrap();
        let by = Lookup::Record(RecordId::of(b"x"));
        for index in [0, 9, CHUNK - 1, CHUNK, 700 * CHUNK + 3, (1 << 40) - 1] {
            let key = by.key(log, index);
            assert!(key.starts_with(&by.prefix()) && key.starts_with(&by.prefix_of(log.division)));
            assert_eq!(position(&key), Some((log, index)));
            let chunk = chunk_key(log, index);
            assert_eq!(read_chunk_key(&chunk), Some((log, first_of(index), true)));
            let single = single_key(log, index);
            assert_eq!(read_chunk_key(&single), Some((log, first_of(index), false)));
            assert!(single.starts_with(&chunk));
        }
        assert_eq!(Lookup::Key([7; 16]).key(log, 1)[..9], [b'k', 7, 7, 7, 7, 7, 7, 7, 7]);
        assert_eq!(read_finding_key(&finding_key(log, 7)), Some((log, 7)));
    }

    #[test]
    fn keys_are_in_the_order_of_positions() {
        let logs: [LogId; 3] = ["350100/e1", "350102/e1", "350102/e2"].map(|l| l.parse().unwrap());
        let by = Lookup::Key([1; 16]);
        let keys: Vec<_> = logs.iter().flat_map(|log| [0, 1, 255, 256, 70_000].map(|n| by.key(*log, n))).collect();
        assert!(keys.is_sorted());
    }
}
