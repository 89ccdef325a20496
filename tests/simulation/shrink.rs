//! Makes a failing run small: steps are left out, in ever smaller pieces, as long as what remains breaks the same promise.

use crate::{
    oracle::Broken,
    step::{Plan, Step},
    trace,
};

/// The most runs that are spent on it.
const RUNS_MAX: usize = 4_000;

/// The smallest failing part of `steps` that was found (ddmin of Zeller and Hildebrandt, complements only).
pub fn shrink(plan: &Plan, steps: &[Step], broken: &Broken) -> Vec<Step> {
    smallest(steps, |part| trace::outcome(plan, part).is_err_and(|why| why.which() == broken.which()))
}

fn smallest(steps: &[Step], mut fails: impl FnMut(&[Step]) -> bool) -> Vec<Step> {
    let mut left = steps.to_vec();
    let (mut pieces, mut runs) = (2, 0);
    while !left.is_empty() && runs < RUNS_MAX {
        let size = left.len().div_ceil(pieces);
        let mut at = 0;
        let before = left.len();
        while at < left.len() && runs < RUNS_MAX {
            let end = (at + size).min(left.len());
            let without = [&left[..at], &left[end..]].concat();
            runs += 1;
            if fails(&without) {
                left = without;
            } else {
                at = end;
            }
        }
        if size == 1 && left.len() == before {
            break;
        }
        pieces = if size == 1 { left.len() } else { (pieces * 2).min(left.len()) }.max(1);
    }
    left
}

#[test]
fn what_does_not_matter_is_left_out() {
    let steps: Vec<_> = (0..100).map(|ms| Step::Wait { ms }).collect();
    let has = |part: &[Step], ms| part.contains(&Step::Wait { ms });
    let left = smallest(&steps, |part| has(part, 17) && has(part, 83));
    assert_eq!(left, [Step::Wait { ms: 17 }, Step::Wait { ms: 83 }]);
}
