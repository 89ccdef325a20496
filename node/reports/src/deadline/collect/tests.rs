//! Hand-made entries and receipts.
use super::{
    super::{render, write_csv, write_workbook},
    *,
};
use std::{
    ops::{Bound, ControlFlow},
    sync::Mutex,
};
use tally_core::{Place, log::HeldLog};
use tally_protocol::{hash::Hash, ids::LogId, record::RecordId};
use tally_sheet::{CsvOptions, read_csv, read_xlsx};
use tally_store::entries::EntryReader;
use tally_store::index::{EngineError, IndexEntry, Write, pairs};
use tally_topology::content::{ContentId, Dimensions, unit_mark};
use tally_topology::sample::charter;

#[derive(Debug, Default)]
struct Memory(Mutex<BTreeMap<Vec<u8>, Vec<u8>>>);

impl Engine for Memory {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, EngineError> {
        Ok(self.0.lock().unwrap().get(key).cloned())
    }
    fn scan(&self, prefix: &[u8], from: &[u8], limit: usize) -> Result<Write, EngineError> {
        let from = from.max(prefix).to_vec();
        let map = self.0.lock().unwrap();
        let all = map.range::<Vec<u8>, _>((Bound::Included(&from), Bound::Unbounded));
        Ok(all.take_while(|(k, _)| k.starts_with(prefix)).take(limit).map(|(k, v)| (k.clone(), v.clone())).collect())
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

const UNIT: &str = "113501020036012589";
const CITY_UNIT: &str = "11350100003601234X";

fn noon(day: &str) -> u64 {
    format!("{day}T12:00:00+08:00").parse::<jiff::Timestamp>().unwrap().as_second().cast_unsigned()
}

#[derive(Default)]
struct Node {
    engine: Memory,
    logs: BTreeMap<LogId, HeldLog>,
}

impl Node {
    /// A record number `n`, produced and sealed on these days.
    fn entry(&self, n: u8, (log, index): (&str, u64), sealed: &str, counts: Dimensions) {
        let content = ContentId { key: [n; 16], ..ContentId::default() };
        let e = IndexEntry { index, sealed_at: noon(sealed), content, dimensions: counts };
        let log = log.parse().unwrap();
        self.engine.write(pairs(RecordId(Hash([n; 32])), log, &e).to_vec()).unwrap();
    }

    fn receipts(&mut self, log: &str, receipts: &[(u32, u64, &str)]) {
        let held = self.logs.entry(log.parse().unwrap()).or_default();
        for (holder, size, day) in receipts {
            let place = Place(*size);
            held.keep_receipt((*holder).try_into().unwrap(), (*size, noon(day), 1), place);
        }
    }

    fn report(&self, charter: &Charter, me: u32, now: &str, question: &DeadlineQuestion) -> DeadlineReport {
        let dir = tempfile::tempdir().unwrap();
        let reader = EntryReader::new(dir.path().to_owned());
        let (batch_maps, arrivals) = (BTreeMap::new(), Arrivals::of(charter, &self.logs));
        let source = Source { reader: &reader, batch_maps: &batch_maps, charter };
        let (engine, me) = (&self.engine, me.try_into().unwrap());
        let held = DeadlineSources { engine, source: &source, arrivals: &arrivals, me, now: noon(now) };
        collect(&held, question).unwrap()
    }
}

fn of(produced_on: u32, division: u32, category: &str) -> Dimensions {
    Dimensions { produced_on, division, category: category.to_owned(), unit: UNIT.to_owned(), ..Dimensions::default() }
}

fn month(text: &str) -> DeadlineQuestion {
    DeadlineQuestion { month: Some(text.parse().unwrap()), ..DeadlineQuestion::default() }
}

/// As the province holds it: limits of 2026-09-18 end on 2026-09-29.
fn province() -> Node {
    let mut node = Node::default();
    for (n, index) in [(1, 0), (2, 1), (3, 2)] {
        node.entry(n, ("350102/e1", index), "2026-09-21", of(20_260_918, 350_102, "admin_license"));
    }
    // The same record comes by the city too, later: it is one record.
    node.entry(3, ("350100/e1", 0), "2026-09-23", of(20_260_918, 350_102, "admin_license"));
    node.entry(4, ("350000/e1", 0), "2026-10-09", of(20_260_928, 350_000, "admin_penalty"));
    // Due in October.
    node.entry(5, ("350102/e1", 3), "2026-09-24", of(20_260_924, 350_102, "admin_license"));
    let city = [(350_100, 2, "2026-09-22"), (350_100, 4, "2026-09-24")];
    node.receipts("350102/e1", &[&city[..], &[(350_000, 2, "2026-09-23"), (350_000, 4, "2026-10-12")]].concat());
    node.receipts("350100/e1", &[(350_000, 1, "2026-09-30")]);
    node.receipts("350000/e1", &[]);
    node
}

/// History that was loaded late is nobody's delay, and is told.
#[test]
fn a_load_of_history_is_counted_by_itself() {
    let charter = charter("");
    let mut node = province();
    let before = node.report(&charter, 350_000, "2026-10-20", &month("2026-09"));
    let old = |day| Dimensions { backfill: true, ..of(day, 350_102, "admin_license") };
    node.entry(21, ("350102/e1", 4), "2026-10-19", old(20_260_918));
    node.entry(22, ("350102/e1", 5), "2026-10-19", old(20_160_918));
    node.receipts("350102/e1", &[(350_000, 6, "2026-10-19")]);
    let r = node.report(&charter, 350_000, "2026-10-20", &month("2026-09"));
    let (now, then) = (r.total.counts.clone().unwrap(), before.total.counts.unwrap());
    assert_eq!((now.backfill, then.backfill), (1, 0), "that of 2016 was due in another month");
    assert_eq!((now.records, now.late, now.on_time_rate), (then.records, then.late, then.on_time_rate));
    let open = node.report(&charter, 350_000, "2026-10-20", &DeadlineQuestion::default());
    assert_eq!(open.total.counts.as_ref().unwrap().backfill, 2, "without a month all of it is told");
    assert!(render(&open).contains("history 2 历史补录"));
    let mut csv = Vec::new();
    write_csv(&mut csv, &open).unwrap();
    assert!(String::from_utf8(csv).unwrap().contains("历史补录"));
}

#[test]
fn what_was_due_in_a_month() {
    let charter = charter("");
    let r = province().report(&charter, 350_000, "2026-10-20", &month("2026-09"));
    assert_eq!((r.rows.len(), r.month_over, r.certain, r.warnings.len()), (1, true, true, 0));
    let (row, counts) = (&r.rows[0], r.rows[0].counts.as_ref().unwrap());
    assert_eq!((row.division_name.as_deref(), row.category_name.as_deref()), (Some("N350102"), Some("行政许可")));
    // The third one reached the province by the city's own log first, one working day too late.
    assert_eq!((counts.records, counts.on_time, counts.late, counts.unconfirmed), (3, 2, 1, 0));
    assert_eq!((counts.on_time_rate, counts.worst_days_over), (Some(0.6667), Some(1)));
    assert_eq!((counts.held_up_by.city, counts.stage_days.unit), (1, Some(2.0)));
    assert_eq!(r.total.counts, row.counts);
    let october = province().report(&charter, 350_000, "2026-10-20", &month("2026-10"));
    assert_eq!(october.rows.len(), 2);
    assert_eq!(october.total.counts.as_ref().unwrap().records, 2);
    let nothing = province().report(&charter, 350_000, "2026-10-20", &month("2026-08"));
    assert!(nothing.rows.is_empty() && nothing.total.counts.unwrap().on_time_rate.is_none(), "nothing was due");
}

#[test]
fn what_is_not_known_is_open_and_said() {
    let charter = charter("");
    let mut county = Node::default();
    county.entry(1, ("350102/e1", 0), "2026-09-21", of(20_260_918, 350_102, "admin_license"));
    county.entry(2, ("350102/e1", 1), "2026-09-21", of(20_260_918, 350_102, "admin_license"));
    county.receipts("350102/e1", &[(350_100, 2, "2026-09-22")]);
    // Open ones stand in the report without a month, however old.
    let open = |node: &Node| node.report(&charter, 350_102, "2026-11-20", &DeadlineQuestion::default());
    let r = open(&county);
    let c = r.rows[0].counts.as_ref().unwrap();
    assert_eq!((c.records, c.overdue, c.unconfirmed, c.held_up_by.city), (2, 2, 2, 2));
    assert_eq!((c.stage_days.county, c.stage_days.city), (Some(1.0), None), "the province's receipt is not here");
    assert_eq!(r.notes[0].code, "receipts_not_known");
    assert!(render(&r).contains("2.0/1.0/?"), "{}", render(&r));
    // It comes down: both were in time, and are no substance of this month.
    county.receipts("350102/e1", &[(350_000, 2, "2026-09-28")]);
    assert!(open(&county).rows.is_empty());
    let september = county.report(&charter, 350_102, "2026-11-20", &month("2026-09"));
    assert_eq!(september.rows[0].counts.as_ref().unwrap().on_time, 2);
}

#[test]
fn totals_roll_up_and_a_provider_answers_for_the_time() {
    let more = format!(
        "[[route]]\nid = \"a\"\ncase = \"prefecture\"\ncategory = \"admin_license\"\ndivision = \"350102\"\nby = \"{CITY_UNIT}\"\n\
         [[unit]]\ncode = \"{CITY_UNIT}\"\nname = \"福州市大数据委\"\ndivision = \"350100\"\nkind = \"city_dept\"\n"
    );
    let charter = charter(&more);
    // What the county handed in itself does not count: the city delivers for it.
    let held = || {
        let mut node = province();
        let delivered = Dimensions { submitter: unit_mark(CITY_UNIT), ..of(20_260_924, 350_102, "admin_license") };
        node.entry(6, ("350100/e1", 1), "2026-09-24", delivered);
        node.receipts("350100/e1", &[(350_000, 2, "2026-10-12")]);
        node
    };
    let all = held().report(&charter, 350_000, "2026-10-20", &month("2026-10"));
    let provider = all.rows.iter().find_map(|r| r.provider.as_ref()).unwrap();
    assert_eq!((provider.division.code(), provider.unit_name.as_deref()), (350_100, Some("福州市大数据委")));
    let totals = all.totals.unwrap();
    let shown = |l: &ReportLine| (l.division.unwrap().code(), l.scope.unwrap(), l.counts.as_ref().unwrap().records);
    assert_eq!(totals.divisions.iter().map(shown).collect::<Vec<_>>(), {
        [(350_000, LineScope::Own, 1), (350_000, LineScope::WithBelow, 2), (350_100, LineScope::Own, 1)]
    });
    assert_eq!(totals.units.iter().filter_map(|l| l.unit.as_deref()).collect::<Vec<_>>(), [CITY_UNIT, UNIT]);
    for (by, rows) in [
        (GroupBy::Division, &totals.divisions),
        (GroupBy::Unit, &totals.units),
        (GroupBy::Category, &totals.categories),
    ] {
        let question = DeadlineQuestion { by: Some(by), ..month("2026-10") };
        let r = held().report(&charter, 350_000, "2026-10-20", &question);
        assert!(r.rows == *rows && r.totals.is_none() && r.total == all.total, "{by:?}");
    }
    let question = DeadlineQuestion { division: Some(350_100.try_into().unwrap()), ..month("2026-10") };
    let city = held().report(&charter, 350_000, "2026-10-20", &question);
    assert_eq!(city.rows.len(), 1, "the province's own is not asked for");
    let question = DeadlineQuestion { categories: vec!["admin_penalty".to_owned()], ..month("2026-10") };
    let penalties = held().report(&charter, 350_000, "2026-10-20", &question);
    assert_eq!(penalties.rows[0].category.as_deref(), Some("admin_penalty"));
}

#[test]
fn hostile_entries_have_no_deadline_and_a_calendar_that_ends_is_loud() {
    let charter = charter("");
    let node = Node::default();
    let day = "2026-12-29";
    node.entry(1, ("350102/e1", 0), day, of(20_261_228, 350_102, "admin_license"));
    node.entry(2, ("350102/e1", 1), day, of(20_260_231, 350_102, "admin_license"));
    node.entry(3, ("350102/e1", 2), day, of(20_261_228, 350_102, "weather"));
    node.entry(4, ("350103/e9", 2), day, of(20_261_228, 350_102, "admin_license"));
    node.entry(5, ("350102/e1", 3), day, of(20_261_228, 999_999, "admin_license"));
    let mut node = node;
    node.receipts("350102/e1", &[(350_000, 9, "2026-12-30")]);
    let r = node.report(&charter, 350_000, "2026-12-31", &month("2027-01"));
    // What its log may not submit, or counts for no division of the federation, is no delivery at all.
    let division = r.rows[0].division.map(Division::code);
    assert_eq!((r.without_deadline, r.certain, r.rows.len(), division), (2, false, 1, Some(350_102)));
    let codes: Vec<_> = r.warnings.iter().map(|w| w.code.as_str()).collect();
    assert_eq!(codes, ["calendar_not_covered", "without_deadline"]);
    assert!(r.warnings[0].message.contains("2027") && r.warnings[0].message.contains("tally charter load"));
    let screen = render(&r);
    assert!(screen.contains("WARNING") && screen.contains("NOT CERTAIN"), "{screen}");
}

#[test]
fn all_forms_say_the_same() {
    let more = format!(
        "[[unit]]\ncode = \"{CITY_UNIT}\"\nname = \"=福州市大数据委\"\ndivision = \"350100\"\nkind = \"city_dept\"\n\
         categories = [\"spot_check\"]\n"
    );
    let report = province().report(&charter(&more), 350_000, "2026-10-20", &month("2026-10"));
    let again: DeadlineReport = serde_json::from_str(&serde_json::to_string(&report).unwrap()).unwrap();
    assert_eq!(again, report);
    let mut csv = Vec::new();
    write_csv(&mut csv, &report).unwrap();
    assert!(csv.starts_with(b"\xef\xbb\xbf"));
    let mut lines = Vec::new();
    let keep = |rows: &mut Vec<Vec<String>>, cells: Vec<String>| {
        rows.push(cells.iter().map(|c| c.trim().to_owned()).collect());
        ControlFlow::Continue(())
    };
    read_csv(&csv[..], CsvOptions::default(), &mut |r| keep(&mut lines, r.cells)).unwrap();
    let file = tempfile::NamedTempFile::new().unwrap();
    write_workbook(file.reopen().unwrap(), &report).unwrap();
    let mut sheet = Vec::new();
    read_xlsx(file.path(), &mut |_| {}, &mut |r| keep(&mut sheet, r.cells)).unwrap();
    for row in lines.iter_mut().chain(&mut sheet) {
        row.resize(lines_width(), String::new());
    }
    // In the workbook it is the same as a number.
    let same = |csv: &str, cell: &str| {
        let number = |t: &str| match t.strip_suffix('%') {
            Some(share) => share.parse::<f64>().ok().map(|n| n / 100.0),
            None => t.parse::<f64>().ok(),
        };
        let close = |(a, b): (f64, f64)| (a - b).abs() < 1e-9;
        csv == cell || number(csv).zip(number(cell)).is_some_and(close)
    };
    assert_eq!(lines.len(), sheet.len());
    for (csv, cells) in lines.iter().zip(&sheet) {
        assert!(csv.iter().zip(cells).all(|(a, b)| same(a, b)), "{csv:?}\n{cells:?}");
    }
    assert_eq!(lines.len(), report.rows.len() + 2, "head, lines, total");
    let column = |head: &str| lines[0].iter().position(|h| h == head).unwrap();
    let records: Vec<_> = report.rows.iter().filter_map(|r| r.counts.as_ref()).map(|c| c.records.to_string()).collect();
    let shown: Vec<_> = lines[1..].iter().filter(|l| l[0] == "报送").map(|l| l[column("应报条数")].clone()).collect();
    assert_eq!(shown, records);
    let missing = lines.iter().find(|l| l[0] == "漏报").unwrap();
    assert_eq!((missing[column("单位名称")].as_str(), missing[column("按时率")].as_str()), ("=福州市大数据委", ""));
    let total = lines.last().unwrap();
    assert_eq!((total[0].as_str(), total[column("漏报项数")].as_str()), ("合计", "1"));
    assert!(total[column("说明")].contains("尚未结束"));
}

fn lines_width() -> usize {
    39
}
