//! The resource catalog: categories, their fields, code lists and what is said of broken rules. All of it is data of
//! the charter; here it is checked and put into a form that records are quickly judged by.

mod check;
mod compile;
mod document;
mod head;
mod list;
mod nothing;

pub use document::{CatalogDocument, CategoryDocument, FieldDocument};
pub use head::is_unit;
pub use list::{CodeList, Matched};
pub use nothing::EmptyWords;
pub use tally_protocol::finding::Severity;

use jiff::civil::Date;
use std::{borrow::Cow, collections::BTreeMap, sync::Arc};
use tally_protocol::canonical::{NameMark, Object, Value};

/// The catalog that is in force where a charter has none: a copy of `deploy/charter/catalog.toml`.
pub const SHIPPED: &str = include_str!("../../../deploy/charter/catalog.toml");

/// What is said when a rule is broken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rule {
    /// `V001` and on.
    pub id: Arc<str>,
    /// `None`: the rule is off.
    pub severity: Option<Severity>,
    /// In Chinese, with blanks `{field}` and `{value}`.
    pub zh: String,
    /// In English.
    pub en: String,
}

/// Information that is not collected at all.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Exclusion {
    /// Stable name.
    pub code: String,
    /// Only in this category.
    pub category: Option<String>,
    /// Only of units whose name holds one of these.
    pub unit_words: Vec<String>,
    /// In Chinese.
    pub zh: String,
    /// In English.
    pub en: String,
}

/// What a field holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FieldType {
    /// Any text.
    Text,
    /// A day, stored as YYYY-MM-DD.
    Date,
    /// An amount, stored as decimal text.
    Decimal,
    /// A whole number, as text or as a number.
    Integer,
    /// Unified social credit code, GB 32100.
    Uscc,
    /// Organisation code, GB 11714.
    OrgCode,
    /// Registration number, GS 15.
    RegNo,
    /// Number of an identity document.
    IdNo,
    /// Division code, GB/T 2260.
    Division,
}

/// One condition on another field.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Condition {
    /// The field is this.
    Is(Box<str>, Box<str>),
    /// The field is there and is not this.
    IsNot(Box<str>, Box<str>),
    /// The field holds this.
    Holds(Box<str>, Box<str>),
}

/// What a date is held against.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Bound {
    /// The day of judgement.
    Today,
    /// A fixed day.
    Day(Date),
    /// Another field of the record.
    Field(Box<str>),
}

/// A field of a category, the envelope's included.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Field {
    /// Identifier.
    pub id: Arc<str>,
    /// Mark of the identifier, to find it among a record's members.
    pub mark: NameMark,
    /// Title in Chinese.
    pub zh: Arc<str>,
    /// Title in English.
    pub en: String,
    /// Other names in column heads.
    pub codes: Vec<String>,
    /// What it holds.
    pub kind: FieldType,
    /// Longest, in characters.
    pub max: u32,
    /// Digits after the point.
    pub scale: u32,
    /// Must not be empty.
    pub required: bool,
    /// Must not be empty if one of these holds.
    pub required_if: Vec<Condition>,
    /// Rule that an empty one breaks.
    pub missing: Box<str>,
    /// Code list.
    pub list: Option<Arc<CodeList>>,
    /// Several values of it.
    pub several: bool,
    /// The envelope's field that says the same.
    pub same_as: Option<Box<str>>,
    /// Personal data.
    pub personal: bool,
    /// Latest.
    pub not_after: Option<Bound>,
    /// Earliest.
    pub not_before: Option<Bound>,
    /// Rule that an earlier one breaks.
    pub not_before_rule: Box<str>,
    /// A larger amount is asked about.
    pub doubtful_above: Option<Box<str>>,
    /// An empty one is filled from this field.
    pub default_from: Option<Box<str>>,
    /// Or with this.
    pub default: Option<Box<str>>,
    /// Both or neither.
    pub paired_with: Option<Box<str>>,
    /// Where this field is there, an empty one is asked about and not rejected.
    pub waived_by: Option<Box<str>>,
    /// Allowed in place of a code.
    pub instead: Vec<String>,
    /// Of the envelope.
    pub envelope: bool,
}

/// A part of a business key: the first of these fields that is there.
pub type KeyPart = Vec<Box<str>>;

/// A category.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Category {
    /// Identifier.
    pub id: Arc<str>,
    /// Name in Chinese.
    pub zh: String,
    /// Name in English.
    pub en: String,
    /// Where the field list comes from.
    pub source: String,
    /// Legal basis.
    pub basis: Vec<String>,
    /// Parts of the business key.
    pub key: Vec<KeyPart>,
    /// A part of it is the number of a document, which people write in more than one form (V028).
    pub has_number: bool,
    /// Dates that are `produced_on`.
    pub produced_on: Vec<Box<str>>,
    /// Has a subject.
    pub subject: bool,
    /// Counts as enterprise information.
    pub counts: bool,
    /// Says which subjects there are.
    pub base: bool,
    /// No records from this day on.
    pub closed_from: Option<Date>,
    /// Working days until it must have reached the province.
    pub collect_days: u32,
    /// Working days until it must be published.
    pub publish_days: u32,
    /// Fields in the order of their identifiers, which is that of canonical JSON.
    fields: Vec<Field>,
    /// The category's own fields in the order of its form: places in `fields`.
    form: Vec<usize>,
    /// Heads of columns.
    heads: head::Heads,
    /// What any of the fields allows in place of a code: most values are none of it, which is soon seen.
    instead: Vec<String>,
}

impl Category {
    /// All fields, sorted by identifier.
    pub fn fields(&self) -> &[Field] {
        &self.fields
    }

