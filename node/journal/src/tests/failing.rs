//! A journal whose disk or whose folder fails it: what is taken away while it runs, and what is written anew.

use super::*;
use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
};

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

/// The same for damage to any byte of the first copy, for whoever reads a place, walks, or follows; and nothing of it is hidden
/// from whoever asks for the place itself.
#[test]
fn a_second_copy_counts_whatever_byte_of_the_first_is_damaged() {
    let holder = tempfile::tempdir().unwrap();
    let whole = holder.path().join("whole");
    let (mut journal, ..) = open(&whole, SEGMENT_BYTES);
    let places: Vec<_> = (0..30).map(|n| append(&mut journal, n)).collect();
    journal.flush().unwrap();
    journal.rest().unwrap();
    drop(journal);
    let (journal, ..) = open(&whole, SEGMENT_BYTES);
    let durable = journal.durable();
    assert_eq!(durable.segment, 2);
    journal.stop().unwrap();
    let followed = |reader: &Reader, until| {
        let (mut at, mut met) = (Journal::origin(), Vec::new());
        while let Some((_, frame)) = reader.next(at, until).unwrap() {
            at = frame.next;
            met.extend(number(&frame.head));
        }
        met
    };
    let (from, to) = (places[28].offset, places[29].offset);
    for offset in from..to {
        let dir = holder.path().join(format!("{offset}"));
        copy(&whole, &dir);
        flip(&segment_path(&dir, 1), offset);
        let reader = Reader::new(dir.clone());
        assert_eq!(number(&reader.read(places[28]).unwrap().head), Some(28), "byte {}", offset - from);
        assert!(matches!(reader.read_here(places[28]), Err(ReadError::Damaged { .. })), "byte {}", offset - from);
        assert!(followed(&reader, durable).contains(&28), "byte {}", offset - from);
        let (mut journal, seen, found) = open(&dir, SEGMENT_BYTES);
        assert!(seen.contains(&28), "byte {}: {seen:?}", offset - from);
        // A record once mended is no copy of what it held, and hides none.
        for damage in &found.damage {
            assert_eq!((damage.segment, damage.offset), (1, from), "byte {}", offset - from);
            journal.leave(1).unwrap();
            journal.mend(damage, "test").unwrap();
        }
        journal.flush().unwrap();
        assert!(followed(&Reader::new(dir), journal.durable()).contains(&28), "byte {}", offset - from);
    }
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir(to).unwrap();
    for file in fs::read_dir(from).unwrap() {
        let file = file.unwrap();
        fs::copy(file.path(), to.join(file.file_name())).unwrap();
    }
    let mark = from.with_extension("mark");
    if mark.exists() {
        fs::copy(mark, to.with_extension("mark")).unwrap();
    }
}

fn flip(path: &Path, offset: u64) {
    fs::set_permissions(path, fs::Permissions::from_mode(0o600)).unwrap();
    let file = OpenOptions::new().read(true).write(true).open(path).unwrap();
    let mut byte = [0];
    file.read_exact_at(&mut byte, offset).unwrap();
    file.write_all_at(&[byte[0] ^ 4], offset).unwrap();
}

/// A machine whose descriptors are used up: after some calls nothing can be opened any more.
#[derive(Debug, Clone)]
struct Scarce(Arc<AtomicI64>);

impl Volume for Scarce {
    type File = fs::File;

    fn open(&self, path: &Path, how: Opening) -> io::Result<fs::File> {
        if self.0.fetch_sub(1, Ordering::Relaxed) <= 0 {
            return Err(io::Error::from_raw_os_error(24));
        }
        Volume::open(&System, path, how)
    }

    fn look(&self, path: &Path) -> io::Result<FileLook> {
        Volume::look(&System, path)
    }

    fn list(&self, folder: &Path) -> io::Result<Vec<std::ffi::OsString>> {
        System.list(folder)
    }

    fn make_folder(&self, folder: &Path) -> io::Result<()> {
        System.make_folder(folder)
    }

    fn sync_folder(&self, folder: &Path) -> io::Result<()> {
        System.sync_folder(folder)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        System.rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        System.remove(path)
    }

    fn set_mode(&self, path: &Path, mode: u32) -> io::Result<()> {
        System.set_mode(path, mode)
    }
}

/// What cannot be opened for want of descriptors says nothing of what is there: a start decides nothing by it, sets nothing
/// aside, cuts nothing, and can be tried again. A reader steps over nothing.
#[test]
fn a_start_without_descriptors_changes_nothing() {
    let holder = tempfile::tempdir().unwrap();
    let killed_at = |name: &str, bytes| {
        let dir = holder.path().join(name);
        killed(&dir, 60, bytes);
        dir
    };
    let stopped = holder.path().join("stopped");
    written(&stopped, 60, 4_000);
    // What is left when all segments but the last have been removed, as of staged rows.
    let late = holder.path().join("late");
    written(&late, 60, 4_000);
    let numbers = segments(&late).unwrap();
    numbers.iter().rev().skip(1).for_each(|n| fs::remove_file(segment_path(&late, *n)).unwrap());
    // Killed again while it carried on what a kill had left.
    let twice = killed_at("twice", SEGMENT_BYTES);
    drop(open(&twice, SEGMENT_BYTES));
    for (dir, bytes) in [
        (killed_at("one", SEGMENT_BYTES), SEGMENT_BYTES),
        (killed_at("many", 4_000), 4_000),
        (twice, SEGMENT_BYTES),
        (stopped, 4_000),
        (late, 4_000),
    ] {
        let all = {
            let again = dir.with_extension("again");
            copy(&dir, &again);
            open(&again, bytes).1
        };
        assert!(!all.is_empty());
        for calls in 0.. {
            let some = dir.with_extension(format!("{calls}"));
            copy(&dir, &some);
            let left = Arc::new(AtomicI64::new(calls));
            let opened = Journal::open_on(Scarce(left.clone()), &some, &owner(), bytes, |_, _| {});
            let enough = left.load(Ordering::Relaxed) >= 0;
            match opened {
                Err(e) => assert!(e.shortage().is_some() && !enough, "{dir:?} after {calls}: {e}"),
                Ok((journal, _)) => {
                    let until = journal.durable();
                    drop(journal);
                    follow_scarcely(&some, until, &left);
                }
            }
            assert_eq!(open(&some, bytes).1, all, "{dir:?} after {calls} files");
            if enough {
                break;
            }
        }
    }
}

fn follow_scarcely(dir: &Path, until: Position, left: &Arc<AtomicI64>) {
    let follow = |reader: &Reader<Scarce>| {
        let (mut at, mut met) = (Journal::origin(), Vec::new());
        while let Some((_, frame)) = reader.next(at, until)? {
            at = frame.next;
            met.extend(number(&frame.head));
        }
        Ok::<_, ReadError>(met)
    };
    left.store(i64::MAX, Ordering::Relaxed);
    let all = follow(&Reader::on(Scarce(left.clone()), dir.to_owned())).unwrap();
    for calls in 0.. {
        left.store(calls, Ordering::Relaxed);
        match follow(&Reader::on(Scarce(left.clone()), dir.to_owned())) {
            Err(ReadError::Io { .. }) => {}
            met => {
                assert_eq!(met.unwrap(), all, "{dir:?} after {calls} files");
                if left.load(Ordering::Relaxed) >= 0 {
                    return;
                }
            }
        }
    }
}
