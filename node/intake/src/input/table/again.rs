//! Heads that come again within a table, as in files that were joined: the same ones are passed over, the same columns in
//! another order are read so from there on, and what the first heads have no column for ends the reading.

use super::{
    KNOWN_MIN,
    heads::{self, TableHead},
    join::HeadNames,
    noted,
    words::HeadWords,
};
use crate::InputNote;
use tally_sheet::{CellMark, Row, SheetError};

/// Whether a row is one of heads.
#[derive(Debug)]
pub(super) enum Again {
    No,
    /// And in which order its columns stand; none: as in the first heads.
    Heads(Option<Order>),
}

/// For each column its place by the first heads, if it has one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Order(Vec<Option<usize>>);

/// Looks at a row that begins with a head.
///
/// # Errors
/// By these heads the rows from here on cannot be read.
pub(super) fn look(words: &HeadWords, head: &TableHead, names: &HeadNames, row: &Row) -> Result<Again, SheetError> {
    let there = row.cells.iter().filter(|c| !c.trim().is_empty()).count();
    if head.rows.iter().any(|own| same(own, &row.cells)) {
        return Ok(Again::Heads(None));
    }
    let least = KNOWN_MIN.max(there / 2 + 1);
    let own = heads::known(&head.category, &row.cells);
    let other = words.all().map(|c| (heads::known(c, &row.cells), c)).max_by_key(|(known, _)| *known);
    match other {
        Some((known, _)) if known < least => return Ok(Again::No),
        Some((known, category)) if known > own => {
            let en = format!("the heads of row {} are those of {}", row.line, category.id);
            return Err(refused(row.line, &en, &format!("该行表头属于“{}”", category.zh)));
        }
        _ => {}
    }
    let fields = heads::again(&head.category, names, row);
    let first = &head.columns.fields;
    let text = |c: usize| row.cells.get(c).is_some_and(|t| !t.trim().is_empty());
    // A row of codes may leave out what has none.
    if (0..first.len().max(fields.len())).all(|c| !text(c) || first.get(c).is_some_and(|f| fields.get(c) == Some(f))) {
        return Ok(Again::Heads(None));
    }
    if head.rows.len() > 1 {
        return Err(refused(row.line, "its heads are others than the first ones", "该处表头与首个表头不同"));
    }
    let mut places = vec![None; fields.len()];
    for (column, field) in fields.iter().enumerate() {
        let Some(field) = field else { continue };
        let place = first.iter().position(|f| f.as_ref() == Some(field));
        if place.is_none() || places.contains(&place) {
            let title = row.cells.get(column).map_or("", |t| t.trim());
            let (en, zh) = match place {
                None => (format!("the first heads have no {title:?}"), format!("首个表头中没有“{title}”")),
                Some(_) => (format!("{title:?} stands there twice"), format!("“{title}”出现两次")),
            };
            return Err(refused(row.line, &en, &zh));
        }
        places[column] = place;
    }
    Ok(Again::Heads(Some(Order(places))))
}

/// Other signs than the one by which the cells of a table were told apart.
const DELIMITERS: [char; 6] = [',', '\t', ';', '|', '^', '~'];

/// Why a row that is one cell cannot be read: it is heads with another sign between the cells.
pub(super) fn other_delimiter(words: &HeadWords, row: &Row) -> Option<SheetError> {
    let mut there = row.cells.iter().filter(|c| !c.trim().is_empty());
    let (Some(one), None) = (there.next(), there.next()) else { return None };
    let is_it = |delimiter: &&char| {
        let cells: Vec<String> = one.split(**delimiter).map(str::to_owned).collect();
        cells.len() >= KNOWN_MIN && words.known(&cells) >= KNOWN_MIN.max(cells.len() / 2)
    };
    let delimiter = DELIMITERS.iter().find(is_it)?;
    let (name, zh) = if *delimiter == '\t' {
        ("a tab", "制表符".to_owned())
    } else {
        ("another sign", format!("“{delimiter}”"))
    };
    let line = row.line;
    let en = format!(
        "from row {line} on {name} stands between the cells: files of several programs were joined. Hand in what follows as a file of its own; nothing from this row on was read"
    );
    let zh = format!(
        "自第 {line} 行起单元格改用{zh}分隔，可能由不同系统的文件拼接而成；请将其后内容另存为单独文件报送；自该行起未读取"
    );
    Some(SheetError::new("other_delimiter", line, en, zh))
}

