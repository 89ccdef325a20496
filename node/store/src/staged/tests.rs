//! Staged rows on a disk.

use super::{store::StagedStore, *};
use std::{
    fs,
    path::{Path, PathBuf},
};
use tally_journal::Owner;
use tally_protocol::{
    canonical::Object,
    ids::LogId,
    record::{Record, RecordId},
};

fn record(n: u64) -> Record {
    Record::new(&Object::parse(format!("{{\"n\":\"{n}\"}}").as_bytes()).unwrap()).unwrap()
}

fn records(range: std::ops::Range<u64>) -> Vec<Record> {
    range.map(record).collect()
}

struct Place {
    _dir: tempfile::TempDir,
    staged: PathBuf,
}

impl Place {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let staged = dir.path().join("staged");
        Self { _dir: dir, staged }
    }

    fn open(&self) -> StagedStore {
        self.limited(1 << 30)
    }

    fn limited(&self, bytes: u64) -> StagedStore {
        let owner = Owner { federation: "t.example".into(), division: 350_102 };
        let mut store = StagedStore::open(&self.staged, &owner, StagedLimits { bytes, records: 10_000 }).unwrap();
        store.read_all(|_, _| {});
        store
    }

    fn files(&self, ending: &str) -> Vec<PathBuf> {
        let names = fs::read_dir(&self.staged).unwrap().map(|e| e.unwrap().path());
        let mut names: Vec<_> = names.filter(|p| p.extension().is_some_and(|e| e == ending)).collect();
        names.sort();
        names
    }
}

fn stage(store: &mut StagedStore, records: &[Record]) -> StagedRun {
    let run = store.append(records).unwrap().unwrap();
    store.flush().unwrap();
    run
}

fn own() -> LogId {
    "350102/e1".parse().unwrap()
}

/// Seals the next frames behind `from`, as a log without duplicates does; answers the rows.
fn seal(store: &mut StagedStore, from: u64) -> Vec<Vec<u8>> {
    let (mut outcomes, mut all) = (Vec::new(), Vec::new());
    for frame in store.next(1_000, 1 << 20).unwrap() {
        let mut outcome = FrameOutcome::of(frame.number);
        match frame.rows {
            Ok(rows) => {
                for bytes in rows {
                    outcome.sealed_at(own(), from + all.len() as u64);
                    all.push(bytes);
                }
            }
            Err(lost) => outcome.lost = lost.records,
        }
        outcomes.push(outcome);
    }
    store.put_away(outcomes).unwrap();
    all
}

fn bytes(records: &[Record]) -> Vec<Vec<u8>> {
    records.iter().map(|r| r.bytes().to_vec()).collect()
}

#[test]
fn rows_outlive_the_process_and_come_back_in_order() {
    let place = Place::new();
    let mut store = place.open();
    let runs = [stage(&mut store, &records(0..1_500)), stage(&mut store, &records(1_500..1_501))];
    // Neither a clean stop nor a closing frame: a kill.
    drop(store);
    let mut store = place.open();
    let counts = store.book().counts();
    assert!(counts.records == 1_501 && counts.oldest.is_some() && counts.damaged.is_empty(), "{counts:?}");
    assert!(store.book().since(&record(7).id()).is_some() && store.book().since(&record(2_000).id()).is_none());
    let mut sealed = seal(&mut store, 0);
    while !store.is_empty() {
        sealed.extend(seal(&mut store, sealed.len() as u64));
    }
    assert_eq!(sealed, bytes(&records(0..1_501)));
    assert_eq!(store.book().counts(), StagedCounts::default());
    assert!(store.book().since(&record(7).id()).is_none());
    // A start after a kill may keep a frame in another place: answers find its rows all the same.
    let outcome = store.book().outcome(&runs).unwrap();
    assert_eq!((outcome.sealed, outcome.waits, outcome.place), (1_501, false, Some((own(), 0, 1_501))));
    store.stop().unwrap();
    assert!(place.open().is_empty(), "nothing comes twice");
}

