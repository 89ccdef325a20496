//! What a disk holds, beside what processes see of it.
//!
//! A file has two contents: the cached one, which every read shows, and the one on the disk. Between them stand the
//! writes since the last flush. Names have the same two sides. A crash leaves any mixture that the contract of
//! [`tally_journal::Volume`] allows: [`Media::image`] builds it. What must not be here: calls, errors, rules.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
};
use tally_tests::rng::Rng;

/// Bytes that are written back together.
const PAGE: usize = 4_096;
/// Bytes that a disk writes whole or not at all.
const SECTOR: usize = 512;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Name {
    Folder,
    File(u64),
}

#[derive(Debug, Clone)]
enum Change {
    Write(usize, Vec<u8>),
    Len(usize),
}

#[derive(Debug, Clone)]
enum NameChange {
    Put(PathBuf, Name),
    Drop(PathBuf),
    Move(PathBuf, PathBuf, Name),
}

impl NameChange {
    fn is_in(&self, folder: &Path) -> bool {
        match self {
            Self::Put(path, _) | Self::Drop(path) => path.parent() == Some(folder),
            Self::Move(from, to, _) => [from, to].iter().any(|p| p.parent() == Some(folder)),
        }
    }

    fn apply(&self, names: &mut BTreeMap<PathBuf, Name>) {
        match self {
            Self::Put(path, name) => _ = names.insert(path.clone(), *name),
            Self::Drop(path) => _ = names.remove(path),
            Self::Move(from, to, name) => {
                if names.get(from) == Some(name) {
                    names.remove(from);
                }
                names.insert(to.clone(), *name);
            }
        }
    }
}

/// One file, under whatever name.
#[derive(Debug, Clone, Default)]
pub struct Stored {
    pub cache: Vec<u8>,
    pub mode: u32,
    disk: Vec<u8>,
    changes: Vec<Change>,
    /// Pages whose write-back failed: clean in the cache, and not on the disk.
    lost: BTreeSet<usize>,
    /// They stay lost even if they are written again: the file system keeps the extent as never written.
    poisoned: bool,
}

fn apply(change: &Change, bytes: &mut Vec<u8>) {
    match change {
        Change::Write(at, new) => {
            let end = at + new.len();
            bytes.resize(bytes.len().max(end), 0);
            bytes[*at..end].copy_from_slice(new);
        }
        Change::Len(len) => bytes.resize(*len, 0),
    }
}

/// A page of `bytes`, with zeros for what is not there.
fn page(bytes: &[u8], number: usize) -> [u8; PAGE] {
    let mut out = [0; PAGE];
    let there = bytes.get(number * PAGE..).unwrap_or_default();
    let there = &there[..there.len().min(PAGE)];
    out[..there.len()].copy_from_slice(there);
    out
}

fn put_page(bytes: &mut [u8], number: usize, page: &[u8; PAGE]) {
    if let Some(there) = bytes.get_mut(number * PAGE..) {
        let n = there.len().min(PAGE);
        there[..n].copy_from_slice(&page[..n]);
    }
}

impl Stored {
    pub fn write(&mut self, at: usize, bytes: &[u8]) {
        self.change(Change::Write(at, bytes.to_vec()));
    }

    pub fn set_len(&mut self, len: usize) {
        self.change(Change::Len(len));
    }

    fn change(&mut self, change: Change) {
        apply(&change, &mut self.cache);
        self.changes.push(change);
    }

    /// Pages that were written to since the last flush.
    fn touched(&self) -> BTreeSet<usize> {
        let mut pages = BTreeSet::new();
        for change in &self.changes {
            match change {
                Change::Write(at, bytes) if !bytes.is_empty() => {
                    pages.extend(at / PAGE..=(at + bytes.len() - 1) / PAGE)
                }
                Change::Write(..) => {}
                Change::Len(len) => pages.extend([len / PAGE]),
            }
        }
        pages
    }

    /// The file if everything that can still be written back is.
    fn written_back(&self) -> Vec<u8> {
        let (mut out, touched) = (self.cache.clone(), self.touched());
        for number in self.lost.iter().filter(|n| self.poisoned || !touched.contains(n)) {
            put_page(&mut out, *number, &page(&self.disk, *number));
        }
        out
    }

    /// A flush that works, as far as anything can still be done.
    pub fn flush(&mut self) {
        self.disk = self.written_back();
        if !self.poisoned {
            let touched = self.touched();
            self.lost.retain(|n| !touched.contains(n));
        }
        self.changes.clear();
    }

    /// A flush that fails: all or some of its pages are clean now and were not written. If it `destroys`, what the disk had of
    /// all of them is gone too.
    pub fn fail_flush(&mut self, rng: &mut Rng, destroys: bool) {
        let all = destroys || rng.one_in(2);
        if destroys {
            let touched = self.touched();
            touched.iter().for_each(|number| put_page(&mut self.disk, *number, &[0; PAGE]));
        }
        let lost: Vec<_> = self.touched().into_iter().filter(|_| all || rng.one_in(2)).collect();
        let mut after = self.written_back();
        if rng.one_in(2) {
            after.truncate(self.disk.len());
        }
        for number in &lost {
            put_page(&mut after, *number, &page(&self.disk, *number));
        }
        self.disk = after;
        self.lost.extend(lost);
        self.poisoned = rng.one_in(2);
        self.changes.clear();
    }

