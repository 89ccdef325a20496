//! Records are handed in: what the index knows is not sealed again, and while nothing may be sealed nothing is taken.

use super::World;
use tally_core::{Input, Ticket};
use tally_protocol::{canonical::Object, ids::Division, record::Record};

pub(super) fn record(number: u64) -> Record {
    let json = format!("{{\"n\":\"{number}\"}}");
    Record::new(&Object::parse(json.as_bytes()).expect("an object")).expect("a short record")
}

impl World {
    pub(super) fn submit(&mut self, code: Division, numbers: &[u64]) {
        let records = numbers.iter().map(|n| record(*n)).collect();
        self.hand_in(code, records);
    }

    /// The answer is whether they were taken, or are there already.
    fn hand_in(&mut self, code: Division, records: Vec<Record>) -> bool {
        let node = self.nodes.get_mut(&code).expect("a node of the federation");
        let open = node.replica.as_ref().is_some_and(|r| r.view().closed().is_none());
        if !open || node.full {
            return false;
        }
        let fresh: Vec<_> = records.into_iter().filter(|r| node.known.insert(r.id().0)).collect();
        if fresh.is_empty() {
            return true;
        }
        let ticket = Ticket(self.name());
        self.node(code).waiting.insert(ticket, fresh.iter().map(|r| r.id().0).collect());
        self.put(code, Input::Seal { ticket, records: fresh });
        true
    }

    /// Records beyond the end of a closed epoch are handed in again, until they are taken.
    pub(super) fn carry_over(&mut self, code: Division) {
        while let Some(records) = self.nodes[&code].carry.first().cloned() {
            if !self.hand_in(code, records) {
                return;
            }
            self.node(code).carry.remove(0);
        }
    }
}
