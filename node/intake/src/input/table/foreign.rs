//! What the first rows of a table show of the export that made it, before any of them is judged: a sign that nobody sees in
//! each cell, or another sign between the cells. It is wrong with the file, so it is told once.

use super::{KNOWN_MIN, heads::TableHead, words::HeadWords};
use std::collections::BTreeMap;
use tally_sheet::{Row, SheetError, column_name};
use tally_topology::{
    catalog::is_unit,
    judge::{shown, unreadable},
    signs::named,
};
use unicode_normalization::UnicodeNormalization as _;

/// Rows from which on a column tells something of the export.
const ROWS_MIN: usize = 3;
/// The replacement character comes from an encoding, and is told of each cell.
const REPLACED: char = '\u{fffd}';
/// What stands between cells and is read by no program: signs of Chinese texts, and what people put together.
const STRANGE: [&str; 10] = ["，", "、", "；", "｜", "||", "@#@", "##", "$$", "\u{3000}", "  "];

/// Why a table cannot be read of which most cells, or all of one column, hold a sign that is no part of a value.
pub(super) fn sign_in_each_cell(head: &TableHead, data: &[Row]) -> Option<SheetError> {
    let mut by_column: BTreeMap<usize, (usize, usize)> = BTreeMap::new();
    let (mut filled, mut signed, mut first) = (0_usize, 0_usize, None);
    for row in data.iter().filter(|row| row.fault.is_none()) {
        for (column, text) in row.cells.iter().enumerate().filter(|(_, t)| !t.trim().is_empty()) {
            let sign = unreadable(text).filter(|c| *c != REPLACED);
            let of_column = by_column.entry(column).or_default();
            (filled, of_column.0) = (filled + 1, of_column.0 + 1);
            if let Some(sign) = sign {
                (signed, of_column.1) = (signed + 1, of_column.1 + 1);
                first.get_or_insert((sign, row.line, column, text.as_str()));
            }
        }
    }
    let (sign, line, column, text) = first?;
    let rows = data.len();
    let of_most = 2 * signed > filled && rows > 0;
    let whole = |(column, (all, signed)): (&usize, &(usize, usize))| (*all == *signed).then_some(*column);
    let columns: Vec<usize> = if rows >= ROWS_MIN { by_column.iter().filter_map(whole).collect() } else { Vec::new() };
    if !of_most && !columns.contains(&column) {
        return None;
    }
    let (number, en, zh) = named(sign);
    let at = format!("{}{line}", column_name(column));
    let (where_en, where_zh) = if of_most {
        ("most cells of the table".to_owned(), "表中大部分单元格".to_owned())
    } else {
        let title = shown(head.columns.heads.get(column).map_or("", |t| t.trim()));
        (format!("each cell of the column {title}"), format!("“{title}”列的每一格"))
    };
    let text = shown(text);
    Some(SheetError::new(
        "sign_in_each_cell",
        line,
        format!(
            "{where_en} hold {number} ({en}), which nobody sees and which is no part of a value (first in {at}: {text}): export the table again without it, as CSV in UTF-8 with a comma between the cells. Nothing was read"
        ),
        format!(
            "{where_zh}含有 {number}（{zh}），不可见且不属于内容（首见于 {at}：{text}）；请在导出程序中去除后，以 UTF-8、逗号分隔的 CSV 重新导出；未读取任何数据"
        ),
    ))
}

