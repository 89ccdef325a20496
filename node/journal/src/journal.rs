//! The writing end: append, flush, and `roll` to the next segment once one is full.
//!
//! A frame's head calls durable only what a flush has returned for, and a segment that was left is read-only. After an error
//! nothing may be said of what was written. What a frame means is not known here, nor who reads it.

use super::{
    Frame, Opening, Owner, Position, System, Volume, VolumeFile, frame,
    header::{HEADER_BYTES, Header, SEGMENT_FORMAT},
    mark, segment_path,
};
use std::{
    io,
    path::{Path, PathBuf},
};

/// A segment is sealed once it is this long, in bytes, unless the config says otherwise.
pub const SEGMENT_BYTES: u64 = 64 << 20;

/// Why a journal cannot be opened or written. After an error nothing may be said about what was written, and the journal
/// must not be used any more: what is in memory and what is on disk no longer agree for sure.
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

pub(super) fn at(path: &Path, action: &'static str) -> impl FnOnce(io::Error) -> JournalError {
    let path = path.to_owned();
    move |source| JournalError::Disk { path, action, source }
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
    flushed: u64,
    /// Up to here the heads in this segment say that it was durable; `told <= flushed`.
    told: u64,
    /// End of the last frame in this segment that says something.
    said: u64,
    /// Last root in this segment, or in one before.
    root: [u8; 32],
    buffer: Vec<u8>,
    segment_bytes: u64,
    /// The mark of the last clean stop is still there: it goes before the first write.
    marked: bool,
}

/// Where writing goes on after opening.
#[derive(Debug)]
pub(super) struct End {
    pub(super) segment: u32,
    pub(super) offset: u64,
    pub(super) durable: u64,
}

impl Journal {
    /// Where the first frame ever stands.
    pub fn origin() -> Position {
        Position { segment: 1, offset: HEADER_BYTES }
    }
}

impl<V: Volume> Journal<V> {
    /// Goes on behind `end` of the last segment, which is cut there.
    pub(super) fn go_on(
        volume: V,
        dir: &Path,
        owner: &Owner,
        segment_bytes: u64,
        end: &End,
    ) -> Result<Self, JournalError> {
        let path = segment_path(dir, end.segment);
        // A stop between sealing this segment and starting the next leaves it read-only.
        volume.set_mode(&path, 0o600).map_err(at(&path, "cannot be made writable"))?;
        let file = volume.open(&path, Opening::Write).map_err(at(&path, "cannot be opened for writing"))?;
        file.set_len(end.offset).map_err(at(&path, "a torn tail cannot be cut"))?;
        file.sync_all().map_err(at(&path, "cannot be flushed"))?;
        Ok(Self::with(volume, dir, owner, segment_bytes, file, end))
    }

    /// Goes on in a new segment, whose header says how the one before ended.
    pub(super) fn begin(
        volume: V,
        dir: &Path,
        owner: &Owner,
        segment_bytes: u64,
        segment: u32,
        length_before: u64,
    ) -> Result<Self, JournalError> {
        let file = Self::create(&volume, dir, &Header::new(owner, segment, length_before, [0; 32]))?;
        let end = End { segment, offset: HEADER_BYTES, durable: HEADER_BYTES };
        Ok(Self::with(volume, dir, owner, segment_bytes, file, &end))
    }

    fn with(volume: V, dir: &Path, owner: &Owner, segment_bytes: u64, file: V::File, end: &End) -> Self {
        Self {
            volume,
            dir: dir.to_owned(),
            owner: owner.clone(),
            file,
            segment: end.segment,
            written: end.offset,
            flushed: end.offset,
            told: end.durable,
            said: end.offset,
            root: [0; 32],
            buffer: Vec::new(),
            segment_bytes,
            marked: true,
        }
    }

    fn create(volume: &V, dir: &Path, header: &Header) -> Result<V::File, JournalError> {
        let path = segment_path(dir, header.segment);
        let file = volume.open(&path, Opening::New).map_err(at(&path, "cannot be made"))?;
        file.write_all_at(&header.encode(), 0).map_err(at(&path, "cannot be written"))?;
        file.sync_all().map_err(at(&path, "cannot be flushed"))?;
        volume.sync_folder(dir).map_err(at(dir, "cannot be flushed"))?;
        Ok(file)
    }

