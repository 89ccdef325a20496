//! One frame of the journal, byte by byte.
//!
//! ```text
//!  0  magic "\xffTLY"          4
//!  4  format, 1                1
//!  5  kind                     1
//!  6  zero                     2
//!  8  meta length  u32 LE      4
//! 12  body length  u32 LE      4
//! 16  BLAKE3 of the body      32
//! 48  BLAKE3 of bytes 0..48 and the meta, first 16 bytes
//! 64  meta (bincode), then body
//! ```
//! The head can be trusted without reading the body, so opening a journal reads heads only. The body of a batch is
//! the batch as it was signed and sent; other kinds have none.

use serde::{Deserialize, Serialize};
use tally_core::{Append, Recovered};
use tally_protocol::{
    codec,
    hash::Hash,
    ids::LogId,
    limits::{BATCH_BYTES_MAX, CHARTER_BYTES_MAX},
    log::{Frozen, Place, Receipt},
    merkle::Tree,
};

/// Bytes before the meta.
pub(super) const HEAD_BYTES: usize = 64;
/// Starts every frame; 0xff never stands in UTF-8, so text in a body cannot look like it by chance.
pub(super) const MAGIC: [u8; 4] = *b"\xffTLY";
const FORMAT: u8 = 1;
/// Largest meta: a charter stands in it.
pub(super) const META_BYTES_MAX: usize = CHARTER_BYTES_MAX + 4_096;

/// What a frame says, without its body.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub enum Meta {
    /// A batch; its bytes are the body.
    Batch {
        /// Of which log.
        log: LogId,
        /// Index of its first record.
        start: u64,
        /// One past its last.
        end: u64,
        /// Right edge of the tree with it.
        peaks: Vec<Hash>,
        /// When it was sealed, POSIX seconds.
        sealed_at: u64,
        /// The signed checkpoint.
        note: String,
    },
    /// A receipt.
    Receipt {
        /// Of which log.
        log: LogId,
        /// Who holds it.
        holder: LogId,
        /// Records covered.
        size: u64,
        /// When, POSIX seconds.
        time: u64,
        /// The cosignature line.
        line: String,
    },
    /// A frozen log.
    Freeze {
        /// Which.
        log: LogId,
        /// For people.
        reason: String,
        /// Both signed checkpoints.
        notes: [String; 2],
    },
    /// A charter.
    Charter {
        /// The signed note.
        note: String,
    },
    /// Says nothing: stands where damaged bytes were put aside.
    Filler,
    /// A segment was sealed, or mended, at this length: one that is shorter was cut. The latest word counts.
    Sealed {
        /// Which segment.
        segment: u32,
        /// Bytes of its file.
        bytes: u64,
    },
}

/// A head that was read and whose checksum held.
#[derive(Debug, Clone, Copy)]
pub(super) struct Head {
    /// Bytes of meta.
    pub meta_bytes: usize,
    /// Bytes of body.
    pub body_bytes: usize,
    body_sum: [u8; 32],
    head_sum: [u8; 16],
    fixed: [u8; 48],
}

impl Head {
    /// Reads the fixed part; `None` if it cannot be one. Its checksum needs the meta: [`Head::meta`].
    pub(super) fn parse(bytes: &[u8]) -> Option<Self> {
        let fixed: [u8; 48] = bytes.get(..48)?.try_into().ok()?;
        let head_sum = bytes.get(48..HEAD_BYTES)?.try_into().ok()?;
        let number = |at: usize| Some(u32::from_le_bytes(fixed[at..at + 4].try_into().ok()?) as usize);
        let (meta_bytes, body_bytes) = (number(8)?, number(12)?);
        let plausible = fixed[..4] == MAGIC
            && fixed[4] == FORMAT
            && fixed[6..8] == [0, 0]
            && meta_bytes <= META_BYTES_MAX
            && body_bytes <= BATCH_BYTES_MAX;
        let body_sum = fixed[16..48].try_into().ok()?;
        plausible.then_some(Self { meta_bytes, body_bytes, body_sum, head_sum, fixed })
    }

