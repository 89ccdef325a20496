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
use std::{io, path::Path};

/// Where a place stands now that was written behind what then became the end of its segment.
pub(super) fn moved<V: Volume>(volume: &V, dir: &Path, place: Position) -> io::Result<Option<Position>> {
    match Header::after(volume, dir, place.segment)? {
        Some(next) if place.offset >= next.length_before => in_next(volume, dir, &next, place),
        _ => Ok(None),
    }
}

/// The same, and also where the second copy stands of what stands before that end, on its page.
pub(super) fn copied<V: Volume>(volume: &V, dir: &Path, place: Position) -> io::Result<Option<Position>> {
    Header::after(volume, dir, place.segment)?.map_or(Ok(None), |next| in_next(volume, dir, &next, place))
}

/// All that a finished segment carries was durable before anything else was written there. What it does not count itself it does
/// not carry: then the place is nowhere.
fn in_next<V: Volume>(volume: &V, dir: &Path, next: &Header, place: Position) -> io::Result<Option<Position>> {
    let within = next.carried_from().and_then(|from| HEADER_BYTES.checked_add(place.offset.checked_sub(from)?));
    let Some(offset) = within else { return Ok(None) };
    let counts = Header::after(volume, dir, next.segment)?.is_none_or(|after| offset < after.length_before);
    Ok(counts.then_some(Position { segment: next.segment, offset }))
}

/// Where to go on from the end of what counts of a segment that another one carries on; `None` from anywhere else.
pub(super) fn onward<V: Volume>(volume: &V, dir: &Path, at: Position) -> io::Result<Option<Position>> {
    if end(volume, dir, at.segment)? != Some(at.offset) {
        return Ok(None);
    }
    let segment = at.segment.saturating_add(1);
    Ok(Some(Position { segment, offset: begin(volume, dir, segment)? }))
}

/// Where what counts of a segment begins. Its first frames may stand in the segment before as well: they are passed over as
/// long as both copies are whole and the same.
pub(super) fn begin<V: Volume>(volume: &V, dir: &Path, segment: u32) -> io::Result<u64> {
    let Some(header) = Header::of(volume, dir, segment)? else { return Ok(HEADER_BYTES) };
    let repeats = header.repeats.filter(|n| *n > 0);
    let (Some(repeats), Some(from)) = (repeats, header.carried_from()) else { return Ok(HEADER_BYTES) };
    let (to, upto) = (HEADER_BYTES.saturating_add(repeats.into()), header.length_before);
    let files = (
        open_to_read(volume, &segment_path(dir, segment))?,
        open_to_read(volume, &segment_path(dir, segment.saturating_sub(1)))?,
    );
    let (Some(here), Some(there)) = files else { return Ok(HEADER_BYTES) };
    if here.look()?.len < to || there.look()?.len < upto {
        return Ok(HEADER_BYTES);
    }
    let mut copies = [vec![0; repeats as usize], vec![0; repeats as usize]];
    for (bytes, (file, from)) in copies.iter_mut().zip([(&here, HEADER_BYTES), (&there, from)]) {
        // What the disk refuses to read is not whole.
        if file.read_exact_at(bytes, from).is_err() {
            return Ok(HEADER_BYTES);
        }
        // They differ in what was durable when they were written. This also makes their checksums anew, so each copy is
        // checked as it stands.
        frame::retell(bytes, 0);
    }
    let twice = copies[0] == copies[1]
        && are_whole(&here, segment, HEADER_BYTES, to)
        && are_whole(&there, segment.saturating_sub(1), from, upto);
    Ok(if twice { to } else { HEADER_BYTES })
}

/// Whether nothing but whole frames stands from `from` to `to`.
pub(super) fn are_whole(file: &impl VolumeFile, segment: u32, from: u64, to: u64) -> bool {
    let mut scan = Scan::within(file, segment, from, to);
    std::iter::from_fn(|| scan.step(true)).all(|step| matches!(step, Step::Frame { .. }))
}

/// Up to where a segment counts, if the next one carries on what stood behind: there is no other end then, whatever is left.
pub(super) fn end<V: Volume>(volume: &V, dir: &Path, segment: u32) -> io::Result<Option<u64>> {
    let next = Header::after(volume, dir, segment)?;
    Ok(next.and_then(|next| next.repeats.map(|_| next.length_before)))
}

/// Whether a segment was begun to carry on and did not get finished, while what it was for still stands in the one before:
/// then that counts, and this is nothing. The answer is how much of the one before is certainly durable.
pub(super) fn unfinished<V: Volume>(volume: &V, dir: &Path, segment: u32) -> io::Result<Option<u64>> {
    let Some(header) = Header::of(volume, dir, segment)?.filter(|h| h.repeats.is_some()) else { return Ok(None) };
    let before = segment.checked_sub(1).map_or(Ok(None), |before| length(volume, &segment_path(dir, before)))?;
    let file = open_to_read(volume, &segment_path(dir, segment))?;
    let (Some(before), Some(file)) = (before, file) else { return Ok(None) };
    let mut scan = Scan::within(&file, segment, HEADER_BYTES, file.look()?.len);
    let finished = std::iter::from_fn(|| scan.step(false)).any(
        |step| matches!(step, Step::Frame { head, at, .. } if head.durable_to > HEADER_BYTES && head.durable_to <= at.offset),
    );
    Ok((!finished && before > header.length_before).then_some(header.length_before))
}
