//! Reading ends of the journal: single frames by place, and following it in order.
//!
//! A body is handed out only if its checksum holds, and damage hides nothing that stands behind it. Nothing is written here,
//! and how far the journal is durable is not known: whoever follows says up to where.

use super::{
    Opening, Position, System, Volume, VolumeFile, carried,
    frame::{FrameHead, HEAD_BYTES, Head},
    header::Header,
    scan::{Scan, Step, read_at},
    segment_path, segments_on,
};
use std::{
    collections::BTreeMap,
    io,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
};

/// Open segment files that a reader keeps.
const OPEN_FILES: usize = 16;

/// Why a frame could not be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The file system's word.
    #[error("journal segment {segment} at {offset}: {source}")]
    Io {
        /// Segment number.
        segment: u32,
        /// Offset in it.
        offset: u64,
        /// What it said.
        source: io::Error,
    },
    /// The bytes there are not what was written, or the file is gone.
    #[error("journal segment {segment} at {offset}: the frame is damaged")]
    Damaged {
        /// Segment number.
        segment: u32,
        /// Offset in it.
        offset: u64,
    },
}

/// A frame whose checksums held.
#[derive(Debug)]
pub struct ReadFrame {
    /// What its head says.
    pub head: FrameHead,
    /// Its body.
    pub body: Vec<u8>,
    /// Where the next frame starts.
    pub next: Position,
}

/// A walk through one segment, frame by frame, over damage; bodies are not read.
#[derive(Debug)]
pub struct Walk<V: Volume = System> {
    file: Arc<V::File>,
    segment: u32,
    at: u64,
    len: u64,
    lacks: u64,
}

impl<V: Volume> Walk<V> {
    /// Bytes of the file, as far as it is read.
    pub fn bytes(&self) -> u64 {
        self.len
    }

    /// The end of the file, and how many bytes are missing behind it that were durable; `None` if none are.
    pub fn cut_off(&self) -> Option<(u64, u64)> {
        (self.lacks > 0).then_some((self.len, self.lacks))
    }

    /// The next frame or damaged place; `None` at the end.
    pub fn step(&mut self) -> Option<Step> {
        let mut scan = Scan::within(&*self.file, self.segment, self.at, self.len);
        let step = scan.step(false);
        self.at = scan.at();
        step
    }

    /// Whether the file starts as the segment of its number does.
    pub fn head_holds(&self) -> bool {
        Header::read(&*self.file).is_some_and(|h| h.segment == self.segment)
    }
}

/// A place in an open file.
struct At<F> {
    file: Arc<F>,
    place: Position,
    len: u64,
}

impl<F: VolumeFile> At<F> {
    /// `n` bytes from `from` bytes behind the place on. What the file system refuses to read is damage like any other.
    fn take(&self, from: usize, n: usize) -> Result<Vec<u8>, ReadError> {
        let Position { segment, offset } = self.place;
        let bytes = read_at(&*self.file, offset.saturating_add(from as u64), n, self.len).ok().flatten();
        bytes.ok_or(ReadError::Damaged { segment, offset })
    }
}

/// Reads frames. Cheap to clone; clones share their open files.
#[derive(Debug)]
pub struct Reader<V: Volume = System> {
    volume: V,
    dir: Arc<PathBuf>,
    files: Arc<Mutex<BTreeMap<u32, Arc<V::File>>>>,
}

impl<V: Volume> Clone for Reader<V> {
    fn clone(&self) -> Self {
        Self { volume: self.volume.clone(), dir: self.dir.clone(), files: self.files.clone() }
    }
}

impl Reader {
    /// Of the journal in `dir`.
    pub fn new(dir: PathBuf) -> Self {
        Self::on(System, dir)
    }
}

impl<V: Volume> Reader<V> {
    /// Of the journal in `dir` of a volume.
    pub fn on(volume: V, dir: PathBuf) -> Self {
        Self { volume, dir: Arc::new(dir), files: Arc::default() }
    }

