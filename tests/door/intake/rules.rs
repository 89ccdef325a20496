//! Every rule of the catalog through a row of a CSV, the file of rows to be corrected, and the corrected file.

use super::sheet::{ALONE, CONTENT, DOCUMENT_NO, SUBJECT_CODE, Sheet, UNIT, UNIT_CODE, counts, hand_in, unharmed};
use calamine::{Reader as _, Xlsx};
use std::io::Cursor;
use tally_tests::{
    COUNTY, Federation, free_port,
    http::{Body, Response, request},
    list, poll, run, seconds,
};

const OTHER: &str = "福州景悦酒店管理有限公司";
const OTHER_CODE: &str = "91350102MA2Y6W3K45";
const CODE: &str = "行政相对人代码_1（统一社会信用代码）";
const OPERATION: &str = "操作标识";
const DIVISION: &str = "产生单位所在区划";

/// A federation whose node answers over HTTP, and how to ask it.
struct Desk {
    federation: Federation,
    port: u16,
    token: String,
}

impl Desk {
    fn open(more: &str) -> Self {
        let federation = Federation::new(ALONE);
        let (port, made) = (free_port(), run(&["keygen", "--token", "局"]));
        federation.configure(COUNTY, &format!("http = \"127.0.0.1:{port}\"\n{more}\n{}", made.out));
        federation.start(COUNTY);
        let token = made.err.split_whitespace().last().unwrap().to_owned();
        Self { federation, port, token }
    }

    fn get(&self, path: &str) -> Response {
        request(self.port, "GET", path, Some(&self.token), &Body::None)
    }

    /// Hands a table in over HTTP: who hands in sees his own answers.
    fn post(&self, sheet: &Sheet) -> serde_json::Value {
        let csv = sheet.csv();
        let body = Body::Bytes(csv.as_bytes(), &[("Content-Type", "text/csv; charset=utf-8")]);
        let response = request(self.port, "POST", "/v1/records", Some(&self.token), &body);
        assert_eq!(response.status, 200, "{response:?}");
        counts(&response.json());
        response.json()
    }

    fn register(&self, name: &str, code: &str) {
        let base = Sheet::registration(name, code, "2025-06-03");
        let handed = hand_in(&self.federation, "base.csv", base.csv().as_bytes(), &["--unit", UNIT_CODE]);
        assert_eq!(handed.counts(), [1, 1, 0, 0], "{handed:?}");
        // A status waits for the index, which is what knows the registrations.
        self.federation.count(COUNTY);
    }
}

/// One row for each rule: what is wrong in it, the rule, what follows, and how a person mends it.
type Slip = (
    &'static str,
    &'static str,
    &'static str,
    &'static [(&'static str, &'static str)],
    &'static [(&'static str, &'static str)],
);

