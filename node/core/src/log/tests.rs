//! A log as it is held: found by record, compared, cut, damaged and repaired.

use super::*;
use tally_protocol::merkle::leaf_hash;

fn grown(sizes: &[u64]) -> HeldLog {
    let mut log = HeldLog::default();
    let mut tree = Tree::default();
    for (i, size) in sizes.iter().enumerate() {
        let start = tree.size();
        while tree.size() < *size {
            tree.push(leaf_hash(&tree.size().to_be_bytes()));
        }
        assert!(log.put(start, tree.clone(), i as u64, format!("{size}"), Place(i as u64)));
    }
    log
}

#[test]
fn batches_are_found_by_any_record() {
    let log = grown(&[3, 4, 9]);
    assert_eq!(log.batch_at(3).unwrap().0, 4);
    assert_eq!(log.batch_at(2), None);
    // A neighbour names any number.
    assert_eq!((log.batch_at(u64::MAX), log.batch_of(u64::MAX)), (None, None));
    assert_eq!(log.batch_of(8).unwrap().0, 9);
    assert_eq!(log.batch_of(9), None);
    assert_eq!(log.gaps(), []);
}

#[test]
fn neighbours_compare() {
    let log = grown(&[3, 4, 9]);
    let root = |n| log.root_at(n).unwrap();
    assert_eq!(log.compare(9, &root(9)), HeadStanding::Equal);
    assert_eq!(log.compare(4, &root(4)), HeadStanding::TheyAreBehind);
    assert_eq!(log.compare(0, &root(0)), HeadStanding::TheyAreBehind);
    assert_eq!(log.compare(9, &root(4)), HeadStanding::Fork);
    assert_eq!(log.compare(4, &root(9)), HeadStanding::Unproved);
    assert_eq!(log.compare(5, &root(9)), HeadStanding::Unproved);
    assert_eq!(log.compare(10, &root(9)), HeadStanding::TheyAreAhead);
    assert_eq!(HeldLog::default().compare(0, &root(0)), HeadStanding::Equal);
}

#[test]
fn a_closed_log_is_cut_where_the_charter_says() {
    let mut log = grown(&[3, 4, 9]);
    let d = Division::try_from(350_100).unwrap();
    assert!(log.receipt(d, Receipt { size: 9, time: 1, epoch: 1, line: String::new() }));
    let beyond = log.cut(grown(&[3, 4]).tree().clone(), "4".into());
    assert_eq!(beyond.iter().map(|h| h.start).collect::<Vec<_>>(), [4]);
    assert_eq!((log.size(), log.note.as_str(), log.receipts.len(), log.is_whole()), (4, "4", 0, true));
    assert!(log.put(4, grown(&[3, 4, 9]).tree().clone(), 0, String::new(), Place(9)));
}

#[test]
fn a_batch_that_lies_elsewhere_now_is_found_there() {
    let mut log = grown(&[3, 4]);
    let (here, there) = (log.batch_at(3).unwrap().1.place, Place(800));
    let until = Place(u64::MAX);
    let copy = |root: u64, place| WholeCopy { start: 3, end: 4, root: log.root_at(root).unwrap(), place };
    let (mine, moved, other) = (copy(4, here), copy(4, there), copy(3, there));
    for (copies, place) in [(vec![other], here), (vec![moved, mine], here), (vec![other, moved], there)] {
        log.surveyed(&[], &copies, Place(0), until);
        assert_eq!((log.batch_at(3).unwrap().1.place, log.is_whole()), (place, true));
    }
}

#[test]
fn lost_batches_come_back_where_they_were() {
    let place = |n: u64| Place(900 + n);
    let mut log = grown(&[3, 4, 9]);
    log.lose(3);
    log.lose(5);
    assert_eq!(log.missing(), [(3, 4)]);
    assert!(log.misses(3, 9) && !log.misses(0, 3) && !log.misses(4, 9));
    let at = |segment: u64, offset: u64| Place(segment.saturating_sub(1) * 1_000 + offset);
    log.surveyed(&[(1, 2), (5, 6)], &[], at(0, 0), at(1, 2));
    assert_eq!(log.missing(), [(0, 3)], "3..4 was found good, 4..9 lies beyond what was read");
    log.surveyed(&[], &[], at(2, 0), at(3, 0));
    assert_eq!(log.missing(), [(0, 3)], "nothing of it was read");
    log.surveyed(&[(3, 4)], &[], at(0, 0), at(2, 0));
    assert_eq!((log.missing(), log.is_whole()), (vec![(3, 4)], false));
    let part = grown(&[3, 4]);
    assert!(!log.put(2, part.tree().clone(), 0, String::new(), place(1)), "it would overlap");
    let mut other = grown(&[3]).tree().clone();
    other.push(leaf_hash(b"another"));
    assert!(!log.fits(3, 4, &other.root()) && !log.put(3, other, 0, String::new(), place(1)), "another history");
    assert!(log.fits(3, 4, &part.tree().root()));
    assert!(log.put(3, part.tree().clone(), 7, String::new(), place(2)));
    assert_eq!((log.missing(), log.size(), log.note.as_str()), (vec![], 9, "9"));
    assert!(log.is_whole());
    assert_eq!(log.batch_at(3).unwrap().1.place, place(2));
    // The same out of order, as a journal with exchanged segments has it.
    let mut late = HeldLog::default();
    for size in [9, 3, 4] {
        let tree = grown(&[3, 4, 9][..[3, 4, 9].iter().position(|s| *s == size).unwrap() + 1]).tree().clone();
        let start = [(9, 4), (3, 0), (4, 3)].iter().find(|(e, _)| *e == size).unwrap().1;
        assert!(late.put(start, tree, 0, format!("{size}"), place(size)));
    }
    assert_eq!((late.size(), late.note.as_str(), late.gaps()), (9, "9", vec![]));
}

#[test]
fn gaps_are_seen_and_receipts_only_grow() {
    let whole = grown(&[3, 4, 9]);
    let mut log = HeldLog::default();
    assert!(log.put(4, whole.tree().clone(), 0, String::new(), Place(0)));
    assert_eq!(log.gaps(), [(0, 4)]);
    let d = Division::try_from(350_100).unwrap();
    let receipt = |size| Receipt { size, time: size, epoch: 1, line: String::new() };
    assert!(log.receipt(d, receipt(5)));
    assert!(!log.receipt(d, receipt(5)));
    assert!(!log.receipt(d, receipt(4)));
    assert!(log.receipt(d, receipt(9)));
}

#[test]
fn the_first_receipt_over_a_record_is_found() {
    let mut log = grown(&[3, 4, 9]);
    let d = Division::try_from(350_100).unwrap();
    let place = Place;
    // The last one comes out of order, as after frames were put back.
    for (size, time) in [(3, 30), (9, 90), (9, 99), (4, 40)] {
        log.keep_receipt(d, (size, time, 1), place(time));
    }
    let first = |index| log.first_receipt(d, index).map(|k| (k.size, k.time, k.place().0));
    assert_eq!([first(0), first(2), first(3)], [Some((3, 30, 30)), Some((3, 30, 30)), Some((4, 40, 40))]);
    assert_eq!([first(4), first(8), first(9)], [Some((9, 90, 90)), Some((9, 90, 90)), None]);
    assert_eq!(log.receipts_over(d, 3).map(|k| k.size).collect::<Vec<_>>(), [4, 9]);
    assert_eq!(log.first_receipt(Division::try_from(350_000).unwrap(), 0), None);
    assert_eq!((log.holders().collect::<Vec<_>>(), size_of::<KeptReceipt>()), (vec![d], 32));
}
