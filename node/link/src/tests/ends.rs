//! Why links end: each reason is found, and told apart by its type.

use super::*;
use crate::{endpoint::widen, frame::Pace, trouble::CallFailure};
use tally_protocol::{limits::CONTROL_BYTES_MAX, wire::Refusal};
use tokio::sync::oneshot::Receiver;

fn short() -> Patience {
    Patience { setup: Duration::from_secs(2), silence: Duration::from_millis(700), ..Patience::default() }
}

async fn end(ends: Receiver<LinkEnd>) -> LinkEnd {
    soon(ends).await.unwrap()
}

/// A city in a runtime of its own, which can be ended as `kill -9` does: without a word.
fn killable(at: SocketAddr) -> (tokio::runtime::Runtime, Node) {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let inside = runtime.enter();
    let city = Node::city(&at.to_string(), Patience::default());
    drop(inside);
    (runtime, city)
}

#[test]
fn a_parent_that_was_killed_and_started_again_resets_its_old_links() {
    let here = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let (life, city) = killable(([127, 0, 0, 1], 0).into());
    let at = city.address();
    let (_county, ends, up, _) = here.block_on(linked(&city, COUNTY, at));
    life.shutdown_background();
    drop(city);
    let (_life, city) = here.block_on(soon(async {
        // Until the system has taken the port back.
        while std::net::UdpSocket::bind(at).is_err() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        killable(at)
    }));
    say(&up, 2);
    assert_eq!(here.block_on(end(ends)), LinkEnd::Reset, "the new process knows nothing of the link, and says so");
    // And takes the next call.
    here.block_on(linked(&city, "350103", at));
}

#[tokio::test]
async fn a_link_whose_control_stream_ends_has_ended() {
    let city = Node::city("127.0.0.1:0", Patience::default());
    let county = Node::county(COUNTY);
    let mut called = county.call(city.address()).await;
    frame(&mut called.control.0, &beat(1).encode()).await;
    city.hears_beat(1).await;
    called.control.0.finish().unwrap();
    soon(called.connection.closed()).await;
    city.hears(|e| matches!(e, LinkEvent::Down { .. }).then_some(())).await;
}

#[tokio::test]
async fn a_link_ends_when_the_peer_takes_no_more_of_a_log() {
    let city = Node::new(CITY, "127.0.0.1:0", Patience::default());
    let mut county = Node::county(COUNTY);
    let (called, heard) = tokio::join!(county.call(city.address()), accepted(&city));
    let ends = county.link(called);
    let up = county.up().await;
    up.send(LinkOut::Push(log(COUNTY), BatchToken(1, 0)));
    let mut stream = soon(heard.accept_uni()).await.unwrap();
    stream.stop(0_u8.into()).unwrap();
    // The second one finds the stream gone.
    up.send(LinkOut::Push(log(COUNTY), BatchToken(2, 0)));
    assert_eq!(end(ends).await, LinkEnd::StreamEnded("a log's stream"));
    county.hears(|e| matches!(e, LinkEvent::Down { .. }).then_some(())).await;
}

/// The city as a peer that does as the test likes: a connection that nothing runs on.
async fn accepted(city: &Node) -> quinn::Connection {
    let connection = soon(city.endpoints.listening().accept()).await.unwrap().await.unwrap();
    widen(&connection);
    connection
}

#[tokio::test]
async fn a_caller_without_a_hello_is_closed_and_never_was_a_link() {
    let city = Node::city("127.0.0.1:0", short());
    let county = Node::county(COUNTY);
    // Nothing on the control stream, or a part of a message.
    for said in [&b""[..], b"\x64\0\0\0half"] {
        let mut called = county.call(city.address()).await;
        called.control.0.write_all(said).await.unwrap();
        soon(called.connection.closed()).await;
    }
    let mut events = city.events.lock().await;
    assert!(events.try_recv().is_err(), "the city was told of something");
}

#[tokio::test]
async fn silence_is_measured_by_the_link_itself() {
    let city = Node::city("127.0.0.1:0", short());
    let county = Node::county(COUNTY);
    let mut called = county.call(city.address()).await;
    frame(&mut called.control.0, &beat(1).encode()).await;
    city.hears_beat(1).await;
    // Packets go on (keep-alive), words do not.
    let why = soon(called.connection.closed()).await;
    let quinn::ConnectionError::ApplicationClosed(why) = why else { panic!("{why}") };
    let silent = LinkEnd::Silent(short().silence.as_secs()).to_string();
    assert_eq!(String::from_utf8_lossy(&why.reason), silent);
}

