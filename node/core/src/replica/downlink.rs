//! Links from children: the hello, the child's messages, and the batches that it pushes.
//!
//! A child may push logs of its own division and below, and nothing before its welcome. A batch goes in by `admit()` and by
//! nothing else; what is refused is refused by log, with where this node stands, and leaves all other logs alone.

use super::{Child, ChildLink, Event, LinkId, Output, Replica, SAME_KEY_MS, WELCOME_EVERY_MS, WELCOME_QUEUE_MS};
use crate::{Push, entry::Waiter, log::HeldLog};
use std::collections::{BTreeMap, BTreeSet};
use tally_protocol::{
    ids::{Division, LogId},
    wire::{Control, Head, Hello, Refusal, Welcome, negotiate},
};
use tally_topology::admit::{AdmitError, admit};

/// Refused logs that are remembered for a child; one with more is not making mistakes.
const REJECTED_MAX: usize = 256;
/// Receipts that a child is told with the answer to its hello. A link's queue holds 4,096 messages, and a child whose queue is
/// full is taken for too slow.
const RECEIPTS_AT_ONCE: usize = 1_024;
/// Receipts that it is told with each heartbeat after that, until it knows all: 20 kB a second.
const RECEIPTS_A_BEAT: usize = 64;

impl Replica {
    /// A caller whose key the charter names has opened a link; an older link of the same node is closed.
    pub(super) fn child_up(&mut self, now_ms: u64, link: LinkId, peer: LogId, out: &mut Vec<Output>) {
        self.links.insert(link, peer.division);
        let old = self.view.children.get(&peer.division).and_then(|c| c.link.as_ref()).map(|l| l.id);
        if let Some(old) = old {
            let reason = "the same node opened another link".to_owned();
            self.close(now_ms, old, Refusal::Replaced, reason, out);
        }
        let child = self.view.children.entry(peer.division).or_default();
        child.link = Some(ChildLink {
            id: link,
            peer,
            welcomed: false,
            version: 0,
            heard_ms: now_ms,
            skew_ms: 0,
            receipts_left: None,
            serving: BTreeMap::new(),
            told: BTreeSet::new(),
            told_above: BTreeMap::new(),
            clock_heard: None,
            told_faults: false,
        });
    }

    /// Takes a message of a child.
    pub(super) fn on_child_message(
        &mut self,
        now_ms: u64,
        link: LinkId,
        peer: Division,
        message: Control,
        out: &mut Vec<Output>,
    ) {
        let Some(child) = self.view.children.get_mut(&peer) else { return };
        let Some(up) = child.link.as_mut().filter(|l| l.id == link) else { return };
        up.heard_ms = now_ms;
        if !up.welcomed {
            match message {
                Control::Hello(hello) => self.on_hello(now_ms, link, peer, &hello, out),
                _ => self.close(now_ms, link, Refusal::Protocol, "the first message must be a hello".into(), out),
            }
            return;
        }
        child.seen_ms = Some(now_ms);
        if !self.meters.entry(peer).or_default().spend(now_ms, checks(&message)) {
            let reason = "it makes this node check more signatures than any child needs".to_owned();
            if let Some(child) = self.view.children.get_mut(&peer) {
                child.refused = Some((Refusal::Protocol, reason.clone()));
            }
            self.close(now_ms, link, Refusal::Protocol, reason, out);
            return;
        }
        match message {
            Control::Frontier { heads, .. } => {
                if let Some(log) = self.on_child_frontier(peer, &heads, out) {
                    let reason = format!("the child's head of {log} is not signed by that log's key");
                    self.close(now_ms, link, Refusal::Signature, reason, out);
                }
            }
            Control::Heartbeat(beat) => {
                up.clock_heard = Some((beat.clock_ms, now_ms));
                up.skew_ms = super::uplink::skew(beat.clock_ms, now_ms);
                self.clock.child_beat(now_ms, peer, beat.clock_ms, beat.echo);
                let same = self.view.digest(peer) == beat.digest;
                if let Some(child) = self.view.children.get_mut(&peer) {
                    child.records = Some(beat.records);
                    child.agreement.compared(same, now_ms);
                }
                self.told_receipts(peer);
            }
            Control::Fetch { log, from } => self.on_fetch(link, peer, log, from, out),
            Control::Conflict { log, evidence, reason } => self.on_conflict(peer, log, evidence, &reason, out),
            Control::Stands { head: Some(head), .. } => self.on_ancestor_head(&head, true, out),
            Control::Request { note } => self.take_request(now_ms, Some(peer), &note, out),
            // Nothing follows from these yet.
            Control::Stands { head: None, .. } | Control::Above(_) => {}
            Control::Health(summary) => self.on_health(now_ms, peer, summary),
            Control::Receipt { log, size, holder, line } => {
                self.receipt_from_child(now_ms, peer, (log, size, holder, line), out);
            }
            // It only ever puts a newer one into force.
            Control::InForce(mark) if child.charter.is_none_or(|before| before.version < mark.version) => {
                self.charter_at_child(peer, mark, out);
                // What it passed over by the charter before, as of a node that was moved below it, counts by this one.
                self.tell_all_receipts(peer);
            }
            _ => self.close(now_ms, link, Refusal::Protocol, "a message that only a parent sends".into(), out),
        }
    }

