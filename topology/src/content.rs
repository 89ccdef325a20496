//! What a record is: which version of which business key, with which content, and what it counts for.
//!
//! All of it follows from the record alone, so that intake, index and reports agree on it, whichever of them looks first.
//! Two records say the same if their contents are the same, whatever their operation, the catalog's version and the record
//! that they amend. Nothing here knows what is held.

use crate::signs::folded;
use jiff::civil::Date;
use serde::{Deserialize, Serialize};
use std::borrow::Cow;
use tally_protocol::{
    canonical::{Object, Value},
    record::RecordId,
};

/// Longest texts kept in [`Dimensions`], in bytes.
const CATEGORY_BYTES_MAX: usize = 64;
const UNIT_BYTES_MAX: usize = 32;
/// Member by which a record says that it belongs to a load of history (历史补录), and what it says then. Such a record is not
/// counted as late: it was produced before there was anybody to hand it to.
pub const BACKFILL: &str = "backfill";
/// Its only value.
pub const BACKFILL_YES: &str = "1";
/// Members that do not make two records different in content.
pub const NOT_CONTENT: &[&str] = &["amends", BACKFILL, "catalog_version", "operation"];
/// Members that name the deliverer, not the content. The city may deliver for a county (R-43).
const DELIVERY: &[&str] =
    &["source_unit", "source_unit_uscc", "submitter_division", "submitter_name", "submitter_uscc"];
/// Members that do not make two records different in substance: all of these.
pub const NOT_SUBSTANCE: &[&str] = &[
    "amends",
    BACKFILL,
    "catalog_version",
    "operation",
    "source_unit",
    "source_unit_uscc",
    "submitter_division",
    "submitter_name",
    "submitter_uscc",
];

/// What a record does to its business key. The order is that of the encoding.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Operation {
    /// 新增
    #[default]
    Create,
    /// 变更
    Amend,
    /// 撤销
    Withdraw,
}

/// Which version of which business key a record is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ContentId {
    /// What it does.
    pub operation: Operation,
    /// Hash of its business key, see [`business_key_hash`].
    pub key: [u8; 16],
    /// The same of the business key's form in which numbers are compared ([`folded`]), where that is another text.
    pub form: Option<[u8; 16]>,
    /// Hash of its content: all members but [`NOT_CONTENT`].
    pub content: [u8; 16],
    /// Hash of its substance: the content without the members that tell who delivered it. The same record that came by two
    /// paths has one substance and two contents.
    pub substance: [u8; 8],
    /// The first half of the id of the record that it amends or withdraws, if it names one.
    pub amends: Option<[u8; 16]>,
}

/// What a record counts for, in statistics, deadlines and comparisons.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Dimensions {
    /// The day it was produced, as the number YYYYMMDD; 0: not known.
    pub produced_on: u32,
    /// The division it counts for; 0: not known.
    pub division: u32,
    /// Category.
    pub category: String,
    /// Code of the producing unit.
    pub unit: String,
    /// The submitting unit's division; 0: not known.
    pub submitter_division: u32,
    /// Mark of the submitting unit, see [`unit_mark`].
    pub submitter: [u8; 8],
    /// Mark of the producing unit's name.
    pub unit_name: [u8; 8],
    /// It belongs to a load of history.
    pub backfill: bool,
}

/// By what a record is found among others of its number: its business key, and the form of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KeyForms {
    /// Hash of the business key.
    pub key: [u8; 16],
    /// Hash of its form, where that is another text.
    pub form: Option<[u8; 16]>,
}

impl KeyForms {
    /// What all business keys of one form have in common: the hash of that form.
    pub fn common(self) -> [u8; 16] {
        self.form.unwrap_or(self.key)
    }
}

impl ContentId {
    /// Its business key, and the form of it.
    pub fn forms(&self) -> KeyForms {
        KeyForms { key: self.key, form: self.form }
    }

    /// Of a record. One that is not as intake would let it in (another node's intake may be older or newer) is a `create`
    /// of a business key of its own.
    pub fn of(id: RecordId, object: &Object<'_>) -> Self {
        // One walk over the members: this is done of every record, twice.
        let (mut known, mut delivery, mut amends) = ([None; 4], [None; DELIVERY.len()], None);
        for (name, value) in object.members() {
            let Value::Text(text) = value else { continue };
            let found = match name {
                "category" => &mut known[0],
                "producer_uscc" => &mut known[1],
                "business_key" => &mut known[2],
                "operation" => &mut known[3],
                "amends" => &mut amends,
                _ => match DELIVERY.iter().position(|d| *d == name) {
                    Some(i) => &mut delivery[i],
                    None => continue,
                },
            };
            *found = Some(text.as_ref());
        }
        let [Some(category), Some(producer), Some(business_key), Some(operation)] = known else {
            return Self::unreadable(id);
        };
        let operation = match operation {
            "withdraw" => Operation::Withdraw,
            "amend" => Operation::Amend,
            _ => Operation::Create,
        };
        let mut bytes = Vec::with_capacity(1_024);
        object.write_without(NOT_SUBSTANCE, &mut bytes);
        let substance = blake3::hash(&bytes);
        // The content is the substance and what tells of its delivery: one pass over the large part does for both.
        let mut content = blake3::Hasher::new();
        content.update(substance.as_bytes());
        for text in delivery {
            content.update(&[u8::from(text.is_some())]).update(&(text.map_or(0, str::len) as u64).to_be_bytes());
            content.update(text.unwrap_or_default().as_bytes());
        }
        let content = first16(content.finalize().as_bytes());
        let key = business_key_hash(category, producer, business_key);
        let form = match folded(business_key) {
            Cow::Borrowed(_) => None,
            Cow::Owned(form) => Some(business_key_hash(category, producer, &form)),
        };
        let amends = amends.and_then(|id| id.parse::<RecordId>().ok()).map(|id| first16(&id.0.0));
        Self { operation, key, form, content, substance: first8(substance.as_bytes()), amends }
    }

