//! Sealing: the own log grows, behind the gate (I4). A batch that this node makes goes through `admit()` like any other.

use super::{NotSealed, Output, Replica, Ticket};
use crate::entry::Waiter;
use tally_protocol::{batch, record::Record};
use tally_topology::admit::admit;

impl Replica {
    /// Seals records as the next batch of the own log; whoever waits for `ticket` hears of it after the flush.
    pub(super) fn seal(&mut self, now_ms: u64, ticket: Ticket, records: &[Record], out: &mut Vec<Output>) {
        if let Some(why) = self.view.closed() {
            out.push(Output::Sealed { ticket, result: Err(why) });
            return;
        }
        let own = self.own();
        let tree = self.edge(own);
        // A clock that is put right makes the time of sealing step back: nothing is ordered by it.
        let bytes = batch::seal(&self.keys, &tree, records, self.clock.corrected(now_ms) / 1_000);
        match admit(self.view.charter.charter(), own, &tree, bytes) {
            Ok(batch) => self.write_batch(batch, Waiter::Sealer(ticket), out),
            // Our own charter does not know our key any more, or closed our epoch.
            Err(why) => {
                out.push(Output::Sealed { ticket, result: Err(NotSealed::Frozen(why.to_string())) });
            }
        }
    }
}
