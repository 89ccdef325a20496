//! Keys of a row of JSON that are heads of tables: titles and codes of other systems, in place of the catalog's identifiers.
//! They mean the same fields as in a table. Of which category the row is then follows from them, where nobody says it.

use super::{context::RowContext, normal::Change, prepare::FieldChange};
use tally_protocol::{
    canonical::{NameMark, Object, Value},
    finding::Finding,
};
use tally_topology::{
    catalog::{Catalog, Category},
    judge::shown,
};

/// Fields that must be known by their keys for a category to be that of a row.
const KNOWN_MIN: usize = 2;

fn is_silent(object: &Object<'_>, field: &str) -> bool {
    match object.get(field) {
        None | Some(Value::Null) => true,
        Some(Value::Text(text)) => text.trim().is_empty(),
        Some(_) => false,
    }
}

/// Puts the category into a row that says it by another key or name, or not at all while its keys are those of one.
///
/// # Errors
/// [`Finding`]: it cannot be told.
pub(super) fn category<'l>(
    context: &RowContext<'l>,
    object: &mut Object<'l>,
) -> Result<Option<FieldChange>, Box<Finding>> {
    let catalogs = context.charter.catalogs();
    let catalog = catalogs.current(context.today);
    if is_silent(object, "category") {
        if let Some(key) = said_otherwise(catalog, object) {
            rename(object, &key, "category");
        } else if context.category.is_some() {
            return Ok(None);
        } else if let Some(category) = by_keys(catalog, object) {
            object.set("category", Value::text(&*category.id));
            return Ok(None);
        } else {
            return Err(Box::new(not_told(catalog, object)));
        }
    }
    let Some(said) = object.text("category").map(|said| said.trim().to_owned()) else { return Ok(None) };
    if catalog.category(&said).is_some() {
        return Ok(None);
    }
    let Ok(id) = catalogs.category_named(&said) else { return Ok(None) };
    let (from, to) = (shown(&said), id.clone());
    object.set("category", Value::text(id));
    Ok(Some(FieldChange { field: "category".to_owned(), change: Change::ListWord, from, to }))
}

/// The key by which a row says its category, if it is another one.
fn said_otherwise(catalog: &Catalog, object: &Object<'_>) -> Option<String> {
    let any = catalog.categories().next()?;
    // An identifier is no other name, and looking heads up takes time: rows of tables have identifiers only.
    let is_identifier = |name: &str| name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_');
    let is_it = |name: &str| {
        !is_identifier(name) && any.column(name).is_some_and(|f| &*f.id == "category") && !is_silent(object, name)
    };
    object.members().map(|(name, _)| name).find(|name| is_it(name)).map(str::to_owned)
}

/// The only category of which most keys of a row are known.
fn by_keys<'c>(catalog: &'c Catalog, object: &Object<'_>) -> Option<&'c Category> {
    let known = |category: &Category| {
        let mut fields: Vec<_> =
            object.members().filter_map(|(name, _)| category.column(name)).map(|f| &f.id).collect();
        fields.sort_unstable();
        fields.dedup();
        fields.len()
    };
    let mut all: Vec<_> = catalog.categories().map(|category| (known(category), &**category)).collect();
    all.sort_by_key(|(known, _)| std::cmp::Reverse(*known));
    match all.as_slice() {
        [(first, category), rest @ ..] if *first >= KNOWN_MIN && rest.first().is_none_or(|(n, _)| n < first) => {
            Some(category)
        }
        _ => None,
    }
}

/// Of a row whose category nobody says and its keys do not tell.
fn not_told(catalog: &Catalog, object: &Object<'_>) -> Finding {
    let holds_records = |value: &Value<'_>| match value {
        Value::List(items) => items.iter().any(|i| matches!(i, Value::Object(_))),
        Value::Object(_) => true,
        _ => false,
    };
    if let Some((name, _)) = object.members().find(|(_, value)| holds_records(value)) {
        let name = shown(name);
        let message = format!(
            "the line holds its fields, or other records, within {name:?}: write each record as a line of its own, with its fields side by side"
        );
        let zh = format!("该行的字段或多条记录嵌套在“{name}”中，请改为每行一条记录，各字段并列");
        return Finding::reject("S002", "", message, zh);
    }
    let ids: Vec<_> = catalog.categories().map(|c| &*c.id).collect();
    let names: Vec<_> = catalog.categories().map(|c| c.zh.as_str()).collect();
    let message = format!(
        "the row does not say its category, and its keys are those of none: hand the file in with --category, or write it into each row; there are: {}",
        ids.join(", ")
    );
    let zh = format!(
        "该行未注明信息类别，键名也无法判断：请用 --category 指定，或在每行写明“信息类别”；可选：{}",
        names.join("、")
    );
    Finding::reject("V003", "category", message, zh)
}

fn rename<'l>(object: &mut Object<'l>, key: &str, field: &'l str) {
    if let Some(value) = object.get(key).cloned() {
        object.remove(key);
        object.set(field, value);
    }
}

/// Gives members the names of the fields that their keys mean as heads of a table. What is there under its own name stays.
pub(super) fn fields<'l>(category: &'l Category, object: &mut Object<'l>) {
    // Fields and members stand in the same order, so one walk over both finds what is none of the fields.
    let mut fields = category.fields().iter().peekable();
    let mut others: Vec<String> = Vec::new();
    for (mark, name, value) in object.marked_members() {
        let is_it = |mark_of: NameMark, id: &str| mark_of == mark && id == name;
        while fields.next_if(|f| !is_it(f.mark, &f.id) && &*f.id < name).is_some() {}
        // What no field can hold is refused as the value of its field.
        if fields.next_if(|f| is_it(f.mark, &f.id)).is_none() && *value != Value::Null {
            others.push(name.to_owned());
        }
    }
    for key in others {
        let Some(field) = category.column(&key) else { continue };
        if is_silent(object, &field.id) {
            rename(object, &key, &field.id);
        }
    }
}
