//! A node's state from its journal, entry by entry. Nothing is believed because it is there: a batch or a freeze counts only
//! with a signature of its log's key.

use super::Replica;
use crate::{
    Entry, Gate, Place,
    log::{Frozen, HeldLog, Receipt},
};
use std::sync::Arc;
use tally_protocol::{checkpoint::Checkpoint, fork::ForkEvidence, ids::LogId, keys::NodeKeys, merkle::Tree};
use tally_topology::signed::SignedCharter;

impl Replica {
    /// Takes one entry of the journal and where it is kept, in journal order.
    pub fn recover(&mut self, entry: Entry, place: Place) {
        match entry {
            Entry::Batch { log, start, tree, sealed_at, note } => {
                // A frame's checksum is no proof of who wrote it: behind damage, a scan may find what looks like a
                // frame inside a record. Only a signed right edge counts.
                let Some(key) = self.charter().log_key(log) else {
                    // The charter that knows it may stand further behind, if it had to be written again.
                    self.unknown_log_entries.push((Entry::Batch { log, start, tree, sealed_at, note }, place));
                    return;
                };
                let signed = Checkpoint::open(&note, &key).ok();
                if signed.is_none_or(|c| (c.size, c.root) != (tree.size(), tree.root())) {
                    self.view.unproved += 1;
                    return;
                }
                // Out of order is in order: repaired batches stand behind, and the latest copy counts.
                let held = self.view.log_mut(log);
                if !held.put(start, tree, sealed_at, note.clone(), place) {
                    // Signed, and it contradicts what is there: a second history, which stops this log and no other.
                    let reason = format!("two histories are in this node's journal, from record {start} on");
                    let evidence = ForkEvidence::of([held.note.clone(), note], &key);
                    held.frozen.get_or_insert(Frozen { reason, evidence });
                    if log == self.own() {
                        self.view.gate.freeze();
                    }
                    return;
                }
                if log == self.own() {
                    self.last_sealed = self.last_sealed.max(sealed_at);
                }
            }
            Entry::Receipt { log, holder, size, time, line } => {
                let held = self.view.log_mut(log);
                held.keep_receipt(holder.division, (size, time, holder.epoch), place);
                held.receipt(holder.division, Receipt { size, time, epoch: holder.epoch, line });
            }
            Entry::Freeze { log, frozen } => {
                let key = self.charter().log_key(log);
                if !key.as_ref().is_some_and(|k| frozen.evidence.notes.iter().any(|n| Checkpoint::open(n, k).is_ok())) {
                    self.view.unproved += 1;
                    return;
                }
                self.view.log_mut(log).frozen = Some(frozen);
                if log == self.own() {
                    self.view.gate.freeze();
                }
            }
            Entry::Charter { note } => {
                // It follows the one in force, or is passed over: the file in the config may be newer.
                if let Ok(signed) = SignedCharter::open_next(&note, &self.view.charter) {
                    self.view.charter = signed.into();
                }
            }
        }
    }

    /// The journal has been read. What was of no known log is looked at again, under the last charter.
    pub fn all_read(&mut self) {
        for (entry, place) in std::mem::take(&mut self.unknown_log_entries) {
            self.recover(entry, place);
        }
        self.view.unproved += self.unknown_log_entries.len() as u64;
        self.unknown_log_entries.clear();
    }

    /// Cuts a log back to where the charter closed it; the answer is where the batches lie that do not count any more.
    pub fn cut(&mut self, id: LogId, tree: Tree, note: String) -> Vec<Place> {
        let beyond = self.view.logs.get_mut(&id).map(Arc::make_mut).map(|log| log.cut(tree, note)).unwrap_or_default();
        beyond.into_iter().map(|held| held.place).collect()
    }

    /// Ends recovery. Logs that reached the disk just before the stop get their receipts in the first round.
    pub fn recovered(&mut self) {
        let me = self.me();
        let missing = |log: &HeldLog| log.receipts.get(&me).map_or(0, |r| r.size) < log.size();
        let mirrored = |id: &LogId, log: &HeldLog| id.division != me && log.frozen.is_none() && missing(log);
        self.receipts_due = self.view.logs.iter().filter(|(id, log)| mirrored(id, log)).map(|(id, _)| *id).collect();
    }

    /// The charter in the journal names a later epoch of this node than the one it started with: its keys from now on.
    pub fn adopt(&mut self, keys: Arc<NodeKeys>) {
        debug_assert_eq!(keys.node.division, self.me());
        self.view.own = keys.node;
        self.keys = keys;
        let sealed = self.view.logs.get(&self.own()).and_then(|l| l.batches().map(|(_, held)| held.sealed_at).max());
        self.last_sealed = sealed.unwrap_or(0);
        self.view.gate = Gate::at_start(self.charter().parent(self.me()).is_some());
        if self.view.logs.get(&self.own()).is_some_and(|l| l.frozen.is_some()) {
            self.view.gate.freeze();
        }
    }
}
