//! What neighbours that reconcile say to each other: one asks, the other answers.

use crate::{
    codec::{self, CodecError},
    hash::Hash,
    ids::{Division, LogId},
    limits::BATCH_BYTES_MAX,
    wire::{Head, Refusal},
};
use serde::{Deserialize, Serialize};

/// Largest frame of the exchange, in bytes: one batch and a little.
pub const EXCHANGE_BYTES_MAX: usize = BATCH_BYTES_MAX + 4_096;
/// Most roots asked for at once.
pub const ROOTS_MAX: usize = 4_096;

/// Most batches of which a side says what is left of them, over all logs; others are wanted whole.
pub const REMAINS_MAX: usize = 2_000;

/// What is compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Scope {
    /// All logs of a division and of those below it.
    Division(Division),
    /// One log.
    Log(LogId),
}

impl Scope {
    /// Whether a log is in it. Which divisions lie below which, only the charter says: who stores a piece asks it.
    pub(super) fn has(self, log: LogId) -> bool {
        match self {
            Self::Log(only) => log == only,
            Self::Division(_) => true,
        }
    }
}

/// One batch that a side lacks, by position. With sums, its bytes are partly there (see [`crate::blocks`]).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Remains {
    /// First record of the batch.
    pub start: u64,
    /// Bytes of the whole batch.
    pub total: u32,
    /// Sums of the blocks that are there.
    pub sums: Vec<u32>,
}

/// What a side lacks of one log.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lacking {
    /// Encoded [`crate::session::Wants`].
    pub wants: Vec<u8>,
    /// Batches among them of which some bytes are there.
    pub remains: Vec<Remains>,
}

/// What the asking side says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum ReconcileRequest {
    /// Where do you stand? `digest` is what the asking side holds of the scope.
    Compare {
        /// Of what.
        scope: Scope,
        /// Division digest, or root of the log; `None`: nothing is held.
        digest: Option<Hash>,
        /// Read your disk first.
        deep: bool,
    },
    /// Your roots at these sizes, at most [`ROOTS_MAX`].
    Roots(Vec<(LogId, u64)>),
    /// Subtree hashes of a log.
    Nodes {
        /// Which log.
        log: LogId,
        /// Encoded [`crate::session::TreeQuestion`].
        question: Vec<u8>,
    },
    /// Send me this.
    Want {
        /// Of which log.
        log: LogId,
        /// What.
        lacking: Lacking,
    },
    /// Something that you lack.
    Here(Piece),
    /// What have you taken of what I sent?
    Taken,
}

/// What the answering side says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum ReconcileReply {
    /// The disk is still being read.
    Working {
        /// Bytes read.
        done: u64,
        /// Bytes to read.
        total: u64,
    },
    /// The same digest, and nothing is known to be missing.
    Agree,
    /// Heads of logs in scope that are not empty; at most [`crate::limits::FRONTIER_HEADS_MAX`] a message.
    Heads(Vec<Head>),
    /// What is missing of a log; several messages of one log add up.
    Lacks {
        /// Of which log.
        log: LogId,
        /// What.
        lacking: Lacking,
    },
    /// That was all of where it stands.
    Stands,
    /// In the order of the question; `None` where no batch ends.
    Roots(Vec<Option<Hash>>),
    /// Encoded [`crate::session::TreeAnswer`].
    Nodes(Vec<u8>),
    /// Something that was wanted.
    Piece(Piece),
    /// No more pieces.
    End,
    /// So many records came back, and so much is still missing.
    Taken {
        /// Records.
        repaired: u64,
    },
    /// Not done.
    Refused {
        /// Stable name.
        code: Refusal,
        /// For people.
        reason: String,
    },
}

/// A batch, or what is missing of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Piece {
    /// The whole batch.
    Whole {
        /// Of which log.
        log: LogId,
        /// As it was sealed.
        bytes: Vec<u8>,
    },
    /// Blocks of the batch that starts at `start`.
    Blocks {
        /// Of which log.
        log: LogId,
        /// First record.
        start: u64,
        /// Bytes of the whole batch.
        total: u32,
        /// Number and bytes of each block.
        blocks: Vec<(u32, Vec<u8>)>,
    },
}

impl ReconcileRequest {
    /// The frame's bytes.
    pub fn encode(&self) -> Vec<u8> {
        codec::encode(self)
    }
    /// Reads a frame.
    ///
    /// # Errors
    /// [`CodecError`]; at most [`EXCHANGE_BYTES_MAX`] bytes are looked at.
    pub fn decode(bytes: &[u8]) -> Result<Self, CodecError> {
        codec::decode::<Self, EXCHANGE_BYTES_MAX>(bytes)
    }
}

impl ReconcileReply {
    /// The frame's bytes.
    pub fn encode(&self) -> Vec<u8> {
        codec::encode(self)
    }
    /// Reads a frame.
    ///
    /// # Errors
    /// [`CodecError`]; at most [`EXCHANGE_BYTES_MAX`] bytes are looked at.
    pub fn decode(bytes: &[u8]) -> Result<Self, CodecError> {
        codec::decode::<Self, EXCHANGE_BYTES_MAX>(bytes)
    }
}
