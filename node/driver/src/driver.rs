//! The driver: one thread that owns the core and the journal.
//!
//! A round: wait for mail, let the core handle all that is there, write every frame, flush once, report the frames to
//! the core, publish the view, and only then dispatch what is to be said. One owner, one flush for all logs, and nothing is
//! said before it is on disk (I2). Where there is no room the round waits (`patience.rs`). Once a second it looks whether
//! the journal's folder and file are still there.
//!
//! It decides nothing: what mail means is the core's to say, how frames are kept the journal's. It must not wait for
//! anybody but its mailbox and the disk.

use crate::{
    Anchor, AnchorError, HeadQuestion, Mail, Mailbox,
    patience::{Patient, RoundError, Space},
    seal_order::SealOrder,
};
use std::{
    collections::{HashMap, VecDeque},
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};
use tally_clock::{steady_ms, wall_ms};
use tally_core::Place;
use tally_core::{Disk as _, Event, Input, LinkId, NotRepaired, NotSealed, Output, Replica, Ticket, View};
use tally_journal::{Damage, JournalError, JournalNews};
use tally_link::{BatchToken, FrameRoom, LinkEvent, LinkNumber, LinkOut, Outbox, Peer};
use tally_protocol::merkle::Tree;
use tally_store::{entries::EntryJournal, staged::StagedBook};
use tally_topology::{in_force::CharterHandle, signed::SignedError};
use tokio::sync::{mpsc, oneshot, watch};

/// Messages handled in one round.
const ROUND_MAIL: usize = 64;
/// Bytes written in one round, about: what one flush has to take.
const ROUND_BYTES: usize = 8 << 20;
/// Free space, and the journal's folder and file, are looked at every so many milliseconds.
const LOOK_EVERY_MS: u64 = 1_000;

/// Everything the driver thread owns.
#[derive(Debug)]
pub struct Driver {
    /// The core.
    pub replica: Replica,
    /// The journal's writing end.
    pub journal: EntryJournal,
    /// Its mail.
    pub mail: mpsc::Receiver<Mail>,
    /// Keeps until when the parent has asked to be left alone.
    pub mailbox: Mailbox,
    /// The charter, for handshakes.
    pub charter: CharterHandle,
    /// End of the durable journal, for followers.
    pub durable: watch::Sender<Place>,
    /// What everybody else sees of the core.
    pub view: watch::Sender<Arc<View>>,
    /// Set while the disk has less free than the reserve.
    pub full: Arc<AtomicBool>,
    /// Least free bytes.
    pub reserve: u64,
    /// Where the data lies.
    pub data: PathBuf,
    /// Who computes roots for the core; one question of a log at a time.
    pub heads: mpsc::Sender<HeadQuestion>,
    /// Rows that are staged, which the core tells the parent of.
    pub staged: StagedBook,
    /// How far the own log has got, kept elsewhere for when bundles are carried.
    pub anchor: Anchor,
}

