//! Writing anew what may not be on the disk: after a write or flush that failed, and at a start for what stands behind the last
//! place that is known to be durable.
//!
//! The system tells once that a write-back failed; then its cache shows bytes that the disk does not have, and a file system
//! may keep their place as never written. So the same file is not trusted again. A new segment takes all of it, with what
//! shares a page with the durable end, and counts once a head in it tells that this was flushed. Until then it is nothing, and
//! what is left in the segment before is what it was. Which of it a reader is shown is not decided here.

use super::{
    Journal, JournalError, JournalNews, Position, Volume, VolumeFile,
    frame::{self, FILLER},
    header::{HEADER_BYTES, Header},
    journal::{ATTEMPTS, create},
    segment_path,
    tail::Tail,
};
use std::io;

/// A segment that was left for a new one, and where its end is now.
#[derive(Debug)]
pub(super) struct Left<F> {
    file: F,
    pub(super) end: Position,
}

impl<F: VolumeFile> Left<F> {
    /// Cuts it where its end is now. What stands behind does not count in any case.
    pub(super) fn cut(&self) -> io::Result<()> {
        self.file.set_len(self.end.offset)?;
        self.file.set_mode(0o400)?;
        self.file.sync_all()
    }
}

impl<V: Volume> Journal<V> {
    /// After a write or flush that failed: all that is not durable goes into a new segment.
    pub(super) fn renew(&mut self) -> Result<(), JournalError> {
        let bytes = self.tail.end().saturating_sub(self.flushed);
        let left = self.carry_on()?;
        // Best effort: see `Left::cut`.
        let _ = left.cut();
        self.news.push(JournalNews::Renewed { left: left.end, bytes });
        Ok(())
    }

    /// Goes on in a new segment that begins with the tail; as often as it may fail.
    pub(super) fn carry_on(&mut self) -> Result<Left<V::File>, JournalError> {
        let mut attempt = 1;
        loop {
            match self.carry_to_next() {
                Err(e) if e.shortage().is_none() && attempt < ATTEMPTS => attempt = attempt.saturating_add(1),
                done => return done,
            }
        }
    }

    fn carry_to_next(&mut self) -> Result<Left<V::File>, JournalError> {
        let segment = self.segment.saturating_add(1);
        let path = segment_path(&self.dir, segment);
        // The tail begins at most a page and a frame before.
        let repeats = u32::try_from(self.flushed.saturating_sub(self.tail.from())).unwrap_or(0);
        let header = Header::carrying(&self.owner, segment, self.flushed, repeats);
        let file = create(&self.volume, &self.dir, &header)?;
        let mut bytes = self.tail.bytes().to_vec();
        frame::retell(&mut bytes, HEADER_BYTES);
        let end = HEADER_BYTES.saturating_add(bytes.len() as u64);
        let written = write_flushed(&file, &bytes, HEADER_BYTES).and_then(|()| {
            let mut closing = Vec::new();
            frame::encode(FILLER, &[], &[], end, &mut closing);
            write_flushed(&file, &closing, end)?;
            bytes.extend(closing);
            Ok(())
        });
        if let Err(e) = written {
            // It never counts; the next attempt needs its name.
            let _ = self.volume.remove(&path);
            return Err(JournalError::at(&path, "cannot be written or flushed")(e));
        }
        let left = Position { segment: self.segment, offset: self.flushed };
        let left = Left { file: std::mem::replace(&mut self.file, file), end: left };
        self.segment = segment;
        self.tail = Tail::of(HEADER_BYTES, bytes);
        self.written = self.tail.end();
        (self.flushed, self.said, self.told) = (self.written, end, end);
        self.tail.is_durable();
        self.doubt = false;
        Ok(left)
    }
}

fn write_flushed(file: &impl VolumeFile, bytes: &[u8], offset: u64) -> io::Result<()> {
    file.write_all_at(bytes, offset)?;
    file.sync_data()
}
