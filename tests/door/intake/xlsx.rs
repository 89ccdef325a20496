//! Workbooks as they come back from WPS and Excel.

use super::sheet::{ALONE, CONTENT, DOCUMENT_NO, SUBJECT_CODE, Sheet, counts, hand_in, unharmed};
use rust_xlsxwriter::{ExcelDateTime, Format, Workbook, Worksheet};
use tally_tests::{COUNTY, Federation, list};

fn write(sheet: &mut Worksheet, from: u32, table: &Sheet) {
    for (r, row) in (from..).zip(std::iter::once(&table.heads).chain(&table.rows)) {
        for (c, cell) in (0..).zip(row) {
            sheet.write_string(r, c, cell).unwrap();
        }
    }
}

fn saved(mut book: Workbook) -> Vec<u8> {
    book.save_to_buffer().unwrap()
}

#[test]
fn a_workbook_that_people_filled_in_is_read() {
    let federation = Federation::running(ALONE);
    let table = Sheet::licenses(0..5);
    let column = |head: &str| u16::try_from(table.heads.iter().position(|h| h == head).unwrap()).unwrap();
    let mut book = Workbook::new();
    let hidden = book.add_worksheet().set_name("字典").unwrap().set_hidden(true);
    write(hidden, 0, &Sheet::licenses(90..93));
    let sheet = book.add_worksheet().set_name("行政许可").unwrap().set_active(true);
    let plain = Format::new();
    sheet.merge_range(0, 0, 0, 15, "福州市鼓楼区行政许可信息归集表", &plain).unwrap();
    sheet.merge_range(1, 0, 1, 7, "填报单位：鼓楼区市场监督管理局", &plain).unwrap();
    sheet.merge_range(1, 8, 1, 15, "2025年6月", &plain).unwrap();
    write(sheet, 2, &table);
    // Line 5 (row of number 1): days as days, a status as a number, a code damaged by being typed as a number.
    let day = |y, m, d| ExcelDateTime::from_ymd(y, m, d).unwrap();
    let date = Format::new().set_num_format("yyyy\"年\"m\"月\"d\"日\"");
    sheet.write_datetime_with_format(3, column("许可决定日期"), day(2025, 6, 3), &date).unwrap();
    sheet.write_datetime_with_format(3, column("有效期自"), day(2025, 6, 3), &date).unwrap();
    sheet.write_number(3, column("当前状态"), 1).unwrap();
    sheet.write_number(4, column("许可机关统一社会信用代码"), 113_501_020_036_012_589_f64).unwrap();
    sheet.write_formula(5, column(CONTENT), rust_xlsxwriter::Formula::new("=1/0").set_result("#DIV/0!")).unwrap();
    sheet.merge_range(8, 0, 8, 15, "填表说明：1.带*为必填项；2.日期填写为YYYY-MM-DD。", &plain).unwrap();
    sheet.write_string(9, 0, "注：本表一式两份").unwrap();
    write(book.add_worksheet().set_name("行政处罚").unwrap(), 0, &Sheet::new(&["CF_WSH", "CF_XDR_MC"], &[&["1", "2"]]));
    let handed = hand_in(&federation, "许可.xlsx", &saved(book), &[]);
    assert_eq!(handed.counts()[0], 5, "{handed:?}");
    assert_eq!(handed.codes(5), ["F001"], "digits are lost: {handed:?}");
    assert_eq!(handed.counts()[3], list(&handed.answer["errors"]).len() as u64, "{handed:?}");
    let format = handed.answer["formats"][0].as_str().unwrap();
    let notes = list(&handed.answer["notes"]);
    let unread = notes.iter().find(|n| n["code"] == "other_sheets").map(|n| n["message"].to_string()).unwrap();
    assert!(
        format.contains("行政许可") && unread.contains("行政处罚") && !unread.contains("字典"),
        "{format} {unread}"
    );
    for note in ["title_row", "note_row"] {
        assert!(handed.notes().contains(&note), "{note}: {handed:?}");
    }
    let records = federation.export(COUNTY, &[]);
    let first = records.iter().find(|r| r["document_no"] == "榕鼓许〔2025〕0号").expect("the first row");
    assert!(first["decision_date"] == "2025-06-03" && first["status"] == "1", "{first}");
    assert!(records.iter().all(|r| r["document_no"] != "榕鼓许〔2025〕90号"), "a hidden sheet is no data");
    // The same as CSV: only what was damaged is new.
    let handed = hand_in(&federation, "许可.csv", table.csv().as_bytes(), &[]);
    let [read, accepted, duplicate, _] = handed.counts();
    assert_eq!((read, duplicate + accepted), (5, 5), "{handed:?}");
    assert_eq!(federation.count(COUNTY), 5);
    unharmed(&federation);
}

#[test]
fn numbers_and_codes_in_cells_keep_their_digits() {
    let federation = Federation::running(ALONE);
    let table = Sheet::licenses(0..2);
    let mut book = Workbook::new();
    let sheet = book.add_worksheet();
    write(sheet, 0, &table);
    let column = |head: &str| u16::try_from(table.heads.iter().position(|h| h == head).unwrap()).unwrap();
    // A document's number of 15 digits is exact in a cell; one of 16 is not.
    sheet.write_number(1, column(DOCUMENT_NO), 350_102_202_500_017_f64).unwrap();
    sheet.write_number(2, column(DOCUMENT_NO), 3_501_022_025_000_179_f64).unwrap();
    let handed = hand_in(&federation, "numbers.xlsx", &saved(book), &[]);
    assert_eq!((handed.counts(), handed.codes(3)), ([2, 1, 0, 1], vec!["F001"]), "{handed:?}");
    let record = &federation.export(COUNTY, &[])[0];
    assert!(record["document_no"] == "350102202500017" && record["party_uscc"] == SUBJECT_CODE, "{record}");
    unharmed(&federation);
}

#[test]
fn a_wide_or_long_workbook_is_counted_to_its_end() {
    let federation = Federation::running(ALONE);
    let mut table = Sheet::licenses(0..3_000);
    table.set(2_999, CONTENT, &"长".repeat(32_000));
    let mut book = Workbook::new();
    let sheet = book.add_worksheet();
    write(sheet, 0, &table);
    sheet.write_string(5, 3_000, "far to the right").unwrap();
    let handed = hand_in(&federation, "long.xlsx", &saved(book), &[]);
    assert_eq!(
        (handed.counts(), handed.codes(3_001)),
        ([3_000, 2_999, 0, 1], vec!["V002"]),
        "{:?}",
        handed.answer["errors"]
    );
    assert!(
        handed.notes().contains(&"beyond_heads"),
        "a cell that is not stored is told: {:?}",
        handed.answer["notes"]
    );
    assert_eq!(counts(&hand_in(&federation, "again.xlsx", table.csv().as_bytes(), &[]).answer), [3_000, 0, 2_999, 1]);
    unharmed(&federation);
}
