//! The parent is reached wherever it can be: at any of its addresses, over either family, through a NAT that changes its mind.

use super::*;
use crate::{call::InVain, trouble::CallFailure};
use std::net::UdpSocket as Blocking;
use tokio::net::UdpSocket;

fn quick() -> Patience {
    let (setup, stagger) = (Duration::from_millis(1_500), Duration::from_millis(50));
    Patience { setup, stagger, ..Patience::default() }
}

/// A port on which nobody listens, and one that takes everything and says nothing.
fn dead() -> (SocketAddr, Blocking) {
    let closed = Blocking::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    (closed, Blocking::bind("127.0.0.1:0").unwrap())
}

async fn reach(county: &Node, names: &[String]) -> Result<Called, InVain> {
    soon(call(&county.dial(), division(CITY), names, 0)).await
}

fn has_ipv6() -> bool {
    let has = Blocking::bind("[::1]:0").is_ok();
    if !has {
        eprintln!("skipped: this machine has no IPv6");
    }
    has
}

#[tokio::test]
async fn dead_addresses_do_not_hide_the_one_that_lives() {
    let city = Node::city("127.0.0.1:0", Patience::default());
    let county = Node::new(COUNTY, "0.0.0.0:0", quick());
    let (closed, mute) = dead();
    let mute = mute.local_addr().unwrap();
    let live = city.address();
    let names = ["no.such.name.invalid:7443".to_owned(), closed.to_string(), mute.to_string(), live.to_string()];
    let called = reach(&county, &names).await.unwrap_or_else(|e| panic!("{e}"));
    assert_eq!(called.connection.remote_address(), live);
    assert_eq!(called.address.to_string(), live.to_string());
}

#[tokio::test]
async fn each_address_in_vain_is_named_with_its_reason() {
    let county = Node::new(COUNTY, "0.0.0.0:0", quick());
    let (closed, mute) = dead();
    let mute = mute.local_addr().unwrap();
    let names = ["no.such.name.invalid:7443".to_owned(), closed.to_string(), mute.to_string()];
    let Err(in_vain) = reach(&county, &names).await else { panic!("nobody is there") };
    let kinds: Vec<_> = in_vain.0.iter().map(|(a, why)| (a.to_string(), why.kind())).collect();
    for (name, kind) in names.iter().zip(["name", "port_closed", "no_answer"]) {
        assert!(kinds.contains(&(name.clone(), kind)), "{name} is {kind}: {in_vain}");
    }
    let Err(none) = reach(&county, &[]).await else { panic!("no address at all") };
    assert_eq!(none, InVain(Vec::new()));
}

/// A network of its own, whose one line carries packets of 1,100 bytes.
const NARROW: &str =
    "ip link set lo up mtu 1100 && exec \"$0\" --exact --ignored tests::addresses::inside_a_narrow_network";

#[test]
fn a_path_too_narrow_for_quic_is_told_by_its_bytes() {
    let own = |script: &str| {
        let program = std::env::current_exe().unwrap();
        std::process::Command::new("unshare").args(["-rn", "sh", "-c", script]).arg(program).status()
    };
    if !own("ip link set lo up mtu 1100").is_ok_and(|s| s.success()) {
        return eprintln!("skipped: no network of its own can be made here (unshare, ip)");
    }
    assert!(own(NARROW).unwrap().success());
}

#[tokio::test]
#[ignore = "runs in the network that the test above makes"]
async fn inside_a_narrow_network() {
    let city = Node::city("127.0.0.1:0", Patience::default());
    let county = Node::new(COUNTY, "0.0.0.0:0", quick());
    let Err(in_vain) = reach(&county, &[city.address().to_string()]).await else { panic!("a path of 1,100 bytes") };
    let [(_, why)] = &in_vain.0[..] else { panic!("{in_vain}") };
    assert_eq!(*why, CallFailure::PathTooNarrow(1_100, 1_228));
    assert!(!why.passes(), "a person has to raise the MTU");
}

#[tokio::test]
async fn whatever_the_county_listens_on_it_reaches_both_families() {
    if !has_ipv6() {
        return;
    }
    for listens in ["127.0.0.1:0", "[::1]:0", "[::]:0", "0.0.0.0:0"] {
        let city = Node::city(listens, Patience::default());
        let port = city.address().port();
        let hosts: &[&str] = match listens {
            "[::]:0" => &["127.0.0.1", "[::1]"],
            "[::1]:0" => &["[::1]"],
            _ => &["127.0.0.1"],
        };
        for (at, host) in
            ["0.0.0.0:0", "[::]:0", "127.0.0.1:0", "[::1]:0"].iter().flat_map(|a| hosts.iter().map(move |h| (a, h)))
        {
            let county = Node::new(COUNTY, at, quick());
            let reached = reach(&county, &[format!("{host}:{port}")]).await;
            assert!(reached.is_ok(), "from {at} to {host}, where {listens} listens: {}", reached.err().unwrap());
        }
    }
}

#[tokio::test]
async fn a_name_with_a_dead_family_is_reached_over_the_other() {
    if !has_ipv6() {
        return;
    }
    let city = Node::city("127.0.0.1:0", Patience::default());
    let port = city.address().port();
    // As a name with both records gives them: the IPv6 one first, where nobody is.
    let names = [format!("[::1]:{port}"), format!("127.0.0.1:{port}")];
    let county = Node::new(COUNTY, "[::]:0", quick());
    let called = reach(&county, &names).await.unwrap_or_else(|e| panic!("{e}"));
    assert_eq!(called.address.to_string(), names[1]);
}

/// A NAT: what the county sends to it goes to the city from a port that the test can change.
struct Nat {
    at: SocketAddr,
    outside: tokio::sync::watch::Sender<Arc<UdpSocket>>,
    _task: JoinSet<()>,
}

impl Nat {
    async fn before(city: SocketAddr) -> Self {
        let inside = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let at = inside.local_addr().unwrap();
        let (outside, mut now) = tokio::sync::watch::channel(Arc::new(Self::port(city).await));
        let mut task = JoinSet::new();
        task.spawn(async move {
            let (mut up, mut down, mut county) = ([0; 2_048], [0; 2_048], None);
            loop {
                let outside = now.borrow_and_update().clone();
                tokio::select! {
                    Ok((n, from)) = inside.recv_from(&mut up) => {
                        county = Some(from);
                        let _ = outside.send(&up[..n]).await;
                    }
                    Ok(n) = outside.recv(&mut down) => {
                        if let Some(county) = county {
                            let _ = inside.send_to(&down[..n], county).await;
                        }
                    }
                    _ = now.changed() => {}
                }
            }
        });
        Self { at, outside, _task: task }
    }

    async fn port(city: SocketAddr) -> UdpSocket {
        let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        socket.connect(city).await.unwrap();
        socket
    }
}

#[tokio::test]
async fn a_nat_that_gives_another_port_does_not_end_the_link() {
    let city = Node::city("127.0.0.1:0", Patience::default());
    let nat = Nat::before(city.address()).await;
    let (county, mut ends, up, down) = linked(&city, COUNTY, nat.at).await;
    for mark in 10..13 {
        nat.outside.send_replace(Arc::new(Nat::port(city.address()).await));
        say(&up, mark);
        city.hears_beat(mark).await;
        say(&down, mark);
        county.hears_beat(mark).await;
    }
    assert!(ends.try_recv().is_err(), "it is the same link as before");
}
