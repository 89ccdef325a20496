//! Evidence of one record, gathered from a journal and verified by a stranger.

use super::*;
use std::{fs::OpenOptions, os::unix::fs::FileExt as _};
use tally_core::Place;
use tally_core::{Append, Disk as _, Replica};
use tally_journal::{SEGMENT_BYTES, segment_path};
use tally_protocol::{
    batch::seal,
    canonical::Object,
    ids::Federation,
    keys::{Algorithm, NodeKeys, Signer},
    merkle::Tree,
    note::cosign_line,
    record::Record,
};
use tally_store::entries::{EntryJournal, owner, position};
use tally_topology::{admit::admit, evidence::verify, signed::sign};

const SEALED: u64 = 1_790_000_000;
/// Records of each batch.
const BATCH: u64 = 90;

fn federation() -> Federation {
    Federation::try_from("t.example".to_owned()).unwrap()
}

fn keys(log: &str) -> NodeKeys {
    let log: LogId = log.parse().unwrap();
    NodeKeys::derive(&federation(), log, &[log.division.code() as u8; 32])
}

fn authority() -> Signer {
    Signer::new(federation().authority_name(), Algorithm::Ed25519, &[1; 32])
}

fn charter() -> SignedCharter {
    let node = |d: &str, level: &str, parent: &str| {
        let k = keys(&format!("{d}/e1"));
        let epoch = tally_topology::charter::epoch_entry(&k);
        format!(
            "[[node]]\ndivision = \"{d}\"\nname = \"N{d}\"\nlevel = \"{level}\"\naddresses = [\"h:1\"]\n{parent}\n\
             {epoch}"
        )
    };
    let text = [
        tally_topology::charter::heading(
            &federation(),
            1,
            tally_protocol::keys::authority_signer(&federation(), &[2; 32]).public(),
        ),
        node("350100", "prefecture", ""),
        node("350102", "county", "parent = \"350100\""),
    ];
    SignedCharter::open(&sign(&text.concat(), &authority()).unwrap(), authority().public()).unwrap()
}

fn record(n: u64) -> Record {
    Record::new(&Object::parse(format!("{{\"n\":\"{n}\"}}").as_bytes()).unwrap()).unwrap()
}

/// A county with four batches, each of which the city has confirmed 5 s later.
struct Made {
    dir: tempfile::TempDir,
    county: Replica,
    batches: Vec<Place>,
    receipts: Vec<Place>,
}

fn made() -> Made {
    let dir = tempfile::tempdir().unwrap();
    let (keys, city, charter) = (keys("350102/e1"), keys("350100/e1"), charter());
    let own = owner(charter.charter().federation(), keys.node.division);
    let (mut journal, _) = EntryJournal::open(dir.path(), &own, SEGMENT_BYTES, |_, _, _| {}).unwrap();
    let (mut tree, mut batches, mut receipts) = (Tree::default(), Vec::new(), Vec::new());
    for b in 0..4 {
        let records: Vec<_> = (b * BATCH..(b + 1) * BATCH).map(record).collect();
        let sealed = seal(&keys, &tree, &records, SEALED + b * 60);
        let batch = admit(charter.charter(), keys.node, &tree, sealed).unwrap();
        tree = batch.tree().clone();
        batches.extend(journal.append(&[Append::admitted(batch)]).unwrap());
        let checkpoint = Checkpoint { origin: keys.log.public().name().into(), size: tree.size(), root: tree.root() };
        let (log, holder, size, time) = (keys.node, city.node, tree.size(), SEALED + b * 60 + 5);
        let line = cosign_line(&checkpoint.text(), time, &city.mirror);
        receipts.extend(journal.append(&[Append::receipt(log, holder, size, time, line)]).unwrap());
    }
    journal.flush().unwrap();
    // A clean stop: the next start believes all of it where it stands.
    journal.into_journal().stop().unwrap();
    let mut county = Replica::new(Arc::new(keys), charter, "test".into());
    EntryJournal::open(dir.path(), &own, SEGMENT_BYTES, |e, at, by| county.recover(e, at, by)).unwrap();
    county.all_read();
    Made { dir, county, batches, receipts }
}

impl Made {
    fn gather(&self, index: u64, id: RecordId) -> Result<Gathered, GatherError> {
        let reader = EntryReader::new(self.dir.path().to_owned());
        let snapshot = Snapshot::of(self.county.view(), self.county.view().own(), index).unwrap();
        gather(&reader, &MerkleStore::new(reader.clone()), &snapshot, id, index)
    }

    /// Sizes and times of the county and the city in the evidence of a record; as it verifies.
    fn held(&self, index: u64) -> Vec<(u64, u64)> {
        let text = self.gather(index, record(index).id()).unwrap().text;
        let verified = verify(text.as_bytes(), authority().public()).unwrap();
        assert_eq!((verified.index, verified.record.as_bytes()), (index, record(index).bytes()));
        verified.held_by.iter().map(|h| (h.size, h.time - SEALED)).collect()
    }

    fn damage(&self, place: Place) {
        let file = OpenOptions::new().write(true).open(segment_path(self.dir.path(), 1)).unwrap();
        file.write_all_at(b"?", position(place).offset + 80).unwrap();
    }
}

#[test]
fn every_record_has_its_first_receipt() {
    let made = made();
    for index in 0..4 * BATCH {
        let b = index / BATCH;
        assert_eq!(made.held(index), [((b + 1) * BATCH, b * 60), ((b + 1) * BATCH, b * 60 + 5)]);
    }
    assert!(Snapshot::of(made.county.view(), "350103/e1".parse().unwrap(), 0).is_none());
    assert!(matches!(made.gather(3, record(4).id()), Err(GatherError::Elsewhere(3))));
    assert!(matches!(made.gather(4 * BATCH, record(4).id()), Err(GatherError::Record(_))));
}

#[test]
fn an_unreadable_receipt_is_replaced_by_the_next_and_the_latest_is_in_memory() {
    let made = made();
    made.damage(made.receipts[0]);
    assert_eq!(made.held(7), [(BATCH, 0), (2 * BATCH, 65)]);
    made.receipts.iter().for_each(|place| made.damage(*place));
    assert_eq!(made.held(7), [(BATCH, 0), (4 * BATCH, 185)]);
}

#[test]
fn damaged_batches_take_along_only_what_needs_them() {
    let made = made();
    // The second batch: neither its records nor proofs over it can be had; the first receipt needs nothing of it.
    made.damage(made.batches[1]);
    assert_eq!(made.held(7), [(BATCH, 0), (BATCH, 5)]);
    assert!(matches!(made.gather(BATCH, record(BATCH).id()), Err(GatherError::Record(_))));
    made.damage(made.receipts[0]);
    let gathered = made.gather(7, record(7).id()).unwrap();
    assert_eq!(gathered.left_out.len(), 1, "the city is left out, and that is said");
    assert_eq!(verify(gathered.text.as_bytes(), authority().public()).unwrap().held_by.len(), 1);
}
