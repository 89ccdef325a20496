//! The link to the parent: the hello, the parent's messages, and batches of the own division that it gives back.
//!
//! A link counts once the welcome has come. What a message is about is decided elsewhere: frontier in `standing`, receipts in
//! `receipts`, conflicts in `conflict`. Batches are taken from the parent only while they were asked for.

use super::{Event, LinkId, Output, ParentLink, RejectedRequest, Replica, downlink::refusal, state::Rejected};
use crate::entry::Waiter;
use std::collections::BTreeMap;
use tally_protocol::{
    ids::{Division, LogId},
    wire::{ClockEcho, Control, Hello, Refusal, VERSION, VERSION_MIN, Welcome},
};
use tally_topology::admit::{AdmitError, admit};

impl Replica {
    /// The transport has a link to `peer`: says hello, if the charter names it as the parent.
    pub(super) fn parent_up(&mut self, now_ms: u64, link: LinkId, peer: Division, out: &mut Vec<Output>) {
        if let Some(old) = self.view.parent.link.take() {
            self.links.remove(&old.id);
            out.push(Output::Close { link: old.id, code: Refusal::Replaced, reason: "dialled again".into() });
        }
        if self.charter().parent(self.me()) != Some(peer) {
            out.push(Output::Close { link, code: Refusal::NotAChild, reason: format!("{peer} is not the parent") });
            return;
        }
        self.links.insert(link, peer);
        self.view.parent.link = Some(ParentLink {
            id: link,
            peer,
            welcomed: false,
            version: 0,
            charter: None,
            heard_ms: now_ms,
            skew_ms: 0,
            frontier_known: false,
            ahead: BTreeMap::new(),
            unproved: BTreeMap::new(),
            pushes: BTreeMap::new(),
            epoch: self.charter().current_log(peer),
            fetching: BTreeMap::new(),
            asked_from: BTreeMap::new(),
            clock_heard: None,
        });
        self.dialled_ms = now_ms;
        self.links_opened += 1;
        let hello = Hello {
            version_min: VERSION_MIN,
            version_max: VERSION,
            federation: self.charter().federation().to_string(),
            node: self.own(),
            instance: self.instance,
            link_count: self.links_opened,
            charter: self.view.charter.mark(),
            clock_ms: now_ms,
            software: self.software.clone(),
            ancestor_heads: self.ancestor_heads(),
        };
        out.push(Output::Send { link, message: Control::Hello(hello) });
    }

    /// Takes a message of the parent.
    pub(super) fn on_parent_message(&mut self, now_ms: u64, link: LinkId, message: Control, out: &mut Vec<Output>) {
        let Some(up) = self.view.parent.link.as_mut() else { return };
        up.heard_ms = now_ms;
        let (peer, welcomed) = (up.peer, up.welcomed);
        match message {
            Control::Welcome(w) if !welcomed => self.on_welcome(now_ms, link, w, out),
            Control::Busy { retry_after_ms } => {
                self.view.parent.busy_until_ms = Some(now_ms.saturating_add(retry_after_ms));
            }
            Control::Refused { code, reason } => {
                let reason: String = reason.chars().take(300).collect();
                out.push(Output::Note(Event::Refused { peer, code, reason: reason.clone() }));
                self.view.parent.refused = Some((code, reason));
            }
            // Signed by the authority, whoever brings it: a parent that refuses this node sends it so that it learns why.
            Control::Charter { note } => self.charter_from_parent(peer, note, out),
            _ if !welcomed => {
                self.close(now_ms, link, Refusal::Protocol, "a message before the welcome".into(), out);
            }
            Control::Frontier { heads, last } => self.on_parent_frontier(now_ms, link, heads, last, out),
            Control::Heartbeat(beat) => {
                up.clock_heard = Some((beat.clock_ms, now_ms));
                up.skew_ms = skew(beat.clock_ms, now_ms);
                self.clock.parent_beat(now_ms, beat.clock_ms, beat.echo, beat.above_ms);
                let same = self.view.digest(self.me()) == beat.digest;
                self.view.parent.agreement.compared(same, now_ms);
            }
            Control::Receipt { log, size, holder, line } => {
                self.take_receipt(now_ms, log, size, holder, &line, out);
            }
            Control::Reject { log, start, code, reason } => {
                if let Some(push) = up.pushes.get_mut(&log) {
                    push.stop();
                }
                if !self.view.logs.contains_key(&log) {
                    return;
                }
                let reason: String = reason.chars().take(300).collect();
                out.push(Output::Note(Event::Rejected { peer, log, code, reason: reason.clone() }));
                let times = self.view.parent.rejected.get(&log).map_or(0, |r| r.times) + 1;
                self.view.parent.rejected.insert(log, Rejected { code, reason, start, since_ms: now_ms, times });
            }
            Control::Conflict { log, evidence, reason } => self.on_conflict(peer, log, evidence, &reason, out),
            Control::Stands { log, head, sure } => self.on_parent_stands(now_ms, link, (log, head, sure), out),
            Control::Above(words) => self.on_above(now_ms, words),
            // A parent has no reason to send its health, and none to be cut off for it.
            Control::Health(_) => {}
            Control::RequestRejected { node, request, by, reason } => {
                let reason = reason.chars().take(300).collect();
                let place = node.division;
                self.reject_request(RejectedRequest { node, digest: request, by, reason, place }, out);
            }
            Control::Welcome(_)
            | Control::Hello(_)
            | Control::Fetch { .. }
            | Control::InForce(_)
            | Control::Request { .. } => {
                self.close(now_ms, link, Refusal::Protocol, "a message that only a child sends".into(), out);
            }
        }
    }

