//! What goes into the core, what comes out of it, and what it tells people. The same lists serve the daemon and the
//! simulation; they know no transport and no disk.

use super::RejectedRequest;
use crate::{Place, log::WholeCopy};
use tally_protocol::{
    fork::ForkEvidence,
    hash::Hash,
    ids::{Division, LogId},
    record::Record,
    wire::{Control, Head, Refusal},
};
use tally_topology::{
    admit::{AdmitError, AdmittedBatch},
    signed::SignedError,
};

/// Names one connection for as long as the process lives.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LinkId(pub u64);

/// Names one group of records handed in for sealing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ticket(pub u64);

/// Something happened.
#[derive(Debug)]
pub enum Input {
    /// Records for the own log: 1 to `BATCH_RECORDS_MAX`, none of them in it.
    Seal {
        /// Comes back in [`Output::Sealed`].
        ticket: Ticket,
        /// The records.
        records: Vec<Record>,
    },
    /// The link to the parent is there; the parent's key was checked.
    ParentUp {
        /// Its name.
        link: LinkId,
        /// The parent.
        parent: Division,
    },
    /// Somebody whose key the charter knows has called.
    ChildUp {
        /// Its name.
        link: LinkId,
        /// Who, by key.
        peer: LogId,
    },
    /// The link is gone.
    LinkDown {
        /// Its name.
        link: LinkId,
    },
    /// The parent could not be reached.
    DialFailed {
        /// For people.
        reason: String,
        /// Somebody answered, who does not admit this node's key, or has not the one that the charter names.
        refused: bool,
        /// There was a link, which has ended.
        linked: bool,
    },
    /// A charter from somebody at the parent's place who may not be the parent.
    CharterHeard {
        /// The signed note.
        note: String,
    },
    /// A control message.
    Control {
        /// From which link.
        link: LinkId,
        /// The message.
        message: Control,
    },
    /// A batch arrived on a stream of `log`.
    Batch {
        /// From which link.
        link: LinkId,
        /// The stream's log.
        log: LogId,
        /// The encoded batch.
        bytes: Vec<u8>,
    },
    /// The transport took a batch.
    Pushed {
        /// On which link.
        link: LinkId,
        /// Of which log.
        log: LogId,
    },
    /// Bytes arrived that are no message, or longer than any may be.
    Garbage {
        /// From which link.
        link: LinkId,
        /// For people.
        reason: String,
    },
    /// The batch could not be read from this disk.
    PushFailed {
        /// On which link.
        link: LinkId,
        /// Of which log.
        log: LogId,
        /// For people.
        reason: String,
    },
    /// A batch that was fetched to take the place of damaged or missing bytes, admitted against the tree before it.
    Repair {
        /// Comes back in [`Output::Repaired`].
        ticket: Ticket,
        /// The batch.
        batch: AdmittedBatch,
    },
    /// A part of the journal was read from the disk: what of a log cannot be had from there.
    Surveyed {
        /// Which log.
        log: LogId,
        /// Ranges of records, ascending.
        missing: Vec<(u64, u64)>,
        /// Whole copies of its batches, in the order of their ends.
        copies: Vec<WholeCopy>,
        /// Start of what was read.
        from: Place,
        /// End of what was read.
        until: Place,
    },
    /// Frames without records may have been lost: write what they said again.
    Resave,
    /// A receipt that came in a bundle.
    BundledReceipt {
        /// Which log.
        log: LogId,
        /// Records covered.
        size: u64,
        /// Who signed.
        holder: LogId,
        /// The cosignature line.
        line: String,
    },
    /// A neighbour's report of two histories that came in a bundle.
    BundledConflict {
        /// Whose.
        from: Division,
        /// Of which log.
        log: LogId,
        /// What shows it.
        evidence: ForkEvidence,
        /// For people.
        reason: String,
    },
    /// A neighbour's head that came in a bundle.
    BundledHead {
        /// Whose.
        from: Division,
        /// The head.
        head: Head,
    },
    /// The operator loads a charter.
    Charter {
        /// Comes back in [`Output::CharterLoaded`].
        ticket: Ticket,
        /// The signed note.
        note: String,
    },
    /// The operator opens the gate where nobody can answer.
    OpenGate {
        /// Comes back in [`Output::GateJudged`].
        ticket: Ticket,
        /// Why, for people.
        reason: String,
    },
    /// The answer to [`Output::CompareHead`].
    HeadCompared {
        /// Which log.
        log: LogId,
        /// The size that was asked for.
        size: u64,
        /// The root at that size, and the consistency path from there to the size it was compared with. `None`: the records
        /// cannot be read.
        shown: Option<(Hash, Vec<Hash>)>,
    },
    /// This node asks the authority for something, or a node's request was brought by hand.
    Request {
        /// The signed note.
        note: String,
    },
    /// The operator rejects a request.
    RejectRequest(RejectedRequest),
    /// Time has passed.
    Tick,
}

