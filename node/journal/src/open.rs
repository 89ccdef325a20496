//! Opening a journal: what of it is whole, what is damaged, and where writing goes on.
//!
//! A disk may persist the pages of one write in any order until the flush returns. D is the largest offset of the last
//! segment of which a head that holds, or the mark of a clean stop, says that it was durable. Before D a hole is damage.
//! From D on nothing was promised: there heads and bodies are checked, the first hole ends the journal, and what is whole
//! is written anew into a new segment before it counts, unless the mark says that all of it was durable.

use super::{
    Damage, DamageKind, FrameHead, HEAD_BYTES, Journal, JournalError, Opening, Owner, Position, SEGMENT_BYTES, Step,
    System, Volume, VolumeFile, carried,
    header::{HEADER_BYTES, Header, SEGMENT_FORMAT},
    journal::{End, Settings, mark_path},
    mark, mend,
    scan::Scan,
    segment_path, segments_on,
    tail::{PAGE_BYTES, Tail},
    volume::{length, open_to_read},
};
use std::{collections::VecDeque, io, path::Path};

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
        make_durable_folder(&volume, dir)?;
        let numbers = segments_on(&volume, dir).map_err(JournalError::at(dir, "cannot be read"))?;
        refuse_foreign(&volume, dir, &numbers, owner)?;
        let mark =
            mark::read(&volume, &mark_path(dir)).map_err(JournalError::at(&mark_path(dir), "cannot be opened"))?;
        let last = last_segment(&volume, dir, &numbers)?.max(mark.map_or(0, |m| m.segment));
        let marked = mark.filter(|m| m.segment == last).map_or(0, |m| m.offset);
        let (last, marked) = if marked == 0 { last_begun(&volume, dir, last)? } else { (last, marked) };
        let mut found = Found::default();
        for segment in 1..last {
            found.read_sealed(&volume, dir, segment, &mut take)?;
        }
        let settings = Settings { volume, dir: dir.to_owned(), owner: owner.clone(), segment_bytes };
        let journal = match found.read_last(&settings, last, marked, &mut take)? {
            Last::Marked(end) => Self::go_on(settings, end)?,
            Last::Unproved(tail) => found.carry_on(settings, tail, &mut take)?,
            // Durable bytes are gone: nothing may be written over their place.
            Last::Lacking { length } => {
                Self::begin(settings, &Header::new(owner, last.saturating_add(1), length, [0; 32]))?
            }
            Last::Bare(header) => {
                Self::begin(settings, &header.unwrap_or_else(|| Header::new(owner, last.max(1), 0, [0; 32])))?
            }
        };
        Ok((journal, found))
    }
}

/// How the last segment was found.
enum Last {
    /// As a clean stop left it.
    Marked(End),
    /// Nobody says that all of it was durable.
    Unproved(Unproved),
    /// It had been `length` bytes long, and they are not all there.
    Lacking { length: u64 },
    /// There is none yet, or nothing but its header, which is made anew.
    Bare(Option<Header>),
}

/// A last segment of which the end is not certainly on the disk.
struct Unproved {
    end: End,
    /// What stands behind the durable end, and where.
    frames: Vec<(FrameHead, Position)>,
    /// Where the file ends, if it does not end with the last of them.
    hole_to: Option<u64>,
}

impl Found {
    fn damaged(&mut self, segment: u32, offset: u64, bytes: u64, kind: DamageKind) {
        self.damage.push(Damage { segment, offset, bytes, kind });
    }

