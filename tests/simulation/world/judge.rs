//! When the federation is at rest, and whether every promise was kept.

use super::World;
use crate::oracle::{Broken, Judgement, promise};
use std::collections::BTreeSet;
use tally_core::NotSealed;
use tally_protocol::{
    hash::Hash,
    ids::{Division, LogId},
};

impl World {
    /// Why the federation is not at rest; `None` when it is: every node in service signs, and everybody above holds the same
    /// logs as their origin, in good copies.
    pub(super) fn restless(&mut self) -> Result<Option<String>, Broken> {
        for code in self.codes() {
            self.read_intact(code)?;
        }
        for code in self.in_service() {
            let Some(replica) = &self.nodes[&code].replica else { return Ok(Some(format!("I6: {code} is down"))) };
            let own = self.nodes[&code].keys.node;
            let known_fork = self.oracle.forged.contains(&own);
            match replica.view().closed() {
                Some(NotSealed::Frozen(_)) if known_fork => {}
                Some(why) => return Ok(Some(format!("liveness: {code} does not sign: {why}"))),
                None => {}
            }
            if own != self.federation.current(code) {
                return Ok(Some(format!("liveness: {code} has not begun its epoch")));
            }
            let beyond = |log: &LogId| {
                let held = replica.view().logs().get(log).map_or(0, |l| l.size());
                self.federation.last(*log).is_some_and(|(last, _)| held > last)
            };
            if let Some(log) = self.federation.logs().find(beyond) {
                return Ok(Some(format!("I6: {code} goes on beyond the end of {log}")));
            }
            if !self.nodes[&code].carry.is_empty() || !self.nodes[&code].waiting.is_empty() {
                return Ok(Some(format!("I1: {code} has not handed everything in")));
            }
        }
        for (log, above) in self.mirrored() {
            let (there, here) = (self.nodes[&above].intact.of(log), self.part(log));
            let there = &there[..self.size(log, there.len())];
            if there != here {
                let (n, all) = (there.len(), here.len());
                return Ok(Some(format!("I6: {above} holds {n} records of {log} as they are, its origin {all}")));
            }
            if let Some(node) = self.without_receipt(log, above) {
                return Ok(Some(format!("I6: {node} knows no receipt of {above} for all of {log}")));
            }
        }
        Ok(None)
    }

    /// Who has no receipt of a level above for all of a log: its origin, or a node on the way from there. Whatever became of
    /// disks, it comes by itself, without more records.
    fn without_receipt(&self, log: LogId, above: Division) -> Option<Division> {
        let size = self.part(log).len() as u64;
        let way = std::iter::once(log.division).chain(self.federation.above(log.division));
        let below = way.take_while(|node| *node != above);
        let known = |node: Division| {
            let held = self.nodes[&node].replica.as_ref().and_then(|r| r.view().log(log));
            held.and_then(|l| l.receipts.get(&above)).is_some_and(|r| r.size == size)
        };
        let in_service = |node: &Division| !self.federation.seats[node].retired;
        below.filter(in_service).find(|node| size > 0 && !known(*node))
    }

    fn in_service(&self) -> Vec<Division> {
        self.federation.seats.iter().filter(|(_, s)| !s.retired).map(|(d, _)| *d).collect()
    }

    /// Logs that must be held above, and by whom.
    fn mirrored(&self) -> Vec<(LogId, Division)> {
        let logs = self.federation.logs().filter(|l| !self.federation.seats[&l.division].retired);
        let logs = logs.filter(|l| !self.oracle.forged.contains(l));
        logs.flat_map(|log| self.federation.above(log.division).into_iter().map(move |a| (log, a))).collect()
    }

    /// As much of a log as counts: nothing beyond where the charter closed it.
    fn size(&self, log: LogId, held: usize) -> usize {
        self.federation.last(log).map_or(held, |(last, _)| held.min(last as usize))
    }

    /// What the origin holds of its log.
    fn part(&self, log: LogId) -> &[Hash] {
        let own = self.nodes[&log.division].intact.of(log);
        &own[..self.size(log, own.len())]
    }

    pub(super) fn judge(&mut self) -> Judgement {
        for code in self.codes() {
            self.nodes[&code].logs.check()?;
            let logs: Vec<_> = self.federation.logs().filter(|l| l.division == code).collect();
            if self.oracle.forged.iter().any(|l| l.division == code) {
                continue;
            }
            let mut held = BTreeSet::new();
            for log in logs {
                // A node out of service may never have learned that its epoch was closed, and nobody repairs it: what it
                // has acknowledged is on some disk.
                if self.federation.seats[&code].retired {
                    held.extend(self.oracle.history(log));
                    continue;
                }
                for id in self.part(log) {
                    promise(held.insert(*id), || format!("I5: {code} holds a record in two epochs"))?;
                }
            }
            self.oracle.check_acknowledged(code, &held)?;
        }
        // Everybody above has a fork's evidence, and the log is frozen there.
        // In a random run the lie may have been lost on its way; then nobody knows.
        for log in &self.oracle.forged {
            let above = self.federation.above(log.division);
            let frozen = |code: &Division| {
                let replica = self.nodes[code].replica.as_ref();
                replica.and_then(|r| r.view().log(*log)).is_some_and(|l| l.frozen.is_some())
            };
            if self.plan.seed != 0 && !above.iter().any(frozen) {
                continue;
            }
            for code in above {
                let Some(replica) = &self.nodes[&code].replica else { continue };
                let frozen = replica.view().logs().get(log).is_some_and(|l| l.frozen.is_some());
                promise(frozen, || format!("I4: {code} does not know of the fork of {log}"))?;
            }
        }
        Ok(())
    }
}
