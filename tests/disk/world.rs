//! A city under test, its province above and two counties below: what they say to each other, and what is handed in.

use crate::{
    media::Media,
    nodes::{CITY, COUNTY, City, FORGER, Neighbour, PROVINCE, Who, charter, data, keys, log, reader, said},
    oracle::{Broken, Promises, hold, leaves},
    volume::RecordingVolume,
};
use std::collections::{BTreeMap, VecDeque};
use tally_core::{Entry, Event, Input, LinkId, NotSealed, Output, Place, Replica, Ticket};
use tally_protocol::{
    batch::{self, from_record},
    canonical::Object,
    hash::Hash,
    ids::LogId,
    merkle::Tree,
    record::Record,
    wire::Control,
};
use tally_tests::rng::Rng;

const START_MS: u64 = 1_790_000_000_000;

#[derive(Debug)]
pub struct World {
    pub rng: Rng,
    pub volume: RecordingVolume,
    pub promises: Promises,
    pub segment_bytes: u64,
    now: u64,
    /// None while the process is down.
    city: Option<City>,
    others: BTreeMap<Who, Neighbour>,
    /// Child and parent of each live link.
    links: BTreeMap<u64, (Who, Who)>,
    queue: VecDeque<(Who, Input)>,
    judged: std::cell::Cell<u64>,
    waiting: BTreeMap<Ticket, Vec<Hash>>,
    names: u64,
    content: u64,
    version: u64,
}

impl World {
    pub fn new(seed: u64) -> Self {
        let mut rng = Rng(seed.wrapping_mul(0x2545_f491_4f6c_dd1d));
        let volume = RecordingVolume::new(Media::new(&data()), seed);
        let segment_bytes = [6_000, 20_000, 60_000][rng.below(3) as usize];
        let others = [PROVINCE, COUNTY, FORGER].map(|who| (who, Neighbour::new(who)));
        Self {
            rng,
            volume,
            promises: Promises::default(),
            segment_bytes,
            now: START_MS,
            city: None,
            others: others.into(),
            links: BTreeMap::new(),
            queue: VecDeque::new(),
            judged: Default::default(),
            waiting: BTreeMap::new(),
            names: 0,
            content: 0,
            version: 1,
        }
    }

    pub fn runs(&self) -> bool {
        self.city.is_some()
    }

    /// Opens a disk as the city does, and holds it against what was promised. The answer is how many bytes were cut off.
    pub fn judge(&self, media: Media) -> Result<u64, Broken> {
        let volume = RecordingVolume::new(media, 0);
        let open = || City::open(&volume, self.segment_bytes).map_err(|e| Broken(format!("it does not start: {e}")));
        let city = open()?;
        self.promises.judge(&volume, &city)?;
        let cut = city.found.cut_bytes;
        drop(city);
        self.judged.set(self.judged.get() + 1);
        if !self.judged.get().is_multiple_of(4) {
            return Ok(cut);
        }
        // What the first start has put right the second one finds in order.
        let again = open()?;
        hold!(again.found.cut_bytes == 0, "a second start cuts {} bytes more", again.found.cut_bytes);
        self.promises.judge(&volume, &again)?;
        Ok(cut)
    }

    /// The city starts on the disk as it is. An error that it meets ends it, as it ends the process.
    pub fn start(&mut self) -> Result<(), Broken> {
        match City::open(&self.volume, self.segment_bytes) {
            Ok(city) => {
                self.promises.judge(&self.volume, &city)?;
                self.city = Some(city);
                self.round(CITY, Vec::new())
            }
            // Without power or with a fault, an error is an answer.
            Err(e) => {
                hold!(!self.volume.has_power() || self.volume.failed() > 0, "it does not start: {e}");
                Ok(())
            }
        }
    }

    /// The city starts on a disk that is known to be damaged.
    pub fn start_damaged(&mut self) -> Result<(), Broken> {
        let city = City::open(&self.volume, self.segment_bytes);
        self.city = Some(city.map_err(|e| Broken(format!("it does not start: {e}")))?);
        self.round(CITY, Vec::new())
    }

    /// Whether records of the city's own log are missing on its disk.
    pub fn own_log_lacks(&self) -> bool {
        self.city.as_ref().and_then(|c| c.replica.view().logs().get(&log(CITY))).is_some_and(|l| !l.is_whole())
    }

