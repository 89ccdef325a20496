//! Receipts: issued for what is on this disk, taken from whoever holds a log, handed up and down.
//!
//! A receipt is issued only for a whole log, after its flush (I2), and counts only if the mirror key of a node on the log's
//! path signed exactly the checkpoint that is held here. It changes no record and opens no gate.
//!
//! No flush is made for receipts, so a power cut may take the last ones, which may have been told. After a start a log without
//! its receipt waits until the child that it comes from has told what it knows: what was told is taken back from there, so
//! that the time at which a record was here first never moves. Only what nobody knows is issued anew.

use super::{Output, Replica};
use crate::{Append, log::Receipt};
use std::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
};
use tally_protocol::{
    checkpoint::Checkpoint,
    hash::Hash,
    ids::{Division, LogId},
    limits::NOTE_BYTES_MAX,
    note::{self, NoteSignature},
    wire::Control,
};

/// Logs and holders of which receipts are kept for records that are not here yet, receipts of each, and the longest line of one,
/// in bytes: a neighbour may send any. What is not kept comes again with the next link.
const PENDING_MAX: usize = 16_384;
const PENDING_EACH_MAX: usize = 4;
const PENDING_LINE_BYTES_MAX: usize = 1_024;

/// Receipts of logs and holders that cover records which are not here yet: of each their sizes and lines, as they were told.
#[derive(Debug, Default)]
pub(super) struct PendingReceipts(BTreeMap<(LogId, LogId), VecDeque<(u64, String)>>);

impl PendingReceipts {
    /// Keeps one, beside those that other neighbours know: whose disk was set back tells an older one. Its signature cannot be
    /// checked yet, so a larger size is no reason to stay: of too many the one goes that was told first.
    fn keep(&mut self, id: LogId, holder: LogId, size: u64, line: String) {
        let room = self.0.len() < PENDING_MAX || self.0.contains_key(&(id, holder));
        if !room || line.len() > PENDING_LINE_BYTES_MAX {
            return;
        }
        let told = self.0.entry((id, holder)).or_default();
        told.retain(|(other, _)| *other != size);
        if told.len() == PENDING_EACH_MAX {
            told.pop_front();
        }
        told.push_back((size, line));
    }

    /// Sizes of those that a holder gave.
    fn sizes(&self, id: LogId, holder: LogId) -> impl Iterator<Item = u64> {
        self.0.get(&(id, holder)).into_iter().flatten().map(|(size, _)| *size)
    }

    /// Takes out those for which `is_due` holds, of each log and holder the smallest first.
    fn take(&mut self, is_due: impl Fn(LogId, u64) -> bool) -> Vec<(LogId, LogId, u64, String)> {
        let mut due = Vec::new();
        for ((id, holder), told) in &mut self.0 {
            if !told.iter().any(|(size, _)| is_due(*id, *size)) {
                continue;
            }
            let taken: Vec<_> = std::mem::take(told).into();
            let (now, later): (Vec<_>, Vec<_>) = taken.into_iter().partition(|(size, _)| is_due(*id, *size));
            *told = later.into();
            due.extend(now.into_iter().map(|(size, line)| (*id, *holder, size, line)));
        }
        self.0.retain(|_, told| !told.is_empty());
        due.sort_by_key(|(id, holder, size, _)| (*id, *holder, *size));
        due
    }

    /// The log ends at `size` from now on.
    pub(super) fn cut(&mut self, id: LogId, size: u64) {
        self.take(|log, at| log == id && at > size);
    }
}

