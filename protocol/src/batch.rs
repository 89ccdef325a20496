//! A batch: the next run of records of a log and the checkpoint that closes it.
//!
//! Its encoding is made once, where it is signed, and goes up and to disk as these bytes: a bincode header with the
//! signed note, then the records as in a tlog-tiles entry bundle (big-endian u16 length, bytes), compressed with zstd.
//! What is signed is the tree over the records, never the encoding.

#![warn(clippy::indexing_slicing, clippy::arithmetic_side_effects)]

use crate::{
    checkpoint::Checkpoint,
    codec::{self, CodecError},
    ids::LogId,
    keys::NodeKeys,
    limits::{BATCH_BYTES_MAX, BATCH_RAW_MAX, BATCH_RECORDS_MAX, NOTE_BYTES_MAX, RECORD_BYTES_MAX},
    merkle::Tree,
    record::Record,
};
use serde::{Deserialize, Serialize};

/// Version of the encoding; the first byte of a batch.
const FORMAT: u8 = 1;
/// zstd level: level 3 gains 1 % for 65 % more time on these records.
const ZSTD_LEVEL: i32 = 1;
const HEADER_BYTES_MAX: usize = NOTE_BYTES_MAX + 64;

#[derive(Debug, Serialize, Deserialize)]
struct Header {
    format: u8,
    log: LogId,
    start: u64,
    end: u64,
    raw_bytes: u32,
    note: String,
}

/// A batch whose header was read. Nothing is verified yet: only `topology::admit` does that.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Batch<'a> {
    /// The log that it claims.
    pub log: LogId,
    /// Index of the first record.
    pub start: u64,
    /// One past the last record: the size of the checkpoint.
    pub end: u64,
    /// The signed checkpoint of size `end`, cosigned by the origin.
    pub note: String,
    raw_bytes: usize,
    payload: &'a [u8],
}

/// Why bytes are not a batch.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BatchError {
    /// The header cannot be read, or the whole is too long.
    #[error("batch: {0}")]
    Codec(#[from] CodecError),
    /// A later format than this program knows.
    #[error("batch format {0} is not known here: update this node")]
    Format(u8),
    /// `end` is not 1 to [`BATCH_RECORDS_MAX`] beyond `start`, or the expanded size is beyond its bound.
    #[error("batch: {0} is out of bounds")]
    Bounds(&'static str),
    /// The compressed part does not expand to what the header says.
    #[error("batch: the records do not expand to the stated size")]
    Compression,
    /// Length prefixes do not add up to `end - start` records.
    #[error("batch: the length prefixes of the records do not add up")]
    Prefixes,
}

impl<'a> Batch<'a> {
    /// Reads the header of an encoded batch.
    ///
    /// # Errors
    /// [`BatchError`]; nothing is allocated beyond the bounds of `limits`.
    pub fn decode(bytes: &'a [u8]) -> Result<Self, BatchError> {
        if bytes.len() > BATCH_BYTES_MAX {
            return Err(CodecError::TooLong { bytes: bytes.len(), limit: BATCH_BYTES_MAX }.into());
        }
        match bytes.first() {
            Some(&FORMAT) => {}
            Some(&other) => return Err(BatchError::Format(other)),
            None => return Err(CodecError::Malformed("no bytes".into()).into()),
        }
        let (h, payload) = codec::decode_prefix::<Header, HEADER_BYTES_MAX>(bytes)?;
        let records = h.end.saturating_sub(h.start);
        if !(1..=BATCH_RECORDS_MAX as u64).contains(&records) {
            return Err(BatchError::Bounds("the number of records"));
        }
        let raw_bytes = h.raw_bytes as usize;
        if raw_bytes > BATCH_RAW_MAX {
            return Err(BatchError::Bounds("the expanded size"));
        }
        if h.note.len() > NOTE_BYTES_MAX {
            return Err(BatchError::Bounds("the note"));
        }
        Ok(Self { log: h.log, start: h.start, end: h.end, note: h.note, raw_bytes, payload })
    }

    /// Records in the batch, by the header.
    pub fn len(&self) -> usize {
        self.end.saturating_sub(self.start) as usize
    }

    /// Never true: a batch has at least one record.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Expands the records, at most [`BATCH_RAW_MAX`] bytes.
    ///
    /// # Errors
    /// [`BatchError::Compression`], [`BatchError::Prefixes`].
    pub fn records(&self) -> Result<Records, BatchError> {
        let raw = zstd::bulk::decompress(self.payload, self.raw_bytes).map_err(|_| BatchError::Compression)?;
        if raw.len() != self.raw_bytes {
            return Err(BatchError::Compression);
        }
        let records = Records { raw };
        let (mut count, mut rest) = (0_usize, records.raw.as_slice());
        while let Some((_, after)) = split(rest) {
            count = count.saturating_add(1);
            rest = after;
        }
        if rest.is_empty() && count == self.len() { Ok(records) } else { Err(BatchError::Prefixes) }
    }
}

fn split(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (len, rest) = bytes.split_first_chunk::<2>()?;
    rest.split_at_checked(usize::from(u16::from_be_bytes(*len)))
}

/// Expanded records of a batch.
#[derive(Debug)]
pub struct Records {
    raw: Vec<u8>,
}

impl Records {
    /// Each record's bytes, in log order.
    pub fn iter(&self) -> impl Iterator<Item = &[u8]> {
        let mut rest = self.raw.as_slice();
        std::iter::from_fn(move || {
            let (record, after) = split(rest)?;
            rest = after;
            Some(record)
        })
    }
}

/// Bytes that a record takes in an expanded batch.
pub fn raw_len(record: &Record) -> usize {
    record.bytes().len().saturating_add(2)
}

/// Seals `records` as the batch after `tree`: appends them, signs the checkpoint, cosigns it at `time` (POSIX
/// seconds), compresses. `records` are 1 to [`BATCH_RECORDS_MAX`], with at most [`BATCH_RAW_MAX`] bytes.
///
/// ```
/// use tally_protocol::{batch::{Batch, seal}, canonical::Object, keys::NodeKeys, merkle::Tree, record::Record};
/// # use tally_protocol::ids::Federation;
///
/// # let federation = Federation::try_from("t.example".to_owned())?;
/// let keys = NodeKeys::derive(&federation, "350102/e1".parse()?, &[7; 32]);
/// let record = Record::new(&Object::parse(br#"{"name":"A"}"#)?)?;
/// let bytes = seal(&keys, &Tree::default(), &[record.clone()], 1_790_000_000);
///
/// let batch = Batch::decode(&bytes)?;
/// assert_eq!((batch.log, batch.start, batch.end), (keys.node, 0, 1));
/// assert!(batch.records()?.iter().eq([record.bytes()]));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn seal(keys: &NodeKeys, tree: &Tree, records: &[Record], time: u64) -> Vec<u8> {
    sealed(keys, tree, records, time).bytes
}

