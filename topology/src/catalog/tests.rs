//! Catalogs compiled from text: what is right, and what is refused and why.

use super::*;

fn shipped() -> Catalogs {
    Catalogs::shipped().unwrap()
}

fn with(more: &str) -> Result<Catalogs, String> {
    #[derive(serde::Deserialize)]
    struct File {
        catalog: Vec<CatalogDocument>,
    }
    let file: File = toml::from_str(&(SHIPPED.to_owned() + "\n" + more)).map_err(|e| e.to_string())?;
    Catalogs::compile(file.catalog)
}

fn d(text: &str) -> Date {
    text.parse().unwrap()
}

#[test]
fn the_shipped_catalog_has_the_plans_categories() {
    let catalogs = shipped();
    let catalog = catalogs.current(d("2026-11-25"));
    let names: Vec<_> = catalog.categories().map(|c| &*c.id).collect();
    assert_eq!(
        names,
        [
            "abnormal_operation",
            "admin_license",
            "admin_penalty",
            "chattel_mortgage",
            "equity_pledge",
            "ip_pledge",
            "liaison",
            "other",
            "punitive_measure_feedback",
            "registration",
            "serious_violation",
            "spot_check",
            "trademark",
            "zero_report"
        ]
    );
    let license = catalog.category("admin_license").unwrap();
    assert!(license.form().next().is_some_and(|f| &*f.id == "party_name"), "the form keeps its order");
    assert!(license.fields().is_sorted_by(|a, b| a.id < b.id));
    assert_eq!(license.field("license_kind").unwrap().list.as_ref().unwrap().find("其他-备案"), Matched::Value);
    assert_eq!(license.field("status").unwrap().list.as_ref().unwrap().find("有效"), Matched::Word("1"));
    for (title, field) in [("XK_XDR_MC", "party_name"), ("*许可决定日期（必填）", "decision_date"), ("备注", "remark")]
    {
        assert_eq!(license.column(title).map(|f| &*f.id), Some(field), "{title}");
    }
    assert!(catalog.rules().count() >= 25);
    assert!(!catalog.category("zero_report").unwrap().field("subject_name").unwrap().required);
}

#[test]
fn a_later_version_names_only_what_changes() {
    let more = r#"
[[catalog]]
version = "2027.1"
extends = "2026.1"
effective = "2027-01-01"
[[catalog.category]]
id = "green_label"
zh = "绿色标识"
en = "Green label"
key = ["label_no"]
fields = [{ id = "label_no", zh = "标识编号", required = true }]
"#;
    let catalogs = with(more).unwrap();
    assert_eq!(&*catalogs.current(d("2026-12-31")).version, "2026.11");
    let next = catalogs.current(d("2027-01-01"));
    assert!(next.category("green_label").is_some() && next.category("admin_license").is_some());
    assert_eq!(catalogs.claimed("2026.1", d("2027-06-01")).1, Claim::Good, "no end was named");
    assert_eq!(catalogs.claimed("2027.1", d("2026-12-31")).1, Claim::NotInForce);
    assert_eq!(catalogs.claimed("2031.9", d("2026-12-31")).1, Claim::Unknown);
    assert!(!catalogs.shipped && shipped().shipped);
}

/// A18, A09a: what a later version says of empty cells and of numbers is not said of rows that claim an older one.
#[test]
fn words_for_nothing_and_numbers_begin_with_a_version() {
    let catalogs = shipped();
    let (old, new) = (catalogs.version("2026.1").unwrap(), catalogs.version("2026.11").unwrap());
    assert_eq!((&*catalogs.current(d("2026-10-31")).version, &*catalogs.current(d("2026-11-01")).version), {
        ("2026.1", "2026.11")
    });
    for word in ["\\N", "NULL", "(null)", "<null>", "[NULL]", "None", "undefined", "nan", "NaN", "#N/A"] {
        assert!(new.nothing.hold(word) && !old.nothing.hold(word), "{word}");
    }
    for word in ["无", "--", "/", "暂无", "—"] {
        assert!(new.unsaid.hold(word) && new.placeholders.hold(word) && !new.nothing.hold(word), "{word}");
        assert!(!old.unsaid.hold(word), "{word}");
    }
    for id in ["admin_license", "admin_penalty", "equity_pledge", "serious_violation", "other"] {
        assert!(new.category(id).unwrap().has_number && !old.category(id).unwrap().has_number, "{id}");
    }
    assert!(!new.category("zero_report").unwrap().has_number);
    assert_eq!(new.rule("V028").and_then(|r| r.severity), Some(Severity::Question));
    assert!(old.rule("V028").is_none() && old.rule("V029").is_none());
    let later = "[[catalog]]\nversion = \"2027.1\"\nextends = \"2026.11\"\neffective = \"2027-01-01\"\n";
    let later = with(later).unwrap().version("2027.1").unwrap().clone();
    assert!(later.nothing.hold("NULL") && later.category("other").unwrap().has_number, "taken over");
}

