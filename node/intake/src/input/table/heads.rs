//! Which rows name the columns of a table, and what each column means.

use super::{KNOWN_MIN, join::HeadNames, noted};
use crate::{ADDED_HEADS, InputNote, TableColumns};
use std::{collections::BTreeSet, sync::Arc};
use tally_sheet::{Row, column_name};
use tally_topology::catalog::{Category, Field, FieldType};

/// Most rows in which heads stand one below the other.
const HEIGHT_MAX: usize = 3;
/// Columns before one whose heads say whose it is.
const BEFORE_MAX: usize = 2;

/// The heads of a table.
#[derive(Debug)]
pub(super) struct TableHead {
    pub(super) category: Arc<Category>,
    pub(super) columns: Arc<TableColumns>,
    /// The rows of heads, as they stand.
    pub(super) rows: Vec<Vec<String>>,
    /// A column that is not stored, and the one before or behind it that means the same field.
    pub(super) twice: Vec<(usize, usize)>,
    /// Columns between others that have no head.
    pub(super) nameless: Vec<usize>,
}

/// Rows that may be those of the heads, and what the columns then mean.
#[derive(Debug)]
pub(super) struct Found {
    pub(super) at: usize,
    pub(super) height: usize,
    /// How many fields are known.
    pub(super) known: usize,
    fields: Vec<Option<Arc<str>>>,
}

/// How many heads of a category are known in cells.
pub(super) fn known(category: &Category, cells: &[String]) -> usize {
    cells.iter().filter_map(|c| category.column(c)).map(|f| &f.id).collect::<BTreeSet<_>>().len()
}

/// The rows in which most heads of a category are known: one of them, or some one below the other if these say more.
pub(super) fn find(category: &Category, names: &HeadNames, rows: &[Row]) -> Option<Found> {
    let whole = |row: &Row| if row.fault.is_none() { known(category, &row.cells) } else { 0 };
    let counts: Vec<usize> = rows.iter().map(whole).collect();
    let known_in = |row: usize| counts.get(row).copied().unwrap_or(0);
    let most = *counts.iter().max()?;
    // The first of equals: a row of codes below the titles is a second head. Heads with rows of data below them are those of
    // the table also where later ones, of a table that was joined, name more: what stands between is no title.
    let is_upper = |row: usize| {
        known_in(row) >= KNOWN_MIN && 2 * known_in(row) >= most && row + 1 < rows.len() && known_in(row + 1) < KNOWN_MIN
    };
    let first = (0..rows.len()).find(|row| known_in(*row) == most)?;
    let at = (0..first).find(|row| is_upper(*row)).unwrap_or(first);
    let count = known_in(at);
    let one = fields_of(category, names, rows.get(at..=at)?);
    let mut best = Found { at, height: 1, known: distinct(&one).max(count), fields: one };
    if count == 0 {
        return Some(best);
    }
    for height in 2..=HEIGHT_MAX {
        for from in (at + 1).saturating_sub(height)..=at {
            let Some(block) = rows.get(from..from + height) else { continue };
            let fields = fields_of(category, names, block);
            let known = distinct(&fields);
            if known > best.known && block.iter().all(|row| row.fault.is_none() && says(row, &fields)) {
                best = Found { at: from, height, known, fields };
            }
        }
    }
    Some(best)
}

fn distinct(fields: &[Option<Arc<str>>]) -> usize {
    fields.iter().flatten().collect::<BTreeSet<_>>().len()
}

/// Whether most of what stands in a row is part of heads that are known; a row of data is not.
fn says(row: &Row, fields: &[Option<Arc<str>>]) -> bool {
    let there = || row.cells.iter().enumerate().filter(|(_, text)| !text.trim().is_empty());
    let part = there().filter(|(i, _)| fields.get(*i).is_some_and(Option::is_some)).count();
    let long = |text: &str| text.chars().filter(char::is_ascii_digit).count() >= 6;
    2 * part >= there().count() && !there().any(|(_, text)| long(text))
}

/// The heads of each column, from the uppermost to the lowest. The name of a group stands above its first column, or,
/// merged, above each.
fn heads_of(rows: &[Row]) -> Vec<Vec<&str>> {
    let width = rows.iter().map(|r| r.cells.len()).max().unwrap_or(0);
    let blank = |row: &Row, column: usize| row.cells.get(column).is_none_or(|c| c.trim().is_empty());
    let mut carried = vec![None; rows.len()];
    let mut heads = Vec::with_capacity(width);
    for column in 0..width {
        let mut here: Vec<&str> = Vec::new();
        for (level, row) in rows.iter().enumerate() {
            let below = rows.get(level + 1..).unwrap_or_default();
            let own = row.cells.get(column).map(|c| c.trim()).filter(|c| !c.is_empty());
            let grouped = below.iter().any(|r| !blank(r, column));
            let head = own.or(if grouped { carried[level] } else { None });
            carried[level] = if grouped { head } else { None };
            here.extend(head.filter(|h| here.last() != Some(h)));
        }
        heads.push(here);
    }
    heads
}

