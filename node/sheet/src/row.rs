//! Rows as they are handed over: the text of cells, and what is to be known of cells beyond their text.

use super::SheetError;
use std::{ops::ControlFlow, sync::Arc};

/// A row.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Row {
    /// The line on which it starts, as an editor counts; the row's number in a spreadsheet.
    pub line: u64,
    /// Text of its cells, as a person sees it; days as YYYY-MM-DD.
    pub cells: Vec<String>,
    /// What is to be known of single cells. Most rows have none.
    pub marks: Vec<CellMark>,
    /// Why the row cannot be told into cells for certain: its cells then only show what stands there.
    pub fault: Option<Box<SheetError>>,
}

/// Something about one cell of a row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CellMark {
    /// Its column, from 0.
    pub column: usize,
    /// What.
    pub kind: MarkKind,
}

/// What is to be known of a cell beyond its text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MarkKind {
    /// A number of more than 15 digits, so the last ones are lost.
    DigitsLost,
    /// It holds an error of the spreadsheet, such as `#REF!`.
    ErrorValue,
    /// A formula whose result the file does not have: a person sees one, and the program that wrote the file did not
    /// work it out.
    NoResult,
    /// A part of a merged range. Its text is that of the range's first cell.
    Merged(Arc<MergedRange>),
    /// A bare number that may be a day: so many days from the end of 1899 on, as [`day_text`] reads it.
    Day(u32),
    /// A value whose format shows another text, which is not worked out here, or nothing; the value was read.
    ShownOtherwise,
    /// A line goes through it: people strike out what no longer holds.
    Struck,
    /// The last cell of a row of text that has more cells than others: a sign between cells stands in one of them, perhaps.
    Overfull,
}

/// Cells that are shown as one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MergedRange {
    /// As a spreadsheet writes it: `J2:J4`.
    pub name: String,
    /// First row, as a spreadsheet counts.
    pub first_row: u64,
    /// Last row.
    pub last_row: u64,
    /// First column, from 0.
    pub first_column: usize,
    /// Last column.
    pub last_column: usize,
}

/// The text of a cell whose formula has no result in the file.
pub(super) const NO_RESULT: &str = "#无结果!";

/// Errors of spreadsheets, as they stand in cells and in text that was made of them.
const ERROR_TEXTS: [&str; 16] = [
    "#N/A",
    "#REF!",
    "#VALUE!",
    "#NAME?",
    "#DIV/0!",
    "#NUM!",
    "#NULL!",
    "#SPILL!",
    "#CALC!",
    "#GETTING_DATA",
    "#FIELD!",
    "#BLOCKED!",
    "#CONNECT!",
    "#UNKNOWN!",
    "#BUSY!",
    NO_RESULT,
];

/// Formulas of WPS for a picture in a cell; what it shows is in no text.
const PICTURES: [&str; 2] = ["=DISPIMG(", "=_xlfn.DISPIMG("];

/// Whether a text is what a spreadsheet has in place of a value: an error, a column that is too narrow, or a picture.
pub(super) fn is_error_text(text: &str) -> bool {
    let text = text.trim();
    if text.starts_with('=') {
        return PICTURES.iter().any(|p| text.starts_with(p));
    }
    // As LibreOffice writes the errors that have no name.
    if let Some(number) = text.strip_prefix("Err:") {
        return number.len() == 3 && number.bytes().all(|b| b.is_ascii_digit());
    }
    text.starts_with('#')
        && (ERROR_TEXTS.iter().any(|e| e.eq_ignore_ascii_case(text))
            || (text.len() > 2 && text.bytes().all(|b| b == b'#')))
}

/// Whether a text is a formula: a function, a place, or a number with a sign behind it. What only keeps a value text
/// (`="0123"`) is none.
fn is_formula(text: &str) -> bool {
    let Some(formula) = text.trim().strip_prefix('=') else { return false };
    let begins = formula.trim_start_matches(['+', '-', '(', '$', '@']).starts_with(|c: char| c.is_ascii_alphanumeric());
    (begins && formula.contains(['(', '+', '-', '*', '/', '&', ':', '!', '$'])) || is_place(formula)
}

/// Whether a text is a cell of a spreadsheet: `AB12`.
fn is_place(text: &str) -> bool {
    let letters = text.bytes().take_while(u8::is_ascii_uppercase).count();
    let digits = text.get(letters..).unwrap_or_default();
    (1..=3).contains(&letters) && (1..=7).contains(&digits.len()) && digits.bytes().all(|b| b.is_ascii_digit())
}

