//! Merged cells as a person sees them: each shows what stands in the first cell of its range.

use crate::{
    ROW_BYTES_MAX, SheetError,
    row::{CellMark, MarkKind, MergedRange, Row},
};
use std::sync::Arc;

/// Most merged cells of a sheet that are filled.
const FILLED_MAX: usize = 8 << 20;

/// Merged ranges of a sheet whose rows come in order.
#[derive(Debug, Default)]
pub(super) struct Merges {
    /// By their first rows, the last first.
    ahead: Vec<Arc<MergedRange>>,
    open: Vec<OpenRange>,
    filled: usize,
}

/// A range that the present row is in.
#[derive(Debug)]
struct OpenRange {
    range: Arc<MergedRange>,
    text: String,
    marks: Vec<MarkKind>,
}

impl Merges {
    /// Of ranges in the order of their first rows.
    pub(super) fn new(ranges: Vec<MergedRange>) -> Self {
        Self { ahead: ranges.into_iter().rev().map(Arc::new).collect(), ..Self::default() }
    }

    /// Fills the merged cells of a row.
    ///
    /// # Errors
    /// More cells are merged than a table can have.
    pub(super) fn fill(&mut self, row: &mut Row) -> Result<(), SheetError> {
        let line = row.line;
        self.open.retain(|o| o.range.last_row >= line);
        while let Some(range) = self.ahead.pop_if(|r| r.first_row <= line) {
            if range.last_row < line {
                continue;
            }
            // A first row that is blank is not handed over.
            let (mut text, mut marks) = (String::new(), Vec::new());
            if range.first_row == line {
                let column = range.first_column;
                text = row.cells.get(column).cloned().unwrap_or_default();
                marks = row.marks.iter().filter(|m| m.column == column).map(|m| m.kind.clone()).collect();
            }
            self.open.push(OpenRange { range, text, marks });
        }
        let mut bytes = 0;
        for open in &self.open {
            let range = &open.range;
            // An empty range shows nothing, also where a program left something in it.
            let end = if open.text.is_empty() { row.cells.len() } else { range.last_column + 1 };
            let columns = range.first_column..end.min(range.last_column + 1);
            self.filled += 1 + columns.len();
            bytes += columns.len() * (open.text.len() + 16);
            if self.filled > FILLED_MAX || bytes > ROW_BYTES_MAX {
                let en =
                    format!("too many cells are merged at row {line}: unmerge them. Nothing from this row on was read");
                return Err(SheetError::new(
                    "too_special",
                    line,
                    en,
                    format!("第 {line} 行附近合并单元格过多，请取消合并后再报；自该行起未读取"),
                ));
            }
            for column in columns {
                fill_one(row, column, open);
            }
        }
        Ok(())
    }
}

fn fill_one(row: &mut Row, column: usize, open: &OpenRange) {
    if row.cells.len() <= column {
        row.cells.resize(column + 1, String::new());
    }
    row.marks.retain(|m| m.column != column);
    row.marks.extend(open.marks.iter().map(|kind| CellMark { column, kind: kind.clone() }));
    if !open.text.is_empty() {
        row.mark(column, MarkKind::Merged(open.range.clone()));
    }
    if let Some(cell) = row.cells.get_mut(column) {
        cell.clone_from(&open.text);
    }
}
