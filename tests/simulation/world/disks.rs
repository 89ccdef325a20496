//! Disks are damaged, read through, repaired, and replaced by old copies.

use super::World;
use crate::{disk::SimDisk, oracle::Judgement, step::Harm};
use std::collections::BTreeSet;
use tally_core::{Entry, Input, Place, Ticket, log::WholeCopy};
use tally_protocol::{
    hash::Hash,
    ids::{Division, LogId},
    merkle::Tree,
};
use tally_topology::admit::admit;

/// A good batch on a disk.
struct Good<'d> {
    start: u64,
    tree: &'d Tree,
    place: Place,
    bytes: &'d [u8],
}

fn good(disk: &SimDisk, log: LogId) -> impl Iterator<Item = Good<'_>> {
    disk.durable().iter().enumerate().filter(|(_, f)| f.harm.is_none()).filter_map(move |(i, f)| {
        match f.append.entry() {
            Entry::Batch { log: l, start, tree, .. } if *l == log => {
                Some(Good { start: *start, tree, place: Place(i as u64), bytes: f.append.body() })
            }
            _ => None,
        }
    })
}

impl World {
    /// The neighbours of a node, as the authority sees it.
    pub fn neighbours(&self, code: Division) -> Vec<Division> {
        let seats = &self.federation.seats;
        let below = seats.iter().filter(|(_, s)| s.parent == Some(code)).map(|(d, _)| *d);
        seats[&code].parent.into_iter().chain(below).collect()
    }

    /// Only what a neighbour can give back is damaged: what nobody else has is lost for good (design §4), and no fault of
    /// the core. A charter at the top has nobody above to come from.
    pub(super) fn damage(&mut self, code: Division, dice: u64, harm: Harm) -> Judgement {
        let frames = self.nodes[&code].disk.durable().len();
        if frames == 0 {
            return Ok(());
        }
        let at = (dice % frames as u64) as usize;
        let frame = self.nodes[&code].disk.durable()[at].clone();
        let may = match frame.append.entry() {
            _ if frame.harm.is_some() => false,
            // Only this disk can give it back: `cut_records_are_not_fetched`.
            Entry::Batch { log, start, .. } if self.federation.last(*log).is_some_and(|(last, _)| *start >= last) => {
                false
            }
            Entry::Batch { log, start, tree, .. } => {
                let whole = |n: &Division| good(&self.nodes[n].disk, *log).any(|g| (g.start, g.tree) == (*start, tree));
                self.neighbours(code).iter().any(whole)
            }
            Entry::Receipt { .. } => true,
            Entry::Charter { .. } | Entry::Freeze { .. } | Entry::Seen { .. } => false,
        };
        if may {
            self.sum.damaged += 1;
            self.node(code).disk.damage(at, harm);
        }
        Ok(())
    }

    /// Reads the whole disk and tells the core what of each log cannot be had from it.
    pub(super) fn survey(&mut self, code: Division) -> Judgement {
        let node = &self.nodes[&code];
        let Some(replica) = &node.replica else { return Ok(()) };
        let until = node.disk.until();
        let mut inputs = Vec::new();
        for (log, held) in replica.view().logs() {
            let mut copies: Vec<_> = good(&node.disk, *log)
                .map(|g| WholeCopy { start: g.start, end: g.tree.size(), root: g.tree.root(), place: g.place })
                .filter(|c| c.end <= held.size())
                .collect();
            copies.sort_by_key(|c| (c.end, c.place));
            let (mut missing, mut at) = (Vec::new(), 0);
            for copy in &copies {
                if copy.start > at {
                    missing.push((at, copy.start));
                }
                at = at.max(copy.end);
            }
            if at < held.size() {
                missing.push((at, held.size()));
            }
            inputs.push(Input::Surveyed { log: *log, missing, copies, from: Place(0), until });
        }
        inputs.into_iter().for_each(|input| self.put(code, input));
        Ok(())
    }

    /// Fetches from a neighbour what the core knows to be missing, admits it, and hands it in to be put back.
    pub(super) fn repair(&mut self, code: Division, from: Division) -> Judgement {
        let (node, other) = (&self.nodes[&code], &self.nodes[&from]);
        let Some(replica) = node.replica.as_ref().filter(|_| !node.full) else { return Ok(()) };
        let Some(lower) = self.lower(code, from).filter(|_| other.replica.is_some()) else { return Ok(()) };
        let mut found = Vec::new();
        for (log, held) in
            replica.view().logs().iter().filter(|(l, _)| replica.view().charter().is_within(l.division, lower))
        {
            let missing = held.missing();
            let lacks = |g: &Good<'_>| missing.iter().any(|(a, b)| *a < g.tree.size() && g.start < *b);
            for piece in good(&other.disk, *log).filter(lacks) {
                let ends = |g: Good<'_>| (g.tree.size() == piece.start).then(|| g.tree.clone());
                let known = good(&node.disk, *log).find_map(ends).or_else(|| good(&other.disk, *log).find_map(ends));
                let before = if piece.start == 0 { Some(Tree::default()) } else { known };
                let Some(before) = before else { continue };
                found.extend(admit(replica.view().charter(), *log, &before, piece.bytes.to_vec()).ok());
            }
        }
        for batch in found {
            let ticket = Ticket(self.name());
            self.put(code, Input::Repair { ticket, batch });
        }
        Ok(())
    }

    /// The machine is restored from an old backup. What only this disk held is gone, by the operator's own hand; what any
    /// other disk holds must come back.
    pub(super) fn set_back(&mut self, code: Division, dice: u64) -> Judgement {
        let damaged = self.nodes.values().any(|n| n.disk.is_damaged());
        if self.federation.seats[&code].parent.is_none() || damaged || self.nodes[&code].replica.is_none() {
            return Ok(());
        }
        self.sum.set_back += 1;
        self.stop(code, 0);
        self.new_on_disk(code)?;
        let node = self.node(code);
        let keep = dice % (node.disk.durable().len() as u64 + 1);
        node.disk.set_back(keep as usize);
        // Whoever restores a machine gives it the charter of today.
        self.node(code).file = self.federation.charter().clone();
        self.new_on_disk(code)?;
        for log in self.federation.logs().collect::<Vec<_>>() {
            let most = self.nodes.values().map(|n| n.logs.of(log).len() as u64).max().unwrap_or(0);
            self.oracle.forget_beyond(log, most);
        }
        // Another node's records may have lost their last copy, too.
        self.codes().into_iter().try_for_each(|code| self.forgive(code))
    }

    /// What can come back is on the node's own disk, or above and not beyond the end of a closed epoch. The rest is lost by
    /// the operator's hand, or the authority's.
    pub(super) fn forgive(&mut self, code: Division) -> Judgement {
        // Records beyond the end of a closed epoch come from the own disk or not at all: `cut_records_are_not_fetched`.
        if self.must_show("cut_records_are_not_fetched") {
            return Ok(());
        }
        self.read_intact(code)?;
        let mut left: BTreeSet<Hash> = BTreeSet::new();
        for log in self.federation.logs().filter(|l| l.division == code) {
            let last = self.federation.last(log).map_or(usize::MAX, |(last, _)| last as usize);
            left.extend(self.oracle.history(log).iter().take(last));
            left.extend(self.nodes[&code].intact.of(log));
        }
        if let Some(acknowledged) = self.oracle.acknowledged.get_mut(&code) {
            acknowledged.retain(|id| left.contains(id));
        }
        Ok(())
    }
}
