//! Walking through one segment, over damage: each step is a frame or a place where none can be read.
//!
//! Behind such a place the next head that holds is sought, but never inside a frame whose own head holds: its body could look
//! like a frame. Whether a bad place is damage or a torn write is not known here.

use super::{
    Position, VolumeFile,
    frame::{FrameHead, HEAD_BYTES, Head, MAGIC},
};
use std::io;

/// A place where no whole frame could be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Damage {
    /// Segment number.
    pub segment: u32,
    /// Where it starts.
    pub offset: u64,
    /// How far it reaches: to the next whole frame, or to the end.
    pub bytes: u64,
    /// What is wrong.
    pub kind: DamageKind,
}

impl Damage {
    /// Where it ends.
    pub(super) fn end(&self) -> u64 {
        self.offset.saturating_add(self.bytes)
    }
}

/// What is wrong at a place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DamageKind {
    /// Bytes that are no frame.
    Unreadable,
    /// A frame whose body does not fit its checksum.
    Altered,
    /// A frame that ends beyond the file.
    Truncated,
    /// The file system refuses to read it.
    Refused,
    /// The segment's first bytes are not those of a segment with this number.
    Header,
    /// The segment's file is not there.
    Missing,
}

/// One step of a scan.
#[derive(Debug)]
pub enum Step {
    /// A whole frame (of which the body was checked only if that was asked for).
    Frame {
        /// What its head says.
        head: FrameHead,
        /// Where it starts.
        at: Position,
        /// Where it ends.
        end: u64,
    },
    /// Something else.
    Bad(Damage),
}

/// What stands there instead of a whole frame, and where it ends if its head holds.
type NoFrame = (DamageKind, Option<u64>);

/// Reads a segment frame by frame.
#[derive(Debug)]
pub(super) struct Scan<'a, F> {
    file: &'a F,
    segment: u32,
    at: u64,
    len: u64,
    /// It has searched for a frame: what stands from there on may stand inside another's body.
    sought: bool,
}

impl<'a, F: VolumeFile> Scan<'a, F> {
    /// From `from` to `len` of a file that may be longer.
    pub(super) fn within(file: &'a F, segment: u32, from: u64, len: u64) -> Self {
        Self { file, segment, at: from, len, sought: false }
    }

    /// Where the next step starts.
    pub(super) fn at(&self) -> u64 {
        self.at
    }

    /// The next frame or damaged place; `None` at the end. With `bodies` the body's checksum counts too.
    pub(super) fn step(&mut self, bodies: bool) -> Option<Step> {
        if self.at >= self.len {
            return None;
        }
        let start = self.at;
        // What the file system refuses to read (a bad sector) is damage like any other: the rest can still be read.
        let found = self.frame_at(start, bodies).unwrap_or(Err((DamageKind::Refused, None)));
        match found {
            Ok((mut head, end)) => {
                (self.at, head.sought) = (end, self.sought);
                Some(Step::Frame { head, at: Position { segment: self.segment, offset: start }, end })
            }
            Err((kind, frame_end)) => {
                // Where the head holds, its frame is passed whole: its body is somebody else's bytes, and a search in
                // it could find a frame that nobody wrote.
                self.at = match frame_end {
                    Some(end) => end.min(self.len),
                    None => {
                        self.sought = true;
                        self.resync(start.saturating_add(1))
                    }
                };
                let bytes = self.at.saturating_sub(start);
                Some(Step::Bad(Damage { segment: self.segment, offset: start, bytes, kind }))
            }
        }
    }

    fn frame_at(&self, offset: u64, bodies: bool) -> io::Result<Result<(FrameHead, u64), NoFrame>> {
        let Some(head) = read_at(self.file, offset, HEAD_BYTES, self.len)? else {
            return Ok(Err((DamageKind::Truncated, None)));
        };
        let Some(head) = Head::parse(&head) else { return Ok(Err((DamageKind::Unreadable, None))) };
        let meta_at = offset.saturating_add(HEAD_BYTES as u64);
        let Some(meta) = read_at(self.file, meta_at, head.meta_bytes, self.len)? else {
            return Ok(Err((DamageKind::Truncated, None)));
        };
        let Some(said) = head.check(&meta) else { return Ok(Err((DamageKind::Unreadable, None))) };
        let end = offset.saturating_add(head.frame_bytes());
        if end > self.len {
            return Ok(Err((DamageKind::Truncated, Some(end))));
        }
        if bodies {
            let body_at = meta_at.saturating_add(head.meta_bytes as u64);
            let body = read_at(self.file, body_at, head.body_bytes, self.len)?;
            if !body.is_some_and(|b| head.body_holds(&b)) {
                return Ok(Err((DamageKind::Altered, Some(end))));
            }
        }
        Ok(Ok((said, end)))
    }

    /// Offset of the next frame whose head holds, or the end of the file.
    fn resync(&self, from: u64) -> u64 {
        const WINDOW: u64 = 64 << 10;
        const SECTOR: u64 = 4 << 10;
        const EDGE: usize = MAGIC.len() - 1;
        let mut at = from;
        while at < self.len {
            let left = self.len.saturating_sub(at);
            let read = |most: u64| read_at(self.file, at, most.min(left) as usize, self.len);
            let window = match read(WINDOW) {
                Ok(Some(window)) => window,
                Ok(None) => break,
                Err(_) => {
                    let sector = SECTOR.saturating_sub(at % SECTOR);
                    match read(sector) {
                        Ok(Some(window)) => window,
                        _ => {
                            at = at.saturating_add(sector);
                            continue;
                        }
                    }
                }
            };
            for (place, _) in (at..).zip(window.windows(MAGIC.len())).filter(|(_, w)| *w == MAGIC) {
                if self.frame_at(place, false).is_ok_and(|f| f.is_ok()) {
                    return place;
                }
            }
            if window.len() as u64 >= left {
                break;
            }
            // The magic may lie across the edge of two windows.
            at = at.saturating_add(window.len().saturating_sub(EDGE).max(1) as u64);
        }
        self.len
    }
}

/// Reads exactly `n` bytes; `None` when the file ends before.
pub(super) fn read_at(file: &impl VolumeFile, offset: u64, n: usize, len: u64) -> io::Result<Option<Vec<u8>>> {
    if offset.checked_add(n as u64).is_none_or(|end| end > len) {
        return Ok(None);
    }
    let mut bytes = vec![0; n];
    file.read_exact_at(&mut bytes, offset)?;
    Ok(Some(bytes))
}
