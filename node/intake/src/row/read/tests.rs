//! Rows of one county: what is filled in, what is found, and at which node they enter.

use super::*;
use crate::Change;
use tally_protocol::{
    ids::{Federation, LogId},
    keys::NodeKeys,
};
use tally_topology::charter::Charter;

pub(super) fn charter(more: &str) -> Charter {
    let f = Federation::try_from("t.example".to_owned()).unwrap();
    let node = |d: &str, level: &str, parent: &str| {
        let log: LogId = format!("{d}/e1").parse().unwrap();
        let k = NodeKeys::derive(&f, log, &[log.division.code() as u8; 32]);
        let epoch = tally_topology::charter::epoch_entry(&k);
        format!(
            "[[node]]\ndivision = \"{d}\"\nname = \"N{d}\"\nlevel = \"{level}\"\naddresses = [\"h:1\"]\n{parent}\n\
             {epoch}"
        )
    };
    let text = [
        tally_topology::charter::heading(&f, 1, tally_protocol::keys::authority_signer(&f, &[2; 32]).public()),
        node("350100", "prefecture", "covers = [\"350199\"]"),
        node("350102", "county", "parent = \"350100\""),
        node("350103", "county", "parent = \"350100\""),
        more.to_owned(),
    ];
    Charter::parse(&text.concat()).unwrap()
}

pub(super) fn good() -> serde_json::Value {
    serde_json::json!({
        "category": "admin_license", "catalog_version": "2026.1", "producer_name": "福州市鼓楼区卫生健康局",
        "producer_uscc": "113501020036012589", "producer_division": "350102", "submitter_name": "福州市鼓楼区卫生健康局",
        "submitter_uscc": "113501020036012589", "submitter_division": "350102", "produced_on": "2026-10-09",
        "operation": "create", "business_key": "113501020036012589|鼓卫许〔2026〕1号|91350102MA2TE5T1X0",
        "subject_type": "enterprise", "subject_name": "福州某某有限公司", "subject_uscc": "91350102MA2TE5T1X0",
        "party_kind": "法人及非法人组织", "legal_rep": "陈志强", "document_name": "食品经营许可决定书",
        "document_no": "鼓卫许〔2026〕1号", "license_kind": "普通", "license_content": "热食类食品制售",
        "decision_date": "2026-10-09", "valid_from": "2026-10-09", "valid_until": "2031-10-08", "status": "1"
    })
}

pub(super) fn read_with(charter: &Charter, at: u32, json: &[u8]) -> JudgedRow {
    let (me, today) = (at.try_into().unwrap(), "2026-10-12".parse().unwrap());
    read_line(
        &RowContext { charter, me, today, category: None, unit: None, division: None, rights: None, backfill: false },
        7,
        json,
    )
}

pub(super) fn read(at: u32, json: &serde_json::Value) -> JudgedRow {
    read_with(&charter(""), at, json.to_string().as_bytes())
}

pub(super) fn codes(row: &JudgedRow) -> Vec<(&str, Severity)> {
    row.findings.iter().map(|f| (&*f.code, f.severity)).collect()
}

#[test]
fn a_line_that_is_in_order_is_stored_as_it_came() {
    let line = good();
    let row = read(350_102, &line);
    assert_eq!(codes(&row), []);
    assert!(row.changes.is_empty());
    let mut canonical = Vec::new();
    Object::parse(line.to_string().as_bytes()).unwrap().write(&mut canonical);
    assert_eq!(row.record.unwrap().record.bytes(), canonical);
}

