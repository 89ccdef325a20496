//! Submissions against a batcher that answers what a test wants.

use super::{kept::KeptLimits, *};
use crate::{
    BatcherHandle, ChunkResult, DedupPolicy, HeldFinding, InputFormat, RecordChunk, Rights, RowFate, RowOutcome,
    digested,
};
use bytes::Bytes;
use futures_util::{FutureExt as _, StreamExt as _, stream};
use std::{
    fmt::Write as _,
    sync::{Arc, atomic::AtomicBool},
    task::Poll,
};
use tally_protocol::{
    finding::Severity,
    ids::{Federation, LogId},
    keys::{Algorithm, NodeKeys, Signer},
    record::RecordId,
};
use tally_store::staged::StagedBook;
use tally_topology::{
    in_force::CharterHandle,
    signed::{SignedCharter, sign},
};
use tokio::sync::{Notify, mpsc};

/// A county by itself.
fn charter(own: LogId) -> CharterHandle {
    let federation = Federation::try_from("t.example".to_owned()).unwrap();
    let authority_key = tally_protocol::keys::authority_signer(&federation, &[2; 32]);
    let mut text = tally_topology::charter::heading(&federation, 1, authority_key.public());
    let keys = NodeKeys::derive(&federation, own, &[7; 32]);
    let (division, epoch) = (own.division, tally_topology::charter::epoch_entry(&keys));
    write!(text, "[[node]]\ndivision = \"{division}\"\nname = \"N\"\nlevel = \"county\"\n{epoch}").unwrap();
    let authority = Signer::new(federation.authority_name(), Algorithm::Ed25519, &[1; 32]);
    CharterHandle::new(Arc::new(SignedCharter::open(&sign(&text, &authority).unwrap(), authority.public()).unwrap()))
}

/// Two records are held, under the ids that are the hashes of `held` and `elsewhere`: the row 3 with its name in full width, here
/// and of another division.
#[derive(Debug)]
struct TwoHeld;

impl HeldReader for TwoHeld {
    fn read(&self, id: RecordId) -> Option<Vec<u8>> {
        let held = row(3).replace("榕盛餐饮", "榕盛Ａ餐饮");
        let elsewhere = held.replace("\"producer_division\":\"350102", "\"producer_division\":\"350103");
        match id {
            _ if id == RecordId::of(b"held") => Some(held.into_bytes()),
            _ if id == RecordId::of(b"elsewhere") => Some(elsewhere.into_bytes()),
            _ => None,
        }
    }
}

pub(crate) struct Desk {
    pub(crate) submissions: Submissions,
    chunks: mpsc::Receiver<RecordChunk>,
    _dir: tempfile::TempDir,
}

pub(crate) fn desk() -> Desk {
    desk_within(KeptLimits::default())
}

fn desk_within(limits: KeptLimits) -> Desk {
    let dir = tempfile::tempdir().unwrap();
    let own: LogId = "350102/e1".parse().unwrap();
    let (batcher, chunks) = BatcherHandle::of_test();
    let full = Arc::new(AtomicBool::new(false));
    let staged = StagedBook::new(dir.path().join("staged"));
    let (known, held) = (KnownRows::new([7; 32]), Arc::new(TwoHeld));
    let intake =
        IntakeHandle { charter: charter(own), batcher, own, staged, full, base_is_complete: false, known, held };
    let kept = SubmissionStore::open_within(dir.path().join("answers"), own.division, limits).unwrap();
    Desk { submissions: Submissions::new(intake, kept, dir.path().join("spool")), chunks, _dir: dir }
}

