//! A record: one line of canonical JSON, named by its leaf hash.

#![warn(clippy::indexing_slicing, clippy::arithmetic_side_effects)]

use crate::{
    canonical::Object,
    hash::{Hash, NotAHash},
    limits::RECORD_BYTES_MAX,
    merkle::leaf_hash,
};
use serde::{Deserialize, Serialize};
use std::{fmt, str::FromStr};

/// Leaf hash of a record's bytes: its one identity in the tree, in the index and on paper.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct RecordId(pub Hash);

impl RecordId {
    /// The id of these bytes: SHA-256(0x00 ‖ bytes).
    pub fn of(bytes: &[u8]) -> Self {
        Self(leaf_hash(bytes))
    }
}

impl fmt::Display for RecordId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Debug for RecordId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl FromStr for RecordId {
    type Err = NotAHash;
    fn from_str(s: &str) -> Result<Self, NotAHash> {
        s.parse().map(Self)
    }
}

/// Canonical bytes and their id.
///
/// ```
/// use tally_protocol::{canonical::Object, record::{Record, RecordId}};
///
/// let object = Object::parse(br#"{ "name": "A", "code": 7 }"#)?;
/// let record = Record::new(&object)?;
/// assert_eq!(record.bytes(), br#"{"code":7,"name":"A"}"#);
/// assert_eq!(record.id(), RecordId::of(record.bytes()));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    bytes: Box<[u8]>,
    id: RecordId,
}

/// A record longer than an entry of a log may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the record has {0} bytes, {RECORD_BYTES_MAX} are allowed")]
pub struct TooLong(pub usize);

impl Record {
    /// The record of an object that was read.
    ///
    /// # Errors
    /// [`TooLong`] when its canonical form has more than [`RECORD_BYTES_MAX`] bytes.
    pub fn new(object: &Object<'_>) -> Result<Self, TooLong> {
        let mut bytes = Vec::with_capacity(1_024);
        object.write(&mut bytes);
        if bytes.len() > RECORD_BYTES_MAX {
            return Err(TooLong(bytes.len()));
        }
        let id = RecordId::of(&bytes);
        Ok(Self { bytes: bytes.into(), id })
    }

    /// Canonical JSON.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Leaf hash.
    pub fn id(&self) -> RecordId {
        self.id
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn same_content_same_id_and_a_bound() {
        let record = |json: &str| Record::new(&Object::parse(json.as_bytes()).unwrap());
        let a = record(r#"{"b":1,"a":"x"}"#).unwrap();
        assert_eq!(a.bytes(), br#"{"a":"x","b":1}"#);
        assert_eq!(a.id(), record(r#" { "a" : "\u0078", "b" : 1 } "#).unwrap().id());
        assert_eq!(a.id().to_string().parse(), Ok(a.id()));
        let long = format!("{{\"a\":\"{}\"}}", "x".repeat(RECORD_BYTES_MAX - 8));
        assert_eq!(record(&long).unwrap().bytes().len(), RECORD_BYTES_MAX);
        let longer = format!("{{\"a\":\"{}\"}}", "x".repeat(RECORD_BYTES_MAX - 7));
        assert_eq!(record(&longer), Err(TooLong(RECORD_BYTES_MAX + 1)));
    }
}
