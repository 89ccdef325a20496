//! One cell as a person sees it: its text, and what is to be known of it.

use super::format::{CellFormat, Shown, ShownDay};
use crate::{
    CELLS_MAX, ROW_BYTES_MAX, Row,
    row::{MarkKind, NO_RESULT, is_error_text},
};
use calamine::{DataRef, ExcelDateTime, Style};
use std::collections::{BTreeSet, HashSet};

/// Numbers from here on have more than 15 digits, which a spreadsheet does not keep.
const EXACT_BELOW: f64 = 1e15;
/// Numbers that may be days: from 1950 to the end of 2099, counted from the end of 1899. What is above is rather a month
/// (202611) or a number of its own.
const DAYS: std::ops::Range<f64> = 18_264.0..73_051.0;
/// Behind the last day that a spreadsheet has, the end of 9999.
const DAYS_END: f64 = 2_958_466.0;
/// What is shown of a number below zero, or behind the last day, that has the format of a day.
const NO_DAY: &str = "########";
/// Days between the two beginnings that a workbook may count from.
const DAYS_TO_1904: f64 = 1_462.0;

/// Reads the cells of a sheet.
#[derive(Debug)]
pub(super) struct CellReader {
    /// For each style, what it does to a cell.
    looks: Vec<StyleLooks>,
    is_1904: bool,
    /// Formulas without a result, by row and column from 0.
    no_result: BTreeSet<(u32, u32)>,
    /// Shared texts through a part of which a line goes.
    struck: HashSet<String>,
}

/// What a style does to a cell.
#[derive(Debug, Default)]
struct StyleLooks {
    /// Its format, if that may show anything but the value.
    format: Option<CellFormat>,
    /// A line goes through the text.
    struck: bool,
}

impl CellReader {
    pub(super) fn new(styles: &[Style], is_1904: bool, no_result: BTreeSet<(u32, u32)>) -> Self {
        let format = |s: &Style| Some(CellFormat::of(&s.number_format.as_ref()?.format_code));
        let looks = |s: &Style| StyleLooks {
            format: format(s).filter(|f| !f.is_plain()),
            struck: s.font.as_ref().is_some_and(calamine::Font::has_strikethrough),
        };
        Self { looks: styles.iter().map(looks).collect(), is_1904, no_result, struck: HashSet::new() }
    }

    /// With the shared texts through a part of which a line goes.
    pub(super) fn with_struck(self, struck: HashSet<String>) -> Self {
        Self { struck, ..self }
    }

    /// Puts in the cells of a row that a formula has no result for and that the file leaves out.
    pub(super) fn put_absent(&self, row: &mut Row) {
        if self.no_result.is_empty() {
            return;
        }
        let Some(at) = row.line.checked_sub(1).and_then(|at| u32::try_from(at).ok()) else { return };
        for (_, column) in self.no_result.range((at, 0)..=(at, u32::MAX)) {
            let column = *column as usize;
            if column < CELLS_MAX && !row.marks.iter().any(|m| m.column == column && m.kind == MarkKind::NoResult) {
                if row.cells.len() <= column {
                    row.cells.resize(column + 1, String::new());
                }
                if let Some(cell) = row.cells.get_mut(column) {
                    *cell = NO_RESULT.to_owned();
                }
                row.mark(column, MarkKind::NoResult);
            }
        }
    }

    /// Puts a cell into a row; answers how many bytes it has.
    pub(super) fn put(&self, row: &mut Row, place: (u32, u32), value: &DataRef<'_>, style: usize) -> usize {
        let column = place.1 as usize;
        if let DataRef::SharedString(s) = value
            && s.len() > ROW_BYTES_MAX
        {
            return s.len();
        }
        let text = if self.no_result.contains(&place) {
            row.mark(column, MarkKind::NoResult);
            NO_RESULT.to_owned()
        } else {
            match self.text(row, column, value, style) {
                Some(text) => text,
                None => return 0,
            }
        };
        if row.cells.len() <= column {
            row.cells.resize(column + 1, String::new());
        }
        let bytes = text.len() + 16;
        let in_part = || matches!(value, DataRef::SharedString(s) if self.struck.contains(*s));
        if !text.is_empty() && (self.looks.get(style).is_some_and(|l| l.struck) || in_part()) {
            row.mark(column, MarkKind::Struck);
        }
        if let Some(cell) = row.cells.get_mut(column) {
            *cell = text;
        }
        bytes
    }