/// Why the driver ends.
#[derive(Debug, thiserror::Error)]
pub enum DriverError {
    /// The journal's disk.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// The anchor's disk.
    #[error("the anchor cannot be kept")]
    Anchor(#[from] AnchorError),
}

type SealReply = oneshot::Sender<Result<(u64, u64), NotSealed>>;

/// Work on the journal itself, done between two rounds.
enum Mending {
    Place(Damage, String, oneshot::Sender<Result<(), String>>),
    Rescue(oneshot::Sender<bool>),
    Flush(oneshot::Sender<()>),
}

#[derive(Default)]
struct Waiting {
    links: HashMap<LinkId, Outbox>,
    seals: HashMap<Ticket, SealReply>,
    order: SealOrder,
    charters: HashMap<Ticket, oneshot::Sender<Result<u64, SignedError>>>,
    gates: HashMap<Ticket, oneshot::Sender<Result<(), String>>>,
    repairs: HashMap<Ticket, oneshot::Sender<Result<(), NotRepaired>>>,
    /// Who waits for a place of the journal to be put right, which happens between two rounds.
    mends: Vec<Mending>,
    /// Who waits for the round to end.
    settles: Vec<oneshot::Sender<()>>,
    /// Messages that came while a round waited for room.
    held: VecDeque<Mail>,
    /// When the clock was read last, by one that nobody sets.
    read_at: Option<u64>,
    tickets: u64,
}

impl Driver {
    /// Runs until told to stop.
    ///
    /// # Errors
    /// [`DriverError`]: a disk failed, or somebody took the journal away. Nothing that was not durable has been said; the
    /// process must end.
    pub fn run(mut self) -> Result<(), DriverError> {
        let Self { full, reserve, data, mailbox, .. } = &self;
        let space = Space { full: full.clone(), reserve: *reserve, data: data.clone(), mailbox: mailbox.clone() };
        let ended = self.rounds(&space);
        log_news(&mut self.journal);
        match ended {
            Ok(()) => {}
            Err(RoundError::Disk(e)) => return Err(e.into()),
            Err(RoundError::Anchor(e)) => return Err(e.into()),
            Err(RoundError::Stopped) => {
                tracing::warn!(
                    event = "journal.stopped_full",
                    "stopped while a round waited for room: nothing of it was said"
                );
                return Ok(());
            }
        }
        if let Err(e) = self.keep_anchor(true) {
            tracing::warn!(event = "anchor.not_kept", reason = %e, "no anchor: this matters only if the node carries by file from now on");
        }
        match self.journal.into_journal().stop() {
            Err(e) if e.shortage().is_some() => {
                let reason = format!("{e}");
                tracing::warn!(event = "journal.unmarked", %reason, "the next start takes this stop for a crash; nothing is lost");
                Ok(())
            }
            stopped => Ok(stopped?),
        }
    }

    fn rounds(&mut self, space: &Space) -> Result<(), RoundError> {
        let mut waiting = Waiting::default();
        let mut out = Vec::new();
        let mut looked_at = 0;
        let mut rested = self.journal.durable();
        // Receipts for what reached the disk just before the last stop.
        self.end_round(&mut waiting, space, Vec::new())?;
        while let Some(first) = waiting.held.pop_front().or_else(|| self.mail.blocking_recv()) {
            let now = self.read_clock(&mut waiting);
            if now.abs_diff(looked_at) >= LOOK_EVERY_MS {
                looked_at = now;
                space.look();
                self.replica.set_staged(self.staged.counts().records);
                self.look_after(space)?;
                // Nothing was written for a while: what is there is told to be durable, on the disk too.
                if rested == self.journal.durable() {
                    self.rest(space)?;
                }
                rested = self.journal.durable();
            }
            let mut rooms = Vec::new();
            let (mut next, mut count, mut bytes, mut stop) = (Some(first), 0, 0, false);
            while let Some(mail) = next.take() {
                bytes += weight(&mail);
                stop |= matches!(mail, Mail::Stop);
                rooms.extend(self.take(now, mail, &mut waiting, &mut out));
                count += 1;
                if count < ROUND_MAIL && bytes < ROUND_BYTES && !stop {
                    next = waiting.held.pop_front().or_else(|| self.mail.try_recv().ok());
                }
            }
            self.end_round(&mut waiting, space, std::mem::take(&mut out))?;
            drop(rooms);
            for mending in std::mem::take(&mut waiting.mends) {
                self.mend(mending, &mut waiting, space)?;
            }
            log_news(&mut self.journal);
            self.mailbox.beat();
            if stop {
                break;
            }
        }
        Ok(())
    }

    /// The wall clock, for the core's next input; and how long ago that was read last, which the wall clock cannot say.
    fn read_clock(&mut self, waiting: &mut Waiting) -> u64 {
        let steady = steady_ms();
        let before = waiting.read_at.replace(steady).unwrap_or(steady);
        self.replica.ran(steady.saturating_sub(before));
        wall_ms()
    }

    /// What is there no room for now can be put back another time; nothing is confirmed before (`Journal::flush`).
    fn look_after(&mut self, space: &Space) -> Result<(), JournalError> {
        match self.journal.journal().look_after() {
            Err(e) => {
                space.wants(e.shortage().ok_or(e)?);
                Ok(())
            }
            looked => looked,
        }
    }

