//! The state of one node and the dispatch of what happens to it.
//!
//! ```text
//! messages.rs  what goes in and comes out         round.rs     persist, then speak
//! uplink.rs    messages of the parent             downlink.rs  messages of children
//! standing.rs  where the parent stands            sealing.rs   the own log, behind the gate
//! sure.rs      who may be believed about a log    opening.rs   when the gate opens
//! heads.rs     the one judge of heads             conflict.rs  two signed histories
//! pushing.rs   batches out                        receipts.rs  issued, taken, handed on
//! ancestors.rs how far the logs above had got     repair.rs    batches that come back
//! bundle.rs    heads that were carried            charter.rs   charters into force
//! recover.rs   state from the journal             state.rs     what is remembered of neighbours
//! requests.rs  what is asked of the authority
//! ```
//!
//! Invariants: every change of a log goes through [`Replica::appended`], after its frame was written; every handler only
//! adds to the list of outputs, and [`Replica::commit`] is the one place that lets outputs go on.

mod ancestors;
mod bundle;
mod charter;
mod conflict;
mod downlink;
mod heads;
mod messages;
mod meter;
mod opening;
mod pushing;
mod receipts;
mod recover;
mod repair;
mod requests;
mod round;
mod sealing;
mod standing;
mod state;
mod sure;
mod telling;
mod uplink;

pub use messages::{Event, Input, LinkId, NotRepaired, NotSealed, Output, Ticket};
pub use requests::{PendingRequest, RejectedRequest, Requests};
pub use round::Disk;
pub use state::{Agreement, Child, ChildLink, Parent, ParentLink, Rejected};

use crate::{
    Append, Entry, Place, SignedHead, View,
    clock::NodeClock,
    entry::Waiter,
    log::{HeldBatch, HeldLog, Receipt},
};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};
use tally_protocol::{
    hash::Hash,
    ids::{Division, LogId},
    keys::NodeKeys,
    merkle::Tree,
    wire::{ClockEcho, Control, Head, Heartbeat, Refusal},
};
use tally_topology::{charter::Charter, signed::SignedCharter};

/// A heartbeat goes out this often, in milliseconds.
pub const HEARTBEAT_MS: u64 = 1_000;
/// A neighbour silent for so long is called stalled, in milliseconds.
pub const STALLED_MS: u64 = 10_000;
/// So long after two machines were seen to run with one key neither signs, in milliseconds.
pub const SAME_KEY_MS: u64 = 60_000;
/// A child is welcomed at most this often: one each so many milliseconds, so that a herd comes in one by one.
pub const WELCOME_EVERY_MS: u64 = 5;
/// A child that would wait longer than this, in milliseconds, is told to come back.
pub const WELCOME_QUEUE_MS: u64 = 500;

