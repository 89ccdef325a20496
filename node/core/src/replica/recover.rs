//! A node's state from its journal, entry by entry. A log counts only with a signature of its key.
//!
//! That is the signature over its newest checkpoint: it speaks for all before it, which was checked before it was written, and
//! a start must not take longer with each batch of a year. Behind damage, where somebody else's bytes may look like an entry,
//! each batch counts only with its own; and so it is with all, if a log's newest checkpoint turns out not to be signed.

use super::Replica;
use crate::{
    Entry, FoundBy, Gate, Place, SignedHead,
    log::{HeldLog, Receipt},
};
use std::sync::Arc;
use tally_protocol::{
    checkpoint::Checkpoint,
    ids::LogId,
    keys::{NodeKeys, VerifierKey},
    merkle::Tree,
    wire::CharterMark,
};
use tally_topology::signed::{SignedCharter, SignedError};

/// Whether this is a checkpoint of the tree, signed by the key.
fn is_edge(note: &str, tree: &Tree, key: &VerifierKey) -> bool {
    Checkpoint::open(note, key).is_ok_and(|c| (c.size, c.root) == (tree.size(), tree.root()))
}

impl Replica {
    /// Takes one entry of the journal, where it is kept, and how it was found there; in journal order.
    pub fn recover(&mut self, entry: Entry, place: Place, found: FoundBy) {
        match entry {
            Entry::Batch { log, start, tree, sealed_at, note } => {
                let Some(key) = self.charter().log_key(log) else {
                    // The charter that knows it may stand further behind, if it had to be written again.
                    self.unknown_log_entries.push((Entry::Batch { log, start, tree, sealed_at, note }, place));
                    return;
                };
                if found == FoundBy::Search && !is_edge(&note, &tree, &key) {
                    self.view.unproved += 1;
                    return;
                }
                // Out of order is in order: repaired batches stand behind, and the latest copy counts.
                let held = self.view.log_mut(log);
                let end = tree.size();
                if !held.put(start, tree, sealed_at, note.clone(), place) {
                    // Signed, and it contradicts what is there: perhaps a second history, which is judged once all is read.
                    self.contradictions.extend(SignedHead::of_note(log, &note, &key));
                    return;
                }
                // Repaired copies of older batches stand behind the newest.
                let newest = held.size() == end;
                if log == self.own() && newest {
                    self.clock.was_at(sealed_at.saturating_mul(1_000));
                }
            }
            Entry::Receipt { log, holder, size, time, line } => {
                let receipt = Receipt { size, time, epoch: holder.epoch, line };
                self.recover_receipt(log, holder, receipt, place);
            }
            Entry::Freeze { log, frozen } => {
                let Some(key) = self.charter().log_key(log) else {
                    self.unknown_log_entries.push((Entry::Freeze { log, frozen }, place));
                    return;
                };
                if frozen.evidence.verify(&key).is_err() {
                    self.view.unproved += 1;
                    return;
                }
                self.view.log_mut(log).frozen = Some(frozen);
            }
            Entry::Seen { head } => {
                if self.charter().log_key(head.log).is_none() {
                    self.unknown_log_entries.push((Entry::Seen { head }, place));
                } else {
                    self.recover_ancestor(&head);
                }
            }
            Entry::Charter { note } => {
                // It follows the one in force, or is passed over: the file in the config may be newer.
                match SignedCharter::open_next(&note, &self.view.charter) {
                    Ok(signed) => self.view.charter = signed.into(),
                    Err(SignedError::OtherContent { version, offered, .. }) => {
                        self.view.charter_in_journal = Some(CharterMark { version, hash: offered });
                    }
                    Err(_) => {}
                }
            }
        }
    }

