//! From a row as it was handed in to the record as it is stored: values in form, and what follows from other fields
//! filled in. What is there and in order is never changed.

use super::{
    context::RowContext,
    normal::{Change, is_short_number, normal},
};
use jiff::civil::Date;
use std::{borrow::Cow, collections::BTreeMap, sync::Arc};
use tally_protocol::{
    canonical::{NameMark, Object, Value},
    ids::Division,
};
use tally_topology::{
    catalog::{Catalog, Category, Field, FieldType},
    content::{BACKFILL, BACKFILL_YES},
    digits,
    judge::{masked, shown},
    signs::is_plain,
};
use unicode_normalization::{UnicodeNormalization as _, is_nfc};

/// A value that was brought into form.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FieldChange {
    /// Which field.
    pub field: String,
    /// How.
    pub change: Change,
    /// The value as it came, shortened; of personal data its middle is hidden.
    pub from: String,
    /// The value as it is stored, in the same way; empty: it is left out.
    pub to: String,
}

impl FieldChange {
    /// Bytes that it takes in memory.
    pub(crate) fn bytes(&self) -> usize {
        size_of::<Self>() + self.field.len() + self.from.len() + self.to.len()
    }
}

/// What was done to a row before it is judged.
#[derive(Debug, Default)]
pub(crate) struct Prepared<'l> {
    /// Values that were brought into form.
    pub(super) changes: Vec<FieldChange>,
    /// Fields that the row leaves unsaid, and that other fields, the unit or the registry say.
    pub(super) filled: Vec<&'l str>,
    /// Texts that a spreadsheet took for numbers and wrote in short.
    pub(super) damaged: Vec<Arc<str>>,
}

/// Brings the values of `object` into form, and fills in what the row leaves unsaid.
pub(crate) fn prepare<'l>(
    context: &RowContext<'l>,
    (catalog, category): (&'l Catalog, &'l Category),
    object: &mut Object<'l>,
) -> Prepared<'l> {
    let mut prepared = Prepared::default();
    values(catalog, category, object, &mut prepared);
    defaults(category, object, &mut prepared);
    if !is_complete(category, object) {
        envelope(context, category, object, &mut prepared.filled);
    }
    history(context, category, object, &mut prepared);
    prepared
}

/// Marks a load of history, and takes the mark from what is none. Decided here: history (历史补录) is what was produced
/// before this year began. What is newer was to be handed in while it was produced, so it is late if it comes late (R-30,
/// R-35), whoever calls it history.
fn history<'l>(context: &RowContext<'l>, category: &Category, object: &mut Object<'l>, prepared: &mut Prepared<'_>) {
    let says = object.text(BACKFILL) == Some(BACKFILL_YES);
    if !category.counts || !(says || context.backfill) {
        return;
    }
    // A day that is none is refused; one that is not known bounds nothing.
    let day = object.text("produced_on").and_then(|day| day.parse::<Date>().ok());
    let is_history = day.is_none_or(|day| day.year() < context.today.year());
    if says && is_history {
        return;
    }
    let from = shown(object.text(BACKFILL).unwrap_or_default());
    let (change, to) = match is_history {
        true => (Change::Backfill, BACKFILL_YES),
        false => (Change::NotHistory, ""),
    };
    prepared.changes.push(FieldChange { field: BACKFILL.to_owned(), change, from, to: to.to_owned() });
    match is_history {
        true => object.set(BACKFILL, Value::text(BACKFILL_YES)),
        false => object.remove(BACKFILL),
    }
}

/// Whether the row says everything itself. Most rows of a careful sender do, so one walk that tells saves the rest.
fn is_complete(category: &Category, object: &Object<'_>) -> bool {
    let mut members = object.marked_members().peekable();
    category.fields().iter().all(|field| {
        let is_it = |(mark, name, _): &(NameMark, &str, _)| *mark == field.mark && *name == &*field.id;
        let value = members.next_if(is_it).or_else(|| {
            while members.next_if(|(_, name, _)| *name < &*field.id).is_some() {}
            members.next_if(is_it)
        });
        let value = value.map(|(_, _, v)| v);
        let says = value.is_some_and(|v| !is_silent(v));
        match &field.same_as {
            Some(same) if says => !silent(object, same),
            _ => says || !(field.envelope && field.required),
        }
    })
}