    /// Folder of the segments.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    fn file(&self, segment: u32) -> io::Result<Arc<V::File>> {
        let mut files = self.files.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(file) = files.get(&segment) {
            return Ok(file.clone());
        }
        let file = Arc::new(self.volume.open(&segment_path(&self.dir, segment), Opening::Read)?);
        if files.len() >= OPEN_FILES {
            files.pop_first();
        }
        files.insert(segment, file.clone());
        Ok(file)
    }

    /// A segment that is gone is damage; what else keeps it from being opened is the system's fault.
    fn open(&self, segment: u32, offset: u64) -> Result<Arc<V::File>, ReadError> {
        self.file(segment).map_err(|source| match source.kind() {
            io::ErrorKind::NotFound => ReadError::Damaged { segment, offset },
            _ => ReadError::Io { segment, offset, source },
        })
    }

    /// Forgets open files: a segment's file was put back or replaced.
    pub fn forget_files(&self) {
        self.files.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }

    /// Reads at a place itself. A file that was replaced meanwhile is opened again.
    fn here<T>(&self, at: Position, read: impl Fn(Position) -> Result<T, ReadError>) -> Result<T, ReadError> {
        match read(at) {
            Err(ReadError::Damaged { .. }) => {
                self.files.lock().unwrap_or_else(PoisonError::into_inner).remove(&at.segment);
                read(at)
            }
            done => done,
        }
    }

    /// Reads at a place, or where its bytes stand now, or stand as well, because they had to be written anew (`renew.rs`).
    fn wherever<T>(&self, place: Position, read: impl Fn(Position) -> Result<T, ReadError>) -> Result<T, ReadError> {
        match self.here(place, &read) {
            Err(damaged @ ReadError::Damaged { .. }) => {
                let copy = carried::copied(&self.volume, &self.dir, place).map_err(cannot_be_read(place))?;
                match copy.map(|at| self.here(at, &read)) {
                    None | Some(Err(ReadError::Damaged { .. })) => Err(damaged),
                    Some(done) => done,
                }
            }
            done => done,
        }
    }

    /// Where a place is now: elsewhere, if what was written there had to be written anew.
    ///
    /// # Errors
    /// [`ReadError::Io`].
    pub fn now_at(&self, place: Position) -> Result<Position, ReadError> {
        let moved = carried::moved(&self.volume, &self.dir, place).map_err(cannot_be_read(place))?;
        Ok(moved.unwrap_or(place))
    }

    /// What the frame at `place` says, without its body.
    ///
    /// # Errors
    /// [`ReadError`].
    pub fn head(&self, place: Position) -> Result<FrameHead, ReadError> {
        self.wherever(place, |place| self.head_at(place))
    }

    fn head_at(&self, place: Position) -> Result<FrameHead, ReadError> {
        let damaged = || ReadError::Damaged { segment: place.segment, offset: place.offset };
        let at = self.at(place)?;
        let head = Head::parse(&at.take(0, HEAD_BYTES)?).ok_or_else(damaged)?;
        head.check(&at.take(HEAD_BYTES, head.meta_bytes)?).ok_or_else(damaged)
    }

    fn at(&self, place: Position) -> Result<At<V::File>, ReadError> {
        let Position { segment, offset } = place;
        let file = self.open(segment, offset)?;
        let len = file.look().map_err(|source| ReadError::Io { segment, offset, source })?.len;
        Ok(At { file, place, len })
    }

    /// The bytes that stand where the body of the frame at `place` should, and how many there should be; the body's
    /// checksum is not looked at. `None` when the head does not hold.
    pub fn remains(&self, place: Position) -> Option<(Vec<u8>, usize)> {
        let file = self.open(place.segment, place.offset).ok()?;
        let len = file.look().ok()?.len;
        let head = Head::parse(&read_at(&*file, place.offset, HEAD_BYTES, len).ok()??)?;
        let meta_at = place.offset.saturating_add(HEAD_BYTES as u64);
        head.check(&read_at(&*file, meta_at, head.meta_bytes, len).ok()??)?;
        let body_at = meta_at.saturating_add(head.meta_bytes as u64);
        let there = (head.body_bytes as u64).min(len.saturating_sub(body_at)) as usize;
        Some((read_at(&*file, body_at, there, len).ok()??, head.body_bytes))
    }

    /// Walks through a segment, as far as `until`; `None` if there is no such file.
    ///
    /// # Errors
    /// When the file cannot be opened.
    pub fn walk(&self, segment: u32, until: Position) -> io::Result<Option<Walk<V>>> {
        // Opened anew: what a descriptor still shows of a deleted file is not on the disk.
        let file = match self.volume.open(&segment_path(&self.dir, segment), Opening::Read) {
            Ok(file) => Arc::new(file),
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(e) => return Err(e),
        };
        let mut len = file.look()?.len;
        if let Some(end) = carried::end(&self.volume, &self.dir, segment)? {
            len = len.min(end);
        }
        let mut lacks = 0;
        if segment == until.segment {
            lacks = until.offset.saturating_sub(len);
            len = len.min(until.offset);
        }
        let at = carried::begin(&self.volume, &self.dir, segment)?;
        Ok(Some(Walk { file, segment, at, len, lacks }))
    }

    /// How long a sealed segment is, by the header of the next; `None` while that does not hold, or is not there.
    ///
    /// # Errors
    /// When the next segment's file cannot be opened.
    pub fn sealed_length(&self, segment: u32) -> io::Result<Option<u64>> {
        Ok(Header::after(&self.volume, &self.dir, segment)?.map(|h| h.length_before))
    }

    /// The frame at `place`, checked whole, or a second copy of it.
    ///
    /// # Errors
    /// [`ReadError`].
    pub fn read(&self, place: Position) -> Result<ReadFrame, ReadError> {
        self.wherever(place, |place| self.read_at(place))
    }

    /// The frame at `place` itself, checked whole, whether there is a second copy or not.
    ///
    /// # Errors
    /// [`ReadError`].
    pub fn read_here(&self, place: Position) -> Result<ReadFrame, ReadError> {
        self.here(place, |place| self.read_at(place))
    }

    fn read_at(&self, place: Position) -> Result<ReadFrame, ReadError> {
        let Position { segment, offset } = place;
        let damaged = || ReadError::Damaged { segment, offset };
        let at = self.at(place)?;
        let head = Head::parse(&at.take(0, HEAD_BYTES)?).ok_or_else(damaged)?;
        let mut meta = at.take(HEAD_BYTES, head.meta_bytes.saturating_add(head.body_bytes))?;
        let body = meta.split_off(head.meta_bytes);
        let said = head.check(&meta).ok_or_else(damaged)?;
        if !head.body_holds(&body) {
            return Err(damaged());
        }
        let next = Position { segment, offset: offset.saturating_add(head.frame_bytes()) };
        Ok(ReadFrame { head: said, body, next })
    }

    /// The first whole frame at or after `from` and before `until`, and where to go on; damaged places are stepped
    /// over. `None`: nothing more before `until`.
    ///
    /// # Errors
    /// [`ReadError::Io`].
    pub fn next(&self, from: Position, until: Position) -> Result<Option<(Position, ReadFrame)>, ReadError> {
        let mut at = from;
        while at < until {
            match self.read_here(at) {
                Ok(frame) => return Ok(Some((at, frame))),
                Err(ReadError::Damaged { .. }) => {
                    match self.elsewhere(at)?.map_or_else(|| self.after(at), |c| Ok(Some(c)))? {
                        Some(next) => at = next,
                        None => return Ok(None),
                    }
                }
                Err(e) => return Err(e),
            }
        }
        Ok(None)
    }

    /// Where to go on from a place at which nothing can be read, if the next segment carries on what stood there: its begin, from
    /// the end of what counts here, or the second copy of what is damaged.
    fn elsewhere(&self, at: Position) -> Result<Option<Position>, ReadError> {
        let onward = carried::onward(&self.volume, &self.dir, at).map_err(cannot_be_read(at))?;
        if onward.is_some() {
            return Ok(onward);
        }
        let Some(copy) = carried::copied(&self.volume, &self.dir, at).map_err(cannot_be_read(at))? else {
            return Ok(None);
        };
        match self.read_here(copy) {
            Ok(_) => Ok(Some(copy)),
            // What does not count here any more stands nowhere else.
            Err(ReadError::Damaged { .. }) => Ok(None),
            Err(e) => Err(e),
        }
    }

    /// Where to look after a place at which no frame could be read: the next frame of the segment, or the next segment.
    fn after(&self, at: Position) -> Result<Option<Position>, ReadError> {
        let Position { segment, offset } = at;
        let io_error = cannot_be_read(at);
        let file = match self.open(segment, offset) {
            Err(ReadError::Damaged { .. }) => None,
            file => Some(file?),
        };
        if let Some(file) = file {
            let len = file.look().map_err(&io_error)?.len;
            let mut scan = Scan::within(&*file, segment, offset, len);
            // The first step passes what is bad at `at`; a frame with a bad body passes as one frame.
            while let Some(step) = scan.step(false) {
                if let Step::Frame { at, .. } = step
                    && at.offset > offset
                {
                    return Ok(Some(at));
                }
            }
        }
        let numbers = segments_on(&self.volume, &self.dir).map_err(&io_error)?;
        let Some(segment) = numbers.into_iter().find(|n| *n > segment) else { return Ok(None) };
        let offset = carried::begin(&self.volume, &self.dir, segment).map_err(&io_error)?;
        Ok(Some(Position { segment, offset }))
    }
}

/// What the system said when something was to be read there.
fn cannot_be_read(at: Position) -> impl Fn(io::Error) -> ReadError {
    let Position { segment, offset } = at;
    move |source| ReadError::Io { segment, offset, source }
}
