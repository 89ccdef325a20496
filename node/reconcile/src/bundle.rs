//! Bundles: writing what a link would carry to a neighbour, and taking in what a neighbour wrote, by the same door.
//!
//! What a bundle says is believed as little as what a link says: batches are proved, heads and receipts are judged by the core.
//! Files and HTTP are not known here: bytes come and go piece by piece.

use crate::{ReconcileContext, ReconcileError, repair::RepairWriter};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::sync::Arc;
use tally_clock::now_ms;
use tally_core::{
    Input, View,
    log::{Frozen, HeldLog},
};
use tally_driver::Mail;
use tally_journal::ReadError;
use tally_protocol::{
    bundle::{BundleError, BundleReader, Item},
    ids::{Division, Federation, LogId},
    session::reconcile::Piece,
    wire::Head,
};
use tally_store::batch_map::BatchMap;
use tally_store::entries::EntryReader;
use tally_topology::signed::SignedError;
use tokio::sync::oneshot;

/// What goes into a bundle besides receipts, heads and the charter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Since {
    /// To the parent: what it has given no receipt for. To a child: nothing.
    Receipt,
    /// Everything from the first record on.
    Start,
}

/// One log's part of a bundle.
#[derive(Debug)]
struct Part {
    log: LogId,
    batches: BatchMap,
    from: u64,
    size: u64,
}

/// A bundle about to be written.
#[derive(Debug)]
pub struct Bundle {
    /// Small items, which come first.
    pub first: Vec<Item>,
    parts: Vec<Part>,
    reader: EntryReader,
}

/// What came of taking a bundle in.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Imported {
    /// Who made it.
    pub from: String,
    /// Batches in it.
    pub batches: u64,
    /// Records that were not held before.
    pub records: u64,
    /// Receipts in it.
    pub receipts: u64,
    /// Version of the charter in force now.
    pub charter: u64,
    /// BundleReader that were not taken, and why; at most 20.
    pub refused: Vec<String>,
}

