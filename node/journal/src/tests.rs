//! A journal in a directory of its own: what it takes, keeps, cuts and refuses.

mod failing;

use super::*;
use proptest::prelude::*;
use std::{
    fs::{self, OpenOptions},
    os::unix::fs::PermissionsExt,
};

fn owner() -> Owner {
    Owner { federation: "t.example".into(), division: 350_102 }
}

/// Appends a frame that says `n`.
fn append(journal: &mut Journal, n: u64) -> Position {
    let meta = [&n.to_le_bytes()[..], &vec![b'x'; (n % 700) as usize]].concat();
    journal.append(&[Frame { kind: 2, meta: &meta, body: &[], root: Some([n as u8; 32]) }]).unwrap()[0]
}

fn number(head: &FrameHead) -> Option<u64> {
    (head.kind == 2).then(|| u64::from_le_bytes(head.meta[..8].try_into().unwrap()))
}

fn open(dir: &Path, segment_bytes: u64) -> (Journal, Vec<u64>, Found) {
    let mut seen = Vec::new();
    let (journal, found) =
        Journal::open_with(dir, &owner(), segment_bytes, |head, _| seen.extend(number(&head))).unwrap();
    (journal, seen, found)
}

fn sizes(dir: &Path, segment_bytes: u64) -> (Vec<u64>, Found, Position) {
    let (journal, seen, found) = open(dir, segment_bytes);
    (seen, found, journal.durable())
}

/// A journal of `n` frames whose process was killed after the flush.
fn killed(dir: &Path, n: u64, segment_bytes: u64) -> Vec<Position> {
    let (mut journal, ..) = open(dir, segment_bytes);
    let positions = (0..n).map(|i| append(&mut journal, i)).collect();
    journal.flush().unwrap();
    positions
}

/// A journal of `n` frames that was stopped.
fn written(dir: &Path, n: u64, segment_bytes: u64) -> Vec<Position> {
    let (mut journal, ..) = open(dir, segment_bytes);
    let positions = (0..n).map(|i| append(&mut journal, i)).collect();
    journal.stop().unwrap();
    positions
}

#[test]
fn frames_come_back_in_order_over_segments() {
    let holder = tempfile::tempdir().unwrap();
    let dir = holder.path().join("journal");
    let places = written(&dir, 100, 1_500);
    let (seen, found, durable) = sizes(&dir, 1_500);
    assert_eq!(seen, (0..100).collect::<Vec<_>>());
    assert_eq!((found.cut_bytes, found.damage.len()), (0, 0));
    assert!(segments(&dir).unwrap().len() > 5);
    let sealed = fs::metadata(segment_path(&dir, 1)).unwrap();
    assert!(sealed.permissions().readonly());
    let reader = Reader::new(dir.clone());
    let (mut at, mut count) = (Journal::origin(), 0);
    while let Some((place, frame)) = reader.next(at, durable).unwrap() {
        at = frame.next;
        if number(&frame.head).is_some() {
            assert_eq!(place, places[count]);
            count += 1;
        }
    }
    assert_eq!(count, 100);
}

#[test]
fn a_torn_tail_is_cut_and_writing_goes_on() {
    let holder = tempfile::tempdir().unwrap();
    let dir = holder.path().join("journal");
    let places = killed(&dir, 10, SEGMENT_BYTES);
    let path = segment_path(&dir, 1);
    let file = OpenOptions::new().write(true).open(&path).unwrap();
    file.set_len(places[9].offset + 75).unwrap();
    let (mut journal, seen, found) = open(&dir, SEGMENT_BYTES);
    assert_eq!((seen.len(), found.cut_bytes), (9, 75));
    let aside = Journal::quarantine(&dir).join(format!("00000001-{}-cut.0.bin", places[9].offset));
    assert_eq!(fs::metadata(aside).unwrap().len(), 75);
    assert_eq!(append(&mut journal, 10).segment, 2, "nothing is written where something had been");
    journal.flush().unwrap();
    assert_eq!(sizes(&dir, SEGMENT_BYTES).0.last(), Some(&10));
}