#[tokio::test]
async fn a_node_that_is_not_the_parent_and_a_key_that_is_not_admitted_are_told_apart() {
    let city = Node::city("127.0.0.1:0", Patience::default());
    // Another county answers at the parent's address.
    let other = Node::new("350103", "127.0.0.1:0", Patience::default());
    let mut tasks = JoinSet::new();
    tasks.spawn(crate::listen(other.endpoints.clone(), other.context.clone()));
    let county = Node::county(COUNTY);
    let at = other.address().to_string();
    let Err(in_vain) = call(&county.dial(), division(CITY), &[at], 0).await else { panic!("a county is no parent") };
    assert!(matches!(in_vain.0[..], [(_, CallFailure::WrongNode(_))]), "{in_vain}");
    // The key of another secret.
    let federation = "t.example".to_owned().try_into().unwrap();
    let keys = NodeKeys::derive(&federation, log(COUNTY), &[3; 32]);
    let mut stranger = Node::with(keys, "127.0.0.1:0".parse().unwrap(), Patience::default());
    let called = stranger.call(city.address()).await;
    let ends = stranger.link(called);
    assert_eq!(end(ends).await, LinkEnd::NotAdmitted);
}

#[tokio::test]
async fn a_node_that_closes_its_sockets_calls_no_more_and_says_nothing_of_its_parent() {
    // Once before the call, and once amid the handshake: nobody answers at this address.
    let silent = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    for amid in [false, true] {
        let county = Node::county(COUNTY);
        let at = vec![silent.local_addr().unwrap().to_string()];
        if !amid {
            county.endpoints.close(b"stopping");
        }
        let to = county.dial();
        let (called, ()) = tokio::join!(soon(call(&to, division(CITY), &at, 0)), async {
            if amid {
                let first = tokio::task::spawn_blocking({
                    let silent = silent.try_clone().unwrap();
                    move || silent.recv(&mut [0; 2_048])
                });
                first.await.unwrap().unwrap();
                county.endpoints.close(b"stopping");
            }
        });
        let Err(in_vain) = called else { panic!("nobody answers there") };
        assert!(matches!(in_vain.0[..], [(_, CallFailure::ClosedHere)]), "{in_vain}");
    }
    // With a charter that names the parent's address the loop ends, and the host hears nothing.
    let county = Node::county(COUNTY);
    county.endpoints.close(b"stopping");
    soon(crate::dial(county.dial())).await;
    assert!(county.events.lock().await.try_recv().is_err(), "the host was told of something");
}

#[tokio::test]
async fn a_goodbye_arrives_with_its_reason() {
    let city = Node::city("127.0.0.1:0", Patience::default());
    let (_county, ends, _up, down) = linked(&city, COUNTY, city.address()).await;
    down.send(LinkOut::Close(Refusal::Replaced, "another\nlink".into()));
    assert_eq!(end(ends).await, LinkEnd::Closed("another\\nlink".into()));
}

#[tokio::test]
async fn what_was_begun_and_does_not_come_is_slow_and_said_to_be() {
    let city = Node::city("127.0.0.1:0", Patience { stall: Duration::from_millis(400), ..Patience::default() });
    let county = Node::county(COUNTY);
    let mut called = county.call(city.address()).await;
    frame(&mut called.control.0, &beat(1).encode()).await;
    let mut stream = called.connection.open_uni().await.unwrap();
    frame(&mut stream, &tally_protocol::wire::StreamOpen { log: log(COUNTY) }.encode()).await;
    stream.write_all(&1_000_000_u32.to_le_bytes()).await.unwrap();
    stream.write_all(b"the first of it").await.unwrap();
    let pace = Pace { heard: Heard::now(), stall: SOON };
    let said = tokio::select! {
        biased;
        said = soon(pace.frame(&mut called.control.1, CONTROL_BYTES_MAX)) => said.unwrap().unwrap(),
        ended = stream.stopped() => panic!("the stream ended before the reason could be read: {ended:?}"),
    };
    let said = Control::decode(&said).unwrap();
    assert!(matches!(said, Control::Refused { code: Refusal::Slow, .. }), "{said:?}");
    soon(called.connection.closed()).await;
    city.hears(|e| matches!(e, LinkEvent::Down { .. }).then_some(())).await;
}
