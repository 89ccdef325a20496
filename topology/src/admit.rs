//! The one door into the journal (invariant I3).
//!
//! A batch is admitted when the charter knows its log and epoch, it continues what is held, its checkpoint is signed
//! by the epoch's key and cosigned by the origin, and every record of it leads to the signed root. Whether the records
//! are *right* is not judged here: that would let a wrong row stop a log.

#![warn(clippy::indexing_slicing, clippy::arithmetic_side_effects)]

use crate::charter::Charter;
use tally_protocol::{
    batch::{Batch, BatchError, SealedBatch, sealed},
    checkpoint::{Checkpoint, CheckpointError},
    hash::Hash,
    ids::{LogId, LogKind},
    keys::NodeKeys,
    merkle::{Tree, leaf_hash},
    note::{Note, NoteError},
    record::Record,
};

/// A batch that was verified whole against the charter and against the log it continues, or sealed here under the same
/// conditions. Only [`admit`] and [`seal_own`] make it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AdmittedBatch {
    log: LogId,
    start: u64,
    tree: Tree,
    sealed_at: u64,
    note: String,
    bytes: Vec<u8>,
}

impl AdmittedBatch {
    /// Which log.
    pub fn log(&self) -> LogId {
        self.log
    }
    /// Index of the first record.
    pub fn start(&self) -> u64 {
        self.start
    }
    /// One past the last record.
    pub fn end(&self) -> u64 {
        self.tree.size()
    }
    /// The log's right edge with this batch.
    pub fn tree(&self) -> &Tree {
        &self.tree
    }
    /// When the origin sealed it, POSIX seconds.
    pub fn sealed_at(&self) -> u64 {
        self.sealed_at
    }
    /// The signed checkpoint.
    pub fn note(&self) -> &str {
        &self.note
    }
    /// The batch as it arrived.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }
    /// The right edge, the signed checkpoint and the batch as it arrived.
    pub fn into_parts(self) -> (Tree, String, Vec<u8>) {
        (self.tree, self.note, self.bytes)
    }
}

/// Why a batch was not admitted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AdmitError {
    /// The bytes.
    #[error(transparent)]
    Batch(#[from] BatchError),
    /// Another log than the stream's.
    #[error("the batch is of {found}, on a stream of {wanted}")]
    OtherLog {
        /// In the batch.
        found: LogId,
        /// On the stream.
        wanted: LogId,
    },
    /// The charter has no such log or epoch.
    #[error("{0} is not in the charter in force")]
    Unknown(LogId),
    /// A log that no node of this release writes: whoever makes one makes it to fill others' memory with logs.
    #[error("{0} is a log of a kind that is not written yet")]
    NotWritten(LogId),
    /// The epoch ends before this batch does.
    #[error("{log} was closed at {last} records; this batch reaches {end}")]
    Closed {
        /// Which log.
        log: LogId,
        /// Where the charter closed it.
        last: u64,
        /// Where the batch ends.
        end: u64,
    },
    /// Records before it are missing here.
    #[error("the batch starts at {start}, {size} records are held: something in between is missing")]
    Gap {
        /// Records held.
        size: u64,
        /// Start of the batch.
        start: u64,
        /// Its checkpoint, whose signature was not looked at.
        note: String,
    },
    /// As many records are held already.
    #[error("the batch {start}..{end} is held already")]
    Known {
        /// Start of the batch.
        start: u64,
        /// End of the batch.
        end: u64,
        /// Its checkpoint, whose signature was not looked at: it may be of another history.
        note: String,
    },
    /// The checkpoint is not the log's.
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
    /// The origin's cosignature, which carries the time of sealing, is missing or wrong.
    #[error("cosignature of the origin: {0}")]
    Cosignature(#[from] NoteError),
    /// The checkpoint is of another size than the batch ends at.
    #[error("the checkpoint is of size {checkpoint}, the batch ends at {end}")]
    Size {
        /// In the checkpoint.
        checkpoint: u64,
        /// In the header.
        end: u64,
    },
    /// The records do not lead to the signed root: they were altered, or the log was written twice.
    #[error("records {start}..{end} do not lead to the signed root")]
    Root {
        /// Start of the batch.
        start: u64,
        /// End of the batch.
        end: u64,
        /// The signed note that does not fit.
        note: String,
        /// Root that the records do lead to.
        computed: Hash,
    },
}

/// Where a batch stands to what is held.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Continuity {
    /// It continues the log.
    Next,
    /// It is held already: a replay or a retry.
    Known,
    /// Records before it are missing, or it starts in the middle of what is held.
    Gap,
}

