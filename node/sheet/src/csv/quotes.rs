//! Quotation marks that do not stand as they should, and backslashes with which databases write what would end a cell. The
//! parser takes whatever comes, so a mark too many or too few makes other cells of the same text; this tells it, by the bytes
//! of the row.

use crate::SheetError;

/// What is wrong with the marks of a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Flaw {
    /// Text stands behind the mark that closes a cell.
    TextBehind,
    /// A mark stands behind a backslash, as programs write it that do not double it.
    Backslash,
    /// Space stands before the mark that opens a cell, so that it opens none.
    SpaceBefore,
    /// Lines that are rows of their own stand in one cell.
    RowsInCell,
    /// A delimiter that belongs to the text stands behind a backslash, so the cell was cut there.
    EscapedDelimiter,
    /// A line end that belongs to the text stands behind a backslash, so the row was cut there.
    EscapedEnd,
}

/// Looks at the bytes of a row that holds marks or backslashes; without the end of its last line. `usual` is how many
/// delimiters a line of this table has.
pub(super) fn flaw(row: &[u8], delimiter: u8, usual: usize) -> Option<Flaw> {
    let (mut rest, mut cut, mut delimiters) = (row, false, 0);
    loop {
        let is_quoted = rest.first() == Some(&b'"');
        let end = if is_quoted { quoted(rest, delimiter)? } else { unquoted(rest, delimiter)? };
        match end {
            Cell::Flawed(flaw) => return Some(flaw),
            Cell::Ends(at) if at >= rest.len() => {
                if !is_quoted && usual > 0 && is_escaped(rest) {
                    return Some(Flaw::EscapedEnd);
                }
                break;
            }
            Cell::Ends(at) => {
                cut |= !is_quoted && is_escaped(rest.get(..at)?);
                delimiters += 1;
                rest = rest.get(at + 1..)?;
            }
        }
    }
    // A path may end with a backslash, too: then the row has as many cells as others.
    if cut && delimiters > usual {
        return Some(Flaw::EscapedDelimiter);
    }
    let full = |line: &[u8]| memchr::memchr_iter(delimiter, line).count() >= usual;
    let rows = if usual >= 2 { row.split(|b| *b == b'\n').filter(|line| full(line)).count() } else { 0 };
    (rows > 1).then_some(Flaw::RowsInCell)
}

/// Whether what follows a text belongs to it, as databases write it: behind a backslash that is none of a pair.
fn is_escaped(text: &[u8]) -> bool {
    text.iter().rev().take_while(|b| **b == b'\\').count() % 2 == 1
}

enum Cell {
    /// Before this place.
    Ends(usize),
    Flawed(Flaw),
}

/// A cell that begins with a mark; `None`: it is not closed.
fn quoted(rest: &[u8], delimiter: u8) -> Option<Cell> {
    let mut at = 1;
    loop {
        at += memchr::memchr(b'"', rest.get(at..)?)?;
        // Spaces behind the mark are no text.
        let blank = rest.get(at + 1..)?.iter().take_while(|b| **b == b' ').count();
        let end = at + 1 + blank;
        // A path may end with a backslash.
        let escaped = at > 1 && rest.get(at - 1) == Some(&b'\\');
        match rest.get(at + 1) {
            _ if rest.get(end).is_none_or(|b| *b == delimiter || *b == b'\n') => return Some(Cell::Ends(end)),
            _ if escaped => return Some(Cell::Flawed(Flaw::Backslash)),
            Some(b'"') => at += 2,
            _ => return Some(Cell::Flawed(Flaw::TextBehind)),
        }
    }
}

fn unquoted(rest: &[u8], delimiter: u8) -> Option<Cell> {
    let end = memchr::memchr(delimiter, rest).unwrap_or(rest.len());
    let cell = rest.get(..end)?;
    // Of a pair of backslashes the second one is meant.
    let marks = memchr::memchr_iter(b'"', cell).filter(|at| is_escaped(cell.get(..*at).unwrap_or_default()));
    if marks.count() > 0 {
        return Some(Cell::Flawed(Flaw::Backslash));
    }
    let opens = cell.trim_ascii_start().first() == Some(&b'"');
    if opens && memchr::memchr_iter(b'"', cell).count() % 2 == 1 {
        return Some(Cell::Flawed(Flaw::SpaceBefore));
    }
    Some(Cell::Ends(end))
}

