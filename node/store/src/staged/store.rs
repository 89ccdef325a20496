//! The writing end: stage rows, hand them out in their order, and put away what was sealed. One thread owns it.
//!
//! After an error of the disk nothing may be said of what was written, and the store must not be used any more.

use super::{
    STAGED_ROWS_MAX, StagedBook, StagedRun, done,
    done::FrameOutcome,
    frames::{self, BEGUN, BegunMeta, ROWS, RowsMeta, Said},
};
use std::{
    collections::BTreeSet,
    fs::{self, File},
    io,
    path::{Path, PathBuf},
};
use tally_journal::{Damage, DamageKind, Frame, Journal, JournalError, Owner, Position, ReadError, Reader, segments};
use tally_protocol::{
    codec,
    ids::LogId,
    record::{Record, RecordId},
};

/// A segment is left at this size, in bytes: so much stays on the disk until all of it is sealed.
const SEGMENT_BYTES: u64 = 4 << 20;
/// Records in a frame, at most.
const FRAME_RECORDS: usize = 1_000;
/// A frame takes no more records from this size on, in bytes.
const FRAME_BYTES: usize = 512 << 10;

/// How much may be staged.
#[derive(Debug, Clone, Copy)]
pub struct StagedLimits {
    /// Bytes of the rows that wait.
    pub bytes: u64,
    /// How many they are.
    pub records: u64,
}

impl StagedLimits {
    /// So many bytes, and [`STAGED_ROWS_MAX`] rows.
    pub fn of_bytes(bytes: u64) -> Self {
        Self { bytes, records: STAGED_ROWS_MAX }
    }
}

/// A frame of staged rows that is to be sealed.
#[derive(Debug)]
pub struct StagedFrame {
    /// Its number.
    pub number: u64,
    /// Its rows, or what is lost of them.
    pub rows: Result<ReadRows, LostRows>,
}

/// The rows of a frame: each the bytes of a record.
pub type ReadRows = Vec<Vec<u8>>;

/// Rows of a staged frame that is damaged.
#[derive(Debug)]
pub struct LostRows {
    /// How many.
    pub records: u64,
    /// Their ids, if they could be read once: nobody has these any more.
    pub ids: Vec<RecordId>,
}

/// The staged rows of a node.
#[derive(Debug)]
pub struct StagedStore {
    dir: PathBuf,
    journal: Journal,
    reader: Reader,
    book: StagedBook,
    limits: StagedLimits,
    /// Written and not flushed: frames, and the records of each.
    unflushed: Vec<(Position, RowsMeta, Vec<RecordId>)>,
    /// Of the next frame.
    next_number: u64,
    /// Where sealing began, each time.
    begun: Vec<BegunMeta>,
    /// Nothing was staged since sealing began.
    sealing: bool,
    /// Segments that hold something that is damaged.
    damaged: BTreeSet<u32>,
}