impl Replica {
    /// Cosigns the head of a mirrored log, if all of it is on this disk and no receipt says so yet.
    pub(super) fn issue_receipt(&mut self, now_ms: u64, id: LogId, out: &mut Vec<Output>) {
        // Its first time never moves: a time that is in doubt is waited for.
        if self.clock.trouble().is_some() {
            self.receipts_due.push(id);
            return;
        }
        let (me, time) = (self.own(), self.clock.corrected(now_ms) / 1_000);
        let origin = self.charter().federation().origin(id);
        // A receipt says that all of it is on disk.
        let Some(log) = self.view.logs.get_mut(&id).map(Arc::make_mut).filter(|l| l.is_whole()) else { return };
        let size = log.size();
        if size == 0 || log.receipts.get(&me.division).is_some_and(|r| r.size >= size) {
            return;
        }
        self.unsaid.remove(&id);
        // This disk was set back, and a receipt of then is known for what is on its way.
        let on_its_way = |at: u64| self.ahead.range((id, at)..=(id, u64::MAX)).next().is_some();
        if self.pending_receipts.sizes(id, me).any(|at| at > size && on_its_way(at)) {
            return;
        }
        let text = Checkpoint { origin, size, root: log.tree().root() }.text();
        let line = note::cosign_line(&text, time, &self.keys.mirror);
        log.receipt(me.division, Receipt { size, time, epoch: me.epoch, line: line.clone() });
        out.push(Output::Append(Append::receipt(id, me, size, time, line.clone())));
        self.send_receipt_up(id, me, size, line.clone(), out);
        self.send_receipt_down(id, me, size, line, out);
    }

    /// Sends the parent all latest receipts: those of this branch are needed there to prove a record, and those of the levels
    /// above may have been lost there.
    pub(super) fn send_receipts_up(&self, out: &mut Vec<Output>) {
        for (id, log) in self.view.logs.iter().filter(|(id, _)| self.charter().is_within(id.division, self.me())) {
            for (division, r) in &log.receipts {
                let holder = LogId::records(*division, r.epoch);
                self.send_receipt_up(*id, holder, r.size, r.line.clone(), out);
            }
        }
    }

    /// A child's receipt: of a node of its branch, of this node or of one above, which may have lost it.
    pub(super) fn receipt_from_child(
        &mut self,
        now_ms: u64,
        peer: Division,
        (log, size, holder, line): (LogId, u64, LogId, String),
        out: &mut Vec<Output>,
    ) {
        let latest = self.view.log(log).and_then(|l| l.receipts.get(&holder.division));
        if latest.is_some_and(|r| r.size == size && r.line == line) {
            return;
        }
        let above = self.charter().is_within(self.me(), holder.division);
        let of_branch = self.charter().is_within(log.division, peer);
        let may = of_branch && (above || self.charter().is_within(holder.division, peer));
        if !may || !self.take_receipt(now_ms, log, size, holder, &line, out) {
            self.meters.entry(peer).or_default().spend(now_ms, 1);
        } else if above && holder.division != self.me() {
            self.send_receipt_up(log, holder, size, line, out);
        }
    }

    /// The child has told all receipts that it knows: what is still without one gets it.
    pub(super) fn told_receipts(&mut self, peer: Division) {
        let charter = self.view.charter.clone();
        let due = self.unsaid.extract_if(.., |id| charter.charter().is_within(id.division, peer));
        self.receipts_due.extend(due);
    }

    /// Takes back a receipt that this node gave and has not in its journal any more.
    fn take_back(&mut self, id: LogId, size: u64, holder: LogId, line: &str, out: &mut Vec<Output>) -> bool {
        let held = self.view.log(id);
        if self.charter().epoch(holder).is_none() || held.is_some_and(|l| l.has_receipt(holder.division, size)) {
            return false;
        }
        let Some(root) = held.and_then(|l| l.root_at(size)).filter(|_| size > 0) else {
            if held.is_none_or(|l| l.size() < size || !l.is_whole()) && self.charter().log_key(id).is_some() {
                self.keep_pending_receipt(id, holder, size, line.to_owned());
            }
            return false;
        };
        let Some(time) = self.receipt_time(id, holder, (size, root), line) else { return false };
        self.log_mut(id).receipt(holder.division, Receipt { size, time, epoch: holder.epoch, line: line.to_owned() });
        out.push(Output::Append(Append::receipt(id, holder, size, time, line.to_owned())));
        self.send_receipt_up(id, holder, size, line.to_owned(), out);
        // Whoever has it below may have lost it with this node: of a log that does not grow no other comes.
        self.send_receipt_down(id, holder, size, line.to_owned(), out);
        true
    }

