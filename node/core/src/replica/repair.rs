//! Repair: batches that take the place of what was lost or damaged here.
//!
//! A batch was proved before it comes here, is appended like any other, and counts from then on as the copy to read. Records
//! that are whole are never written again. Where batches come from, a neighbour or a bundle, is not known here.

use super::{NotRepaired, Output, Replica, Ticket};
use crate::{
    Append, Place,
    entry::Waiter,
    log::{HeldBatch, HeldLog, WholeCopy},
};
use std::sync::Arc;
use tally_protocol::ids::LogId;
use tally_topology::admit::{AdmittedBatch, admit};

impl Replica {
    /// Takes a batch that was fetched: to fill a gap, to replace a damaged copy, or to continue the log.
    pub(super) fn repair(&mut self, ticket: Ticket, batch: AdmittedBatch, out: &mut Vec<Output>) {
        let refuse = |why: NotRepaired| Output::Repaired { ticket, result: Err(why) };
        let id = batch.log();
        if !self.charter().is_within(id.division, self.me()) {
            out.push(refuse(NotRepaired::NotBelow(id)));
            return;
        }
        let edge = self.edge(id);
        if batch.start() == edge.size() {
            // The batch continues the log, so it is admitted again, against the edge as it is now.
            if self.is_at_rest(id) {
                out.push(refuse(NotRepaired::Frozen(id)));
                return;
            }
            match admit(self.view.charter.charter(), id, &edge, batch.bytes().to_vec()) {
                Ok(batch) => {
                    self.write_batch(batch, Waiter::Nobody, out);
                    out.push(Output::Repaired { ticket, result: Ok(()) });
                }
                Err(why) => out.push(refuse(why.into())),
            }
            return;
        }
        let (start, end) = (batch.start(), batch.end());
        // What is held whole is not written again. Nor is what is on its way in this round: the log does not know of it
        // yet, so it would be taken for missing.
        let wanted = |l: &HeldLog| end <= l.size() && l.misses(start, end) && l.fits(start, end, &batch.tree().root());
        let coming = self.repairs_in_flight.iter().any(|(log, from, to)| *log == id && *from < end && start < *to);
        if !coming && self.view.log(id).is_some_and(wanted) {
            self.repairs_in_flight.push((id, start, end));
            out.push(Output::Append(Append::batch(batch, Waiter::Repairer(ticket))));
        } else {
            out.push(refuse(NotRepaired::NotMissing { start, end }));
        }
    }

    /// The batch is on disk and counts. What had stopped at the damage goes on with this copy.
    pub(super) fn repair_appended(
        &mut self,
        ticket: Ticket,
        (id, tree, note, held): (LogId, tally_protocol::merkle::Tree, String, HeldBatch),
        out: &mut Vec<Output>,
    ) {
        self.repairs_in_flight.retain(|(log, start, _)| (*log, *start) != (id, held.start));
        let fits = self.view.log_mut(id).put(held.start, tree, held.sealed_at, note, held.place);
        self.resume_if_whole(id, out);
        let result = if fits { Ok(()) } else { Err(NotRepaired::Overtaken) };
        out.push(Output::Repaired { ticket, result });
    }

    /// If the log is whole again, lets go on what waited for that: its push, the gate, its receipt.
    fn resume_if_whole(&mut self, id: LogId, out: &mut Vec<Output>) {
        if !self.view.log(id).is_some_and(HeldLog::is_whole) {
            return;
        }
        self.view.parent.damaged.remove(&id);
        self.view.parent.rejected.remove(&id);
        self.restart_push(id);
        self.restart_serving(id);
        self.fetch_again(id, out);
        self.resolve_doubt(id, out);
        self.judge_gate();
        if id != self.own() && !self.receipts_due.contains(&id) {
            self.receipts_due.push(id);
        }
    }

    /// Takes what a reading of the disk found of a log; the log may be whole by that.
    pub(super) fn surveyed(
        &mut self,
        id: LogId,
        missing: &[(u64, u64)],
        copies: &[WholeCopy],
        (from, until): (Place, Place),
        out: &mut Vec<Output>,
    ) {
        let Some(log) = self.view.logs.get_mut(&id).map(Arc::make_mut) else { return };
        let before = log.is_whole();
        log.surveyed(missing, copies, from, until);
        // A read that failed once had stopped what goes on now; one that fails again stops it again.
        if !before || self.view.parent.damaged.contains_key(&id) {
            self.resume_if_whole(id, out);
        }
    }

    /// Writes receipts, freezes and the charter again, from memory: frames that held them may have been lost.
    pub(super) fn resave(&mut self, out: &mut Vec<Output>) {
        out.push(Output::Append(Append::charter(self.view.charter.note().to_owned(), Waiter::Nobody)));
        for (id, held) in &self.view.logs {
            let HeldLog { receipts, frozen, .. } = held.as_ref();
            for (division, r) in receipts {
                let holder = LogId::records(*division, r.epoch);
                let (size, time, line) = (r.size, r.time, r.line.clone());
                out.push(Output::Append(Append::receipt(*id, holder, size, time, line)));
            }
            if let Some(f) = frozen {
                out.push(Output::Append(Append::freeze(*id, f.clone())));
            }
        }
        self.resave_ancestors(out);
    }
}
