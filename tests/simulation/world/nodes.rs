//! Nodes: they start from their disk alone, take records in, and run rounds that a crash may end anywhere.

use super::{Event, START_MS, What, World};
use crate::{
    disk::{Crash, Fuse},
    oracle::logs_on,
};
use tally_core::{Event as Said, Input, Output, Replica, Ticket};
use tally_protocol::{canonical::Object, ids::Division, record::Record, wire::Control};

impl World {
    /// A process starts: state from the disk alone.
    pub(super) fn start(&mut self, code: Division) {
        let charter = self.charter.clone();
        let node = self.nodes.get_mut(&code).unwrap();
        if node.replica.is_some() {
            return;
        }
        let mut replica = Replica::new(node.keys.clone(), charter, "sim".into());
        // Every run is another instance, and the same in every simulation of this seed.
        replica.set_instance(((u128::from(code.code()) << 64) | u128::from(self.now)).to_le_bytes());
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

    pub(super) fn stop(&mut self, code: Division) {
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

    pub(super) fn record(&mut self) -> Record {
        // Now and then the same content again, here or at another node.
        let n = if self.rng.one_in(8) { self.rng.below(self.content + 1) } else { self.content + 1 };
        self.content = self.content.max(n);
        let json = format!("{{\"n\":\"{n}\"}}");
        Record::new(&Object::parse(json.as_bytes()).unwrap()).unwrap()
    }

    pub(super) fn submit(&mut self, code: Division) {
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
        let open = node.replica.as_ref().is_some_and(|r| r.view().closed().is_none());
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

    /// One round of a node, as the driver runs it; the fuse on its disk may end it anywhere.
    pub(super) fn input(&mut self, code: Division, input: Input) {
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

    pub(super) fn let_out(&mut self, code: Division, output: Output) {
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

    pub(super) fn witness(&mut self, code: Division, message: &Control) {
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
}
