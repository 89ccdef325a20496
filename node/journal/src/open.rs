//! Opening a journal: what of it is whole, what is damaged, and where writing goes on.
//!
//! A disk may persist the pages of one write in any order until the flush returns. D is the largest offset of the last
//! segment of which a head that holds, or the mark of a clean stop, says that it was durable. Before D a hole is damage.
//! From D on nothing was promised: there heads and bodies are checked, and the first hole ends the journal.

use super::{
    Damage, DamageKind, FrameHead, HEAD_BYTES, Journal, JournalError, Opening, Owner, Position, SEGMENT_BYTES, Step,
    System, Volume, VolumeFile,
    header::{HEADER_BYTES, Header, SEGMENT_FORMAT},
    journal::{End, at, mark_path},
    mark, mend,
    scan::Scan,
    segment_path, segments_on,
    volume::length,
};
use std::{io, path::Path};

/// What opening found.
#[derive(Debug, Default)]
pub struct Found {
    /// Places where frames are damaged.
    pub damage: Vec<Damage>,
    /// Bytes behind the end that were cut off and put into quarantine: their flush had not returned.
    pub cut_bytes: u64,
    /// Frames that are whole.
    pub frames: u64,
}

/// Takes a whole frame's head and where it stands.
type TakeFrame<'t> = &'t mut dyn FnMut(FrameHead, Position);

impl Journal {
    /// Opens the journal of `owner` in `dir`, made if missing, and hands every whole frame to `take`, in order.
    ///
    /// # Errors
    /// [`JournalError`]: a file or folder cannot be read or written; a later format; another node's journal.
    pub fn open(
        dir: &Path,
        owner: &Owner,
        take: impl FnMut(FrameHead, Position),
    ) -> Result<(Self, Found), JournalError> {
        Self::open_with(dir, owner, SEGMENT_BYTES, take)
    }

    /// The same with segments that are sealed once they are `segment_bytes` long.
    ///
    /// # Errors
    /// [`JournalError`].
    pub fn open_with(
        dir: &Path,
        owner: &Owner,
        segment_bytes: u64,
        take: impl FnMut(FrameHead, Position),
    ) -> Result<(Self, Found), JournalError> {
        Self::open_on(System, dir, owner, segment_bytes, take)
    }
}

impl<V: Volume> Journal<V> {
    /// The same on a volume.
    ///
    /// # Errors
    /// [`JournalError`].
    pub fn open_on(
        volume: V,
        dir: &Path,
        owner: &Owner,
        segment_bytes: u64,
        mut take: impl FnMut(FrameHead, Position),
    ) -> Result<(Self, Found), JournalError> {
        if volume.look(dir).is_err() {
            volume.make_folder(dir).map_err(at(dir, "cannot be made"))?;
            let above = dir.parent().unwrap_or(dir);
            volume.sync_folder(above).map_err(at(above, "cannot be flushed"))?;
        }
        let numbers = segments_on(&volume, dir).map_err(at(dir, "cannot be read"))?;
        refuse_foreign(&volume, dir, &numbers, owner)?;
        let mark = mark::read(&volume, &mark_path(dir));
        let last = last_segment(&volume, dir, &numbers)?.max(mark.map_or(0, |m| m.segment));
        let mut found = Found::default();
        for segment in 1..last {
            let told = Header::after(&volume, dir, segment).map(|h| h.length_before);
            found.read_sealed(&volume, dir, segment, told, &mut take)?;
        }
        let marked = mark.filter(|m| m.segment == last).map_or(0, |m| m.offset);
        let journal = match found.read_last(&volume, dir, last, marked, &mut take)? {
            Last::Whole { end, durable } => {
                Self::go_on(volume, dir, owner, segment_bytes, &End { segment: last, offset: end, durable })?
            }
            // Durable bytes are gone, or the header is: nothing may be written over their place.
            Last::Lacking { length } => Self::begin(volume, dir, owner, segment_bytes, last.saturating_add(1), length)?,
            Last::NeverBegun => {
                let before = last.saturating_sub(1);
                let length = length(&volume, &segment_path(dir, before)).unwrap_or(0);
                Self::begin(volume, dir, owner, segment_bytes, last.max(1), length)?
            }
        };
        Ok((journal, found))
    }
}

