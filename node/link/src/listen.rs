//! Calls from children. Who may link, TLS has judged by the charter; it is looked at once more after the handshake. What a call may
//! take before its key is known is bounded by the place that it comes from (`callers.rs`), and from then on by the child.

use super::{
    Endpoints, LinkContext, Peer,
    callers::{CallNumber, Callers},
    endpoint::widen,
    frame::{FrameError, Heard, Pace},
    limits::{CALL_TIME, CALLERS_AT_ONCE},
    panicked,
    run::{Start, run},
    strangers, tls,
};
use std::{collections::BTreeMap, sync::Arc, time::Instant};
use tally_protocol::{ids::LogId, limits::CONTROL_BYTES_MAX};
use tokio::{
    sync::{Notify, mpsc},
    task::JoinSet,
};

/// Accepts links until the endpoint closes.
///
/// Not cancel-safe: links that it runs end with it, untold.
pub async fn listen(endpoints: Endpoints, context: LinkContext) {
    let mut callers = Callers::new();
    let mut handshakes: BTreeMap<CallNumber, Arc<Notify>> = BTreeMap::new();
    let (over, mut ended) = mpsc::channel(2 * CALLERS_AT_ONCE);
    let mut links = JoinSet::new();
    loop {
        tokio::select! {
            incoming = endpoints.listening().accept() => match incoming {
                Some(incoming) => {
                    // Under pressure a caller has to show first that it can be reached at its address.
                    if callers.is_pressed() && !incoming.remote_address_validated() && incoming.may_retry() {
                        let _ = incoming.retry();
                        continue;
                    }
                    if let Some(dropped) = callers.wait(incoming.remote_address().ip().into(), incoming) {
                        dropped.refuse();
                    }
                }
                None => return,
            },
            Some(number) = ended.recv() => {
                callers.done(number);
                handshakes.remove(&number);
            }
            () = tokio::time::sleep(CALL_TIME / 8), if callers.is_pressed() => {}
            Some(done) = links.join_next() => {
                panicked("link", &done);
            }
        }
        let now = Instant::now();
        loop {
            while let Some((number, incoming)) = callers.begin(now) {
                let give_way = Arc::new(Notify::new());
                handshakes.insert(number, give_way.clone());
                let handshake = Handshake { number, over: over.clone(), give_way };
                links.spawn(accept(incoming, endpoints.clone(), context.clone(), handshake));
            }
            let Some(number) = callers.gives_way(now, CALL_TIME) else { break };
            callers.done(number);
            if let Some(call) = handshakes.remove(&number) {
                // One that has come to its key meanwhile does not hear of it.
                call.notify_one();
            }
        }
    }
}

/// A handshake that goes on; dropped when its key is known, or it has ended.
struct Handshake {
    number: CallNumber,
    over: mpsc::Sender<CallNumber>,
    /// Told when another call needs its place.
    give_way: Arc<Notify>,
}

impl Drop for Handshake {
    fn drop(&mut self) {
        // There are twice as many places as handshakes at once. One that were not told of would end by giving way.
        let _ = self.over.try_send(self.number);
    }
}

/// Lets one caller in, or not, and runs its link.
async fn accept(incoming: quinn::Incoming, endpoints: Endpoints, context: LinkContext, handshake: Handshake) {
    let from = incoming.remote_address();
    let (server, wants) = match endpoints.server(&context) {
        Ok(made) => made,
        Err(e) => return tracing::error!(event = "link.refused", %from, reason = %e, "TLS refuses its configuration"),
    };
    let key = async {
        let connection = incoming.accept_with(server)?.await?;
        if let Some(key) = tls::stranger_key(&connection, &wants) {
            return Ok((connection, Caller::Stranger(key)));
        }
        // The charter may have changed since the verifier looked.
        let Some(peer) = tls::peer(&connection, &context.charter) else {
            connection.close(1_u8.into(), b"not in the charter");
            return Err(quinn::ConnectionError::LocallyClosed);
        };
        widen(&connection);
        Ok((connection, Caller::Child(peer)))
    };
    let key = tokio::select! {
        key = tokio::time::timeout(context.patience.setup, key) => key,
        () = handshake.give_way.notified() => {
            return tracing::debug!(event = "link.gave_way", %from, "a handshake that took long gave way to another caller");
        }
    };
    let (connection, caller) = match key {
        Ok(Ok(known)) => known,
        Ok(Err(e)) => return tracing::warn!(event = "link.refused", %from, reason = %e, "a call was refused"),
        Err(_) => {
            return tracing::warn!(event = "link.refused", %from, "a caller did not come to its key in time");
        }
    };
    // From here on it is a child's, or takes of the room of those who want to join.
    drop(handshake);
    match caller {
        Caller::Child(peer) => set_up(connection, peer, context, from).await,
        Caller::Stranger(key) => {
            strangers::take(connection, key, context.strangers.clone(), context.answerers.strangers.clone()).await;
        }
    }
}

/// Who has shown a key.
enum Caller {
    Child(LogId),
    /// Somebody who wants to join, with this key.
    Stranger([u8; 32]),
}

/// Waits for a child's first message, and runs its link.
async fn set_up(connection: quinn::Connection, peer: LogId, context: LinkContext, from: std::net::SocketAddr) {
    let Some(setup) = context.room.of(peer.division).set_up() else {
        connection.close(1_u8.into(), b"too many calls of this node at once");
        return tracing::warn!(event = "link.refused", %from, child = %peer, "too many calls of one child at once");
    };
    let hello = async {
        let mut control = connection.accept_bi().await?;
        // The deadline of the whole setup comes before this one, so a first message in part makes no link.
        let pace = Pace { heard: Heard::now(), stall: 2 * context.patience.setup };
        let first = pace.frame(&mut control.1, CONTROL_BYTES_MAX).await;
        if let Err(FrameError::Link) = first {
            return Err(connection.closed().await);
        }
        Ok((control, first, pace.heard))
    };
    match tokio::time::timeout(context.patience.setup, hello).await {
        Ok(Ok((control, first, heard))) => {
            let start = Start { connection, control, first: Some(first), heard };
            drop(setup);
            run(context.clone(), context.name(), start, Peer::Child(peer)).await;
        }
        // It tried several addresses at once, and another one was quicker; or it was stopped.
        Ok(Err(quinn::ConnectionError::ApplicationClosed(_))) => {
            tracing::info!(event = "link.given_up", %from, "a caller has given up its call");
        }
        Ok(Err(e)) => tracing::warn!(event = "link.refused", %from, reason = %e, "a call was refused"),
        Err(_) => tracing::warn!(event = "link.refused", %from, "a caller did not come to its hello in time"),
    }
}
