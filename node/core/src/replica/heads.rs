//! The one judge of heads, whoever tells them: a link, a refused batch, a bundle, a fetch, the own journal.
//!
//! Of two heads of a log, whoever holds the longer one can tell whether both are one history: from its records it computes
//! the root at the smaller size. If that is another root than the one that was signed, both notes and the consistency path
//! are the proof of a fork, and the log is frozen with it. Nothing less freezes a log. The core has no disk: it asks for the
//! root ([`Output::CompareHead`]) and keeps the head in doubt until the answer has come.

use super::{Output, Replica};
use crate::{HeadStanding, SignedHead, log::HeldLog};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use tally_protocol::{fork::ForkEvidence, hash::Hash, ids::LogId, wire::Head};

/// Heads of a log that are kept until as much of it is held: some 500 bytes each.
const AHEAD_MAX: usize = 4;
/// A root that could not be computed is asked for again after so many milliseconds.
const DOUBT_AGAIN_MS: u64 = 10_000;
/// Places inside batches of a log at which it is known to be the history of its neighbours: 40 bytes each.
const PROVEN_MAX: usize = 4;

/// Sizes at which no batch ends here and yet the history is known to be that of a signed head, with the root there.
#[derive(Debug, Default)]
pub(super) struct Proven(BTreeMap<LogId, VecDeque<(u64, Hash)>>);

impl Proven {
    /// The root of a log at a size inside one of its batches, if a head of that size was shown to be of this history.
    pub(super) fn root_at(&self, id: LogId, size: u64) -> Option<Hash> {
        self.0.get(&id)?.iter().find(|(at, _)| *at == size).map(|(_, root)| *root)
    }

    fn keep(&mut self, id: LogId, size: u64, root: Hash) {
        let known = self.0.entry(id).or_default();
        known.retain(|(at, _)| *at != size);
        if known.len() == PROVEN_MAX {
            known.pop_front();
        }
        known.push_back((size, root));
    }

    /// The log ends at `size` from now on.
    pub(super) fn cut(&mut self, id: LogId, size: u64) {
        self.0.entry(id).or_default().retain(|(at, _)| *at <= size);
    }
}

/// A signed head that may contradict what is held here.
#[derive(Debug)]
pub(super) struct DoubtedHead {
    head: SignedHead,
    /// The head held here against which the root is being computed: its size and note.
    against: Option<(u64, String)>,
    /// When it was asked for last, POSIX milliseconds.
    asked_ms: u64,
}

impl Replica {
    /// How a neighbour's head stands to what is held. `None`: it differs from what is held and nobody has signed it, or the
    /// charter in force does not know its log. A second history freezes the log.
    pub(super) fn judge_head(&mut self, head: &Head, out: &mut Vec<Output>) -> Option<HeadStanding> {
        let standing = self.compare(head.log, head.size, &head.root);
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
        let standing = self.compare(id, head.size(), &head.root());
        // Beyond the end of a closed epoch nothing counts.
        if self.charter().closed_at(id).is_some_and(|(last, _)| head.size() > last) {
            return Some(standing);
        }
        match standing {
            HeadStanding::Fork => self.freeze_on_notes(&head, out),
            HeadStanding::Unproved | HeadStanding::Hole => {
                self.doubted.entry(id).or_insert(DoubtedHead { head, against: None, asked_ms: 0 });
                self.resolve_doubt(id, out);
            }
            HeadStanding::TheyAreAhead if id == self.own() => self.own_is_known_at(head, out),
            HeadStanding::TheyAreAhead => self.keep_ahead(head),
            HeadStanding::Equal | HeadStanding::TheyAreBehind => {}
        }
        Some(standing)
    }

    fn compare(&self, id: LogId, size: u64, root: &Hash) -> HeadStanding {
        let empty = HeldLog::default();
        match self.view.log(id).unwrap_or(&empty).compare(size, root) {
            HeadStanding::Unproved | HeadStanding::Hole if self.holds(id, (size, *root)) => HeadStanding::TheyAreBehind,
            standing => standing,
        }
    }

