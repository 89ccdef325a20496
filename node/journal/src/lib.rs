//! The journal: segment files of frames, in arrival order, each with a checksum.
//!
//! One writer appends and flushes; sealed segments never change. It keeps bytes: what a frame's kind and meta mean, who
//! writes it and who follows it, it does not know. FORMAT.md has every byte.
//!
//! Invariants:
//! * Nothing is called durable before the flush that covers it has returned.
//! * Damage never hides what stands behind it, and is never taken for a torn write, nor a torn write for damage: each
//!   frame says what was durable when it was written.
//! * Bytes that are cut off or written over are kept in the quarantine folder first.
//! * A journal of a later format or of another node is refused before anything is written.

mod frame;
mod header;
mod journal;
mod mark;
mod mend;
mod open;
mod position;
mod reader;
mod scan;

pub use frame::{BODY_BYTES_MAX, Frame, FrameHead, HEAD_BYTES, META_BYTES_MAX};
pub use header::{Owner, SEGMENT_FORMAT};
pub use journal::{Journal, JournalError, SEGMENT_BYTES};
pub use open::Found;
pub use position::Position;
pub use reader::{ReadError, ReadFrame, Reader, Walk};
pub use scan::{Damage, DamageKind, Step};

use std::{
    fs::{self, File},
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
    let mut numbers = Vec::new();
    for entry in fs::read_dir(dir)? {
        let name = entry?.file_name();
        let number = name.to_str().and_then(|n| n.strip_suffix(".seg")).filter(|n| n.len() == 8);
        numbers.extend(number.and_then(|n| n.parse::<u32>().ok()).filter(|n| *n > 0));
    }
    numbers.sort_unstable();
    Ok(numbers)
}

fn sync_folder(dir: &Path) -> io::Result<()> {
    File::open(dir)?.sync_all()
}

#[cfg(test)]
mod tests;
