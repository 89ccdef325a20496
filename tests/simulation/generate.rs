//! Draws steps: what may happen next, by weight, among what makes sense where the world stands.

use crate::{
    oracle::Broken,
    step::{Change, CrashAt, Harm, Lie, Plan, Step},
    world::{Sum, World},
};
use tally_protocol::ids::Division;
use tally_tests::rng::Rng;

/// What a random run is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Theme {
    /// Processes stop, links break, paths are cut, clocks jump, disks fill up.
    Crashes,
    /// The same, and disks are set back to old copies.
    OldDisks,
    /// Charters: nodes retire and move, epochs end and begin.
    Charters,
    /// Damage and repair, and bundles.
    Damage,
    /// All of that at once.
    Everything,
    /// A city is the enemy's.
    EnemyAbove,
    /// A county is the enemy's.
    EnemyBelow,
}

/// Steps of a run before the faults stop.
const STEPS: usize = 900;

struct Dealer {
    rng: Rng,
    theme: Theme,
    content: u64,
}

pub fn plan(theme: Theme, seed: u64) -> Plan {
    let enemy = match theme {
        Theme::EnemyAbove => Some(crate::federation::division(350_100)),
        Theme::EnemyBelow => Some(crate::federation::division(350_102)),
        _ => None,
    };
    Plan { scenario: format!("{theme:?}"), seed, enemy, known: None }
}

/// Draws and runs; `seen` gets each step before it is applied, so that a panic loses none.
pub fn run(theme: Theme, seed: u64, seen: &mut Vec<Step>) -> Result<Sum, Broken> {
    let mut world = World::new(plan(theme, seed));
    let salt = theme as u64;
    let mut dealer = Dealer { rng: Rng(seed.wrapping_mul(0x2545_f491_4f6c_dd1d) ^ salt), theme, content: 0 };
    for node in world.codes() {
        seen.push(Step::Start { node });
        world.apply(&seen[seen.len() - 1])?;
    }
    while seen.len() < STEPS {
        let Some(step) = dealer.next(&world) else { continue };
        seen.push(step);
        world.apply(&seen[seen.len() - 1])?;
    }
    world.finish()
}

impl Dealer {
    fn next(&mut self, world: &World) -> Option<Step> {
        let codes = world.codes();
        let any = self.rng.pick(&codes)?;
        match self.rng.below(100) {
            0..34 => self.deliver(world),
            34..68 => self.round(world),
            68..76 => {
                Some(Step::Wait { ms: 20 + self.rng.below(if self.rng.clone().one_in(12) { 20_000 } else { 700 }) })
            }
            76..84 => self.connect(world),
            84..94 => Some(Step::Submit { node: any, records: self.records() }),
            94..97 => self.fault(world, any),
            _ => self.of_theme(world, any),
        }
    }

    fn deliver(&mut self, world: &World) -> Option<Step> {
        let of = |(child, link): (&Division, &crate::world::Link)| {
            link.streams.iter().filter(|(_, q)| !q.is_empty()).map(|(s, _)| (*child, *s)).collect::<Vec<_>>()
        };
        let streams: Vec<_> = world.links.iter().flat_map(of).collect();
        let (child, (up, stream)) = self.rng.pick(&streams)?;
        let count = 1 + self.rng.below(if self.rng.clone().one_in(3) { 20 } else { 3 }) as u8;
        Some(Step::Deliver { child, up, stream, count, twice: self.rng.one_in(12) })
    }

    fn round(&mut self, world: &World) -> Option<Step> {
        let waiting: Vec<_> = world.nodes.iter().filter(|(_, n)| !n.inbox.is_empty()).map(|(d, _)| *d).collect();
        let node = self.rng.pick(&waiting)?;
        let mails = if self.rng.one_in(3) { 64 } else { 1 + self.rng.below(6) as u8 };
        let crash = self.rng.one_in(60).then(|| {
            let n = self.rng.below(4) as u32;
            let at = match self.rng.below(3) {
                0 => CrashAt::Before(n),
                1 => CrashAt::After(n),
                _ => CrashAt::Said(self.rng.below(8) as u32),
            };
            (at, self.rng.draw())
        });
        Some(Step::Round { node, mails, crash })
    }

    /// Links and processes come back.
    fn connect(&mut self, world: &World) -> Option<Step> {
        if let Some((node, _)) = world.downs.first().filter(|_| self.rng.one_in(2)) {
            return Some(Step::Hear { node: *node });
        }
        let down: Vec<_> = world.nodes.iter().filter(|(_, n)| n.replica.is_none()).map(|(d, _)| *d).collect();
        if let Some(node) = self.rng.pick(&down).filter(|_| self.rng.one_in(2)) {
            return Some(Step::Start { node });
        }
        let alone = world.nodes.iter().filter(|(_, n)| n.replica.is_some() && n.link.is_none()).map(|(d, _)| *d);
        Some(Step::Dial { node: self.rng.pick(&alone.collect::<Vec<_>>())? })
    }

