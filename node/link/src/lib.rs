//! Links between neighbours: QUIC streams that carry frames. Knows messages, no storage and no rules.

mod dial;
mod exchange;
mod frame;
mod host;
mod listen;
mod outbox;
mod run;
mod tls;

pub use dial::{Dial, dial};
pub use exchange::{Answerers, Exchange, ExchangeError, Incoming, LinkRegistry, Purpose, SILENCE};
pub use host::{BatchToken, LinkEvent, LinkHost, LinkNumber, NodeGone, Peer, Told};
pub use listen::listen;
pub use outbox::{LinkOut, Outbox};

use std::{
    net::{SocketAddr, UdpSocket},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};
use tally_protocol::keys::NodeKeys;
use tally_topology::in_force::CharterHandle;
use tokio::{sync::Semaphore, task::JoinError};

/// Whether a task that works for one peer has panicked, which is logged: its link or exchange ends with it, and no other
/// peer is held up.
pub fn panicked<T>(work: &str, task: &Result<T, JoinError>) -> bool {
    let Some(panic) = task.as_ref().err().filter(|e| e.is_panic()) else { return false };
    tracing::error!(event = "peer.panicked", work, reason = %panic, "work for a peer has panicked: it ends, the node goes on");
    true
}

/// Bytes of batches that may be in memory on their way to disk, over all links.
pub const ROOM_BYTES: usize = 16 << 20;
/// Of them, over one link: no peer can take the room of all others.
pub const LINK_ROOM_BYTES: usize = 4 << 20;
/// Unread bytes of one stream. Small against the connection's, so that streams that wait for room do not starve the
/// control stream.
const STREAM_WINDOW: u32 = 256 << 10;
const CONNECTION_WINDOW: u32 = 32 << 20;
const SEND_WINDOW: u64 = 8 << 20;
/// A batch that was announced has to arrive within this.
const BODY: Duration = Duration::from_secs(30);
const SOCKET_BUFFER: usize = 4 << 20;
/// Guess before the first answer: a call that is lost is repeated after some three times this.
const FIRST_RTT: Duration = Duration::from_millis(100);
const KEEP_ALIVE: Duration = Duration::from_secs(2);
const IDLE: Duration = Duration::from_secs(12);
/// A peer has this long for the handshake and for opening its control stream.
const SETUP: Duration = Duration::from_secs(10);

/// What every link of a node uses.
#[derive(Debug, Clone)]
pub struct LinkContext {
    /// Whom to let in, by the charter in force.
    pub charter: CharterHandle,
    /// Who is told, and where batches are read.
    pub node: Arc<dyn LinkHost>,
    /// Memory for arriving batches.
    pub room: Arc<Semaphore>,
    /// Set while the disk has no room: nothing more is read from peers.
    pub full: Arc<AtomicBool>,
    /// The node's keys.
    pub keys: Arc<NodeKeys>,
    /// Live connections.
    pub links: LinkRegistry,
    /// Who answers the exchanges that neighbours open.
    pub answerers: Answerers,
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
        let room = Arc::new(Semaphore::new(ROOM_BYTES));
        let (links, names) = (LinkRegistry::default(), Arc::new(AtomicU64::new(1)));
        Self { charter, node, room, full, keys, links, answerers, names }
    }

    fn name(&self) -> LinkNumber {
        LinkNumber(self.names.fetch_add(1, Ordering::Relaxed))
    }
}

fn transport() -> Arc<quinn::TransportConfig> {
    let mut t = quinn::TransportConfig::default();
    t.stream_receive_window(STREAM_WINDOW.into())
        .receive_window(CONNECTION_WINDOW.into())
        .send_window(SEND_WINDOW)
        // The control stream, and exchanges.
        .max_concurrent_bidi_streams((1 + exchange::EXCHANGES).into())
        .max_concurrent_uni_streams(4_096_u16.into())
        .initial_rtt(FIRST_RTT)
        .keep_alive_interval(Some(KEEP_ALIVE))
        .max_idle_timeout(IDLE.try_into().ok())
        .datagram_receive_buffer_size(None);
    Arc::new(t)
}

/// Opens the node's one UDP socket. Children call it, and the parent is called from it.
///
/// # Errors
/// When the address cannot be bound, or the TLS configuration is refused.
pub fn endpoint(address: SocketAddr, context: &LinkContext) -> anyhow::Result<quinn::Endpoint> {
    use anyhow::Context as _;
    let socket = UdpSocket::bind(address).with_context(|| format!("listen.quic: cannot listen on UDP {address}"))?;
    // Best effort: small buffers only cost speed.
    let _ = rustix::net::sockopt::set_socket_recv_buffer_size(&socket, SOCKET_BUFFER);
    let _ = rustix::net::sockopt::set_socket_send_buffer_size(&socket, SOCKET_BUFFER);
    // The same key after a restart: peers of the old process learn at once that their link is gone.
    let seed = blake3::derive_key("tally v1 quic reset key", context.keys.link_seed());
    let reset = ring_hmac(&seed);
    let config = quinn::EndpointConfig::new(reset);
    let mut server = quinn::ServerConfig::with_crypto(Arc::new(tls::server(context)?));
    server.transport_config(transport()).migration(false).max_incoming(256);
    let runtime = Arc::new(quinn::TokioRuntime);
    Ok(quinn::Endpoint::new(config, Some(server), socket, runtime)?)
}

fn ring_hmac(seed: &[u8; 32]) -> Arc<dyn quinn::crypto::HmacKey> {
    Arc::new(ring::hmac::Key::new(ring::hmac::HMAC_SHA256, seed))
}
