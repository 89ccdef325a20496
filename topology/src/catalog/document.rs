//! The catalog's text form: what a person writes in the charter. Checked and compiled by the parent module.

use serde::Deserialize;

/// `[[catalog]]`
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CatalogDocument {
    /// What records name as their `catalog_version`.
    pub version: String,
    /// The version before, of which this one takes over whatever it does not say itself.
    pub extends: Option<String>,
    /// First day on which records may claim it.
    pub effective: String,
    /// Last day on which records may claim it; none: no end.
    pub until: Option<String>,
    /// Fields that every record has.
    #[serde(default)]
    pub envelope: Vec<FieldDocument>,
    /// `[[catalog.list]]`
    #[serde(default)]
    pub list: Vec<ListDocument>,
    /// `[[catalog.rule]]`
    #[serde(default)]
    pub rule: Vec<RuleDocument>,
    /// `[[catalog.category]]`
    #[serde(default)]
    pub category: Vec<CategoryDocument>,
    /// `[[catalog.exclude]]`
    #[serde(default)]
    pub exclude: Vec<ExcludeDocument>,
    /// What people write into a field only because it must not be empty: told wherever it is the whole of a text (V022).
    #[serde(default)]
    pub placeholders: Vec<String>,
    /// What programs write for an empty cell, such as `\\N`: as the whole of a cell it is taken for an empty one, in every field.
    #[serde(default)]
    pub nothing: Vec<String>,
    /// What people write for an empty cell, such as 无. Where a date, an amount, a code or a word of a list stands it can mean
    /// nothing else; as the whole of a text it may be meant, so there it stays and is told (V022).
    #[serde(default)]
    pub unsaid: Vec<String>,
    /// Fields that hold numbers of documents: business keys with such a part are compared in one form (V028).
    #[serde(default)]
    pub document_numbers: Vec<String>,
    /// Words that mark a row of a spreadsheet as a note of its template.
    #[serde(default)]
    pub note_words: Vec<String>,
}

/// A code list.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ListDocument {
    /// How fields name it.
    pub id: String,
    /// `value`, or `code=label`.
    pub values: Vec<String>,
    /// Further words for a value, `word=value`: what old systems write.
    #[serde(default)]
    pub also: Vec<String>,
    /// Values that begin so are taken too, such as `其他-`.
    #[serde(default)]
    pub open: Vec<String>,
}

/// What is said of a rule's findings.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RuleDocument {
    /// `V001` and on.
    pub id: String,
    /// `reject`, `question`, `note` or `off`.
    pub severity: String,
    /// In Chinese; `{field}` and `{value}` are filled in.
    pub zh: String,
    /// In English.
    pub en: String,
}

/// Information that is not collected at all.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ExcludeDocument {
    /// Stable name, such as `EXCLUDED_STATISTICS`.
    pub code: String,
    /// Only in this category; none: in every one.
    pub category: Option<String>,
    /// Only of units whose name holds one of these words.
    #[serde(default)]
    pub unit_words: Vec<String>,
    /// In Chinese.
    pub zh: String,
    /// In English.
    pub en: String,
}

/// A category of information.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CategoryDocument {
    /// Identifier.
    pub id: String,
    /// Name in Chinese.
    pub zh: String,
    /// Name in English.
    pub en: String,
    /// Where the field list comes from.
    #[serde(default)]
    pub source: String,
    /// Legal basis: documents and articles.
    #[serde(default)]
    pub basis: Vec<String>,
    /// Parts of the business key: fields, `a/b` for the first of them that is there.
    pub key: Vec<String>,
    /// The dates that are `produced_on`: the first that is there.
    #[serde(default)]
    pub produced_on: Vec<String>,
    /// Whether a record has a subject (an enterprise whose name it is recorded under).
    #[serde(default = "yes")]
    pub subject: bool,
    /// Whether its records count as enterprise information, in statistics and deadlines.
    #[serde(default = "yes")]
    pub counts: bool,
    /// Whether its records say which subjects there are and how they are called (V010, V011).
    #[serde(default)]
    pub base: bool,
    /// No records produced on or after this day (a duty that moved elsewhere).
    pub closed_from: Option<String>,
    /// Working days until it must have reached the province.
    #[serde(default = "collect_days")]
    pub collect_days: u32,
    /// Working days until it must be published.
    #[serde(default = "publish_days")]
    pub publish_days: u32,
    /// Its own fields, in the order of its form.
    #[serde(default)]
    pub fields: Vec<FieldDocument>,
}

/// A field.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FieldDocument {
    /// Identifier.
    pub id: String,
    /// Title in Chinese, as forms print it.
    pub zh: String,
    /// Title in English.
    #[serde(default)]
    pub en: String,
    /// Other names in column heads: codes of other systems, other titles.
    #[serde(default)]
    pub codes: Vec<String>,
    /// `text` (default), `date`, `decimal`, `integer`, `uscc`, `org_code`, `reg_no`, `id_no`, `division`.
    #[serde(rename = "type", default)]
    pub kind: Option<String>,
    /// Longest, in characters.
    pub max: Option<u32>,
    /// Digits after the point of a decimal.
    pub scale: Option<u32>,
    /// It must not be empty.
    #[serde(default)]
    pub required: bool,
    /// It must not be empty if one of these holds: `field=value`, `field*=part`, `field!=value`.
    #[serde(default)]
    pub required_if: Vec<String>,
    /// The rule that an empty one breaks; V001 if none is named.
    pub missing: Option<String>,
    /// Code list.
    pub list: Option<String>,
    /// Several values of the list, joined by one of `、` `;` `；` `,` `，`.
    #[serde(default)]
    pub several: bool,
    /// The field of the envelope that says the same: either of them is enough.
    pub same_as: Option<String>,
    /// Personal data: never in public views, masked in messages.
    #[serde(default)]
    pub personal: bool,
    /// Not after `today`, or another field. Breaks V005 (`today`) or V006.
    pub not_after: Option<String>,
    /// Not before a day, or another field. Breaks V006.
    pub not_before: Option<String>,
    /// Rule that `not_before` breaks, if not V006.
    pub not_before_rule: Option<String>,
    /// A larger amount is asked about (V015).
    pub doubtful_above: Option<String>,
    /// An empty one is filled from this field: what older forms of the table do not have.
    pub default_from: Option<String>,
    /// An empty one, of which no other field says more, is filled with this.
    pub default: Option<String>,
    /// Both or neither of this field and that one (V024).
    pub paired_with: Option<String>,
    /// Where this field is there, an empty one is asked about and not rejected, and filled by its default only there: tables of
    /// other systems have no such column.
    #[serde(default)]
    pub waived_by: Option<String>,
    /// A value that is allowed in place of a code with a check digit, such as 17 zeros and X.
    #[serde(default)]
    pub instead: Vec<String>,
}

fn yes() -> bool {
    true
}
fn collect_days() -> u32 {
    7
}
fn publish_days() -> u32 {
    20
}
