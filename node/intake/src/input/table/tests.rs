//! Tables row by row: which row names the columns, what they mean, and which rows are data.

use super::*;
use tally_topology::catalog::Catalogs;

fn table(wanted: Option<&str>, rows: &[&[&str]]) -> Result<(Table, Vec<u64>, Vec<String>), SheetError> {
    let catalogs = Catalogs::shipped().unwrap();
    let mut table =
        Table::new(HeadWords::new(catalogs.versions()[0].clone(), wanted.map(str::to_owned)), Title::default());
    let (mut lines, mut codes) = (Vec::new(), Vec::new());
    let mut keep = |taken: Taken| {
        if let Taken::Rows(rows, notes) = taken {
            lines.extend(rows.iter().map(|r| r.line));
            codes.extend(notes.into_iter().map(|n| n.code));
        }
    };
    for (i, cells) in rows.iter().enumerate() {
        let cells = cells.iter().map(|c| (*c).to_owned()).collect();
        keep(table.take(Row { line: i as u64 + 1, cells, ..Row::default() })?);
    }
    keep(table.finish()?);
    Ok((table, lines, codes))
}

#[test]
fn heads_are_found_below_titles_and_notes_are_no_data() {
    let rows: &[&[&str]] = &[
        &["福州市鼓楼区行政许可信息表"],
        &["填表单位：某局", "", "2026年11月"],
        &["*行政相对人名称", "统一社会信用代码", "行政许可决定文书号", "自编列"],
        &["XK_XDR_MC", "XK_XDR_SHXYM", "XK_WSH", ""],
        &["填表说明：请勿改动表头"],
        &["福州甲公司", "91350102MA2TE5T1X0", "1号", "x"],
        &["福州乙公司", "", "2号"],
    ];
    let (table, lines, codes) = table(None, rows).unwrap();
    assert_eq!(table.category(), Some("admin_license"));
    assert_eq!(lines, [6, 7]);
    assert_eq!(codes, ["unknown_column", "title_row", "title_row", "second_head", "note_row"]);
    let fields: Vec<_> = table.columns().unwrap().fields.iter().map(|f| f.as_deref()).collect();
    assert_eq!(fields, [Some("party_name"), Some("party_uscc"), Some("document_no"), None]);
}

#[test]
fn systems_of_other_years_are_known_by_their_codes() {
    for (heads, category) in [
        (&["CF_WSH", "CF_CFMC", "CF_XDR_MC", "CF_JG", "CF_JDRQ"][..], "admin_penalty"),
        (&["XK_WSH", "XK_XMMC", "XK_XDR", "XK_JDRQ", "XK_XZJG"], "admin_license"),
        (&["PENDECNO", "ILLEGACTTYPE", "PENCONTENT", "JUDAUTH", "PENDECISSDATE"], "admin_penalty"),
        (&["LICNO", "LICNAME", "VALFROM", "VALTO", "LICANTH", "LICITEM"], "admin_license"),
        (&["UNISCID", "ENTNAME", "ESTDATE", "APPRDATE", "REGSTATE"], "registration"),
        (&["task_no", "check_type", "checked_on", "check_result"], "spot_check"),
    ] {
        let (table, _, _) = table(None, &[heads, &["x"; 5]]).unwrap();
        assert_eq!(table.category(), Some(category), "{heads:?}");
    }
}

#[test]
fn a_table_that_cannot_be_one_is_named() {
    for (wanted, rows, code) in [
        (None, &[][..], "empty"),
        (None, &[&["a", "b"][..], &["1", "2"]], "no_heads"),
        (Some("weather"), &[&["a"][..]], "no_category"),
        (None, &[&["备注", "产生单位"][..]], "which_category"),
    ] {
        assert_eq!(table(wanted, rows).unwrap_err().code, code);
    }
}

/// A row's line and its cells.
type SeenRow = (u64, Vec<String>);

/// What is handed over of rows: line and cells, with the notes.
fn cells(rows: &[&[&str]]) -> (Vec<SeenRow>, Vec<String>, Option<SheetError>) {
    let catalogs = Catalogs::shipped().unwrap();
    let mut table = Table::new(HeadWords::new(catalogs.versions()[0].clone(), None), Title::default());
    let (mut seen, mut codes, mut fault) = (Vec::new(), Vec::new(), None);
    let rows = rows.iter().zip(1..).map(|(cells, line)| Some((cells, line))).chain([None]);
    for row in rows {
        let taken = match row {
            Some((cells, line)) => {
                let cells = cells.iter().map(|c| (*c).to_owned()).collect();
                table.take(Row { line, cells, ..Row::default() })
            }
            None => table.finish(),
        };
        match taken {
            Ok(Taken::Rows(rows, notes)) => {
                seen.extend(rows.into_iter().filter(|r| r.fault.is_none()).map(|r| (r.line, r.cells)));
                codes.extend(notes.into_iter().map(|n| n.code));
            }
            Ok(Taken::Waiting) => {}
            Err(why) => {
                fault = Some(why);
                break;
            }
        }
    }
    (seen, codes, fault.or_else(|| table.fault()))
}

