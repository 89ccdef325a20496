//! Messages between neighbours. Frames are a little-endian u32 length and that many bytes; a batch travels as its own
//! bytes, everything else as a bincode value with a bound.

use crate::{
    codec::{self, CodecError},
    hash::Hash,
    ids::LogId,
    limits::CONTROL_BYTES_MAX,
};
use serde::{Deserialize, Serialize};

/// TLS application protocol: changes only when not even `Hello` can be read any more.
pub const ALPN: &[u8] = b"tally/1";
/// Newest message version spoken here. 2: neighbours may open streams to reconcile.
pub const VERSION: u16 = 2;
/// Oldest message version spoken here: one back.
pub const VERSION_MIN: u16 = 1;

/// The highest version that both sides speak.
pub fn negotiate(min: u16, max: u16) -> Option<u16> {
    let version = max.min(VERSION);
    (version >= min.max(VERSION_MIN)).then_some(version)
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
    /// The signed checkpoint that says so.
    pub note: String,
}

/// First message of a child.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hello {
    /// Oldest version spoken.
    pub version_min: u16,
    /// Newest version spoken.
    pub version_max: u16,
    /// Name of the federation.
    pub federation: String,
    /// Who calls, in which epoch.
    pub node: LogId,
    /// Version of the charter in force there; 0 for none.
    pub charter: u64,
    /// Sender's clock, POSIX milliseconds.
    pub clock_ms: u64,
    /// Release of the software, for people.
    pub software: String,
}

/// A parent's answer to a hello. A link is up only after it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Welcome {
    /// Version chosen.
    pub version: u16,
    /// Who answers.
    pub node: LogId,
    /// Version of the charter in force there.
    pub charter: u64,
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
        })
    }
}

/// Messages of the control stream. New kinds go at the end: the number is on the wire.
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
        reason: String,
    },
    /// Heads of the logs held of the child's division and below; at most `FRONTIER_HEADS_MAX` a message.
    Frontier {
        /// Some of the heads.
        heads: Vec<Head>,
        /// No more follow.
        last: bool,
    },
    /// See [`Heartbeat`].
    Heartbeat(Heartbeat),
    /// Parent to child: `holder` has the log up to `size` on disk.
    Receipt {
        /// Which log.
        log: LogId,
        /// Records covered.
        size: u64,
        /// Who signed.
        holder: LogId,
        /// The cosignature line.
        line: String,
    },
    /// Parent to child: a newer charter.
    Charter {
        /// The signed document.
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
        reason: String,
    },
    /// Two checkpoints of one log that cannot both be true.
    Conflict {
        /// Which log.
        log: LogId,
        /// Both signed notes.
        notes: [String; 2],
        /// For people.
        reason: String,
    },
    /// Child to parent: send me this log from here on.
    Fetch {
        /// Which log.
        log: LogId,
        /// First record wanted.
        from: u64,
    },
}

impl Control {
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
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn versions_meet() {
        assert_eq!(negotiate(1, 1), Some(1));
        assert_eq!(negotiate(1, 7), Some(2));
        assert_eq!(negotiate(3, 7), None);
        assert_eq!(negotiate(0, 0), None);
    }

    #[test]
    fn frozen_bytes() {
        let log: LogId = "350102/e1".parse().unwrap();
        let cases: [(Control, &[u8]); 4] = [
            (
                Control::Hello(Hello {
                    version_min: 1,
                    version_max: 1,
                    federation: "f".into(),
                    node: log,
                    charter: 2,
                    clock_ms: 3,
                    software: "s".into(),
                }),
                b"\x00\x01\x01\x01f\x05\x57\x96\0\0\0\x01\0\0\0\x02\x03\x01s",
            ),
            (Control::Busy { retry_after_ms: 250 }, b"\x02\xfa"),
            (Control::Fetch { log, from: 9 }, b"\x0a\x05\x57\x96\0\0\0\x01\0\0\0\x09"),
            (
                Control::Reject { log, start: 1, code: Refusal::Root, reason: "r".into() },
                b"\x08\x05\x57\x96\0\0\0\x01\0\0\0\x01\x08\x01r",
            ),
        ];
        for (message, bytes) in cases {
            assert_eq!(message.encode(), bytes, "{message:?}");
            assert_eq!(Control::decode(bytes), Ok(message));
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_answered(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            if let Ok(message) = Control::decode(&bytes) {
                let again = Control::decode(&message.encode());
                prop_assert_eq!(again, Ok(message));
            }
            let _ = StreamOpen::decode(&bytes);
        }
    }
}
