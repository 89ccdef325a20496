//! One live connection: a control stream both ways, and one stream for each log that is pushed.

use super::{
    BODY, BatchToken, LINK_ROOM_BYTES, LinkContext, LinkEvent, LinkNumber, LinkOut, Outbox, Peer, SETUP, exchange,
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

/// Control before batches, whatever is queued.
const CONTROL_PRIORITY: i32 = 10;

/// A closed link is gone after this, whatever the peer does.
const GOODBYE: Duration = Duration::from_secs(1);

/// Runs a link until it ends. `input` tells the core that it is up.
pub(super) async fn run(
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
    tasks.spawn(write_out(context.clone(), link, connection.clone(), send, queue));
    tasks.spawn(read_control(context.clone(), link, receive));
    tasks.spawn(accept_streams(context.clone(), link, connection.clone()));
    let division = peer.division();
    context.links.up(division, connection.clone());
    tasks.spawn(exchange::accept(division, connection.clone(), context.answerers.clone()));
    tokio::select! {
        _ = connection.closed() => {}
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
    while let Some(out) = queue.recv().await {
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

async fn read_control(context: LinkContext, link: LinkNumber, mut stream: quinn::RecvStream) {
    loop {
        let event = match read_frame(&mut stream, CONTROL_BYTES_MAX).await {
            Ok(Some(bytes)) => match Control::decode(&bytes) {
                Ok(message) => LinkEvent::Control { link, message },
                Err(e) => LinkEvent::Garbage { link, reason: format!("control message: {e}") },
            },
            Ok(None) => return,
            Err(FrameError::Oversize(n)) => {
                LinkEvent::Garbage { link, reason: format!("a control frame says to have {n} bytes") }
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
            Some(_) = readers.join_next() => {}
        }
    }
}

async fn read_batches(context: LinkContext, own_room: Arc<Semaphore>, link: LinkNumber, mut stream: quinn::RecvStream) {
    let result = batches(&context, &own_room, link, &mut stream).await;
    let reason = match result {
        Ok(()) | Err(FrameError::Link) => return,
        Err(FrameError::Oversize(n)) => format!("a frame on a stream of batches says to have {n} bytes"),
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

async fn room(context: &LinkContext, bytes: usize) -> Option<OwnedSemaphorePermit> {
    while context.full.load(Ordering::Relaxed) {
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
    context.room.clone().acquire_many_owned(bytes as u32).await.ok()
}

#[derive(Debug)]
pub(super) enum FrameError {
    Oversize(usize),
    Truncated,
    Link,
}

pub(super) async fn write_frame(stream: &mut quinn::SendStream, bytes: &[u8]) -> Result<(), quinn::WriteError> {
    stream.write_all(&(bytes.len() as u32).to_le_bytes()).await?;
    stream.write_all(bytes).await
}

/// The next frame's length; `None` at the end of the stream.
async fn read_length(stream: &mut quinn::RecvStream, limit: usize) -> Result<Option<usize>, FrameError> {
    let mut len = [0; 4];
    match stream.read_exact(&mut len).await {
        Ok(()) => {}
        Err(quinn::ReadExactError::FinishedEarly(0)) => return Ok(None),
        Err(quinn::ReadExactError::FinishedEarly(_)) => return Err(FrameError::Truncated),
        Err(quinn::ReadExactError::ReadError(_)) => return Err(FrameError::Link),
    }
    let len = u32::from_le_bytes(len) as usize;
    if len > limit { Err(FrameError::Oversize(len)) } else { Ok(Some(len)) }
}

async fn read_body(stream: &mut quinn::RecvStream, len: usize) -> Result<Vec<u8>, FrameError> {
    let mut bytes = vec![0; len];
    stream.read_exact(&mut bytes).await.map_err(|e| match e {
        quinn::ReadExactError::FinishedEarly(_) => FrameError::Truncated,
        quinn::ReadExactError::ReadError(_) => FrameError::Link,
    })?;
    Ok(bytes)
}

pub(super) async fn read_frame(stream: &mut quinn::RecvStream, limit: usize) -> Result<Option<Vec<u8>>, FrameError> {
    match read_length(stream, limit).await? {
        Some(len) => read_body(stream, len).await.map(Some),
        None => Ok(None),
    }
}
