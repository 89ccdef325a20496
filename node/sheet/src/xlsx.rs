//! Workbooks (XLSX), row by row. Only the shared texts are held in memory whole.

#![warn(clippy::indexing_slicing)]

use super::{CELLS_MAX, ROW_BYTES_MAX, Row, SheetError, Take, guard};
use calamine::{DataRef, Reader as _, SheetType, SheetVisible, Xlsx, XlsxError, open_workbook};
use std::{
    fs::File,
    io::BufReader,
    panic::{AssertUnwindSafe, catch_unwind},
    path::Path,
};

/// Numbers from here on have more than 15 digits, which a spreadsheet does not keep.
const EXACT_BELOW: f64 = 1e15;

/// Sheets that are looked at for one that holds anything.
const SHEETS_MAX: usize = 100;

/// What a workbook was taken for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct XlsxFound {
    /// The sheet that was read.
    pub sheet: String,
    /// Other visible sheets, which were not.
    pub others: Vec<String>,
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
    guard::check(path)?;
    // A library that panics on a crafted file must not take the node with it.
    let read = catch_unwind(AssertUnwindSafe(|| read(path, named, take)));
    read.unwrap_or_else(|_| Err(broken(0, "its parts do not fit together")))
}

fn read(path: &Path, named: &mut dyn FnMut(&str), take: Take<'_>) -> Result<XlsxFound, SheetError> {
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
    let mut cells = book.worksheet_cells_reader(&sheet).map_err(|e| broken(0, e))?;
    let (mut row, mut bytes) = (Row { line: 0, ..Row::default() }, 0);
    loop {
        let cell = cells.next_cell().map_err(|e| broken(row.line, e))?;
        let at = cell.as_ref().map(|c| u64::from(c.get_position().0) + 1);
        if at != Some(row.line) {
            let next = Row { line: at.unwrap_or(0), ..Row::default() };
            let full = std::mem::replace(&mut row, next);
            bytes = 0;
            if full.line > 0 && !full.is_blank() && take(full).is_break() {
                break;
            }
        }
        let Some(cell) = cell else { break };
        let column = cell.get_position().1 as usize;
        if column < CELLS_MAX {
            bytes += put(&mut row, column, cell.get_value());
            if bytes > ROW_BYTES_MAX {
                let line = row.line;
                let en = format!("row {line} has more than {ROW_BYTES_MAX} bytes: nothing from this row on was read");
                return Err(SheetError::new("endless_row", line, en, format!("第 {line} 行过长；自该行起未读取")));
            }
        }
    }
    Ok(XlsxFound { sheet, others: names })
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

/// Puts a cell into a row; answers how many bytes it has.
fn put(row: &mut Row, column: usize, value: &DataRef<'_>) -> usize {
    if let DataRef::SharedString(s) = value
        && s.len() > ROW_BYTES_MAX
    {
        return s.len();
    }
    let text = match value {
        DataRef::Empty => return 0,
        DataRef::String(s) | DataRef::DateTimeIso(s) | DataRef::DurationIso(s) => s.clone(),
        DataRef::SharedString(s) => (*s).to_owned(),
        DataRef::Bool(b) => if *b { "TRUE" } else { "FALSE" }.to_owned(),
        DataRef::Int(n) => {
            if *n >= EXACT_BELOW as i64 || *n <= -(EXACT_BELOW as i64) {
                row.lost.push(column);
            }
            n.to_string()
        }
        DataRef::Float(f) => {
            if f.abs() >= EXACT_BELOW {
                row.lost.push(column);
            }
            number(*f)
        }
        DataRef::DateTime(d) if d.is_duration() => number(d.as_f64()),
        DataRef::DateTime(d) => {
            let (y, m, day, h, min, s, _) = d.to_ymd_hms_milli();
            match (h, min, s) {
                (0, 0, 0) => format!("{y:04}-{m:02}-{day:02}"),
                _ => format!("{y:04}-{m:02}-{day:02} {h:02}:{min:02}:{s:02}"),
            }
        }
        DataRef::Error(e) => {
            row.unreadable.push(column);
            e.to_string()
        }
    };
    if row.cells.len() <= column {
        row.cells.resize(column + 1, String::new());
    }
    let bytes = text.len() + 16;
    if let Some(cell) = row.cells.get_mut(column) {
        *cell = text;
    }
    bytes
}

/// A number as a person reads it: no exponent, and no more than the 15 digits that a spreadsheet keeps.
fn number(f: f64) -> String {
    let rounded = format!("{f:.14e}").parse().unwrap_or(f);
    let text = format!("{rounded}");
    if text == "-0" { "0".to_owned() } else { text }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{io::Write as _, ops::ControlFlow};

    fn book(build: impl FnOnce(&mut rust_xlsxwriter::Workbook)) -> tempfile::NamedTempFile {
        let mut book = rust_xlsxwriter::Workbook::new();
        build(&mut book);
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), book.save_to_buffer().unwrap()).unwrap();
        file
    }

    fn read(path: &Path) -> (Vec<Row>, Result<XlsxFound, SheetError>) {
        let mut rows = Vec::new();
        let result = read_xlsx(path, &mut |_| {}, &mut |r| {
            rows.push(r);
            ControlFlow::Continue(())
        });
        (rows, result)
    }

    fn zipped(members: &[(&str, &[u8])]) -> tempfile::NamedTempFile {
        let file = tempfile::NamedTempFile::new().unwrap();
        let mut zip = zip::ZipWriter::new(File::create(file.path()).unwrap());
        for (name, bytes) in members {
            zip.start_file(*name, zip::write::SimpleFileOptions::default()).unwrap();
            zip.write_all(bytes).unwrap();
        }
        zip.finish().unwrap();
        file
    }

    #[test]
    fn cells_as_a_person_sees_them() {
        use rust_xlsxwriter::{ExcelDateTime, Format};
        let file = book(|b| {
            b.add_worksheet().set_name("空").unwrap();
            let sheet = b.add_worksheet().set_name("许可").unwrap();
            sheet.merge_range(0, 0, 0, 4, "行政许可信息表", &Format::new()).unwrap();
            sheet.write_string(2, 0, "91350102MA2TE5T1X0").unwrap();
            sheet.write_number(2, 1, 350_100_100_000_017_f64).unwrap();
            sheet.write_number(2, 2, 913_501_027_143_058_000_f64).unwrap();
            let day = ExcelDateTime::from_ymd(2026, 11, 2).unwrap();
            sheet.write_datetime_with_format(2, 3, &day, &Format::new().set_num_format("yyyy/m/d")).unwrap();
            sheet.write_number(2, 4, 0.1 + 0.2).unwrap();
            sheet.write_number(2, 6, 15.0).unwrap();
            sheet.write_string(5, 1, "第二行\n续").unwrap();
            b.add_worksheet().set_name("说明").unwrap().write_string(0, 0, "x").unwrap();
        });
        let (rows, found) = read(file.path());
        let found = found.unwrap();
        assert_eq!((found.sheet.as_str(), found.others), ("许可", vec!["空".to_owned(), "说明".to_owned()]));
        assert_eq!(rows.iter().map(|r| r.line).collect::<Vec<_>>(), [1, 3, 6]);
        assert_eq!(rows[0].cells[0], "行政许可信息表");
        let cells = ["91350102MA2TE5T1X0", "350100100000017", "913501027143058000", "2026-11-02", "0.3", "", "15"];
        assert_eq!(rows[1].cells, cells);
        assert_eq!(rows[1].lost, [2], "18 digits as a number");
        assert_eq!(rows[2].cells, ["", "第二行\n续"]);
    }

    #[test]
    fn what_only_calls_itself_a_workbook_is_named() {
        for (members, code) in [
            (&[("word/document.xml", &b"<x/>"[..])][..], "no_workbook"),
            (&[("a.txt", b"x")], "no_workbook"),
            (&[("xl/workbook.xml", b"<<<not xml")], "broken_workbook"),
        ] {
            assert_eq!(read(zipped(members).path()).1.unwrap_err().code, code);
        }
        let whole = book(|b| {
            let sheet = b.add_worksheet();
            (0..3_000).for_each(|i| {
                sheet.write_string(i, 0, format!("row {i} {}", i * 7_919 % 1_000)).unwrap();
            });
        });
        let bytes = std::fs::read(whole.path()).unwrap();
        for cut in [10, bytes.len() / 2, bytes.len() - 5] {
            std::fs::write(whole.path(), &bytes[..cut]).unwrap();
            assert_eq!(read(whole.path()).1.unwrap_err().code, "broken_workbook", "{cut}");
        }
        assert_eq!(read(book(|b| _ = b.add_worksheet()).path()).1.unwrap_err().code, "empty");
    }

    #[test]
    fn a_zip_bomb_is_refused() {
        let zeros = vec![b' '; 64 << 20];
        let bomb = zipped(&[("xl/workbook.xml", b"<workbook/>"), ("xl/worksheets/sheet1.xml", &zeros)]);
        assert!(std::fs::metadata(bomb.path()).unwrap().len() < 1 << 20);
        assert_eq!(read(bomb.path()).1.unwrap_err().code, "zip_bomb");
    }

    /// The reader sets memory aside for as many texts as the table claims, and a failed allocation ends the process.
    #[test]
    fn a_table_of_texts_that_claims_too_many_is_refused() {
        let sst = br#"<sst count="1" uniqueCount="99999999999"><si><t>a</t></si></sst>"#;
        let sheet = zipped(&[("xl/workbook.xml", b"<workbook/>"), ("xl/sharedStrings.xml", sst)]);
        assert_eq!(read(sheet.path()).1.unwrap_err().code, "zip_bomb");
        let other = zipped(&[("xl/workbook.xml", b"<workbook/>"), ("XL/SharedStrings.XML", sst)]);
        assert_eq!(read(other.path()).1.unwrap_err().code, "zip_bomb");
    }

    #[test]
    fn flipped_bytes_end_in_rows_or_an_error() {
        let file = book(|b| {
            let sheet = b.add_worksheet();
            (0..50).for_each(|i| {
                sheet.write_string(i, 0, "名称").unwrap();
                sheet.write_number(i, 1, f64::from(i)).unwrap();
            });
        });
        let good = std::fs::read(file.path()).unwrap();
        for i in (0..good.len()).step_by(7) {
            let mut bad = good.clone();
            bad[i] ^= 0x55;
            std::fs::write(file.path(), bad).unwrap();
            let _ = read(file.path());
        }
    }
}