    /// The parent takes the link: this node says where it stands.
    fn on_welcome(&mut self, now_ms: u64, link: LinkId, w: Welcome, out: &mut Vec<Output>) {
        let Some(up) = self.view.parent.link.as_mut() else { return };
        let peer = up.peer;
        if w.version < VERSION_MIN || w.version > VERSION || w.node.division != peer {
            let reason = format!("the welcome is of {} in version {}", w.node, w.version);
            self.close(now_ms, link, Refusal::Version, reason, out);
            return;
        }
        up.welcomed = true;
        // What is still wrong is told again.
        self.view.above.clear();
        up.version = w.version;
        up.skew_ms = skew(w.clock_ms, now_ms);
        up.clock_heard = Some((w.clock_ms, now_ms));
        let echo = ClockEcho { clock_ms: self.dialled_ms, held_ms: 0 };
        self.clock.parent_beat(now_ms, w.clock_ms, Some(echo), None);
        self.view.parent.charter_behind = w.charter.version > self.view.charter.charter().version();
        self.view.parent.refused = None;
        self.view.parent.trouble = None;
        self.view.parent.busy_until_ms = None;
        out.push(Output::Note(Event::Up { peer }));
        self.charter_at_parent(w.charter, out);
        self.send_frontier(link, self.me(), out);
        self.send_receipts_up(out);
    }

    /// Takes a batch that this node has asked for: of its own log, of its earlier epochs, or of a log below that the parent
    /// has more of.
    pub(super) fn batch_from_parent(
        &mut self,
        now_ms: u64,
        link: LinkId,
        id: LogId,
        bytes: Vec<u8>,
        out: &mut Vec<Output>,
    ) {
        let Some(up) = self.view.parent.link.as_mut() else { return };
        up.heard_ms = now_ms;
        if !up.fetching.contains_key(&id) {
            self.close(now_ms, link, Refusal::Protocol, "a batch that was not asked for".into(), out);
            return;
        }
        // It was asked for before two histories of the log were known.
        if self.is_at_rest(id) {
            return;
        }
        let edge = self.edge(id);
        match admit(self.view.charter.charter(), id, &edge, bytes) {
            Ok(batch) => {
                if id.division != self.me() {
                    let records = batch.end().saturating_sub(batch.start());
                    self.view.parent.fetched_below = self.view.parent.fetched_below.saturating_add(records);
                }
                self.write_batch(batch, Waiter::Nobody, out);
            }
            // It came from below meanwhile, or twice.
            Err(AdmitError::Known { note, .. }) => {
                self.judge_note(id, &note, out);
            }
            Err(AdmitError::Gap { note, .. }) => {
                self.judge_note(id, &note, out);
                self.fetch_went_astray(id, out);
            }
            // Altered on the way, or not what its head says. Nothing is proved by it: the link ends, and is tried again.
            Err(why) => self.close(now_ms, link, refusal(&why), why.to_string(), out),
        }
    }
}

/// A neighbour's clock minus ours, in milliseconds, whatever it says.
pub(super) fn skew(theirs: u64, now_ms: u64) -> i64 {
    theirs.cast_signed().saturating_sub(now_ms.cast_signed())
}