const HEADS: [&str; 5] = ["行政相对人名称", "统一社会信用代码", "行政许可决定文书号", "许可决定日期", "有效期自"];
const OTHERS: [&str; 5] = ["行政相对人名称", "统一社会信用代码", "行政许可决定文书号", "有效期自", "许可决定日期"];

/// A13b: rows below heads of another order were read by the first ones, so two days changed places.
#[test]
fn heads_of_another_order_are_followed_and_told() {
    let row = ["甲公司", "91350102MA2TE5T1X0", "1号", "2025-06-03", "2025-06-20"];
    let turned = ["甲公司", "91350102MA2TE5T1X0", "1号", "2025-06-20", "2025-06-03"];
    let many: Vec<&[&str]> = std::iter::repeat_n(&row[..], 30).collect();
    for before in [vec![&row[..]], many] {
        let mut rows = vec![&HEADS[..]];
        rows.extend(&before);
        rows.extend([&OTHERS[..], &turned, &HEADS, &row, &HEADS]);
        let (seen, codes, fault) = cells(&rows);
        assert_eq!((seen.len(), fault), (before.len() + 2, None));
        assert!(seen.iter().all(|(_, cells)| cells == &row), "{seen:?}");
        assert_eq!(codes, ["heads_change", "heads_change", "second_head"]);
    }
}

#[test]
fn heads_that_the_first_ones_have_no_column_for_end_the_reading() {
    let row = ["甲公司", "91350102MA2TE5T1X0", "1号", "2025-06-03", "2025-06-20"];
    for other in [
        &["行政相对人名称", "统一社会信用代码", "许可类别", "许可决定日期"][..],
        &["行政处罚决定书文号", "违法行为类型", "违法事实", "处罚依据", "处罚类别"],
        &["序号", "行政相对人名称", "行政相对人类别", "统一社会信用代码", "许可决定日期"],
        &["行政相对人名称", "统一社会信用代码", "社会信用代码", "许可决定日期"],
    ] {
        let (seen, _, fault) = cells(&[&HEADS, &row, other, &row]);
        let fault = fault.unwrap();
        assert_eq!((seen.len(), fault.code, fault.line), (1, "other_heads", 3), "{other:?}");
    }
}

/// A13: heads of a joined table that name more were taken for those of the file, and the rows above them for titles.
#[test]
fn rows_above_longer_heads_are_data() {
    let row = ["甲公司", "91350102MA2TE5T1X0", "1号", "2025-06-03", "2025-06-20"];
    let longer = ["行政相对人名称", "统一社会信用代码", "行政许可决定文书号", "许可决定日期", "有效期自", "备注"];
    let (seen, codes, fault) = cells(&[&HEADS, &row, &row, &longer, &row]);
    assert_eq!((seen.len(), fault.map(|f| (f.code, f.line))), (2, Some(("other_heads", 4))));
    assert!(!codes.contains(&"title_row".to_owned()), "{codes:?}");
    // Titles of which some are known, and the row of all codes below them, are heads of one table.
    let titles = ["行政相对人名称", "自编二", "行政许可决定文书号", "许可决定日期", "自编五"];
    let (seen, _, fault) = cells(&[&titles, &["XK_XDR_MC", "XK_XDR_SHXYM", "XK_WSH", "XK_JDRQ", "XK_YXQZ"], &row]);
    assert_eq!((seen.len(), fault), (1, None));
}

#[test]
fn numbers_of_columns_and_lines_of_dashes_are_no_data() {
    let row = ["甲公司", "91350102MA2TE5T1X0", "1号", "2025-06-03", "2025-06-20"];
    for (form, code) in [
        (["1", "2", "3", "4", "5"], "number_row"),
        (["（1）", "（2）", "（3）", "（4）", "（5）"], "number_row"),
        (["0", "1", "2", "3", "4"], "number_row"),
        (["必填", "必填", "选填", "", "YYYY-MM-DD"], "form_row"),
        (["文本", "18位", "C(64)", "日期", "varchar(20)"], "form_row"),
    ] {
        let (seen, codes, fault) = cells(&[&HEADS, &form, &row, &form]);
        // Behind the first row of data it is none.
        assert_eq!((seen.len(), codes, fault), (2, vec![code.to_owned()], None), "{form:?}");
    }
    for line in [&["---", ":--", "---", "--:", "==="][..], &["+-----+------+"]] {
        let (seen, codes, _) = cells(&[&HEADS, line, &row, line]);
        assert_eq!((seen.len(), codes), (1, vec!["line_row".to_owned(); 2]), "{line:?}");
    }
    for data in [["1", "2", "", "", ""], ["1", "3", "5", "7", "9"], ["甲", "1", "2", "3", "4"]] {
        assert_eq!(cells(&[&HEADS, &data]).0.len(), 1, "{data:?}");
    }
}

