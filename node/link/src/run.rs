//! One live connection: a control stream both ways, and one stream for each log that is pushed.
//!
//! Whatever is read has room first: a batch is taken from the peer only once there is memory for it. It must not know what a
//! message means or whether a batch is right; it tells its host, and ends when the host says so or the connection ends.

use super::{
    BODY, BatchToken, LINK_ROOM_BYTES, LinkContext, LinkEvent, LinkNumber, LinkOut, Outbox, Peer, SETUP, exchange,
    frame::{FrameError, read_body, read_frame, read_length, write_frame},
    panicked,
};
use std::{
    collections::HashMap,
    sync::{Arc, atomic::Ordering},
    time::Duration,
};
use tally_protocol::{
    ids::LogId,
    limits::{BATCH_BYTES_MAX, CONTROL_BYTES_MAX, PUSH_WINDOW},
    wire::{Control, STREAM_OPEN_BYTES_MAX, StreamOpen},
};
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore, mpsc},
    task::JoinSet,
};
use tracing::Instrument as _;

/// Control before batches, whatever is queued.
const CONTROL_PRIORITY: i32 = 10;

/// A closed link is gone after this, whatever the peer does.
const GOODBYE: Duration = Duration::from_secs(1);

/// Runs a link until it ends, in a span with its number and peer. The host hears first that it is up and last that it is
/// down.
///
/// Not cancel-safe: dropped, it leaves the host with a link that never goes down.
pub(super) async fn run(
    context: LinkContext,
    link: LinkNumber,
    connection: quinn::Connection,
    control: (quinn::SendStream, quinn::RecvStream),
    peer: Peer,
) {
    let span = tracing::info_span!("link", link = link.0, peer = %peer.division());
    live(context, link, connection, control, peer).instrument(span).await;
}

async fn live(
    context: LinkContext,
    link: LinkNumber,
    connection: quinn::Connection,
    control: (quinn::SendStream, quinn::RecvStream),
    peer: Peer,
) {
    let (outbox, queue, signs) = Outbox::new();
    if context.node.tell(LinkEvent::Up { link, peer, outbox }).await.is_err() {
        return;
    }
    let (send, receive) = control;
    let mut tasks = JoinSet::new();
    tasks.spawn(write_out(context.clone(), link, connection.clone(), send, queue).in_current_span());
    tasks.spawn(read_control(context.clone(), link, receive).in_current_span());
    tasks.spawn(accept_streams(context.clone(), link, connection.clone()).in_current_span());
    let division = peer.division();
    context.links.up(division, connection.clone());
    tasks.spawn(exchange::accept(division, connection.clone(), context.answerers.clone()).in_current_span());
    let failed = async {
        loop {
            // A reader may end before: its reason is on its way. Streams and messages have ends of their own.
            match tasks.join_next().await {
                Some(done) if panicked("link", &done) => return,
                Some(_) => {}
                None => std::future::pending().await,
            }
        }
    };
    tokio::select! {
        _ = connection.closed() => {}
        () = failed => connection.close(0_u8.into(), b"failed"),
        () = signs.too_slow.notified() => connection.close(0_u8.into(), b"too slow"),
        () = signs.closing.notified() => {
            // The goodbye gets a moment; a peer that does not read it is not waited for.
            let _ = tokio::time::timeout(GOODBYE, connection.closed()).await;
            connection.close(0_u8.into(), b"closed");
        }
    }
    context.links.down(division, &connection);
    // The reader may still hold messages that had arrived: let it hand them over.
    let _ = tokio::time::timeout(Duration::from_millis(200), async {
        while !tasks.is_empty() {
            tasks.join_next().await;
        }
    })
    .await;
    drop(tasks);
    let _ = context.node.tell(LinkEvent::Down { link }).await;
}

/// Sends what the outbox holds: control messages here, batches on a stream for each log.
async fn write_out(
    context: LinkContext,
    link: LinkNumber,
    connection: quinn::Connection,
    mut control: quinn::SendStream,
    mut queue: mpsc::Receiver<LinkOut>,
) {
    let _ = control.set_priority(CONTROL_PRIORITY);
    let mut streams: HashMap<LogId, mpsc::Sender<BatchToken>> = HashMap::new();
    let mut pushers = JoinSet::new();
    loop {
        let out = tokio::select! {
            out = queue.recv() => out,
            // A log's stream that is gone takes no more: the link begins anew.
            Some(done) = pushers.join_next() => {
                panicked("push", &done);
                connection.close(0_u8.into(), b"a stream has ended");
                return;
            }
        };
        let Some(out) = out else { return };
        match out {
            LinkOut::Control(message) => {
                if write_frame(&mut control, &message.encode()).await.is_err() {
                    return;
                }
            }
            LinkOut::Push(log, token) => {
                let stream = streams.entry(log).or_insert_with(|| {
                    // Never more than the window waits; twice that, for the moment a session starts anew.
                    let (to, from) = mpsc::channel(2 * PUSH_WINDOW);
                    pushers.spawn(push_log(context.clone(), link, connection.clone(), log, from));
                    to
                });
                let _ = stream.send(token).await;
            }
            LinkOut::Close(code, reason) => {
                let _ = control.finish();
                let _ = tokio::time::timeout(Duration::from_millis(500), control.stopped()).await;
                connection.close((code as u8).into(), reason.as_bytes());
                return;
            }
        }
    }
}

