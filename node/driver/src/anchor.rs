//! The anchor of a node that carries by file: how far its own log has got, kept on another file system than its data.
//!
//! Nobody above can be asked whether this disk is an old copy. The anchor can: it is written and synced after each flush of
//! the own log and before anybody hears of it, so a disk that has less than it says was set back. A node with a link has
//! none while it runs, and leaves one at a clean stop. It is lines of text: log, size, root.

#![expect(clippy::disallowed_methods, reason = "read before the node serves, written on the driver's own thread")]

use std::{
    fs::{self, File},
    io::{self, Write as _},
    path::{Path, PathBuf},
};
use tally_protocol::{hash::Hash, ids::LogId, merkle::Tree};

const FIRST_LINE: &str = "tally anchor 1";

/// The file.
#[derive(Debug, Clone)]
pub struct Anchor {
    path: PathBuf,
    log: LogId,
    /// The size that the file says, if it says one of this log.
    kept: Option<u64>,
    /// There is a link: it is written at the stop only.
    linked: bool,
}

/// Why an anchor cannot be read or written.
#[derive(Debug, thiserror::Error)]
pub enum AnchorError {
    /// The disk.
    #[error("{path}: {action}")]
    Disk {
        /// The file.
        path: PathBuf,
        /// What failed.
        action: &'static str,
        /// How.
        #[source]
        source: io::Error,
    },
    /// It is not what this program writes.
    #[error("{0}: this is no anchor of a node; put the right file back, or open the gate by hand (tally gate open)")]
    Malformed(PathBuf),
}

impl Anchor {
    /// Reads the anchor of `log`: the file, and what it says of how far the log had got. `None`: there is no file. An anchor of
    /// an earlier epoch says nothing of this one, nor does one of a later epoch, which the charter at hand does not know yet (a disk
    /// that was lost, with the charter's file of then).
    ///
    /// # Errors
    /// [`AnchorError`].
    pub fn open(path: &Path, log: LogId) -> Result<(Self, Option<(u64, Hash)>), AnchorError> {
        let anchor = Self { path: path.to_owned(), log, kept: None, linked: false };
        let text = match fs::read_to_string(path) {
            Ok(text) => text,
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok((anchor, None)),
            Err(e) => return Err(anchor.failed("cannot be read", e)),
        };
        let said = parse(&text).ok_or_else(|| AnchorError::Malformed(path.to_owned()))?;
        let (of, size, root) = said;
        if of == log {
            return Ok((Self { kept: Some(size), ..anchor }, Some((size, root))));
        }
        if of.division != log.division {
            return Err(AnchorError::Malformed(path.to_owned()));
        }
        let nothing = (of.epoch < log.epoch).then(|| (0, Tree::default().root()));
        Ok((anchor, nothing))
    }

    /// The anchor of a node with a link: the file goes, because the log grows without it.
    ///
    /// # Errors
    /// [`AnchorError`].
    pub fn while_linked(self) -> Result<Self, AnchorError> {
        match fs::remove_file(&self.path) {
            Ok(()) => self.sync_folder()?,
            // Where its folder is not there, neither is the file, now or after a power cut.
            Err(e) if e.kind() == io::ErrorKind::NotFound => {}
            Err(e) => return Err(self.failed("cannot be removed", e)),
        }
        Ok(Self { kept: None, linked: true, ..self })
    }

    /// Whether it is written at the stop only.
    pub fn is_linked(&self) -> bool {
        self.linked
    }

    /// Keeps how far the log has got, if that is news. It is on the other disk when this returns.
    ///
    /// # Errors
    /// [`AnchorError`].
    pub fn keep(&mut self, size: u64, root: &Hash) -> Result<(), AnchorError> {
        if self.kept == Some(size) {
            return Ok(());
        }
        let new = self.path.with_extension("new");
        let text = format!("{FIRST_LINE}\n{}\n{size}\n{root}\n", self.log);
        let written = File::create(&new).and_then(|mut file| {
            file.write_all(text.as_bytes())?;
            file.sync_all()
        });
        written.map_err(|e| self.failed("cannot be written", e))?;
        fs::rename(&new, &self.path).map_err(|e| self.failed("cannot be put in place", e))?;
        self.sync_folder()?;
        self.kept = Some(size);
        Ok(())
    }

    fn sync_folder(&self) -> Result<(), AnchorError> {
        let folder = self.path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
        File::open(folder).and_then(|f| f.sync_all()).map_err(|e| self.failed("its folder cannot be synced", e))
    }

    fn failed(&self, action: &'static str, source: io::Error) -> AnchorError {
        AnchorError::Disk { path: self.path.clone(), action, source }
    }
}

fn parse(text: &str) -> Option<(LogId, u64, Hash)> {
    let mut lines = text.lines();
    if lines.next()? != FIRST_LINE {
        return None;
    }
    let said = (lines.next()?.parse().ok()?, lines.next()?.parse().ok()?, lines.next()?.parse().ok()?);
    lines.next().is_none().then_some(said)
}

#[cfg(test)]
mod tests {
    use super::*;
    use tally_protocol::hash::sha256;

    #[test]
    fn an_anchor_says_what_was_kept_last() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("350102.anchor");
        let log: LogId = "350102/e1".parse().unwrap();
        let (mut anchor, said) = Anchor::open(&path, log).unwrap();
        assert_eq!(said, None);
        let root = sha256(&[b"x"]);
        anchor.keep(7, &root).unwrap();
        assert_eq!(Anchor::open(&path, log).unwrap().1, Some((7, root)));
        let next: LogId = "350102/e2".parse().unwrap();
        assert_eq!(Anchor::open(&path, next).unwrap().1, Some((0, Tree::default().root())));
        anchor = Anchor::open(&path, next).unwrap().0;
        anchor.keep(9, &root).unwrap();
        assert_eq!(Anchor::open(&path, log).unwrap().1, None, "the charter of now does not know that epoch");
        let other: LogId = "350103/e1".parse().unwrap();
        assert!(matches!(Anchor::open(&path, other), Err(AnchorError::Malformed(_))));
        fs::write(&path, "tally anchor 1\n350102/e1\nmany\n").unwrap();
        assert!(matches!(Anchor::open(&path, log), Err(AnchorError::Malformed(_))));
    }
}