fn row(n: usize) -> String {
    let (unit, subject, name) = ("113501020036012589", "91350102MA2TE5T1X0", "福州市鼓楼区市场监督管理局");
    format!(
        r#"{{"category":"spot_check","catalog_version":"2026.1","producer_name":"{name}","producer_uscc":"{unit}","producer_division":"350102","submitter_name":"{name}","submitter_uscc":"{unit}","submitter_division":"350102","produced_on":"2025-06-03","operation":"create","business_key":"{unit}|抽查{n}号|{subject}","subject_type":"enterprise","subject_name":"福州榕盛餐饮管理有限公司","subject_uscc":"{subject}","authority_name":"{name}","authority_uscc":"{unit}","task_no":"抽查{n}号","check_type":"1","checked_on":"2025-06-03","check_result":"1"}}"#
    )
}

/// A row of which nothing is said.
pub(crate) fn judged_row() -> crate::JudgedRow {
    let handle = charter("350102/e1".parse().unwrap());
    let (charter, terms) = (handle.charter(), SubmissionTerms::default());
    let context = terms.row_context(charter.charter(), "350102".parse().unwrap());
    let row = crate::RowChunk::Lines(vec![(1, row(1).into_bytes())]).judged(&context).remove(0);
    assert!(row.record.is_some() && row.changes.is_empty(), "{row:?}");
    row
}

fn keyed(key: &str) -> Submission {
    let meta = SubmissionMeta {
        source: "http".to_owned(),
        idempotency_key: Some(key.to_owned()),
        ..SubmissionMeta::default()
    };
    Submission { terms: SubmissionTerms::default(), meta }
}

fn source(text: String) -> InputSource {
    let (pieces, digest) = digested(Box::pin(stream::iter([Ok(Bytes::from(text))])));
    InputSource::new(pieces, InputFormat::Ndjson, "/nowhere".into(), Some(digest))
}

fn answered(outcome: SubmissionOutcome) -> SubmissionAnswer {
    match outcome {
        SubmissionOutcome::Answered(answer) => *answer,
        SubmissionOutcome::Repeated(_) => panic!("it is the first"),
    }
}

#[tokio::test]
async fn every_outcome_of_the_batcher_is_counted_and_said() {
    let mut desk = desk();
    let held = RecordId::of(b"held");
    #[expect(clippy::disallowed_methods, reason = "it ends with the test")]
    let batcher = tokio::spawn(async move {
        let chunk = desk.chunks.recv().await.unwrap();
        assert_eq!((chunk.records.len(), chunk.policy.conflict), (4, Some(Severity::Question)));
        assert_ne!(chunk.policy, DedupPolicy::default());
        let outcome = |fate| RowOutcome { fate, findings: Vec::new() };
        let conflict = vec![(HeldFinding::Conflict(held), Severity::Reject)];
        let rows = vec![
            outcome(RowFate::Accepted { index: 7 }),
            outcome(RowFate::Duplicate { held }),
            outcome(RowFate::Superseded { held }),
            RowOutcome { fate: RowFate::Rejected, findings: conflict },
        ];
        chunk.reply.send(Ok(ChunkResult { rows, range: Some((7, 8)), ..ChunkResult::default() })).unwrap();
    });
    let narrow = row(3).replace("榕盛餐饮", "榕盛A餐饮");
    let text = (0..3).map(row).chain([narrow, "no json".to_owned()]).collect::<Vec<_>>().join("\n");
    let answer = answered(desk.submissions.hand_in(keyed("a"), source(text)).await.unwrap());
    batcher.await.unwrap();
    assert_eq!((answer.read, answer.accepted, answer.duplicate, answer.rejected), (5, 1, 2, 2), "{answer:?}");
    assert_eq!((answer.from, answer.to), (Some(7), Some(8)));
    let errors: Vec<_> = answer.errors.iter().map(|at| (at.line, at.finding.code.as_str())).collect();
    assert_eq!(errors, [(4, "V013"), (5, "S001")]);
    let conflict = &answer.errors[0].finding;
    assert!(conflict.message_zh.contains("仅主体名称的写法不同"), "{conflict:?}");
    assert!(conflict.message.contains("榕盛Ａ餐饮") && conflict.severity == Severity::Reject, "{conflict:?}");
    let notes: Vec<_> = answer.notes.iter().filter(|n| n.code == "V013").map(|n| n.line).collect();
    assert_eq!(notes, [3], "it is told that it is not in force");
    let kept = desk.submissions.kept().open_kept(answer.answer.as_ref().unwrap()).unwrap().unwrap();
    assert_eq!(kept.rows().unwrap().map(|r| r.unwrap().line).collect::<Vec<_>>(), [4, 5]);
}

