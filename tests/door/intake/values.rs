//! Values as they really stand in cells: what becomes of them is told, and what cannot be stored is named by its cause.

use super::sheet::{ALONE, CONTENT, DOCUMENT_NO, Handed, Sheet, UNIT_CODE, hand_in, unharmed};
use serde_json::Value;
use tally_tests::{COUNTY, Federation, list};

const CODE: &str = "行政相对人代码_1（统一社会信用代码）";
const NAME: &str = "行政相对人名称";
const PERSON: &str = "法定代表人";
const DECIDED: &str = "许可决定日期";
const AUTHORITY: &str = "许可机关统一社会信用代码";

fn csv(federation: &Federation, sheet: &Sheet, args: &[&str]) -> Handed {
    hand_in(federation, "values.csv", sheet.csv().as_bytes(), args)
}

/// What is said of a line: code, field and message.
fn said(handed: &Handed, line: u64) -> Vec<(String, String, String)> {
    let text = |e: &Value, key: &str| e[key].as_str().unwrap().to_owned();
    let of_line = list(&handed.answer["errors"]).iter().filter(|e| e["line"] == line);
    of_line.map(|e| (text(e, "code"), text(e, "field"), text(e, "message"))).collect()
}

/// A01: the day of an instant is that in China, in every field that is made of it.
#[test]
fn an_instant_is_stored_as_the_day_in_china() {
    let federation = Federation::running(ALONE);
    let mut sheet = Sheet::licenses(0..6);
    for (row, value) in [
        "2026-11-01T16:00:00Z",
        "20261101T160000Z",
        "2026-11-01 16:00:00.000 +0000",
        "2026-11-01T11:00:00-05:00",
        "2026-11-01T24:00:00",
        "2026-11-02T07:59:59+08:00",
    ]
    .into_iter()
    .enumerate()
    {
        sheet.set(row, DECIDED, value);
        sheet.set(row, "有效期自", value);
    }
    let handed = csv(&federation, &sheet, &[]);
    handed.all_taken(6);
    assert!(handed.notes().contains(&"day_in_china") && handed.notes().contains(&"end_of_day"), "{handed:?}");
    federation.count(COUNTY);
    for record in federation.export(COUNTY, &[]) {
        for field in ["decision_date", "valid_from", "produced_on"] {
            assert_eq!(record[field], "2026-11-02", "{field} of {record}");
        }
    }
    let mut wrong = Sheet::licenses(10..13);
    for (row, (value, part)) in
        [("2026-11-01T25:00:00Z", "no time"), ("46328", "2026-11-02"), ("11/02/2026", "order")].into_iter().enumerate()
    {
        wrong.set(row, DECIDED, value);
        let handed = csv(&federation, &Sheet { heads: wrong.heads.clone(), rows: vec![wrong.rows[row].clone()] }, &[]);
        let found = said(&handed, 2);
        assert_eq!(found.len(), 1, "the day that is made of it is no second cause: {found:?}");
        let (code, field, message) = &found[0];
        assert!(
            code == "V004" && field == "decision_date" && message.contains(value) && message.contains(part),
            "{found:?}"
        );
    }
    unharmed(&federation);
}

/// A18: one number in six forms is asked about at the door, on the node's own list, and nothing is merged.
#[test]
fn one_number_in_several_forms_is_asked_about() {
    let federation = Federation::running(ALONE);
    let mut sheet = Sheet::licenses(0..8);
    let forms = [
        "榕鼓许〔2026〕9001号",
        "榕鼓许[2026]9001号",
        "榕鼓许（2026）9001号",
        "榕鼓许［2026］9001号",
        "榕鼓许【2026】9001号",
        "榕鼓许(2026)9001号",
        "榕鼓许〔2026〕 9001号",
        "榕鼓许〔2026〕9002号",
    ];
    for (row, number) in forms.into_iter().enumerate() {
        sheet.set(row, DOCUMENT_NO, number);
    }
    let handed = csv(&federation, &sheet, &[]);
    assert_eq!((handed.counts(), &handed.answer["questions"]), ([8, 8, 0, 0], &6.into()), "{handed:?}");
    for line in 3..=8 {
        let found = said(&handed, line);
        assert!(found.len() == 1 && found[0].0 == "V028" && found[0].2.contains("record "), "line {line}: {found:?}");
    }
    assert!(said(&handed, 2).is_empty() && said(&handed, 9).is_empty(), "the first, and another number");
    federation.count(COUNTY);
    assert_eq!(federation.export(COUNTY, &[]).len(), 8, "nothing is merged");
    // The same in another table, after the index has them; in two rounds, so the list of the node is complete.
    let again = csv(&federation, &Sheet::licenses(0..1).with(0, DOCUMENT_NO, "榕鼓许〖2026〗9001号"), &[]);
    assert_eq!(again.codes(2), ["V028"], "{again:?}");
    federation.count(COUNTY);
    let asked = federation.ask(COUNTY, &["question", "ls", "--json"]).json();
    let is_asked = |q: &&Value| {
        let mut findings = list(&q["judged_by"]).iter().flat_map(|h| list(&h["findings"]));
        findings.any(|f| f["code"] == "V028")
    };
    let forms = list(&asked["questions"]).iter().filter(is_asked);
    assert_eq!(forms.count(), 7, "{asked}");
    unharmed(&federation);
}

