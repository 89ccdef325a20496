//! Values of a catalog's fields, as they come and as they are stored.

use super::*;
use tally_topology::catalog::Catalogs;

fn catalog(version: &str) -> Catalog {
    Catalog::clone(Catalogs::shipped().unwrap().version(version).unwrap())
}

pub(super) fn field(id: &str) -> Field {
    let catalog = catalog("2026.11");
    let found = ["admin_license", "admin_penalty"].iter().find_map(|c| catalog.category(c)?.field(id).cloned());
    found.unwrap()
}

fn formed(id: &str, value: &str) -> Option<Formed> {
    normal(&catalog("2026.11"), &field(id), value)
}

fn as_stored(id: &str, value: &str) -> String {
    formed(id, value).map_or_else(|| value.to_owned(), |f| f.text.unwrap_or_default())
}

fn changes(id: &str, value: &str) -> Vec<Change> {
    formed(id, value).map(|f| f.changes).unwrap_or_default()
}

#[test]
fn what_is_in_order_is_left_alone() {
    for (id, value) in [
        ("decision_date", "2026-11-02"),
        ("fine_wan", "1.500000"),
        ("party_uscc", "91350102MA2TE5T1X0"),
        ("violation_fact", "两个  空格，全角１"),
        ("penalty_kinds", "警告;罚款"),
        ("status", "1"),
        ("remark", "无"),
        ("document_no", "榕鼓许〔2026〕1号"),
        ("remark", ""),
    ] {
        assert_eq!(formed(id, value), None, "{id}");
    }
}

#[test]
fn codes_amounts_and_words() {
    for (id, value, stored) in [
        ("party_uscc", "９１350102ma2te5t1x0　", "91350102MA2TE5T1X0"),
        ("party_uscc", "9135 0102 MA2T E5T1 X0", "91350102MA2TE5T1X0"),
        ("party_reg_no", "350100100000017.0", "350100100000017"),
        ("producer_division", "350102.0", "350102"),
        ("fine_wan", "1,234.50", "1234.50"),
        ("fine_wan", "０.5 万元", "0.5"),
        ("fine_wan", ".5", "0.5"),
        ("status", "有效", "1"),
        ("status", "1.0", "1"),
        ("violation_fact", "\u{3000}事实 ", "事实"),
        ("penalty_kinds", "警告、 罚款", "警告、 罚款"),
        ("decision_date", " 2026/11/2 ", "2026-11-02"),
        ("party_uscc", "=\"91350102MA2TE5T1X0\"", "91350102MA2TE5T1X0"),
        ("party_uscc", "'91350102MA2TE5T1X0", "91350102MA2TE5T1X0"),
        ("license_no", "=\"JY13501020012345\"", "JY13501020012345"),
        ("license_content", "'热食'类", "'热食'类"),
    ] {
        assert_eq!(as_stored(id, value), stored, "{id}: {value}");
    }
}

/// A11: signs that nobody sees go from codes wherever they stand, and it is told.
#[test]
fn codes_lose_what_nobody_sees() {
    for sign in
        "\u{202d}\u{202c}\u{200e}\u{200f}\u{2060}\u{ad}\u{200d}\u{200c}\u{200b}\u{feff}\u{2066}\u{fe0f}\u{61c}".chars()
    {
        for value in [format!("{sign}91350102MA2TE5T1X0{sign}"), format!("91350102{sign}MA2TE5T1X0")] {
            assert_eq!(as_stored("party_uscc", &value), "91350102MA2TE5T1X0", "U+{:04X}", sign as u32);
            assert_eq!(changes("party_uscc", &value), [Change::Unseen], "U+{:04X}", sign as u32);
        }
    }
    for gap in "\u{a0}\u{2007}\u{202f}\u{3000}\u{2009}\u{2800}".chars() {
        let value = format!("91350102{gap}MA2TE5T1X0");
        assert_eq!(as_stored("party_uscc", &value), "91350102MA2TE5T1X0", "U+{:04X}", gap as u32);
        assert_eq!(changes("party_uscc", &value), [Change::CodeForm]);
    }
    assert_eq!(changes("party_uscc", "91350102\u{200b}ma2te5t1x0"), [Change::Unseen, Change::CodeForm]);
    assert_eq!(as_stored("decision_date", "2026\u{200e}-11-02\u{202c}"), "2026-11-02");
}

/// A08, A09a: a word for an empty cell is an empty cell in every field; what people may mean stays in a text.
#[test]
fn words_for_nothing_are_nothing() {
    for word in [
        "\\N",
        "NULL",
        "null",
        "(null)",
        "<null>",
        "[NULL]",
        "None",
        "undefined",
        "nan",
        "NaN",
        "#N/A",
        "ＮＵＬＬ",
        " NULL ",
    ] {
        for id in [
            "legal_rep",
            "remark",
            "license_content",
            "decision_date",
            "party_uscc",
            "fine_wan",
            "status",
            "party_name",
        ] {
            let nothing = Formed { text: None, changes: vec![Change::Nothing] };
            assert_eq!(formed(id, word), Some(nothing), "{id}: {word}");
        }
        assert_eq!(
            normal(&catalog("2026.1"), &field("legal_rep"), word.trim()),
            None,
            "an older version has no such list"
        );
    }
    for word in ["无", "--", "/", "暂无", "—"] {
        for id in ["decision_date", "party_uscc", "fine_wan", "status"] {
            assert_eq!(changes(id, word), [Change::Nothing], "{id}: {word}");
        }
        for id in ["remark", "legal_rep", "license_content"] {
            assert_eq!(formed(id, word), None, "{id}: {word}");
        }
    }
    for other in ["Nana", "NULL公司", "无锡某公司", "无证经营"] {
        assert_eq!(formed("party_name", other), None, "{other}");
    }
}

#[test]
fn every_change_has_words_in_both_languages() {
    for change in [Change::Unseen, Change::Gap, Change::Radical, Change::Composed, Change::Nothing, Change::DayInChina]
    {
        let (en, zh) = change.message();
        assert!(en.is_ascii() && !zh.is_ascii(), "{change:?}");
    }
    assert_eq!(changes("decision_date", "2026-11-01T16:00:00Z"), [Change::DayInChina]);
}
