//! Segments that carry on what stood behind the end of the one before (`renew.rs`): where a byte of the one stands in the
//! other, what of them counts, and which of two copies is shown.
//!
//! Such a segment is finished once a head in it tells that more than the header was flushed. What was left behind the end of
//! the segment before does not count from then on. Nothing is written here.

use super::{
    Position, Step, Volume, VolumeFile, frame,
    header::{HEADER_BYTES, Header},
    scan::Scan,
    segment_path,
    volume::{length, open_to_read},
};
use std::path::Path;

/// Where a place stands now that was written behind what then became the end of its segment.
pub(super) fn moved<V: Volume>(volume: &V, dir: &Path, place: Position) -> Option<Position> {
    let next = Header::after(volume, dir, place.segment)?;
    if place.offset < next.length_before { None } else { in_next(volume, dir, &next, place) }
}

/// The same, and also where the second copy stands of what stands before that end, on its page.
pub(super) fn copied<V: Volume>(volume: &V, dir: &Path, place: Position) -> Option<Position> {
    in_next(volume, dir, &Header::after(volume, dir, place.segment)?, place)
}

/// All that a finished segment carries was durable before anything else was written there. What it does not count itself it does
/// not carry: then the place is nowhere.
fn in_next<V: Volume>(volume: &V, dir: &Path, next: &Header, place: Position) -> Option<Position> {
    let offset = HEADER_BYTES.checked_add(place.offset.checked_sub(next.carried_from()?)?)?;
    let counts = Header::after(volume, dir, next.segment).is_none_or(|after| offset < after.length_before);
    counts.then_some(Position { segment: next.segment, offset })
}

/// Where what counts of a segment begins. Its first frames may stand in the segment before as well: they are passed over as
/// long as both copies are whole and the same.
pub(super) fn begin<V: Volume>(volume: &V, dir: &Path, segment: u32) -> u64 {
    let Some(header) = Header::of(volume, dir, segment) else { return HEADER_BYTES };
    let Some(repeats) = header.repeats.filter(|n| *n > 0) else { return HEADER_BYTES };
    let to = HEADER_BYTES.saturating_add(repeats.into());
    let twice = || {
        let here = open_to_read(volume, &segment_path(dir, segment))?;
        let there = open_to_read(volume, &segment_path(dir, segment.checked_sub(1)?))?;
        if here.look().ok()?.len < to {
            return None;
        }
        let mut copies = [vec![0; repeats as usize], vec![0; repeats as usize]];
        for (bytes, (file, from)) in copies.iter_mut().zip([(&here, HEADER_BYTES), (&there, header.carried_from()?)]) {
            file.read_exact_at(bytes, from).ok()?;
            // They differ in what was durable when they were written.
            frame::retell(bytes, 0);
        }
        Some(copies[0] == copies[1] && are_whole(&here, segment, HEADER_BYTES, to))
    };
    if twice() == Some(true) { to } else { HEADER_BYTES }
}

/// Whether nothing but whole frames stands from `from` to `to`.
pub(super) fn are_whole(file: &impl VolumeFile, segment: u32, from: u64, to: u64) -> bool {
    let mut scan = Scan::within(file, segment, from, to);
    std::iter::from_fn(|| scan.step(true)).all(|step| matches!(step, Step::Frame { .. }))
}

/// Up to where a segment counts, if the next one carries on what stood behind: there is no other end then, whatever is left.
pub(super) fn end<V: Volume>(volume: &V, dir: &Path, segment: u32) -> Option<u64> {
    let next = Header::after(volume, dir, segment)?;
    next.repeats.map(|_| next.length_before)
}

/// Whether a segment was begun to carry on and did not get finished, while what it was for still stands in the one before:
/// then that counts, and this is nothing. The answer is how much of the one before is certainly durable.
pub(super) fn unfinished<V: Volume>(volume: &V, dir: &Path, segment: u32) -> Option<u64> {
    let header = Header::of(volume, dir, segment)?;
    header.repeats?;
    let before = length(volume, &segment_path(dir, segment.checked_sub(1)?))?;
    let file = open_to_read(volume, &segment_path(dir, segment))?;
    let mut scan = Scan::within(&file, segment, HEADER_BYTES, file.look().ok()?.len);
    let finished = std::iter::from_fn(|| scan.step(false)).any(
        |step| matches!(step, Step::Frame { head, at, .. } if head.durable_to > HEADER_BYTES && head.durable_to <= at.offset),
    );
    (!finished && before > header.length_before).then_some(header.length_before)
}
