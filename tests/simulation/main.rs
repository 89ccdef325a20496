//! Whole federations on virtual time: the node's core as it runs in production, on a network that is slow, cut and
//! partitioned, on disks that lose what was not flushed and are damaged, with clocks that jump, charters that change,
//! enemies that lie, and nodes that stop at any moment.
//!
//! A run is a plan and a list of steps (`step`); a seed draws them (`generate`), or a person has written them (`scenario`).
//! What is promised is judged by an oracle that shares no code with the core (`oracle`). A run that fails is written to
//! `target/simulation`, whole and shrunk, and can be replayed step by step.
//!
//! `TALLY_SEEDS=2000 cargo test -p tally-tests --test simulation` runs more; `TALLY_SEED=17` runs one;
//! `TALLY_TRACE=file cargo test -p tally-tests --test simulation replay -- --nocapture` replays a trace.

#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]
#![allow(unreachable_pub, reason = "modules of one test")]

mod disk;
mod federation;
mod forks;
mod generate;
mod known;
mod mended;
mod oracle;
mod scenario;
mod shrink;
mod step;
mod trace;
mod world;

use generate::Theme;
use std::{
    path::Path,
    sync::{
        Mutex,
        atomic::{AtomicU64, Ordering},
    },
};
use world::{Sum, World};

fn env(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

fn seeds() -> std::ops::Range<u64> {
    match env("TALLY_SEED") {
        Some(one) => one..one + 1,
        None => 1..env("TALLY_SEEDS").unwrap_or(200) + 1,
    }
}

/// Runs all seeds of a theme; the first that fails is written down, whole and shrunk.
fn run(theme: Theme) -> Vec<Sum> {
    let (sums, next, end) = (Mutex::new(Vec::new()), AtomicU64::new(seeds().start), seeds().end);
    let failed = Mutex::new(None);
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                while failed.lock().unwrap().is_none() {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= end {
                        return;
                    }
                    let mut steps = Vec::new();
                    match trace::guarded(|| generate::run(theme, seed, &mut steps)) {
                        Ok(sum) => sums.lock().unwrap().push(sum),
                        Err(why) => {
                            failed.lock().unwrap().get_or_insert((seed, steps, why));
                        }
                    }
                }
            });
        }
    });
    if let Some((seed, steps, why)) = failed.into_inner().unwrap() {
        let plan = generate::plan(theme, seed);
        let whole = trace::write(&plan, &steps, "");
        println!("{theme:?} {seed}: {}; shrinking {}", why.0, whole.display());
        let small = shrink::shrink(&plan, &steps, &why);
        let path = trace::write(&plan, &small, "-small");
        panic!("{theme:?} {seed}: {}\n{} of {} steps are needed: {}", why.0, small.len(), steps.len(), path.display());
    }
    sums.into_inner().unwrap()
}