    /// Reads a segment behind which another one was begun: heads only, over damage.
    fn read_sealed<V: Volume>(
        &mut self,
        volume: &V,
        dir: &Path,
        segment: u32,
        take: TakeFrame<'_>,
    ) -> Result<(), JournalError> {
        let path = segment_path(dir, segment);
        let cannot = || JournalError::at(&path, "cannot be opened, or one beside it");
        let told = Header::after(volume, dir, segment).map_err(cannot())?.map(|h| h.length_before);
        let Some(file) = open_to_read(volume, &path).map_err(cannot())? else {
            self.damaged(segment, 0, told.unwrap_or(0), DamageKind::Missing);
            return Ok(());
        };
        let mut len = file.look().map_err(JournalError::at(&path, "cannot be read"))?.len;
        let headed = Header::read(&file).is_some_and(|h| h.segment == segment);
        if !headed {
            self.damaged(segment, 0, HEADER_BYTES, DamageKind::Header);
        }
        // What the next segment carries on does not count here any more.
        let end = carried::end(volume, dir, segment).map_err(cannot())?;
        if let Some(end) = end.filter(|end| headed && *end < len) {
            let _ = keep_aside(volume, dir, &file, segment, (end, len), CARRIED);
            cut(volume, &path, end).map_err(JournalError::at(&path, "cannot be cut"))?;
            len = end;
        }
        let begin = carried::begin(volume, dir, segment).map_err(cannot())?;
        let mut scan = Scan::within(&file, segment, begin, len);
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

    /// Reads the segment that was written to last; `marked` of it was durable by the mark, or by the next one's header.
    fn read_last<V: Volume>(
        &mut self,
        settings: &Settings<V>,
        segment: u32,
        marked: u64,
        take: TakeFrame<'_>,
    ) -> Result<Last, JournalError> {
        let Settings { volume, dir, .. } = settings;
        let path = segment_path(dir, segment);
        let cannot = || JournalError::at(&path, "cannot be opened, or one beside it");
        let Some(file) = open_to_read(volume, &path).map_err(cannot())? else {
            if marked == 0 {
                return Ok(Last::Bare(None));
            }
            self.damaged(segment, 0, marked, DamageKind::Missing);
            return Ok(Last::Lacking { length: marked });
        };
        let len = file.look().map_err(JournalError::at(&path, "cannot be read"))?.len;
        let header = Header::read(&file).filter(|h| h.segment == segment);
        if len <= HEADER_BYTES && marked == 0 {
            // Whether the disk has that header is not certain: a file that is made anew does not depend on it.
            volume.remove(&path).map_err(JournalError::at(&path, "cannot be removed"))?;
            // It carries nothing on: nothing is left for that in the segment before.
            return Ok(Last::Bare(header.map(Header::carrying_nothing)));
        }
        if header.is_none() {
            self.damaged(segment, 0, HEADER_BYTES, DamageKind::Header);
        }
        let durable = durable_by_heads(&file, segment, len).max(marked).max(HEADER_BYTES);
        // What stands in the segment before too is passed over, if it is certain here.
        let begin = carried::begin(volume, dir, segment).map_err(cannot())?;
        let begin = Some(begin).filter(|n| *n <= durable).unwrap_or(HEADER_BYTES);
        let mut read = LastRead { end: begin.min(len), ..LastRead::default() };
        let scan = Scan::within(&file, segment, begin, len);
        self.read_by(durable, scan, &mut read, take);
        let end = read.hole.unwrap_or(read.end);
        if len < durable {
            // It is sealed as it was found: the next start must find the same, and what is told of it must be on the disk.
            cut(volume, &path, end.min(len)).map_err(JournalError::at(&path, "cannot be cut"))?;
            self.cut_short(segment, len, durable);
            return Ok(Last::Lacking { length: durable });
        }
        // The frames behind the durable end stand one behind the other, up to the end or to the hole.
        let durable = read.frames.first().map_or(end, |(_, at)| at.offset);
        let page = read.on_page(durable).filter(|from| carried::are_whole(&file, segment, *from, durable));
        let from = page.unwrap_or(durable);
        let mut bytes = vec![0; usize::try_from(end.saturating_sub(from)).unwrap_or(0)];
        file.read_exact_at(&mut bytes, from).map_err(JournalError::at(&path, "cannot be read"))?;
        let tail = End { segment, durable, tail: Tail::of(from, bytes) };
        if marked == end && len == end && header.is_some() {
            return Ok(Last::Marked(tail));
        }
        let hole_to = (end < len).then_some(len);
        Ok(Last::Unproved(Unproved { end: tail, frames: read.frames, hole_to }))
    }

    /// Reads the last segment: heads before the durable end, over damage; behind it whole frames, up to the first hole.
    fn read_by<F: VolumeFile>(
        &mut self,
        durable: u64,
        mut scan: Scan<'_, F>,
        read: &mut LastRead,
        take: TakeFrame<'_>,
    ) {
        while read.hole.is_none()
            && let Some(step) = scan.step(scan.at() >= durable)
        {
            match step {
                Step::Frame { head, at, end } if at.offset >= durable => {
                    read.end = end;
                    read.frames.push((head, at));
                }
                Step::Frame { at, end, .. } => {
                    read.passed(at.offset, end);
                    self.step(step, take);
                }
                Step::Bad(damage) if damage.offset >= durable => read.hole = Some(damage.offset),
                Step::Bad(mut damage) => {
                    if damage.end() > durable {
                        read.hole = Some(durable);
                        damage.bytes = durable.saturating_sub(damage.offset);
                    }
                    (read.end, read.starts) = (damage.end(), VecDeque::new());
                    self.damage.push(damage);
                }
            }
        }
    }

    /// Writes what is not certain to be on the disk into a new segment, and goes on there. Only then it counts.
    fn carry_on<V: Volume>(
        &mut self,
        settings: Settings<V>,
        unproved: Unproved,
        take: TakeFrame<'_>,
    ) -> Result<Journal<V>, JournalError> {
        let Unproved { end, frames, hole_to } = unproved;
        let (segment, from, whole_to) = (end.segment, end.tail.from(), end.tail.end());
        let path = segment_path(&settings.dir, segment);
        let mut journal = Journal::go_on(settings, end)?;
        journal.unmark()?;
        let left = journal.carry_on()?;
        if let Some(len) = hole_to {
            self.cut_bytes = len.saturating_sub(whole_to);
            // Best effort: a full disk must not keep the node from starting.
            if let Ok(Some(file)) = open_to_read(&journal.volume, &path) {
                let _ = keep_aside(&journal.volume, &journal.dir, &file, segment, (whole_to, len), TORN);
            }
        }
        left.cut().map_err(JournalError::at(&path, "cannot be cut"))?;
        for (head, there) in frames {
            let offset = there.offset.saturating_sub(from).saturating_add(HEADER_BYTES);
            self.frames = self.frames.saturating_add(1);
            take(head, Position { segment: segment.saturating_add(1), offset });
        }
        Ok(journal)
    }
}

/// What reading the last segment has come to.
#[derive(Default)]
struct LastRead {
    /// End of what was passed.
    end: u64,
    hole: Option<u64>,
    frames: Vec<(FrameHead, Position)>,
    /// Where the last frames before the durable end start: no more of them than share a page.
    starts: VecDeque<u64>,
}

impl LastRead {
    fn passed(&mut self, start: u64, end: u64) {
        self.starts.push_back(start);
        self.end = end;
        while self.starts.get(1).is_some_and(|next| *next <= page_of(end)) {
            self.starts.pop_front();
        }
    }

