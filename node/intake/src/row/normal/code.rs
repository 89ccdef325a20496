//! Codes and amounts as people and spreadsheets write them, and what was lost of a code on its way.

use super::Change;
use tally_topology::{
    catalog::{Field, FieldType},
    digits::{self, Digit},
    signs::{is_blank, is_margin, is_unseen, named},
};
use unicode_normalization::UnicodeNormalization as _;

/// Most digits of a number that a spreadsheet keeps (IEEE 754 double precision).
const KEPT_DIGITS: usize = 15;

/// Half-width, upper case, without spaces and signs that nobody sees.
pub(super) fn code(value: &str, changes: &mut Vec<Change>) -> Option<String> {
    if value.bytes().all(|b| b.is_ascii_digit() || b.is_ascii_uppercase() || b == b'-') || holds_other_digits(value) {
        return None;
    }
    let unseen = !value.is_ascii() && value.chars().any(is_unseen);
    let formed: String = value
        .chars()
        .filter(|c| !is_margin(*c))
        .nfkc()
        .filter(|c| !is_blank(*c))
        .flat_map(char::to_uppercase)
        .collect();
    let (formed, whole) = match whole(&formed) {
        Some(whole) => (whole.to_owned(), true),
        None => (formed, false),
    };
    let seen: String = value.chars().filter(|c| !is_unseen(*c)).collect();
    changes.extend(unseen.then_some(Change::Unseen));
    changes.extend(whole.then_some(Change::WholeNumber));
    changes.extend((!whole && formed != seen).then_some(Change::CodeForm));
    (formed != value).then_some(formed)
}

/// Whether a text holds digits that are compatible with plain ones and mean something else or more: raised, in circles, parts.
pub(super) fn holds_other_digits(value: &str) -> bool {
    !value.is_ascii()
        && value.chars().any(|c| c.is_numeric() && !c.is_ascii_digit() && !matches!(c, '０'..='９' | '〇'))
}

/// Digits that a program wrote as a number with a point, where no digit can have been lost.
pub(super) fn whole(code: &str) -> Option<&str> {
    let (whole, zeros) = code.split_once('.')?;
    let is_whole = (1..=KEPT_DIGITS).contains(&whole.len())
        && whole.bytes().all(|b| b.is_ascii_digit())
        && !zeros.is_empty()
        && zeros.bytes().all(|b| b == b'0');
    is_whole.then_some(whole)
}

pub(super) fn amount(value: &str, in_wan: bool) -> Option<String> {
    let is_plain = value.bytes().all(|b| b.is_ascii_digit() || b == b'.');
    if (is_plain && !value.starts_with('.') && !value.ends_with('.')) || holds_other_digits(value) {
        return None;
    }
    let text: String = value.nfkc().filter(|c| !is_unseen(*c)).map(|c| if is_blank(c) { ' ' } else { c }).collect();
    let text = text.trim().trim_start_matches(['¥', '+']).trim_start();
    // In a column of 万元 both mean the same number.
    let unit = ["万元", "万"].iter().find_map(|unit| text.strip_suffix(unit)).filter(|_| in_wan);
    let text = &ungrouped(unit.unwrap_or(text).trim_end())?;
    let text = match (text.strip_prefix('.'), text.strip_suffix('.')) {
        (Some(part), _) => format!("0.{part}"),
        (_, Some(whole)) => whole.to_owned(),
        _ => text.clone(),
    };
    (text != value).then_some(text)
}

/// A number without what stands between its thousands: one kind of sign, and three digits behind each. Otherwise nobody knows
/// whether a comma is one of decimals.
fn ungrouped(text: &str) -> Option<String> {
    let (whole, part) = text.split_once('.').map_or((text, None), |(whole, part)| (whole, Some(part)));
    let Some(sign) = whole.chars().find(|c| matches!(c, ',' | ' ')) else { return Some(text.to_owned()) };
    let digits = |group: &str| group.bytes().all(|b| b.is_ascii_digit());
    let mut groups = whole.split(sign);
    let first = groups.next().is_some_and(|g| (1..=3).contains(&g.len()) && digits(g));
    let rest = groups.all(|g| g.len() == 3 && digits(g));
    let joined: String = whole.split(sign).collect();
    (first && rest).then(|| part.map_or(joined.clone(), |part| format!("{joined}.{part}")))
}

