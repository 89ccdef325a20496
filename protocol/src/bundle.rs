//! Bundles: what a link would carry, as a file, for networks that are joined by hand or through a one-way gap.
//!
//! A bundle goes up with batches, and comes back down with receipts, heads and the charter. Each item is proved where it
//! is taken in, by the same door as on a link; the bundle itself is not signed. Its last item tells whether all of it
//! arrived.

#![warn(clippy::indexing_slicing, clippy::arithmetic_side_effects)]

use crate::{
    bounded,
    codec::{self, CodecError},
    fork::ForkEvidence,
    hash::Hash,
    ids::{Division, LogId, node_epoch},
    limits::BATCH_BYTES_MAX,
    wire::Head,
};
use serde::{Deserialize, Serialize};

/// First bytes of a bundle.
pub const MAGIC: &[u8; 16] = b"tally bundle 1\n\0";
/// Largest item in bytes.
pub const ITEM_BYTES_MAX: usize = BATCH_BYTES_MAX + 1_024;

/// One item. New kinds go at the end: the number is in the file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Item {
    /// First: what this is.
    Opening {
        /// Name of the federation.
        federation: String,
        /// Who made it, in which epoch.
        #[serde(deserialize_with = "node_epoch")]
        from: LogId,
        /// For whom.
        to: Division,
        /// Version of the charter in force there.
        charter: u64,
        /// When, POSIX seconds.
        time: u64,
    },
    /// The signed charter.
    Charter {
        /// The signed note.
        note: String,
    },
    /// How far the maker holds a log.
    Head(Head),
    /// `holder` has the log up to `size` on disk.
    Receipt {
        /// Which log.
        log: LogId,
        /// Records covered.
        size: u64,
        /// Who signed, in which epoch.
        #[serde(deserialize_with = "node_epoch")]
        holder: LogId,
        /// The cosignature line.
        line: String,
    },
    /// A batch, as it was sealed.
    Batch {
        /// Of which log.
        log: LogId,
        /// Its bytes.
        bytes: Vec<u8>,
    },
    /// Last: nothing is missing before it.
    End {
        /// Items before this one.
        items: u64,
        /// BLAKE3 of everything before this item, from the first byte on.
        sum: Hash,
    },
    /// Two histories of a log were signed.
    Conflict {
        /// Of which log.
        log: LogId,
        /// Both signed notes, and what shows that they contradict each other.
        evidence: ForkEvidence,
        /// For people.
        #[serde(with = "bounded::reason")]
        reason: String,
    },
}

/// Why a file is not a whole bundle.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BundleError {
    /// It does not start as one.
    #[error("this is not a bundle of tally, or one of a later release")]
    Magic,
    /// A program has changed it on its way.
    #[error("the bundle was changed on its way: {0}. Copy it again as a file, not as text")]
    Changed(&'static str),
    /// It ends before its end.
    #[error("the bundle breaks off after {0} items: copy it again")]
    BreaksOff(u64),
    /// Bytes on the way were changed.
    #[error("the bundle was altered on its way, before item {0}: copy it again")]
    Sum(u64),
    /// An item that cannot be read.
    #[error("item {item} of the bundle: {source}")]
    Item {
        /// Its number, from 1.
        item: u64,
        /// What is wrong.
        source: CodecError,
    },
    /// Something stands where something else should.
    #[error("item {0} of the bundle does not belong there")]
    Order(u64),
}

/// What was done to a bundle that begins so; `None`: nothing that is known, so it may be something else.
fn changed(start: &[u8]) -> Option<&'static str> {
    match start {
        [0xef, 0xbb, 0xbf, ..] => Some("a byte order mark stands before it"),
        [0xff, 0xfe, ..] | [0xfe, 0xff, ..] | [b't', 0, ..] | [0, b't', ..] => Some("it was saved as UTF-16"),
        _ if start.starts_with(b"tally bundle 1\r") => Some("its line ends were made CR LF"),
        _ if start.starts_with(b"dGFsbHkgYnVuZGxl") => Some("it is still base64, as mail programs make it"),
        _ => None,
    }
}

