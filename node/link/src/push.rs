//! What goes out on a link: control messages on their stream, batches on one stream for each log, read from the host when their
//! turn has come. It must not wait for one log's stream while another log or a message could go.

use super::{
    BatchToken, LinkEvent, LinkOut,
    frame::write_frame,
    limits::{LOG_QUEUE, PUSHING},
    panicked,
    run::Part,
    trouble::LinkEnd,
};
use std::{collections::HashMap, sync::Arc, time::Duration};
use tally_protocol::{ids::LogId, wire::StreamOpen};
use tokio::{
    sync::{Semaphore, mpsc},
    task::JoinSet,
};
use tracing::Instrument as _;

/// Control before batches, whatever is queued.
const CONTROL_PRIORITY: i32 = 10;
/// The last messages have so long to arrive before the connection closes.
const LAST_WORDS: Duration = Duration::from_millis(500);

/// Sends what the outbox holds, until it is closed. The reason that it answers ends the link.
///
/// Not cancel-safe: what was taken from the outbox is lost.
pub(crate) async fn write_out(
    part: Part,
    mut control: quinn::SendStream,
    mut queue: mpsc::Receiver<LinkOut>,
) -> Option<LinkEnd> {
    let _ = control.set_priority(CONTROL_PRIORITY);
    let mut streams: HashMap<LogId, mpsc::Sender<BatchToken>> = HashMap::new();
    let turns = Arc::new(Semaphore::new(PUSHING));
    let mut pushers = JoinSet::new();
    loop {
        let out = tokio::select! {
            out = queue.recv() => out?,
            // A log's stream that is gone takes no more: the link begins anew.
            Some(done) = pushers.join_next() => {
                return Some(if panicked("push", &done) { LinkEnd::Failed } else { LinkEnd::StreamEnded("a log's stream") });
            }
        };
        match out {
            LinkOut::Control(message) => write_frame(&mut control, &message.encode()).await.ok()?,
            LinkOut::Push(log, token) => {
                let stream = streams.entry(log).or_insert_with(|| {
                    let (to, from) = mpsc::channel(LOG_QUEUE);
                    pushers.spawn(push_log(part.clone(), log, turns.clone(), from).in_current_span());
                    to
                });
                // Never waits: what is closed is a pusher that has ended, which is seen above.
                if let Err(mpsc::error::TrySendError::Full(_)) = stream.try_send(token) {
                    return Some(LinkEnd::TooSlow);
                }
            }
            LinkOut::Close(code, reason) => {
                let _ = control.finish();
                let _ = tokio::time::timeout(LAST_WORDS, control.stopped()).await;
                part.connection.close((code as u8).into(), reason.as_bytes());
                return None;
            }
        }
    }
}

/// Sends the batches of one log, each as the bytes it arrived as.
async fn push_log(part: Part, log: LogId, turns: Arc<Semaphore>, mut tokens: mpsc::Receiver<BatchToken>) {
    let Part { context, link, connection, .. } = part;
    let Ok(mut stream) = connection.open_uni().await else { return };
    if write_frame(&mut stream, &StreamOpen { log }.encode()).await.is_err() {
        return;
    }
    while let Some(token) = tokens.recv().await {
        // Bytes that the peer does not read take its window: of few logs at once, lest messages find none.
        let Ok(_turn) = turns.acquire().await else { return };
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