    /// The process has ended.
    pub fn end(&mut self) {
        self.city = None;
        self.waiting.clear();
        let theirs: Vec<_> = self.links.iter().filter(|(_, l)| l.0 == CITY || l.1 == CITY).map(|(n, _)| *n).collect();
        theirs.into_iter().for_each(|link| self.cut(link));
    }

    /// A crash: the disk is what it left.
    pub fn goes_on_with(&mut self, media: Media, seed: u64) {
        self.end();
        self.volume = RecordingVolume::new(media, seed);
    }

    fn cut(&mut self, link: u64) {
        let Some((child, parent)) = self.links.remove(&link) else { return };
        for who in [child, parent] {
            self.queue.push_back((who, Input::LinkDown { link: LinkId(link) }));
        }
    }

    fn connect(&mut self, child: Who, parent: Who) {
        if self.links.values().any(|l| *l == (child, parent)) {
            return;
        }
        self.names += 1;
        let link = LinkId(self.names);
        self.links.insert(self.names, (child, parent));
        self.queue.push_back((parent, Input::ChildUp { link, peer: log(child) }));
        self.queue.push_back((child, Input::ParentUp { link, parent: log(parent).division }));
    }

    pub fn connect_all(&mut self) {
        for (child, parent) in [(CITY, PROVINCE), (COUNTY, CITY), (FORGER, CITY)] {
            self.connect(child, parent);
        }
    }

    /// Hands over at most `count` messages; those for the city come one by one or several in a round.
    pub fn pump(&mut self, count: usize) -> Result<(), Broken> {
        for _ in 0..count {
            let Some((who, first)) = self.queue.pop_front() else { break };
            let mut inputs = vec![first];
            while self.queue.front().is_some_and(|(to, _)| *to == who) && !self.rng.one_in(3) {
                inputs.extend(self.queue.pop_front().map(|(_, input)| input));
            }
            self.round(who, inputs)?;
        }
        Ok(())
    }

    /// One round of a node, as the driver runs it: persist, then speak.
    fn round(&mut self, who: Who, inputs: Vec<Input>) -> Result<(), Broken> {
        self.now += 7;
        let (now, mut out) = (self.now, Vec::new());
        let spoken = if who == CITY {
            let Some(city) = self.city.as_mut() else { return Ok(()) };
            inputs.into_iter().for_each(|i| city.replica.handle(now, i, &mut out));
            city.round(now, out)
        } else {
            let other = self.others.get_mut(&who).expect("a neighbour");
            inputs.into_iter().for_each(|i| other.replica.handle(now, i, &mut out));
            Ok(other.replica.commit(|| now, out, &mut other.memory).unwrap_or_else(|never| match never {}))
        };
        match spoken {
            Ok(spoken) => spoken.into_iter().try_for_each(|o| self.let_out(who, o)),
            Err(e) => self.failed(&said(&e)),
        }
    }

    /// The disk has failed: the process ends. Without a reason it must not.
    fn failed(&mut self, error: &str) -> Result<(), Broken> {
        hold!(!self.volume.has_power() || self.volume.failed() > 0, "the disk works, and the node says: {error}");
        self.end();
        Ok(())
    }

    fn let_out(&mut self, who: Who, output: Output) -> Result<(), Broken> {
        match output {
            Output::Send { link, message } => {
                if who == CITY {
                    self.witness(&message)?;
                }
                if let Some(to) = self.other_end(link.0, who) {
                    self.queue.push_back((to, Input::Control { link, message }));
                }
            }
            Output::Push { link, log: id, place, from } => {
                let Some(to) = self.other_end(link.0, who) else { return Ok(()) };
                let bytes = if who == CITY { self.batch_of_city(id, place)? } else { self.others[&who].batch(place) };
                let Some(bytes) = bytes.and_then(|bytes| from_record(bytes, from).ok()) else { return Ok(()) };
                self.queue.push_back((to, Input::Batch { link, log: id, bytes }));
                self.queue.push_back((who, Input::Pushed { link, log: id }));
            }
            Output::Close { link, .. } => self.cut(link.0),
            Output::Sealed { ticket, result } if who == CITY => {
                let ids = self.waiting.remove(&ticket).unwrap_or_default();
                if let Ok(range) = result {
                    self.promises.acknowledge(range, ids)?;
                }
            }
            Output::CharterLoaded { result: Ok(version), .. } if who == CITY => self.promises.charter(version),
            Output::Note(Event::Frozen { log: id, reason }) => {
                hold!(id == log(FORGER), "I4: an honest log is called a fork: {reason}");
                if who == CITY {
                    self.promises.frozen(id);
                }
            }
            Output::Append(_) => return Err(Broken("a frame came out of a round".into())),
            _ => {}
        }
        Ok(())
    }