#[test]
fn another_sign_between_the_cells_ends_the_reading() {
    let row = ["甲公司", "91350102MA2TE5T1X0", "1号", "2025-06-03", "2025-06-20"];
    for delimiter in ["\t", ";", "|"] {
        let joined = [HEADS.join(delimiter)];
        let joined: Vec<&str> = joined.iter().map(String::as_str).collect();
        let (seen, _, fault) = cells(&[&HEADS, &row, &joined, &["甲公司;x"]]);
        assert_eq!((seen.len(), fault.map(|f| (f.code, f.line))), (1, Some(("other_delimiter", 3))), "{delimiter}");
    }
    assert_eq!(cells(&[&HEADS, &["甲;乙;丙"]]).0.len(), 1, "data");
}

/// A02: a sign that nobody sees in each cell was told of each cell of each row.
#[test]
fn a_sign_in_each_cell_is_told_once() {
    let row = ["\u{1f}甲公司", "\u{1f}91350102MA2TE5T1X0", "\u{1f}1号", "\u{1f}2025-06-03", "2025-06-20"];
    let (seen, _, fault) = cells(&[&HEADS, &row, &row]);
    let fault = fault.unwrap();
    assert_eq!((seen.len(), fault.code, fault.line), (0, "sign_in_each_cell", 2));
    assert!(fault.message_zh.contains("U+001F") && fault.message_zh.contains("A2"), "{fault:?}");
    // Of one column of which each cell holds it, the column is named; a single cell is a matter of its row.
    let one = ["甲公司", "\u{1f}91350102MA2TE5T1X0", "1号", "2025-06-03", "2025-06-20"];
    let fault = cells(&[&HEADS, &one, &one, &one]).2.unwrap();
    assert!(fault.message_zh.contains("统一社会信用代码"), "{fault:?}");
    let plain = ["甲公司", "91350102MA2TE5T1X0", "1号", "2025-06-03", "2025-06-20"];
    assert_eq!(cells(&[&HEADS, &one, &plain, &one]).2, None);
}

/// An amount in 元 was stored below a head in 万元, ten thousand times too large.
#[test]
fn a_head_in_another_unit_is_not_that_of_the_field() {
    let wanted = Some("admin_penalty");
    let fields = |rows: &[&[&str]]| {
        let (table, _, codes) = table(wanted, rows).unwrap();
        let all: Vec<_> =
            table.columns().unwrap().fields.iter().map(|f| f.as_deref().unwrap_or("").to_owned()).collect();
        (all, codes)
    };
    let heads = |amount| ["行政处罚决定书文号", "违法事实", amount, "处罚决定日期"];
    for (amount, field) in [
        ("罚款金额（万元）", "fine_wan"),
        ("罚款金额", "fine_wan"),
        ("罚款金额（单位：人民币万元）", "fine_wan"),
        ("罚款金额（元）", ""),
        ("罚款金额（必填）（千元）", ""),
        ("PENAM(元)", ""),
    ] {
        let (found, codes) = fields(&[&heads(amount), &["x"; 4]]);
        assert_eq!(found[2], field, "{amount}");
        assert_eq!(codes.contains(&"unknown_column".to_owned()), field.is_empty(), "{amount}");
    }
    // Above the heads, and below them.
    let plain = heads("罚款金额");
    for rows in [[&["单位：元"][..], &plain, &["x"; 4]], [&plain, &["", "", "（元）", ""], &["x"; 4]]] {
        let why = table(wanted, &rows).unwrap_err();
        assert!(why.code == "other_unit" && why.message_zh.contains("罚款金额（万元）"), "{why:?}");
    }
    for rows in [
        [&["金额单位：人民币万元"][..], &plain, &["x"; 4]],
        [&["填报单位：鼓楼区某局"], &plain, &["x"; 4]],
        [&["单位：元"], &heads("罚款金额（万元）"), &["x"; 4]],
        [&plain, &["", "", "万元", ""], &["x"; 4]],
    ] {
        let (_, lines, _) = table(wanted, &rows).unwrap();
        assert_eq!(lines, [3], "{rows:?}");
    }
}

#[test]
fn another_sign_between_the_heads_is_named() {
    for sign in ["，", "、", "@#@", "  "] {
        let heads = HEADS.join(sign);
        let fault = cells(&[&[&heads], &[&["甲公司", "1"].join(sign)]]).2.unwrap();
        assert_eq!(fault.code, "strange_delimiter", "{sign}: {fault:?}");
    }
    let heads = HEADS.join(",");
    let fault = cells(&[&[&heads], &[&["甲公司", "1"].join(",")]]).2.unwrap();
    assert!(fault.message_zh.contains("整行"), "{fault:?}");
}