fn values(catalog: &Catalog, category: &Category, object: &mut Object<'_>, prepared: &mut Prepared<'_>) {
    let Prepared { changes, damaged, .. } = prepared;
    let mut says_nothing = Vec::new();
    let mut fields = category.fields().iter().peekable();
    for (mark, name, value) in object.marked_members_mut() {
        let is_it = |f: &&Field| f.mark == mark && &*f.id == name;
        let field = fields.next_if(is_it).or_else(|| {
            while fields.next_if(|f| &*f.id < name).is_some() {}
            fields.next_if(is_it)
        });
        let Some(field) = field else { continue };
        let mut change = |change, from: &str, to: &str| {
            let [from, to] = [from, to].map(|v| if field.personal { masked(v) } else { shown(v) });
            changes.push(FieldChange { field: name.to_owned(), change, from, to });
        };
        if let Value::Integer(n) = value
            && field.kind != FieldType::Integer
        {
            let text = n.to_string();
            change(Change::NumberAsText, &text, &text);
            *value = Value::Text(Cow::Owned(text));
        }
        let Value::Text(text) = value else { continue };
        // Nearly every value is plain, and then it is in this form.
        if !is_plain(text) && !is_nfc(text) {
            let together: String = text.nfc().collect();
            change(Change::Composed, text, &together);
            *text = Cow::Owned(together);
        }
        if is_short_number(field, text) {
            damaged.push(field.id.clone());
        }
        let Some(formed) = normal(catalog, field, text) else { continue };
        let to = formed.text.as_deref().unwrap_or_default();
        formed.changes.iter().for_each(|c| change(*c, text, to));
        match formed.text {
            Some(text) => *value = Value::text(text),
            None => says_nothing.push(field.id.clone()),
        }
    }
    says_nothing.iter().for_each(|field| object.remove(field));
}

/// Values of a line of JSON that were written in parts: reading it has put them together already.
pub(super) fn composed(category: &Category, json: &[u8]) -> Vec<FieldChange> {
    let members: BTreeMap<Cow<'_, str>, serde_json::Value> = serde_json::from_slice(json).unwrap_or_default();
    let in_parts = members.iter().filter_map(|(name, value)| {
        let (field, text) = (category.field(name)?, value.as_str().filter(|t| !is_nfc(t))?);
        let [from, to] =
            [text, &text.nfc().collect::<String>()].map(|v| if field.personal { masked(v) } else { shown(v) });
        Some(FieldChange { field: field.id.to_string(), change: Change::Composed, from, to })
    });
    in_parts.collect()
}

/// What older forms of a table do not have, and the catalog says what to take instead.
fn defaults<'l>(category: &'l Category, object: &mut Object<'l>, prepared: &mut Prepared<'l>) {
    let mut filled = |object: &mut Object<'l>, field: &'l str, value: String| {
        let (to, change) = (shown(&value), Change::FilledIn);
        prepared.changes.push(FieldChange { field: field.to_owned(), change, from: String::new(), to });
        prepared.filled.push(field);
        object.set(field, Value::text(value));
    };
    let wanting = category.fields().iter().filter(|f| f.default_from.is_some() || f.default.is_some());
    for field in wanting {
        // Where another form of the table is what excuses it, only there.
        let excused = field.waived_by.as_deref().is_none_or(|f| there(object, f).is_some());
        if !silent(object, &field.id) || !excused {
            continue;
        }
        let other = field.default_from.as_deref().and_then(|from| there(object, from)).map(str::to_owned);
        if let Some(value) = other.or_else(|| field.default.as_deref().map(str::to_owned)) {
            filled(object, &field.id, value);
        }
    }
    if category.field("party_kind").is_some() && silent(object, "party_kind") {
        let code = there(object, "party_uscc").or_else(|| there(object, "subject_uscc"));
        if let Some(kind) = code.and_then(|c| c.get(..2)).and_then(party_kind) {
            filled(object, "party_kind", kind.to_owned());
        }
    }
}

/// Kind of a party by the class of its credit code (GB 32100).
fn party_kind(class: &str) -> Option<&'static str> {
    match class {
        "92" => Some("个体工商户"),
        "00" => None,
        _ => Some("法人及非法人组织"),
    }
}

