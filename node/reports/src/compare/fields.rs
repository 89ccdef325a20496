//! What two versions of a business key say differently, field by field.
use serde::Serialize;
use std::collections::BTreeSet;
use tally_protocol::canonical::{Object, Value};
use tally_topology::content::NOT_CONTENT;
use tally_topology::{charter::Charter, judge::masked};

/// Longest value that is shown whole, in characters; of a longer one the part in which the two differ.
const SHOWN: usize = 200;
/// Characters shown before the first that differs.
const BEFORE: usize = 20;

/// One field of two records.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct FieldDifference {
    /// Which.
    pub field: String,
    /// Value that is held; null: none.
    pub here: serde_json::Value,
    /// Value in the file; null: none.
    pub there: serde_json::Value,
}

/// Whether a field of a category is personal in any version of the catalog.
pub(super) fn is_personal(charter: &Charter, category: &str, field: &str) -> bool {
    let versions = charter.catalogs().versions().iter();
    versions.filter_map(|c| c.category(category)?.field(field)).any(|f| f.personal)
}

/// The fields that differ, in canonical order: those that are content, and the operation if the file withdraws. Personal
/// values are masked.
pub(super) fn differences(
    here: &Object<'_>,
    there: &Object<'_>,
    personal: impl Fn(&str) -> bool,
) -> Vec<FieldDifference> {
    let withdraws = there.text("operation") == Some("withdraw");
    let counts = |name: &&str| !NOT_CONTENT.contains(name) || (*name == "operation" && withdraws);
    let names: BTreeSet<&str> = here.members().chain(there.members()).map(|(n, _)| n).filter(counts).collect();
    let differ = names.into_iter().filter(|n| here.get(n) != there.get(n));
    differ
        .map(|name| {
            let (a, b) = (here.get(name).map(said), there.get(name).map(said));
            let (here, there) = if personal(name) { (a.map(mask), b.map(mask)) } else { cut(a, b) };
            let or_null = |v: Option<serde_json::Value>| v.unwrap_or_default();
            FieldDifference { field: name.to_owned(), here: or_null(here), there: or_null(there) }
        })
        .collect()
}

fn said(value: &Value<'_>) -> serde_json::Value {
    match value {
        Value::Null => serde_json::Value::Null,
        Value::Bool(b) => (*b).into(),
        Value::Integer(n) => (*n).into(),
        Value::Text(t) => t.as_ref().into(),
        Value::List(items) => items.iter().map(said).collect(),
        Value::Object(o) => o.members().map(|(n, v)| (n.to_owned(), said(v))).collect(),
    }
}

fn mask(value: serde_json::Value) -> serde_json::Value {
    match value {
        serde_json::Value::Null => value,
        serde_json::Value::String(text) => masked(&text).into(),
        other => masked(&other.to_string()).into(),
    }
}

type Both = (Option<serde_json::Value>, Option<serde_json::Value>);

/// Long values are cut to the part in which they differ.
fn cut(a: Option<serde_json::Value>, b: Option<serde_json::Value>) -> Both {
    let is_long = |v: &Option<serde_json::Value>| v.as_ref().is_some_and(|v| text(v).chars().count() > SHOWN);
    if !is_long(&a) && !is_long(&b) {
        return (a, b);
    }
    let (left, right) = (a.as_ref().map(text).unwrap_or_default(), b.as_ref().map(text).unwrap_or_default());
    let same = left.chars().zip(right.chars()).take_while(|(x, y)| x == y).count();
    let from = same.saturating_sub(BEFORE);
    let part = |text: &str| {
        let (head, mut rest) = (if from > 0 { "..." } else { "" }, text.chars().skip(from));
        let shown: String = rest.by_ref().take(SHOWN).collect();
        let tail = if rest.next().is_some() { "..." } else { "" };
        serde_json::Value::String(format!("{head}{shown}{tail}"))
    };
    (a.as_ref().map(|_| part(&left)), b.as_ref().map(|_| part(&right)))
}

fn text(value: &serde_json::Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::{super::tests::charter, *};
    use serde_json::json;

    fn between(
        here: &serde_json::Value,
        there: &serde_json::Value,
    ) -> Vec<(String, serde_json::Value, serde_json::Value)> {
        let (here, there) = (here.to_string(), there.to_string());
        let object = |t: &'static str| Object::parse(t.as_bytes()).unwrap();
        let (here, there) = (object(here.leak()), object(there.leak()));
        let charter = charter();
        let personal = |f: &str| is_personal(charter.charter(), "admin_license", f);
        differences(&here, &there, personal).into_iter().map(|d| (d.field, d.here, d.there)).collect()
    }

    #[test]
    fn fields_that_differ_are_named_and_personal_ones_masked() {
        let here = json!({"a": "1", "b": 2, "gone": "x", "operation": "create", "catalog_version": "1",
            "legal_rep_id_no": "350102199001011234"});
        let there = json!({"a": "1", "b": 3, "new": ["y"], "operation": "amend", "catalog_version": "2",
            "legal_rep_id_no": "350102199001014321"});
        let expected = [
            ("b".to_owned(), json!(2), json!(3)),
            ("gone".to_owned(), json!("x"), json!(null)),
            ("legal_rep_id_no".to_owned(), json!("3501**********1234"), json!("3501**********4321")),
            ("new".to_owned(), json!(null), json!(["y"])),
        ];
        assert_eq!(between(&here, &there), expected);
        let withdrawn = between(&json!({"operation": "create"}), &json!({"operation": "withdraw"}));
        assert_eq!(withdrawn, [("operation".to_owned(), json!("create"), json!("withdraw"))]);
    }

    #[test]
    fn of_long_values_the_part_that_differs_is_shown() {
        let long = |c: &str| json!({"f": format!("{}{c}{}", "前".repeat(1_000), "后".repeat(1_000))});
        let found = between(&long("甲"), &long("乙"));
        let (here, there) = (found[0].1.as_str().unwrap(), found[0].2.as_str().unwrap());
        assert!(here.starts_with("...前") && here.contains("甲后") && here.ends_with("后..."), "{here}");
        assert!(there.contains('乙') && there.chars().count() == SHOWN + 6, "{there}");
        let short = between(&json!({}), &long("甲"));
        assert!(short[0].1.is_null() && short[0].2.as_str().unwrap().chars().count() == SHOWN + 3);
    }
}