/// A batch that was just sealed: what its bytes say, without unpacking them.
#[derive(Debug, Clone)]
pub struct SealedBatch {
    /// The log's right edge with it.
    pub tree: Tree,
    /// The signed and cosigned checkpoint.
    pub note: String,
    /// The encoded batch.
    pub bytes: Vec<u8>,
}

/// The same as [`seal`], with what was computed on the way.
pub fn sealed(keys: &NodeKeys, tree: &Tree, records: &[Record], time: u64) -> SealedBatch {
    let mut raw = Vec::with_capacity(records.iter().map(raw_len).sum());
    let mut after = tree.clone();
    for r in records {
        debug_assert!(r.bytes().len() <= RECORD_BYTES_MAX);
        raw.extend_from_slice(&(r.bytes().len() as u16).to_be_bytes());
        raw.extend_from_slice(r.bytes());
        after.push(r.id().0);
    }
    debug_assert!(raw.len() <= BATCH_RAW_MAX && (1..=BATCH_RECORDS_MAX).contains(&records.len()));
    let origin = keys.log.public().name().to_owned();
    let note = Checkpoint { origin, size: after.size(), root: after.root() }.seal(keys, time);
    let bytes = encode(keys.node, tree.size(), after.size(), &raw, note.clone());
    SealedBatch { tree: after, note, bytes }
}

/// The records of an encoded batch from `from` on, with the note that closes it: for whoever holds what is before. The bytes
/// themselves where the batch starts at `from`, or not before it.
///
/// # Errors
/// [`BatchError`] of the bytes; [`BatchError::Bounds`] if no record is left.
pub fn from_record(bytes: Vec<u8>, from: u64) -> Result<Vec<u8>, BatchError> {
    let batch = Batch::decode(&bytes)?;
    let Some(before) = from.checked_sub(batch.start).filter(|n| *n > 0) else { return Ok(bytes) };
    if from >= batch.end {
        return Err(BatchError::Bounds("the first record asked for"));
    }
    let records = batch.records()?;
    let mut raw = Vec::with_capacity(batch.raw_bytes);
    for record in records.iter().skip(before as usize) {
        raw.extend_from_slice(&(record.len() as u16).to_be_bytes());
        raw.extend_from_slice(record);
    }
    Ok(encode(batch.log, from, batch.end, &raw, batch.note))
}

