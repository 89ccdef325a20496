//! Messages between neighbours. Frames are a little-endian u32 length and that many bytes; a batch travels as its own
//! bytes, everything else as a bincode value with a bound.

#![warn(clippy::indexing_slicing, clippy::arithmetic_side_effects)]

use crate::{
    bounded,
    codec::{self, CodecError},
    fork::ForkEvidence,
    hash::Hash,
    health::{AboveWord, HealthSummary},
    ids::{Division, LogId, node_epoch},
    limits::{
        ABOVE_WORDS_MAX, ANCESTOR_HEADS_MAX, CHARTER_BYTES_MAX, CONTROL_BYTES_MAX, FEDERATION_BYTES_MAX,
        FRONTIER_BYTES_MAX, FRONTIER_HEADS_MAX, HEAD_BYTES_MAX, NOTE_BYTES_MAX,
    },
};
use serde::{Deserialize, Serialize};

/// TLS application protocol: changes only when not even `Hello` can be read any more.
pub const ALPN: &[u8] = b"tally/1";
/// Newest message version spoken here.
pub const VERSION: u16 = 1;
/// Oldest message version spoken here: one back, once there is one.
pub const VERSION_MIN: u16 = 1;

/// The highest version that both sides speak: this side [`VERSION_MIN`] to [`VERSION`], the other `min` to `max`.
pub fn negotiate(min: u16, max: u16) -> Option<u16> {
    common((VERSION_MIN, VERSION), (min, max))
}

/// The highest version in both ranges, each from its first to its second number.
fn common(a: (u16, u16), b: (u16, u16)) -> Option<u16> {
    let highest = a.1.min(b.1);
    (highest >= a.0.max(b.0)).then_some(highest)
}

/// How far a log is held.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Head {
    /// Which log.
    pub log: LogId,
    /// Records held.
    pub size: u64,
    /// Root at that size.
    pub root: Hash,
    /// The signed checkpoint that says so; at most [`NOTE_BYTES_MAX`] bytes.
    #[serde(deserialize_with = "bounded::text::<_, NOTE_BYTES_MAX>")]
    pub note: String,
}

/// Which charter: two of one version that were signed differ in the hash.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct CharterMark {
    /// Its version; 0 for none.
    pub version: u64,
    /// SHA-256 of the whole signed note.
    pub hash: Hash,
}

/// First message of a child.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hello {
    /// Oldest version spoken.
    pub version_min: u16,
    /// Newest version spoken.
    pub version_max: u16,
    /// Name of the federation.
    #[serde(deserialize_with = "bounded::text::<_, FEDERATION_BYTES_MAX>")]
    pub federation: String,
    /// Who calls, in which epoch.
    #[serde(deserialize_with = "node_epoch")]
    pub node: LogId,
    /// Random, from the start of the process: two machines with one key differ in it.
    pub instance: [u8; 16],
    /// Links to the parent that this process has opened, with this one: counts from 1.
    pub link_count: u64,
    /// The charter in force there.
    pub charter: CharterMark,
    /// Sender's clock, POSIX milliseconds.
    pub clock_ms: u64,
    /// Release of the software, for people; cut to [`crate::limits::SOFTWARE_BYTES_MAX`] bytes.
    #[serde(with = "bounded::software")]
    pub software: String,
    /// The newest signed heads seen of the ancestors' logs, at most [`ANCESTOR_HEADS_MAX`]: an ancestor that has less of
    /// its own log is an old copy.
    #[serde(deserialize_with = "bounded::list::<_, _, ANCESTOR_HEADS_MAX>")]
    pub ancestor_heads: Vec<Head>,
}

/// A parent's answer to a hello. A link is up only after it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Welcome {
    /// Version chosen.
    pub version: u16,
    /// Who answers, in which epoch.
    #[serde(deserialize_with = "node_epoch")]
    pub node: LogId,
    /// The charter in force there.
    pub charter: CharterMark,
    /// Sender's clock, POSIX milliseconds.
    pub clock_ms: u64,
}

/// Sent every few seconds both ways: tells "nothing new" from "dead".
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Heartbeat {
    /// Sender's clock, POSIX milliseconds.
    pub clock_ms: u64,
    /// Sum of the sizes of the logs that the sender holds of the child's division and below.
    pub records: u64,
    /// The sender's digest of the child's division.
    pub digest: Option<Hash>,
    /// The receiver's clock, sent back, so that it can tell how long messages take.
    pub echo: Option<ClockEcho>,
    /// The clock of the sender's parent minus the sender's, in milliseconds, if it is known.
    pub above_ms: Option<i64>,
}