/// Why amounts of a table cannot be read whose unit is named above the heads (单位：元), or in a row of its own below them, and
/// is another one than that of a field. Whose head names its unit is meant by neither.
pub(super) fn other_unit(head: &TableHead, above: &[Row], below: Option<&Row>) -> Option<SheetError> {
    let in_unit = |column: usize, unit: &str| {
        let title = head.columns.heads.get(column).map(|t| t.trim()).filter(|t| !t.contains(['元', '股']))?;
        head.columns.fields.get(column)?.as_ref()?;
        let field = head.category.column_in_other_unit(&format!("{title}({unit})"))?;
        Some((title, field))
    };
    let columns = 0..head.columns.heads.len();
    let said =
        above.iter().flat_map(|row| row.cells.iter().filter_map(|c| unit_said(c)).map(move |unit| (row.line, unit)));
    let of_all = said.flat_map(|(line, unit)| {
        columns
            .clone()
            .filter_map(move |column| in_unit(column, &unit).map(|(title, field)| (line, unit.clone(), title, field)))
    });
    let of_one = below.iter().flat_map(|row| {
        let cells = row.cells.iter().enumerate().map(|(column, cell)| (column, inner(cell)));
        cells.filter_map(|(column, unit)| {
            in_unit(column, &unit).map(|(title, field)| (row.line, unit.clone(), title, field))
        })
    });
    let (line, unit, title, field) = of_all.chain(of_one).next()?;
    Some(SheetError::new(
        "other_unit",
        line,
        format!(
            "row {line} says that amounts are in {unit}, and {} is {}: reckon {title} in that unit, and name it in the head. Nothing was read",
            field.id, field.zh
        ),
        format!(
            "第 {line} 行注明金额单位为“{unit}”，而目录为“{}”：请将“{title}”换算后报送，并在表头注明单位；未读取任何数据",
            field.zh
        ),
    ))
}

/// A text without brackets around it.
fn inner(cell: &str) -> String {
    cell.nfkc().filter(|c| !c.is_whitespace() && !matches!(c, '(' | ')')).collect()
}

/// The unit that a text above the heads names: `单位：元`, `（金额单位：人民币万元）`.
fn unit_said(cell: &str) -> Option<String> {
    let text = inner(cell);
    let (_, said) = text.split_once("单位:")?;
    said.split(['、', ',', ';', '/']).next().filter(|unit| !unit.is_empty()).map(str::to_owned)
}

/// Whether a row below the heads holds nothing but units.
pub(super) fn is_unit_row(row: &Row) -> bool {
    let mut there = row.cells.iter().map(|c| inner(c)).filter(|c| !c.is_empty()).peekable();
    there.peek().is_some() && there.all(|text| is_unit(&text))
}

/// Whether all heads stand in one cell.
fn is_quoted_whole(words: &HeadWords, row: &Row) -> bool {
    let [one] = row.cells.as_slice() else { return false };
    [',', '\t', ';'].iter().any(|sign| {
        let cells: Vec<String> = one.split(*sign).map(str::to_owned).collect();
        cells.len() >= KNOWN_MIN && words.known(&cells) >= KNOWN_MIN
    })
}

/// What stands between the cells of a table in which no heads are found, if that is why.
pub(super) fn strange_delimiter(words: &HeadWords, rows: &[Row]) -> Option<SheetError> {
    if let Some(row) = rows.iter().find(|row| is_quoted_whole(words, row)) {
        let en = format!(
            "row {} is one cell: a quotation mark stands before and behind the whole line. Put marks around single cells only",
            row.line
        );
        let zh = format!("第 {} 行整行被引号括成了一个单元格；引号只应括起单个单元格，请重新导出为标准 CSV", row.line);
        return Some(SheetError::new("strange_delimiter", row.line, en, zh));
    }
    let known = |sign: &str, row: &Row| {
        let one = row.cells.join(",");
        let cells: Vec<String> = one.split(sign).map(str::to_owned).collect();
        if cells.len() < KNOWN_MIN { 0 } else { words.known(&cells) }
    };
    let (line, sign) = rows
        .iter()
        .flat_map(|row| STRANGE.iter().map(move |sign| (row, *sign)))
        .find(|(row, sign)| known(sign, row) >= KNOWN_MIN)
        .map(|(row, sign)| (row.line, sign))?;
    let (name, zh) = match sign {
        "\u{3000}" | "  " => ("space".to_owned(), "空格".to_owned()),
        sign => (format!("{sign:?}"), format!("“{sign}”")),
    };
    Some(SheetError::new(
        "strange_delimiter",
        line,
        format!(
            "{name} stands between the heads of row {line}, by which no table is read: export it as CSV with a comma or a tab between the cells"
        ),
        format!("第 {line} 行表头以{zh}分隔，无法识别；请以逗号或制表符分隔重新导出为 CSV，或另存为 .xlsx"),
    ))
}
