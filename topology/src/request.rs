//! Whether what a node asks of the authority may be looked at: the charter in force knows who asks, by the key of the epoch
//! that is to end. Whether it is given is a person's decision, where the authority's key is.

use crate::{
    charter::Charter,
    join::{check_free, open_join},
};
use tally_protocol::{
    hash::Hash,
    ids::{Division, Federation, LogId},
    join::JoinRequest,
    request::{EpochRequest, RequestError},
};

/// Why a request is not looked at.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RequestRefused {
    /// It is no request, or not signed as one.
    #[error(transparent)]
    Note(#[from] RequestError),
    /// Of another federation.
    #[error("the request is of federation {0}")]
    Federation(Federation),
    /// The charter names no such node, or it is out of service.
    #[error("{0} is not the log of a node in service by charter version {1}")]
    Unknown(LogId, u64),
    /// The epoch that is to end is not the node's current one.
    #[error("{asked} asks to end, but by charter version {version} the node signs {current}")]
    NotCurrent {
        /// The epoch that asks.
        asked: LogId,
        /// The current one.
        current: LogId,
        /// Of the charter.
        version: u64,
    },
    /// A key is in use already.
    #[error("the key {0} is in use already: a request has new keys")]
    UsedKey(String),
}

/// What can be asked of the authority.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NodeRequest {
    /// A node's next epoch.
    NextEpoch(Box<EpochRequest>),
    /// To be a node.
    Join(Box<JoinRequest>),
}

impl NodeRequest {
    /// Opens what may be looked at by the charter.
    ///
    /// # Errors
    /// Why not, for people.
    pub fn open(note: &str, charter: &Charter) -> Result<Self, String> {
        if JoinRequest::is_one(note) {
            return open_join(note, charter).map(|r| Self::Join(Box::new(r))).map_err(|e| e.to_string());
        }
        open_request(note, charter).map(|r| Self::NextEpoch(Box::new(r))).map_err(|e| e.to_string())
    }

    /// Who asks, in the epoch that it has or wants to have first.
    pub fn node(&self) -> LogId {
        match self {
            Self::NextEpoch(request) => request.log,
            Self::Join(request) => request.node(),
        }
    }

    /// The log that ends if it is given; of one that is no node yet, the log that begins.
    pub fn log(&self) -> LogId {
        match self {
            Self::NextEpoch(request) => request.log,
            Self::Join(request) => request.invite.invite.ends().unwrap_or(request.node()),
        }
    }

    /// The node at or below which whoever asks is, by the charter: itself, or the parent that it wants to have.
    pub fn place(&self) -> Division {
        match self {
            Self::NextEpoch(request) => request.log.division,
            Self::Join(request) => request.invite.invite.parent,
        }
    }

    /// Names the request.
    pub fn digest(&self) -> Hash {
        match self {
            Self::NextEpoch(request) => request.digest(),
            Self::Join(request) => request.digest(),
        }
    }

    /// What is said with it, for people.
    pub fn reason(&self) -> &str {
        match self {
            Self::NextEpoch(request) => &request.reason,
            Self::Join(request) => &request.invite.invite.name,
        }
    }

    /// Whether it is still to be answered by this charter.
    pub fn stands(&self, charter: &Charter) -> bool {
        let serves = |d: Division| charter.node(d).is_some_and(|n| !n.retired);
        match self {
            Self::NextEpoch(r) => serves(r.log.division) && charter.current_log(r.log.division) == Some(r.log),
            Self::Join(r) => check_free(&r.invite.invite, charter).is_ok() && serves(r.invite.invite.parent),
        }
    }
}

/// Opens a request of a node of `charter`: both signatures hold, and the epoch that is to end is the node's current one.
///
/// # Errors
/// [`RequestRefused`].
pub fn open_request(note: &str, charter: &Charter) -> Result<EpochRequest, RequestRefused> {
    let request = EpochRequest::open(note)?;
    if request.federation != *charter.federation() {
        return Err(RequestRefused::Federation(request.federation));
    }
    let (asked, version) = (request.log, charter.version());
    let unknown = || RequestRefused::Unknown(asked, version);
    let node = charter.node(asked.division).filter(|n| !n.retired).ok_or_else(unknown)?;
    let current = charter.current_log(asked.division).ok_or_else(unknown)?;
    if current != asked {
        return Err(RequestRefused::NotCurrent { asked, current, version });
    }
    let key = charter.log_key(asked).ok_or_else(unknown)?;
    EpochRequest::signed_by(note, &key)?;
    let used = node.epochs.iter().flat_map(|e| [&e.log, &e.operations, &e.returns, &e.mirror, &e.link]);
    let used: Vec<_> = used.map(tally_protocol::keys::VerifierKey::public).collect();
    let twice = request.keys.named().into_iter().find(|(_, key)| used.contains(&key.public()));
    if let Some((_, key)) = twice {
        return Err(RequestRefused::UsedKey(key.name().to_owned()));
    }
    Ok(request)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        charter::tests::{document, federation, keys, node, sample},
        sample as shared,
    };
    use tally_protocol::{keys::NodeKeys, request::ProposedKeys};

    fn request(now: &NodeKeys, next: &NodeKeys) -> String {
        let request = EpochRequest {
            federation: federation(),
            log: now.node,
            time: 1,
            size: 0,
            root: Hash([0; 32]),
            nonce: [0; 16],
            keys: ProposedKeys::of(next),
            reason: "r".into(),
        };
        request.sign(now, next)
    }

    #[test]
    fn only_a_node_of_the_charter_asks_and_only_for_itself() {
        let charter = Charter::parse(&document(1, &sample())).unwrap();
        let (now, next) = (keys("350102/e1"), keys("350102/e2"));
        let good = open_request(&request(&now, &next), &charter).unwrap();
        assert_eq!((good.log, good.next()), (now.node, next.node));
        // Another secret than the charter's.
        let stranger = NodeKeys::derive(&federation(), now.node, &[9; 32]);
        let why = open_request(&request(&stranger, &next), &charter);
        assert!(matches!(why, Err(RequestRefused::Note(_))), "{why:?}");
        // Not a node, retired, or not in that epoch.
        let absent = open_request(&request(&keys("350103/e1"), &keys("350103/e2")), &charter);
        assert!(matches!(absent, Err(RequestRefused::Unknown(..))), "{absent:?}");
        let mut nodes = sample();
        nodes[2] = node("350102", "county", "350100", "retired = true");
        let retired = Charter::parse(&document(1, &nodes)).unwrap();
        assert!(matches!(open_request(&request(&now, &next), &retired), Err(RequestRefused::Unknown(..))));
        let later = open_request(&request(&keys("350102/e2"), &keys("350102/e3")), &charter);
        assert!(matches!(later, Err(RequestRefused::NotCurrent { .. })), "{later:?}");
        // Another federation's node of the same number has other keys.
        let other = shared::charter("");
        assert!(open_request(&request(&now, &next), &other).is_err());
    }
}