/// A counter of what happened: its name, where it stands, and the least for ten runs.
type Happened = (&'static str, fn(&Sum) -> u64, u64);

/// Says what happened; a simulation in which nothing happens proves nothing.
fn enough(theme: Theme, sums: &[Sum], happened: &[Happened]) {
    let always: [Happened; 4] = [
        ("records acknowledged", |s| s.acknowledged, 40),
        ("rounds", |s| s.rounds, 300),
        ("crashes", |s| s.crashes, 3),
        ("links broken", |s| s.breaks, 3),
    ];
    let runs = sums.len() as u64;
    print!("{theme:?}, {runs} seeds:");
    for (what, of, least) in always.iter().chain(happened) {
        let n: u64 = sums.iter().map(of).sum();
        print!(" {n} {what},");
        assert!(runs < 20 || n >= least * runs / 10, "too few {what}");
    }
    println!();
}

#[test]
fn crashes_and_partitions() {
    let sums = run(Theme::Crashes);
    enough(Theme::Crashes, &sums, &[]);
}

#[test]
fn old_disks() {
    enough(Theme::OldDisks, &run(Theme::OldDisks), &[("disks set back", |s| s.set_back, 5)]);
}

#[test]
fn charters_change() {
    let happened: &[Happened] = &[("charters", |s| s.charters, 10), ("epochs", |s| s.epochs, 5)];
    enough(Theme::Charters, &run(Theme::Charters), happened);
}

#[test]
fn damage_and_bundles() {
    let happened: &[Happened] =
        &[("frames damaged", |s| s.damaged, 10), ("repaired", |s| s.repaired, 10), ("bundles", |s| s.bundles, 3)];
    enough(Theme::Damage, &run(Theme::Damage), happened);
}

#[test]
fn everything_at_once() {
    enough(Theme::Everything, &run(Theme::Everything), &[("epochs", |s| s.epochs, 1), ("repaired", |s| s.repaired, 1)]);
}

#[test]
fn an_enemy_above() {
    enough(Theme::EnemyAbove, &run(Theme::EnemyAbove), &[("lies", |s| s.lies, 50)]);
}

#[test]
fn an_enemy_below() {
    enough(Theme::EnemyBelow, &run(Theme::EnemyBelow), &[("lies", |s| s.lies, 30)]);
}

/// What was once wrong holds now.
#[test]
fn mended_faults_stay_mended() {
    let broken = |m: &&mended::Mended| mended::run(m).err().map(|why| format!("{}: {why:?} ({})", m.name, m.holds));
    let broken: Vec<_> = mended::MENDED.iter().filter_map(|m| broken(&m)).collect();
    assert!(broken.is_empty(), "{}", broken.join("\n"));
}

/// An origin that does sign twice: its log is frozen at every level, all others go on.
#[test]
fn a_second_history_freezes_one_log() {
    let mut scenario = scenario::Scenario::new("fork", None, None);
    scenario::fork(&mut scenario, step::Lie::Fork);
    scenario.end().unwrap();
}

/// A parent tells of epochs that no charter knows: they are passed over, and nothing of them is kept.
#[test]
fn heads_of_unknown_epochs_are_passed_over() {
    let mut scenario = scenario::Scenario::new("unknown epochs", Some(federation::division(350_100)), None);
    scenario::false_head(&mut scenario, step::Lie::UnknownEpochs);
    scenario.end().unwrap();
}

/// The oracle itself: a disk that lies is found out, by what was acknowledged and by what was said.
#[test]
fn a_disk_that_lies_is_found_out() {
    for (linked, promise) in [(false, "I1"), (true, "I2")] {
        let mut scenario = scenario::Scenario::new("lying disk", None, None);
        scenario::lying_disk(&mut scenario, linked);
        let why = scenario.end().unwrap_err();
        assert_eq!(why.which(), promise, "{}", why.0);
    }
}

/// What is known to be wrong is wrong still: see `known`.
#[test]
fn known_faults_show() {
    let mut mended = Vec::new();
    for known in known::KNOWN {
        match trace::guarded(|| known::show(known)) {
            Err(why) if why.0.starts_with(known.breaks) => println!("{}: {}", known.name, why.0),
            other => mended.push(format!("{}: {other:?} (it was: {})", known.name, known.why)),
        }
    }
    assert!(mended.is_empty(), "these hold now, or fail otherwise; take them out of the list:\n{}", mended.join("\n"));
}

/// A run is a function of its steps: the same ones end in the same way, and a trace brings them back.
#[test]
fn a_trace_repeats_a_run() {
    let mut steps = Vec::new();
    let drawn = generate::run(Theme::Crashes, 1, &mut steps).unwrap();
    let plan = generate::plan(Theme::Crashes, 1);
    let path = trace::write(&plan, &steps, "-repeated");
    let (read, again) = trace::read(&path);
    assert_eq!((&read, &again), (&plan, &steps));
    let repeated = trace::outcome(&read, &again).unwrap();
    assert_eq!(format!("{drawn:?}"), format!("{repeated:?}"));
    std::fs::remove_file(path).unwrap();
}

/// `TALLY_TRACE`: the trace to replay, step by step.
#[test]
fn replay() {
    let Ok(path) = std::env::var("TALLY_TRACE") else { return };
    let (plan, steps) = trace::read(Path::new(&path));
    let mut world = World::new(plan);
    for (n, step) in steps.iter().enumerate() {
        println!("{n} at {} ms: {step:?}", world.now);
        if let Err(why) = world.apply(step) {
            panic!("step {n} broke a promise: {}", why.0);
        }
    }
    println!("the faults stop");
    if let Err(why) = world.finish() {
        panic!("after the faults: {}", why.0);
    }
}
