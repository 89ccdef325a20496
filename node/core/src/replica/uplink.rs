//! The link to the parent: hello, where it stands, batches up, receipts in.

use super::{Event, LinkId, Output, ParentLink, Replica, state::Rejected};
use crate::{
    Append, Gate, Push,
    entry::Waiter,
    log::{HeadStanding, HeldLog, Receipt},
};
use std::collections::BTreeMap;
use std::sync::Arc;
use tally_protocol::{
    checkpoint::Checkpoint,
    ids::{Division, LogId},
    limits::NOTE_BYTES_MAX,
    merkle::Tree,
    note::NoteSignature,
    wire::{Control, Head, Hello, Refusal, VERSION, VERSION_MIN},
};
use tally_topology::admit::{AdmitError, admit};

/// First wait before a refused log is tried again, in milliseconds; it doubles each time.
const RETRY_MS: u64 = 5_000;
/// Longest such wait, in milliseconds.
const RETRY_MAX_MS: u64 = 15 * 60 * 1_000;

impl Replica {
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
            heard_ms: now_ms,
            skew_ms: 0,
            frontier_known: false,
            ahead: BTreeMap::new(),
            pushes: BTreeMap::new(),
        });
        self.links_opened += 1;
        let hello = Hello {
            version_min: VERSION_MIN,
            version_max: VERSION,
            federation: self.charter().federation().to_string(),
            node: self.own(),
            instance: self.instance,
            link_count: self.links_opened,
            charter: self.charter().version(),
            clock_ms: now_ms,
            software: self.software.clone(),
            ancestor_heads: Vec::new(),
        };
        out.push(Output::Send { link, message: Control::Hello(hello) });
    }

    pub(super) fn on_parent_message(&mut self, now_ms: u64, link: LinkId, message: Control, out: &mut Vec<Output>) {
        let Some(up) = self.view.parent.link.as_mut() else { return };
        up.heard_ms = now_ms;
        let (peer, welcomed) = (up.peer, up.welcomed);
        match message {
            Control::Welcome(w) if !welcomed => {
                if w.version < VERSION_MIN || w.version > VERSION || w.node.division != peer {
                    let reason = format!("the welcome is of {} in version {}", w.node, w.version);
                    self.close(now_ms, link, Refusal::Version, reason, out);
                    return;
                }
                up.welcomed = true;
                up.version = w.version;
                up.skew_ms = skew(w.clock_ms, now_ms);
                self.view.parent.refused = None;
                self.view.parent.trouble = None;
                self.view.parent.busy_until_ms = None;
                out.push(Output::Note(Event::Up { peer }));
                self.send_frontier(link, self.me(), out);
                self.send_receipts_up(out);
            }
            Control::Busy { retry_after_ms } => {
                self.view.parent.busy_until_ms = Some(now_ms.saturating_add(retry_after_ms));
            }
            Control::Refused { code, reason } => {
                let reason: String = reason.chars().take(300).collect();
                out.push(Output::Note(Event::Refused { peer, code, reason: reason.clone() }));
                self.view.parent.refused = Some((code, reason));
            }
            _ if !welcomed => {
                self.close(now_ms, link, Refusal::Protocol, "a message before the welcome".into(), out);
            }
            Control::Frontier { heads, last } => self.on_parent_frontier(now_ms, link, heads, last, out),
            Control::Heartbeat(beat) => {
                up.skew_ms = skew(beat.clock_ms, now_ms);
                let same = self.view.digest(self.me()) == beat.digest;
                self.view.parent.agreement.compared(same, now_ms);
            }
            Control::Receipt { log, size, holder, line } => {
                self.take_receipt(now_ms, log, size, holder, &line, out);
            }
            Control::Charter { note } => self.charter_from_parent(peer, note, out),
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
            // Nothing follows from these yet. A parent has no reason to send its health, and none to be cut off for it.
            Control::Stands { .. } | Control::Above(_) | Control::Health(_) => {}
            Control::Welcome(_) | Control::Hello(_) | Control::Fetch { .. } => {
                self.close(now_ms, link, Refusal::Protocol, "a message that only a child sends".into(), out);
            }
        }
    }

    /// The parent has said where it stands: open the gate, and start a push session for each log.
    fn on_parent_frontier(&mut self, now_ms: u64, link: LinkId, heads: Vec<Head>, last: bool, out: &mut Vec<Output>) {
        if self.view.parent.link.as_ref().is_none_or(|l| l.frontier_known) {
            self.close(now_ms, link, Refusal::Protocol, "a second frontier".into(), out);
            return;
        }
        let own = self.own();
        for head in &heads {
            if self.charter().is_within(head.log.division, self.me()) {
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

    /// A refused log is tried again, at growing intervals: the fault may have been a passing one.
    pub(super) fn retry_rejected(&mut self, now_ms: u64, out: &mut Vec<Output>) {
        let Some(up) = self.view.parent.link.as_mut().filter(|l| l.frontier_known) else { return };
        for (id, rejected) in &self.view.parent.rejected {
            let wait = RETRY_MS.saturating_mul(1 << rejected.times.min(6)).min(RETRY_MAX_MS);
            let Some(push) = up.pushes.get_mut(id).filter(|p| p.stopped()) else { continue };
            let Some(log) = self.view.logs.get(id).filter(|l| l.frozen.is_none()) else { continue };
            if now_ms.abs_diff(rejected.since_ms) >= wait {
                // From where the parent says to stand: what it had confirmed earlier it may have lost since.
                *push = Push::from(log.root_at(rejected.start).map_or(0, |_| rejected.start));
            }
        }
        self.pump_parent(out);
    }

    fn on_parent_head(&mut self, now_ms: u64, link: LinkId, head: &Head, out: &mut Vec<Output>) {
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
            // Frames are missing here, so nothing can be said; repair has to come first.
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

    /// What was damaged here is back: its log is pushed again from where the parent stands.
    pub(super) fn restart_push(&mut self, id: LogId) {
        let Some(log) = self.view.logs.get(&id) else { return };
        let Some(up) = self.view.parent.link.as_mut().filter(|l| l.frontier_known) else { return };
        let confirmed = log.receipts.get(&up.peer).map_or(0, |r| r.size);
        let stands = up.ahead.get(&id).copied().filter(|a| *a != u64::MAX).unwrap_or(confirmed);
        if up.pushes.get(&id).is_none_or(Push::stopped) && log.root_at(stands).is_some() {
            up.ahead.remove(&id);
            up.pushes.insert(id, Push::from(stands));
        }
    }

    /// Logs that the parent has never seen start from 0. Also called when a log appears while the link is up.
    fn start_missing_pushes(&mut self) {
        let me = self.me();
        let within: Vec<_> =
            self.view.logs.keys().copied().filter(|id| self.charter().is_within(id.division, me)).collect();
        let Some(up) = self.view.parent.link.as_mut().filter(|l| l.frontier_known) else { return };
        for id in within {
            let Some(log) = self.view.logs.get(&id) else { continue };
            // A frozen log is pushed as far as it goes, so that a parent that lost it gets it back. Where the parent
            // was ahead, pushing starts once this node has caught up with it.
            let from = up.ahead.get(&id).copied().unwrap_or(0);
            if log.size() >= from && log.root_at(from).is_some() {
                up.pushes.entry(id).or_insert_with(|| Push::from(from));
            }
        }
    }

    /// Hands batches to the parent's streams, as far as their windows allow.
    pub(super) fn pump_parent(&mut self, out: &mut Vec<Output>) {
        self.start_missing_pushes();
        let Some(up) = self.view.parent.link.as_mut().filter(|l| l.frontier_known) else { return };
        for (id, push) in &mut up.pushes {
            pump(up.id, *id, push, self.view.logs.get(id).map(Arc::as_ref), out);
        }
    }

    pub(super) fn pushed(&mut self, link: LinkId, log: LogId, out: &mut Vec<Output>) {
        if let Some(up) = self.view.parent.link.as_mut().filter(|l| l.id == link) {
            if let Some(push) = up.pushes.get_mut(&log) {
                push.taken();
                pump(link, log, push, self.view.logs.get(&log).map(Arc::as_ref), out);
            }
            return;
        }
        for child in self.view.children.values_mut() {
            if let Some(up) = child.link.as_mut().filter(|l| l.id == link)
                && let Some(push) = up.serving.get_mut(&log)
            {
                push.taken();
                pump(link, log, push, self.view.logs.get(&log).map(Arc::as_ref), out);
            }
        }
    }

    pub(super) fn push_failed(&mut self, now_ms: u64, link: LinkId, log: LogId, reason: String) {
        if let Some(up) = self.view.parent.link.as_mut().filter(|l| l.id == link) {
            if let Some(push) = up.pushes.get_mut(&log) {
                push.stop();
            }
            // Tried again like a refusal: a read may fail once.
            let start = self.view.logs.get(&log).and_then(|l| l.receipts.get(&up.peer)).map_or(0, |r| r.size);
            let times = self.view.parent.rejected.get(&log).map_or(0, |r| r.times) + 1;
            let (code, since_ms) = (Refusal::Malformed, now_ms);
            let refused = Rejected { code, reason: reason.clone(), start, since_ms, times };
            self.view.parent.rejected.insert(log, refused);
            self.view.parent.damaged.insert(log, reason);
            return;
        }
        // A child that fetches gets no further here; it asks again with its next link.
        for child in self.view.children.values_mut() {
            if let Some(push) = child.link.as_mut().filter(|l| l.id == link).and_then(|l| l.serving.get_mut(&log)) {
                push.stop();
                self.view.parent.damaged.insert(log, reason.clone());
            }
        }
    }

    pub(super) fn batch_from_parent(
        &mut self,
        now_ms: u64,
        link: LinkId,
        id: LogId,
        bytes: Vec<u8>,
        out: &mut Vec<Output>,
    ) {
        if let Some(up) = self.view.parent.link.as_mut() {
            up.heard_ms = now_ms;
        }
        let fetching =
            if id == self.own() { matches!(self.view.gate, Gate::Fetching(_)) } else { id.division == self.me() };
        if !fetching {
            self.close(now_ms, link, Refusal::Protocol, "a batch that was not asked for".into(), out);
            return;
        }
        let edge = self.edge(id);
        match admit(self.view.charter.charter(), id, &edge, bytes) {
            Ok(batch) => self.write_batch(batch, Waiter::Nobody, out),
            Err(AdmitError::Known { .. }) => {}
            Err(AdmitError::Root { note, .. }) => self.freeze_against(
                id,
                note,
                "what the parent holds of this node's log does not continue what is on this disk".into(),
                out,
            ),
            Err(why) => self.close(now_ms, link, Refusal::Malformed, why.to_string(), out),
        }
    }

    /// What nodes of this branch have cosigned, for whoever proves a record above.
    fn send_receipts_up(&self, out: &mut Vec<Output>) {
        for (id, log) in &self.view.logs {
            for (division, r) in &log.receipts {
                if self.charter().is_within(*division, self.me()) {
                    let holder = LogId::records(*division, r.epoch);
                    self.send_receipt_up(*id, holder, r.size, r.line.clone(), out);
                }
            }
        }
    }

    /// Sends a receipt of this branch to the parent.
    pub(super) fn send_receipt_up(&self, log: LogId, holder: LogId, size: u64, line: String, out: &mut Vec<Output>) {
        if let Some(up) = self.view.parent.link.as_ref().filter(|l| l.welcomed) {
            out.push(Output::Send { link: up.id, message: Control::Receipt { log, size, holder, line } });
        }
    }

    /// Receipts that came before their records.
    pub(super) fn take_pending_receipts(&mut self, now_ms: u64, out: &mut Vec<Output>) {
        let logs = &self.view.logs;
        let due: Vec<_> = self
            .pending_receipts
            .extract_if(.., |(id, _), (size, _)| logs.get(id).is_some_and(|l| l.size() >= *size))
            .collect();
        for ((id, holder), (size, line)) in due {
            self.take_receipt(now_ms, id, size, holder, &line, out);
        }
    }

    /// A receipt counts when the mirror key of a node on the log's path signed exactly the checkpoint that is held here.
    pub(super) fn take_receipt(
        &mut self,
        now_ms: u64,
        id: LogId,
        size: u64,
        holder: LogId,
        line: &str,
        out: &mut Vec<Output>,
    ) {
        if line.len() > NOTE_BYTES_MAX {
            return;
        }
        let charter = self.view.charter.charter();
        // Ancestors hold what is here; so do nodes on the way from the log's origin to here.
        let above = charter.is_within(self.me(), holder.division);
        let between = charter.is_within(holder.division, self.me()) && charter.is_within(id.division, holder.division);
        let counts = holder.division != self.me() && (above || between);
        let Some(key) = charter.epoch(holder).map(|e| e.mirror.clone()).filter(|_| counts) else { return };
        let origin = charter.federation().origin(id);
        let ours = charter.is_within(id.division, self.me()) && charter.epoch(id).is_some();
        // Not known here yet: after this disk was set back, the receipt comes before the records.
        let Some(root) = self.view.logs.get(&id).and_then(|l| l.root_at(size)).filter(|_| size > 0) else {
            if ours && self.view.logs.get(&id).is_none_or(|l| l.size() < size) {
                self.pending_receipts.insert((id, holder), (size, line.to_owned()));
            }
            return;
        };
        let text = Checkpoint { origin, size, root }.text();
        let parsed = line.strip_suffix('\n').map(NoteSignature::parse);
        let Some(Ok(Ok(time))) = parsed.map(|p| p.map(|s| s.verify(&key, &text))) else { return };
        if Some(holder.division) == self.charter().parent(self.me()) {
            self.view.parent.last_ack_ms = Some(now_ms);
            self.view.parent.rejected.remove(&id);
            self.view.parent.damaged.remove(&id);
            let confirmed =
                self.view.logs.get(&id).and_then(|l| l.receipts.get(&holder.division)).map_or(0, |r| r.size);
            if let Some(now) = self.view.parent.set_back.get_mut(&id) {
                *now = size.max(*now);
                if size >= confirmed {
                    self.view.parent.set_back.remove(&id);
                }
            }
        }
        let receipt = Receipt { size, time, epoch: holder.epoch, line: line.to_owned() };
        if self.view.logs.contains_key(&id) && self.log_mut(id).receipt(holder.division, receipt) {
            let line = line.to_owned();
            out.push(Output::Append(Append::receipt(id, holder, size, time, line.clone())));
            if above {
                self.send_receipt_down(id, holder, size, line, out);
            } else {
                self.send_receipt_up(id, holder, size, line, out);
            }
        }
    }
}

/// A neighbour's clock minus ours, in milliseconds, whatever it says.
pub(super) fn skew(theirs: u64, now_ms: u64) -> i64 {
    theirs.cast_signed().saturating_sub(now_ms.cast_signed())
}

/// Hands the batches that `push` wants to the link, as far as the window allows.
pub(super) fn pump(link: LinkId, log: LogId, push: &mut Push, held: Option<&HeldLog>, out: &mut Vec<Output>) {
    let Some(held) = held else { return };
    while let Some(start) = push.wants(held.size()) {
        // A gap (frames lost to damage here) stops this log; status shows it as damaged.
        let Some((end, batch)) = held.batch_at(start) else { return };
        push.sent(end);
        out.push(Output::Push { link, log, place: batch.place });
    }
}