impl StagedStore {
    /// Opens the folder, made if missing. `owner` is the journal's.
    ///
    /// # Errors
    /// [`JournalError`], as for the journal.
    pub fn open(dir: &Path, owner: &Owner, limits: StagedLimits) -> Result<Self, JournalError> {
        let disk = |action| JournalError::at(dir, action);
        make_folder(dir).map_err(disk("cannot be made"))?;
        let done = done::ranges(dir).map_err(disk("cannot be read"))?;
        let is_done = |number: u64| done.iter().any(|(first, last)| *first <= number && number <= *last);
        let lowest = segments(dir).map_err(disk("cannot be read"))?.first().copied().unwrap_or(1);
        let (mut heads, mut begun) = (Vec::new(), Vec::new());
        let (journal, found) = Journal::open_with(dir, owner, SEGMENT_BYTES, |head, at| match frames::decode(&head) {
            Some(Said::Rows(meta)) if !is_done(meta.number) => heads.push((at, meta)),
            Some(Said::Begun(meta)) => begun.push(meta),
            _ => {}
        })?;
        heads.sort_by_key(|(_, meta)| meta.number);
        // A frame that stands in two segments, of which one copy is damaged, is read from whichever is whole.
        heads.dedup_by_key(|(_, meta)| meta.number);
        let before = done.last().map(|(_, last)| *last);
        let last = heads.last().map(|(_, meta)| meta.number).max(before);
        let mut store = Self {
            dir: dir.to_owned(),
            journal,
            reader: Reader::new(dir.to_owned()),
            book: StagedBook::new(dir.to_owned()),
            limits,
            unflushed: Vec::new(),
            // Behind all that answers may name, also in a folder that somebody has emptied.
            next_number: last.map_or_else(|| tally_clock::now_ms() << 10, |last| last.saturating_add(1)),
            begun,
            sealing: false,
            damaged: BTreeSet::new(),
        };
        for damage in &found.damage {
            // A segment goes when all of it is sealed, and whether one is wanting at the front its frames' numbers tell.
            if damage.kind != DamageKind::Missing || damage.segment > lowest || done.is_empty() {
                store.found_damaged(damage);
            }
        }
        store.missing(before, &heads);
        let mut entries = store.book.lock();
        entries.records = heads.iter().map(|(_, m)| u64::from(m.records)).sum();
        entries.bytes = heads.iter().map(|(_, m)| u64::from(m.bytes)).sum();
        entries.frames = heads.into();
        let next = entries.frames.front().map(|(at, _)| *at);
        drop(entries);
        // A stop came between outcomes and removal.
        store.clear(next)?;
        Ok(store)
    }

    /// Names frames whose numbers are wanting.
    fn missing(&self, before: Option<u64>, heads: &[(Position, RowsMeta)]) {
        let numbers = before.into_iter().chain(heads.iter().map(|(_, meta)| meta.number));
        let mut last: Option<u64> = None;
        for number in numbers {
            if let Some(wanted) = last.map(|last| last.saturating_add(1)).filter(|wanted| *wanted < number) {
                self.name(format!("staged frames {wanted} to {} are missing", number.saturating_sub(1)));
            }
            last = Some(number);
        }
    }

    /// What others may know.
    pub fn book(&self) -> &StagedBook {
        &self.book
    }

    /// Hands over every record that is staged, in order, and remembers its id. To be called once, before anything else.
    /// What cannot be read is named, and counted when its turn comes.
    pub fn read_all(&mut self, mut take: impl FnMut(RecordId, &[u8])) {
        let places: Vec<_> = self.book.lock().frames.iter().copied().collect();
        for (at, meta) in places {
            match self.read(at, &meta) {
                // It is read again when its turn comes.
                Err(e) => tracing::warn!(event = "staged.not_read", reason = %e, "staged rows cannot be read now"),
                Ok(Ok(rows)) => {
                    let number = meta.number;
                    let mut ids = Vec::with_capacity(rows.len());
                    for bytes in &rows {
                        let id = RecordId::of(bytes);
                        take(id, bytes);
                        ids.push(id);
                    }
                    let mut entries = self.book.lock();
                    for id in ids {
                        entries.ids.entry(id).or_insert(number);
                    }
                }
                Ok(Err(why)) => self.unreadable(at, &why),
            }
        }
    }

    /// Whether no row waits.
    pub fn is_empty(&self) -> bool {
        self.book.lock().frames.is_empty()
    }

    /// Whether so many more rows with so many bytes may be staged.
    pub fn has_room(&self, records: usize, bytes: usize) -> bool {
        let entries = self.book.lock();
        let waiting = |of: fn(&RowsMeta) -> u32| self.unflushed.iter().map(|(_, m, _)| u64::from(of(m))).sum::<u64>();
        let all_records = entries.records.saturating_add(waiting(|m| m.records)).saturating_add(records as u64);
        let all_bytes = entries.bytes.saturating_add(waiting(|m| m.bytes)).saturating_add(bytes as u64);
        all_records <= self.limits.records && all_bytes <= self.limits.bytes
    }

