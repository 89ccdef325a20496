//! Values as people and old systems write them, brought into the form that is stored; each change is told as a note.
//! A value that is in order already is left as it came. What cannot be brought into form is left for the rules, which name it.

mod code;
mod day;
mod text;

use super::damage::Damage;
use serde::Serialize;
use tally_topology::{
    catalog::{Catalog, Field, FieldType, Matched},
    judge::SEPARATORS,
    signs::{is_margin, is_unseen},
};

/// Longest text, in characters, that is a code of digits where it looks like one: kinds of entities, authorities, postcodes.
const SHORT_CODE_MAX: u32 = 10;
/// What is read as a day, in English and Chinese.
const FORMS: (&str, &str) = (
    "2026-11-02, 2026/11/2, 20261102 and 2026年11月2日 are read",
    "可填写 2026-11-02、2026/11/2、20261102 或 2026年11月2日",
);

/// What was changed about a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Change {
    /// Space before or after it.
    Trimmed,
    /// Signs that nobody sees, within it.
    Unseen,
    /// Spaces of an unusual kind, within it.
    Gap,
    /// Radicals that look like characters.
    Radical,
    /// Signs that were written in parts (NFC).
    Composed,
    /// A word for an empty cell.
    Nothing,
    /// The mark by which a spreadsheet keeps a value text.
    SpreadsheetMark,
    /// The `.0` that a program wrote behind a number.
    WholeNumber,
    /// Full-width digits and letters, lower case, or spaces inside a code.
    CodeForm,
    /// Another way to write a day.
    DateForm,
    /// An instant with another offset than China's.
    DayInChina,
    /// 24:00, which is 0:00 of the next day.
    EndOfDay,
    /// Thousands separators and such in an amount.
    AmountForm,
    /// A label, or an old word, in place of a code of the list.
    ListWord,
    /// Handed in as a load of history.
    Backfill,
    /// Called history, and produced this year.
    NotHistory,
    /// Signs in the form in which programs write them where they cannot stand.
    Escaped,
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
            Self::Unseen => ("signs that nobody sees were removed", "已去除不可见字符"),
            Self::Gap => ("spaces of an unusual kind were removed or made plain", "已去除或替换特殊空格"),
            Self::Radical => ("radicals were replaced by the characters that they look like", "已将部首字符替换为汉字"),
            Self::Composed => ("signs written in parts were put together (NFC)", "已合并组合字符（NFC）"),
            Self::Nothing => ("a word for an empty cell was taken for an empty cell", "填写的是空值用语，已视为空"),
            Self::SpreadsheetMark => ("the spreadsheet's mark for text was removed", "已去除表格软件的文本标记"),
            Self::WholeNumber => ("the .0 of a number was removed", "已去除数字末尾的 .0"),
            Self::CodeForm => (
                "full-width or lower-case characters and spaces in it were brought into form",
                "已转换全角或小写字符、去除其中空格",
            ),
            Self::DateForm => ("dates were written as YYYY-MM-DD", "日期已统一为 YYYY-MM-DD"),
            Self::DayInChina => (
                "a time with another offset was taken for the day in China (UTC+8)",
                "带时区的时间已换算为中国日期（东八区）",
            ),
            Self::EndOfDay => ("24:00 was taken for 0:00 of the next day", "24时已按次日0时处理"),
            Self::AmountForm => ("amounts were written as plain decimals", "金额已统一为小数格式"),
            Self::ListWord => ("words were replaced by the codes of the list", "文字已替换为代码表中的代码"),
            Self::FilledIn => ("empty, so filled in as the catalog says", "为空，已按目录补填"),
            Self::Backfill => ("taken as a load of history: not counted as late", "按历史补录入库，不计迟报"),
            Self::NotHistory => (
                "produced this year, so it is no history (历史补录) and is counted like any other",
                "本年度产生的信息不属于历史补录，按正常报送计算时限",
            ),
            Self::Escaped => (
                "it holds signs as a database or a web page writes them (\\n, &amp;): they are stored as they stand",
                "含有数据库或网页的转义写法（如 \\n、&amp;），已原样保存；如非原文请还原后再报",
            ),
            Self::NumberAsText => ("numbers were stored as text", "数字已按文本保存"),
        }
    }
}

/// A value as it is stored.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Formed {
    /// None: it says nothing, so the field is left out.
    pub(crate) text: Option<String>,
    /// What was changed, in order.
    pub(crate) changes: Vec<Change>,
}

