//! Patience with a disk that has no room: a round waits until it can be written, and says so meanwhile.
//!
//! What is wanting is seen by everybody at once: nothing more is taken in, and batches of children wait at them. The
//! round itself is kept and tried again; nothing of it is said before it is on the disk. Whoever only wants to know that this
//! thread lives is answered; all other mail waits, in a bounded list and then at its senders.

use crate::{AnchorError, Mail, Mailbox};
use std::{
    collections::VecDeque,
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};
use tally_core::{Append, Disk, Input, Place};
use tally_journal::{JournalError, Shortage};
use tally_store::entries::EntryJournal;
use tokio::sync::mpsc;

/// Messages set aside while a round waits. More wait in the mailbox, and at their senders.
const HELD_MAX: usize = 256;
/// Pause between two attempts when nothing else tells time.
const PAUSE: Duration = Duration::from_millis(200);
/// Fewer free inodes than this, or than a twentieth of all, are no room: each answer that is kept takes some.
const INODES_RESERVE: u64 = 1_024;

/// Why a round did not come to its end. Nothing of it was said.
#[derive(Debug)]
pub(crate) enum RoundError {
    /// The disk failed: the process must end.
    Disk(JournalError),
    /// The anchor's disk failed.
    Anchor(AnchorError),
    /// The node was told to stop while the round waited for room.
    Stopped,
}

impl From<AnchorError> for RoundError {
    fn from(e: AnchorError) -> Self {
        Self::Anchor(e)
    }
}

impl From<JournalError> for RoundError {
    fn from(e: JournalError) -> Self {
        Self::Disk(e)
    }
}

/// What is known of the room on the disk, and who is told.
#[derive(Debug)]
pub(crate) struct Space {
    /// Set while nothing more may be taken in.
    pub(crate) full: Arc<AtomicBool>,
    /// Least free bytes.
    pub(crate) reserve: u64,
    /// Where the data lies.
    pub(crate) data: PathBuf,
    /// Shows what is wanting.
    pub(crate) mailbox: Mailbox,
}

impl Space {
    /// Looks how much is free.
    pub(crate) fn look(&self) {
        if let Ok(stat) = rustix::fs::statvfs(&self.data) {
            self.mailbox.set_free_bytes(stat.f_bavail.saturating_mul(stat.f_frsize));
            self.set(self.lacks(&stat));
        }
    }

    /// What is below its reserve. A file system without a number of inodes has as many as it needs.
    fn lacks(&self, stat: &rustix::fs::StatVfs) -> Option<Shortage> {
        if stat.f_bavail.saturating_mul(stat.f_frsize) < self.reserve {
            return Some(Shortage::Bytes);
        }
        (stat.f_favail < INODES_RESERVE.min(stat.f_files / 20)).then_some(Shortage::Inodes)
    }

    /// A call has failed for want of something.
    pub(crate) fn wants(&self, shortage: Shortage) {
        let inodes = || rustix::fs::statvfs(&self.data).is_ok_and(|s| s.f_files > 0 && s.f_favail == 0);
        match shortage {
            Shortage::Bytes if inodes() => self.set(Some(Shortage::Inodes)),
            other => self.set(Some(other)),
        }
    }

    fn set(&self, shortage: Option<Shortage>) {
        self.full.store(shortage.is_some(), Ordering::Relaxed);
        let before = self.mailbox.set_shortage(shortage);
        let path = self.data.display();
        match shortage {
            Some(wanting) if before != shortage => {
                tracing::error!(event = "storage.full", %path, %wanting, "no room: nothing more is taken in until there is");
            }
            None if before.is_some() => tracing::info!(event = "storage.room", %path, "there is room again"),
            _ => {}
        }
    }
}

/// The journal for one round: it waits for room instead of failing.
pub(crate) struct Patient<'d> {
    pub(crate) journal: &'d mut EntryJournal,
    pub(crate) mail: &'d mut mpsc::Receiver<Mail>,
    pub(crate) held: &'d mut VecDeque<Mail>,
    pub(crate) space: &'d Space,
}

impl Patient<'_> {
    fn until_there_is_room<T>(
        &mut self,
        mut call: impl FnMut(&mut EntryJournal) -> Result<T, JournalError>,
    ) -> Result<T, RoundError> {
        loop {
            match call(self.journal) {
                Ok(done) => return Ok(done),
                Err(e) => {
                    self.space.wants(e.shortage().ok_or(e)?);
                    self.wait()?;
                }
            }
        }
    }

    /// Until the next tick, or a little while.
    fn wait(&mut self) -> Result<(), RoundError> {
        self.space.mailbox.beat();
        while self.held.len() < HELD_MAX {
            match self.mail.blocking_recv() {
                Some(Mail::Core(Input::Tick)) => return Ok(()),
                // What it waits for has taken effect as far as anything has.
                Some(Mail::Settle(reply)) => _ = reply.send(()),
                Some(Mail::Stop) | None => return Err(RoundError::Stopped),
                Some(mail) => self.held.push_back(mail),
            }
        }
        #[expect(
            clippy::disallowed_methods,
            reason = "the driver's own thread has nothing to do before there is room"
        )]
        std::thread::sleep(PAUSE);
        Ok(())
    }
}

impl Disk for Patient<'_> {
    type Error = RoundError;

    fn append(&mut self, entries: &[Append]) -> Result<Vec<Place>, RoundError> {
        self.until_there_is_room(|journal| journal.append(entries))
    }

    fn flush(&mut self) -> Result<(), RoundError> {
        self.until_there_is_room(EntryJournal::flush)
    }
}

#[cfg(test)]
mod tests;