/// Puts items into the form of a file.
#[derive(Debug)]
pub struct Writer {
    sum: blake3::Hasher,
    items: u64,
    open: bool,
}

impl Default for Writer {
    fn default() -> Self {
        Self { sum: blake3::Hasher::new(), items: 0, open: false }
    }
}

impl Writer {
    /// The bytes of the next item, which follow those of the last.
    pub fn item(&mut self, item: &Item) -> Vec<u8> {
        let mut out = if self.open { Vec::new() } else { MAGIC.to_vec() };
        self.open = true;
        let bytes = codec::encode(item);
        debug_assert!(bytes.len() <= ITEM_BYTES_MAX);
        out.extend_from_slice(&(bytes.len() as u32).to_le_bytes());
        out.extend_from_slice(&bytes);
        self.sum.update(&out);
        self.items = self.items.saturating_add(1);
        out
    }

    /// The bytes that end the bundle.
    pub fn end(mut self) -> Vec<u8> {
        let sum = Hash(*self.sum.finalize().as_bytes());
        let items = self.items;
        self.item(&Item::End { items, sum })
    }
}

/// Takes a bundle's bytes as they come and gives its items. Holds one item at most.
#[derive(Debug, Default)]
pub struct BundleReader {
    buffer: Vec<u8>,
    sum: blake3::Hasher,
    items: u64,
    magic: bool,
    ended: bool,
}

impl BundleReader {
    /// More bytes of the file.
    pub fn feed(&mut self, bytes: &[u8]) {
        self.buffer.extend_from_slice(bytes);
    }

    /// Items so far.
    pub fn items(&self) -> u64 {
        self.items
    }

    /// The next item; `None` when more bytes are needed, or after the end.
    ///
    /// # Errors
    /// [`BundleError`], after which nothing more can be read.
    pub fn next_item(&mut self) -> Result<Option<Item>, BundleError> {
        if !self.magic {
            let Some(start) = self.buffer.get(..MAGIC.len()) else { return Ok(None) };
            if start != MAGIC {
                return Err(changed(start).map_or(BundleError::Magic, BundleError::Changed));
            }
            self.sum.update(MAGIC);
            self.buffer.drain(..MAGIC.len());
            self.magic = true;
        }
        let number = self.items.saturating_add(1);
        if self.ended {
            return if self.buffer.is_empty() { Ok(None) } else { Err(BundleError::Order(number)) };
        }
        let Some((prefix, rest)) = self.buffer.split_first_chunk::<4>() else { return Ok(None) };
        let len = u32::from_le_bytes(*prefix) as usize;
        if len > ITEM_BYTES_MAX {
            let source = CodecError::TooLong { bytes: len, limit: ITEM_BYTES_MAX };
            return Err(BundleError::Item { item: number, source });
        }
        let Some(bytes) = rest.get(..len) else { return Ok(None) };
        let item: Item =
            codec::decode::<_, ITEM_BYTES_MAX>(bytes).map_err(|source| BundleError::Item { item: number, source })?;
        match &item {
            Item::End { items, sum } => {
                if (*items, sum.0) != (self.items, *self.sum.finalize().as_bytes()) {
                    return Err(BundleError::Sum(number));
                }
                self.ended = true;
            }
            Item::Opening { .. } if self.items > 0 => return Err(BundleError::Order(number)),
            Item::Opening { .. } => {}
            _ if self.items == 0 => return Err(BundleError::Order(number)),
            _ => {}
        }
        self.sum.update(prefix).update(bytes);
        self.buffer.drain(..len.saturating_add(prefix.len()));
        self.items = number;
        Ok(Some(item))
    }