    /// A closing frame can be written another time.
    fn rest(&mut self, space: &Space) -> Result<(), JournalError> {
        match self.journal.journal().rest() {
            Err(e) => {
                space.wants(e.shortage().ok_or(e)?);
                Ok(())
            }
            rested => rested,
        }
    }

    /// Does one piece of work on the journal. A place that cannot be mended stays damaged, which is no failure; a journal that
    /// cannot go on is one.
    fn mend(&mut self, mending: Mending, waiting: &mut Waiting, space: &Space) -> Result<(), RoundError> {
        match mending {
            Mending::Place(damage, why, reply) => {
                let journal = self.journal.journal();
                let result = match journal.leave(damage.segment) {
                    Err(e) if e.shortage().is_none() => return Err(e.into()),
                    left => left.and_then(|()| journal.mend(&damage, &why)),
                };
                let Damage { segment, offset, bytes, kind } = damage;
                match &result {
                    Ok(()) => {
                        tracing::warn!(
                            event = "journal.mended",
                            segment,
                            offset,
                            bytes,
                            ?kind,
                            "a damaged place was put right"
                        );
                    }
                    Err(e) => tracing::error!(event = "journal.not_mended", segment, offset, reason = %e, "not mended"),
                }
                let _ = reply.send(result.map_err(|e| e.to_string()));
            }
            Mending::Flush(reply) => {
                self.patient(waiting, space).1.flush()?;
                self.durable.send_replace(self.journal.durable());
                let _ = reply.send(());
            }
            Mending::Rescue(reply) => {
                let rescued = match self.journal.journal().rescue() {
                    Err(e) if e.shortage().is_none() => return Err(e.into()),
                    rescued => rescued.unwrap_or(false),
                };
                let _ = reply.send(rescued);
            }
        }
        self.durable.send_if_modified(|d| std::mem::replace(d, self.journal.durable()) != self.journal.durable());
        Ok(())
    }

    /// The core, and the journal as a round writes to it.
    fn patient<'d>(&'d mut self, waiting: &'d mut Waiting, space: &'d Space) -> (&'d mut Replica, Patient<'d>) {
        let held = &mut waiting.held;
        (&mut self.replica, Patient { journal: &mut self.journal, mail: &mut self.mail, held, space })
    }

    /// Gives one message to the core; answers the room of a batch, which is free again once the batch is on disk.
    fn take(&mut self, now: u64, mail: Mail, waiting: &mut Waiting, out: &mut Vec<Output>) -> Option<FrameRoom> {
        match mail {
            Mail::Core(input) => self.replica.handle(now, input, out),
            Mail::Link(event) => {
                let (input, room) = self.link_event(event, waiting);
                self.replica.handle(now, input, out);
                return room;
            }
            Mail::Seal { records, follows, reply } => match waiting.order.why_not(follows) {
                Some(why) => drop(reply.send(Err(why))),
                None => {
                    let ticket = waiting.ticket();
                    waiting.seals.insert(ticket, reply);
                    let before = out.len();
                    self.replica.handle(now, Input::Seal { ticket, records }, out);
                    waiting.order.judged(ticket, out.get(before..).unwrap_or_default());
                }
            },
            Mail::Charter { note, reply } => {
                let ticket = waiting.ticket();
                waiting.charters.insert(ticket, reply);
                self.replica.handle(now, Input::Charter { ticket, note }, out);
            }
            Mail::OpenGate { reason, reply } => {
                let ticket = waiting.ticket();
                waiting.gates.insert(ticket, reply);
                self.replica.handle(now, Input::OpenGate { ticket, reason }, out);
            }
            Mail::Repair { reply, .. } if self.full.load(Ordering::Relaxed) => {
                let _ = reply.send(Err(NotRepaired::DiskFull));
            }
            Mail::Repair { batch, reply } => {
                let ticket = waiting.ticket();
                waiting.repairs.insert(ticket, reply);
                self.replica.handle(now, Input::Repair { ticket, batch }, out);
            }
            Mail::Mend { damage, why, reply } => waiting.mends.push(Mending::Place(damage, why, reply)),
            Mail::Rescue(reply) => waiting.mends.push(Mending::Rescue(reply)),
            Mail::Flush(reply) => waiting.mends.push(Mending::Flush(reply)),
            Mail::Settle(reply) => waiting.settles.push(reply),
            Mail::Stop => {}
        }
        None
    }