/// State and rules of one node.
#[derive(Debug)]
pub struct Replica {
    keys: Arc<NodeKeys>,
    view: View,
    /// Right edge of each log with its batches that are on their way to disk, and how many these are.
    edges_in_flight: BTreeMap<LogId, (Tree, usize)>,
    /// Who is at the other end of each live link.
    links: BTreeMap<LinkId, Division>,
    /// Mirrored logs that grew in this round: each gets one receipt when the round ends.
    receipts_due: Vec<LogId>,
    /// Logs that grew in this round.
    grown: BTreeSet<LogId>,
    /// Batches, by log and records, that are on their way to disk to take the place of missing ones.
    repairs_in_flight: Vec<(LogId, u64, u64)>,
    /// Signed heads that may contradict what is held, one a log: see `heads`.
    doubted: BTreeMap<LogId, heads::DoubtedHead>,
    /// Signed heads of mirrored logs, by log and size, that are beyond what is held.
    ahead: BTreeMap<(LogId, u64), SignedHead>,
    /// Signed heads inside batches that are held.
    proven: heads::Proven,
    /// Signed heads in the own journal that do not fit to what is there, until the journal is read.
    contradictions: Vec<SignedHead>,
    /// The latest receipt in the journal of each log and holder, until it is read: who says what.
    receipts_read: BTreeMap<(LogId, Division), (LogId, Receipt)>,
    /// Heads of mirrored logs that the parent is sure of, since the start: size and root.
    assured: BTreeMap<LogId, (u64, Hash)>,
    /// What was said of how far the own log has got.
    answers: opening::Answers,
    /// Newest heads of the ancestors' logs.
    ancestors: BTreeMap<LogId, ancestors::SeenHead>,
    /// Children that were welcomed in this round.
    frontiers_due: Vec<(LinkId, Division)>,
    /// What children have this node check, over all their links.
    meters: BTreeMap<Division, meter::Meter>,
    /// What is known of the time.
    clock: NodeClock,
    /// The clock at the latest input, POSIX milliseconds.
    now_ms: u64,
    /// When the parent was last called, POSIX milliseconds.
    dialled_ms: u64,
    /// When the parent last said that another machine runs with this node's key, POSIX milliseconds.
    same_key_ms: Option<u64>,
    /// Receipts that cover records which are not here yet.
    pending_receipts: receipts::PendingReceipts,
    /// Mirrored logs that had no receipt in the journal when the node started: see `receipts`.
    unsaid: BTreeSet<LogId>,
    /// No child is welcomed before this, POSIX milliseconds.
    next_welcome_ms: u64,
    last_heartbeat_ms: u64,
    /// Entries read from the journal whose log no charter read so far names.
    unknown_log_entries: Vec<(Entry, Place)>,
    requests_told: requests::RequestsTold,
    /// What the parent was told of this node and those below.
    told_upward: telling::ToldUpward,
    /// Rows that are staged, as the driver says.
    staged: u64,
    software: String,
    /// See [`Replica::set_instance`].
    instance: [u8; 16],
    /// Links to the parent that were opened since the start.
    links_opened: u64,
}

impl Replica {
    /// A node as it is before anything was recovered from its journal. `charter` was opened with the pinned key.
    pub fn new(keys: Arc<NodeKeys>, charter: SignedCharter, software: String) -> Self {
        Self {
            view: View::at_start(keys.node, Arc::new(charter)),
            keys,
            edges_in_flight: BTreeMap::new(),
            links: BTreeMap::new(),
            receipts_due: Vec::new(),
            grown: BTreeSet::new(),
            repairs_in_flight: Vec::new(),
            doubted: BTreeMap::new(),
            ahead: BTreeMap::new(),
            proven: heads::Proven::default(),
            contradictions: Vec::new(),
            receipts_read: BTreeMap::new(),
            assured: BTreeMap::new(),
            answers: opening::Answers::default(),
            ancestors: BTreeMap::new(),
            frontiers_due: Vec::new(),
            meters: BTreeMap::new(),
            clock: NodeClock::default(),
            now_ms: 0,
            dialled_ms: 0,
            same_key_ms: None,
            pending_receipts: receipts::PendingReceipts::default(),
            unsaid: BTreeSet::new(),
            next_welcome_ms: 0,
            last_heartbeat_ms: 0,
            unknown_log_entries: Vec::new(),
            requests_told: requests::RequestsTold::default(),
            told_upward: telling::ToldUpward::default(),
            staged: 0,
            software,
            instance: [0; 16],
            links_opened: 0,
        }
    }

    /// What tells this run of the node from another one with the same key: random bytes, made by whoever starts it,
    /// because the core has no randomness. Hellos carry it.
    pub fn set_instance(&mut self, instance: [u8; 16]) {
        self.instance = instance;
    }

    /// What readers may see: a copy of it is published after each round.
    pub fn view(&self) -> &View {
        &self.view
    }

    fn own(&self) -> LogId {
        self.keys.node
    }

    fn me(&self) -> Division {
        self.keys.node.division
    }

    fn charter(&self) -> &Charter {
        self.view.charter()
    }

