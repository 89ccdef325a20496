//! Tables in and out: CSV with whatever delimiter and encoding, and XLSX. Blocking.
//!
//! Rows are handed over one by one, and whatever a file claims or expands to has a bound. A cell is the text that a person sees;
//! what may have been lost of it is told with the row. Records, heads and fields are not known here.

mod csv;
mod decode;
mod guard;
mod row;
pub mod text;
mod write;
mod xlsx;
mod xml_bounds;

pub use csv::{CsvFound, CsvOptions, KnownHeads, read_csv};
pub use decode::{Encoding, read_text, text_beginning};
pub use row::{CellMark, MarkKind, MergedRange, Row, Take, column_name, day_text};
pub use write::{CellKind, Column, ROWS_MAX, too_many_rows, write_csv_row, write_xlsx};
pub use xlsx::{SheetLooks, XlsxFound, read_xlsx};

/// Most cells of a row: as many as a spreadsheet has columns.
pub const CELLS_MAX: usize = 16_384;
/// Largest row of a CSV, in bytes of UTF-8.
pub const ROW_BYTES_MAX: usize = 1 << 20;

/// What a file really is, by its first bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FileKind {
    /// Text: CSV, TSV or JSON.
    Text,
    /// A zip archive: XLSX, perhaps.
    Zip,
    /// Excel 97-2003, or a protected XLSX: both are OLE containers.
    Ole,
    /// A web page or other XML that only calls itself a spreadsheet.
    Markup,
    /// PDF, a picture, and so on.
    Other,
}

/// How web pages begin that reporting systems hand out as spreadsheets; the last is a page with its pictures (.mht).
const MARKUP: [&[u8]; 11] = [
    b"<html",
    b"<?xml",
    b"<table",
    b"<!doctype",
    b"<workbook",
    b"<!--",
    b"<meta",
    b"<head",
    b"<style",
    b"<div",
    b"mime-vers",
];

/// Looks at the first bytes of a file; 8 are enough for most.
pub fn sniff(first: &[u8]) -> FileKind {
    let text = first.strip_prefix(b"\xef\xbb\xbf").unwrap_or(first);
    let start = text.iter().position(|b| !b.is_ascii_whitespace()).unwrap_or(0);
    let text = &text[start..];
    let lower: Vec<u8> = text.iter().take(9).map(u8::to_ascii_lowercase).collect();
    match first {
        f if f.starts_with(b"PK\x03\x04") => FileKind::Zip,
        f if f.starts_with(b"\xd0\xcf\x11\xe0") => FileKind::Ole,
        _ if MARKUP.iter().any(|m| lower.starts_with(m)) => FileKind::Markup,
        f if [&b"%PDF"[..], b"\x89PNG", b"\xff\xd8\xff", b"Rar!", b"\x1f\x8b", b"7z\xbc\xaf"]
            .iter()
            .any(|m| f.starts_with(m)) =>
        {
            FileKind::Other
        }
        _ => FileKind::Text,
    }
}

/// [`SheetError::code`] of an input whose bytes stopped coming.
const BROKEN_OFF: &str = "broken_off";

/// Why a table could not be read, or not to its end.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct SheetError {
    /// Stable name.
    pub code: &'static str,
    /// Line or row at which reading ended; 0: at none.
    pub line: u64,
    /// What is wrong and what to do.
    pub message: String,
    /// The same in Chinese.
    pub message_zh: String,
}

impl SheetError {
    /// At a line.
    pub fn new(code: &'static str, line: u64, message: impl Into<String>, message_zh: impl Into<String>) -> Self {
        Self { code, line, message: message.into(), message_zh: message_zh.into() }
    }

    /// Whether the bytes stopped coming, which says nothing of the table.
    pub fn is_broken_off(&self) -> bool {
        self.code == BROKEN_OFF
    }

    fn io(e: &std::io::Error) -> Self {
        Self::new(BROKEN_OFF, 0, format!("the input broke off: {e}"), format!("读取中断：{e}"))
    }
}

/// A file that is not what it seems, said by name.
///
/// # Errors
/// Always, but for text and zip archives.
pub fn refuse(kind: FileKind) -> Result<(), SheetError> {
    let (code, en, zh) = match kind {
        FileKind::Text | FileKind::Zip => return Ok(()),
        FileKind::Ole => (
            "old_excel",
            "this is an Excel 97-2003 workbook (.xls) or one with a password: open it and save it as .xlsx without a password, or as CSV",
            "该文件是旧版 .xls 或加密的工作簿，请另存为不加密的 .xlsx 或 CSV 后再报",
        ),
        FileKind::Markup => (
            "web_page",
            "this is a web page or XML that only calls itself a spreadsheet: open it in Excel or WPS and save it as .xlsx",
            "该文件实际是网页或 XML，只是扩展名为表格，请用 Excel/WPS 打开后另存为 .xlsx",
        ),
        FileKind::Other => {
            ("no_table", "this is no table: send CSV, XLSX or NDJSON", "该文件不是表格，请报送 CSV、XLSX 或 NDJSON")
        }
    };
    Err(SheetError::new(code, 0, en, zh))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn content_counts_not_the_name() {
        for (first, kind) in [
            (&b"PK\x03\x04\x14"[..], FileKind::Zip),
            (b"\xd0\xcf\x11\xe0\xa1\xb1", FileKind::Ole),
            (b"\xef\xbb\xbf  <HTML>", FileKind::Markup),
            (b"<?xml version", FileKind::Markup),
            (b"<!-- report -->", FileKind::Markup),
            (b"MIME-Version: 1.0", FileKind::Markup),
            (b"%PDF-1.4", FileKind::Other),
            (b"a,b,c\n", FileKind::Text),
            (b"{\"a\":1}", FileKind::Text),
            (b"", FileKind::Text),
            ("名称,代码".as_bytes(), FileKind::Text),
        ] {
            assert_eq!(sniff(first), kind, "{first:?}");
        }
        assert!(refuse(FileKind::Text).is_ok());
        assert!(refuse(FileKind::Ole).unwrap_err().message.contains(".xlsx"));
    }
}
