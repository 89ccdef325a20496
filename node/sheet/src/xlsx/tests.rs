//! Workbooks as people and programs write them, and files that only call themselves so.

use super::*;
use crate::MarkKind;
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
    assert_eq!(
        rows[1].marks.iter().find(|m| m.kind == MarkKind::DigitsLost).map(|m| m.column),
        Some(2),
        "18 digits as a number"
    );
    assert_eq!(rows[2].cells, ["", "第二行\n续"]);
}

/// A07: of a formula for several cells the first has the formula, and the others hold 0 until a spreadsheet works it out.
#[test]
fn the_other_cells_of_an_array_formula_have_no_result_either() {
    use rust_xlsxwriter::Formula;
    let file = book(|b| {
        let sheet = b.add_worksheet();
        (0..6).for_each(|row| _ = sheet.write_string(row, 0, "甲").unwrap());
        sheet.write_array_formula(1, 1, 2, 2, Formula::new("{=A2:B3}").set_result("甲")).unwrap();
        sheet.write_array_formula(4, 1, 5, 1, Formula::new("{=A5:A6}")).unwrap();
        sheet.write_number(3, 1, 0).unwrap();
    });
    let (rows, found) = read(file.path());
    found.unwrap();
    let lacking = |r: &Row| {
        let marks = r.marks.iter().filter(|m| m.kind == MarkKind::NoResult);
        marks.map(|m| (r.line, m.column)).collect::<Vec<_>>()
    };
    let lacking: Vec<_> = rows.iter().flat_map(lacking).collect();
    assert_eq!(lacking, [(2, 2), (3, 1), (3, 2), (5, 1), (6, 1)]);
    assert_eq!((rows[1].cells[1].as_str(), rows[3].cells[1].as_str()), ("甲", "0"));
}

#[test]
fn what_is_struck_out_or_shown_otherwise_is_marked() {
    use rust_xlsxwriter::Format;
    let file = book(|b| {
        let sheet = b.add_worksheet();
        sheet.write_string_with_format(0, 0, "甲", &Format::new().set_font_strikethrough()).unwrap();
        sheet.write_number_with_format(0, 1, 1, &Format::new().set_num_format("[DBNum1]General")).unwrap();
        for (column, value, format) in [(2, 7.0, "0000"), (3, 1.0, "[=1]\"男\";\"女\""), (4, 0.0, "0;-0;;@")] {
            sheet.write_number_with_format(0, column, value, &Format::new().set_num_format(format)).unwrap();
        }
        sheet.write_string_with_format(0, 5, "12", &Format::new().set_num_format("\"榕许\"@\"号\"")).unwrap();
        for (column, value, format) in
            [(6, 46_328.5, "yyyy-mm-dd"), (7, 46_328.0, "yyyy\"年\"m\"月\""), (8, 1.5, "[h]:mm"), (9, 3.0, "0!D000")]
        {
            sheet.write_number_with_format(0, column, value, &Format::new().set_num_format(format)).unwrap();
        }
    });
    let (rows, _) = read(file.path());
    let marks: Vec<_> = rows[0].marks.iter().map(|m| (m.column, &m.kind)).collect();
    let otherwise = &MarkKind::ShownOtherwise;
    assert_eq!(marks, [(0, &MarkKind::Struck), (1, otherwise), (4, otherwise), (7, otherwise), (8, otherwise)]);
    assert_eq!(rows[0].cells, ["甲", "1", "0007", "男", "0", "榕许12号", "2026-11-02", "2026-11-02", "1.5", "0D003"]);
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
