//! A disk that keeps what was flushed, and of the rest whatever the crash leaves.

use super::random::Rng;
use tally_core::{Append, Disk, Entry, Place};

/// The process has stopped in the middle of writing.
#[derive(Debug)]
pub struct Crash;

/// Where a crash strikes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fuse {
    /// Not at all.
    None,
    /// After this many more calls, before they do anything.
    Before(u32),
    /// After this many more calls, just after they did their work.
    After(u32),
}

#[derive(Debug)]
pub struct SimDisk {
    frames: Vec<Append>,
    flushed: usize,
    pub fuse: Fuse,
}

impl SimDisk {
    pub fn new() -> Self {
        Self { frames: Vec::new(), flushed: 0, fuse: Fuse::None }
    }

    /// What is durable.
    pub fn durable(&self) -> &[Append] {
        &self.frames[..self.flushed]
    }

    /// After a crash: the flushed frames, and by luck some of those behind.
    pub fn lose_unflushed(&mut self, rng: &mut Rng) {
        let unflushed = self.frames.len() - self.flushed;
        let kept = self.flushed + rng.below(unflushed as u64 + 1) as usize;
        self.frames.truncate(kept);
        self.flushed = kept;
        self.fuse = Fuse::None;
    }

    /// An old copy takes the disk's place.
    pub fn set_back(&mut self, frames: usize) {
        self.frames.truncate(frames);
        self.flushed = self.frames.len();
    }

    fn burn(&mut self, work: impl FnOnce(&mut Self)) -> Result<(), Crash> {
        match &mut self.fuse {
            Fuse::None => work(self),
            Fuse::Before(0) => return Err(Crash),
            Fuse::After(0) => {
                work(self);
                return Err(Crash);
            }
            Fuse::Before(n) | Fuse::After(n) => {
                *n -= 1;
                work(self);
            }
        }
        Ok(())
    }

    /// Entries as recovery reads them, and where they are kept.
    pub fn recovered(&self) -> Vec<(Entry, Place)> {
        let one = |(i, a): (usize, &Append)| (a.entry().clone(), Place(i as u64));
        self.frames.iter().enumerate().map(one).collect()
    }

    pub fn batch(&self, place: Place) -> Option<Vec<u8>> {
        let kept = self.frames.get(place.0 as usize)?;
        matches!(kept.entry(), Entry::Batch { .. }).then(|| kept.body().to_vec())
    }
}

impl Disk for SimDisk {
    type Error = Crash;

    fn append(&mut self, frames: &[Append]) -> Result<Vec<Place>, Crash> {
        let first = self.frames.len();
        self.burn(|d| d.frames.extend_from_slice(frames))?;
        Ok((first..self.frames.len()).map(|i| Place(i as u64)).collect())
    }

    fn flush(&mut self) -> Result<(), Crash> {
        self.burn(|d| d.flushed = d.frames.len())
    }
}
