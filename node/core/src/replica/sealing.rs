//! Sealing: the own log grows, behind the gate (I4). The charter is asked about a batch that this node makes as about any other.

use super::{NotSealed, Output, Replica, Ticket};
use crate::entry::Waiter;
use tally_protocol::record::Record;
use tally_topology::admit::seal_own;

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
        let time = self.clock.corrected(now_ms) / 1_000;
        match seal_own(self.view.charter.charter(), &self.keys, &tree, records, time) {
            Ok(batch) => self.write_batch(batch, Waiter::Sealer(ticket), out),
            // Our own charter does not know our key any more, or closed our epoch.
            Err(why) => {
                out.push(Output::Sealed { ticket, result: Err(NotSealed::Frozen(why.to_string())) });
            }
        }
    }
}
