//! Putting a damaged place right: its bytes go to the quarantine folder with a note, and frames that say nothing take
//! their place. The records that it held are appended elsewhere, before.

use super::{
    Damage, DamageKind, Journal, JournalError, Opening, Volume, VolumeFile, frame,
    header::{HEADER_BYTES, Header},
    segment_path,
    volume::{length, write_new},
};
use std::{
    io,
    path::{Path, PathBuf},
};

/// Bytes read at once from a damaged place.
const PIECE: usize = 4 << 10;

impl Journal {
    /// Where damaged bytes are kept.
    pub fn quarantine(dir: &Path) -> PathBuf {
        dir.with_file_name("quarantine")
    }
}

impl<V: Volume> Journal<V> {
    /// Nothing may be written to a segment that is mended: if this is the one that is written to, it is sealed now.
    ///
    /// # Errors
    /// [`JournalError`], after which the journal must not be used any more.
    pub fn leave(&mut self, segment: u32) -> Result<(), JournalError> {
        if segment >= self.segment {
            self.rescue()?;
            self.roll()?;
        }
        Ok(())
    }

    /// Puts a damaged place of a sealed segment right; `why` goes into the note. Mending twice does nothing more.
    ///
    /// # Errors
    /// [`JournalError`]: the disk's. The place is then damaged as before, or mended in part.
    pub fn mend(&self, damage: &Damage, why: &str) -> Result<(), JournalError> {
        debug_assert!(damage.segment < self.segment, "see leave()");
        let path = segment_path(&self.dir, damage.segment);
        self.mend_sealed(&path, damage, why).map_err(JournalError::at(&path, "cannot be mended"))
    }

    fn mend_sealed(&self, path: &Path, damage: &Damage, why: &str) -> io::Result<()> {
        let there = self.volume.look(path).ok();
        if !there.is_some_and(|t| t.regular) {
            if there.is_some() {
                set_aside_file(&self.volume, &self.dir, path, why)?;
            }
            let file = self.volume.open(path, Opening::New)?;
            file.write_all_at(&self.header_of(damage.segment)?.encode(), 0)?;
            let told = Header::after(&self.volume, &self.dir, damage.segment)?.map_or(0, |h| h.length_before);
            if let Some(fillers) = frame::fillers(told.saturating_sub(HEADER_BYTES)) {
                file.write_all_at(&fillers, HEADER_BYTES)?;
            }
            file.set_mode(0o400)?;
            file.sync_all()?;
            return self.volume.sync_folder(&self.dir);
        }
        if damage.kind == DamageKind::Missing {
            return Ok(());
        }
        // The owner may write to a sealed segment only while it is mended.
        self.volume.set_mode(path, 0o600)?;
        let file = self.volume.open(path, Opening::Write)?;
        let done = self.fill(&file, damage, why);
        file.set_mode(0o400)?;
        done?;
        file.sync_all()
    }

    /// A header for a segment whose own is lost. The last root of the segment before is not known any more.
    fn header_of(&self, segment: u32) -> io::Result<Header> {
        let before = segment.checked_sub(1).map(|n| segment_path(&self.dir, n));
        let length = before.map_or(Ok(None), |p| length(&self.volume, &p))?.unwrap_or(0);
        Ok(Header::new(&self.owner, segment, length, [0; 32]))
    }