const NOW_RIGHT: &[(&str, &str)] = &[];
const SLIPS: &[Slip] = &[
    ("V001", "reject", "license_content", &[(CONTENT, " ")], &[(CONTENT, "热食")]),
    (
        "V002",
        "reject",
        "legal_rep",
        &[(
            "法定代表人",
            "陈志强陈志强陈志强陈志强陈志强陈志强陈志强陈志强陈志强陈志强陈志强陈志强陈志强陈志强陈志强陈志强陈志强陈志强",
        )],
        &[("法定代表人", "陈志强")],
    ),
    ("V003", "reject", "status", &[("当前状态", "8")], &[("当前状态", "1")]),
    ("V004", "reject", "decision_date", &[("许可决定日期", "2025-02-30")], &[("许可决定日期", "2025-02-28")]),
    (
        "V005",
        "reject",
        "decision_date",
        &[("许可决定日期", "2098-01-01"), ("有效期至", "2099-12-31")],
        &[("许可决定日期", "2025-06-04")],
    ),
    ("V006", "reject", "valid_until", &[("有效期至", "2020-01-01")], &[("有效期至", "2031-01-01")]),
    ("V007", "question", "party_uscc", &[(CODE, "91350102MA2TE5T1X1")], NOW_RIGHT),
    ("V008", "reject", "party_uscc", &[(CODE, "91350102MA2TE5T1IO")], &[(CODE, SUBJECT_CODE)]),
    ("V009", "question", "subject_type", &[("行政相对人类别", "个体工商户")], NOW_RIGHT),
    ("V009", "question", "party_kind", &[("行政相对人名称", OTHER), (CODE, "92350604MA8UAA019Y")], NOW_RIGHT),
    ("V010", "question", "subject_name", &[("行政相对人名称", "福州榕盛餐饮公司")], NOW_RIGHT),
    ("V011", "question", "subject_uscc", &[("行政相对人名称", OTHER), (CODE, OTHER_CODE)], NOW_RIGHT),
    ("V013", "question", "business_key", &[(DOCUMENT_NO, "榕鼓许〔2025〕900号"), (CONTENT, "冷食")], NOW_RIGHT),
    ("V014", "reject", "operation", &[(OPERATION, "变更")], &[(OPERATION, "新增")]),
    ("V017", "reject", "producer_division", &[(DIVISION, "350103")], &[(DIVISION, "350102")]),
    ("V019", "question", "producer_division", &[(DIVISION, "350199")], NOW_RIGHT),
    ("V021", "reject", "license_content", &[(CONTENT, "热\u{fffd}食")], &[(CONTENT, "热食")]),
    (
        "V023",
        "reject",
        "subject_type",
        &[("行政相对人类别", "自然人"), ("证件类型", "护照"), ("证件号码", "E12345678")],
        &[("行政相对人类别", "法人"), ("证件类型", ""), ("证件号码", "")],
    ),
    ("V024", "question", "legal_rep_id_no", &[("法定代表人证件类型", "居民身份证")], NOW_RIGHT),
    ("V025", "reject", "license_content", &[(CONTENT, "经营者11010519491231002X")], &[(CONTENT, "经营者")]),
    (
        "V025",
        "reject",
        "party_reg_no",
        &[("行政相对人代码_2（工商注册号）", "11010519491231002X")],
        &[("行政相对人代码_2（工商注册号）", "350100100000017")],
    ),
    ("V026", "question", "party_name", &[("主体名称", OTHER)], NOW_RIGHT),
    ("V026", "question", "produced_on", &[("信息产生日期", "2025-06-20")], NOW_RIGHT),
];

fn slips() -> Sheet {
    // Rows that are in order stand between those that are not.
    let mut sheet = Sheet::licenses(0..2 * SLIPS.len());
    for (i, (.., wrong, _)) in SLIPS.iter().enumerate() {
        wrong.iter().for_each(|(head, value)| sheet.set(2 * i, head, value));
    }
    let width = sheet.heads.len();
    sheet.rows.iter_mut().for_each(|r| r.resize(width, String::new()));
    sheet
}

fn line_of(slip: usize) -> u64 {
    2 * slip as u64 + 2
}