/// What is to be done. The driver writes all appends of a round, flushes, reports them with
/// [`super::Replica::appended`], and only then lets anything out: persist, then speak (I2).
#[derive(Debug)]
pub enum Output {
    /// Write this frame.
    Append(crate::Append),
    /// Send a control message.
    Send {
        /// On which link.
        link: LinkId,
        /// The message.
        message: Control,
    },
    /// Hand the batch at `place` to the log's stream.
    Push {
        /// On which link.
        link: LinkId,
        /// Of which log.
        log: LogId,
        /// Where the batch lies.
        place: Place,
        /// First record to send: beyond the batch's first where the other side stands inside it.
        from: u64,
    },
    /// Close the link.
    Close {
        /// Which.
        link: LinkId,
        /// Stable name.
        code: Refusal,
        /// For people.
        reason: String,
    },
    /// The answer to [`Input::Seal`]: durable, or not taken.
    Sealed {
        /// Which group.
        ticket: Ticket,
        /// First index and one past the last.
        result: Result<(u64, u64), NotSealed>,
    },
    /// The answer to [`Input::Repair`]: whether it is on disk and counts.
    Repaired {
        /// Which request.
        ticket: Ticket,
        /// If not, why.
        result: Result<(), NotRepaired>,
    },
    /// The answer to [`Input::Charter`].
    CharterLoaded {
        /// Which request.
        ticket: Ticket,
        /// Version in force, or why it was refused.
        result: Result<u64, SignedError>,
    },
    /// The answer to [`Input::OpenGate`].
    GateJudged {
        /// Which request.
        ticket: Ticket,
        /// If it was not opened, why.
        result: Result<(), String>,
    },
    /// Compute the root of a log's first `size` records, and the consistency path from there to the tree of `against`
    /// records, whose root is `root`. The answer is [`Input::HeadCompared`]; one question of a log at a time.
    CompareHead {
        /// Which log.
        log: LogId,
        /// The size at which a neighbour's head stands.
        size: u64,
        /// The size that is held.
        against: u64,
        /// The root that is held.
        root: Hash,
    },
    /// Another charter is in force: keys that open links have changed.
    CharterChanged,
    /// For the log file.
    Note(Event),
}

/// Why records were not sealed. Nothing of them was kept here; intake stages them (I12).
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotSealed {
    /// Nobody above has yet said for sure how far this log had got (I4).
    #[error("waiting for the parent to confirm how far this log had got before the restart")]
    Asking,
    /// This disk is an old copy; so many records of the own log are known elsewhere and are being fetched.
    #[error("fetching {0} records of this node's own log that the parent holds and this disk does not")]
    Fetching(u64),
    /// The clock cannot be trusted: how it stands to the others' clocks.
    #[error("the clock cannot be trusted: {0}")]
    Clock(String),
    /// Another process signs with the same key.
    #[error("another machine runs with this node's key")]
    SameKey,
    /// Two histories of the own log exist, or the charter does not know its key.
    #[error("this node's log is frozen: {0}")]
    Frozen(String),
    /// Records of the own log that nobody else confirmed cannot be read from this disk: nothing can be sent past them.
    #[error("records of this node's own log are damaged: {0}")]
    Damaged(String),
}

impl NotSealed {
    /// The stable name that answers and status show (`staged_because`).
    pub fn code(&self) -> &'static str {
        match self {
            Self::Asking => "parent_unknown",
            Self::Fetching(_) => "behind",
            Self::Clock(_) => "clock",
            Self::SameKey => "same_key",
            Self::Frozen(_) => "frozen",
            Self::Damaged(_) => "damaged",
        }
    }
}

