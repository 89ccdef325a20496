//! Workbooks (XLSX), row by row. Only the shared texts are held in memory whole.

#![warn(clippy::indexing_slicing)]

mod cell;
mod facts;
mod format;
mod merged;
mod shape;

use super::{CELLS_MAX, ROW_BYTES_MAX, Row, SheetError, Take, guard};
use crate::column_name;
use calamine::{DataRef, Reader as _, SheetType, SheetVisible, Xlsx, XlsxError, open_workbook};
use cell::CellReader;
use facts::SheetFacts;
use merged::Merges;
use std::{
    collections::HashSet,
    fs::File,
    io::BufReader,
    panic::{AssertUnwindSafe, catch_unwind},
    path::Path,
};

/// Sheets that are looked at for one that holds anything.
const SHEETS_MAX: usize = 100;
/// Stretches of hidden rows, and hidden columns, that are named.
const NAMED_MAX: usize = 20;

/// What a workbook was taken for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct XlsxFound {
    /// The sheet that was read.
    pub sheet: String,
    /// Other visible sheets, which were not.
    pub others: Vec<String>,
    /// What of the sheet a person does not see.
    pub looks: SheetLooks,
}

/// What of a sheet that was read a person does not see at once.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SheetLooks {
    /// Hidden rows that hold anything.
    pub hidden_rows: u64,
    /// Where they are, first and last of each stretch; some of the first.
    pub hidden_at: Vec<(u64, u64)>,
    /// A filter hides rows.
    pub filtered: bool,
    /// Names of hidden columns that hold anything; some of the first.
    pub hidden_columns: Vec<String>,
}

fn broken(row: u64, e: impl std::fmt::Display) -> SheetError {
    SheetError::new(
        "broken_workbook",
        row,
        format!("the workbook cannot be read beyond row {row} ({e}): save it again and hand in the new file"),
        format!("工作簿自第 {row} 行后无法读取，请重新保存后再报"),
    )
}

/// Reads the first visible sheet that holds anything; blank rows are passed over. `named` hears its name first.
///
/// # Errors
/// [`SheetError`], after all rows before the fault were handed over.
pub fn read_xlsx(path: &Path, named: &mut dyn FnMut(&str), take: Take<'_>) -> Result<XlsxFound, SheetError> {
    let special = guard::check(path)?;
    // A library that panics on a crafted file must not take the node with it.
    let read = catch_unwind(AssertUnwindSafe(|| read(path, &special, named, take)));
    read.unwrap_or_else(|_| Err(broken(0, "its parts do not fit together")))
}

fn read(
    path: &Path,
    special: &HashSet<String>,
    named: &mut dyn FnMut(&str),
    take: Take<'_>,
) -> Result<XlsxFound, SheetError> {
    let mut book: Xlsx<BufReader<File>> = open_workbook(path).map_err(|e: XlsxError| broken(0, e))?;
    let visible = |s: &&calamine::Sheet| s.visible == SheetVisible::Visible && s.typ == SheetType::WorkSheet;
    let mut names: Vec<String> = book.sheets_metadata().iter().filter(visible).map(|s| s.name.clone()).collect();
    if names.is_empty() {
        let en = "the workbook has no visible sheet: put the table on one";
        return Err(SheetError::new("no_sheet", 0, en, "工作簿没有可见的工作表"));
    }
    let mut chosen = None;
    for (i, name) in names.iter().enumerate().take(SHEETS_MAX) {
        let mut cells = book.worksheet_cells_reader(name).map_err(|e| broken(0, e))?;
        if first_cell(&mut cells)? {
            chosen = Some(i);
            break;
        }
    }
    let Some(chosen) = chosen else {
        return Err(SheetError::new("empty", 0, "there is nothing in it", "文件为空"));
    };
    let sheet = names.remove(chosen);
    named(&sheet);
    let facts = facts::look(path, &sheet, special)?;
    let looks = rows(&mut book, &sheet, facts, take)?;
    Ok(XlsxFound { sheet, others: names, looks })
}