/// What a cell of a form says of the column below it: whether it must be filled in, and with what.
const FORM_WORDS: [&str; 27] = [
    "必填",
    "选填",
    "可选",
    "非必填",
    "条件必填",
    "是",
    "否",
    "必须",
    "可空",
    "不可空",
    "文本",
    "字符",
    "字符型",
    "字符串",
    "数字",
    "数值",
    "数值型",
    "整数",
    "金额",
    "日期",
    "日期型",
    "时间",
    "代码",
    "枚举",
    "YYYY-MM-DD",
    "YYYYMMDD",
    "YYYY/MM/DD",
];

/// Whether a cell is one of [`FORM_WORDS`], or a length or type of a database (`18位`, `C(18)`, `varchar(200)`).
fn is_form_word(text: &str) -> bool {
    let sized = |text: &str| {
        let letters = text.trim_end_matches([')', '）']).trim_end_matches(|c: char| c.is_ascii_digit() || c == ',');
        let kind = letters.trim_end_matches(['(', '（', '.']).to_ascii_uppercase();
        letters.len() < text.len()
            && ["C", "N", "D", "CHAR", "VARCHAR", "VARCHAR2", "NVARCHAR", "NUMBER", "DECIMAL", "INT", "DATE"]
                .contains(&kind.as_str())
    };
    let length = || text.strip_suffix('位').is_some_and(|n| !n.is_empty() && n.bytes().all(|b| b.is_ascii_digit()));
    FORM_WORDS.contains(&text) || length() || sized(text)
}

/// What a row is, if it only helps to read the form: anywhere a line of dashes, and below the heads (`below`) numbers of the
/// columns, or what each of them is to be filled in with.
pub(super) fn form_row(row: &Row, below: bool) -> Option<(&'static str, &'static str, &'static str)> {
    /// Fewer cells may be data.
    const CELLS_MIN: usize = 3;
    /// A shorter one may be a dash for an empty cell.
    const LINE_MIN: usize = 4;
    let cells: Vec<&str> = row.cells.iter().map(|c| c.trim()).filter(|c| !c.is_empty()).collect();
    let is_line = |text: &&str| text.len() > 1 && text.chars().all(|c| matches!(c, '-' | '=' | ':' | '+' | '—' | '─'));
    let line = ("line_row", "a line of dashes", "分隔线");
    match cells.as_slice() {
        _ if row.fault.is_some() => return None,
        [one] if one.len() >= LINE_MIN && is_line(one) => return Some(line),
        [_, _, _, ..] => {}
        _ => return None,
    }
    if cells.iter().all(is_line) {
        return Some(line);
    }
    if !below || cells.len() < CELLS_MIN {
        return None;
    }
    if cells.iter().all(|text| is_form_word(text)) {
        return Some(("form_row", "how the columns are to be filled in", "填写要求"));
    }
    let number =
        |text: &str| text.trim_matches(['(', ')', '（', '）', '[', ']']).trim_end_matches(".0").parse::<usize>().ok();
    let is_numbered = |from: usize| cells.iter().zip(from..).all(|(text, n)| number(text) == Some(n));
    (is_numbered(1) || is_numbered(0)).then_some(("number_row", "numbers of the columns", "栏次编号"))
}

/// Whether rows hold the same texts.
fn same(a: &[String], b: &[String]) -> bool {
    let text = |cells: &[String], i: usize| cells.get(i).map_or(String::new(), |c| c.trim().to_owned());
    (0..a.len().max(b.len())).all(|i| text(a, i) == text(b, i))
}

fn refused(line: u64, en: &str, zh: &str) -> SheetError {
    SheetError::new(
        "other_heads",
        line,
        format!(
            "row {line} begins another table: {en}. Hand in what follows as a file of its own; nothing from this row on was read"
        ),
        format!("第 {line} 行起是另一张表：{zh}；请将其后内容另存为单独文件报送；自该行起未读取"),
    )
}

impl Order {
    /// The row as if it stood below the first heads.
    pub(super) fn of_first(&self, row: Row, notes: &mut Vec<InputNote>) -> Row {
        // Of a row that cannot be told into cells only what stands there is shown.
        if row.fault.is_some() {
            return row;
        }
        let place = |column: usize| self.0.get(column).copied().flatten();
        let mut cells = vec![String::new(); self.0.iter().flatten().max().map_or(0, |last| last + 1)];
        let mut left = false;
        for (column, text) in row.cells.into_iter().enumerate() {
            match place(column) {
                Some(place) => cells[place] = text,
                None => left |= !text.trim().is_empty(),
            }
        }
        if left {
            let (en, zh) = ("cells without a known head are not stored", "无对应表头的单元格未入库");
            notes.push(noted("", "beyond_heads", row.line, en.into(), zh.into()));
        }
        let moved = |m: CellMark| Some(CellMark { column: place(m.column)?, ..m });
        Row { line: row.line, cells, marks: row.marks.into_iter().filter_map(moved).collect(), fault: None }
    }
}