/// How the last segment was found.
enum Last {
    /// Writing can go on at `end`; `durable` of it is known to have been flushed.
    Whole { end: u64, durable: u64 },
    /// It had been `length` bytes long, and they are not all there.
    Lacking { length: u64 },
    /// There is none, or its file was being made when the process stopped.
    NeverBegun,
}

impl Found {
    fn damaged(&mut self, segment: u32, offset: u64, bytes: u64, kind: DamageKind) {
        self.damage.push(Damage { segment, offset, bytes, kind });
    }

    /// Reads a segment that was sealed at `told` bytes: heads only, over damage.
    fn read_sealed<V: Volume>(
        &mut self,
        volume: &V,
        dir: &Path,
        segment: u32,
        told: Option<u64>,
        take: TakeFrame<'_>,
    ) -> Result<(), JournalError> {
        let path = segment_path(dir, segment);
        let Some(file) = open_if_there(volume, &path)? else {
            self.damaged(segment, 0, told.unwrap_or(0), DamageKind::Missing);
            return Ok(());
        };
        let len = file.look().map_err(at(&path, "cannot be read"))?.len;
        let headed = Header::read(&file).is_some_and(|h| h.segment == segment);
        if !headed {
            self.damaged(segment, 0, HEADER_BYTES, DamageKind::Header);
        }
        let mut scan = Scan::within(&file, segment, HEADER_BYTES, len);
        while let Some(step) = scan.step(false) {
            self.step(step, take);
        }
        // A file with another segment's header is another file: its length says nothing.
        if let Some(told) = told.filter(|_| headed) {
            self.cut_short(segment, len, told);
        }
        Ok(())
    }

    /// The segment was `told` bytes long and is `len`. Less than a frame takes cannot have been one.
    fn cut_short(&mut self, segment: u32, len: u64, told: u64) {
        let lacks = told.saturating_sub(len);
        match self.damage.last_mut() {
            Some(d) if lacks > 0 && d.kind != DamageKind::Header && (d.segment, d.end()) == (segment, len) => {
                (d.bytes, d.kind) = (d.bytes.saturating_add(lacks), DamageKind::Truncated);
            }
            _ if lacks >= HEAD_BYTES as u64 => self.damaged(segment, len, lacks, DamageKind::Truncated),
            _ => {}
        }
    }

    fn step(&mut self, step: Step, take: TakeFrame<'_>) {
        match step {
            Step::Frame { head, at, .. } => {
                self.frames = self.frames.saturating_add(1);
                take(head, at);
            }
            Step::Bad(damage) => self.damage.push(damage),
        }
    }

    /// Reads the segment that was written to last; `marked` of it was durable by the mark.
    fn read_last<V: Volume>(
        &mut self,
        volume: &V,
        dir: &Path,
        segment: u32,
        marked: u64,
        take: TakeFrame<'_>,
    ) -> Result<Last, JournalError> {
        let path = segment_path(dir, segment);
        let Some(file) = open_if_there(volume, &path)? else {
            if marked == 0 {
                return Ok(Last::NeverBegun);
            }
            self.damaged(segment, 0, marked, DamageKind::Missing);
            return Ok(Last::Lacking { length: marked });
        };
        let len = file.look().map_err(at(&path, "cannot be read"))?.len;
        let headed = Header::read(&file).is_some_and(|h| h.segment == segment);
        if !headed && len <= HEADER_BYTES && marked == 0 {
            volume.remove(&path).map_err(at(&path, "cannot be removed"))?;
            return Ok(Last::NeverBegun);
        }
        if !headed {
            self.damaged(segment, 0, HEADER_BYTES, DamageKind::Header);
        }
        let durable = durable_by_heads(&file, segment, len).max(marked).max(HEADER_BYTES);
        let (mut end, mut hole) = (HEADER_BYTES.min(len), None);
        let mut scan = Scan::within(&file, segment, HEADER_BYTES, len);
        while hole.is_none()
            && let Some(step) = scan.step(scan.at() >= durable)
        {
            match step {
                Step::Frame { end: frame_end, .. } => {
                    end = frame_end;
                    self.step(step, take);
                }
                Step::Bad(damage) if damage.offset >= durable => hole = Some(damage.offset),
                Step::Bad(mut damage) => {
                    if damage.end() > durable {
                        hole = Some(durable);
                        damage.bytes = durable.saturating_sub(damage.offset);
                    }
                    end = damage.end();
                    self.damage.push(damage);
                }
            }
        }
        if let Some(from) = hole {
            end = from;
            self.cut_bytes = len.saturating_sub(from);
            // Best effort: a full disk must not keep the node from starting.
            let _ = keep_aside(volume, dir, &file, segment, from, len);
        }
        if headed && len >= durable {
            return Ok(Last::Whole { end, durable });
        }
        // It is sealed as it was found: the next start must find the same, and what is told of it must be on the disk.
        seal_lacking(volume, &path, end.min(len)).map_err(at(&path, "cannot be cut"))?;
        if len < durable {
            self.cut_short(segment, len, durable);
            return Ok(Last::Lacking { length: durable });
        }
        Ok(Last::Lacking { length: end })
    }
}

