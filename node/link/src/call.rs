//! One call of the parent: all its addresses, of both families, until one answers.
//!
//! The next address is tried while the ones before have not answered yet, so a dead one costs a moment and not the call. It must not
//! know what is said on the link, nor when the next call is due.

use super::{
    Dial,
    endpoint::Endpoints,
    limits::ADDRESSES_MAX,
    probe::probe,
    tls,
    trouble::{CallFailure, path_min},
};
use std::{fmt, io, net::SocketAddr, time::Duration};
use tally_protocol::ids::Division;
use tokio::task::JoinSet;

/// A parent that answered.
pub(crate) struct Called {
    pub(crate) connection: quinn::Connection,
    pub(crate) control: (quinn::SendStream, quinn::RecvStream),
    /// For people.
    pub(crate) address: Address,
}

/// One place where the parent may be, and what the charter calls it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Address {
    name: String,
    at: Option<SocketAddr>,
}

impl Address {
    /// Where that is, if its name leads anywhere.
    pub(crate) fn at(&self) -> Option<SocketAddr> {
        self.at
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.at {
            Some(at) if at.to_string() != self.name => write!(f, "{at} ({})", self.name),
            _ => f.write_str(&self.name),
        }
    }
}

/// What was tried in vain. Never empty, but for a parent without an address.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct InVain(pub(crate) Vec<(Address, CallFailure)>);

impl fmt::Display for InVain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() {
            return f.write_str("the charter gives it no address: one is needed there (addresses)");
        }
        for (n, (address, failure)) in self.0.iter().enumerate() {
            write!(f, "{}{address}: {failure}", if n == 0 { "" } else { "; " })?;
        }
        Ok(())
    }
}

/// Calls the parent at the addresses that the charter names, beginning with another one each `turn`.
pub(crate) async fn call(dial: &Dial, parent: Division, names: &[String], turn: usize) -> Result<Called, InVain> {
    let (mut targets, mut failed) = resolve(names, dial.context.patience.resolve).await;
    let places = targets.len().max(1);
    targets.rotate_left(turn % places);
    targets.truncate(ADDRESSES_MAX);
    let mut targets = targets.into_iter();
    let mut calls = JoinSet::new();
    loop {
        if let Some(address) = targets.next() {
            calls.spawn(attempt(dial.context.clone(), dial.endpoints.clone(), parent, address));
        }
        let ended = if targets.len() == 0 {
            calls.join_next().await
        } else {
            // The next one begins when one has failed, or has taken long.
            tokio::time::timeout(dial.context.patience.stagger, calls.join_next()).await.unwrap_or_default()
        };
        match ended {
            // Whoever answers later is told that nobody waits: the call is dropped with the set.
            Some(Ok(Ok(called))) => return Ok(called),
            Some(Ok(Err(in_vain))) => failed.push(in_vain),
            Some(Err(e)) => tracing::error!(event = "peer.panicked", reason = %e, "a call has panicked"),
            None if targets.len() == 0 => return Err(InVain(failed)),
            None => {}
        }
    }
}

/// Places of all names, in the charter's order, families by turns; and the names that lead nowhere.
pub(crate) async fn resolve(names: &[String], within: Duration) -> (Vec<Address>, Vec<(Address, CallFailure)>) {
    let mut asked = JoinSet::new();
    for (n, name) in names.iter().cloned().enumerate() {
        asked.spawn(async move {
            let asking = async { Ok::<_, io::Error>(tokio::net::lookup_host(&name).await?.collect::<Vec<_>>()) };
            let found = match tokio::time::timeout(within, asking).await {
                Ok(found) => found.map_err(|e| e.to_string()),
                Err(_) => Err(format!("no answer within {} s", within.as_secs())),
            };
            (n, name, found)
        });
    }
    let mut answers = asked.join_all().await;
    answers.sort_by_key(|(n, ..)| *n);
    let (mut places, mut failed) = (Vec::new(), Vec::new());
    for (_, name, found) in answers {
        match found {
            Ok(found) => {
                for at in found {
                    let address = Address { name: name.clone(), at: Some(at) };
                    if !places.iter().any(|p: &Address| p.at == address.at) {
                        places.push(address);
                    }
                }
            }
            Err(why) => failed.push((Address { name, at: None }, CallFailure::Name(why))),
        }
    }
    (by_turns(places), failed)
}

