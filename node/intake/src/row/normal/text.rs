//! Text: what nobody sees is taken out, so that two names that look alike are one.
//!
//! Decided here: a text of at most [`SHORT_MAX`] characters is a name, a title or a number, in which no gap of an unusual kind
//! is meant; a longer one is prose, where the wide space that begins a paragraph stays. Ordinary spaces stay everywhere.

use super::Change;
use tally_topology::signs::{is_blank, is_plain, is_unseen, is_wide, of_radical, spells};

/// Longest field, in characters, that holds a name, a title or a number.
pub(super) const SHORT_MAX: u32 = 256;

/// The text without what nobody sees, if it has any of it. `most`: longest that the field may be, in characters.
pub(super) fn clean(value: &str, most: u32, changes: &mut Vec<Change>) -> Option<String> {
    if is_plain(value) {
        return None;
    }
    let is_gap = |c: char| is_unusual(c) && (most <= SHORT_MAX || c != '\u{3000}');
    let (mut unseen, mut gap, mut radical) = (false, false, false);
    let mut out = String::with_capacity(value.len());
    let mut chars = value.chars().peekable();
    while let Some(c) = chars.next() {
        let before = out.chars().next_back();
        if is_unseen(c) && !spells(before, c) {
            unseen = true;
        } else if is_gap(c) {
            gap = true;
            // Several in a row are one.
            while let Some(more) = chars.next_if(|c| is_unseen(*c) || is_gap(*c)) {
                unseen |= is_unseen(more);
            }
            let after = chars.peek().copied();
            if !(before.is_none_or(is_wide) && after.is_none_or(is_wide)) && before != Some(' ') {
                out.push(' ');
            }
        } else if let Some(character) = of_radical(c) {
            radical = true;
            out.push(character);
        } else {
            out.push(c);
        }
    }
    changes.extend(unseen.then_some(Change::Unseen));
    changes.extend(gap.then_some(Change::Gap));
    changes.extend(radical.then_some(Change::Radical));
    (unseen || gap || radical).then_some(out)
}

/// Whether a text holds signs as a program writes them where they cannot stand: line ends and tabs of a database (`\n`), and
/// characters and tags of a web page (`&amp;`, `&#26228;`, `<br>`), of a source text (`\u699c`) or of a workbook (`_x000D_`). A path of a file holds none.
pub(super) fn is_escaped(value: &str) -> bool {
    let of_office = |at: usize| {
        let hex = value.get(at + 2..at + 6).filter(|_| value.get(at..at + 2) == Some("_x"));
        value.get(at + 6..at + 7) == Some("_") && hex.is_some_and(|h| h.bytes().all(|b| b.is_ascii_hexdigit()))
    };
    let tag = |at: usize| {
        let name = value.get(at + 1..).unwrap_or_default().trim_start_matches('/');
        let name: String = name.chars().take_while(char::is_ascii_alphanumeric).take(8).collect();
        ["br", "p", "div", "span", "font", "td", "b", "strong"].contains(&name.to_ascii_lowercase().as_str())
            && value.get(at..).is_some_and(|rest| rest.contains('>'))
    };
    if memchr::memchr_iter(b'_', value.as_bytes()).any(of_office)
        || memchr::memchr_iter(b'<', value.as_bytes()).any(tag)
    {
        return true;
    }
    let Some(at) = memchr::memchr2(b'\\', b'&', value.as_bytes()) else { return false };
    let rest = &value[at..];
    let is_path = value.get(1..3) == Some(":\\") || value.starts_with("\\\\");
    let backslash = |after: &str| {
        let hex = after.strip_prefix('u').and_then(|h| h.get(..4));
        after.starts_with(['n', 'r', 't']) || hex.is_some_and(|h| h.bytes().all(|b| b.is_ascii_hexdigit()))
    };
    let entity = |after: &str| {
        let name = after.split_once(';').map(|(name, _)| name).filter(|name| name.len() <= 8);
        name.is_some_and(|name| match name.strip_prefix('#') {
            Some(number) => !number.is_empty() && number.bytes().all(|b| b.is_ascii_hexdigit() || b == b'x'),
            None => ["amp", "lt", "gt", "quot", "apos", "nbsp", "ldquo", "rdquo", "middot"].contains(&name),
        })
    };
    (!is_path && rest.split('\\').skip(1).any(backslash)) || rest.split('&').skip(1).any(entity)
}

/// A gap that no key of a keyboard makes. Control characters are left for the rules: they come from broken conversions.
fn is_unusual(c: char) -> bool {
    !matches!(c, ' ' | '\t' | '\n' | '\r') && !c.is_control() && is_blank(c)
}