/// S7: a row says itself whose it is. Who may hand it in is told of what it meets only where the limits cover that record too.
#[tokio::test]
async fn a_limited_token_is_told_of_its_own_records_only() {
    let (unit, another) = ("113501020036012589", "113501020036116248");
    let (held, elsewhere) = (RecordId::of(b"held"), RecordId::of(b"elsewhere"));
    let submitted =
        |n| row(n).replace(&format!("\"submitter_uscc\":\"{unit}"), &format!("\"submitter_uscc\":\"{another}"));
    let of_unit = |unit: &str| Rights { unit: Some(unit.into()), ..Rights::default() };
    let of_division = |d: &str| Rights { divisions: vec![d.parse().unwrap()], ..Rights::default() };
    let of_category = Rights { categories: vec!["spot_check".into()], ..Rights::default() };
    for (rights, line, held, is_told) in [
        (None, row(3), held, true),
        (Some(of_unit(unit)), row(3), held, true),
        (Some(of_unit(another)), submitted(3), held, false),
        (Some(of_division("350102")), row(3), held, true),
        (Some(of_division("350102")), row(3), elsewhere, false),
        (Some(of_category), row(3), elsewhere, true),
    ] {
        let mut desk = desk();
        #[expect(clippy::disallowed_methods, reason = "it ends with the test")]
        let batcher = tokio::spawn(async move {
            let chunk = desk.chunks.recv().await.unwrap();
            let found = |found| RowOutcome { fate: RowFate::Staged, findings: vec![(found, Severity::Question)] };
            let rows = vec![found(HeldFinding::Conflict(held)), found(HeldFinding::OtherForm(held))];
            chunk.reply.send(Ok(ChunkResult { rows, ..ChunkResult::default() })).unwrap();
        });
        let terms = SubmissionTerms { rights: rights.clone(), ..SubmissionTerms::default() };
        let text = format!("{}\n{}", line.replace("榕盛餐饮", "榕盛A餐饮"), line.replace("抽查3号", "抽查 3号"));
        let answer =
            answered(desk.submissions.hand_in(Submission { terms, ..keyed("a") }, source(text)).await.unwrap());
        batcher.await.unwrap();
        let codes: Vec<_> = answer.errors.iter().map(|at| (at.line, at.finding.code.as_str())).collect();
        assert_eq!((codes, answer.accepted), (vec![(1, "V013"), (2, "V028")], 2), "{rights:?}: {answer:?}");
        let said = serde_json::to_string(&answer).unwrap();
        let id = held.to_string();
        for tells in ["held \\\"", id.get(..8).unwrap()] {
            assert_eq!(said.contains(tells), is_told, "{rights:?} {tells}: {said}");
        }
        assert!(is_told || !said.contains("榕盛Ａ餐饮"), "{rights:?}: {said}");
    }
}

