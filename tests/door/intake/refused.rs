//! What only calls itself a table: refused by name, with nothing taken, and the node does not mind.

use super::sheet::{ALONE, Sheet, hand_in, unharmed};
use rust_xlsxwriter::Workbook;
use std::io::{Cursor, Write as _};
use tally_tests::{COUNTY, Federation, list, sample::Random};
use zip::{ZipWriter, write::SimpleFileOptions};

fn zipped(members: &[(&str, &[u8])]) -> Vec<u8> {
    let mut zip = ZipWriter::new(Cursor::new(Vec::new()));
    for (name, bytes) in members {
        zip.start_file(*name, SimpleFileOptions::default()).unwrap();
        zip.write_all(bytes).unwrap();
    }
    zip.finish().unwrap().into_inner()
}

fn workbook() -> Vec<u8> {
    let mut book = Workbook::new();
    let sheet = book.add_worksheet();
    let table = Sheet::licenses(0..500);
    for (r, row) in (0..).zip(std::iter::once(&table.heads).chain(&table.rows)) {
        for (c, cell) in (0..).zip(row) {
            sheet.write_string(r, c, cell).unwrap();
        }
    }
    book.save_to_buffer().unwrap()
}

fn random(bytes: usize) -> Vec<u8> {
    let mut random = Random(7);
    (0..bytes).map(|_| random.draw().to_le_bytes()[0]).collect()
}

#[test]
fn what_is_no_table_is_named() {
    let federation = Federation::running(ALONE);
    let whole = workbook();
    let sheet = b"<worksheet xmlns=\"http://schemas.openxmlformats.org/spreadsheetml/2006/main\"><sheetData>".to_vec();
    let bomb = [sheet, vec![b' '; 300 << 20]].concat();
    let large_pdf = [b"%PDF-1.7\n".to_vec(), random(20 << 20)].concat();
    let ole = [b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1".to_vec(), vec![0; 600]].concat();
    for (name, bytes, words) in [
        ("bomb.xlsx", zipped(&[("xl/workbook.xml", b"<workbook/>"), ("xl/worksheets/sheet1.xml", &bomb)]), "解压"),
        ("empty.csv", Vec::new(), "文件为空"),
        ("empty.xlsx", Vec::new(), "文件为空"),
        ("blank.csv", b"\xef\xbb\xbf\r\n , ,\r\n".to_vec(), "文件为空"),
        ("cut.xlsx", whole[..whole.len() / 2].to_vec(), "损坏"),
        ("cut-at-the-end.xlsx", whole[..whole.len() - 9].to_vec(), "损坏"),
        ("letter.xlsx", zipped(&[("[Content_Types].xml", b"<x/>"), ("word/document.xml", b"<x/>")]), "另存为"),
        ("page.xls", "<html><head></head><table><tr><td>名称</td></tr></table></html>".into(), "网页"),
        (
            "page-of-a-report.xls",
            "<!-- report -->\n<META charset=gb2312>\n<table><tr><td>名称</td></tr></table>".into(),
            "网页",
        ),
        ("page.mht.xls", "MIME-Version: 1.0\r\nContent-Type: multipart/related\r\n\r\n".into(), "网页"),
        ("old.xls", ole.clone(), ".xls"),
        ("old.et", ole, ".xls"),
        ("scan.xlsx", b"%PDF-1.7\n1 0 obj\n".to_vec(), "不是表格"),
        ("scan.csv", b"%PDF-1.7\n1 0 obj\n".to_vec(), "不是表格"),
        ("scan.pdf", b"%PDF-1.7\n1 0 obj\n".to_vec(), "不是表格"),
        ("large-scan.xlsx", large_pdf, "不是表格"),
        ("picture.xlsx", b"\x89PNG\r\n\x1a\n".to_vec(), "不是表格"),
        ("noise.xlsx", random(100 << 10), "表"),
        ("noise.csv", random(3 << 20), "表"),
        ("other.csv", b"a,b\r\n1,2\r\n".to_vec(), "表头"),
    ] {
        let handed = hand_in(&federation, name, &bytes, &[]);
        assert!(handed.answer.is_null() && handed.ran.err.contains(words), "{name}: {:?}", handed.ran);
        let control = |c: char| c.is_control() && c != '\n';
        assert!(!handed.ran.err.contains(control), "{name}: nothing of it reaches the terminal raw: {:?}", handed.ran);
    }
    assert_eq!(federation.count(COUNTY), 0);
    let (highest, _) = federation.memory_kib(COUNTY);
    assert!(highest < 300 << 10, "{highest} KiB");
    hand_in(&federation, "whole.xlsx", &whole, &[]).all_taken(500);
    unharmed(&federation);
}

#[test]
fn a_cell_that_does_not_end_is_no_cell() {
    let federation = Federation::running(ALONE);
    // What repeats a little less than a bomb, in one inline text.
    let noise: Vec<u8> = random(1 << 20).iter().map(|b| b'a' + b % 26).collect();
    let text: Vec<u8> = noise.iter().flat_map(|b| vec![*b; 300]).collect();
    let start = "<worksheet xmlns=\"http://schemas.openxmlformats.org/spreadsheetml/2006/main\">\
         <sheetData><row r=\"1\"><c r=\"A1\" t=\"inlineStr\"><is><t>";
    let sheet = [start.as_bytes(), &text, b"</t></is></c></row></sheetData></worksheet>"].concat();
    let mut workbook = std::collections::BTreeMap::new();
    let mut book = Workbook::new();
    book.add_worksheet().write_string(0, 0, "x").unwrap();
    let mut archive = zip::ZipArchive::new(Cursor::new(book.save_to_buffer().unwrap())).unwrap();
    for i in 0..archive.len() {
        let mut member = archive.by_index(i).unwrap();
        let (name, mut bytes) = (member.name().unwrap().into_owned(), Vec::new());
        std::io::copy(&mut member, &mut bytes).unwrap();
        workbook.insert(name, bytes);
    }
    workbook.insert("xl/worksheets/sheet1.xml".into(), sheet);
    let members: Vec<_> = workbook.iter().map(|(n, b)| (n.as_str(), b.as_slice())).collect();
    let handed = hand_in(&federation, "cell.xlsx", &zipped(&members), &[]);
    assert!(handed.answer.is_null(), "{handed:?}");
    let (highest, _) = federation.memory_kib(COUNTY);
    assert!(highest < 300 << 10, "{highest} KiB");
    unharmed(&federation);
}

#[test]
fn lines_that_are_no_records_are_given_back_each_with_its_reason() {
    let federation = Federation::running(ALONE);
    let handed = hand_in(&federation, "lines.ndjson", "{\"category\":\"weather\"}\n{\n\n[1]\n".as_bytes(), &[]);
    assert_eq!(handed.counts(), [3, 0, 0, 3], "{handed:?}");
    let codes: Vec<_> = [1, 2, 4].map(|line| handed.codes(line)).concat();
    assert_eq!(codes, ["V003", "S001", "S002"]);
    assert_eq!(list(&handed.answer["answers"]).len(), 1, "{handed:?}");
    unharmed(&federation);
}
