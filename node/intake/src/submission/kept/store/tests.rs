//! The store against its folder: what stays, what goes, what is read at a start, and how much room there is.

use super::*;
use crate::{
    RawRow, RowKey,
    submission::{KeptRow, SubmissionAnswer},
};
use tally_protocol::finding::Finding;

fn division() -> Division {
    Division::try_from(350_102).unwrap()
}

fn open(dir: &Path, limits: KeptLimits) -> SubmissionStore {
    SubmissionStore::open_within(dir.join("answers"), division(), limits).unwrap()
}

fn of_token(name: &str, key: Option<&str>) -> SubmissionMeta {
    let (token, idempotency_key) = (Some(name.to_owned()), key.map(str::to_owned));
    SubmissionMeta { source: "http".into(), token, idempotency_key, ..SubmissionMeta::default() }
}

fn token(name: &str) -> AnswerOwner {
    AnswerOwner::Token(name.to_owned())
}

fn rejected(line: u64, text: &str) -> KeptRow {
    let finding = Finding::reject("V001", "subject_name", "subject_name is empty", "主体名称为空");
    KeptRow::new(line, &RawRow::Line(text.as_bytes()), vec![finding; 20], None, None)
}

/// Keeps an answer with so many rejected rows; its name, and what it could not keep.
fn kept(store: &SubmissionStore, meta: SubmissionMeta, rows: u64) -> SubmissionAnswer {
    let mut writer = store.writer(meta);
    writer.write((1..=rows).map(|n| rejected(n, r#"{"category":"x"}"#)).collect(), &[]).unwrap();
    let mut answer = SubmissionAnswer { read: rows, rejected: rows, ..SubmissionAnswer::default() };
    writer.finish(&mut answer, None).unwrap();
    answer
}

/// Bytes of all files below a folder, and how many there are.
fn on_disk(dir: &Path) -> (u64, usize) {
    let entries = fs::read_dir(dir).unwrap().map(Result::unwrap);
    entries.fold((0, 0), |(bytes, files), e| match e.metadata().unwrap() {
        m if m.is_dir() => {
            let below = on_disk(&e.path());
            (bytes + below.0, files + below.1)
        }
        m => (bytes + m.len(), files + 1),
    })
}

#[test]
fn answers_are_kept_whole_or_not_at_all() {
    let dir = tempfile::tempdir().unwrap();
    let open = || open(dir.path(), KeptLimits::default());
    let store = open();
    let mut nothing = SubmissionAnswer::default();
    store.writer(SubmissionMeta::default()).finish(&mut nothing, None).unwrap();
    assert_eq!(nothing.answer, None);
    let mut writer = store.writer(SubmissionMeta { source: "cli".into(), ..SubmissionMeta::default() });
    let finding = || vec![Finding::reject("V001", "subject_name", "empty", "空")];
    let cells = vec!["福州\n\"甲\"".to_owned(), "001".to_owned()];
    let row = KeptRow::new(3, &RawRow::Cells(&cells), finding(), Some(&RowKey::default()), None);
    writer.write(vec![row], &[]).unwrap();
    let mut answer = SubmissionAnswer { read: 5, rejected: 1, ..SubmissionAnswer::default() };
    writer.finish(&mut answer, None).unwrap();
    let id = answer.answer.unwrap();
    drop(writer);
    let broken = || KeptRow::new(1, &RawRow::Line(b"{"), finding(), None, None);
    let folders = || {
        fs::read_dir(dir.path().join("answers"))
            .unwrap()
            .filter(|e| e.as_ref().unwrap().file_name().to_str().unwrap().starts_with("350102-"))
    };
    let mut dropped = store.writer(SubmissionMeta::default());
    dropped.write(vec![broken()], &[]).unwrap();
    drop(dropped);
    assert_eq!(folders().count(), 1, "nothing stays of it");
    let mut half = store.writer(SubmissionMeta::default());
    half.write(vec![broken()], &[]).unwrap();
    assert_eq!((store.list(10, None).unwrap().len(), folders().count()), (1, 2), "one is under way");
    std::mem::forget(half);
    let store = open();
    let list = store.list(10, None).unwrap();
    assert_eq!((list.len(), list[0].id.as_str(), list[0].read, folders().count()), (1, id.as_str(), 5, 1));
    let kept = store.open_kept(&id).unwrap().unwrap();
    let rows: Vec<_> = kept.rows().unwrap().map(Result::unwrap).collect();
    assert_eq!((rows[0].line, &rows[0].cells, &rows[0].findings), (3, &cells, &finding()));
    let again = kept.answer().unwrap();
    assert_eq!((again.read, again.rejected, again.errors[0].line), (5, 1, 3));
    assert!(store.load("../x").unwrap().is_none() && store.load("350102-20990101-0001").unwrap().is_none());
    let day = tally_clock::today();
    let later = |days: i32| day.checked_add(jiff::Span::new().days(days)).unwrap();
    store.prune_old(later(KEPT_DAYS)).unwrap();
    assert!(store.load(&id).unwrap().is_some());
    assert!(id.ends_with("-0001") && store.next_id().ends_with("-0002"), "numbers go on after a start");
    store.prune_old(later(KEPT_DAYS + 1)).unwrap();
    assert!(store.load(&id).unwrap().is_none(), "too old");
}

/// S5: what is said of twenty fields of a short row is not said again for each row.
#[test]
fn a_short_row_takes_little_of_the_disk() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path(), KeptLimits::default());
    let id = kept(&store, of_token("a", None), 5_000).answer.unwrap();
    let (bytes, _) = on_disk(&dir.path().join("answers"));
    assert!(bytes < 5_000 * 250, "{bytes}");
    let back = store.open_kept(&id).unwrap().unwrap();
    let rows: Vec<_> = back.rows().unwrap().map(Result::unwrap).collect();
    assert!(rows.len() == 5_000 && rows.iter().zip(1..).all(|(r, n)| r.findings == rejected(n, "").findings));
}

/// S5: an answer has at most so many rows and bytes; the others are counted, and the first and the last is named.
#[test]
fn rows_beyond_the_bounds_of_an_answer_are_counted() {
    let dir = tempfile::tempdir().unwrap();
    let by_rows = open(dir.path(), KeptLimits { answer_rows: 100, ..KeptLimits::default() });
    let answer = kept(&by_rows, of_token("a", None), 150);
    let not_kept = answer.not_kept.unwrap();
    assert_eq!((not_kept.rows, not_kept.first, not_kept.last), (50, 101, 150));
    let back = by_rows.open_kept(&answer.answer.unwrap()).unwrap().unwrap();
    assert_eq!((back.rows().unwrap().count(), back.meta.not_kept), (100, Some(not_kept)));
    let by_bytes = open(dir.path(), KeptLimits { answer_bytes: 30_000, ..KeptLimits::default() });
    let answer = kept(&by_bytes, of_token("a", None), 2_000);
    let back = by_bytes.open_kept(answer.answer.as_ref().unwrap()).unwrap().unwrap();
    let (rows, not_kept) = (back.rows().unwrap().count() as u64, answer.not_kept.unwrap());
    assert!(rows > 50 && rows + not_kept.rows == 2_000 && not_kept.first == rows + 1, "{rows} {not_kept:?}");
    assert!(fs::metadata(back.rows.unwrap()).unwrap().len() <= 30_000);
}

/// S5: a day's worth of junk from one token stays inside its sum, and leaves others their room.
#[test]
fn junk_of_one_token_stays_inside_its_sum() {
    let dir = tempfile::tempdir().unwrap();
    let limits = KeptLimits { owner_bytes: 1 << 20, ..KeptLimits::default() };
    let store = open(dir.path(), limits);
    let (mut answers, mut refused) = (0, None);
    for _ in 0..1_000 {
        if let Err(full) = store.room(&token("a")) {
            refused = Some(full.to_string());
            break;
        }
        kept(&store, of_token("a", None), 300);
        answers += 1;
    }
    let refused = refused.expect("it is refused in the end");
    assert!(refused.contains("the token a") && refused.contains("tally answer rm"), "{refused}");
    let (bytes, _) = on_disk(&dir.path().join("answers"));
    assert!(answers > 10 && bytes < limits.owner_bytes + (64 << 10), "{answers}: {bytes}");
    assert!(store.room(&token("b")).is_ok() && store.room(&AnswerOwner::Operator).is_ok());
    // It is as full after a start, and has room once an answer is removed.
    let store = open(dir.path(), limits);
    assert!(store.room(&token("a")).is_err());
    let newest = store.list(1, Some(&token("a"))).unwrap().remove(0).id;
    assert!(store.remove(&newest).unwrap() && !store.remove(&newest).unwrap());
    assert!(store.room(&token("a")).is_ok() && store.load(&newest).unwrap().is_none());
}

/// F10: whoever corrects rows of an answer that was removed does not mark those of another.
#[test]
fn the_name_of_a_removed_answer_is_not_given_again() {
    let dir = tempfile::tempdir().unwrap();
    let open = || open(dir.path(), KeptLimits::default());
    let store = open();
    let ids: Vec<_> = (0..2).map(|_| kept(&store, of_token("a", Some("k")), 1).answer.unwrap()).collect();
    // A stop came amid the removal: the answer is still its owner's.
    index::add_gone(store.dir(), store.name(&ids[1]).unwrap(), division()).unwrap();
    let store = open();
    assert_eq!(store.list(9, Some(&token("a"))).unwrap().len(), 2);
    assert!(store.remove(&ids[1]).unwrap());
    // However often it starts, and whenever old answers are cleared away.
    for prunes in [false, true, true, false] {
        let store = open();
        if prunes {
            store.prune_old(tally_clock::today()).unwrap();
        }
        assert!(store.next_id().ends_with("-0003"), "{prunes}");
        let found = store.by_key(&token("a"), "k").unwrap().map(|m| m.id);
        assert_eq!((store.list(9, None).unwrap().len(), found.as_ref()), (1, Some(&ids[0])));
    }
    // Of a folder that somebody took away by hand too.
    fs::remove_dir_all(dir.path().join("answers").join(&ids[0])).unwrap();
    assert!(open().next_id().ends_with("-0003"));
    // Its day is cleared away, and its name with it.
    let store = open();
    store.prune_old(tally_clock::today().checked_add(jiff::Span::new().days(KEPT_DAYS + 1)).unwrap()).unwrap();
    assert!(fs::read(dir.path().join("answers/index.ndjson")).unwrap().is_empty());
}

/// F9: an answer that could not be put in its place leaves nothing, also where its rows were written to the end.
#[test]
fn an_answer_that_cannot_be_finished_leaves_no_folder() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path(), KeptLimits::default());
    let answers = dir.path().join("answers");
    let left = || fs::read_dir(&answers).unwrap().map(|e| e.unwrap().path()).filter(|p| p.is_dir()).collect::<Vec<_>>();
    for in_the_way in [phrases::FILE, META_FILE] {
        let mut writer = store.writer(of_token("a", None));
        writer.write(vec![rejected(1, "x")], &[]).unwrap();
        let part = left().into_iter().find(|p| p.extension().is_some()).unwrap();
        fs::create_dir(part.join(in_the_way)).unwrap();
        writer.finish(&mut SubmissionAnswer::default(), None).unwrap_err();
        drop(writer);
        assert_eq!(left(), [answers.join("plain")], "{in_the_way}");
    }
    // What another has made is not its own.
    let next = store.next_id();
    let (day, number) = next.rsplit_once('-').unwrap();
    let part = answers.join(format!("{day}-{:04}.part", number.parse::<u32>().unwrap() + 1));
    fs::write(&part, "").unwrap();
    let mut writer = store.writer(of_token("a", None));
    writer.write(vec![rejected(1, "x")], &[]).unwrap_err();
    drop(writer);
    assert!(part.exists());
    assert_eq!(store.room(&token("a")).map_err(|e| e.to_string()), Ok(()));
}