/// The clock of a heartbeat's receiver, as its latest heartbeat said.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClockEcho {
    /// That clock, POSIX milliseconds.
    pub clock_ms: u64,
    /// How long the sender has had it, in milliseconds.
    pub held_ms: u64,
}

/// Why a link or a batch is refused. Names are stable; they are shown to people and counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Refusal {
    /// No version in common.
    Version,
    /// Another federation's name.
    Federation,
    /// The key is not the charter's for the division and epoch that calls.
    Identity,
    /// Not a child of this node.
    NotAChild,
    /// The log's division is not the sender's or below it.
    NotBelow,
    /// The log or epoch is not in the charter, or its epoch is closed before this point.
    NotAdmitted,
    /// The bytes cannot be read as what they should be.
    Malformed,
    /// The checkpoint's signature does not hold.
    Signature,
    /// The records do not lead to the signed root.
    Root,
    /// Records in between are missing.
    Gap,
    /// The log is frozen: two histories were signed.
    Frozen,
    /// A message that is not allowed at this point.
    Protocol,
    /// A second link of the same node took over.
    Replaced,
    /// Come back later.
    Busy,
    /// Something was begun, and no more of it came.
    Slow,
}

impl std::fmt::Display for Refusal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Version => "version",
            Self::Federation => "federation",
            Self::Identity => "identity",
            Self::NotAChild => "not_a_child",
            Self::NotBelow => "not_below",
            Self::NotAdmitted => "not_admitted",
            Self::Malformed => "malformed",
            Self::Signature => "signature",
            Self::Root => "root",
            Self::Gap => "gap",
            Self::Frozen => "frozen",
            Self::Protocol => "protocol",
            Self::Replaced => "replaced",
            Self::Busy => "busy",
            Self::Slow => "slow",
        })
    }
}

/// Messages of the control stream. New kinds go at the end: the number is on the wire. Every text and list has a bound
/// that [`Control::decode`] keeps; reasons are cut to [`crate::limits::REASON_BYTES_MAX`] bytes where they are sent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Control {
    /// Child to parent, first.
    Hello(Hello),
    /// Parent to child, the answer.
    Welcome(Welcome),
    /// Parent to child instead of a welcome: come back later.
    Busy {
        /// Not before so many milliseconds.
        retry_after_ms: u64,
    },
    /// Instead of a welcome, or before a link is closed.
    Refused {
        /// Stable name.
        code: Refusal,
        /// For people.
        #[serde(with = "bounded::reason")]
        reason: String,
    },
    /// Heads of the logs held of the child's division and below.
    Frontier {
        /// Some of the heads, at most [`FRONTIER_HEADS_MAX`].
        #[serde(deserialize_with = "bounded::list::<_, _, FRONTIER_HEADS_MAX>")]
        heads: Vec<Head>,
        /// No more follow.
        last: bool,
    },
    /// See [`Heartbeat`].
    Heartbeat(Heartbeat),
    /// `holder` has the log up to `size` on disk.
    Receipt {
        /// Which log.
        log: LogId,
        /// Records covered.
        size: u64,
        /// Who signed, in which epoch.
        #[serde(deserialize_with = "node_epoch")]
        holder: LogId,
        /// The cosignature line; at most [`NOTE_BYTES_MAX`] bytes.
        #[serde(deserialize_with = "bounded::text::<_, NOTE_BYTES_MAX>")]
        line: String,
    },
    /// Parent to child: a newer charter.
    Charter {
        /// The signed document; at most [`CHARTER_BYTES_MAX`] bytes.
        #[serde(deserialize_with = "bounded::text::<_, CHARTER_BYTES_MAX>")]
        note: String,
    },
    /// Receiver of a batch to its sender: not taken, and why.
    Reject {
        /// Which log.
        log: LogId,
        /// Start of the batch.
        start: u64,
        /// Stable name.
        code: Refusal,
        /// For people.
        #[serde(with = "bounded::reason")]
        reason: String,
    },
    /// Two checkpoints of one log that cannot both be true.
    Conflict {
        /// Which log.
        log: LogId,
        /// Both signed notes, and what shows that they contradict each other.
        evidence: ForkEvidence,
        /// For people.
        #[serde(with = "bounded::reason")]
        reason: String,
    },
    /// Child to parent: send me this log from here on.
    Fetch {
        /// Which log.
        log: LogId,
        /// First record wanted.
        from: u64,
    },
    /// Parent to child, at any time: how far the parent holds a log of the child's, and whether it is sure of that. Either
    /// way: the newest head that was seen of the log of a node above.
    Stands {
        /// Which log.
        log: LogId,
        /// The parent's head of it; `None`: it holds nothing of it.
        head: Option<Head>,
        /// Since its own start the parent has heard its own parent's sure head of the log, holds that much, and has no
        /// hole in it.
        sure: bool,
    },
    /// Child to parent: see [`HealthSummary`].
    Health(HealthSummary),
    /// Parent to child: what the levels above say of the child's logs; at most [`ABOVE_WORDS_MAX`] words.
    Above(#[serde(deserialize_with = "bounded::list::<_, _, ABOVE_WORDS_MAX>")] Vec<AboveWord>),
    /// Child to parent: another charter has come into force there, of a higher version than it said before.
    InForce(CharterMark),
    /// Child to parent: what a node of the child's branch asks of the authority, see [`crate::request`].
    Request {
        /// The signed note; at most [`NOTE_BYTES_MAX`] bytes.
        #[serde(deserialize_with = "bounded::text::<_, NOTE_BYTES_MAX>")]
        note: String,
    },
    /// Parent to child: what a node of the child's branch asked for is not given.
    RequestRejected {
        /// Whose request, in which epoch.
        #[serde(deserialize_with = "node_epoch")]
        node: LogId,
        /// Digest of the request's text.
        request: Hash,
        /// Where it was rejected.
        by: Division,
        /// For people.
        #[serde(with = "bounded::reason")]
        reason: String,
    },
}