/// H1: the pages of one round reach the disk in any order. What stands behind a hole that never was durable goes with it.
#[test]
fn a_hole_that_never_was_durable_ends_the_journal() {
    for durable in [false, true] {
        let holder = tempfile::tempdir().unwrap();
        let dir = holder.path().join("journal");
        let (mut journal, ..) = open(&dir, SEGMENT_BYTES);
        for n in 0..5 {
            append(&mut journal, n);
        }
        journal.flush().unwrap();
        let round: Vec<_> = (5..9).map(|n| append(&mut journal, n)).collect();
        journal.flush().unwrap();
        if durable {
            journal.rest().unwrap();
        }
        drop(journal);
        let file = OpenOptions::new().write(true).open(segment_path(&dir, 1)).unwrap();
        file.write_all_at(&[0; 73], round[1].offset).unwrap();
        let (seen, found, _) = sizes(&dir, SEGMENT_BYTES);
        if durable {
            assert_eq!((seen, found.cut_bytes), (vec![0, 1, 2, 3, 4, 5, 7, 8], 0), "told to be durable: damage, named");
            assert_eq!(found.damage.iter().map(|d| d.offset).collect::<Vec<_>>(), [round[1].offset]);
        } else {
            assert_eq!(
                (seen, found.damage.len()),
                (vec![0, 1, 2, 3, 4, 5], 0),
                "a torn round: nothing behind the hole"
            );
            assert!(found.cut_bytes > 0);
        }
    }
}

/// M10: a tail that is torn in several places is one tail, and all of it is kept.
#[test]
fn a_tail_torn_twice_is_kept_whole() {
    let holder = tempfile::tempdir().unwrap();
    let dir = holder.path().join("journal");
    let places = killed(&dir, 10, SEGMENT_BYTES);
    let path = segment_path(&dir, 1);
    let len = fs::metadata(&path).unwrap().len();
    let file = OpenOptions::new().write(true).open(&path).unwrap();
    file.write_all_at(b"?", places[7].offset).unwrap();
    file.write_all_at(b"?", places[9].offset).unwrap();
    let (seen, found, _) = sizes(&dir, SEGMENT_BYTES);
    assert_eq!((seen.len(), found.damage.len(), found.cut_bytes), (7, 0, len - places[7].offset));
    let aside = Journal::quarantine(&dir).join(format!("00000001-{}-cut.0.bin", places[7].offset));
    assert_eq!(fs::metadata(aside).unwrap().len(), len - places[7].offset);
}

/// A journal of another node, of another federation or of a later format is refused before anything is written.
#[test]
fn what_is_foreign_is_left_alone() {
    let holder = tempfile::tempdir().unwrap();
    let dir = holder.path().join("journal");
    killed(&dir, 10, SEGMENT_BYTES);
    let before = fs::read(segment_path(&dir, 1)).unwrap();
    let others = [Owner { division: 350_103, ..owner() }, Owner { federation: "u.example".into(), ..owner() }];
    for other in others {
        let refused = Journal::open(&dir, &other, |_, _| {});
        assert!(matches!(refused, Err(JournalError::Foreign { found: 350_102, .. })), "{refused:?}");
    }
    let mut later = before.clone();
    later[8] = 2;
    let sum = blake3::hash(&later[..96]);
    later[96..128].copy_from_slice(sum.as_bytes());
    fs::write(segment_path(&dir, 1), &later).unwrap();
    let refused = Journal::open(&dir, &owner(), |_, _| {});
    assert!(matches!(refused, Err(JournalError::LaterFormat { found: 2, .. })), "{refused:?}");
    assert_eq!(fs::read(segment_path(&dir, 1)).unwrap(), later);
    assert!(!Journal::quarantine(&dir).exists());
}

/// L8: a file that only has the name of a segment is set aside, whatever its number.
#[test]
fn a_stray_file_is_no_segment() {
    let holder = tempfile::tempdir().unwrap();
    let dir = holder.path().join("journal");
    written(&dir, 10, SEGMENT_BYTES);
    fs::write(dir.join("99999999.seg"), "notes").unwrap();
    let (seen, found, durable) = sizes(&dir, SEGMENT_BYTES);
    assert_eq!((seen.len(), found.damage.len(), durable.segment), (10, 0, 1));
    assert_eq!(fs::read(Journal::quarantine(&dir).join("99999999.seg.0")).unwrap(), b"notes");
}

/// The next segment's header says how long the one before is, and its last root.
#[test]
fn headers_tell_how_the_segment_before_ended() {
    let holder = tempfile::tempdir().unwrap();
    let dir = holder.path().join("journal");
    let places = written(&dir, 100, 1_500);
    let reader = Reader::new(dir.clone());
    for segment in 1..segments(&dir).unwrap().len() as u32 {
        let len = fs::metadata(segment_path(&dir, segment)).unwrap().len();
        assert_eq!(reader.sealed_length(segment).unwrap(), Some(len));
        let last = places.iter().rposition(|p| p.segment == segment).unwrap();
        assert_eq!(header::Header::of(&System, &dir, segment + 1).unwrap().unwrap().root_before, [last as u8; 32]);
    }
}