fn there<'o>(object: &'o Object<'_>, field: &str) -> Option<&'o str> {
    object.text(field).filter(|t| !t.trim().is_empty())
}

/// Whether a field says nothing: not there, or null, or blank.
fn silent(object: &Object<'_>, field: &str) -> bool {
    object.get(field).is_none_or(is_silent)
}

fn is_silent(value: &Value<'_>) -> bool {
    match value {
        Value::Null => true,
        Value::Text(t) => t.trim().is_empty(),
        _ => false,
    }
}

struct Filling<'f, 'l> {
    context: &'f RowContext<'l>,
    object: &'f mut Object<'l>,
    filled: &'f mut Vec<&'l str>,
}

impl<'l> Filling<'_, 'l> {
    /// Fills a field that is silent, if there is something to say.
    fn fill(&mut self, field: &'l str, value: impl FnOnce(&Self) -> Option<String>) {
        if silent(self.object, field)
            && let Some(value) = value(self)
        {
            self.object.set(field, Value::text(value));
            self.filled.push(field);
        }
    }

    fn copied(&mut self, to: &'l str, from: &str) {
        self.fill(to, |f| f.text(from).map(str::to_owned));
    }

    fn text(&self, field: &str) -> Option<&str> {
        there(self.object, field)
    }

    /// Name by the registry of units.
    fn unit_name(&self, code: &str) -> Option<String> {
        Some(self.context.charter.units().get(self.text(code)?)?.name.clone())
    }

    /// Where a unit is: by the registry, else by the digits of its code, if that is a division of the federation.
    fn unit_division(&self, code: &str) -> Option<String> {
        let code = self.text(code)?;
        let charter = self.context.charter;
        let by_digits = || digits::uscc_division(code).filter(|d| charter.entry_node(*d).is_some());
        charter.units().get(code).map(|u| u.division).or_else(by_digits).map(|d: Division| d.to_string())
    }
}

/// What the envelope (members that every record has) lacks and other fields, the unit that hands in, or the registry say.
fn envelope<'l>(context: &RowContext<'l>, category: &'l Category, object: &mut Object<'l>, filled: &mut Vec<&'l str>) {
    let mut f = Filling { context, object, filled };
    f.fill("catalog_version", |f| Some(f.context.charter.catalogs().current(f.context.today).version.to_string()));
    f.fill("operation", |_| Some("create".to_owned()));
    for field in category.fields() {
        if let Some(same) = &field.same_as {
            f.copied(same, &field.id);
        }
    }
    f.fill("submitter_uscc", |f| f.context.unit.map(str::to_owned));
    f.copied("producer_uscc", "submitter_uscc");
    f.copied("submitter_uscc", "producer_uscc");
    f.fill("producer_name", |f| f.unit_name("producer_uscc"));
    f.fill("submitter_name", |f| f.unit_name("submitter_uscc"));
    let same_unit = f.text("producer_uscc") == f.text("submitter_uscc");
    if same_unit {
        f.copied("producer_name", "submitter_name");
        f.copied("submitter_name", "producer_name");
    }
    f.fill("producer_division", |f| f.context.division.map(|d| d.to_string()));
    f.fill("producer_division", |f| f.unit_division("producer_uscc"));
    if same_unit {
        f.copied("submitter_division", "producer_division");
    }
    f.fill("submitter_division", |f| f.unit_division("submitter_uscc"));
    for from in &category.produced_on {
        f.copied("produced_on", from);
    }
    if category.subject {
        f.fill("subject_type", |f| Some(subject_type(f.text("party_kind"), f.text("subject_uscc")).to_owned()));
    }
    f.fill("business_key", |f| category.business_key(f.object));
}

/// Kind of subject, by what the row calls it and by the class of its code (GB 32100).
fn subject_type(party_kind: Option<&str>, uscc: Option<&str>) -> &'static str {
    match (party_kind, uscc.and_then(|c| c.get(..2))) {
        (Some("自然人"), _) => "natural_person",
        (Some("个体工商户"), _) | (_, Some("92")) => "individual_business",
        (_, Some("93")) => "farmers_cooperative",
        (_, Some("91") | None) => "enterprise",
        _ => "other_org",
    }
}
