//! Comparing two whole histories of a log, subtree by subtree, where their roots contradict each other.

use crate::{ReconcileContext, ReconcileError};
use std::sync::Arc;
use tally_protocol::{
    ids::LogId,
    session::{Descent, TreeAnswer, TreeQuestion, answer},
};
use tally_store::batch_map::BatchMap;
use tally_store::merkle_store::{LogTree, TreeError};

impl ReconcileContext {
    /// The tree of all that is held of a log.
    pub(super) async fn tree(&self, log: LogId) -> Result<Result<Arc<LogTree>, String>, ReconcileError> {
        let view = self.mailbox.view();
        let held = view.logs().get(&log).map(|l| (BatchMap::of(l), l.size(), l.tree().root()));
        let Some((batches, size, root)) = held else { return Ok(Err(format!("{log} is not held here"))) };
        let trees = self.trees.clone();
        let open = move || trees.at(log, batches, size, &root).map(Arc::new).map_err(|e: TreeError| e.to_string());
        tokio::task::spawn_blocking(open).await.map_err(|_| ReconcileError::Thread)
    }
}

/// The answer to a neighbour's encoded question.
pub(super) async fn hashes(tree: Arc<LogTree>, question: &[u8]) -> Result<Result<Vec<u8>, String>, ReconcileError> {
    let question = match TreeQuestion::decode(question) {
        Ok(question) => question,
        Err(e) => return Ok(Err(e.to_string())),
    };
    let work = move || answer(&*tree, &question).encode();
    tokio::task::spawn_blocking(work).await.map(Ok).map_err(|_| ReconcileError::Thread)
}

/// Takes an encoded answer into the descent.
pub(super) async fn compare(
    tree: Arc<LogTree>,
    mut descent: Descent,
    bytes: Vec<u8>,
) -> Result<Result<Descent, String>, ReconcileError> {
    let work = move || {
        let answer = TreeAnswer::decode(&bytes).map_err(|e| e.to_string())?;
        descent.take(&*tree, &answer).map_err(|e| e.to_string())?;
        Ok(descent)
    };
    tokio::task::spawn_blocking(work).await.map_err(|_| ReconcileError::Thread)
}