/// What is given up while it is written leaves its room to others.
#[test]
fn an_answer_that_is_given_up_gives_its_room_back() {
    let dir = tempfile::tempdir().unwrap();
    let limits = KeptLimits { owner_bytes: LEAST, owner_answers: 1, ..KeptLimits::default() };
    const LEAST: u64 = super::super::writer::LEAST_BYTES;
    let store = open(dir.path(), limits);
    let mut writer = store.writer(of_token("a", None));
    writer.write(vec![rejected(1, "x")], &[]).unwrap();
    assert!(store.room(&token("a")).is_err(), "it is being written");
    drop(writer);
    assert!(store.room(&token("a")).is_ok());
    kept(&store, of_token("a", None), 1);
    assert!(store.room(&token("a")).is_err());
}

/// S11: an answer in which all was well has no folder, and the oldest is forgotten for a new one.
#[test]
fn keys_without_rows_take_a_line_each_and_the_newest_are_kept() {
    let dir = tempfile::tempdir().unwrap();
    let limits = KeptLimits { plain_answers: 40, ..KeptLimits::default() };
    let store = open(dir.path(), limits);
    for n in 0..200 {
        let answer = kept(&store, of_token("a", Some(&format!("k{n}"))), 0);
        assert!(answer.answer.is_some());
    }
    let other = kept(&store, of_token("b", Some("k0")), 0).answer.unwrap();
    let (_, files) = on_disk(&dir.path().join("answers"));
    assert!(files <= 4, "two files a token, and an index: {files}");
    let check = |store: &SubmissionStore| {
        let (answers, keys, _) = store.sizes();
        assert!(answers == keys && (21..=41).contains(&answers), "{answers} {keys}");
        let found = store.by_key(&token("a"), "k199").unwrap().unwrap();
        assert_eq!((found.idempotency_key.as_deref(), found.rejected), (Some("k199"), 0));
        assert!(store.by_key(&token("a"), "k100").unwrap().is_none(), "it is forgotten");
        assert_eq!(store.by_key(&token("b"), "k0").unwrap().unwrap().id, other);
        assert_eq!(store.list(5, Some(&token("b"))).unwrap().len(), 1);
        let kept = store.open_kept(&found.id).unwrap().unwrap();
        assert_eq!((kept.rows().unwrap().count(), kept.answer().unwrap().answer), (0, Some(found.id)));
    };
    check(&store);
    let store = open(dir.path(), limits);
    check(&store);
    assert!(!store.next_id().ends_with("-0001"), "no name is given twice");
}