    /// What a crash leaves of it.
    fn image(&self, how: Leave, rng: &mut Rng) -> Vec<u8> {
        match how {
            Leave::Nothing => return self.disk.clone(),
            Leave::Everything => return self.written_back(),
            Leave::Some if self.changes.is_empty() => return self.disk.clone(),
            Leave::Some => {}
        }
        let mut versions = vec![self.disk.clone()];
        for change in &self.changes {
            let mut next = versions[versions.len() - 1].clone();
            apply(change, &mut next);
            versions.push(next);
        }
        let count = versions.len() as u64;
        let some = |rng: &mut Rng| match rng.below(4) {
            0 => 0,
            1 => rng.below(count) as usize,
            _ => versions.len() - 1,
        };
        let mut out = self.disk.clone();
        out.resize(versions[some(rng)].len(), 0);
        let uninitialised = rng.one_in(8);
        for number in self.touched() {
            if self.lost.contains(&number) && self.poisoned {
                continue;
            }
            let mut new = page(&versions[some(rng)], number);
            if rng.one_in(4) {
                let (torn, other) =
                    (rng.below((PAGE / SECTOR) as u64) as usize * SECTOR, page(&versions[some(rng)], number));
                new[torn..].copy_from_slice(&other[torn..]);
            }
            if uninitialised && number * PAGE >= self.disk.len() && rng.one_in(3) {
                new.iter_mut().for_each(|b| *b = rng.draw() as u8);
            }
            put_page(&mut out, number, &new);
        }
        out
    }
}

/// How much of what was not flushed a crash leaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Leave {
    Nothing,
    Everything,
    Some,
}

/// A whole file system.
#[derive(Debug, Clone)]
pub struct Media {
    pub files: BTreeMap<u64, Stored>,
    /// Names as processes see them.
    pub names: BTreeMap<PathBuf, Name>,
    /// Names on the disk.
    kept: BTreeMap<PathBuf, Name>,
    changes: Vec<NameChange>,
    next: u64,
}

impl Media {
    /// With one empty folder.
    pub fn new(folder: &Path) -> Self {
        let names = BTreeMap::from([(folder.to_owned(), Name::Folder)]);
        Self { files: BTreeMap::new(), kept: names.clone(), names, changes: Vec::new(), next: 1 }
    }

    fn change(&mut self, change: NameChange) {
        change.apply(&mut self.names);
        self.changes.push(change);
    }

    pub fn make_file(&mut self, path: &Path) -> u64 {
        let number = self.next;
        self.next += 1;
        self.files.insert(number, Stored { mode: 0o600, ..Stored::default() });
        self.change(NameChange::Put(path.to_owned(), Name::File(number)));
        number
    }

    pub fn make_folder(&mut self, path: &Path) {
        self.change(NameChange::Put(path.to_owned(), Name::Folder));
    }

    pub fn rename(&mut self, from: &Path, to: &Path, name: Name) {
        self.change(NameChange::Move(from.to_owned(), to.to_owned(), name));
    }

    pub fn remove(&mut self, path: &Path) {
        self.change(NameChange::Drop(path.to_owned()));
    }

    pub fn flush_folder(&mut self, folder: &Path) {
        let (now, later) = std::mem::take(&mut self.changes).into_iter().partition(|c| c.is_in(folder));
        self.changes = later;
        let now: Vec<NameChange> = now;
        now.iter().for_each(|c| c.apply(&mut self.kept));
    }

    /// What a crash leaves: a disk on which everything that is there is durable.
    pub fn image(&self, how: Leave, rng: &mut Rng) -> Self {
        let mut names = self.kept.clone();
        let count = self.changes.len() as u64;
        // A file system with a journal keeps the order of names, others do not.
        let until = if rng.one_in(2) { rng.below(count + 1) } else { count };
        for (i, change) in self.changes.iter().enumerate() {
            let kept = match how {
                Leave::Nothing => false,
                Leave::Everything => true,
                Leave::Some if until < count => (i as u64) < until,
                Leave::Some => rng.one_in(2),
            };
            if kept {
                change.apply(&mut names);
            }
        }
        // What stands in a folder that is not there is not there either.
        let folders: BTreeSet<_> = names.iter().filter(|(_, n)| **n == Name::Folder).map(|(p, _)| p.clone()).collect();
        let root = self.kept.keys().next().cloned().unwrap_or_default();
        names.retain(|p, _| *p == root || p.parent().is_some_and(|above| folders.contains(above)));
        let mut files = BTreeMap::new();
        for name in names.values() {
            let Name::File(number) = name else { continue };
            let stored = &self.files[number];
            let bytes = stored.image(how, rng);
            let mode = stored.mode;
            files.insert(*number, Stored { cache: bytes.clone(), disk: bytes, mode, ..Stored::default() });
        }
        Self { files, kept: names.clone(), names, changes: Vec::new(), next: self.next }
    }

    /// The bytes of a file as processes see them.
    pub fn read(&self, path: &Path) -> Option<&[u8]> {
        let Some(Name::File(number)) = self.names.get(path) else { return None };
        Some(&self.files[number].cache)
    }

    /// Changes bytes that are durable, as a bad disk does.
    pub fn damage(&mut self, path: &Path, at: usize, bytes: usize) {
        let Some(Name::File(number)) = self.names.get(path) else { return };
        let stored = self.files.get_mut(number).expect("a file that has a name");
        for content in [&mut stored.cache, &mut stored.disk] {
            content[at..at + bytes].iter_mut().for_each(|b| *b ^= 0x5a);
        }
    }
}
