//! Every template, filled in by its heads alone, goes in.

use super::sheet::{ALONE, SUBJECT, SUBJECT_CODE, Sheet, UNIT, UNIT_CODE, hand_in};
use calamine::{Reader as _, Xlsx, open_workbook};
use serde_json::Value;
use std::fs;
use tally_tests::{COUNTY, Federation, list, run};

/// What a person would write under a head.
fn cell(field: &Value) -> String {
    let text = |name: &str| field[name].as_str().unwrap();
    let listed = list(&field["list"]).first().map(|v| v["label"].as_str().or(v["value"].as_str()).unwrap());
    let said = match (text("id"), text("type")) {
        ("operation", _) => "新增",
        // A person is no enterprise; no reason to fill in what belongs to one.
        ("person_id_type" | "legal_rep_id_type", _) => "",
        (id, "uscc") if id.starts_with("subject") || id.starts_with("party") || id == "uscc" => SUBJECT_CODE,
        (_, "uscc") => UNIT_CODE,
        ("subject_name" | "party_name" | "entity_name", _) => SUBJECT,
        ("producer_name" | "authority_name" | "source_unit" | "executing_unit", _) => UNIT,
        (id, "date") if id.ends_with("until") => "2025-06-04",
        (_, "date") => "2025-06-03",
        (_, "division") => "350102",
        ("reg_no", "text") => "12345678",
        (_, "decimal") => "1.5",
        (_, "integer") => "35",
        (_, "code") => listed.unwrap(),
        // Other numbers of the subject: one is enough.
        (_, "reg_no" | "org_code" | "id_no") => "",
        (id, _) if id.starts_with("party_") || id == "amends" => "",
        _ => "1",
    };
    said.to_owned()
}

#[test]
fn every_template_filled_in_by_its_heads_is_taken() {
    let federation = Federation::new(ALONE);
    federation.start(COUNTY);
    let show = |args: &[&str]| run(&[&["catalog", "show", "--json"], args].concat()).json();
    let all = show(&[]);
    let categories = list(&all["categories"]);
    assert_eq!(categories.len(), 14);
    for category in categories {
        let id = category["id"].as_str().unwrap();
        let path = federation.at(&format!("{id}.csv"));
        assert_eq!(run(&["catalog", "template", id, "-o", &path]).code, 0);
        let template = fs::read_to_string(&path).unwrap();
        let lines = Sheet::parse(&template);
        let field = |head: &str| {
            let fields = list(&category["fields"]).iter();
            fields.clone().find(|f| f["zh"] == *head).unwrap_or_else(|| panic!("{id}: {head}"))
        };
        // As handed out, it has no rows; filled in below its notes, it has one.
        let empty = hand_in(&federation, &format!("{id}.csv"), template.as_bytes(), &[]);
        assert_eq!(empty.counts(), [0; 4], "{id}: {empty:?}");
        let row: Vec<String> = lines.heads.iter().map(|h| cell(field(h))).collect();
        let filled = format!("{template}{}\r\n", row.join(","));
        let handed = hand_in(&federation, &format!("{id}.csv"), filled.as_bytes(), &[]);
        // Chattel mortgages are collected elsewhere by now.
        let expected = if id == "chattel_mortgage" { [1, 0, 0, 1] } else { [1, 1, 0, 0] };
        assert_eq!(handed.counts(), expected, "{id}: {filled} {handed:?}");
        let notes = lines.rows.iter().map(|r| r[0].as_str()).collect::<Vec<_>>().join("\n");
        let codes = list(&category["fields"]).iter().filter(|f| lines.heads.iter().any(|h| f["zh"] == **h));
        for code in codes.flat_map(|f| list(&f["list"])) {
            assert!(notes.contains(code["value"].as_str().unwrap()), "{id}: {code}");
        }

        let path = federation.at(&format!("{id}.xlsx"));
        assert_eq!(run(&["catalog", "template", id, "-o", &path]).code, 0);
        let mut book: Xlsx<_> = open_workbook(&path).unwrap();
        let sheet = book.worksheet_range(&book.sheet_names()[0].clone()).unwrap();
        let heads: Vec<String> = sheet.rows().next().unwrap().iter().map(ToString::to_string).collect();
        assert_eq!(heads, lines.heads);
        let empty = hand_in(&federation, &format!("{id}.xlsx"), &fs::read(&path).unwrap(), &[]);
        assert_eq!(empty.counts(), [0; 4], "{id}: {empty:?}");
    }
}
