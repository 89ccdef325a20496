//! Heads that came in a bundle: judged as a head on a link is, except that nothing can be fetched or pushed because of it,
//! and that nobody is sure of it. A bundle has travelled, and may be old.

use super::{Output, Replica};
use tally_protocol::{
    fork::ForkEvidence,
    ids::{Division, LogId},
    wire::Head,
};

impl Replica {
    /// Takes a neighbour's report of two histories that came in a bundle, as one that comes on a link: it counts by its
    /// signatures alone, however old it is.
    pub(super) fn bundled_conflict(
        &mut self,
        from: Division,
        log: LogId,
        evidence: ForkEvidence,
        reason: &str,
        out: &mut Vec<Output>,
    ) {
        let neighbours =
            self.charter().parent(self.me()) == Some(from) || self.charter().parent(from) == Some(self.me());
        if neighbours {
            self.on_conflict(from, log, evidence, reason, out);
        }
    }

    /// Judges a neighbour's head that came in a bundle.
    pub(super) fn bundled_head(&mut self, from: Division, head: &Head, out: &mut Vec<Output>) {
        let from_above = self.charter().parent(self.me()) == Some(from);
        let from_below = self.charter().parent(from) == Some(self.me());
        let shared = match (from_above, from_below) {
            (true, _) => self.me(),
            (_, true) => from,
            _ => return,
        };
        if from_below {
            self.told_receipts(from);
            self.view.children.entry(from).or_default().carried_ms = Some(self.now_ms);
        }
        if self.charter().is_within(head.log.division, shared) {
            self.judge_head(head, out);
        } else {
            self.on_ancestor_head(head, from_below, out);
        }
    }
}