    fn log_mut(&mut self, id: LogId) -> &mut HeldLog {
        self.view.log_mut(id)
    }

    /// Takes one input; `now_ms` is the wall clock in POSIX milliseconds.
    pub fn handle(&mut self, now_ms: u64, input: Input, out: &mut Vec<Output>) {
        self.read_clock(now_ms);
        match input {
            Input::Seal { ticket, records } => self.seal(now_ms, ticket, &records, out),
            Input::ParentUp { link, parent } => self.parent_up(now_ms, link, parent, out),
            Input::ChildUp { link, peer } => self.child_up(now_ms, link, peer, out),
            Input::LinkDown { link } => {
                if let Some(&peer) = self.links.get(&link) {
                    out.push(Output::Note(Event::Down { peer }));
                }
                self.link_down(now_ms, link);
            }
            Input::DialFailed { reason, refused, linked } => {
                if refused {
                    self.view.parent.refused = Some((Refusal::Identity, reason.clone()));
                } else if !linked {
                    self.view.parent.refused = None;
                }
                self.view.parent.trouble = Some(reason);
            }
            Input::CharterHeard { note } => {
                if let Some(parent) = self.charter().parent(self.me()) {
                    self.charter_from_parent(parent, note, out);
                }
            }
            Input::Control { link, message } => self.on_control(now_ms, link, message, out),
            Input::Batch { link, log, bytes } => self.on_batch(now_ms, link, log, bytes, out),
            Input::Pushed { link, log } => self.pushed(link, log, out),
            Input::Garbage { link, reason } => self.close(now_ms, link, Refusal::Malformed, reason, out),
            Input::PushFailed { link, log, reason } => self.push_failed(now_ms, link, log, reason),
            Input::Repair { ticket, batch } => self.repair(ticket, batch, out),
            Input::Surveyed { log, missing, copies, from, until } => {
                self.surveyed(log, &missing, &copies, (from, until), out)
            }
            Input::Resave => self.resave(out),
            Input::BundledReceipt { log, size, holder, line } => {
                self.take_receipt(now_ms, log, size, holder, &line, out);
            }
            Input::BundledConflict { from, log, evidence, reason } => {
                self.bundled_conflict(from, log, evidence, &reason, out);
            }
            Input::BundledHead { from, head } => self.bundled_head(from, &head, out),
            Input::Charter { ticket, note } => self.load_charter(ticket, note, out),
            Input::OpenGate { ticket, reason } => {
                let result = self.open_by_word(reason, out);
                out.push(Output::GateJudged { ticket, result });
            }
            Input::HeadCompared { log, size, shown } => self.head_compared(log, size, shown, out),
            Input::Request { note } => self.take_request(now_ms, None, &note, out),
            Input::RejectRequest(rejected) => self.reject_request(rejected, out),
            Input::Tick => self.tick(now_ms, out),
        }
    }

    /// The driver reports that an entry of this round is on disk, at `place`: it takes effect now.
    pub fn appended(&mut self, append: Append, place: Place, out: &mut Vec<Output>) {
        let (entry, waiter) = append.into_parts();
        match entry {
            Entry::Batch { log, start, tree, sealed_at, note } => {
                let held = HeldBatch { start, end: tree.size(), root: tree.root(), sealed_at, place };
                match waiter {
                    Waiter::Repairer(ticket) => self.repair_appended(ticket, (log, tree, note, held), out),
                    Waiter::Sealer(ticket) => {
                        let end = tree.size();
                        self.batch_appended(log, tree, note, held);
                        out.push(Output::Sealed { ticket, result: Ok((start, end)) });
                    }
                    Waiter::Nobody | Waiter::Loader(_) => self.batch_appended(log, tree, note, held),
                }
            }
            Entry::Charter { note } => {
                let ticket = if let Waiter::Loader(ticket) = waiter { Some(ticket) } else { None };
                self.charter_appended(&note, ticket, out);
            }
            Entry::Receipt { log, holder, size, time, .. } => {
                self.view.log_mut(log).keep_receipt(holder.division, (size, time, holder.epoch), place);
            }
            Entry::Freeze { .. } | Entry::Seen { .. } => {}
        }
    }

