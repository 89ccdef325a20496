//! The writing end: append, flush, and `roll` to the next segment once one is full.
//!
//! A frame's head calls durable only what a flush has returned for, and a segment that was left is read-only. What was
//! written since the last flush is kept in memory; if a write or flush fails, all of it goes into a new segment
//! (`renew.rs`). For want of room nothing is changed, so the same can be tried again. What a frame means is not known here,
//! nor who reads it.

use super::{
    Frame, Opening, Owner, Position, Shortage, System, Volume, VolumeFile, frame,
    header::{HEADER_BYTES, Header, SEGMENT_FORMAT},
    mark, mend, segment_path,
    tail::Tail,
};
use std::{
    io,
    path::{Path, PathBuf},
};

/// A segment is sealed once it is this long, in bytes, unless the config says otherwise.
pub const SEGMENT_BYTES: u64 = 64 << 20;
/// New segments that are tried one after the other before the disk counts as failed.
pub(super) const ATTEMPTS: u32 = 3;

/// Why a journal cannot be opened or written. After an error other than [`JournalError::NoRoom`] nothing may be said about
/// what was written, and the journal must not be used any more.
#[derive(Debug, thiserror::Error)]
pub enum JournalError {
    /// The disk failed.
    #[error("{path}: {action}")]
    Disk {
        /// Which file or folder.
        path: PathBuf,
        /// What could not be done.
        action: &'static str,
        /// The system's word.
        source: io::Error,
    },
    /// The system is short of something. What was written and not flushed is neither lost nor durable; the same call can be
    /// made again.
    #[error("{path}: {action}, for want of {shortage}")]
    NoRoom {
        /// Which file or folder.
        path: PathBuf,
        /// What could not be done.
        action: &'static str,
        /// What is wanting.
        shortage: Shortage,
        /// The system's word.
        source: io::Error,
    },
    /// Somebody removed, replaced or cut what this process was writing to.
    #[error("{path} {what}")]
    Gone {
        /// Which file or folder.
        path: PathBuf,
        /// What became of it, and what of its content is where.
        what: String,
    },
    /// A later program wrote it. Nothing was changed.
    #[error("{path}: this journal has format {found}, this program reads up to {SEGMENT_FORMAT}: update it")]
    LaterFormat {
        /// Which segment.
        path: PathBuf,
        /// Its format.
        found: u16,
    },
    /// It is another node's. Nothing was changed.
    #[error("{path}: this journal is of division {found}, or of another federation: is the data folder the right one?")]
    Foreign {
        /// Which segment.
        path: PathBuf,
        /// The division that it names.
        found: u32,
    },
}

impl JournalError {
    /// What the system said to an action on a file or folder: want of something, or a failure of the disk.
    pub fn at(path: &Path, action: &'static str) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| match Shortage::of(&source) {
            Some(shortage) => Self::NoRoom { path, action, shortage, source },
            None => Self::Disk { path, action, source },
        }
    }

    /// What is wanting, if it is nothing worse: then the same call can be made again.
    pub fn shortage(&self) -> Option<Shortage> {
        match self {
            Self::NoRoom { shortage, .. } => Some(*shortage),
            _ => None,
        }
    }
}

/// What happened to a journal that goes on all the same: for the log file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum JournalNews {
    /// A write or flush failed; what was not durable by then is in a new segment now, and durable.
    Renewed {
        /// The segment that was left.
        left: Position,
        /// Bytes that went into the next one.
        bytes: u64,
    },
    /// The open file was removed or replaced; what was in it is in its place again.
    Rescued {
        /// Which segment.
        segment: u32,
    },
}

/// The writing end. There is one for a journal.
#[derive(Debug)]
pub struct Journal<V: Volume = System> {
    pub(super) volume: V,
    pub(super) dir: PathBuf,
    pub(super) owner: Owner,
    pub(super) file: V::File,
    pub(super) segment: u32,
    /// End of what was written.
    pub(super) written: u64,
    /// End of what was flushed; `flushed <= written`.
    pub(super) flushed: u64,
    /// Up to here the heads in this segment say that it was durable; `told <= flushed`.
    pub(super) told: u64,
    /// End of the last frame in this segment that says something.
    pub(super) said: u64,
    /// What was written since the flush, and what shares a page with its end. It ends where the next frame starts.
    pub(super) tail: Tail,
    /// A write or flush failed: what stands behind `flushed` in the file may be anything.
    pub(super) doubt: bool,
    /// Last root in this segment, or in one before.
    root: [u8; 32],
    segment_bytes: u64,
    /// The mark of the last clean stop is still there: it goes before the first write.
    marked: bool,
    /// Which folder the segments are in.
    pub(super) folder: (u64, u64),
    pub(super) news: Vec<JournalNews>,
}

