//! Callers that want to join: they have a key that nobody knows, and a protocol, a room and a time of their own, so that none of
//! them holds up a neighbour, nor another place.
//!
//! What is said in such a call is not known here: frames are handed to whoever answers, one call at a time and for a short time.
//! Nothing of a caller is kept when its call has ended but when its place last called, and of places a bounded number.

use super::{
    callers::Place,
    frame::{Heard, Pace, write_frame},
    limits::{
        STRANGER_ASKS, STRANGER_BURST, STRANGER_EVERY, STRANGER_PLACES, STRANGER_SEND_WINDOW, STRANGER_TIME,
        STRANGERS_AT_ONCE, STRANGERS_OF_PLACE,
    },
};
use std::{
    collections::BTreeMap,
    net::SocketAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};
use tally_protocol::limits::JOIN_ASK_BYTES_MAX;
use tokio::sync::mpsc;

/// Code with which a call is closed because there is no room: later.
pub(crate) const LATER: u8 = 2;

/// One place.
#[derive(Debug, Clone, Copy)]
struct PlaceCalls {
    /// Calls that go on.
    now: usize,
    /// From this moment on it has not called, as far as its rate goes.
    rested: Instant,
}

/// Who calls, by places.
#[derive(Debug, Clone, Default)]
pub(crate) struct Strangers(Arc<Mutex<BTreeMap<Place, PlaceCalls>>>);

/// Room of one call; free again when it is dropped.
#[derive(Debug)]
pub(crate) struct StrangerRoom {
    place: Place,
    strangers: Strangers,
}

impl Strangers {
    fn lock(&self) -> MutexGuard<'_, BTreeMap<Place, PlaceCalls>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Room for one call, if there is some for that place now.
    pub(crate) fn enter(&self, place: Place, now: Instant) -> Option<StrangerRoom> {
        let mut places = self.lock();
        let all: usize = places.values().map(|p| p.now).sum();
        if all >= STRANGERS_AT_ONCE {
            return None;
        }
        if places.len() >= STRANGER_PLACES {
            places.retain(|_, p| p.now > 0 || p.rested > now);
        }
        let known = places.get(&place).copied();
        if known.is_none() && places.len() >= STRANGER_PLACES {
            return None;
        }
        let calls = known.unwrap_or(PlaceCalls { now: 0, rested: now });
        let rested = calls.rested.max(now) + STRANGER_EVERY;
        if calls.now >= STRANGERS_OF_PLACE || rested > now + STRANGER_EVERY * STRANGER_BURST {
            return None;
        }
        places.insert(place, PlaceCalls { now: calls.now + 1, rested });
        Some(StrangerRoom { place, strangers: self.clone() })
    }

    /// Places of which something is kept.
    #[cfg(test)]
    fn places(&self) -> usize {
        self.lock().len()
    }
}

impl Drop for StrangerRoom {
    fn drop(&mut self) {
        if let Some(place) = self.strangers.lock().get_mut(&self.place) {
            place.now = place.now.saturating_sub(1);
        }
    }
}

/// One call of somebody who wants to join.
#[derive(Debug)]
pub struct StrangerCall {
    /// The link key with which it has called.
    pub key: [u8; 32],
    /// From where.
    pub from: SocketAddr,
    connection: quinn::Connection,
    send: quinn::SendStream,
    receive: quinn::RecvStream,
    _room: StrangerRoom,
}

impl StrangerCall {
    /// The next frame; `None` when there is none more, or none that can be.
    ///
    /// Not cancel-safe: after a call that was dropped nothing more can be read.
    pub async fn receive(&mut self) -> Option<Vec<u8>> {
        let pace = Pace { heard: Heard::now(), stall: STRANGER_ASKS };
        let frame = pace.frame(&mut self.receive, JOIN_ASK_BYTES_MAX);
        tokio::time::timeout(STRANGER_ASKS, frame).await.ok()?.ok().flatten()
    }

    /// Answers with a frame. `false`: nobody takes it.
    ///
    /// Not cancel-safe: after a call that was dropped nothing more can be said.
    pub async fn send(&mut self, bytes: &[u8]) -> bool {
        write_frame(&mut self.send, bytes).await.is_ok()
    }

    /// Ends the call; waits until the caller has what was said, or its time is over.
    ///
    /// Cancel-safe.
    pub async fn end(mut self) {
        let _ = self.send.finish();
        let _ = tokio::time::timeout(STRANGER_TIME, self.send.stopped()).await;
        self.connection.close(0_u8.into(), b"");
    }

    /// The time that one call may take, from its key to its end.
    pub fn time() -> Duration {
        STRANGER_TIME
    }
}

/// Takes a call whose key has been shown, and hands it to whoever answers.
pub(crate) async fn take(
    connection: quinn::Connection,
    key: [u8; 32],
    strangers: Strangers,
    answers: mpsc::Sender<StrangerCall>,
) {
    let from = connection.remote_address();
    connection.set_send_window(STRANGER_SEND_WINDOW);
    let Some(room) = strangers.enter(from.ip().into(), Instant::now()) else {
        connection.close(LATER.into(), b"too many call to join: later");
        return tracing::debug!(event = "join.later", %from, "no room for one more call to join");
    };
    match tokio::time::timeout(STRANGER_ASKS, connection.accept_bi()).await {
        Ok(Ok((send, receive))) => {
            let call = StrangerCall { key, from, connection, send, receive, _room: room };
            if let Err(mpsc::error::TrySendError::Full(call)) = answers.try_send(call) {
                call.connection.close(LATER.into(), b"too many call to join: later");
            }
        }
        Ok(Err(_)) | Err(_) => connection.close(1_u8.into(), b"nothing was asked"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::Ipv4Addr;

    fn place(n: u32) -> Place {
        std::net::IpAddr::from(Ipv4Addr::from(n)).into()
    }

    /// Ten thousand places, and one that never stops: what is kept has a bound, and somebody else is heard.
    #[test]
    fn nothing_grows_with_callers_and_a_place_has_its_part() {
        let (strangers, start) = (Strangers::default(), Instant::now());
        let mut held = Vec::new();
        while let Some(room) = strangers.enter(place(1), start) {
            held.push(room);
        }
        assert_eq!(held.len(), STRANGERS_OF_PLACE, "one place");
        assert!(strangers.enter(place(2), start).is_some(), "another one");
        drop(held);
        let mut heard = 0;
        for _ in 0..10_000 {
            heard += u32::from(strangers.enter(place(1), start).is_some());
        }
        assert!(heard < STRANGER_BURST, "{heard} more in one moment");
        for n in 0..10_000 {
            let _ = strangers.enter(place(n), start);
        }
        assert!(strangers.places() <= STRANGER_PLACES);
        let later = start + STRANGER_EVERY * STRANGER_BURST * 2;
        assert!(strangers.enter(place(20_000), later).is_some(), "those that rested are forgotten");
        assert!(strangers.enter(place(1), later).is_some());
    }

    #[test]
    fn all_places_together_have_a_bound() {
        let (strangers, start) = (Strangers::default(), Instant::now());
        let held: Vec<_> = (0..1_000).filter_map(|n| strangers.enter(place(n), start)).collect();
        assert_eq!(held.len(), STRANGERS_AT_ONCE);
        drop(held);
        assert!(strangers.enter(place(2_000), start).is_some());
    }
}