    /// Answers a hello: a welcome with all that the child has to know, a refusal, or a time to come back at.
    fn on_hello(&mut self, now_ms: u64, link: LinkId, peer: Division, hello: &Hello, out: &mut Vec<Output>) {
        if let Err((code, reason)) = self.judge_hello(link, peer, hello) {
            if let Some(child) = self.view.children.get_mut(&peer) {
                child.refused = Some((code, reason.clone()));
            }
            // Whoever was moved while it was off learns from the charter why it is refused.
            if code == Refusal::NotAChild && hello.charter.version < self.charter().version() {
                let note = self.view.charter.note().to_owned();
                out.push(Output::Send { link, message: Control::Charter { note } });
            }
            self.close(now_ms, link, code, reason, out);
            return;
        }
        // Welcomes are spread out: a frontier exchange for each child of a restarted parent at once would be a herd.
        // A slot far ahead is left over from before the clock was set back.
        let queue = now_ms..=now_ms + 2 * WELCOME_QUEUE_MS;
        let slot = if queue.contains(&self.next_welcome_ms) { self.next_welcome_ms } else { now_ms };
        if slot - now_ms > WELCOME_QUEUE_MS {
            let spread = u64::from(peer.code()) * 7 % 1_000;
            out.push(Output::Send { link, message: Control::Busy { retry_after_ms: slot - now_ms + spread } });
            out.push(Output::Close { link, code: Refusal::Busy, reason: "busy".into() });
            self.link_down(now_ms, link);
            return;
        }
        self.next_welcome_ms = slot + WELCOME_EVERY_MS;
        let version = negotiate(hello.version_min, hello.version_max).unwrap_or(tally_protocol::wire::VERSION_MIN);
        let welcome = Welcome { version, node: self.own(), charter: self.view.charter.mark(), clock_ms: now_ms };
        out.push(Output::Send { link, message: Control::Welcome(welcome) });
        out.push(Output::Note(Event::Up { peer }));
        if hello.charter.version < self.charter().version() {
            out.push(Output::Send { link, message: Control::Charter { note: self.view.charter.note().to_owned() } });
        }
        // Where this node stands is said when the round ends, with what the round has brought.
        self.frontiers_due.push((link, peer));
        self.child_answered(peer);
        hello.ancestor_heads.iter().for_each(|head| self.on_ancestor_head(head, true, out));
        if let Some(child) = self.view.children.get_mut(&peer) {
            if child.met(hello.instance, hello.link_count) {
                // Two machines that take turns are told once, not at each of their calls.
                let known = child.same_key_ms.replace(now_ms).is_some_and(|at| now_ms.abs_diff(at) < SAME_KEY_MS);
                if !known {
                    out.push(Output::Note(Event::SameKeyTwice { peer }));
                }
            }
            child.refused = None;
            child.rejected.clear();
            child.seen_ms = Some(now_ms);
            child.software = hello.software.chars().take(60).collect();
            if let Some(up) = child.link.as_mut() {
                up.welcomed = true;
                up.version = version;
                up.clock_heard = Some((hello.clock_ms, now_ms));
                up.skew_ms = super::uplink::skew(hello.clock_ms, now_ms);
            }
        }
        self.charter_at_child(peer, hello.charter, out);
    }

    /// Tells a child that was welcomed in this round where this node stands with its logs.
    pub(super) fn send_frontiers_due(&mut self, out: &mut Vec<Output>) {
        for (link, peer) in std::mem::take(&mut self.frontiers_due) {
            if self.links.get(&link) != Some(&peer) {
                continue;
            }
            self.send_frontier(link, peer, out);
            for (id, log) in &self.view.logs {
                if !self.charter().is_within(id.division, peer) {
                    continue;
                }
                if let Some(frozen) = &log.frozen {
                    let (evidence, reason) = (frozen.evidence.clone(), frozen.reason.clone());
                    out.push(Output::Send { link, message: Control::Conflict { log: *id, evidence, reason } });
                }
            }
            self.tell_all_receipts(peer);
            self.tell_receipts(peer, RECEIPTS_AT_ONCE, out);
            self.tell_stands_to(peer, link, out);
        }
    }

