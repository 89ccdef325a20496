//! A look at the folder and the file that are written to: somebody may remove, replace or cut them while the process goes on
//! writing into what has no name any more.
//!
//! What the process still holds is put back. It goes on only if nothing else is missing: what is in memory speaks of all
//! segments. Who looks, and how often, is not decided here.

use super::{
    Journal, JournalError, JournalNews, Opening, Volume, VolumeFile, header::Header, journal::create, mend,
    segment_path,
};
use std::{io, path::Path};

impl<V: Volume> Journal<V> {
    /// Whether the folder, and in it the file that is written to, are those of this process, and no shorter than what was
    /// written. What can be put right is.
    ///
    /// # Errors
    /// [`JournalError::Gone`] if something is missing now that this process does not hold: it has to start anew. Other
    /// [`JournalError`]s if the disk does not work.
    pub fn look_after(&mut self) -> Result<(), JournalError> {
        let folder = self.volume.look(&self.dir);
        if folder.as_ref().is_err_and(|e| e.kind() == io::ErrorKind::NotFound) {
            return Err(self.folder_is_removed());
        }
        if folder.map_err(JournalError::at(&self.dir, "cannot be looked at"))?.identity != self.folder {
            return Err(self.folder_is_another());
        }
        if self.rescue_name()? {
            self.news.push(JournalNews::Rescued { segment: self.segment });
        }
        let path = segment_path(&self.dir, self.segment);
        let len = self.file.look().map_err(JournalError::at(&path, "cannot be looked at"))?.len;
        if len >= self.written || self.doubt {
            return Ok(());
        }
        if self.restore_cut(len)? {
            return Ok(());
        }
        let header = Header::new(&self.owner, self.segment.saturating_add(1), self.flushed, [0; 32]);
        create(&self.volume, &self.dir, &header)?;
        let what = format!(
            "was cut to {len} bytes while the node ran, {} were durable: the next start names what is missing",
            self.flushed
        );
        Err(JournalError::Gone { path, what })
    }

    /// The file that is written to was deleted or exchanged under this process: what its descriptor still holds goes
    /// back to its place. The answer is whether that was needed. Of one that was cut short, what memory has goes into a new
    /// segment; if that is not all, it is sealed as it is: what is written behind its end would leave a hole.
    ///
    /// # Errors
    /// [`JournalError`].
    pub fn rescue(&mut self) -> Result<bool, JournalError> {
        let rescued = self.rescue_name()?;
        let path = segment_path(&self.dir, self.segment);
        let len = self.file.look().map_err(JournalError::at(&path, "cannot be looked at"))?.len;
        if len < self.written && !self.doubt && !self.restore_cut(len)? {
            self.roll()?;
        }
        Ok(rescued)
    }

    fn rescue_name(&mut self) -> Result<bool, JournalError> {
        let path = segment_path(&self.dir, self.segment);
        let there = match self.volume.look(&path) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => {
                return Err(JournalError::at(&path, "cannot be looked at")(e));
            }
            there => there.ok(),
        };
        let mine = self.file.look().map_err(JournalError::at(&path, "cannot be looked at"))?;
        if there.is_some_and(|t| t.identity == mine.identity) {
            return Ok(false);
        }
        if there.is_some() {
            mend::set_aside_file(&self.volume, &self.dir, &path, "not the file that this node was writing")
                .map_err(JournalError::at(&path, "cannot be set aside"))?;
        }
        self.file = self.copy_to(&path, &self.dir).map_err(JournalError::at(&path, "cannot be put back"))?;
        Ok(true)
    }

    /// Of the open file `len` bytes are left, and more was written. If memory has all that is gone, that goes into a new
    /// segment; the answer is whether it does.
    fn restore_cut(&mut self, len: u64) -> Result<bool, JournalError> {
        if len < self.tail.from() {
            return Ok(false);
        }
        self.flushed = self.tail.from();
        self.doubt = true;
        self.renew()?;
        Ok(true)
    }

    /// After a flush: a file without a name keeps nothing.
    pub(super) fn is_there(&mut self) -> Result<(), JournalError> {
        let path = segment_path(&self.dir, self.segment);
        match self.file.look().map_err(JournalError::at(&path, "cannot be looked at"))?.links {
            0 => self.look_after(),
            _ => Ok(()),
        }
    }

    fn folder_is_removed(&self) -> JournalError {
        let what = match self.put_back() {
            Ok(()) => format!(
                "was removed while the node ran: segment {:08}, which was open, was put back with all that was confirmed; earlier \
                 segments are gone",
                self.segment
            ),
            Err(e) => {
                format!("was removed while the node ran, and segment {:08} cannot be put back: {e}", self.segment)
            }
        };
        JournalError::Gone { path: self.dir.clone(), what }
    }

    fn put_back(&self) -> io::Result<()> {
        self.volume.make_folder(&self.dir)?;
        self.dir.parent().map_or(Ok(()), |above| self.volume.sync_folder(above))?;
        self.copy_to(&segment_path(&self.dir, self.segment), &self.dir).map(|_| ())
    }

    /// Whatever stands there now is somebody else's.
    fn folder_is_another(&self) -> JournalError {
        let kept = mend::quarantine(&self.volume, &self.dir).and_then(|folder| {
            let name = format!("{:08}-open.seg", self.segment);
            let free = (0_u32..).map(|i| folder.join(format!("{name}.{i}"))).find(|p| self.volume.look(p).is_err());
            let path = free.ok_or(io::ErrorKind::AlreadyExists)?;
            self.copy_to(&path, &folder)?;
            Ok(path)
        });
        let what = match kept {
            Ok(path) => format!(
                "was replaced by another folder while the node ran: segment {:08}, which was open, is kept as {}",
                self.segment,
                path.display()
            ),
            Err(e) => format!(
                "was replaced by another folder while the node ran, and segment {:08}, which was open, cannot be kept: {e}",
                self.segment
            ),
        };
        JournalError::Gone { path: self.dir.clone(), what }
    }

    /// What the open file holds, durably, as a file of its own.
    pub(super) fn copy_to(&self, path: &Path, folder: &Path) -> io::Result<V::File> {
        let new = path.with_extension("new");
        let file = self.volume.open(&new, Opening::Emptied)?;
        file.set_mode(0o600)?;
        let mut piece = vec![0; 1 << 20];
        let mut from = 0_u64;
        while let Some(left) = self.written.checked_sub(from).filter(|n| *n > 0) {
            // Only the last piece is shorter.
            piece.truncate(usize::try_from(left).unwrap_or(usize::MAX));
            self.file.read_exact_at(&mut piece, from)?;
            file.write_all_at(&piece, from)?;
            from = from.saturating_add(piece.len() as u64);
        }
        file.sync_all()?;
        self.volume.rename(&new, path)?;
        self.volume.sync_folder(folder)?;
        Ok(file)
    }
}
