//! Gathers the parts of an evidence file from what this node holds: the record and the signed checkpoints from the
//! journal, receipts by their places, proofs from the log's tree. What the disk does not give back for one receipt, the
//! next one over the record replaces. Reads the disk: not for async threads.

#[cfg(test)]
mod tests;

use std::sync::Arc;
use tally_core::log::{KeptReceipt, Receipt};
use tally_core::{Entry, View};
use tally_protocol::{
    checkpoint::Checkpoint,
    hash::Hash,
    ids::{Division, LogId},
    note::{Note, NoteSignature},
    record::RecordId,
    tlog_proof::TlogProof,
};
use tally_store::entries::EntryReader;
use tally_store::{
    batch_map::{BatchMap, BatchMapError},
    merkle_store::{MerkleStore, TreeError},
};
use tally_topology::{
    charter::Epoch,
    evidence::{Failed, Parts, check_proof, write},
    signed::SignedCharter,
};

/// Receipts of one holder that are tried, smallest first, before its latest.
const TRIES: usize = 32;

/// What the core knows of a record's log.
#[derive(Debug)]
pub struct Snapshot {
    charter: Arc<SignedCharter>,
    log: LogId,
    batches: BatchMap,
    holders: Vec<Holder>,
}

#[derive(Debug)]
struct Holder {
    division: Division,
    kept: Vec<KeptReceipt>,
    latest: Option<Receipt>,
}

impl Snapshot {
    /// Of the log that holds the record at `index`; `None` if there is no such log.
    pub fn of(r: &View, log: LogId, index: u64) -> Option<Self> {
        let held = r.logs().get(&log)?;
        let above = held.holders().filter(|d| *d != log.division);
        let holders = above.map(|division| Holder {
            division,
            kept: held.receipts_over(division, index).take(TRIES).collect(),
            latest: held.receipts.get(&division).filter(|x| x.size > index).cloned(),
        });
        let (charter, batches) = (r.signed_charter().clone(), BatchMap::of(held));
        Some(Self { charter, log, batches, holders: holders.collect() })
    }
}

