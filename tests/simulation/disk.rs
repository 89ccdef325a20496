//! A disk that keeps what was flushed, of the rest whatever the crash leaves, and forgets what is damaged.
//!
//! The bytes as they were written are kept apart from what happened to them, so that the oracle can know both.

use super::step::{CrashAt, Harm};
use tally_core::{Append, Disk, Entry, FoundBy, Place};
use tally_protocol::batch::from_record;

/// The process has stopped in the middle of writing.
#[derive(Debug)]
pub struct Crash;

#[derive(Debug, Clone)]
pub struct SimFrame {
    pub append: Append,
    pub harm: Option<Harm>,
    /// The process that runs has found it missing when it started.
    pub known_gone: bool,
}

#[derive(Debug, Default)]
pub struct SimDisk {
    frames: Vec<SimFrame>,
    flushed: usize,
    /// Where a crash strikes next.
    pub fuse: Option<CrashAt>,
    /// It only says to have flushed.
    pub lies: bool,
    /// Counts up whenever frames that were there before are not as they were.
    pub generation: u64,
}

impl SimDisk {
    /// What is durable.
    pub fn durable(&self) -> &[SimFrame] {
        &self.frames[..self.flushed]
    }

    /// The end of what is durable.
    pub fn until(&self) -> Place {
        Place(self.flushed as u64)
    }

    /// After a stop: the flushed frames, and some of those behind.
    pub fn lose_unflushed(&mut self, dice: u64) {
        let unflushed = self.frames.len() - self.flushed;
        let kept = self.flushed + (dice % (unflushed as u64 + 1)) as usize;
        self.frames.truncate(kept);
        self.flushed = kept;
        self.fuse = None;
    }

    /// A clean stop.
    pub fn close(&mut self) {
        self.flushed = self.frames.len();
        self.fuse = None;
    }

    /// An old copy takes the disk's place.
    pub fn set_back(&mut self, frames: usize) {
        self.frames.truncate(frames);
        self.flushed = self.frames.len();
        self.generation += 1;
    }

    /// What is durable, on another disk.
    pub fn copied(&self) -> Self {
        Self { frames: self.durable().to_vec(), flushed: self.flushed, ..Self::default() }
    }

    pub fn damage(&mut self, at: usize, harm: Harm) {
        self.frames[at].harm = Some(harm);
        self.generation += 1;
    }

    /// Whether anything is damaged.
    pub fn is_damaged(&self) -> bool {
        self.frames.iter().any(|f| f.harm.is_some())
    }

    fn burn(&mut self, work: impl FnOnce(&mut Self)) -> Result<(), Crash> {
        match &mut self.fuse {
            None | Some(CrashAt::Said(_)) => work(self),
            Some(CrashAt::Before(0)) => return Err(Crash),
            Some(CrashAt::After(0)) => {
                work(self);
                return Err(Crash);
            }
            Some(CrashAt::Before(n) | CrashAt::After(n)) => {
                *n -= 1;
                work(self);
            }
        }
        Ok(())
    }

    /// Entries as recovery reads them, where they are kept, and how they were found: behind damage by a search, which also finds
    /// what only looks like an entry (altered).
    pub fn recovered(&mut self) -> Vec<(Entry, Place, FoundBy)> {
        let (mut found, mut by) = (Vec::new(), FoundBy::Order);
        for (i, frame) in self.frames.iter_mut().enumerate() {
            let mut entry = frame.append.entry().clone();
            let gone = matches!(frame.harm, Some(Harm::Gone | Harm::Altered));
            if gone {
                by = FoundBy::Search;
                if !std::mem::replace(&mut frame.known_gone, true) {
                    self.generation += 1;
                }
            }
            match (frame.harm, &mut entry) {
                (Some(Harm::Gone), _) => continue,
                (Some(Harm::Altered), Entry::Batch { note, .. }) => *note = "altered\n".to_owned(),
                (Some(Harm::Altered), _) => continue,
                _ => {}
            }
            found.push((entry, Place(i as u64), by));
        }
        found
    }

    /// The bytes of a batch from a record on.
    pub fn batch(&self, place: Place, from: u64) -> Option<Vec<u8>> {
        let kept = self.frames.get(place.0 as usize).filter(|f| f.harm.is_none())?;
        let is_batch = matches!(kept.append.entry(), Entry::Batch { .. });
        is_batch.then(|| kept.append.body().to_vec()).and_then(|bytes| from_record(bytes, from).ok())
    }

    pub fn head(&self, place: Place) -> Option<&Entry> {
        let kept = self.frames.get(place.0 as usize)?;
        (!matches!(kept.harm, Some(Harm::Gone | Harm::Altered))).then(|| kept.append.entry())
    }
}

impl Disk for SimDisk {
    type Error = Crash;

    fn append(&mut self, frames: &[Append]) -> Result<Vec<Place>, Crash> {
        let first = self.frames.len();
        let new = |append: &Append| SimFrame { append: append.clone(), harm: None, known_gone: false };
        self.burn(|d| d.frames.extend(frames.iter().map(new)))?;
        Ok((first..self.frames.len()).map(|i| Place(i as u64)).collect())
    }

    fn flush(&mut self) -> Result<(), Crash> {
        self.burn(|d| {
            if !d.lies {
                d.flushed = d.frames.len();
            }
        })
    }
}
