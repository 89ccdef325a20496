//! Judgements of records against the shipped catalog: which rule says what of which field.

use super::*;
use crate::charter::tests::{document, sample};

/// Departments of one county, and its data centre, which delivers for all of them.
const UNITS: &str = r#"
[registry]
closed = true
[[unit]]
code = "113501020036012589"
name = "鼓楼区市场监督管理局"
division = "350102"
kind = "county_dept"
[[unit]]
code = "113501020036116248"
name = "鼓楼区卫生健康局"
division = "350102"
kind = "county_dept"
[[unit]]
code = "11350102MB00012348"
name = "鼓楼区数据中心"
division = "350102"
kind = "county_dept"
serves = ["350102"]
"#;
const MARKET: &str = "113501020036012589";
const HEALTH: &str = "113501020036116248";
const CENTRE: &str = "11350102MB00012348";

/// What is said of a licence with these members in place of its own: code, field and severity.
fn said(more: &str, changes: &[(&str, &str)]) -> Vec<(String, String, Severity)> {
    let charter = Charter::parse(&(document(1, &sample()) + more)).unwrap();
    let json = r#"{"authority_name":"鼓楼区市场监督管理局","authority_uscc":"113501020036012589","business_key":"113501020036012589|1号|91350102MA2TE5T1X0","catalog_version":"2026.1","category":"admin_license","decision_date":"2026-06-03","document_name":"许可","document_no":"1号","legal_rep":"陈志强","license_content":"热食","license_kind":"普通","operation":"create","party_kind":"法人及非法人组织","party_name":"甲公司","party_uscc":"91350102MA2TE5T1X0","produced_on":"2026-06-03","producer_division":"350102","producer_name":"鼓楼区市场监督管理局","producer_uscc":"113501020036012589","source_unit":"鼓楼区市场监督管理局","source_unit_uscc":"113501020036012589","status":"1","subject_name":"甲公司","subject_type":"enterprise","subject_uscc":"91350102MA2TE5T1X0","submitter_division":"350102","submitter_name":"鼓楼区市场监督管理局","submitter_uscc":"113501020036012589","valid_from":"2026-06-03","valid_until":"2030-06-02"}"#;
    let mut object = Object::parse(json.as_bytes()).unwrap();
    changes.iter().for_each(|(field, value)| object.set(field, Value::text(*value)));
    let context = JudgeContext {
        charter: &charter,
        today: "2026-06-08".parse().unwrap(),
        origin: "350102".parse().unwrap(),
        least: Severity::Note,
    };
    judge(&context, &object).findings.into_iter().map(|f| (f.code, f.field, f.severity)).collect()
}

fn one(code: &str, field: &str, severity: Severity) -> Vec<(String, String, Severity)> {
    vec![(code.to_owned(), field.to_owned(), severity)]
}

#[test]
fn who_submits_for_another_is_asked_and_does_not_correct() {
    let by = |unit, operation| {
        let found = said(UNITS, &[("submitter_uscc", unit), ("source_unit_uscc", unit), ("operation", operation)]);
        found.into_iter().filter(|(code, ..)| code == "V016").collect::<Vec<_>>()
    };
    assert_eq!(by(MARKET, "create"), []);
    assert_eq!(by(MARKET, "withdraw"), []);
    assert_eq!(by(HEALTH, "create"), one("V016", "submitter_uscc", Severity::Question));
    assert_eq!(by(HEALTH, "amend"), one("V016", "submitter_uscc", Severity::Reject), "R-55");
    assert_eq!(by(CENTRE, "create"), [], "it serves the county");
}

#[test]
fn what_stands_in_two_places_agrees() {
    let differs = |field| one("V026", field, Severity::Question);
    assert_eq!(said("", &[("party_name", "乙公司")]), differs("party_name"));
    assert_eq!(said("", &[("authority_uscc", HEALTH)])[0], differs("authority_uscc")[0]);
    assert_eq!(said("", &[("produced_on", "2026-06-08")]), differs("produced_on"));
    // An amendment has a day of its own.
    assert_eq!(said("", &[("produced_on", "2026-06-08"), ("operation", "amend")]), []);
    assert_eq!(said("", &[("business_key", "x")]), one("V026", "business_key", Severity::Note));
}

