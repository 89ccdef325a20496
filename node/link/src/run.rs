//! One live connection: a control stream both ways, and one stream for each log that is pushed.
//!
//! Whichever part of a link ends, by the peer's doing or a fault here, ends the link with its reason, and with no other link. It
//! must not know what a message means or whether a batch is right; it tells its host, and ends when the host says so or the
//! connection ends.

use super::{
    LinkContext, LinkEvent, LinkNumber, LinkOut, Outbox, Peer, arrive, exchange,
    frame::{FrameError, Heard, Pace},
    panicked, push,
    trouble::LinkEnd,
};
use std::time::Duration;
use tally_protocol::{
    limits::CONTROL_BYTES_MAX,
    wire::{Control, Refusal},
};
use tokio::{
    sync::mpsc,
    task::{JoinError, JoinSet},
};
use tracing::Instrument as _;

/// A closed link is gone after this, whatever the peer does.
const GOODBYE: Duration = Duration::from_secs(1);

/// A connection whose control stream is open.
pub(crate) struct Start {
    pub(crate) connection: quinn::Connection,
    pub(crate) control: (quinn::SendStream, quinn::RecvStream),
    /// The first frame of the control stream, where it was waited for already.
    pub(crate) first: Option<Result<Option<Vec<u8>>, FrameError>>,
    /// When the peer was heard last.
    pub(crate) heard: Heard,
}

/// What the parts of a link share.
#[derive(Debug, Clone)]
pub(crate) struct Part {
    pub(crate) context: LinkContext,
    pub(crate) link: LinkNumber,
    pub(crate) peer: Peer,
    pub(crate) connection: quinn::Connection,
    pub(crate) pace: Pace,
    /// Ends the link for a reason, while the part that found it goes on: what it drops would reach the peer before the reason.
    pub(crate) report: mpsc::Sender<LinkEnd>,
}

/// Runs a link until it ends, in a span with its number and peer. The host hears first that it is up and last that it is
/// down.
///
/// Not cancel-safe: dropped, it leaves the host with a link that never goes down.
pub(crate) async fn run(context: LinkContext, link: LinkNumber, start: Start, peer: Peer) -> LinkEnd {
    let span = tracing::info_span!("link", link = link.0, peer = %peer.division());
    live(context, link, start, peer).instrument(span).await
}