/// A frame that could not be read at the start, and can be now, is not taken for one whose rows another frame has.
#[test]
fn a_record_is_of_the_first_frame_that_is_known_to_have_it() {
    let place = Place::new();
    let mut store = place.open();
    let runs = [stage(&mut store, &records(0..1)), stage(&mut store, &records(0..2))];
    drop(store);
    let owner = Owner { federation: "t.example".into(), division: 350_102 };
    let mut store = StagedStore::open(&place.staged, &owner, StagedLimits { bytes: 1 << 20, records: 10_000 }).unwrap();
    assert!(store.is_of(&record(0).id(), runs[0].first), "nothing was read yet");
    store.read_all(|_, _| {});
    assert!(store.is_of(&record(0).id(), runs[0].first) && !store.is_of(&record(0).id(), runs[1].first));
    assert!(store.is_of(&record(1).id(), runs[1].first));
}

#[test]
fn what_became_of_rows_is_known_after_their_segment_is_gone() {
    let place = Place::new();
    let mut store = place.open();
    let (one, two) = (stage(&mut store, &records(0..10)), stage(&mut store, &records(10..30)));
    let book = store.book().clone();
    let waits = book.outcome(&[one]).unwrap();
    assert!(waits.waits && waits.sealed == 0);
    let before = place.files("seg");
    seal(&mut store, 100);
    assert_ne!(place.files("seg"), before, "the segment went");
    for book in [book, place.open().book().clone()] {
        let one = book.outcome(&[one]).unwrap();
        assert_eq!((one.sealed, one.waits, one.place), (10, false, Some((own(), 100, 110))));
        assert_eq!(book.outcome(&[two]).unwrap().place, Some((own(), 110, 130)));
        assert_eq!(book.outcome(&[two, StagedRun { first: 1, last: 2 }]).unwrap().sealed, 20);
    }
}

#[test]
fn a_row_that_was_sealed_from_here_is_told_from_one_that_had_been_held() {
    let place = Place::new();
    let mut store = place.open();
    let run = stage(&mut store, &records(0..10));
    store.begin_sealing(own(), 50).unwrap();
    // Killed after the batch was flushed, and before anything was put away.
    drop(store);
    let mut store = place.open();
    store.begin_sealing(own(), 60).unwrap();
    assert!(store.was_sealed(run.first, own(), 50) && store.was_sealed(run.last, own(), 59));
    assert!(!store.was_sealed(run.first, own(), 49), "it had been held");
    assert!(!store.was_sealed(run.first, "350102/e2".parse().unwrap(), 55), "another log");
    let later = stage(&mut store, &records(10..20));
    assert!(!store.was_sealed(later.first, own(), 70), "nothing of it was sealed yet");
}

#[test]
fn a_stop_between_outcomes_and_removal_repeats_nothing() {
    let place = Place::new();
    let mut store = place.open();
    stage(&mut store, &records(0..10));
    let (segment, copy) = (place.files("seg")[0].clone(), place.staged.with_file_name("copy"));
    fs::copy(&segment, &copy).unwrap();
    seal(&mut store, 0);
    drop(store);
    assert!(!segment.exists());
    fs::rename(&copy, &segment).unwrap();
    let store = place.open();
    assert!(store.is_empty() && !segment.exists());
}

#[test]
fn numbers_are_not_used_twice_though_somebody_clears_the_folder() {
    let place = Place::new();
    let mut store = place.open();
    let old = stage(&mut store, &records(0..10));
    seal(&mut store, 0);
    drop(store);
    for file in place.files("seg") {
        fs::remove_file(file).unwrap();
    }
    fs::remove_file(place.staged.with_extension("mark")).unwrap_or_default();
    let mut store = place.open();
    let new = stage(&mut store, &records(10..12));
    assert!(new.first > old.last);
    drop(store);
    assert_eq!(place.open().book().counts().records, 2);
}

fn spoil(file: &Path, text: &str) {
    let mut bytes = fs::read(file).unwrap();
    let at = bytes.windows(text.len()).position(|w| w == text.as_bytes()).unwrap();
    bytes[at] ^= 0xff;
    fs::write(file, bytes).unwrap();
}

#[test]
fn a_damaged_frame_is_named_counted_and_hides_nothing() {
    let place = Place::new();
    let mut store = place.open();
    let runs = [0..10, 10..20, 20..30].map(|range| stage(&mut store, &records(range)));
    store.stop().unwrap();
    spoil(&place.files("seg")[0], "{\"n\":\"15\"}");
    let mut store = place.open();
    let counts = store.book().counts();
    assert!(counts.records == 30 && counts.damaged.len() == 1, "{counts:?}");
    let sealed = seal(&mut store, 0);
    assert_eq!(sealed, bytes(&[records(0..10), records(20..30)].concat()));
    let lost = store.book().outcome(&runs[1..2]).unwrap();
    assert_eq!((lost.sealed, lost.lost, lost.waits), (0, 10, false));
    let kept = fs::read_dir(place.staged.with_file_name("quarantine")).unwrap().count();
    assert_eq!(kept, 1, "its bytes are kept");
    assert!(place.open().is_empty());
}

