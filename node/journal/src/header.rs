//! The first bytes of a segment file (FORMAT.md): whose journal it is, and how the segment before it ended.
//!
//! ```text
//!   0  "TALLYSEG"                                 8
//!   8  format, u16 LE                             2
//!  10  1: begun for what stood behind the end of the segment before; 0: the segment before was full    1
//!  11  zero                                       1
//!  12  of its first bytes, so many also stand in the segment before, u32 LE                            4
//!  16  segment number, u32 LE                     4
//!  20  division of the node, u32 LE               4
//!  24  BLAKE3 of the federation's name           32
//!  56  length of the segment before, u64 LE       8   0: there was none
//!  64  last root in the segment before           32   zeros: none
//!  96  BLAKE3 of bytes 0..96                     32
//! ```

use super::{Volume, VolumeFile, segment_path, volume::open_to_read};
use std::{io, path::Path};

/// Bytes of a header; the first frame follows.
pub(super) const HEADER_BYTES: u64 = 128;
/// The format that is written, and the latest that is read.
pub const SEGMENT_FORMAT: u16 = 1;
const MAGIC: &[u8; 8] = b"TALLYSEG";
const SUMMED: usize = 96;
/// At byte 10 of a segment that was begun for what stood behind the end of the one before.
const CARRIES: u8 = 1;

/// Whose journal it is. A journal of another node is refused before anything is written to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Owner {
    /// The federation's name.
    pub federation: String,
    /// The node's division, as a number.
    pub division: u32,
}

impl Owner {
    fn federation_sum(&self) -> [u8; 32] {
        *blake3::hash(self.federation.as_bytes()).as_bytes()
    }
}

/// A header that was read and whose checksum held.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Header {
    pub(super) format: u16,
    pub(super) segment: u32,
    division: u32,
    federation: [u8; 32],
    /// Length of the segment before, in bytes; 0: there was none.
    pub(super) length_before: u64,
    /// Last root in the segment before.
    pub(super) root_before: [u8; 32],
    /// Set if this segment was begun because what stood behind the end of the segment before was not certain to be on the
    /// disk: that stands here again, and what is left of it there does not count. The number says how many bytes from before that
    /// end stand here too, first of all.
    pub(super) repeats: Option<u32>,
}

impl Header {
    pub(super) fn new(owner: &Owner, segment: u32, length_before: u64, root_before: [u8; 32]) -> Self {
        let (division, federation) = (owner.division, owner.federation_sum());
        Self { format: SEGMENT_FORMAT, segment, division, federation, length_before, root_before, repeats: None }
    }

    /// Of a segment that begins with what stood from `repeats` bytes before `length_before` on in the one before.
    pub(super) fn carrying(owner: &Owner, segment: u32, length_before: u64, repeats: u32) -> Self {
        Self { repeats: Some(repeats), ..Self::new(owner, segment, length_before, [0; 32]) }
    }

    /// The same of a segment that only follows the one before.
    pub(super) fn carrying_nothing(self) -> Self {
        Self { repeats: None, ..self }
    }

    pub(super) fn encode(&self) -> [u8; HEADER_BYTES as usize] {
        let mut out = [0; HEADER_BYTES as usize];
        out[..8].copy_from_slice(MAGIC);
        out[8..10].copy_from_slice(&self.format.to_le_bytes());
        if let Some(repeats) = self.repeats {
            out[10] = CARRIES;
            out[12..16].copy_from_slice(&repeats.to_le_bytes());
        }
        out[16..20].copy_from_slice(&self.segment.to_le_bytes());
        out[20..24].copy_from_slice(&self.division.to_le_bytes());
        out[24..56].copy_from_slice(&self.federation);
        out[56..64].copy_from_slice(&self.length_before.to_le_bytes());
        out[64..SUMMED].copy_from_slice(&self.root_before);
        let sum = blake3::hash(&out[..SUMMED]);
        out[SUMMED..].copy_from_slice(sum.as_bytes());
        out
    }