    /// The latest receipt of a holder counts at a start as it does when it comes: with the signature of its mirror key,
    /// looked at once all records are known. Earlier ones are only pointed to; whoever shows one checks it.
    fn recover_receipt(&mut self, log: LogId, holder: LogId, receipt: Receipt, place: Place) {
        let Receipt { size, time, epoch, .. } = receipt;
        if self.charter().epoch(holder).is_none() || self.charter().log_key(log).is_none() {
            self.unknown_log_entries.push((Entry::Receipt { log, holder, size, time, line: receipt.line }, place));
            return;
        }
        if self.view.log(log).is_some_and(|l| l.root_at(size).is_some()) {
            self.view.log_mut(log).keep_receipt(holder.division, (size, time, epoch), place);
        }
        // What was given beyond the end of a closed log does not count any more, and hides none that does.
        if self.charter().closed_at(log).is_some_and(|(last, _)| size > last) {
            return;
        }
        let key = (log, holder.division);
        if self.receipts_read.get(&key).is_none_or(|(_, latest)| latest.size <= size) {
            self.receipts_read.insert(key, (holder, receipt));
        }
    }

    /// Takes the latest receipts that the journal holds, if their signature holds for what is held here.
    fn take_receipts_read(&mut self) {
        for ((log, _), (holder, receipt)) in std::mem::take(&mut self.receipts_read) {
            let (size, held) = (receipt.size, self.view.log(log));
            let missing = held.is_some_and(|l| !l.is_whole() || l.size() < size);
            let root = held.and_then(|l| l.root_at(size)).filter(|_| size > 0);
            match root.and_then(|root| self.receipt_time(log, holder, (size, root), &receipt.line)) {
                Some(time) if time == receipt.time => {
                    self.view.log_mut(log).receipt(holder.division, receipt);
                }
                // Records before it are missing here, so its root is not known.
                None if root.is_none() && missing => self.keep_pending_receipt(log, holder, size, receipt.line),
                _ => self.view.unproved += 1,
            }
        }
    }

    /// Whether the newest checkpoint of each log that was read is signed by its key. Where it is not, somebody has written to
    /// the journal: it has to be read again from the start, each batch as [`FoundBy::Search`].
    pub fn edges_hold(&self) -> bool {
        self.view
            .logs
            .iter()
            .filter(|(_, log)| log.size() > 0)
            .all(|(id, log)| self.charter().log_key(*id).is_some_and(|key| is_edge(&log.note, log.tree(), &key)))
    }

    /// The journal has been read. What was of no known log is looked at again, under the last charter.
    pub fn all_read(&mut self) {
        for (entry, place) in std::mem::take(&mut self.unknown_log_entries) {
            self.recover(entry, place, FoundBy::Search);
        }
        self.view.unproved += self.unknown_log_entries.len() as u64;
        self.unknown_log_entries.clear();
        self.take_receipts_read();
        self.judge_gate();
    }

    /// Cuts a log back to where the charter closed it; the answer is where the batches lie that do not count any more.
    pub fn cut(&mut self, id: LogId, tree: Tree, note: String) -> Vec<Place> {
        let beyond = self.view.logs.get_mut(&id).map(Arc::make_mut).map(|log| log.cut(tree, note)).unwrap_or_default();
        let left = self.view.log(id).map_or(0, HeldLog::size);
        self.pending_receipts.cut(id, left);
        self.proven.cut(id, left);
        beyond.into_iter().map(|held| held.place).collect()
    }

    /// Ends recovery. Logs whose last receipt is not in the journal wait for it, or for a new one: see `receipts`.
    pub fn recovered(&mut self) {
        let me = self.me();
        let missing = |log: &HeldLog| log.receipts.get(&me).map_or(0, |r| r.size) < log.size();
        let mirrored = |id: &LogId, log: &HeldLog| id.division != me && log.frozen.is_none() && missing(log);
        let missing = self.view.logs.iter().filter(|(id, log)| mirrored(id, log)).map(|(id, _)| *id);
        // Nobody will tell anything of whoever is out of service.
        let retired = |id: &LogId| self.charter().node(id.division).is_none_or(|n| n.retired);
        let (due, unsaid): (Vec<_>, Vec<_>) = missing.partition(retired);
        (self.receipts_due, self.unsaid) = (due, unsaid.into_iter().collect());
    }

    /// The charter in the journal names a later epoch of this node than the one it started with: its keys from now on.
    pub fn adopt(&mut self, keys: Arc<NodeKeys>) {
        debug_assert_eq!(keys.node.division, self.me());
        self.view.own = keys.node;
        self.keys = keys;
        self.view.gate = Gate::default();
        self.judge_gate();
    }
}