fn seal_lacking<V: Volume>(volume: &V, path: &Path, end: u64) -> io::Result<()> {
    volume.set_mode(path, 0o600)?;
    let file = volume.open(path, Opening::Write)?;
    if file.look()?.len > end {
        file.set_len(end)?;
    }
    file.sync_all()?;
    file.set_mode(0o400)
}

/// The largest *durable to* among this segment's valid heads.
fn durable_by_heads(file: &impl VolumeFile, segment: u32, len: u64) -> u64 {
    let mut scan = Scan::within(file, segment, HEADER_BYTES, len);
    let mut durable = 0;
    while let Some(step) = scan.step(false) {
        // What is durable when a frame is written ends before it. A larger number is not this journal's: it stands in bytes of
        // somebody else, between frames that were lost.
        if let Step::Frame { head, at, .. } = step
            && head.durable_to <= at.offset
        {
            durable = durable.max(head.durable_to);
        }
    }
    durable
}

fn open_if_there<V: Volume>(volume: &V, path: &Path) -> Result<Option<V::File>, JournalError> {
    match volume.open(path, Opening::Read) {
        Ok(file) => Ok(Some(file)),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(e) => Err(at(path, "cannot be opened")(e)),
    }
}

/// Looks at every header before anything is written.
fn refuse_foreign(volume: &impl Volume, dir: &Path, numbers: &[u32], owner: &Owner) -> Result<(), JournalError> {
    for segment in numbers {
        let path = segment_path(dir, *segment);
        let Some(header) = Header::of(volume, dir, *segment) else { continue };
        if header.format > SEGMENT_FORMAT {
            return Err(JournalError::LaterFormat { path, found: header.format });
        }
        if !header.is_of(owner) {
            return Err(JournalError::Foreign { path, found: header.division() });
        }
    }
    Ok(())
}

/// Number of the last segment. A file behind it that has neither a header nor a frame is none, and is set aside: its
/// number may be any.
fn last_segment(volume: &impl Volume, dir: &Path, numbers: &[u32]) -> Result<u32, JournalError> {
    for segment in numbers.iter().rev() {
        let path = segment_path(dir, *segment);
        let before = segment.checked_sub(1).is_some_and(|b| b == 0 || numbers.binary_search(&b).is_ok());
        if before || Header::of(volume, dir, *segment).is_some() || has_frame(volume, &path, *segment) {
            return Ok(*segment);
        }
        mend::set_aside_file(volume, dir, &path, "not a segment: no header and no frame")
            .map_err(at(&path, "cannot be set aside"))?;
    }
    Ok(0)
}

fn has_frame(volume: &impl Volume, path: &Path, segment: u32) -> bool {
    let Ok(file) = volume.open(path, Opening::Read) else { return false };
    let len = file.look().map_or(0, |f| f.len);
    let mut scan = Scan::within(&file, segment, HEADER_BYTES, len);
    std::iter::from_fn(|| scan.step(false)).any(|s| matches!(s, Step::Frame { .. }))
}

/// What is cut off was never confirmed, unless the disk lied: its bytes are kept for people.
fn keep_aside<V: Volume>(volume: &V, dir: &Path, file: &V::File, segment: u32, from: u64, to: u64) -> io::Result<()> {
    let mut bytes = vec![0; usize::try_from(to.saturating_sub(from)).unwrap_or(0)];
    file.read_exact_at(&mut bytes, from)?;
    let note =
        "cut from the end of the journal at a start: its flush had not returned, so it was confirmed to nobody\n";
    mend::keep(volume, dir, &format!("{segment:08}-{from}-cut"), &bytes, note)
}
