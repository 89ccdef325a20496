//! What the index tells while it grows, and what is known of one that failed.

use super::*;
use crate::index::entry;
use std::sync::atomic::{AtomicU64, Ordering};

const SEALED: u64 = 1_800_000_000;

/// What cannot be opened at a start is not empty: what it held is known once it is back.
#[test]
fn an_index_that_could_not_be_opened_is_not_taken_for_empty() {
    let mut journal = Journal::new();
    let held = journal.take(VICTIM, &[line(1, "create", "1", &[]), line(2, "create", "1", &[])], SEALED);
    let Indexed { opened, _dir } = journal.indexed("");
    let folder = _dir.path().join("index");
    opened.closer()(true);
    drop(opened);
    // The marker cannot be written, as without room: the system goes round in a circle.
    let marker = folder.join("marker.new");
    std::os::unix::fs::symlink("marker.new", &marker).unwrap();
    let refused = open(&folder, |_| true);
    assert!(refused.trouble.is_some() && !refused.is_empty());
    let (durable, heard) = watch::channel(journal.journal.durable());
    let sources = FollowSources { durable: heard, ..journal.sources(sample::signed(""), &refused.engine, "350102/e1") };
    let known =
        Arc::new(DedupIndex::new(refused.engine.clone(), sources.charter.clone(), sources.own, refused.is_empty()));
    let sources = FollowSources { known: known.clone(), ..sources };
    assert!(known.holds(&held[0]).is_err(), "nobody can tell");
    std::fs::remove_file(&marker).unwrap();
    let mut progress = sources.progress.subscribe();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    std::thread::scope(|scope| {
        scope.spawn(|| follow(refused, &sources, |_| true, runtime.handle()));
        let whole = progress.wait_for(|p| p.whole);
        runtime.block_on(async { tokio::time::timeout(Duration::from_secs(30), whole).await }).unwrap().unwrap();
        drop(durable);
    });
    for id in held {
        assert!(known.holds(&id).unwrap(), "it would be sealed once more");
    }
}

/// A write that went in though it seemed to fail: what it brought is known, and waits for the index no longer.
#[test]
fn what_a_failed_write_left_is_known() {
    let mut journal = Journal::new();
    let held = journal.take(VICTIM, &[line(1, "create", "1", &[])], SEALED);
    let indexed = journal.indexed("");
    let sources = journal.sources(sample::signed(""), &indexed.opened.engine, "350102/e1");
    let known = DedupIndex::new(indexed.opened.engine.clone(), sources.charter.clone(), sources.own, true);
    let text = line(1, "create", "1", &[]);
    let content = tally_topology::content::ContentId::of(held[0], &Object::parse(text.as_bytes()).unwrap());
    known.add_pending(held[0], &content);
    known.doubt();
    known.fill().unwrap();
    known.set_whole(true);
    assert!(known.holds(&held[0]).unwrap() && known.pending() == 0);
    assert!(known.versions(&content.key).unwrap().is_some());
}

/// Whoever waits for a place finds everything before it.
#[test]
fn what_is_only_gathered_is_not_told() {
    let mut journal = Journal::new();
    for n in 0..3 {
        journal.take(VICTIM, &[line(n, "create", "1", &[])], SEALED);
    }
    let dir = tempfile::tempdir().unwrap();
    let opened = open(&dir.path().join("index"), |_| true);
    let sources = journal.sources(sample::signed(""), &opened.engine, "350100/e1");
    let told = sources.progress.subscribe();
    let mut f = Follower::new(&sources, &opened);
    let signed = sources.charter.charter();
    f.judge_by(signed.charter());
    let (durable, engine) = (journal.journal.durable(), opened.engine.clone());
    let looks = AtomicU64::new(0);
    f.catch_up(signed.charter(), durable, || {
        looks.fetch_add(1, Ordering::Relaxed);
        let progress = told.borrow();
        let there = engine.scan(entry::RECORDS, b"", 9).unwrap().len() as u64;
        assert!(there == 3 || progress.cursor <= entries::origin(), "{progress:?} with {there}");
        assert_eq!(progress.distinct, there);
        false
    })
    .unwrap();
    assert_eq!(looks.into_inner(), 3);
    f.tell();
    assert_eq!((told.borrow().cursor, told.borrow().distinct), (durable, 3));
}

/// What counts for a question is what was there when it began, whatever comes meanwhile.
#[test]
fn a_question_is_answered_as_of_one_moment() {
    let mut journal = Journal::new();
    let first = journal.take(VICTIM, &[line(1, "create", "1", &[]), line(2, "create", "1", &[])], SEALED);
    let amended = journal.take(VICTIM, &[line(1, "amend", "2", &[])], SEALED + 1);
    let mut indexed = journal.indexed("");
    let charter = sample::charter("");
    let engine = indexed.opened.engine.clone();
    let until = entry::reached(&*engine).unwrap();
    let all = InForce::of_all(&*engine, &charter, true, until.clone()).unwrap();
    let now = InForce::as_of_now(&*engine, &charter).unwrap();
    // One key is amended once more, and one for the first time.
    journal.take(VICTIM, &[line(1, "amend", "3", &[]), line(2, "amend", "3", &[])], SEALED + 2);
    indexed.go_on(&journal, "");
    let late = InForce::of_all(&*engine, &charter, true, until).unwrap();
    let mut expected = vec![first[1], amended[0]];
    expected.sort();
    for in_force in [&all, &now, &late] {
        let mut current = Vec::new();
        each_record(in_force, |id, attested| {
            if in_force.is_current(id, &attested)? {
                current.push(id);
            }
            Ok(ControlFlow::Continue(()))
        })
        .unwrap();
        assert_eq!(current, expected);
    }
}

