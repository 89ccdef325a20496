//! The journal: segment files with every frame of every log that the node holds, in arrival order.
//!
//! One writer appends and flushes; sealed segments never change. It knows nobody who writes to it or follows it.
//! Opening reads frame heads only, cuts a torn tail of the last segment, and steps over damage in the middle
//! without hiding what follows.

mod frame;
mod mark;
mod mend;
mod reader;
mod scan;

pub use frame::Meta;
pub use reader::{Frame, ReadError, Reader, Walk};
pub use scan::{Damage, DamageKind, Step};

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Seek, SeekFrom, Write},
    os::unix::fs::{FileExt, OpenOptionsExt, PermissionsExt},
    path::{Path, PathBuf},
};
use tally_core::{Append, Disk, Recovered};
use tally_protocol::log::Place;

/// A segment is sealed once it is this long, in bytes, unless the config says otherwise.
pub const SEGMENT_BYTES: u64 = 64 << 20;
const SEGMENT_HEAD: &[u8; 12] = b"TALLYSEG\x01\0\0\0";
/// First frame of a segment: after the head and the segment's number.
const FIRST_FRAME: u64 = 16;

/// A failure of the disk. The node stops: what is in memory and what is on disk no longer agree for sure.
#[derive(Debug, thiserror::Error)]
#[error("{path}: {action}: {source}")]
pub struct JournalError {
    path: PathBuf,
    action: &'static str,
    source: io::Error,
}

fn at(path: &Path, action: &'static str) -> impl FnOnce(io::Error) -> JournalError {
    let path = path.to_owned();
    move |source| JournalError { path, action, source }
}

/// The writing end.
#[derive(Debug)]
pub struct Journal {
    dir: PathBuf,
    file: File,
    segment: u32,
    /// End of what was written.
    written: u64,
    /// End of what was flushed; `flushed <= written`.
    flushed: u64,
    buffer: Vec<u8>,
    segment_bytes: u64,
    marked: Place,
}

/// What opening found.
#[derive(Debug, Default)]
pub struct Found {
    /// Places where frames are damaged.
    pub damage: Vec<Damage>,
    /// Bytes of a torn tail that were cut.
    pub cut_bytes: u64,
    /// Frames that are whole.
    pub frames: u64,
}

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
        numbers.extend(number.and_then(|n| n.parse::<u32>().ok()));
    }
    numbers.sort_unstable();
    Ok(numbers)
}

impl Journal {
    /// Opens the journal in `dir`, made if missing, and hands every whole frame to `take`, in order.
    ///
    /// # Errors
    /// [`JournalError`] when a file or folder cannot be read or written.
    pub fn open(dir: &Path, take: impl FnMut(Recovered)) -> Result<(Self, Found), JournalError> {
        Self::open_with(dir, SEGMENT_BYTES, take)
    }