/// The value in the form that is stored, if it is not in it.
pub(crate) fn normal(catalog: &Catalog, field: &Field, value: &str) -> Option<Formed> {
    let trimmed = value.trim_matches(is_margin);
    if trimmed.is_empty() {
        return (!value.is_empty()).then(|| Formed { text: Some(String::new()), changes: vec![Change::Trimmed] });
    }
    if says_nothing(catalog, field, trimmed) {
        return Some(Formed { text: None, changes: vec![Change::Nothing] });
    }
    let mut changes = Vec::new();
    let bare = if may_bear_mark(field) { text::unmarked(trimmed) } else { None };
    changes.extend(bare.map(|_| Change::SpreadsheetMark));
    let formed = formed(field, bare.unwrap_or(trimmed), &mut changes);
    if trimmed.len() != value.len() {
        let margins = value.split(trimmed).flat_map(str::chars);
        match margins.into_iter().any(is_unseen) {
            true if !changes.contains(&Change::Unseen) => changes.insert(0, Change::Unseen),
            false if changes.is_empty() => changes.push(Change::Trimmed),
            _ => {}
        }
    }
    let text = match formed {
        Some(text) => text,
        None if changes.is_empty() => return None,
        None => bare.unwrap_or(trimmed).to_owned(),
    };
    Some(Formed { text: Some(text), changes })
}

/// Whether the whole of a cell is a word for an empty one. In a text 无 may be meant, so there it is none.
fn says_nothing(catalog: &Catalog, field: &Field, value: &str) -> bool {
    let is_text = field.kind == FieldType::Text && field.list.is_none();
    let nothing = catalog.nothing.hold(value) || (!is_text && catalog.unsaid.hold(value));
    nothing && field.list.as_ref().is_none_or(|l| l.find(value) == Matched::None)
}

/// Prose may begin with a quotation mark.
fn may_bear_mark(field: &Field) -> bool {
    field.kind != FieldType::Text || field.max <= text::SHORT_MAX
}

fn formed(field: &Field, value: &str, changes: &mut Vec<Change>) -> Option<String> {
    let mut told = |formed: Option<String>, change| {
        changes.extend(formed.is_some().then_some(change));
        formed
    };
    match field.kind {
        FieldType::Text if field.list.is_some() => told(listed(field, value), Change::ListWord),
        // A code that a program made a number of: nothing is lost.
        FieldType::Text if field.max <= SHORT_CODE_MAX && code::whole(value).is_some() => {
            told(code::whole(value).map(str::to_owned), Change::WholeNumber)
        }
        FieldType::Text => {
            changes.extend(text::is_escaped(value).then_some(Change::Escaped));
            text::clean(value, field.max, changes)
        }
        FieldType::Date => {
            let (day, change) = day::day(value, is_end(field))?;
            told(Some(day), change)
        }
        FieldType::Integer if code::whole(value).is_some() => {
            told(code::whole(value).map(str::to_owned), Change::WholeNumber)
        }
        FieldType::Decimal | FieldType::Integer => {
            // A unit may only go where it is the field's own.
            let in_wan = field.id.ends_with("_wan") && !field.id.contains("usd");
            told(code::amount(value, in_wan), Change::AmountForm)
        }
        FieldType::Uscc | FieldType::OrgCode | FieldType::RegNo | FieldType::IdNo | FieldType::Division => {
            code::code(value, changes)
        }
    }
}

/// Whether a day is the last one of a time, which may have no end.
fn is_end(field: &Field) -> bool {
    field.id.ends_with("_until") || matches!(&*field.id, "due_on" | "invalid_on")
}

fn listed(field: &Field, value: &str) -> Option<String> {
    let list = field.list.as_ref()?;
    let one = |v: &str| -> Option<String> {
        match list.find(v) {
            Matched::Value => None,
            Matched::Word(code) => Some(code.to_owned()),
            Matched::None => {
                // Of a form with a `.0`, or with signs that nobody sees, the value is meant too.
                let wide = code::code(v, &mut Vec::new())?;
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

/// Whether a name or a number of a document was taken for a number by a spreadsheet, and written in short.
pub(super) fn is_short_number(field: &Field, value: &str) -> bool {
    value.as_bytes().first().is_some_and(u8::is_ascii_digit)
        && field.kind == FieldType::Text
        && field.list.is_none()
        && field.max <= text::SHORT_MAX
        && code::is_short_number(value)
}

/// What a value was that is refused, or what happened to it on its way: more than the rule can say of it.
pub(super) fn damage(field: &Field, value: &str) -> Option<Damage> {
    match field.kind {
        FieldType::Date => {
            let (en, zh) = day::meant(value).unwrap_or_else(|| (FORMS.0.to_owned(), FORMS.1.to_owned()));
            Some(Damage::Because(en, zh))
        }
        FieldType::Uscc | FieldType::OrgCode | FieldType::RegNo | FieldType::IdNo | FieldType::Division => {
            if code::has_lost_digits(field, value) {
                return Some(Damage::LostDigits);
            }
            code::trouble(field, value).map(|(en, zh)| Damage::Because(en, zh))
        }
        FieldType::Decimal | FieldType::Integer => {
            let (en, zh) = code::amount_trouble(field, value);
            Some(Damage::Because(en, zh))
        }
        FieldType::Text => None,
    }
}

#[cfg(test)]
mod tests;
