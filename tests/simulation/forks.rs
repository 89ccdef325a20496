//! The matrix of second histories: how one comes about, of whose log, how long the two are, and how soon after its start a
//! machine is handed records. Whoever sees both finds it, with proof, or the second one is never signed.
//!
//! `TALLY_FORKS=50 cargo test -p tally-tests --test simulation forks` plays each cell so often; `TALLY_SEED=17` plays one seed
//! of each.

use crate::{
    env,
    federation::{division, records_log},
    oracle::{Broken, promise},
    scenario::Scenario,
    step::Step,
    trace,
};
use std::{
    collections::BTreeMap,
    ops::Range,
    sync::{
        Mutex,
        atomic::{AtomicUsize, Ordering},
    },
};
use tally_protocol::{
    hash::Hash,
    ids::{Division, LogId},
};
use tally_tests::rng::Rng;

const COUNTY: u32 = 350_102;
const CITY: u32 = 350_100;
const PROVINCE: u32 = 350_000;
/// The children of the province, and their children.
const BELOW: [u32; 6] = [350_100, 350_200, 350_128, 350_102, 350_103, 350_203];
/// Seeds of each cell, unless `TALLY_FORKS` says else.
const SEEDS: u64 = 4;

/// How there come to be two histories.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum How {
    /// Two machines run with one key, now the one on the network, now the other.
    Clone,
    /// A machine is lost, and another one starts from an old copy of its disk.
    OldCopy,
    /// The same without a link, and the operator opens the gate.
    ByWord,
    /// The same, and what it signs is carried to the parent by file, and the parent's heads back.
    Bundle,
}

/// Of two histories: the one that is signed second against the first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Sizes {
    Equal,
    Shorter,
    Longer,
}

/// When a machine that has started is handed records.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Pace {
    /// When all is at rest.
    Calm,
    /// At once, again and again within the first second.
    AtOnce,
}

#[derive(Debug, Clone, Copy)]
struct Cell {
    how: How,
    /// Nodes that get a second machine, the highest first.
    whose: &'static [u32],
    sizes: Sizes,
    pace: Pace,
}

/// What came of a log's second history.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Outcome {
    /// It was never signed, or nobody who runs has the first one.
    Never,
    /// It was found, with proof.
    Found,
    /// What proves it is lost; the node knows that its disk is an old copy, and signs no more.
    Shut,
}

fn cells() -> Vec<Cell> {
    let single: [&[u32]; 3] = [&[COUNTY], &[CITY], &[PROVINCE]];
    let same_night: [&[u32]; 2] = [&[CITY, COUNTY], &[PROVINCE, CITY]];
    let mut all = Vec::new();
    for how in [How::Clone, How::OldCopy, How::ByWord, How::Bundle] {
        let pairs = same_night.iter().filter(|_| matches!(how, How::OldCopy | How::ByWord));
        // A bundle from the top has nothing of the top's own log.
        let whose = single.iter().chain(pairs).filter(|w| how != How::Bundle || w[0] != PROVINCE);
        for whose in whose {
            for sizes in [Sizes::Equal, Sizes::Shorter, Sizes::Longer] {
                for pace in [Pace::Calm, Pace::AtOnce] {
                    all.push(Cell { how, whose, sizes, pace });
                }
            }
        }
    }
    all
}

impl Cell {
    /// What must come of it: of the log of `whose[n]`.
    fn expected(&self, n: usize) -> &'static [Outcome] {
        use Outcome::{Found, Never, Shut};
        let from_top = self.whose[0] == PROVINCE;
        match (self.how, self.pace, self.sizes) {
            // Whoever is above has what the disk lost, and is asked first.
            (How::OldCopy, ..) if !from_top => &[Never],
            // Of the logs of the top and its city, only heads are left below, and perhaps not even those.
            (How::OldCopy, Pace::Calm, _) => &[Never, Shut],
            (How::OldCopy | How::ByWord, Pace::AtOnce, _) if from_top => &[Never, Found, Shut],
            (How::ByWord, _, Sizes::Shorter) if from_top => &[Shut],
            // Its counties, which are linked, tell it after the word what it cannot have.
            (How::ByWord, ..) if from_top && n > 0 => &[Shut],
            (How::Clone, Pace::AtOnce, _) => &[Never, Found],
            _ => &[Found],
        }
    }
}

/// One play of a cell.
struct Play {
    cell: Cell,
    rng: Rng,
    s: Scenario,
    numbers: u64,
}