    /// A child is to be told of all receipts, from the first log on.
    fn tell_all_receipts(&mut self, peer: Division) {
        let first = self.view.logs.keys().next().map(|first| (*first, None));
        if let Some(up) = self.view.children.get_mut(&peer).and_then(|c| c.link.as_mut()) {
            up.receipts_left = first;
        }
    }

    /// Goes on telling children of the receipts that there were when they called.
    pub(super) fn tell_receipts_left(&mut self, out: &mut Vec<Output>) {
        let left = |(d, c): (&Division, &Child)| c.link.as_ref()?.receipts_left.map(|_| *d);
        let peers: Vec<Division> = self.view.children.iter().filter_map(left).collect();
        peers.into_iter().for_each(|peer| self.tell_receipts(peer, RECEIPTS_A_BEAT, out));
    }

    /// Tells a child of so many of the receipts that are left.
    fn tell_receipts(&mut self, peer: Division, most: usize, out: &mut Vec<Output>) {
        let up = self.view.children.get(&peer).and_then(|c| c.link.as_ref());
        let Some((link, (first, holder))) = up.and_then(|up| Some((up.id, up.receipts_left?))) else { return };
        let of_branch = self.view.logs.range(first..).filter(|(id, _)| self.charter().is_within(id.division, peer));
        let all = of_branch.flat_map(|(id, log)| log.receipts.iter().map(move |(holder, r)| (*id, *holder, r)));
        let mut left = all.skip_while(|(id, h, _)| *id == first && holder.is_some_and(|from| *h < from));
        for (log, holder, r) in left.by_ref().take(most) {
            let holder = LogId::records(holder, r.epoch);
            let message = Control::Receipt { log, size: r.size, holder, line: r.line.clone() };
            out.push(Output::Send { link, message });
        }
        let next = left.next().map(|(log, holder, _)| (log, Some(holder)));
        if let Some(up) = self.view.children.get_mut(&peer).and_then(|c| c.link.as_mut()) {
            up.receipts_left = next;
        }
    }

    /// Whether the caller is who its key says, speaks a version that is spoken here, and reports to this node.
    fn judge_hello(&self, link: LinkId, peer: Division, hello: &Hello) -> Result<(), (Refusal, String)> {
        let by_key =
            self.view.children.get(&peer).and_then(|c| c.link.as_ref()).filter(|l| l.id == link).map(|l| l.peer);
        if hello.federation != self.charter().federation().to_string() {
            let mine = self.charter().federation();
            return Err((Refusal::Federation, format!("this is federation {mine}, the caller is of another")));
        }
        if by_key != Some(hello.node) {
            return Err((
                Refusal::Identity,
                format!("the key is that of {peer}, the caller claims to be {}", hello.node),
            ));
        }
        if negotiate(hello.version_min, hello.version_max).is_none() {
            let (min, max) = (hello.version_min, hello.version_max);
            return Err((Refusal::Version, format!("versions {min} to {max} are spoken there, none of them here")));
        }
        if self.charter().parent(peer) != Some(self.me()) {
            return Err((Refusal::NotAChild, format!("by charter {peer} does not report to {}", self.me())));
        }
        Ok(())
    }

    /// Looks for forks among the heads that a child says to hold. The answer is a log whose head nobody has signed.
    pub(super) fn on_child_frontier(&mut self, peer: Division, heads: &[Head], out: &mut Vec<Output>) -> Option<LogId> {
        for head in heads {
            let known = self.charter().log_key(head.log).is_some();
            if known && self.charter().is_within(head.log.division, peer) && self.judge_head(head, out).is_none() {
                return Some(head.log);
            }
        }
        None
    }