/// Why a bundle could not be taken in, or only in part.
#[derive(Debug, thiserror::Error)]
pub enum ImportError {
    /// The file.
    #[error(transparent)]
    Bundle(#[from] BundleError),
    /// Made for another node, of another federation, or by no neighbour.
    #[error(transparent)]
    NotOurs(#[from] NotOurs),
    /// The node.
    #[error(transparent)]
    Reconcile(#[from] ReconcileError),
}

/// Why a bundle is not for this node.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotOurs {
    /// Another federation's.
    #[error("the bundle is of federation {theirs}, this node of {ours}")]
    Federation {
        /// The bundle's.
        theirs: String,
        /// This node's.
        ours: Federation,
    },
    /// Another node's.
    #[error("the bundle is for {to}, this node is {me}")]
    Addressee {
        /// For whom it was made.
        to: Division,
        /// This node.
        me: Division,
    },
    /// Made by a node that is neither parent nor child.
    #[error("the bundle is of {from}, which is no neighbour of {me}")]
    NoNeighbour {
        /// Who made it.
        from: Division,
        /// This node.
        me: Division,
    },
}

/// A bundle is made for the parent or a child only.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{to} is neither the parent nor a child of {me}")]
pub struct NoNeighbour {
    /// For whom it was asked.
    pub to: Division,
    /// This node.
    pub me: Division,
}

/// Why a bundle could not be completed.
#[derive(Debug, thiserror::Error)]
pub enum BundleBroken {
    /// There is a hole in the log.
    #[error("{log} record {index} is not held")]
    NotHeld {
        /// Which log.
        log: LogId,
        /// Which record.
        index: u64,
    },
    /// A batch cannot be read; repair comes first.
    #[error("{log} record {index}: {why}")]
    Unreadable {
        /// Which log.
        log: LogId,
        /// Which record.
        index: u64,
        /// The disk.
        why: ReadError,
    },
}

/// The division whose logs a bundle from `from` to this node may hold.
fn shared_with(r: &View, federation: &str, from: LogId, to: Division) -> Result<Division, NotOurs> {
    let charter = r.charter();
    if federation != charter.federation().to_string() {
        let (theirs, ours) = (federation.to_owned(), charter.federation().clone());
        return Err(NotOurs::Federation { theirs, ours });
    }
    if to != r.me() {
        return Err(NotOurs::Addressee { to, me: r.me() });
    }
    match (charter.parent(r.me()), charter.parent(from.division)) {
        (Some(parent), _) if parent == from.division => Ok(r.me()),
        (_, Some(parent)) if parent == r.me() => Ok(from.division),
        _ => Err(NotOurs::NoNeighbour { from: from.division, me: r.me() }),
    }
}

fn opening(r: &View, to: Division) -> Item {
    let (federation, charter) = (r.charter().federation().to_string(), r.charter().version());
    Item::Opening { federation, from: r.own(), to, charter, time: now_ms() / 1_000 }
}

fn contents(r: &View, to: Division, since: Since) -> Result<(Vec<Item>, Vec<Part>), NoNeighbour> {
    let up = r.charter().parent(r.me()) == Some(to);
    if !up && r.charter().parent(to) != Some(r.me()) {
        return Err(NoNeighbour { to, me: r.me() });
    }
    let division = if up { r.me() } else { to };
    let shared = || r.logs().iter().filter(|(id, l)| l.size() > 0 && r.charter().is_within(id.division, division));
    let mut items = vec![opening(r, to), Item::Charter { note: r.signed_charter().note().to_owned() }];
    for (id, log) in shared() {
        items.push(Item::Head(Head { log: *id, size: log.size(), root: log.tree().root(), note: log.note.clone() }));
        if !up {
            items.extend(log.receipts.iter().map(|(holder, x)| {
                let holder = LogId::records(*holder, x.epoch);
                Item::Receipt { log: *id, size: x.size, holder, line: x.line.clone() }
            }));
        }
    }
    let of_branch = r.logs().iter().filter(|(id, _)| r.charter().is_within(id.division, division));
    items.extend(of_branch.filter_map(|(log, held)| {
        let Frozen { evidence, reason } = held.frozen.clone()?;
        Some(Item::Conflict { log: *log, evidence, reason })
    }));
    let part = |(id, log): (&LogId, &Arc<HeldLog>)| {
        let from = match since {
            Since::Start => 0,
            Since::Receipt if up => log.receipts.get(&to).map_or(0, |x| x.size),
            Since::Receipt => log.size(),
        };
        (from < log.size()).then(|| Part { log: *id, batches: BatchMap::of(log), from, size: log.size() })
    };
    Ok((items, shared().filter_map(part).collect()))
}

impl ReconcileContext {
    /// Prepares a bundle for a neighbour.
    ///
    /// # Errors
    /// [`NoNeighbour`].
    pub fn bundle(&self, to: Division, since: Since) -> Result<Bundle, NoNeighbour> {
        let reader = self.reader.clone();
        let (first, parts) = contents(&self.mailbox.view(), to, since)?;
        Ok(Bundle { first, parts, reader })
    }
}

impl Bundle {
    /// Hands over every batch; the error names one that cannot be read. Reads the disk.
    ///
    /// # Errors
    /// [`BundleBroken`].
    pub fn batches(&self, mut take: impl FnMut(Item) -> bool) -> Result<(), BundleBroken> {
        for part in &self.parts {
            let mut at = part.from;
            while at < part.size {
                let (log, index) = (part.log, at);
                let batch = part.batches.batch_of(index).ok_or(BundleBroken::NotHeld { log, index })?;
                let unreadable = |why| BundleBroken::Unreadable { log, index, why };
                let frame = self.reader.read(batch.place).map_err(unreadable)?;
                at = batch.end;
                if !take(Item::Batch { log, bytes: frame.body }) {
                    return Ok(());
                }
            }
        }
        Ok(())
    }
}

/// Takes in a bundle whose bytes come piece by piece.
#[derive(Debug)]
pub struct Import<'g> {
    context: &'g ReconcileContext,
    items: BundleReader,
    /// Version of the maker's charter.
    charter: u64,
    /// Logs that it speaks of.
    logs: BTreeSet<LogId>,
    writer: Option<(Division, RepairWriter<'g>)>,
    done: Imported,
}

impl<'g> Import<'g> {
    /// Of a bundle that has not begun.
    pub fn new(context: &'g ReconcileContext) -> Self {
        Self {
            context,
            items: BundleReader::default(),
            charter: 0,
            logs: BTreeSet::new(),
            writer: None,
            done: Imported::default(),
        }
    }

    /// Takes more bytes.
    ///
    /// Not cancel-safe: the import can only be begun anew after a call that was dropped; what was taken stays.
    ///
    /// # Errors
    /// [`ImportError`]; what was taken until then stays.
    pub async fn feed(&mut self, bytes: &[u8]) -> Result<(), ImportError> {
        self.items.feed(bytes);
        while let Some(item) = self.items.next_item()? {
            self.take(item).await?;
        }
        Ok(())
    }

    /// The bytes have ended: waits until all that was taken is on disk.
    ///
    /// # Errors
    /// [`ImportError`].
    pub async fn finish(mut self) -> Result<Imported, ImportError> {
        if let Some((_, writer)) = &mut self.writer {
            writer.flush().await?;
            self.done.records = writer.repaired;
        }
        self.items.finish()?;
        let logs = std::mem::take(&mut self.logs);
        let view = self.context.mailbox.settled().await.map_err(ReconcileError::from)?;
        let frozen = |id: &LogId| view.log(*id)?.frozen.as_ref().map(|f| format!("{id} is frozen: {}", f.reason));
        logs.iter().filter_map(frozen).for_each(|why| self.refused(why));
        self.done.charter = view.charter().version();
        Ok(self.done)
    }

    async fn take(&mut self, item: Item) -> Result<(), ImportError> {
        let mailbox = &self.context.mailbox;
        let core = |input| async move { mailbox.send(Mail::Core(input)).await.map_err(ReconcileError::from) };
        match item {
            Item::Opening { federation, from, to, charter, .. } => {
                self.charter = charter;
                self.open(federation, from, to)?;
            }
            Item::Charter { note } => {
                // An older one is no fault: the bundle has travelled. Another one of the same version is.
                let current = mailbox.view().charter().version();
                if self.charter < current {
                    return Ok(());
                }
                let (reply, answer) = oneshot::channel();
                mailbox.send(Mail::Charter { note, reply }).await.map_err(ReconcileError::from)?;
                match answer.await {
                    Ok(Err(SignedError::NotNewer { .. })) | Ok(Ok(_)) | Err(_) => {}
                    Ok(Err(why)) => self.refused(why.to_string()),
                }
            }
            Item::Head(head) => {
                self.logs.insert(head.log);
                if let Some((from, _)) = self.writer {
                    core(Input::BundledHead { from, head }).await?;
                }
            }
            Item::Conflict { log, evidence, reason } => {
                self.logs.insert(log);
                if let Some((from, _)) = self.writer {
                    core(Input::BundledConflict { from, log, evidence, reason }).await?;
                }
            }
            Item::Receipt { log, size, holder, line } => {
                self.done.receipts = self.done.receipts.saturating_add(1);
                core(Input::BundledReceipt { log, size, holder, line }).await?;
            }
            Item::Batch { log, bytes } => {
                self.done.batches = self.done.batches.saturating_add(1);
                if let Some((_, writer)) = &mut self.writer {
                    writer.take(Piece::Whole { log, bytes }).await?;
                    let trouble = writer.trouble.take();
                    trouble.into_iter().for_each(|why| self.refused(why));
                }
            }
            Item::End { .. } => {}
        }
        Ok(())
    }

    fn refused(&mut self, why: String) {
        if self.done.refused.len() < 20 && !self.done.refused.contains(&why) {
            self.done.refused.push(why);
        }
    }

    fn open(&mut self, federation: String, from: LogId, to: Division) -> Result<(), ImportError> {
        let within = shared_with(&self.context.mailbox.view(), &federation, from, to)?;
        self.done.from = from.to_string();
        self.writer = Some((from.division, RepairWriter::new(self.context, within)));
        Ok(())
    }
}
