//! What a system is short of when a call fails that would work with more of it.
//!
//! Such a failure says nothing about the disk: whoever meets it before a flush goes back to where they were, waits, and tries
//! again. What is done meanwhile is not known here.

use std::{fmt, io};

/// What is wanting.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shortage {
    /// Bytes on the disk, or of the quota.
    Bytes,
    /// Files that the file system can still take.
    Inodes,
    /// Files that the process, or the machine, may still open.
    Descriptors,
}

/// The system's numbers: too many open files, in the machine and in the process.
const ENFILE: i32 = 23;
const EMFILE: i32 = 24;

impl Shortage {
    /// What an error says to be wanting, if that is what it says. The system has one word for bytes and inodes: whoever can
    /// ask the file system tells which.
    pub fn of(error: &io::Error) -> Option<Self> {
        match (error.kind(), error.raw_os_error()) {
            (io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded, _) => Some(Self::Bytes),
            (_, Some(ENFILE | EMFILE)) => Some(Self::Descriptors),
            _ => None,
        }
    }
}

impl fmt::Display for Shortage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Bytes => "free bytes on the disk",
            Self::Inodes => "free inodes on the disk",
            Self::Descriptors => "open files for this process or machine",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_want_of_something_is_a_shortage() {
        let of = |number| Shortage::of(&io::Error::from_raw_os_error(number));
        let (enospc, edquot, eio, erofs) = (28, 122, 5, 30);
        assert_eq!([enospc, edquot].map(of), [Some(Shortage::Bytes); 2]);
        assert_eq!([ENFILE, EMFILE].map(of), [Some(Shortage::Descriptors); 2]);
        assert_eq!([eio, erofs].map(of), [None; 2]);
    }
}
