//! Two histories of one log (I4): both checkpoints are kept, that log is frozen, the neighbours are told, all other logs go
//! on. Only what the log's own key signed can freeze it; what cannot be proved here is reported to people and no more.

use super::{Event, Output, Replica};
use crate::{
    Append,
    log::{Frozen, HeadStanding},
};
use tally_protocol::{
    checkpoint::Checkpoint,
    fork::ForkEvidence,
    ids::{Division, LogId},
    limits::NOTE_BYTES_MAX,
    wire::{Control, Head},
};

/// So many times the same checkpoint must fail before it is called a second history and not a passing fault.
const BAD_ROOTS_MAX: u32 = 3;

impl Replica {
    /// Freezes a log if a neighbour's head that contradicts it is signed by the log's key; otherwise nothing is proved.
    pub(super) fn freeze_on_conflict(&mut self, head: &Head, out: &mut Vec<Output>) {
        let Some(key) = self.charter().log_key(head.log) else { return };
        let signed = Checkpoint::open(&head.note, &key).is_ok_and(|c| (c.size, c.root) == (head.size, head.root));
        if !signed {
            return;
        }
        let reason = format!("two histories were signed: a neighbour holds another one of size {}", head.size);
        self.freeze_against(head.log, head.note.clone(), reason, out);
    }

    /// Takes a neighbour's report of a conflict. It freezes the log if the evidence, or a note against what is held here,
    /// proves two histories; otherwise people are told.
    pub(super) fn on_conflict(
        &mut self,
        peer: Division,
        id: LogId,
        evidence: ForkEvidence,
        reason: &str,
        out: &mut Vec<Output>,
    ) {
        let Some(key) = self.charter().log_key(id) else { return };
        let proved = evidence.verify(&key).is_ok();
        let notes = &evidence.notes;
        let opened: Vec<_> = notes.iter().filter_map(|n| Checkpoint::open(n, &key).ok()).collect();
        let held = self.view.logs.get(&id);
        let unseen = id == self.own() && opened.iter().any(|c| c.size > self.edge(id).size());
        let against_mine =
            opened.iter().any(|c| held.is_some_and(|l| l.compare(c.size, &c.root) == HeadStanding::Conflict));
        let contradicts = proved || against_mine;
        // Only what was opened is kept and passed on: the rest of a hostile message could be of any length.
        let mine = held.map_or(String::new(), |l| l.note.clone());
        let mut signed = notes.iter().filter(|n| Checkpoint::open(n, &key).is_ok()).cloned();
        let first = signed.next().unwrap_or_default();
        let second = signed.next().unwrap_or(mine);
        let evidence = if proved { evidence } else { ForkEvidence::of([first, second], &key) };
        if contradicts {
            self.freeze(id, evidence, format!("{peer} shows two histories of this log"), out);
        } else if unseen && self.view.gate.is_open() {
            // Whoever signed it has this node's key: a second copy of this node runs somewhere.
            let reason = format!("{peer} holds a checkpoint that this node's key signed and this node never did");
            self.freeze(id, evidence, reason, out);
        } else {
            // Nothing here contradicts the notes, so nothing is frozen; people are told.
            let reason: String = format!("{peer} reports: {reason}").chars().take(300).collect();
            out.push(Output::Note(Event::ConflictReported { log: id, reason: reason.clone() }));
            self.view.reported.insert(id, reason);
        }
    }

    /// Counts a checkpoint of the origin whose root does not continue what is held. A few in a row are no passing fault.
    pub(super) fn count_bad_root(&mut self, id: LogId, note: &str, out: &mut Vec<Output>) {
        let entry = self.bad_roots.entry(id).or_insert_with(|| (note.to_owned(), 0));
        if entry.0 != note {
            *entry = (note.to_owned(), 0);
        }
        entry.1 += 1;
        if entry.1 >= BAD_ROOTS_MAX {
            let reason = "its origin keeps sending a history that does not continue what it had signed".to_owned();
            self.freeze_against(id, note.to_owned(), reason, out);
        }
    }

    /// Freezes a log with a note of its key that contradicts what is held here.
    pub(super) fn freeze_against(&mut self, id: LogId, note: String, reason: String, out: &mut Vec<Output>) {
        let Some(key) = self.charter().log_key(id) else { return };
        let mine = self.view.logs.get(&id).map_or(String::new(), |l| l.note.clone());
        self.freeze(id, ForkEvidence::of([mine, note], &key), reason, out);
    }

    /// Freezes a log with evidence, and tells the parent and the branch below that leads to its origin.
    fn freeze(&mut self, id: LogId, evidence: ForkEvidence, reason: String, out: &mut Vec<Output>) {
        debug_assert!(evidence.notes.iter().all(|n| n.len() <= NOTE_BYTES_MAX));
        let log = self.view.log_mut(id);
        if log.frozen.is_some() {
            return;
        }
        let frozen = Frozen { reason: reason.clone(), evidence: evidence.clone() };
        log.frozen = Some(frozen.clone());
        if id == self.own() {
            self.view.gate.freeze();
        }
        out.push(Output::Append(Append::freeze(id, frozen)));
        out.push(Output::Note(Event::Frozen { log: id, reason: reason.clone() }));
        let message = Control::Conflict { log: id, evidence, reason };
        if let Some(up) = self.view.parent.link.as_mut().filter(|l| l.welcomed) {
            if let Some(push) = up.pushes.get_mut(&id) {
                push.stop();
            }
            out.push(Output::Send { link: up.id, message: message.clone() });
        }
        let branch = self.charter().branch(id.division, self.me());
        let below =
            branch.and_then(|b| self.view.children.get(&b)).and_then(|c| c.link.as_ref()).filter(|l| l.welcomed);
        if let Some(below) = below {
            out.push(Output::Send { link: below.id, message });
        }
    }
}
