//! The federation, its network and its faults, as a queue of events on virtual time.

mod faults;
mod forger;
mod judge;
mod network;
mod nodes;

use super::{
    disk::SimDisk,
    oracle::{Logs, Oracle},
    random::Rng,
};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};
use tally_core::{Input, LinkId, Replica, Ticket};
use tally_protocol::{
    hash::Hash,
    ids::{Division, Federation, LogId},
    keys::{Algorithm, NodeKeys, Signer, authority_signer},
    wire::Control,
};
use tally_topology::{
    charter::{Charter, epoch_entry, heading},
    signed::{SignedCharter, sign},
};

/// (division, level, parent)
const NODES: [(&str, &str, &str); 7] = [
    ("350000", "province", ""),
    ("350100", "prefecture", "350000"),
    ("350200", "prefecture", "350000"),
    ("350102", "county", "350100"),
    ("350103", "county", "350100"),
    ("350203", "county", "350200"),
    ("350128", "county", "350000"),
];
/// Faults happen until here, in virtual milliseconds; then everything is mended.
const FAULTS_MS: u64 = 60_000;
/// The federation must agree by then.
const END_MS: u64 = FAULTS_MS + 300_000;
const START_MS: u64 = 1_790_000_000_000;

#[derive(Debug, Clone, Copy)]
pub struct Plan {
    /// One disk is replaced by an old copy of itself.
    pub set_back: bool,
}

#[derive(Debug, Default, Clone, Copy)]
pub struct Sum {
    pub acknowledged: u64,
    pub crashes: u64,
    pub cuts: u64,
    pub set_back: u64,
}

struct Node {
    keys: Arc<NodeKeys>,
    disk: SimDisk,
    /// What the oracle has read of the disk.
    logs: Logs,
    /// None while the process is down.
    replica: Option<Replica>,
    link_to_parent: Option<u64>,
    /// Ids of the own log, durable or on their way: what intake's index knows.
    known: BTreeSet<Hash>,
    waiting: BTreeMap<Ticket, Vec<Hash>>,
    skew_ms: u64,
}

struct Link {
    child: Division,
    parent: Division,
    /// When the last message of each stream arrives, so that streams keep their order.
    streams: BTreeMap<(bool, Option<LogId>), u64>,
}

enum Event {
    Tick(Division),
    Dial(Division),
    Submit(Division),
    Arrive { link: u64, up: bool, what: What },
    Taken { link: u64, up: bool, log: LogId },
    Down { node: Division, link: u64 },
    Start(Division),
    Fault,
}

enum What {
    Control(Control),
    Batch(LogId, Vec<u8>),
}

pub struct World {
    rng: Rng,
    plan: Plan,
    now: u64,
    queue: BTreeMap<(u64, u64), Event>,
    order: u64,
    nodes: BTreeMap<Division, Node>,
    links: BTreeMap<u64, Link>,
    names: u64,
    cut: BTreeSet<(Division, Division)>,
    charter: SignedCharter,
    oracle: Oracle,
    content: u64,
    sum: Sum,
}

fn division(code: &str) -> Division {
    code.parse().unwrap()
}

impl World {
    pub fn new(seed: u64, plan: Plan) -> Self {
        let federation = Federation::try_from("sim.example".to_owned()).unwrap();
        let authority = Signer::new(federation.authority_name(), Algorithm::Ed25519, &[1; 32]);
        let successor = authority_signer(&federation, &[2; 32]);
        let mut text = heading(&federation, 1, successor.public());
        let mut rng = Rng(seed.wrapping_mul(0x2545_f491_4f6c_dd1d) ^ u64::from(plan.set_back));
        let mut nodes = BTreeMap::new();
        for (code, level, parent) in NODES {
            let node = LogId::records(division(code), 1);
            let mut secret = [9; 32];
            secret[..6].copy_from_slice(code.as_bytes());
            let keys = NodeKeys::derive(&federation, node, &secret);
            let parent = if parent.is_empty() { String::new() } else { format!("parent = \"{parent}\"\n") };
            text += &format!(
                "[[node]]\ndivision = \"{code}\"\nname = \"n\"\nlevel = \"{level}\"\naddresses = [\"h:1\"]\n{parent}{}",
                epoch_entry(&keys)
            );
            nodes.insert(
                node.division,
                Node {
                    keys: Arc::new(keys),
                    disk: SimDisk::new(),
                    logs: Logs::default(),
                    replica: None,
                    link_to_parent: None,
                    known: BTreeSet::new(),
                    waiting: BTreeMap::new(),
                    skew_ms: rng.below(4_000),
                },
            );
        }
        let charter = SignedCharter::open(&sign(&text, &authority).unwrap(), authority.public()).unwrap();
        let mut world = Self {
            rng,
            plan,
            now: 0,
            queue: BTreeMap::new(),
            order: 0,
            nodes,
            links: BTreeMap::new(),
            names: 0,
            cut: BTreeSet::new(),
            charter,
            oracle: Oracle::default(),
            content: 0,
            sum: Sum::default(),
        };
        for code in world.codes() {
            let at = world.rng.below(2_000);
            world.at(at, Event::Start(code));
            let at = world.rng.below(3_000);
            world.at(at, Event::Submit(code));
        }
        world.at(3_000, Event::Fault);
        world
    }

    fn codes(&self) -> Vec<Division> {
        self.nodes.keys().copied().collect()
    }

    fn charter(&self) -> &Charter {
        self.charter.charter()
    }

    fn at(&mut self, delay: u64, event: Event) {
        self.order += 1;
        self.queue.insert((self.now + delay, self.order), event);
    }

    fn faulty(&self) -> bool {
        self.now < FAULTS_MS
    }

    /// Runs to the end and checks everything.
    pub fn run(mut self) -> Sum {
        while let Some(((time, _), event)) = self.queue.pop_first() {
            self.now = time;
            self.apply(event);
            if self.now > FAULTS_MS && self.quiet() {
                break;
            }
            assert!(self.now < END_MS, "I6: no agreement {} s after the last fault", (END_MS - FAULTS_MS) / 1_000);
        }
        self.judge();
        self.sum
    }

    fn apply(&mut self, event: Event) {
        match event {
            Event::Start(code) => self.start(code),
            Event::Tick(code) => {
                if self.nodes[&code].replica.is_some() {
                    self.input(code, Input::Tick);
                    self.at(500, Event::Tick(code));
                }
            }
            Event::Dial(code) => self.dial(code),
            Event::Submit(code) => self.submit(code),
            Event::Arrive { link, up, what } => self.arrive(link, up, what),
            Event::Taken { link, up, log } => {
                let Some(l) = self.links.get(&link) else { return };
                let sender = if up { l.child } else { l.parent };
                self.input(sender, Input::Pushed { link: LinkId(link), log });
            }
            Event::Down { node, link } => {
                if self.nodes[&node].link_to_parent == Some(link) {
                    self.nodes.get_mut(&node).unwrap().link_to_parent = None;
                }
                self.input(node, Input::LinkDown { link: LinkId(link) });
            }
            Event::Fault => self.fault(),
        }
    }
}