/// A value without the mark by which a spreadsheet keeps it text: `="0123"`, `'0123`.
pub(super) fn unmarked(value: &str) -> Option<&str> {
    let quoted = value.strip_prefix("=\"").and_then(|v| v.strip_suffix('"')).filter(|v| !v.contains('"'));
    let marked = || value.strip_prefix(['\'', '\u{2019}']).filter(|v| !v.contains(['\'', '\u{2019}', '\u{2018}']));
    quoted.or_else(marked).map(str::trim).filter(|v| !v.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cleaned(value: &str, most: u32) -> (String, Vec<Change>) {
        let mut changes = Vec::new();
        (clean(value, most, &mut changes).unwrap_or_else(|| value.to_owned()), changes)
    }

    /// A11: names that differ only in what nobody sees are one name.
    #[test]
    fn names_lose_what_nobody_sees() {
        for (sign, change) in [
            ('\u{200b}', Change::Unseen),
            ('\u{200c}', Change::Unseen),
            ('\u{200d}', Change::Unseen),
            ('\u{2060}', Change::Unseen),
            ('\u{200e}', Change::Unseen),
            ('\u{202d}', Change::Unseen),
            ('\u{2067}', Change::Unseen),
            ('\u{ad}', Change::Unseen),
            ('\u{feff}', Change::Unseen),
            ('\u{fe0f}', Change::Unseen),
            ('\u{e0101}', Change::Unseen),
            ('\u{3164}', Change::Unseen),
            ('\u{a0}', Change::Gap),
            ('\u{2002}', Change::Gap),
            ('\u{202f}', Change::Gap),
            ('\u{3000}', Change::Gap),
            ('\u{2800}', Change::Gap),
        ] {
            let name = format!("福州朗{sign}禾{sign}{sign}商贸有限公司");
            assert_eq!(cleaned(&name, 200), ("福州朗禾商贸有限公司".to_owned(), vec![change]), "U+{:04X}", sign as u32);
        }
        assert_eq!(cleaned("John\u{a0}\u{200b}Smith", 200).0, "John Smith");
        let many = format!("甲{}乙", "\u{a0}\u{200b}".repeat(100_000));
        assert_eq!(cleaned(&many, 200).0, "甲乙");
        assert_eq!(cleaned("甲\u{a0}A公司", 200).0, "甲 A公司");
    }

    #[test]
    fn what_is_seen_or_spells_is_left_alone() {
        for (value, most) in [
            ("两个  空格，全角１", 4_000),
            ("\u{3000}段落一\n\u{3000}\u{3000}段落二", 4_000),
            ("福州 朗禾", 200),
            ("क्\u{200d}ष", 200),
            ("第一行\n第二行\t三", 200),
            ("㈱①Ⅷ", 200),
        ] {
            assert_eq!(cleaned(value, most), (value.to_owned(), vec![]), "{value}");
        }
    }

    #[test]
    fn signs_as_programs_write_them_are_noticed() {
        for text in [
            "第一行\\n第二行",
            "甲\\t乙",
            "福州\\u699c公司",
            "福州&#26228;公司",
            "甲&amp;乙",
            "甲&nbsp;乙",
            "甲<br>乙",
            "<p>甲</p>",
            "甲_x000D_乙",
        ] {
            assert!(is_escaped(text), "{text}");
        }
        for text in [
            "甲&乙",
            "A&B;C",
            "C:\\new\\table",
            "\\\\server\\names",
            "甲\\乙",
            "R&D",
            "&",
            "\\",
            "&#;",
            "甲<乙>",
            "a_x_b",
            "A<b",
        ] {
            assert!(!is_escaped(text), "{text}");
        }
    }

    /// A12: a radical that looks like a character becomes that character.
    #[test]
    fn radicals_become_characters() {
        assert_eq!(cleaned("⽅⽴公司", 200), ("方立公司".to_owned(), vec![Change::Radical]));
        assert_eq!(cleaned("⻓", 200), ("⻓".to_owned(), vec![]), "Unicode names no character for it");
    }

    #[test]
    fn marks_of_spreadsheets_are_taken_off() {
        assert_eq!(unmarked("=\"0123\""), Some("0123"));
        assert_eq!((unmarked("'0123"), unmarked("’0123")), (Some("0123"), Some("0123")));
        for other in ["", "'", "=\"\"", "0123", "=1+2", "'甲'公司", "=\"a\"&\"b\""] {
            assert_eq!(unmarked(other), None, "{other}");
        }
    }
}
