//! Links between neighbours: QUIC streams that carry frames. Knows messages, no storage and no rules.

#![cfg_attr(
    test,
    allow(clippy::disallowed_methods, reason = "tests may block: what is built for the program is checked")
)]

mod arrive;
mod call;
mod callers;
mod dial;
mod endpoint;
mod exchange;
mod frame;
mod host;
mod join;
mod limits;
mod listen;
mod outbox;
mod probe;
mod push;
mod room;
mod run;
mod strangers;
#[cfg(test)]
mod tests;
mod tls;
mod trouble;

pub use dial::{Dial, dial};
pub use endpoint::Endpoints;
pub use exchange::{Answerers, Exchange, ExchangeError, Incoming, LinkRegistry, Purpose, SILENCE};
pub use host::{BatchToken, LinkEvent, LinkHost, LinkNumber, NodeGone, Peer, Told};
pub use join::{JoinLink, NoAnswer, Unreached, call_to_join};
pub use listen::listen;
pub use outbox::{LinkOut, Outbox};
pub use room::FrameRoom;
pub use strangers::StrangerCall;
pub use trouble::CallFailure;

use limits::Patience;
use room::Room;
use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicU64, Ordering},
};
use strangers::Strangers;
use tally_protocol::keys::NodeKeys;
use tally_topology::in_force::CharterHandle;
use tokio::task::JoinError;

/// Whether a task that works for one peer has panicked, which is logged: its link or exchange ends with it, and no other
/// peer is held up.
pub fn panicked<T>(work: &str, task: &Result<T, JoinError>) -> bool {
    let Some(panic) = task.as_ref().err().filter(|e| e.is_panic()) else { return false };
    tracing::error!(event = "peer.panicked", work, reason = %panic, "work for a peer has panicked: it ends, the node goes on");
    true
}

/// What every link of a node uses.
#[derive(Debug, Clone)]
pub struct LinkContext {
    /// Whom to let in, by the charter in force.
    pub charter: CharterHandle,
    /// Who is told, and where batches are read.
    pub node: Arc<dyn LinkHost>,
    /// Set while the disk has no room: nothing more is read from peers.
    pub full: Arc<AtomicBool>,
    /// The node's keys.
    pub keys: Arc<NodeKeys>,
    /// Live connections.
    pub links: LinkRegistry,
    /// Who answers the exchanges that neighbours open.
    pub answerers: Answerers,
    /// Memory for arriving batches.
    room: Room,
    strangers: Strangers,
    patience: Patience,
    names: Arc<AtomicU64>,
}

impl LinkContext {
    /// With names for links from 1 on.
    pub fn new(
        charter: CharterHandle,
        node: Arc<dyn LinkHost>,
        full: Arc<AtomicBool>,
        keys: Arc<NodeKeys>,
        answerers: Answerers,
    ) -> Self {
        let (links, names) = (LinkRegistry::default(), Arc::new(AtomicU64::new(1)));
        let (room, strangers, patience) = (Room::new(), Strangers::default(), Patience::default());
        Self { charter, node, full, keys, links, answerers, room, strangers, patience, names }
    }

    fn name(&self) -> LinkNumber {
        LinkNumber(self.names.fetch_add(1, Ordering::Relaxed))
    }
}

#[cfg(test)]
mod panics {
    use super::*;

    /// What panics for a peer is told from what was ended and from what has ended by itself.
    #[tokio::test]
    async fn a_panic_in_work_for_a_peer_is_told_from_an_end() {
        let mut work = tokio::task::JoinSet::new();
        work.spawn(async { panic!("of a peer's bytes") });
        assert!(panicked("batches", &work.join_next().await.unwrap()));
        work.spawn(async {});
        assert!(!panicked("batches", &work.join_next().await.unwrap()));
        work.spawn(std::future::pending());
        work.abort_all();
        assert!(!panicked("batches", &work.join_next().await.unwrap()));
    }
}