#[test]
fn damage_in_the_middle_is_named_and_hides_nothing() {
    let holder = tempfile::tempdir().unwrap();
    let dir = holder.path().join("journal");
    let places = written(&dir, 30, SEGMENT_BYTES);
    let file = OpenOptions::new().write(true).open(segment_path(&dir, 1)).unwrap();
    file.write_all_at(b"????", places[10].offset).unwrap();
    file.write_all_at(b"?", places[20].offset + 73).unwrap();
    let (seen, found, durable) = sizes(&dir, SEGMENT_BYTES);
    assert_eq!(seen, (0..30).filter(|i| *i != 10 && *i != 20).collect::<Vec<_>>());
    let offsets: Vec<_> = found.damage.iter().map(|d| (d.offset, d.bytes)).collect();
    let bytes = |i: usize| places[i + 1].offset - places[i].offset;
    assert_eq!(offsets, [(places[10].offset, bytes(10)), (places[20].offset, bytes(20))]);
    assert_eq!(found.cut_bytes, 0);
    let reader = Reader::new(dir.clone());
    let (mut at, mut count) = (Journal::origin(), 0);
    while let Some((_, frame)) = reader.next(at, durable).unwrap() {
        at = frame.next;
        count += usize::from(number(&frame.head).is_some());
    }
    assert_eq!(count, 28);
}

#[test]
fn a_missing_segment_does_not_end_the_journal() {
    let holder = tempfile::tempdir().unwrap();
    let dir = holder.path().join("journal");
    written(&dir, 100, 1_500);
    fs::remove_file(segment_path(&dir, 3)).unwrap();
    let (seen, _, durable) = sizes(&dir, 1_500);
    assert!(seen.len() > 60 && seen.contains(&0) && seen.contains(&99));
    let reader = Reader::new(dir.clone());
    let (mut at, mut count) = (Journal::origin(), 0);
    while let Ok(Some((_, frame))) = reader.next(at, durable) {
        at = frame.next;
        count += usize::from(number(&frame.head).is_some());
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
        let holder = tempfile::tempdir().unwrap();
    let dir = holder.path().join("journal");
        let places = written(&dir, n, SEGMENT_BYTES);
        let path = segment_path(&dir, 1);
        let len = fs::metadata(&path).unwrap().len();
        let offset = at.index(len as usize) as u64;
        OpenOptions::new().write(true).open(&path).unwrap().write_all_at(&junk, offset).unwrap();
        let (seen, _, _) = sizes(&dir, SEGMENT_BYTES);
        let whole_before = places.iter().skip(1).filter(|p| p.offset <= offset).count();
        prop_assert!(seen.len() >= whole_before);
        prop_assert!(seen.is_sorted());
        prop_assert_eq!(sizes(&dir, SEGMENT_BYTES).0, seen);
    }
}

/// Opening reads heads only; whoever reads a frame is given its body whole or not at all.
#[test]
fn an_altered_body_is_not_handed_out() {
    let holder = tempfile::tempdir().unwrap();
    let dir = holder.path().join("journal");
    let (mut journal, ..) = open(&dir, SEGMENT_BYTES);
    let place = journal.append(&[Frame { kind: 2, meta: &[0; 8], body: b"body", root: None }]).unwrap()[0];
    journal.flush().unwrap();
    let reader = Reader::new(dir.clone());
    assert_eq!(reader.read(place).unwrap().body, b"body");
    let file = OpenOptions::new().write(true).open(segment_path(&dir, 1)).unwrap();
    file.write_all_at(b"B", place.offset + (HEAD_BYTES + 8) as u64).unwrap();
    assert!(matches!(reader.read(place), Err(ReadError::Damaged { .. })));
    assert!(reader.head(place).is_ok(), "its head still holds");
}

