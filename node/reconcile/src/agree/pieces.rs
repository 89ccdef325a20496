//! Batches in and out of the journal for a neighbour: cut as they are wanted, proved before they are put back.

use super::{AgreeError, Ground};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use tally_core::{Entry, Place, log::HeldLog};
use tally_driver::Mail;
use tally_protocol::{
    batch::Batch,
    blocks,
    hash::Hash,
    ids::{Division, LogId},
    merkle::Tree,
    session::{
        Wants,
        reconcile::{Lacking, Piece},
    },
};
use tally_store::entries::EntryReader;
use tally_store::layout::Layout;
use tally_topology::admit::admit;
use tokio::sync::oneshot;

/// Batches on their way to disk at the same time, which share a flush: so many, and so many bytes of them.
const FLYING: usize = 16;
const FLYING_BYTES: usize = 4 << 20;

/// Cuts the batches of one log that are wanted, one at a time.
pub(super) struct Cutter {
    log: LogId,
    layout: Layout,
    reader: EntryReader,
    wants: Wants,
    remains: BTreeMap<u64, Vec<u32>>,
    at: u64,
}

impl Cutter {
    pub(super) fn new(ground: &Ground, log: LogId, lacking: Lacking) -> Result<Self, AgreeError> {
        let layout = ground.mailbox.view().logs().get(&log).map(Layout::of).unwrap_or_default();
        let wants = Wants::decode(&lacking.wants).ok().filter(|w| w.log == log).unwrap_or_else(|| Wants::new(log));
        let remains = lacking.remains.into_iter().map(|r| (r.start, r.sums)).collect();
        Ok(Self { log, layout, reader: ground.reader.clone(), wants, remains, at: 0 })
    }

    /// The next piece; what cannot be read here either is passed over. Reads the disk.
    fn cut(&mut self) -> Option<Piece> {
        loop {
            let index = self.wants.first_from(self.at)?;
            let Some(lying) = self.layout.batch_of(index) else {
                // Not held: go on where the next batch starts.
                self.at = self.layout.next_start(index).unwrap_or(u64::MAX);
                continue;
            };
            self.at = lying.end;
            let Ok(frame) = self.reader.read(lying.place) else { continue };
            let Entry::Batch { log, start, .. } = frame.entry else { continue };
            if (log, start) != (self.log, lying.start) {
                continue;
            }
            let total = frame.body.len();
            if let Some(sums) = self.remains.get(&start) {
                let blocks = blocks::differing(&frame.body, sums);
                if blocks.len() * blocks::BLOCK_BYTES < total / 2 {
                    let blocks = blocks.into_iter().map(|(i, b)| (i, b.to_vec())).collect();
                    return Some(Piece::Blocks { log, start, total: total as u32, blocks });
                }
            }
            return Some(Piece::Whole { log, bytes: frame.body });
        }
    }

    pub(super) async fn next(mut self) -> Result<(Self, Option<Piece>), AgreeError> {
        tokio::task::spawn_blocking(move || {
            let piece = self.cut();
            (self, piece)
        })
        .await
        .map_err(|_| AgreeError::Thread)
    }
}

/// A batch on its way to disk.
#[derive(Debug)]
struct Flying {
    records: u64,
    bytes: usize,
    answer: oneshot::Receiver<Result<(), String>>,
}

/// Takes pieces from a neighbour: proves each against the signed tree, and puts it back.
#[derive(Debug)]
pub(super) struct Putter<'g> {
    ground: &'g Ground,
    /// Nothing outside of this division is taken.
    within: Division,
    edges: BTreeMap<LogId, Tree>,
    flying: VecDeque<Flying>,
    /// Records that came back.
    pub(super) put_back: u64,
    /// Batches whose blocks did not make up the whole: to be asked for whole.
    pub(super) whole: BTreeSet<(LogId, u64)>,
    /// Why something was not taken, the last of it.
    pub(super) trouble: Option<String>,
}

impl<'g> Putter<'g> {
    pub(super) fn new(ground: &'g Ground, within: Division) -> Self {
        let (edges, flying, whole) = (BTreeMap::new(), VecDeque::new(), BTreeSet::new());
        Self { ground, within, edges, flying, put_back: 0, whole, trouble: None }
    }

    /// Takes a piece. A bad one is noted and passed over: others may be good.
    pub(super) async fn take(&mut self, piece: Piece) -> Result<(), AgreeError> {
        let by_blocks = match &piece {
            Piece::Blocks { log, start, .. } => Some((*log, *start)),
            Piece::Whole { .. } => None,
        };
        if let Err(why) = self.put(piece).await? {
            self.whole.extend(by_blocks);
            self.trouble = Some(why);
        }
        Ok(())
    }