/// Where writing goes on after opening.
#[derive(Debug)]
pub(super) struct End {
    pub(super) segment: u32,
    /// End of what is durable.
    pub(super) durable: u64,
    /// What the file holds from the page of that end on.
    pub(super) tail: Tail,
}

/// How segments are written, and whose they are.
#[derive(Debug, Clone)]
pub(super) struct Settings<V> {
    pub(super) volume: V,
    pub(super) dir: PathBuf,
    pub(super) owner: Owner,
    pub(super) segment_bytes: u64,
}

impl Journal {
    /// Where the first frame ever stands.
    pub fn origin() -> Position {
        Position { segment: 1, offset: HEADER_BYTES }
    }
}

impl<V: Volume> Journal<V> {
    /// Goes on at `end` of a segment that is there.
    pub(super) fn go_on(settings: Settings<V>, end: End) -> Result<Self, JournalError> {
        let path = segment_path(&settings.dir, end.segment);
        // A stop between sealing this segment and starting the next leaves it read-only.
        settings.volume.set_mode(&path, 0o600).map_err(JournalError::at(&path, "cannot be made writable"))?;
        let file = settings
            .volume
            .open(&path, Opening::Write)
            .map_err(JournalError::at(&path, "cannot be opened for writing"))?;
        Self::with(settings, file, end)
    }

    /// Goes on in a new segment.
    pub(super) fn begin(settings: Settings<V>, header: &Header) -> Result<Self, JournalError> {
        let file = create(&settings.volume, &settings.dir, header)?;
        Self::with(settings, file, End { segment: header.segment, durable: HEADER_BYTES, tail: Tail::at(HEADER_BYTES) })
    }

    fn with(settings: Settings<V>, file: V::File, end: End) -> Result<Self, JournalError> {
        let Settings { volume, dir, owner, segment_bytes } = settings;
        let folder = volume.look(&dir).map_err(JournalError::at(&dir, "cannot be looked at"))?.identity;
        let written = end.tail.end();
        Ok(Self {
            volume,
            dir,
            owner,
            file,
            segment: end.segment,
            written,
            flushed: end.durable,
            told: end.durable,
            said: written,
            tail: end.tail,
            doubt: false,
            root: [0; 32],
            segment_bytes,
            marked: true,
            folder,
            news: Vec::new(),
        })
    }