/// What is wrong with an amount that is none, in English and Chinese.
pub(super) fn amount_trouble(field: &Field, value: &str) -> (String, String) {
    let text: String = match holds_other_digits(value) {
        true => value.to_owned(),
        false => value.nfkc().filter(|c| !is_margin(*c)).collect(),
    };
    let parts = text.split_once('.').filter(|(w, p)| [w, p].iter().all(|t| t.bytes().all(|b| b.is_ascii_digit())));
    let told = |en: &str, zh: &str| (en.to_owned(), zh.to_owned());
    if is_short_number(&text) || (text.contains(['e', 'E']) && text.starts_with(|c: char| c.is_ascii_digit())) {
        return told("it is written in short, so write the number out", "为科学计数法，请写成普通数字");
    }
    if text.starts_with(['-', '(']) {
        return told("it is below zero", "不得为负数，请核对");
    }
    if let Some((_, part)) = parts.filter(|(_, part)| part.len() > field.scale as usize) {
        let (n, scale) = (part.len(), field.scale);
        return (
            format!("it has {n} decimals, of which {scale} are stored: round it"),
            format!("小数有 {n} 位，最多 {scale} 位，请四舍五入后填写"),
        );
    }
    if text.contains([',', '\'', '’']) || value.trim().contains(is_blank) {
        return told(
            "where its thousands end is not sure: write it without signs between the digits",
            "千分位写法不明确，请去掉数字中的逗号、空格后填写",
        );
    }
    match text.chars().find(|c| !c.is_ascii_digit() && *c != '.') {
        Some(c) if "元万亿千百圆%％角分".contains(c) => told(
            "it bears a unit: write the number alone, in the unit of the column",
            "含有单位或百分号，请按栏目所示单位只填数字",
        ),
        Some(c) => {
            let (number, en, zh) = named(c);
            let sign = if is_margin(c) || c.is_control() { String::new() } else { format!("{c} ") };
            (
                format!("it holds {sign}{number} ({en}): write the number alone"),
                format!("含有{sign}{number}（{zh}），只填数字"),
            )
        }
        None => told("it is no number, or too long", "不是数字，或位数过多"),
    }
}

/// A number that a spreadsheet wrote in short: `9.13501E+17`.
pub(super) fn is_short_number(value: &str) -> bool {
    let Some((digits, power)) = value.split_once(['E', 'e']) else { return false };
    let (whole, part) = digits.split_once('.').unwrap_or((digits, ""));
    let power = power.strip_prefix('+').unwrap_or(power);
    let all_digits = |t: &str| t.bytes().all(|b| b.is_ascii_digit());
    // Codes such as 1E5 exist: a short number has a point, or a sign before its power.
    let is_number = digits.contains('.') || value.contains('+');
    is_number
        && whole.len() == 1
        && all_digits(whole)
        && all_digits(part)
        && (1..=3).contains(&power.len())
        && all_digits(power)
}

/// Digits of a code that was a number in between, which no longer are those that were typed.
pub(super) fn has_lost_digits(field: &Field, value: &str) -> bool {
    let whole = value.split_once('.').filter(|(_, zeros)| zeros.bytes().all(|b| b.is_ascii_digit()));
    let was_number = whole.is_some_and(|(w, _)| w.len() > KEPT_DIGITS && w.bytes().all(|b| b.is_ascii_digit()));
    // Of 18 digits the last three became zeros, and the check digit says that they were others.
    let rounded = || {
        value.len() == 18
            && value.bytes().all(|b| b.is_ascii_digit())
            && value.ends_with("000")
            && match field.kind {
                FieldType::Uscc => digits::uscc(value) != Digit::Ok,
                FieldType::IdNo => digits::id_card(value) != Digit::Ok,
                _ => false,
            }
    };
    is_short_number(value) || was_number || rounded()
}

/// What is wrong with a code that is none, in English and Chinese, if it can be told.
pub(super) fn trouble(field: &Field, value: &str) -> Option<(String, String)> {
    let strange = value.chars().find(|c| !c.is_ascii_graphic());
    if let Some(c) = strange {
        let (number, en, zh) = named(c);
        let shown = if c.is_alphanumeric() { format!("{c} ") } else { String::new() };
        return Some((
            format!("it holds {shown}{number} ({en}), which is no part of a code"),
            format!("含有{shown}{number}（{zh}），不属于代码"),
        ));
    }
    let (length, wanted) = (value.len(), wanted_length(field.kind)?);
    let only_digits = value.bytes().all(|b| b.is_ascii_digit());
    if length < wanted && only_digits {
        return Some((
            format!(
                "it has {length} of {wanted} characters: if a spreadsheet made a number of it, its zeros at the front are lost: make the column text, and type it again"
            ),
            format!(
                "只有 {length} 位，应为 {wanted} 位：如被表格软件当作数字，前面的零已丢失，请将该列设为文本后重新填写"
            ),
        ));
    }
    if length != wanted {
        return Some((
            format!("it has {length} characters and not {wanted}"),
            format!("为 {length} 位，应为 {wanted} 位"),
        ));
    }
    let letter = value.chars().find(|c| field.kind == FieldType::Uscc && "IOSVZ".contains(*c))?;
    Some((
        format!("it holds the letter {letter}, which no credit code has (perhaps a digit was meant)"),
        format!("含有字母 {letter}，信用代码不使用该字母（可能应为数字）"),
    ))
}