    /// Writes rows of one submission, at least one; `None`: there are none. They count as staged after [`Self::flush`].
    ///
    /// # Errors
    /// [`JournalError`]. For want of something none of them is written, and the same call can be made again.
    pub fn append(&mut self, records: &[Record]) -> Result<Option<StagedRun>, JournalError> {
        let staged_at = tally_clock::now_ms() / 1_000;
        let mut frames = Vec::new();
        let mut next_number = self.next_number;
        let mut rest = records;
        while !rest.is_empty() {
            let (mut n, mut bytes) = (0, 0);
            while n < rest.len() && n < FRAME_RECORDS && bytes < FRAME_BYTES {
                bytes += rest[n].bytes().len() + 1;
                n += 1;
            }
            let (these, others) = rest.split_at(n);
            rest = others;
            let body = frames::body(these);
            let number = next_number;
            let rows = RowsMeta { number, staged_at, records: n as u32, bytes: body.len() as u32 };
            next_number = number.saturating_add(1);
            frames.push((rows, codec::encode(&rows), body));
        }
        let as_written = frames.iter().map(|(_, meta, body)| Frame { kind: ROWS, meta, body, root: None });
        let places = self.journal.append(&as_written.collect::<Vec<_>>())?;
        self.next_number = next_number;
        let run = frames.first().zip(frames.last()).map(|(f, l)| StagedRun { first: f.0.number, last: l.0.number });
        let mut ids = records.iter().map(Record::id);
        for (at, (rows, ..)) in places.into_iter().zip(frames) {
            self.unflushed.push((at, rows, ids.by_ref().take(rows.records as usize).collect()));
        }
        self.sealing = false;
        Ok(run)
    }

    /// Makes what was written durable: from now on it is staged.
    ///
    /// # Errors
    /// [`JournalError`].
    pub fn flush(&mut self) -> Result<(), JournalError> {
        self.journal.flush()?;
        let mut entries = self.book.lock();
        for (at, meta, ids) in self.unflushed.drain(..) {
            entries.records = entries.records.saturating_add(meta.records.into());
            entries.bytes = entries.bytes.saturating_add(meta.bytes.into());
            entries.frames.push_back((at, meta));
            for id in ids {
                entries.ids.entry(id).or_insert(meta.number);
            }
        }
        Ok(())
    }

    /// Sealing of all that is staged now begins, with the own log at this size: what the log has from there on is from here.
    ///
    /// # Errors
    /// [`JournalError`].
    pub fn begin_sealing(&mut self, log: LogId, size: u64) -> Result<(), JournalError> {
        if !self.sealing {
            let begun = BegunMeta { log, size, before: self.next_number };
            self.journal.append(&[Frame { kind: BEGUN, meta: &codec::encode(&begun), body: &[], root: None }])?;
            self.flush()?;
            self.begun.push(begun);
            self.sealing = true;
        }
        Ok(())
    }

    /// Nothing is sealed from here for now: the own log may grow otherwise.
    pub fn pause_sealing(&mut self) {
        self.sealing = false;
    }

    /// Whether a row of the frame of this number, which the own log has there, was sealed from here.
    pub fn was_sealed(&self, number: u64, log: LogId, index: u64) -> bool {
        self.begun.iter().any(|b| b.before > number && b.log == log && index >= b.size)
    }

    /// Whether the record is to be sealed by the frame of this number: another frame may be known to have it as well.
    pub fn is_of(&self, id: &RecordId, number: u64) -> bool {
        self.book.lock().ids.get(id).is_none_or(|of| *of == number)
    }