/// M9: what is in memory of answers goes with them.
#[test]
fn what_is_in_memory_of_an_answer_goes_with_it() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path(), KeptLimits::default());
    for n in 0..10 {
        kept(&store, of_token("a", Some(&format!("k{n}"))), n % 2);
    }
    assert_eq!(store.sizes(), (10, 10, 1));
    let after = tally_clock::today().checked_add(jiff::Span::new().days(KEPT_DAYS + 1)).unwrap();
    store.prune_old(after).unwrap();
    assert_eq!(store.sizes(), (0, 0, 0));
    assert!(store.by_key(&token("a"), "k1").unwrap().is_none() && store.list(10, None).unwrap().is_empty());
    assert_eq!(store.room(&token("a")).map_err(|e| e.to_string()), Ok(()));
}

/// S11: a list reads the answers of whoever asks, and a start reads none that has its line.
#[test]
fn a_list_and_a_start_read_no_answer_that_they_need_not() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path(), KeptLimits::default());
    for n in 0..6 {
        kept(&store, of_token("a", Some(&format!("k{n}"))), 1);
    }
    let mine = kept(&store, of_token("b", Some("k0")), 1).answer.unwrap();
    // What cannot be read tells whether it is: of all others the file is spoiled.
    let others = store.list(10, Some(&token("a"))).unwrap();
    for a in &others {
        fs::write(dir.path().join("answers").join(&a.id).join(META_FILE), "spoiled").unwrap();
    }
    assert_eq!(store.list(10, Some(&token("b"))).unwrap().iter().map(|m| &m.id).collect::<Vec<_>>(), [&mine]);
    let store = open(dir.path(), KeptLimits::default());
    assert_eq!(store.sizes(), (7, 7, 1), "the start knows them by their lines");
    assert_eq!(store.by_key(&token("b"), "k0").unwrap().unwrap().id, mine);
}

