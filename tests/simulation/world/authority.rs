//! The authority signs charters; the operator loads them at the top, from where they are handed down.

use super::World;
use crate::{oracle::Judgement, step::Change};
use tally_core::{Input, Ticket};
use tally_protocol::{hash::sha256, ids::Division};

impl World {
    pub(super) fn decide(&mut self, change: Change) -> Judgement {
        let last = match change {
            Change::NextEpoch { node, dice } => {
                let log = self.federation.current(node);
                let top = self.federation.top();
                let logs = &mut self.node(top).logs;
                let ends = logs.ends(log);
                // Most epochs end where the top has got to.
                let at = if dice % 4 == 0 { ends.get(dice as usize / 4 % ends.len().max(1)) } else { ends.last() };
                Some(at.map_or((0, sha256(&[])), |size| (*size, logs.root(log, *size))))
            }
            _ => None,
        };
        // A new parent that has not caught up opens the gate of an old copy, or of a disk that has lost its end: `old_copy_under_a_new_parent`.
        let strict = self.must_show("old_copy_under_a_new_parent");
        if let Change::Move { node, .. } = change {
            let damaged = self.nodes.values().any(|n| n.disk.is_damaged());
            if (damaged || self.set_back.contains(&node)) && !strict {
                return Ok(());
            }
            self.moved.insert(node);
        }
        if !self.federation.change(change, last) {
            return Ok(());
        }
        self.sum.charters += 1;
        // The key of the next epoch comes with the charter that names it.
        if let Change::NextEpoch { node, .. } = change {
            self.node(node).file = self.federation.charter().clone();
            self.forgive(node)?;
        }
        self.load_at_top();
        Ok(())
    }

    /// Until it is in force there.
    pub(super) fn load_at_top(&mut self) {
        let top = self.federation.top();
        self.load(top);
    }

    pub(super) fn load(&mut self, code: Division) {
        let newest = self.federation.charter().clone();
        let Some(replica) = &self.nodes[&code].replica else { return };
        let behind = replica.view().charter().version() < newest.charter().version();
        if behind && !self.nodes[&code].inbox.iter().any(|i| matches!(i, Input::Charter { .. })) {
            let ticket = Ticket(self.name());
            self.put(code, Input::Charter { ticket, note: newest.note().to_owned() });
        }
    }
}
