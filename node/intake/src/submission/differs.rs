//! In what a row differs from the record that is held under its business key (V013). Where only the way of writing differs
//! (width of letters, gaps, brackets, dashes, capitals), that is said: the person sees one text, and looks for a difference in
//! vain.
//!
//! What is held is read from the disk for it, so it is done for the first such rows of a submission only.

use super::HeldReader;
use crate::{RowChunk, RowContext};
use std::collections::BTreeMap;
use tally_protocol::{
    canonical::{Object, Value},
    finding::Finding,
    record::RecordId,
};
use tally_topology::{
    catalog::Catalog,
    content::NOT_SUBSTANCE,
    judge::{masked, shown},
    signs::folded,
};

/// Rows of one submission that are compared with what is held.
pub(super) const COMPARED_MAX: usize = 200;
/// Fields that are named.
const NAMED_MAX: usize = 6;

/// A row that conflicts with a record.
pub(super) struct Conflicting {
    /// Its place in the chunk.
    pub(super) place: usize,
    /// The record.
    pub(super) held: RecordId,
    /// Its place in the same chunk, where it comes from there: then it is perhaps not in the index yet.
    pub(super) held_place: Option<usize>,
}

/// What is said of each of some rows of a chunk, by their places. Blocking.
pub(super) fn conflicts(
    context: &RowContext<'_>,
    reader: &dyn HeldReader,
    rows: &RowChunk,
    conflicting: &[Conflicting],
) -> BTreeMap<usize, Finding> {
    let stored = |place| Some(rows.one(place).judged(context).pop()?.record?.record.bytes().to_vec());
    let one = |conflicting: &Conflicting| {
        let held = conflicting.held_place.and_then(stored).or_else(|| reader.read(conflicting.held))?;
        let here = stored(conflicting.place)?;
        let (here, held) = (Object::parse(&here).ok()?, Object::parse(&held).ok()?);
        let catalog = context.charter.catalogs().current(context.today);
        Some((conflicting.place, finding(catalog, &here, &held)?))
    };
    conflicting.iter().filter_map(one).collect()
}

/// A member that differs.
struct Difference<'o> {
    name: &'o str,
    here: &'o str,
    held: &'o str,
    /// Its texts differ in the way of writing alone.
    in_form: bool,
}

fn differences<'o>(here: &'o Object<'_>, held: &'o Object<'_>) -> Vec<Difference<'o>> {
    fn text<'o>(object: &'o Object<'_>, name: &str) -> &'o str {
        match object.get(name) {
            Some(Value::Text(text)) => text,
            _ => "",
        }
    }
    let only_held = held.members().filter(|(name, _)| here.get(name).is_none());
    let names = here.members().chain(only_held).map(|(name, _)| name);
    let differing = names.filter(|name| !NOT_SUBSTANCE.contains(name) && here.get(name) != held.get(name));
    let one = |name| {
        let (here, held) = (text(here, name), text(held, name));
        let in_form = !here.is_empty() && folded(here) == folded(held);
        Difference { name, here, held, in_form }
    };
    differing.map(one).collect()
}

