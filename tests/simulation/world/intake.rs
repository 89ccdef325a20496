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

    /// The answer is whether they are there already, or by which ticket they were taken; `None` if they were not.
    fn hand_in(&mut self, code: Division, records: Vec<Record>) -> Option<Option<Ticket>> {
        let node = self.nodes.get_mut(&code).expect("a node of the federation");
        let open = node.replica.as_ref().is_some_and(|r| r.view().closed().is_none());
        if !open || node.full {
            return None;
        }
        let fresh: Vec<_> = records.into_iter().filter(|r| node.known.insert(r.id().0)).collect();
        if fresh.is_empty() {
            return Some(None);
        }
        let ticket = Ticket(self.name());
        self.node(code).waiting.insert(ticket, fresh.iter().map(|r| r.id().0).collect());
        self.put(code, Input::Seal { ticket, records: fresh });
        Some(Some(ticket))
    }

    /// Records beyond the end of a closed epoch are handed in again, until they are durable.
    pub(super) fn carry_over(&mut self, code: Division) {
        while let Some(records) = self.nodes[&code].carry.first().cloned() {
            let Some(taken) = self.hand_in(code, records.clone()) else { return };
            let node = self.node(code);
            node.carry.remove(0);
            node.carrying.extend(taken.map(|ticket| (ticket, records)));
        }
    }
}
