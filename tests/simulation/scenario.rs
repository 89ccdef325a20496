//! Runs that are written by hand: one thing happens to a federation that is otherwise at peace.

use crate::{
    federation::division,
    oracle::{Broken, Judgement},
    step::{Change, Harm, Lie, Plan, Step},
    world::{Sum, World},
};
use tally_protocol::ids::Division;

pub struct Scenario {
    pub world: World,
    pub steps: Vec<Step>,
    so_far: Judgement,
}

/// The county that most of them are about, and the nodes above it.
const COUNTY: u32 = 350_102;
const CITY: u32 = 350_100;

impl Scenario {
    pub fn new(name: &str, enemy: Option<Division>, known: Option<&str>) -> Self {
        let plan = Plan { scenario: name.to_owned(), seed: 0, enemy, known: known.map(str::to_owned) };
        let mut new = Self { world: World::new(plan), steps: Vec::new(), so_far: Ok(()) };
        new.world.codes().into_iter().for_each(|node| new.step(Step::Start { node }));
        new.peace(6);
        new
    }

    pub fn step(&mut self, step: Step) {
        if self.so_far.is_ok() {
            self.so_far = self.world.apply(&step);
            self.steps.push(step);
        }
    }

    /// Everybody works off what waits, and time passes, so many times.
    pub fn peace(&mut self, turns: usize) {
        for _ in 0..turns {
            self.exchange();
            self.step(Step::Wait { ms: 500 });
        }
        self.exchange();
    }

    pub fn exchange(&mut self) {
        for n in 0..50 {
            let due = self.world.due(n == 0);
            if due.is_empty() {
                return;
            }
            due.into_iter().for_each(|step| self.step(step));
        }
    }

    pub fn submit(&mut self, node: u32, numbers: std::ops::Range<u64>) {
        self.step(Step::Submit { node: division(node), records: numbers.collect() });
        self.exchange();
    }

    fn restart(&mut self, node: u32) {
        let node = division(node);
        self.step(Step::Stop { node, dice: 0 });
        self.step(Step::Start { node });
    }

    /// The child calls, and the parent has answered, which has not arrived.
    fn call(&mut self) {
        let (child, node) = (division(COUNTY), division(CITY));
        for step in [
            Step::Hear { node },
            Step::Hear { node: child },
            Step::Dial { node: child },
            Step::Round { node: child, mails: 64, crash: None },
            Step::Deliver { child, up: true, stream: None, count: 9, twice: false },
            Step::Round { node, mails: 64, crash: None },
        ] {
            self.step(step);
        }
    }

    /// Whether every promise was kept so far.
    pub fn so_far(&self) -> Judgement {
        self.so_far.clone()
    }

    /// How it ends.
    pub fn end(self) -> Result<(), Broken> {
        self.so_far?;
        self.world.finish().map(|_: Sum| ())
    }
}

/// The county starts again, and the enemy above answers with a false head.
pub fn false_head(s: &mut Scenario, lie: Lie) {
    s.submit(COUNTY, 0..5);
    s.submit(COUNTY, 5..9);
    s.peace(2);
    s.restart(COUNTY);
    s.call();
    s.step(Step::Enemy { to: division(COUNTY), lie, dice: 1 });
    s.peace(4);
}

/// The county has lost its disk, and the enemy alters what it gives back.
pub fn altered_batch(s: &mut Scenario) {
    s.submit(COUNTY, 0..5);
    s.submit(COUNTY, 5..9);
    s.peace(2);
    s.step(Step::SetBack { node: division(COUNTY), dice: 0 });
    s.step(Step::Start { node: division(COUNTY) });
    s.call();
    let (child, node) = (division(COUNTY), division(CITY));
    s.step(Step::Deliver { child, up: false, stream: None, count: 99, twice: false });
    s.step(Step::Round { node: child, mails: 64, crash: None });
    s.step(Step::Enemy { to: division(COUNTY), lie: Lie::BatchAltered, dice: 1 });
    s.step(Step::Round { node, mails: 64, crash: None });
    s.peace(4);
}