/// What is said of a row that differs so; none: it does not.
fn finding(catalog: &Catalog, here: &Object<'_>, held: &Object<'_>) -> Option<Finding> {
    let category = catalog.category(here.text("category")?)?;
    let mut all = differences(here, held);
    // What is copied from another field says nothing of its own.
    let copies =
        |name: &str| all.iter().find_map(|d| category.field(d.name)?.same_as.as_deref().filter(|s| *s == name));
    let copied: Vec<String> = all.iter().filter_map(|d| copies(d.name)).map(str::to_owned).collect();
    all.retain(|d| !copied.iter().any(|c| c == d.name));
    let first = all.first()?;
    let named =
        |d: &Difference<'_>| (d.name.to_owned(), category.field(d.name).map_or(shown(d.name), |f| f.zh.to_string()));
    let (ids, titles): (Vec<_>, Vec<_>) = all.iter().take(NAMED_MAX).map(named).unzip();
    let more = all.len().saturating_sub(NAMED_MAX);
    let (more, more_zh) = match more {
        0 => (String::new(), String::new()),
        more => (format!(" and {more} more"), format!("等 {} 项", all.len())),
    };
    let (ids, titles) = (ids.join(", ") + &more, titles.join("、") + &more_zh);
    let personal = category.field(first.name).is_some_and(|f| f.personal);
    let [was, is] = [first.held, first.here].map(|v| if personal { masked(v) } else { shown(v) });
    let (en, zh) = match all.iter().all(|d| d.in_form) {
        true => (
            format!(
                "a record with the same business key is held, and only the way of writing differs (width of letters, spaces, brackets, dashes or capitals) in {ids}: held {was:?}, here {is:?}. If it is the same, leave the row out; if it is to be written so, amend that record"
            ),
            format!(
                "同一文号已有记录，仅{titles}的写法不同（全角半角、空格、括号、连接号或大小写）：已有“{was}”，本行“{is}”；如为同一内容请勿重复报送，如须改写请以“变更”报送"
            ),
        ),
        false => (
            format!(
                "another record with the same business key and other content is held: amend that one, or correct the number. They differ in {ids}: held {was:?}, here {is:?}"
            ),
            format!("同一文号内容不一致：请变更原记录或更正文号。不同之处：{titles}（已有“{was}”，本行“{is}”）"),
        ),
    };
    Some(Finding::reject("V013", "business_key", en, zh))
}

#[cfg(test)]
mod tests {
    use super::*;
    use tally_topology::catalog::Catalogs;

    fn said(here: &str, held: &str) -> Option<(String, String)> {
        let catalogs = Catalogs::shipped().unwrap();
        let object = |more: &str| {
            let text =
                format!(r#"{{"category":"admin_license","operation":"create","party_name":"福州（市）甲公司"{more}}}"#);
            serde_json::from_str::<serde_json::Value>(&text).unwrap().to_string()
        };
        let (here, held) = (object(here), object(held));
        let (here, held) = (Object::parse(here.as_bytes()).unwrap(), Object::parse(held.as_bytes()).unwrap());
        let catalog = catalogs.versions().last().unwrap();
        finding(catalog, &here, &held).map(|f| (f.message, f.message_zh))
    }

    /// A18: a name in half width and one in full width look the same.
    #[test]
    fn what_differs_in_width_alone_is_said_to() {
        for (here, held) in [
            ("福州(市)甲公司", "福州（市）甲公司"),
            ("福州ＡＢＣ公司", "福州ABC公司"),
            ("福州１号公司", "福州1号公司"),
            ("福州 甲公司", "福州甲公司"),
            ("福州abc公司", "福州ABC公司"),
            ("福州－甲公司", "福州-甲公司"),
        ] {
            let name = |name: &str| format!(r#","subject_name":"{name}""#);
            let (en, zh) = said(&name(here), &name(held)).unwrap();
            assert!(en.contains("only the way of writing") && en.contains("subject_name"), "{here}: {en}");
            assert!(zh.contains("仅主体名称的写法不同") && zh.contains(&format!("已有“{held}”")), "{here}: {zh}");
        }
    }

    #[test]
    fn other_content_is_named_by_its_fields() {
        let (en, zh) =
            said(r#","license_content":"热食","valid_until":"2030-01-01""#, r#","license_content":"冷食""#).unwrap();
        assert!(en.contains("license_content, valid_until") && !en.contains("only the way"), "{en}");
        assert!(zh.contains("许可内容、有效期至") && zh.contains("已有“冷食”，本行“热食”"), "{zh}");
        // Of one that differs and one that is only written otherwise both are named.
        let (en, _) = said(r#","legal_rep":"A","remark":"x""#, r#","legal_rep":"Ａ","remark":"y""#).unwrap();
        assert!(en.contains("legal_rep, remark") && !en.contains("only the way"), "{en}");
        // What tells of the delivery is no content, and numbers of persons are hidden.
        assert_eq!(said(r#","operation":"amend","source_unit":"a""#, ""), None);
        let (en, _) =
            said(r#","legal_rep_id_no":"11010519491231002X""#, r#","legal_rep_id_no":"110105194912310029""#).unwrap();
        assert!(!en.contains("19491231"), "{en}");
    }
}
