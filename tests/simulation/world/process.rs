//! Processes: they start from their disk alone, stop, and watch what makes them start again.

use super::World;
use crate::{
    federation::keys,
    oracle::{Judgement, Logs, logs::Counts},
};
use std::collections::BTreeSet;
use tally_core::{Entry, Input, Replica};
use tally_protocol::{batch::Batch, canonical::Object, ids::Division, merkle::Tree, record::Record};

impl World {
    /// A process starts: state from the disk alone, in the order in which the daemon does it.
    pub(super) fn start(&mut self, code: Division) -> Judgement {
        if self.nodes[&code].replica.is_some() {
            return Ok(());
        }
        self.new_on_disk(code)?;
        let node = self.nodes.get_mut(&code).expect("a node of the federation");
        let first = node.file.charter().current_log(code).expect("a node of its charter");
        let mut replica = Replica::new(keys(first), node.file.clone(), "sim".into());
        self.names += 1;
        replica.set_instance(u128::from(self.names).to_be_bytes());
        if node.disk.durable().is_empty() && !node.was_run {
            replica.first_start();
        }
        node.was_run = true;
        for (entry, place, by) in node.disk.recovered() {
            replica.recover(entry, place, by);
        }
        assert!(replica.edges_hold(), "{code} has to read its journal twice");
        replica.all_read();
        let mut carry = Vec::new();
        node.uncut.clear();
        for (log, size, place) in replica.view().overruns() {
            let edge = match place.map(|p| node.disk.head(p)) {
                None => Some((Tree::default(), String::new())),
                Some(Some(Entry::Batch { tree, note, .. })) if tree.size() == size => {
                    Some((tree.clone(), note.clone()))
                }
                Some(_) => None,
            };
            let Some((tree, note)) = edge else {
                node.uncut.insert(log);
                continue;
            };
            let beyond = replica.cut(log, tree, note);
            if log.division == code {
                carry.extend(beyond.into_iter().filter_map(|p| records(&node.disk.batch(p, 0)?)));
            }
        }
        replica.recovered();
        let own = replica.view().charter().current_log(code).expect("a node of its charter");
        node.keys = keys(own);
        if own != replica.view().own() {
            replica.adopt(node.keys.clone());
        }
        node.link = None;
        node.calls_after = 0;
        node.inbox.clear();
        node.waiting.clear();
        node.carry = carry;
        node.carrying.clear();
        node.heard.clear();
        node.replica = Some(replica);
        self.downs.retain(|(n, _)| *n != code);
        self.new_on_disk(code)?;
        let node = self.nodes.get_mut(&code).expect("a node of the federation");
        let replica = node.replica.as_ref().expect("it was made");
        // The index has seen what has been damaged since.
        let mut written = Logs::default();
        written.read_on(&node.disk, Counts::Written, &mut self.oracle.read)?;
        node.known.clear();
        for (log, held) in replica.view().logs().iter().filter(|(log, _)| log.division == code) {
            node.known.extend(written.of(*log).iter().take(held.size() as usize));
        }
        // Receipts for what reached the disk just before the last stop.
        self.round(code, 0, None)
    }

    /// The process stops; of what was not flushed the dice say how much stays.
    pub(super) fn stop(&mut self, code: Division, dice: u64) {
        let node = self.node(code);
        if node.replica.take().is_none() {
            return;
        }
        node.disk.lose_unflushed(dice);
        node.inbox.clear();
        node.waiting.clear();
        self.sum.crashes += 1;
        let theirs: Vec<_> =
            self.links.iter().filter(|(c, l)| **c == code || l.parent == code).map(|(c, _)| *c).collect();
        theirs.into_iter().for_each(|child| self.break_link(child));
    }

    fn restart(&mut self, code: Division) -> Judgement {
        self.node(code).disk.close();
        self.stop(code, 0);
        self.sum.crashes -= 1;
        self.start(code)
    }

    /// Time passes. Every timer is due; whoever has to start again does; the operator has the charter loaded at the top.
    pub(super) fn wait(&mut self, ms: u64) -> Judgement {
        self.now += ms;
        self.end_goodbyes();
        for code in self.codes() {
            let Some(replica) = &self.nodes[&code].replica else { continue };
            let overruns: BTreeSet<_> = replica.view().overruns().into_iter().map(|(log, ..)| log).collect();
            let next = replica.view().charter().current_log(code) != Some(replica.view().own());
            if next || !overruns.is_subset(&self.nodes[&code].uncut) {
                self.sum.epochs += u64::from(next);
                self.restart(code)?;
            }
            self.carry_over(code);
            if !self.nodes[&code].inbox.iter().any(|i| matches!(i, Input::Tick)) {
                self.put(code, Input::Tick);
            }
        }
        self.load_at_top();
        Ok(())
    }
}

fn records(bytes: &[u8]) -> Option<Vec<Record>> {
    let record = |bytes: &[u8]| Record::new(&Object::parse(bytes).ok()?).ok();
    Batch::decode(bytes).ok()?.records().ok()?.iter().map(record).collect()
}
