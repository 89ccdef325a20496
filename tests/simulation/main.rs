//! Whole federations on virtual time under a seed: the node's core as it runs in production, on a network that is slow,
//! cut and partitioned, on disks that lose what was not flushed, with nodes that stop at any moment.
//!
//! `TALLY_SEEDS=2000 cargo test -p tally-tests --test simulation` runs more; `TALLY_SEED=17` runs one. Every failure
//! names its seed.

#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]
#![allow(unreachable_pub, reason = "modules of one test")]

mod disk;
mod oracle;
mod random;
mod world;

use world::{Plan, World};

fn env(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

fn seeds() -> std::ops::Range<u64> {
    match env("TALLY_SEED") {
        Some(one) => one..one + 1,
        None => 1..env("TALLY_SEEDS").unwrap_or(200) + 1,
    }
}

fn run(plan: Plan) {
    let results = std::sync::Mutex::new(Vec::new());
    let next = std::sync::atomic::AtomicU64::new(seeds().start);
    let end = seeds().end;
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
                    if seed >= end {
                        return;
                    }
                    let outcome = std::panic::catch_unwind(|| World::new(seed, plan).run());
                    match outcome {
                        Ok(sum) => results.lock().unwrap().push(sum),
                        Err(_) => panic!("seed {seed} failed: TALLY_SEED={seed} runs it alone"),
                    }
                }
            });
        }
    });
    let results = results.into_inner().unwrap();
    let total = |f: fn(&world::Sum) -> u64| results.iter().map(f).sum::<u64>();
    let (records, crashes) = (total(|s| s.acknowledged), total(|s| s.crashes));
    println!(
        "{} seeds: {records} records acknowledged, {crashes} crashes, {} links cut, {} disks set back",
        results.len(),
        total(|s| s.cuts),
        total(|s| s.set_back)
    );
    // A simulation in which nothing happens proves nothing.
    assert!(records > 50 * results.len() as u64 && crashes >= results.len() as u64);
}

/// I1 to I6 with crashes at every point of a round, lost links and partitions.
#[test]
fn crashes_and_partitions() {
    run(Plan { set_back: false });
}

/// The same with one disk of each federation set back to an old copy: it never signs a second history.
#[test]
fn a_disk_that_was_set_back() {
    run(Plan { set_back: true });
}

/// An origin that does sign twice: both checkpoints are kept, its log is frozen at every level, all others go on.
#[test]
fn a_second_history_freezes_one_log() {
    World::new(1, Plan { set_back: false }).run_with_a_forger();
}
