//! Work without a link: heads that came in a bundle, and signing while the parent cannot be asked.
//!
//! A head in a bundle is judged as a head on a link is, except that nothing can be fetched or pushed because of it.

use super::{Event, Output, Replica};
use crate::{
    Gate,
    log::{HeadStanding, HeldLog},
};
use tally_protocol::{checkpoint::Checkpoint, ids::Division, wire::Head};

impl Replica {
    /// There is no link to the parent, by the operator's word. Whether this disk is an old copy can then not be asked at a
    /// start; the operator answers for that. If the journal was not `sound`, the gate stays closed until a bundle from
    /// the parent tells how far the log had got.
    pub fn work_offline(&mut self, sound: bool) {
        self.view.offline = true;
        if sound && self.view.gate == Gate::Asking {
            self.view.gate = Gate::Open;
        }
    }

    /// Judges a neighbour's head that came in a bundle.
    pub(super) fn bundled_head(&mut self, from: Division, head: &Head, out: &mut Vec<Output>) {
        if self.charter().parent(self.me()) != Some(from) {
            if self.charter().parent(from) == Some(self.me()) {
                self.on_child_frontier(from, std::slice::from_ref(head), out);
            }
            return;
        }
        if !self.charter().is_within(head.log.division, self.me()) {
            return;
        }
        let empty = HeldLog::default();
        let log = self.view.log(head.log).unwrap_or(&empty);
        let (standing, held) = (log.compare(head.size, &head.root), log.size());
        if standing == HeadStanding::Conflict {
            self.freeze_on_conflict(head, out);
        }
        if head.log != self.own() {
            return;
        }
        // Only our own signature makes the parent's head a fact about our past.
        let key = self.charter().log_key(head.log);
        let opened = key.and_then(|k| Checkpoint::open(&head.note, &k).ok());
        if opened.is_none_or(|c| (c.size, c.root) != (head.size, head.root)) {
            return;
        }
        self.view.parent.own_head = Some((head.size, head.root));
        self.view.gate.parent_stands(head.size, standing);
        if standing == HeadStanding::TheyAreAhead {
            out.push(Output::Note(Event::OldCopy { here: held, there: head.size }));
        }
    }
}