async fn live(context: LinkContext, link: LinkNumber, start: Start, peer: Peer) -> LinkEnd {
    let (outbox, queue, signs) = Outbox::new();
    let Start { connection, control: (send, receive), first, heard } = start;
    if context.node.tell(LinkEvent::Up { link, peer, outbox: outbox.clone() }).await.is_err() {
        return LinkEnd::ClosedHere;
    }
    let pace = Pace { heard: heard.clone(), stall: context.patience.stall };
    let (report, mut reported) = mpsc::channel(1);
    let part = Part { context: context.clone(), link, peer, connection: connection.clone(), pace, report };
    let mut tasks: JoinSet<Option<LinkEnd>> = JoinSet::new();
    tasks.spawn(push::write_out(part.clone(), send, queue).in_current_span());
    tasks.spawn(read_control(part.clone(), receive, first).in_current_span());
    tasks.spawn(arrive::streams(part.clone()).in_current_span());
    let division = peer.division();
    context.links.up(division, connection.clone());
    let exchanges = exchange::accept(division, connection.clone(), context.answerers.clone());
    tasks.spawn(
        async {
            exchanges.await;
            None
        }
        .in_current_span(),
    );
    let fault = async {
        while let Some(done) = tasks.join_next().await {
            if let Some(end) = fault_of(done) {
                return end;
            }
        }
        std::future::pending().await
    };
    let fault = tokio::select! {
        _ = connection.closed() => None,
        fault = fault => Some(fault),
        Some(end) = reported.recv() => Some(end),
        () = signs.too_slow.notified() => Some(LinkEnd::TooSlow),
        () = signs.closing.notified() => {
            goodbye(&connection).await;
            None
        }
    };
    // What a part found after the connection had ended follows from that.
    let fault = fault.filter(|_| connection.close_reason().is_none());
    if let Some(end) = &fault {
        tell_and_close(end, &outbox, &connection).await;
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
    let of_connection = || connection.close_reason().map(|e| LinkEnd::of(e, context.patience.idle.as_secs()));
    let end = fault.or_else(of_connection).unwrap_or(LinkEnd::ClosedHere);
    log(&end);
    end
}

/// Why the link has to end because of a part that has ended; `None` when the part's own reason is on its way, or there is none.
fn fault_of(done: Result<Option<LinkEnd>, JoinError>) -> Option<LinkEnd> {
    if panicked("link", &done) { Some(LinkEnd::Failed) } else { done.ok().flatten() }
}

/// The goodbye gets a moment; a peer that does not read it is not waited for.
async fn goodbye(connection: &quinn::Connection) {
    let _ = tokio::time::timeout(GOODBYE, connection.closed()).await;
    connection.close(0_u8.into(), b"closed");
}

/// Ends a connection for a reason found here. A peer that is only slow can still read why: it shows that to its people.
async fn tell_and_close(end: &LinkEnd, outbox: &Outbox, connection: &quinn::Connection) {
    let reason = end.to_string();
    if let LinkEnd::Slow(..) = end {
        outbox.send(LinkOut::Control(Control::Refused { code: Refusal::Slow, reason: reason.clone() }));
        outbox.send(LinkOut::Close(Refusal::Slow, reason));
        goodbye(connection).await;
    } else {
        connection.close(0_u8.into(), reason.as_bytes());
    }
}

fn log(end: &LinkEnd) {
    let kind = end.kind();
    match end {
        LinkEnd::NotAdmitted | LinkEnd::Slow(..) | LinkEnd::TooSlow => {
            tracing::warn!(event = "link.refused", kind, reason = %end, "the link was refused");
        }
        _ => tracing::info!(event = "link.ended", kind, reason = %end, "the link has ended"),
    }
}

/// Hands control messages to the host until the stream ends, says what no message says, or falls silent.
async fn read_control(
    part: Part,
    mut stream: quinn::RecvStream,
    first: Option<Result<Option<Vec<u8>>, FrameError>>,
) -> Option<LinkEnd> {
    let Part { context, link, pace, connection, peer, .. } = &part;
    let (link, silence) = (*link, context.patience.silence);
    let rooms = context.room.of(peer.division());
    let mut first = first;
    loop {
        let frame = match first.take() {
            Some(Ok(Some(bytes))) => Ok(Some((rooms.take_control(bytes.len()).await?, bytes))),
            Some(Ok(None)) => Ok(None),
            Some(Err(e)) => Err(e),
            None => {
                let length = tokio::select! {
                    // While this node itself was held up bytes have come, and they count before the silence.
                    biased;
                    length = pace.length(&mut stream, CONTROL_BYTES_MAX) => length,
                    () = pace.heard.silent(silence) => return Some(LinkEnd::Silent(silence.as_secs())),
                };
                match length {
                    Ok(Some(len)) => {
                        // While the node does not get on, the peer waits: that is no silence.
                        let room = rooms.take_control(len).await?;
                        pace.body(&mut stream, len).await.map(|bytes| Some((room, bytes)))
                    }
                    Ok(None) => Ok(None),
                    Err(e) => Err(e),
                }
            }
        };
        let event = match frame {
            Ok(Some((room, bytes))) => match Control::decode(&bytes) {
                Ok(message) => LinkEvent::Control { link, message: Box::new(message), room },
                Err(e) => LinkEvent::Garbage { link, reason: format!("control message: {e}") },
            },
            Ok(None) => {
                // A goodbye: the peer closes the connection next, and its reason counts. One that does not is not waited for.
                let _ = tokio::time::timeout(GOODBYE, connection.closed()).await;
                return Some(LinkEnd::StreamEnded("the control stream"));
            }
            Err(FrameError::Oversize(n)) => {
                LinkEvent::Garbage { link, reason: format!("a control frame claims {n} bytes") }
            }
            Err(FrameError::Truncated) => LinkEvent::Garbage { link, reason: "a control frame ends early".into() },
            Err(FrameError::Stalled) => return Some(LinkEnd::Slow("a message", pace.stall.as_secs())),
            Err(FrameError::Link) => return None,
        };
        let stop = matches!(event, LinkEvent::Garbage { .. });
        if context.node.tell(event).await.is_err() || stop {
            return None;
        }
    }
}