    /// So many milliseconds went by since the last input, by a clock that nobody sets. To be told before the next input.
    pub fn ran(&mut self, elapsed_ms: u64) {
        self.clock.ran(elapsed_ms);
    }

    /// Takes the clock's reading, and whether it and the key can be trusted for signing.
    fn read_clock(&mut self, now_ms: u64) {
        self.now_ms = now_ms;
        self.clock.read(now_ms);
        self.show_clock();
        self.view.same_key = self.same_key_ms.is_some_and(|at| now_ms.abs_diff(at) < SAME_KEY_MS);
    }

    fn show_clock(&mut self) {
        self.view.clock = self.clock.trouble();
        self.view.correction_ms = self.clock.correction_ms();
    }

    /// A batch that continues its log is on disk.
    fn batch_appended(&mut self, id: LogId, tree: Tree, note: String, held: HeldBatch) {
        if let Some((_, flying)) = self.edges_in_flight.get_mut(&id) {
            *flying -= 1;
            if *flying == 0 {
                self.edges_in_flight.remove(&id);
            }
        }
        let fits = self.view.log_mut(id).put(held.start, tree, held.sealed_at, note, held.place);
        // What is acknowledged must be in the log: a core that contradicts itself stops the node.
        assert!(fits, "a batch of {id} that was admitted at its edge does not continue it");
        self.grown.insert(id);
        if id != self.own() && !self.receipts_due.contains(&id) {
            self.receipts_due.push(id);
        }
    }

    /// Ends a round after all its entries were reported: issues receipts for what arrived and hands more batches to links.
    pub fn settle(&mut self, now_ms: u64, out: &mut Vec<Output>) {
        for head in std::mem::take(&mut self.contradictions) {
            self.judge_signed(head, out);
        }
        // A receipt that is known at a neighbour counts before a new one is given.
        self.take_pending_receipts(now_ms, out);
        for log in std::mem::take(&mut self.receipts_due) {
            self.issue_receipt(now_ms, log, out);
        }
        let grown = std::mem::take(&mut self.grown);
        self.compare_with_ahead(&grown, out);
        self.fetch_grown(&grown, out);
        self.compare_with_known(out);
        self.judge_gate();
        self.send_frontiers_due(out);
        self.pump_parent(out);
        self.pump_children(out);
    }

    /// Forgets a link. A link that is not known any more changes nothing.
    fn link_down(&mut self, now_ms: u64, link: LinkId) {
        let Some(peer) = self.links.remove(&link) else { return };
        if self.view.parent.link.as_ref().is_some_and(|l| l.id == link) {
            self.view.parent.link = None;
            self.view.parent.lost_ms = Some(now_ms);
            return;
        }
        if let Some(child) = self.view.children.get_mut(&peer)
            && child.link.as_ref().is_some_and(|l| l.id == link)
        {
            child.link = None;
            self.clock.child_gone(peer);
        }
    }

    /// Closes a link and forgets it. The reason goes out first, so that the other side can show it.
    fn close(&mut self, now_ms: u64, link: LinkId, code: Refusal, reason: String, out: &mut Vec<Output>) {
        if let Some(&peer) = self.links.get(&link) {
            out.push(Output::Note(Event::Refused { peer, code, reason: reason.clone() }));
            out.push(Output::Send { link, message: Control::Refused { code, reason: reason.clone() } });
            out.push(Output::Close { link, code, reason });
        }
        self.link_down(now_ms, link);
    }

    fn on_control(&mut self, now_ms: u64, link: LinkId, message: Control, out: &mut Vec<Output>) {
        if self.view.parent.link.as_ref().is_some_and(|l| l.id == link) {
            self.on_parent_message(now_ms, link, message, out);
        } else if let Some(&peer) = self.links.get(&link) {
            self.on_child_message(now_ms, link, peer, message, out);
        }
    }

