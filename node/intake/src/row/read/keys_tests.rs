//! Rows of JSON whose keys are heads of tables, and causes that were told more than once.

use super::tests::{charter, codes, good, read, read_with};
use tally_protocol::finding::Severity;
use tally_topology::catalog::Catalogs;

/// The same row under other keys.
fn under(title: impl Fn(&str) -> String) -> serde_json::Value {
    let members = good().as_object().unwrap().clone();
    serde_json::Value::Object(members.into_iter().map(|(key, value)| (title(&key), value)).collect())
}

/// Keys as the template's heads were no fields, so each field was missing.
#[test]
fn keys_are_found_by_the_names_of_heads() {
    let catalogs = Catalogs::shipped().unwrap();
    let category = catalogs.versions()[0].category("admin_license").unwrap().clone();
    let plain = read(350_102, &good()).record.unwrap().record;
    let titled = under(|key| category.field(key).unwrap().zh.to_string());
    let coded = under(|key| category.field(key).unwrap().codes.first().map_or(key.to_owned(), |c| c.to_lowercase()));
    for line in [titled, coded, under(str::to_uppercase)] {
        let row = read(350_102, &line);
        assert_eq!(codes(&row), [], "{line}: {:?}", row.findings);
        assert_eq!(row.record.unwrap().record.id(), plain.id());
    }
}

#[test]
fn a_category_is_told_by_its_name_or_by_the_keys() {
    let mut line = good();
    let plain = read(350_102, &line).record.unwrap().record;
    line["category"] = "行政许可".into();
    let named = read(350_102, &line);
    assert_eq!(named.record.unwrap().record.id(), plain.id());
    assert_eq!(named.changes[0].field, "category", "it is told");
    line.as_object_mut().unwrap().remove("category");
    assert_eq!(read(350_102, &line).record.unwrap().record.id(), plain.id());
    line["信息类别"] = "行政许可".into();
    assert_eq!(read(350_102, &line).record.unwrap().record.id(), plain.id());
    let nothing = read(350_102, &serde_json::json!({"a": 1}));
    assert_eq!(codes(&nothing), [("V003", Severity::Reject)]);
    assert!(nothing.findings[0].message_zh.contains("--category"), "{:?}", nothing.findings);
    let nested = read(350_102, &serde_json::json!({"RECORDS": [good()]}));
    assert!(nested.findings[0].message_zh.contains("RECORDS"), "{:?}", nested.findings);
}

#[test]
fn what_is_there_under_its_own_name_stays() {
    let mut line = good();
    line["备注"] = "甲".into();
    line["自编"] = "乙".into();
    line["行政许可决定文书号"] = "别的".into();
    let record = read(350_102, &line).record.unwrap().record;
    let stored: serde_json::Value = serde_json::from_slice(record.bytes()).unwrap();
    assert_eq!((&stored["remark"], &stored["自编"]), (&"甲".into(), &"乙".into()));
    assert_eq!((&stored["document_no"], &stored["行政许可决定文书号"]), (&good()["document_no"], &"别的".into()));
}

#[test]
fn numbers_with_a_point_are_named_with_their_fields() {
    let row = read_with(&charter(""), 350_102, br#"{"status":1.0,"fine_wan":1.5,"n":2}"#);
    assert_eq!(codes(&row), [("S005", Severity::Reject)]);
    assert!(row.findings[0].message_zh.contains("fine_wan=1.5, status=1.0"), "{:?}", row.findings);
}

/// A field that is made of an empty one was said to be empty beside it.
#[test]
fn of_what_is_empty_the_cause_is_told() {
    let mut line = good();
    for field in ["document_no", "business_key"] {
        line.as_object_mut().unwrap().remove(field);
    }
    let row = read(350_102, &line);
    let said: Vec<_> = row.findings.iter().map(|f| (&*f.code, &*f.field)).collect();
    assert_eq!(said, [("V001", "document_no")]);
    let mut line = good();
    line.as_object_mut().unwrap().remove("subject_name");
    let row = read(350_102, &line);
    assert!(row.findings[0].message_zh.contains("主体名称（即 行政相对人名称）"), "{:?}", row.findings);
}

#[test]
fn one_sign_in_several_fields_is_told_once() {
    let mut line = good();
    for field in ["document_no", "legal_rep", "license_content", "status"] {
        line[field] = format!("\u{1f}{}", good()[field].as_str().unwrap()).into();
    }
    let row = read(350_102, &line);
    assert_eq!(codes(&row), [("V021", Severity::Reject)], "{:?}", row.findings);
    assert!(row.findings[0].message_zh.contains("4 格含有 U+001F"), "{:?}", row.findings);
}

#[test]
fn what_people_write_in_place_of_json_is_named() {
    for (line, zh) in [
        ("{“a”:1}", "中文引号"),
        ("{'a':1}", "单引号"),
        ("{\"a\":1},", "逗号"),
        ("{\"a\":1", "不完整"),
        ("{\"a\":1 2}", "不是有效的 JSON"),
    ] {
        let row = read_with(&charter(""), 350_102, line.as_bytes());
        assert!(row.findings[0].code == "S001" && row.findings[0].message_zh.contains(zh), "{:?}", row.findings);
    }
}
