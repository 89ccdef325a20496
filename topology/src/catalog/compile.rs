//! From the text form to the checked form.
//!
//! Whatever of a version does not hold together is refused here, with its place, so judging meets no broken catalog. Versions
//! stand in the order in which they take effect, and extend only one before them. Records are not known here.

use super::{
    Bound, Catalog, Catalogs, Category, CodeList, Condition, EmptyWords, Exclusion, Field, FieldType, Rule, SHIPPED,
    Severity, check,
    document::{CatalogDocument, CategoryDocument, FieldDocument, ListDocument, RuleDocument},
    head,
};
use jiff::civil::Date;
use serde::Deserialize;
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, OnceLock},
};
use tally_protocol::canonical::NameMark;

/// Most versions in one charter.
const VERSIONS_MAX: usize = 16;
/// Most categories of one version, and most fields of one category.
const CATEGORIES_MAX: usize = 256;
const FIELDS_MAX: usize = 512;
/// Fields that the program itself knows by name: no catalog can do without them.
const NEEDED: &[&str] = &[
    "business_key",
    "catalog_version",
    "category",
    "operation",
    "produced_on",
    "producer_division",
    "producer_name",
    "producer_uscc",
    "subject_name",
    "subject_reg_no",
    "subject_type",
    "subject_uscc",
    "submitter_division",
    "submitter_name",
    "submitter_uscc",
];
/// Working days that a limit of a category may have: at most what a year and a half holds.
const LIMIT_DAYS: std::ops::RangeInclusive<u32> = 1..=366;
/// Numbers of the rules that no catalog is without, V001 to V025; V026 is judged where a catalog has it.
const RULES: std::ops::RangeInclusive<u32> = 1..=25;

/// List of the categories that count, which is made where the catalog has none of this name.
const COLLECTED: &str = "collected";

/// A text of its own, as shipped.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    catalog: Vec<CatalogDocument>,
}

impl Catalogs {
    /// What comes with the program.
    ///
    /// # Errors
    /// None that a test of this crate would let pass.
    pub fn shipped() -> Result<Self, String> {
        static SHIPPED_ONCE: OnceLock<Result<Catalogs, String>> = OnceLock::new();
        let compile = || {
            let file: File = toml::from_str(SHIPPED).map_err(|e| e.to_string())?;
            Ok(Self { shipped: true, ..Self::compile(file.catalog)? })
        };
        SHIPPED_ONCE.get_or_init(compile).clone()
    }

    /// Checks the versions of a charter, the oldest first.
    ///
    /// # Errors
    /// What is wrong, with its place.
    pub fn compile(documents: Vec<CatalogDocument>) -> Result<Self, String> {
        if documents.is_empty() || documents.len() > VERSIONS_MAX {
            return Err(format!("{} versions of the catalog; 1 to {VERSIONS_MAX} can be had", documents.len()));
        }
        let mut versions: Vec<Arc<Catalog>> = Vec::new();
        for document in documents {
            let version = document.version.clone();
            let named = |e: String| format!("catalog {version}: {e}");
            if versions.iter().any(|c| *c.version == *version) {
                return Err(named("it stands there twice".into()));
            }
            let whole = match &document.extends {
                None => document,
                Some(base) => {
                    let base = versions.iter().find(|c| *c.version == **base);
                    let base = base.ok_or_else(|| named("the version that it extends stands not before it".into()))?;
                    extend(&base.document, document)
                }
            };
            let catalog = catalog(whole).map_err(named)?;
            if versions.last().is_some_and(|last| last.effective > catalog.effective) {
                return Err(named("versions stand in the order in which they take effect".into()));
            }
            versions.push(Arc::new(catalog));
        }
        Ok(Self { versions, shipped: false })
    }
}

/// `own` with everything of `base` that it does not say itself.
fn extend(base: &CatalogDocument, own: CatalogDocument) -> CatalogDocument {
    fn merged<T: Clone, I: PartialEq>(base: &[T], own: Vec<T>, id: impl Fn(&T) -> I) -> Vec<T> {
        let kept: Vec<T> = base.iter().filter(|b| own.iter().all(|o| id(o) != id(b))).cloned().collect();
        kept.into_iter().chain(own).collect()
    }
    let or = |own: Vec<String>, base: &[String]| if own.is_empty() { base.to_vec() } else { own };
    CatalogDocument {
        envelope: merged(&base.envelope, own.envelope, |f| f.id.clone()),
        list: merged(&base.list, own.list, |l| l.id.clone()),
        rule: merged(&base.rule, own.rule, |r| r.id.clone()),
        category: merged(&base.category, own.category, |c| c.id.clone()),
        exclude: merged(&base.exclude, own.exclude, |e| (e.code.clone(), e.category.clone())),
        placeholders: or(own.placeholders, &base.placeholders),
        nothing: or(own.nothing, &base.nothing),
        unsaid: or(own.unsaid, &base.unsaid),
        document_numbers: or(own.document_numbers, &base.document_numbers),
        note_words: or(own.note_words, &base.note_words),
        ..own
    }
}

