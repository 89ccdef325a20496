//! When the own log may be signed: what the gate is judged by, gathered from the parent, the children, the anchor and the
//! operator.

use super::{Event, Output, Replica};
use crate::{Gate, GateFacts, SignedHead, log::HeldLog};
use tally_protocol::{hash::Hash, ids::Division};

/// Who can say how far the own log has got, beside the parent.
#[derive(Debug, Default)]
pub(super) struct Answers {
    /// The head of the own log that the parent is sure of, since the start: size and root.
    pub(super) sure: Option<(u64, Hash)>,
    /// The largest head of the own log that the own key is known to have signed, while this disk has less.
    known: Option<SignedHead>,
    /// Direct children that have said hello since the start.
    children: std::collections::BTreeSet<Division>,
    /// The operator's word that this node has never signed anything before.
    first_start: bool,
    /// The operator has opened the gate, when so many records were known to be signed.
    word: Option<u64>,
    /// Kept outside of the disk by a node that carries bundles: how far the own log had got at least, and its root.
    anchor: Option<(u64, Hash)>,
}

impl Replica {
    /// The operator says that this node starts for the first time: nobody can have a record of its log.
    pub fn first_start(&mut self) {
        self.answers.first_start = true;
        self.judge_gate();
    }

    /// There is no link to the parent, by the operator's word: bundles are carried. `anchor` was kept outside of the disk.
    pub fn work_offline(&mut self, anchor: Option<(u64, Hash)>) {
        self.view.offline = true;
        self.answers.anchor = anchor;
        self.judge_gate();
    }

    /// The operator opens the gate where nobody can answer. The answer is why it cannot be opened, if so.
    pub(super) fn open_by_word(&mut self, reason: String, out: &mut Vec<Output>) -> Result<(), String> {
        if let Gate::Frozen = self.view.gate {
            return Err(self.view.closed().map_or_else(String::new, |why| why.to_string()));
        }
        let known = self.known_of_own();
        // Whoever opens it answers for the clock too, where nobody else can.
        self.clock.is_right();
        self.show_clock();
        self.answers.word = Some(known);
        self.view.opened_by_word = Some(reason.clone());
        out.push(Output::Note(Event::GateOpened { reason, held: self.held_of_own(), known }));
        self.judge_gate();
        Ok(())
    }

    /// A direct child has said hello.
    pub(super) fn child_answered(&mut self, child: Division) {
        self.answers.children.insert(child);
    }

    /// The own key has signed this head, and this disk has less.
    pub(super) fn own_is_known_at(&mut self, head: SignedHead, out: &mut Vec<Output>) {
        if self.answers.known.as_ref().is_some_and(|known| known.size() >= head.size()) {
            return;
        }
        out.push(Output::Note(Event::OldCopy { here: self.held_of_own(), there: head.size() }));
        self.answers.known = Some(head);
        self.judge_gate();
    }

    /// This disk has got as far as the largest head that was known: now it can be told whether that is this history.
    pub(super) fn compare_with_known(&mut self, out: &mut Vec<Output>) {
        let held = self.held_of_own();
        if let Some(known) = self.answers.known.take_if(|known| known.size() <= held) {
            self.judge_signed(known, out);
        }
    }

    /// Judges the gate by what is known now.
    pub(super) fn judge_gate(&mut self) {
        let held = self.held_of_own();
        let log = self.view.log(self.own());
        let facts = GateFacts {
            held,
            known: self.known_of_own(),
            confirmed: self.is_confirmed(),
            frozen: log.is_some_and(|l| l.frozen.is_some()),
        };
        self.view.gate.judge(facts, self.answers.word);
    }

    /// Records of the own log that are known to be signed, beside those on this disk.
    fn known_of_own(&self) -> u64 {
        let anchor = self.answers.anchor.map_or(0, |(size, _)| size);
        self.answers.known.as_ref().map_or(0, SignedHead::size).max(anchor)
    }

    /// Whether whoever can answer has answered, and holds nothing of the own log that is not here.
    fn is_confirmed(&self) -> bool {
        let has = |head| self.holds(self.own(), head);
        if self.view.offline {
            return self.answers.first_start || self.answers.anchor.is_some_and(has);
        }
        if self.charter().parent(self.me()).is_some() {
            return self.answers.sure.is_some_and(has);
        }
        let enrolled = self.charter().children(self.me()).filter(|n| !n.retired);
        let (all, answered) = enrolled.fold((0_usize, 0_usize), |(all, answered), n| {
            (all + 1, answered + usize::from(self.answers.children.contains(&n.division)))
        });
        all == 0 || self.answers.first_start || answered * 2 > all
    }

    fn held_of_own(&self) -> u64 {
        self.view.log(self.own()).map_or(0, HeldLog::size)
    }
}
