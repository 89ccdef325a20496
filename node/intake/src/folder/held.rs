//! A folder that is held open. Whatever is done in it goes through its descriptor: a link that is put in its place, or in the
//! place of a file in it, leads nowhere.

use rustix::{
    fs::{self, AtFlags, CWD, FileType, Mode, OFlags, Stat},
    io::Errno,
    process::geteuid,
};
use std::{
    ffi::{OsStr, OsString},
    fmt,
    fs::{DirBuilder, File},
    io,
    os::{
        fd::OwnedFd,
        unix::{ffi::OsStrExt as _, fs::DirBuilderExt as _},
    },
    path::{Path, PathBuf},
    sync::Arc,
};

/// Why a folder is not worked in.
#[derive(Debug, thiserror::Error)]
pub(super) enum PlaceError {
    /// It might lead anywhere.
    #[error("{0:?} is a link, and is not followed: put a folder in its place")]
    Link(PathBuf),
    /// Something else has its name.
    #[error("{0:?} is no folder: put a folder in its place")]
    NoFolder(PathBuf),
    /// The file system's word.
    #[error("{0:?}: {1}")]
    Io(PathBuf, io::Error),
}

/// By what a file is seen to change: its number, its size, and the seconds and nanoseconds of its time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct FileState {
    pub(super) number: u64,
    size: i64,
    time: (i64, u64),
}

/// A regular file with one name, or what else has the name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Found {
    File(FileState),
    /// A link, a folder, a pipe: never read and never moved.
    Other,
    /// A file that has names elsewhere too, where it may be somebody else's.
    Linked,
}

impl Found {
    fn of(stat: &Stat) -> Self {
        if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
            return Self::Other;
        }
        if stat.st_nlink > 1 {
            return Self::Linked;
        }
        let time = (stat.st_mtime, stat.st_mtime_nsec);
        Self::File(FileState { number: stat.st_ino, size: stat.st_size, time })
    }

    /// The state of a file that may be taken.
    pub(super) fn file(self) -> Option<FileState> {
        if let Self::File(state) = self { Some(state) } else { None }
    }
}

/// A folder that is held open.
#[derive(Clone)]
pub(super) struct HeldFolder {
    fd: Arc<OwnedFd>,
    /// For messages only.
    path: PathBuf,
}

impl fmt::Debug for HeldFolder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.path)
    }
}

const FOLDER: OFlags = OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

fn opened(at: impl rustix::fd::AsFd, name: &Path, path: PathBuf) -> Result<HeldFolder, PlaceError> {
    match fs::openat(&at, name, FOLDER, Mode::empty()) {
        Ok(fd) => Ok(HeldFolder { fd: Arc::new(fd), path }),
        Err(e) => Err(match fs::statat(&at, name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(there) => match FileType::from_raw_mode(there.st_mode) {
                FileType::Symlink => PlaceError::Link(path),
                FileType::Directory => PlaceError::Io(path, e.into()),
                _ => PlaceError::NoFolder(path),
            },
            Err(_) => PlaceError::Io(path, e.into()),
        }),
    }
}

impl HeldFolder {
    /// Opens a folder; it is made if nothing is there, with the modes of `mode`.
    pub(super) fn open(path: &Path, mode: u32) -> Result<Self, PlaceError> {
        let failed = |e: io::Error| PlaceError::Io(path.to_owned(), e);
        if std::fs::symlink_metadata(path).is_err_and(|e| e.kind() == io::ErrorKind::NotFound) {
            if let Some(above) = path.parent().filter(|p| !p.as_os_str().is_empty()) {
                DirBuilder::new().recursive(true).mode(0o755).create(above).map_err(failed)?;
            }
            DirBuilder::new().mode(0o700).create(path).map_err(failed)?;
            let made = opened(CWD, path, path.to_owned())?;
            made.allow(mode, None);
            return Ok(made);
        }
        opened(CWD, path, path.to_owned())
    }

    /// Opens a folder in this one; it is made if nothing is there. If it is this process's own, `mode` is allowed to its
    /// group, which is the group of this one. The umask has no say in that.
    pub(super) fn sub(&self, name: &str, mode: u32) -> Result<Self, PlaceError> {
        let path = self.path.join(name);
        match fs::mkdirat(&self.fd, name, Mode::RWXU) {
            Ok(()) | Err(Errno::EXIST) => {}
            Err(e) => return Err(PlaceError::Io(path, e.into())),
        }
        let sub = opened(&self.fd, Path::new(name), path)?;
        sub.allow(mode, fs::fstat(&self.fd).ok().as_ref());
        Ok(sub)
    }

    /// Adds what a mode allows, and takes over the group of the folder above, where this process may do so.
    fn allow(&self, mode: u32, above: Option<&Stat>) {
        allow(&self.fd, &self.path, mode, above);
    }

    /// The same of a file in this folder that was just made.
    pub(super) fn allow_file(&self, file: &File, name: &OsStr, mode: u32) {
        allow(file, &self.path.join(name), mode, fs::fstat(&self.fd).ok().as_ref());
    }

