//! Faults that the disk shows and that are not mended yet. Each stands here as what goes wrong today; the day it does
//! not go wrong any more its test fails, and the scene moves to those that must hold.
//!
//! | Scene | What is broken | Where |
//! |---|---|---|
//! | A flush fails, the process ends and starts again, then the power goes | I1, I2: records that were acknowledged and receipts that were given after the restart are for bytes that were never written | `journal/open.rs`: what the cache shows behind the last durable place is taken for durable after one more flush |

use crate::{EIO, Fault, lives, random::Rng, run, volume::Doing};

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