pub(crate) fn encode(log: LogId, start: u64, end: u64, raw: &[u8], note: String) -> Vec<u8> {
    let header = Header { format: FORMAT, log, start, end, raw_bytes: raw.len() as u32, note };
    let mut out = codec::encode(&header);
    let packed = zstd::bulk::compress(raw, ZSTD_LEVEL).expect("zstd has its bound of memory for 1 MiB");
    out.extend_from_slice(&packed);
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{canonical::Object, ids::Federation};

    #[test]
    fn the_rest_of_a_batch_is_a_batch_under_the_same_note() {
        let federation = Federation::try_from("t.example".to_owned()).unwrap();
        let keys = NodeKeys::derive(&federation, "350102/e1".parse().unwrap(), &[7; 32]);
        let records: Vec<_> = (0..5)
            .map(|n| Record::new(&Object::parse(format!("{{\"n\":\"{n}\"}}").as_bytes()).unwrap()).unwrap())
            .collect();
        let whole = seal(&keys, &Tree::default(), &records, 1);
        for from in [0, 1, 4] {
            let rest = from_record(whole.clone(), from as u64).unwrap();
            let batch = Batch::decode(&rest).unwrap();
            assert_eq!((batch.start, batch.end), (from as u64, 5));
            assert_eq!(batch.note, Batch::decode(&whole).unwrap().note);
            assert!(batch.records().unwrap().iter().eq(records[from..].iter().map(Record::bytes)));
        }
        assert_eq!(from_record(whole.clone(), 0).unwrap(), whole);
        assert!(matches!(from_record(whole, 5), Err(BatchError::Bounds(_))));
    }
    use proptest::prelude::*;

    fn keys() -> NodeKeys {
        let f = Federation::try_from("t.example".to_owned()).unwrap();
        NodeKeys::derive(&f, "350102/e1".parse().unwrap(), &[7; 32])
    }

    fn records(n: usize) -> Vec<Record> {
        (0..n).map(|i| Record::new(&Object::parse(format!("{{\"n\":\"{i}\"}}").as_bytes()).unwrap()).unwrap()).collect()
    }

    #[test]
    fn round_trip() {
        let (keys, records) = (keys(), records(1_000));
        let bytes = seal(&keys, &Tree::default(), &records, 1_790_000_000);
        let batch = Batch::decode(&bytes).unwrap();
        assert_eq!((batch.log, batch.start, batch.end), (keys.node, 0, 1_000));
        let back: Vec<_> = batch.records().unwrap().iter().map(<[u8]>::to_vec).collect();
        assert!(back.iter().zip(&records).all(|(a, b)| a == b.bytes()));
        let checkpoint = Checkpoint::open(&batch.note, keys.log.public()).unwrap();
        let mut tree = Tree::default();
        records.iter().for_each(|r| tree.push(r.id().0));
        assert_eq!((checkpoint.size, checkpoint.root), (1_000, tree.root()));
    }

    /// The encoding is frozen: these bytes must stay readable for ever.
    #[test]
    fn frozen_header() {
        let log = "350102/e1".parse().unwrap();
        let bytes = encode(log, 0, 2, b"\x00\x01a\x00\x02bc", "note".into());
        assert!(
            bytes.starts_with(b"\x01\x05\x57\x96\0\0\0\x01\0\0\0\x00\x02\x07\x04note\x28\xb5\x2f\xfd"),
            "{bytes:02x?}"
        );
        let back: Vec<_> = Batch::decode(&bytes).unwrap().records().unwrap().iter().map(<[u8]>::to_vec).collect();
        assert_eq!(back, [b"a".to_vec(), b"bc".to_vec()]);
    }

    #[test]
    fn lies_in_the_header_are_named() {
        let log = "350102/e1".parse().unwrap();
        let raw = b"\x00\x01a\x00\x02bc";
        let open = |start, end, raw: &[u8]| {
            let bytes = encode(log, start, end, raw, "n".into());
            Batch::decode(&bytes).and_then(|b| b.records().map(|r| r.iter().count()))
        };
        assert_eq!(open(5, 7, raw), Ok(2));
        assert_eq!(open(5, 5, raw), Err(BatchError::Bounds("the number of records")));
        assert_eq!(open(7, 5, raw), Err(BatchError::Bounds("the number of records")));
        assert_eq!(open(0, 1_001, raw), Err(BatchError::Bounds("the number of records")));
        assert_eq!(open(0, 3, raw), Err(BatchError::Prefixes));
        assert_eq!(open(0, 1, raw), Err(BatchError::Prefixes));
        assert_eq!(open(0, 2, b"\x00\x01a\x00\x03bc"), Err(BatchError::Prefixes));
        assert_eq!(open(0, 2, &vec![0; BATCH_RAW_MAX + 1]), Err(BatchError::Bounds("the expanded size")));
        assert_eq!(Batch::decode(b"\x09"), Err(BatchError::Format(9)));
        assert!(Batch::decode(b"").is_err());
        // A bomb: 1 GiB of zeros in a few kilobytes, said to be small.
        let mut bomb = codec::encode(&Header { format: 1, log, start: 0, end: 1, raw_bytes: 10, note: "n".into() });
        bomb.extend(zstd::bulk::compress(&vec![0; 64 << 20], 1).unwrap());
        assert_eq!(Batch::decode(&bomb).unwrap().records().unwrap_err(), BatchError::Compression);
    }

    proptest! {
        #[test]
        fn damage_never_panics(cut in any::<prop::sample::Index>(), at in any::<prop::sample::Index>(), bit in 0_u32..8) {
            let mut bytes = seal(&keys(), &Tree::default(), &records(20), 1);
            let i = at.index(bytes.len());
            bytes[i] ^= 1_u8 << bit;
            let _ = Batch::decode(&bytes).map(|b| b.records().map(|r| r.iter().count()));
            bytes.truncate(cut.index(bytes.len()));
            let _ = Batch::decode(&bytes).map(|b| b.records().map(|r| r.iter().count()));
        }
    }
}