#[test]
fn numbers_of_persons_stand_in_no_public_field() {
    let id = "11010519491231002X";
    for field in ["party_reg_no", "subject_reg_no", "license_content", "remark"] {
        let found = said("", &[(field, id)]);
        assert!(found.contains(&one("V025", field, Severity::Reject)[0]), "{field}: {found:?}");
    }
    let card = |no| said("", &[("legal_rep_id_type", "身份证"), ("legal_rep_id_no", no)]);
    assert_eq!((card(id), card("110105491231002")), (vec![], vec![]));
    assert_eq!(card("1101051949123100"), one("V002", "legal_rep_id_no", Severity::Reject));
    assert_eq!(card("110105194912310021"), one("V007", "legal_rep_id_no", Severity::Question));
    assert_eq!(said("", &[("legal_rep_id_type", "护照号"), ("legal_rep_id_no", "E1234567")]), []);
}

#[test]
fn the_class_of_a_code_is_that_of_its_party() {
    let party = |kind, subject, code| {
        said("", &[("party_kind", kind), ("subject_type", subject), ("party_uscc", code), ("subject_uscc", code)])
            .into_iter()
            .filter(|(code, ..)| code == "V009")
            .map(|(_, field, _)| field)
            .collect::<Vec<_>>()
    };
    let (enterprise, individual, farmers) = ("91350102MA2TE5T1X0", "92350604MA8UAA019Y", "93350703MA33CC02XJ");
    assert!(party("法人及非法人组织", "enterprise", enterprise).is_empty());
    assert!(party("法人及非法人组织", "farmers_cooperative", farmers).is_empty());
    assert!(party("个体工商户", "individual_business", individual).is_empty());
    assert!(party("个体工商户", "individual_business", "00000000000000000X").is_empty());
    assert_eq!(party("法人及非法人组织", "individual_business", individual), ["party_kind"]);
    assert_eq!(party("个体工商户", "enterprise", enterprise), ["party_kind"]);
    assert_eq!(party("个体工商户", "individual_business", enterprise), ["subject_type"]);
}

/// A holder may be registered anywhere in China, also where the division of its code is no more; who produces a record is of
/// this federation.
#[test]
fn a_holder_may_be_registered_elsewhere() {
    for code in ["9144030071526726XG", "91110108551385082Q", "91330103MA2TE5T1X6"] {
        assert_eq!(
            said("", &[("party_uscc", code), ("subject_uscc", code)])
                .into_iter()
                .filter(|(c, ..)| c != "V026")
                .collect::<Vec<_>>(),
            [],
            "{code}"
        );
    }
    let address = |division| {
        let found = said("", &[("category", "registration"), ("division", division)]);
        found.into_iter().filter(|(_, field, _)| field == "division").collect::<Vec<_>>()
    };
    for elsewhere in ["440305", "110101", "650102", "710000", "820000", "350100", "350000"] {
        assert_eq!(address(elsewhere), [], "{elsewhere}");
    }
    // One that is no more names that of today; one that never was is asked about.
    for code in ["350182", "330103", "999999"] {
        assert_eq!(address(code), one("V019", "division", Severity::Question), "{code}");
    }
    assert!(
        said("", &[("producer_division", "440305")]).contains(&one("V017", "producer_division", Severity::Reject)[0])
    );
}

#[test]
fn a_unit_that_has_ended_delivers_what_was_produced_before() {
    let until = |day: &str| {
        let line = format!("division = \"350102\"\nuntil = \"{day}\"\n");
        said(&UNITS.replacen("division = \"350102\"\n", &line, 1), &[])
    };
    assert_eq!(until("2026-06-03"), []);
    assert_eq!(until("2026-06-02"), one("V016", "submitter_uscc", Severity::Reject));
    let bad = UNITS.replacen("kind", "until = \"soon\"\nkind", 1);
    let why = Charter::parse(&(document(1, &sample()) + &bad)).unwrap_err().to_string();
    assert!(why.contains("until \"soon\" is not a day"), "{why}");
}

