//! After the last step the faults stop, and everything that is no operator's work goes on by itself, fairly and without
//! chance, until the federation is at rest (I6) or too long has passed.

use super::{Node, ROUND_MAIL, Sum, World};
use crate::oracle::{Broken, Judgement};
use crate::step::Step;
use tally_protocol::ids::Division;

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
        Ok(self.sum)
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
            // A fetch that met damage goes on with the next link only: `fetch_that_met_damage_stops`.
            if !self.must_show("fetch_that_met_damage_stops") {
                let below = self.links.iter().filter(|(_, l)| l.parent == code).map(|(child, _)| *child);
                below.collect::<Vec<_>>().into_iter().for_each(|child| self.break_link(child));
            }
        }
        // What a node could not learn by itself: `moved_away_while_off`.
        if !self.must_show("moved_away_while_off") {
            for code in self.codes() {
                if self.nodes[&code].link.is_none() {
                    self.load(code);
                }
            }
        }
        Ok(())
    }
}
