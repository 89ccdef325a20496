//! After the last step the faults stop, and everything that is no operator's work goes on by itself, fairly and without
//! chance, until the federation is at rest (I6) or too long has passed.

use super::{Node, ROUND_MAIL, Sum, World};
use crate::oracle::{Broken, Judgement};
use crate::step::Step;
use tally_protocol::{ids::Division, wire::Refusal};

/// The federation is at rest by then, in virtual milliseconds: a log that was refused often is tried again after 15 minutes.
const SETTLE_MS: u64 = 40 * 60 * 1_000;
/// Exchanges without passing of time; an honest federation falls silent long before.
const EXCHANGES: usize = 400;
/// Numbers of records that are handed in at the end.
const LAST_WORDS: u64 = 1 << 50;

impl World {
    /// Ends the run: everything is mended, must come to rest, must sign once more, and is judged.
    pub fn finish(mut self) -> Result<Sum, Broken> {
        self.mend()?;
        self.rest()?;
        for (n, code) in self.codes().into_iter().enumerate() {
            self.submit(code, &[LAST_WORDS + n as u64]);
        }
        self.rest()?;
        self.judge()?;
        // What an enemy says may have come over a link that was closed before, or from a branch that is not the log's.
        let unfound = if self.sum.lies == 0 { self.unfound()? } else { None };
        unfound.map_or(Ok(self.sum), |why| Err(Broken(why)))
    }

    /// Faults stop. What an operator does when he is called is done: machines run, clocks are right, disks have room.
    fn mend(&mut self) -> Judgement {
        self.cut.clear();
        self.bundles.clear();
        if let Some(enemy) = self.plan.enemy.take() {
            let of_enemy = |(c, l): (&Division, &super::Link)| (*c == enemy || l.parent == enemy).then_some(*c);
            let links: Vec<_> = self.links.iter().filter_map(of_enemy).collect();
            links.into_iter().for_each(|child| self.break_link(child));
        }
        for code in self.codes() {
            let node = self.node(code);
            (node.full, node.skew_ms, node.disk.lies) = (false, 0, false);
            self.start(code)?;
        }
        Ok(())
    }

    pub fn rest(&mut self) -> Judgement {
        let begun = self.now;
        for turn in 0_u64.. {
            self.exchange()?;
            if turn % 8 == 3 {
                self.mend_disks()?;
                self.end_lost_logs()?;
            }
            let Some(why) = self.restless()? else { return Ok(()) };
            if self.now - begun > SETTLE_MS {
                return Err(Broken(why));
            }
            self.wait(if turn < 30 { 500 } else { 5_000 })?;
        }
        Ok(())
    }

    /// What is due now: everybody listens, works, and, if so, calls. Nothing when nobody has anything to do.
    pub fn due(&self, dial: bool) -> Vec<Step> {
        let mut due: Vec<_> = self.downs.iter().map(|(node, _)| Step::Hear { node: *node }).collect();
        for (child, link) in &self.links {
            let streams = link.streams.iter().filter(|(_, queue)| !queue.is_empty());
            let all = streams.map(|((up, stream), _)| (*up, *stream));
            due.extend(all.map(|(up, stream)| Step::Deliver { child: *child, up, stream, count: 255, twice: false }));
        }
        let alone = |n: &Node| dial && n.replica.is_some() && n.link.is_none();
        due.extend(self.nodes.iter().filter(|(_, n)| alone(n)).map(|(node, _)| Step::Dial { node: *node }));
        let waits = self.nodes.values().any(|n| !n.inbox.is_empty());
        if waits || !due.is_empty() {
            let mails = ROUND_MAIL as u8;
            due.extend(self.nodes.keys().map(|node| Step::Round { node: *node, mails, crash: None }));
        }
        due
    }

    fn exchange(&mut self) -> Judgement {
        for n in 0..EXCHANGES {
            let due = self.due(n == 0);
            if due.is_empty() {
                break;
            }
            due.iter().try_for_each(|step| self.apply(step))?;
        }
        Ok(())
    }

    /// Each node verifies itself and repairs what it lacks, as it does on a schedule.
    fn mend_disks(&mut self) -> Judgement {
        let damaged: Vec<_> = self.nodes.iter().filter(|(_, n)| n.disk.is_damaged()).map(|(d, _)| *d).collect();
        for code in damaged {
            self.survey(code)?;
            self.put(code, tally_core::Input::Resave);
            self.round(code, ROUND_MAIL, None)?;
            for from in self.neighbours(code) {
                self.repair(code, from)?;
                self.round(code, ROUND_MAIL, None)?;
            }
        }
        // A node that was off while its parent's key changed does not know the new one: its operator loads the charter.
        for code in self.codes() {
            let refused = self.nodes[&code].replica.as_ref().and_then(|r| r.view().parent().refused.clone());
            if refused.is_some_and(|(why, _)| why == Refusal::Identity) {
                self.load(code);
            }
        }
        Ok(())
    }
}
