//! Calls from children. Who may link, TLS has judged by the charter; it is looked at once more after the handshake.

use super::{LinkContext, Peer, SETUP, panicked, run::run, tls};
use std::sync::Arc;
use tokio::{sync::Semaphore, task::JoinSet};

/// Handshakes at the same time; more wait in the endpoint's queue.
const HANDSHAKES: usize = 32;

/// Accepts links until the endpoint closes.
///
/// Not cancel-safe: links that it runs end with it, untold.
pub async fn listen(endpoint: quinn::Endpoint, context: LinkContext) {
    let handshakes = Arc::new(Semaphore::new(HANDSHAKES));
    let mut links = JoinSet::new();
    loop {
        tokio::select! {
            incoming = endpoint.accept() => match incoming {
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
        let control = connection.accept_bi().await?;
        Ok((connection, peer, control))
    };
    match tokio::time::timeout(SETUP, setup).await {
        Ok(Ok((connection, peer, control))) => {
            drop(permit);
            let link = context.name();
            run(context, link, connection, control, Peer::Child(peer)).await;
        }
        Ok(Err(e)) => tracing::warn!(event = "link.refused", %from, reason = %e, "a call was refused"),
        Err(_) => tracing::warn!(event = "link.refused", %from, "a caller did not finish its handshake"),
    }
}