fn day(text: &str) -> Result<Date, String> {
    text.parse().map_err(|_| format!("{text:?} is not a day such as 2026-01-31"))
}

fn catalog(document: CatalogDocument) -> Result<Catalog, String> {
    check::document(&document)?;
    let effective = day(&document.effective).map_err(|e| format!("effective: {e}"))?;
    let until = document.until.as_deref().map(day).transpose().map_err(|e| format!("until: {e}"))?;
    if until.is_some_and(|u| u < effective) {
        return Err("until: it lies before effective".into());
    }
    let mut lists = BTreeMap::new();
    for d in &document.list {
        lists.insert(d.id.as_str(), Arc::new(CodeList::new(d)?));
    }
    // A category that is added is collected: nobody has to say so twice.
    if !lists.contains_key(COLLECTED) {
        let counting = document.category.iter().filter(|c| c.counts);
        let values = counting.map(|c| format!("{}={}", c.id, c.zh)).collect();
        let list = ListDocument { id: COLLECTED.to_owned(), values, also: Vec::new(), open: Vec::new() };
        lists.insert(COLLECTED, Arc::new(CodeList::new(&list)?));
    }
    let mut rules = BTreeMap::new();
    for d in &document.rule {
        rules.insert(Arc::from(d.id.as_str()), rule(d)?);
    }
    if let Some(missing) = RULES.map(|n| format!("V{n:03}")).find(|id| !rules.contains_key(id.as_str())) {
        return Err(format!("rule {missing} is missing; severity = \"off\" turns it off"));
    }
    if document.category.is_empty() || document.category.len() > CATEGORIES_MAX {
        return Err(format!("{} categories; 1 to {CATEGORIES_MAX} can be had", document.category.len()));
    }
    let compiler = Compiler { lists: &lists, rules: &rules, document_numbers: &document.document_numbers };
    let is_field = |id: &&String| document.category.iter().any(|c| c.fields.iter().any(|f| f.id == **id));
    if let Some(id) = document.document_numbers.iter().find(|id| !is_field(id)) {
        return Err(format!("document_numbers: no category has a field {id:?}"));
    }
    let mut categories = BTreeMap::new();
    for d in &document.category {
        let named = |e: String| format!("category {}: {e}", d.id);
        let category = compiler.category(d, &document.envelope).map_err(named)?;
        if categories.insert(category.id.clone(), Arc::new(category)).is_some() {
            return Err(named("it stands there twice".into()));
        }
    }
    let exclusions = document.exclude.iter().map(|e| Exclusion {
        code: e.code.clone(),
        category: e.category.clone(),
        unit_words: e.unit_words.clone(),
        zh: e.zh.clone(),
        en: e.en.clone(),
    });
    Ok(Catalog {
        version: document.version.as_str().into(),
        effective,
        until,
        exclusions: exclusions.collect(),
        placeholders: EmptyWords::new(document.placeholders.iter().chain(&document.unsaid)),
        nothing: EmptyWords::new(&document.nothing),
        unsaid: EmptyWords::new(&document.unsaid),
        note_words: document.note_words.clone(),
        categories,
        rules,
        document: Arc::new(document),
    })
}

fn rule(d: &RuleDocument) -> Result<Rule, String> {
    let severity = match d.severity.as_str() {
        "reject" => Some(Severity::Reject),
        "question" => Some(Severity::Question),
        "note" => Some(Severity::Note),
        "off" => None,
        other => return Err(format!("rule {}: severity {other:?} is none of reject, question, note, off", d.id)),
    };
    Ok(Rule { id: d.id.as_str().into(), severity, zh: d.zh.clone(), en: d.en.clone() })
}

/// An identifier: lower-case letters, digits and underscores. So it sorts alike in UTF-8 and UTF-16.
fn is_identifier(text: &str) -> bool {
    !text.is_empty()
        && text.len() <= 64
        && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_')
        && !text.starts_with('_')
}

