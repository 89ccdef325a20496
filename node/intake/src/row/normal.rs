//! Values as people and old systems write them, brought into the form that is stored; each change is told as a note.
//! A value that is in order already is left as it came.

use serde::Serialize;
use std::borrow::Cow;
use tally_topology::{
    catalog::{Field, FieldType, Matched},
    judge::SEPARATORS,
};
use unicode_normalization::UnicodeNormalization as _;

/// What was changed about a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Change {
    /// Space before or after it.
    Trimmed,
    /// Full-width digits and letters, lower case, or spaces inside a code.
    CodeForm,
    /// Another way to write a day.
    DateForm,
    /// Thousands separators and such in an amount.
    AmountForm,
    /// A label, or an old word, in place of a code of the list.
    ListWord,
    /// A number where text is stored.
    NumberAsText,
    /// What the row does not say follows from another field, or is what is usual.
    FilledIn,
}

impl Change {
    /// For people.
    pub fn message(self) -> (&'static str, &'static str) {
        match self {
            Self::Trimmed => ("spaces around the value were removed", "已去除首尾空格"),
            Self::CodeForm => ("full-width or lower-case characters were brought into form", "已转换全角或小写字符"),
            Self::DateForm => ("dates were written as YYYY-MM-DD", "日期已统一为 YYYY-MM-DD"),
            Self::AmountForm => ("amounts were written as plain decimals", "金额已统一为小数格式"),
            Self::ListWord => ("words were replaced by the codes of the list", "文字已替换为代码表中的代码"),
            Self::FilledIn => ("empty, so filled in as the catalog says", "为空，已按目录补填"),
            Self::NumberAsText => ("numbers were stored as text", "数字已按文本保存"),
        }
    }
}

/// "No end" in a date field: the day that stands for it in every category.
const LONG_TERM: &str = "2099-12-31";
const LONG_TERM_WORDS: [&str; 5] = ["长期", "永久", "长期有效", "永久有效", "无固定期限"];

/// White space that is not content: also the wide space, and what some programs leave at the start of a file.
fn is_space(c: char) -> bool {
    c.is_whitespace() || matches!(c, '\u{feff}' | '\u{200b}')
}

/// The value in the form that is stored, if it is not in it.
pub(crate) fn normal(field: &Field, value: &str) -> Option<(String, Change)> {
    let trimmed = value.trim_matches(is_space);
    let change = (trimmed.len() != value.len()).then_some(Change::Trimmed);
    let formed = if trimmed.is_empty() { None } else { formed(field, trimmed) };
    match (formed, change) {
        (Some((text, change)), _) => Some((text, change)),
        (None, Some(change)) => Some((trimmed.to_owned(), change)),
        (None, None) => None,
    }
}

fn formed(field: &Field, value: &str) -> Option<(String, Change)> {
    match field.kind {
        FieldType::Text if field.list.is_some() => listed(field, value).map(|v| (v, Change::ListWord)),
        FieldType::Text => None,
        FieldType::Date => day(value).map(|v| (v, Change::DateForm)),
        FieldType::Decimal | FieldType::Integer => {
            // A unit may only go where it is the field's own.
            let in_wan = field.id.ends_with("_wan") && !field.id.contains("usd");
            amount(value, in_wan).map(|v| (v, Change::AmountForm))
        }
        FieldType::Uscc | FieldType::OrgCode | FieldType::RegNo | FieldType::IdNo | FieldType::Division => {
            code(value).map(|v| (v, Change::CodeForm))
        }
    }
}

fn listed(field: &Field, value: &str) -> Option<String> {
    let list = field.list.as_ref()?;
    let one = |v: &str| -> Option<String> {
        match list.find(v) {
            Matched::Value => None,
            Matched::Word(code) => Some(code.to_owned()),
            Matched::None => {
                let wide = code(v)?;
                match list.find(&wide) {
                    Matched::Value => Some(wide),
                    Matched::Word(code) => Some(code.to_owned()),
                    Matched::None => None,
                }
            }
        }
    };
    if !field.several {
        return one(value);
    }
    let parts: Vec<&str> = value.split(SEPARATORS).map(str::trim).filter(|p| !p.is_empty()).collect();
    let changed: Vec<Option<String>> = parts.iter().map(|p| one(p)).collect();
    changed.iter().any(Option::is_some).then(|| {
        let each = parts.iter().zip(&changed).map(|(p, c)| c.clone().unwrap_or_else(|| (*p).to_owned()));
        each.collect::<Vec<_>>().join(";")
    })
}

/// Half-width, upper case, no spaces.
fn code(value: &str) -> Option<String> {
    if value.bytes().all(|b| b.is_ascii_digit() || b.is_ascii_uppercase() || b == b'-') {
        return None;
    }
    let formed: String = value.nfkc().filter(|c| !is_space(*c)).flat_map(char::to_uppercase).collect();
    (formed != value).then_some(formed)
}

