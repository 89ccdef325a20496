//! A row of data: its cells as a person sees them, told where that is not what the file holds at that place.

use super::{heads::TableHead, noted};
use crate::InputNote;
use std::sync::Arc;
use tally_sheet::{CellMark, MarkKind, MergedRange, Row, SheetError, column_name, day_text};
use tally_topology::{
    catalog::{Field, FieldType},
    judge::{masked, shown},
};

/// One past the last cell that holds anything.
pub(super) fn filled_to(row: &Row) -> usize {
    row.cells.iter().rposition(|cell| !cell.trim().is_empty()).map_or(0, |last| last + 1)
}

/// The row as it is judged. `most`: how many cells a row may have.
pub(super) fn read(head: &TableHead, mut row: Row, most: usize, notes: &mut Vec<InputNote>) -> Row {
    let width = head.columns.heads.len();
    if row.fault.is_none() && filled_to(&row) > most {
        row.mark_overfull();
    }
    // What stands beyond the heads, or between them, has no name.
    let stands = |cell: &String| !cell.trim().is_empty();
    let between = || head.nameless.iter().any(|c| row.cells.get(*c).is_some_and(stands));
    if row.fault.is_none() && (row.cells.iter().skip(width).any(stands) || between()) {
        let (en, zh) =
            ("cells to the right of the last head, or without a head, are not stored", "表头以外的单元格未入库");
        notes.push(noted("", "beyond_heads", row.line, en.into(), zh.into()));
    }
    if !row.marks.is_empty() {
        marks(head, &mut row, notes);
    }
    if row.fault.is_none() {
        row.fault = two_columns(head, &row).map(Box::new);
    }
    row.cells.resize(width.max(row.cells.len()), String::new());
    row
}

fn field(head: &TableHead, column: usize) -> Option<&Field> {
    head.category.field(head.columns.fields.get(column)?.as_deref()?)
}

/// Settles what can be settled of single cells, and leaves the rest marked.
fn marks(head: &TableHead, row: &mut Row, notes: &mut Vec<InputNote>) {
    let one = is_one_record(row);
    let mut left = Vec::new();
    for mark in std::mem::take(&mut row.marks) {
        if mark.kind == MarkKind::Overfull {
            left.push(mark);
            continue;
        }
        let Some(field) = field(head, mark.column) else { continue };
        let Some(cell) = row.cells.get_mut(mark.column) else { continue };
        let title = head.columns.heads.get(mark.column).map_or("", String::as_str);
        match &mark.kind {
            MarkKind::DigitsLost | MarkKind::ErrorValue | MarkKind::NoResult | MarkKind::Overfull => left.push(mark),
            MarkKind::Day(days) if field.kind == FieldType::Date => {
                let (name, day) = (column_name(mark.column), day_text(*days));
                let en = format!("numbers were read as the spreadsheet's days: {cell} in {name}{} as {day}", row.line);
                let zh = format!("数字按表格软件的日期序号读取：{name}{} 的 {cell} 即 {day}", row.line);
                notes.push(noted(title, "day_number", row.line, en, zh));
                *cell = day;
            }
            MarkKind::Day(_) => {}
            MarkKind::ShownOtherwise => {
                let (name, cell) = (column_name(mark.column), if field.personal { masked(cell) } else { shown(cell) });
                let en = format!(
                    "values are stored as the cells hold them, though the sheet shows another text or nothing by their format: {cell} in {name}{}",
                    row.line
                );
                let zh = format!(
                    "按单元格原值保存，表格中按单元格格式显示为其他文字或不显示：{name}{} 的 {cell}，请核对",
                    row.line
                );
                notes.push(noted(title, "shown_otherwise", row.line, en, zh));
            }
            MarkKind::Struck => {
                let name = column_name(mark.column);
                let en = format!("cells with a line through them were read all the same, from {name}{} on", row.line);
                let zh = format!("带删除线的单元格仍已读取（自 {name}{} 起）；如已作废请删除后重报", row.line);
                notes.push(noted(title, "struck_out", row.line, en, zh));
            }
            // An amount over several rows may be the sum of them, or that of each.
            MarkKind::Merged(range) if !one && matches!(field.kind, FieldType::Decimal | FieldType::Integer) => {
                if !is_first(range, row.line, mark.column) {
                    cell.clear();
                }
                left.push(mark);
            }
            MarkKind::Merged(range) if !is_first(range, row.line, mark.column) => {
                let en = format!("merged cells were read as they are shown: {} in each of its cells", range.name);
                let zh = format!("合并单元格按显示内容读取：{} 的值用于其中每一格", range.name);
                notes.push(noted(title, "merged_cells", row.line, en, zh));
            }
            MarkKind::Merged(_) => {}
        }
    }
    row.marks = left;
}

fn is_first(range: &Arc<MergedRange>, line: u64, column: usize) -> bool {
    (range.first_row, range.first_column) == (line, column)
}

/// Whether all that stands in a row is merged over the same rows and no columns: one record that is some rows high.
fn is_one_record(row: &Row) -> bool {
    let merged = |column: usize| {
        row.marks.iter().find_map(|m: &CellMark| match &m.kind {
            MarkKind::Merged(range) if m.column == column && range.first_column == range.last_column => {
                Some((range.first_row, range.last_row))
            }
            _ => None,
        })
    };
    let mut there = row.cells.iter().enumerate().filter(|(_, text)| !text.trim().is_empty()).map(|(c, _)| merged(c));
    let first = there.next().flatten();
    first.is_some_and(|(from, to)| from < to) && there.all(|rows| rows == first)
}

/// Two columns mean the same field, which is no free text, and say different things.
fn two_columns(head: &TableHead, row: &Row) -> Option<SheetError> {
    let text = |column: usize| row.cells.get(column).map_or("", |t| t.trim());
    let (other, taken) = *head.twice.iter().find(|(other, taken)| {
        let typed = field(head, *taken).is_some_and(|f| f.kind != FieldType::Text || f.list.is_some());
        typed && !text(*other).is_empty() && text(*other) != text(*taken)
    })?;
    let title = shown(head.columns.heads.get(taken).map_or("", |t| t.trim()));
    let (a, b) = (column_name(taken), column_name(other));
    let (left, right) = (shown(text(taken)), shown(text(other)));
    let en = format!(
        "columns {a} and {b} both mean {title} and differ: {left:?} and {right:?}. Give each column a head that says whose it is"
    );
    let zh = format!("{a} 列与 {b} 列均为“{title}”但内容不同：“{left}”与“{right}”；请在表头中写明各自所指");
    Some(SheetError::new("two_columns", row.line, en, zh))
}