/// Heads as many as one message may have, by number and by bytes: whoever signs a log decides how long its notes are. At
/// least one page, which may be empty.
pub fn head_pages(heads: Vec<Head>) -> Vec<Vec<Head>> {
    let mut pages = vec![Vec::new()];
    let mut bytes = 0_usize;
    for head in heads {
        let takes = head.note.len().saturating_add(HEAD_BYTES_MAX);
        let page = pages.last().map_or(0, Vec::len);
        if page >= FRONTIER_HEADS_MAX || bytes.saturating_add(takes) > FRONTIER_BYTES_MAX {
            pages.push(Vec::new());
            bytes = 0;
        }
        bytes = bytes.saturating_add(takes);
        if let Some(page) = pages.last_mut() {
            page.push(head);
        }
    }
    pages
}

impl Control {
    /// The messages that tell of these heads: at least one.
    pub fn frontier(heads: Vec<Head>) -> Vec<Self> {
        let pages = head_pages(heads);
        let last = pages.len();
        let page = |(number, heads): (usize, _)| Self::Frontier { heads, last: number == last };
        (1..).zip(pages).map(page).collect()
    }

    /// The message as the bytes of a frame.
    pub fn encode(&self) -> Vec<u8> {
        codec::encode(self)
    }

    /// Reads a frame.
    ///
    /// # Errors
    /// [`CodecError`]; at most [`CONTROL_BYTES_MAX`] bytes are looked at.
    pub fn decode(bytes: &[u8]) -> Result<Self, CodecError> {
        codec::decode::<Self, CONTROL_BYTES_MAX>(bytes)
    }
}

/// First frame of a stream that carries batches of one log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct StreamOpen {
    /// Which log.
    pub log: LogId,
}

/// Bound of a [`StreamOpen`] frame in bytes.
pub const STREAM_OPEN_BYTES_MAX: usize = 64;

impl StreamOpen {
    /// The frame's bytes.
    pub fn encode(&self) -> Vec<u8> {
        codec::encode(self)
    }

    /// Reads the frame.
    ///
    /// # Errors
    /// [`CodecError`].
    pub fn decode(bytes: &[u8]) -> Result<Self, CodecError> {
        codec::decode::<Self, STREAM_OPEN_BYTES_MAX>(bytes)
    }
}

#[cfg(test)]
pub(crate) mod tests;
