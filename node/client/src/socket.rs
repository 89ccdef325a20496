//! The admin socket: a Unix socket that only the node's user may open.
//!
//! What lies at its path is removed only where it is a socket that nobody listens at. The kernel allows 107 bytes in a
//! socket's path; longer ones go through `/proc/self/fd` of their folder.

use rustix::fs::{FlockOperation, flock};
use std::{
    fs::{self, File, Permissions},
    io,
    os::{
        fd::AsRawFd,
        unix::{
            fs::{FileTypeExt as _, PermissionsExt},
            net::UnixStream as Probe,
        },
    },
    path::{Path, PathBuf},
};
use tokio::net::{UnixListener, UnixStream};

/// Longest path of a socket, in bytes: `sun_path` of unix(7) without its end.
const PATH_BYTES_MAX: usize = 107;

/// Why a socket cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    /// Something else lies there. It is left as it is.
    #[error("{} is there and is no socket; it is left as it is. Name a path that is free", .0.display())]
    NoSocket(PathBuf),
    /// A process listens there.
    #[error("another process answers at {}", .0.display())]
    InUse(PathBuf),
    /// The file system's word.
    #[error("{0}: {1}")]
    Io(String, io::Error),
}

/// A path of the same file that is short enough, and what keeps it valid.
fn short(path: &Path) -> io::Result<(PathBuf, Option<File>)> {
    if path.as_os_str().len() <= PATH_BYTES_MAX {
        return Ok((path.to_owned(), None));
    }
    let name = path.file_name().ok_or_else(|| io::Error::other("the path has no file name"))?;
    let folder = File::open(folder_of(path))?;
    let short = PathBuf::from(format!("/proc/self/fd/{}", folder.as_raw_fd())).join(name);
    Ok((short, Some(folder)))
}

fn folder_of(path: &Path) -> &Path {
    path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// Whether the path can be this node's: `Some` is what a killed process has left there.
///
/// # Errors
/// [`BindError`]: also when a process listens there, or when what lies there is no socket.
pub fn look(path: &Path) -> Result<Option<LeftSocket>, BindError> {
    let failed = |e: io::Error| BindError::Io(path.display().to_string(), e);
    match fs::symlink_metadata(path) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(e) => Err(failed(e)),
        Ok(there) if !there.file_type().is_socket() => Err(BindError::NoSocket(path.to_owned())),
        Ok(_) => {
            let (short, _folder) = short(path).map_err(failed)?;
            match Probe::connect(short) {
                // Only this says that nobody listens.
                Err(e) if e.kind() == io::ErrorKind::ConnectionRefused => Ok(Some(LeftSocket(()))),
                Ok(_) | Err(_) => Err(BindError::InUse(path.to_owned())),
            }
        }
    }
}

/// A socket that nobody listens at.
#[derive(Debug)]
pub struct LeftSocket(());

/// Binds the socket; one that a killed process left behind is removed.
///
/// # Errors
/// [`BindError`], as of [`look`].
pub fn bind(path: &Path) -> Result<UnixListener, BindError> {
    let failed = |e: io::Error| BindError::Io(path.display().to_string(), e);
    // Two nodes with one path that start together look one after the other.
    let folder = File::open(folder_of(path)).map_err(failed)?;
    flock(&folder, FlockOperation::LockExclusive).map_err(|e| failed(e.into()))?;
    if look(path)?.is_some() {
        fs::remove_file(path).map_err(failed)?;
    }
    let (short, _folder) = short(path).map_err(failed)?;
    let listener = UnixListener::bind(short).map_err(failed)?;
    fs::set_permissions(path, Permissions::from_mode(0o600)).map_err(failed)?;
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

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    fn mode(path: &Path) -> u32 {
        fs::symlink_metadata(path).unwrap().permissions().mode() & 0o777
    }

    /// B03, U5.
    #[tokio::test]
    async fn only_a_socket_that_nobody_listens_at_is_removed() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        fs::write(at("node.key"), "the secret").unwrap();
        fs::create_dir(at("folder")).unwrap();
        symlink(at("node.key"), at("to_key")).unwrap();
        symlink(at("nowhere"), at("to_nothing")).unwrap();
        let live = bind(&at("live")).unwrap();
        symlink(at("live"), at("to_live")).unwrap();
        for name in ["node.key", "folder", "to_key", "to_nothing", "to_live"] {
            assert!(matches!(bind(&at(name)), Err(BindError::NoSocket(_))), "{name}");
        }
        assert_eq!(fs::read_to_string(at("node.key")).unwrap(), "the secret");
        assert!(matches!(bind(&at("live")), Err(BindError::InUse(_))));
        connect(&at("live")).await.unwrap();
        drop(live);
        let again = bind(&at("live")).unwrap();
        assert_eq!(mode(&at("live")), 0o600);
        drop(again);
        assert!(matches!(bind(&at("missing/admin.sock")), Err(BindError::Io(..))));
    }

    #[tokio::test]
    async fn a_path_that_is_too_long_for_the_kernel_is_no_other_socket() {
        let dir = tempfile::tempdir().unwrap();
        let folder = dir.path().join("x".repeat(120));
        fs::create_dir(&folder).unwrap();
        let path = folder.join("admin.sock");
        let live = bind(&path).unwrap();
        assert!(matches!(bind(&path), Err(BindError::InUse(_))));
        drop(live);
        bind(&path).unwrap();
    }
}
