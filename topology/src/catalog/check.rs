//! What the types alone do not rule out: names that stand twice, bounds that are no dates, conditions that can never
//! hold. Such slips would otherwise show only as rows that are judged wrongly.

use super::{
    Bound, Category, Condition, Field, FieldType,
    document::{CatalogDocument, ExcludeDocument, RuleDocument},
};
use std::collections::BTreeSet;

/// Longest version, in characters: every record repeats it.
const VERSION_MAX: usize = 32;

/// Longest text of a field that names no bound, in characters.
pub(super) const TEXT_MAX: u32 = 20_000;

type Checked = Result<(), String>;

fn once<T: Ord>(what: &str, ids: impl Iterator<Item = T>, shown: impl Fn(&T) -> String) -> Checked {
    let mut seen = BTreeSet::new();
    for id in ids {
        let name = shown(&id);
        if !seen.insert(id) {
            return Err(format!("{what} {name} stands there twice"));
        }
    }
    Ok(())
}

/// A version of the catalog, with what it takes over from the one before.
pub(super) fn document(d: &CatalogDocument) -> Checked {
    let length = d.version.chars().count();
    if length == 0 || length > VERSION_MAX || d.version.contains(char::is_whitespace) {
        return Err(format!("a version has 1 to {VERSION_MAX} characters and no white space"));
    }
    let own = |id: &&str| (*id).to_owned();
    once("envelope: the field", d.envelope.iter().map(|f| f.id.as_str()), own)?;
    once("the list", d.list.iter().map(|l| l.id.as_str()), own)?;
    once("the rule", d.rule.iter().map(|r| r.id.as_str()), own)?;
    once("the exclusion", d.exclude.iter().map(|e| (&e.code, &e.category)), |(code, category)| {
        category.as_ref().map_or_else(|| (*code).clone(), |c| format!("{code} of {c}"))
    })?;
    d.rule.iter().try_for_each(rule)?;
    d.exclude.iter().try_for_each(exclusion)
}

fn rule(d: &RuleDocument) -> Checked {
    for text in [&d.zh, &d.en] {
        let rest = text.replace("{field}", "").replace("{value}", "");
        if text.is_empty() || rest.contains(['{', '}']) {
            return Err(format!(
                "rule {}: a message has text in both languages, and no blanks but {{field}} and {{value}}",
                d.id
            ));
        }
    }
    Ok(())
}

fn exclusion(d: &ExcludeDocument) -> Checked {
    let named = |e: &str| Err(format!("exclude {}: {e}", d.code));
    if d.code.is_empty() || !d.code.bytes().all(|b| b.is_ascii_uppercase() || b.is_ascii_digit() || b == b'_') {
        return named("a code has capital letters, digits and underscores");
    }
    if d.category.is_none() && d.unit_words.is_empty() {
        return named("without a category or words in the unit's name it would exclude everything");
    }
    if d.unit_words.iter().any(|w| w.trim().is_empty()) {
        return named("an empty word stands in every name");
    }
    Ok(())
}

/// A category, with the fields of the envelope.
pub(super) fn category(c: &Category) -> Checked {
    if c.zh.is_empty() || c.en.is_empty() {
        return Err("it has a name in both languages".into());
    }
    for f in c.fields() {
        field(c, f).map_err(|e| format!("field {}: {e}", f.id))?;
    }
    let by_id = |id: &str| c.field(id);
    if let Some(id) = c.key.iter().flatten().find(|id| by_id(id).is_some_and(|f| f.personal)) {
        return Err(format!("key: {id} is personal, and a business key is public"));
    }
    if let Some(id) = c.produced_on.iter().find(|id| by_id(id).is_none_or(|f| f.kind != FieldType::Date)) {
        return Err(format!("produced_on: {id} is no date"));
    }
    if c.collect_days > c.publish_days {
        return Err("collect_days and publish_days: the second no less than the first".into());
    }
    Ok(())
}

fn field(c: &Category, f: &Field) -> Checked {
    let wrong = |e: String| Err(e);
    if f.zh.is_empty() {
        return wrong("zh: a field has a title".into());
    }
    if f.max == 0 || f.max > TEXT_MAX {
        return wrong(format!("max = {}: 1 to {TEXT_MAX}", f.max));
    }
    if f.list.is_some() && f.kind != FieldType::Text {
        return wrong("list: only text has a code list".into());
    }
    if f.several && f.list.is_none() {
        return wrong("several: there is no code list for the values".into());
    }
    if !f.instead.is_empty() && !is_code(f.kind) {
        return wrong("instead: only a code with a check digit has it".into());
    }
    for bound in [&f.not_after, &f.not_before].into_iter().flatten() {
        if f.kind != FieldType::Date {
            return wrong("not_after and not_before: only dates have them".into());
        }
        if let Bound::Field(other) = bound
            && c.field(other).is_some_and(|o| o.kind != FieldType::Date)
        {
            return wrong(format!("{other} is no date to be held against"));
        }
    }
    if let Some(limit) = &f.doubtful_above {
        let is_amount = !limit.is_empty() && limit.bytes().all(|b| b.is_ascii_digit());
        if f.kind != FieldType::Decimal || !is_amount {
            return wrong("doubtful_above: only a decimal has it, and it is a whole number".into());
        }
    }
    if f.paired_with.as_deref() == Some(&*f.id) {
        return wrong("paired_with: it is paired with itself".into());
    }
    if let Some(other) = f.same_as.as_deref().and_then(|id| c.field(id))
        && (other.id == f.id || other.kind != f.kind)
    {
        return wrong(format!("same_as: {} is the field itself, or of another type", other.id));
    }
    f.required_if.iter().try_for_each(|condition| can_hold(c, condition))
}

fn is_code(kind: FieldType) -> bool {
    matches!(kind, FieldType::Uscc | FieldType::OrgCode | FieldType::RegNo | FieldType::IdNo | FieldType::Division)
}

/// A condition on a field with a code list names something that the list has.
fn can_hold(c: &Category, condition: &Condition) -> Checked {
    let (id, value, part) = match condition {
        Condition::Is(id, value) | Condition::IsNot(id, value) => (id, value, false),
        Condition::Holds(id, value) => (id, value, true),
    };
    if value.is_empty() {
        return Err(format!("required_if: {id} is compared with nothing"));
    }
    let Some(list) = c.field(id).and_then(|f| f.list.as_ref()) else { return Ok(()) };
    let hit = |v: &str| if part { v.contains(&**value) } else { v == &**value };
    if list.values().any(|(v, _)| hit(v)) || list.find(value) == super::Matched::Value {
        return Ok(());
    }
    Err(format!("required_if: {value:?} is not in the list of {id}, so it would never hold"))
}
