//! A node's state from its journal: the same rules, frame by frame.

use super::Replica;
use tally_protocol::{
    ids::LogId,
    log::{Frozen, Place, Receipt},
    merkle::Tree,
};
use tally_topology::signed::SignedCharter;

/// A frame that was found in the journal.
#[derive(Debug, Clone)]
pub enum Recovered {
    /// A batch; `tree` is the log's right edge with it.
    Batch {
        /// Of which log.
        log: LogId,
        /// Index of its first record.
        start: u64,
        /// Right edge with it.
        tree: Tree,
        /// When it was sealed, POSIX seconds.
        sealed_at: u64,
        /// The signed checkpoint.
        note: String,
        /// Where it lies.
        place: Place,
    },
    /// A receipt.
    Receipt {
        /// Of which log.
        log: LogId,
        /// Who holds it.
        holder: LogId,
        /// What it says.
        receipt: Receipt,
    },
    /// A frozen log.
    Freeze {
        /// Which log.
        log: LogId,
        /// Why.
        frozen: Frozen,
    },
    /// A charter.
    Charter {
        /// The signed note.
        note: String,
    },
}

/// Frames that cannot follow each other: the journal was not written by this program alone.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RecoverError {
    /// A batch that starts before the end of the one before.
    #[error("journal segment {segment} at {offset}: batch {log} {start} comes after {size} records of that log")]
    Order {
        /// Of which log.
        log: LogId,
        /// Where it starts.
        start: u64,
        /// What was there before.
        size: u64,
        /// Segment number.
        segment: u32,
        /// Offset in it.
        offset: u64,
    },
}

impl Replica {
    /// Takes one frame of the journal, in journal order.
    ///
    /// # Errors
    /// [`RecoverError::Order`].
    pub fn recover(&mut self, frame: Recovered) -> Result<(), RecoverError> {
        match frame {
            Recovered::Batch { log, start, tree, sealed_at, note, place } => {
                let held = self.logs.entry(log).or_default();
                if start < held.size() {
                    let (size, Place { segment, offset }) = (held.size(), place);
                    return Err(RecoverError::Order { log, start, size, segment, offset });
                }
                held.took(start, tree, sealed_at, note, place);
                if log == self.own() {
                    self.last_sealed = self.last_sealed.max(sealed_at);
                }
            }
            Recovered::Receipt { log, holder, receipt } => {
                self.logs.entry(log).or_default().receipt(holder.division, receipt);
            }
            Recovered::Freeze { log, frozen } => {
                self.logs.entry(log).or_default().frozen = Some(frozen);
                if log == self.own() {
                    self.gate.freeze();
                }
            }
            Recovered::Charter { note } => {
                // Signed by the pinned authority and newer, or passed over: the file in the config may be newer.
                if let Ok(signed) = SignedCharter::open(&note, &self.authority)
                    && signed.charter().version() > self.charter().version()
                {
                    self.charter = signed.into();
                }
            }
        }
        Ok(())
    }

    /// Ends recovery. Logs that reached the disk just before the stop get their receipts in the first round.
    pub fn recovered(&mut self) {
        let (own, me) = (self.own(), self.me());
        let missing = |log: &tally_protocol::log::HeldLog| log.receipts.get(&me).map_or(0, |r| r.size) < log.size();
        let ids = self.logs.iter().filter(|(id, log)| **id != own && missing(log)).map(|(id, _)| *id);
        self.unreceipted = ids.collect();
    }
}
