//! The journal: segment files of frames, in arrival order, each with a checksum.
//!
//! One writer appends and flushes; sealed segments never change. It keeps bytes: what a frame's kind and meta mean, who
//! writes it and who follows it, it does not know. FORMAT.md has every byte. Files are those of a [`Volume`], so that the
//! tests can take a disk that loses what was not flushed.
//!
//! Invariants:
//! * Nothing is called durable before the flush that covers it has returned. A flush that failed is never tried again on the
//!   same bytes in the same place: they go into a new segment, and so does at a start what was not told to be durable.
//! * Damage never hides what stands behind it, and is never taken for a torn write, nor a torn write for damage: each
//!   frame says what was durable when it was written.
//! * Bytes that are cut off or written over are kept in the quarantine folder first.
//! * A journal of a later format or of another node is refused before anything is written.

#![warn(clippy::indexing_slicing, clippy::arithmetic_side_effects)]

mod carried;
mod frame;
mod guard;
mod header;
mod journal;
mod mark;
mod mend;
mod open;
mod position;
mod reader;
mod renew;
mod scan;
mod shortage;
mod tail;
mod volume;

pub use frame::{BODY_BYTES_MAX, Frame, FrameHead, HEAD_BYTES, META_BYTES_MAX};
pub use header::{Owner, SEGMENT_FORMAT};
pub use journal::{Journal, JournalError, JournalNews, SEGMENT_BYTES};
pub use open::Found;
pub use position::Position;
pub use reader::{ReadError, ReadFrame, Reader, Walk};
pub use scan::{Damage, DamageKind, Step};
pub use shortage::Shortage;
pub use volume::{FileLook, Opening, System, Volume, VolumeFile};

use std::{
    io,
    path::{Path, PathBuf},
};

/// File of a segment.
pub fn segment_path(dir: &Path, segment: u32) -> PathBuf {
    dir.join(format!("{segment:08}.seg"))
}

/// Numbers of the segments in `dir`, ascending.
///
/// # Errors
/// When the folder cannot be read.
pub fn segments(dir: &Path) -> io::Result<Vec<u32>> {
    segments_on(&System, dir)
}

/// The same on a volume.
///
/// # Errors
/// When the folder cannot be read.
pub fn segments_on<V: Volume>(volume: &V, dir: &Path) -> io::Result<Vec<u32>> {
    let mut numbers = Vec::new();
    for name in volume.list(dir)? {
        let number = name.to_str().and_then(|n| n.strip_suffix(".seg")).filter(|n| n.len() == 8);
        numbers.extend(number.and_then(|n| n.parse::<u32>().ok()).filter(|n| *n > 0));
    }
    numbers.sort_unstable();
    Ok(numbers)
}

#[cfg(test)]
mod tests;