struct Compiler<'c> {
    lists: &'c BTreeMap<&'c str, Arc<CodeList>>,
    rules: &'c BTreeMap<Arc<str>, Rule>,
    document_numbers: &'c [String],
}

impl Compiler<'_> {
    fn category(&self, d: &CategoryDocument, envelope: &[FieldDocument]) -> Result<Category, String> {
        if !is_identifier(&d.id) {
            return Err("an identifier has lower-case letters, digits and underscores".into());
        }
        let fields = self.fields(d, envelope)?;
        let place = |id: &str| fields.binary_search_by(|f| (*f.id).cmp(id)).ok();
        let known = |id: &str| place(id).map(|_| ()).ok_or_else(|| format!("{id:?} is not a field of it"));
        for f in &fields {
            named_fields(f).try_for_each(known).map_err(|e| format!("field {}: {e}", f.id))?;
        }
        let key: Vec<Vec<Box<str>>> = d.key.iter().map(|p| p.split('/').map(Box::from).collect()).collect();
        if key.is_empty() {
            return Err("key: a business key has at least one part".into());
        }
        key.iter().flatten().try_for_each(|id| known(id)).map_err(|e| format!("key: {e}"))?;
        let produced_on: Vec<Box<str>> = d.produced_on.iter().map(|p| Box::from(p.as_str())).collect();
        produced_on.iter().try_for_each(|id| known(id)).map_err(|e| format!("produced_on: {e}"))?;
        for (name, days) in [("collect_days", d.collect_days), ("publish_days", d.publish_days)] {
            if !LIMIT_DAYS.contains(&days) {
                let (least, most) = (LIMIT_DAYS.start(), LIMIT_DAYS.end());
                return Err(format!("{name} = {days}: a limit has {least} to {most} working days"));
            }
        }
        let form = d.fields.iter().filter_map(|f| place(&f.id)).collect();
        let mut category = Category {
            id: d.id.as_str().into(),
            zh: d.zh.clone(),
            en: d.en.clone(),
            source: d.source.clone(),
            basis: d.basis.clone(),
            has_number: key.iter().flatten().any(|id| self.document_numbers.iter().any(|n| **n == **id)),
            key,
            produced_on,
            subject: d.subject,
            counts: d.counts,
            base: d.base,
            closed_from: d.closed_from.as_deref().map(day).transpose().map_err(|e| format!("closed_from: {e}"))?,
            collect_days: d.collect_days,
            publish_days: d.publish_days,
            fields,
            form,
            heads: head::Heads::default(),
            instead: Vec::new(),
        };
        check::category(&category)?;
        category.heads = head::Heads::of(&category)?;
        category.instead = category.fields.iter().flat_map(|f| f.instead.clone()).collect();
        Ok(category)
    }

    /// The fields of a category by their ids: those of the envelope and its own.
    fn fields(&self, d: &CategoryDocument, envelope: &[FieldDocument]) -> Result<Vec<Field>, String> {
        let own: BTreeSet<&str> = d.fields.iter().map(|f| f.id.as_str()).collect();
        if own.len() != d.fields.len() || d.fields.len() > FIELDS_MAX {
            return Err(format!("a field stands there twice, or there are more than {FIELDS_MAX}"));
        }
        // A category may say more of a field of the envelope.
        let common = envelope.iter().filter(|f| !own.contains(f.id.as_str()));
        let all = common.map(|f| (f, true)).chain(d.fields.iter().map(|f| (f, false)));
        let mut fields = Vec::new();
        for (f, in_envelope) in all {
            fields.push(self.field(f, in_envelope, d).map_err(|e| format!("field {}: {e}", f.id))?);
        }
        fields.sort_by(|a, b| a.id.cmp(&b.id));
        let has = |id: &str| fields.binary_search_by(|f| (*f.id).cmp(id)).is_ok();
        if let Some(missing) = NEEDED.iter().find(|id| !has(id)) {
            return Err(format!("the envelope lacks the field {missing}"));
        }
        Ok(fields)
    }

    fn field(&self, d: &FieldDocument, envelope: bool, category: &CategoryDocument) -> Result<Field, String> {
        if !is_identifier(&d.id) {
            return Err("an identifier has lower-case letters, digits and underscores".into());
        }
        let kind = match d.kind.as_deref() {
            None | Some("text") => FieldType::Text,
            Some("date") => FieldType::Date,
            Some("decimal") => FieldType::Decimal,
            Some("integer") => FieldType::Integer,
            Some("uscc") => FieldType::Uscc,
            Some("org_code") => FieldType::OrgCode,
            Some("reg_no") => FieldType::RegNo,
            Some("id_no") => FieldType::IdNo,
            Some("division") => FieldType::Division,
            Some(other) => return Err(format!("type {other:?} is not known")),
        };
        let bound = |text: &str| match text {
            "today" => Ok(Bound::Today),
            t if t.starts_with(|c: char| c.is_ascii_digit()) => day(t).map(Bound::Day),
            t => Ok(Bound::Field(t.into())),
        };
        let list =
            d.list.as_deref().map(|id| self.lists.get(id).cloned().ok_or_else(|| format!("there is no list {id:?}")));
        let rule = |id: &Option<String>, usual: &str| {
            let id = id.as_deref().unwrap_or(usual);
            if self.rules.contains_key(id) { Ok(Box::from(id)) } else { Err(format!("there is no rule {id:?}")) }
        };
        // A record without a subject has none to be named.
        let required = d.required && (category.subject || !d.id.starts_with("subject_"));
        Ok(Field {
            id: d.id.as_str().into(),
            mark: NameMark::of(&d.id),
            zh: d.zh.as_str().into(),
            en: d.en.clone(),
            codes: d.codes.clone(),
            kind,
            max: d.max.unwrap_or(check::TEXT_MAX),
            scale: d.scale.unwrap_or(6),
            required,
            required_if: d.required_if.iter().map(|c| condition(c)).collect::<Result<_, _>>()?,
            missing: rule(&d.missing, "V001")?,
            list: list.transpose()?,
            several: d.several,
            same_as: d.same_as.as_deref().map(Box::from),
            personal: d.personal,
            not_after: d.not_after.as_deref().map(bound).transpose()?,
            not_before: d.not_before.as_deref().map(bound).transpose()?,
            not_before_rule: rule(&d.not_before_rule, "V006")?,
            doubtful_above: d.doubtful_above.as_deref().map(Box::from),
            default_from: d.default_from.as_deref().map(Box::from),
            default: d.default.as_deref().map(Box::from),
            paired_with: d.paired_with.as_deref().map(Box::from),
            waived_by: d.waived_by.as_deref().map(Box::from),
            instead: d.instead.clone(),
            envelope,
        })
    }
}