    /// The same with segments that are sealed once they are `segment_bytes` long.
    ///
    /// # Errors
    /// [`JournalError`].
    pub fn open_with(
        dir: &Path,
        segment_bytes: u64,
        mut take: impl FnMut(Recovered),
    ) -> Result<(Self, Found), JournalError> {
        fs::create_dir_all(dir).map_err(at(dir, "cannot be made"))?;
        let numbers = segments(dir).map_err(at(dir, "cannot be read"))?;
        let mut found = Found::default();
        let mark = mark::read(&mark_path(dir)).unwrap_or(Place { segment: 0, offset: 0 });
        let last = numbers.last().copied().unwrap_or(0).max(mark.segment);
        // End of the last segment's frames, if writing can go on there.
        let mut open_end = None;
        for segment in 1..=last {
            let path = segment_path(dir, segment);
            let place = |offset, bytes, kind| Damage { segment, offset, bytes, kind };
            let file = match File::open(&path) {
                Ok(file) => file,
                Err(e) if e.kind() == io::ErrorKind::NotFound => {
                    found.damage.push(place(0, 0, DamageKind::Missing));
                    continue;
                }
                Err(e) => return Err(at(&path, "cannot be opened")(e)),
            };
            let metadata = file.metadata().map_err(at(&path, "cannot be read"))?;
            let len = metadata.len();
            if segment < last && !head_holds(&file, segment) {
                found.damage.push(place(0, FIRST_FRAME, DamageKind::Header));
            }
            let mut scan = scan::Scan::within(&file, segment, FIRST_FRAME, len);
            let mut end = FIRST_FRAME;
            let mut after_end = None;
            while let Some(step) = scan.step(segment == last) {
                match step {
                    Step::Frame { meta, place, end: frame_end } => {
                        // Damage that is followed by a whole frame is damage in the middle, not a torn tail.
                        found.damage.extend(after_end.take());
                        end = frame_end;
                        found.frames += 1;
                        if let Some(recovered) = meta.recovered(place) {
                            take(recovered);
                        }
                    }
                    Step::Bad(damage) => {
                        found.damage.extend(after_end.replace(damage));
                    }
                }
            }
            // What lay before the mark was durable: if it is not there any more, that is no torn write.
            let vanished = segment == mark.segment && end < mark.offset;
            match after_end {
                Some(tail) if segment == last && !vanished => {
                    // Best effort: a full disk must not keep the node from starting.
                    let _ = keep_aside(dir, &file, &tail);
                    found.cut_bytes += tail.bytes;
                }
                Some(tail) => found.damage.push(tail),
                None if vanished => {
                    found.damage.push(place(len, mark.offset.saturating_sub(len), DamageKind::Truncated))
                }
                None => {}
            }
            open_end = (segment == last && !vanished && metadata.is_file()).then_some(end);
        }
        let (file, segment, end) = match open_end {
            Some(end) => (Self::reopen(dir, last, end)?, last, end),
            None => (Self::create(dir, last + 1)?, last + 1, FIRST_FRAME),
        };
        let mut journal = Self {
            dir: dir.to_owned(),
            file,
            segment,
            written: end,
            flushed: end,
            buffer: Vec::new(),
            segment_bytes,
            marked: mark,
        };
        journal.mark();
        Ok((journal, found))
    }

    /// The last segment, cut to `end`, to be written on.
    fn reopen(dir: &Path, segment: u32, end: u64) -> Result<File, JournalError> {
        let path = segment_path(dir, segment);
        // A stop between sealing this segment and starting the next leaves it read-only.
        let mut permissions = fs::metadata(&path).map_err(at(&path, "cannot be read"))?.permissions();
        permissions.set_mode(0o600);
        fs::set_permissions(&path, permissions).map_err(at(&path, "cannot be made writable"))?;
        let open = OpenOptions::new().read(true).write(true).open(&path);
        let mut file = open.map_err(at(&path, "cannot be opened for writing"))?;
        file.set_len(end).map_err(at(&path, "a torn tail cannot be cut"))?;
        file.write_all_at(&segment_head(segment), 0).map_err(at(&path, "cannot be written"))?;
        file.sync_all().map_err(at(&path, "cannot be flushed"))?;
        file.seek(SeekFrom::Start(end)).map_err(at(&path, "cannot be positioned"))?;
        Ok(file)
    }

    /// Notes beside the journal how far it is durable; see `mark.rs`.
    pub fn mark(&mut self) {
        let durable = self.durable();
        if durable == self.marked {
            return;
        }
        match mark::write(&mark_path(&self.dir), durable) {
            Ok(()) => self.marked = durable,
            Err(e) => {
                tracing::warn!(event = "journal.mark", reason = %e, "a tail that vanishes will be taken for a torn write");
            }
        }
    }

    fn create(dir: &Path, segment: u32) -> Result<File, JournalError> {
        let path = segment_path(dir, segment);
        let open = OpenOptions::new().read(true).write(true).create_new(true).mode(0o600).open(&path);
        let mut file = open.map_err(at(&path, "cannot be made"))?;
        file.write_all(&segment_head(segment)).map_err(at(&path, "cannot be written"))?;
        file.sync_all().map_err(at(&path, "cannot be flushed"))?;
        sync_folder(dir).map_err(at(dir, "cannot be flushed"))?;
        Ok(file)
    }

    fn append_frames(&mut self, frames: &[Append]) -> Result<Vec<Place>, JournalError> {
        let mut places = Vec::with_capacity(frames.len());
        for frame in frames {
            if self.written + self.buffer.len() as u64 >= self.segment_bytes {
                self.roll()?;
            }
            places.push(Place { segment: self.segment, offset: self.written + self.buffer.len() as u64 });
            frame::encode(frame, &mut self.buffer);
        }
        self.write_buffer()?;
        Ok(places)
    }

