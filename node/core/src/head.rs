//! Heads: how far a log is held, as its origin signed it, and how a neighbour's head stands to what is held here.
//!
//! What a neighbour says of a log is a claim until the log's own key is seen under it: [`SignedHead`] can only be made from a
//! note that opened. Nothing is fetched, frozen or closed because of anything less. It must not know where a head came from.

use serde::{Deserialize, Serialize};
use tally_protocol::{checkpoint::Checkpoint, hash::Hash, ids::LogId, keys::VerifierKey, wire::Head};

/// A head that its log's key signed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SignedHead(Head);

impl SignedHead {
    /// A neighbour's head, if its note is a checkpoint that `key` signed and says the same.
    pub fn open(head: &Head, key: &VerifierKey) -> Option<Self> {
        let opened = Checkpoint::open(&head.note, key).ok()?;
        ((opened.size, opened.root) == (head.size, head.root)).then(|| Self(head.clone()))
    }

    /// The head that a signed note of `log` states.
    pub fn of_note(log: LogId, note: &str, key: &VerifierKey) -> Option<Self> {
        let Checkpoint { size, root, .. } = Checkpoint::open(note, key).ok()?;
        Some(Self(Head { log, size, root, note: note.to_owned() }))
    }

    /// The same with the signature of the log's key and no other line: others may have added some.
    pub fn bare(self, key: &VerifierKey) -> Option<Self> {
        let note = Checkpoint::bare(&self.0.note, key)?;
        Some(Self(Head { note, ..self.0 }))
    }

    /// Which log.
    pub fn log(&self) -> LogId {
        self.0.log
    }

    /// Records signed.
    pub fn size(&self) -> u64 {
        self.0.size
    }

    /// Root at that size.
    pub fn root(&self) -> Hash {
        self.0.root
    }

    /// The signed note.
    pub fn note(&self) -> &str {
        &self.0.note
    }

    /// As it travels.
    pub fn head(&self) -> &Head {
        &self.0
    }
}

/// How a neighbour's head stands to what is held here of the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HeadStanding {
    /// Same size and root.
    Equal,
    /// The neighbour has a part, and that part is the same.
    TheyAreBehind,
    /// The neighbour has more; whether it is the same history, whoever holds the longer one can tell.
    TheyAreAhead,
    /// Same size, other root: two histories were signed, and both notes are the proof.
    Fork,
    /// The neighbour stands inside what is held here, where another root is held or no batch ends. The root at that size
    /// has to be computed from the records before it is known whether this is a second history.
    Unproved,
    /// Records are missing here, so the root at that size cannot be computed.
    Hole,
}
