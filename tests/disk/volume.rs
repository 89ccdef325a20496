//! The volume that the journal is given: it records, counts its calls, fails where it is told to, and loses power.

use crate::media::{Leave, Media, Name, Stored};
use std::{
    ffi::OsString,
    io,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};
use tally_journal::{FileLook, Opening, Volume, VolumeFile};
use tally_tests::rng::Rng;

/// What a call does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Doing {
    /// Opens or makes a file or a folder.
    Open,
    /// Writes or cuts a file.
    Write,
    /// Flushes a file or a folder.
    Flush,
    /// Renames or removes, or says who may write.
    Change,
}

/// Calls that are to fail.
#[derive(Debug, Clone, Copy)]
pub struct Fault {
    pub doing: Doing,
    /// So many of these calls work before.
    pub after: u64,
    /// So many of them fail then.
    pub times: u64,
    /// The system's number of the error.
    pub error: i32,
    /// A flush that fails takes along what the disk had of the pages that it was for.
    pub destroys: bool,
}

pub const EIO: i32 = 5;
pub const ENOSPC: i32 = 28;
pub const EMFILE: i32 = 24;
pub const EDQUOT: i32 = 122;
/// The process is killed before the call: nothing is done, and nothing is lost by it.
pub const KILLED: i32 = 4;

#[derive(Debug)]
struct State {
    media: Media,
    calls: u64,
    off_at: Option<u64>,
    off: bool,
    /// The process was killed: until the next one begins nothing is done any more.
    killed: bool,
    fault: Option<Fault>,
    failed: u64,
    rng: Rng,
}

/// A disk in memory. Clones are the same disk.
#[derive(Debug, Clone)]
pub struct RecordingVolume {
    state: Arc<Mutex<State>>,
}

/// An open file of it.
#[derive(Debug)]
pub struct RecordedFile {
    volume: RecordingVolume,
    number: u64,
}

fn no_power() -> io::Error {
    io::Error::other("no power")
}

impl State {
    /// One call more. `Ok(false)`: the power goes in the middle of it, so it is begun and not ended.
    fn call(&mut self, doing: Doing) -> io::Result<bool> {
        if self.off {
            return Err(no_power());
        }
        if self.killed {
            return Err(io::Error::from_raw_os_error(KILLED));
        }
        self.calls += 1;
        if let Some(fault) = self.fault.as_mut().filter(|f| f.doing == doing && f.times > 0) {
            if fault.after == 0 {
                fault.times -= 1;
                self.failed += 1;
                self.killed = fault.error == KILLED;
                return Err(io::Error::from_raw_os_error(fault.error));
            }
            fault.after -= 1;
        }
        self.off = self.off_at.is_some_and(|n| self.calls > n);
        Ok(!self.off)
    }

    /// What a call answers that may be its last.
    fn done<T>(&self, value: T) -> io::Result<T> {
        if self.off { Err(no_power()) } else { Ok(value) }
    }

    fn name(&self, path: &Path) -> io::Result<Name> {
        if self.off {
            return Err(no_power());
        }
        self.media.names.get(path).copied().ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    fn file(&mut self, number: u64) -> &mut Stored {
        self.media.files.get_mut(&number).expect("an open file is kept")
    }
}

impl RecordingVolume {
    pub fn new(media: Media, seed: u64) -> Self {
        let rng = Rng(seed ^ 0x0da7_a0d1);
        let state = State { media, calls: 0, off_at: None, off: false, killed: false, fault: None, failed: 0, rng };
        Self { state: Arc::new(Mutex::new(state)) }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The power goes in the middle of the call after the next `calls`.
    pub fn power_off_after(&self, calls: u64) {
        let mut state = self.state();
        state.off_at = Some(state.calls + calls);
    }

    pub fn has_power(&self) -> bool {
        !self.state().off
    }

    pub fn fail(&self, fault: Option<Fault>) {
        self.state().fault = fault;
    }

    /// A process begins.
    pub fn begin(&self) {
        self.state().killed = false;
    }

    /// How many calls were made to fail.
    pub fn failed(&self) -> u64 {
        self.state().failed
    }

    /// How many calls there were.
    pub fn calls(&self) -> u64 {
        self.state().calls
    }

    /// A copy of what is there.
    pub fn media(&self) -> Media {
        self.state().media.clone()
    }

    /// What a crash now leaves: image `number` of all that it may leave. 0 has nothing that was not flushed, 1 all.
    pub fn image(&self, seed: u64, number: u64) -> Media {
        let mut rng = Rng(seed.wrapping_mul(0x9e37_79b9).wrapping_add(number));
        let how = match number {
            0 => Leave::Nothing,
            1 => Leave::Everything,
            _ => Leave::Some,
        };
        self.state().media.image(how, &mut rng)
    }

    fn open_number(&self, path: &Path, how: Opening) -> io::Result<u64> {
        let mut state = self.state();
        let there = state.name(path);
        match (how, there) {
            (_, Ok(Name::Folder)) => Err(io::ErrorKind::IsADirectory.into()),
            (Opening::Read, found) => match found? {
                Name::File(number) => Ok(number),
                Name::Folder => Err(io::ErrorKind::IsADirectory.into()),
            },
            (Opening::New, Ok(_)) => Err(io::ErrorKind::AlreadyExists.into()),
            (Opening::Write | Opening::Emptied, Ok(Name::File(number))) => {
                state.call(Doing::Open)?;
                if state.file(number).mode & 0o200 == 0 {
                    return Err(io::ErrorKind::PermissionDenied.into());
                }
                if how == Opening::Emptied {
                    state.file(number).set_len(0);
                }
                state.done(number)
            }
            (Opening::Write, Err(e)) => Err(e),
            (Opening::New | Opening::Emptied, Err(_)) => {
                if !path.parent().is_some_and(|p| state.media.names.contains_key(p)) {
                    return Err(io::ErrorKind::NotFound.into());
                }
                state.call(Doing::Open)?;
                let number = state.media.make_file(path);
                state.done(number)
            }
        }
    }
}

impl Volume for RecordingVolume {
    type File = RecordedFile;