#[test]
fn two_versions_may_be_claimed_while_both_are_in_force() {
    let more = r#"
[[catalog]]
version = "2027.1"
extends = "2026.1"
effective = "2027-01-01"
until = "2027-06-30"
[[catalog.exclude]]
code = "EXCLUDED_STATISTICS"
category = "statistical_annual_report"
zh = "新说明"
en = "said anew"
[[catalog]]
version = "2027.2"
extends = "2027.1"
effective = "2027-04-01"
placeholders = ["略"]
"#;
    let catalogs = with(more).unwrap();
    let current = |day: &str| catalogs.current(d(day)).version.to_string();
    assert_eq!(current("2016-12-28"), "2026.1", "before the first: that one");
    assert_eq!(current("2027-03-31"), "2027.1");
    assert_eq!(current("2027-04-01"), "2027.2");
    let claim = |version: &str, day: &str| catalogs.claimed(version, d(day)).1;
    assert_eq!((claim("2027.1", "2027-06-30"), claim("2027.2", "2027-06-30")), (Claim::Good, Claim::Good));
    assert_eq!(claim("2027.1", "2027-07-01"), Claim::NotInForce);
    let (judges, _) = catalogs.claimed("1999.1", d("2027-05-01"));
    assert_eq!(&*judges.version, "2027.2", "the current one judges what claims none that is known");
    let last = catalogs.version("2027.2").unwrap();
    assert!(last.placeholders.hold("略") && !last.placeholders.hold("测试") && last.until.is_none());
    assert!(last.note_words.contains(&"填表说明".to_owned()), "taken over");
    // One code, two exclusions: only the one that is said anew is replaced.
    let said: Vec<_> = last.exclusions.iter().map(|e| (e.category.as_deref(), e.en.as_str())).collect();
    assert!(said.contains(&(Some("statistical_annual_report"), "said anew")) && said.len() == 2, "{said:?}");
    assert!(said.iter().any(|(c, _)| *c == Some("spot_check")));
}

