//! The system's files, as far as the journal needs them: every call that it makes goes through here.
//!
//! The contract is what a careful reader of POSIX may rely on, and no more: a write is durable when a flush of its file
//! that began later has returned without error; a name is durable when its folder was flushed. After a flush that
//! failed nothing is known of the bytes that it was for, not even after one that succeeds. What must not be here: frames,
//! segments, rules.

use std::{
    ffi::OsString,
    fmt::Debug,
    fs::{self, File, OpenOptions, Permissions},
    io,
    os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt, PermissionsExt},
    path::Path,
};

/// How a file is opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Opening {
    /// To read it; it must be there.
    Read,
    /// To read and write it; it must be there.
    Write,
    /// To read and write it, for the owner alone; it must not be there.
    New,
    /// To read and write it, made if missing, emptied if not.
    Emptied,
}

/// What a look at a file tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FileLook {
    /// Length in bytes.
    pub len: u64,
    /// Which file it is, whatever its name: device and number.
    pub identity: (u64, u64),
    /// A file, no folder and no link.
    pub regular: bool,
    /// Names that it has: none, once it was removed while it is open.
    pub links: u64,
}

/// A file system.
pub trait Volume: Clone + Debug + Send + Sync + 'static {
    /// An open file.
    type File: VolumeFile;

    /// Opens a file. A file that was made has its name on disk after [`Self::sync_folder`] only.
    ///
    /// # Errors
    /// The system's.
    fn open(&self, path: &Path, how: Opening) -> io::Result<Self::File>;

    /// What stands at `path`; links are not followed.
    ///
    /// # Errors
    /// The system's; not found, if nothing does.
    fn look(&self, path: &Path) -> io::Result<FileLook>;

    /// Names in a folder, in no order.
    ///
    /// # Errors
    /// The system's.
    fn list(&self, folder: &Path) -> io::Result<Vec<OsString>>;

    /// Makes a folder and those above it that are missing. Each is durable once the one above it was flushed.
    ///
    /// # Errors
    /// The system's; that it is there already is none.
    fn make_folder(&self, folder: &Path) -> io::Result<()>;

    /// Makes the names in `folder` durable as they are now. What the files hold is another matter.
    ///
    /// # Errors
    /// The system's; then nothing is known of them.
    fn sync_folder(&self, folder: &Path) -> io::Result<()>;

    /// Gives a file another name, whatever stood there before: after a crash it has the one or the other. Durable once
    /// the folder was flushed.
    ///
    /// # Errors
    /// The system's.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;

    /// Removes a file's name. Durable once its folder was flushed.
    ///
    /// # Errors
    /// The system's.
    fn remove(&self, path: &Path) -> io::Result<()>;

    /// Sets who may read and write a file. Durable once the file was flushed whole.
    ///
    /// # Errors
    /// The system's.
    fn set_mode(&self, path: &Path, mode: u32) -> io::Result<()>;
}

/// An open file. It stays open under whatever name, or none.
pub trait VolumeFile: Debug + Send + Sync {
    /// What it is now.
    ///
    /// # Errors
    /// The system's.
    fn look(&self) -> io::Result<FileLook>;

    /// Reads exactly as many bytes as `bytes` takes: what was written last, durable or not.
    ///
    /// # Errors
    /// The system's; an early end of the file is one.
    fn read_exact_at(&self, bytes: &mut [u8], offset: u64) -> io::Result<()>;

    /// Writes all bytes. Until a flush returns, any part of them may be lost, in any order.
    ///
    /// # Errors
    /// The system's; any part may have been written.
    fn write_all_at(&self, bytes: &[u8], offset: u64) -> io::Result<()>;

    /// Cuts the file, or makes it longer with zeros. Durable after a flush.
    ///
    /// # Errors
    /// The system's.
    fn set_len(&self, len: u64) -> io::Result<()>;

    /// Sets who may read and write it. Durable after [`Self::sync_all`].
    ///
    /// # Errors
    /// The system's.
    fn set_mode(&self, mode: u32) -> io::Result<()>;

    /// Makes what was written durable, and as much of the length as is needed to read it.
    ///
    /// # Errors
    /// The system's; then none of what was written since the last flush may be relied on, now or later.
    fn sync_data(&self) -> io::Result<()>;

    /// The same, and everything that is known of the file except its name.
    ///
    /// # Errors
    /// As for [`Self::sync_data`].
    fn sync_all(&self) -> io::Result<()>;
}

/// The file system of the machine.
#[derive(Debug, Clone, Copy, Default)]
pub struct System;

impl Volume for System {
    type File = File;

    fn open(&self, path: &Path, how: Opening) -> io::Result<File> {
        let mut options = OpenOptions::new();
        match how {
            Opening::Read => options.read(true),
            Opening::Write => options.read(true).write(true),
            Opening::New => options.read(true).write(true).create_new(true).mode(0o600),
            Opening::Emptied => options.read(true).write(true).create(true).truncate(true),
        };
        options.open(path)
    }

    fn look(&self, path: &Path) -> io::Result<FileLook> {
        Ok(look(&fs::symlink_metadata(path)?))
    }

    fn list(&self, folder: &Path) -> io::Result<Vec<OsString>> {
        fs::read_dir(folder)?.map(|entry| Ok(entry?.file_name())).collect()
    }

    fn make_folder(&self, folder: &Path) -> io::Result<()> {
        fs::create_dir_all(folder)
    }

    fn sync_folder(&self, folder: &Path) -> io::Result<()> {
        File::open(folder)?.sync_all()
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        fs::remove_file(path)
    }

    fn set_mode(&self, path: &Path, mode: u32) -> io::Result<()> {
        fs::set_permissions(path, Permissions::from_mode(mode))
    }
}

impl VolumeFile for File {
    fn look(&self) -> io::Result<FileLook> {
        Ok(look(&self.metadata()?))
    }

    fn read_exact_at(&self, bytes: &mut [u8], offset: u64) -> io::Result<()> {
        FileExt::read_exact_at(self, bytes, offset)
    }

    fn write_all_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        FileExt::write_all_at(self, bytes, offset)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        Self::set_len(self, len)
    }

    fn set_mode(&self, mode: u32) -> io::Result<()> {
        self.set_permissions(Permissions::from_mode(mode))
    }

    fn sync_data(&self) -> io::Result<()> {
        Self::sync_data(self)
    }

    fn sync_all(&self) -> io::Result<()> {
        Self::sync_all(self)
    }
}

fn look(metadata: &fs::Metadata) -> FileLook {
    let identity = (metadata.dev(), metadata.ino());
    FileLook { len: metadata.len(), identity, regular: metadata.is_file(), links: metadata.nlink() }
}

/// The file at `path`, if there is one. One that cannot be opened is an error: it says nothing of what is there.
pub(super) fn open_to_read<V: Volume>(volume: &V, path: &Path) -> io::Result<Option<V::File>> {
    match volume.open(path, Opening::Read) {
        Ok(file) => Ok(Some(file)),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(e) => Err(e),
    }
}

/// Length of the file at `path`, if there is one.
pub(super) fn length<V: Volume>(volume: &V, path: &Path) -> io::Result<Option<u64>> {
    open_to_read(volume, path)?.map(|file| Ok(file.look()?.len)).transpose()
}

/// Makes a file of these bytes, whatever stood there before. Nothing of it is flushed.
pub(super) fn write_new<V: Volume>(volume: &V, path: &Path, bytes: &[u8]) -> io::Result<V::File> {
    let file = volume.open(path, Opening::Emptied)?;
    file.write_all_at(bytes, 0)?;
    Ok(file)
}