/// The form before phrases, lines and the index: one answer with a row, one without.
#[test]
fn answers_of_the_format_before_are_read_and_counted() {
    let dir = tempfile::tempdir().unwrap();
    let answers = dir.path().join("answers");
    let meta = |id: &str, key: &str, rejected: u64| {
        format!(
            r#"{{"id":"{id}","at":"2026-11-20T08:00:00Z","file":null,"source":"http","token":"a","category":"spot_check","heads":[],"digest":"d","idempotency_key":"{key}","read":3,"accepted":2,"duplicate":0,"rejected":{rejected},"questions":0,"log":"t/350102/e1","from":0,"to":2}}"#
        )
    };
    let row = r#"{"line":2,"text":"{\"a\":1}","at":1764000000,"category":"spot_check","findings":[{"field":"f","code":"V001","severity":"reject","message":"en","message_zh":"zh"}]}"#;
    for (id, key, rows) in [("350102-20261120-0001", "k1", row), ("350102-20261120-0002", "k2", "")] {
        let folder = answers.join(id);
        fs::create_dir_all(&folder).unwrap();
        fs::write(folder.join(META_FILE), meta(id, key, u64::from(!rows.is_empty()))).unwrap();
        fs::write(folder.join(ROWS_FILE), rows).unwrap();
    }
    for _ in 0..2 {
        let store = open(dir.path(), KeptLimits::default());
        assert_eq!(store.sizes(), (2, 2, 1));
        let found = store.by_key(&token("a"), "k1").unwrap().unwrap();
        let kept = store.open_kept(&found.id).unwrap().unwrap();
        let rows: Vec<_> = kept.rows().unwrap().map(Result::unwrap).collect();
        assert_eq!((rows.len(), rows[0].findings[0].message_zh.as_str()), (1, "zh"));
        assert_eq!(store.by_key(&token("a"), "k2").unwrap().unwrap().id, "350102-20261120-0002");
        assert!(store.next_id().starts_with("350102-"));
    }
    // Those without rows are no more than may be: the oldest goes when old ones are cleared away.
    let store = open(dir.path(), KeptLimits { plain_answers: 0, ..KeptLimits::default() });
    store.prune_old("2026-11-29".parse().unwrap()).unwrap();
    assert!(!answers.join("350102-20261120-0002").exists() && answers.join("350102-20261120-0001").exists());
}

/// S11: whatever is noted of a submission in which all was well, its answer is a short line.
#[test]
fn many_notes_and_heads_make_no_folder() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path(), KeptLimits::default());
    let mut meta = of_token("a", Some("k"));
    meta.heads = vec!["列".repeat(60); 10_000];
    let noted = |n: usize| crate::InputNote {
        field: format!("field{n}"),
        code: "V026".to_owned(),
        count: 1,
        line: 1,
        message: "m".repeat(1_000),
        message_zh: "信".repeat(300),
    };
    let mut answer = SubmissionAnswer { read: 1, accepted: 1, ..SubmissionAnswer::default() };
    answer.notes = (0..500).map(noted).collect();
    store.writer(meta).finish(&mut answer, None).unwrap();
    let (bytes, files) = on_disk(&dir.path().join("answers"));
    assert!(files == 1 && bytes < 64 << 10, "{files} {bytes}");
    let kept = store.open_kept(&answer.answer.unwrap()).unwrap().unwrap().answer().unwrap();
    assert!(kept.accepted == 1 && kept.notes.len() > 10 && answer.notes.starts_with(&kept.notes));
}