impl Play {
    fn new(cell: Cell, n: usize, seed: u64) -> Self {
        let name = format!("forks-{n}-{seed}");
        let rng = Rng(seed.wrapping_mul(0x2545_f491_4f6c_dd1d) ^ (n as u64) << 32);
        Self { cell, rng, s: Scenario::new(&name, None, None), numbers: 0 }
    }

    fn step(&mut self, step: fn(Division) -> Step) {
        for code in self.cell.whose {
            self.s.step(step(division(*code)));
        }
    }

    fn numbers(&mut self, n: u64) -> Range<u64> {
        self.numbers += n;
        self.numbers - n..self.numbers
    }

    /// Records are handed in, in batches as chance has it.
    fn grow(&mut self, code: u32, records: u64) {
        let mut left = records;
        while left > 0 {
            let n = 1 + self.rng.below(left);
            let range = self.numbers(n);
            self.s.submit(code, range);
            left -= n;
        }
    }

    fn grow_all(&mut self, records: u64) {
        self.cell.whose.iter().for_each(|code| self.grow(*code, records));
    }

    /// No path leads from these nodes upward; from the top, downward.
    fn cut(&mut self) {
        for code in self.cell.whose {
            let cut: &[u32] = if *code == PROVINCE { &BELOW[..3] } else { std::slice::from_ref(code) };
            cut.iter().for_each(|child| self.s.step(Step::Cut { child: division(*child) }));
        }
        self.s.exchange();
    }

    /// Records are handed in as the pace has it, to machines that have just started.
    fn after_start(&mut self, records: u64) {
        match self.cell.pace {
            Pace::Calm => self.s.peace(6),
            Pace::AtOnce => {
                for _ in 0..4 {
                    self.grow_all(records);
                    self.s.step(Step::Wait { ms: 200 });
                }
            }
        }
        self.grow_all(records);
    }

    fn settle(&mut self) {
        self.s.step(Step::Heal);
        self.s.peace(8);
    }

    /// The lengths of the tails that two machines sign: first, second.
    fn tails(&mut self) -> (u64, u64) {
        let (short, more) = (1 + self.rng.below(5), 1 + self.rng.below(5));
        match self.cell.sizes {
            Sizes::Equal => (short, short),
            Sizes::Shorter => (short + more, short),
            Sizes::Longer => (short, short + more),
        }
    }

    fn play(&mut self) -> Result<Vec<Outcome>, Broken> {
        for _ in 0..self.rng.below(3) {
            let n = 1 + self.rng.below(4);
            self.grow_all(n);
        }
        self.grow(350_103, 2);
        self.s.peace(4);
        self.step(|node| Step::Copy { node });
        let (first, second) = self.tails();
        if self.cell.how == How::Clone {
            self.clones(first, second)?;
        } else {
            self.in_its_place(first, second)?;
        }
        self.outcomes()
    }

    /// The first machine keeps running, without a link, while the second one is asked for by everybody.
    fn clones(&mut self, first: u64, second: u64) -> Result<(), Broken> {
        self.step(|node| Step::Swap { node });
        self.step(|node| Step::Start { node });
        if self.cell.pace == Pace::Calm {
            self.s.peace(6);
            self.cut();
        }
        self.after_start(second);
        self.step(|node| Step::Swap { node });
        self.cell.whose.iter().for_each(|code| {
            let range = self.numbers..self.numbers + first;
            self.s.step(Step::Submit { node: division(*code), records: range.collect() });
            self.s.step(Step::Round { node: division(*code), mails: 64, crash: None });
        });
        self.numbers += first;
        if self.rng.one_in(2) {
            self.step(|node| Step::Swap { node });
        }
        for _ in 0..4 {
            self.settle();
            self.is_found()?;
            self.step(|node| Step::Swap { node });
        }
        self.settle();
        self.is_found()
    }

    /// The first machine is gone.
    fn in_its_place(&mut self, first: u64, second: u64) -> Result<(), Broken> {
        self.grow_all(first);
        if self.cell.pace == Pace::Calm {
            self.s.peace(6);
        }
        let by_word = self.cell.how != How::OldCopy;
        if by_word {
            self.cut();
        }
        self.step(|node| Step::Stop { node, dice: 0 });
        self.step(|node| Step::Swap { node });
        self.step(|node| Step::Start { node });
        if by_word {
            self.step(|node| Step::Word { node });
            self.s.exchange();
        }
        // By word it is signed at once, and only once: the sizes are what the cell says.
        if by_word {
            self.grow_all(second)
        } else {
            self.after_start(second)
        }
        if self.cell.how == How::Bundle {
            let from = division(self.cell.whose[0]);
            let to = self.s.world.federation.above(from)[0];
            for (from, to) in [(from, to), (to, from)] {
                self.s.step(Step::Pack { from, to });
                self.s.step(Step::Unpack { from, to });
                self.s.exchange();
                self.is_found()?;
            }
        }
        self.settle();
        self.is_found()
    }

