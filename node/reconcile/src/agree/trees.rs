//! Comparing two whole histories of a log, subtree by subtree, where their roots contradict each other.

use super::{AgreeError, Ground};
use std::sync::Arc;
use tally_protocol::{
    ids::LogId,
    session::{Answer, Descent, Question, answer},
};
use tally_store::layout::Layout;
use tally_store::tree::{LogTree, TreeError};

impl Ground {
    /// The tree of all that is held of a log.
    pub(super) async fn tree(&self, log: LogId) -> Result<Result<Arc<LogTree>, String>, AgreeError> {
        let view = self.mailbox.view();
        let held = view.logs().get(&log).map(|l| (Layout::of(l), l.size(), l.tree().root()));
        let Some((layout, size, root)) = held else { return Ok(Err(format!("{log} is not held here"))) };
        let trees = self.trees.clone();
        let open = move || trees.at(log, layout, size, &root).map(Arc::new).map_err(|e: TreeError| e.to_string());
        tokio::task::spawn_blocking(open).await.map_err(|_| AgreeError::Thread)
    }
}

/// The answer to a neighbour's encoded question.
pub(super) async fn hashes(tree: Arc<LogTree>, question: &[u8]) -> Result<Result<Vec<u8>, String>, AgreeError> {
    let question = match Question::decode(question) {
        Ok(question) => question,
        Err(e) => return Ok(Err(e.to_string())),
    };
    let work = move || answer(&*tree, &question).encode();
    tokio::task::spawn_blocking(work).await.map(Ok).map_err(|_| AgreeError::Thread)
}

/// Takes an encoded answer into the descent.
pub(super) async fn compare(
    tree: Arc<LogTree>,
    mut descent: Descent,
    bytes: Vec<u8>,
) -> Result<Result<Descent, String>, AgreeError> {
    let work = move || {
        let answer = Answer::decode(&bytes).map_err(|e| e.to_string())?;
        descent.take(&*tree, &answer).map_err(|e| e.to_string())?;
        Ok(descent)
    };
    tokio::task::spawn_blocking(work).await.map_err(|_| AgreeError::Thread)
}
