//! A county whose key signs a second history.

use super::{Event, FAULTS_MS, World, division};
use crate::oracle::logs_on;
use tally_core::{Input, LinkId, Ticket};
use tally_protocol::{batch, canonical::Object, record::Record};

impl World {
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
            let frozen = replica.view().logs()[&keys.node].frozen.as_ref();
            let frozen = frozen.unwrap_or_else(|| panic!("{code} has not frozen the log"));
            assert!(
                frozen.evidence.notes.iter().all(|n| n.contains(&keys.log.public().name().to_owned())),
                "evidence is kept"
            );
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

    pub(super) fn run_until(&mut self, time: u64) {
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
