//! What waits to be sent on one link. The node never waits for a peer: one that lets too much pile up is closed.

use super::{BatchToken, limits::OUTBOX};
use std::sync::Arc;
use tally_protocol::{
    ids::LogId,
    wire::{Control, Refusal},
};
use tokio::sync::{Notify, mpsc};

/// Something for a link to send.
#[derive(Debug)]
pub enum LinkOut {
    /// A control message.
    Control(Control),
    /// A batch, from where it lies.
    Push(LogId, BatchToken),
    /// Say goodbye.
    Close(Refusal, String),
}

/// The node's end of a link.
#[derive(Debug, Clone)]
pub struct Outbox {
    out: mpsc::Sender<LinkOut>,
    signs: Arc<Signs>,
}

/// What a link is told beside its queue.
#[derive(Debug, Default)]
pub(super) struct Signs {
    /// Its queue is full: it is too slow to be served.
    pub(super) too_slow: Notify,
    /// A goodbye is in its queue.
    pub(super) closing: Notify,
}

impl Outbox {
    /// An outbox, the end that the link reads, and what it is told beside.
    pub(super) fn new() -> (Self, mpsc::Receiver<LinkOut>, Arc<Signs>) {
        let (out, read) = mpsc::channel(OUTBOX);
        let signs = Arc::new(Signs::default());
        (Self { out, signs: signs.clone() }, read, signs)
    }

    /// Queues something, never waits.
    pub fn send(&self, out: LinkOut) {
        let closing = matches!(out, LinkOut::Close(..));
        if let Err(mpsc::error::TrySendError::Full(_)) = self.out.try_send(out) {
            self.signs.too_slow.notify_one();
        }
        if closing {
            self.signs.closing.notify_one();
        }
    }
}