    /// Whether the history held here leads to this root at this size, as far as is known.
    pub(super) fn holds(&self, id: LogId, (size, root): (u64, Hash)) -> bool {
        let empty = HeldLog::default();
        let ends = self.view.log(id).unwrap_or(&empty).root_at(size);
        ends.or_else(|| self.proven.root_at(id, size)) == Some(root)
    }

    /// Keeps a head of more than is held of a mirrored log. Those that can be judged soonest stay, lest a head far ahead keep
    /// others out.
    fn keep_ahead(&mut self, head: SignedHead) {
        let id = head.log();
        if !self.charter().is_within(id.division, self.me()) {
            return;
        }
        self.ahead.insert((id, head.size()), head);
        let of_log = || (id, 0)..=(id, u64::MAX);
        if self.ahead.range(of_log()).count() > AHEAD_MAX
            && let Some(furthest) = self.ahead.range(of_log()).next_back().map(|(at, _)| *at)
        {
            self.ahead.remove(&furthest);
        }
    }

    /// Logs have grown: heads that were ahead of them can be judged now.
    pub(super) fn compare_with_ahead(&mut self, grown: &BTreeSet<LogId>, out: &mut Vec<Output>) {
        for id in grown {
            let size = self.view.log(*id).map_or(0, HeldLog::size);
            let due: Vec<_> = self.ahead.extract_if((*id, 0)..=(*id, size), |_, _| true).collect();
            for (_, head) in due {
                self.judge_signed(head, out);
            }
        }
    }

    /// Asks for the root at the size of a head in doubt, once all records before it can be read.
    pub(super) fn resolve_doubt(&mut self, id: LogId, out: &mut Vec<Output>) {
        let Some(log) = self.view.log(id).filter(|l| l.is_whole()) else { return };
        let Some(doubt) = self.doubted.get_mut(&id).filter(|d| d.against.is_none()) else { return };
        if log.frozen.is_some() || doubt.head.size() > log.size() {
            self.doubted.remove(&id);
            return;
        }
        (doubt.against, doubt.asked_ms) = (Some((log.size(), log.note.clone())), self.now_ms);
        let (size, against) = (doubt.head.size(), log.size());
        out.push(Output::CompareHead { log: id, size, against, root: log.tree().root() });
    }

    /// The answer: the root at the size of the head in doubt, and the path from there to the head held here. `None`: it
    /// cannot be computed now, as when a read fails: it is asked for again after a while, when the log was repaired, or when the head
    /// is told again.
    pub(super) fn head_compared(
        &mut self,
        id: LogId,
        size: u64,
        shown: Option<(Hash, Vec<Hash>)>,
        out: &mut Vec<Output>,
    ) {
        let Some(doubt) = self.doubted.remove(&id) else { return };
        let DoubtedHead { head, against: Some((_, mine)), asked_ms } = doubt else { return };
        let (Some((root, path)), true) = (shown, head.size() == size) else {
            self.doubted.insert(id, DoubtedHead { head, against: None, asked_ms });
            return;
        };
        let same = root == head.root();
        if same {
            self.proven.keep(id, size, root);
        } else if let Some(key) = self.charter().log_key(id)
            && let Ok(evidence) = ForkEvidence::new([head.note().to_owned(), mine], Some((root, path)), &key)
        {
            let reason = format!("two histories were signed: they differ in the first {size} records");
            self.freeze(id, evidence, reason, out);
        }
        // The parent's head had to wait, for this answer or for its turn to be compared.
        let Some(up) = self.view.parent.link.as_mut() else { return };
        let link = up.id;
        if let Some(told) = up.unproved.remove(&id)
            && (same || told.size != size)
        {
            self.on_parent_head(link, &told, out);
        }
    }

    /// Asks again for what could not be computed a while ago.
    pub(super) fn retry_doubts(&mut self, now_ms: u64, out: &mut Vec<Output>) {
        let is_due = |d: &DoubtedHead| d.against.is_none() && now_ms.abs_diff(d.asked_ms) >= DOUBT_AGAIN_MS;
        let due: Vec<_> = self.doubted.iter().filter(|(_, d)| is_due(d)).map(|(id, _)| *id).collect();
        due.into_iter().for_each(|id| self.resolve_doubt(id, out));
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