    /// What a link tells, in the core's terms; and the room that a batch takes until it is on disk.
    fn link_event(&mut self, event: LinkEvent, waiting: &mut Waiting) -> (Input, Option<FrameRoom>) {
        let id = |link: LinkNumber| LinkId(link.0);
        let input = match event {
            LinkEvent::Up { link, peer, outbox } => {
                let link = id(link);
                waiting.links.insert(link, outbox);
                match peer {
                    Peer::Parent(parent) => Input::ParentUp { link, parent },
                    Peer::Child(peer) => Input::ChildUp { link, peer },
                }
            }
            LinkEvent::Batch { link, log, bytes, room } => {
                return (Input::Batch { link: id(link), log, bytes }, Some(room));
            }
            LinkEvent::Control { link, message, room } => {
                return (Input::Control { link: id(link), message: *message }, Some(room));
            }
            LinkEvent::Pushed { link, log } => Input::Pushed { link: id(link), log },
            LinkEvent::PushFailed { link, log, reason } => Input::PushFailed { link: id(link), log, reason },
            LinkEvent::Garbage { link, reason } => Input::Garbage { link: id(link), reason },
            LinkEvent::Down { link } => {
                waiting.links.remove(&id(link));
                Input::LinkDown { link: id(link) }
            }
            LinkEvent::Charter { note } => Input::CharterHeard { note },
            LinkEvent::DialFailed { reason, refused, linked } => Input::DialFailed { reason, refused, linked },
        };
        (input, None)
    }

    /// Makes the round durable, publishes the view, and says what is to be said.
    fn end_round(&mut self, waiting: &mut Waiting, space: &Space, out: Vec<Output>) -> Result<(), RoundError> {
        let (replica, mut journal) = self.patient(waiting, space);
        let said = replica.commit(wall_ms, out, &mut journal)?;
        self.durable.send_if_modified(|d| std::mem::replace(d, self.journal.durable()) != self.journal.durable());
        self.keep_anchor(false)?;
        let view = self.replica.view();
        tally_clock::correct(view.correction_ms(), view.clock().is_some());
        self.mailbox.set_parent_busy(view.parent().busy_until_ms.unwrap_or(0));
        // Before anybody is answered: whoever acts on an answer sees what it says.
        self.view.send_replace(Arc::new(view.clone()));
        for output in said {
            self.dispatch(waiting, output);
        }
        for settled in waiting.settles.drain(..) {
            let _ = settled.send(());
        }
        Ok(())
    }

    /// Where bundles are carried: keeps how far the own log has got, before anybody hears of it.
    ///
    /// # Errors
    /// If it cannot be kept: a node that went on could not be told from an old copy after its next start.
    fn keep_anchor(&mut self, at_stop: bool) -> Result<(), AnchorError> {
        let (view, anchor) = (self.replica.view(), &mut self.anchor);
        // While the gate is shut, the anchor says more than this disk has.
        if !view.gate().is_open() || (anchor.is_linked() && !at_stop) {
            return Ok(());
        }
        match view.log(view.own()) {
            Some(log) => anchor.keep(log.size(), &log.tree().root()),
            None => anchor.keep(0, &Tree::default().root()),
        }
    }