/// Records that the index lacks do not hide behind others that came since.
#[test]
fn what_the_index_lacks_is_told_while_it_grows() {
    use crate::{batch_map::BatchMap, index::query};
    let mut journal = Journal::new();
    let some = |from: u64| (from..from + 10).map(|n| line(n, "create", "1", &[])).collect::<Vec<_>>();
    journal.take(VICTIM, &some(0), SEALED);
    let mut indexed = journal.indexed("");
    // As if the second batch could not have been read when the third was.
    let log: LogId = "350102/e1".parse().unwrap();
    let charter = sample::charter("");
    let mut held = tally_core::log::HeldLog::default();
    let mut tree = Tree::default();
    for batch in 0..4_u64 {
        let start = tree.size();
        some(batch * 10).iter().for_each(|line| tree.push(tally_protocol::merkle::leaf_hash(line.as_bytes())));
        assert!(held.put(start, tree.clone(), SEALED, String::new(), Place(batch)));
        if batch == 2 {
            let maps = BTreeMap::from([(log, BatchMap::of(&Arc::new(held.clone())))]);
            let source = query::Source {
                reader: &EntryReader::new(journal.dir.path().to_owned()),
                batch_maps: &maps,
                charter: &charter,
            };
            let lacks = |indexed: &Indexed| query::not_indexed(&*indexed.opened.engine, &source).unwrap();
            assert_eq!(lacks(&indexed), BTreeMap::from([(log, 20)]), "it has seen the first batch only");
            let state = |reached, logs| State {
                reached: [(log, reached)].into(),
                logs: [(log, logs)].into(),
                ..State::default()
            };
            // The third came in, and the second did not.
            let put = |from: u64, state: State| {
                let overlay = Overlay::new(indexed.opened.engine.clone());
                for n in from..from + 10 {
                    let e = entry::IndexEntry { index: n, ..entry::IndexEntry::default() };
                    overlay.put_record(RecordId::of(&n.to_be_bytes()), log, &e);
                }
                overlay.commit((STATE_KEY.to_vec(), state.encode())).unwrap();
            };
            put(20, state(30, 20));
            assert_eq!(lacks(&indexed), BTreeMap::from([(log, 10)]));
            // And then a fourth, which the question does not know.
            put(30, state(40, 30));
            assert_eq!(lacks(&indexed), BTreeMap::from([(log, 10)]));
        }
    }
    indexed.opened.state = State::default();
}

/// Counts what is read.
#[derive(Debug)]
struct Counting(Arc<dyn Engine>, AtomicU64);

impl Engine for Counting {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, EngineError> {
        self.1.fetch_add(1, Ordering::Relaxed);
        self.0.get(key)
    }
    fn scan(&self, prefix: &[u8], from: &[u8], limit: usize) -> Result<Write, EngineError> {
        let found = self.0.scan(prefix, from, limit)?;
        self.1.fetch_add(1 + found.len() as u64, Ordering::Relaxed);
        Ok(found)
    }
    fn change(&self, pairs: Write, gone: Vec<Vec<u8>>) -> Result<(), EngineError> {
        self.0.change(pairs, gone)
    }
    fn flush(&self) -> Result<(), EngineError> {
        self.0.flush()
    }
}

/// A unit that writes the same number in every row costs as much a row after a thousand as after a hundred.
#[test]
fn one_key_a_thousand_times_costs_no_more_each_time() {
    let mut journal = Journal::new();
    let dir = tempfile::tempdir().unwrap();
    let mut opened = open(&dir.path().join("index"), |_| true);
    let counting = Arc::new(Counting(opened.engine.clone(), AtomicU64::new(0)));
    opened.engine = counting.clone();
    let sources = journal.sources(sample::signed(""), &opened.engine, "350100/e1");
    sources.known.fill().unwrap();
    let mut f = Follower::new(&sources, &opened);
    let signed = sources.charter.charter();
    f.judge_by(signed.charter());
    let mut read = Vec::new();
    for n in 0..10 {
        let result = |i: u64| (n * 100 + i).to_string();
        let lines: Vec<_> = (0..100).map(|i| line(1, "create", "1", &[("remark", &result(i))])).collect();
        journal.take(VICTIM, &lines, SEALED + n);
        let before = counting.1.load(Ordering::Relaxed);
        f.catch_up(signed.charter(), journal.journal.durable(), || false).unwrap();
        read.push(counting.1.load(Ordering::Relaxed) - before);
    }
    assert!(read[9] <= 2 * read[1], "{read:?}");
    opened.state = f.state;
    let incremental = Indexed { opened, _dir: dir };
    assert_eq!(incremental.findings(), journal.indexed("").findings(), "an index that is built anew says the same");
}

/// While the index is built, an older name of a subject may be there and the newer one not yet.
#[test]
fn a_name_is_told_only_by_an_index_that_is_whole() {
    let journal = Journal::new();
    let indexed = journal.indexed("");
    let sources = journal.sources(sample::signed(""), &indexed.opened.engine, "350102/e1");
    let name = entry::SubjectName { day: 1, name: "旧名".into(), rules: [0; 8] };
    indexed.opened.engine.write(vec![(entry::subject_key("91350102MA2TE5T1X0"), name.encode())]).unwrap();
    assert!(matches!(sources.known.subject("91350102MA2TE5T1X0"), Err(EngineError::Unfinished)));
    sources.known.set_whole(true);
    assert_eq!(sources.known.subject("91350102MA2TE5T1X0").unwrap().as_deref(), Some("旧名"));
}