/// Where records `start..end` of `log` stand to a log of `size` records.
pub fn continuity(size: u64, start: u64, end: u64) -> Continuity {
    if start == size {
        Continuity::Next
    } else if end <= size {
        Continuity::Known
    } else {
        Continuity::Gap
    }
}

/// Verifies `bytes` as the batch that continues `log`, of which `tree` is held.
///
/// # Errors
/// [`AdmitError`]: the first check that failed. Work and memory are bounded by `limits` whatever the bytes are.
pub fn admit(charter: &Charter, log: LogId, tree: &Tree, bytes: Vec<u8>) -> Result<AdmittedBatch, AdmitError> {
    let batch = Batch::decode(&bytes)?;
    let (start, end) = (batch.start, batch.end);
    if batch.log != log {
        return Err(AdmitError::OtherLog { found: batch.log, wanted: log });
    }
    if log.kind() != LogKind::Records {
        return Err(AdmitError::NotWritten(log));
    }
    let epoch = charter.epoch(log).ok_or(AdmitError::Unknown(log))?;
    let key = charter.log_key(log).ok_or(AdmitError::Unknown(log))?;
    let closed_at = charter.closed_at(log);
    match continuity(tree.size(), start, end) {
        Continuity::Next => {}
        Continuity::Known => return Err(AdmitError::Known { start, end, note: batch.note }),
        Continuity::Gap => return Err(AdmitError::Gap { size: tree.size(), start, note: batch.note }),
    }
    if let Some((last, _)) = closed_at
        && end > last
    {
        return Err(AdmitError::Closed { log, last, end });
    }
    let checkpoint = Checkpoint::open(&batch.note, &key)?;
    if checkpoint.size != end {
        return Err(AdmitError::Size { checkpoint: checkpoint.size, end });
    }
    let sealed_at = Note::parse(&batch.note)?.verify(&epoch.mirror)?;
    let mut after = tree.clone();
    batch.records()?.iter().for_each(|r| after.push(leaf_hash(r)));
    let computed = after.root();
    if computed != checkpoint.root {
        return Err(AdmitError::Root { start, end, note: batch.note, computed });
    }
    if let Some((last, root)) = closed_at
        && end == last
        && root != computed
    {
        return Err(AdmitError::Root { start, end, note: batch.note, computed });
    }
    Ok(AdmittedBatch { log, start, tree: after, sealed_at, note: batch.note, bytes })
}

/// Seals `records` (see [`sealed`] for their bounds) as the batch that continues the node's own log, of which `tree` is held, at
/// `time`, POSIX seconds. The charter is asked as for any batch; that the records lead to the signed root is shown by having
/// signed it, so nothing is unpacked and hashed once more.
///
/// # Errors
/// [`AdmitError::Unknown`] if the charter does not know these keys, [`AdmitError::Closed`], [`AdmitError::Root`] where the epoch
/// was closed with another history.
pub fn seal_own(
    charter: &Charter,
    keys: &NodeKeys,
    tree: &Tree,
    records: &[Record],
    time: u64,
) -> Result<AdmittedBatch, AdmitError> {
    let log = keys.node;
    let epoch = charter.epoch(log).filter(|e| e.mirror == *keys.mirror.public());
    if epoch.is_none() || charter.log_key(log).is_none_or(|key| key != *keys.log.public()) {
        return Err(AdmitError::Unknown(log));
    }
    let SealedBatch { tree: after, note, bytes } = sealed(keys, tree, records, time);
    if let Some((last, root)) = charter.closed_at(log) {
        let (start, end) = (tree.size(), after.size());
        if end > last {
            return Err(AdmitError::Closed { log, last, end });
        }
        if end == last && root != after.root() {
            return Err(AdmitError::Root { start, end, note, computed: after.root() });
        }
    }
    let batch = AdmittedBatch { log, start: tree.size(), tree: after, sealed_at: time, note, bytes };
    debug_assert_eq!(admit(charter, log, tree, batch.bytes.clone()).as_ref(), Ok(&batch));
    Ok(batch)
}

