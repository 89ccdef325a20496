use super::*;
use crate::replica::Append;
use proptest::prelude::*;
use std::os::unix::fs::FileExt;

fn receipt(size: u64) -> Append {
    let line = "x".repeat((size % 700) as usize);
    Append::Receipt { log: "350102/e1".parse().unwrap(), holder: "350100/e1".parse().unwrap(), size, time: 1, line }
}

fn sizes(dir: &Path, segment_bytes: u64) -> (Vec<u64>, Found, Place) {
    let mut seen = Vec::new();
    let (journal, found) = Journal::open_with(dir, segment_bytes, |r| {
        if let Recovered::Receipt { receipt, .. } = r {
            seen.push(receipt.size);
        }
    })
    .unwrap();
    (seen, found, journal.durable())
}

fn written(dir: &Path, n: u64, segment_bytes: u64) -> Vec<Place> {
    let (mut journal, _) = Journal::open_with(dir, segment_bytes, |_| {}).unwrap();
    let mut places = Vec::new();
    for i in 0..n {
        places.extend(journal.append(&[receipt(i)]).unwrap());
    }
    journal.flush().unwrap();
    places
}

#[test]
fn frames_come_back_in_order_over_segments() {
    let dir = tempfile::tempdir().unwrap();
    let places = written(dir.path(), 100, 1_500);
    let (seen, found, durable) = sizes(dir.path(), 1_500);
    assert_eq!(seen, (0..100).collect::<Vec<_>>());
    assert_eq!((found.cut_bytes, found.damage.len()), (0, 0));
    assert!(segments(dir.path()).unwrap().len() > 5);
    let sealed = fs::metadata(segment_path(dir.path(), 1)).unwrap();
    assert!(sealed.permissions().readonly());
    let reader = Reader::new(dir.path().to_owned());
    let (mut at, mut count) = (Journal::origin(), 0);
    while let Some((place, frame)) = reader.next(at, durable).unwrap() {
        assert_eq!(place, places[count]);
        at = frame.next;
        count += 1;
    }
    assert_eq!(count, 100);
}

#[test]
fn a_torn_tail_is_cut_and_writing_goes_on() {
    let dir = tempfile::tempdir().unwrap();
    let places = written(dir.path(), 10, SEGMENT_BYTES);
    let path = segment_path(dir.path(), 1);
    let file = OpenOptions::new().write(true).open(&path).unwrap();
    file.set_len(places[9].offset + 70).unwrap();
    let (seen, found, _) = sizes(dir.path(), SEGMENT_BYTES);
    assert_eq!((seen.len(), found.cut_bytes), (9, 70));
    let aside = dir.path().join(format!("00000001-{}.cut", places[9].offset));
    assert_eq!(fs::metadata(aside).unwrap().len(), 70);
    let (mut journal, _) = Journal::open(dir.path(), |_| {}).unwrap();
    assert_eq!(journal.append(&[receipt(10)]).unwrap(), [places[9]]);
    journal.flush().unwrap();
    assert_eq!(sizes(dir.path(), SEGMENT_BYTES).0.last(), Some(&10));
}

#[test]
fn damage_in_the_middle_is_named_and_hides_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let places = written(dir.path(), 30, SEGMENT_BYTES);
    let file = OpenOptions::new().write(true).open(segment_path(dir.path(), 1)).unwrap();
    file.write_all_at(b"????", places[10].offset).unwrap();
    file.write_all_at(b"?", places[20].offset + 70).unwrap();
    let (seen, found, durable) = sizes(dir.path(), SEGMENT_BYTES);
    assert_eq!(seen, (0..30).filter(|i| *i != 10 && *i != 20).collect::<Vec<_>>());
    let offsets: Vec<_> = found.damage.iter().map(|d| (d.offset, d.bytes)).collect();
    let bytes = |i: usize| places[i + 1].offset - places[i].offset;
    assert_eq!(offsets, [(places[10].offset, bytes(10)), (places[20].offset, bytes(20))]);
    assert_eq!(found.cut_bytes, 0);
    let reader = Reader::new(dir.path().to_owned());
    let (mut at, mut count) = (Journal::origin(), 0);
    while let Some((_, frame)) = reader.next(at, durable).unwrap() {
        at = frame.next;
        count += 1;
    }
    assert_eq!(count, 28);
}

#[test]
fn a_missing_segment_does_not_end_the_journal() {
    let dir = tempfile::tempdir().unwrap();
    written(dir.path(), 100, 1_500);
    fs::remove_file(segment_path(dir.path(), 3)).unwrap();
    let (seen, _, durable) = sizes(dir.path(), 1_500);
    assert!(seen.len() > 60 && seen.contains(&0) && seen.contains(&99));
    let reader = Reader::new(dir.path().to_owned());
    let (mut at, mut count) = (Journal::origin(), 0);
    while let Ok(Some((_, frame))) = reader.next(at, durable) {
        at = frame.next;
        count += 1;
    }
    assert_eq!(count, seen.len());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]
    /// Whatever happens to the bytes, opening answers, and what is before the first damage stays.
    #[test]
    fn any_damage_is_survived(
        n in 1_u64..40, at in any::<prop::sample::Index>(), junk in prop::collection::vec(any::<u8>(), 1..300)
    ) {
        let dir = tempfile::tempdir().unwrap();
        let places = written(dir.path(), n, SEGMENT_BYTES);
        let path = segment_path(dir.path(), 1);
        let len = fs::metadata(&path).unwrap().len();
        let offset = at.index(len as usize) as u64;
        OpenOptions::new().write(true).open(&path).unwrap().write_all_at(&junk, offset).unwrap();
        let (seen, _, _) = sizes(dir.path(), SEGMENT_BYTES);
        let whole_before = places.iter().skip(1).filter(|p| p.offset <= offset).count();
        prop_assert!(seen.len() >= whole_before);
        prop_assert!(seen.is_sorted());
        prop_assert_eq!(sizes(dir.path(), SEGMENT_BYTES).0, seen);
    }
}

/// A body may hold what looks like a frame. When its own frame is torn, the search for the next one does not look in it.
#[test]
fn a_frame_inside_a_body_is_never_found() {
    let dir = tempfile::tempdir().unwrap();
    let places = written(dir.path(), 3, SEGMENT_BYTES);
    let mut forged = Vec::new();
    frame::encode(&receipt(666), &mut forged);
    let path = segment_path(dir.path(), 1);
    let file = OpenOptions::new().write(true).open(&path).unwrap();
    let last = places[2].offset;
    let mut bodied = Vec::new();
    frame::encode_with_body(&receipt(2), &forged.repeat(3), &mut bodied);
    file.set_len(last).unwrap();
    file.write_all_at(&bodied, last).unwrap();
    let torn = last + bodied.len() as u64 - 10;
    file.set_len(torn).unwrap();
    let (seen, found, _) = sizes(dir.path(), SEGMENT_BYTES);
    assert_eq!(seen, [0, 1], "666 stands inside the torn frame and is not one");
    assert_eq!(found.cut_bytes, torn - last);
}
