//! Where the parent stands: its frontier, compared head by head with what is held here.
//!
//! Each head either opens the gate, starts a push, asks for what is missing here, or shows a fork. Nothing is sent before
//! the parent has said where it stands.

use super::{Event, LinkId, Output, Replica};
use crate::{
    Gate, Push,
    log::{HeadStanding, HeldLog},
};
use tally_protocol::{
    checkpoint::Checkpoint,
    merkle::Tree,
    wire::{Control, Head, Refusal},
};

impl Replica {
    /// Takes a page of the parent's frontier. The last page starts the pushes and tells the parent of frozen logs.
    pub(super) fn on_parent_frontier(
        &mut self,
        now_ms: u64,
        link: LinkId,
        heads: Vec<Head>,
        last: bool,
        out: &mut Vec<Output>,
    ) {
        if self.view.parent.link.as_ref().is_none_or(|l| l.frontier_known) {
            self.close(now_ms, link, Refusal::Protocol, "a second frontier".into(), out);
            return;
        }
        let own = self.own();
        for head in &heads {
            // A log that no charter here knows says nothing yet: after the next charter the link begins anew.
            let known = self.charter().log_key(head.log).is_some();
            if known && self.charter().is_within(head.log.division, self.me()) {
                self.on_parent_head(now_ms, link, head, out);
            }
        }
        if !last {
            return;
        }
        if let Some(up) = self.view.parent.link.as_mut() {
            up.frontier_known = true;
        }
        if self.view.gate == Gate::Asking {
            // The parent named no head of the own log: it holds nothing of it.
            let standing =
                self.view.logs.get(&own).map_or(HeadStanding::Equal, |l| l.compare(0, &Tree::default().root()));
            self.view.gate.parent_stands(0, standing);
        }
        let frozen = self.view.logs.iter().filter_map(|(id, l)| l.frozen.as_ref().map(|f| (*id, f)));
        for (log, f) in frozen {
            let message = Control::Conflict { log, evidence: f.evidence.clone(), reason: f.reason.clone() };
            out.push(Output::Send { link, message });
        }
        self.pump_parent(out);
    }

    /// Compares one head of the parent with what is held: opens the gate, starts a push, fetches, or freezes.
    pub(super) fn on_parent_head(&mut self, now_ms: u64, link: LinkId, head: &Head, out: &mut Vec<Output>) {
        let (id, own) = (head.log, head.log == self.own());
        let empty = HeldLog::default();
        let log = self.view.log(id).unwrap_or(&empty);
        let standing = log.compare(head.size, &head.root);
        let held = log.size();
        if id.division == self.keys.node.division {
            self.view.parent.own_sizes.insert(id, head.size);
        }
        if own {
            self.view.parent.own_head = Some((head.size, head.root));
        }
        // Earlier epochs of this division are history: what this disk does not have of them comes from the parent.
        if standing == HeadStanding::TheyAreAhead && !own && id.division == self.me() {
            out.push(Output::Send { link, message: Control::Fetch { log: id, from: held } });
        }
        if standing == HeadStanding::TheyAreAhead && own {
            // Only our own signature makes the parent's head a fact about our past.
            let key = self.charter().log_key(id);
            let signed = key.is_some_and(|k| {
                Checkpoint::open(&head.note, &k).is_ok_and(|c| (c.size, c.root) == (head.size, head.root))
            });
            if !signed {
                let reason = format!("the parent's head of {id} is not signed by this node's key");
                self.close(now_ms, link, Refusal::Signature, reason, out);
                return;
            }
            self.view.gate.parent_stands(head.size, standing);
            if let Some(up) = self.view.parent.link.as_mut() {
                up.ahead.insert(id, head.size);
            }
            out.push(Output::Note(Event::OldCopy { here: held, there: head.size }));
            out.push(Output::Send { link, message: Control::Fetch { log: id, from: held } });
            return;
        }
        if own {
            self.view.gate.parent_stands(head.size, standing);
        }
        match standing {
            HeadStanding::Conflict => self.freeze_on_conflict(head, out),
            // Frames are missing here, so the heads cannot be compared: the log is not pushed before it is repaired.
            HeadStanding::Unaligned => {
                let reason = format!("no batch here ends at {}, where the parent stands", head.size);
                self.view.parent.damaged.insert(id, reason);
                if let Some(up) = self.view.parent.link.as_mut() {
                    up.ahead.insert(id, u64::MAX);
                }
            }
            HeadStanding::TheyAreAhead => {
                if let Some(up) = self.view.parent.link.as_mut() {
                    up.ahead.insert(id, head.size);
                }
            }
            HeadStanding::Equal | HeadStanding::TheyAreBehind => {
                let peer = self.view.parent.link.as_ref().map(|l| l.peer);
                let confirmed = peer.and_then(|p| self.view.logs.get(&id)?.receipts.get(&p)).map_or(0, |r| r.size);
                if head.size < confirmed {
                    out.push(Output::Note(Event::ParentSetBack { log: id, now: head.size, before: confirmed }));
                    self.view.parent.set_back.insert(id, head.size);
                } else {
                    self.view.parent.set_back.remove(&id);
                }
                if let Some(up) = self.view.parent.link.as_mut() {
                    up.pushes.insert(id, Push::from(head.size));
                }
                self.view.parent.rejected.remove(&id);
            }
        }
    }
}
