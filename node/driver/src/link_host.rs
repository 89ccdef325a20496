//! The node as its links see it: events become mail for the driver, batches are read from the journal. Neither side knows
//! the other.

use crate::{Mail, Mailbox};
use std::time::Duration;
use tally_core::Place;
use tally_link::{BatchToken, LinkEvent, LinkHost, NodeGone, Told};
use tally_protocol::batch;
use tally_store::entries::EntryReader;

/// Events go to the driver's mailbox, batches come from the journal.
#[derive(Debug)]
pub struct NodeLinkHost {
    /// The driver's mailbox.
    pub mailbox: Mailbox,
    /// The journal.
    pub reader: EntryReader,
}

impl LinkHost for NodeLinkHost {
    fn tell(&self, event: LinkEvent) -> Told<'_> {
        Box::pin(async { self.mailbox.send(Mail::Link(event)).await.map_err(|_| NodeGone) })
    }

    fn read_batch(&self, token: BatchToken) -> Result<Vec<u8>, String> {
        let BatchToken(place, from) = token;
        let kept = self.reader.read(Place(place)).map_err(|e| e.to_string())?;
        batch::from_record(kept.body, from).map_err(|e| e.to_string())
    }

    fn parent_pause(&self) -> Duration {
        self.mailbox.parent_busy()
    }
}
