//! Comparisons of a file with an index in memory: the four classes, and the records that are made of them.

use super::{source::RowClass, *};
use std::{
    collections::BTreeMap,
    fmt::Write as _,
    sync::{Arc, Mutex},
};
use tally_intake::{InputError, LineSplitter, RowChunk, RowSink};
use tally_protocol::{
    canonical::Object,
    ids::{Federation, LogId},
    keys::{Algorithm, NodeKeys, Signer},
    record::{Record, RecordId},
};
use tally_store::index::{Engine, IndexEntry, Write, pairs};
use tally_topology::content::{ContentId, Dimensions};
use tally_topology::{
    catalog::Severity,
    signed::{SignedCharter, sign},
};

pub(super) const UNIT: &str = "113501020036012589";

/// An index in memory.
#[derive(Debug, Default)]
pub(super) struct Memory(Mutex<BTreeMap<Vec<u8>, Vec<u8>>>);

impl Memory {
    pub(super) fn put(&self, id: RecordId, log: LogId, e: &IndexEntry) {
        self.0.lock().unwrap().extend(pairs(id, log, e));
    }

    /// Holds a line as the county's record of this index.
    fn hold(&self, line: &str, index: u64) {
        let object = Object::parse(line.as_bytes()).unwrap();
        let record = Record::new(&object).unwrap();
        let (content, dimensions) = (ContentId::of(record.id(), &object), Dimensions::of(&object));
        self.put(
            record.id(),
            "350102/e1".parse().unwrap(),
            &IndexEntry { index, sealed_at: 100 + index, content, dimensions },
        );
    }
}

impl Engine for Memory {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, EngineError> {
        Ok(self.0.lock().unwrap().get(key).cloned())
    }
    fn scan(&self, prefix: &[u8], from: &[u8], limit: usize) -> Result<Write, EngineError> {
        let all = self.0.lock().unwrap();
        let range = all.range(from.max(prefix).to_vec()..).take_while(|(k, _)| k.starts_with(prefix));
        Ok(range.take(limit).map(|(k, v)| (k.clone(), v.clone())).collect())
    }
    fn change(&self, pairs: Write, gone: Vec<Vec<u8>>) -> Result<(), EngineError> {
        let mut all = self.0.lock().unwrap();
        gone.iter().for_each(|key| drop(all.remove(key)));
        all.extend(pairs);
        Ok(())
    }
    fn flush(&self) -> Result<(), EngineError> {
        Ok(())
    }
}

pub(super) fn terms() -> CompareTerms {
    CompareTerms { unit: UNIT.into(), category: "spot_check".into(), division: None }
}

/// A city with two counties.
pub(super) fn charter() -> Arc<SignedCharter> {
    let federation = Federation::try_from("t.example".to_owned()).unwrap();
    let mut text = tally_topology::charter::heading(
        &federation,
        1,
        tally_protocol::keys::authority_signer(&federation, &[2; 32]).public(),
    );
    for (d, level, parent) in [
        ("350100", "prefecture", ""),
        ("350102", "county", "parent = \"350100\"\n"),
        ("350103", "county", "parent = \"350100\"\n"),
    ] {
        let log: LogId = format!("{d}/e1").parse().unwrap();
        let k = NodeKeys::derive(&federation, log, &[log.division.code() as u8; 32]);
        let epoch = tally_topology::charter::epoch_entry(&k);
        write!(
            text,
            "[[node]]\ndivision = \"{d}\"\nname = \"N{d}\"\nlevel = \"{level}\"\naddresses = [\"h:1\"]\n{parent}\
             {epoch}"
        )
        .unwrap();
    }
    let authority = Signer::new(federation.authority_name(), Algorithm::Ed25519, &[1; 32]);
    Arc::new(SignedCharter::open(&sign(&text, &authority).unwrap(), authority.public()).unwrap())
}

/// The `n`-th record; `result` is what versions differ in.
fn line(n: u64, operation: &str, result: &str) -> String {
    let (subject, name) = ("91350102MA2TE5T1X0", "福州市鼓楼区市场监督管理局");
    format!(
        r#"{{"category":"spot_check","catalog_version":"2026.1","producer_name":"{name}","producer_uscc":"{UNIT}","producer_division":"350102","submitter_name":"{name}","submitter_uscc":"{UNIT}","submitter_division":"350102","produced_on":"2025-06-03","operation":"{operation}","business_key":"{UNIT}|抽查{n}号|{subject}","subject_type":"enterprise","subject_name":"福州榕盛餐饮管理有限公司","subject_uscc":"{subject}","authority_name":"{name}","authority_uscc":"{UNIT}","task_no":"抽查{n}号","check_type":"1","checked_on":"2025-06-03","check_result":"{result}"}}"#
    )
}