    fn write_buffer(&mut self) -> Result<(), JournalError> {
        let path = segment_path(&self.dir, self.segment);
        self.file.write_all(&self.buffer).map_err(at(&path, "cannot be written"))?;
        self.written += self.buffer.len() as u64;
        self.buffer.clear();
        if self.buffer.capacity() > 8 << 20 {
            self.buffer = Vec::new();
        }
        Ok(())
    }

    fn sync(&mut self) -> Result<(), JournalError> {
        if self.flushed < self.written {
            let path = segment_path(&self.dir, self.segment);
            self.file.sync_data().map_err(at(&path, "cannot be flushed"))?;
            self.flushed = self.written;
        }
        Ok(())
    }

    /// Seals the segment, read-only from now on, and starts the next.
    fn roll(&mut self) -> Result<(), JournalError> {
        self.write_buffer()?;
        self.sync()?;
        let path = segment_path(&self.dir, self.segment);
        let metadata = self.file.metadata().map_err(at(&path, "cannot be read"))?;
        if metadata.len() > self.written {
            // Somebody else's bytes, which every reader would take for damage from now on.
            self.file.set_len(self.written).map_err(at(&path, "cannot be cut to what was written"))?;
        }
        let mut permissions = metadata.permissions();
        permissions.set_mode(0o400);
        self.file.set_permissions(permissions).map_err(at(&path, "cannot be made read-only"))?;
        // What was written, or what is left of it if the file was cut meanwhile: that is damage, and known by now.
        let sealed = metadata.len().min(self.written);
        self.segment += 1;
        self.file = Self::create(&self.dir, self.segment)?;
        self.written = FIRST_FRAME;
        self.flushed = FIRST_FRAME;
        self.tell_length(self.segment - 1, sealed)?;
        self.mark();
        Ok(())
    }

    /// Notes how long a sealed segment is, so that one that is cut at the end of a frame is noticed.
    fn tell_length(&mut self, segment: u32, bytes: u64) -> Result<(), JournalError> {
        frame::sealed(segment, bytes, &mut self.buffer);
        self.write_buffer()?;
        self.sync()
    }

    /// End of what is durable: followers may read up to here.
    pub fn durable(&self) -> Place {
        Place { segment: self.segment, offset: self.flushed }
    }

    /// Where the first frame ever lies.
    pub fn origin() -> Place {
        Place { segment: 1, offset: FIRST_FRAME }
    }
}

/// After an error nothing may be said about the frames, and the journal must not be used any more: after a failed
/// flush nothing is known about the disk. A flush is one fdatasync for all logs.
impl Disk for Journal {
    type Error = JournalError;

    fn append(&mut self, frames: &[Append]) -> Result<Vec<Place>, JournalError> {
        self.append_frames(frames)
    }

    fn flush(&mut self) -> Result<(), JournalError> {
        self.sync()
    }
}

/// A torn tail was never confirmed, unless the disk lied: its bytes are kept for people.
fn keep_aside(dir: &Path, file: &File, tail: &Damage) -> io::Result<()> {
    let mut bytes = vec![0; usize::try_from(tail.bytes).unwrap_or(0)];
    file.read_exact_at(&mut bytes, tail.offset)?;
    let name = format!("{:08}-{}-cut", tail.segment, tail.offset);
    let note = "cut from the end of the journal at a start: never confirmed to anybody\n";
    mend::keep(&Journal::quarantine(dir), &name, &bytes, note)
}

fn sync_folder(dir: &Path) -> io::Result<()> {
    File::open(dir)?.sync_all()
}

fn mark_path(dir: &Path) -> PathBuf {
    dir.with_extension("mark")
}

/// Whether a segment's file starts as the segment of this number does.
fn head_holds(file: &File, segment: u32) -> bool {
    let mut head = [0; FIRST_FRAME as usize];
    file.read_exact_at(&mut head, 0).is_ok() && head == segment_head(segment)
}

fn segment_head(segment: u32) -> [u8; 16] {
    let mut head = [0; 16];
    head[..12].copy_from_slice(SEGMENT_HEAD);
    head[12..].copy_from_slice(&segment.to_le_bytes());
    head
}

#[cfg(test)]
mod tests;
