//! Whose a node's files are: what root makes in a node's folder belongs to whoever the folder belongs to.
//!
//! A node runs as a user of its own, and its operator gives commands with `sudo`. Files of root there would keep the node
//! from starting. The authority's secret is not handed over: the node must not be able to read it.

use std::{
    fs::{self, File},
    io,
    os::unix::fs::{DirBuilderExt as _, MetadataExt as _, fchown, lchown},
    path::Path,
};

/// User and group, as numbers of the system.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FolderOwner {
    /// The user's.
    pub uid: u32,
    /// The group's.
    pub gid: u32,
}

impl FolderOwner {
    /// Who owns this file or folder; where a link leads to one, that one is meant.
    ///
    /// # Errors
    /// The file system's.
    pub fn of(path: &Path) -> io::Result<Self> {
        let there = fs::metadata(path)?;
        Ok(Self { uid: there.uid(), gid: there.gid() })
    }

    /// The owner, if root asks and it is somebody else.
    ///
    /// # Errors
    /// The file system's.
    pub fn other_than_root(path: &Path) -> io::Result<Option<Self>> {
        if !rustix::process::geteuid().is_root() {
            return Ok(None);
        }
        Ok(Some(Self::of(path)?).filter(|owner| owner.uid != 0))
    }
}

fn folder_of(path: &Path) -> &Path {
    path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// Gives a file or folder that this command has just made to the owner of the folder in which it lies. Only root can, and for others nothing
/// is to be done. A link is given away itself, never what it leads to.
///
/// # Errors
/// The file system's.
pub fn hand_over(made: &Path) -> io::Result<()> {
    match FolderOwner::other_than_root(folder_of(made))? {
        Some(owner) => lchown(made, Some(owner.uid), Some(owner.gid)),
        None => Ok(()),
    }
}

/// Makes a folder and what is missing above it, all of this owner if one is given; what is there already stays as it is.
///
/// # Errors
/// The file system's.
pub fn make_folder(folder: &Path, mode: u32, owner: Option<FolderOwner>) -> io::Result<()> {
    if folder.as_os_str().is_empty() || folder.is_dir() {
        return Ok(());
    }
    make_folder(folder_of(folder), mode, owner)?;
    fs::DirBuilder::new().mode(mode).create(folder)?;
    owner.map_or(Ok(()), |o| lchown(folder, Some(o.uid), Some(o.gid)))
}

/// The same for a file that is still open, which nobody can have exchanged meanwhile.
///
/// # Errors
/// The file system's.
pub fn hand_over_open(made: &File, path: &Path) -> io::Result<()> {
    match FolderOwner::other_than_root(folder_of(path))? {
        Some(owner) => fchown(made, Some(owner.uid), Some(owner.gid)),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::keyfile::{self, SecretKind};

    /// Any user but root, and any group but root's.
    const SOMEBODY: FolderOwner = FolderOwner { uid: 7_441, gid: 7_442 };

    fn owner(path: &Path) -> FolderOwner {
        FolderOwner::of(path).unwrap()
    }

    /// B04: a node could not read the key that its operator had made as root.
    #[test]
    fn what_root_makes_in_a_nodes_folder_is_the_nodes_but_for_the_authoritys_secret() {
        let dir = tempfile::tempdir().unwrap();
        let own = owner(dir.path());
        let root = rustix::process::geteuid().is_root();
        if root {
            std::os::unix::fs::chown(dir.path(), Some(SOMEBODY.uid), Some(SOMEBODY.gid)).unwrap();
        }
        let expected = if root { SOMEBODY } else { own };
        let at = |name: &str| dir.path().join(name);
        keyfile::create(&at("keys/node.key"), SecretKind::Node).unwrap();
        keyfile::leave_first_start(&at("keys/node.key")).unwrap();
        keyfile::create(&at("authority.key"), SecretKind::Authority).unwrap();
        fs::write(at("tally.toml"), "").unwrap();
        hand_over(&at("tally.toml")).unwrap();
        for name in ["keys", "keys/node.key", "keys/first-start", "tally.toml"] {
            assert_eq!(owner(&at(name)), expected, "{name}");
        }
        assert_eq!(owner(&at("authority.key")), own);
        assert_eq!(FolderOwner::other_than_root(dir.path()).unwrap(), root.then_some(SOMEBODY));
        assert_eq!(FolderOwner::other_than_root(Path::new("/")).unwrap(), None);
        assert!(hand_over(&at("missing/file")).is_err() || !root);
    }

    #[test]
    fn folders_that_are_missing_are_made_and_others_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        let (above, folder) = (dir.path().join("a"), dir.path().join("a/b"));
        let (before, given) = (owner(dir.path()), rustix::process::geteuid().is_root().then_some(SOMEBODY));
        make_folder(&folder, 0o750, given).unwrap();
        make_folder(&folder, 0o700, None).unwrap();
        assert_eq!(fs::metadata(&folder).unwrap().mode() & 0o777, 0o750);
        assert_eq!((owner(&above), owner(&folder)), (given.unwrap_or(before), given.unwrap_or(before)));
        assert_eq!(owner(dir.path()), before);
    }

    /// Whoever owns the folder could have put a link there.
    #[test]
    fn a_link_is_handed_over_and_not_what_it_leads_to() {
        let (dir, elsewhere) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let (file, link) = (elsewhere.path().join("file"), dir.path().join("link"));
        fs::write(&file, "").unwrap();
        let before = owner(&file);
        if rustix::process::geteuid().is_root() {
            std::os::unix::fs::chown(dir.path(), Some(SOMEBODY.uid), Some(SOMEBODY.gid)).unwrap();
        }
        std::os::unix::fs::symlink(&file, &link).unwrap();
        hand_over(&link).unwrap();
        assert_eq!(owner(&file), before);
        assert_eq!(fs::symlink_metadata(&link).unwrap().uid(), owner(dir.path()).uid);
    }
}
