//! One frame of the journal, byte by byte (FORMAT.md).
//!
//! ```text
//!  0  magic "\xffTLY"          4
//!  4  format, 1                1
//!  5  kind                     1
//!  6  zero                     2
//!  8  meta length  u32 LE      4
//! 12  body length  u32 LE      4
//! 16  durable to   u64 LE      8   up to here this segment was durable when the frame was written
//! 24  BLAKE3 of the body      32
//! 56  BLAKE3 of bytes 0..56 and the meta, first 16 bytes
//! 72  meta, then body
//! ```
//! The head can be trusted without reading the body, so opening a journal reads heads only. What kind, meta and body mean
//! is the writer's business; kind 0 is the journal's own and says nothing.

/// Bytes before the meta.
pub const HEAD_BYTES: usize = 72;
/// Largest meta, in bytes.
pub const META_BYTES_MAX: usize = (1 << 20) + (8 << 10);
/// Largest body, in bytes.
pub const BODY_BYTES_MAX: usize = 2 << 20;
/// Starts every frame; 0xff never stands in UTF-8, so text in a body cannot look like it by chance.
pub(super) const MAGIC: [u8; 4] = *b"\xffTLY";
/// The kind of a frame that says nothing: it fills a mended place, or only tells what is durable.
pub(super) const FILLER: u8 = 0;
const FORMAT: u8 = 1;
const FIXED: usize = 56;

/// What is written as one frame.
#[derive(Debug, Clone, Copy)]
pub struct Frame<'a> {
    /// The writer's word for what it is: 1 to 255.
    pub kind: u8,
    /// What can be read without the body: at most [`META_BYTES_MAX`].
    pub meta: &'a [u8],
    /// At most [`BODY_BYTES_MAX`].
    pub body: &'a [u8],
    /// The root that the frame ends at, if it ends at one: the next segment's header repeats the last.
    pub root: Option<[u8; 32]>,
}

/// A frame's kind and meta, whose checksum held.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FrameHead {
    /// The writer's word for what it is; 0 says nothing.
    pub kind: u8,
    /// Its meta.
    pub meta: Vec<u8>,
    /// Up to this offset its segment was durable when the frame was written.
    pub durable_to: u64,
    /// It does not follow on another frame: it was found by a search, behind bytes that are none. There somebody else's bytes,
    /// inside a record, may look like a frame.
    pub sought: bool,
}

/// The fixed part of a head. Whether its checksum holds only the meta can tell: [`Head::check`].
#[derive(Debug, Clone, Copy)]
pub(super) struct Head {
    pub(super) meta_bytes: usize,
    pub(super) body_bytes: usize,
    body_sum: [u8; 32],
    head_sum: [u8; 16],
    fixed: [u8; FIXED],
}

impl Head {
    /// Reads the fixed part; `None` if it cannot be one.
    pub(super) fn parse(bytes: &[u8]) -> Option<Self> {
        let fixed: [u8; FIXED] = bytes.get(..FIXED)?.try_into().ok()?;
        let head_sum = bytes.get(FIXED..HEAD_BYTES)?.try_into().ok()?;
        let number = |at: usize| Some(u32::from_le_bytes(*fixed.get(at..)?.first_chunk()?) as usize);
        let (meta_bytes, body_bytes) = (number(8)?, number(12)?);
        let plausible = fixed[..4] == MAGIC
            && fixed[4] == FORMAT
            && fixed[6..8] == [0, 0]
            && meta_bytes <= META_BYTES_MAX
            && body_bytes <= BODY_BYTES_MAX;
        let body_sum = fixed[24..].try_into().ok()?;
        plausible.then_some(Self { meta_bytes, body_bytes, body_sum, head_sum, fixed })
    }

    /// Whole frame in bytes. Far from any bound: meta and body were found small enough when the head was read.
    pub(super) fn frame_bytes(&self) -> u64 {
        HEAD_BYTES.saturating_add(self.meta_bytes).saturating_add(self.body_bytes) as u64
    }

    /// Checks the head's checksum over its meta.
    pub(super) fn check(&self, meta: &[u8]) -> Option<FrameHead> {
        if sum(&self.fixed, meta) != self.head_sum {
            return None;
        }
        let durable_to = u64::from_le_bytes(self.fixed[16..24].try_into().ok()?);
        Some(FrameHead { kind: self.fixed[5], meta: meta.to_vec(), durable_to, sought: false })
    }

    /// Checks the body's checksum.
    pub(super) fn body_holds(&self, body: &[u8]) -> bool {
        body.len() == self.body_bytes && *blake3::hash(body).as_bytes() == self.body_sum
    }
}

fn sum(fixed: &[u8; FIXED], meta: &[u8]) -> [u8; 16] {
    let mut h = blake3::Hasher::new();
    h.update(fixed).update(meta);
    let mut out = [0; 16];
    out.copy_from_slice(&h.finalize().as_bytes()[..16]);
    out
}