    /// Where the first frame starts that shares a page with `end`, if frames without a gap lead there.
    fn on_page(&self, end: u64) -> Option<u64> {
        self.starts.front().copied().filter(|_| end > page_of(end))
    }
}

fn page_of(offset: u64) -> u64 {
    offset.saturating_sub(offset.checked_rem(PAGE_BYTES).unwrap_or(0))
}

/// Cuts a segment that nothing is written to any more, and makes it read-only.
fn cut<V: Volume>(volume: &V, path: &Path, end: u64) -> io::Result<()> {
    volume.set_mode(path, 0o600)?;
    let file = volume.open(path, Opening::Write)?;
    if file.look()?.len > end {
        file.set_len(end)?;
    }
    file.set_mode(0o400)?;
    file.sync_all()
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

/// Looks at every header before anything is written.
fn refuse_foreign(volume: &impl Volume, dir: &Path, numbers: &[u32], owner: &Owner) -> Result<(), JournalError> {
    for segment in numbers {
        let path = segment_path(dir, *segment);
        let header = Header::of(volume, dir, *segment).map_err(JournalError::at(&path, "cannot be opened"))?;
        let Some(header) = header else { continue };
        if header.format > SEGMENT_FORMAT {
            return Err(JournalError::LaterFormat { path, found: header.format });
        }
        if !header.is_of(owner) {
            return Err(JournalError::Foreign { path, found: header.division() });
        }
    }
    Ok(())
}

/// Makes a folder with those above it that are missing; each is durable once the one above it was flushed.
fn make_durable_folder(volume: &impl Volume, dir: &Path) -> Result<(), JournalError> {
    let missing: Vec<_> = dir.ancestors().take_while(|folder| volume.look(folder).is_err()).collect();
    if !missing.is_empty() {
        volume.make_folder(dir).map_err(JournalError::at(dir, "cannot be made"))?;
    }
    for above in missing.iter().filter_map(|folder| folder.parent()) {
        volume.sync_folder(above).map_err(JournalError::at(above, "cannot be flushed"))?;
    }
    Ok(())
}

/// Number of the last segment. A file behind it that has neither a header nor a frame is none, and is set aside: its
/// number may be any.
fn last_segment(volume: &impl Volume, dir: &Path, numbers: &[u32]) -> Result<u32, JournalError> {
    for segment in numbers.iter().rev() {
        let path = segment_path(dir, *segment);
        let before = segment.checked_sub(1).is_some_and(|b| b == 0 || numbers.binary_search(&b).is_ok());
        let cannot = || JournalError::at(&path, "cannot be opened");
        let begun = || Ok(Header::of(volume, dir, *segment)?.is_some() || has_frame(volume, &path, *segment)?);
        if before || begun().map_err(cannot())? {
            return Ok(*segment);
        }
        mend::set_aside_file(volume, dir, &path, "not a segment: no header and no frame")
            .map_err(JournalError::at(&path, "cannot be set aside"))?;
    }
    Ok(0)
}

/// The last segment that was really begun, and how much of it is certain by the header of one that was not. One that has no
/// header that holds, or that was to carry on another and was not finished, is removed: what is before it counts.
fn last_begun(volume: &impl Volume, dir: &Path, last: u32) -> Result<(u32, u64), JournalError> {
    let path = segment_path(dir, last);
    let cannot = || JournalError::at(&path, "cannot be opened, or the one before");
    let short = length(volume, &path).map_err(cannot())?.is_some_and(|n| n <= HEADER_BYTES);
    let bare = short && Header::of(volume, dir, last).map_err(cannot())?.is_none();
    let durable = carried::unfinished(volume, dir, last).map_err(cannot())?;
    if last < 2 || !(bare || durable.is_some()) {
        return Ok((last, 0));
    }
    volume.remove(&path).map_err(JournalError::at(&path, "cannot be removed"))?;
    volume.sync_folder(dir).map_err(JournalError::at(dir, "cannot be flushed"))?;
    Ok((last.saturating_sub(1), durable.unwrap_or(0)))
}

fn has_frame(volume: &impl Volume, path: &Path, segment: u32) -> io::Result<bool> {
    let Some(file) = open_to_read(volume, path)? else { return Ok(false) };
    let mut scan = Scan::within(&file, segment, HEADER_BYTES, file.look()?.len);
    Ok(std::iter::from_fn(|| scan.step(false)).any(|s| matches!(s, Step::Frame { .. })))
}

/// Why what is cut off was never confirmed, unless the disk lied.
const TORN: &str = "its flush had not returned, so it was confirmed to nobody";
const CARRIED: &str = "what of it was whole is in the next segment";

/// What is cut off is kept for people.
fn keep_aside<V: Volume>(
    volume: &V,
    dir: &Path,
    file: &V::File,
    segment: u32,
    (from, to): (u64, u64),
    why: &str,
) -> io::Result<()> {
    let mut bytes = vec![0; usize::try_from(to.saturating_sub(from)).unwrap_or(0)];
    file.read_exact_at(&mut bytes, from)?;
    let note = format!("cut from the end of the journal at a start: {why}\n");
    mend::keep(volume, dir, &format!("{segment:08}-{from}-cut"), &bytes, &note)
}