#[test]
fn what_a_row_leaves_unsaid_is_filled_in() {
    let full = read(350_102, &good()).record.unwrap().record;
    let mut bare = good();
    let o = bare.as_object_mut().unwrap();
    for field in [
        "category",
        "catalog_version",
        "producer_name",
        "producer_uscc",
        "producer_division",
        "submitter_name",
        "submitter_uscc",
        "submitter_division",
        "produced_on",
        "operation",
        "business_key",
        "subject_type",
        "subject_name",
        "subject_uscc",
    ] {
        o.remove(field);
    }
    for (field, value) in [
        ("party_name", "福州某某有限公司"),
        ("party_uscc", "91350102MA2TE5T1X0"),
        ("authority_name", "福州市鼓楼区卫生健康局"),
        ("authority_uscc", "113501020036012589"),
    ] {
        o.insert(field.into(), value.into());
    }
    let charter = charter("");
    let (me, today) = (350_102.try_into().unwrap(), "2026-10-12".parse().unwrap());
    let context = RowContext {
        charter: &charter,
        me,
        today,
        category: Some("admin_license"),
        unit: None,
        division: None,
        rights: None,
        backfill: false,
    };
    let line = bare.to_string();
    let row = read_line(&context, 1, line.as_bytes());
    assert_eq!(codes(&row), []);
    let record = row.record.unwrap().record;
    let (full, filled) = (Object::parse(full.bytes()).unwrap(), Object::parse(record.bytes()).unwrap());
    for (name, value) in full.members() {
        assert_eq!(filled.get(name), Some(value), "{name}");
    }
    assert_eq!(identify(&context, line.as_bytes()).unwrap(), record.id());
}

/// The rules of deploy/charter/catalog.toml that are judged at the context, each with a value that breaks it and nothing else.
#[test]
fn every_rule_is_told_with_line_field_and_code() {
    use Severity::{Note, Question, Reject};
    let cases: Vec<(&str, serde_json::Value, &str, Severity)> = vec![
        ("document_name", "  ".into(), "V001", Reject),
        ("subject_name", serde_json::Value::Null, "V001", Reject),
        ("producer_uscc", 1.into(), "V008", Reject),
        ("subject_name", "名".repeat(201).into(), "V002", Reject),
        ("category", "admin_licence".into(), "V003", Reject),
        ("operation", "delete".into(), "V003", Reject),
        ("license_kind", "随便".into(), "V003", Reject),
        ("catalog_version", "1999.1".into(), "V003", Question),
        ("produced_on", "2026-02-30".into(), "V004", Reject),
        ("valid_until", "明年".into(), "V004", Reject),
        ("decision_date", "2026-10-13".into(), "V005", Reject),
        ("valid_until", "2026-10-08".into(), "V006", Reject),
        ("subject_uscc", "91350102MA2TE5T1X1".into(), "V007", Question),
        ("subject_uscc", "91350102MA2TE5T1XI".into(), "V008", Reject),
        ("subject_type", "individual_business".into(), "V009", Question),
        ("producer_division", "110101".into(), "V017", Reject),
        ("submitter_division", "110101".into(), "V017", Reject),
        ("producer_division", "35010".into(), "V002", Reject),
        ("produced_on", "2026-06-01".into(), "V020", Note),
        ("remark", "a\u{fffd}b".into(), "V021", Reject),
        ("remark", "a\u{0}b".into(), "V021", Reject),
        ("something_else", "a\u{fffd}b".into(), "V021", Reject),
        ("license_content", "测试".into(), "V022", Note),
        ("subject_type", "natural_person".into(), "V023", Reject),
        ("legal_rep_id_type", "身份证".into(), "V024", Question),
        ("license_content", "经营者身份证11010519491231002X".into(), "V025", Reject),
        ("_tally", 1.into(), "S009", Reject),
        ("fine_wan", serde_json::json!(1.5), "S005", Reject),
        ("remark", "x".repeat(RECORD_BYTES_MAX).into(), "V002", Reject),
    ];
    for (field, value, code, severity) in cases {
        let mut line = good();
        line[field] = value;
        let row = read(350_102, &line);
        let found = row.findings.iter().find(|f| f.code == code);
        let found = found.unwrap_or_else(|| panic!("{field}: {code} is not in {:?}", row.findings));
        assert_eq!((row.line, found.severity), (7, severity), "{field}: {found:?}");
        assert!(!found.message.is_empty() && !found.message_zh.is_empty());
        assert_eq!(row.record.is_some(), severity != Reject, "{field}");
    }
    for (line, code) in [("{", "S001"), ("[]", "S002"), ("{\"a\":1,\"a\":1}", "S004"), ("\u{feff}{}", "S001")] {
        assert_eq!(read_with(&charter(""), 350_102, line.as_bytes()).findings[0].code, code, "{line}");
    }
    assert_eq!(read_with(&charter(""), 350_102, &[b'x'; 300_000]).findings[0].code, "S003");
    let gb18030 = read_with(&charter(""), 350_102, b"{\"remark\":\"\xb8\xa3\xd6\xdd\"}");
    assert!(gb18030.findings[0].code == "S001" && gb18030.findings[0].message_zh.contains("GB18030"), "{gb18030:?}");
}