    /// What the format of a style shows, if that may be anything but the value.
    fn format(&self, style: usize) -> Option<&CellFormat> {
        self.looks.get(style)?.format.as_ref()
    }

    /// The text of a cell, if there is any.
    fn text(&self, row: &mut Row, column: usize, value: &DataRef<'_>, style: usize) -> Option<String> {
        Some(match value {
            DataRef::Empty => return None,
            DataRef::String(s) | DataRef::DateTimeIso(s) | DataRef::DurationIso(s) => self.said(row, column, s, style),
            DataRef::SharedString(s) => self.said(row, column, s, style),
            DataRef::Bool(b) => if *b { "TRUE" } else { "FALSE" }.to_owned(),
            DataRef::Int(n) => self.number(row, column, *n as f64, style),
            DataRef::Float(f) => self.number(row, column, *f, style),
            DataRef::DateTime(d) => self.day(row, column, d, style),
            DataRef::Error(e) => {
                row.mark(column, MarkKind::ErrorValue);
                e.to_string()
            }
        })
    }

    /// A text as its format shows it.
    fn said(&self, row: &mut Row, column: usize, text: &str, style: usize) -> String {
        if is_error_text(text) {
            row.mark(column, MarkKind::ErrorValue);
        }
        match self.format(style).map(|f| f.text(text)) {
            Some(Shown::Text(shown)) if !text.is_empty() => return shown,
            Some(Shown::Otherwise) if !text.trim().is_empty() => row.mark(column, MarkKind::ShownOtherwise),
            _ => {}
        }
        text.to_owned()
    }

    /// A number that the reader of cells takes for a day, by its format.
    fn day(&self, row: &mut Row, column: usize, d: &ExcelDateTime, style: usize) -> String {
        let shown = self.format(style).map(CellFormat::day);
        // It looks at no escaped letters.
        if shown == Some(ShownDay::Number) {
            return self.number(row, column, d.as_f64(), style);
        }
        if d.is_duration() {
            row.mark(column, MarkKind::ShownOtherwise);
            return number(d.as_f64());
        }
        // A time of day alone, as it is shown: a day before 1900 was never seen.
        if (0.0..1.0).contains(&d.as_f64()) && !self.is_1904 {
            let (.., h, min, s, _) = d.to_ymd_hms_milli();
            return format!("{h:02}:{min:02}:{s:02}");
        }
        // A spreadsheet shows no day for it.
        if (d.as_f64() < 0.0 && !self.is_1904) || d.as_f64() >= DAYS_END {
            row.mark(column, MarkKind::ErrorValue);
            return NO_DAY.to_owned();
        }
        if shown == Some(ShownDay::Part) {
            row.mark(column, MarkKind::ShownOtherwise);
        }
        let (y, m, day, h, min, s, _) = d.to_ymd_hms_milli();
        match (h, min, s) {
            _ if shown == Some(ShownDay::Day) => format!("{y:04}-{m:02}-{day:02}"),
            (0, 0, 0) => format!("{y:04}-{m:02}-{day:02}"),
            _ => format!("{y:04}-{m:02}-{day:02} {h:02}:{min:02}:{s:02}"),
        }
    }

    /// A number as its format shows it.
    fn number(&self, row: &mut Row, column: usize, f: f64, style: usize) -> String {
        if f.abs() >= EXACT_BELOW {
            row.mark(column, MarkKind::DigitsLost);
        }
        match self.format(style).map(|format| format.number(f, number)) {
            Some(Shown::Text(shown)) => return shown,
            Some(Shown::Otherwise) => row.mark(column, MarkKind::ShownOtherwise),
            Some(Shown::Itself) | None => {}
        }
        let days = if self.is_1904 { f + DAYS_TO_1904 } else { f };
        if DAYS.contains(&days) {
            row.mark(column, MarkKind::Day(days as u32));
        }
        number(f)
    }
}

/// A number as a person reads it: no exponent, and no more than the 15 digits that a spreadsheet keeps.
fn number(f: f64) -> String {
    let rounded = format!("{f:.14e}").parse().unwrap_or(f);
    let text = format!("{rounded}");
    if text == "-0" { "0".to_owned() } else { text }
}