    /// Starts to serve a log that the child asked for. Inside a batch it waits until the child's head of that size is known to be
    /// of the history held here.
    fn on_fetch(&mut self, link: LinkId, peer: Division, log: LogId, from: u64, out: &mut Vec<Output>) {
        let allowed = self.charter().is_within(log.division, peer);
        let known = |l: &&HeldLog| l.root_at(from).is_some() || l.batch_of(from).is_some();
        let held = self.view.log(log).filter(known).map(HeldLog::size);
        let Some(until) = held.filter(|_| allowed) else {
            let reason = format!("{log} from {from} is not to be had here");
            self.reject(link, peer, log, from, Refusal::Gap, reason, out);
            return;
        };
        let up = self.view.children.get_mut(&peer).and_then(|c| c.link.as_mut());
        if let Some(up) = up {
            up.serving.insert(log, Push::between(from, until));
        }
        self.pump_children(out);
    }

    /// Takes a batch that a child pushes: admits it and has it written, or refuses its log.
    pub(super) fn batch_from_child(
        &mut self,
        now_ms: u64,
        link: LinkId,
        peer: Division,
        id: LogId,
        bytes: Vec<u8>,
        out: &mut Vec<Output>,
    ) {
        let up = self.view.children.get_mut(&peer).and_then(|c| c.link.as_mut()).filter(|l| l.id == link);
        let Some(up) = up else { return };
        up.heard_ms = now_ms;
        if !up.welcomed {
            self.close(now_ms, link, Refusal::Protocol, "a batch before the welcome".into(), out);
            return;
        }
        if !self.charter().is_within(id.division, peer) {
            let reason = format!("{id} is not a log of {peer} or below it");
            self.reject(link, peer, id, 0, Refusal::NotBelow, reason, out);
            return;
        }
        if self.is_at_rest(id) {
            let reason = format!("{id} is frozen: two histories of it were signed");
            let size = self.edge(id).size();
            self.reject(link, peer, id, size, Refusal::Frozen, reason, out);
            return;
        }
        let edge = self.edge(id);
        match admit(self.view.charter.charter(), id, &edge, bytes) {
            Ok(batch) => {
                if let Some(child) = self.view.children.get_mut(&peer) {
                    child.rejected.remove(&id);
                }
                self.write_batch(batch, Waiter::Nobody, out);
            }
            // A retry after a lost answer: the receipt tells the child where we stand.
            // It may be of another history, too.
            Err(AdmitError::Known { note, .. }) => {
                self.judge_note(id, &note, out);
            }
            Err(why) => {
                let code = refusal(&why);
                if let AdmitError::Root { note, .. } | AdmitError::Gap { note, .. } = &why {
                    self.judge_note(id, note, out);
                }
                self.reject(link, peer, id, edge.size(), code, why.to_string(), out);
            }
        }
    }

    /// Refuses a log's batch and tells the child from where on this node would take it.
    #[expect(clippy::too_many_arguments, reason = "one message's fields")]
    fn reject(
        &mut self,
        link: LinkId,
        peer: Division,
        log: LogId,
        start: u64,
        code: Refusal,
        reason: String,
        out: &mut Vec<Output>,
    ) {
        let child: &mut Child = self.view.children.entry(peer).or_default();
        // Batches that were on their way behind a refused one are dropped without a word.
        if code == Refusal::Gap && child.rejected.contains_key(&log) {
            return;
        }
        if child.rejected.len() >= REJECTED_MAX && !child.rejected.contains_key(&log) {
            out.push(Output::Close { link, code: Refusal::Protocol, reason: "too many refused logs".into() });
            return;
        }
        child.rejected.insert(log, (code, reason.clone()));
        out.push(Output::Note(Event::Rejected { peer, log, code, reason: reason.clone() }));
        out.push(Output::Send { link, message: Control::Reject { log, start, code, reason } });
    }
}

/// Signatures that may have to be checked for a child's message; what brings news is counted where that is known.
fn checks(message: &Control) -> u64 {
    match message {
        Control::Frontier { heads, .. } => heads.len() as u64,
        // Two notes for the proof, and again as heads.
        Control::Conflict { .. } => 4,
        Control::Stands { head: Some(_), .. } => 1,
        Control::Request { .. } => 2,
        _ => 0,
    }
}

pub(super) fn refusal(why: &AdmitError) -> Refusal {
    match why {
        AdmitError::Batch(_) | AdmitError::OtherLog { .. } | AdmitError::Size { .. } => Refusal::Malformed,
        AdmitError::Unknown(_) | AdmitError::NotWritten(_) | AdmitError::Closed { .. } => Refusal::NotAdmitted,
        AdmitError::Gap { .. } | AdmitError::Known { .. } => Refusal::Gap,
        AdmitError::Checkpoint(_) | AdmitError::Cosignature(_) => Refusal::Signature,
        AdmitError::Root { .. } => Refusal::Root,
    }
}
