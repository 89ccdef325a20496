//! What a link needs of the node it belongs to, and what it tells it. The link knows neither core nor journal.

use super::{FrameRoom, Outbox};
use std::{fmt, pin::Pin, time::Duration};
use tally_protocol::{
    ids::{Division, LogId},
    wire::Control,
};

/// A link of this process; numbers are never used again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LinkNumber(pub u64);

/// Where a batch lies, in the node's own terms, and the first record of it to send: links only hand it back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BatchToken(pub u64, pub u64);

/// Who is at the other end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Peer {
    /// The parent, called by its division.
    Parent(Division),
    /// A child, known by the key of its epoch.
    Child(LogId),
}

impl Peer {
    /// The neighbour's division.
    pub fn division(self) -> Division {
        match self {
            Self::Parent(division) => division,
            Self::Child(node) => node.division,
        }
    }
}

/// What a link tells its node.
#[derive(Debug)]
pub enum LinkEvent {
    /// A connection stands; the messages that make it a link come next.
    Up {
        /// Its number.
        link: LinkNumber,
        /// Who is there.
        peer: Peer,
        /// What is to be sent goes here.
        outbox: Outbox,
    },
    /// A message of the control stream.
    Control {
        /// On which link.
        link: LinkNumber,
        /// The message.
        message: Box<Control>,
        /// The memory that it takes: kept until it was dealt with.
        room: FrameRoom,
    },
    /// A batch, not verified in any way.
    Batch {
        /// On which link.
        link: LinkNumber,
        /// Of the log that the stream is for.
        log: LogId,
        /// As it arrived.
        bytes: Vec<u8>,
        /// The memory that it takes: kept until it is on disk or refused.
        room: FrameRoom,
    },
    /// A batch has gone out.
    Pushed {
        /// On which link.
        link: LinkNumber,
        /// Of which log.
        log: LogId,
    },
    /// A batch could not be read from this node's disk.
    PushFailed {
        /// On which link.
        link: LinkNumber,
        /// Of which log.
        log: LogId,
        /// For people.
        reason: String,
    },
    /// Bytes that are no message: the link is to be closed.
    Garbage {
        /// On which link.
        link: LinkNumber,
        /// For people.
        reason: String,
    },
    /// The link has ended.
    Down {
        /// Which.
        link: LinkNumber,
    },
    /// The parent was called in vain, or the link to it ended.
    DialFailed {
        /// For people.
        reason: String,
        /// Whoever answered does not admit this node's key, or has not the one that the charter names.
        refused: bool,
        /// There had been a link.
        linked: bool,
    },
    /// Where the parent is to be, somebody has this charter, signed by whomever. Not verified in any way.
    Charter {
        /// The signed note.
        note: String,
    },
}

/// The node has ended: nobody listens to links any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the node has ended")]
pub struct NodeGone;

/// The answer to [`LinkHost::tell`].
pub type Told<'a> = Pin<Box<dyn Future<Output = Result<(), NodeGone>> + Send + 'a>>;

/// What a link needs of its node.
pub trait LinkHost: fmt::Debug + Send + Sync + 'static {
    /// Takes an event; waits while the node has no room for it. Dropping the future drops the event.
    fn tell(&self, event: LinkEvent) -> Told<'_>;

    /// Reads a batch from the disk. Blocks.
    ///
    /// # Errors
    /// What is wrong with it, for people.
    fn read_batch(&self, token: BatchToken) -> Result<Vec<u8>, String>;

    /// How long the parent has asked to be left alone.
    fn parent_pause(&self) -> Duration;
}