    /// Whether this folder still is what has its name: in the folder above, or at its path.
    pub(super) fn is_in(&self, above: Option<&Self>) -> bool {
        let there = match (above, self.path.file_name()) {
            (Some(above), Some(name)) => fs::statat(&above.fd, name, AtFlags::SYMLINK_NOFOLLOW),
            _ => fs::statat(CWD, &self.path, AtFlags::SYMLINK_NOFOLLOW),
        };
        let here = fs::fstat(&self.fd);
        matches!((there, here), (Ok(a), Ok(b)) if (a.st_dev, a.st_ino) == (b.st_dev, b.st_ino))
    }

    /// Path of a file in it, to be shown.
    pub(super) fn shown(&self, name: &OsStr) -> PathBuf {
        self.path.join(name)
    }

    /// Names of what is in it, sorted.
    pub(super) fn names(&self) -> io::Result<Vec<OsString>> {
        let mut names = Vec::new();
        for entry in fs::Dir::read_from(&self.fd)? {
            let entry = entry?;
            let name = entry.file_name().to_bytes();
            if name != b"." && name != b".." {
                names.push(OsStr::from_bytes(name).to_owned());
            }
        }
        names.sort();
        Ok(names)
    }

    /// What has this name; `None`: nothing.
    pub(super) fn look(&self, name: &OsStr) -> io::Result<Option<Found>> {
        match fs::statat(&self.fd, name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) => Ok(Some(Found::of(&stat))),
            Err(Errno::NOENT) => Ok(None),
            Err(e) => Err(e.into()),
        }
    }

    /// The state of a file that may be taken; `None` also for whatever else has the name.
    pub(super) fn state(&self, name: &OsStr) -> Option<FileState> {
        self.look(name).ok()??.file()
    }

    /// Opens a file that may be taken, with its state. What it is, is asked of the open file.
    pub(super) fn open_file(&self, name: &OsStr) -> io::Result<(File, Found)> {
        // A pipe would be waited for.
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let fd = fs::openat(&self.fd, name, flags, Mode::empty())?;
        let found = Found::of(&fs::fstat(&fd)?);
        Ok((fd.into(), found))
    }

    /// Makes a file anew: what somebody has put there in its place meanwhile is not written through. The group may read it.
    pub(super) fn create_file(&self, name: &OsStr) -> io::Result<File> {
        self.remove(name)?;
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let file = File::from(fs::openat(&self.fd, name, flags, Mode::RUSR | Mode::WUSR)?);
        self.allow_file(&file, name, RECEIPT_MODE);
        Ok(file)
    }

    /// Removes a file, or a link itself; it may be gone already.
    pub(super) fn remove(&self, name: &OsStr) -> io::Result<()> {
        match fs::unlinkat(&self.fd, name, AtFlags::empty()) {
            Ok(()) | Err(Errno::NOENT) => Ok(()),
            Err(e) => Err(e.into()),
        }
    }

    /// Moves a file to another folder that is held open.
    pub(super) fn rename(&self, name: &OsStr, to: &Self, new: &OsStr) -> io::Result<()> {
        Ok(fs::renameat(&self.fd, name, &to.fd, new)?)
    }

    /// Makes the names in it durable.
    pub(super) fn sync(&self) -> io::Result<()> {
        Ok(fs::fsync(&self.fd)?)
    }
}

/// Receipts and rows to correct: their group reads them.
const RECEIPT_MODE: u32 = 0o640;

/// A share may know no modes, and another user's file keeps its own: then its operator has decided.
fn allow(fd: impl rustix::fd::AsFd, path: &Path, mode: u32, above: Option<&Stat>) {
    let Ok(stat) = fs::fstat(&fd) else { return };
    if stat.st_uid != geteuid().as_raw() {
        return;
    }
    let group = above.map(|above| above.st_gid).filter(|group| *group != stat.st_gid);
    let owned = group.map_or(Ok(()), |group| fs::fchown(&fd, None, Some(fs::Gid::from_raw(group))));
    let wanted = (stat.st_mode & 0o7777) | mode;
    let allowed = if wanted == stat.st_mode & 0o7777 { Ok(()) } else { set_mode(&fd, wanted) };
    if let Err(e) = owned.and(allowed) {
        let reason = io::Error::from(e);
        tracing::warn!(event = "folder.group", ?path, %reason, "its group cannot be given the right to it: is the node's user in the group of the drop folder?");
    }
}

/// Where the bit that hands down the group may not be set (`RestrictSUIDSGID=` of systemd), the rest is.
fn set_mode(fd: impl rustix::fd::AsFd, mode: u32) -> rustix::io::Result<()> {
    fs::fchmod(&fd, Mode::from_raw_mode(mode))
        .or_else(|e| fs::fchmod(&fd, Mode::from_raw_mode(mode & 0o777)).and(Err(e)))
}
