//! Why nobody answers, as far as the system knows: asked after a call was in vain, with one packet from a socket of its own. QUIC's
//! socket is shared by all links, so the system cannot tell it whose packet met an error.

use super::{
    limits::UDP_PAYLOAD_MIN,
    trouble::{CallFailure, path_min},
};
use rustix::net::sockopt::{self, Ipv4PathMtuDiscovery, Ipv6PathMtuDiscovery};
use std::{
    io,
    net::{Ipv4Addr, Ipv6Addr, SocketAddr},
    time::Duration,
};
use tokio::net::UdpSocket;

/// An error of the network comes back within this, or not at all.
const WAIT: Duration = Duration::from_secs(1);
/// A long header of version 0, which no server answers (RFC 9000, 6.1).
const UNANSWERED: u8 = 0x80;

/// What the system says of the way to that address; `None` when it knows of nothing wrong.
///
/// Cancel-safe.
pub(crate) async fn probe(target: SocketAddr) -> Option<CallFailure> {
    let any = if target.is_ipv4() { (Ipv4Addr::UNSPECIFIED, 0).into() } else { (Ipv6Addr::UNSPECIFIED, 0).into() };
    let socket = bind(any).await.ok()?;
    let failed = async {
        socket.connect(target).await?;
        let mut packet = [0; UDP_PAYLOAD_MIN];
        if let Some(first) = packet.first_mut() {
            *first = UNANSWERED;
        }
        socket.send(&packet).await?;
        // An answer of any kind is no error.
        let heard = tokio::time::timeout(WAIT, socket.recv(&mut packet)).await;
        heard.map_or(Ok(0), |heard| heard)
    };
    let error = failed.await.err();
    let narrow = || {
        let mtu = if target.is_ipv4() { sockopt::ip_mtu(&socket) } else { sockopt::ipv6_mtu(&socket) };
        let (mtu, needed) = (mtu.ok()? as usize, path_min(target));
        (mtu < needed).then_some(CallFailure::PathTooNarrow(mtu, needed))
    };
    match error.as_ref().map(io::Error::kind) {
        Some(io::ErrorKind::ConnectionRefused) => Some(CallFailure::PortClosed),
        Some(io::ErrorKind::NetworkUnreachable | io::ErrorKind::HostUnreachable) => Some(CallFailure::NoRoute),
        _ => narrow(),
    }
}

async fn bind(any: SocketAddr) -> io::Result<UdpSocket> {
    let socket = UdpSocket::bind(any).await?;
    // Not to be cut into pieces: what QUIC sends is not either.
    if any.is_ipv4() {
        sockopt::set_ip_mtu_discover(&socket, Ipv4PathMtuDiscovery::DO)?;
    } else {
        sockopt::set_ipv6_mtu_discover(&socket, Ipv6PathMtuDiscovery::DO)?;
    }
    Ok(socket)
}
