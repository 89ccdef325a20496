//! Faults that the disk shows and that are not mended yet. Each stands here as what goes wrong today; the day it does
//! not go wrong any more its test fails, and the scene moves to those that must hold.
//!
//! | Scene | What is broken today | Where |
//! |---|---|---|
//! | A flush fails, the process ends and starts again, then the power goes | I1, I2: records are acknowledged and receipts given for bytes that were never written; charters in force go back; durable frames between lost pages are called damaged | `journal/src/open.rs`: what the cache shows behind the last durable place is taken for durable after one more flush |
//! | A flush fails once | The process ends; it could write the round again into a new segment | `journal/src/journal.rs`: any error ends the journal |
//! | There is no room for a moment | The process ends; it could cut back, wait and go on | the same |

use crate::{
    Doing, EIO, ENOSPC, Fault, lives,
    oracle::{Broken, hold},
    run,
    world::World,
};
use tally_tests::rng::Rng;

/// Enough to see each fault many times.
const SEEDS: std::ops::Range<u64> = 1..21;

fn flushes_fail(rng: &mut Rng) -> Option<Fault> {
    Some(Fault { doing: Doing::Flush, after: rng.below(20), times: 1, error: EIO })
}

#[test]
fn a_failed_flush_is_forgotten_by_a_restart() {
    let (_, broken) = run(SEEDS, |seed, sum| lives(seed, sum, flushes_fail));
    for text in &broken {
        println!("{text}");
    }
    let of = |word: &str| broken.iter().filter(|b| b.contains(word)).count();
    assert!(of("I1: ") > 0, "acknowledged records outlive a failed flush now: this is not a known fault any more");
    assert!(of("I2: ") > 0, "receipts outlive a failed flush now: this is not a known fault any more");
}

/// One call fails while a node runs; whether that ended it.
fn ends_by(fault: Fault) -> Result<bool, Broken> {
    let mut world = World::new(3);
    world.start()?;
    world.is_not_stuck()?;
    world.volume.fail(Some(fault));
    for _ in 0..50 {
        world.step()?;
        if world.volume.failed() > 0 {
            return Ok(!world.runs());
        }
    }
    hold!(false, "nothing failed");
    Ok(false)
}

#[test]
fn one_failed_flush_ends_the_process() {
    let ended = ends_by(Fault { doing: Doing::Flush, after: 3, times: 1, error: EIO });
    assert!(ended.unwrap(), "a node goes on after a flush that failed: this is not a known fault any more");
}

#[test]
fn no_room_for_a_moment_ends_the_process() {
    let ended = ends_by(Fault { doing: Doing::Write, after: 3, times: 1, error: ENOSPC });
    assert!(ended.unwrap(), "a node waits for room and goes on: this is not a known fault any more");
}
