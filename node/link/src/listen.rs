//! Calls from children. Who may link, TLS has judged by the charter; it is looked at once more after the handshake.

use super::{
    Endpoints, LinkContext, Peer,
    frame::{FrameError, Heard, Pace},
    panicked,
    run::{Start, run},
    tls,
};
use std::sync::Arc;
use tally_protocol::limits::CONTROL_BYTES_MAX;
use tokio::{sync::Semaphore, task::JoinSet};

/// Handshakes at the same time; more wait in the endpoint's queue.
const HANDSHAKES: usize = 32;

/// Accepts links until the endpoint closes.
///
/// Not cancel-safe: links that it runs end with it, untold.
pub async fn listen(endpoints: Endpoints, context: LinkContext) {
    let handshakes = Arc::new(Semaphore::new(HANDSHAKES));
    let mut links = JoinSet::new();
    loop {
        tokio::select! {
            incoming = endpoints.listening().accept() => match incoming {
                Some(incoming) => {
                    // Under pressure a caller has to show first that it can be reached at its address.
                    let pressed = handshakes.available_permits() < HANDSHAKES / 2;
                    if pressed && !incoming.remote_address_validated() && incoming.may_retry() {
                        let _ = incoming.retry();
                        continue;
                    }
                    links.spawn(accept(incoming, context.clone(), handshakes.clone()));
                }
                None => return,
            },
            Some(done) = links.join_next() => {
                panicked("link", &done);
            }
        }
    }
}

/// Lets one caller in, or not, and runs its link.
async fn accept(incoming: quinn::Incoming, context: LinkContext, handshakes: Arc<Semaphore>) {
    let from = incoming.remote_address();
    let Ok(permit) = handshakes.acquire_owned().await else { return };
    let setup = async {
        let connection = incoming.await?;
        // The charter may have changed since the verifier looked.
        let Some(peer) = tls::peer(&connection, &context.charter) else {
            connection.close(1_u8.into(), b"not in the charter");
            return Err(quinn::ConnectionError::LocallyClosed);
        };
        let mut control = connection.accept_bi().await?;
        // Whoever came so far has a child's key: others need not wait for what it says.
        drop(permit);
        // The deadline of the whole setup comes before this one, so a first message in part makes no link.
        let pace = Pace { heard: Heard::now(), stall: 2 * context.patience.setup };
        let first = pace.frame(&mut control.1, CONTROL_BYTES_MAX).await;
        if let Err(FrameError::Link) = first {
            return Err(connection.closed().await);
        }
        Ok((Start { connection, control, first: Some(first), heard: pace.heard }, peer))
    };
    match tokio::time::timeout(context.patience.setup, setup).await {
        Ok(Ok((start, peer))) => {
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
