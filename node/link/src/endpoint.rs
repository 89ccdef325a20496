//! The node's UDP sockets. Children call the first, which `listen.quic` names; the parent is called from it too, or from a second
//! one that is opened when the parent has an address of a family that the first cannot reach.
//!
//! A restart is noticed at once at the other end: connection ids that this process did not give out are answered with a reset,
//! whose key follows from the node's secret and so is the same in each life. It must not know who may call.

use super::{
    LinkContext,
    limits::{
        CALLER_WINDOW, CONNECTION_WINDOW, FIRST_RTT, INCOMING_MAX, KEEP_ALIVE, PUSH_STREAMS, Patience, SEND_WINDOW,
        SOCKET_BUFFER, STREAM_WINDOW,
    },
    {exchange, tls},
};
use anyhow::Context as _;
use rustix::net::{AddressFamily, SocketFlags, SocketType, bind, socket_with, sockopt};
use std::{
    io,
    net::{Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};
use tally_protocol::keys::{NodeKeys, Zeroizing};

/// One reset goes out in so long, at most.
const RESET_EVERY: Duration = Duration::from_millis(5);
/// Bytes of a connection id.
const CONNECTION_ID: usize = 8;

/// The sockets of a node.
#[derive(Debug, Clone)]
pub struct Endpoints {
    listening: quinn::Endpoint,
    /// Reaches what the first cannot.
    other: Arc<Mutex<Option<quinn::Endpoint>>>,
    config: quinn::EndpointConfig,
    /// For each call, with TLS of its own.
    server: quinn::ServerConfig,
}

impl Endpoints {
    /// Opens the socket on which the node listens. On `[::]` it hears IPv4 too, whatever the system's default is.
    ///
    /// # Errors
    /// When the address cannot be bound, or the TLS configuration is refused.
    pub fn open(address: SocketAddr, context: &LinkContext) -> anyhow::Result<Self> {
        let socket = socket(address).with_context(|| {
            format!("listen.quic: cannot listen on UDP {address}: change it, or stop whoever has the port")
        })?;
        let config = config(&context.keys)?;
        let mut server = quinn::ServerConfig::with_crypto(Arc::new(tls::server(context)?.0));
        // A NAT in between may give a caller another port at any time: it is proved (path validation), and the link goes on.
        server.transport_config(callers_transport(&context.patience)).migration(true).max_incoming(INCOMING_MAX);
        let listening =
            quinn::Endpoint::new(config.clone(), Some(server.clone()), socket, Arc::new(quinn::TokioRuntime))?;
        Ok(Self { listening, other: Arc::default(), config, server })
    }

    /// Where children are heard.
    ///
    /// # Errors
    /// When the system does not say.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.listening.local_addr()
    }

    /// Closes all links; nothing is called or heard any more.
    pub fn close(&self, reason: &[u8]) {
        self.each().iter().for_each(|e| e.close(0_u8.into(), reason));
    }

    /// Waits until the peers know of the closed links, or have had their time for it.
    ///
    /// Cancel-safe.
    pub async fn wait_idle(&self) {
        for endpoint in self.each() {
            endpoint.wait_idle().await;
        }
    }

    pub(crate) fn listening(&self) -> &quinn::Endpoint {
        &self.listening
    }

    /// The socket from which that address can be reached.
    ///
    /// # Errors
    /// When this machine opens no socket of that family.
    pub(crate) fn towards(&self, target: SocketAddr) -> io::Result<quinn::Endpoint> {
        let here = self.listening.local_addr()?;
        // An IPv6 socket on all addresses hears and calls both families.
        if here.is_ipv4() == target.is_ipv4() || here.ip() == Ipv6Addr::UNSPECIFIED {
            return Ok(self.listening.clone());
        }
        let mut other = self.other.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(open) = &*other {
            return Ok(open.clone());
        }
        let any = if target.is_ipv4() { (Ipv4Addr::UNSPECIFIED, 0).into() } else { (Ipv6Addr::UNSPECIFIED, 0).into() };
        let opened = quinn::Endpoint::new(self.config.clone(), None, socket(any)?, Arc::new(quinn::TokioRuntime))?;
        Ok(other.insert(opened).clone())
    }

    /// How one call is taken, and what it shows of itself in its first packet.
    ///
    /// # Errors
    /// When TLS refuses its configuration.
    pub(crate) fn server(&self, context: &LinkContext) -> anyhow::Result<(Arc<quinn::ServerConfig>, tls::WantsToJoin)> {
        let (crypto, wants) = tls::server(context)?;
        let mut server = self.server.clone();
        server.crypto = Arc::new(crypto);
        Ok((Arc::new(server), wants))
    }

    fn each(&self) -> Vec<quinn::Endpoint> {
        let other = self.other.lock().unwrap_or_else(PoisonError::into_inner).clone();
        other.into_iter().chain([self.listening.clone()]).collect()
    }
}