/// A18: what differs in width alone looks the same, so it is said; of other content the fields are named.
#[test]
fn a_conflict_names_what_differs() {
    let federation = Federation::running(ALONE);
    let held = Sheet::licenses(0..2).with(0, NAME, "福州（榕盛）餐饮管理有限公司");
    csv(&federation, &held, &[]).all_taken(2);
    // The index has them.
    federation.count(COUNTY);
    let narrow = Sheet::licenses(0..1).with(0, NAME, "福州(榕盛)餐饮管理有限公司");
    let other = Sheet::licenses(1..2).with(0, CONTENT, "冷食类食品制售").with(0, "有效期至", "2031-06-02");
    // The one that is held comes in the same file.
    let mut both = Sheet::licenses(7..8).with(0, PERSON, "陈ＡＢ");
    both.rows.push(both.rows[0].clone());
    both.set(1, PERSON, "陈AB");
    for (sheet, line, en, zh) in [
        (narrow, 2, "only the way of writing differs", "仅行政相对人名称的写法不同"),
        (other, 2, "They differ in license_content, valid_until", "不同之处：许可内容、有效期至"),
        (both, 3, "only the way of writing differs", "仅法定代表人的写法不同"),
    ] {
        for args in [&["--dry-run"][..], &[]] {
            if line == 3 && !args.is_empty() {
                continue;
            }
            let handed = csv(&federation, &sheet, args);
            assert_eq!(handed.codes(line), ["V013"], "{handed:?}");
            let found = list(&handed.answer["errors"]).iter().find(|e| e["line"] == line).unwrap();
            let (message, message_zh) = (found["message"].as_str().unwrap(), found["message_zh"].as_str().unwrap());
            assert!(message.contains(en) && message_zh.contains(zh), "{found}");
        }
    }
    unharmed(&federation);
}

/// A08, A09a, A11, A12: words for nothing are told wherever they stand; what nobody sees is taken out.
#[test]
fn words_for_nothing_and_signs_that_nobody_sees() {
    let federation = Federation::running(ALONE);
    let words = ["\\N", "NULL", "(null)", "<null>", "[NULL]", "None", "undefined", "nan", "NaN", "#N/A"];
    let mut sheet = Sheet::licenses(0..words.len());
    for (row, word) in words.into_iter().enumerate() {
        sheet.set(row, PERSON, word);
        sheet.set(row, "备注", word);
    }
    let handed = csv(&federation, &sheet, &[]);
    assert_eq!(handed.counts(), [10, 0, 0, 10], "a person is required: {handed:?}");
    for (line, word) in (2..).zip(words) {
        let found = said(&handed, line);
        // An error of a spreadsheet is one wherever it stands; words are nothing where nothing may stand.
        let fields = if word == "#N/A" { 2 } else { 1 };
        assert!(found.len() == fields && found[0].1 == "legal_rep" && found[0].2.contains(word), "{word}: {found:?}");
    }
    // Where a field may be empty, it is; and 无 may be meant.
    let mut remarks = Sheet::licenses(20..23);
    (0..3).for_each(|row| remarks.set(row, "备注", ["NULL", "无", "--"][row]));
    let handed = csv(&federation, &remarks, &[]);
    handed.all_taken(3);
    assert!(handed.notes().contains(&"nothing") && handed.notes().contains(&"V022"), "{:?}", handed.notes());
    federation.count(COUNTY);
    let mut held: Vec<_> = federation.export(COUNTY, &[]).iter().map(|r| r["remark"].to_string()).collect();
    held.sort();
    assert_eq!(held, ["\"--\"", "\"无\"", "null"]);

    // One licence, however it is spelt with what nobody sees: each is a duplicate of the first.
    let plain = Sheet::licenses(30..31).with(0, NAME, "福州方正餐饮有限公司");
    csv(&federation, &plain, &[]).all_taken(1);
    for (name, note) in [
        ("福州\u{200b}方正餐饮有限公司", "unseen"),
        ("福州方正\u{2060}餐饮有限公司\u{200e}", "unseen"),
        ("福州\u{a0}方正\u{3000}餐饮有限公司", "gap"),
        ("福州⽅正餐饮有限公司", "radical"),
    ] {
        let handed = csv(&federation, &plain.clone().with(0, NAME, name), &[]);
        assert_eq!((handed.counts(), &handed.answer["questions"]), ([1, 0, 1, 0], &0.into()), "{name}: {handed:?}");
        assert!(handed.notes().contains(&note), "{name}: {:?}", handed.notes());
    }
    for code in ["\u{202d}91350102MA2TE5T1X0\u{202c}", "91350102\u{ad}MA2TE5T1X0", "'91350102MA2TE5T1X0"] {
        let handed = csv(&federation, &plain.clone().with(0, CODE, code), &[]);
        assert_eq!(handed.counts(), [1, 0, 1, 0], "{code:?}: {handed:?}");
    }
    let strange = csv(&federation, &Sheet::licenses(40..41).with(0, NAME, "福州\u{e5e5}餐饮有限公司"), &[]);
    assert!(said(&strange, 2).iter().any(|(code, _, m)| code == "V029" && m.contains("U+E5E5")), "{strange:?}");
    unharmed(&federation);
}