    /// The category's own fields, in the order of its form.
    pub fn form(&self) -> impl Iterator<Item = &Field> {
        self.form.iter().map(|i| &self.fields[*i])
    }

    /// The field that a column's head means: its identifier, its title, or a code of another system.
    pub fn column(&self, title: &str) -> Option<&Field> {
        self.heads.find(title).map(|i| &self.fields[i])
    }

    /// The field that a column's head would mean if it did not name another unit: 罚款金额（元） where the field is in 万元.
    pub fn column_in_other_unit(&self, title: &str) -> Option<&Field> {
        self.heads.in_other_unit(title).map(|i| &self.fields[i])
    }

    /// A field by its identifier.
    pub fn field(&self, id: &str) -> Option<&Field> {
        self.fields.binary_search_by(|f| (*f.id).cmp(id)).ok().map(|i| &self.fields[i])
    }

    /// The parts of a record's business key, joined by `|`; `None` if one is missing.
    pub fn business_key(&self, object: &Object<'_>) -> Option<String> {
        let part = |fields: &KeyPart| fields.iter().find_map(|id| self.key_part(id, object));
        let parts: Option<Vec<Cow<'_, str>>> = self.key.iter().map(part).collect();
        Some(parts?.join("|"))
    }

    /// Whether this is a record's business key, without making it.
    pub(crate) fn is_business_key(&self, key: &str, object: &Object<'_>) -> bool {
        let mut rest = Some(key);
        for (i, fields) in self.key.iter().enumerate() {
            let Some(part) = fields.iter().find_map(|id| self.key_part(id, object)) else { return false };
            let at = if i == 0 { rest } else { rest.and_then(|r| r.strip_prefix('|')) };
            rest = at.and_then(|r| r.strip_prefix(&*part));
        }
        rest == Some("")
    }

    fn key_part<'o>(&self, id: &str, object: &'o Object<'_>) -> Option<Cow<'o, str>> {
        let value: Cow<'_, str> = match object.get(id)? {
            Value::Text(t) if !t.trim().is_empty() => (&**t).into(),
            Value::Integer(n) => n.to_string().into(),
            _ => return None,
        };
        // Seventeen zeros and X, in place of a code, name nobody.
        let is_one = |list: &[String]| list.iter().any(|i| **i == *value);
        let names_nobody = is_one(&self.instead) && self.field(id).is_some_and(|f| is_one(&f.instead));
        (!names_nobody).then_some(value)
    }
}

/// One version of the catalog.
#[derive(Debug, Clone)]
pub struct Catalog {
    /// What records name.
    pub version: Arc<str>,
    /// First day of use.
    pub effective: Date,
    /// Last day of use.
    pub until: Option<Date>,
    /// What is not collected at all.
    pub exclusions: Vec<Exclusion>,
    /// What stands in a text only because something had to (V022).
    pub placeholders: EmptyWords,
    /// What programs write for an empty cell.
    pub nothing: EmptyWords,
    /// What people write for one.
    pub unsaid: EmptyWords,
    /// Words that mark a row of a spreadsheet as a note.
    pub note_words: Vec<String>,
    categories: BTreeMap<Arc<str>, Arc<Category>>,
    rules: BTreeMap<Arc<str>, Rule>,
    document: Arc<CatalogDocument>,
}

impl Catalog {
    /// A category.
    pub fn category(&self, id: &str) -> Option<&Arc<Category>> {
        self.categories.get(id)
    }

    /// All categories, by identifier.
    pub fn categories(&self) -> impl Iterator<Item = &Arc<Category>> {
        self.categories.values()
    }

    /// What is said of a broken rule.
    pub fn rule(&self, id: &str) -> Option<&Rule> {
        self.rules.get(id)
    }

    /// All rules.
    pub fn rules(&self) -> impl Iterator<Item = &Rule> {
        self.rules.values()
    }

    /// Whether a record may claim this version on `day`.
    pub fn in_force(&self, day: Date) -> bool {
        self.effective <= day && self.until.is_none_or(|u| day <= u)
    }
}

/// All versions of the catalog that a charter holds.
#[derive(Debug, Clone)]
pub struct Catalogs {
    versions: Vec<Arc<Catalog>>,
    /// Not the charter's own, but what comes with the program.
    pub shipped: bool,
}

/// How a claimed version stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Claim {
    /// In force on that day.
    Good,
    /// No such version: the current one judges.
    Unknown,
    /// Not yet, or no more.
    NotInForce,
}

impl Catalogs {
    /// The version that is in force on `day`: the one that took effect last. Before the first, that one.
    pub fn current(&self, day: Date) -> &Arc<Catalog> {
        let in_force = self.versions.iter().rev().find(|c| c.in_force(day));
        in_force.unwrap_or(&self.versions[0])
    }

    /// The catalog by which a record is judged that claims `version` on `day`.
    pub fn claimed(&self, version: &str, day: Date) -> (&Arc<Catalog>, Claim) {
        match self.versions.iter().find(|c| *c.version == *version) {
            Some(c) if c.in_force(day) => (c, Claim::Good),
            Some(c) => (c, Claim::NotInForce),
            None => (self.current(day), Claim::Unknown),
        }
    }

    /// By version.
    pub fn version(&self, version: &str) -> Option<&Arc<Catalog>> {
        self.versions.iter().find(|c| *c.version == *version)
    }

    /// All versions, the oldest first.
    pub fn versions(&self) -> &[Arc<Catalog>] {
        &self.versions
    }
}

#[cfg(test)]
mod shipped_tests;
#[cfg(test)]
mod tests;
