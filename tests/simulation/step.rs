//! All that can happen to a federation, as data.
//!
//! A run is a plan and a list of steps, and nothing else: no random numbers, no clock. A step that makes no sense where it
//! stands (a link that is not there, a node that is down) does nothing, so any part of a list of steps is one too; that is
//! what lets a failing run be shrunk. Numbers called dice choose among what is there, by remainder.

use serde::{Deserialize, Serialize};
use tally_protocol::ids::{Division, LogId};

/// What is the same in the whole run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Plan {
    /// What the run is about.
    pub scenario: String,
    /// From which the steps were drawn.
    pub seed: u64,
    /// The node whose keys are in an enemy's hands.
    pub enemy: Option<Division>,
    /// Faults of the core that the run is allowed to meet, by name: see `known`.
    pub known: Option<String>,
}

/// Where a crash ends a round.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum CrashAt {
    /// Before the disk does what it is called for the n-th time.
    Before(u32),
    /// Just after.
    After(u32),
    /// Once so many of the round's messages are out.
    Said(u32),
}

/// How a frame on a disk is damaged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Harm {
    /// Its head can be read, its body cannot.
    Body,
    /// It cannot be found any more.
    Gone,
    /// It reads well, and says something else.
    Altered,
}

/// What the authority decides.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Change {
    /// A new version that says the same.
    Reissue,
    /// A node goes out of service.
    Retire { node: Division },
    /// A county reports elsewhere.
    Move { node: Division, to: Division },
    /// The epoch ends at a batch that the top holds, the last one unless the dice say else; the next one begins.
    NextEpoch { node: Division, dice: u64 },
}

/// What an enemy does to a neighbour.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Lie {
    /// The head of the neighbour's own log has another root, at a size where one of its batches ends; nobody signed it.
    HeadUnsigned,
    /// The head is at a size where no batch ends; nobody signed it.
    HeadBetween,
    /// The head is far ahead; nobody signed it.
    HeadAhead,
    /// The head is an old one, and signed.
    HeadOld,
    /// Heads of epochs that no charter knows.
    UnknownEpochs,
    /// A frontier, once more.
    SecondFrontier,
    /// So many pages of heads of all logs.
    Flood { pages: u8 },
    /// Bytes that are no batch.
    BatchGarbage,
    /// A good batch of a log of another branch, on its own stream.
    BatchOfAnother,
    /// A batch of the neighbour's or the enemy's own log, signed by nobody who may.
    BatchForged,
    /// A good batch in whose place other records stand, under the true note.
    BatchAltered,
    /// A second history of the enemy's own log, of the size of the first: a batch that ends where one ends.
    Fork,
    /// The same, of another size: a head where no batch ends.
    ForkElsewhere,
    /// A batch that continues a second history, of which nothing else is shown: it proves nothing.
    ForkUnshown,
    /// A receipt without a signature.
    ReceiptGarbage,
    /// A receipt for more than there is, truly signed by the enemy.
    ReceiptAhead,
    /// A receipt for another root, truly signed by the enemy.
    ReceiptElsewhere,
    /// A conflict with nothing to show.
    ConflictEmpty,
    /// A conflict that shows one true note twice.
    ConflictSame,
    /// A conflict that shows text.
    ConflictGarbage,
    /// The log is refused.
    Reject,
    /// Come back at the end of time.
    Busy,
    /// The neighbour is refused, at length.
    Refused,
    /// The link is closed.
    Close,
    /// What is on its way never arrives.
    Silence,
    /// A heartbeat from the end of time.
    Clock,
    /// A charter that nobody signed.
    Charter,
    /// A message that only the other side may send.
    WrongSide,
    /// Bytes that are no message.
    Garbage,
}

/// One thing that happens.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Step {
    /// Time passes; every node's timer is due, and every watch looks.
    Wait { ms: u64 },
    /// A process starts.
    Start { node: Division },
    /// A process stops; of what was not flushed the dice say how much stays.
    Stop { node: Division, dice: u64 },
    /// A node works through so many waiting inputs, in one round.
    Round { node: Division, mails: u8, crash: Option<(CrashAt, u64)> },
    /// A node calls its parent.
    Dial { node: Division },
    /// Messages arrive on a child's link to its parent, in the order of their stream; the last one twice if so.
    Deliver { child: Division, up: bool, stream: Option<LogId>, count: u8, twice: bool },
    /// The link breaks; what is on its way is lost.
    Break { child: Division },
    /// A node learns that links of it are down.
    Hear { node: Division },
    /// No link from here to the parent until further notice.
    Cut { child: Division },
    /// All paths are there again.
    Heal,
    /// Records are handed in, by their numbers.
    Submit { node: Division, records: Vec<u64> },
    /// The authority signs a new charter.
    Decide { change: Change },
    /// A durable frame is damaged, if a neighbour has a good copy.
    Damage { node: Division, dice: u64, harm: Harm },
    /// The disk is read through.
    Survey { node: Division },
    /// What is missing is fetched from a neighbour and put back.
    Repair { node: Division, from: Division },
    /// What frames without records may have said is written again.
    Resave { node: Division },
    /// A bundle for a neighbour is packed.
    Pack { from: Division, to: Division },
    /// It arrives; it may do so again.
    Unpack { from: Division, to: Division },
    /// The machine is restored from an old backup.
    SetBack { node: Division, dice: u64 },
    /// The clock is so far from the true time.
    Clock { node: Division, skew_ms: i64 },
    /// The disk is nearly full, or has room again.
    Full { node: Division, full: bool },
    /// From now on the disk says to have flushed, and has not. Only for tests of the oracle.
    LyingDisk { node: Division },
    /// A second machine with the node's key is made from a copy of its disk. It is off.
    Copy { node: Division },
    /// The node's other machine is on the network now, and the one before is not. Whichever runs goes on running.
    Swap { node: Division },
    /// The operator opens the gate.
    Word { node: Division },
    /// The enemy acts on a neighbour.
    Enemy { to: Division, lie: Lie, dice: u64 },
}
