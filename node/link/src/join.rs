//! The caller's side of joining: a call of the parent that an invitation names, with a key that nobody knows yet; and of a node that
//! is not admitted any more: it asks whoever answers there for the charter in force.

use super::{
    call::{Address, by_turns, resolve},
    endpoint::{caller_endpoint, transport},
    frame::{Heard, Pace, write_frame},
    limits::{ADDRESSES_MAX, Patience},
    probe::probe,
    strangers::LATER,
    tls,
    trouble::{CallFailure, path_min},
};
use std::{
    net::{IpAddr, SocketAddr},
    time::Duration,
};
use tally_protocol::{
    join::{JOIN_VERSION, JoinAnswer, JoinAsk},
    keys::NodeKeys,
    limits::CONTROL_BYTES_MAX,
};

/// A parent that was reached and has the key that was expected.
#[derive(Debug)]
pub struct JoinLink {
    /// Where it answered, for people.
    pub address: String,
    /// This machine's address on the way there, if the system says.
    pub from: Option<IpAddr>,
    /// How long a packet takes there and back.
    pub round_trip: Duration,
    send: quinn::SendStream,
    receive: quinn::RecvStream,
    connection: quinn::Connection,
    /// Kept as long as the link.
    _endpoint: quinn::Endpoint,
}

/// An address that was tried in vain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unreached {
    /// For people.
    pub address: String,
    /// Where that is, if its name leads anywhere.
    pub at: Option<SocketAddr>,
    /// Why.
    pub why: CallFailure,
}

/// Why there is no answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NoAnswer {
    /// The parent has no room for callers just now.
    #[error("the parent takes no more calls just now")]
    Later,
    /// The line went.
    #[error("the line to the parent has ended")]
    Gone,
}

impl JoinLink {
    /// Sends a frame and waits for the answer.
    ///
    /// Not cancel-safe: after a call that was dropped the link can only be given up.
    ///
    /// # Errors
    /// [`NoAnswer`].
    pub async fn ask(&mut self, bytes: &[u8]) -> Result<Vec<u8>, NoAnswer> {
        let patience = Patience::default();
        let pace = Pace { heard: Heard::now(), stall: patience.stall };
        let asked = async {
            write_frame(&mut self.send, bytes).await.ok()?;
            pace.frame(&mut self.receive, CONTROL_BYTES_MAX).await.ok().flatten()
        };
        let answer = tokio::time::timeout(patience.silence, asked).await.ok().flatten();
        answer.ok_or_else(|| match self.connection.close_reason() {
            Some(quinn::ConnectionError::ApplicationClosed(c)) if u64::from(c.error_code) == u64::from(LATER) => {
                NoAnswer::Later
            }
            _ => NoAnswer::Gone,
        })
    }
}

/// Calls the parent at these addresses, one after another. It has to have the key `pin`; the caller shows its own link key.
///
/// # Errors
/// What was tried in vain; never empty unless there is no address.
pub async fn call_to_join(addresses: &[String], pin: [u8; 32], keys: &NodeKeys) -> Result<JoinLink, Vec<Unreached>> {
    call_as_stranger(addresses, Some(pin), keys).await
}

/// Asks at these addresses for a charter newer than this version. Who answers is not looked at: the charter is the authority's, or of
/// no use, which whoever takes it has to see.
pub(crate) async fn ask_for_charter(addresses: &[String], keys: &NodeKeys, newer_than: u64) -> Option<String> {
    let mut link = call_as_stranger(addresses, None, keys).await.ok()?;
    let ask = JoinAsk::Charter { version: JOIN_VERSION, newer_than };
    match JoinAnswer::decode(&link.ask(&ask.encode()).await.ok()?).ok()? {
        JoinAnswer::Charter { note } => Some(note),
        _ => None,
    }
}

/// Calls whoever has the key `pin`, or whoever answers.
async fn call_as_stranger(
    addresses: &[String],
    pin: Option<[u8; 32]>,
    keys: &NodeKeys,
) -> Result<JoinLink, Vec<Unreached>> {
    let patience = Patience::default();
    let (targets, failed) = resolve(addresses, patience.resolve).await;
    let told =
        |(address, why): (Address, CallFailure)| Unreached { address: address.to_string(), at: address.at(), why };
    let mut failed: Vec<_> = failed.into_iter().map(told).collect();
    for address in by_turns(targets).into_iter().take(ADDRESSES_MAX) {
        match attempt(&address, pin, keys, &patience).await {
            Ok(link) => return Ok(link),
            Err(why) => failed.push(told((address, why))),
        }
    }
    Err(failed)
}

async fn attempt(
    address: &Address,
    pin: Option<[u8; 32]>,
    keys: &NodeKeys,
    patience: &Patience,
) -> Result<JoinLink, CallFailure> {
    let target = address.at().ok_or(CallFailure::NoRoute)?;
    let family = if target.is_ipv4() { "IPv4" } else { "IPv6" };
    let endpoint = caller_endpoint(target).map_err(|e| CallFailure::NoSocket(family, e.to_string()))?;
    let config = tls::stranger(keys, pin, transport(patience));
    let config = config.map_err(|e| CallFailure::Handshake(e.to_string()))?;
    let setup = patience.setup;
    let connect = async {
        let connecting = endpoint.connect_with(config, target, tls::JOIN_NAME);
        let connecting = connecting.map_err(|e| CallFailure::Handshake(e.to_string()))?;
        let failure = |e| CallFailure::of(e, setup.as_secs(), target);
        let connection = connecting.await.map_err(failure)?;
        let (send, receive) = connection.open_bi().await.map_err(failure)?;
        Ok((connection, send, receive))
    };
    let timed_out = CallFailure::NoAnswer(setup.as_secs(), path_min(target));
    match tokio::time::timeout(setup, connect).await.unwrap_or(Err(timed_out)) {
        Ok((connection, send, receive)) => Ok(JoinLink {
            address: address.to_string(),
            from: connection.local_ip(),
            round_trip: connection.rtt(),
            send,
            receive,
            connection,
            _endpoint: endpoint,
        }),
        Err(no_answer @ CallFailure::NoAnswer(..)) => Err(probe(target).await.unwrap_or(no_answer)),
        Err(why) => Err(why),
    }
}
