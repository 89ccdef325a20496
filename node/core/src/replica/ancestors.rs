//! The newest signed heads of the ancestors' own logs, as they were seen here.
//!
//! The log of the top, or of a parent, has few copies. So whoever is below remembers how far it had got, in the journal, and
//! says so in each hello: an ancestor that comes back with less learns that it is an old copy before it signs. A head counts
//! only with its log's signature; it changes no record.

use super::{Output, Replica, sure::head_of};
use crate::{Append, SignedHead};
use tally_protocol::{
    ids::LogId,
    limits::ANCESTOR_HEADS_MAX,
    wire::{Control, Head},
};

/// A newer head of the same log is written at most this often, in milliseconds: an old copy is days old, and each costs
/// some 300 bytes.
const KEEP_EVERY_MS: u64 = 60_000;

/// A head of an ancestor's log, and what of it is in the journal.
#[derive(Debug)]
pub(super) struct SeenHead {
    head: SignedHead,
    /// Size and time, POSIX milliseconds, of the last one that was written.
    kept: Option<(u64, u64)>,
}

impl Replica {
    /// Takes a head of the own log or of an ancestor's, from a hello or a message. One without signature, or of another log,
    /// says nothing.
    pub(super) fn on_ancestor_head(&mut self, head: &Head, from_below: bool, out: &mut Vec<Output>) {
        let above = head.log.division != self.me() && self.charter().is_within(self.me(), head.log.division);
        if head.log == self.own() {
            self.judge_head(head, out);
            return;
        }
        let Some(key) = self.charter().log_key(head.log).filter(|_| above) else { return };
        if self.ancestors.get(&head.log).is_some_and(|seen| seen.head.size() >= head.size) {
            return;
        }
        let Some(signed) = SignedHead::open(head, &key) else { return };
        let kept = self.ancestors.get(&head.log).and_then(|seen| seen.kept);
        self.ancestors.insert(head.log, SeenHead { head: signed, kept });
        // What comes from below may be news above: the ancestor may be an old copy.
        if from_below && let Some(up) = self.view.parent.link.as_ref().filter(|l| l.welcomed) {
            let message = Control::Stands { log: head.log, head: Some(head.clone()), sure: false };
            out.push(Output::Send { link: up.id, message });
        }
    }

    /// An ancestor's head that was read back from the journal.
    pub(super) fn recover_ancestor(&mut self, head: &Head) {
        let Some(signed) = self.charter().log_key(head.log).and_then(|k| SignedHead::open(head, &k)) else { return };
        let kept = Some((signed.size(), 0));
        let seen = SeenHead { head: signed, kept };
        if self.ancestors.get(&head.log).is_none_or(|old| old.head.size() < head.size) {
            self.ancestors.insert(head.log, seen);
        }
    }

    /// For a hello: what was seen of the logs of those above, newest epochs first.
    pub(super) fn ancestor_heads(&self) -> Vec<Head> {
        self.heads_above().rev().take(ANCESTOR_HEADS_MAX).map(|h| h.head().clone()).collect()
    }

    fn heads_above(&self) -> impl DoubleEndedIterator<Item = &SignedHead> {
        let above = |log: &LogId| log.division != self.me() && self.charter().is_within(self.me(), log.division);
        self.ancestors.iter().filter(move |(log, _)| above(log)).map(|(_, seen)| &seen.head)
    }

    /// Tells linked children how far the own log has got, and those above it. At each heartbeat.
    pub(super) fn tell_ancestors(&mut self, out: &mut Vec<Output>) {
        let own = self.view.log(self.own()).and_then(|log| head_of(self.own(), log));
        let heads: Vec<_> = own.into_iter().chain(self.ancestor_heads()).collect();
        for child in self.view.children.values_mut() {
            let Some(link) = child.link.as_mut().filter(|l| l.welcomed) else { continue };
            for head in &heads {
                if link.told_above.get(&head.log).is_none_or(|told| *told < head.size) {
                    link.told_above.insert(head.log, head.size);
                    let message = Control::Stands { log: head.log, head: Some(head.clone()), sure: false };
                    out.push(Output::Send { link: link.id, message });
                }
            }
        }
    }

    /// Writes heads that are newer than what the journal has: not more often than [`KEEP_EVERY_MS`] each.
    pub(super) fn keep_ancestors(&mut self, now_ms: u64, out: &mut Vec<Output>) {
        for seen in self.ancestors.values_mut() {
            let size = seen.head.size();
            let due = |(kept, at): (u64, u64)| kept < size && now_ms.abs_diff(at) >= KEEP_EVERY_MS;
            if seen.kept.is_none_or(due) {
                seen.kept = Some((size, now_ms));
                out.push(Output::Append(Append::seen(seen.head.head().clone())));
            }
        }
    }

    /// Writes all of them again.
    pub(super) fn resave_ancestors(&self, out: &mut Vec<Output>) {
        out.extend(self.ancestors.values().map(|seen| Output::Append(Append::seen(seen.head.head().clone()))));
    }
}