    /// Whole frame in bytes.
    pub(super) fn frame_bytes(&self) -> u64 {
        (HEAD_BYTES + self.meta_bytes + self.body_bytes) as u64
    }

    /// Checks the head's checksum and reads the meta.
    pub(super) fn meta(&self, meta: &[u8]) -> Option<Meta> {
        let mut h = blake3::Hasher::new();
        h.update(&self.fixed).update(meta);
        if h.finalize().as_bytes()[..16] != self.head_sum {
            return None;
        }
        let meta: Meta = codec::decode::<_, META_BYTES_MAX>(meta).ok()?;
        (meta.kind() == self.fixed[5]).then_some(meta)
    }

    /// Checks the body's checksum.
    pub(super) fn body_holds(&self, body: &[u8]) -> bool {
        body.len() == self.body_bytes && *blake3::hash(body).as_bytes() == self.body_sum
    }
}

impl Meta {
    fn kind(&self) -> u8 {
        match self {
            Self::Batch { .. } => 1,
            Self::Receipt { .. } => 2,
            Self::Freeze { .. } => 3,
            Self::Charter { .. } => 4,
            Self::Filler => 5,
            Self::Sealed { .. } => 6,
        }
    }

    /// The same for the core's recovery; `None` if a batch's peaks do not fit its size, or it says nothing.
    pub fn recovered(self, place: Place) -> Option<Recovered> {
        Some(match self {
            Self::Batch { log, start, end, peaks, sealed_at, note } => {
                let tree = Tree::from_peaks(end, peaks).filter(|_| start < end)?;
                Recovered::Batch { log, start, tree, sealed_at, note, place }
            }
            Self::Receipt { log, holder, size, time, line } => {
                Recovered::Receipt { log, holder, receipt: Receipt { size, time, epoch: holder.epoch, line }, place }
            }
            Self::Freeze { log, reason, notes } => Recovered::Freeze { log, frozen: Frozen { reason, notes } },
            Self::Charter { note } => Recovered::Charter { note },
            Self::Filler | Self::Sealed { .. } => return None,
        })
    }
}

/// Appends the frame of `append` to `out`.
pub(super) fn encode(append: &Append, out: &mut Vec<u8>) {
    let (meta, body): (Meta, &[u8]) = match append {
        Append::Batch(b, _) | Append::PutBack(b, _) => {
            let meta = Meta::Batch {
                log: b.log(),
                start: b.start(),
                end: b.end(),
                peaks: b.tree().peaks().to_vec(),
                sealed_at: b.sealed_at(),
                note: b.note().to_owned(),
            };
            (meta, b.bytes())
        }
        Append::Receipt { log, holder, size, time, line } => {
            (Meta::Receipt { log: *log, holder: *holder, size: *size, time: *time, line: line.clone() }, &[])
        }
        Append::Freeze { log, reason, notes } => {
            (Meta::Freeze { log: *log, reason: reason.clone(), notes: notes.clone() }, &[])
        }
        Append::Charter { note, .. } => (Meta::Charter { note: note.clone() }, &[]),
    };
    write(&meta, body, out);
}

/// Appends the frame that tells how long a sealed segment is.
pub(super) fn sealed(segment: u32, bytes: u64, out: &mut Vec<u8>) {
    write(&Meta::Sealed { segment, bytes }, &[], out);
}

/// Frames that say nothing and take `bytes` together; `None` if that is less than one takes.
pub(super) fn fillers(bytes: u64) -> Option<Vec<u8>> {
    const LARGEST: u64 = 1 << 20;
    let least = (HEAD_BYTES + codec::encode(&Meta::Filler).len()) as u64;
    let (mut out, mut left) = (Vec::new(), bytes);
    while left > 0 {
        // What is left after this one must be nothing, or enough for the next.
        let take = if left <= LARGEST { left } else { LARGEST.min(left - least) };
        let body = take.checked_sub(least)?;
        write(&Meta::Filler, &vec![0; body as usize], &mut out);
        left -= take;
    }
    Some(out)
}

