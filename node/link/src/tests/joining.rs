//! Callers whose key nobody knows: what they can do, and that nobody else waits for them.

use super::*;
use crate::{CallFailure, NoAnswer, call_to_join, join::ask_for_charter};
use tally_protocol::join::{JoinAnswer, JoinAsk};

fn stranger(of: &str) -> NodeKeys {
    NodeKeys::derive(&"t.example".to_owned().try_into().unwrap(), log(of), &[77; 32])
}

fn pin(city: &Node) -> [u8; 32] {
    city.context.keys.link.public().public()
}

fn at(city: &Node) -> Vec<String> {
    vec![city.address().to_string()]
}

#[tokio::test]
async fn a_stranger_is_heard_with_the_key_that_it_has_shown() {
    let city = Node::city("127.0.0.1:0", Patience::default());
    let keys = stranger("350199");
    let mut link = soon(call_to_join(&at(&city), pin(&city), &keys)).await.unwrap();
    let answering = async {
        let mut call = city.strangers.lock().await.recv().await.unwrap();
        assert_eq!(call.key, keys.link.public().public());
        assert_eq!(call.receive().await.as_deref(), Some(&b"ask"[..]));
        assert!(call.send(b"answer").await);
        assert_eq!(call.receive().await.as_deref(), Some(&b"again"[..]));
        assert!(call.send(&[7; 900 << 10]).await);
        call.end().await;
    };
    let asking = async {
        assert_eq!(link.ask(b"ask").await.as_deref(), Ok(&b"answer"[..]));
        assert_eq!(link.ask(b"again").await.map(|a| a.len()), Ok(900 << 10), "a charter goes through the small window");
        assert_eq!(link.ask(b"more").await, Err(NoAnswer::Gone), "the call is over");
    };
    soon(async { tokio::join!(answering, asking) }).await;
}

/// M: whoever stands in the middle does not have the parent's key, and nobody is heard there.
#[tokio::test]
async fn a_parent_with_another_key_is_refused_by_the_caller() {
    let city = Node::city("127.0.0.1:0", Patience::default());
    let failed = soon(call_to_join(&at(&city), [5; 32], &stranger("350199"))).await.unwrap_err();
    assert!(matches!(&failed[0].why, CallFailure::WrongNode(why) if why.contains("invitation")), "{failed:?}");
    assert!(city.strangers.lock().await.try_recv().is_err());
}

/// The protocol of joining is no way to a link, and that of links none for a key that is not in the charter.
#[tokio::test]
async fn a_stranger_is_no_child() {
    let city = Node::city("127.0.0.1:0", Patience::default());
    let unknown = Node::with(stranger("350102"), "127.0.0.1:0".parse().unwrap(), Patience::default());
    let mut called = unknown.call(city.address()).await;
    write_frame(&mut called.control.0, b"x").await.ok();
    soon(called.connection.closed()).await;
    assert!(city.strangers.lock().await.try_recv().is_err());
    let nobody = soon(call_to_join(&["127.0.0.1:1".into()], pin(&city), &stranger("350199"))).await.unwrap_err();
    assert_eq!(nobody[0].why, CallFailure::PortClosed);
}

/// A node that is not admitted asks whoever answers, with the key that it has; the other end knows for what, and by whom.
#[tokio::test]
async fn a_node_that_is_not_admitted_asks_for_the_charter() {
    let city = Node::city("127.0.0.1:0", Patience::default());
    let keys = stranger("350199");
    for note in [Some("a newer charter"), None] {
        let answering = async {
            let mut call = city.strangers.lock().await.recv().await.unwrap();
            assert_eq!(call.key, keys.link.public().public());
            let ask = call.receive().await.unwrap();
            assert!(matches!(JoinAsk::decode(&ask), Ok(JoinAsk::Charter { newer_than: 7, .. })));
            if let Some(note) = note {
                call.send(&JoinAnswer::Charter { note: note.into() }.encode()).await;
            }
            call.end().await;
        };
        let at = at(&city);
        let (asked, ()) = soon(async { tokio::join!(ask_for_charter(&at, &keys, 7), answering) }).await;
        assert_eq!(asked.as_deref(), note);
    }
}

/// 10,000 calls, of which as many as fit stand still: nothing grows, and a child links meanwhile.
#[tokio::test]
async fn strangers_that_stand_still_hold_up_no_child() {
    let city = Node::city("127.0.0.1:0", Patience::default());
    let keys = stranger("350199");
    let (mut held, mut later) = (Vec::new(), 0);
    // What is held is asked nothing, and takes its room for as long as it may.
    while later < 3 {
        let mut link = soon(call_to_join(&at(&city), pin(&city), &keys)).await.unwrap();
        let call = async { city.strangers.lock().await.recv().await };
        tokio::select! {
            answer = link.ask(b"x") => {
                assert!(answer.is_err(), "nobody answers: {answer:?}");
                later += 1;
            }
            call = call => held.push((link, call.unwrap())),
        }
    }
    assert!(held.len() <= STRANGERS_AT_ONCE, "{} are held", held.len());
    let county = Node::county(COUNTY);
    let mut called = county.call(city.address()).await;
    let hello = Control::Busy { retry_after_ms: 1 };
    write_frame(&mut called.control.0, &hello.encode()).await.unwrap();
    city.up().await;
    drop(held);
    let again = async {
        loop {
            let mut link = call_to_join(&at(&city), pin(&city), &keys).await.unwrap();
            let call = async { city.strangers.lock().await.recv().await };
            tokio::select! {
                _ = link.ask(b"x") => tokio::time::sleep(Duration::from_millis(50)).await,
                call = call => return call,
            }
        }
    };
    assert!(soon(again).await.is_some(), "room that is free again is given again");
}