/// A power cut: of what was not flushed any part may be there.
#[test]
fn a_torn_tail_takes_nothing_that_was_flushed() {
    let place = Place::new();
    let mut store = place.open();
    stage(&mut store, &records(0..10));
    let flushed = fs::metadata(&place.files("seg")[0]).unwrap().len();
    store.append(&records(10..30)).unwrap();
    drop(store);
    let file = place.files("seg")[0].clone();
    let whole = fs::read(&file).unwrap();
    assert!(whole.len() as u64 > flushed);
    for cut in flushed..whole.len() as u64 {
        fs::remove_dir_all(&place.staged).unwrap();
        fs::create_dir(&place.staged).unwrap();
        fs::write(&file, &whole[..cut as usize]).unwrap();
        let mut store = place.open();
        let counts = store.book().counts();
        assert!(counts.records == 10 && counts.damaged.is_empty(), "{cut}: {counts:?}");
        // What comes next stands behind what was flushed.
        stage(&mut store, &records(30..31));
        drop(store);
        assert_eq!(place.open().book().counts().records, 11, "{cut}");
    }
}

/// Killed before the first flush, again and again: the rows are carried into another segment each time, and the one that they
/// left is not missed.
#[test]
fn a_segment_that_was_left_before_anything_was_sealed_is_not_missed() {
    let place = Place::new();
    let mut store = place.open();
    store.append(&records(0..10)).unwrap();
    for _ in 0..3 {
        drop(store);
        store = place.open();
        let counts = store.book().counts();
        assert!(counts.records == 10 && counts.damaged.is_empty(), "{counts:?}");
        store.append(&records(10..20)).unwrap();
        drop(store);
        store = place.open();
        let counts = store.book().counts();
        assert!(counts.records == 20 && counts.damaged.is_empty(), "{counts:?}");
        assert_eq!(seal(&mut store, 0).len(), 20);
        store.append(&records(0..10)).unwrap();
    }
}

#[test]
fn a_segment_that_somebody_removed_is_named() {
    let place = Place::new();
    let mut store = place.open();
    stage(&mut store, &records(0..10));
    seal(&mut store, 0);
    let large: Vec<_> = (0..900_u64)
        .map(|n| format!("{{\"n\":\"{n}\",\"text\":\"{}\"}}", "x".repeat(8_000)))
        .map(|json| Record::new(&Object::parse(json.as_bytes()).unwrap()).unwrap())
        .collect();
    large.chunks(300).for_each(|some| _ = stage(&mut store, some));
    drop(store);
    let files = place.files("seg");
    assert!(files.len() >= 2);
    fs::remove_file(&files[0]).unwrap();
    let store = place.open();
    let counts = store.book().counts();
    assert!(counts.damaged.len() == 1 && counts.damaged[0].contains("missing"), "{counts:?}");
    assert!(counts.records > 0 && counts.records < 900, "{counts:?}");
}

#[test]
fn staged_rows_have_a_bound() {
    let place = Place::new();
    let mut store = place.limited(1_000);
    assert!(store.has_room(10, 1_000) && !store.has_room(10, 1_001) && !store.has_room(10_001, 0));
    store.append(&records(0..50)).unwrap();
    assert!(!store.has_room(1, 900), "also before they are flushed");
    store.flush().unwrap();
    assert!(!store.has_room(1, 900) && store.has_room(1, 100));
    seal(&mut store, 0);
    assert!(store.has_room(10, 1_000), "what is sealed makes room");
}

#[test]
fn a_record_in_two_frames_belongs_to_the_first() {
    let place = Place::new();
    let mut store = place.open();
    let (one, two) = (stage(&mut store, &records(0..2)), stage(&mut store, &records(1..3)));
    drop(store);
    let store = place.open();
    assert!(store.is_of(&record(1).id(), one.first) && !store.is_of(&record(1).id(), two.first));
    assert!(store.is_of(&record(2).id(), two.first));
    assert_eq!(RecordId::of(record(1).bytes()), record(1).id());
}