#[test]
fn every_rule_says_what_is_wrong_and_the_corrected_file_is_taken() {
    let desk = Desk::open("[intake]\nregistrations_complete = true");
    desk.register(super::sheet::SUBJECT, SUBJECT_CODE);
    let first = hand_in(&desk.federation, "first.csv", Sheet::licenses(900..901).csv().as_bytes(), &[]);
    first.all_taken(1);
    assert!(first.notes().contains(&"V020"), "late: {first:?}");
    let again = hand_in(&desk.federation, "again.csv", Sheet::licenses(900..901).csv().as_bytes(), &[]);
    assert_eq!((again.ran.code, again.counts()), (0, [1, 0, 1, 0]), "V012 is a count: {again:?}");
    let placeholder = Sheet::licenses(901..902).with(0, CONTENT, "测试");
    let placeholder = hand_in(&desk.federation, "placeholder.csv", placeholder.csv().as_bytes(), &[]);
    assert!(placeholder.counts()[1] == 1 && placeholder.notes().contains(&"V022"), "{placeholder:?}");

    let sheet = slips();
    let answer = desk.post(&sheet);
    let mut to_look_at = Vec::new();
    for (i, (rule, severity, field, ..)) in SLIPS.iter().enumerate() {
        let errors: Vec<_> = list(&answer["errors"]).iter().filter(|e| e["line"] == line_of(i)).collect();
        let found = errors.iter().find(|e| e["code"] == *rule && e["field"] == *field);
        let found = found.unwrap_or_else(|| panic!("{rule} {field}: {errors:?}"));
        super::sheet::in_both_languages(found);
        assert_eq!(found["severity"], *severity, "{found}");
        let rejected = errors.iter().any(|e| e["severity"] == "reject");
        to_look_at.push((i, rejected));
    }
    let lines: std::collections::BTreeSet<_> =
        list(&answer["errors"]).iter().map(|e| e["line"].as_u64().unwrap()).collect();
    assert_eq!(lines, (0..SLIPS.len()).map(line_of).collect(), "rows that are in order are let alone: {answer}");
    let rejected = to_look_at.iter().filter(|(_, rejected)| *rejected).count() as u64;
    let all = sheet.rows.len() as u64;
    assert_eq!(counts(&answer), [all, all - rejected, 0, rejected], "{answer}");
    assert_eq!(answer["questions"], SLIPS.len() as u64 - rejected, "{answer}");

    // Whoever never got that answer and hands the same in again is asked the same.
    let again = desk.post(&sheet);
    assert_eq!(counts(&again), [all, 0, all - rejected, rejected], "{again}");
    let asked = |answer: &serde_json::Value| {
        let each = list(&answer["errors"]).iter().map(|e| (e["line"].as_u64(), e["code"].to_string()));
        each.collect::<std::collections::BTreeSet<_>>()
    };
    assert_eq!((&again["questions"], asked(&again)), (&answer["questions"], asked(&answer)));

    // The answer's file: the submitter's own columns, two more, and only the rows to look at.
    let id = answer["answer"].as_str().expect("an answer is kept");
    let csv = desk.get(&format!("/v1/answers/{id}.csv"));
    assert!(csv.status == 200 && csv.is("text/csv"), "{csv:?}");
    let mut file = Sheet::parse(&csv.body);
    let width = sheet.heads.len();
    assert_eq!(file.heads[..width], sheet.heads, "the columns are the submitter's own");
    assert_eq!(file.heads[width..], ["错误代码", "错误说明"]);
    assert_eq!(file.rows.len(), SLIPS.len());
    for (i, (rule, ..)) in SLIPS.iter().enumerate() {
        assert_eq!(file.rows[i][..width], sheet.rows[2 * i], "{rule}");
        assert!(file.rows[i][width].contains(rule) && !file.rows[i][width + 1].is_empty(), "{:?}", file.rows[i]);
    }
    assert_eq!(workbook(&desk.get(&format!("/v1/answers/{id}.xlsx"))), file, "the same as a workbook");

    // A person mends what was rejected and sends the file as it then is.
    for (i, (.., right)) in SLIPS.iter().enumerate() {
        right.iter().for_each(|(head, value)| file.set(i, head, value));
    }
    let again = hand_in(&desk.federation, "更正.csv", file.csv().as_bytes(), &[]);
    let mended = SLIPS.iter().filter(|(_, severity, ..)| *severity == "reject").count() as u64;
    let left = rejected - mended;
    let all = SLIPS.len() as u64;
    assert_eq!(again.counts(), [all, mended, all - mended - left, left], "{again:?}");
    assert!(!again.notes().contains(&"unknown_column"), "the added columns are known: {:?}", again.answer["notes"]);
    corrected(&desk, id, &to_look_at);
    // Rows that amend what was asked about are held as amendments, rows that say the same as they were.
    let receipts = desk.federation.ask(COUNTY, &["receipt", &desk.federation.at("更正.csv"), "--json"]).json();
    assert_eq!((&receipts["held"], &receipts["missing"]), (&(all - left).into(), &left.into()), "{receipts}");
    unharmed(&desk.federation);
}

