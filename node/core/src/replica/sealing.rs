//! The own log: sealing, behind the gate (I4).

use super::{NotSealed, Output, Replica, Ticket};
use crate::{Append, entry::Waiter};
use std::sync::Arc;
use tally_protocol::{batch, checkpoint::Checkpoint, ids::LogId, note, record::Record};
use tally_topology::admit::admit;

impl Replica {
    pub(super) fn seal(&mut self, now_ms: u64, ticket: Ticket, records: &[Record], out: &mut Vec<Output>) {
        if let Some(why) = self.view.closed() {
            out.push(Output::Sealed { ticket, result: Err(why) });
            return;
        }
        let own = self.own();
        let tree = self.edge(own);
        // Sealing times never run backwards, whatever the clock does: they order versions across restarts.
        self.last_sealed = self.last_sealed.max(now_ms / 1_000);
        let bytes = batch::seal(&self.keys, &tree, records, self.last_sealed);
        match admit(self.view.charter.charter(), own, &tree, bytes) {
            Ok(batch) => self.write_batch(batch, Waiter::Sealer(ticket), out),
            // Our own charter does not know our key any more, or closed our epoch.
            Err(why) => {
                out.push(Output::Sealed { ticket, result: Err(NotSealed::Frozen(why.to_string())) });
            }
        }
    }

    /// Cosigns the head of a mirrored log: its bytes are on this disk.
    pub(super) fn issue_receipt(&mut self, now_ms: u64, id: LogId, out: &mut Vec<Output>) {
        let (me, time) = (self.own(), now_ms / 1_000);
        let origin = self.charter().federation().origin(id);
        // A receipt says that all of it is on disk.
        let Some(log) = self.view.logs.get_mut(&id).map(Arc::make_mut).filter(|l| l.is_whole()) else { return };
        let size = log.size();
        if size == 0 || log.receipts.get(&me.division).is_some_and(|r| r.size >= size) {
            return;
        }
        let text = Checkpoint { origin, size, root: log.tree().root() }.text();
        let line = note::cosign_line(&text, time, &self.keys.mirror);
        log.receipt(me.division, crate::log::Receipt { size, time, epoch: me.epoch, line: line.clone() });
        out.push(Output::Append(Append::receipt(id, me, size, time, line.clone())));
        self.send_receipt_up(id, me, size, line.clone(), out);
        self.send_receipt_down(id, me, size, line, out);
    }
}
