//! Batches that arrive: a stream for each log that the peer pushes. Room comes first and bytes after, so what does not fit waits in
//! the peer. It must not know whether a batch is right, nor hold up one stream for another.

use super::{
    LinkEvent, LinkNumber,
    frame::{FrameError, Pace},
    panicked,
    room::NeighbourRoom,
    run::Part,
    trouble::LinkEnd,
};
use std::{sync::atomic::Ordering, time::Duration};
use tally_protocol::{
    limits::BATCH_BYTES_MAX,
    wire::{STREAM_OPEN_BYTES_MAX, StreamOpen},
};
use tokio::task::JoinSet;

/// A full disk is looked at this often.
const FULL_EVERY: Duration = Duration::from_millis(500);

/// Takes the streams of batches that the peer opens, until the connection ends. The reason that it answers ends the link.
///
/// Not cancel-safe: batches that are half read are lost, and come again on the next link.
pub(crate) async fn streams(part: Part) -> Option<LinkEnd> {
    let mut readers = JoinSet::new();
    let room = part.context.room.of(part.peer.division());
    loop {
        tokio::select! {
            stream = part.connection.accept_uni() => {
                readers.spawn(read_batches(part.clone(), room.clone(), stream.ok()?));
            }
            Some(done) = readers.join_next() => {
                if panicked("stream of batches", &done) {
                    return Some(LinkEnd::Failed);
                }
            }
        }
    }
}

/// Reads one stream of batches to its end; the host hears of bytes that cannot be, the link of a peer that is too slow.
async fn read_batches(part: Part, room: NeighbourRoom, mut stream: quinn::RecvStream) {
    let reason = match batches(&part, &room, &mut stream).await {
        Ok(()) | Err(FrameError::Link) => return,
        Err(FrameError::Stalled) => {
            let _ = part.report.try_send(LinkEnd::Slow("a batch", part.pace.stall.as_secs()));
            part.connection.closed().await;
            return;
        }
        Err(FrameError::Oversize(n)) => format!("a frame on a stream of batches claims {n} bytes"),
        Err(FrameError::Truncated) => "a stream of batches ends in the middle of a frame".to_owned(),
    };
    let link: LinkNumber = part.link;
    let _ = part.context.node.tell(LinkEvent::Garbage { link, reason }).await;
}

async fn batches(part: &Part, room: &NeighbourRoom, stream: &mut quinn::RecvStream) -> Result<(), FrameError> {
    let (pace, node): (&Pace, _) = (&part.pace, &part.context.node);
    let Some(bytes) = pace.frame(stream, STREAM_OPEN_BYTES_MAX).await? else { return Ok(()) };
    let Ok(StreamOpen { log }) = StreamOpen::decode(&bytes) else { return Err(FrameError::Truncated) };
    loop {
        let Some(len) = pace.length(stream, BATCH_BYTES_MAX).await? else { return Ok(()) };
        while part.context.full.load(Ordering::Relaxed) {
            tokio::time::sleep(FULL_EVERY).await;
        }
        let room = room.take(len).await.ok_or(FrameError::Link)?;
        let bytes = pace.body(stream, len).await?;
        let event = LinkEvent::Batch { link: part.link, log, bytes, room };
        node.tell(event).await.map_err(|_| FrameError::Link)?;
    }
}
