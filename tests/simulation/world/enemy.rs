//! An enemy with a node's keys, on the link to a neighbour: it says what it wants, beside what the honest program says.

use super::{What, World, intake::record};
use crate::{federation, oracle::Judgement, step::Lie};
use std::collections::VecDeque;
use tally_core::Input;
use tally_protocol::{
    batch::{Batch, seal},
    checkpoint::Checkpoint,
    fork::ForkEvidence,
    hash::{Hash, sha256},
    ids::{Division, LogId},
    keys::NodeKeys,
    merkle::Tree,
    note,
    record::Record,
    wire::{Control, Head, Heartbeat, Refusal},
};

/// Numbers of records that nobody hands in.
const INVENTED: u64 = 1 << 40;

impl World {
    pub(super) fn enemy(&mut self, to: Division, lie: Lie, dice: u64) -> Judgement {
        let Some(enemy) = self.plan.enemy else { return Ok(()) };
        let Some(child) = self.lower(enemy, to).filter(|c| self.links.contains_key(c)) else { return Ok(()) };
        let up = child == enemy;
        let id = self.links[&child].id;
        self.sum.lies += 1;
        // The log that most lies are about: the lower one's own.
        let log = self.nodes[&child].keys.node;
        let victim = self.nodes[&to].keys.node;
        match lie {
            Lie::Close => self.break_link(child),
            Lie::Silence => {
                self.queue(child, (up, None)).clear();
            }
            Lie::Garbage => self.put(to, Input::Garbage { link: id, reason: "noise".into() }),
            Lie::HeadUnsigned | Lie::HeadBetween | Lie::HeadAhead | Lie::HeadOld | Lie::UnknownEpochs => {
                let heads = self.false_heads(to, log, lie, dice);
                self.say_first(child, up, heads);
            }
            Lie::SecondFrontier => {
                self.say(child, up, Control::Frontier { heads: Vec::new(), last: true });
            }
            Lie::Flood { pages } => (0..u64::from(pages)).for_each(|page| {
                let all: Vec<_> = self.federation.logs().collect();
                let heads = all.into_iter().cycle().take(500).map(|log| unsigned(log, page + dice % 1_000)).collect();
                self.say(child, up, Control::Frontier { heads, last: false });
            }),
            Lie::BatchGarbage => self.say_batch(child, up, log, dice.to_be_bytes().repeat(20)),
            Lie::BatchOfAnother => {
                let stranger = federation::records_log(federation::division(350_203), 1);
                let bytes = forged(&federation::keys(stranger), &Tree::default(), dice, 3);
                self.say_batch(child, up, stranger, bytes);
            }
            Lie::BatchForged => {
                let tree = self.tree(to, log);
                let thief = NodeKeys::derive(self.federation.charter().charter().federation(), log, &[77; 32]);
                self.say_batch(child, up, log, forged(&thief, &tree, dice, 2));
            }
            Lie::BatchAltered => {
                if let Some(bytes) = self.altered(to, log, dice) {
                    self.say_batch(child, up, log, bytes);
                }
            }
            Lie::Fork | Lie::ForkElsewhere | Lie::ForkUnshown => self.fork(child, up, lie, dice),
            Lie::ReceiptGarbage | Lie::ReceiptAhead | Lie::ReceiptElsewhere => {
                let message = self.false_receipt(enemy, to, log, lie, dice);
                self.say(child, up, message);
            }
            Lie::ConflictEmpty => self.conflict(child, up, victim, [String::new(), String::new()]),
            Lie::ConflictGarbage => self.conflict(child, up, victim, ["not a note\n".into(), "x".repeat(9_000)]),
            Lie::ConflictSame => {
                let replica = self.nodes[&to].replica.as_ref();
                let note = replica.and_then(|r| r.view().logs().get(&log)).map(|l| l.note.clone()).unwrap_or_default();
                self.conflict(child, up, log, [note.clone(), note]);
            }
            Lie::Reject => {
                let (code, reason) = (Refusal::Gap, "no".repeat(400));
                self.say(child, up, Control::Reject { log, start: dice % 50, code, reason });
            }
            Lie::Busy => self.say(child, up, Control::Busy { retry_after_ms: u64::MAX }),
            Lie::Refused => {
                self.say(child, up, Control::Refused { code: Refusal::Identity, reason: "never ".repeat(2_000) });
            }
            Lie::Clock => {
                let beat = Heartbeat {
                    clock_ms: u64::MAX,
                    records: u64::MAX,
                    digest: Some(Hash([7; 32])),
                    echo: None,
                    above_ms: Some(i64::MIN),
                };
                self.say(child, up, Control::Heartbeat(beat));
            }
            Lie::Charter => self.say(child, up, Control::Charter { note: "format = 1\n".repeat(50) }),
            Lie::WrongSide if up => self.say(child, up, Control::Busy { retry_after_ms: 1 }),
            Lie::WrongSide => self.say(child, up, Control::Fetch { log, from: 0 }),
        }
        Ok(())
    }

