//! What is told of the records that a row meets: in what it differs from the one that is held under its business key (V013), and
//! which one holds its number in another form (V028). Where only the way of writing differs
//! (width of letters, gaps, brackets, dashes, capitals), that is said: the person sees one text, and looks for a difference in
//! vain.
//!
//! What is held is read from the disk for it, so it is done for the first such rows of a submission only.
//!
//! A limited token is told nothing of a record that is not its own: a row says itself whose it is, so who may hand it in need not
//! be who may read what it meets.

use super::{HeldReader, settled::finding_of};
use crate::{HeldFinding, RowChunk, RowContext};
use std::collections::BTreeMap;
use tally_protocol::{
    canonical::{Object, Value},
    finding::Finding,
    record::RecordId,
};
use tally_topology::{
    catalog::Catalog,
    content::{Dimensions, NOT_SUBSTANCE},
    judge::{masked, shown},
    signs::folded,
};

/// Records that one submission's rows are compared with.
pub(super) const COMPARED_MAX: usize = 200;
/// Fields that are named.
const NAMED_MAX: usize = 6;

/// A row that meets a record.
pub(super) struct Meeting {
    /// Its place in the chunk.
    pub(super) place: usize,
    /// The record.
    pub(super) held: RecordId,
    /// Only its number is the same, in another form.
    pub(super) in_form: bool,
    /// Its place in the same chunk, where it comes from there: then it is perhaps not in the index yet.
    pub(super) held_place: Option<usize>,
}

impl Meeting {
    /// The row at a place, if what was found about it is a record, and reading that tells more. `limited`: not every record may
    /// be named to who hands in.
    pub(super) fn of(place: usize, found: &HeldFinding, limited: bool) -> Option<Self> {
        let (held, in_form) = match found {
            HeldFinding::Conflict(held) => (*held, false),
            HeldFinding::OtherForm(held) if limited => (*held, true),
            _ => return None,
        };
        Some(Self { place, held, in_form, held_place: None })
    }
}

/// What is told of rows of a chunk, by their places and the records that they meet.
pub(super) type Differing = BTreeMap<(usize, RecordId), Finding>;

/// What may be told of each of some rows of a chunk; of the others it is only said that something is held. Blocking.
pub(super) fn differing(
    context: &RowContext<'_>,
    reader: &dyn HeldReader,
    rows: &RowChunk,
    meetings: &[Meeting],
) -> Differing {
    let stored = |place| Some(rows.one(place).judged(context).pop()?.record?.record.bytes().to_vec());
    let one = |met: &Meeting| {
        // What came in the same chunk is its sender's own word.
        let here_too = met.held_place.and_then(stored);
        let own_word = here_too.is_some();
        let held = here_too.or_else(|| reader.read(met.held))?;
        let held = Object::parse(&held).ok()?;
        if !own_word && !may_see(context, &held) {
            return None;
        }
        if met.in_form {
            return Some(((met.place, met.held), finding_of(&HeldFinding::OtherForm(met.held), false)));
        }
        let here = stored(met.place)?;
        let here = Object::parse(&here).ok()?;
        let catalog = context.charter.catalogs().current(context.today);
        Some(((met.place, met.held), finding(catalog, &here, &held)?))
    };
    meetings.iter().filter_map(one).collect()
}

/// Whether who hands in may read a record, by the same limits as everywhere else.
fn may_see(context: &RowContext<'_>, held: &Object<'_>) -> bool {
    let of = Dimensions::of(held);
    context.rights.is_none_or(|r| r.cover(&of.category, &of.unit, of.division.try_into().ok()))
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
