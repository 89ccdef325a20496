//! Tables that are handed out. Codes are text, so that they keep their digits; what is counted or a day can be reckoned with
//! where a column says that it holds such.

use super::SheetError;
use rust_xlsxwriter::{Color, DataValidation, ExcelDateTime, Format, Formula, Workbook, Worksheet, XlsxError};
use std::io::{self, Write};

/// A column of a workbook that is written.
#[derive(Debug, Clone, Default)]
pub struct Column {
    /// Its head.
    pub head: String,
    /// Values to choose from.
    pub choices: Vec<String>,
    /// Its cells are marked with a colour.
    pub marked: bool,
    /// As what its cells are written.
    pub kind: CellKind,
}

/// As what cells of a workbook are written. What does not read as such is text all the same.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum CellKind {
    /// As it stands.
    #[default]
    Text,
    /// `12`, `0.50`: to be added up and sorted.
    Number,
    /// `12.34%`.
    Percent,
    /// `2026-11-25`.
    Date,
}

impl CellKind {
    /// How a spreadsheet shows it; `@` is text.
    fn shown(self) -> &'static str {
        match self {
            Self::Text => "@",
            Self::Number => "General",
            Self::Percent => "0.00%",
            Self::Date => "yyyy-mm-dd",
        }
    }

    /// Writes a cell if it reads as this kind; answers whether it does.
    fn write(self, sheet: &mut Worksheet, at: (u32, u16), cell: &str, format: &Format) -> Result<bool, XlsxError> {
        // What `parse` takes beyond digits ("inf", "1e9") is no number of ours.
        let number = |text: &str| {
            let plain = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit() || b"-.".contains(&b));
            text.parse::<f64>().ok().filter(|_| plain)
        };
        match self {
            Self::Text => return Ok(false),
            Self::Number => match number(cell) {
                Some(n) => sheet.write_number_with_format(at.0, at.1, n, format)?,
                None => return Ok(false),
            },
            Self::Percent => match cell.strip_suffix('%').and_then(number) {
                Some(n) => sheet.write_number_with_format(at.0, at.1, n / 100.0, format)?,
                None => return Ok(false),
            },
            Self::Date => match ExcelDateTime::parse_from_str(cell).ok().filter(|_| cell.len() == 10) {
                Some(day) => sheet.write_datetime_with_format(at.0, at.1, day, format)?,
                None => return Ok(false),
            },
        };
        Ok(true)
    }
}

impl Column {
    fn format(&self) -> Format {
        let plain = Format::new().set_num_format(self.kind.shown());
        if self.marked { plain.set_background_color(Color::RGB(0x00FF_F2CC)) } else { plain }
    }
}

/// Excel's bound for a list of choices that stands in the column itself, in characters.
const CHOICES_MAX: usize = 255;
/// Rows down to which choices are offered.
const CHOICE_ROWS: u32 = 5_000;
/// Excel's own bound of a cell, in characters.
const CELL_CHARS_MAX: usize = 32_767;
/// Excel's bound of rows, the heads included.
pub const ROWS_MAX: u32 = 1_048_576;

/// Writes one row of a CSV; begin the file with a mark (EF BB BF), so that Excel takes it for UTF-8.
///
/// # Errors
/// The writer's.
pub fn write_csv_row<'c>(out: &mut impl Write, cells: impl IntoIterator<Item = &'c str>) -> io::Result<()> {
    for (i, cell) in cells.into_iter().enumerate() {
        if i > 0 {
            out.write_all(b",")?;
        }
        // A spreadsheet would calculate these: the space in front makes them text, and is trimmed at the door.
        let formula = cell.starts_with(['=', '+', '-', '@', '\t']) && cell.parse::<f64>().is_err();
        let quoted = formula || cell.contains([',', '"', '\n', '\r']);
        if quoted {
            let space = if formula { " " } else { "" };
            write!(out, "\"{space}{}\"", cell.replace('"', "\"\""))?;
        } else {
            out.write_all(cell.as_bytes())?;
        }
    }
    out.write_all(b"\r\n")
}

fn failed(e: &XlsxError) -> SheetError {
    SheetError::new("not_written", 0, format!("the workbook cannot be written: {e}"), "工作簿无法写出")
}