    /// Whoever sees both histories has found it, now that all is at rest.
    fn is_found(&mut self) -> Result<(), Broken> {
        self.s.so_far()?;
        self.s.world.unfound()?.map_or(Ok(()), |why| Err(Broken(why)))
    }

    fn outcomes(&mut self) -> Result<Vec<Outcome>, Broken> {
        self.s.so_far()?;
        let whose = self.cell.whose;
        whose.iter().map(|code| self.outcome(records_log(division(*code), 1))).collect()
    }

    fn outcome(&mut self, log: LogId) -> Result<Outcome, Broken> {
        let histories = self.s.world.histories(log)?;
        let parted = |a: &[Hash], b: &[Hash]| a.iter().zip(b).any(|(a, b)| a != b);
        let two = histories.iter().any(|a| histories.iter().any(|b| parted(a, b)));
        let found = self.s.world.proof(log.division, log)?;
        let replica = self.s.world.nodes[&log.division].replica.as_ref();
        let signs = replica.is_some_and(|r| r.view().closed().is_none());
        if two || found {
            promise(!signs, || format!("I4: {log} goes on, of which there are two histories"))?;
            let mut finders = vec![found];
            for above in self.s.world.federation.above(log.division) {
                let knows = self.s.world.proof(above, log)?;
                promise(knows, || format!("I4: {above} does not know of the fork of {log}"))?;
                finders.push(knows);
            }
            if finders.contains(&true) {
                return Ok(Outcome::Found);
            }
            self.s.step(Step::Swap { node: log.division });
            self.s.so_far()?;
            let other = self.s.world.proof(log.division, log)?;
            return promise(other, || format!("I4: nobody has found the fork of {log}")).map(|()| Outcome::Found);
        }
        Ok(if signs { Outcome::Never } else { Outcome::Shut })
    }
}

fn play(cell: Cell, n: usize, seed: u64) -> Result<Vec<Outcome>, (Broken, Vec<Step>)> {
    let mut play = Play::new(cell, n, seed);
    let end = trace::guarded(|| play.play());
    let end = end.and_then(|outcomes| {
        for (at, outcome) in outcomes.iter().enumerate() {
            promise(cell.expected(at).contains(outcome), || format!("expected otherwise than {outcomes:?}"))?;
        }
        Ok(outcomes)
    });
    end.map_err(|why| (why, std::mem::take(&mut play.s.steps)))
}

/// Of each cell all seeds; what fails is named, with its steps, and the others are played all the same.
#[test]
fn forks_are_found_by_whoever_sees_both_or_never_signed() {
    let cells = cells();
    let seeds = match env("TALLY_SEED") {
        Some(one) => one..one + 1,
        None => 1..env("TALLY_FORKS").unwrap_or(SEEDS) + 1,
    };
    let (next, sums) = (AtomicUsize::new(0), Mutex::new((BTreeMap::new(), Vec::new())));
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                while let Some(cell) = cells.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let n = cells.iter().position(|c| std::ptr::eq(c, cell)).unwrap();
                    for seed in seeds.clone() {
                        let end = play(*cell, n, seed);
                        let (outcomes, failed) = &mut *sums.lock().unwrap();
                        match end {
                            Ok(all) => all.into_iter().for_each(|o| *outcomes.entry((n, o)).or_insert(0_u32) += 1),
                            Err((why, steps)) => {
                                let plan = crate::step::Plan {
                                    scenario: format!("forks-{n}"),
                                    seed,
                                    enemy: None,
                                    known: None,
                                };
                                let path = trace::write(&plan, &steps, "");
                                failed.push(format!("{cell:?} {seed}: {} ({})", why.0, path.display()));
                            }
                        }
                    }
                }
            });
        }
    });
    let (outcomes, failed) = sums.into_inner().unwrap();
    for (n, cell) in cells.iter().enumerate() {
        let of_cell: Vec<_> =
            outcomes.range((n, Outcome::Never)..=(n, Outcome::Shut)).map(|((_, o), c)| (o, c)).collect();
        println!("{cell:?}: {of_cell:?}");
    }
    assert!(failed.is_empty(), "{} failed:\n{}", failed.len(), failed.join("\n"));
}
