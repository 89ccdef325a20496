//! What was promised over the whole run: what was acknowledged, signed, attested (I1, I2, I4, I5).

use super::{Broken, Judgement, Logs, logs::Read, promise, tree::Leaves};
use crate::federation;
use std::collections::{BTreeMap, BTreeSet, HashSet};
use tally_protocol::{
    checkpoint::Checkpoint,
    hash::Hash,
    ids::{Division, LogId},
    note::NoteSignature,
    wire::Head,
};

#[derive(Debug, Default)]
pub struct Oracle {
    pub read: Read,
    /// The one history of each log: what any disk has ever held of it.
    history: BTreeMap<LogId, Leaves>,
    /// Records acknowledged to submitters, by node.
    pub acknowledged: BTreeMap<Division, BTreeSet<Hash>>,
    /// Logs of which a second history may be signed: their key is also in an enemy's hands, or a signed head of what a disk has
    /// lost had been told to somebody who does not hold the records.
    pub forged: BTreeSet<LogId>,
    /// Logs whose key is on two machines: two histories of them may stand on disks.
    pub doubled: BTreeSet<LogId>,
    /// The largest signed head of each log that was told.
    told: BTreeMap<LogId, u64>,
    /// Receipts that were good when they were given; said again, they are the same.
    receipts: HashSet<String>,
}

impl Oracle {
    /// I4: a batch on a disk continues or repeats the one history of its log.
    pub fn holds(&mut self, log: LogId, start: u64, leaves: &[Hash]) -> Judgement {
        if self.doubled.contains(&log) {
            return Ok(());
        }
        let history = self.history.entry(log).or_default();
        let known = history.all().get(start as usize..).unwrap_or_default();
        let same = known.iter().zip(leaves).all(|(a, b)| a == b);
        promise(same, || format!("I4: two histories of {log} are on disks, from {start} on"))?;
        let (size, end) = (history.len(), start + leaves.len() as u64);
        if start <= size && size < end {
            history.extend(&leaves[(size - start) as usize..]);
            let distinct: BTreeSet<_> = history.all().iter().collect();
            promise(distinct.len() as u64 == end, || format!("I5: {log} holds a record twice"))?;
        }
        Ok(())
    }

    /// Somebody was told of a head, whether or not he will ever hold its records.
    pub fn was_told(&mut self, head: &Head) {
        let told = self.told.entry(head.log).or_default();
        *told = head.size.max(*told);
    }

    /// I2 and I4: a head that is spoken of is signed, lies on a disk, and belongs to the one history.
    pub fn saw_head(&mut self, head: &Head) -> Judgement {
        if head.size == 0 || self.forged.contains(&head.log) {
            return Ok(());
        }
        let (log, size) = (head.log, head.size);
        self.was_told(head);
        let signed = self.read.note(log, &head.note);
        promise(signed == Some((size, head.root)), || format!("I3: a head of {log} at {size} is not signed"))?;
        let history = self.history.entry(log).or_default();
        promise(history.len() >= size, || format!("I2: a head of {log} at {size} is on no disk"))?;
        promise(history.root(size) == head.root, || format!("I4: two histories of {log} at size {size}"))
    }

    /// What only the lost part of a disk had is gone with it: nobody can hold it against the log, unless somebody was told of a
    /// head of it. Those above answer for the gate; a child that comes back later finds both histories.
    pub fn forget_beyond(&mut self, log: LogId, size: u64) {
        if self.told.get(&log).is_some_and(|told| *told > size) {
            self.forged.insert(log);
        }
        self.history.entry(log).or_default().truncate(size);
    }

    /// I2: the holder has on disk what it attests, exactly.
    pub fn saw_receipt(&mut self, log: LogId, size: u64, holder: LogId, line: &str, disk: &mut Logs) -> Judgement {
        if self.receipts.contains(line) {
            return Ok(());
        }
        let held = disk.of(log).len() as u64;
        promise(held >= size, || format!("I2: {holder} attests {size} of {log}, {held} are on its disk"))?;
        let root = disk.root(log, size);
        let text = Checkpoint { origin: federation::origin(log), size, root }.text();
        let signed = NoteSignature::parse(line.trim_end()).ok();
        let good = signed.is_some_and(|s| s.verify(&federation::mirror_key(holder), &text).is_ok());
        self.receipts.insert(line.to_owned());
        promise(good, || format!("I2: {holder}'s receipt for {size} of {log} is not for what is on its disk"))
    }

    /// I4: a log is frozen only when two histories of it were signed.
    pub fn saw_freeze(&self, by: Division, log: LogId, reason: &str) -> Judgement {
        promise(self.forged.contains(&log), || format!("I4: {by} called an honest log a fork: {log}: {reason}"))
    }

    /// I1: what `node` has acknowledged is in its own logs.
    pub fn check_acknowledged(&self, node: Division, held: &BTreeSet<Hash>) -> Judgement {
        let lost = self.acknowledged.get(&node).into_iter().flatten().filter(|id| !held.contains(id)).count();
        promise(lost == 0, || format!("I1: {node} lost {lost} records that it had acknowledged"))
    }

    /// The leaves of the one history.
    pub fn history(&self, log: LogId) -> &[Hash] {
        self.history.get(&log).map_or(&[], Leaves::all)
    }
}

impl From<String> for Broken {
    fn from(why: String) -> Self {
        Self(why)
    }
}
