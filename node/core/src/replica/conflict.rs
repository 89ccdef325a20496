//! Two histories of one log (I4): both checkpoints and the proof are kept, that log is frozen, the neighbours are told, all
//! other logs go on. Only what the log's own key signed can freeze it; what cannot be proved here is reported to people and no
//! more. How a fork is found is `heads`' to say.

use super::{Event, Output, Replica};
use crate::{Append, SignedHead, log::Frozen};
use tally_protocol::{
    fork::ForkEvidence,
    ids::{Division, LogId},
    limits::NOTE_BYTES_MAX,
    wire::Control,
};

impl Replica {
    /// Takes a neighbour's report of a conflict in a log of this node's or below it. It freezes the log if its evidence
    /// proves two histories. Its notes are judged like any head; what is left of it, people are told, if at least one note
    /// is signed.
    pub(super) fn on_conflict(
        &mut self,
        peer: Division,
        id: LogId,
        evidence: ForkEvidence,
        reason: &str,
        out: &mut Vec<Output>,
    ) {
        let from_above = self.charter().parent(self.me()) == Some(peer);
        let theirs = if from_above { self.me() } else { peer };
        let Some(key) = self.charter().log_key(id).filter(|_| self.charter().is_within(id.division, theirs)) else {
            return;
        };
        if evidence.verify(&key).is_ok() {
            self.freeze(id, evidence, format!("{peer} shows two histories of this log"), out);
            return;
        }
        let signed: Vec<_> = evidence.notes.iter().filter_map(|n| SignedHead::of_note(id, n, &key)).collect();
        if signed.is_empty() {
            return;
        }
        for head in signed {
            self.judge_signed(head, out);
        }
        if self.view.log(id).is_none_or(|l| l.frozen.is_none()) {
            let reason: String = format!("{peer} reports: {reason}").chars().take(300).collect();
            if self.view.reported.insert(id, reason.clone()).as_ref() != Some(&reason) {
                out.push(Output::Note(Event::ConflictReported { log: id, reason }));
            }
        }
    }

    /// Freezes a log with evidence that holds, and tells the parent and the branch below that leads to its origin.
    pub(super) fn freeze(&mut self, id: LogId, evidence: ForkEvidence, reason: String, out: &mut Vec<Output>) {
        debug_assert!(evidence.notes.iter().all(|n| n.len() <= NOTE_BYTES_MAX));
        let log = self.view.log_mut(id);
        if log.frozen.is_some() {
            return;
        }
        let frozen = Frozen { reason: reason.clone(), evidence: evidence.clone() };
        log.frozen = Some(frozen.clone());
        self.view.reported.remove(&id);
        self.judge_gate();
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
