//! Roots for the core: a neighbour's head stands inside a log that is held, and only the records tell whether it is the same
//! history.
//!
//! The core asks, the trees of the journal answer; whether it is a fork is the core's to say.

use crate::ReconcileContext;
use tally_core::Input;
use tally_driver::{HeadQuestion, Mail};
use tally_protocol::{hash::Hash, merkle::Tree};
use tally_store::{batch_map::BatchMap, merkle_store::TreeError};
use tokio::sync::mpsc;

/// Answers the core's questions, one after the other.
///
/// Not cancel-safe: a question that was taken is not answered by a call that was dropped.
pub async fn answer(context: ReconcileContext, mut questions: mpsc::Receiver<HeadQuestion>) {
    while let Some(question) = questions.recv().await {
        let HeadQuestion { log, size, .. } = question;
        let asked = context.clone();
        let shown = match tokio::task::spawn_blocking(move || show(&asked, question)).await {
            Ok(Ok(shown)) => shown,
            Ok(Err(e)) => {
                tracing::warn!(event = "head.not_compared", %log, size, reason = %e, "a neighbour's head cannot be compared with the records here");
                None
            }
            Err(_) => None,
        };
        if context.mailbox.send(Mail::Core(Input::HeadCompared { log, size, shown })).await.is_err() {
            return;
        }
    }
}

/// The root of the first `size` records and the path from there. `None`: the log is not held any more.
fn show(context: &ReconcileContext, question: HeadQuestion) -> Result<Option<(Hash, Vec<Hash>)>, TreeError> {
    let HeadQuestion { log, size, against, root } = question;
    let view = context.mailbox.view();
    let Some(held) = view.logs().get(&log) else { return Ok(None) };
    let tree = context.trees.at(log, BatchMap::of(held), against, &root)?;
    if size == 0 {
        return Ok(Some((Tree::default().root(), Vec::new())));
    }
    Ok(Some((tree.range_hash(0..size)?, tree.consistency(size, against)?)))
}
