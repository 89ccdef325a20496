//! Columns of text for a terminal, in which a Han character takes two cells.

use std::fmt::Write as _;
use unicode_width::UnicodeWidthStr;

/// Pads to a width in terminal cells (two for a Han character).
pub fn pad(text: &str, cells: usize) -> String {
    format!("{text}{}", " ".repeat(cells.saturating_sub(text.width())))
}

fn right(text: &str, cells: usize) -> String {
    format!("{}{text}", " ".repeat(cells.saturating_sub(text.width())))
}

/// A count with thousands separators; `unknown` for what is not known.
pub fn count(n: Option<u64>) -> String {
    let Some(n) = n else { return "unknown".into() };
    let digits = n.to_string();
    let mut out = String::new();
    for (i, c) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i) % 3 == 0 {
            out.push(',');
        }
        out.push(c);
    }
    out
}

/// Rows as columns two spaces apart; `numbers` are aligned to the right.
pub fn table(out: &mut String, head: &[&str], numbers: &[usize], rows: &[Vec<String>]) {
    let width = |c: usize| rows.iter().map(|r| r[c].width()).chain([head[c].width()]).max().unwrap_or(0);
    let widths: Vec<_> = (0..head.len()).map(width).collect();
    let mut line = |cells: Vec<String>| {
        let mut text = String::from(" ");
        for (c, cell) in cells.iter().enumerate() {
            let cell = if numbers.contains(&c) { right(cell, widths[c]) } else { pad(cell, widths[c]) };
            text = format!("{text} {cell} ");
        }
        let _ = writeln!(out, "{}", text.trim_end());
    };
    line(head.iter().map(|h| (*h).to_owned()).collect());
    rows.iter().for_each(|r| line(r.clone()));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chinese_columns_line_up() {
        let mut out = String::new();
        let rows = vec![vec!["鼓楼区".into(), "1".into()], vec!["abc".into(), "10,000".into()]];
        table(&mut out, &["NAME", "N"], &[1], &rows);
        let widths: Vec<_> = out.lines().map(UnicodeWidthStr::width).collect();
        assert_eq!(widths, [16, 16, 16], "{out}");
        assert_eq!((count(Some(1_234_567)), count(Some(999)), count(None)), {
            ("1,234,567".into(), "999".into(), "unknown".into())
        });
    }
}
