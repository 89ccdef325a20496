//! Files that commands write: whole or not at all. What was there before stays until the new one is on the disk.

use std::{
    ffi::OsString,
    fs::{File, Permissions},
    io::{self, Write as _},
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
};
use tempfile::NamedTempFile;

/// Mode of a new file before the umask of whoever runs the command.
const MODE: u32 = 0o666;
/// Mode of a file that its owner alone may read, from its first byte on.
const PRIVATE: u32 = 0o600;

/// A file that is being written beside the place where it is to be. It goes when it is dropped before [`SavedFile::keep`].
#[derive(Debug)]
pub struct SavedFile(Place);

#[derive(Debug)]
enum Place {
    /// Written beside it, then put in its place.
    Beside(NamedTempFile, PathBuf),
    /// A device or pipe has no place to be put in.
    Through(File),
}

impl SavedFile {
    /// Begins a file. What is there is left alone until [`SavedFile::keep`]; where a link leads to a file, that one is meant.
    ///
    /// # Errors
    /// The file system's.
    pub fn begin(path: &Path) -> io::Result<Self> {
        Self::begin_as(path, None)
    }

    /// The same for what nobody but its owner may read. It has that mode before the first byte is in it, also where others could
    /// read the file that it takes the place of: what is left of a command that was killed is as private.
    ///
    /// # Errors
    /// The file system's.
    pub fn begin_private(path: &Path) -> io::Result<Self> {
        Self::begin_as(path, Some(PRIVATE))
    }

    fn begin_as(path: &Path, mode: Option<u32>) -> io::Result<Self> {
        match path.metadata() {
            Ok(there) if !there.is_file() => Ok(Self(Place::Through(File::options().write(true).open(path)?))),
            Ok(there) => Self::beside(path.canonicalize()?, mode.unwrap_or_else(|| there.permissions().mode() & 0o777)),
            Err(e) if e.kind() == io::ErrorKind::NotFound => Self::beside(path.to_owned(), mode.unwrap_or(MODE)),
            Err(e) => Err(e),
        }
    }

    /// A file of a node's folder, whose owner may have put a link there: the link itself gives way, and what it leads to is left
    /// alone. `is_private`: only its owner may read it.
    ///
    /// # Errors
    /// The file system's.
    pub fn begin_here(path: &Path, is_private: bool) -> io::Result<Self> {
        Self::beside(path.to_owned(), if is_private { PRIVATE } else { MODE })
    }

    /// The file that is written; nothing for a device or pipe.
    pub(crate) fn written(&self) -> Option<&File> {
        match &self.0 {
            Place::Beside(new, _) => Some(new.as_file()),
            Place::Through(_) => None,
        }
    }

    fn beside(place: PathBuf, mode: u32) -> io::Result<Self> {
        let mut start = OsString::from(".");
        start.push(place.file_name().ok_or_else(|| io::Error::other("the path has no file name"))?);
        // With its own ending the name may be too long.
        start = start.to_string_lossy().chars().take(60).collect::<String>().into();
        let folder = place.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let mut new = tempfile::Builder::new();
        new.prefix(&start).suffix(".part").permissions(Permissions::from_mode(mode));
        Ok(Self(Place::Beside(new.tempfile_in(folder)?, place)))
    }

    /// Puts the whole file in its place, over what may be there.
    ///
    /// # Errors
    /// The file system's; then what was there is still there.
    pub fn keep(self) -> io::Result<()> {
        self.put(|new, place| new.persist(place))
    }

    /// The same, where nothing is there yet.
    ///
    /// # Errors
    /// The file system's, also if something is there.
    pub fn keep_new(self) -> io::Result<()> {
        self.put(|new, place| new.persist_noclobber(place))
    }