    /// The file has ended.
    ///
    /// # Errors
    /// [`BundleError::BreaksOff`] if the bundle has not.
    pub fn finish(&self) -> Result<(), BundleError> {
        if self.ended { Ok(()) } else { Err(BundleError::BreaksOff(self.items)) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn log() -> LogId {
        "350102/e1".parse().unwrap()
    }

    fn sample() -> Vec<Item> {
        vec![
            Item::Opening { federation: "t.example".into(), from: log(), to: log().division, charter: 2, time: 3 },
            Item::Charter { note: "n".into() },
            Item::Batch { log: log(), bytes: vec![7; 3_000] },
            Item::Receipt { log: log(), size: 5, holder: log(), line: "l\n".into() },
            Item::Conflict { log: log(), evidence: ForkEvidence::default(), reason: "r".into() },
        ]
    }

    fn file(items: &[Item]) -> Vec<u8> {
        let mut writer = Writer::default();
        let mut out: Vec<u8> = items.iter().flat_map(|i| writer.item(i)).collect();
        out.extend(writer.end());
        out
    }

    fn read(bytes: &[u8], piece: usize) -> Result<Vec<Item>, BundleError> {
        let (mut reader, mut items) = (BundleReader::default(), Vec::new());
        for part in bytes.chunks(piece) {
            reader.feed(part);
            while let Some(item) = reader.next_item()? {
                items.push(item);
            }
        }
        reader.finish().map(|()| items)
    }

    #[test]
    fn round_trip_in_pieces() {
        let bytes = file(&sample());
        for piece in [1, 7, 1_000, 1 << 20] {
            let items = read(&bytes, piece).unwrap();
            assert_eq!(items[..5], sample());
            assert!(matches!(items[5], Item::End { items: 5, .. }));
        }
        // As files have it, for ever.
        let start =
            b"tally bundle 1\n\0\x1c\0\0\0\0\x09t.example\x05\x57\x96\0\0\0\x01\0\0\0\xfc\x96\x57\x05\0\x02\x03";
        assert!(bytes.starts_with(start), "{:02x?}", &bytes[..48]);
    }

    #[test]
    fn what_is_wrong_is_named() {
        let bytes = file(&sample());
        assert_eq!(read(b"PK and a long enough rest", 9), Err(BundleError::Magic));
        assert_eq!(read(&bytes[..bytes.len() - 1], 50), Err(BundleError::BreaksOff(5)));
        assert_eq!(read(&[&bytes[..], b"x"].concat(), 50), Err(BundleError::Order(7)));
        assert_eq!(read(&file(&sample()[1..]), 50), Err(BundleError::Order(1)));
        assert_eq!(read(&file(&[sample()[0].clone(), sample()[0].clone()]), 50), Err(BundleError::Order(2)));
        let long = [&MAGIC[..], &u32::MAX.to_le_bytes()].concat();
        assert!(matches!(read(&long, 50), Err(BundleError::Item { item: 1, source: CodecError::TooLong { .. } })));
    }

    /// C01: what a program did to the file is told, so that nobody looks for a forger.
    #[test]
    fn a_bundle_that_a_program_changed_is_told_from_something_else() {
        let bytes = file(&sample());
        let crlf: Vec<u8> =
            bytes.iter().flat_map(|b| if *b == b'\n' { vec![b'\r', b'\n'] } else { vec![*b] }).collect();
        let utf16: Vec<u8> = bytes.iter().flat_map(|b| [*b, 0]).collect();
        let cases = [
            ([&[0xef, 0xbb, 0xbf], &bytes[..]].concat(), "byte order mark"),
            (crlf, "CR LF"),
            ([&[0xff, 0xfe], &utf16[..]].concat(), "UTF-16"),
            (utf16, "UTF-16"),
            (b"dGFsbHkgYnVuZGxlIDEKAA==".to_vec(), "base64"),
        ];
        for (changed, word) in cases {
            let why = read(&changed, 7).unwrap_err();
            assert!(matches!(why, BundleError::Changed(_)) && why.to_string().contains(word), "{word}: {why}");
        }
        assert_eq!(read(b"PK\x03\x04 another file altogether", 7), Err(BundleError::Magic));
    }

    #[test]
    fn any_flipped_byte_is_seen() {
        let bytes = file(&sample());
        for i in 0..bytes.len() {
            let mut bad = bytes.clone();
            bad[i] ^= 1 << (i % 8);
            assert!(read(&bad, 500).is_err(), "byte {i}");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_answered(bytes in prop::collection::vec(any::<u8>(), 0..300), piece in 1_usize..50) {
            let _ = read(&bytes, piece);
            let _ = read(&[&MAGIC[..], &bytes].concat(), piece);
        }
    }
}
