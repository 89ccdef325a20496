//! The one judge of heads, whoever tells them: a link, a refused batch, a bundle, a fetch, the own journal.
//!
//! Of two heads of a log, whoever holds the longer one can tell whether both are one history: from its records it computes
//! the root at the smaller size. If that is another root than the one that was signed, both notes and the consistency path
//! are the proof of a fork, and the log is frozen with it. Nothing less freezes a log. The core has no disk: it asks for the
//! root ([`Output::CompareHead`]) and keeps the head in doubt until the answer has come.

use super::{Output, Replica};
use crate::{HeadStanding, SignedHead, log::HeldLog};
use tally_protocol::{fork::ForkEvidence, hash::Hash, ids::LogId, wire::Head};

/// A signed head that may contradict what is held here.
#[derive(Debug)]
pub(super) struct DoubtedHead {
    head: SignedHead,
    /// The head held here against which the root is being computed: its size and note.
    against: Option<(u64, String)>,
}

impl Replica {
    /// How a neighbour's head stands to what is held. `None`: it differs from what is held and nobody has signed it, or the
    /// charter in force does not know its log. A second history freezes the log.
    pub(super) fn judge_head(&mut self, head: &Head, out: &mut Vec<Output>) -> Option<HeadStanding> {
        let empty = HeldLog::default();
        let standing = self.view.log(head.log).unwrap_or(&empty).compare(head.size, &head.root);
        // What is held here was signed when it was taken in.
        if matches!(standing, HeadStanding::Equal | HeadStanding::TheyAreBehind) {
            return Some(standing);
        }
        let signed = SignedHead::open(head, &self.charter().log_key(head.log)?)?;
        self.judge_signed(signed, out)
    }

    /// The same of a note of `log`, if its key has signed it: what a batch that is not taken may tell.
    pub(super) fn judge_note(&mut self, log: LogId, note: &str, out: &mut Vec<Output>) -> Option<HeadStanding> {
        let signed = SignedHead::of_note(log, note, &self.charter().log_key(log)?)?;
        self.judge_signed(signed, out)
    }

    pub(super) fn judge_signed(&mut self, head: SignedHead, out: &mut Vec<Output>) -> Option<HeadStanding> {
        let id = head.log();
        let empty = HeldLog::default();
        let standing = self.view.log(id).unwrap_or(&empty).compare(head.size(), &head.root());
        // Beyond the end of a closed epoch nothing counts.
        if self.charter().closed_at(id).is_some_and(|(last, _)| head.size() > last) {
            return Some(standing);
        }
        match standing {
            HeadStanding::Fork => self.freeze_on_notes(&head, out),
            HeadStanding::Unproved | HeadStanding::Hole => {
                self.doubted.entry(id).or_insert(DoubtedHead { head, against: None });
                self.resolve_doubt(id, out);
            }
            HeadStanding::TheyAreAhead if id == self.own() => self.own_is_known_at(head, out),
            HeadStanding::TheyAreAhead | HeadStanding::Equal | HeadStanding::TheyAreBehind => {}
        }
        Some(standing)
    }

    /// Asks for the root at the size of a head in doubt, once all records before it can be read.
    pub(super) fn resolve_doubt(&mut self, id: LogId, out: &mut Vec<Output>) {
        let Some(log) = self.view.log(id).filter(|l| l.is_whole()) else { return };
        let Some(doubt) = self.doubted.get_mut(&id).filter(|d| d.against.is_none()) else { return };
        if log.frozen.is_some() || doubt.head.size() > log.size() {
            self.doubted.remove(&id);
            return;
        }
        doubt.against = Some((log.size(), log.note.clone()));
        let (size, against) = (doubt.head.size(), log.size());
        out.push(Output::CompareHead { log: id, size, against, root: log.tree().root() });
    }

    /// The answer: the root at the size of the head in doubt, and the path from there to the head held here. `None`: it
    /// cannot be computed now; it is tried again when the log was repaired or the head is told again.
    pub(super) fn head_compared(
        &mut self,
        id: LogId,
        size: u64,
        shown: Option<(Hash, Vec<Hash>)>,
        out: &mut Vec<Output>,
    ) {
        let Some(doubt) = self.doubted.remove(&id) else { return };
        let DoubtedHead { head, against: Some((_, mine)) } = doubt else { return };
        let (Some((root, path)), true) = (shown, head.size() == size) else {
            self.doubted.insert(id, DoubtedHead { head, against: None });
            return;
        };
        if root == head.root() {
            return;
        }
        let Some(key) = self.charter().log_key(id) else { return };
        if let Ok(evidence) = ForkEvidence::new([head.note().to_owned(), mine], Some((root, path)), &key) {
            let reason = format!("two histories were signed: they differ in the first {size} records");
            self.freeze(id, evidence, reason, out);
        }
    }

    /// Freezes a log with a signed head of the size that is held here, and of another root.
    fn freeze_on_notes(&mut self, head: &SignedHead, out: &mut Vec<Output>) {
        let id = head.log();
        let Some(key) = self.charter().log_key(id) else { return };
        let mine = self.view.log(id).map_or(String::new(), |l| l.note.clone());
        if let Ok(evidence) = ForkEvidence::new([mine, head.note().to_owned()], None, &key) {
            let reason = format!("two histories were signed: there is another one of size {}", head.size());
            self.freeze(id, evidence, reason, out);
        }
    }
}