#[test]
fn penalties_have_rules_of_their_own() {
    let mut penalty = good();
    let o = penalty.as_object_mut().unwrap();
    o.insert("category".into(), "admin_penalty".into());
    for (field, value) in [
        ("violation_type", "无证经营"),
        ("violation_fact", "未取得许可从事餐饮"),
        ("legal_basis", "食品安全法第一百二十二条"),
        ("penalty_kinds", "警告;罚款"),
        ("penalty_content", "警告，罚款1.5万元"),
        ("fine_wan", "1.500000"),
        ("effective_until", "2099-12-31"),
    ] {
        o.insert(field.into(), value.into());
    }
    assert_eq!(codes(&read(350_102, &penalty)), []);
    for (field, value, code) in [
        ("fine_wan", "", "V015"),
        ("fine_wan", "15000", "V015"),
        ("fine_wan", "-1", "V002"),
        ("penalty_kinds", "没收违法所得", "V001"),
        ("penalty_kinds", "打手心", "V003"),
    ] {
        let mut line = penalty.clone();
        line[field] = value.into();
        assert!(codes(&read(350_102, &line)).iter().any(|(c, _)| *c == code), "{field}={value}");
    }
}

#[test]
fn statistics_are_excluded_by_name() {
    let mut line = good();
    line["category"] = "spot_check".into();
    line["producer_name"] = "福州市鼓楼区统计局".into();
    let row = read(350_102, &line);
    assert_eq!((&*row.findings[0].code, row.findings[0].name.as_deref()), ("V018", Some("EXCLUDED_STATISTICS")));
    line["category"] = "statistical_annual_report".into();
    line["producer_name"] = "某局".into();
    assert_eq!(read(350_102, &line).findings[0].name.as_deref(), Some("EXCLUDED_STATISTICS"));
    let mut mortgage = good();
    mortgage["category"] = "chattel_mortgage".into();
    mortgage["registration_no"] = "1".into();
    mortgage["registered_on"] = "2026-10-09".into();
    assert!(codes(&read(350_102, &mortgage)).contains(&("V018", Severity::Reject)), "closed since 2021");
}

#[test]
fn the_right_door_is_named() {
    let wrong = read(350_103, &good());
    assert_eq!(codes(&wrong), [("V017", Severity::Reject)]);
    assert!(wrong.findings[0].message.contains("hand it in at 350102 N350102"));
    assert_eq!(codes(&read(350_100, &good())), [("V017", Severity::Question)], "the city takes it, and asks");
    let strict = charter("[registry]\nstrict_paths = true\n");
    let line = good().to_string();
    assert_eq!(codes(&read_with(&strict, 350_100, line.as_bytes())), [("V017", Severity::Reject)]);
    let mut covered = good();
    covered["producer_division"] = "350199".into();
    covered["submitter_division"] = "350199".into();
    assert_eq!(read(350_100, &covered).findings.iter().filter(|f| f.severity == Severity::Reject).count(), 0);
    let mut two_paths = good();
    two_paths["submitter_division"] = "350103".into();
    let [here, there] = [350_102, 350_103].map(|d| read(d, &two_paths));
    assert_eq!(codes(&there), [("V017", Severity::Question)], "it can come by two paths: asked about");
    assert_eq!(here.record.unwrap().record.id(), there.record.unwrap().record.id());
    let routed = charter("[[route]]\nid = \"a\"\ncase = \"prefecture\"\ncategory = \"admin_license\"\n");
    let line = two_paths.to_string();
    assert_eq!(codes(&read_with(&routed, 350_102, line.as_bytes())), [("V017", Severity::Reject)]);
    assert_eq!(codes(&read_with(&routed, 350_100, line.as_bytes())), []);
}