#[cfg(test)]
#[allow(clippy::arithmetic_side_effects, reason = "in a test a panic is a finding")]
mod tests {
    use super::*;
    use crate::charter::tests::{document, epoch, keys, node, sample};
    use tally_protocol::{batch::seal, canonical::Object};

    fn charter() -> Charter {
        Charter::parse(&document(1, &sample())).unwrap()
    }

    fn records(from: usize, n: usize) -> Vec<Record> {
        (from..from + n)
            .map(|i| Record::new(&Object::parse(format!("{{\"n\":\"{i}\"}}").as_bytes()).unwrap()).unwrap())
            .collect()
    }

    fn sealed(keys: &NodeKeys, tree: &Tree, from: usize, n: usize) -> Vec<u8> {
        seal(keys, tree, &records(from, n), 1_790_000_000)
    }

    #[test]
    fn batches_continue_repeat_or_leave_a_gap() {
        assert_eq!(continuity(4, 4, 9), Continuity::Next);
        assert_eq!(continuity(4, 0, 4), Continuity::Known);
        assert_eq!((continuity(4, 5, 9), continuity(4, 3, 9)), (Continuity::Gap, Continuity::Gap));
    }

    #[test]
    fn a_run_of_batches_is_admitted_in_order_only() {
        let (charter, keys) = (charter(), keys("350102/e1"));
        let empty = Tree::default();
        let first = admit(&charter, keys.node, &empty, sealed(&keys, &empty, 0, 10)).unwrap();
        assert_eq!((first.start(), first.end(), first.sealed_at()), (0, 10, 1_790_000_000));
        let second = sealed(&keys, first.tree(), 10, 5);
        let why = admit(&charter, keys.node, &empty, second.clone()).unwrap_err();
        assert!(matches!(why, AdmitError::Gap { size: 0, start: 10, .. }));
        let second = admit(&charter, keys.node, first.tree(), second).unwrap();
        let why = admit(&charter, keys.node, second.tree(), first.bytes().to_vec()).unwrap_err();
        assert!(matches!(why, AdmitError::Known { start: 0, end: 10, note } if note == first.note()));
    }

    #[test]
    fn what_is_sealed_here_is_what_would_be_admitted() {
        let (charter, keys, empty) = (charter(), keys("350102/e1"), Tree::default());
        let first = seal_own(&charter, &keys, &empty, &records(0, 10), 1_790_000_000).unwrap();
        assert_eq!(admit(&charter, keys.node, &empty, first.bytes().to_vec()), Ok(first.clone()));
        let second = seal_own(&charter, &keys, first.tree(), &records(10, 1), 1_790_000_001).unwrap();
        assert_eq!(admit(&charter, keys.node, first.tree(), second.bytes().to_vec()), Ok(second));
        // Keys that the charter does not know sign nothing that counts.
        for stranger in ["350103/e1", "350102/e2"] {
            let stranger = tests::keys(stranger);
            let why = seal_own(&charter, &stranger, &empty, &records(0, 1), 1).unwrap_err();
            assert_eq!(why, AdmitError::Unknown(stranger.node));
        }
        let other = NodeKeys::derive(charter.federation(), keys.node, &[99; 32]);
        assert_eq!(seal_own(&charter, &other, &empty, &records(0, 1), 1), Err(AdmitError::Unknown(keys.node)));
    }

    #[test]
    fn strangers_and_other_logs_are_refused() {
        let (charter, empty) = (charter(), Tree::default());
        let county = keys("350102/e1");
        let stranger = keys("350103/e1");
        let bytes = sealed(&stranger, &empty, 0, 1);
        assert!(matches!(admit(&charter, stranger.node, &empty, bytes.clone()), Err(AdmitError::Unknown(_))));
        assert!(matches!(admit(&charter, county.node, &empty, bytes), Err(AdmitError::OtherLog { .. })));
        let next = keys("350102/e2");
        let bytes = sealed(&next, &empty, 0, 1);
        assert!(matches!(admit(&charter, next.node, &empty, bytes), Err(AdmitError::Unknown(_))));
    }