fn amount(value: &str, in_wan: bool) -> Option<String> {
    if value.bytes().all(|b| b.is_ascii_digit() || b == b'.') && !value.starts_with('.') && !value.ends_with('.') {
        return None;
    }
    let text: String = value.nfkc().filter(|c| !is_space(*c) && *c != ',').collect();
    let text = text.trim_start_matches(['¥', '+']);
    let text = if in_wan { text.trim_end_matches("万元") } else { text };
    let text = match (text.strip_prefix('.'), text.strip_suffix('.')) {
        (Some(part), _) => format!("0.{part}"),
        (_, Some(whole)) => whole.to_owned(),
        _ => text.to_owned(),
    };
    (text != value).then_some(text)
}

/// YYYY-M-D with other separators, without any, in Chinese, or with a time behind it.
fn day(value: &str) -> Option<String> {
    if value.len() == 10 && value.as_bytes()[4] == b'-' && value.is_ascii() {
        return None;
    }
    if LONG_TERM_WORDS.contains(&value) {
        return Some(LONG_TERM.to_owned());
    }
    let text: Cow<'_, str> = if value.is_ascii() { value.into() } else { value.nfkc().collect::<String>().into() };
    let bare: String = text.chars().filter(|c| !is_space(*c)).collect();
    if bare.len() == 8 && bare.bytes().all(|b| b.is_ascii_digit()) {
        return iso(&bare[..4], &bare[4..6], &bare[6..]);
    }
    // A time of day behind the day says nothing that is stored.
    let (head, time) = text.trim().split_once(['T', ' ']).unwrap_or((text.trim(), ""));
    if !text.contains('年') && !time.bytes().all(|b| b.is_ascii_digit() || b": .+Z".contains(&b)) {
        return None;
    }
    let head = if text.contains('年') { bare.as_str() } else { head };
    let mut parts = head.split(['-', '/', '.', '年', '月', '日']).filter(|p| !p.is_empty());
    let (y, m, d) = (parts.next()?, parts.next()?, parts.next()?);
    if parts.next().is_some_and(|rest| !rest.contains(':')) {
        return None;
    }
    iso(y, m, d)
}

fn iso(y: &str, m: &str, d: &str) -> Option<String> {
    let digits = |t: &str, most: usize| (1..=most).contains(&t.len()) && t.bytes().all(|b| b.is_ascii_digit());
    (y.len() == 4 && digits(y, 4) && digits(m, 2) && digits(d, 2)).then(|| format!("{y}-{m:0>2}-{d:0>2}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use tally_topology::catalog::Catalogs;

    fn field(id: &str) -> Field {
        let catalogs = Catalogs::shipped().unwrap();
        let catalog = &catalogs.versions()[0];
        let found = ["admin_license", "admin_penalty"].iter().find_map(|c| catalog.category(c)?.field(id).cloned());
        found.unwrap()
    }

    fn as_stored(id: &str, value: &str) -> String {
        normal(&field(id), value).map_or_else(|| value.to_owned(), |(v, _)| v)
    }

    #[test]
    fn what_is_in_order_is_left_alone() {
        for (id, value) in [
            ("decision_date", "2026-11-02"),
            ("fine_wan", "1.500000"),
            ("party_uscc", "91350102MA2TE5T1X0"),
            ("violation_fact", "两个  空格，全角１"),
            ("penalty_kinds", "警告;罚款"),
            ("status", "1"),
        ] {
            assert_eq!(normal(&field(id), value), None, "{id}");
        }
    }

    #[test]
    fn dates_as_they_are_written() {
        for value in [
            "2026/11/2",
            "2026.11.02",
            "20261102",
            "2026年11月2日",
            "２０２６－１１－０２",
            " 2026-11-02 ",
            "2026-11-02 00:00:00",
            "2026-11-02T08:30:00",
            "2026/11/02 0:00",
            "2026-11-2",
        ] {
            assert_eq!(as_stored("decision_date", value), "2026-11-02", "{value}");
        }
        assert_eq!(as_stored("effective_until", "长期"), "2099-12-31");
        for value in [
            "11/02/2026",
            "2026-01-01 至 2027-01-01",
            "2026-11-02 见附件",
            "昨天",
            "2026-11",
            "26-11-02",
            "2026-11-02-03",
        ] {
            assert_eq!(as_stored("decision_date", value), value, "nothing is guessed");
        }
    }

    #[test]
    fn codes_amounts_and_words() {
        assert_eq!(as_stored("party_uscc", "９１350102ma2te5t1x0　"), "91350102MA2TE5T1X0");
        assert_eq!(as_stored("party_uscc", "9135 0102 MA2T E5T1 X0"), "91350102MA2TE5T1X0");
        assert_eq!(as_stored("fine_wan", "1,234.50"), "1234.50");
        assert_eq!(as_stored("fine_wan", "０.5 万元"), "0.5");
        assert_eq!(as_stored("fine_wan", ".5"), "0.5");
        assert_eq!(as_stored("status", "有效"), "1");
        assert_eq!(as_stored("violation_fact", "\u{3000}事实 "), "事实");
        assert_eq!(as_stored("penalty_kinds", "警告、 罚款"), "警告、 罚款");
    }
}