    /// Writes frames in order, and says where each stands. They are durable after the next [`Self::flush`]; until then what
    /// the file shows of them counts for nothing. All of them stand in one segment.
    ///
    /// # Errors
    /// [`JournalError`]; after want of room none of them was written.
    pub fn append(&mut self, frames: &[Frame<'_>]) -> Result<Vec<Position>, JournalError> {
        self.unmark()?;
        if self.doubt {
            self.renew()?;
        }
        if self.written >= self.segment_bytes {
            self.roll()?;
        }
        let (before, root, told) = (self.tail.here(), self.root, self.told);
        let mut positions = Vec::with_capacity(frames.len());
        for frame in frames {
            positions.push(Position { segment: self.segment, offset: self.tail.end() });
            self.tail.push(frame.kind, frame.meta, frame.body, self.flushed);
            self.root = frame.root.unwrap_or(self.root);
            self.told = self.flushed;
        }
        if let Err(e) = self.write_tail() {
            self.tail.back_to(before);
            (self.root, self.told) = (root, told);
            return Err(e);
        }
        self.said = self.written;
        Ok(positions)
    }

    /// The root that the last frame that was read at the opening ends at: the next segment's header repeats it.
    pub fn ends_at(&mut self, root: [u8; 32]) {
        self.root = root;
    }

    /// Makes everything written durable: one `fdatasync` for all. If it fails, all of it is written anew.
    ///
    /// # Errors
    /// [`JournalError`].
    pub fn flush(&mut self) -> Result<(), JournalError> {
        if self.flushed < self.written && !self.doubt {
            // The system says once that what it wrote back was lost, and never again.
            self.doubt = self.file.sync_data().is_err();
            if !self.doubt {
                self.is_durable();
            }
        }
        if self.doubt {
            self.renew()?;
        }
        self.is_there()
    }

    fn is_durable(&mut self) {
        self.flushed = self.written;
        self.tail.is_durable();
    }

    /// For a moment without frames: flushes, and writes that all of it is durable, unless a later frame says so already.
    /// Without that, a damaged last round would be taken for a torn one.
    ///
    /// # Errors
    /// [`JournalError`].
    pub fn rest(&mut self) -> Result<(), JournalError> {
        self.flush()?;
        if self.told < self.said {
            self.unmark()?;
            let before = self.tail.here();
            self.tail.push(frame::FILLER, &[], &[], self.flushed);
            if let Err(e) = self.write_tail() {
                self.tail.back_to(before);
                return Err(e);
            }
            self.told = self.flushed;
            self.flush()?;
        }
        Ok(())
    }

    /// Ends cleanly: what is there now was durable, and the next start is told so.
    ///
    /// # Errors
    /// [`JournalError`]. Without the mark the next start takes this stop for a crash, which loses nothing.
    pub fn stop(mut self) -> Result<(), JournalError> {
        self.rest()?;
        let path = mark_path(&self.dir);
        mark::write(&self.volume, &path, self.durable()).map_err(JournalError::at(&path, "cannot be written"))
    }

    /// The mark of the last clean stop goes before the first write. One that comes back after a power cut says less than holds,
    /// and nothing wrong: so an attempt that fails is made again.
    pub(super) fn unmark(&mut self) -> Result<(), JournalError> {
        let path = mark_path(&self.dir);
        let mut left = if self.marked { ATTEMPTS } else { 0 };
        while left > 0 {
            left = left.saturating_sub(1);
            match mark::remove(&self.volume, &path).map_err(JournalError::at(&path, "cannot be removed")) {
                Err(e) if e.shortage().is_some() || left == 0 => return Err(e),
                Err(_) => {}
                Ok(()) => left = 0,
            }
        }
        self.marked = false;
        Ok(())
    }

    /// Writes what of the tail is not in the file yet. For want of room the file is as long as before.
    fn write_tail(&mut self) -> Result<(), JournalError> {
        if let Err(e) = self.file.write_all_at(self.tail.behind(self.written), self.written) {
            if Shortage::of(&e).is_some() {
                // If that fails too, the next attempt writes over what is there.
                let _ = self.file.set_len(self.written);
                return Err(JournalError::at(&segment_path(&self.dir, self.segment), "cannot be written")(e));
            }
            // What else fails is the disk's fault: the next flush writes all of it anew.
            self.doubt = true;
        }
        self.written = self.tail.end();
        Ok(())
    }

    /// Seals the segment, read-only from now on, and starts the next.
    pub(super) fn roll(&mut self) -> Result<(), JournalError> {
        self.flush()?;
        let path = segment_path(&self.dir, self.segment);
        let len = self.file.look().map_err(JournalError::at(&path, "cannot be read"))?.len;
        if len > self.written {
            // Somebody else's bytes, which every reader would take for damage from now on.
            self.file.set_len(self.written).map_err(JournalError::at(&path, "cannot be cut to what was written"))?;
        }
        self.file.set_mode(0o400).map_err(JournalError::at(&path, "cannot be made read-only"))?;
        // What was written, or what is left of it if the file was cut meanwhile: that is damage, and known by now.
        let length = len.min(self.written);
        // Behind the last number there is none: its file is there already, and making it again fails.
        let header = Header::new(&self.owner, self.segment.saturating_add(1), length, self.root);
        let mut made = create(&self.volume, &self.dir, &header);
        for _ in 1..ATTEMPTS {
            if made.as_ref().is_err_and(|e| e.shortage().is_none()) {
                made = create(&self.volume, &self.dir, &header);
            }
        }
        self.file = made?;
        self.segment = header.segment;
        self.tail = Tail::at(HEADER_BYTES);
        (self.written, self.flushed) = (HEADER_BYTES, HEADER_BYTES);
        (self.told, self.said) = (HEADER_BYTES, HEADER_BYTES);
        Ok(())
    }

    /// End of what is durable: followers may read up to here.
    pub fn durable(&self) -> Position {
        Position { segment: self.segment, offset: self.flushed }
    }

    /// What happened since the last call and was no error.
    pub fn take_news(&mut self) -> Vec<JournalNews> {
        std::mem::take(&mut self.news)
    }
}

/// Makes a segment's file, with its header and its name durable. If that fails there is none.
pub(super) fn create<V: Volume>(volume: &V, dir: &Path, header: &Header) -> Result<V::File, JournalError> {
    let path = segment_path(dir, header.segment);
    if volume.look(&path).is_ok() {
        mend::set_aside_file(volume, dir, &path, "it stood where the next segment was to be made")
            .map_err(JournalError::at(&path, "cannot be set aside"))?;
    }
    let file = volume.open(&path, Opening::New).map_err(JournalError::at(&path, "cannot be made"))?;
    let made = file
        .write_all_at(&header.encode(), 0)
        .map_err(JournalError::at(&path, "cannot be written"))
        .and_then(|()| file.sync_all().map_err(JournalError::at(&path, "cannot be flushed")))
        .and_then(|()| volume.sync_folder(dir).map_err(JournalError::at(dir, "cannot be flushed")));
    if made.is_err() {
        let _ = volume.remove(&path);
    }
    made.map(|()| file)
}

pub(super) fn mark_path(dir: &Path) -> PathBuf {
    dir.with_extension("mark")
}
