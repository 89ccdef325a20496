//! Why there is no link, or no longer. What follows from a reason is decided by its type; its text is for people, and says what to
//! look at.

use super::limits::UDP_PAYLOAD_MIN;
use std::net::SocketAddr;

/// QUIC's code for "takes no calls" (RFC 9000, 20.1).
const CONNECTION_REFUSED: u64 = 0x2;
/// Codes with which a connection ends because TLS failed: the alert behind `0x100` (RFC 9001, 4.8).
const TLS_ALERTS: std::ops::Range<u64> = 0x100..0x200;
/// The alert for no protocol in common (RFC 7301).
const NO_APPLICATION_PROTOCOL: u64 = 0x100 + 120;
/// Bytes of IP and UDP headers, by family.
const HEADERS: (usize, usize) = (20 + 8, 40 + 8);

/// The smallest path that carries links to that address: bytes of its packets.
pub(crate) fn path_min(target: SocketAddr) -> usize {
    UDP_PAYLOAD_MIN + if target.is_ipv4() { HEADERS.0 } else { HEADERS.1 }
}

/// Why a call of one address brought no link.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CallFailure {
    /// The name leads nowhere.
    #[error("the name cannot be resolved: {0}")]
    Name(String),
    /// No socket of that family here.
    #[error("this machine opens no {0} socket: {1}; give the parent an address of the other family in the charter")]
    NoSocket(&'static str, String),
    /// No way there.
    #[error("this machine has no route to it: look at its network, or give the parent another address in the charter")]
    NoRoute,
    /// A machine, and no node.
    #[error(
        "the machine answers that nothing listens on this UDP port: does the node run there, is this its listen.quic?"
    )]
    PortClosed,
    /// The path's packets are too small: what it carries, what is needed, bytes.
    #[error("the path carries packets of at most {0} bytes and QUIC needs {1}: raise the MTU of the line or tunnel")]
    PathTooNarrow(usize, usize),
    /// Nothing within so many seconds, to packets of so many bytes.
    #[error(
        "no answer on UDP within {0} s: does the node run there, do the firewalls let UDP to this port pass both ways, in packets of \
         {1} bytes ({UDP_PAYLOAD_MIN} of payload)?"
    )]
    NoAnswer(u64, usize),
    /// Another key.
    #[error("whoever answers there is not the parent: {0}")]
    WrongNode(String),
    /// No protocol in common.
    #[error("no version in common: one of the two programs is much older")]
    Version,
    /// Too many call.
    #[error("the node there takes no more calls just now")]
    Busy,
    /// Another fault of QUIC's.
    #[error("the handshake failed: {0}")]
    Handshake(String),
    /// Nothing is said about the parent: the caller itself has closed its sockets.
    #[error("this node is ending")]
    ClosedHere,
}

impl CallFailure {
    /// The stable name, for the log.
    pub(crate) fn kind(&self) -> &'static str {
        match self {
            Self::Name(_) => "name",
            Self::NoSocket(..) => "no_socket",
            Self::NoRoute => "no_route",
            Self::PortClosed => "port_closed",
            Self::PathTooNarrow(..) => "path_too_narrow",
            Self::NoAnswer(..) => "no_answer",
            Self::WrongNode(_) => "wrong_node",
            Self::Version => "version",
            Self::Busy => "busy",
            Self::Handshake(_) => "handshake",
            Self::ClosedHere => "closed_here",
        }
    }

    /// Whether it passes without a person: the call is repeated sooner.
    pub(crate) fn passes(&self) -> bool {
        matches!(self, Self::NoRoute | Self::PortClosed | Self::NoAnswer(..) | Self::Busy)
    }

    /// A handshake that ended so.
    pub(crate) fn of(error: quinn::ConnectionError, setup_s: u64, target: SocketAddr) -> Self {
        use quinn::ConnectionError as E;
        match error {
            E::LocallyClosed => Self::ClosedHere,
            E::VersionMismatch => Self::Version,
            E::TimedOut => Self::NoAnswer(setup_s, path_min(target)),
            E::ConnectionClosed(c) => match u64::from(c.error_code) {
                CONNECTION_REFUSED => Self::Busy,
                NO_APPLICATION_PROTOCOL => Self::Version,
                _ => Self::Handshake(c.to_string()),
            },
            // Found here: of all that TLS checks only the key depends on who answers.
            E::TransportError(e) => match u64::from(e.code) {
                NO_APPLICATION_PROTOCOL => Self::Version,
                code if TLS_ALERTS.contains(&code) => Self::WrongNode(e.reason),
                _ => Self::Handshake(e.to_string()),
            },
            other => Self::Handshake(other.to_string()),
        }
    }
}

/// Why a link ended.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum LinkEnd {
    #[error("the parent does not admit this node's key: is the charter there and here the same?")]
    NotAdmitted,
    #[error("closed by the other side: {0}")]
    Closed(String),
    #[error("the other side knows nothing of the link any more: it was started again")]
    Reset,
    #[error("no packet came for {0} s")]
    Idle(u64),
    #[error("nothing was said for {0} s")]
    Silent(u64),
    #[error("{0} was begun and no more of it came for {1} s")]
    Slow(&'static str, u64),
    #[error("the other side takes too little: too much waits for it")]
    TooSlow,
    #[error("{0} has ended")]
    StreamEnded(&'static str),
    #[error("work for it has failed here")]
    Failed,
    #[error("closed here")]
    ClosedHere,
    #[error("QUIC: {0}")]
    Transport(String),
}

impl LinkEnd {
    /// The stable name, for the log.
    pub(crate) fn kind(&self) -> &'static str {
        match self {
            Self::NotAdmitted => "not_admitted",
            Self::Closed(_) => "closed",
            Self::Reset => "reset",
            Self::Idle(_) => "idle",
            Self::Silent(_) => "silent",
            Self::Slow(..) => "slow",
            Self::TooSlow => "too_slow",
            Self::StreamEnded(_) => "stream_ended",
            Self::Failed => "failed",
            Self::ClosedHere => "closed_here",
            Self::Transport(_) => "transport",
        }
    }

    /// A connection that ended so.
    pub(crate) fn of(error: quinn::ConnectionError, idle_s: u64) -> Self {
        use quinn::ConnectionError as E;
        match error {
            // A refusal by key shows only here: the handshake is over for the caller before the other side has judged it.
            E::ConnectionClosed(c) if TLS_ALERTS.contains(&u64::from(c.error_code)) => Self::NotAdmitted,
            E::ApplicationClosed(c) => Self::Closed(readable(&c.reason)),
            E::Reset => Self::Reset,
            E::TimedOut => Self::Idle(idle_s),
            E::LocallyClosed => Self::ClosedHere,
            other => Self::Transport(other.to_string()),
        }
    }
}

/// A peer's words on one line, not too long.
fn readable(reason: &[u8]) -> String {
    let text: String = String::from_utf8_lossy(reason).chars().take(300).collect();
    text.chars().flat_map(char::escape_debug).collect()
}
