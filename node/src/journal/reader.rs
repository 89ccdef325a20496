//! Reading ends of the journal: single frames by place, and following it in order.

use super::{
    FIRST_FRAME,
    frame::{HEAD_BYTES, Head, Meta},
    scan::{Scan, Step, read_at},
    segment_path, segments,
};
use std::{
    collections::BTreeMap,
    fs::File,
    io,
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
};
use tally_protocol::log::Place;

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
    /// The bytes there are not what was written.
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
pub struct Frame {
    /// What it says.
    pub meta: Meta,
    /// Its body: a batch's bytes.
    pub body: Vec<u8>,
    /// Where the next frame starts.
    pub next: Place,
}

/// A walk through one segment, frame by frame, over damage; bodies are not read.
#[derive(Debug)]
pub struct Walk {
    file: Arc<File>,
    segment: u32,
    at: u64,
    len: u64,
}

impl Walk {
    /// The next frame or damaged place; `None` at the end.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn step(&mut self) -> io::Result<Option<Step>> {
        let mut scan = Scan::within(&self.file, self.segment, self.at, self.len);
        let step = scan.step(false)?;
        self.at = scan.at();
        Ok(step)
    }

    /// Where the next step starts.
    pub fn offset(&self) -> u64 {
        self.at
    }
}

/// Reads frames. Cheap to clone; clones share their open files.
#[derive(Debug, Clone)]
pub struct Reader {
    dir: Arc<PathBuf>,
    files: Arc<Mutex<BTreeMap<u32, Arc<File>>>>,
}

impl Reader {
    /// Of the journal in `dir`.
    pub fn new(dir: PathBuf) -> Self {
        Self { dir: Arc::new(dir), files: Arc::default() }
    }

    fn file(&self, segment: u32) -> io::Result<Arc<File>> {
        let mut files = self.files.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(file) = files.get(&segment) {
            return Ok(file.clone());
        }
        let file = Arc::new(File::open(segment_path(&self.dir, segment))?);
        if files.len() >= OPEN_FILES {
            files.pop_first();
        }
        files.insert(segment, file.clone());
        Ok(file)
    }

    /// Walks through a segment, as far as `until`; `None` if there is no such file.
    ///
    /// # Errors
    /// When the file cannot be opened.
    pub fn walk(&self, segment: u32, until: Place) -> io::Result<Option<Walk>> {
        // Opened anew: what a descriptor still shows of a deleted file is not on the disk.
        let file = match File::open(segment_path(&self.dir, segment)) {
            Ok(file) => Arc::new(file),
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(e) => return Err(e),
        };
        let mut len = file.metadata()?.len();
        if segment == until.segment {
            len = len.min(until.offset);
        }
        Ok(Some(Walk { file, segment, at: FIRST_FRAME, len }))
    }

    /// The frame at `place`, checked whole.
    ///
    /// # Errors
    /// [`ReadError`].
    pub fn read(&self, place: Place) -> Result<Frame, ReadError> {
        let Place { segment, offset } = place;
        let io_error = |source| ReadError::Io { segment, offset, source };
        let damaged = || ReadError::Damaged { segment, offset };
        let file = self.file(segment).map_err(io_error)?;
        let len = file.metadata().map_err(io_error)?.len();
        let take = |from: u64, n| read_at(&file, from, n, len).map_err(io_error)?.ok_or_else(damaged);
        let head = Head::parse(&take(offset, HEAD_BYTES)?).ok_or_else(damaged)?;
        let rest = take(offset + HEAD_BYTES as u64, head.meta_bytes + head.body_bytes)?;
        let (meta, body) = rest.split_at(head.meta_bytes);
        let meta = head.meta(meta).ok_or_else(damaged)?;
        if !head.body_holds(body) {
            return Err(damaged());
        }
        let next = Place { segment, offset: offset + head.frame_bytes() };
        Ok(Frame { meta, body: body.to_vec(), next })
    }

    /// The first whole frame at or after `from` and before `until`, and where to go on; damaged places are stepped
    /// over. `None`: nothing more before `until`.
    ///
    /// # Errors
    /// [`ReadError::Io`].
    pub fn next(&self, from: Place, until: Place) -> Result<Option<(Place, Frame)>, ReadError> {
        let mut at = from;
        while at < until {
            match self.read(at) {
                Ok(frame) => return Ok(Some((at, frame))),
                Err(ReadError::Damaged { .. }) => match self.after(at)? {
                    Some(next) => at = next,
                    None => return Ok(None),
                },
                Err(e) => return Err(e),
            }
        }
        Ok(None)
    }

    /// Where to look after a place at which no frame could be read: the next frame of the segment, or the next segment.
    fn after(&self, at: Place) -> Result<Option<Place>, ReadError> {
        let Place { segment, offset } = at;
        let io_error = |source| ReadError::Io { segment, offset, source };
        let file = self.file(segment).map_err(io_error)?;
        let mut scan = Scan::new(&file, segment, offset).map_err(io_error)?;
        // The first step passes what is bad at `at`; a frame with a bad body passes as one frame.
        while let Some(step) = scan.step(false).map_err(io_error)? {
            if let Step::Frame { place, .. } = step
                && place.offset > offset
            {
                return Ok(Some(place));
            }
        }
        let numbers = segments(&self.dir).map_err(io_error)?;
        let next = numbers.into_iter().find(|n| *n > segment);
        Ok(next.map(|segment| Place { segment, offset: FIRST_FRAME }))
    }
}