/// Appends a frame to `out`.
pub(super) fn encode(kind: u8, meta: &[u8], body: &[u8], durable_to: u64, out: &mut Vec<u8>) {
    debug_assert!(meta.len() <= META_BYTES_MAX && body.len() <= BODY_BYTES_MAX);
    let mut fixed = [0; FIXED];
    fixed[..4].copy_from_slice(&MAGIC);
    fixed[4] = FORMAT;
    fixed[5] = kind;
    fixed[8..12].copy_from_slice(&(meta.len() as u32).to_le_bytes());
    fixed[12..16].copy_from_slice(&(body.len() as u32).to_le_bytes());
    fixed[16..24].copy_from_slice(&durable_to.to_le_bytes());
    fixed[24..].copy_from_slice(blake3::hash(body).as_bytes());
    out.extend_from_slice(&fixed);
    out.extend_from_slice(&sum(&fixed, meta));
    out.extend_from_slice(meta);
    out.extend_from_slice(body);
}

/// Changes what whole frames, one behind the other, tell to be durable: they are written anew, in another segment.
pub(super) fn retell(frames: &mut [u8], durable_to: u64) {
    let mut rest = frames;
    while let Some(head) = Head::parse(rest)
        && let Ok(bytes) = usize::try_from(head.frame_bytes())
        && let Some((frame, behind)) = rest.split_at_mut_checked(bytes)
    {
        let mut fixed = head.fixed;
        fixed[16..24].copy_from_slice(&durable_to.to_le_bytes());
        let Some((start, said)) = frame.split_at_mut_checked(HEAD_BYTES) else { return };
        let sum = sum(&fixed, said.get(..head.meta_bytes).unwrap_or_default());
        start.iter_mut().zip(fixed.iter().chain(&sum)).for_each(|(to, from)| *to = *from);
        rest = behind;
    }
}

/// Frames that say nothing, not even what is durable, and take `bytes` together; `None` if that is less than one takes.
pub(super) fn fillers(bytes: u64) -> Option<Vec<u8>> {
    const LARGEST: u64 = 1 << 20;
    let least = HEAD_BYTES as u64;
    let (mut out, mut left) = (Vec::new(), bytes);
    while left > 0 {
        // What is left after this one must be nothing, or enough for the next.
        let take = if left <= LARGEST { left } else { LARGEST.min(left.saturating_sub(least)) };
        let body = take.checked_sub(least)?;
        encode(FILLER, &[], &vec![0; usize::try_from(body).ok()?], 0, &mut out);
        left = left.saturating_sub(take);
    }
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The layout is frozen: a journal written today must stay readable.
    #[test]
    fn frozen_bytes() {
        let mut bytes = Vec::new();
        encode(2, b"meta", b"body", 0x1234, &mut bytes);
        assert_eq!(&bytes[..24], b"\xffTLY\x01\x02\0\0\x04\0\0\0\x04\0\0\0\x34\x12\0\0\0\0\0\0");
        assert_eq!(&bytes[24..56], blake3::hash(b"body").as_bytes());
        assert_eq!(&bytes[72..], b"metabody");
    }

    #[test]
    fn frames_written_anew_tell_what_is_durable_there() {
        let (mut there, mut here) = (Vec::new(), Vec::new());
        for (kind, meta, body) in [(2, &b"meta"[..], &b"body"[..]), (FILLER, b"", b""), (3, b"", b"b")] {
            encode(kind, meta, body, 0x1234, &mut there);
            encode(kind, meta, body, 128, &mut here);
        }
        retell(&mut there, 128);
        assert_eq!(there, here);
    }

    #[test]
    fn fillers_fill_exactly() {
        let mebi = 1_u64 << 20;
        for bytes in [72, 73, 1_000, mebi - 1, mebi, mebi + 1, mebi + 71, mebi + 72, 3 * mebi + 7] {
            let out = fillers(bytes).unwrap();
            assert_eq!(out.len() as u64, bytes);
            let (mut at, mut frames) = (0, 0);
            while at < out.len() {
                let head = Head::parse(&out[at..]).unwrap();
                let read = head.check(&out[at + HEAD_BYTES..][..head.meta_bytes]).unwrap();
                assert_eq!((read.kind, read.durable_to), (FILLER, 0));
                at += head.frame_bytes() as usize;
                frames += 1;
            }
            assert_eq!((at as u64, frames), (bytes, bytes.div_ceil(mebi)), "{bytes}");
        }
        assert_eq!(fillers(71), None);
    }

    #[test]
    fn every_flipped_bit_of_head_and_meta_is_seen() {
        let mut bytes = Vec::new();
        encode(2, b"meta", b"", 7, &mut bytes);
        let read = |b: &[u8]| Head::parse(b).and_then(|h| h.check(b.get(HEAD_BYTES..HEAD_BYTES + h.meta_bytes)?));
        assert_eq!(read(&bytes), Some(FrameHead { kind: 2, meta: b"meta".to_vec(), durable_to: 7, sought: false }));
        for i in 0..bytes.len() * 8 {
            let mut bad = bytes.clone();
            bad[i / 8] ^= 1 << (i % 8);
            assert!(read(&bad).is_none(), "bit {i}");
        }
    }
}
