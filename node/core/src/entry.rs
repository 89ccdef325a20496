//! What a node keeps: one entry is one frame of its journal. The same type is written and, after a start, read back.
//!
//! An [`Append`] of a batch can only be made of one that `admit` made (I3), and carries who waits until it is durable. How an
//! entry is encoded and where it lies is not known here: a [`Place`] is only handed back.

use crate::{Ticket, log::Frozen};
use serde::{Deserialize, Serialize};
use tally_protocol::{ids::LogId, merkle::Tree, wire::Head};
use tally_topology::admit::AdmittedBatch;

/// Where the driver keeps an entry. The core only hands it back; places are ordered as entries were written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Place(pub u64);

/// How an entry was found when the journal was read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FoundBy {
    /// It follows on what this program wrote before it, and was checked when it was written.
    Order,
    /// Behind damage: what looks like an entry may stand inside a record, and is nobody's word.
    Search,
}

/// One thing that a node keeps. A batch's bytes go with it as the entry's body.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Entry {
    /// A batch.
    Batch {
        /// Of which log.
        log: LogId,
        /// Index of its first record.
        start: u64,
        /// Right edge of the log's tree with it: its size is one past the last record.
        tree: Tree,
        /// When it was sealed, POSIX seconds, as its origin says.
        sealed_at: u64,
        /// The signed checkpoint.
        note: String,
    },
    /// A receipt, issued here or received.
    Receipt {
        /// Of which log.
        log: LogId,
        /// Who holds it.
        holder: LogId,
        /// Records covered.
        size: u64,
        /// When, POSIX seconds.
        time: u64,
        /// The cosignature line.
        line: String,
    },
    /// A log is frozen.
    Freeze {
        /// Which log.
        log: LogId,
        /// Why, and the proof.
        frozen: Frozen,
    },
    /// A charter that came into force.
    Charter {
        /// The signed note.
        note: String,
    },
    /// A signed head of an ancestor's own log, as it was seen here.
    Seen {
        /// The head.
        head: Head,
    },
}

/// An entry for the journal, and who waits until it is there. A batch can only be one that was admitted (I3).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Append {
    entry: Entry,
    body: Vec<u8>,
    waiter: Waiter,
}

/// Who waits for an entry to be durable.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Waiter {
    /// Nobody.
    Nobody,
    /// Whoever handed in the batch's records.
    Sealer(Ticket),
    /// Whoever repairs: the batch fills a gap, or takes the place of a damaged copy.
    Repairer(Ticket),
    /// Whoever loads the charter.
    Loader(Ticket),
}

impl Append {
    /// A batch that was admitted, for which nobody waits.
    pub fn admitted(batch: AdmittedBatch) -> Self {
        Self::batch(batch, Waiter::Nobody)
    }

    pub(crate) fn batch(batch: AdmittedBatch, waiter: Waiter) -> Self {
        let (log, start, sealed_at) = (batch.log(), batch.start(), batch.sealed_at());
        let (tree, note, body) = batch.into_parts();
        Self { entry: Entry::Batch { log, start, tree, sealed_at, note }, body, waiter }
    }

    /// A receipt, whose signature was checked.
    pub fn receipt(log: LogId, holder: LogId, size: u64, time: u64, line: String) -> Self {
        Self::without_body(Entry::Receipt { log, holder, size, time, line }, Waiter::Nobody)
    }

    pub(crate) fn freeze(log: LogId, frozen: Frozen) -> Self {
        Self::without_body(Entry::Freeze { log, frozen }, Waiter::Nobody)
    }

    pub(crate) fn charter(note: String, waiter: Waiter) -> Self {
        Self::without_body(Entry::Charter { note }, waiter)
    }

    pub(crate) fn seen(head: Head) -> Self {
        Self::without_body(Entry::Seen { head }, Waiter::Nobody)
    }

    fn without_body(entry: Entry, waiter: Waiter) -> Self {
        Self { entry, body: Vec::new(), waiter }
    }

    /// The entry.
    pub fn entry(&self) -> &Entry {
        &self.entry
    }

    /// A batch's bytes; empty for everything else.
    pub fn body(&self) -> &[u8] {
        &self.body
    }

    /// Whether the round has to be flushed for it. A receipt attests what is on disk already, and an ancestor's head is told
    /// again: the next flush takes them along.
    pub fn is_flushed_for(&self) -> bool {
        !matches!(self.entry, Entry::Receipt { .. } | Entry::Seen { .. })
    }

    pub(crate) fn into_parts(self) -> (Entry, Waiter) {
        (self.entry, self.waiter)
    }
}