    /// Sends a receipt of this branch to the parent.
    pub(super) fn send_receipt_up(&self, log: LogId, holder: LogId, size: u64, line: String, out: &mut Vec<Output>) {
        if let Some(up) = self.view.parent.link.as_ref().filter(|l| l.welcomed) {
            out.push(Output::Send { link: up.id, message: Control::Receipt { log, size, holder, line } });
        }
    }

    /// Sends a receipt toward the log's origin, if its branch is linked.
    pub(super) fn send_receipt_down(&self, log: LogId, holder: LogId, size: u64, line: String, out: &mut Vec<Output>) {
        let branch = self.charter().branch(log.division, self.me());
        let link = branch.and_then(|b| self.view.children.get(&b)).and_then(|c| c.link.as_ref()).filter(|l| l.welcomed);
        if let Some(link) = link {
            out.push(Output::Send { link: link.id, message: Control::Receipt { log, size, holder, line } });
        }
    }

    /// Takes the receipts whose records have arrived by now.
    pub(super) fn take_pending_receipts(&mut self, now_ms: u64, out: &mut Vec<Output>) {
        let logs = &self.view.logs;
        let due = self.pending_receipts.take(|id, size| logs.get(&id).is_some_and(|l| l.root_at(size).is_some()));
        for (id, holder, size, line) in due {
            self.take_receipt(now_ms, id, size, holder, &line, out);
        }
    }

    /// Keeps a receipt of records that are not here yet, or are missing here.
    pub(super) fn keep_pending_receipt(&mut self, id: LogId, holder: LogId, size: u64, line: String) {
        self.pending_receipts.keep(id, holder, size, line);
    }

    /// The time that a receipt states, if its holder's mirror key signed the checkpoint of this size and root; POSIX seconds.
    pub(super) fn receipt_time(&self, id: LogId, holder: LogId, (size, root): (u64, Hash), line: &str) -> Option<u64> {
        let key = &self.charter().epoch(holder)?.mirror;
        let text = Checkpoint { origin: self.charter().federation().origin(id), size, root }.text();
        NoteSignature::parse(line.strip_suffix('\n')?).ok()?.verify(key, &text).ok()
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
    ) -> bool {
        if line.len() > NOTE_BYTES_MAX {
            return false;
        }
        if holder.division == self.me() {
            return self.take_back(id, size, holder, line, out);
        }
        let charter = self.view.charter.charter();
        // Ancestors hold what is here; so do nodes on the way from the log's origin to here.
        let above = charter.is_within(self.me(), holder.division);
        let between = charter.is_within(holder.division, self.me()) && charter.is_within(id.division, holder.division);
        let counts = holder.division != self.me() && (above || between);
        if !counts || charter.epoch(holder).is_none() {
            return false;
        }
        let ours = charter.is_within(id.division, self.me()) && charter.log_key(id).is_some();
        // Not known here yet: after this disk was set back, the receipt comes before the records.
        let Some(root) = self.view.logs.get(&id).and_then(|l| l.root_at(size)).filter(|_| size > 0) else {
            if ours && self.view.logs.get(&id).is_none_or(|l| l.size() < size || !l.is_whole()) {
                self.keep_pending_receipt(id, holder, size, line.to_owned());
            }
            return false;
        };
        let Some(time) = self.receipt_time(id, holder, (size, root), line) else { return false };
        if Some(holder.division) == self.charter().parent(self.me()) {
            self.view.parent.last_ack_ms = Some(now_ms);
            self.parent_stands_at(id, size);
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
        let news = self.view.logs.contains_key(&id) && self.log_mut(id).receipt(holder.division, receipt);
        if news {
            let line = line.to_owned();
            out.push(Output::Append(Append::receipt(id, holder, size, time, line.clone())));
            if above {
                self.send_receipt_down(id, holder, size, line, out);
            } else {
                self.send_receipt_up(id, holder, size, line, out);
            }
        }
        news
    }
}
