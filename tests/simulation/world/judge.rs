//! When the federation agrees, and whether every promise was kept.

use super::World;
use crate::oracle::logs_on;
use std::collections::BTreeSet;
use tally_core::Gate;
use tally_protocol::ids::Division;

impl World {
    /// Everything runs, everybody may sign, and every parent holds what its children hold.
    pub(super) fn quiet(&self) -> bool {
        let digests_agree = |code: &Division| {
            let mine = self.nodes[code].replica.as_ref();
            let above = self.charter().parent(*code).and_then(|p| self.nodes[&p].replica.as_ref());
            match (mine, self.charter().parent(*code), above) {
                (Some(_), None, _) => true,
                (Some(m), Some(_), Some(a)) => {
                    m.view().digest(*code) == a.view().digest(*code) && *m.view().gate() == Gate::Open
                }
                _ => false,
            }
        };
        self.nodes.keys().all(digests_agree)
    }

    pub(super) fn judge(&mut self) {
        let charter = self.charter.clone();
        for (code, node) in &self.nodes {
            self.oracle.check_disk(charter.charter(), node.disk.durable());
            let logs = logs_on(node.disk.durable());
            let own = logs.of(node.keys.node);
            // I1
            let held: BTreeSet<_> = own.iter().collect();
            for id in self.oracle.acknowledged.get(&node.keys.node).into_iter().flatten() {
                assert!(held.contains(id), "I1: {code} lost a record that it had acknowledged");
            }
            // I6
            let mut above = charter.charter().parent(*code);
            while let Some(a) = above {
                let theirs = logs_on(self.nodes[&a].disk.durable());
                assert_eq!(theirs.of(node.keys.node), own, "I6: {a} does not hold the log of {code} as it is");
                above = charter.charter().parent(a);
            }
        }
    }
}
