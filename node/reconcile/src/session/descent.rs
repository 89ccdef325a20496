//! Comparing two whole histories of a log, subtree by subtree, where their roots contradict each other. Reads the disk; what
//! differs is decided by `protocol::session::Descent`.

use crate::{ReconcileContext, ReconcileError};
use std::sync::Arc;
use tally_protocol::{
    codec::CodecError,
    ids::LogId,
    session::{Descent, DescentError, TreeAnswer, TreeQuestion, answer},
};
use tally_store::batch_map::BatchMap;
use tally_store::merkle_store::{LogTree, TreeError};

/// Why two histories could not be compared.
#[derive(Debug, thiserror::Error)]
pub(super) enum NoDescent {
    /// Nothing of the log is held here.
    #[error("{0} is not held here")]
    NotHeld(LogId),
    /// Its records cannot be read here.
    #[error(transparent)]
    Tree(#[from] TreeError),
    /// The neighbour's message cannot be read.
    #[error(transparent)]
    Form(#[from] CodecError),
    /// The neighbour's answer does not fit its question.
    #[error(transparent)]
    Descent(#[from] DescentError),
    /// Nothing can go on.
    #[error(transparent)]
    Fatal(#[from] ReconcileError),
}

impl ReconcileContext {
    /// The tree of all that is held of a log.
    ///
    /// Cancel-safe: a reading that goes on by itself is kept for the next caller.
    pub(super) async fn tree(&self, log: LogId) -> Result<Arc<LogTree>, NoDescent> {
        let view = self.mailbox.view();
        let held = view.logs().get(&log).map(|l| (BatchMap::of(l), l.size(), l.tree().root()));
        let (batches, size, root) = held.ok_or(NoDescent::NotHeld(log))?;
        let trees = self.trees.clone();
        let open = move || trees.at(log, batches, size, &root).map(Arc::new);
        Ok(tokio::task::spawn_blocking(open).await.map_err(|_| ReconcileError::Thread)??)
    }
}

/// The answer to a neighbour's encoded question.
///
/// Cancel-safe: it changes nothing.
pub(super) async fn hashes(tree: Arc<LogTree>, question: &[u8]) -> Result<Vec<u8>, NoDescent> {
    let question = TreeQuestion::decode(question)?;
    let work = move || answer(&*tree, &question).encode();
    Ok(tokio::task::spawn_blocking(work).await.map_err(|_| ReconcileError::Thread)?)
}

/// Takes an encoded answer into the descent.
///
/// Not cancel-safe: the descent is lost with a call that is dropped.
pub(super) async fn compare(tree: Arc<LogTree>, mut descent: Descent, bytes: Vec<u8>) -> Result<Descent, NoDescent> {
    let work = move || {
        let answer = TreeAnswer::decode(&bytes)?;
        descent.take(&*tree, &answer)?;
        Ok(descent)
    };
    tokio::task::spawn_blocking(work).await.map_err(|_| ReconcileError::Thread)?
}