    /// The next frames, with at most so many records and bytes together, but at least one frame. They stay until
    /// [`Self::put_away`].
    ///
    /// # Errors
    /// [`ReadError::Io`]: they cannot be read now, as when no descriptor is free, and may be later. What is damaged is no error.
    pub fn next(&mut self, records: usize, bytes: usize) -> Result<Vec<StagedFrame>, ReadError> {
        let (mut some, mut all_records, mut all_bytes) = (Vec::new(), 0_u64, 0_u64);
        for (at, meta) in &self.book.lock().frames {
            // In a batch each record takes two bytes of length, here one of its line end.
            all_records = all_records.saturating_add(meta.records.into());
            all_bytes = all_bytes.saturating_add(meta.bytes.into()).saturating_add(meta.records.into());
            if !some.is_empty() && (all_records > records as u64 || all_bytes > bytes as u64) {
                break;
            }
            some.push((*at, *meta));
        }
        let mut frames = Vec::with_capacity(some.len());
        for (at, meta) in some {
            let rows = self.read(at, &meta)?.map_err(|why| {
                self.unreadable(at, &why);
                let of = |(id, number): (&RecordId, &u64)| (*number == meta.number).then_some(*id);
                let ids = self.book.lock().ids.iter().filter_map(of).collect();
                LostRows { records: meta.records.into(), ids }
            });
            frames.push(StagedFrame { number: meta.number, rows });
        }
        Ok(frames)
    }

    /// The rows of a frame, or what is damaged of it; an error if that cannot be said now.
    fn read(&self, at: Position, meta: &RowsMeta) -> Result<Result<ReadRows, String>, ReadError> {
        let frame = match self.reader.read(at) {
            Ok(frame) => frame,
            Err(ReadError::Damaged { .. }) => return Ok(Err("the frame is damaged".to_owned())),
            Err(e) => return Err(e),
        };
        let rows: ReadRows = frames::lines(&frame.body).map(<[u8]>::to_vec).collect();
        let whole = rows.len() as u64 == u64::from(meta.records);
        Ok(if whole { Ok(rows) } else { Err("it has other rows than it says".into()) })
    }

    /// The first frames have become this: they wait no more.
    ///
    /// # Errors
    /// [`JournalError`]. What could not be cleared away is none: the next time does it.
    pub fn put_away(&mut self, outcomes: Vec<FrameOutcome>) -> Result<(), JournalError> {
        let mut entries = self.book.lock();
        for outcome in outcomes {
            let Some((at, meta)) = entries.frames.pop_front() else { break };
            debug_assert_eq!(meta.number, outcome.number, "frames are put away in their order");
            entries.records = entries.records.saturating_sub(meta.records.into());
            entries.bytes = entries.bytes.saturating_sub(meta.bytes.into());
            entries.outcomes.insert(meta.number, (at.segment, outcome));
        }
        let next = entries.frames.front().map(|(at, _)| *at);
        if next.is_none() {
            entries.ids = Default::default();
            entries.frames = Default::default();
        }
        drop(entries);
        self.clear(next)
    }

