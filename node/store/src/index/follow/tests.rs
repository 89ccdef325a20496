//! The follower: it counts once, goes on where it stopped, and takes repaired batches late.

use super::*;
use crate::entries::{EntryJournal, owner};
use crate::index::{EngineName, open};
use tally_core::{Append, Disk as _, Entry as KeptAs};
use tally_protocol::{batch::seal, canonical::Object, ids::Federation, keys::NodeKeys, merkle::Tree, record::Record};
use tally_topology::{admit::admit, charter::Charter};

fn journal(dir: &std::path::Path, batches: usize) -> (Place, Charter) {
    let f = Federation::try_from("t.example".to_owned()).unwrap();
    let keys = NodeKeys::derive(&f, "350102/e1".parse().unwrap(), &[7; 32]);
    let epoch = tally_topology::charter::epoch_entry(&keys);
    let heading =
        tally_topology::charter::heading(&f, 1, tally_protocol::keys::authority_signer(&f, &[2; 32]).public());
    let text = format!(
        "{heading}[[node]]\ndivision = \"350102\"\nname = \"n\"\n\
         level = \"county\"\n{epoch}"
    );
    let charter = Charter::parse(&text).unwrap();
    let own = owner(&f, keys.node.division);
    let (mut journal, _) = EntryJournal::open(dir, &own, 64 << 20, |_, _| {}).unwrap();
    let mut tree = Tree::default();
    for b in 0..batches {
        let record = |i| Record::new(&Object::parse(format!("{{\"n\":\"{b} {i}\"}}").as_bytes()).unwrap()).unwrap();
        let records: Vec<_> = (0..550).map(record).collect();
        let batch = admit(&charter, keys.node, &tree, seal(&keys, &tree, &records, 1)).unwrap();
        tree = batch.tree().clone();
        journal.append(&[Append::admitted(batch)]).unwrap();
    }
    journal.flush().unwrap();
    (journal.durable(), charter)
}

fn follower(opened: &OpenedIndex, dir: &std::path::Path) -> Follower {
    let known = Arc::new(DedupIndex::new(opened.engine.clone(), "350102/e1".parse().unwrap(), opened.is_empty()));
    known.fill().unwrap();
    let mut f = Follower {
        engine: opened.engine.clone(),
        known,
        reader: EntryReader::new(dir.to_owned()),
        state: opened.state.clone(),
        pairs: Vec::new(),
        ids: Vec::new(),
        fresh: HashSet::new(),
        fresh_keys: HashMap::new(),
        fresh_subjects: HashMap::new(),
    };
    if f.state.place == 0 {
        f.move_to(entries::origin());
    }
    f
}

/// A stop after any write, also in the middle of a batch, repeats nothing and loses nothing.
#[test]
fn every_stop_resumes_exactly() {
    for name in [EngineName::Sled, EngineName::Fjall] {
        let dir = tempfile::tempdir().unwrap();
        let (until, charter) = journal(dir.path(), 3);
        let opened = open(&dir.path().join("index"), name, |_| true).unwrap();
        let (progress, _) = watch::channel(IndexProgress { cursor: until, distinct: 0, trouble: None });
        let mut resumed = opened.state.clone();
        let mut rounds = 0;
        loop {
            // A new follower each time: only what was written together with the entries counts.
            let mut f = follower(&opened, dir.path());
            f.state = match opened.engine.get(STATE_KEY).unwrap() {
                Some(bytes) => State::decode(&bytes).unwrap(),
                None => f.state,
            };
            assert!(rounds == 0 || f.state != resumed, "each round gets further");
            resumed = f.state.clone();
            let frame = f.reader.next(f.cursor(), until).unwrap();
            let Some((place, kept, next)) = frame else { break };
            let KeptAs::Batch { log, start, sealed_at, .. } = kept.entry else { panic!("only batches here") };
            // What is collected after the last write is lost with the stop, unless nothing but that is left of the batch.
            let rest = 550 - usize::from(f.state.done);
            f.take(&charter, log, (start, sealed_at), place, &kept.body).unwrap();
            if rest < WRITE_RECORDS {
                f.move_to(next);
                f.write().unwrap();
            }
            rounds += 1;
            assert!(rounds < 20);
        }
        let mut last = follower(&opened, dir.path());
        last.state = State::decode(&opened.engine.get(STATE_KEY).unwrap().unwrap()).unwrap();
        last.catch_up(&charter, until, &progress, || false).unwrap();
        assert_eq!(last.state.distinct, 3 * 550);
        assert_eq!(last.state.logs.values().sum::<u64>(), 3 * 550);
        assert_eq!(opened.engine.scan(b"r", b"", 10_000).unwrap().len(), 3 * 550);
        assert_eq!(opened.engine.scan(b"k", b"", 10_000).unwrap().len(), 3 * 550);
    }
}