/// Hands over the rows of a sheet.
fn rows(
    book: &mut Xlsx<BufReader<File>>,
    sheet: &str,
    mut facts: SheetFacts,
    take: Take<'_>,
) -> Result<SheetLooks, SheetError> {
    let is_1904 = book.has_1904_epoch();
    let mut cells = book.worksheet_cells_reader(sheet).map_err(|e| broken(0, e))?;
    let reader = CellReader::new(cells.styles(), is_1904, std::mem::take(&mut facts.no_result))
        .with_struck(std::mem::take(&mut facts.struck));
    let mut merges = Merges::new(std::mem::take(&mut facts.merges));
    let mut seen = Seen::default();
    let (mut row, mut bytes) = (Row::default(), 0);
    loop {
        let cell = cells.next_cell_with_style_id().map_err(|e| broken(row.line, e))?;
        let at = cell.as_ref().map(|(c, _)| u64::from(c.get_position().0) + 1);
        if at != Some(row.line) {
            let next = Row { line: at.unwrap_or(0), ..Row::default() };
            let mut full = std::mem::replace(&mut row, next);
            bytes = 0;
            if full.line > 0 && !full.is_blank() {
                reader.put_absent(&mut full);
                merges.fill(&mut full)?;
                seen.add(&full, &facts);
                if take(full).is_break() {
                    break;
                }
            }
        }
        let Some((cell, style)) = cell else { break };
        if (cell.get_position().1 as usize) < CELLS_MAX {
            bytes += reader.put(&mut row, cell.get_position(), cell.get_value(), style);
            if bytes > ROW_BYTES_MAX {
                let line = row.line;
                let en = format!("row {line} has more than {ROW_BYTES_MAX} bytes: nothing from this row on was read");
                return Err(SheetError::new("endless_row", line, en, format!("第 {line} 行过长；自该行起未读取")));
            }
        }
    }
    Ok(seen.looks(&facts))
}

/// What was handed over that a person does not see.
#[derive(Debug, Default)]
struct Seen {
    looks: SheetLooks,
    /// Columns with text.
    columns: Vec<bool>,
}

impl Seen {
    fn add(&mut self, row: &Row, facts: &SheetFacts) {
        if !facts.hidden_columns.is_empty() {
            self.columns.resize(self.columns.len().max(row.cells.len()), false);
            let texts = self.columns.iter_mut().zip(&row.cells);
            texts.for_each(|(seen, text)| *seen |= !text.trim().is_empty());
        }
        if !facts.hidden_rows.contains(&row.line) {
            return;
        }
        self.looks.hidden_rows += 1;
        let at = &mut self.looks.hidden_at;
        if let Some((_, last)) = at.last_mut().filter(|(_, last)| *last + 1 == row.line) {
            *last = row.line;
        } else if at.len() < NAMED_MAX {
            at.push((row.line, row.line));
        }
    }

    fn looks(mut self, facts: &SheetFacts) -> SheetLooks {
        let hidden = |column: &usize| facts.hidden_columns.iter().any(|(from, to)| (from..=to).contains(&column));
        let columns = self.columns.iter().enumerate().filter(|(_, text)| **text).map(|(column, _)| column);
        self.looks.hidden_columns = columns.filter(hidden).take(NAMED_MAX).map(column_name).collect();
        self.looks.filtered = facts.filtered;
        self.looks
    }
}

fn first_cell<RS: std::io::Read + std::io::Seek>(
    cells: &mut calamine::XlsxCellReader<'_, RS>,
) -> Result<bool, SheetError> {
    while let Some(cell) = cells.next_cell().map_err(|e| broken(0, e))? {
        if !matches!(cell.get_value(), DataRef::Empty) {
            return Ok(true);
        }
    }
    Ok(false)
}

#[cfg(test)]
mod tests;