    /// These records are staged no more: their frames are put away next, or are lost.
    pub fn forget<'i>(&self, ids: impl Iterator<Item = &'i RecordId>) {
        let mut entries = self.book.lock();
        for id in ids {
            entries.ids.remove(id);
        }
    }

    /// Removes segments in which nothing waits; `next` is the first frame that does.
    fn clear(&mut self, next: Option<Position>) -> Result<(), JournalError> {
        let waiting = match next {
            Some(at) => at.segment,
            None => {
                // Only after rows were put away is there anything in it.
                if !self.book.lock().outcomes.is_empty() {
                    match self.journal.leave(self.journal.durable().segment) {
                        Err(e) if e.shortage().is_some() => {
                            tracing::warn!(event = "staged.not_cleared", reason = %e, "sealed rows stay for now");
                            return Ok(());
                        }
                        left => left?,
                    }
                }
                self.sealing = false;
                self.journal.durable().segment
            }
        };
        if let Err(e) = self.retire(waiting) {
            tracing::warn!(event = "staged.not_cleared", reason = %e, "segments of sealed rows stay for now");
            return Ok(());
        }
        let first = self.book.lock().frames.front().map_or(self.next_number, |(_, meta)| meta.number);
        self.begun.retain(|b| b.before > first);
        Ok(())
    }

    /// Segments before this one go, and what became of their rows is on the disk before.
    fn retire(&mut self, waiting: u32) -> io::Result<()> {
        let over: Vec<_> = segments(&self.dir)?.into_iter().filter(|n| *n < waiting).collect();
        if over.is_empty() {
            return Ok(());
        }
        let outcomes: Vec<_> = {
            let entries = self.book.lock();
            entries.outcomes.values().filter(|(segment, _)| *segment < waiting).map(|(_, o)| o.clone()).collect()
        };
        // Without outcomes nothing tells which numbers came first, so a segment that is gone is one that somebody took. These hold
        // nothing that does not stand in a later one too, and go once rows are put away.
        if outcomes.is_empty() && done::ranges(&self.dir)?.is_empty() {
            return Ok(());
        }
        done::write(&self.dir, &outcomes)?;
        self.reader.forget_files();
        for segment in over {
            if self.damaged.remove(&segment) { quarantine(&self.dir, segment) } else { remove(&self.dir, segment) }?;
        }
        let mut entries = self.book.lock();
        for outcome in &outcomes {
            entries.outcomes.remove(&outcome.number);
        }
        Ok(())
    }

    /// Removes what became of rows long ago, by a time on which others agree. The numbers of frames go on all the same.
    ///
    /// # Errors
    /// The system's. What was not removed is removed the next time.
    pub fn prune(dir: &Path, now_s: u64) -> io::Result<()> {
        done::prune(dir, now_s)
    }

    /// For a moment without rows: what is there is told to be durable.
    ///
    /// # Errors
    /// [`JournalError`].
    pub fn rest(&mut self) -> Result<(), JournalError> {
        self.journal.rest()
    }

    /// Ends cleanly.
    ///
    /// # Errors
    /// [`JournalError`].
    pub fn stop(self) -> Result<(), JournalError> {
        self.journal.stop()
    }

    fn found_damaged(&mut self, damage: &Damage) {
        let Damage { segment, offset, bytes, kind } = damage;
        self.damaged.insert(*segment);
        self.name(format!("staged segment {segment:08}, bytes {offset} and {bytes} more: {kind:?}"));
    }

    fn unreadable(&mut self, at: Position, why: &str) {
        let Position { segment, offset } = at;
        self.damaged.insert(segment);
        self.name(format!("staged segment {segment:08} at {offset}: {why}"));
    }

    fn name(&self, place: String) {
        let mut entries = self.book.lock();
        if !entries.damaged.contains(&place) {
            tracing::error!(event = "staged.damaged", %place, "rows that were staged cannot be read from this disk");
            entries.damaged.push(place);
        }
    }
}

/// Makes the folder if it is missing; its name is durable before anything in it is called so.
fn make_folder(dir: &Path) -> io::Result<()> {
    if dir.is_dir() {
        return Ok(());
    }
    fs::create_dir_all(dir)?;
    dir.parent().map_or(Ok(()), |above| File::open(above)?.sync_all())
}

fn segment_path(dir: &Path, segment: u32) -> PathBuf {
    tally_journal::segment_path(dir, segment)
}

fn remove(dir: &Path, segment: u32) -> io::Result<()> {
    match fs::remove_file(segment_path(dir, segment)) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => Err(e),
        _ => File::open(dir)?.sync_all(),
    }
}

/// What cannot be read is kept for people.
fn quarantine(dir: &Path, segment: u32) -> io::Result<()> {
    let folder = Journal::quarantine(dir);
    fs::create_dir_all(&folder)?;
    let free = (0_u32..).map(|n| folder.join(format!("staged-{segment:08}.seg.{n}"))).find(|p| !p.exists());
    let Some(target) = free else { return Ok(()) };
    fs::rename(segment_path(dir, segment), target)?;
    File::open(&folder)?.sync_all()?;
    File::open(dir)?.sync_all()
}