    fn on_batch(&mut self, now_ms: u64, link: LinkId, log: LogId, bytes: Vec<u8>, out: &mut Vec<Output>) {
        if self.view.parent.link.as_ref().is_some_and(|l| l.id == link) {
            self.batch_from_parent(now_ms, link, log, bytes, out);
        } else if let Some(&peer) = self.links.get(&link) {
            self.batch_from_child(now_ms, link, peer, log, bytes, out);
        }
    }

    /// Sends heartbeats and tries refused logs again. Links that are silent end by themselves: their time is no wall clock's.
    fn tick(&mut self, now_ms: u64, out: &mut Vec<Output>) {
        if now_ms.abs_diff(self.last_heartbeat_ms) >= HEARTBEAT_MS {
            self.last_heartbeat_ms = now_ms;
            self.send_heartbeats(now_ms, out);
            self.tell_receipts_left(out);
            self.tell_health(now_ms, out);
            self.tell_faults(now_ms, out);
            self.tell_ancestors(out);
            self.keep_ancestors(now_ms, out);
        }
        self.tell_stands(out);
        self.tend_requests(now_ms, out);
        self.retry_rejected(now_ms, out);
        self.retry_doubts(now_ms, out);
    }

    /// Tells each neighbour how much is held of what the two share, and its digest.
    fn send_heartbeats(&mut self, now_ms: u64, out: &mut Vec<Output>) {
        let beat = |division, heard: Option<(u64, u64)>| {
            let (records, digest) = (self.view.records_of(division), self.view.digest(division));
            let echo = heard.map(|(clock_ms, at)| ClockEcho { clock_ms, held_ms: now_ms.saturating_sub(at) });
            let above_ms = self.clock.above_ms();
            Control::Heartbeat(Heartbeat { clock_ms: now_ms, records, digest, echo, above_ms })
        };
        if let Some(link) = self.view.parent.link.as_ref().filter(|l| l.welcomed) {
            out.push(Output::Send { link: link.id, message: beat(self.me(), link.clock_heard) });
        }
        for (division, child) in &self.view.children {
            let Some(link) = child.link.as_ref().filter(|l| l.welcomed) else { continue };
            out.push(Output::Send { link: link.id, message: beat(*division, link.clock_heard) });
        }
    }

    /// Right edge of a log, with everything that is on its way to disk: the next batch has to continue it.
    fn edge(&self, log: LogId) -> Tree {
        match (self.edges_in_flight.get(&log), self.view.logs.get(&log)) {
            (Some((tree, _)), _) => tree.clone(),
            (None, Some(held)) => held.tree().clone(),
            (None, None) => Tree::default(),
        }
    }

    /// Has a batch written that continues its log.
    fn write_batch(&mut self, batch: tally_topology::admit::AdmittedBatch, waiter: Waiter, out: &mut Vec<Output>) {
        let entry = self.edges_in_flight.entry(batch.log()).or_insert_with(|| (Tree::default(), 0));
        entry.0 = batch.tree().clone();
        entry.1 += 1;
        out.push(Output::Append(Append::batch(batch, waiter)));
    }

    /// Heads of the logs held of `division` and below, for a frontier.
    fn heads(&self, division: Division) -> Vec<Head> {
        let held =
            self.view.logs.iter().filter(|(id, log)| log.size() > 0 && self.charter().is_within(id.division, division));
        held.map(|(id, log)| Head { log: *id, size: log.size(), root: log.tree().root(), note: log.note.clone() })
            .collect()
    }

    /// Sends all heads of `division` and below, page by page.
    fn send_frontier(&self, link: LinkId, division: Division, out: &mut Vec<Output>) {
        let messages = Control::frontier(self.heads(division));
        out.extend(messages.into_iter().map(|message| Output::Send { link, message }));
    }
}

#[cfg(test)]
mod tests;
