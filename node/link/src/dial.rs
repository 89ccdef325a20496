//! Calling the parent, again and again, with growing and jittered pauses. One link at a time; which node is the parent, and
//! where it is, the charter in force says at each call.

use super::{LinkContext, LinkEvent, Peer, SETUP, run::run, tls};
use std::time::{Duration, Instant};
use tally_protocol::ids::Division;

/// Shortest pause between two calls.
const PAUSE_MIN: Duration = Duration::from_millis(250);
/// Longest pause between two calls.
const PAUSE_MAX: Duration = Duration::from_secs(60);
/// A link that lasted so long starts the pauses anew.
const LASTED: Duration = Duration::from_secs(10);

/// Codes with which a peer closes because TLS failed (RFC 9001, 4.8).
const TLS_ALERTS: std::ops::Range<u64> = 0x100..0x200;

/// Whom to call, as the charter in force says.
#[derive(Debug)]
pub struct Dial {
    /// The node's one socket.
    pub endpoint: quinn::Endpoint,
    /// This node.
    pub me: Division,
    /// For the links.
    pub context: LinkContext,
}

/// Keeps a link to the parent until the node ends.
///
/// Not cancel-safe while a link is up: the host would not hear that it is down.
pub async fn dial(dial: Dial) {
    let mut pause = PAUSE_MIN;
    let mut turn = 0_usize;
    loop {
        let charter = dial.context.charter.charter();
        let Some(parent) = charter.charter().parent(dial.me) else {
            tokio::time::sleep(Duration::from_secs(1)).await;
            continue;
        };
        let addresses = charter.charter().node(parent).map(|n| n.addresses.clone()).unwrap_or_default();
        drop(charter);
        let started = Instant::now();
        let address = addresses.get(turn % addresses.len().max(1)).cloned().unwrap_or_default();
        turn += 1;
        if let Err(Ended { reason, refused, linked }) = call(&dial, parent, &address).await {
            let reason = format!("{parent} at {address}: {reason}");
            let event = LinkEvent::DialFailed { reason, refused, linked };
            if dial.context.node.tell(event).await.is_err() {
                return;
            }
        }
        if started.elapsed() > LASTED {
            pause = PAUSE_MIN;
        }
        tokio::time::sleep(pause.max(dial.context.node.parent_pause())).await;
        // Decorrelated jitter: neighbours that lost the same parent spread out.
        pause = jittered(PAUSE_MIN, pause * 3).min(PAUSE_MAX);
    }
}

fn jittered(low: Duration, high: Duration) -> Duration {
    let mut random = [0; 4];
    // Without randomness the pauses are regular, which is only less polite.
    let _ = getrandom::fill(&mut random);
    let part = f64::from(u32::from_le_bytes(random)) / f64::from(u32::MAX);
    low + (high - low).mul_f64(part)
}

/// Why there is no link, or no longer.
struct Ended {
    reason: String,
    /// The parent does not admit this node's key.
    refused: bool,
    /// There was a link.
    linked: bool,
}

impl From<String> for Ended {
    fn from(reason: String) -> Self {
        Self { reason, refused: false, linked: false }
    }
}

/// Calls the parent once and runs the link to its end; the error tells why it ended, or why there was none.
async fn call(dial: &Dial, parent: Division, address: &str) -> Result<(), Ended> {
    let mut resolved = tokio::net::lookup_host(address).await.map_err(|e| format!("cannot be resolved: {e}"))?;
    let local_v4 = dial.endpoint.local_addr().is_ok_and(|a| a.is_ipv4());
    let target =
        resolved.find(|a| a.is_ipv4() == local_v4).ok_or_else(|| "no address of the right family".to_owned())?;
    let config = tls::client(&dial.context).map_err(|e| e.to_string())?;
    let connecting =
        dial.endpoint.connect_with(config, target, &tls::server_name(parent)).map_err(|e| e.to_string())?;
    let setup = async {
        let connection = connecting.await.map_err(|e| e.to_string())?;
        let control = connection.open_bi().await.map_err(|e| e.to_string())?;
        Ok::<_, String>((connection, control))
    };
    let (connection, control) = tokio::time::timeout(SETUP, setup).await.map_err(|_| {
        format!("no answer on UDP within {} s: is the node running, is the port open?", SETUP.as_secs())
    })??;
    let link = dial.context.name();
    run(dial.context.clone(), link, connection.clone(), control, Peer::Parent(parent)).await;
    // A refusal by key shows only here: the handshake is over for us before the parent has judged it.
    match connection.close_reason() {
        Some(quinn::ConnectionError::ConnectionClosed(c)) if TLS_ALERTS.contains(&u64::from(c.error_code)) => {
            let reason = "the parent does not admit this node's key: is the charter there and here the same?";
            Err(Ended { reason: reason.into(), refused: true, linked: false })
        }
        Some(e) => Err(Ended { reason: e.to_string(), refused: false, linked: true }),
        None => Err(Ended { reason: "the link ended".into(), refused: false, linked: true }),
    }
}