/// Every row that was rejected and mended is shown as corrected, and no other.
fn corrected(desk: &Desk, id: &str, looked_at: &[(usize, bool)]) {
    let wanted: Vec<_> = looked_at.iter().map(|(i, no)| *no && !SLIPS[*i].4.is_empty()).collect();
    let shown = || {
        let kept = desk.get(&format!("/v1/answers/{id}")).json();
        list(&kept["rows"]).iter().map(|r| r["corrected"].is_object()).collect::<Vec<_>>()
    };
    let mut last = Vec::new();
    let done = poll(seconds(20), || {
        last = shown();
        (last == wanted).then_some(())
    });
    let differ: Vec<_> = (0..wanted.len()).filter(|i| last.get(*i) != wanted.get(*i)).map(|i| SLIPS[i].0).collect();
    assert!(done.is_some(), "{differ:?}");
}

fn workbook(response: &Response) -> Sheet {
    assert!(response.status == 200 && response.is("application/vnd.openxmlformats"), "{}", response.headers);
    let mut book = Xlsx::new(Cursor::new(response.bytes.clone())).unwrap();
    let range = book.worksheet_range_at(0).unwrap().unwrap();
    let mut rows = range.rows().map(|r| r.iter().map(ToString::to_string).collect());
    Sheet { heads: rows.next().unwrap(), rows: rows.collect() }
}

#[test]
fn rules_of_other_categories() {
    let federation = Federation::running(ALONE);
    let heads =
        ["产生单位", "产生单位代码", "主体名称", "主体代码", "检查任务编号", "检查类型", "检查日期", "检查结果"];
    let row = |unit, no| [unit, UNIT_CODE, super::sheet::SUBJECT, SUBJECT_CODE, no, "抽查", "2025-06-03", "1"];
    let checks = Sheet::new(&heads, &[&row(UNIT, "1"), &row("福州市鼓楼区统计局", "2")]);
    let handed = hand_in(&federation, "抽查.csv", checks.csv().as_bytes(), &[]);
    assert_eq!((handed.counts(), handed.codes(3)), ([2, 1, 0, 1], vec!["V018"]), "{handed:?}");

    let heads = [
        "CF_XDR_MC",
        "CF_XDR_LB",
        "CF_XDR_SHXYM",
        "CF_FRDB",
        "CF_WSH",
        "CF_WFXW",
        "CF_SY",
        "CF_YJ",
        "CF_CFLB",
        "CF_NR",
        "CF_NR_FK",
        "CF_JDRQ",
        "CF_YXQ",
        "CF_CFJG",
        "CF_CFJGDM",
    ];
    let row = |no, fine| {
        [
            super::sheet::SUBJECT,
            "法人",
            SUBJECT_CODE,
            "陈志强",
            no,
            "未亮证",
            "未亮证",
            "《条例》",
            "罚款",
            "罚款",
            fine,
            "2025-06-03",
            "2026-06-03",
            UNIT,
            UNIT_CODE,
        ]
    };
    let penalties = Sheet::new(&heads, &[&row("1", "0.1"), &row("2", ""), &row("3", "20000"), &row("4", "壹仟元")]);
    let handed = hand_in(&federation, "处罚.csv", penalties.csv().as_bytes(), &[]);
    assert_eq!(handed.counts(), [4, 3, 0, 1], "{handed:?}");
    let codes: Vec<_> = (2..6).map(|line| handed.codes(line)).collect();
    assert_eq!(codes, [vec![], vec!["V015"], vec!["V015"], vec!["V002"]]);
    unharmed(&federation);
}