/// What is no text for a person: white space, control characters (the end marks and filling of old systems), and signs that
/// nobody sees.
fn is_nothing(c: char) -> bool {
    c.is_whitespace()
        || c.is_control()
        || matches!(c, '\u{ad}' | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{2800}' | '\u{3164}' | '\u{feff}')
}

impl Row {
    /// Whether nothing stands in it.
    pub fn is_blank(&self) -> bool {
        self.cells.iter().all(|c| c.chars().all(is_nothing)) && self.fault.is_none()
    }

    /// Marks a row of text that has more cells than others.
    pub fn mark_overfull(&mut self) {
        self.mark(self.cells.len().saturating_sub(1), MarkKind::Overfull);
    }

    /// Marks a cell.
    pub(super) fn mark(&mut self, column: usize, kind: MarkKind) {
        self.marks.push(CellMark { column, kind });
    }

    /// Marks the cells of a text that are an error of a spreadsheet, or a formula: whoever opens it there sees the result.
    pub(super) fn mark_error_texts(&mut self) {
        for (column, text) in self.cells.iter().enumerate() {
            let kind = match text.trim_start().as_bytes().first() {
                Some(b'#' | b'=' | b'E') if is_error_text(text) => MarkKind::ErrorValue,
                Some(b'=') if is_formula(text) => MarkKind::NoResult,
                _ => continue,
            };
            self.marks.push(CellMark { column, kind });
        }
    }
}

/// Takes a row; `Break` ends the reading.
pub type Take<'t> = &'t mut dyn FnMut(Row) -> ControlFlow<()>;

/// The day, YYYY-MM-DD, that a spreadsheet means by a number: from 1900-03-01 on, days since 1899-12-30.
pub fn day_text(days: u32) -> String {
    let kind = calamine::ExcelDateTimeType::DateTime;
    let (y, m, d, ..) = calamine::ExcelDateTime::new(f64::from(days), kind, false).to_ymd_hms_milli();
    format!("{y:04}-{m:02}-{d:02}")
}

/// Name of a column as a spreadsheet writes it: 0 is `A`.
pub fn column_name(column: usize) -> String {
    let (mut rest, mut letters) = (column, Vec::new());
    loop {
        letters.push(b'A' + u8::try_from(rest % 26).unwrap_or(0));
        if rest < 26 {
            break;
        }
        rest = rest / 26 - 1;
    }
    letters.iter().rev().map(|b| char::from(*b)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_have_the_names_that_spreadsheets_give_them() {
        for (column, name) in [(0, "A"), (25, "Z"), (26, "AA"), (701, "ZZ"), (702, "AAA"), (16_383, "XFD")] {
            assert_eq!(column_name(column), name);
        }
    }

    #[test]
    fn numbers_of_days_are_those_of_a_spreadsheet() {
        for (number, day) in [(18_264, "1950-01-01"), (46_328, "2026-11-02"), (2_958_465, "9999-12-31")] {
            assert_eq!(day_text(number), day);
        }
    }

    #[test]
    fn errors_of_spreadsheets_are_known_and_texts_that_only_begin_so_are_not() {
        for error in ["#N/A", " #ref! ", "#DIV/0!", "####", NO_RESULT, "=DISPIMG(\"ID_1F\",1)", "Err:502"] {
            assert!(is_error_text(error), "{error}");
        }
        for text in ["", "#", "##", "#1 楼", "N/A", "#N/A 说明", "=1+2", "DISPIMG", "Err:5", "Err"] {
            assert!(!is_error_text(text), "{text}");
        }
    }

    /// A07: a formula in a CSV was stored as it stands, where a person sees its result.
    #[test]
    fn formulas_are_told_from_texts_that_begin_with_an_equals_sign() {
        for formula in ["=1+1", "=VLOOKUP(A1,B:B,1)", "=A1", " =-A1*2", "=Sheet1!A1", "=(1/3)", "=$B$2", "=TODAY()"] {
            assert!(is_formula(formula), "{formula}");
        }
        for text in ["=", "==", "=甲", "=\"0123\"", "=abc", "= ", "甲=1+1", "=>", "1+1", "", "=见附件(1)"] {
            assert!(!is_formula(text), "{text}");
        }
    }

    #[test]
    fn end_marks_and_filling_are_nothing() {
        for cells in [&["\u{4}", "\u{200b}"][..], &["\u{1a}"], &["\0\0\0", " "], &["\u{feff}"], &[""]] {
            let cells = cells.iter().map(|c| (*c).to_owned()).collect();
            assert!(Row { cells, ..Row::default() }.is_blank());
        }
        assert!(!Row { cells: vec!["\u{1a}合计".into()], ..Row::default() }.is_blank());
    }
}