fn compare_on(memory: &Memory, terms: CompareTerms, file: &[String]) -> Result<Comparison, InputError> {
    let dir = tempfile::tempdir().unwrap();
    let me = "350102".parse().unwrap();
    let node = CompareInputs { engine: memory, charter: charter(), me, full: Arc::default(), spool: dir.path() };
    let mut comparison = Comparison::open(node, terms).unwrap();
    let (mut lines, mut rows) = (LineSplitter::default(), Vec::new());
    lines.feed(file.join("\n").as_bytes(), |n, l| rows.push((n, l.to_vec())));
    lines.finish(|n, l| rows.push((n, l.to_vec())));
    tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
        for chunk in rows.chunks(2) {
            RowSink::rows(&mut comparison, RowChunk::Lines(chunk.to_vec())).await?;
        }
        comparison.finish().await
    })?;
    Ok(comparison)
}

fn compare(memory: &Memory, file: &[String]) -> Comparison {
    compare_on(memory, terms(), file).unwrap()
}

fn reader() -> RecordReader {
    RecordReader { reader: tally_store::entries::EntryReader::new("/nowhere".into()), batch_maps: BTreeMap::new() }
}

/// same, missing here, different, unknown there, repeated, rejected
fn counts(c: &Comparison) -> [u64; 6] {
    let r = c.report(&reader()).unwrap();
    let sum = r.same + r.missing_here.count + r.different.count + r.repeated + r.rejected;
    assert_eq!(sum, r.read, "every row is one of them: {r:?}");
    [r.same, r.missing_here.count, r.different.count, r.unknown_there.count, r.repeated, r.rejected]
}

fn codes(c: &Comparison) -> Vec<(u64, String)> {
    c.errors.listed.list().iter().map(|f| (f.line, f.finding.code.clone())).collect()
}

#[test]
fn four_classes() {
    let memory = Memory::default();
    (0..4).for_each(|n| memory.hold(&line(n, "create", "1"), n));
    // Neither operation nor catalog make other content.
    let file = [line(0, "amend", "1"), line(1, "create", "2"), line(7, "create", "1"), line(3, "create", "1")];
    let c = compare(&memory, &file);
    assert_eq!(counts(&c), [2, 1, 1, 1, 0, 0]);
    let report = c.report(&reader()).unwrap();
    assert_eq!((report.different.records[0].line, report.missing_here.rows[0].line), (2, 3));
    assert!(report.missing_here.rows[0].business_key.contains("抽查7号"));
    assert_eq!((report.unknown_there.records[0].index, report.withdraw), (2, 1));
}

#[test]
fn a_row_that_is_not_in_order_keeps_its_record_from_being_unknown() {
    let memory = Memory::default();
    (0..3).for_each(|n| memory.hold(&line(n, "create", "1"), n));
    let broken = line(1, "create", "nonsense");
    let c = compare(&memory, &[line(0, "create", "1"), broken, line(2, "create", "1")]);
    assert_eq!(counts(&c), [2, 0, 0, 0, 0, 1]);
    assert_eq!(codes(&c), [(2, "V003".to_owned())]);
    assert!(c.may_withdraw(), "it is known which record it is");
    // Of a line that is no JSON, and of a key with a wrong part, it is not: nothing is withdrawn on such a file.
    let wrong_key = line(1, "create", "1").replace("抽查1号", "抽查\u{fffd}号");
    for bad in ["{\"category\":", &wrong_key] {
        let c = compare(&memory, &[line(0, "create", "1"), bad.to_owned(), line(2, "create", "1")]);
        assert_eq!(counts(&c), [2, 0, 0, 1, 0, 1], "{bad}");
        assert_eq!((c.report(&reader()).unwrap().withdraw, c.dry_run(0).withdraw), (0, 0));
    }
}

#[test]
fn of_two_rows_with_one_key_the_later_counts() {
    let memory = Memory::default();
    memory.hold(&line(0, "create", "1"), 0);
    let c = compare(
        &memory,
        &[line(0, "create", "2"), line(9, "create", "1"), line(0, "create", "1"), line(9, "create", "2")],
    );
    assert_eq!(counts(&c), [1, 1, 0, 0, 2, 0]);
    assert_eq!(codes(&c), [(1, "C003".to_owned()), (2, "C003".to_owned())]);
    assert!(c.errors.listed.list().iter().all(|f| f.finding.severity == Severity::Question));
    let rows: Vec<_> = c.spool.rows().map(Result::unwrap).map(|(place, r)| (r.line, c.class(&r.key, place))).collect();
    assert_eq!(rows, [(1, RowClass::Superseded), (2, RowClass::Superseded), (4, RowClass::Missing)]);
    // A later one that is not in order leaves nothing to go by.
    let c = compare(
        &memory,
        &[line(0, "create", "2"), line(9, "create", "1"), line(0, "create", "x"), line(9, "create", "x")],
    );
    assert_eq!(counts(&c), [0, 0, 0, 0, 2, 2]);
}