/// Sends the batches of one log, each as the bytes it arrived as.
async fn push_log(
    context: LinkContext,
    link: LinkNumber,
    connection: quinn::Connection,
    log: LogId,
    mut tokens: mpsc::Receiver<BatchToken>,
) {
    let Ok(mut stream) = connection.open_uni().await else { return };
    if write_frame(&mut stream, &StreamOpen { log }.encode()).await.is_err() {
        return;
    }
    while let Some(token) = tokens.recv().await {
        let node = context.node.clone();
        let read = tokio::task::spawn_blocking(move || node.read_batch(token)).await;
        let event = match read {
            Ok(Ok(bytes)) => {
                if write_frame(&mut stream, &bytes).await.is_err() {
                    return;
                }
                LinkEvent::Pushed { link, log }
            }
            Ok(Err(reason)) => LinkEvent::PushFailed { link, log, reason },
            Err(_) => return,
        };
        if context.node.tell(event).await.is_err() {
            return;
        }
    }
}

/// Hands control messages to the host until the stream ends or says what no message says.
async fn read_control(context: LinkContext, link: LinkNumber, mut stream: quinn::RecvStream) {
    loop {
        let event = match read_frame(&mut stream, CONTROL_BYTES_MAX).await {
            Ok(Some(bytes)) => match Control::decode(&bytes) {
                Ok(message) => LinkEvent::Control { link, message },
                Err(e) => LinkEvent::Garbage { link, reason: format!("control message: {e}") },
            },
            Ok(None) => return,
            Err(FrameError::Oversize(n)) => {
                LinkEvent::Garbage { link, reason: format!("a control frame claims {n} bytes") }
            }
            Err(FrameError::Truncated) => LinkEvent::Garbage { link, reason: "a control frame ends early".into() },
            Err(FrameError::Link) => return,
        };
        let stop = matches!(event, LinkEvent::Garbage { .. });
        if context.node.tell(event).await.is_err() || stop {
            return;
        }
    }
}

/// Takes the streams of batches that the peer opens.
async fn accept_streams(context: LinkContext, link: LinkNumber, connection: quinn::Connection) {
    let mut readers = JoinSet::new();
    let own_room = Arc::new(Semaphore::new(LINK_ROOM_BYTES));
    loop {
        tokio::select! {
            stream = connection.accept_uni() => match stream {
                Ok(stream) => {
                    readers.spawn(read_batches(context.clone(), own_room.clone(), link, stream));
                }
                Err(_) => return,
            },
            Some(done) = readers.join_next() => {
                if panicked("stream of batches", &done) {
                    connection.close(0_u8.into(), b"failed");
                    return;
                }
            }
        }
    }
}

/// Reads one stream of batches to its end; the host hears why it ended, if that is the peer's fault.
async fn read_batches(context: LinkContext, own_room: Arc<Semaphore>, link: LinkNumber, mut stream: quinn::RecvStream) {
    let result = batches(&context, &own_room, link, &mut stream).await;
    let reason = match result {
        Ok(()) | Err(FrameError::Link) => return,
        Err(FrameError::Oversize(n)) => format!("a frame on a stream of batches claims {n} bytes"),
        Err(FrameError::Truncated) => "a stream of batches ends in the middle of a frame".to_owned(),
    };
    let _ = context.node.tell(LinkEvent::Garbage { link, reason }).await;
}

async fn batches(
    context: &LinkContext,
    own_room: &Arc<Semaphore>,
    link: LinkNumber,
    stream: &mut quinn::RecvStream,
) -> Result<(), FrameError> {
    let first = tokio::time::timeout(SETUP, read_frame(stream, STREAM_OPEN_BYTES_MAX)).await;
    let Some(bytes) = first.map_err(|_| FrameError::Truncated)?? else { return Ok(()) };
    let Ok(StreamOpen { log }) = StreamOpen::decode(&bytes) else { return Err(FrameError::Truncated) };
    loop {
        let Some(len) = read_length(stream, BATCH_BYTES_MAX).await? else { return Ok(()) };
        // Room first, bytes after: what does not fit waits in the peer, by QUIC's flow control.
        let _own = own_room.acquire_many(len as u32).await.map_err(|_| FrameError::Link)?;
        let room = room(context, len).await.ok_or(FrameError::Link)?;
        let body = tokio::time::timeout(BODY, read_body(stream, len)).await;
        let bytes = body.map_err(|_| FrameError::Truncated)??;
        context.node.tell(LinkEvent::Batch { link, log, bytes, room }).await.map_err(|_| FrameError::Link)?;
    }
}

/// Waits until there is room on the disk and memory for so many bytes.
///
/// Cancel-safe: it takes nothing before it returns.
async fn room(context: &LinkContext, bytes: usize) -> Option<OwnedSemaphorePermit> {
    while context.full.load(Ordering::Relaxed) {
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
    context.room.clone().acquire_many_owned(bytes as u32).await.ok()
}
