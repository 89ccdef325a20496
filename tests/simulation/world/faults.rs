//! What goes wrong: processes stop, links break, paths are cut, and a disk is set back.

use super::{Event, FAULTS_MS, World};
use crate::oracle::logs_on;
use std::collections::BTreeSet;
use tally_protocol::{hash::Hash, ids::Division};

impl World {
    pub(super) fn fault(&mut self) {
        if !self.faulty() {
            self.cut.clear();
            return;
        }
        let wait = 500 + self.rng.below(4_000);
        self.at(wait, Event::Fault);
        let codes = self.codes();
        let any = codes[self.rng.below(codes.len() as u64) as usize];
        match self.rng.below(6) {
            0 | 1 if self.nodes[&any].replica.is_some() => self.stop(any),
            2 => {
                let links: Vec<_> = self.links.keys().copied().collect();
                if !links.is_empty() {
                    self.sum.cuts += 1;
                    let link = links[self.rng.below(links.len() as u64) as usize];
                    self.break_link(link);
                }
            }
            3 => {
                if let Some(parent) = self.charter().parent(any) {
                    self.sum.cuts += 1;
                    self.cut.insert((any, parent));
                    let broken =
                        self.links.iter().filter(|(_, l)| (l.child, l.parent) == (any, parent)).map(|(n, _)| *n);
                    for link in broken.collect::<Vec<_>>() {
                        self.break_link(link);
                    }
                }
            }
            4 => self.cut.clear(),
            5 if self.plan.set_back && self.sum.set_back == 0 && self.now > FAULTS_MS / 3 => self.set_back(any),
            _ => {}
        }
    }

    /// The machine is restored from an old backup. What only this disk held is gone, by the operator's own hand;
    /// everything that the parent held must come back.
    pub(super) fn set_back(&mut self, code: Division) {
        let Some(parent) = self.charter().parent(code) else { return };
        if self.nodes[&code].replica.is_none() {
            return;
        }
        self.sum.set_back += 1;
        self.stop(code);
        let own = self.nodes[&code].keys.node;
        let above: BTreeSet<Hash> = logs_on(self.nodes[&parent].disk.durable()).of(own).iter().copied().collect();
        self.oracle.forget_beyond(own, above.len() as u64);
        let keep = self.rng.below(self.nodes[&code].disk.durable().len() as u64 + 1) as usize;
        self.nodes.get_mut(&code).unwrap().disk.set_back(keep);
        let left: BTreeSet<Hash> = logs_on(self.nodes[&code].disk.durable()).of(own).iter().copied().collect();
        if let Some(acknowledged) = self.oracle.acknowledged.get_mut(&own) {
            acknowledged.retain(|id| above.contains(id) || left.contains(id));
        }
    }
}