#[test]
fn withdrawn_here_and_withdrawn_there() {
    let memory = Memory::default();
    memory.hold(&line(0, "create", "1"), 0);
    memory.hold(&line(0, "withdraw", "1"), 1);
    memory.hold(&line(1, "create", "1"), 2);
    let c = compare(&memory, &[line(0, "create", "1"), line(1, "withdraw", "1"), line(5, "withdraw", "1")]);
    assert_eq!(counts(&c), [1, 1, 1, 0, 0, 0], "what neither has is the same");
    let c = compare(&memory, &[line(0, "withdraw", "1")]);
    assert_eq!(counts(&c), [1, 0, 0, 1, 0, 0]);
}

#[test]
fn rows_of_others_are_left_out() {
    let memory = Memory::default();
    memory.hold(&line(0, "create", "1"), 0);
    let moved = |n| line(n, "create", "1").replace("\"350102\"", "\"350103\"");
    let other = line(1, "create", "1").replace(UNIT, "11350000001234562W");
    let county = CompareTerms { division: Some("350102".parse().unwrap()), ..terms() };
    // At the county itself 350103 would be refused by its route: here only what is compared matters.
    let c = compare_on(
        &memory,
        county,
        &[other, moved(2).replace("submitter_division\":\"350103", "submitter_division\":\"350102")],
    )
    .unwrap();
    assert_eq!(counts(&c)[3..], [1, 0, 2]);
    assert_eq!(codes(&c)[0], (1, "C001".to_owned()));
    assert_eq!(codes(&c)[1], (2, "C002".to_owned()));
    assert!(c.may_withdraw());
}

#[test]
fn what_is_applied_is_what_was_shown() {
    let memory = Memory::default();
    (0..3).for_each(|n| memory.hold(&line(n, "create", "1"), n));
    let file = [line(0, "create", "1"), line(1, "create", "2"), line(8, "create", "1")];
    let shown = compare(&memory, &file).dry_run(5);
    assert_eq!((shown.missing_here, shown.different, shown.withdraw), (1, 1, 1));
    assert_eq!(compare(&memory, &file).dry_run(5), shown);
    memory.hold(&line(4, "create", "1"), 4);
    assert_ne!(compare(&memory, &file).dry_run(5).difference, shown.difference, "one more would be withdrawn");
}

#[test]
fn records_of_a_difference() {
    let memory = Memory::default();
    memory.hold(&line(0, "create", "1"), 0);
    memory.hold(&line(0, "withdraw", "1"), 1);
    memory.hold(&line(1, "create", "1"), 2);
    memory.hold(&line(2, "create", "1"), 3);
    memory.hold(&line(2, "amend", "2"), 4);
    memory.hold(&line(3, "create", "1"), 5);
    memory.hold(&line(3, "amend", "1"), 6);
    memory.hold(&line(3, "amend", "2"), 7);
    memory.hold(&line(4, "create", "1"), 8);
    let file: Vec<String> =
        (0..4).map(|n| line(n, "create", "1")).chain([line(1, "withdraw", "1"), line(9, "amend", "1")]).collect();
    let c = compare(&memory, &file);
    let (mut left, mut made) = (source::RowErrors::default(), Vec::new());
    records::make(&c, &reader(), &memory, &mut left, |line, record| {
        let record = Object::parse(&record).unwrap();
        made.push((line, record.text("operation").unwrap().to_owned(), record.text("amends").is_some()));
        true
    })
    .unwrap();
    // A record that comes back names the one it replaces, so its bytes are not those of an earlier version.
    let expected =
        [(1, "create", true), (3, "amend", true), (4, "amend", true), (5, "withdraw", true), (6, "create", false)];
    assert_eq!(made, expected.map(|(l, o, amends)| (l, o.to_owned(), amends)));
    let codes: Vec<_> = left.listed.list().iter().map(|f| (f.line, &*f.finding.code)).collect();
    assert_eq!(codes, [(0, "C006")], "a record that is not on the disk");
    assert_eq!(left.meant, 1);
}

#[test]
fn a_full_disk_ends_it() {
    let dir = tempfile::tempdir().unwrap();
    let (memory, me) = (Memory::default(), "350102".parse().unwrap());
    let full = Arc::new(std::sync::atomic::AtomicBool::new(true));
    let node = CompareInputs { engine: &memory, charter: charter(), me, full, spool: dir.path() };
    let mut c = Comparison::open(node, terms()).unwrap();
    let run = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let e = run.block_on(RowSink::rows(&mut c, RowChunk::Lines(vec![(1, b"{}".to_vec())]))).unwrap_err();
    assert!(matches!(e, InputError::SinkEnded { code: "storage_full", .. }), "{e}");
    c.counts.read = ROWS_MAX as u64;
    let e = run.block_on(RowSink::rows(&mut c, RowChunk::Lines(vec![(1, b"{}".to_vec())]))).unwrap_err();
    assert!(matches!(e, InputError::SinkEnded { code: "too_many_rows", .. }), "{e}");
}
