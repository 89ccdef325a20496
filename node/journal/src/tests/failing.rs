//! A journal whose disk or whose folder fails it: what is taken away while it runs, and what is written anew.

use super::*;

/// The file that is written to is deleted or replaced under the process: its descriptor still has everything.
#[test]
fn an_open_file_that_is_gone_comes_back() {
    for replaced in [false, true] {
        let holder = tempfile::tempdir().unwrap();
        let dir = holder.path().join("journal");
        let (mut journal, ..) = open(&dir, SEGMENT_BYTES);
        for n in 0..20 {
            append(&mut journal, n);
        }
        journal.flush().unwrap();
        assert!(!journal.rescue().unwrap());
        fs::remove_file(segment_path(&dir, 1)).unwrap();
        if replaced {
            fs::write(segment_path(&dir, 1), "something else").unwrap();
        }
        assert!(journal.rescue().unwrap());
        append(&mut journal, 20);
        journal.flush().unwrap();
        drop(journal);
        assert_eq!(sizes(&dir, SEGMENT_BYTES).0, (0..21).collect::<Vec<_>>());
    }
}

/// The file that is written to is cut short, or gets somebody's bytes at its end: no hole and no junk stays behind. What
/// memory still has is written anew; what it has not is sealed as it is.
#[test]
fn an_open_file_of_another_length_is_sealed_as_what_was_written() {
    for (longer, cut_to, whole) in [(true, 0, 200), (false, 195, 200), (false, 15, 15)] {
        let holder = tempfile::tempdir().unwrap();
        let dir = holder.path().join("journal");
        let (mut journal, ..) = open(&dir, SEGMENT_BYTES);
        let places: Vec<_> = (0..200).map(|n| append(&mut journal, n)).collect();
        journal.flush().unwrap();
        let end = journal.durable().offset;
        let file = OpenOptions::new().write(true).open(segment_path(&dir, 1)).unwrap();
        file.set_len(if longer { end + 1_000 } else { places[cut_to].offset }).unwrap();
        assert!(!journal.rescue().unwrap());
        assert_eq!(journal.segment, if longer { 1 } else { 2 });
        journal.leave(1).unwrap();
        append(&mut journal, 300);
        journal.flush().unwrap();
        drop(journal);
        let (held, found, _) = sizes(&dir, SEGMENT_BYTES);
        assert_eq!((held, found.damage), ((0..whole).chain([300]).collect::<Vec<_>>(), vec![]));
    }
}

/// A look at folder and file, as the driver has it once a second.
#[test]
fn what_is_taken_away_from_a_running_journal_is_noticed() {
    let begin = |dir: &Path| {
        let (mut journal, ..) = open(dir, SEGMENT_BYTES);
        let places: Vec<_> = (0..200).map(|n| append(&mut journal, n)).collect();
        journal.flush().unwrap();
        journal.look_after().unwrap();
        assert_eq!(journal.take_news(), []);
        (journal, places)
    };
    let all = (0..200).collect::<Vec<_>>();
    let gone = |journal: &mut Journal| match journal.look_after() {
        Err(JournalError::Gone { what, .. }) => what,
        other => panic!("{other:?}"),
    };

    // The file: its descriptor still has everything.
    let holder = tempfile::tempdir().unwrap();
    let dir = holder.path().join("journal");
    let (mut journal, _) = begin(&dir);
    fs::remove_file(segment_path(&dir, 1)).unwrap();
    journal.look_after().unwrap();
    assert_eq!(journal.take_news(), [JournalNews::Rescued { segment: 1 }]);
    drop(journal);
    assert_eq!(sizes(&dir, SEGMENT_BYTES).0, all);

    // Its end, which memory has; and more than that, which is named by the next start.
    for (to, left) in [(195, 200), (20, 20)] {
        let holder = tempfile::tempdir().unwrap();
        let dir = holder.path().join("journal");
        let (mut journal, places) = begin(&dir);
        OpenOptions::new().write(true).open(segment_path(&dir, 1)).unwrap().set_len(places[to].offset).unwrap();
        if left == 200 {
            journal.look_after().unwrap();
            assert!(matches!(journal.take_news()[..], [JournalNews::Renewed { .. }]));
        } else {
            assert!(gone(&mut journal).contains("was cut to"));
        }
        drop(journal);
        let (held, found, _) = sizes(&dir, SEGMENT_BYTES);
        assert_eq!((held.len(), found.damage.len()), (left, usize::from(left < 200)));
    }

    // The folder: the open file comes back, and the process may not go on.
    let holder = tempfile::tempdir().unwrap();
    let dir = holder.path().join("journal");
    let (mut journal, _) = begin(&dir);
    fs::remove_dir_all(&dir).unwrap();
    assert!(gone(&mut journal).contains("was put back"));
    drop(journal);
    assert_eq!(sizes(&dir, SEGMENT_BYTES).0, all);

    // Another folder stands there: it is left alone.
    let holder = tempfile::tempdir().unwrap();
    let dir = holder.path().join("journal");
    let (mut journal, _) = begin(&dir);
    let written = fs::read(segment_path(&dir, 1)).unwrap();
    fs::rename(&dir, holder.path().join("elsewhere")).unwrap();
    fs::create_dir(&dir).unwrap();
    assert!(gone(&mut journal).contains("another folder"));
    assert_eq!(fs::read_dir(&dir).unwrap().count(), 0);
    assert_eq!(fs::read(Journal::quarantine(&dir).join("00000001-open.seg.0")).unwrap(), written);
}