/// The enemy is the county: its key has signed a second history, of the same size or of another.
pub fn fork(s: &mut Scenario, lie: Lie) {
    s.world.plan.enemy = Some(division(COUNTY));
    s.submit(COUNTY, 0..5);
    s.submit(COUNTY, 5..9);
    s.peace(2);
    s.step(Step::Enemy { to: division(CITY), lie, dice: 1 });
    s.peace(6);
    s.submit(350_103, 20..23);
    s.peace(2);
}

pub fn fork_elsewhere(s: &mut Scenario) {
    fork(s, Lie::ForkElsewhere);
}

/// The county's log has reached the province; then city and county get old disks.
pub fn both_restored(s: &mut Scenario) {
    s.submit(COUNTY, 0..5);
    s.submit(COUNTY, 5..9);
    s.peace(4);
    for node in [COUNTY, CITY] {
        s.step(Step::SetBack { node: division(node), dice: 0 });
    }
    s.step(Step::Cut { child: division(CITY) });
    for node in [CITY, COUNTY] {
        s.step(Step::Start { node: division(node) });
    }
    s.peace(6);
    s.submit(COUNTY, 50..53);
    s.peace(2);
    s.step(Step::Heal);
    s.peace(6);
}

/// City and county lose their disks, with every receipt there; the county is linked before the city has heard the province, and
/// nothing more is signed.
pub fn receipts_lost_at_both(s: &mut Scenario) {
    s.submit(COUNTY, 0..5);
    s.peace(4);
    for node in [COUNTY, CITY] {
        s.step(Step::SetBack { node: division(node), dice: 0 });
    }
    s.step(Step::Cut { child: division(CITY) });
    for node in [CITY, COUNTY] {
        s.step(Step::Start { node: division(node) });
    }
    s.peace(4);
    s.step(Step::Heal);
    s.peace(6);
}

/// City and county lose their disks; the county's backup has a receipt of the province for less than the province holds.
pub fn older_receipt_at_the_county(s: &mut Scenario) {
    let (county, city) = (division(COUNTY), division(CITY));
    s.submit(COUNTY, 0..5);
    s.peace(4);
    let backup = s.world.nodes[&county].disk.durable().len() as u64;
    s.submit(COUNTY, 5..7);
    s.peace(4);
    s.step(Step::SetBack { node: county, dice: backup });
    s.step(Step::SetBack { node: city, dice: 0 });
    for node in [city, county] {
        s.step(Step::Start { node });
    }
    s.peace(6);
}

/// The county has lost its disk, and what it fetches is damaged above; the city repairs itself from the province.
pub fn fetch_meets_damage(s: &mut Scenario) {
    s.submit(COUNTY, 0..5);
    s.peace(4);
    s.step(Step::SetBack { node: division(COUNTY), dice: 0 });
    // The first frame on the city's disk is the county's batch.
    s.step(Step::Damage { node: division(CITY), dice: 0, harm: Harm::Body });
    s.step(Step::Start { node: division(COUNTY) });
    s.peace(4);
}

/// Batches wait at the city while the county gets an old disk and calls again: the city takes all of it in one round.
pub fn hello_behind_a_batch(s: &mut Scenario) {
    let (child, node) = (division(COUNTY), division(CITY));
    s.step(Step::Submit { node: child, records: (0..5).collect() });
    s.step(Step::Round { node: child, mails: 64, crash: None });
    let stream = Some(s.world.nodes[&child].keys.node);
    s.step(Step::Deliver { child, up: true, stream, count: 9, twice: false });
    s.step(Step::SetBack { node: child, dice: 0 });
    s.step(Step::Start { node: child });
    s.step(Step::Dial { node: child });
    s.step(Step::Round { node: child, mails: 64, crash: None });
    s.step(Step::Deliver { child, up: true, stream: None, count: 9, twice: false });
    s.step(Step::Round { node, mails: 64, crash: None });
    s.peace(1);
    s.submit(COUNTY, 50..53);
    s.peace(4);
}

/// A disk that only says to have flushed, where the county is linked and speaks of what it has, or not.
pub fn lying_disk(s: &mut Scenario, linked: bool) {
    let node = division(COUNTY);
    s.step(Step::LyingDisk { node });
    if !linked {
        s.step(Step::Cut { child: node });
        s.exchange();
    }
    s.submit(COUNTY, 0..5);
    s.step(Step::Stop { node, dice: 0 });
}