impl Flaw {
    /// What is said of rows from one line to another, which is their last.
    pub(super) fn error(self, from: u64, to: u64) -> SheetError {
        let (code, en, zh) = match self {
            Self::TextBehind => (
                "text_behind_quote",
                "text stands behind a quotation mark that closes a cell, so where its cells end is not certain: \
                 write a mark that belongs to the text twice (\"\"), and put one before and one behind the cell",
                "右引号后还有文字，无法确定单元格边界；内容中的引号请写成两个（\"\"），并在单元格前后各加一个引号",
            ),
            Self::Backslash => (
                "backslash_quote",
                "a quotation mark is written as \\\": write a mark that belongs to the text twice (\"\"), without backslashes",
                "引号写成了 \\\"；内容中的引号请写成两个（\"\"），不要用反斜杠",
            ),
            Self::SpaceBefore => (
                "space_before_quote",
                "space stands before the quotation mark that opens a cell, so the cell is cut at the next delimiter: \
                 remove the space",
                "左引号前有空格，单元格会在下一个分隔符处断开；请删除该空格",
            ),
            Self::RowsInCell => (
                "rows_in_cell",
                "a quotation mark is not closed in its line, so several lines became one cell: close it, or remove it",
                "引号未在本行闭合，多行被并入同一单元格；请补全或删除该引号",
            ),
            Self::EscapedDelimiter => (
                "escaped_delimiter",
                "the row has more cells than others, and a backslash stands before a delimiter that belongs to the text: \
                 export the table as CSV, with cells in quotation marks and without backslashes",
                "该行单元格多于其他行，内容中的分隔符写成了反斜杠加分隔符；请导出为标准 CSV（单元格用引号括起，不用反斜杠转义）",
            ),
            Self::EscapedEnd => (
                "escaped_line_end",
                "a backslash stands at the end of the line, so the text goes on in the next one: \
                 export the table as CSV, with cells in quotation marks and without backslashes",
                "行末为反斜杠，内容在下一行继续；请导出为标准 CSV（单元格用引号括起，不用反斜杠转义）",
            ),
        };
        let (lines, lines_zh) = match from == to {
            true => (format!("line {from}"), format!("第 {from} 行")),
            false => (format!("lines {from} to {to}"), format!("第 {from} 至 {to} 行")),
        };
        SheetError::new(code, from, format!("{lines}: {en}"), format!("{lines_zh}：{zh}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_as_they_should_stand_are_no_flaw() {
        for row in [
            "a,b,c",
            "\"a\",\"b \"\"c\"\" d\",\"\"",
            "12\" 屏幕,含\"引号\"的,c",
            "\"C:\\目录\\\",b,c",
            "\"第一行\n第二行, 有逗号\",b,c",
            "a,\"x,y,z\n第二行\",c",
            " \"a\",b,c",
            "C:\\目录\\,b,c",
            "a,b\\\\,c\\\\",
            "a,第一行\\n第二行,\\N",
            "\"a\" ,\"b\"  ",
            "",
        ] {
            assert_eq!(flaw(row.as_bytes(), b',', 2), None, "{row}");
        }
    }

    #[test]
    fn marks_that_make_other_cells_are_named() {
        for (row, wanted) in [
            ("a,\"冷食\"x,c", Flaw::TextBehind),
            ("a,\"x\"y\",c", Flaw::TextBehind),
            ("a,\"x\" \"y\",c", Flaw::TextBehind),
            ("a,\"含\\\"凉菜\\\"\",c", Flaw::Backslash),
            ("a,\"凉菜\\\"\",c", Flaw::Backslash),
            ("a, \"x,y\",c", Flaw::SpaceBefore),
            ("a,\"x,c\n1,2,3\ny\",5,6", Flaw::RowsInCell),
            ("a,含\\\"凉菜\\\",c", Flaw::Backslash),
            ("a,热\\,食,c", Flaw::EscapedDelimiter),
            ("a,b,第一行\\", Flaw::EscapedEnd),
            ("a,第一行\\", Flaw::EscapedEnd),
        ] {
            assert_eq!(flaw(row.as_bytes(), b',', 2), Some(wanted), "{row}");
        }
    }
}