    /// Reads a header; `None` if the bytes are none, or their checksum does not hold. A later format keeps the first 16
    /// bytes and the checksum, so it is told from damage.
    pub(super) fn decode(bytes: &[u8]) -> Option<Self> {
        let (summed, sum) = bytes.get(..HEADER_BYTES as usize)?.split_at_checked(SUMMED)?;
        if summed.get(..8)? != MAGIC || blake3::hash(summed).as_bytes() != sum {
            return None;
        }
        let at = |from: usize, to: usize| summed.get(from..to);
        let repeats = u32::from_le_bytes(at(12, 16)?.try_into().ok()?);
        Some(Self {
            repeats: (at(10, 11)? == [CARRIES]).then_some(repeats),
            format: u16::from_le_bytes(at(8, 10)?.try_into().ok()?),
            segment: u32::from_le_bytes(at(16, 20)?.try_into().ok()?),
            division: u32::from_le_bytes(at(20, 24)?.try_into().ok()?),
            federation: at(24, 56)?.try_into().ok()?,
            length_before: u64::from_le_bytes(at(56, 64)?.try_into().ok()?),
            root_before: at(64, SUMMED)?.try_into().ok()?,
        })
    }

    /// The header that a file starts with.
    pub(super) fn read(file: &impl VolumeFile) -> Option<Self> {
        let mut bytes = [0; HEADER_BYTES as usize];
        file.read_exact_at(&mut bytes, 0).ok()?;
        Self::decode(&bytes)
    }

    /// The header of a segment in `dir`; `None` if it does not hold, is another's, or is not there.
    pub(super) fn of(volume: &impl Volume, dir: &Path, segment: u32) -> io::Result<Option<Self>> {
        let file = open_to_read(volume, &segment_path(dir, segment))?;
        Ok(file.and_then(|file| Self::read(&file)).filter(|h| h.segment == segment))
    }

    /// The header of the segment after this one, which says how this one ended.
    pub(super) fn after(volume: &impl Volume, dir: &Path, segment: u32) -> io::Result<Option<Self>> {
        segment.checked_add(1).map_or(Ok(None), |next| Self::of(volume, dir, next))
    }

    /// If this is the header of a segment that carries on what stood behind the end of the one before: the offset there
    /// from which on its bytes stand here.
    pub(super) fn carried_from(&self) -> Option<u64> {
        Some(self.length_before.saturating_sub(self.repeats?.into()))
    }

    pub(super) fn is_of(&self, owner: &Owner) -> bool {
        (self.division, self.federation) == (owner.division, owner.federation_sum())
    }

    pub(super) fn division(&self) -> u32 {
        self.division
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The layout is frozen: a journal written today must stay readable.
    #[test]
    fn frozen_bytes() {
        let owner = Owner { federation: "t.example".into(), division: 350_102 };
        let header = Header::new(&owner, 7, 4_711, [9; 32]);
        let bytes = header.encode();
        assert_eq!(&bytes[..24], b"TALLYSEG\x01\0\0\0\0\0\0\0\x07\0\0\0\x96\x57\x05\0");
        assert_eq!(&bytes[24..56], blake3::hash(b"t.example").as_bytes());
        assert_eq!(&bytes[56..64], b"\x67\x12\0\0\0\0\0\0");
        assert_eq!(Header::decode(&bytes), Some(header.clone()));
        assert!(header.is_of(&owner) && !header.is_of(&Owner { division: 350_103, ..owner }));
        for i in 0..bytes.len() * 8 {
            let mut bad = bytes;
            bad[i / 8] ^= 1 << (i % 8);
            assert_eq!(Header::decode(&bad), None, "bit {i}");
        }
    }

    #[test]
    fn frozen_bytes_of_a_segment_that_carries_on() {
        let owner = Owner { federation: "t.example".into(), division: 350_102 };
        let header = Header::carrying(&owner, 8, 4_711, 615);
        let bytes = header.encode();
        assert_eq!(&bytes[..24], b"TALLYSEG\x01\0\x01\0\x67\x02\0\0\x08\0\0\0\x96\x57\x05\0");
        assert_eq!(&bytes[56..96], [&b"\x67\x12\0\0\0\0\0\0"[..], &[0; 32]].concat());
        assert_eq!(Header::decode(&bytes), Some(header.clone()));
        assert_eq!(header.carried_from(), Some(4_096));
        assert_eq!(Header::new(&owner, 8, 4_711, [0; 32]).carried_from(), None);
    }
}