    fn open(&self, path: &Path, how: Opening) -> io::Result<RecordedFile> {
        let number = self.open_number(path, how)?;
        Ok(RecordedFile { volume: self.clone(), number })
    }

    fn look(&self, path: &Path) -> io::Result<FileLook> {
        let mut state = self.state();
        match state.name(path)? {
            Name::Folder => Ok(FileLook { len: 0, identity: (1, 0), regular: false, links: 2 }),
            Name::File(number) => {
                let len = state.file(number).cache.len() as u64;
                Ok(FileLook { len, identity: (1, number), regular: true, links: 1 })
            }
        }
    }

    fn list(&self, folder: &Path) -> io::Result<Vec<OsString>> {
        let state = self.state();
        state.name(folder)?;
        let within = state.media.names.keys().filter(|p| p.parent() == Some(folder));
        Ok(within.filter_map(|p| Some(p.file_name()?.to_owned())).collect())
    }

    fn make_folder(&self, folder: &Path) -> io::Result<()> {
        let mut state = self.state();
        let missing: Vec<PathBuf> =
            folder.ancestors().take_while(|p| !state.media.names.contains_key(*p)).map(Path::to_owned).collect();
        for path in missing.iter().rev() {
            state.call(Doing::Open)?;
            state.media.make_folder(path);
        }
        state.done(())
    }

    fn sync_folder(&self, folder: &Path) -> io::Result<()> {
        let mut state = self.state();
        state.name(folder)?;
        if state.call(Doing::Flush)? {
            state.media.flush_folder(folder);
        }
        state.done(())
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut state = self.state();
        let name = state.name(from)?;
        state.call(Doing::Change)?;
        state.media.rename(from, to, name);
        state.done(())
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        let mut state = self.state();
        state.name(path)?;
        state.call(Doing::Change)?;
        state.media.remove(path);
        state.done(())
    }

    fn set_mode(&self, path: &Path, mode: u32) -> io::Result<()> {
        self.open(path, Opening::Read)?.set_mode(mode)
    }
}

impl RecordedFile {
    fn flush(&self) -> io::Result<()> {
        let mut state = self.volume.state();
        match state.call(Doing::Flush) {
            Ok(ends) => {
                if ends {
                    state.file(self.number).flush();
                }
                state.done(())
            }
            Err(e) => {
                if !state.off && e.raw_os_error() != Some(KILLED) {
                    let (mut rng, destroys) = (state.rng.clone(), state.fault.is_some_and(|f| f.destroys));
                    state.file(self.number).fail_flush(&mut rng, destroys);
                    state.rng = rng;
                }
                Err(e)
            }
        }
    }
}

impl VolumeFile for RecordedFile {
    fn look(&self) -> io::Result<FileLook> {
        let mut state = self.volume.state();
        if state.off {
            return Err(no_power());
        }
        let len = state.file(self.number).cache.len() as u64;
        let links = state.media.names.values().filter(|n| **n == Name::File(self.number)).count() as u64;
        Ok(FileLook { len, identity: (1, self.number), regular: true, links })
    }

    fn read_exact_at(&self, bytes: &mut [u8], offset: u64) -> io::Result<()> {
        let mut state = self.volume.state();
        if state.off {
            return Err(no_power());
        }
        let (from, n) = (offset as usize, bytes.len());
        let there = state.file(self.number).cache.get(from..from + n);
        bytes.copy_from_slice(there.ok_or(io::ErrorKind::UnexpectedEof)?);
        Ok(())
    }

    fn write_all_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        let mut state = self.volume.state();
        if let Err(e) = state.call(Doing::Write) {
            if !state.off {
                // A short write, and then the error.
                let part = state.rng.below(bytes.len() as u64 + 1) as usize;
                state.file(self.number).write(offset as usize, &bytes[..part]);
            }
            return Err(e);
        }
        state.file(self.number).write(offset as usize, bytes);
        state.done(())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        let mut state = self.volume.state();
        state.call(Doing::Write)?;
        state.file(self.number).set_len(len as usize);
        state.done(())
    }

    fn set_mode(&self, mode: u32) -> io::Result<()> {
        let mut state = self.volume.state();
        state.call(Doing::Change)?;
        state.file(self.number).mode = mode;
        state.done(())
    }

    fn sync_data(&self) -> io::Result<()> {
        self.flush()
    }

    fn sync_all(&self) -> io::Result<()> {
        self.flush()
    }
}
