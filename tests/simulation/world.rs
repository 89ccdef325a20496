//! The federation, its network and its faults, as a queue of events on virtual time.

use super::{
    disk::{Crash, Fuse, SimDisk},
    oracle::{Logs, Oracle, logs_on},
};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};
use tally_core::Gate;
use tally_core::{Event as Said, Input, LinkId, Output, Replica, Ticket};
use tally_protocol::{
    batch,
    canonical::Object,
    hash::Hash,
    ids::{Division, Federation, LogId},
    keys::{Algorithm, NodeKeys, Signer},
    record::Record,
    wire::Control,
};
use tally_topology::{
    charter::Charter,
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

/// splitmix64: the whole run follows from the seed.
#[derive(Debug, Clone)]
pub struct Rng(u64);

impl Rng {
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
    pub fn below(&mut self, n: u64) -> u64 {
        self.next() % n.max(1)
    }
    fn one_in(&mut self, n: u64) -> bool {
        self.below(n) == 0
    }
}

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
    authority: Signer,
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
        let mut text = "format = 1\nfederation = \"sim.example\"\nversion = 1\n".to_owned();
        let mut rng = Rng(seed.wrapping_mul(0x2545_f491_4f6c_dd1d) ^ u64::from(plan.set_back));
        let mut nodes = BTreeMap::new();
        for (code, level, parent) in NODES {
            let node = LogId { division: division(code), epoch: 1 };
            let mut secret = [9; 32];
            secret[..6].copy_from_slice(code.as_bytes());
            let keys = NodeKeys::derive(&federation, node, &secret);
            let parent = if parent.is_empty() { String::new() } else { format!("parent = \"{parent}\"\n") };
            text += &format!(
                "[[node]]\ndivision = \"{code}\"\nname = \"n\"\nlevel = \"{level}\"\naddresses = [\"h:1\"]\n{parent}\
                 [[node.epoch]]\nepoch = 1\nlog = \"{}\"\nmirror = \"{}\"\nlink = \"{}\"\n",
                keys.log.public(),
                keys.mirror.public(),
                keys.link.public()
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
            authority,
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

    /// A process starts: state from the disk alone.
    fn start(&mut self, code: Division) {
        let charter = self.charter.clone();
        let authority = self.authority.public().clone();
        let node = self.nodes.get_mut(&code).unwrap();
        if node.replica.is_some() {
            return;
        }
        let mut replica = Replica::new(node.keys.clone(), authority, charter, "sim".into());
        for (entry, place) in node.disk.recovered() {
            replica.recover(entry, place);
        }
        replica.all_read();
        replica.recovered();
        node.logs = logs_on(node.disk.durable());
        node.known.clear();
        node.replica = Some(replica);
        node.link_to_parent = None;
        node.waiting.clear();
        self.at(0, Event::Tick(code));
        let wait = self.rng.below(1_500);
        self.at(wait, Event::Dial(code));
    }

    fn stop(&mut self, code: Division) {
        self.sum.crashes += 1;
        let node = self.nodes.get_mut(&code).unwrap();
        node.replica = None;
        node.disk.lose_unflushed(&mut self.rng);
        let theirs: Vec<_> =
            self.links.iter().filter(|(_, l)| l.child == code || l.parent == code).map(|(n, _)| *n).collect();
        for link in theirs {
            self.break_link(link);
        }
        let wait = 200 + self.rng.below(8_000);
        self.at(wait, Event::Start(code));
    }

    /// Both ends learn of it at times of their own; what is on its way is lost.
    fn break_link(&mut self, name: u64) {
        let Some(link) = self.links.remove(&name) else { return };
        for node in [link.child, link.parent] {
            let wait = self.rng.below(3_000);
            self.at(wait, Event::Down { node, link: name });
        }
    }

    fn dial(&mut self, code: Division) {
        if self.nodes[&code].replica.is_none() {
            return;
        }
        let wait = 300 + self.rng.below(2_000);
        self.at(wait, Event::Dial(code));
        let Some(parent) = self.charter().parent(code) else { return };
        let up = self.nodes[&parent].replica.is_some() && !self.cut.contains(&(code, parent));
        if self.nodes[&code].link_to_parent.is_some() || !up {
            return;
        }
        self.names += 1;
        let name = self.names;
        self.links.insert(name, Link { child: code, parent, streams: BTreeMap::new() });
        self.nodes.get_mut(&code).unwrap().link_to_parent = Some(name);
        let peer = self.nodes[&code].keys.node;
        self.input(parent, Input::ChildUp { link: LinkId(name), peer });
        self.input(code, Input::ParentUp { link: LinkId(name), parent });
    }

    fn record(&mut self) -> Record {
        // Now and then the same content again, here or at another node.
        let n = if self.rng.one_in(8) { self.rng.below(self.content + 1) } else { self.content + 1 };
        self.content = self.content.max(n);
        let json = format!("{{\"n\":\"{n}\"}}");
        Record::new(&Object::parse(json.as_bytes()).unwrap()).unwrap()
    }

    fn submit(&mut self, code: Division) {
        if !self.faulty() {
            return;
        }
        let wait = 100 + self.rng.below(1_500);
        self.at(wait, Event::Submit(code));
        if self.nodes[&code].replica.is_none() {
            return;
        }
        let n = 1 + self.rng.below(6);
        let records: Vec<_> = (0..n).map(|_| self.record()).collect();
        let node = self.nodes.get_mut(&code).unwrap();
        // What intake's index knows: all of the log that is durable, and what is on its way.
        node.logs.read_on(node.disk.durable());
        node.known.extend(node.logs.of(node.keys.node));
        let open = node.replica.as_ref().is_some_and(|r| r.closed().is_none());
        let fresh: Vec<_> = records.into_iter().filter(|r| open && node.known.insert(r.id().0)).collect();
        if fresh.is_empty() {
            return;
        }
        self.names += 1;
        let ticket = Ticket(self.names);
        let node = self.nodes.get_mut(&code).unwrap();
        node.waiting.insert(ticket, fresh.iter().map(|r| r.id().0).collect());
        self.input(code, Input::Seal { ticket, records: fresh });
    }

    fn arrive(&mut self, name: u64, up: bool, what: What) {
        let Some(link) = self.links.get(&name) else { return };
        let to = if up { link.parent } else { link.child };
        let link = LinkId(name);
        match what {
            What::Control(message) => self.input(to, Input::Control { link, message }),
            What::Batch(log, bytes) => {
                self.input(to, Input::Batch { link, log, bytes });
                let wait = self.rng.below(50);
                self.at(wait, Event::Taken { link: name, up, log });
            }
        }
    }

    /// One round of a node, as the driver runs it; the fuse on its disk may end it anywhere.
    fn input(&mut self, code: Division, input: Input) {
        let faulty = self.faulty();
        let fuse = match self.rng.below(if faulty { 400 } else { u64::MAX }) {
            n @ 0..3 => Fuse::Before(n as u32),
            n @ 3..6 => Fuse::After(n as u32 - 3),
            _ => Fuse::None,
        };
        let node = self.nodes.get_mut(&code).unwrap();
        let Some(replica) = node.replica.as_mut() else { return };
        node.disk.fuse = fuse;
        let now = START_MS + self.now + node.skew_ms;
        let mut out = Vec::new();
        replica.handle(now, input, &mut out);
        match replica.finish(now, out, &mut node.disk) {
            Ok(said) => said.into_iter().for_each(|o| self.let_out(code, o)),
            Err(Crash) => self.stop(code),
        }
    }

    fn let_out(&mut self, code: Division, output: Output) {
        match output {
            Output::Send { link, message } => {
                self.witness(code, &message);
                self.send(code, link.0, None, What::Control(message));
            }
            Output::Push { link, log, place } => {
                if let Some(bytes) = self.nodes[&code].disk.batch(place) {
                    self.send(code, link.0, Some(log), What::Batch(log, bytes));
                }
            }
            Output::Close { link, .. } => self.break_link(link.0),
            Output::Sealed { ticket, result } => {
                let node = self.nodes.get_mut(&code).unwrap();
                let Some(ids) = node.waiting.remove(&ticket) else { return };
                match result {
                    Ok(_) => {
                        self.sum.acknowledged += ids.len() as u64;
                        self.oracle.acknowledged.entry(node.keys.node).or_default().extend(ids);
                    }
                    Err(_) => ids.iter().for_each(|id| {
                        node.known.remove(id);
                    }),
                }
            }
            Output::Note(Said::Frozen { log, reason }) => {
                assert_eq!(self.oracle.forged, Some(log), "an honest log was called a fork at {code}: {reason}");
            }
            Output::Note(_) | Output::CharterChanged | Output::CharterLoaded { .. } | Output::PutBack { .. } => {}
            Output::Append(_) => panic!("a frame came out of finish()"),
        }
    }

    fn witness(&mut self, code: Division, message: &Control) {
        let charter = self.charter.clone();
        match message {
            Control::Receipt { log, size, holder, line } if holder.division == code => {
                let node = self.nodes.get_mut(&code).unwrap();
                node.logs.read_on(node.disk.durable());
                self.oracle.saw_receipt(charter.charter(), *log, *size, *holder, line, &node.logs);
            }
            Control::Frontier { heads, .. } => {
                heads.iter().for_each(|h| self.oracle.saw_checkpoint(charter.charter(), h.log, &h.note));
            }
            _ => {}
        }
    }

    fn send(&mut self, from: Division, name: u64, stream: Option<LogId>, what: What) {
        let now = self.now;
        let wait = 1 + self.rng.below(if self.rng.clone().one_in(10) { 1_500 } else { 60 });
        let Some(link) = self.links.get_mut(&name) else { return };
        let up = link.child == from;
        let last = link.streams.entry((up, stream)).or_insert(0);
        *last = (*last).max(now + wait);
        let delay = *last - now;
        self.at(delay, Event::Arrive { link: name, up, what });
    }

    fn fault(&mut self) {
        if !self.faulty() {
            self.cut.clear();
            return;
        }
        let wait = 500 + self.rng.below(4_000);
        self.at(wait, Event::Fault);
        let codes = self.codes();
        let any = codes[self.rng.below(codes.len() as u64) as usize];
        match self.rng.below(6) {
            0 | 1 if self.nodes[&any].replica.is_some() => self.stop(any),
            2 => {
                let links: Vec<_> = self.links.keys().copied().collect();
                if !links.is_empty() {
                    self.sum.cuts += 1;
                    let link = links[self.rng.below(links.len() as u64) as usize];
                    self.break_link(link);
                }
            }
            3 => {
                if let Some(parent) = self.charter().parent(any) {
                    self.sum.cuts += 1;
                    self.cut.insert((any, parent));
                    let broken =
                        self.links.iter().filter(|(_, l)| (l.child, l.parent) == (any, parent)).map(|(n, _)| *n);
                    for link in broken.collect::<Vec<_>>() {
                        self.break_link(link);
                    }
                }
            }
            4 => self.cut.clear(),
            5 if self.plan.set_back && self.sum.set_back == 0 && self.now > FAULTS_MS / 3 => self.set_back(any),
            _ => {}
        }
    }

    /// The machine is restored from an old backup. What only this disk held is gone, by the operator's own hand;
    /// everything that the parent held must come back.
    fn set_back(&mut self, code: Division) {
        let Some(parent) = self.charter().parent(code) else { return };
        if self.nodes[&code].replica.is_none() {
            return;
        }
        self.sum.set_back += 1;
        self.stop(code);
        let own = self.nodes[&code].keys.node;
        let above: BTreeSet<Hash> = logs_on(self.nodes[&parent].disk.durable()).of(own).iter().copied().collect();
        self.oracle.forget_beyond(own, above.len() as u64);
        let keep = self.rng.below(self.nodes[&code].disk.durable().len() as u64 + 1) as usize;
        self.nodes.get_mut(&code).unwrap().disk.set_back(keep);
        let left: BTreeSet<Hash> = logs_on(self.nodes[&code].disk.durable()).of(own).iter().copied().collect();
        if let Some(acknowledged) = self.oracle.acknowledged.get_mut(&own) {
            acknowledged.retain(|id| above.contains(id) || left.contains(id));
        }
    }

    /// Everything runs, everybody may sign, and every parent holds what its children hold.
    fn quiet(&self) -> bool {
        let digests_agree = |code: &Division| {
            let mine = self.nodes[code].replica.as_ref();
            let above = self.charter().parent(*code).and_then(|p| self.nodes[&p].replica.as_ref());
            match (mine, self.charter().parent(*code), above) {
                (Some(_), None, _) => true,
                (Some(m), Some(_), Some(a)) => m.digest(*code) == a.digest(*code) && *m.gate() == Gate::Open,
                _ => false,
            }
        };
        self.nodes.keys().all(digests_agree)
    }

    fn judge(&mut self) {
        let charter = self.charter.clone();
        for (code, node) in &self.nodes {
            self.oracle.check_disk(charter.charter(), node.disk.durable());
            let logs = logs_on(node.disk.durable());
            let own = logs.of(node.keys.node);
            // I1
            let held: BTreeSet<_> = own.iter().collect();
            for id in self.oracle.acknowledged.get(&node.keys.node).into_iter().flatten() {
                assert!(held.contains(id), "I1: {code} lost a record that it had acknowledged");
            }
            // I6
            let mut above = charter.charter().parent(*code);
            while let Some(a) = above {
                let theirs = logs_on(self.nodes[&a].disk.durable());
                assert_eq!(theirs.of(node.keys.node), own, "I6: {a} does not hold the log of {code} as it is");
                above = charter.charter().parent(a);
            }
        }
    }

    /// A county whose key also signs another history, which it pushes as if it were its own.
    pub fn run_with_a_forger(mut self) {
        let (county, city) = (division("350102"), division("350100"));
        let keys = self.nodes[&county].keys.clone();
        let records: Vec<_> = (0..9)
            .map(|n| Record::new(&Object::parse(format!("{{\"forged\":\"{n}\"}}").as_bytes()).unwrap()).unwrap())
            .collect();
        // Faults off: this scenario is about one thing.
        self.queue.retain(|_, e| !matches!(e, Event::Fault));
        self.now = FAULTS_MS;
        self.queue = std::mem::take(&mut self.queue).into_iter().map(|((t, o), e)| ((t + FAULTS_MS, o), e)).collect();
        self.run_until(FAULTS_MS + 10_000);
        let honest: Vec<_> = (0..4).map(|_| self.record()).collect();
        self.input(county, Input::Seal { ticket: Ticket(1), records: honest.clone() });
        self.run_until(FAULTS_MS + 20_000);
        let held = logs_on(self.nodes[&city].disk.durable()).of(keys.node).len();
        assert_eq!(held, honest.len(), "the honest history has arrived");

        self.oracle.forged = Some(keys.node);
        let mut other = tally_protocol::merkle::Tree::default();
        records[..held].iter().for_each(|r| other.push(r.id().0));
        let forged = batch::seal(&keys, &other, &records[held..], 1_790_000_000);
        let link = LinkId(self.nodes[&county].link_to_parent.expect("linked"));
        for _ in 0..3 {
            self.input(city, Input::Batch { link, log: keys.node, bytes: forged.clone() });
        }
        self.run_until(FAULTS_MS + 40_000);
        for code in [city, county] {
            let replica = self.nodes[&code].replica.as_ref().unwrap();
            let frozen = replica.logs()[&keys.node].frozen.as_ref();
            let frozen = frozen.unwrap_or_else(|| panic!("{code} has not frozen the log"));
            assert!(frozen.notes.iter().all(|n| n.contains(&keys.log.public().name().to_owned())), "evidence is kept");
        }
        // Nothing of the forgery is on a disk, and every other log goes on.
        assert_eq!(logs_on(self.nodes[&city].disk.durable()).of(keys.node).len(), held);
        let neighbour = division("350103");
        let more: Vec<_> = (0..3).map(|_| self.record()).collect();
        self.input(neighbour, Input::Seal { ticket: Ticket(2), records: more });
        self.run_until(FAULTS_MS + 60_000);
        let province = logs_on(self.nodes[&division("350000")].disk.durable());
        assert_eq!(province.of(self.nodes[&neighbour].keys.node).len(), 3);
    }

    fn run_until(&mut self, time: u64) {
        while let Some(entry) = self.queue.first_entry() {
            if entry.key().0 > time {
                break;
            }
            let ((now, _), event) = entry.remove_entry();
            self.now = now;
            self.apply(event);
        }
        self.now = time;
    }
}