/// F10: between two looks the file is removed, and rows are acknowledged. A flush looks whether its file has a name.
#[test]
fn nothing_is_flushed_into_a_file_without_a_name() {
    let holder = tempfile::tempdir().unwrap();
    let dir = holder.path().join("journal");
    let (mut journal, ..) = open(&dir, SEGMENT_BYTES);
    append(&mut journal, 0);
    journal.flush().unwrap();
    fs::remove_file(segment_path(&dir, 1)).unwrap();
    append(&mut journal, 1);
    journal.flush().unwrap();
    drop(journal);
    assert_eq!(sizes(&dir, SEGMENT_BYTES).0, [0, 1]);
}

/// A place stays a place, also if what stood there had to be written anew: at a start, and at the next one.
#[test]
fn places_outlive_being_written_anew() {
    let holder = tempfile::tempdir().unwrap();
    let dir = holder.path().join("journal");
    let places = killed(&dir, 100, SEGMENT_BYTES);
    let reader = Reader::new(dir.clone());
    for life in 0_u32..4 {
        let (_, seen, found) = open(&dir, SEGMENT_BYTES);
        assert_eq!((seen.len(), found.cut_bytes, found.damage.len()), (100, 0, 0));
        for (n, place) in places.iter().enumerate() {
            assert_eq!(number(&reader.read(*place).unwrap().head), Some(n as u64), "life {life}");
            assert_eq!(number(&reader.head(*place).unwrap()), Some(n as u64));
        }
        // Whoever follows the journal from such a place on misses nothing, and meets nothing twice.
        let durable = open(&dir, SEGMENT_BYTES).0.durable();
        for from in [0, 50, 99] {
            let (mut at, mut met) = (places[from], Vec::new());
            while let Some((_, frame)) = reader.next(at, durable).unwrap() {
                at = frame.next;
                met.extend(number(&frame.head));
            }
            assert_eq!(met, (from as u64..100).collect::<Vec<_>>(), "life {life}");
        }
    }
}

/// The first frames of a segment that carries on stand in the one before too. They are passed over while those are whole;
/// if not, they are what is left.
#[test]
fn a_second_copy_counts_where_the_first_is_damaged() {
    let holder = tempfile::tempdir().unwrap();
    let dir = holder.path().join("journal");
    let (mut journal, ..) = open(&dir, SEGMENT_BYTES);
    let places: Vec<_> = (0..30).map(|n| append(&mut journal, n)).collect();
    journal.flush().unwrap();
    journal.rest().unwrap();
    drop(journal);
    let (journal, seen, _) = open(&dir, SEGMENT_BYTES);
    assert_eq!((seen.len(), journal.durable().segment), (30, 2));
    journal.stop().unwrap();
    let walked = |reader: &Reader| {
        let until = Position { segment: 3, offset: 0 };
        let steps = |s| {
            let mut walk = reader.walk(s, until).unwrap().unwrap();
            std::iter::from_fn(move || walk.step()).collect::<Vec<_>>()
        };
        let all = [1, 2].into_iter().flat_map(steps);
        all.filter_map(|s| if let Step::Frame { head, .. } = s { number(&head) } else { None }).collect::<Vec<_>>()
    };
    assert_eq!(walked(&Reader::new(dir.clone())), (0..30).collect::<Vec<_>>());
    fs::set_permissions(segment_path(&dir, 1), fs::Permissions::from_mode(0o600)).unwrap();
    let file = OpenOptions::new().write(true).open(segment_path(&dir, 1)).unwrap();
    file.write_all_at(b"????", places[28].offset).unwrap();
    let (_, seen, found) = open(&dir, SEGMENT_BYTES);
    assert!(seen.contains(&28), "{seen:?}");
    assert_eq!(found.damage.iter().map(|d| (d.segment, d.offset)).collect::<Vec<_>>(), [(1, places[28].offset)]);
    assert!(walked(&Reader::new(dir)).contains(&28));
}

/// A place that was mended is no second copy of what it held.
#[test]
fn a_mended_place_does_not_hide_the_second_copy() {
    let holder = tempfile::tempdir().unwrap();
    let dir = holder.path().join("journal");
    let (mut journal, ..) = open(&dir, SEGMENT_BYTES);
    let places: Vec<_> = (0..30).map(|n| append(&mut journal, n)).collect();
    journal.flush().unwrap();
    journal.rest().unwrap();
    drop(journal);
    drop(open(&dir, SEGMENT_BYTES));
    fs::set_permissions(segment_path(&dir, 1), fs::Permissions::from_mode(0o600)).unwrap();
    let file = OpenOptions::new().write(true).open(segment_path(&dir, 1)).unwrap();
    file.write_all_at(b"????", places[28].offset).unwrap();
    let (mut journal, _, found) = open(&dir, SEGMENT_BYTES);
    for damage in &found.damage {
        journal.leave(damage.segment).unwrap();
        journal.mend(damage, "test").unwrap();
    }
    drop(journal);
    let (_, seen, found) = open(&dir, SEGMENT_BYTES);
    assert!(seen.contains(&28) && found.damage.is_empty(), "{seen:?} {:?}", found.damage);
}