    fn put(self, persist: impl FnOnce(NamedTempFile, &Path) -> Result<File, tempfile::PersistError>) -> io::Result<()> {
        let Place::Beside(new, place) = self.0 else { return Ok(()) };
        new.as_file().sync_all()?;
        persist(new, &place).map_err(|e| e.error)?;
        let folder = place.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
        File::open(folder)?.sync_all()
    }
}

impl io::Write for SavedFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match &mut self.0 {
            Place::Beside(file, _) => file.write(bytes),
            Place::Through(file) => file.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match &mut self.0 {
            Place::Beside(file, _) => file.flush(),
            Place::Through(file) => file.flush(),
        }
    }
}

/// Writes a file whole or not at all.
///
/// # Errors
/// The file system's; then what was there is still there.
pub fn save(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file = SavedFile::begin(path)?;
    file.write_all(bytes)?;
    file.keep()
}

/// The same for what nobody but its owner may read, see [`SavedFile::begin_private`].
///
/// # Errors
/// As [`save`].
pub fn save_private(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file = SavedFile::begin_private(path)?;
    file.write_all(bytes)?;
    file.keep()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{fs, os::unix::fs::symlink};

    #[test]
    fn the_older_file_stays_until_the_new_one_is_whole() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        fs::write(at("a"), "old").unwrap();
        let mut new = SavedFile::begin(&at("a")).unwrap();
        new.write_all(b"half").unwrap();
        assert_eq!(fs::read_to_string(at("a")).unwrap(), "old");
        drop(new);
        assert_eq!(
            (fs::read_dir(dir.path()).unwrap().count(), fs::read_to_string(at("a")).unwrap()),
            (1, "old".into())
        );
        symlink(at("a"), at("link")).unwrap();
        save(&at("link"), b"new").unwrap();
        assert_eq!(fs::read_to_string(at("a")).unwrap(), "new");
        assert!(fs::symlink_metadata(at("link")).unwrap().is_symlink());
        let mut other = SavedFile::begin(&at("a")).unwrap();
        other.write_all(b"x").unwrap();
        assert!(other.keep_new().is_err());
        assert_eq!(fs::read_to_string(at("a")).unwrap(), "new");
        save(&at("b"), b"b").unwrap();
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 3);
    }

    /// Invitations were readable by everybody for a moment, and for good after a kill in it.
    #[test]
    fn a_private_file_is_private_before_its_first_byte() {
        // For the whole process; no test here is about what a umask takes away.
        rustix::process::umask(rustix::fs::Mode::empty());
        let dir = tempfile::tempdir().unwrap();
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        let only = || {
            let new: Vec<_> = fs::read_dir(dir.path()).unwrap().map(|f| f.unwrap().path()).collect();
            new.into_iter().find(|p| p.extension().is_some_and(|e| e == "part")).unwrap()
        };
        let path = dir.path().join("350102.join");
        fs::write(&path, "of an earlier program").unwrap();
        assert_eq!(mode(&path), 0o666);
        let mut new = SavedFile::begin_private(&path).unwrap();
        assert_eq!(mode(&only()), PRIVATE);
        new.write_all(b"secret").unwrap();
        new.keep().unwrap();
        assert_eq!((mode(&path), fs::read(&path).unwrap()), (PRIVATE, b"secret".to_vec()));
        save_private(&dir.path().join("new"), b"secret").unwrap();
        assert_eq!(mode(&dir.path().join("new")), PRIVATE);
        save(&dir.path().join("open"), b"").unwrap();
        assert_eq!(mode(&dir.path().join("open")), 0o666, "the umask of this test takes nothing away");
    }

    #[test]
    fn a_device_is_written_through_and_a_full_one_is_a_failure() {
        save(Path::new("/dev/null"), b"x").unwrap();
        assert!(save(Path::new("/dev/full"), b"x").is_err());
        assert!(!fs::metadata("/dev/full").unwrap().is_file());
        let missing = tempfile::tempdir().unwrap().path().join("missing/file");
        assert!(save(&missing, b"x").is_err());
    }
}