fn wanted_length(kind: FieldType) -> Option<usize> {
    match kind {
        FieldType::Uscc => Some(18),
        FieldType::OrgCode => Some(9),
        FieldType::Division => Some(6),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::row::normal::tests::field;

    /// "1,5" was stored as 15: what parts thousands stands before three digits each.
    #[test]
    fn amounts_are_ungrouped_only_where_that_is_certain() {
        for (written, stored) in [
            ("1,234.50", Some("1234.50")),
            ("1，234，567", Some("1234567")),
            ("15 000", Some("15000")),
            ("15\u{a0}000.5", Some("15000.5")),
            ("￥ 1,500", Some("1500")),
            ("1.5万", Some("1.5")),
            ("1.5 万元", Some("1.5")),
            ("1,5", None),
            ("1 5", None),
            ("1,2345", None),
            ("1234,567", None),
            ("1,234 567", None),
            (",5", None),
            ("1,", None),
            ("1²", None),
            ("①", None),
            ("1½", None),
        ] {
            assert_eq!(amount(written, true).as_deref(), stored, "{written}");
        }
        let fine = field("fine_wan");
        for (value, part) in [
            ("1,5", "thousands"),
            ("-1", "below zero"),
            ("1.5e3", "in short"),
            ("1.1234567", "7 decimals"),
            ("15000元", "unit"),
            ("约1.5", "约"),
            ("1²", "²"),
            ("99999999999999999", "too long"),
        ] {
            let (en, zh) = amount_trouble(&fine, value);
            assert!(en.contains(part) && !zh.is_empty(), "{value}: {en}");
        }
    }

    /// Of a code and a day a raised digit was one like any other.
    #[test]
    fn digits_that_mean_something_else_are_no_digits() {
        for value in ["9135010②MA2TE5T1X0", "³5010", "½", "Ⅷ"] {
            assert_eq!(code(value, &mut Vec::new()), None, "{value}");
        }
        assert_eq!(code("３５０１０２", &mut Vec::new()).as_deref(), Some("350102"));
    }

    #[test]
    fn short_numbers_are_told_from_codes() {
        for short in ["9.13501E+17", "9.13501e17", "9E+17", "1.2E+5", "9.13501020036012E+17"] {
            assert!(is_short_number(short), "{short}");
        }
        for other in ["1E5", "JY1E+5", "12.5E+3", "E+17", "9.1", "9.1E", "9.1E+1234", "1E+5号", ""] {
            assert!(!is_short_number(other), "{other}");
        }
    }

    #[test]
    fn digits_that_a_spreadsheet_lost() {
        let (code, card) = (field("party_uscc"), field("legal_rep_id_no"));
        for lost in ["9.13501E+17", "913501020036012544.0", "113501020036012000"] {
            assert!(has_lost_digits(&code, lost), "{lost}");
        }
        assert!(has_lost_digits(&card, "110105194912310000"));
        for whole in ["113501020036012589", "91350102MA2TE5T1X0", "350102", "350102.0"] {
            assert!(!has_lost_digits(&code, whole), "{whole}");
        }
    }

    #[test]
    fn what_is_wrong_with_a_code_is_told() {
        for (id, value, part) in [
            ("party_uscc", "91350102MA2TE5T1X", "17 characters and not 18"),
            ("party_uscc", "91350102MA2TE5T1XI", "letter I"),
            ("party_uscc", "91350102MA2TE5T1X\u{1f}0", "U+001F"),
            ("party_uscc", "91350102甲A2TE5T1X0", "甲 U+7532"),
            ("party_uscc", "9135010②MA2TE5T1X0", "② U+2461"),
            ("party_org_code", "1234567", "zeros at the front"),
            ("producer_division", "35010", "zeros at the front"),
        ] {
            let (en, zh) = trouble(&field(id), value).unwrap_or_else(|| panic!("{value}"));
            assert!(en.contains(part) && !zh.is_empty(), "{value}: {en}");
        }
        assert_eq!(
            trouble(&field("party_reg_no"), "闽"),
            Some((
                "it holds 闽 U+95FD (character), which is no part of a code".to_owned(),
                "含有闽 U+95FD（字符），不属于代码".to_owned()
            ))
        );
    }
}