/// A body may hold what looks like a frame. When its own frame is torn, the search for the next one does not look in it.
#[test]
fn a_frame_inside_a_body_is_never_found() {
    let holder = tempfile::tempdir().unwrap();
    let dir = holder.path().join("journal");
    let (mut journal, ..) = open(&dir, SEGMENT_BYTES);
    for n in 0..2 {
        append(&mut journal, n);
    }
    let (mut forged, meta) = (Vec::new(), 666_u64.to_le_bytes());
    frame::encode(2, &meta, &[], 0, &mut forged);
    let body = forged.repeat(3);
    let last =
        journal.append(&[Frame { kind: 2, meta: &2_u64.to_le_bytes(), body: &body, root: None }]).unwrap()[0].offset;
    journal.flush().unwrap();
    drop(journal);
    let path = segment_path(&dir, 1);
    let torn = fs::metadata(&path).unwrap().len() - 10;
    OpenOptions::new().write(true).open(&path).unwrap().set_len(torn).unwrap();
    let (seen, found, _) = sizes(&dir, SEGMENT_BYTES);
    assert_eq!(seen, [0, 1], "666 stands inside the torn frame and is not one");
    assert_eq!(found.cut_bytes, torn - last);
}

/// A frame that somebody put into a body is found when the head around it is lost. What it tells of durability is believed
/// only up to where it stands.
#[test]
fn a_planted_frame_makes_the_journal_no_longer() {
    let holder = tempfile::tempdir().unwrap();
    let dir = holder.path().join("journal");
    let (mut journal, ..) = open(&dir, SEGMENT_BYTES);
    append(&mut journal, 0);
    let mut planted = Vec::new();
    frame::encode(2, &666_u64.to_le_bytes(), &[], u64::MAX, &mut planted);
    let frame = Frame { kind: 2, meta: &1_u64.to_le_bytes(), body: &planted, root: None };
    let around = journal.append(&[frame]).unwrap()[0].offset;
    append(&mut journal, 2);
    journal.flush().unwrap();
    journal.rest().unwrap();
    drop(journal);
    let file = OpenOptions::new().write(true).open(segment_path(&dir, 1)).unwrap();
    file.write_all_at(&[0; HEAD_BYTES], around).unwrap();
    let mut seen = Vec::new();
    let take = |head: FrameHead, _| seen.extend(number(&head).map(|n| (n, head.sought)));
    let (_, found) = Journal::open_with(&dir, &owner(), SEGMENT_BYTES, take).unwrap();
    assert_eq!(found.damage.iter().map(|d| d.offset).collect::<Vec<_>>(), [around]);
    assert_eq!(seen, [(0, false), (666, true), (2, true)], "what was sought is told from what follows");
}

/// The header of the last segment is lost and its tail is torn: each start finds the same.
#[test]
fn a_last_segment_without_its_header_is_cut_once_and_for_all() {
    let holder = tempfile::tempdir().unwrap();
    let dir = holder.path().join("journal");
    let (mut journal, ..) = open(&dir, SEGMENT_BYTES);
    for n in 0..3 {
        append(&mut journal, n);
    }
    journal.flush().unwrap();
    let round: Vec<_> = (3..6).map(|n| append(&mut journal, n)).collect();
    journal.flush().unwrap();
    drop(journal);
    let file = OpenOptions::new().write(true).open(segment_path(&dir, 1)).unwrap();
    file.write_all_at(&[0; 73], round[1].offset).unwrap();
    file.write_all_at(&[0; 16], 0).unwrap();
    let (seen, found, _) = sizes(&dir, SEGMENT_BYTES);
    assert_eq!((seen, found.cut_bytes > 0), (vec![0, 1, 2, 3], true));
    let (mut journal, seen, _) = open(&dir, SEGMENT_BYTES);
    assert_eq!(seen, [0, 1, 2, 3], "what stood behind the hole does not come back");
    append(&mut journal, 7);
    journal.flush().unwrap();
    drop(journal);
    assert_eq!(sizes(&dir, SEGMENT_BYTES).0, [0, 1, 2, 3, 7]);
}

/// Segments whose files were exchanged: every record is still there, and both places are named.
#[test]
fn exchanged_segments_lose_nothing() {
    let holder = tempfile::tempdir().unwrap();
    let dir = holder.path().join("journal");
    let places = written(&dir, 100, 1_500);
    let swap = |a: u32, b: u32| {
        fs::rename(segment_path(&dir, a), dir.join("x")).unwrap();
        fs::rename(segment_path(&dir, b), segment_path(&dir, a)).unwrap();
        fs::rename(dir.join("x"), segment_path(&dir, b)).unwrap();
    };
    swap(2, 4);
    let (mut seen, found, _) = sizes(&dir, 1_500);
    seen.sort_unstable();
    assert_eq!(seen, (0..100).collect::<Vec<_>>());
    let named: Vec<_> = found.damage.iter().map(|d| (d.segment, d.kind)).collect();
    assert_eq!(named, [(2, DamageKind::Header), (4, DamageKind::Header)]);
    let (mut journal, _, found) = open(&dir, 1_500);
    for d in &found.damage {
        journal.leave(d.segment).unwrap();
        journal.mend(d, "exchanged").unwrap();
    }
    drop(journal);
    assert!(sizes(&dir, 1_500).1.damage.is_empty());
    assert_eq!(places.len(), 100);
}

