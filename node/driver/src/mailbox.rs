//! The driver's mailbox: how everybody else speaks to it, and the view by which they see what it did.
//!
//! The queue is bounded; whoever sends waits. Answers that mean "durable" come after the flush of the round.

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicU8, AtomicU64, Ordering},
    },
    time::Duration,
};
use tally_clock::wall_ms;
use tally_core::{Input, NotRepaired, NotSealed, View};
use tally_journal::{Damage, Shortage};
use tally_link::LinkEvent;
use tally_protocol::{hash::Hash, ids::LogId, record::Record};
use tally_topology::{admit::AdmittedBatch, signed::SignedError};
use tokio::sync::{mpsc, oneshot, watch};

/// Messages that may wait for the driver. Batches are bounded by bytes before they come here.
const MAILBOX: usize = 256;

/// One message to the driver.
pub enum Mail {
    /// For the core.
    Core(Input),
    /// What a link tells.
    Link(LinkEvent),
    /// Records to seal; the answer means durable.
    Seal {
        /// 1 to `BATCH_RECORDS_MAX`.
        records: Vec<Record>,
        /// The answer to the one before it is not known yet: if that one is not sealed, this is not either.
        follows: bool,
        /// First index and one past the last.
        reply: oneshot::Sender<Result<(u64, u64), NotSealed>>,
    },
    /// A charter from the operator.
    Charter {
        /// The signed note.
        note: String,
        /// Version in force, or why not.
        reply: oneshot::Sender<Result<u64, SignedError>>,
    },
    /// The operator opens the gate where nobody can answer.
    OpenGate {
        /// Why, for people.
        reason: String,
        /// Or why it cannot be opened.
        reply: oneshot::Sender<Result<(), String>>,
    },
    /// A batch for the place of damaged or missing bytes; the answer means durable.
    Repair {
        /// Admitted against the tree before it.
        batch: AdmittedBatch,
        /// Or why it does not count.
        reply: oneshot::Sender<Result<(), NotRepaired>>,
    },
    /// Put a damaged place of the journal right.
    Mend {
        /// Where.
        damage: Damage,
        /// For the note in the quarantine folder.
        why: String,
        /// Or why it could not be.
        reply: oneshot::Sender<Result<(), String>>,
    },
    /// Put the journal's open file back if it was deleted or exchanged; answers whether it was.
    Rescue(oneshot::Sender<bool>),
    /// Make durable all that was written.
    Flush(oneshot::Sender<()>),
    /// Answered once everything before it has taken effect and stands in the view.
    Settle(oneshot::Sender<()>),
    /// Finish this round, flush, and end.
    Stop,
}

impl fmt::Debug for Mail {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Core(..) => "Core",
            Self::Link(_) => "Link",
            Self::Seal { .. } => "Seal",
            Self::Charter { .. } => "Charter",
            Self::OpenGate { .. } => "OpenGate",
            Self::Repair { .. } => "Repair",
            Self::Mend { .. } => "Mend",
            Self::Rescue(_) => "Rescue",
            Self::Flush(_) => "Flush",
            Self::Settle(_) => "Settle",
            Self::Stop => "Stop",
        })
    }
}

/// A question of the core to whoever can read the journal: the root of a log's first `size` records, and the consistency path
/// from there to the tree of `against` records. The answer is [`Input::HeadCompared`], whether or not it can be had.
#[derive(Debug, Clone, Copy)]
pub struct HeadQuestion {
    /// Which log.
    pub log: LogId,
    /// The size at which a neighbour's head stands.
    pub size: u64,
    /// The size that is held.
    pub against: u64,
    /// The root that is held.
    pub root: Hash,
}

/// The driver has ended: the node is stopping.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the node is stopping")]
pub struct Stopping;