/// The clock says 2035 for a while.
pub fn clock_ahead(s: &mut Scenario) {
    let node = division(COUNTY);
    s.step(Step::Clock { node, skew_ms: 300_000_000_000 });
    s.peace(3);
    s.submit(COUNTY, 0..3);
    s.step(Step::Clock { node, skew_ms: 0 });
    s.peace(3);
    s.submit(COUNTY, 3..5);
    s.peace(2);
}

/// A bundle from the city is packed, more is signed, the county's disk is set back, and the bundle arrives.
pub fn old_bundle(s: &mut Scenario) {
    let (county, city) = (division(COUNTY), division(CITY));
    s.submit(COUNTY, 0..5);
    s.peace(2);
    s.step(Step::Pack { from: city, to: county });
    s.submit(COUNTY, 5..9);
    s.peace(2);
    s.step(Step::Cut { child: county });
    // The four frames of the first batch and its receipts stay, by and large.
    s.step(Step::SetBack { node: county, dice: 1 });
    s.step(Step::Start { node: county });
    s.step(Step::Unpack { from: city, to: county });
    s.peace(2);
    s.submit(COUNTY, 50..53);
    s.step(Step::Heal);
    s.peace(4);
}

/// The county gets an old disk and another parent, while the province is down.
pub fn moved_old_copy(s: &mut Scenario) {
    let (county, city) = (division(COUNTY), division(350_200));
    s.submit(COUNTY, 0..5);
    s.peace(2);
    s.step(Step::Cut { child: county });
    s.step(Step::Decide { change: Change::Move { node: county, to: city } });
    s.exchange();
    s.step(Step::Stop { node: division(350_000), dice: 0 });
    s.step(Step::SetBack { node: county, dice: 0 });
    s.step(Step::Heal);
    s.step(Step::Start { node: county });
    s.peace(4);
    s.submit(COUNTY, 50..53);
    s.step(Step::Start { node: division(350_000) });
    s.peace(4);
}

/// The city has a batch that the province has not; it is damaged at the county, and the epoch is closed before it.
pub fn closed_below_damage(s: &mut Scenario) {
    s.step(Step::Cut { child: division(CITY) });
    s.submit(COUNTY, 0..5);
    s.peace(2);
    s.step(Step::Damage { node: division(COUNTY), dice: 0, harm: Harm::Gone });
    s.step(Step::Decide { change: Change::NextEpoch { node: division(COUNTY), dice: 1 } });
    s.step(Step::Heal);
    s.peace(6);
}

/// The county is off while the charter moves it to another city.
pub fn moved_while_off(s: &mut Scenario) {
    let (county, city) = (division(COUNTY), division(350_200));
    s.submit(COUNTY, 0..5);
    s.peace(2);
    s.step(Step::Stop { node: county, dice: 0 });
    s.step(Step::Decide { change: Change::Move { node: county, to: city } });
    s.peace(6);
    s.step(Step::Start { node: county });
    s.peace(4);
}

/// The county's disk is lost, the operator opens its gate without a link, and the same rows come again, in other batches: the
/// city stands inside one of them, or the county inside one of the city's.
pub fn same_rows_in_other_batches(s: &mut Scenario, before: u64, after: u64) {
    let county = division(COUNTY);
    s.submit(COUNTY, 0..before);
    s.peace(4);
    s.step(Step::Cut { child: county });
    s.step(Step::SetBack { node: county, dice: 0 });
    s.step(Step::Start { node: county });
    s.step(Step::Word { node: county });
    s.exchange();
    s.submit(COUNTY, 0..after);
    s.step(Step::Heal);
    s.peace(6);
}

/// The same, and the city has lost its disk too: it stands elsewhere than the province.
pub fn same_rows_below_the_province(s: &mut Scenario, before: u64, after: u64) {
    let (county, city) = (division(COUNTY), division(CITY));
    s.submit(COUNTY, 0..before);
    s.peace(4);
    s.step(Step::Cut { child: city });
    for node in [city, county] {
        s.step(Step::SetBack { node, dice: 0 });
    }
    for node in [city, county] {
        s.step(Step::Start { node });
        s.step(Step::Word { node });
    }
    s.exchange();
    s.submit(COUNTY, 0..after);
    s.peace(4);
    s.step(Step::Heal);
    s.peace(6);
}