#[test]
fn what_is_wrong_is_named() {
    let version =
        |body: &str| format!("[[catalog]]\nversion = \"x\"\nextends = \"2026.1\"\neffective = \"2027-01-01\"\n{body}");
    let category = |fields: &str| {
        version(&format!(
            "[[catalog.category]]\nid = \"c\"\nzh = \"c\"\nen = \"c\"\nkey = [\"a\"]\nfields = [{fields}]\n"
        ))
    };
    let a = "{ id = \"a\", zh = \"a\" }";
    let twice = |name: &str, field: &str| format!("{name} = [{field}, {field}]\n");
    let rule = |severity: &str, en: &str| {
        format!("[[catalog.rule]]\nid = \"V001\"\nseverity = \"{severity}\"\nzh = \"a\"\nen = \"{en}\"\n")
    };
    let list = |values: &str, also: &str| format!("[[catalog.list]]\nid = \"l\"\nvalues = {values}\nalso = {also}\n");
    let exclude =
        |code: &str, of: &str| format!("[[catalog.exclude]]\ncode = \"{code}\"\nzh = \"a\"\nen = \"a\"\n{of}\n");
    assert!(with(&category(a)).is_ok());
    for (more, expected) in [
        (version("").replace("2026.1", "2020.1"), "stands not before it"),
        (version("").replace("\"x\"", "\"2026.1\""), "twice"),
        (version("").replace("2027-01-01", "soon"), "not a day"),
        (version("").replace("2027-01-01", "2001-01-01"), "in the order"),
        (category("{ id = \"b\", zh = \"b\" }"), "\"a\" is not a field of it"),
        (category(&format!("{a}, {a}")), "a field stands there twice"),
        (category("{ id = \"a\", zh = \"a\", type = \"colour\" }"), "\"colour\" is not known"),
        (category("{ id = \"a\", zh = \"a\", list = \"none\" }"), "there is no list \"none\""),
        (category("{ id = \"a\", zh = \"a\", required_if = [\"b\"] }"), "is no condition"),
        (category("{ id = \"a\", zh = \"a\", same_as = \"b\" }"), "\"b\" is not a field"),
        (category("{ id = \"A\", zh = \"a\" }"), "lower-case"),
        (category("{ id = \"a\", zh = \"a\", missing = \"V999\" }"), "no rule \"V999\""),
        (category("{ id = \"a\", zh = \"a\" }, { id = \"b\", zh = \"a\" }"), "would name both a and b"),
        (version("until = \"2026-12-31\"\n"), "lies before effective"),
        (version("").replace("\"x\"", "\"\""), "1 to 32 characters"),
        (
            version(&twice("envelope", "{ id = \"remark\", zh = \"a\" }")),
            "envelope: the field remark stands there twice",
        ),
        (category("{ id = \"a\", zh = \"\" }"), "a field has a title"),
        (category("{ id = \"a\", zh = \"a\", max = 0 }"), "max = 0"),
        (category("{ id = \"a\", zh = \"a\", max = 20001 }"), "max = 20001"),
        (category("{ id = \"a\", zh = \"a\", type = \"date\", list = \"valid\" }"), "only text has a code list"),
        (category("{ id = \"a\", zh = \"a\", several = true }"), "no code list for the values"),
        (category("{ id = \"a\", zh = \"a\", instead = [\"0\"] }"), "only a code with a check digit"),
        (category("{ id = \"a\", zh = \"a\", not_after = \"today\" }"), "only dates have them"),
        (category("{ id = \"a\", zh = \"a\", type = \"date\", not_before = \"remark\" }"), "remark is no date"),
        (category("{ id = \"a\", zh = \"a\", doubtful_above = \"1\" }"), "only a decimal has it"),
        (category("{ id = \"a\", zh = \"a\", type = \"decimal\", doubtful_above = \"1e3\" }"), "a whole number"),
        (category("{ id = \"a\", zh = \"a\", paired_with = \"a\" }"), "paired with itself"),
        (category("{ id = \"a\", zh = \"a\", same_as = \"subject_uscc\" }"), "of another type"),
        (category("{ id = \"a\", zh = \"a\", required_if = [\"operation=erase\"] }"), "\"erase\" is not in the list"),
        (category("{ id = \"a\", zh = \"a\", required_if = [\"remark=\"] }"), "compared with nothing"),
        (category("{ id = \"a\", zh = \"a\", personal = true }"), "a is personal, and a business key is public"),
        (category(a).replace("key = ", "produced_on = [\"a\"]\nkey = "), "produced_on: a is no date"),
        (category(a).replace("key = [\"a\"]", "key = []"), "at least one part"),
        (category(a).replace("key = ", "collect_days = 21\nkey = "), "the second no less than the first"),
        (category(a).replace("en = \"c\"", "en = \"\""), "a name in both languages"),
        (version("document_numbers = [\"colour\"]"), "no category has a field \"colour\""),
        (version(&rule("fatal", "a")), "\"fatal\""),
        (version(&rule("note", "")), "text in both languages"),
        (version(&rule("note", "{name}")), "no blanks but {field} and {value}"),
        (version(&rule("note", "a").repeat(2)), "the rule V001 stands there twice"),
        (version(&list("[\"1\", \"1\"]", "[]")), "twice"),
        (version(&list("[\"1=a\", \"2=a\"]", "[]")), "\"a\" would mean two values"),
        (version(&list("[\"1\", \"2\"]", "[\"1=2\"]")), "\"1\" is a value of its own"),
        (version(&list("[\"1\"]", "[\"a=3\"]")), "\"3\" is not one of its values"),
        (version(&list("[\"1\"]", "[]").repeat(2)), "the list l stands there twice"),
        (version(&exclude("A", "")), "would exclude everything"),
        (version(&exclude("A", "unit_words = [\"\"]")), "an empty word"),
        (version(&exclude("a b", "category = \"other\"")), "capital letters"),
        (version(&exclude("A", "category = \"other\"").repeat(2)), "the exclusion A of other stands there twice"),
    ] {
        let why = with(&more).map(|_| ()).unwrap_err();
        assert!(why.contains(expected), "{expected:?} in {why}");
    }
}