    async fn put(&mut self, piece: Piece) -> Result<Result<(), String>, AgreeError> {
        let (log, bytes) = match piece {
            Piece::Whole { log, bytes } => (log, bytes),
            Piece::Blocks { log, start, total, blocks } => match self.patched(log, start, total, blocks).await? {
                Ok(bytes) => (log, bytes),
                Err(why) => return Ok(Err(why)),
            },
        };
        let charter = self.ground.charter.charter();
        if !charter.charter().is_within(log.division, self.within) {
            return Ok(Err(format!("{log} is not a log of {} or below it", self.within)));
        }
        let (start, end) = match Batch::decode(&bytes) {
            Ok(batch) if batch.log == log => (batch.start, batch.end),
            Ok(batch) => return Ok(Err(format!("a batch of {} came as one of {log}", batch.log))),
            Err(e) => return Ok(Err(e.to_string())),
        };
        // What is here already, by a push that was faster or an earlier bundle, is no fault and no news.
        let wanted = move |l: &HeldLog| l.misses(start, end) || end > l.size();
        if !self.ground.mailbox.view().log(log).is_none_or(wanted) {
            return Ok(Ok(()));
        }
        let before = match self.edges.remove(&log).filter(|t| t.size() == start) {
            Some(tree) => tree,
            None => match self.edge(log, start).await? {
                Some(tree) => tree,
                None => return Ok(Err(format!("{log}: what comes before record {start} is missing too"))),
            },
        };
        let admitted = tokio::task::spawn_blocking(move || admit(charter.charter(), log, &before, bytes));
        let batch = match admitted.await.map_err(|_| AgreeError::Thread)? {
            Ok(batch) => batch,
            Err(why) => return Ok(Err(format!("{log} from record {start}: {why}"))),
        };
        self.edges.insert(log, batch.tree().clone());
        let (reply, answer) = oneshot::channel();
        let (records, bytes) = (batch.end() - batch.start(), batch.bytes().len());
        self.ground.mailbox.send(Mail::Repair { batch, reply }).await?;
        self.flying.push_back(Flying { records, bytes, answer });
        while self.flying.len() >= FLYING || self.flying.iter().map(|f| f.bytes).sum::<usize>() > FLYING_BYTES {
            self.landed().await?;
        }
        Ok(Ok(()))
    }

    /// Waits until everything that was taken is on disk.
    pub(super) async fn flush(&mut self) -> Result<(), AgreeError> {
        while !self.flying.is_empty() {
            self.landed().await?;
        }
        Ok(())
    }

    async fn landed(&mut self) -> Result<(), AgreeError> {
        let Some(Flying { records, answer, .. }) = self.flying.pop_front() else { return Ok(()) };
        match answer.await.map_err(|_| tally_driver::Stopping)? {
            Ok(()) => self.put_back += records,
            Err(why) => self.trouble = Some(why),
        }
        Ok(())
    }

    /// The tree before record `start`, from the head of the frame that ends there, if its root is the one held signed.
    async fn edge(&self, log: LogId, start: u64) -> Result<Option<Tree>, AgreeError> {
        if start == 0 {
            return Ok(Some(Tree::default()));
        }
        let view = self.ground.mailbox.view();
        let lying = view.log(log).and_then(|held| {
            if held.size() == start {
                return Some((Place(0), held.tree().root(), Some(held.tree().clone())));
            }
            let (_, before) = held.batch_of(start - 1).filter(|(end, _)| *end == start)?;
            Some((before.place, before.root, None))
        });
        let Some((place, root, tree)) = lying else { return Ok(None) };
        if tree.is_some() {
            return Ok(tree);
        }
        let reader = self.ground.reader.clone();
        let head = tokio::task::spawn_blocking(move || reader.head(place)).await.map_err(|_| AgreeError::Thread)?;
        let Ok(Entry::Batch { tree, .. }) = head else { return Ok(None) };
        Ok(Some(tree).filter(|t| (t.size(), t.root()) == (start, root)))
    }

    async fn patched(
        &self,
        log: LogId,
        start: u64,
        total: u32,
        blocks: Vec<(u32, Vec<u8>)>,
    ) -> Result<Result<Vec<u8>, String>, AgreeError> {
        let view = self.ground.mailbox.view();
        let place = view.log(log).and_then(|l| l.batch_at(start)).map(|(_, h)| h.place);
        let Some(place) = place else { return Ok(Err(format!("{log}: no batch starts at {start}"))) };
        let reader = self.ground.reader.clone();
        let remains =
            tokio::task::spawn_blocking(move || reader.remains(place)).await.map_err(|_| AgreeError::Thread)?;
        let Some((damaged, _)) = remains else { return Ok(Err("nothing is left of the damaged batch".into())) };
        Ok(blocks::patch(&damaged, total as usize, &blocks).map_err(|e| e.to_string()))
    }
}

/// Roots of logs at sizes where a batch ends.
pub(super) fn roots(ground: &Ground, wanted: &[(LogId, u64)]) -> Vec<Option<Hash>> {
    let view = ground.mailbox.view();
    wanted.iter().map(|(log, size)| view.log(*log)?.root_at(*size)).collect()
}