/// Families by turns, beginning with that of the first: one that does not work here holds up the other by one step only.
pub(crate) fn by_turns(places: Vec<Address>) -> Vec<Address> {
    let v4 = |a: &Address| a.at.is_some_and(|at| at.is_ipv4());
    let first = places.first().is_some_and(v4);
    let (a, b): (Vec<_>, Vec<_>) = places.into_iter().partition(|p| v4(p) == first);
    let (mut a, mut b) = (a.into_iter(), b.into_iter());
    let mut mixed = Vec::new();
    loop {
        let pair = (a.next(), b.next());
        if pair == (None, None) {
            return mixed;
        }
        mixed.extend(pair.0);
        mixed.extend(pair.1);
    }
}

/// Calls one address.
async fn attempt(
    context: super::LinkContext,
    endpoints: Endpoints,
    parent: Division,
    address: Address,
) -> Result<Called, (Address, CallFailure)> {
    let Some(target) = address.at else { return Err((address, CallFailure::NoRoute)) };
    let setup = context.patience.setup;
    let family = if target.is_ipv4() { "IPv4" } else { "IPv6" };
    let connect = async {
        let endpoint = endpoints.towards(target).map_err(|e| CallFailure::NoSocket(family, e.to_string()))?;
        let config = tls::client(&context).map_err(|e| CallFailure::Handshake(e.to_string()))?;
        let connecting = endpoint.connect_with(config, target, &tls::server_name(parent)).map_err(|e| match e {
            quinn::ConnectError::EndpointStopping => CallFailure::ClosedHere,
            e => CallFailure::Handshake(e.to_string()),
        })?;
        let failure = |e| CallFailure::of(e, setup.as_secs(), target);
        let connection = connecting.await.map_err(failure)?;
        let control = connection.open_bi().await.map_err(failure)?;
        Ok((connection, control))
    };
    let timed_out = CallFailure::NoAnswer(setup.as_secs(), path_min(target));
    match tokio::time::timeout(setup, connect).await.unwrap_or(Err(timed_out)) {
        Ok((connection, control)) => Ok(Called { connection, control, address }),
        Err(no_answer @ CallFailure::NoAnswer(..)) => {
            let why = probe(target).await.unwrap_or(no_answer);
            Err((address, why))
        }
        Err(why) => Err((address, why)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn places(of: &[&str]) -> Vec<Address> {
        of.iter().map(|a| Address { name: "city:1".into(), at: Some(a.parse().unwrap()) }).collect()
    }

    #[test]
    fn families_come_by_turns_and_nothing_is_left_out() {
        let mixed = by_turns(places(&["[::1]:1", "[::2]:1", "[::3]:1", "1.0.0.1:1", "1.0.0.2:1"]));
        assert_eq!(mixed, places(&["[::1]:1", "1.0.0.1:1", "[::2]:1", "1.0.0.2:1", "[::3]:1"]));
        assert_eq!(by_turns(places(&["1.0.0.1:1"])), places(&["1.0.0.1:1"]));
        assert_eq!(by_turns(Vec::new()), Vec::new());
    }

    #[test]
    fn each_address_is_named_with_its_own_reason() {
        let address = |at: &str| Address { name: "city.example:7443".into(), at: Some(at.parse().unwrap()) };
        let tried = vec![
            (address("[2001:db8::1]:7443"), CallFailure::NoRoute),
            (address("10.0.0.1:7443"), CallFailure::PathTooNarrow(1_128, 1_228)),
        ];
        let text = InVain(tried).to_string();
        for part in ["[2001:db8::1]:7443 (city.example:7443): ", "no route", "; 10.0.0.1:7443", "1128", "1228", "MTU"] {
            assert!(text.contains(part), "{part:?} in {text:?}");
        }
        assert!(InVain(Vec::new()).to_string().contains("addresses"));
    }
}
