//! Old answers go, and what became of rows that were staged: by the day on which this node and its neighbours agree.
//!
//! A clock that is ahead would remove everything that is kept, so a node whose clock stands apart from its neighbours'
//! removes nothing, nor one that can ask nobody although it has neighbours. How long answers are kept is intake's to say.

use std::{path::PathBuf, time::Duration};
use tally_core::View;
use tally_driver::Mailbox;
use tally_intake::submission::SubmissionStore;
use tally_store::staged::StagedStore;

/// First after so long, when links have come up.
const FIRST: Duration = Duration::from_secs(120);
/// Then so often.
const EVERY: Duration = Duration::from_secs(6 * 3_600);
/// A clock further from the neighbours' than this, in milliseconds, tells no day.
const APART_MS: u64 = 24 * 3_600_000;

/// Removes old answers until the node stops.
///
/// Cancel-safe: what a removal that was dropped leaves is removed by the next one.
pub(super) async fn run(answers: SubmissionStore, staged: PathBuf, mailbox: Mailbox) {
    let mut after = FIRST;
    loop {
        tokio::time::sleep(after).await;
        after = EVERY;
        if !clock_is_shared(&mailbox.view()) {
            tracing::info!(event = "answers.not_pruned", "no neighbour confirms this node's clock: old answers stay");
            continue;
        }
        let (store, staged) = (answers.clone(), staged.clone());
        let prune = move || {
            let outcomes = StagedStore::prune(&staged, tally_clock::now_ms() / 1_000);
            store.prune_old(tally_clock::today()).and(outcomes)
        };
        if let Ok(Err(e)) = tokio::task::spawn_blocking(prune).await {
            tracing::warn!(event = "answers.prune", reason = %e, "old answers could not be removed");
        }
    }
}

/// Whether linked neighbours have about the same time; whoever has no neighbour to ask goes by its own.
fn clock_is_shared(view: &View) -> bool {
    let parent = view.parent().link.iter().filter(|l| l.welcomed).map(|l| l.skew_ms);
    let children = view.children().values().filter_map(|c| c.link.as_ref()).filter(|l| l.welcomed).map(|l| l.skew_ms);
    let alone = view.is_offline()
        || view.charter().parent(view.me()).is_none() && view.charter().children(view.me()).all(|n| n.retired);
    agree(parent.chain(children).collect(), alone)
}

/// Whether the middle one of the differences is small; without any, whether there is nobody to ask.
fn agree(mut skews: Vec<i64>, alone: bool) -> bool {
    skews.sort_unstable();
    skews.get(skews.len() / 2).map_or(alone, |skew| skew.unsigned_abs() < APART_MS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_that_stands_apart_removes_nothing() {
        let year = 365 * 86_400_000;
        for (skews, alone, goes) in [
            (vec![], true, true),
            (vec![], false, false),
            (vec![40], false, true),
            (vec![-year], false, false),
            (vec![year, 5, -3], false, true),
            (vec![i64::MIN, i64::MIN, 5], false, false),
        ] {
            assert_eq!(agree(skews.clone(), alone), goes, "{skews:?}");
        }
    }
}
