//! Exchanges: streams of their own beside the control stream, opened by either side, with a frame each way at a time.
//!
//! They yield to everything else on the link, and a link has only a few. What is said in them is not known here, only what
//! each is for, which is its first byte.

use super::{
    StrangerCall,
    frame::{FrameError, Heard, Pace, write_frame_within},
};
use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};
use tally_protocol::{ids::Division, session::reconcile::EXCHANGE_BYTES_MAX};
use tokio::sync::mpsc;

/// Behind batches, which are behind control.
const PRIORITY: i32 = -10;
/// Exchanges at the same time on one link, of those that the peer opened.
pub(super) const EXCHANGES: u8 = 2;
/// A side that works says so more often than this.
pub const SILENCE: Duration = Duration::from_secs(30);

/// What an exchange is for: its first byte. A peer that does not know it closes the exchange.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// To compare and repair.
    Reconcile,
    /// To be told what was found wrong with records.
    Findings,
}

impl Purpose {
    fn byte(self) -> u8 {
        match self {
            Self::Reconcile => 1,
            Self::Findings => 2,
        }
    }
}

/// One exchange.
#[derive(Debug)]
pub struct Exchange {
    send: quinn::SendStream,
    receive: quinn::RecvStream,
}

/// Why an exchange ended early.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ExchangeError {
    /// No link, or it went.
    #[error("the link is gone")]
    Link,
    /// Nothing came for so long.
    #[error("nothing was heard for {} s", SILENCE.as_secs())]
    Silence,
    /// A frame that cannot be.
    #[error("a frame that is too long or breaks off")]
    Frame,
    /// The peer does not take another exchange.
    #[error("the neighbour does not take the exchange: is it busy with another?")]
    Busy,
}

impl Exchange {
    /// Sends a frame; waits while the peer reads, however slowly.
    ///
    /// Not cancel-safe: after a call that was dropped the exchange can only be given up.
    ///
    /// # Errors
    /// [`ExchangeError`].
    pub async fn send(&mut self, bytes: &[u8]) -> Result<(), ExchangeError> {
        write_frame_within(&mut self.send, bytes, SILENCE).await.map_err(|e| match e {
            FrameError::Stalled => ExchangeError::Silence,
            _ => ExchangeError::Link,
        })
    }

    /// The next frame; `None` when the peer has ended the exchange.
    ///
    /// Not cancel-safe: after a call that was dropped the exchange can only be given up.
    ///
    /// # Errors
    /// [`ExchangeError`].
    pub async fn receive(&mut self) -> Result<Option<Vec<u8>>, ExchangeError> {
        let pace = Pace { heard: Heard::now(), stall: SILENCE };
        let frame = tokio::select! {
            frame = pace.frame(&mut self.receive, EXCHANGE_BYTES_MAX) => frame,
            () = pace.heard.silent(SILENCE) => return Err(ExchangeError::Silence),
        };
        frame.map_err(|e| match e {
            FrameError::Link => ExchangeError::Link,
            FrameError::Stalled => ExchangeError::Silence,
            FrameError::Oversize(_) | FrameError::Truncated => ExchangeError::Frame,
        })
    }

    /// Says that nothing more comes.
    pub fn finish(&mut self) {
        let _ = self.send.finish();
    }
}

/// Live connections, to open exchanges on.
#[derive(Debug, Clone, Default)]
pub struct LinkRegistry(Arc<Mutex<BTreeMap<Division, quinn::Connection>>>);

impl LinkRegistry {
    fn lock(&self) -> MutexGuard<'_, BTreeMap<Division, quinn::Connection>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn up(&self, peer: Division, connection: quinn::Connection) {
        self.lock().insert(peer, connection);
    }

    pub(super) fn down(&self, peer: Division, connection: &quinn::Connection) {
        let mut links = self.lock();
        if links.get(&peer).is_some_and(|c| c.stable_id() == connection.stable_id()) {
            links.remove(&peer);
        }
    }

    /// Opens an exchange with a neighbour that is linked. Whether the neighbour may be compared with, the core knows.
    ///
    /// Cancel-safe: a stream that was opened by then is closed with the call.
    ///
    /// # Errors
    /// [`ExchangeError`].
    pub async fn open(&self, peer: Division, purpose: Purpose) -> Result<Exchange, ExchangeError> {
        let connection = self.lock().get(&peer).cloned().ok_or(ExchangeError::Link)?;
        let opened = tokio::time::timeout(SILENCE, connection.open_bi()).await;
        let (mut send, receive) = opened.map_err(|_| ExchangeError::Busy)?.map_err(|_| ExchangeError::Link)?;
        let _ = send.set_priority(PRIORITY);
        // A peer may take the stream and no byte of it.
        let said = tokio::time::timeout(SILENCE, send.write_all(&[purpose.byte()])).await;
        said.map_err(|_| ExchangeError::Busy)?.map_err(|_| ExchangeError::Link)?;
        Ok(Exchange { send, receive })
    }
}

/// An exchange that a neighbour opened.
#[derive(Debug)]
pub struct Incoming {
    /// Who.
    pub peer: Division,
    /// The exchange.
    pub exchange: Exchange,
}

/// Who answers the exchanges that neighbours open, by what they are for.
#[derive(Debug, Clone)]
pub struct Answerers {
    /// See [`Purpose::Reconcile`].
    pub reconcile: mpsc::Sender<Incoming>,
    /// See [`Purpose::Findings`].
    pub findings: mpsc::Sender<Incoming>,
    /// Who want to join.
    pub strangers: mpsc::Sender<StrangerCall>,
}

/// Hands the exchanges that the peer opens to whoever answers them, until the link ends. It never waits for an answerer.
pub(super) async fn accept(peer: Division, connection: quinn::Connection, answerers: Answerers) {
    while let Ok((send, mut receive)) = connection.accept_bi().await {
        let mut kind = [0];
        let first = tokio::time::timeout(SILENCE, receive.read_exact(&mut kind)).await;
        if !matches!(first, Ok(Ok(()))) {
            continue;
        }
        let purposes = [(Purpose::Reconcile, &answerers.reconcile), (Purpose::Findings, &answerers.findings)];
        let Some((_, answerer)) = purposes.into_iter().find(|(p, _)| [p.byte()] == kind) else { continue };
        let _ = send.set_priority(PRIORITY);
        // Whoever answers is full: this one is dropped, so that one kind never holds up another.
        let incoming = Incoming { peer, exchange: Exchange { send, receive } };
        if let Err(mpsc::error::TrySendError::Closed(_)) = answerer.try_send(incoming) {
            return;
        }
    }
}