fn socket(address: SocketAddr) -> io::Result<UdpSocket> {
    let family = if address.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
    let socket = socket_with(family, SocketType::DGRAM, SocketFlags::CLOEXEC, None)?;
    if address.ip() == Ipv6Addr::UNSPECIFIED {
        sockopt::set_ipv6_v6only(&socket, false)?;
    }
    bind(&socket, &address)?;
    // Best effort: small buffers only cost speed.
    let _ = sockopt::set_socket_recv_buffer_size(&socket, SOCKET_BUFFER);
    let _ = sockopt::set_socket_send_buffer_size(&socket, SOCKET_BUFFER);
    Ok(socket.into())
}

fn config(keys: &NodeKeys) -> anyhow::Result<quinn::EndpointConfig> {
    // The same key in each life of the node: peers of the old process learn at once that their link is gone.
    let seed = Zeroizing::new(blake3::derive_key("tally v1 quic reset key", keys.link_seed()));
    let mut config = quinn::EndpointConfig::new(Arc::new(ring::hmac::Key::new(ring::hmac::HMAC_SHA256, &*seed)));
    let mut random = [0; 32];
    getrandom::fill(&mut random).map_err(|e| anyhow::anyhow!("the system gives no random bytes: {e}"))?;
    let make = move || -> Box<dyn quinn::ConnectionIdGenerator> { Box::new(ConnectionIds { key: random, given: 0 }) };
    // Resets are smaller than what they answer. All children of a node that was started again send within a second.
    config.cid_generator(make).min_reset_interval(RESET_EVERY);
    Ok(config)
}

/// Connection ids without a mark of the process: quinn's own have one, and drop packets of the life before instead of answering
/// them with a reset.
struct ConnectionIds {
    key: [u8; 32],
    given: u64,
}

impl quinn::ConnectionIdGenerator for ConnectionIds {
    fn generate_cid(&mut self) -> quinn::ConnectionId {
        self.given += 1;
        let hash = blake3::keyed_hash(&self.key, &self.given.to_le_bytes());
        quinn::ConnectionId::new(hash.as_bytes().get(..CONNECTION_ID).unwrap_or_default())
    }

    fn cid_len(&self) -> usize {
        CONNECTION_ID
    }

    fn cid_lifetime(&self) -> Option<Duration> {
        None
    }
}

/// A socket for calls to that address alone.
///
/// # Errors
/// When this machine opens none of that family.
pub(crate) fn caller_endpoint(target: SocketAddr) -> io::Result<quinn::Endpoint> {
    let any = if target.is_ipv4() { (Ipv4Addr::UNSPECIFIED, 0).into() } else { (Ipv6Addr::UNSPECIFIED, 0).into() };
    quinn::Endpoint::new(quinn::EndpointConfig::default(), None, socket(any)?, Arc::new(quinn::TokioRuntime))
}

/// How packets of callers are taken until their key is known: little of them is kept unread.
fn callers_transport(patience: &Patience) -> Arc<quinn::TransportConfig> {
    let mut t = common(patience);
    t.receive_window(CALLER_WINDOW.into()).max_concurrent_bidi_streams(1_u8.into());
    t.max_concurrent_uni_streams(0_u8.into());
    Arc::new(t)
}

/// A caller is a child: it may do from here on what a link may.
pub(crate) fn widen(connection: &quinn::Connection) {
    connection.set_receive_window(CONNECTION_WINDOW.into());
    connection.set_max_concurrent_bi_streams((1 + exchange::EXCHANGES).into());
    connection.set_max_concurrent_uni_streams(PUSH_STREAMS.into());
}

/// How packets are sent, for links of either side.
pub(crate) fn transport(patience: &Patience) -> Arc<quinn::TransportConfig> {
    Arc::new(common(patience))
}

fn common(patience: &Patience) -> quinn::TransportConfig {
    let mut t = quinn::TransportConfig::default();
    t.stream_receive_window(STREAM_WINDOW.into())
        .receive_window(CONNECTION_WINDOW.into())
        .send_window(SEND_WINDOW)
        // The control stream, and exchanges.
        .max_concurrent_bidi_streams((1 + exchange::EXCHANGES).into())
        .max_concurrent_uni_streams(PUSH_STREAMS.into())
        .initial_rtt(FIRST_RTT)
        .keep_alive_interval(Some(KEEP_ALIVE))
        .max_idle_timeout(patience.idle.try_into().ok())
        .datagram_receive_buffer_size(None);
    t
}
