//! Bundles: what a node would say to a neighbour, packed, carried by hand, and read in late, or twice.

use super::World;
use crate::oracle::Judgement;
use tally_core::{Entry, Input, Ticket};
use tally_protocol::{
    ids::{Division, LogId},
    wire::Head,
};
use tally_topology::{admit::admit, signed::SignedCharter};

#[derive(Debug, Clone)]
pub struct Bundle {
    charter: SignedCharter,
    heads: Vec<Head>,
    receipts: Vec<(LogId, u64, LogId, String)>,
    batches: Vec<(LogId, Vec<u8>)>,
}

impl World {
    pub(super) fn pack(&mut self, from: Division, to: Division) -> Judgement {
        let Some(lower) = self.lower(from, to) else { return Ok(()) };
        let node = &self.nodes[&from];
        let Some(replica) = &node.replica else { return Ok(()) };
        let within = |log: &LogId| replica.view().charter().is_within(log.division, lower);
        let (mut heads, mut receipts) = (Vec::new(), Vec::new());
        for (log, held) in replica.view().logs().iter().filter(|(log, l)| within(log) && l.size() > 0) {
            let (size, root) = (held.size(), held.tree().root());
            heads.push(Head { log: *log, size, root, note: held.note.clone() });
            for (holder, r) in &held.receipts {
                let holder = crate::federation::records_log(*holder, r.epoch);
                receipts.push((*log, r.size, holder, r.line.clone()));
            }
        }
        let mut batches = Vec::new();
        for frame in node.disk.durable().iter().filter(|f| f.harm.is_none()) {
            if let Entry::Batch { log, .. } = frame.append.entry()
                && within(log)
            {
                batches.push((*log, frame.append.body().to_vec()));
            }
        }
        heads.iter().try_for_each(|h| self.oracle.saw_head(h))?;
        let charter = replica.view().signed_charter().as_ref().clone();
        self.bundles.insert((from, to), Bundle { charter, heads, receipts, batches });
        Ok(())
    }

    /// As an import does it: charter, heads and receipts, and each batch that continues what is held.
    pub(super) fn unpack(&mut self, from: Division, to: Division) {
        let Some(bundle) = self.bundles.get(&(from, to)).cloned() else { return };
        let Some(replica) = &self.nodes[&to].replica else { return };
        if self.nodes[&to].full {
            return;
        }
        let newer = bundle.charter.charter().version() > replica.view().charter().version();
        let mut edges = std::collections::BTreeMap::new();
        let mut admitted = Vec::new();
        for (log, bytes) in bundle.batches {
            let edge = edges
                .entry(log)
                .or_insert_with(|| replica.view().logs().get(&log).map(|l| l.tree().clone()).unwrap_or_default());
            if let Ok(batch) = admit(replica.view().charter(), log, edge, bytes) {
                *edge = batch.tree().clone();
                admitted.push(batch);
            }
        }
        self.sum.bundles += 1;
        if newer {
            let ticket = Ticket(self.name());
            self.put(to, Input::Charter { ticket, note: bundle.charter.note().to_owned() });
        }
        for head in bundle.heads {
            self.hears_head(to, &head);
            self.put(to, Input::BundledHead { from, head });
        }
        for (log, size, holder, line) in bundle.receipts {
            self.put(to, Input::BundledReceipt { log, size, holder, line });
        }
        for batch in admitted {
            let ticket = Ticket(self.name());
            self.put(to, Input::Repair { ticket, batch });
        }
    }
}