/// What was durable and is gone is damage, not a torn write; nothing is written over its place.
#[test]
fn a_tail_that_vanished_is_noticed() {
    for cut_inside in [true, false] {
        let holder = tempfile::tempdir().unwrap();
        let dir = holder.path().join("journal");
        let places = written(&dir, 30, SEGMENT_BYTES);
        let file = OpenOptions::new().write(true).open(segment_path(&dir, 1)).unwrap();
        file.set_len(places[20].offset + if cut_inside { 10 } else { 0 }).unwrap();
        let (seen, found, durable) = sizes(&dir, SEGMENT_BYTES);
        assert_eq!((seen.len(), found.cut_bytes, durable.segment), (20, 0, 2));
        assert_eq!(found.damage.len(), 1, "{found:?}");
        assert_eq!((found.damage[0].kind, found.damage[0].segment), (DamageKind::Truncated, 1));
    }
    let holder = tempfile::tempdir().unwrap();
    let dir = holder.path().join("journal");
    written(&dir, 30, 1_500);
    let last = *segments(&dir).unwrap().last().unwrap();
    fs::remove_file(segment_path(&dir, last)).unwrap();
    let (_, found, durable) = sizes(&dir, 1_500);
    assert_eq!(durable.segment, last + 1);
    assert_eq!((found.damage[0].kind, found.damage[0].segment), (DamageKind::Missing, last));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]
    /// Whatever happened to a sealed segment: once its places are mended nothing is damaged, the bytes are kept aside,
    /// and the frames that were whole are whole.
    #[test]
    fn mended_places_are_no_damage(
        at in any::<prop::sample::Index>(), junk in prop::collection::vec(any::<u8>(), 1..900), how in 0..4_u8
    ) {
        let holder = tempfile::tempdir().unwrap();
        let dir = holder.path().join("journal");
        written(&dir, 60, 4_000);
        let path = segment_path(&dir, 2);
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        let len = fs::metadata(&path).unwrap().len();
        let offset = at.index(len as usize) as u64;
        let file = OpenOptions::new().write(true).open(&path).unwrap();
        match how {
            0 => file.write_all_at(&junk, offset).unwrap(),
            1 => file.write_all_at(&vec![0; junk.len()], offset).unwrap(),
            2 => file.set_len(offset).unwrap(),
            _ => fs::remove_file(&path).unwrap(),
        }
        let (before, found, _) = sizes(&dir, 4_000);
        let (mut journal, ..) = open(&dir, 4_000);
        for d in &found.damage {
            journal.leave(d.segment).unwrap();
            journal.mend(d, "test").unwrap();
            journal.mend(d, "again").unwrap();
        }
        append(&mut journal, 1_000);
        journal.flush().unwrap();
        drop(journal);
        let (after, found, _) = sizes(&dir, 4_000);
        prop_assert!(found.damage.is_empty(), "{:?}", found);
        prop_assert_eq!(after, [before, vec![1_000]].concat());
    }
}

/// Two things are wrong with a file that was cut within its head; mending one must not undo the other.
#[test]
fn a_file_that_was_cut_within_its_head_is_mended() {
    let holder = tempfile::tempdir().unwrap();
    let dir = holder.path().join("journal");
    written(&dir, 30, SEGMENT_BYTES);
    OpenOptions::new().write(true).open(segment_path(&dir, 1)).unwrap().set_len(4).unwrap();
    let (mut journal, _, found) = open(&dir, SEGMENT_BYTES);
    let header = Damage { segment: 1, offset: 0, bytes: 0, kind: DamageKind::Header };
    for d in [&header, &found.damage[0]] {
        journal.leave(d.segment).unwrap();
        journal.mend(d, "test").unwrap();
    }
    let reader = Reader::new(dir.clone());
    let mut walk = reader.walk(1, journal.durable()).unwrap().unwrap();
    assert!(walk.head_holds());
    while let Some(step) = walk.step() {
        assert!(matches!(step, Step::Frame { head: FrameHead { kind: 0, .. }, .. }), "{step:?}");
    }
}