    /// The batch that is pushed, read from the disk under test.
    fn batch_of_city(&mut self, id: LogId, place: Place) -> Result<Option<Vec<u8>>, Broken> {
        let kept = match reader(&self.volume).read(place) {
            Ok(kept) => kept,
            Err(e) => {
                hold!(!self.volume.has_power(), "what was written cannot be read: {}", said(&e));
                return Ok(None);
            }
        };
        if let Entry::Batch { tree, .. } = &kept.entry
            && id == log(CITY)
        {
            self.promises.goes_out(tree.size(), tree.root())?;
        }
        Ok(Some(kept.body))
    }

    fn other_end(&self, link: u64, who: Who) -> Option<Who> {
        self.links.get(&link).map(|(child, parent)| if *child == who { *parent } else { *child })
    }

    /// I2: what the city attests.
    fn witness(&mut self, message: &Control) -> Result<(), Broken> {
        let Control::Receipt { log: id, size, holder, line } = message else { return Ok(()) };
        if *holder != log(CITY) {
            return Ok(());
        }
        let origin = if *id == log(COUNTY) { COUNTY } else { FORGER };
        let truth = self.others[&origin].own_batches().flat_map(|b| leaves(b).2).collect();
        self.promises.is_truly(*id, truth);
        let charter = self.city.as_ref().expect("the city speaks").replica.view().charter().clone();
        self.promises.receipt(&charter, *id, *size, line)
    }

    /// Records that nobody has seen, of one or many sectors.
    fn records(&mut self, n: u64) -> Vec<Record> {
        let one = |world: &mut Self| {
            world.content += 1;
            let words = 1 + world.rng.below(if world.rng.clone().one_in(4) { 160 } else { 12 });
            let filler: String = (0..words).map(|_| format!("{:016x}", world.rng.draw())).collect();
            Record::new(
                &Object::parse(format!("{{\"n\":\"{}\",\"x\":\"{filler}\"}}", world.content).as_bytes()).unwrap(),
            )
            .unwrap()
        };
        (0..n).map(|_| one(self)).collect()
    }

    fn seal(&mut self, who: Who, records: Vec<Record>) -> Input {
        self.names += 1;
        let ticket = Ticket(self.names);
        if who == CITY {
            self.waiting.insert(ticket, records.iter().map(|r| r.id().0).collect());
        }
        Input::Seal { ticket, records }
    }

    /// One thing happens.
    pub fn step(&mut self) -> Result<(), Broken> {
        match self.rng.below(20) {
            0..=7 => {
                // Several batches in one round: several frames in one write.
                let count = 1 + self.rng.below(4);
                let inputs = (0..count).map(|_| {
                    let n = 1 + self.rng.below(5);
                    let records = self.records(n);
                    self.seal(CITY, records)
                });
                let inputs = inputs.collect();
                self.round(CITY, inputs)?;
            }
            8..=10 => {
                for who in [COUNTY, FORGER] {
                    let n = 1 + self.rng.below(4);
                    let records = self.records(n);
                    let input = self.seal(who, records);
                    self.round(who, vec![input])?;
                }
            }
            11 => self.connect_all(),
            12 => {
                let links: Vec<_> = self.links.keys().copied().collect();
                if let Some(link) = links.get(self.rng.below(links.len() as u64) as usize) {
                    self.cut(*link);
                }
            }
            13 => {
                self.version += 1;
                self.names += 1;
                let (ticket, note) = (Ticket(self.names), charter(self.version));
                self.round(CITY, vec![Input::Charter { ticket, note }])?;
            }
            14 => self.rests()?,
            15 if self.rng.one_in(3) => self.stops()?,
            16 if self.rng.one_in(4) => self.forges()?,
            _ => self.ticks()?,
        }
        let count = self.rng.below(30) as usize;
        self.pump(count)
    }