    fn queue(&mut self, child: Division, stream: super::Stream) -> &mut VecDeque<What> {
        self.links.get_mut(&child).expect("the link was looked for").streams.entry(stream).or_default()
    }

    fn say(&mut self, child: Division, up: bool, message: Control) {
        self.queue(child, (up, None)).push_back(What::Control(message));
    }

    fn conflict(&mut self, child: Division, up: bool, log: LogId, notes: [String; 2]) {
        let evidence = ForkEvidence { notes, root_at: None, proof: Vec::new() };
        self.say(child, up, Control::Conflict { log, evidence, reason: "because".repeat(100) });
    }

    fn say_batch(&mut self, child: Division, up: bool, log: LogId, bytes: Vec<u8>) {
        self.queue(child, (up, Some(log))).push_back(What::Batch(log, bytes));
    }

    /// In place of the honest frontier, if that is still on its way; the neighbour takes only one.
    fn say_first(&mut self, child: Division, up: bool, heads: Vec<Head>) {
        let message = Control::Frontier { heads, last: true };
        let queue = self.queue(child, (up, None));
        match queue.iter_mut().find(|w| matches!(w, What::Control(Control::Frontier { .. }))) {
            Some(honest) => *honest = What::Control(message),
            None => queue.push_back(What::Control(message)),
        }
    }

    /// The tree of a log as a node has it.
    fn tree(&self, code: Division, log: LogId) -> Tree {
        let mut tree = Tree::default();
        self.nodes[&code].logs.of(log).iter().for_each(|leaf| tree.push(*leaf));
        tree
    }

    fn false_heads(&mut self, to: Division, log: LogId, lie: Lie, dice: u64) -> Vec<Head> {
        let ends = self.nodes[&to].logs.ends(log);
        let size = self.nodes[&to].logs.of(log).len() as u64;
        let end = ends.get(dice as usize % ends.len().max(1)).copied();
        match (lie, end) {
            (Lie::HeadUnsigned, Some(end)) => vec![unsigned(log, end)],
            (Lie::HeadBetween, Some(end)) => {
                let between = (1..end).rev().find(|n| !ends.contains(n));
                between.map(|n| unsigned(log, n)).into_iter().collect()
            }
            (Lie::HeadOld, Some(end)) => {
                let root = self.node(to).logs.root(log, end);
                let note =
                    Checkpoint { origin: federation::origin(log), size: end, root }.seal(&federation::keys(log), 1);
                vec![Head { log, size: end, root, note }]
            }
            (Lie::UnknownEpochs, _) => {
                (10..60).map(|e| unsigned(federation::records_log(log.division, e), 9)).collect()
            }
            _ => vec![unsigned(log, size + 1 + dice % 1_000)],
        }
    }

