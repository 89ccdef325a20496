//! The authority signs charters; the operator loads them at the top, from where they are handed down.

use super::World;
use crate::{oracle::Judgement, step::Change};
use tally_core::{Gate, Input, Ticket};
use tally_protocol::{
    hash::sha256,
    ids::{Division, LogId},
};

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
        if let Change::Move { node, .. } = change
            && !self.is_confirmed_at_the_top(node)
        {
            return Ok(());
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

    /// A move waits until the top holds what any disk holds of the node's logs, and of those below it.
    fn is_confirmed_at_the_top(&self, node: Division) -> bool {
        let within = |log: &LogId| log.division == node || self.federation.above(log.division).contains(&node);
        let top = &self.nodes[&self.federation.top()].logs;
        let logs: Vec<_> = self.federation.logs().filter(within).collect();
        logs.iter().all(|log| self.nodes.values().all(|n| n.logs.of(*log).len() <= top.of(*log).len()))
    }

    /// Where nobody has what a node's key is known to have signed, its log ends where the top has got to.
    pub(super) fn end_lost_logs(&mut self) -> Judgement {
        for node in self.codes() {
            let Some(replica) = &self.nodes[&node].replica else { continue };
            let Gate::Fetching(known) = *replica.view().gate() else { continue };
            let own = replica.view().own();
            let most = self.nodes.values().map(|n| n.logs.of(own).len() as u64).max().unwrap_or(0);
            if most < known && self.federation.current(node) == own {
                self.decide(Change::NextEpoch { node, dice: 1 })?;
            }
        }
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