    fn fill(&self, file: &V::File, damage: &Damage, why: &str) -> io::Result<()> {
        let len = file.look()?.len;
        if damage.kind == DamageKind::Header {
            self.set_aside(file, damage, 0, len.min(HEADER_BYTES), why)?;
            file.write_all_at(&self.header_of(damage.segment)?.encode(), 0)?;
            // The next segment says how long this one was; another file may stand here now.
            let told = Header::after(&self.volume, &self.dir, damage.segment)?.map_or(0, |h| h.length_before);
            let len = len.max(HEADER_BYTES);
            return match frame::fillers(told.saturating_sub(len)) {
                Some(fillers) => file.write_all_at(&fillers, len),
                None => Ok(()),
            };
        }
        // A file that was cut within its header has that header again by now: it is not part of the damage any more.
        let start = damage.offset.max(HEADER_BYTES);
        let end = damage.end();
        if start >= end {
            return Ok(());
        }
        if len < HEADER_BYTES {
            file.write_all_at(&self.header_of(damage.segment)?.encode(), 0)?;
        }
        self.set_aside(file, damage, start, end.min(len), why)?;
        let told = Header::after(&self.volume, &self.dir, damage.segment)?.map(|h| h.length_before);
        if end == len && told.is_none_or(|t| t <= start) {
            // Somebody's bytes behind the end.
            return file.set_len(start);
        }
        let fillers = frame::fillers(end.saturating_sub(start));
        let fillers = fillers.ok_or_else(|| io::Error::other("the damaged place is shorter than a frame"))?;
        file.write_all_at(&fillers, start)
    }

    fn set_aside(&self, file: &V::File, damage: &Damage, from: u64, to: u64, why: &str) -> io::Result<()> {
        if from >= to {
            return Ok(());
        }
        let (bytes, unreadable) = read_what_can_be_read(file, from, to);
        let name = format!("{:08}-{from}", damage.segment);
        let note = format!(
            "journal segment {:08}, bytes {from} to {to}: {:?}\n{why}\n{unreadable} of these bytes could not be read and are zeros in the copy\n",
            damage.segment, damage.kind
        );
        keep(&self.volume, &self.dir, &name, &bytes, &note)
    }
}

/// The folder for what is kept aside, made if missing. Its name is durable: what is in it is about to go elsewhere.
pub(super) fn quarantine(volume: &impl Volume, dir: &Path) -> io::Result<PathBuf> {
    let folder = Journal::quarantine(dir);
    volume.make_folder(&folder)?;
    folder.parent().map_or(Ok(()), |above| volume.sync_folder(above))?;
    Ok(folder)
}

/// Keeps bytes and a note beside the journal in `dir`, durably; an earlier copy of the same name stays.
pub(super) fn keep<V: Volume>(volume: &V, dir: &Path, name: &str, bytes: &[u8], note: &str) -> io::Result<()> {
    let folder = quarantine(volume, dir)?;
    let free = |i: &u32| volume.look(&folder.join(format!("{name}.{i}.bin"))).is_err();
    let i = (0..).find(free).unwrap_or(0);
    write_new(volume, &folder.join(format!("{name}.{i}.bin")), bytes)?.sync_all()?;
    write_new(volume, &folder.join(format!("{name}.{i}.txt")), note.as_bytes())?.sync_all()?;
    volume.sync_folder(&folder)
}

pub(super) fn set_aside_file<V: Volume>(volume: &V, dir: &Path, path: &Path, why: &str) -> io::Result<()> {
    let folder = quarantine(volume, dir)?;
    let name = path.file_name().map_or_else(Default::default, |n| n.to_string_lossy().into_owned());
    let target = (0_u32..).map(|i| folder.join(format!("{name}.{i}"))).find(|p| volume.look(p).is_err());
    let Some(target) = target else { return Ok(()) };
    let note = format!("{name} stood in the journal's folder: {why}\n");
    write_new(volume, &target.with_extension("txt"), note.as_bytes())?.sync_all()?;
    volume.rename(path, &target)?;
    volume.sync_folder(&folder)?;
    volume.sync_folder(dir)
}

/// The bytes, with zeros for what the disk refuses, and how many those are.
fn read_what_can_be_read(file: &impl VolumeFile, from: u64, to: u64) -> (Vec<u8>, u64) {
    let mut bytes = vec![0; usize::try_from(to.saturating_sub(from)).unwrap_or(0)];
    let (mut at, mut refused) = (from, 0_u64);
    for piece in bytes.chunks_mut(PIECE) {
        let n = piece.len() as u64;
        if file.read_exact_at(piece, at).is_err() {
            piece.fill(0);
            refused = refused.saturating_add(n);
        }
        at = at.saturating_add(n);
    }
    (bytes, refused)
}