    /// One node could fill the memory of those above, and the queue of their links, with a log for each node of the charter.
    #[test]
    fn logs_that_nobody_writes_yet_are_refused() {
        let (charter, empty) = (charter(), Tree::default());
        let division = keys("350102/e1").node.division;
        for log in [LogId::operations(division, 1), LogId::to(division, 1, "350100".parse().unwrap()).unwrap()] {
            let mut county = keys("350102/e1");
            county.node = log;
            let why = admit(&charter, log, &empty, sealed(&county, &empty, 0, 1)).unwrap_err();
            assert_eq!(why, AdmitError::NotWritten(log));
        }
    }

    #[test]
    fn a_key_that_is_not_the_epochs_is_refused() {
        let (charter, empty) = (charter(), Tree::default());
        let forged = NodeKeys::derive(charter.federation(), "350102/e1".parse().unwrap(), &[99; 32]);
        let why = admit(&charter, forged.node, &empty, sealed(&forged, &empty, 0, 1)).unwrap_err();
        assert!(matches!(why, AdmitError::Checkpoint(CheckpointError::Note(NoteError::Unsigned(_)))));
    }

    #[test]
    fn a_second_history_does_not_lead_to_the_root() {
        let (charter, keys) = (charter(), keys("350102/e1"));
        let empty = Tree::default();
        let held = admit(&charter, keys.node, &empty, sealed(&keys, &empty, 0, 10)).unwrap();
        let other = admit(&charter, keys.node, &empty, sealed(&keys, &empty, 100, 10)).unwrap();
        let fork = sealed(&keys, other.tree(), 10, 5);
        assert!(matches!(admit(&charter, keys.node, held.tree(), fork), Err(AdmitError::Root { .. })));
    }

    #[test]
    fn any_flipped_bit_is_refused() {
        let (charter, keys) = (charter(), keys("350102/e1"));
        let empty = Tree::default();
        let good = sealed(&keys, &empty, 0, 3);
        let want = admit(&charter, keys.node, &empty, good.clone()).unwrap();
        for i in 0..good.len() {
            let mut bad = good.clone();
            bad[i] ^= 1 << (i % 8);
            // A flip in zstd's own slack may expand to the same records; nothing else may pass.
            if let Ok(a) = admit(&charter, keys.node, &empty, bad) {
                assert_eq!(a.tree(), want.tree(), "byte {i}");
            }
        }
    }

    #[test]
    fn a_closed_epoch_ends_where_the_charter_says() {
        let keys = keys("350102/e1");
        let empty = Tree::default();
        let first = sealed(&keys, &empty, 0, 10);
        let held = admit(&charter(), keys.node, &empty, first.clone()).unwrap();
        let close = |size: u64, root: Hash| {
            let e1 = epoch("350102/e1", &format!("last_size = {size}\nlast_root = \"{root}\"\n"));
            let own = node("350102", "county", "350100", "").replace(&epoch("350102/e1", ""), &e1);
            let nodes = [sample()[..2].to_vec(), vec![own + &epoch("350102/e2", "")]].concat();
            Charter::parse(&document(2, &nodes)).unwrap()
        };
        let closed = close(10, held.tree().root());
        let beyond = seal_own(&closed, &keys, held.tree(), &records(10, 1), 1);
        assert!(matches!(beyond, Err(AdmitError::Closed { last: 10, end: 11, .. })), "{beyond:?}");
        let other = seal_own(&closed, &keys, &empty, &records(5, 10), 1);
        assert!(matches!(other, Err(AdmitError::Root { end: 10, .. })), "{other:?}");
        assert!(admit(&closed, keys.node, &empty, first.clone()).is_ok());
        let more = sealed(&keys, held.tree(), 10, 1);
        assert!(matches!(admit(&closed, keys.node, held.tree(), more), Err(AdmitError::Closed { .. })));
        let elsewhere = close(10, empty.root());
        assert!(matches!(admit(&elsewhere, keys.node, &empty, first), Err(AdmitError::Root { .. })));
    }
}
