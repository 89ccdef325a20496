//! Trees read from a journal: hashes, proofs, and records that cannot be read.

use super::*;
use crate::entries::{EntryJournal, owner, position};
use std::{fs::OpenOptions, os::unix::fs::FileExt as _};
use tally_core::log::HeldLog;
use tally_core::{Append, Disk as _, Replica};
use tally_journal::{SEGMENT_BYTES, segment_path};
use tally_protocol::{
    batch::seal,
    canonical::Object,
    ids::Federation,
    keys::{Algorithm, NodeKeys, Signer},
    merkle::{Tree, tile::tiles},
    record::Record,
};
use tally_topology::{
    admit::admit,
    signed::{SignedCharter, sign},
};

/// A journal with one log, as a restarted node holds it; and its hashes as they should be.
struct Made {
    dir: tempfile::TempDir,
    replica: Replica,
    log: LogId,
    model: FullTree,
}

fn made(batches: &[usize]) -> Made {
    let dir = tempfile::tempdir().unwrap();
    let f = Federation::try_from("t.example".to_owned()).unwrap();
    let keys = NodeKeys::derive(&f, "350102/e1".parse().unwrap(), &[7; 32]);
    let authority = Signer::new(f.authority_name(), Algorithm::Ed25519, &[1; 32]);
    let epoch = tally_topology::charter::epoch_entry(&keys);
    let heading =
        tally_topology::charter::heading(&f, 1, tally_protocol::keys::authority_signer(&f, &[2; 32]).public());
    let text = format!(
        "{heading}[[node]]\ndivision = \"350102\"\nname = \"n\"\n\
         level = \"county\"\n{epoch}"
    );
    let signed = SignedCharter::open(&sign(&text, &authority).unwrap(), authority.public()).unwrap();
    let (mut journal, _) =
        EntryJournal::open(dir.path(), &owner(&f, keys.node.division), SEGMENT_BYTES, |_, _, _| {}).unwrap();
    let (mut tree, mut model) = (Tree::default(), FullTree::default());
    for n in batches {
        let record = |i| Record::new(&Object::parse(format!("{{\"n\":\"{i}\"}}").as_bytes()).unwrap()).unwrap();
        let records: Vec<_> = (tree.size()..tree.size() + *n as u64).map(record).collect();
        records.iter().for_each(|r| model.push(r.id().0));
        let batch = admit(signed.charter(), keys.node, &tree, seal(&keys, &tree, &records, 1)).unwrap();
        tree = batch.tree().clone();
        journal.append(&[Append::admitted(batch)]).unwrap();
    }
    journal.flush().unwrap();
    // A clean stop: the next start believes all of it where it stands.
    journal.into_journal().stop().unwrap();
    let log = keys.node;
    let mut replica = Replica::new(Arc::new(keys), signed, "test".into());
    EntryJournal::open(dir.path(), &owner(&f, log.division), SEGMENT_BYTES, |e, at, by| replica.recover(e, at, by))
        .unwrap();
    Made { dir, replica, log, model }
}

impl Made {
    fn held(&self) -> &Arc<HeldLog> {
        &self.replica.view().logs()[&self.log]
    }

    fn trees(&self) -> MerkleStore {
        MerkleStore::new(EntryReader::new(self.dir.path().to_owned()))
    }

    fn at(&self, trees: &MerkleStore, size: u64) -> Result<LogTree, TreeError> {
        trees.at(self.log, BatchMap::of(self.held()), size, &self.held().root_at(size).unwrap())
    }
}

/// 1,000 records in batches that end nowhere near a tile's edge.
const BATCHES: &[usize] = &[1, 300, 7, 400, 250, 42];

#[test]
fn proofs_and_tiles_are_those_of_a_tree_in_memory() {
    let made = made(BATCHES);
    let trees = made.trees();
    // Grown step by step: each size is proved, and what is kept serves the next.
    for size in [1, 301, 708, 1_000] {
        let tree = made.at(&trees, size).unwrap();
        assert_eq!(trees.kept(made.log), size - size % WIDTH);
        for index in [0, size / 3, size / 2, size - 1] {
            assert_eq!(tree.inclusion(index, size).unwrap(), proof::inclusion(&made.model, index, size).unwrap());
        }
        for first in [1, size / 2, size] {
            assert_eq!(tree.consistency(first, size).unwrap(), proof::consistency(&made.model, first, size).unwrap());
        }
        for tile in tiles(size) {
            assert_eq!(tile.content(&tree), tile.content(&made.model), "{}", tile.path());
        }
        for level in 0..10 {
            for index in 0..size >> level {
                assert_eq!(tree.node(level, index), made.model.node(level, index), "{level} {index}");
            }
            assert_eq!(tree.node(level, size >> level), None);
        }
        assert!(matches!(tree.inclusion(size, size + 1), Err(TreeError::Proof { .. })));
    }
    // An older size after a newer one, and again from nothing.
    assert_eq!(made.at(&trees, 301).unwrap().node(0, 301), None);
    trees.forget(made.log);
    assert_eq!(trees.kept(made.log), 0);
    assert_eq!(made.at(&trees, 1_000).unwrap().range_hash(0..1_000).unwrap(), made.held().tree().root());
}

#[test]
fn damage_is_named_by_its_records_and_older_trees_still_serve() {
    let made = made(BATCHES);
    let batch = BatchMap::of(made.held()).batch_of(800).unwrap();
    let file = OpenOptions::new().write(true).open(segment_path(made.dir.path(), 1)).unwrap();
    file.write_all_at(b"?", position(batch.place).offset + 600).unwrap();
    let trees = made.trees();
    for _ in 0..2 {
        let why = made.at(&trees, 1_000).unwrap_err();
        assert!(matches!(why, TreeError::Unreadable { from: 708, to: 958, .. }), "{why}");
        assert_eq!(trees.kept(made.log), 512, "what was read is not read again");
    }
    assert!(made.at(&trees, 708).unwrap().inclusion(700, 708).is_ok());
}

#[test]
fn hashes_that_do_not_lead_to_the_signed_root_are_not_kept() {
    let made = made(BATCHES);
    let trees = made.trees();
    let why = trees.at(made.log, BatchMap::of(made.held()), 1_000, &made.held().root_at(708).unwrap()).unwrap_err();
    assert!(matches!(why, TreeError::Root { size: 1_000, .. }), "{why}");
    assert_eq!(trees.kept(made.log), 0);
    assert!(made.at(&trees, 1_000).is_ok());
}