/// Why there is no evidence.
#[derive(Debug, thiserror::Error)]
pub enum GatherError {
    /// The record's batch.
    #[error("the record cannot be read from this disk: {0}")]
    Record(#[from] BatchMapError),
    /// What stands at the record's index is another one.
    #[error("record {0} is not where the index says; rebuild it: stop the node, delete data/index, start it")]
    Elsewhere(u64),
    /// A mirrored record that is no text.
    #[error("the record is not one line of text, so it cannot stand in an evidence file")]
    NotText,
    /// The journal has no signed checkpoint of that size.
    #[error("no signed checkpoint of size {0} can be read from this disk")]
    NoCheckpoint(u64),
    /// The receipt's frame.
    #[error("the receipt cannot be read from this disk")]
    NoReceipt,
    /// The log's tree.
    #[error(transparent)]
    Tree(#[from] TreeError),
    /// What was gathered does not verify.
    #[error(transparent)]
    Proof(#[from] Failed),
}

/// A file, and whose receipts are not in it although they are known.
#[derive(Debug)]
pub struct Gathered {
    /// The evidence file.
    pub text: String,
    /// Holders whose receipts cannot be proved from this disk, and why.
    pub left_out: Vec<(Division, String)>,
}

struct Gather<'a> {
    reader: &'a EntryReader,
    trees: &'a MerkleStore,
    snapshot: &'a Snapshot,
    keys: &'a Epoch,
    leaf: Hash,
    index: u64,
}

/// Gathers and writes the file of record `id`, which is at `index` of the snapshot's log. It was verified when it comes
/// back.
///
/// # Errors
/// [`GatherError`], when the record or its origin's proof cannot be had. A holder above is left out instead.
pub fn gather(
    reader: &EntryReader,
    trees: &MerkleStore,
    snapshot: &Snapshot,
    id: RecordId,
    index: u64,
) -> Result<Gathered, GatherError> {
    let log = snapshot.log;
    let charter = snapshot.charter.charter();
    let (batch, records) = snapshot.batches.read(reader, index)?;
    let record = records.iter().nth((index - batch.start) as usize).unwrap_or_default();
    if RecordId::of(record) != id {
        return Err(GatherError::Elsewhere(index));
    }
    let record = String::from_utf8(record.to_vec()).map_err(|_| GatherError::NotText)?;
    let keys = charter.epoch(log).ok_or(GatherError::NoCheckpoint(batch.end))?;
    let gather = Gather { reader, trees, snapshot, keys, leaf: id.0, index };
    let mut proofs = vec![(log, gather.proof(batch.end, None)?)];
    let mut left_out = Vec::new();
    for holder in &snapshot.holders {
        match gather.holder(holder) {
            Ok(proof) => proofs.extend(proof),
            Err(why) => left_out.push((holder.division, why.to_string())),
        }
    }
    let closing = match keys.last {
        Some((size, root)) => Some(gather.path(size, &root)?),
        None => None,
    };
    let text = write(Parts { record, log, proofs, closing }, &snapshot.charter)?;
    Ok(Gathered { text, left_out })
}

impl Gather<'_> {
    fn path(&self, size: u64, root: &Hash) -> Result<Vec<Hash>, TreeError> {
        let Snapshot { log, batches, .. } = self.snapshot;
        self.trees.at(*log, batches.clone(), size, root)?.inclusion(self.index, size)
    }

    /// The proof at `size`, where a batch ends, with another cosignature under its checkpoint.
    fn proof(&self, size: u64, cosignature: Option<&str>) -> Result<TlogProof, GatherError> {
        let mut note = self.note(size).ok_or(GatherError::NoCheckpoint(size))?;
        let checkpoint = Checkpoint::open(&note, &self.keys.log).map_err(|_| GatherError::NoCheckpoint(size))?;
        note.push_str(cosignature.unwrap_or_default());
        Ok(TlogProof { index: self.index, path: self.path(size, &checkpoint.root)?, note })
    }

    /// The note that closed the batch which ends at `size`: with the links of the log's key and the origin's mirror key
    /// only, in this order.
    fn note(&self, size: u64) -> Option<String> {
        let batch = self.snapshot.batches.batch_of(size.checked_sub(1)?).filter(|b| b.end == size)?;
        let Entry::Batch { log, tree, note, .. } = self.reader.read(batch.place).ok()?.entry else { return None };
        if (log, tree.size()) != (self.snapshot.log, size) {
            return None;
        }
        let text = Note::parse(&note).ok()?.text();
        let links = note[text.len() + 1..].split_inclusive('\n');
        let of = |key: &tally_protocol::keys::VerifierKey| {
            let theirs = |line: &&str| {
                let parsed = NoteSignature::parse(line.trim_end());
                parsed.is_ok_and(|s| (s.name, s.id) == (key.name(), key.id()))
            };
            links.clone().find(theirs)
        };
        let (signature, cosignature) = (of(&self.keys.log)?, of(&self.keys.mirror)?);
        Some(format!("{text}\n{signature}{cosignature}"))
    }

    /// The first receipt of a holder that can be proved; `None` if none covers the record yet.
    fn holder(&self, holder: &Holder) -> Result<Option<(LogId, TlogProof)>, GatherError> {
        let mut trouble = None;
        for kept in &holder.kept {
            let line = self.line(holder.division, kept).ok_or(GatherError::NoReceipt);
            match line.and_then(|line| self.receipt(holder.division, kept.epoch, kept.size, &line)) {
                Ok(proof) => return Ok(Some(proof)),
                Err(why) => trouble = trouble.or(Some(why)),
            }
        }
        // Its line is in memory.
        match (&holder.latest, trouble) {
            (Some(r), _) => self.receipt(holder.division, r.epoch, r.size, &r.line).map(Some),
            (None, Some(why)) => Err(why),
            (None, None) => Ok(None),
        }
    }

    fn line(&self, holder: Division, kept: &KeptReceipt) -> Option<String> {
        let Entry::Receipt { log, holder: signer, size, line, .. } = self.reader.read(kept.place()).ok()?.entry else {
            return None;
        };
        let same = (log, signer.division, size) == (self.snapshot.log, holder, kept.size);
        same.then_some(line)
    }

    fn receipt(
        &self,
        division: Division,
        epoch: u32,
        size: u64,
        line: &str,
    ) -> Result<(LogId, TlogProof), GatherError> {
        let holder = LogId::records(division, epoch);
        let proof = self.proof(size, Some(line))?;
        check_proof(self.snapshot.charter.charter(), self.snapshot.log, &self.leaf, holder, &proof)?;
        Ok((holder, proof))
    }
}
