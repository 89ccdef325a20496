//! The disk that lies: the node's real core and the real journal on a disk that keeps what was flushed, and of the rest
//! whatever a crash may leave: pages in any order, torn pages, names without files and files without names.
//!
//! `TALLY_IMAGES=10000 cargo test -p tally-tests --test disk` looks at more images; `TALLY_SEED=17` runs one seed. Every
//! failure names seed, life and image.

#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]
#![allow(unreachable_pub, reason = "modules of one test")]

mod media;
mod nodes;
mod oracle;
mod scenes;
mod volume;
mod world;

use oracle::Broken;
use std::sync::{
    Mutex,
    atomic::{AtomicU64, Ordering},
};
use tally_tests::rng::Rng;
use volume::{Doing, EDQUOT, EIO, EMFILE, ENOSPC, Fault};
use world::World;

/// Crashes of one disk, one after the other.
const LIVES: u64 = 4;
/// What happens in one of its lives, at most.
const STEPS: u64 = 2_000;
/// Images of each crash.
const IMAGES: u64 = 8;

fn env(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

/// The seeds for one of so many equal shares of all images.
fn seeds(share: u64) -> std::ops::Range<u64> {
    match env("TALLY_SEED") {
        Some(one) => one..one + 1,
        None => 1..(env("TALLY_IMAGES").unwrap_or(2_000) / share).div_ceil(LIVES * IMAGES) + 1,
    }
}

/// What a run has seen.
#[derive(Debug, Default, Clone, Copy)]
struct Sum {
    images: u64,
    crashes: u64,
    failed: u64,
    acknowledged: u64,
    /// Images with a tail that was cut off.
    cut: u64,
}

/// Runs each seed; those that break something, and what.
fn run(seeds: std::ops::Range<u64>, one: impl Fn(u64, &mut Sum) -> Result<(), Broken> + Sync) -> (Sum, Vec<String>) {
    let (next, results) = (AtomicU64::new(seeds.start), Mutex::new((Sum::default(), Vec::new())));
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= seeds.end {
                        return;
                    }
                    let mut sum = Sum::default();
                    let outcome = one(seed, &mut sum);
                    let mut results = results.lock().unwrap();
                    let total = &mut results.0;
                    total.images += sum.images;
                    total.crashes += sum.crashes;
                    total.failed += sum.failed;
                    total.acknowledged += sum.acknowledged;
                    total.cut += sum.cut;
                    results.1.extend(outcome.err().map(|b| format!("seed {seed}: {}", b.0)));
                }
            });
        }
    });
    let (sum, mut broken) = results.into_inner().unwrap();
    broken.sort();
    println!("{sum:?}, {} broken", broken.len());
    (sum, broken)
}

/// Every image of the crash keeps what was promised; one of them is what the node finds next.
fn crash(world: &mut World, seed: u64, life: u64, sum: &mut Sum) -> Result<(), Broken> {
    sum.crashes += 1;
    let of_life = seed * LIVES + life;
    for image in 0..IMAGES {
        sum.images += 1;
        let media = world.volume.image(of_life, image);
        let cut = world.judge(media).map_err(|b| Broken(format!("life {life}, image {image}: {}", b.0)))?;
        sum.cut += u64::from(cut > 0);
    }
    let chosen = world.rng.below(IMAGES);
    let media = world.volume.image(of_life, chosen);
    world.goes_on_with(media, of_life);
    Ok(())
}

/// Lives of one disk, each ended by a power cut; `fault` says what else fails in them.
fn lives(seed: u64, sum: &mut Sum, fault: impl Fn(&mut Rng) -> Option<Fault>) -> Result<(), Broken> {
    let mut world = World::new(seed);
    for life in 0..LIVES {
        let named = |b: Broken| Broken(format!("life {life}: {}", b.0));
        // In every other life the power may go while it starts.
        let early = life > 0 && world.rng.one_in(2);
        let calls = 1 + world.rng.below(if early { 12 } else { 100 });
        if early {
            world.volume.power_off_after(calls);
        }
        world.start().map_err(named)?;
        world.connect_all();
        if !early {
            world.is_not_stuck().map_err(named)?;
            world.volume.power_off_after(calls);
            let fault = fault(&mut world.rng);
            world.volume.fail(fault);
        }
        // Without power it ends by itself; with it, no life is endless.
        for _ in 0..STEPS {
            if !world.volume.has_power() {
                break;
            }
            if !world.runs() {
                // An error has ended the process; the system starts it again, on what the cache shows.
                let media = world.volume.media();
                world.judge(media).map_err(named)?;
                world.start().map_err(named)?;
            }
            world.step().map_err(named)?;
        }
        sum.failed += world.volume.failed();
        crash(&mut world, seed, life, sum)?;
    }
    world.start()?;
    world.is_not_stuck().map_err(|b| Broken(format!("at the end: {}", b.0)))?;
    sum.acknowledged += world.promises.records();
    Ok(())
}

fn none_broken(broken: &[String]) {
    assert!(broken.is_empty(), "{} seeds, TALLY_SEED=n runs one alone:\n{}", broken.len(), broken.join("\n"));
}

/// I1, I2, I4: power cuts at any call, one after the other.
#[test]
fn power_cuts() {
    let (sum, broken) = run(seeds(4), |seed, sum| lives(seed, sum, |_| None));
    none_broken(&broken);
    // A run in which nothing happens proves nothing.
    assert!(sum.cut > sum.images / 20 && sum.acknowledged > 20 * sum.crashes, "{sum:?}");
}

/// The same while calls fail now and then, for good reasons and for want of room, before a flush and in it, once or so often
/// that the process ends and starts again on what the cache shows.
#[test]
fn calls_that_fail() {
    let fault = |rng: &mut Rng| {
        let doing = [Doing::Open, Doing::Write, Doing::Flush, Doing::Change][rng.below(4) as usize];
        let error = [EIO, EIO, ENOSPC, EDQUOT, EMFILE][rng.below(5) as usize];
        let times = [1, 2, 4, 40][rng.below(4) as usize];
        Some(Fault { doing, after: rng.below(20), times, error, destroys: false })
    };
    let (sum, broken) = run(seeds(2), |seed, sum| lives(seed, sum, fault));
    none_broken(&broken);
    assert!(sum.failed > sum.crashes / 2, "{sum:?}");
}

/// F1: flushes fail, the process goes on or ends and starts again, the power goes: what could not be flushed was said to
/// nobody, or is on the disk in another place.
#[test]
fn flushes_that_fail() {
    let fault = |rng: &mut Rng| {
        let times = [1, 1, 2, 12][rng.below(4) as usize];
        Some(Fault { doing: Doing::Flush, after: rng.below(20), times, error: EIO, destroys: false })
    };
    let (sum, broken) = run(seeds(4), |seed, sum| lives(seed, sum, fault));
    none_broken(&broken);
    assert!(sum.failed > sum.crashes / 2, "{sum:?}");
}