    fn ticks(&mut self) -> Result<(), Broken> {
        self.now += 1_000;
        for who in [PROVINCE, CITY, COUNTY, FORGER] {
            self.round(who, vec![Input::Tick])?;
        }
        Ok(())
    }

    /// A second without anything to write.
    pub fn rests(&mut self) -> Result<(), Broken> {
        let Some(city) = self.city.as_mut() else { return Ok(()) };
        match city.journal.journal().rest() {
            Err(e) if e.shortage().is_none() => self.failed(&said(&e)),
            _ => Ok(()),
        }
    }

    /// A clean stop.
    pub fn ends_cleanly(&mut self) -> Result<(), Broken> {
        let city = self.city.take().ok_or_else(|| Broken("it ended".into()))?;
        city.journal.into_journal().stop().map_err(|e| Broken(said(&e)))
    }

    /// A clean stop, and a start.
    fn stops(&mut self) -> Result<(), Broken> {
        let Some(city) = self.city.take() else { return Ok(()) };
        let stopped = city.journal.into_journal().stop();
        self.end();
        // A stop that fails is none: the next start takes it for a crash.
        hold!(stopped.is_ok() || !self.volume.has_power() || self.volume.failed() > 0, "it does not stop: {stopped:?}");
        self.start()
    }

    /// A second history of the forger's log, three times: the city freezes it.
    fn forges(&mut self) -> Result<(), Broken> {
        let Some(city) = self.city.as_ref() else { return Ok(()) };
        let link = self.links.iter().find(|(_, l)| **l == (FORGER, CITY)).map(|(n, _)| LinkId(*n));
        let (id, held) = (log(FORGER), city.replica.view().logs().get(&log(FORGER)).map_or(0, |l| l.size()));
        let Some(link) = link.filter(|_| held > 0) else { return Ok(()) };
        let other = self.records(held + 2);
        let mut tree = Tree::default();
        other[..held as usize].iter().for_each(|r| tree.push(r.id().0));
        let bytes = batch::seal(&keys(FORGER), &tree, &other[held as usize..], self.now / 1_000);
        for _ in 0..3 {
            self.round(CITY, vec![Input::Batch { link, log: id, bytes: bytes.clone() }])?;
        }
        Ok(())
    }

    /// All links are up, and nobody has anything to say any more. The answer is why the city still may not sign.
    pub fn asks_its_neighbours(&mut self) -> Result<Option<NotSealed>, Broken> {
        for _ in 0..6 {
            self.connect_all();
            self.pump(10_000)?;
            self.ticks()?;
        }
        self.pump(10_000)?;
        Ok(self.city.as_ref().and_then(|c| c.replica.view().closed()))
    }

    /// Two records more: whether they were taken.
    pub fn takes_records(&mut self) -> Result<bool, Broken> {
        let (before, records) = (self.promises.records(), self.records(2));
        let input = self.seal(CITY, records);
        self.round(CITY, vec![input])?;
        self.pump(10_000)?;
        Ok(self.promises.records() == before + 2)
    }

    /// With its neighbours' help the city takes records again, and they hold the same.
    pub fn is_not_stuck(&mut self) -> Result<(), Broken> {
        let closed = self.asks_its_neighbours()?;
        hold!(closed.is_none(), "stuck: {}", closed.map(|c| c.to_string()).unwrap_or_default());
        hold!(self.takes_records()?, "stuck: the gate is open and nothing is taken");
        let city = self.city.as_ref().ok_or_else(|| Broken("it ended".into()))?;
        for id in [log(CITY), log(COUNTY)] {
            let of = |r: &Replica| r.view().logs().get(&id).map_or((0, None), |l| (l.size(), Some(l.tree().root())));
            let (here, above) = (of(&city.replica), of(&self.others[&PROVINCE].replica));
            hold!(here == above, "I6: {id} has {} records here and {} above", here.0, above.0);
        }
        let here = city.replica.view().logs().get(&log(COUNTY)).map_or(0, |l| l.size());
        let there = self.others[&COUNTY].replica.view().logs().get(&log(COUNTY)).map_or(0, |l| l.size());
        hold!(here == there, "I6: the county has {there} records, {here} of them are here");
        Ok(())
    }
}