/// A10: a comma that belongs to a text moved the cells behind it, and each of them was refused for its own reason.
#[test]
fn a_row_with_more_cells_than_heads_is_marked_where_others_have_none() {
    let row = ["甲公司", "91350102MA2TE5T1X0", "1号", "2025-06-03", "2025-06-20"];
    let more = ["甲公司", "91350102MA2TE5T1X0", "1号", "x", "2025-06-03", "2025-06-20"];
    let catalogs = Catalogs::shipped().unwrap();
    let marked = |rows: &[&[&str]]| {
        let mut table = Table::new(HeadWords::new(catalogs.versions()[0].clone(), None), Title::default());
        for (cells, line) in rows.iter().zip(1..) {
            let cells = cells.iter().map(|c| (*c).to_owned()).collect();
            table.take(Row { line, cells, ..Row::default() }).unwrap();
        }
        let Ok(Taken::Rows(rows, _)) = table.finish() else { panic!("no heads") };
        rows.iter().filter(|r| r.marks.iter().any(|m| m.kind == tally_sheet::MarkKind::Overfull)).count()
    };
    assert_eq!(marked(&[&HEADS, &row, &more, &row]), 1);
    // A column without a head that each row fills is one of the table.
    assert_eq!(marked(&[&HEADS, &more, &more, &row]), 0);
}

/// A03: of two rows of heads one was taken alone, and the other one for data.
#[test]
fn heads_in_two_rows_are_read_together() {
    let rows: &[&[&str]] = &[
        &["行政许可信息表"],
        &["行政相对人名称", "行政相对人代码", "", "有效期", "", "许可机关", "", "当前状态"],
        &["", "统一社会信用代码", "工商注册号", "自", "至", "名称", "代码", ""],
        &["甲公司", "91350102MA2TE5T1X0", "", "2025-06-03", "2030-06-02", "某局", "113501020036012589", "1"],
    ];
    let catalogs = Catalogs::shipped().unwrap();
    let mut table = Table::new(HeadWords::new(catalogs.versions()[0].clone(), None), Title::default());
    for (cells, line) in rows.iter().zip(1..) {
        let cells = cells.iter().map(|c| (*c).to_owned()).collect();
        table.take(Row { line, cells, ..Row::default() }).unwrap();
    }
    let Ok(Taken::Rows(data, notes)) = table.finish() else { panic!("no heads") };
    assert_eq!(data.iter().map(|r| r.line).collect::<Vec<_>>(), [4]);
    assert_eq!(notes.iter().map(|n| &*n.code).collect::<Vec<_>>(), ["joined_heads", "title_row"]);
    let fields: Vec<_> = table.columns().unwrap().fields.iter().flatten().map(|f| &**f).collect();
    assert_eq!(
        fields,
        [
            "party_name",
            "party_uscc",
            "party_reg_no",
            "valid_from",
            "valid_until",
            "authority_name",
            "authority_uscc",
            "status"
        ]
    );
}

/// A03b: the same head three times was one column, and the codes of two units were lost.
#[test]
fn the_same_head_is_that_of_the_field_before_it() {
    let code = "统一社会信用代码";
    let heads = ["行政相对人名称", code, "许可机关", code, "数据来源单位", code, "备注", "许可决定日期"];
    let (table, _, codes) = table(None, &[&heads, &["x"; 8]]).unwrap();
    let fields: Vec<_> = table.columns().unwrap().fields.iter().map(|f| f.as_deref().unwrap_or("")).collect();
    let wanted = ["party_name", "party_uscc", "authority_name", "authority_uscc", "source_unit", "source_unit_uscc"];
    assert_eq!(fields[..6], wanted);
    assert_eq!(codes.iter().filter(|c| *c == "paired_head").count(), 2, "{codes:?}");
}

#[test]
fn of_two_columns_of_one_field_the_one_with_values_is_taken_and_what_differs_is_refused() {
    let heads = ["统一社会信用代码", "行政许可决定文书号", "社会信用代码", "许可决定日期"];
    let code = "91350102MA2TE5T1X0";
    let (table, lines, codes) = table(None, &[&heads, &["", "1号", code, "2025-06-03"]]).unwrap();
    assert_eq!(table.columns().unwrap().fields[2].as_deref(), Some("party_uscc"));
    assert_eq!((lines, codes), (vec![2], vec!["unknown_column".to_owned()]));
    let other = "913501020000000000";
    let (seen, ..) = cells(&[&heads, &[code, "1号", code, ""], &[code, "2号", other, ""], &[code, "3号", "", ""]]);
    assert_eq!(seen.iter().map(|(line, _)| *line).collect::<Vec<_>>(), [2, 4]);
}