/// B02: there is no room for the answer. What was taken is durable, so it is told.
#[tokio::test]
async fn an_answer_that_cannot_be_kept_tells_what_was_taken() {
    let mut desk = desk();
    let folder = desk._dir.path().join("answers");
    std::fs::remove_dir_all(&folder).unwrap();
    std::fs::write(&folder, "").unwrap();
    #[expect(clippy::disallowed_methods, reason = "it ends with the test")]
    let batcher = tokio::spawn(async move {
        let chunk = desk.chunks.recv().await.unwrap();
        let rows = vec![RowOutcome { fate: RowFate::Accepted { index: 7 }, findings: Vec::new() }];
        chunk.reply.send(Ok(ChunkResult { rows, range: Some((7, 8)), ..ChunkResult::default() })).unwrap();
    });
    let ended = desk.submissions.hand_in(keyed("a"), source(row(0))).await;
    batcher.await.unwrap();
    match ended {
        Err(SubmissionError::Ended { why: InputError::Upload(UploadError::Keep(_)), so_far }) => {
            assert_eq!((so_far.read, so_far.accepted, so_far.from, so_far.to), (1, 1, Some(7), Some(8)));
        }
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_key_answers_the_same_again_and_refuses_another_content() {
    let desk = desk();
    let hand_in = |text: &str| desk.submissions.hand_in(keyed("a"), source(text.to_owned()));
    let first = answered(hand_in("no json").await.unwrap());
    let SubmissionOutcome::Repeated(again) = hand_in("no json").await.unwrap() else { panic!("it is the second") };
    assert_eq!((again.rejected, &again.errors, &again.answer), (1, &first.errors, &first.answer));
    assert!(matches!(hand_in("other").await, Err(SubmissionError::KeyReused)));
    assert_eq!(desk.submissions.kept().list(10, None).unwrap().len(), 1);
}

/// F3: a table that cannot be read to its end has an answer all the same, and is known when the whole of it comes again.
#[tokio::test]
async fn a_table_that_is_read_in_part_is_known_by_the_whole_of_it() {
    let heads = "检查实施机关,检查实施机关代码,检查任务编号,类型,日期,结果,主体名称,主体代码\n";
    let rows = "福州市鼓楼区市场监督管理局,113501020036012589,抽查1号,抽查,2025/6/3,1,,x\n".repeat(100);
    // Heads of another category, which end the reading; and a quote that is not closed.
    let other = "行政相对人名称,行政相对人代码_1(统一社会信用代码),行政许可决定文书名称,行政许可决定文书号,许可类别,许可证书名称,许可编号,许可内容,许可决定日期,有效期自,有效期至,许可机关,许可机关统一社会信用代码\n";
    for (key, end) in [("heads", other), ("quote", "\"福州,x\n")] {
        let desk = desk();
        let text = format!("{heads}{rows}{end}{}", rows.repeat(200));
        let hand_in = || {
            let pieces: Vec<_> = text.as_bytes().chunks(4_096).map(|p| Ok(Bytes::copy_from_slice(p))).collect();
            let (pieces, digest) = digested(Box::pin(stream::iter(pieces)));
            let source = InputSource::new(pieces, InputFormat::Csv, "/nowhere".into(), Some(digest));
            desk.submissions.hand_in(keyed(key), source)
        };
        let first = answered(hand_in().await.unwrap());
        assert!(first.rejected >= 100 && first.rejected < 1_000, "{key}: {first:?}");
        match hand_in().await {
            Ok(SubmissionOutcome::Repeated(again)) => {
                assert_eq!((again.read, again.answer), (first.read, first.answer))
            }
            other => panic!("{key}: {other:?}"),
        }
    }
}

/// F4: the same rows as a load of history, of another unit or division, or read otherwise, are another submission.
#[tokio::test]
async fn a_key_refuses_the_same_content_under_other_terms() {
    let desk = desk();
    let hand_in = |terms: SubmissionTerms, format| {
        let (pieces, digest) = digested(Box::pin(stream::iter([Ok(Bytes::from("no json"))])));
        let source = InputSource::new(pieces, format, "/nowhere".into(), Some(digest));
        desk.submissions.hand_in(Submission { terms, ..keyed("a") }, source)
    };
    let plain = SubmissionTerms::default;
    let text = |text: &str| Some(text.to_owned());
    answered(hand_in(plain(), InputFormat::Ndjson).await.unwrap());
    for (terms, format) in [
        (SubmissionTerms { backfill: true, ..plain() }, InputFormat::Ndjson),
        (SubmissionTerms { category: text("spot_check"), ..plain() }, InputFormat::Ndjson),
        (SubmissionTerms { unit: text("spot_check"), ..plain() }, InputFormat::Ndjson),
        (SubmissionTerms { division: Some("350103".parse().unwrap()), ..plain() }, InputFormat::Ndjson),
        (plain(), InputFormat::Csv),
    ] {
        let again = hand_in(terms.clone(), format).await;
        assert!(matches!(again, Err(SubmissionError::KeyReused)), "{terms:?} {format:?}: {again:?}");
    }
    // What its token may do is not the client's word.
    let allowed = SubmissionTerms { rights: Some(Rights::default()), ..plain() };
    assert!(matches!(hand_in(allowed, InputFormat::Ndjson).await, Ok(SubmissionOutcome::Repeated(_))));
}

#[tokio::test]
async fn a_submission_that_is_given_up_frees_its_key_and_has_no_answer() {
    let desk = desk();
    let told = Arc::new(Notify::new());
    // More rows than wait for one another, so that some were kept when the client goes away.
    let rows = "no json\n".repeat(10_000);
    let waiting = told.clone();
    let silent = stream::poll_fn(move |_| {
        waiting.notify_one();
        Poll::<Option<Result<Bytes, String>>>::Pending
    });
    let pieces = Box::pin(stream::iter([Ok(Bytes::from(rows))]).chain(silent));
    let given_up = InputSource::new(pieces, InputFormat::Ndjson, "/nowhere".into(), None);
    let mut given_up = Box::pin(desk.submissions.hand_in(keyed("a"), given_up));
    tokio::select! {
        ended = &mut given_up => panic!("its client is silent: {ended:?}"),
        () = told.notified() => {}
    }
    let second = desk.submissions.hand_in(keyed("a"), source("no json".to_owned())).await;
    assert!(matches!(second, Err(SubmissionError::KeyInUse)), "{second:?}");
    drop(given_up);
    assert_eq!(desk.submissions.kept().list(10, None).unwrap().len(), 0);
    let answer = answered(desk.submissions.hand_in(keyed("a"), source("no json".to_owned())).await.unwrap());
    assert_eq!((answer.read, answer.rejected), (1, 1));
    assert_eq!(desk.submissions.kept().list(10, None).unwrap().len(), 1);
}

/// A client that goes away while its answer is being kept and asks again gets that one, and not a second.
#[tokio::test]
async fn a_key_is_in_use_until_its_answer_is_kept() {
    let desk = desk();
    let answers = desk.submissions.kept().dir().to_owned();
    // Whoever keeps an answer waits until somebody reads its index.
    let index = answers.join("index.ndjson");
    let mode = rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR;
    rustix::fs::mknodat(rustix::fs::CWD, &index, rustix::fs::FileType::Fifo, mode, 0).unwrap();
    let hand_in = || desk.submissions.hand_in(keyed("a"), source("no json".to_owned()));
    let has_begun = async {
        let named = |e: io::Result<std::fs::DirEntry>| e.unwrap().file_name().into_string().unwrap();
        let is_there = |name: String| name.starts_with("350102-") && !name.ends_with(".part");
        while !std::fs::read_dir(&answers).unwrap().map(named).any(is_there) {
            tokio::task::yield_now().await;
        }
    };
    tokio::select! {
        ended = hand_in() => panic!("nobody reads the index: {ended:?}"),
        () = has_begun => {}
    }
    // Whether a key is free is told at once.
    let second = hand_in().now_or_never();
    let reading = tokio::task::spawn_blocking(move || std::fs::read(index).unwrap());
    assert!(!reading.await.unwrap().is_empty());
    assert!(matches!(second, Some(Err(SubmissionError::KeyInUse))), "{second:?}");
    let third = async {
        loop {
            match hand_in().await {
                Err(SubmissionError::KeyInUse) => tokio::task::yield_now().await,
                ended => return ended,
            }
        }
    };
    let third = tokio::time::timeout(std::time::Duration::from_secs(20), third).await.unwrap();
    assert!(matches!(third, Ok(SubmissionOutcome::Repeated(_))), "{third:?}");
    assert_eq!(desk.submissions.kept().list(10, None).unwrap().len(), 1);
}

/// Bytes of all files below a folder.
fn bytes_on_disk(dir: &Path) -> u64 {
    let entries = std::fs::read_dir(dir).unwrap().map(Result::unwrap);
    entries
        .map(|e| match e.metadata().unwrap() {
            m if m.is_dir() => bytes_on_disk(&e.path()),
            m => m.len(),
        })
        .sum()
}

/// S6: rows with 60,000 bytes in every field that a rule can name, one field a row: the answer stays within its bound.
#[tokio::test]
async fn no_value_makes_an_answer_long() {
    let desk = desk();
    let charter = desk.submissions.intake().charter.charter();
    let catalog = charter.charter().catalogs().current(tally_clock::judging_day()).clone();
    let (mut rows, mut lines, long) = (0, String::new(), "9".repeat(60_000));
    for category in catalog.categories() {
        for field in category.fields().iter().map(|f| &*f.id).chain(["not_listed"]) {
            for value in [long.clone(), "\u{202e}\u{1b}名".repeat(8_000), "、x".repeat(15_000)] {
                let mut row = serde_json::json!({ "category": &*category.id, "operation": "create", "produced_on": "2026-06-03" });
                row[field] = value.into();
                _ = writeln!(lines, "{row}");
                rows += 1;
            }
        }
    }
    let sent = lines.len();
    let answer = answered(desk.submissions.hand_in(keyed("a"), source(lines)).await.unwrap());
    assert_eq!((answer.read, answer.rejected), (rows, rows), "{:?}", answer.ended);
    let held: usize = answer.errors.iter().map(|at| at.finding.bytes()).sum();
    let json = serde_json::to_vec(&answer).unwrap();
    assert!(held <= ERRORS_BYTES_MAX && json.len() <= 2 * ERRORS_BYTES_MAX, "{held} {}", json.len());
    assert!(answer.errors.iter().all(|at| at.finding.message.len() + at.finding.message_zh.len() <= 2_048));
    println!(
        "{rows} rows, {sent} bytes: {} findings of {held} bytes listed, {} not, answer of {} bytes; bound of an upload {SAID_BYTES_MAX}",
        answer.errors.len(),
        answer.errors_omitted,
        json.len()
    );
}

/// S6: of short rows that break every rule, what waits is judged some at a time; none is lost and their order stays.
#[tokio::test]
async fn rows_of_which_much_is_said_keep_their_order() {
    let desk = desk();
    let text = "{\"category\":\"spot_check\"}\n".repeat(7_000) + "no json\n" + &"{\"category\":\"x\"}\n".repeat(2_500);
    let answer = answered(desk.submissions.hand_in(keyed("a"), source(text)).await.unwrap());
    assert_eq!((answer.read, answer.rejected, answer.ended), (9_501, 9_501, None));
    assert!(answer.errors.is_sorted_by_key(|at| at.line) && answer.errors_omitted > 0);
    let kept = desk.submissions.kept().open_kept(&answer.answer.unwrap()).unwrap().unwrap();
    let lines: Vec<u64> = kept.rows().unwrap().map(|r| r.unwrap().line).collect();
    assert!(lines.iter().copied().eq(1..=9_501), "each once, in order");
}

/// S5: junk takes little of the disk, and is not looked at to its end: 1.5 million rows made 4.6 GB.
#[tokio::test]
async fn a_submission_that_is_all_junk_ends_and_says_so() {
    let desk = desk();
    let rows = 100_000;
    let began = std::time::Instant::now();
    let text = "{\"category\":\"x.y\"}\n".repeat(rows);
    let answer = answered(desk.submissions.hand_in(keyed("a"), source(text.clone())).await.unwrap());
    let (took, ended) = (began.elapsed(), answer.ended.clone().expect("it ends early"));
    assert_eq!((ended.code.as_str(), answer.read + ended.rows), ("all_rejected", rows as u64));
    assert!(answer.read >= HOPELESS_ROWS && answer.read < HOPELESS_ROWS + 20_000, "{}", answer.read);
    assert_eq!((answer.rejected, ended.line), (answer.read, answer.read + 1));
    let bytes = bytes_on_disk(desk.submissions.kept().dir());
    assert!(bytes < answer.read * 250, "{bytes}");
    println!(
        "{rows} rows of {} bytes: {bytes} bytes on disk, {took:?}, {} rows looked at",
        text.len() / rows,
        answer.read
    );
    // The client finds the same answer again, by the whole of its content.
    match desk.submissions.hand_in(keyed("a"), source(text)).await.unwrap() {
        SubmissionOutcome::Repeated(again) => assert_eq!((again.ended, again.read), (Some(ended), answer.read)),
        SubmissionOutcome::Answered(_) => panic!("it is the second"),
    }
    // As long as something was taken before, the rest is looked at.
    let mut desk = desk_within(KeptLimits { answer_rows: 1_000, ..KeptLimits::default() });
    #[expect(clippy::disallowed_methods, reason = "it ends with the test")]
    tokio::spawn(async move {
        let chunk = desk.chunks.recv().await.unwrap();
        let rows = vec![RowOutcome { fate: RowFate::Accepted { index: 0 }, findings: Vec::new() }];
        chunk.reply.send(Ok(ChunkResult { rows, range: Some((0, 1)), ..ChunkResult::default() })).unwrap();
    });
    let text = row(0) + "\n" + &"no json\n".repeat(30_000);
    let answer = answered(desk.submissions.hand_in(keyed("b"), source(text)).await.unwrap());
    let not_kept = answer.not_kept.unwrap();
    assert_eq!((answer.read, answer.accepted, answer.ended), (30_001, 1, None));
    assert_eq!((not_kept.rows, not_kept.first, not_kept.last), (29_000, 1_002, 30_001));
}

/// S5: where as much is kept as may be, nothing is taken in; what was answered before is still answered.
#[tokio::test]
async fn nothing_is_taken_in_where_no_answer_can_be_kept() {
    let desk = desk_within(KeptLimits { operator_answers: 2, ..KeptLimits::default() });
    let hand_in = |key: &str, text: &str| desk.submissions.hand_in(keyed(key), source(text.to_owned()));
    for key in ["a", "b"] {
        assert_eq!(answered(hand_in(key, "no json").await.unwrap()).rejected, 1);
    }
    assert!(matches!(hand_in("c", "no json").await, Err(SubmissionError::AnswersFull(_))));
    assert!(matches!(hand_in("a", "no json").await, Ok(SubmissionOutcome::Repeated(_))));
}

/// S6: of rows of which much is said, no more are judged at once than fit; the rest follows.
#[test]
fn what_is_said_of_a_chunk_at_once_is_bounded_in_bytes() {
    const BYTES: usize = 256 << 10;
    let handle = charter("350102/e1".parse().unwrap());
    let charter = handle.charter();
    let terms = SubmissionTerms { category: Some("admin_license".to_owned()), ..SubmissionTerms::default() };
    let context = terms.row_context(charter.charter(), "350102".parse().unwrap());
    let line = |n| (n, br#"{"remark":"x1234"}"#.to_vec());
    let (mut chunk, mut judged, mut pieces) = (crate::RowChunk::Lines((1..=2_000).map(line).collect()), 0, 0);
    while !chunk.is_empty() {
        let piece = chunk.judged_within(&context, BYTES);
        let said = |row: &crate::JudgedRow| row.findings.iter().map(|f| f.bytes()).sum::<usize>();
        let (bytes, last) = (piece.iter().map(said).sum::<usize>(), piece.last().map_or(0, said));
        assert!(bytes <= BYTES + last && last > 2_000, "{bytes} {last}");
        assert_eq!(piece[0].line, judged + 1);
        (judged, pieces) = (judged + piece.len() as u64, pieces + 1);
        chunk = chunk.split_off(piece.len());
    }
    assert!(judged == 2_000 && pieces > 10, "{judged} {pieces}");
}