    /// Writes frames in order, and says where each stands. They are durable after the next [`Self::flush`].
    ///
    /// # Errors
    /// [`JournalError::Disk`].
    pub fn append(&mut self, frames: &[Frame<'_>]) -> Result<Vec<Position>, JournalError> {
        self.unmark()?;
        let mut positions = Vec::with_capacity(frames.len());
        for frame in frames {
            if self.end() >= self.segment_bytes {
                self.roll()?;
            }
            positions.push(Position { segment: self.segment, offset: self.end() });
            frame::encode(frame.kind, frame.meta, frame.body, self.flushed, &mut self.buffer);
            self.root = frame.root.unwrap_or(self.root);
            self.told = self.flushed;
        }
        self.write_buffer()?;
        self.said = self.written;
        Ok(positions)
    }

    /// The root that the last frame that was read at the opening ends at: the next segment's header repeats it.
    pub fn ends_at(&mut self, root: [u8; 32]) {
        self.root = root;
    }

    /// Makes everything written durable: one `fdatasync` for all.
    ///
    /// # Errors
    /// [`JournalError::Disk`].
    pub fn flush(&mut self) -> Result<(), JournalError> {
        if self.flushed < self.written {
            let path = segment_path(&self.dir, self.segment);
            self.file.sync_data().map_err(at(&path, "cannot be flushed"))?;
            self.flushed = self.written;
        }
        Ok(())
    }

    /// For a moment without frames: flushes, and writes that all of it is durable, unless a later frame says so already.
    /// Without that, a damaged last round would be taken for a torn one.
    ///
    /// # Errors
    /// [`JournalError::Disk`].
    pub fn rest(&mut self) -> Result<(), JournalError> {
        self.flush()?;
        if self.told < self.said {
            self.unmark()?;
            frame::encode(frame::FILLER, &[], &[], self.flushed, &mut self.buffer);
            self.told = self.flushed;
            self.write_buffer()?;
            self.flush()?;
        }
        Ok(())
    }

    /// Ends cleanly: what is there now was durable, and the next start is told so.
    ///
    /// # Errors
    /// [`JournalError::Disk`]. Without the mark the next start takes this stop for a crash, which loses nothing.
    pub fn stop(mut self) -> Result<(), JournalError> {
        self.rest()?;
        let path = mark_path(&self.dir);
        mark::write(&self.volume, &path, self.durable()).map_err(at(&path, "cannot be written"))
    }

    fn unmark(&mut self) -> Result<(), JournalError> {
        if std::mem::take(&mut self.marked) {
            let path = mark_path(&self.dir);
            mark::remove(&self.volume, &path).map_err(at(&path, "cannot be removed"))?;
        }
        Ok(())
    }

    /// Where the next frame starts: behind what was written and what is to be.
    fn end(&self) -> u64 {
        self.written.saturating_add(self.buffer.len() as u64)
    }

    fn write_buffer(&mut self) -> Result<(), JournalError> {
        let path = segment_path(&self.dir, self.segment);
        self.file.write_all_at(&self.buffer, self.written).map_err(at(&path, "cannot be written"))?;
        self.written = self.end();
        self.buffer.clear();
        if self.buffer.capacity() > 8 << 20 {
            self.buffer = Vec::new();
        }
        Ok(())
    }

    /// Seals the segment, read-only from now on, and starts the next.
    pub(super) fn roll(&mut self) -> Result<(), JournalError> {
        self.write_buffer()?;
        self.flush()?;
        let path = segment_path(&self.dir, self.segment);
        let len = self.file.look().map_err(at(&path, "cannot be read"))?.len;
        if len > self.written {
            // Somebody else's bytes, which every reader would take for damage from now on.
            self.file.set_len(self.written).map_err(at(&path, "cannot be cut to what was written"))?;
        }
        self.file.set_mode(0o400).map_err(at(&path, "cannot be made read-only"))?;
        // What was written, or what is left of it if the file was cut meanwhile: that is damage, and known by now.
        let length = len.min(self.written);
        // Behind the last number there is none: its file is there already, and making it again fails.
        self.segment = self.segment.saturating_add(1);
        let header = Header::new(&self.owner, self.segment, length, self.root);
        self.file = Self::create(&self.volume, &self.dir, &header)?;
        self.written = HEADER_BYTES;
        (self.flushed, self.told, self.said) = (HEADER_BYTES, HEADER_BYTES, HEADER_BYTES);
        Ok(())
    }

    /// End of what is durable: followers may read up to here.
    pub fn durable(&self) -> Position {
        Position { segment: self.segment, offset: self.flushed }
    }
}

pub(super) fn mark_path(dir: &Path) -> PathBuf {
    dir.with_extension("mark")
}
