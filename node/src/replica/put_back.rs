//! Records that come back to where they were lost: proved before, appended as any batch, and pointed to.

use super::{Append, Output, Replica, Ticket};
use tally_protocol::{
    ids::LogId,
    log::{HeldLog, Place},
};
use tally_topology::admit::{AdmittedBatch, admit};

impl Replica {
    pub(super) fn put_back(&mut self, ticket: Ticket, batch: AdmittedBatch, out: &mut Vec<Output>) {
        let refuse = |why: String| Output::PutBack { ticket, result: Err(why) };
        let id = batch.log();
        if !self.charter().is_within(id.division, self.me()) {
            out.push(refuse(format!("{id} is not a log of this node or below it")));
            return;
        }
        let edge = self.edge(id);
        if batch.start() == edge.size() {
            // It continues the log, so it comes in as news, by the door for news.
            if self.logs.get(&id).is_some_and(|l| l.frozen.is_some()) {
                out.push(refuse(format!("{id} is frozen: two histories of it were signed")));
                return;
            }
            match admit(self.charter.charter(), id, &edge, batch.bytes().to_vec()) {
                Ok(batch) => {
                    self.write_batch(batch, None, out);
                    out.push(Output::PutBack { ticket, result: Ok(()) });
                }
                Err(why) => out.push(refuse(why.to_string())),
            }
            return;
        }
        let fits = self.logs.get(&id).is_some_and(|l| l.fits(batch.start(), batch.end(), &batch.tree().root()));
        if fits && batch.end() <= edge.size() {
            out.push(Output::Append(Append::PutBack(batch, ticket)));
        } else {
            out.push(refuse(format!("records {}..{} do not fit to what is held", batch.start(), batch.end())));
        }
    }

    /// It is on disk. Pushes that had stopped at the damage go on with this copy.
    pub(super) fn is_back(&mut self, ticket: Ticket, batch: AdmittedBatch, place: Place, out: &mut Vec<Output>) {
        let id = batch.log();
        let log = self.logs.entry(id).or_default();
        let (tree, sealed_at, note) = (batch.tree().clone(), batch.sealed_at(), batch.note().to_owned());
        let fits = log.put(batch.start(), tree, sealed_at, note, place);
        let whole = log.missing().is_empty();
        if whole {
            self.parent.damaged.remove(&id);
            self.parent.rejected.remove(&id);
            self.restart_push(id);
        }
        let result = if fits { Ok(()) } else { Err("another batch took its place meanwhile".to_owned()) };
        out.push(Output::PutBack { ticket, result });
    }

    pub(super) fn lost(&mut self, log: LogId, starts: &[u64]) {
        if let Some(held) = self.logs.get_mut(&log) {
            starts.iter().for_each(|s| held.lose(*s));
        }
    }

    /// Receipts, frozen logs and the charter stand in frames of their own, and lose with them nothing that memory does
    /// not still have.
    pub(super) fn resave(&mut self, out: &mut Vec<Output>) {
        out.push(Output::Append(Append::Charter { note: self.charter.note().to_owned(), ticket: None }));
        for (id, HeldLog { receipts, frozen, .. }) in &self.logs {
            for (division, r) in receipts {
                let holder = LogId { division: *division, epoch: r.epoch };
                let (size, time, line) = (r.size, r.time, r.line.clone());
                out.push(Output::Append(Append::Receipt { log: *id, holder, size, time, line }));
            }
            if let Some(f) = frozen {
                let (reason, notes) = (f.reason.clone(), f.notes.clone());
                out.push(Output::Append(Append::Freeze { log: *id, reason, notes }));
            }
        }
    }
}