#[test]
fn a_version_that_is_not_in_force_is_named_with_the_one_that_is() {
    let more = r#"
[[catalog]]
version = "2024.1"
effective = "2024-01-01"
until = "2025-12-31"
"#;
    // Versions stand in the order in which they take effect: the old one goes before the last that is shipped.
    let (now, _) = crate::catalog::SHIPPED.split_once("\n[[catalog]]\nversion = \"2026.11\"").unwrap();
    let of = |version: &str| {
        let old = more.replace("until", "extends = \"2026.1\"\nuntil");
        let charter =
            Charter::parse(&(document(1, &sample()) + now + &old.replace("2024-01-01", "2017-01-01"))).unwrap();
        let context = JudgeContext {
            charter: &charter,
            today: "2026-06-08".parse().unwrap(),
            origin: "350102".parse().unwrap(),
            least: Severity::Note,
        };
        let json = format!(r#"{{"catalog_version":"{version}","category":"other"}}"#);
        let object = Object::parse(json.as_bytes()).unwrap();
        judge(&context, &object).findings.into_iter().find(|f| f.field == "catalog_version")
    };
    assert_eq!(of("2026.1"), None);
    let (unknown, over) = (of("9999").unwrap(), of("2024.1").unwrap());
    assert_eq!((unknown.severity, over.severity), (Severity::Question, Severity::Reject));
    assert!(unknown.message.contains("9999 is not known here: use 2026.1"), "{}", unknown.message);
    assert!(over.message.contains("2024.1 is not in force: use 2026.1"), "{}", over.message);
}

/// A02c: the sign is named, and not its length.
#[test]
fn signs_that_no_value_has_are_named() {
    let of = |value: &str| {
        let charter = Charter::parse(&document(1, &sample())).unwrap();
        let (today, origin) = ("2026-11-08".parse().unwrap(), "350102".parse().unwrap());
        let context = JudgeContext { charter: &charter, today, origin, least: Severity::Note };
        let json = r#"{"catalog_version":"2026.11","category":"other"}"#;
        let mut object = Object::parse(json.as_bytes()).unwrap();
        object.set("title", Value::text(value));
        judge(&context, &object).findings.into_iter().filter(|f| f.field == "title").collect::<Vec<_>>()
    };
    let long = "字".repeat(300);
    for (value, code, part) in [
        ("甲\u{1f}乙", "V021", "U+001F (separator of fields)"),
        ("\u{0}", "V021", "U+0000 (null)"),
        (&*format!("{long}\u{1e}"), "V021", "U+001E"),
        ("甲\u{fffd}", "V021", "UTF-8"),
        ("甲\u{e5e5}公司", "V029", "U+E5E5, private use"),
        ("甲⻓公司", "V029", "U+2ED3, radical"),
        (&*long, "V002", "too long"),
        ("无", "V022", "placeholder"),
        ("同上", "V022", "placeholder"),
    ] {
        let found = of(value);
        assert_eq!(found.len(), 1, "{found:?}");
        assert!(found[0].code == code && found[0].message.contains(part), "{found:?}");
    }
    assert!(of("㐀甲（乙）Ａ①").is_empty());
}

/// C08: a code that is no more is refused with that of today.
#[test]
fn an_old_division_names_that_of_today() {
    let charter = Charter::parse(&document(1, &sample())).unwrap();
    let (today, origin) = ("2026-06-08".parse().unwrap(), "350102".parse().unwrap());
    let context = JudgeContext { charter: &charter, today, origin, least: Severity::Note };
    let json =
        r#"{"catalog_version":"2026.1","category":"other","produced_on":"2015-06-03","producer_division":"350182"}"#;
    let found = judge(&context, &Object::parse(json.as_bytes()).unwrap()).findings;
    for code in ["V017", "V019"] {
        let f = found.iter().find(|f| f.code == code && f.field == "producer_division").unwrap();
        assert!(f.message.contains("350112 长乐区") && f.message_zh.contains("350112 长乐区"), "{f:?}");
    }
}

/// R-30: what is loaded as history was not late, whoever judges it.
#[test]
fn a_load_of_history_is_not_late() {
    let late = |changes: &[(&str, &str)]| said("", changes).into_iter().any(|(code, ..)| code == "V020");
    let old = [("produced_on", "2016-06-03"), ("decision_date", "2016-06-03")];
    assert!(late(&old) && !late(&[old[0], old[1], (BACKFILL, BACKFILL_YES)]));
}

#[test]
fn blanks_are_filled_and_nothing_else() {
    assert_eq!(filled("{field}={value}（{other}）{", "名称", "{field}"), "名称={field}（{other}）{");
    assert_eq!(filled("无", "a", "b"), "无");
}

/// S6: whatever stands in a field that a rule names, what is said of it is short, and harmless on a terminal.
#[test]
fn a_value_of_any_length_makes_short_and_tame_messages() {
    use tally_protocol::finding::FINDING_BYTES_MAX;
    let charter = Charter::parse(&(document(1, &sample()) + UNITS)).unwrap();
    let context = JudgeContext {
        charter: &charter,
        today: "2026-06-08".parse().unwrap(),
        origin: "350102".parse().unwrap(),
        least: Severity::Note,
    };
    let catalog = charter.catalogs().current(context.today);
    let wild = |c: char| c.is_control() || ('\u{202a}'..='\u{202e}').contains(&c) || c == '\u{2066}' || c == '\u{200f}';
    let values = ["名".repeat(20_000), "\u{202e}\u{1b}[2J\u{2066}\u{200f}、".repeat(4_000), "9".repeat(60_000)];
    let mut most = 0;
    for category in catalog.categories() {
        for field in category.fields().iter().map(|f| &*f.id).chain(["not_listed"]) {
            for value in &values {
                // Alone, and beside a day of production and a key: what is derived is compared with them.
                let mut object = Object::parse(b"{}").unwrap();
                for (name, value) in [
                    ("category", &*category.id),
                    ("operation", "create"),
                    ("produced_on", "2026-06-03"),
                    ("business_key", "k"),
                    ("producer_division", "350102"),
                    ("submitter_uscc", HEALTH),
                    ("subject_type", "enterprise"),
                    ("subject_uscc", "91350102MA2TE5T1X0"),
                    (field, value.as_str()),
                ] {
                    object.set(name, Value::text(value));
                }
                let found = judge(&context, &object).findings;
                assert!(!found.is_empty() && found.len() <= FINDINGS_MAX, "{field}");
                for f in found {
                    let said = format!("{}{}{}", f.field, f.message, f.message_zh);
                    assert!(!said.contains(wild), "{}: {field}: {said:?}", category.id);
                    assert!(said.len() < 2_000 && f.bytes() <= FINDING_BYTES_MAX, "{field}: {said}");
                    most = most.max(said.len());
                }
            }
        }
    }
    assert!(most > 200, "values are repeated at all: {most}");
}

/// Who keeps no notes judges as everybody else does: what is not collected is not judged as a record of its category.
#[test]
fn what_is_not_collected_is_so_however_little_is_said_of_it() {
    let note =
        crate::catalog::SHIPPED.replace("id = \"V018\"\nseverity = \"reject\"", "id = \"V018\"\nseverity = \"note\"");
    assert_ne!(note, crate::catalog::SHIPPED);
    let charter = Charter::parse(&(document(1, &sample()) + &note)).unwrap();
    let of = |least: Severity| {
        let (today, origin) = ("2026-06-08".parse().unwrap(), "350102".parse().unwrap());
        let json = r#"{"catalog_version":"2026.1","category":"statistical_annual_report"}"#;
        let object = Object::parse(json.as_bytes()).unwrap();
        let judged = judge(&JudgeContext { charter: &charter, today, origin, least }, &object);
        (judged.findings.into_iter().map(|f| f.code).collect::<Vec<_>>(), judged.by.is_none())
    };
    assert_eq!(of(Severity::Note), (vec!["V018".into()], true));
    assert_eq!(of(Severity::Question), (Vec::new(), true));
}