/// Writes a workbook: one sheet of rows under their heads, and if there are any, notes on a second one.
///
/// # Errors
/// [`SheetError`]: the disk, or more rows than a sheet has.
pub fn write_xlsx(
    out: impl Write + io::Seek + Send,
    (sheet_name, columns): (&str, &[Column]),
    rows: impl IntoIterator<Item = Result<Vec<String>, SheetError>>,
    notes: &[String],
) -> Result<(), SheetError> {
    let mut book = Workbook::new();
    let (head, text) = (Format::new().set_bold().set_num_format("@"), Format::new().set_num_format("@"));
    let formats: Vec<Format> = columns.iter().map(Column::format).collect();
    let long: Vec<usize> = (0..columns.len()).filter(|i| inline(&columns[*i]).is_none()).collect();
    let sheet = book.add_worksheet_with_constant_memory().map_err(|e| failed(&e))?;
    let mut fill = || -> Result<(), XlsxError> {
        sheet.set_name(sheet_name)?.set_freeze_panes(1, 0)?;
        for (i, c) in columns.iter().enumerate() {
            let i = i as u16;
            let width = c.head.chars().count().clamp(5, 20) * 2;
            sheet
                .set_column_width(i, width as f64)?
                .set_column_format(i, formats.get(usize::from(i)).unwrap_or(&text))?;
            let validation = match inline(c) {
                Some(list) if !list.is_empty() => Some(DataValidation::new().allow_list_strings(&list)?),
                Some(_) => None,
                None => {
                    let at = long.iter().position(|l| *l == usize::from(i)).unwrap_or(0);
                    let column = (b'A' + (at % 26) as u8) as char;
                    let formula = format!("=代码表!${column}$1:${column}${}", c.choices.len());
                    Some(DataValidation::new().allow_list_formula(Formula::new(formula)))
                }
            };
            if let Some(validation) = validation {
                sheet.add_data_validation(1, i, CHOICE_ROWS, i, &validation)?;
            }
        }
        for (i, c) in columns.iter().enumerate() {
            let shown: String = c.head.chars().take(CELL_CHARS_MAX).collect();
            sheet.write_string_with_format(0, i as u16, shown, &head)?;
        }
        Ok(())
    };
    fill().map_err(|e| failed(&e))?;
    for (line, row) in (1..).zip(rows) {
        if line == ROWS_MAX {
            return Err(too_many_rows(line));
        }
        for (i, cell) in row?.iter().enumerate() {
            let (format, kind) = (formats.get(i).unwrap_or(&text), columns.get(i).map_or(CellKind::Text, |c| c.kind));
            if kind.write(sheet, (line, i as u16), cell, format).map_err(|e| failed(&e))? {
                continue;
            }
            let shown: String = cell.chars().take(CELL_CHARS_MAX).collect();
            sheet.write_string_with_format(line, i as u16, shown, format).map_err(|e| failed(&e))?;
        }
    }
    if !long.is_empty() {
        let lists = book.add_worksheet();
        let mut fill = || -> Result<(), XlsxError> {
            lists.set_name("代码表")?.set_hidden(true);
            for (at, i) in long.iter().enumerate() {
                for (row, choice) in columns[*i].choices.iter().enumerate() {
                    lists.write_string(row as u32, (at % 26) as u16, choice)?;
                }
            }
            Ok(())
        };
        fill().map_err(|e| failed(&e))?;
    }
    if !notes.is_empty() {
        let sheet = book.add_worksheet();
        let mut fill = || -> Result<(), XlsxError> {
            sheet.set_name("填表说明")?.set_column_width(0, 100.0)?;
            for (row, note) in notes.iter().enumerate() {
                sheet.write_string(row as u32, 0, note)?;
            }
            Ok(())
        };
        fill().map_err(|e| failed(&e))?;
    }
    book.save_to_writer(out).map_err(|e| failed(&e))
}

/// More rows than a sheet has.
pub fn too_many_rows(line: u32) -> SheetError {
    let en = "more rows than a sheet has: ask for CSV";
    SheetError::new("too_many_rows", u64::from(line), en, "行数超过工作表上限，请下载 CSV")
}

/// Choices that can stand in the column itself.
fn inline(column: &Column) -> Option<Vec<&str>> {
    let total: usize = column.choices.iter().map(|c| c.chars().count() + 1).sum();
    let fits = total <= CHOICES_MAX && column.choices.iter().all(|c| !c.contains(','));
    fits.then(|| column.choices.iter().map(String::as_str).collect())
}

