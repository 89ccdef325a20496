//! What the network lets through: the own ports, and whether the parent answers on UDP.
//!
//! The parent is asked without a link, which would take over from the node's own: a QUIC server answers a first packet of a
//! version that nobody speaks with the versions that it speaks (RFC 9000, section 6), and keeps nothing of it.

use super::{Patient, Test, Verdict};
use std::{
    net::{SocketAddr, TcpListener, ToSocketAddrs as _, UdpSocket},
    time::Duration,
};
use tally_client::BindError;
use tally_topology::signed::SignedCharter;

/// A server answers only to packets of at least this size in bytes (RFC 9000, section 14.1).
const FIRST_PACKET_BYTES: usize = 1_200;
/// A version that is reserved to be spoken by nobody (RFC 9000, section 15).
const NOBODYS_VERSION: [u8; 4] = [0x1a, 0x2a, 0x3a, 0x4a];
/// Length of the connection ids in the packet.
const ID_BYTES: u8 = 8;
/// An answer is waited for so long, and asked for so often.
const PATIENCE: Duration = Duration::from_secs(2);
const TRIES: usize = 3;

/// The node's own ports: free, if it does not run.
pub(super) fn ports(p: &Patient) -> Vec<Test> {
    const NAME: &str = "ports";
    let listen = &p.config.listen;
    if p.status.is_some() {
        let http = listen.http.map_or(String::new(), |a| format!(", TCP {a}"));
        return vec![Test::ok(NAME, format!("the node has them: UDP {}{http}", listen.quic))];
    }
    let used = |what: String, e: &dyn std::fmt::Display, option: &str| {
        Test::failed(NAME, format!("{what}: {e}"), format!("stop whoever has it (ss -lnp), or change {option}"))
    };
    let mut tests = vec![match UdpSocket::bind(listen.quic) {
        Ok(_) => Test::ok(NAME, format!("UDP {} is free", listen.quic)),
        Err(e) => used(format!("UDP {}", listen.quic), &e, "listen.quic"),
    }];
    tests.extend(listen.http.map(|address| match TcpListener::bind(address) {
        Ok(_) => Test::ok(NAME, format!("TCP {address} is free")),
        Err(e) => used(format!("TCP {address}"), &e, "listen.http"),
    }));
    let admin = p.config.admin();
    tests.push(match tally_client::look(&admin) {
        Ok(_) => Test::ok(NAME, format!("{} is free", admin.display())),
        Err(BindError::InUse(_)) => {
            let what = format!("another process answers at {}", admin.display());
            Test::failed(NAME, what, "is it another node's? correct listen.admin")
        }
        Err(e) => Test::failed(NAME, e.to_string(), "correct listen.admin"),
    });
    tests
}

/// Whether the parent answers.
pub(super) fn parent(p: &Patient) -> Test {
    const NAME: &str = "parent";
    let Some(charter) = p.charter.as_ref().map(SignedCharter::charter) else {
        return Test::of(NAME, Verdict::Skipped, "no charter", "");
    };
    if p.config.node.offline {
        return Test::ok(NAME, "this node carries bundles (node.offline)");
    }
    let Some(parent) = charter.parent(p.config.node.division).and_then(|d| charter.node(d)) else {
        return Test::ok(NAME, "the top has none");
    };
    let linked = p.status.as_ref().and_then(|s| s.parent.as_ref()).is_some_and(|s| s.state.name() == "live");
    if linked {
        return Test::ok(NAME, format!("{} {} is linked", parent.division, parent.name));
    }
    let mut why = Vec::new();
    for address in &parent.addresses {
        match address.to_socket_addrs() {
            Ok(found) => {
                for to in found {
                    match answers(to) {
                        Ok(true) => {
                            let what = format!("{} {} answers on UDP at {to}", parent.division, parent.name);
                            return match p.status.is_some() {
                                true => Test::warning(
                                    NAME,
                                    format!("{what}, and there is no link"),
                                    "tally status names the reason (parent_not_live)",
                                ),
                                false => Test::ok(NAME, what),
                            };
                        }
                        Ok(false) => why.push(format!("no answer from UDP {to}")),
                        Err(e) => why.push(format!("UDP {to}: {e}")),
                    }
                }
            }
            Err(e) => why.push(format!("{address}: {e}")),
        }
    }
    let next = "does the parent run; is its address in the charter right; do firewalls let UDP pass both ways?";
    Test::failed(NAME, format!("{} {}: {}", parent.division, parent.name, why.join("; ")), next)
}

/// A first packet in the form that all versions of QUIC have in common (RFC 8999, section 5.1).
fn first_packet() -> Vec<u8> {
    let mut packet = vec![0xc0];
    packet.extend(NOBODYS_VERSION);
    for id in [0x11, 0x22] {
        packet.push(ID_BYTES);
        packet.extend([id; ID_BYTES as usize]);
    }
    packet.resize(FIRST_PACKET_BYTES, 0);
    packet
}

/// Whether a QUIC server answers at this address. Blocking, for some seconds at most.
fn answers(to: SocketAddr) -> std::io::Result<bool> {
    let any: SocketAddr = if to.is_ipv4() { ([0, 0, 0, 0], 0).into() } else { ([0_u16; 8], 0).into() };
    let socket = UdpSocket::bind(any)?;
    socket.connect(to)?;
    socket.set_read_timeout(Some(PATIENCE))?;
    let (packet, mut answer) = (first_packet(), [0; 2_048]);
    for _ in 0..TRIES {
        socket.send(&packet)?;
        match socket.recv(&mut answer) {
            // Version negotiation: a long header with version 0.
            Ok(n) => return Ok(n >= 7 && answer[0] & 0x80 != 0 && answer[1..5] == [0; 4]),
            Err(e) if matches!(e.kind(), std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut) => {}
            Err(e) if e.kind() == std::io::ErrorKind::ConnectionRefused => return Ok(false),
            Err(e) => return Err(e),
        }
    }
    Ok(false)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_answers_with_versions_is_there_and_who_answers_otherwise_is_not() {
        let server = |answer: Vec<u8>| {
            let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
            let at = socket.local_addr().unwrap();
            std::thread::spawn(move || {
                let mut packet = [0; 2_048];
                let (n, from) = socket.recv_from(&mut packet).unwrap();
                assert!(n >= FIRST_PACKET_BYTES && packet[1..5] == NOBODYS_VERSION);
                socket.send_to(&answer, from).unwrap();
            });
            at
        };
        assert!(answers(server(vec![0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1])).unwrap());
        assert!(!answers(server(b"HTTP/1.1 400".to_vec())).unwrap());
        // Nobody listens there any more: the system says so at once.
        let gone = UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        assert!(!answers(gone).unwrap());
    }
}