    /// Of a record whose bytes are no object.
    pub fn unreadable(id: RecordId) -> Self {
        let key = first16(blake3::hash(&id.0.0).as_bytes());
        Self { operation: Operation::Create, key, form: None, content: key, substance: first8(&key), amends: None }
    }
}

/// Hash of a business key: it is unique within a category and a producing unit.
pub fn business_key_hash(category: &str, producer: &str, business_key: &str) -> [u8; 16] {
    let mut h = blake3::Hasher::new();
    for part in [category, producer, business_key] {
        h.update(&(part.len() as u64).to_be_bytes()).update(part.as_bytes());
    }
    first16(h.finalize().as_bytes())
}

impl Dimensions {
    /// Of a record's content.
    pub fn of(object: &Object<'_>) -> Self {
        let text = |f: &str, most: usize| object.text(f).filter(|t| t.len() <= most).unwrap_or_default();
        let mut digits = text("produced_on", 10).bytes().filter(u8::is_ascii_digit);
        let day = digits.try_fold(0_u32, |n, d| n.checked_mul(10)?.checked_add(u32::from(d - b'0')));
        Self {
            produced_on: day.unwrap_or(0),
            division: text("producer_division", 6).parse().unwrap_or(0),
            category: text("category", CATEGORY_BYTES_MAX).to_owned(),
            unit: text("producer_uscc", UNIT_BYTES_MAX).to_owned(),
            submitter_division: text("submitter_division", 6).parse().unwrap_or(0),
            submitter: unit_mark(object.text("submitter_uscc").unwrap_or_default()),
            unit_name: unit_mark(object.text("producer_name").unwrap_or_default()),
            backfill: object.text(BACKFILL) == Some(BACKFILL_YES),
        }
    }

    /// The day on which it was produced, if it names one.
    pub fn day(&self) -> Option<Date> {
        let (year, month, day) = (self.produced_on / 10_000, self.produced_on / 100 % 100, self.produced_on % 100);
        Date::new(year.try_into().ok()?, month.try_into().ok()?, day.try_into().ok()?).ok()
    }
}

/// A short mark of a unit's code or name, to see whether two are the same.
pub fn unit_mark(text: &str) -> [u8; 8] {
    first8(blake3::hash(text.as_bytes()).as_bytes())
}

/// The first half of a record's id, as [`ContentId::amends`] names a record.
pub fn half_id(id: RecordId) -> [u8; 16] {
    first16(&id.0.0)
}

fn first8(hash: &[u8]) -> [u8; 8] {
    let mut out = [0; 8];
    out.iter_mut().zip(hash).for_each(|(o, b)| *o = *b);
    out
}

fn first16(hash: &[u8; 32]) -> [u8; 16] {
    let mut out = [0; 16];
    out.copy_from_slice(&hash[..16]);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn content_of(json: &str) -> ContentId {
        ContentId::of(RecordId::of(json.as_bytes()), &Object::parse(json.as_bytes()).unwrap())
    }

    #[test]
    fn neither_operation_nor_catalog_make_other_content() {
        let of = |operation: &str, version: &str, more: &str| {
            content_of(&format!(
                r#"{{"business_key":"b","catalog_version":"{version}","category":"c","operation":"{operation}","producer_uscc":"u"{more}}}"#
            ))
        };
        let first = of("create", "2026.1", "");
        assert_eq!(of("amend", "2026.2", "").content, first.content);
        assert_eq!(of("create", "2026.1", r#","amends":"x""#).content, first.content);
        let other = of("create", "2026.1", r#","remark":"x""#);
        assert!(other.content != first.content && other.substance != first.substance);
        for name in DELIVERY {
            let by = of("create", "2026.1", &format!(r#","{name}":"x""#));
            assert!(by.content != first.content && by.substance == first.substance, "{name}");
        }
        assert!(DELIVERY.iter().chain(NOT_CONTENT).all(|n| NOT_SUBSTANCE.contains(n)));
    }

    /// A18: one number written in two forms has two keys, and one form.
    #[test]
    fn keys_that_differ_in_brackets_have_one_form() {
        let of = |key: &str| {
            content_of(&format!(
                r#"{{"business_key":"{key}","category":"c","operation":"create","producer_uscc":"u"}}"#
            ))
        };
        let plain = of("U|许〔2026〕1号|X");
        assert_eq!(plain.form, None);
        for other in ["U|许[2026]1号|X", "U|许（2026）1号|X", "U|许 〔2026〕 1号|X", "u|许〔２０２６〕1号|X"]
        {
            let other = of(other);
            assert!(other.key != plain.key && other.form == Some(plain.key));
        }
        assert_ne!(of("U|许[2026]2号|X").form, Some(plain.key));
    }

    #[test]
    fn a_record_without_a_business_key_is_one_of_its_own() {
        let json = r#"{"business_key":"b","category":"c","producer_uscc":"u"}"#;
        assert_eq!(content_of(json), ContentId::unreadable(RecordId::of(json.as_bytes())));
        let whole = r#"{"business_key":"b","category":"c","operation":"amend","producer_uscc":"u"}"#;
        assert_eq!(content_of(whole).key, business_key_hash("c", "u", "b"));
        assert_ne!(content_of(&whole.replace("\"b\"", "\"b2\"")).key, content_of(whole).key);
    }
}