/// The field that each column means, by its heads; several may mean the same one.
fn fields_of(category: &Category, names: &HeadNames, rows: &[Row]) -> Vec<Option<Arc<str>>> {
    let heads = heads_of(rows);
    let field = |heads: &Vec<&str>| names.field(category, heads).map(|f| f.id.clone());
    let mut fields: Vec<_> = heads.iter().map(field).collect();
    // A head that may be that of several fields is that of the one which the head before it names.
    for column in 0..fields.len() {
        let Some(meant) = fields[column].as_deref().and_then(|id| category.field(id)) else { continue };
        let [head] = heads[column].as_slice() else { continue };
        let twice = fields.iter().flatten().filter(|f| **f == meant.id).count() > 1;
        // Of a code that stands once it is asked too, because a wrong unit's code would be a right code.
        if !(twice || meant.kind == FieldType::Uscc) || !names.is_shared(category, head, meant) {
            continue;
        }
        let before = heads[..column].iter().rev().filter_map(|h| h.last()).take(if twice { BEFORE_MAX } else { 1 });
        let other = before.filter_map(|group| names.below(category, group, head)).next();
        if let Some(other) = other.filter(|f| f.id != meant.id && !fields.contains(&Some(f.id.clone()))) {
            fields[column] = Some(other.id.clone());
        }
    }
    fields
}

/// How well the values of a column fit a field.
fn fit(field: &Field, column: usize, data: &[Row]) -> usize {
    let alnum =
        |t: &str, n: &[usize]| n.contains(&t.len()) && t.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
    let fits = |text: &str| match field.kind {
        FieldType::Uscc => alnum(text, &[18]),
        FieldType::OrgCode => alnum(text, &[9, 10]),
        FieldType::Division => alnum(text, &[6]),
        FieldType::Date | FieldType::Decimal | FieldType::Integer => text.contains(|c: char| c.is_ascii_digit()),
        FieldType::Text | FieldType::RegNo | FieldType::IdNo => !text.is_empty(),
    };
    data.iter().filter_map(|r| r.cells.get(column)).filter(|text| fits(text.trim())).count()
}

/// What each column means; those that mean nothing, or what another one means, are named in a note. `data`: some rows.
pub(super) fn read(
    category: &Arc<Category>,
    found: Found,
    rows: &[Row],
    data: &[Row],
    notes: &mut Vec<InputNote>,
) -> TableHead {
    let block = rows.get(found.at..found.at + found.height).unwrap_or_default();
    let line = block.first().map_or(0, |r| r.line);
    let heads_by_column = heads_of(block);
    let titles: Vec<String> = match block {
        [row] => row.cells.clone(),
        _ => heads_by_column.iter().map(|h| h.concat()).collect(),
    };
    let (mut fields, mut twice) = (found.fields, Vec::new());
    if let [first, .., last] = block {
        let (en, zh) = (
            format!("rows {} to {} are read together as the heads of the columns", first.line, last.line),
            format!("第 {} 至 {} 行合并作为表头", first.line, last.line),
        );
        notes.push(noted("", "joined_heads", line, en, zh));
    }
    for column in 0..fields.len() {
        let Some(field) = fields[column].clone().and_then(|id| category.field(&id)) else { continue };
        let same: Vec<usize> = (0..fields.len()).filter(|c| fields[*c].as_ref() == Some(&field.id)).collect();
        // The first of equals.
        let best = same.iter().copied().max_by_key(|c| (fit(field, *c, data), std::cmp::Reverse(*c)));
        for other in same.into_iter().filter(|c| Some(*c) != best) {
            fields[other] = None;
            twice.extend(best.map(|best| (other, best)));
        }
    }
    for (column, title) in titles.iter().enumerate().filter(|(_, t)| !t.trim().is_empty()) {
        let meant = fields[column].as_deref().and_then(|id| category.field(id));
        let alone = heads_by_column[column].len() == 1;
        if let Some(field) = meant.filter(|f| alone && category.column(title).is_some_and(|own| own.id != f.id)) {
            let (name, zh) = (column_name(column), &field.zh);
            let en = format!("column {name} is read as {} because of the head before it", field.id);
            notes.push(noted(title, "paired_head", line, en, format!("{name} 列按其前一列表头作为“{zh}”读取")));
        }
        if meant.is_some() || ADDED_HEADS.contains(&title.trim()) {
            continue;
        }
        let (what, zh) = match twice.iter().find(|(other, _)| *other == column) {
            Some((_, taken)) => (
                format!("column {} means the same field and is taken", column_name(*taken)),
                format!("与 {} 列含义相同，已取 {0} 列", column_name(*taken)),
            ),
            None => match category.column_in_other_unit(title) {
                Some(field) => (
                    format!("its unit is not that of {}: reckon the amounts in {}", field.id, field.zh),
                    format!("单位与目录不同，请换算为“{}”后填报", field.zh),
                ),
                None => ("the catalog has no such field".to_owned(), "不在目录中".to_owned()),
            },
        };
        let (en, zh) = (format!("the column is not stored: {what}"), format!("该列未入库：{zh}"));
        notes.push(noted(title, "unknown_column", line, en, zh));
    }
    let nameless = (0..titles.len()).filter(|c| titles[*c].trim().is_empty()).collect();
    let columns = Arc::new(TableColumns::new(titles, fields));
    let rows = block.iter().map(|r| r.cells.clone()).collect();
    TableHead { category: category.clone(), columns, rows, twice, nameless }
}

/// The field that each column means by a row of heads within the table.
pub(super) fn again(category: &Category, names: &HeadNames, row: &Row) -> Vec<Option<Arc<str>>> {
    fields_of(category, names, std::slice::from_ref(row))
}
