//! A round, as the driver runs it: handle what waits, write, flush, and only then speak. A crash may end it anywhere.

use super::{ROUND_MAIL, START_MS, What, World};
use crate::{
    disk::Crash,
    oracle::{Broken, Judgement, bounds, logs::Counts, promise},
    step::CrashAt,
};
use tally_core::{Entry, Event, Input, Output};
use tally_protocol::{
    hash::Hash,
    ids::{Division, LogId},
    merkle::{FullTree, Tree, proof},
    wire::Control,
};

/// A clock that is off by no more than this is right, in milliseconds.
const CLOCK_IS_RIGHT_MS: u64 = 10 * 60 * 1_000;

impl World {
    pub(super) fn round(&mut self, code: Division, mails: usize, crash: Option<(CrashAt, u64)>) -> Judgement {
        let now = self.clock(code);
        let node = self.nodes.get_mut(&code).expect("a node of the federation");
        let Some(replica) = node.replica.as_mut() else { return Ok(()) };
        let mails = mails.min(ROUND_MAIL).min(node.inbox.len());
        let mut out = Vec::new();
        for input in node.inbox.drain(..mails) {
            replica.handle(now, input, &mut out);
        }
        node.disk.fuse = crash.map(|(at, _)| at);
        let finished = replica.commit(|| now, out, &mut node.disk);
        node.disk.fuse = None;
        self.sum.rounds += 1;
        self.sum.inputs += mails as u64;
        self.new_on_disk(code)?;
        let dice = crash.map_or(0, |(_, dice)| dice);
        let said = match finished {
            Ok(said) => said,
            Err(Crash) => {
                self.stop(code, dice);
                return self.new_on_disk(code);
            }
        };
        let (logs, nodes) = (self.federation.logs().count(), self.nodes.len());
        bounds::words(code, logs, nodes, mails, said.len())?;
        let until = if let Some((CrashAt::Said(n), _)) = crash { n as usize } else { usize::MAX };
        for (n, output) in said.into_iter().enumerate() {
            if n >= until {
                self.stop(code, dice);
                return self.new_on_disk(code);
            }
            self.let_out(code, output)?;
        }
        match &self.nodes[&code].replica {
            Some(replica) => bounds::memory(code, replica),
            None => Ok(()),
        }
    }

    /// The oracle reads what is durable now.
    pub(super) fn new_on_disk(&mut self, code: Division) -> Judgement {
        let node = self.nodes.get_mut(&code).expect("a node of the federation");
        let news = node.logs.read_on(&node.disk, Counts::Believed, &mut self.oracle.read)?;
        for batch in news {
            self.oracle.holds(batch.log, batch.start, &batch.leaves)?;
            // The index follows the journal, also in what is fetched.
            if batch.log == node.keys.node {
                node.known.extend(batch.leaves.iter());
            }
        }
        // A receipt counts from when it is written, whether or not anybody hears it.
        for frame in node.disk.durable().get(node.receipts_read..).unwrap_or_default() {
            if let Entry::Receipt { log, holder, size, line, .. } = frame.append.entry()
                && holder.division == code
            {
                self.oracle.saw_receipt(*log, *size, *holder, line, &mut node.logs)?;
            }
        }
        node.receipts_read = node.disk.durable().len();
        Ok(())
    }

    /// A batch that was sealed while the clock was right says when.
    fn check_date(&self, code: Division, start: u64) -> Judgement {
        let now = self.clock(code);
        let right = now.abs_diff(START_MS + self.now) <= CLOCK_IS_RIGHT_MS;
        let node = &self.nodes[&code];
        let mut frames = node.disk.durable().iter().rev().map(|f| f.append.entry());
        let sealed = frames.find_map(|entry| match entry {
            Entry::Batch { log, start: s, sealed_at, .. } if (*log, *s) == (node.keys.node, start) => Some(*sealed_at),
            _ => None,
        });
        let Some(sealed) = sealed.filter(|_| right) else { return Ok(()) };
        promise((sealed * 1_000).abs_diff(now) <= CLOCK_IS_RIGHT_MS + 1_000, || {
            format!("clock: {code} sealed at {sealed} while its clock said {}", now / 1_000)
        })
    }

    fn let_out(&mut self, code: Division, output: Output) -> Judgement {
        match output {
            Output::Send { link, message } => {
                self.witness(code, &message)?;
                self.send(code, link, None, What::Control(message));
            }
            Output::Push { log, place, .. } if place >= self.nodes[&code].disk.until() => {
                return promise(false, || format!("I2: {code} pushes a batch of {log} that is not on its disk"));
            }
            Output::Push { link, log, place, from } => match self.nodes[&code].disk.batch(place, from) {
                Some(bytes) => self.send(code, link, Some(log), What::Batch(log, bytes)),
                None => self.put(code, Input::PushFailed { link, log, reason: "damaged".into() }),
            },
            Output::Close { link, .. } => self.close(code, link),
            Output::Sealed { ticket, result } => {
                let node = self.node(code);
                let Some(ids) = node.waiting.remove(&ticket) else { return Ok(()) };
                let carried = node.carrying.remove(&ticket);
                let Ok((start, _)) = result else {
                    node.known.retain(|id| !ids.contains(id));
                    node.carry.extend(carried);
                    return Ok(());
                };
                self.sum.acknowledged += ids.len() as u64;
                self.oracle.acknowledged.entry(code).or_default().extend(ids);
                return self.check_date(code, start);
            }
            Output::Note(Event::Frozen { log, reason }) => return self.oracle.saw_freeze(code, log, &reason),
            Output::Repaired { result, .. } => self.sum.repaired += u64::from(result.is_ok()),
            Output::CompareHead { log, size, against, .. } => {
                let shown = self.show(code, log, size, against)?;
                self.put(code, Input::HeadCompared { log, size, shown });
            }
            Output::Note(_) | Output::CharterChanged | Output::CharterLoaded { .. } | Output::GateJudged { .. } => {}
            Output::Append(_) => return promise(false, || "I2: a frame came out of a round".into()),
        }
        Ok(())
    }

    /// The root of the first records of a log on this disk, and the path to more of them; `None` if they cannot be read.
    fn show(
        &mut self,
        code: Division,
        log: LogId,
        size: u64,
        against: u64,
    ) -> Result<Option<(Hash, Vec<Hash>)>, Broken> {
        self.read_intact(code)?;
        let leaves = self.nodes[&code].intact.of(log);
        let Some(leaves) = leaves.get(..against as usize) else { return Ok(None) };
        let mut tree = FullTree::default();
        leaves.iter().for_each(|leaf| tree.push(*leaf));
        let root = if size == 0 { Ok(Tree::default().root()) } else { proof::range_hash(&tree, 0, size) };
        let path = if size == 0 { Ok(Vec::new()) } else { proof::consistency(&tree, size, against) };
        Ok(root.ok().zip(path.ok()))
    }

    fn witness(&mut self, code: Division, message: &Control) -> Judgement {
        match message {
            Control::Receipt { log, size, holder, line } if holder.division == code => {
                let node = self.nodes.get_mut(&code).expect("a node of the federation");
                self.oracle.saw_receipt(*log, *size, *holder, line, &mut node.logs)
            }
            Control::Frontier { heads, .. } => heads.iter().try_for_each(|h| self.oracle.saw_head(h)),
            // Those below are told how far the logs above had got: they know it when the disk is lost.
            Control::Stands { head: Some(head), .. } => {
                self.oracle.was_told(head);
                Ok(())
            }
            _ => Ok(()),
        }
    }
}
