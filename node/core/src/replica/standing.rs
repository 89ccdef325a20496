//! Where the parent stands: its frontier and its sure heads, compared with what is held here.
//!
//! Each head either starts a push, asks for what is missing here, or shows a fork. A sure head of the own log opens the gate.
//! Nothing is sent before the parent has said where it stands. Of a log that no charter here knows nothing is kept: the
//! charter here is behind, and says so.

use super::{Event, LinkId, Output, Replica, sure::head_of};
use crate::{HeadStanding, Push};
use std::collections::{BTreeSet, btree_map};
use tally_protocol::{
    hash::Hash,
    ids::LogId,
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
        for head in &heads {
            if self.is_shared_with_parent(head.log) && self.on_parent_head(link, head, out).is_none() {
                self.close_for_unsigned(now_ms, link, head.log, out);
                return;
            }
        }
        if !last {
            return;
        }
        if let Some(up) = self.view.parent.link.as_mut() {
            up.frontier_known = true;
        }
        let frozen = self.view.logs.iter().filter_map(|(id, l)| l.frozen.as_ref().map(|f| (*id, f)));
        for (log, f) in frozen {
            let message = Control::Conflict { log, evidence: f.evidence.clone(), reason: f.reason.clone() };
            out.push(Output::Send { link, message });
        }
        self.pump_parent(out);
    }

    /// The parent says, at any time, how far it holds a log, and whether it is sure that nobody above holds more.
    pub(super) fn on_parent_stands(
        &mut self,
        now_ms: u64,
        link: LinkId,
        (log, head, sure): (LogId, Option<Head>, bool),
        out: &mut Vec<Output>,
    ) {
        if let Some(head) = head.as_ref().filter(|h| h.log != log) {
            let reason = format!("a head of {} in a message about {log}", head.log);
            self.close(now_ms, link, Refusal::Protocol, reason, out);
            return;
        }
        if log.division != self.me() && self.charter().is_within(self.me(), log.division) {
            head.iter().for_each(|head| self.on_ancestor_head(head, false, out));
            return;
        }
        if !self.is_shared_with_parent(log) {
            return;
        }
        let nothing = (0, Tree::default().root());
        let said: (u64, Hash) = match &head {
            None => nothing,
            Some(head) => match self.on_parent_head(link, head, out) {
                None => return self.close_for_unsigned(now_ms, link, log, out),
                Some(_) => (head.size, head.root),
            },
        };
        if log == self.own() {
            self.view.parent.own_head = Some(said);
        }
        if sure {
            self.parent_is_sure(log, said);
        }
    }

    /// Whether both hold a log. One that no charter here knows says that this charter is behind, and no more: with the next
    /// charter the link begins anew.
    fn is_shared_with_parent(&mut self, log: LogId) -> bool {
        if self.charter().log_key(log).is_none() {
            self.view.parent.charter_behind = true;
            return false;
        }
        self.charter().is_within(log.division, self.me())
    }

    fn close_for_unsigned(&mut self, now_ms: u64, link: LinkId, log: LogId, out: &mut Vec<Output>) {
        let reason = format!("the parent's head of {log} is not signed by that log's key");
        self.close(now_ms, link, Refusal::Signature, reason, out);
    }

    /// Compares one head of the parent with what is held: starts a push, fetches, or finds a fork. `None`: it differs, and
    /// nobody has signed it.
    pub(super) fn on_parent_head(&mut self, link: LinkId, head: &Head, out: &mut Vec<Output>) -> Option<HeadStanding> {
        let id = head.log;
        let standing = self.judge_head(head, out)?;
        if id.division == self.me() {
            self.view.parent.own_sizes.insert(id, head.size);
        }
        if id == self.own() {
            self.view.parent.own_head = Some((head.size, head.root));
        }
        match standing {
            HeadStanding::TheyAreAhead => {
                if let Some(up) = self.view.parent.link.as_mut() {
                    up.ahead.insert(id, head.size);
                }
                self.fetch(link, id, head.size, out);
            }
            // The parent holds another history, or what it holds cannot be compared: the log is not pushed.
            HeadStanding::Fork | HeadStanding::Unproved | HeadStanding::Hole => {
                if standing == HeadStanding::Hole {
                    let reason = format!("records before {}, where the parent stands, are missing here", head.size);
                    self.view.parent.damaged.insert(id, reason);
                }
                if let Some(up) = self.view.parent.link.as_mut() {
                    up.ahead.insert(id, u64::MAX);
                    up.pushes.remove(&id);
                    up.unproved.insert(id, head.clone());
                }
            }
            HeadStanding::Equal | HeadStanding::TheyAreBehind => self.parent_has_a_part(head, out),
        }
        Some(standing)
    }

    /// The parent holds a part of a log, and the same: it gets the rest.
    fn parent_has_a_part(&mut self, head: &Head, out: &mut Vec<Output>) {
        let id = head.log;
        let parent = &mut self.view.parent;
        let Some(up) = parent.link.as_mut() else { return };
        let receipt = self.view.logs.get(&id).and_then(|l| l.receipts.get(&up.peer)).map_or(0, |r| r.size);
        if head.size < receipt && !up.frontier_known {
            out.push(Output::Note(Event::ParentSetBack { log: id, now: head.size, before: receipt }));
            parent.set_back.insert(id, head.size);
        } else if head.size >= receipt {
            parent.set_back.remove(&id);
        }
        up.ahead.remove(&id);
        up.unproved.remove(&id);
        // A push that runs already knows better than a head that has been on its way.
        if let btree_map::Entry::Vacant(none) = up.pushes.entry(id) {
            none.insert(Push::from(head.size));
            parent.rejected.remove(&id);
        }
        self.parent_stands_at(id, head.size);
    }

    /// Asks the parent for what it has of a log beyond what is held here, and tells it what is: only the parent can tell whether
    /// that is the beginning of what it has. What is on its way to disk is waited for.
    fn fetch(&mut self, link: LinkId, id: LogId, target: u64, out: &mut Vec<Output>) {
        let held = self.view.log(id);
        let (rests, closed_at) = (self.is_at_rest(id), self.charter().closed_at(id));
        let closed = closed_at.is_some_and(|(last, _)| target > last);
        let (from, head) = (self.edge(id).size(), held.and_then(|log| head_of(id, log)));
        let waits = self.edges_in_flight.contains_key(&id);
        let Some(up) = self.view.parent.link.as_mut().filter(|_| !rests && !closed && !waits) else { return };
        if from < target && up.fetching.get(&id).is_none_or(|asked| *asked < target) {
            up.fetching.insert(id, target);
            up.asked_from.insert(id, from);
            let heads: Vec<_> = head.into_iter().collect();
            if !heads.is_empty() {
                out.push(Output::Send { link, message: Control::Frontier { heads, last: true } });
            }
            out.push(Output::Send { link, message: Control::Fetch { log: id, from } });
        }
    }

    /// Asks for what the parent has more of logs that have grown here, if it was not asked yet.
    pub(super) fn fetch_grown(&mut self, grown: &BTreeSet<LogId>, out: &mut Vec<Output>) {
        for id in grown {
            let Some(up) = self.view.parent.link.as_ref() else { return };
            let target = up.ahead.get(id).copied().filter(|ahead| *ahead != u64::MAX);
            if let Some(target) = target.filter(|_| !up.fetching.contains_key(id)) {
                let link = up.id;
                self.fetch(link, *id, target, out);
            }
        }
    }

    /// Asks again for what was asked for on this link and has not come: this disk had missed records before it.
    pub(super) fn fetch_again(&mut self, id: LogId, out: &mut Vec<Output>) {
        let Some(up) = self.view.parent.link.as_mut() else { return };
        let link = up.id;
        if let Some(target) = up.fetching.remove(&id) {
            self.fetch(link, id, target, out);
        }
    }

    /// What comes does not continue the log: other records came from below meanwhile. Asks once more, from there.
    pub(super) fn fetch_went_astray(&mut self, id: LogId, out: &mut Vec<Output>) {
        let edge = self.edge(id).size();
        let asked = self.view.parent.link.as_ref().and_then(|up| up.asked_from.get(&id));
        if asked.is_some_and(|from| *from < edge) {
            self.fetch_again(id, out);
        }
    }
}