    fn false_receipt(&mut self, enemy: Division, to: Division, log: LogId, lie: Lie, dice: u64) -> Control {
        let holder = self.nodes[&enemy].keys.node;
        let held = self.nodes[&to].logs.of(log).len() as u64;
        let size = if lie == Lie::ReceiptAhead { held + 1 + dice % 9 } else { held };
        let text = Checkpoint { origin: federation::origin(log), size, root: sha256(&[b"elsewhere"]) }.text();
        let line = match lie {
            Lie::ReceiptGarbage => "— nobody AAAA\n".to_owned(),
            _ => note::cosign_line(&text, dice, &federation::keys(holder).mirror),
        };
        Control::Receipt { log, size, holder, line }
    }

    /// The true note of a batch that comes next, with other records under it.
    fn altered(&mut self, to: Division, log: LogId, dice: u64) -> Option<Vec<u8>> {
        let size = self.nodes[&to].logs.of(log).len() as u64;
        let mut places = self.nodes.values().flat_map(|n| n.disk.durable());
        let real = places.find_map(|f| {
            let batch = Batch::decode(f.append.body()).ok().filter(|b| b.log == log && b.start == size)?;
            Some(((batch.end - batch.start) as usize, batch.note))
        });
        let (count, note) = real?;
        // Sealed by the true key over other records, and the true note put in place of its own, byte for byte as long.
        let mut bytes = forged(&federation::keys(log), &self.tree(to, log), dice, count);
        let own = Batch::decode(&bytes).ok()?.note;
        let at = bytes.windows(own.len()).position(|w| w == own.as_bytes()).filter(|_| own.len() == note.len())?;
        bytes[at..at + own.len()].copy_from_slice(note.as_bytes());
        Some(bytes)
    }

    /// The enemy's key signs another history than that on its disk.
    fn fork(&mut self, child: Division, up: bool, lie: Lie, dice: u64) {
        let (log, parent) = (self.nodes[&child].keys.node, self.links[&child].parent);
        let held = self.nodes[&parent].logs.of(log).len();
        if !up || held < 2 {
            return;
        }
        let other: Vec<_> = invented(dice, held + 4).collect();
        let batch = |before: usize, to: usize| {
            let mut tree = Tree::default();
            other[..before].iter().for_each(|r| tree.push(r.id().0));
            seal(&federation::keys(log), &tree, &other[before..to], super::START_MS / 1_000)
        };
        self.oracle.forged.insert(log);
        if lie == Lie::ForkUnshown {
            let bytes = batch(held, held + 4);
            (0..4).for_each(|_| self.say_batch(child, up, log, bytes.clone()));
        } else if lie == Lie::Fork {
            self.say_batch(child, up, log, batch(held - 1, held));
        } else {
            // A head of the second history, at a size where no batch of the first one ends.
            let ends = self.nodes[&parent].logs.ends(log);
            let Some(size) = (1..held as u64).rev().find(|n| !ends.contains(n)) else { return };
            let mut tree = Tree::default();
            other[..size as usize].iter().for_each(|r| tree.push(r.id().0));
            let checkpoint = Checkpoint { origin: federation::origin(log), size, root: tree.root() };
            let head = Head { log, size, root: tree.root(), note: checkpoint.seal(&federation::keys(log), 1) };
            self.say(child, up, Control::Frontier { heads: vec![head], last: true });
        }
    }
}

fn unsigned(log: LogId, size: u64) -> Head {
    Head { log, size, root: sha256(&[&size.to_be_bytes()]), note: "nobody signed this\n".into() }
}

fn invented(dice: u64, n: usize) -> impl Iterator<Item = Record> {
    (0..n as u64).map(move |i| record(INVENTED + dice % 1_000 * 10_000 + i))
}

fn forged(keys: &NodeKeys, tree: &Tree, dice: u64, n: usize) -> Vec<u8> {
    let records: Vec<_> = invented(dice, n).collect();
    seal(keys, tree, &records, super::START_MS / 1_000)
}
