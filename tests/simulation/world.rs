//! The federation, its network and its disks: a function of a plan and steps.
//!
//! A node's inputs wait in its inbox; a round takes up to 64 of them, writes and flushes once, and only then speaks, as the
//! driver does. There is no chance in here: what happens next is the next step.

mod authority;
mod bundles;
mod disks;
mod enemy;
mod intake;
mod judge;
mod links;
mod machines;
mod process;
mod rounds;
mod settle;

use super::{
    disk::SimDisk,
    federation::Federation,
    known,
    oracle::{Broken, Judgement, Logs, Oracle, logs::Counts},
    step::{Plan, Step},
};
use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    sync::Arc,
};
use tally_core::{Input, LinkId, Replica, Ticket};
use tally_protocol::{
    hash::Hash,
    ids::{Division, LogId},
    keys::NodeKeys,
    record::Record,
    wire::Control,
};
use tally_topology::signed::SignedCharter;

/// The true time at the start, POSIX milliseconds.
pub const START_MS: u64 = 1_790_000_000_000;
/// Inputs that a round takes at most.
pub const ROUND_MAIL: usize = 64;

/// What happened, to show that something did.
#[derive(Debug, Default, Clone, Copy)]
pub struct Sum {
    pub acknowledged: u64,
    pub rounds: u64,
    pub inputs: u64,
    pub crashes: u64,
    pub breaks: u64,
    pub set_back: u64,
    pub charters: u64,
    pub epochs: u64,
    pub damaged: u64,
    pub repaired: u64,
    pub bundles: u64,
    pub lies: u64,
}

#[derive(Debug)]
pub struct Node {
    pub keys: Arc<NodeKeys>,
    pub disk: SimDisk,
    /// What the oracle has read of the disk.
    pub logs: Logs,
    /// So many frames were looked at for receipts.
    pub receipts_read: usize,
    /// The same of what can be read now.
    pub intact: Logs,
    /// None while the process is down.
    pub replica: Option<Replica>,
    pub inbox: VecDeque<Input>,
    /// The link to the parent, as far as this node knows.
    pub link: Option<LinkId>,
    /// Ids of the own logs, durable or on their way: what intake's index knows.
    pub known: BTreeSet<Hash>,
    pub waiting: BTreeMap<Ticket, Vec<Hash>>,
    /// Records beyond the end of a closed epoch, to be handed in again.
    pub carry: Vec<Vec<Record>>,
    /// Those of them that are on their way to disk.
    pub carrying: BTreeMap<Ticket, Vec<Record>>,
    /// Logs that could not be cut back at the last start.
    pub uncut: BTreeSet<LogId>,
    pub skew_ms: i64,
    /// The parent asked to be left alone until then, in true time.
    pub calls_after: u64,
    pub full: bool,
    /// The charter in the config file.
    pub file: SignedCharter,
    /// It has been started before: an empty disk is no first start then.
    pub was_run: bool,
    /// Signed heads that were told to this process: log, size and root.
    pub heard: BTreeSet<(LogId, u64, Hash)>,
}

impl Node {
    /// A machine that has never run.
    fn new(keys: Arc<NodeKeys>, file: SignedCharter) -> Self {
        Self {
            keys,
            disk: SimDisk::default(),
            logs: Logs::default(),
            intact: Logs::default(),
            receipts_read: 0,
            replica: None,
            inbox: VecDeque::new(),
            link: None,
            known: BTreeSet::new(),
            waiting: BTreeMap::new(),
            carry: Vec::new(),
            carrying: BTreeMap::new(),
            uncut: BTreeSet::new(),
            skew_ms: 0,
            calls_after: 0,
            full: false,
            file,
            was_run: false,
            heard: BTreeSet::new(),
        }
    }
}

#[derive(Debug)]
pub enum What {
    Control(Control),
    Batch(LogId, Vec<u8>),
}

/// A stream of a link: upward or not, and of which log; control has none.
pub type Stream = (bool, Option<LogId>);

#[derive(Debug)]
pub struct Link {
    pub id: LinkId,
    pub parent: Division,
    pub streams: BTreeMap<Stream, VecDeque<What>>,
    /// Somebody has closed it, the child if so: what that side had said still arrives.
    pub closing: Option<bool>,
}

#[derive(Debug)]
pub struct World {
    pub plan: Plan,
    pub now: u64,
    pub nodes: BTreeMap<Division, Node>,
    /// Second machines with a node's key, which are not on the network.
    pub twins: BTreeMap<Division, Node>,
    /// By child.
    pub links: BTreeMap<Division, Link>,
    /// Who has yet to learn that a link is down.
    pub downs: Vec<(Division, LinkId)>,
    pub cut: BTreeSet<Division>,
    pub federation: Federation,
    pub oracle: Oracle,
    pub bundles: BTreeMap<(Division, Division), bundles::Bundle>,
    names: u64,
    pub sum: Sum,
}

