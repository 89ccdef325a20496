//! The newest signed heads of the ancestors' own logs, as they were seen here.
//!
//! The log of the top, or of a parent, has few copies. So whoever is below remembers how far it had got, in the journal, and
//! says so in each hello: an ancestor that comes back with less learns that it is an old copy before it signs. A head counts
//! only with its log's signature; it changes no record.
//!
//! What is remembered of them has a bound, whatever a parent says: of the ancestors' logs of records in their epochs of today, two
//! heads each, with the log's own signature and no other line, some 300 bytes, are written at most once a minute.
//!
//! Of two heads only whoever holds the log can tell whether both are of one history. So beside the newest head the latest other
//! one is remembered: whichever of two machines with the key comes next is told of both.

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
    /// The newest.
    head: SignedHead,
    /// Size and time, POSIX milliseconds, of the last one that was written.
    kept: Option<(u64, u64)>,
    /// The latest other one, and whether it has to be written: it came after a newer one, as if the log had been set back.
    other: Option<(SignedHead, bool)>,
}

impl SeenHead {
    fn knows(&self, head: &Head) -> bool {
        let same = |seen: &SignedHead| (seen.size(), seen.root()) == (head.size, head.root);
        same(&self.head) || self.other.as_ref().is_some_and(|(other, _)| same(other))
    }
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
        let today = self.charter().current_log(head.log.division) == Some(head.log);
        let Some(key) = self.charter().log_key(head.log).filter(|_| above && today) else { return };
        if self.ancestors.get(&head.log).is_some_and(|seen| seen.knows(head)) {
            return;
        }
        let Some(signed) = SignedHead::open(head, &key).and_then(|head| head.bare(&key)) else { return };
        let head = signed.head().clone();
        self.remember_ancestor(signed, None);
        // What comes from below may be news above: the ancestor may be an old copy.
        if from_below && let Some(up) = self.view.parent.link.as_ref().filter(|l| l.welcomed) {
            let message = Control::Stands { log: head.log, head: Some(head), sure: false };
            out.push(Output::Send { link: up.id, message });
        }
    }

    /// An ancestor's head that was read back from the journal.
    pub(super) fn recover_ancestor(&mut self, head: &Head) {
        let Some(key) = self.charter().log_key(head.log) else { return };
        let Some(signed) = SignedHead::open(head, &key).and_then(|head| head.bare(&key)) else { return };
        let kept = (signed.size(), 0);
        self.remember_ancestor(signed, Some(kept));
    }

    /// `kept`: it comes from the journal.
    fn remember_ancestor(&mut self, head: SignedHead, kept: Option<(u64, u64)>) {
        let Some(seen) = self.ancestors.get_mut(&head.log()) else {
            self.ancestors.insert(head.log(), SeenHead { head, kept, other: None });
            return;
        };
        if head.size() > seen.head.size() {
            let before = std::mem::replace(&mut seen.head, head);
            seen.other = Some((before, false));
            seen.kept = kept.or(seen.kept);
        } else {
            seen.other = Some((head, kept.is_none()));
        }
    }

    /// For a hello: what was seen of the logs of those above, newest epochs first.
    pub(super) fn ancestor_heads(&self) -> Vec<Head> {
        let newest = self.seen_above().rev().map(|seen| &seen.head);
        let others = self.seen_above().rev().filter_map(|seen| Some(&seen.other.as_ref()?.0));
        newest.chain(others).take(ANCESTOR_HEADS_MAX).map(|h| h.head().clone()).collect()
    }

    fn seen_above(&self) -> impl DoubleEndedIterator<Item = &SeenHead> {
        let above = |log: &LogId| log.division != self.me() && self.charter().is_within(self.me(), log.division);
        self.ancestors.iter().filter(move |(log, _)| above(log)).map(|(_, seen)| seen)
    }

    /// Tells linked children how far the own log has got, and those above it. At each heartbeat.
    pub(super) fn tell_ancestors(&mut self, out: &mut Vec<Output>) {
        let own = self.view.log(self.own()).and_then(|log| head_of(self.own(), log));
        let above = self.seen_above().rev().take(ANCESTOR_HEADS_MAX).map(|seen| seen.head.head().clone());
        let heads: Vec<_> = own.into_iter().chain(above).collect();
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

    /// Writes heads that the journal has not: not more often than [`KEEP_EVERY_MS`] for each log.
    pub(super) fn keep_ancestors(&mut self, now_ms: u64, out: &mut Vec<Output>) {
        for seen in self.ancestors.values_mut() {
            let size = seen.head.size();
            let other = seen.other.as_mut().filter(|(_, due)| *due);
            let news = |kept: u64| kept < size || other.is_some();
            if seen.kept.is_none_or(|(kept, at)| news(kept) && now_ms.abs_diff(at) >= KEEP_EVERY_MS) {
                seen.kept = Some((size, now_ms));
                out.push(Output::Append(Append::seen(seen.head.head().clone())));
                // After the newest, so that it is read as the other one.
                if let Some((other, due)) = other {
                    *due = false;
                    out.push(Output::Append(Append::seen(other.head().clone())));
                }
            }
        }
    }

    /// Writes all of them again.
    pub(super) fn resave_ancestors(&self, out: &mut Vec<Output>) {
        for seen in self.ancestors.values() {
            let all = std::iter::once(&seen.head).chain(seen.other.as_ref().map(|(other, _)| other));
            out.extend(all.map(|head| Output::Append(Append::seen(head.head().clone()))));
        }
    }
}