/// The sending end.
#[derive(Debug, Clone)]
pub struct Mailbox {
    mail: mpsc::Sender<Mail>,
    busy_until_ms: Arc<AtomicU64>,
    /// See [`Mailbox::shortage`]; 0: nothing is wanting.
    shortage: Arc<AtomicU8>,
    /// See [`Mailbox::free_bytes`]; the largest number: not known.
    free: Arc<AtomicU64>,
    beats: Arc<AtomicU64>,
    view: watch::Receiver<Arc<View>>,
}

/// What may be wanting, by its number less 1.
const SHORTAGES: [Shortage; 3] = [Shortage::Bytes, Shortage::Inodes, Shortage::Descriptors];

impl Mailbox {
    /// A mailbox, and the end that the driver reads. `view` is kept by the driver.
    pub fn new(view: watch::Receiver<Arc<View>>) -> (Self, mpsc::Receiver<Mail>) {
        let (mail, read) = mpsc::channel(MAILBOX);
        let (busy_until_ms, shortage, beats) = Default::default();
        let free = Arc::new(AtomicU64::new(u64::MAX));
        (Self { mail, busy_until_ms, shortage, free, beats, view }, read)
    }

    /// The node as it stood at the end of the last round. Never waits.
    pub fn view(&self) -> Arc<View> {
        self.view.borrow().clone()
    }

    /// The node once everything that was sent before has taken effect.
    ///
    /// Cancel-safe: nothing waits for a caller that has gone.
    ///
    /// # Errors
    /// [`Stopping`].
    pub async fn settled(&self) -> Result<Arc<View>, Stopping> {
        let (reply, answer) = oneshot::channel();
        self.send(Mail::Settle(reply)).await?;
        answer.await.map_err(|_| Stopping)?;
        Ok(self.view())
    }

    /// Waits for a place in the queue.
    ///
    /// Not cancel-safe: the message is lost with a call that is dropped before there was one.
    ///
    /// # Errors
    /// [`Stopping`].
    pub async fn send(&self, mail: Mail) -> Result<(), Stopping> {
        self.mail.send(mail).await.map_err(|_| Stopping)
    }

    /// How long the parent has asked to be left alone.
    pub fn parent_busy(&self) -> Duration {
        let until = self.busy_until_ms.load(Ordering::Relaxed);
        Duration::from_millis(until.saturating_sub(wall_ms())).min(Duration::from_secs(300))
    }

    /// The parent has asked to be left alone until then, POSIX milliseconds.
    pub fn set_parent_busy(&self, until_ms: u64) {
        self.busy_until_ms.store(until_ms, Ordering::Relaxed);
    }

    /// What the node is short of; while it is, nothing more is taken in. It goes on by itself.
    pub fn shortage(&self) -> Option<Shortage> {
        shortage_of(self.shortage.load(Ordering::Relaxed))
    }

    /// Bytes that were free on the data's file system when that was last looked at, within the last seconds; `None`: not known.
    pub fn free_bytes(&self) -> Option<u64> {
        Some(self.free.load(Ordering::Relaxed)).filter(|free| *free < u64::MAX)
    }

    /// So many are free.
    pub(crate) fn set_free_bytes(&self, free: u64) {
        self.free.store(free, Ordering::Relaxed);
    }

    /// The driver has found that something is wanting, or nothing any more. Answers what was before.
    pub fn set_shortage(&self, shortage: Option<Shortage>) -> Option<Shortage> {
        let number = SHORTAGES.iter().zip(1..).find(|(s, _)| Some(**s) == shortage).map_or(0, |(_, n)| n);
        shortage_of(self.shortage.swap(number, Ordering::Relaxed))
    }

    /// The driver gets on: it has ended a round, or waits for room and has tried again.
    pub fn beat(&self) {
        self.beats.fetch_add(1, Ordering::Relaxed);
    }

    /// How often the driver got on so far: more with each tick, as long as it lives.
    pub fn beats(&self) -> u64 {
        self.beats.load(Ordering::Relaxed)
    }
}

fn shortage_of(number: u8) -> Option<Shortage> {
    SHORTAGES.get(usize::from(number).checked_sub(1)?).copied()
}