#[cfg(test)]
pub(super) fn encode_with_body(append: &Append, body: &[u8], out: &mut Vec<u8>) {
    if let Append::Receipt { log, holder, size, time, line } = append {
        let meta = Meta::Receipt { log: *log, holder: *holder, size: *size, time: *time, line: line.clone() };
        write(&meta, body, out);
    }
}

fn write(meta: &Meta, body: &[u8], out: &mut Vec<u8>) {
    let kind = meta.kind();
    let meta = codec::encode(meta);
    debug_assert!(meta.len() <= META_BYTES_MAX);
    let mut fixed = [0; 48];
    fixed[..4].copy_from_slice(&MAGIC);
    fixed[4] = FORMAT;
    fixed[5] = kind;
    fixed[8..12].copy_from_slice(&(meta.len() as u32).to_le_bytes());
    fixed[12..16].copy_from_slice(&(body.len() as u32).to_le_bytes());
    fixed[16..].copy_from_slice(blake3::hash(body).as_bytes());
    let mut h = blake3::Hasher::new();
    h.update(&fixed).update(&meta);
    out.extend_from_slice(&fixed);
    out.extend_from_slice(&h.finalize().as_bytes()[..16]);
    out.extend_from_slice(&meta);
    out.extend_from_slice(body);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn receipt() -> Append {
        let log = "350102/e1".parse().unwrap();
        let holder = "350100/e1".parse().unwrap();
        Append::Receipt { log, holder, size: 5, time: 9, line: "l\n".into() }
    }

    /// The layout is frozen: a journal written today must stay readable.
    #[test]
    fn frozen_bytes() {
        let mut bytes = Vec::new();
        encode(&receipt(), &mut bytes);
        assert_eq!(&bytes[..16], b"\xffTLY\x01\x02\0\0\x12\0\0\0\0\0\0\0");
        assert_eq!(&bytes[64..], b"\x01\xfc\x96\x57\x05\x00\x01\xfc\x94\x57\x05\x00\x01\x05\x09\x02l\n");
    }

    #[test]
    fn fillers_fill_exactly() {
        let mebi = 1_u64 << 20;
        for bytes in [65, 66, 1_000, mebi - 1, mebi, mebi + 1, mebi + 64, mebi + 65, 3 * mebi + 7] {
            let out = fillers(bytes).unwrap();
            assert_eq!(out.len() as u64, bytes);
            let (mut at, mut frames) = (0, 0);
            while at < out.len() {
                let head = Head::parse(&out[at..]).unwrap();
                assert!(matches!(head.meta(&out[at + HEAD_BYTES..][..head.meta_bytes]), Some(Meta::Filler)));
                at += head.frame_bytes() as usize;
                frames += 1;
            }
            assert_eq!((at as u64, frames), (bytes, bytes.div_ceil(mebi)), "{bytes}");
        }
        assert_eq!(fillers(64), None);
        // As a journal has it, for ever.
        assert_eq!(&fillers(70).unwrap()[..16], b"\xffTLY\x01\x05\0\0\x01\0\0\0\x05\0\0\0");
    }

    #[test]
    fn every_flipped_bit_of_head_and_meta_is_seen() {
        let mut bytes = Vec::new();
        encode(&receipt(), &mut bytes);
        let read = |b: &[u8]| Head::parse(b).and_then(|h| h.meta(b.get(HEAD_BYTES..HEAD_BYTES + h.meta_bytes)?));
        assert!(matches!(read(&bytes), Some(Meta::Receipt { size: 5, .. })));
        for i in 0..bytes.len() * 8 {
            let mut bad = bytes.clone();
            bad[i / 8] ^= 1 << (i % 8);
            assert!(read(&bad).is_none(), "bit {i}");
        }
    }
}