#[cfg(test)]
mod tests {
    use super::{super::*, *};
    use std::ops::ControlFlow;

    const CELLS: [&str; 6] = ["350100100000017", "0012", "福州𠮷公司\n第二行", "=1+1", "引\"号", "-5"];

    #[test]
    fn what_is_written_is_read_back() {
        let columns: Vec<Column> = (0..CELLS.len())
            .map(|i| Column {
                head: format!("列{i}"),
                choices: if i == 1 { (0..60).map(|n| format!("很长的选项{n}")).collect() } else { Vec::new() },
                marked: i == 5,
                ..Column::default()
            })
            .collect();
        let row = || Ok(CELLS.map(str::to_owned).to_vec());
        let file = tempfile::NamedTempFile::new().unwrap();
        write_xlsx(file.reopen().unwrap(), ("数据", &columns), [row(), row()], &["说明".to_owned()]).unwrap();
        let mut rows = Vec::new();
        let found = read_xlsx(file.path(), &mut |_| {}, &mut |r| {
            rows.push(r);
            ControlFlow::Continue(())
        });
        assert_eq!(found.unwrap().others, ["填表说明"], "lists are hidden");
        assert_eq!((rows.len(), rows[2].line), (3, 3));
        assert_eq!(rows[2].cells, CELLS);
        assert!(rows[2].marks.is_empty(), "codes stay text");

        let mut csv = b"\xef\xbb\xbf".to_vec();
        write_csv_row(&mut csv, ["a", "b", "c", "d", "e", "f"]).unwrap();
        write_csv_row(&mut csv, CELLS).unwrap();
        let mut rows = Vec::new();
        read_csv(&csv[..], CsvOptions::default(), &mut |r| {
            rows.push(r.cells);
            ControlFlow::Continue(())
        })
        .unwrap();
        let trimmed: Vec<&str> = rows[1].iter().map(|c| c.trim_start()).collect();
        assert_eq!(trimmed, CELLS);
        assert!(rows[1][3].starts_with(' '), "no formula");
    }

    /// U21: what is counted can be added up and sorted; what is none of it stays as it stands.
    #[test]
    fn numbers_shares_and_days_can_be_reckoned_with() {
        use calamine::{Data, Reader as _};
        let kinds = [CellKind::Text, CellKind::Number, CellKind::Number, CellKind::Percent, CellKind::Date];
        let columns = kinds.map(|kind| Column { head: format!("{kind:?}"), kind, ..Column::default() });
        let row = |cells: [&str; 5]| Ok(cells.map(str::to_owned).to_vec());
        let file = tempfile::NamedTempFile::new().unwrap();
        let rows = [
            row(["0012", "1234", "-0.50", "12.34%", "2026-11-25"]),
            row(["5", "", "未知", "样本量不足", "inf"]),
            row(["=1", "1e9", "=1+1", "%", "2026-13-45"]),
        ];
        write_xlsx(file.reopen().unwrap(), ("数据", &columns), rows, &[]).unwrap();
        let mut book: calamine::Xlsx<_> = calamine::open_workbook(file.path()).unwrap();
        let sheet = book.worksheet_range("数据").unwrap();
        let cell = |row, column| sheet.get_value((row, column)).cloned().unwrap_or_default();
        assert_eq!(cell(1, 0), Data::String("0012".into()), "codes stay text");
        assert_eq!((cell(1, 1), cell(1, 2)), (Data::Float(1234.0), Data::Float(-0.5)));
        assert!(matches!(cell(1, 3), Data::Float(n) if (n - 0.1234).abs() < 1e-9), "{:?}", cell(1, 3));
        assert!(matches!(cell(1, 4), Data::DateTime(_)), "{:?}", cell(1, 4));
        for (row, words) in [(2, ["5", "", "未知", "样本量不足", "inf"]), (3, ["=1", "1e9", "=1+1", "%", "2026-13-45"])]
        {
            for (column, word) in (0..).zip(words) {
                let shown = cell(row, column);
                assert!(matches!(&shown, Data::String(s) if s == word) || word.is_empty(), "{word}: {shown:?}");
            }
        }
    }
}
