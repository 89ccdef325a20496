//! The taking end of a repair: proves pieces that a neighbour gave against the signed tree and hands them to the core. No
//! piece goes by it unproved, and it does not know where pieces come from: a session or a bundle.

use crate::{ReconcileContext, ReconcileError};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use tally_core::{Entry, NotRepaired, Place, log::HeldLog};
use tally_driver::Mail;
use tally_protocol::{
    batch::{Batch, BatchError},
    blocks::{self, PatchError},
    ids::{Division, LogId},
    merkle::Tree,
    session::reconcile::Piece,
};
use tally_topology::admit::{AdmitError, admit};
use tokio::sync::oneshot;

/// Batches on their way to disk at the same time, which share a flush: so many, and so many bytes of them.
const FLYING: usize = 16;
const FLYING_BYTES: usize = 4 << 20;

/// Why a piece of a neighbour was not taken. Others of the same neighbour may be good.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NotTaken {
    /// It is of a log that is not shared with the neighbour.
    #[error("{log} is not a log of {within} or below it")]
    NotShared {
        /// Its log.
        log: LogId,
        /// What is shared.
        within: Division,
    },
    /// It claims another log than its batch.
    #[error("a batch of {found} came as one of {said}")]
    OtherLog {
        /// The batch's.
        found: LogId,
        /// The piece's.
        said: LogId,
    },
    /// It is no batch.
    #[error(transparent)]
    Batch(#[from] BatchError),
    /// The tree before it is not known here, so its leaves cannot be proved.
    #[error("{log}: what comes before record {start} is missing too")]
    NothingBefore {
        /// Its log.
        log: LogId,
        /// Its first record.
        start: u64,
    },
    /// It does not lead to the signed root.
    #[error("{log} from record {start}: {why}")]
    NotAdmitted {
        /// Its log.
        log: LogId,
        /// Its first record.
        start: u64,
        /// What is wrong with it.
        why: AdmitError,
    },
    /// Blocks of a batch that is not held.
    #[error("{log}: no batch starts at {start}")]
    NoBatch {
        /// The log.
        log: LogId,
        /// Where it would start.
        start: u64,
    },
    /// Blocks for a batch of which nothing is left.
    #[error("nothing is left of the damaged batch")]
    NothingLeft,
    /// Blocks that do not make up their batch.
    #[error(transparent)]
    Blocks(#[from] PatchError),
    /// The core did not take it.
    #[error(transparent)]
    NotRepaired(#[from] NotRepaired),
    /// Comparing or repairing cannot go on at all.
    #[error(transparent)]
    Fatal(#[from] ReconcileError),
}

/// A batch on its way to disk.
#[derive(Debug)]
struct Flying {
    records: u64,
    bytes: usize,
    log: LogId,
    answer: oneshot::Receiver<Result<(), NotRepaired>>,
}

/// Takes pieces from a neighbour: proves each against the signed tree, and puts it back.
#[derive(Debug)]
pub(crate) struct RepairWriter<'g> {
    context: &'g ReconcileContext,
    /// Nothing outside of this division is taken.
    within: Division,
    edges: BTreeMap<LogId, Tree>,
    flying: VecDeque<Flying>,
    /// Records that came back.
    pub(crate) repaired: u64,
    /// Batches whose blocks did not make up the whole: to be asked for whole.
    pub(crate) whole: BTreeSet<(LogId, u64)>,
    /// Why something was not taken, the last of it.
    pub(crate) trouble: Option<String>,
}

impl<'g> RepairWriter<'g> {
    pub(crate) fn new(context: &'g ReconcileContext, within: Division) -> Self {
        let (edges, flying, whole) = (BTreeMap::new(), VecDeque::new(), BTreeSet::new());
        Self { context, within, edges, flying, repaired: 0, whole, trouble: None }
    }

    /// Takes a piece. A bad one is noted and passed over: others may be good.
    ///
    /// Not cancel-safe: a piece is lost with a call that is dropped, and fetched again by the next comparison.
    pub(crate) async fn take(&mut self, piece: Piece) -> Result<(), ReconcileError> {
        let by_blocks = match &piece {
            Piece::Blocks { log, start, .. } => Some((*log, *start)),
            Piece::Whole { .. } => None,
        };
        match self.put(piece).await {
            Ok(()) => {}
            Err(NotTaken::Fatal(e)) => return Err(e),
            Err(why) => {
                self.whole.extend(by_blocks);
                self.trouble = Some(why.to_string());
            }
        }
        Ok(())
    }

    /// Proves a piece and hands it to the core; waits only while too much is on its way to disk.
    async fn put(&mut self, piece: Piece) -> Result<(), NotTaken> {
        let (log, bytes) = match piece {
            Piece::Whole { log, bytes } => (log, bytes),
            Piece::Blocks { log, start, total, blocks } => (log, self.patched(log, start, total, blocks).await?),
        };
        let charter = self.context.charter.charter();
        if !charter.charter().is_within(log.division, self.within) {
            return Err(NotTaken::NotShared { log, within: self.within });
        }
        let (start, end) = match Batch::decode(&bytes) {
            Ok(batch) if batch.log == log => (batch.start, batch.end),
            Ok(batch) => return Err(NotTaken::OtherLog { found: batch.log, said: log }),
            Err(e) => return Err(e.into()),
        };
        // What is here already, by a push that was faster or an earlier bundle, is no fault and no news.
        let wanted = move |l: &HeldLog| l.misses(start, end) || end > l.size();
        if !self.context.mailbox.view().log(log).is_none_or(wanted) {
            return Ok(());
        }
        let before = match self.edges.remove(&log).filter(|t| t.size() == start) {
            Some(tree) => tree,
            None => self.edge(log, start).await?.ok_or(NotTaken::NothingBefore { log, start })?,
        };
        let admitted = tokio::task::spawn_blocking(move || admit(charter.charter(), log, &before, bytes));
        let admitted = admitted.await.map_err(|_| ReconcileError::Thread)?;
        let batch = admitted.map_err(|why| NotTaken::NotAdmitted { log, start, why })?;
        self.edges.insert(log, batch.tree().clone());
        let (reply, answer) = oneshot::channel();
        let (records, bytes) = (batch.end().saturating_sub(batch.start()), batch.bytes().len());
        self.context.mailbox.send(Mail::Repair { batch, reply }).await.map_err(ReconcileError::from)?;
        self.flying.push_back(Flying { log, records, bytes, answer });
        while self.flying.len() >= FLYING || self.flying.iter().map(|f| f.bytes).sum::<usize>() > FLYING_BYTES {
            self.landed().await?;
        }
        Ok(())
    }

    /// Waits until everything that was taken is on disk.
    ///
    /// Not cancel-safe: a batch whose answer was awaited is not counted.
    pub(crate) async fn flush(&mut self) -> Result<(), ReconcileError> {
        while !self.flying.is_empty() {
            self.landed().await?;
        }
        Ok(())
    }

    /// Waits for the batch that was handed to the core first.
    async fn landed(&mut self) -> Result<(), ReconcileError> {
        let Some(Flying { log, records, answer, .. }) = self.flying.pop_front() else { return Ok(()) };
        match answer.await.map_err(|_| tally_driver::Stopping)? {
            Ok(()) => self.repaired = self.repaired.saturating_add(records),
            // A push or another neighbour was faster: they are here, which is all that was wanted.
            Err(NotRepaired::NotMissing { start, end })
                if self.context.mailbox.view().log(log).is_some_and(|l| end <= l.size() && !l.misses(start, end)) => {}
            Err(why) => self.trouble = Some(NotTaken::from(why).to_string()),
        }
        Ok(())
    }

    /// The tree before record `start`, from the head of the frame that ends there, if its root is the one held signed.
    async fn edge(&self, log: LogId, start: u64) -> Result<Option<Tree>, ReconcileError> {
        if start == 0 {
            return Ok(Some(Tree::default()));
        }
        let view = self.context.mailbox.view();
        let batch = view.log(log).and_then(|held| {
            if held.size() == start {
                return Some((Place(0), held.tree().root(), Some(held.tree().clone())));
            }
            let (_, before) = held.batch_of(start.checked_sub(1)?).filter(|(end, _)| *end == start)?;
            Some((before.place, before.root, None))
        });
        let Some((place, root, tree)) = batch else { return Ok(None) };
        if tree.is_some() {
            return Ok(tree);
        }
        let reader = self.context.reader.clone();
        let head = tokio::task::spawn_blocking(move || reader.head(place)).await.map_err(|_| ReconcileError::Thread)?;
        let Ok(Entry::Batch { tree, .. }) = head else { return Ok(None) };
        Ok(Some(tree).filter(|t| (t.size(), t.root()) == (start, root)))
    }

    /// The whole batch, made of what is left of the damaged copy and the blocks that came.
    async fn patched(
        &self,
        log: LogId,
        start: u64,
        total: u32,
        blocks: Vec<(u32, Vec<u8>)>,
    ) -> Result<Vec<u8>, NotTaken> {
        let view = self.context.mailbox.view();
        let place = view.log(log).and_then(|l| l.batch_at(start)).map(|(_, h)| h.place);
        let place = place.ok_or(NotTaken::NoBatch { log, start })?;
        let reader = self.context.reader.clone();
        let remains =
            tokio::task::spawn_blocking(move || reader.remains(place)).await.map_err(|_| ReconcileError::Thread)?;
        let (damaged, _) = remains.ok_or(NotTaken::NothingLeft)?;
        Ok(blocks::patch(&damaged, total as usize, &blocks)?)
    }
}
