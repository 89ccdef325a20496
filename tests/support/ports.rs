//! Ports that no other test takes, neither in this process nor in another one.
//!
//! A node that was stopped must find its port still free when it comes back, so nothing is taken from the range that the
//! system gives to any socket that does not name a port. Ports are dealt in blocks. Who holds the abstract socket that
//! is named after a block may use its ports; the system takes it back when the process ends, however it ends.

use std::{
    fs,
    net::{TcpListener, UdpSocket},
    ops::{Range, RangeInclusive},
    os::{linux::net::SocketAddrExt as _, unix::net},
    sync::{Mutex, PoisonError},
};

const BLOCK: u16 = 16;
const PORTS: Range<u16> = 10_000..65_000;

/// A port for UDP and TCP on 127.0.0.1, handed out once.
pub fn free_port() -> u16 {
    static DEALER: Mutex<Dealer> = Mutex::new(Dealer { blocks: Vec::new(), left: 0..0 });
    DEALER.lock().unwrap_or_else(PoisonError::into_inner).deal()
}

#[derive(Debug)]
struct Dealer {
    /// Held until the process ends.
    blocks: Vec<net::UnixListener>,
    /// What is left of the last block.
    left: Range<u16>,
}

impl Dealer {
    fn deal(&mut self) -> u16 {
        // Programs that know nothing of these blocks may listen somewhere.
        let free = |p: &u16| UdpSocket::bind(("127.0.0.1", *p)).is_ok() && TcpListener::bind(("127.0.0.1", *p)).is_ok();
        loop {
            if let Some(port) = self.left.by_ref().find(free) {
                return port;
            }
            let (block, ports) = take_block();
            self.blocks.push(block);
            self.left = ports;
        }
    }
}

/// A block that nobody holds.
fn take_block() -> (net::UnixListener, Range<u16>) {
    let given_away = given_away();
    let apart = |first: &u16| *first + BLOCK <= *given_away.start() || first > given_away.end();
    let firsts: Vec<_> = PORTS.step_by(BLOCK.into()).filter(apart).collect();
    // One run after another starts elsewhere, so that late packets to its nodes meet nobody.
    let start = std::process::id() as usize * 7 % firsts.len().max(1);
    let take = |first: &u16| {
        let name = net::SocketAddr::from_abstract_name(format!("tally-tests/ports/{first}")).ok()?;
        Some((net::UnixListener::bind_addr(&name).ok()?, *first..*first + BLOCK))
    };
    firsts[start..].iter().chain(&firsts[..start]).find_map(take).expect("other tests hold all ports")
}

/// The range from which the system takes ports by itself.
fn given_away() -> RangeInclusive<u16> {
    let text = fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range").unwrap_or_default();
    let mut bounds = text.split_whitespace().filter_map(|n| n.parse().ok());
    bounds.next().unwrap_or(32_768)..=bounds.next().unwrap_or(60_999)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{collections::BTreeSet, thread};

    #[test]
    fn no_port_is_dealt_twice_to_threads_that_ask_at_once() {
        let deal = || (0..3 * BLOCK).map(|_| free_port()).collect::<Vec<_>>();
        let dealt: Vec<_> = thread::scope(|s| {
            let threads: Vec<_> = (0..4).map(|_| s.spawn(deal)).collect();
            threads.into_iter().flat_map(|t| t.join().unwrap()).collect()
        });
        assert_eq!(dealt.iter().collect::<BTreeSet<_>>().len(), dealt.len());
        assert!(dealt.iter().all(|p| !given_away().contains(p)), "{dealt:?}");
    }

    #[test]
    fn a_block_that_is_held_is_not_given_to_another() {
        let (held, ports) = take_block();
        let (_other, others) = take_block();
        assert_ne!(ports, others);
        drop(held);
    }
}