fn condition(text: &str) -> Result<Condition, String> {
    let two = |at: &str| text.split_once(at).map(|(f, v)| (Box::from(f), Box::from(v)));
    if let Some((f, v)) = two("!=") {
        return Ok(Condition::IsNot(f, v));
    }
    if let Some((f, v)) = two("*=") {
        return Ok(Condition::Holds(f, v));
    }
    two("=").map(|(f, v)| Condition::Is(f, v)).ok_or_else(|| format!("{text:?} is no condition such as `field=value`"))
}

/// The fields that another field names: as bounds, in conditions, or as what it goes by.
fn named_fields(f: &Field) -> impl Iterator<Item = &str> {
    let bounds = [&f.not_after, &f.not_before].into_iter().flatten().filter_map(|b| match b {
        Bound::Field(id) => Some(&**id),
        _ => None,
    });
    let conditions = f.required_if.iter().map(|c| match c {
        Condition::Is(id, _) | Condition::IsNot(id, _) | Condition::Holds(id, _) => &**id,
    });
    let others = [&f.same_as, &f.default_from, &f.paired_with, &f.waived_by];
    bounds.chain(conditions).chain(others.into_iter().filter_map(|id| id.as_deref()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_are_of_1_to_366_working_days() {
        let compile = |line: &str| {
            let mut file: File = toml::from_str(SHIPPED).unwrap();
            let category = file.catalog[0].category.iter_mut().find(|c| c.id == "admin_license").unwrap();
            match line.split_once('=').map(|(id, n)| (id, n.parse().unwrap())).unwrap() {
                // Publishing never comes before collecting.
                ("collect_days", n) => (category.collect_days, category.publish_days) = (n, 366),
                (_, n) => (category.collect_days, category.publish_days) = (1, n),
            }
            Catalogs::compile(file.catalog)
        };
        for good in ["collect_days=1", "collect_days=366", "publish_days=1", "publish_days=366"] {
            assert!(compile(good).is_ok(), "{good}");
        }
        for bad in ["collect_days=0", "collect_days=367", "publish_days=0", "publish_days=4294967295"] {
            let why = compile(bad).unwrap_err();
            assert!(
                why.contains("category admin_license: ") && why.contains(&bad.replace('=', " = ")),
                "{bad} in {why}"
            );
        }
    }
}
