//! What a joining machine keeps of its request, in `join.json` beside `tally.toml`: whoever stops waiting goes on with the same
//! request, and with the same digits. It is the first file that is written, and says what is still to be made.

use super::{super::Failure, place::at};
use serde::{Deserialize, Serialize};
use std::{
    fs, io,
    net::SocketAddr,
    path::{Path, PathBuf},
};
use tally_client::{owner::hand_over, save::save_private};
use tally_protocol::{invite::SignedInvite, join::JoinRequest, keys::NodeKeys, request::ProposedKeys};

/// Where a request stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum JoinState {
    /// Nobody has answered it.
    Pending,
    /// The charter names this node.
    Admitted,
    /// It was not given.
    Rejected,
}

/// The file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct KeptJoin {
    /// The invitation as a line.
    pub(super) token: String,
    /// POSIX seconds.
    pub(super) time: u64,
    pub(super) nonce: [u8; 16],
    pub(super) addresses: Vec<String>,
    /// What the parent has answered; none for a request that is carried.
    pub(super) answer: Option<[u8; 16]>,
    pub(super) state: JoinState,
    /// What was said with the answer.
    #[serde(default)]
    pub(super) reason: String,
    /// What `tally.toml` is to say, until it is written.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) listens: Option<KeptListens>,
}

/// What the operator said of a node that has no `tally.toml` yet.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct KeptListens {
    pub(super) quic: Option<SocketAddr>,
    pub(super) http: Option<SocketAddr>,
    pub(super) offline: bool,
}

fn file(dir: &Path) -> PathBuf {
    dir.join("join.json")
}

impl KeptJoin {
    /// What is kept there, if anything is.
    pub(super) fn load(dir: &Path) -> Result<Option<Self>, Failure> {
        let path = file(dir);
        match fs::read(&path) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(e) => Err(at(&path)(e)),
            Ok(bytes) => serde_json::from_slice(&bytes).map(Some).map_err(|e| at(&path)(io::Error::other(e))),
        }
    }

    /// Durable when it returns. Its owner's only: the invitation is in it.
    pub(super) fn save(&self, dir: &Path) -> Result<(), Failure> {
        let path = file(dir);
        let text = serde_json::to_vec_pretty(self).map_err(Failure::failed)?;
        save_private(&path, &text).map_err(at(&path))?;
        hand_over(&path).map_err(at(&path))
    }

    /// Whether another one is of the same request.
    pub(super) fn is_of(&self, other: &Self) -> bool {
        (&self.token, self.nonce) == (&other.token, other.nonce)
    }

    /// The request of this invitation with these keys.
    pub(super) fn request(&self, invite: &SignedInvite, keys: &NodeKeys) -> JoinRequest {
        JoinRequest {
            invite: invite.clone(),
            time: self.time,
            addresses: self.addresses.clone(),
            nonce: self.nonce,
            keys: ProposedKeys::of(keys),
            answer: self.answer,
        }
    }
}