    /// Now and then the same content again, here or at another node.
    fn records(&mut self) -> Vec<u64> {
        let n = 1 + self.rng.below(6);
        let one = |_| {
            let old = self.rng.one_in(8);
            let n = if old { self.rng.below(self.content + 1) } else { self.content + 1 };
            self.content = self.content.max(n);
            n
        };
        (0..n).map(one).collect()
    }

    fn fault(&mut self, world: &World, any: Division) -> Option<Step> {
        let links: Vec<_> = world.links.keys().copied().collect();
        let full: Vec<_> = world.nodes.iter().filter(|(_, n)| n.full).map(|(d, _)| *d).collect();
        Some(match self.rng.below(9) {
            0 | 1 => Step::Stop { node: any, dice: self.rng.draw() },
            2 | 3 => Step::Break { child: self.rng.pick(&links)? },
            4 => Step::Cut { child: any },
            5 => Step::Heal,
            6 => match self.rng.pick(&full) {
                Some(node) => Step::Full { node, full: false },
                None => Step::Full { node: any, full: true },
            },
            _ => {
                let year = 365 * 24 * 3_600 * 1_000_i64;
                let jumps = [0, 0, 0, 3_600_000, -3_600_000, 9 * year, -(1_790_000_000_000 - 86_400_000)];
                Step::Clock { node: any, skew_ms: self.rng.pick(&jumps)? + self.rng.below(4_000) as i64 }
            }
        })
    }

    fn of_theme(&mut self, world: &World, any: Division) -> Option<Step> {
        let honest = [Theme::Crashes, Theme::OldDisks, Theme::Charters, Theme::Damage];
        let theme = if self.theme == Theme::Everything { self.rng.pick(&honest)? } else { self.theme };
        let dice = self.rng.draw();
        let neighbours = world.neighbours(any);
        let other = self.rng.pick(&neighbours)?;
        match theme {
            Theme::Everything => None,
            Theme::Crashes => self.fault(world, any),
            Theme::OldDisks if self.rng.one_in(3) => Some(Step::SetBack { node: any, dice }),
            Theme::OldDisks => self.fault(world, any),
            Theme::Charters if self.rng.one_in(2) => Some(Step::Decide { change: self.change(any, other, dice) }),
            Theme::Charters => self.fault(world, any),
            Theme::Damage => Some(match self.rng.below(16) {
                0..5 => {
                    Step::Damage { node: any, dice, harm: self.rng.pick(&[Harm::Body, Harm::Gone, Harm::Altered])? }
                }
                5 => Step::Survey { node: any },
                6..8 => Step::Repair { node: any, from: other },
                8 => Step::Resave { node: any },
                9..12 => Step::Pack { from: any, to: other },
                _ => {
                    let packed: Vec<_> = world.bundles.keys().copied().collect();
                    let (from, to) = self.rng.pick(&packed)?;
                    Step::Unpack { from, to }
                }
            }),
            Theme::EnemyAbove | Theme::EnemyBelow => {
                let near = world.neighbours(world.plan.enemy?);
                Some(Step::Enemy { to: self.rng.pick(&near)?, lie: self.lie()?, dice })
            }
        }
    }

    fn change(&mut self, node: Division, to: Division, dice: u64) -> Change {
        match self.rng.below(8) {
            0 => Change::Reissue,
            1 => Change::Retire { node },
            2..5 => Change::Move {
                node,
                to: self
                    .rng
                    .pick(&[
                        crate::federation::division(350_000),
                        crate::federation::division(350_100),
                        crate::federation::division(350_200),
                        to,
                    ])
                    .unwrap_or(to),
            },
            _ => Change::NextEpoch { node, dice },
        }
    }

    fn lie(&mut self) -> Option<Lie> {
        const LIES: [Lie; 29] = [
            Lie::HeadUnsigned,
            Lie::HeadBetween,
            Lie::HeadAhead,
            Lie::HeadOld,
            Lie::UnknownEpochs,
            Lie::SecondFrontier,
            Lie::Flood { pages: 3 },
            Lie::BatchGarbage,
            Lie::BatchOfAnother,
            Lie::BatchForged,
            Lie::BatchAltered,
            Lie::Fork,
            Lie::ForkElsewhere,
            Lie::ForkUnshown,
            Lie::ReceiptGarbage,
            Lie::ReceiptAhead,
            Lie::ReceiptElsewhere,
            Lie::ConflictEmpty,
            Lie::ConflictSame,
            Lie::ConflictGarbage,
            Lie::Reject,
            Lie::Busy,
            Lie::Refused,
            Lie::Close,
            Lie::Silence,
            Lie::Clock,
            Lie::Charter,
            Lie::WrongSide,
            Lie::Garbage,
        ];
        self.rng.pick(&LIES)
    }
}
