//! Callers that never show a key.

use super::*;
use crate::tls;
use tokio::net::UdpSocket;

/// Packets of long header whose type is Retry (RFC 9000, 17.2.5).
fn is_retry(packet: &[u8]) -> bool {
    packet.first().is_some_and(|first| first & 0xf0 == 0xf0)
}

/// Stands between a stranger and the city: all that the stranger says arrives, and of the answers only that it has to show its
/// address. So its calls stay half-open.
async fn deaf(front: UdpSocket, city: SocketAddr) {
    let back = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let (mut from_stranger, mut from_city, mut stranger) = (vec![0; 2_048], vec![0; 2_048], None);
    loop {
        tokio::select! {
            got = front.recv_from(&mut from_stranger) => {
                let (n, from) = got.unwrap();
                stranger = Some(from);
                back.send_to(&from_stranger[..n], city).await.unwrap();
            }
            got = back.recv(&mut from_city) => {
                let n = got.unwrap();
                if let Some(stranger) = stranger.filter(|_| is_retry(&from_city[..n])) {
                    front.send_to(&from_city[..n], stranger).await.unwrap();
                }
            }
        }
    }
}

/// S2: half-open handshakes took all places for ten seconds each, and no child could link.
#[tokio::test]
async fn half_open_calls_keep_no_child_out() {
    let city = Node::city("127.0.0.1:0", Patience::default());
    let front = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let at = front.local_addr().unwrap();
    let mut tasks = JoinSet::new();
    tasks.spawn(deaf(front, city.address()));
    // From the same address as the county: the worst place to call from.
    let stranger = Node::county("350112");
    for _ in 0..400 {
        let config = tls::client(&stranger.context).unwrap();
        let call = stranger.endpoints.listening().connect_with(config, at, &tls::server_name(division(CITY))).unwrap();
        tasks.spawn(async {
            let _ = call.await;
        });
    }
    // All that fits is taken when the county comes, and stays so for longer than the county has for its call.
    let pressed = async {
        while city.endpoints.listening().stats().accepted_handshakes < PLACE_AT_ONCE as u64 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    soon(pressed).await;
    // From the strangers' own address it may be crowded out of the queue now and then, and calls again, as `dial` does.
    let county = Node::county(COUNTY);
    let called = async {
        loop {
            let names = [city.address().to_string()];
            match call(&county.dial(), division(CITY), &names, 0).await {
                Ok(called) => return called,
                Err(_) => tokio::time::sleep(Duration::from_millis(250)).await,
            }
        }
    };
    drop(soon(called).await);
}

/// A child that opens calls and says nothing in them takes what is its own.
#[tokio::test]
async fn calls_of_a_child_that_says_nothing_are_counted() {
    let city = Node::city("127.0.0.1:0", Patience { setup: 3 * SOON, ..Patience::default() });
    let silent = Node::county("350112");
    let mut calls = Vec::new();
    for _ in 0..=SETUPS {
        calls.push(silent.call(city.address()).await);
    }
    let first_closed = async {
        loop {
            let closed = calls.iter().filter(|c| c.connection.close_reason().is_some()).count();
            if closed > 0 {
                return closed;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    let closed = soon(first_closed).await;
    assert_eq!(closed, 1, "{:?}", calls.iter().map(|c| c.connection.close_reason()).collect::<Vec<_>>());
    soon(linked(&city, COUNTY, city.address())).await;
}