/// A02: a damaged code is named once, by what damaged it, and not by what follows from it.
#[test]
fn a_damaged_code_is_one_cause() {
    let federation = Federation::running(ALONE);
    for (n, (head, value, code, field, part)) in [
        (AUTHORITY, "1.13501E+17", "F001", "authority_uscc", "lost digits"),
        (AUTHORITY, "113501020036012000", "F001", "authority_uscc", "lost digits"),
        (AUTHORITY, "113501020036012544.0", "F001", "authority_uscc", "lost digits"),
        (AUTHORITY, "\u{1f}113501020036012589", "V021", "authority_uscc", "U+001F"),
        (CODE, "9.13501E+17", "F001", "party_uscc", "lost digits"),
        (CODE, "91350102MA2TE5T1X", "V008", "party_uscc", "17 characters"),
        (DOCUMENT_NO, "2.02611E+11", "F001", "document_no", "lost digits"),
        (CONTENT, "热食\u{1e}类", "V021", "license_content", "U+001E"),
    ]
    .into_iter()
    .enumerate()
    {
        let mut sheet = Sheet::licenses(n..n + 1).with(0, head, value);
        if head == AUTHORITY {
            sheet.set(0, "数据来源单位统一社会信用代码", value);
        }
        let handed = csv(&federation, &sheet, &[]);
        let found = said(&handed, 2);
        let own: Vec<_> = found.iter().filter(|(_, f, _)| f != "source_unit_uscc").collect();
        assert_eq!(own.len(), 1, "{value:?}: {found:?}");
        assert!(own[0].0 == code && own[0].1 == field && own[0].2.contains(part), "{value:?}: {found:?}");
    }
    unharmed(&federation);
}

/// A load of history is told as one, and is late at no level; a dry run takes nothing and shows all.
#[test]
fn history_is_not_late_and_a_dry_run_takes_nothing() {
    let federation = Federation::running(ALONE);
    let sheet = Sheet::licenses(0..2).with(0, DECIDED, "2016/6/3").with(1, PERSON, "NULL");
    let tried = csv(&federation, &sheet, &["--dry-run"]);
    assert_eq!(tried.counts(), [2, 1, 0, 1], "{tried:?}");
    let rows = list(&tried.answer["trial"]["rows"]);
    assert_eq!((rows[0]["verdict"].as_str(), rows[1]["verdict"].as_str()), (Some("accepted"), Some("rejected")));
    assert_eq!(rows[0]["record"]["decision_date"], "2016-06-03");
    let changed = list(&rows[0]["changes"]).iter().find(|c| c["field"] == "decision_date").unwrap();
    assert_eq!((changed["from"].as_str(), changed["to"].as_str()), (Some("2016/6/3"), Some("2016-06-03")));
    assert!(list(&rows[1]["changes"]).iter().any(|c| c["from"] == "NULL" && c["to"] == ""), "{}", rows[1]);
    assert!(tried.answer["log"].is_null() && list(&tried.answer["answers"]).is_empty());
    assert!(list(&federation.ask(COUNTY, &["answer", "ls", "--json"]).json()).is_empty(), "no answer is kept");
    assert_eq!(federation.count(COUNTY), 0);
    let shown = federation.ask(COUNTY, &["ingest", &federation.at("values.csv"), "--dry-run"]).out;
    assert!(shown.contains("2016/6/3 -> 2016-06-03") && shown.contains("nothing is taken"), "{shown}");

    let old = Sheet::licenses(0..2).with(0, DECIDED, "2016-06-03").with(1, DECIDED, "2017-06-05");
    let now = Sheet::licenses(5..6).with(0, DECIDED, "2016-06-03");
    let loaded = csv(&federation, &old, &["--backfill", "--unit", UNIT_CODE]);
    loaded.all_taken(2);
    assert!(loaded.notes().contains(&"backfill") && !loaded.notes().contains(&"V020"), "{:?}", loaded.notes());
    let late = csv(&federation, &now, &[]);
    assert!(late.notes().contains(&"V020"), "{:?}", late.notes());
    // The same again, with and without the word: it is held.
    assert_eq!(csv(&federation, &old, &[]).counts(), [2, 0, 2, 0]);
    assert_eq!(csv(&federation, &old, &["--dry-run"]).counts(), [2, 0, 2, 0]);
    federation.count(COUNTY);
    let report = |args: &[&str]| {
        let report = federation.ask(COUNTY, &[&["deadline", "report", "--json"], args].concat()).json();
        let counts = &report["total"];
        ["backfill", "late", "overdue"].map(|f| counts[f].as_u64().unwrap_or_else(|| panic!("{report}")))
    };
    assert_eq!(report(&[]), [2, 0, 0]);
    assert_eq!(report(&["--month", "2016-06"]), [1, 1, 0], "what was handed in without the word was late");
    unharmed(&federation);
}