#[test]
fn registry_and_exceptions_of_the_charter_count() {
    let unit = |more: &str| {
        format!(
            "[registry]\nclosed = true\n[[unit]]\ncode = \"113501020036012589\"\nname = \"福州市鼓楼区卫生健康局\"\n\
             division = \"350102\"\nkind = \"county_dept\"\n{more}\n"
        )
    };
    let line = good().to_string();
    let at = |charter: &Charter, line: &str| {
        codes(&read_with(charter, 350_102, line.as_bytes())).iter().map(|(c, _)| (*c).to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(at(&charter(&unit("")), &line), [""; 0]);
    assert_eq!(at(&charter(&unit("categories = [\"admin_penalty\"]")), &line), ["V016"]);
    let open = charter(&unit("").replace("closed = true", "closed = false").replace("\"350102\"", "\"350103\""));
    assert_eq!(codes(&read_with(&open, 350_102, line.as_bytes())), [("V016", Severity::Question)]);
    let stranger = line.replace("113501020036012589", "11350000001234562W");
    assert_eq!(at(&charter(&unit("")), &stranger), ["V016"]);
    let elsewhere = unit("").replace("\"350102\"", "\"350103\"");
    assert_eq!(at(&charter(&elsewhere), &line), ["V016"]);
    assert_eq!(at(&charter(&(elsewhere + "serves = [\"350102\"]\n")), &line), [""; 0]);
    let wrong_digit = line.replace("91350102MA2TE5T1X0", "91350102MA2TE5T1X1");
    assert_eq!(at(&charter(""), &wrong_digit), ["V007"]);
    assert_eq!(at(&charter("[exceptions]\nuscc = [\"91350102MA2TE5T1X1\"]\n"), &wrong_digit), [""; 0]);
}

#[test]
fn a_token_is_limited_to_its_unit_divisions_and_categories() {
    let (charter, line) = (charter(""), good().to_string());
    let (me, today) = (350_102.try_into().unwrap(), "2026-10-12".parse().unwrap());
    let with = |rights: Rights| {
        let context = RowContext {
            charter: &charter,
            me,
            today,
            category: None,
            unit: None,
            division: None,
            rights: Some(&rights),
            backfill: false,
        };
        read_line(&context, 1, line.as_bytes()).findings.iter().map(|f| f.code.to_string()).collect::<Vec<_>>()
    };
    let own = Rights {
        unit: Some("113501020036012589".into()),
        divisions: vec![me],
        categories: vec!["admin_license".into()],
    };
    assert_eq!(with(own.clone()), [""; 0]);
    assert_eq!(with(Rights { unit: Some("11350000001234562W".into()), ..own.clone() }), ["V016"]);
    assert_eq!(with(Rights { divisions: vec![350_103.try_into().unwrap()], ..own.clone() }), ["V016"]);
    assert_eq!(with(Rights { categories: vec!["other".into()], ..own }), ["V016"]);
}

/// A licence as a department's table says it: what the envelope says follows from its fields.
fn of_department() -> serde_json::Value {
    serde_json::json!({
        "category": "admin_license", "party_name": "福州某某有限公司", "party_uscc": "91350102MA2TE5T1X0",
        "party_kind": "法人及非法人组织", "legal_rep": "陈志强", "document_name": "食品经营许可决定书",
        "document_no": "鼓卫许〔2026〕1号", "license_kind": "普通", "license_content": "热食类食品制售",
        "decision_date": "2026-11-09", "valid_from": "2026-11-09", "valid_until": "2031-11-08", "status": "1",
        "authority_name": "福州市鼓楼区卫生健康局", "authority_uscc": "113501020036012589",
        "source_unit": "福州市鼓楼区卫生健康局", "source_unit_uscc": "113501020036012589"
    })
}

/// Read on a day on which the catalog with words for nothing is in force.
fn read_later(line: &serde_json::Value, backfill: bool) -> JudgedRow {
    let charter = charter("");
    let (me, today) = (350_102.try_into().unwrap(), "2026-11-12".parse().unwrap());
    let context =
        RowContext { charter: &charter, me, today, category: None, unit: None, division: None, rights: None, backfill };
    read_line(&context, 7, line.to_string().as_bytes())
}

/// A02, A08, A09a: what happened to a value is said once, and nothing of what follows from it.
#[test]
fn a_damaged_value_is_one_cause() {
    assert_eq!(codes(&read_later(&of_department(), false)), []);
    for (fields, value, code, part) in [
        (&["authority_uscc", "source_unit_uscc"][..], "1.13501E+17", "F001", "lost digits"),
        (&["authority_uscc", "source_unit_uscc"], "\u{1f}113501020036012589", "V021", "U+001F"),
        (&["authority_uscc", "source_unit_uscc"], "113501020036012544.0", "F001", "lost digits"),
        (&["authority_uscc", "source_unit_uscc"], "1135010200360125", "V008", "16 of 18"),
        (&["party_uscc"], "9.13501E+17", "F001", "9.13501E+17"),
        (&["party_uscc"], "91350102MA2TE5T1XI", "V008", "letter I"),
        (&["decision_date"], "46335", "V004", "2026-11-09"),
        (&["decision_date"], "(null)", "V001", "holds (null)"),
        (&["legal_rep"], "\\N", "V001", "holds \\N"),
        (&["document_no"], "2.02611E+11", "F001", "2.02611E+11"),
        (&["license_content"], "热\u{1e}食", "V021", "U+001E"),
    ] {
        let mut line = of_department();
        fields.iter().for_each(|f| line[*f] = value.into());
        let row = read_later(&line, false);
        let found: Vec<_> = row.findings.iter().map(|f| (&*f.code, &*f.field)).collect();
        // The same sign in two cells comes from one export.
        let told = if code == "V021" { &fields[..1] } else { fields };
        let expected: Vec<_> = told.iter().map(|f| (code, *f)).collect();
        assert_eq!(found, expected, "{value:?}: {:?}", row.findings);
        assert!(row.record.is_none() && row.findings[0].message.contains(part), "{:?}", row.findings);
        assert!(!row.findings[0].message_zh.is_empty());
    }
    // What is empty because of a word elsewhere names that word.
    let mut line = of_department();
    line["party_uscc"] = "NULL".into();
    let row = read_later(&line, false);
    assert_eq!((row.findings.len(), &*row.findings[0].field), (1, "subject_uscc"), "{:?}", row.findings);
    assert!(row.findings[0].message.contains("party_uscc holds NULL"), "{:?}", row.findings);
    // Two causes are two.
    let mut line = of_department();
    (line["party_uscc"], line["valid_until"]) = ("9.13501E+17".into(), "明年".into());
    assert_eq!(codes(&read_later(&line, false)).len(), 2);
    // What is asked about is no cause, and stays.
    let mut line = of_department();
    line["party_uscc"] = "91350102MA2TE5T1X1".into();
    let asked = read_later(&line, false);
    assert!(asked.record.is_some() && codes(&asked).iter().all(|c| *c == ("V007", Severity::Question)));
    assert!(!asked.findings.is_empty());
}

/// A12, A11: what was put together or taken out is told, with the value as it came; personal values are hidden.
#[test]
fn changes_are_told_with_the_value_as_it_came() {
    let mut line = of_department();
    line["party_name"] = "福州Cafe\u{301}有限公司".into();
    line["document_name"] = "食品\u{200b}经营许可决定书".into();
    line["remark"] = "NULL".into();
    line["legal_rep_id_type"] = "身份证".into();
    line["legal_rep_id_no"] = "11010519491231002x".into();
    let row = read_later(&line, false);
    assert!(row.record.is_some(), "{:?}", row.findings);
    let change = |field: &str| {
        let c = row.changes.iter().find(|c| c.field == field).unwrap_or_else(|| panic!("{field}: {:?}", row.changes));
        (c.change, c.from.clone(), c.to.clone())
    };
    assert_eq!(change("party_name").0, Change::Composed);
    assert_eq!(change("document_name").0, Change::Unseen);
    assert_eq!(change("remark"), (Change::Nothing, "NULL".into(), String::new()));
    assert_eq!(change("legal_rep_id_no"), (Change::CodeForm, "1101**********002x".into(), "1101**********002X".into()));
    let record = row.record.unwrap().record;
    let stored = Object::parse(record.bytes()).unwrap();
    assert_eq!((stored.text("party_name"), stored.get("remark")), (Some("福州Caf\u{e9}有限公司"), None));
    let mut plain = line.clone();
    plain["document_name"] = "食品经营许可决定书".into();
    assert_eq!(read_later(&plain, false).id, Some(record.id()), "two that look alike are one record");
}

/// a load of history says so in its record, once, and is the same content.
#[test]
fn a_load_of_history_is_marked_in_the_record() {
    let mut line = of_department();
    (line["decision_date"], line["valid_from"]) = ("2016-06-03".into(), "2016-06-03".into());
    let (now, history) = (read_later(&line, false), read_later(&line, true));
    assert_eq!(codes(&now), [("V020", Severity::Note)]);
    assert_eq!(codes(&history), []);
    assert!(history.changes.iter().any(|c| c.change == Change::Backfill));
    let [now, history] = [now, history].map(|r| r.record.unwrap());
    assert!(now.content.content == history.content.content && now.record.id() != history.record.id());
    line["backfill"] = "是".into();
    let said = read_later(&line, true);
    assert_eq!(said.record.unwrap().record.id(), history.record.id(), "as a column says it too");
}

/// what was produced this year is late if it is late, whoever calls it history.
#[test]
fn this_years_rows_are_no_history() {
    let with = |day: &str, said: Option<&str>, backfill: bool| {
        let mut line = of_department();
        (line["decision_date"], line["valid_from"]) = (day.into(), day.into());
        if let Some(said) = said {
            line["backfill"] = said.into();
        }
        read_later(&line, backfill)
    };
    for (day, is_history) in [("2025-12-31", true), ("2026-01-01", false), ("2026-03-04", false)] {
        for (said, backfill) in [(Some("是"), false), (Some("1"), true), (None, true)] {
            let row = with(day, said, backfill);
            assert_eq!(codes(&row).contains(&("V020", Severity::Note)), !is_history, "{day} {said:?}");
            let told = row.changes.iter().any(|c| c.change == Change::NotHistory && c.to.is_empty());
            assert_eq!(told, !is_history, "{day} {said:?}: {:?}", row.changes);
            let record = row.record.unwrap().record;
            let stored = Object::parse(record.bytes()).unwrap();
            assert_eq!(stored.text("backfill"), is_history.then_some("1"), "{day} {said:?}");
            assert_eq!(is_history, record.id() != with(day, None, false).id.unwrap(), "{day} {said:?}");
        }
    }
    let none = with("2026-02-30", None, true);
    assert_eq!(codes(&none), [("V004", Severity::Reject); 2], "both days, and nothing else");
}

/// A row that was handed in before a version of the catalog, or as a load of history, is found by the row all the same.
#[test]
fn a_row_is_found_under_the_catalog_of_its_day() {
    let charter = charter("");
    let context = |today: &str, backfill| RowContext {
        charter: &charter,
        me: 350_102.try_into().unwrap(),
        today: today.parse().unwrap(),
        category: None,
        unit: None,
        division: None,
        rights: None,
        backfill,
    };
    let mut line = of_department();
    (line["decision_date"], line["valid_from"]) = ("2016-06-03".into(), "2016-06-03".into());
    let line = line.to_string();
    let id = |today, backfill| identify(&context(today, backfill), line.as_bytes()).unwrap();
    let now = id("2026-11-12", false);
    let otherwise = |text: &str, replies| identify_otherwise(&context("2026-11-12", false), text.as_bytes(), replies);
    let others = otherwise(&line, false);
    for then in [id("2026-10-12", false), id("2026-10-12", true), id("2026-11-12", true)] {
        assert!(then != now && others.contains(&then), "{others:?}");
    }
    // It is a duplicate of an amendment that says the same; one that amends by itself is one of nothing.
    let amends = line.replacen('{', "{\"operation\":\"amend\",", 1);
    let amended = identify(&context("2026-11-12", false), amends.as_bytes()).unwrap();
    assert!(others.iter().position(|id| *id == amended).is_some_and(|at| at >= 3), "{others:?}");
    assert_eq!((others.len(), otherwise(&amends, false).len()), (7, 3));
    let replies = otherwise(&amends, true);
    assert!(replies.len() == 7 && replies.contains(&now), "it answers a question, and says what was held: {replies:?}");
    let claims = line.replacen('{', "{\"catalog_version\":\"2026.1\",", 1);
    assert_eq!(otherwise(&claims, false).len(), 3, "as a load of history, as an amendment, as both");
    assert!(otherwise("{", false).is_empty());
}
