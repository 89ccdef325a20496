//! The admin socket: a Unix socket that only the node's user may open.
//!
//! The kernel allows 107 bytes in a socket's path; longer ones go through `/proc/self/fd` of their folder.

use std::{
    fs::{self, File, Permissions},
    io,
    os::{fd::AsRawFd, unix::fs::PermissionsExt},
    path::{Path, PathBuf},
};
use tokio::net::{UnixListener, UnixStream};

const PATH_BYTES_MAX: usize = 107;

/// A path of the same file that is short enough, and what keeps it valid.
fn short(path: &Path) -> io::Result<(PathBuf, Option<File>)> {
    if path.as_os_str().len() <= PATH_BYTES_MAX {
        return Ok((path.to_owned(), None));
    }
    let name = path.file_name().ok_or_else(|| io::Error::other("the path has no file name"))?;
    let folder = File::open(path.parent().unwrap_or(Path::new(".")))?;
    let short = PathBuf::from(format!("/proc/self/fd/{}", folder.as_raw_fd())).join(name);
    Ok((short, Some(folder)))
}

/// Binds the socket; what a killed process left behind is removed. The caller holds the node's lock.
///
/// # Errors
/// When the folder is missing or not writable.
pub fn bind(path: &Path) -> io::Result<UnixListener> {
    match fs::remove_file(path) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(e),
        _ => {}
    }
    let (short, _folder) = short(path)?;
    let listener = UnixListener::bind(short)?;
    fs::set_permissions(path, Permissions::from_mode(0o600))?;
    Ok(listener)
}

/// Connects to a node's socket.
///
/// # Errors
/// When no node listens there.
pub async fn connect(path: &Path) -> io::Result<UnixStream> {
    let (short, _folder) = short(path)?;
    UnixStream::connect(short).await
}