impl World {
    pub fn new(plan: Plan) -> Self {
        let federation = Federation::new();
        let keys = |d: &Division| super::federation::keys(federation.current(*d));
        let node = |d: &Division| Node::new(keys(d), federation.charter().clone());
        Self {
            nodes: federation.seats.keys().map(|d| (*d, node(d))).collect(),
            twins: BTreeMap::new(),
            plan,
            now: 0,
            links: BTreeMap::new(),
            downs: Vec::new(),
            cut: BTreeSet::new(),
            federation,
            oracle: Oracle::default(),
            bundles: BTreeMap::new(),
            names: 0,
            sum: Sum::default(),
        }
    }

    pub fn codes(&self) -> Vec<Division> {
        self.nodes.keys().copied().collect()
    }

    pub fn node(&mut self, code: Division) -> &mut Node {
        self.nodes.get_mut(&code).expect("a node of the federation")
    }

    /// Whether the run must show this fault of the core; all others put up with it.
    pub fn must_show(&self, fault: &str) -> bool {
        debug_assert!(known::KNOWN.iter().any(|k| k.name == fault), "{fault} is not in the list of known faults");
        self.plan.known.as_deref() == Some(fault)
    }

    fn name(&mut self) -> u64 {
        self.names += 1;
        self.names
    }

    /// What a node's clock shows.
    pub fn clock(&self, code: Division) -> u64 {
        (START_MS + self.now).saturating_add_signed(self.nodes[&code].skew_ms)
    }

    /// The node whose child is the other one, if one is.
    pub fn lower(&self, a: Division, b: Division) -> Option<Division> {
        match (self.federation.seats.get(&a)?.parent == Some(b), self.federation.seats.get(&b)?.parent == Some(a)) {
            (true, _) => Some(a),
            (_, true) => Some(b),
            _ => None,
        }
    }

    /// One step.
    pub fn apply(&mut self, step: &Step) -> Judgement {
        match *step {
            Step::Wait { ms } => self.wait(ms)?,
            Step::Start { node } => self.start(node)?,
            Step::Stop { node, dice } => self.stop(node, dice),
            Step::Round { node, .. } if self.nodes[&node].inbox.is_empty() => {}
            Step::Round { node, mails, crash } => self.round(node, usize::from(mails), crash)?,
            Step::Dial { node } => self.dial(node),
            Step::Deliver { child, up, stream, count, twice } => self.deliver(child, (up, stream), count, twice),
            Step::Break { child } => self.break_link(child),
            Step::Hear { node } => self.hear(node),
            Step::Cut { child } => {
                self.cut.insert(child);
                self.break_link(child);
            }
            Step::Heal => self.cut.clear(),
            Step::Submit { node, ref records } => self.submit(node, records),
            Step::Decide { change } => self.decide(change)?,
            Step::Damage { node, dice, harm } => self.damage(node, dice, harm)?,
            Step::Survey { node } => self.survey(node)?,
            Step::Repair { node, from } => self.repair(node, from)?,
            Step::Resave { node } => self.put(node, Input::Resave),
            Step::Pack { from, to } => self.pack(from, to)?,
            Step::Unpack { from, to } => self.unpack(from, to),
            Step::SetBack { node, dice } => self.set_back(node, dice)?,
            Step::Clock { node, skew_ms } => self.node(node).skew_ms = skew_ms,
            Step::Full { node, full } => self.node(node).full = full,
            Step::LyingDisk { node } => self.node(node).disk.lies = true,
            Step::Copy { node } => self.copy(node),
            Step::Swap { node } => self.swap(node)?,
            Step::Word { node } => self.word(node),
            Step::Enemy { to, lie, dice } => self.enemy(to, lie, dice)?,
        }
        Ok(())
    }

    /// Something waits for a node, if it runs.
    pub fn put(&mut self, code: Division, input: Input) {
        let node = self.node(code);
        if node.replica.is_some() {
            node.inbox.push_back(input);
        }
    }

    /// Reads on what of a disk is good now.
    pub fn read_intact(&mut self, code: Division) -> Judgement {
        let node = self.nodes.get_mut(&code).expect("a node of the federation");
        node.intact.read_on(&node.disk, Counts::Intact, &mut self.oracle.read)?;
        Ok(())
    }
}

/// Runs a plan with its steps to the end.
pub fn run(plan: &Plan, steps: &[Step]) -> Result<Sum, Broken> {
    let mut world = World::new(plan.clone());
    steps.iter().try_for_each(|step| world.apply(step))?;
    world.finish()
}
