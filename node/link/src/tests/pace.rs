//! Slow is not dead, and whoever stands still stands still alone.

use super::*;
use crate::limits::{NEIGHBOUR_ROOM_BYTES, RESERVE_BYTES, ROOM_BYTES};
use tally_protocol::{limits::BATCH_BYTES_MAX, wire::StreamOpen};

/// A county that speaks QUIC by itself: it has said hello, and opens streams as it likes.
async fn raw(city: &Node, of: &str) -> (Node, Called) {
    let county = Node::county(of);
    let mut called = county.call(city.address()).await;
    frame(&mut called.control.0, &beat(1).encode()).await;
    city.up().await;
    (county, called)
}

async fn stream(called: &Called, of: LogId) -> quinn::SendStream {
    let mut stream = called.connection.open_uni().await.unwrap();
    frame(&mut stream, &StreamOpen { log: of }.encode()).await;
    stream
}

/// The next batch of a log: its bytes, and the room that it keeps.
async fn batch(city: &Node, of: LogId) -> (Vec<u8>, crate::FrameRoom) {
    city.hears(|e| match e {
        LinkEvent::Batch { log, bytes, room, .. } => (log == of).then_some((bytes, room)),
        _ => None,
    })
    .await
}

#[tokio::test]
async fn a_batch_may_take_many_times_the_patience_while_its_bytes_come() {
    let patience = Patience { stall: Duration::from_secs(2), silence: Duration::from_secs(2), ..Patience::default() };
    let city = Node::city("127.0.0.1:0", patience);
    let (_county, called) = raw(&city, COUNTY).await;
    let mut out = stream(&called, log(COUNTY)).await;
    let (sent, part) = ([7; 10_240], Patience::LEAST);
    out.write_all(&(sent.len() as u32).to_le_bytes()).await.unwrap();
    for bytes in sent.chunks(part) {
        // The line: 256 bytes each 120 ms, so 4.8 s in all, and no message beside them.
        tokio::time::sleep(Duration::from_millis(120)).await;
        out.write_all(bytes).await.unwrap();
    }
    assert_eq!(batch(&city, log(COUNTY)).await.0, sent);
}

#[tokio::test]
async fn neighbours_that_announce_and_do_not_send_hold_up_nobody() {
    // Nobody is closed for it meanwhile.
    let city = Node::city("127.0.0.1:0", Patience { stall: 10 * SOON, ..Patience::default() });
    let mut stalled = Vec::new();
    for of in &COUNTIES[1..] {
        let (county, called) = raw(&city, of).await;
        let mut streams = Vec::new();
        for _ in 0..5 {
            // All that one may send, begun and left there.
            let mut out = stream(&called, log(of)).await;
            out.write_all(&(BATCH_BYTES_MAX as u32).to_le_bytes()).await.unwrap();
            out.write_all(b"x").await.unwrap();
            streams.push(out);
        }
        stalled.push((county, called, streams));
    }
    // They hold what is shared, until nothing moves any more.
    let free = || COUNTIES[1..].iter().map(|of| city.context.room.of(division(of)).free()).sum::<usize>();
    let all = 5 * (RESERVE_BYTES + NEIGHBOUR_ROOM_BYTES);
    let held = async {
        while all - free() < 5 * RESERVE_BYTES + (ROOM_BYTES / BATCH_BYTES_MAX) * BATCH_BYTES_MAX {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    soon(held).await;
    let (_honest, called) = raw(&city, COUNTY).await;
    let mut out = stream(&called, log(COUNTY)).await;
    for n in 0..3 {
        soon(frame(&mut out, &vec![n; BATCH_BYTES_MAX])).await;
        let (bytes, room) = batch(&city, log(COUNTY)).await;
        assert_eq!(bytes, vec![n; BATCH_BYTES_MAX]);
        drop(room);
    }
}

#[tokio::test]
async fn a_log_that_stands_still_holds_up_neither_messages_nor_other_logs() {
    let city = Node::city("127.0.0.1:0", Patience::default());
    let mut county = Node::county(COUNTY);
    let called = county.call(city.address()).await;
    let _ends = county.link(called);
    let up = county.up().await;
    say(&up, 1);
    city.up().await;
    let (still, other) = (log(COUNTY), log("350103"));
    // The city takes one batch of it and keeps its room, so that the next ones wait; far more than any window is queued.
    for n in 0..200 {
        up.send(LinkOut::Push(still, BatchToken(n, 0)));
    }
    let mut kept = Vec::new();
    let all = RESERVE_BYTES + NEIGHBOUR_ROOM_BYTES;
    while (kept.len() + 4) * BATCH <= all {
        kept.push(batch(&city, still).await.1);
    }
    say(&up, 2);
    city.hears_beat(2).await;
    // Room is shared by the logs of one neighbour: what the other one needs is given back.
    up.send(LinkOut::Push(other, BatchToken(0, 0)));
    kept.drain(..4);
    batch(&city, other).await;
}