/// Why a batch did not take the place of a lost one.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotRepaired {
    /// It is of a log that this node does not hold.
    #[error("{0} is not a log of this node or below it")]
    NotBelow(LogId),
    /// It would continue a log of which two histories were signed.
    #[error("{0} is frozen: two histories of it were signed")]
    Frozen(LogId),
    /// It would continue its log, and does not fit there.
    #[error(transparent)]
    NotAdmitted(#[from] AdmitError),
    /// What it holds is whole here, on its way to disk, or of another history.
    #[error("records {start}..{end} are not missing, or do not fit to what is held")]
    NotMissing {
        /// Its first record.
        start: u64,
        /// One past its last.
        end: u64,
    },
    /// Another batch was written in its place while it was on its way to disk.
    #[error("another batch took its place meanwhile")]
    Overtaken,
    /// The driver takes nothing in while the disk has no room.
    #[error("the disk is nearly full: nothing is taken in")]
    DiskFull,
}

/// What a person reading the log file should know. `Display` is the message.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Event {
    /// A link was refused or closed.
    #[error("link with {peer} refused ({code}): {reason}")]
    Refused {
        /// With whom.
        peer: Division,
        /// Stable name.
        code: Refusal,
        /// For people.
        reason: String,
    },
    /// A batch was refused.
    #[error("batch of {log} from {peer} refused ({code}): {reason}")]
    Rejected {
        /// From whom.
        peer: Division,
        /// Of which log.
        log: LogId,
        /// Stable name.
        code: Refusal,
        /// For people.
        reason: String,
    },
    /// A log was frozen.
    #[error("log {log} is frozen: {reason}")]
    Frozen {
        /// Which.
        log: LogId,
        /// For people.
        reason: String,
    },
    /// A neighbour has frozen a log; nothing here contradicts what it shows.
    #[error("conflict in {log}: {reason}")]
    ConflictReported {
        /// Which.
        log: LogId,
        /// For people.
        reason: String,
    },
    /// A link is up.
    #[error("link with {peer} is up")]
    Up {
        /// With whom.
        peer: Division,
    },
    /// A link has ended.
    #[error("link with {peer} is down")]
    Down {
        /// With whom.
        peer: Division,
    },
    /// The parent holds less than it had confirmed: it was set back.
    #[error("parent holds {now} records of {log}, it had confirmed {before}: it was set back; sending again")]
    ParentSetBack {
        /// Which log.
        log: LogId,
        /// What it holds.
        now: u64,
        /// What it had confirmed.
        before: u64,
    },
    /// The own log is behind the parent's copy.
    #[error("this disk is an old copy: {here} records of the own log, the parent holds {there}; fetching")]
    OldCopy {
        /// Records here.
        here: u64,
        /// Records there.
        there: u64,
    },
    /// The operator has opened the gate.
    #[error(
        "the gate was opened by the operator at {held} records of the own log ({known} are known to be signed): {reason}"
    )]
    GateOpened {
        /// Why, as he says.
        reason: String,
        /// Records of the own log here.
        held: u64,
        /// Records that the own key is known to have signed, if more.
        known: u64,
    },
    /// Two machines run with the key of a child.
    #[error("two machines run with the key of {peer}")]
    SameKeyTwice {
        /// Whose.
        peer: Division,
    },
    /// A node asks for its next epoch, or to be one.
    #[error("{node} asks {}", if *joins { "to join" } else { "for its next epoch" })]
    Requested {
        /// Who, in its current epoch or in its first.
        node: LogId,
        /// To be a node.
        joins: bool,
    },
    /// A request cannot be looked at.
    #[error("a request from {peer} is not taken: {reason}")]
    RequestRefused {
        /// Who brought it.
        peer: Division,
        /// For people.
        reason: String,
    },
    /// A request was rejected.
    #[error("{by} rejects what {node} has asked for: {reason}")]
    RequestRejected {
        /// Whose.
        node: LogId,
        /// Where.
        by: Division,
        /// For people.
        reason: String,
    },
    /// A charter came into force.
    #[error("charter version {0} is in force")]
    Charter(u64),
    /// A charter was refused.
    #[error("charter from {peer} refused: {reason}")]
    CharterRefused {
        /// From whom.
        peer: Division,
        /// For people.
        reason: String,
    },
    /// A neighbour has another charter of the version in force here.
    #[error(
        "charter version {version} of {peer} is another one (here {}, there {}): two were signed, only a newer one ends this",
        here.short(),
        there.short()
    )]
    CharterDiffers {
        /// Who.
        peer: Division,
        /// Of both.
        version: u64,
        /// Hash of the one in force here.
        here: Hash,
        /// Hash of the one in force there.
        there: Hash,
    },
}