#[test]
fn what_is_held_but_no_longer_in_force_is_told_and_can_be_brought_back() {
    let desk = Desk::open("");
    let row = |operation: &str, content: &str| {
        let sheet = Sheet::licenses(0..1).with(0, CONTENT, content).with(0, OPERATION, operation);
        let answer = desk.post(&sheet);
        let notes = list(&answer["notes"]).iter().filter(|n| n["code"] == "V013").count();
        (counts(&answer)[1..3].to_vec(), notes)
    };
    let in_force = || {
        desk.federation.count(COUNTY);
        let held = desk.federation.export(COUNTY, &[]);
        held.iter().map(|r| r["license_content"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(row("新增", "热食"), (vec![1, 0], 0));
    assert_eq!(row("新增", "热食"), (vec![0, 1], 0), "in force");
    assert_eq!(row("撤销", "热食"), (vec![1, 0], 0));
    assert_eq!(row("撤销", "热食"), (vec![0, 1], 0), "withdrawn it is");
    assert_eq!(row("新增", "热食"), (vec![0, 1], 1), "held, but withdrawn");
    assert!(in_force().is_empty());
    assert_eq!(row("变更", "热食"), (vec![1, 0], 0));
    assert_eq!(in_force(), ["热食"]);
    assert_eq!(row("变更", "冷食"), (vec![1, 0], 0));
    assert_eq!(row("新增", "热食"), (vec![0, 1], 1), "another is in force");
    // The department's next table says what the amendment said: nothing is to be asked.
    let sheet = Sheet::licenses(0..1).with(0, CONTENT, "冷食");
    let answer = desk.post(&sheet);
    assert_eq!((counts(&answer), &answer["questions"]), ([1, 0, 1, 0], &0.into()), "{answer}");
    assert_eq!(in_force(), ["冷食"]);
    // That table's row was created here and never taken: what is held of it is the amendment.
    let table = desk.federation.at("next.csv");
    std::fs::write(&table, sheet.csv()).unwrap();
    let receipt = desk.federation.ask(COUNTY, &["receipt", &table, "--json"]);
    assert_eq!((receipt.code, &receipt.json()["held"]), (0, &1.into()), "{receipt:?}");
}

/// L12: of a business key with more versions than anybody compares the last one counts, not the last of those that were read
/// first.
#[test]
fn of_hundreds_of_versions_the_last_one_counts() {
    const VERSIONS: usize = 300;
    let desk = Desk::open("");
    let contents: Vec<_> = (0..VERSIONS).map(|n| format!("热食{n}")).collect();
    let mut sheet = Sheet::licenses(0..1);
    let row = sheet.rows[0].clone();
    sheet.rows = vec![row; VERSIONS];
    for (n, content) in contents.iter().enumerate() {
        sheet.set(n, CONTENT, content);
        sheet.set(n, OPERATION, if n == 0 { "新增" } else { "变更" });
    }
    let all = VERSIONS as u64;
    assert_eq!(counts(&desk.post(&sheet)), [all, all, 0, 0]);
    let in_force = || {
        desk.federation.count(COUNTY);
        let held = desk.federation.export(COUNTY, &[]);
        held.iter().map(|r| r["license_content"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    let last = contents.last().unwrap().as_str();
    assert_eq!(in_force(), [last]);
    let row = |operation: &str, content: &str| {
        let answer = desk.post(&Sheet::licenses(0..1).with(0, CONTENT, content).with(0, OPERATION, operation));
        let notes = list(&answer["notes"]).iter().filter(|n| n["code"] == "V013").count();
        (counts(&answer)[1..3].to_vec(), notes)
    };
    assert_eq!(row("新增", last), (vec![0, 1], 0), "it says what is in force");
    assert_eq!(row("新增", &contents[VERSIONS / 2]), (vec![0, 1], 1), "another one is in force");
    assert_eq!(row("撤销", last), (vec![1, 0], 0));
    assert!(in_force().is_empty());
    assert_eq!(row("新增", last), (vec![1, 0], 0), "after a withdrawal the same may be created again");
    assert_eq!(in_force(), [last]);
    assert_eq!(row("变更", &contents[0]), (vec![1, 0], 0));
    assert_eq!(in_force(), [contents[0].as_str()]);
}

#[test]
fn every_question_is_listed_page_by_page_and_says_which_record_it_means() {
    const ROWS: usize = 2_500;
    let desk = Desk::open("");
    let mut sheet = Sheet::licenses(0..ROWS);
    (0..ROWS).for_each(|row| sheet.set(row, CODE, "91350102MA2TE5T1X1"));
    assert_eq!(desk.post(&sheet)["questions"], ROWS);
    desk.federation.count(COUNTY);
    let asked = desk.federation.ask(COUNTY, &["question", "ls", "--json"]).json();
    let keys: std::collections::BTreeSet<_> =
        list(&asked["questions"]).iter().map(|q| q["business_key"].as_str().unwrap().to_owned()).collect();
    assert_eq!(keys.len(), ROWS);
    assert!(keys.iter().any(|k| k.contains("榕鼓许〔2025〕2499号")), "{:?}", keys.first());
    let page = |path: &str| desk.get(path).json();
    let first = page("/v1/questions?limit=7");
    assert_eq!((list(&first["questions"]).len(), &first["omitted"]), (7, &(ROWS - 7).into()));
    let rest = page(&format!("/v1/questions?limit=5000&after={}", first["next"].as_str().unwrap()));
    assert_eq!((list(&rest["questions"]).len(), &rest["omitted"]), (ROWS - 7, &0.into()));
    assert!(rest["next"].is_null() && rest["questions"][0]["index"] == 7, "{}", rest["questions"][0]);
    // So are the rows of the answer, which is more than one document; and its files are whole.
    let config = desk.federation.config(COUNTY);
    let id = desk.get("/v1/answers").json()[0]["id"].as_str().unwrap().to_owned();
    let one = desk.get(&format!("/v1/answers/{id}")).json();
    let shown = run(&["answer", "show", &id, "--json", "--config", &config]).json();
    assert_eq!(list(&shown["rows"]).len(), ROWS);
    assert!(one["next"].is_null() || list(&one["rows"]).len() < ROWS, "{}", one["next"]);
    for form in ["csv", "xlsx"] {
        let path = desk.federation.at(&format!("rows.{form}"));
        run(&["answer", "file", &id, "-o", &path, "--config", &config]).done();
        let bytes = std::fs::read(&path).unwrap();
        let rows = match form {
            "csv" => Sheet::parse(&String::from_utf8(bytes).unwrap()).rows.len(),
            _ => Xlsx::new(Cursor::new(bytes)).unwrap().worksheet_range_at(0).unwrap().unwrap().rows().count() - 1,
        };
        assert_eq!(rows, ROWS, "{form}");
    }
    let screen = desk.federation.ask(COUNTY, &["question", "ls"]).out;
    assert!(screen.ends_with("2500 records are asked about\n") && screen.contains("榕鼓许〔2025〕0号"), "{screen}");
}

/// The answer's file is corrected and handed in as it is: codes that a spreadsheet damaged, rows that were taken and asked
/// about, and rows that nobody touched.
#[test]
fn a_corrected_file_is_known_for_the_correction_of_its_rows() {
    let desk = Desk::open("");
    let mut sheet = Sheet::licenses(0..5);
    sheet.set(0, CODE, "9.13501E+17");
    sheet.set(1, DOCUMENT_NO, "");
    // Taken, and asked about: the check digit; the class of the code.
    sheet.set(2, CODE, "91350102MA2TE5T1X1");
    sheet.set(3, "行政相对人类别", "个体工商户");
    let answer = desk.post(&sheet);
    assert_eq!((counts(&answer), &answer["questions"]), ([5, 3, 0, 2], &2.into()), "{answer}");
    let id = answer["answer"].as_str().unwrap();
    let file = || Sheet::parse(&desk.get(&format!("/v1/answers/{id}.csv")).body);
    let states: Vec<_> =
        file().rows.iter().map(|r| r.last().unwrap().rsplit_once('（').unwrap().1.to_owned()).collect();
    assert_eq!(states, ["已退回）", "已退回）", "已入库，请核实）", "已入库，请核实）"]);

    // Nothing is changed: nothing becomes of it.
    let same = desk.post(&file());
    assert_eq!((counts(&same), &same["questions"]), ([4, 0, 2, 2], &2.into()), "{same}");
    let corrected = || {
        let kept = desk.get(&format!("/v1/answers/{id}")).json();
        list(&kept["rows"]).iter().map(|r| r["corrected"].is_object()).collect::<Vec<_>>()
    };
    assert_eq!(corrected(), [false; 4]);

    let mut file = file();
    file.set(0, CODE, SUBJECT_CODE);
    file.set(1, DOCUMENT_NO, "榕鼓许〔2025〕1号");
    file.set(2, CODE, SUBJECT_CODE);
    file.set(3, "行政相对人类别", "法人及非法人组织");
    let again = desk.post(&file);
    assert_eq!((counts(&again), &again["questions"]), ([4, 4, 0, 0], &0.into()), "{again}");
    let notes: Vec<_> = list(&again["notes"]).iter().map(|n| n["code"].as_str().unwrap().to_owned()).collect();
    assert!(notes.contains(&"other_record".to_owned()), "the wrong code is still held: {notes:?}");
    assert_eq!(corrected(), [true; 4]);
    desk.federation.count(COUNTY);
    let held = desk.federation.export(COUNTY, &[]);
    // Six: the five rows, and the one with the wrong code, which is another subject's.
    assert_eq!(held.len(), 6);
    let amended: Vec<_> = held.iter().filter(|r| r["operation"] == "amend").map(|r| r["document_no"].clone()).collect();
    assert_eq!(amended, ["榕鼓许〔2025〕3号"]);
    // What is corrected is only who delivers: that is a change too.
    let delivered = Sheet::licenses(3..4).with(0, "数据来源单位", "鼓楼区市监局");
    assert_eq!(counts(&desk.post(&delivered))[1], 1);
    // Sent once more, for its answer never came: all of it is held.
    let once_more = desk.post(&file);
    assert_eq!(counts(&once_more), [4, 0, 4, 0], "{once_more}");
    unharmed(&desk.federation);
}

/// The submitter's table says of each row that it is new, and the first correction has a slip of its own.
#[test]
fn a_correction_with_a_slip_is_still_one_of_the_row_that_was_taken() {
    let desk = Desk::open("");
    let sheet = Sheet::licenses(0..1).with(0, "行政相对人类别", "个体工商户").with(0, OPERATION, "新增");
    let first = desk.post(&sheet);
    assert_eq!((counts(&first), &first["questions"]), ([1, 1, 0, 0], &1.into()), "{first}");
    let file = |answer: &serde_json::Value| {
        let id = answer["answer"].as_str().unwrap();
        Sheet::parse(&desk.get(&format!("/v1/answers/{id}.csv")).body)
    };
    let slip = file(&first).with(0, "行政相对人类别", "法人及非法人组织").with(0, "许可决定日期", "2025-02-30");
    let second = desk.post(&slip);
    assert_eq!(counts(&second), [1, 0, 0, 1], "{second}");
    let right = file(&second).with(0, "许可决定日期", "2025-06-03");
    let third = desk.post(&right);
    assert_eq!((counts(&third), &third["questions"]), ([1, 1, 0, 0], &0.into()), "{third}");
    desk.federation.count(COUNTY);
    let held = desk.federation.export(COUNTY, &[]);
    assert_eq!((held.len(), &held[0]["operation"]), (1, &"amend".into()));
}