    /// Lets one output go: to a link, to whoever waits for an answer, or to the log file.
    fn dispatch(&mut self, waiting: &mut Waiting, output: Output) {
        let send = |link: &LinkId, out| {
            if let Some(outbox) = waiting.links.get(link) {
                outbox.send(out);
            }
        };
        match output {
            Output::Send { link, message } => send(&link, LinkOut::Control(message)),
            Output::Push { link, log, place, from } => send(&link, LinkOut::Push(log, BatchToken(place.0, from))),
            Output::Close { link, code, reason } => send(&link, LinkOut::Close(code, reason)),
            Output::Sealed { ticket, result } => {
                if let Some(reply) = waiting.seals.remove(&ticket) {
                    let _ = reply.send(result);
                }
            }
            Output::Repaired { ticket, result } => {
                if let Some(reply) = waiting.repairs.remove(&ticket) {
                    let _ = reply.send(result);
                }
            }
            Output::CharterLoaded { ticket, result } => {
                if let Some(reply) = waiting.charters.remove(&ticket) {
                    let _ = reply.send(result);
                }
            }
            Output::GateJudged { ticket, result } => {
                if let Some(reply) = waiting.gates.remove(&ticket) {
                    let _ = reply.send(result);
                }
            }
            Output::CompareHead { log, size, against, root } => {
                let asked = self.heads.try_send(HeadQuestion { log, size, against, root });
                if asked.is_err() {
                    // It is asked again when the head is told again.
                    let now = self.read_clock(waiting);
                    self.replica.handle(now, Input::HeadCompared { log, size, shown: None }, &mut Vec::new());
                }
            }
            Output::CharterChanged => self.charter.set(self.replica.view().signed_charter().clone()),
            Output::Note(event) => log(&event),
            Output::Append(_) => debug_assert!(false, "frames were taken out before"),
        }
    }
}

impl Waiting {
    fn ticket(&mut self) -> Ticket {
        self.tickets += 1;
        Ticket(self.tickets)
    }
}

/// Bytes that a message may add to the journal, about.
fn weight(mail: &Mail) -> usize {
    match mail {
        Mail::Link(LinkEvent::Batch { bytes, .. }) => bytes.len(),
        Mail::Repair { batch, .. } => batch.bytes().len(),
        Mail::Seal { records, .. } => records.iter().map(|r| r.bytes().len()).sum::<usize>() / 4,
        _ => 0,
    }
}

/// Writes to the log file what happened to the journal and did not end it.
fn log_news(journal: &mut EntryJournal) {
    for news in journal.journal().take_news() {
        match news {
            JournalNews::Renewed { left, bytes } => tracing::error!(
                event = "journal.renewed",
                segment = left.segment,
                offset = left.offset,
                bytes,
                "writing to the journal failed; what was not durable was written anew into the next segment: check the disk"
            ),
            JournalNews::Rescued { segment } => {
                tracing::error!(event = "journal.rescued", segment, "the journal's open file was gone; it was put back")
            }
        }
    }
}

/// Writes an event of the core to the log file.
fn log(event: &Event) {
    match event {
        Event::Up { peer } => tracing::info!(event = "link.up", %peer, "{event}"),
        Event::Down { peer } => tracing::info!(event = "link.down", %peer, "{event}"),
        Event::Charter(_) => tracing::info!(event = "charter.in_force", "{event}"),
        Event::Refused { peer, code, .. } => tracing::warn!(event = "link.refused", %peer, %code, "{event}"),
        Event::Rejected { peer, log, code, .. } => {
            tracing::warn!(event = "batch.refused", %peer, %log, %code, "{event}");
        }
        Event::Frozen { log, .. } => tracing::error!(event = "log.frozen", %log, "{event}"),
        Event::ConflictReported { log, .. } => tracing::error!(event = "conflict.reported", %log, "{event}"),
        Event::GateOpened { .. } => tracing::warn!(event = "gate.opened", "{event}"),
        Event::SameKeyTwice { peer } => tracing::error!(event = "key.twice", %peer, "{event}"),
        Event::ParentSetBack { log, .. } => tracing::warn!(event = "parent.set_back", %log, "{event}"),
        Event::OldCopy { .. } => tracing::warn!(event = "disk.old_copy", "{event}"),
        Event::CharterDiffers { peer, .. } => tracing::warn!(event = "charter.differs", %peer, "{event}"),
        Event::Requested { node, .. } => tracing::info!(event = "request.came", %node, "{event}"),
        Event::RequestRefused { peer, .. } => tracing::warn!(event = "request.refused", %peer, "{event}"),
        Event::RequestRejected { node, .. } => tracing::info!(event = "request.rejected", %node, "{event}"),
        Event::CharterRefused { peer, .. } => tracing::warn!(event = "charter.refused", %peer, "{event}"),
    }
}
