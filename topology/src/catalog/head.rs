//! Column heads of tables: which field a title or code means.

use super::{Category, Field};
use crate::signs::is_margin;
use std::collections::{BTreeMap, BTreeSet};
use unicode_normalization::UnicodeNormalization as _;

/// A head as it is compared: half-width, upper case, without white space, stars, and what nobody sees (a delimiter of another
/// program, a byte order mark of a file that was joined).
fn whole(text: &str) -> String {
    let dress = |c: &char| is_margin(*c) || c.is_control() || *c == '*';
    let wide: String = text.nfkc().filter(|c| !dress(c)).collect();
    wide.trim_end_matches(':').to_uppercase()
}

/// Without the remarks in brackets at its end: `罚款金额(万元)(必填)`. (NFKC has made brackets narrow.)
fn bare(whole: &str) -> &str {
    let mut rest = whole;
    while let Some((before, _)) = rest.strip_suffix(')').and_then(|r| r.rsplit_once('('))
        && !before.is_empty()
    {
        rest = before;
    }
    rest
}

/// Without what a form puts around a title: its number, a remark in brackets before it, brackets around it.
/// `1.`, `(必填)`, `【 】`.
fn undressed(whole: &str) -> &str {
    let mut rest = whole;
    loop {
        let number = rest.trim_start_matches(|c: char| c.is_ascii_digit());
        let numbered = (number.len() < rest.len()).then(|| number.strip_prefix(['.', ')', '、', '-'])).flatten();
        let remark = || {
            rest.strip_prefix('(')
                .and_then(|r| r.split_once(')'))
                .map(|(_, after)| after.trim_start_matches(['、', '.']))
        };
        let around = || BRACKETS.iter().find_map(|(open, close)| rest.strip_prefix(*open)?.strip_suffix(*close));
        match numbered.or_else(around).or_else(remark).filter(|inner| !inner.is_empty()) {
            Some(inner) => rest = inner,
            None => return rest,
        }
    }
}

/// Units of amounts, as they stand behind a title.
const UNITS: [&str; 17] = [
    "元",
    "角",
    "分",
    "百元",
    "千元",
    "万元",
    "百万元",
    "千万元",
    "亿元",
    "美元",
    "千美元",
    "万美元",
    "亿美元",
    "港元",
    "欧元",
    "股",
    "万股",
];

/// The unit in the brackets behind a title: `罚款金额(元)`, `(单位:人民币万元)`.
fn unit_in_brackets(whole: &str) -> Option<&'static str> {
    let mut rest = whole;
    while let Some((before, inner)) = rest.strip_suffix(')').and_then(|r| r.rsplit_once('(')) {
        let inner = inner.trim_start_matches("单位").trim_start_matches(':').trim_start_matches("人民币");
        if let Some(unit) = UNITS.iter().find(|unit| **unit == inner) {
            return Some(unit);
        }
        rest = before;
    }
    None
}

/// Whether a text is a unit of amounts: 元, 万元, 万股.
pub fn is_unit(text: &str) -> bool {
    UNITS.contains(&text.trim_start_matches("人民币"))
}

/// The unit that a field's own title names.
fn unit_of_field(zh: &str) -> Option<&'static str> {
    let head = whole(zh);
    let behind = || UNITS.iter().filter(|unit| head.ends_with(*unit) && unit.len() > 3).max_by_key(|unit| unit.len());
    unit_in_brackets(&head).or_else(|| behind().copied())
}

/// Brackets that stand around a title.
const BRACKETS: [(char, char); 6] = [('【', '】'), ('《', '》'), ('"', '"'), ('“', '”'), ('[', ']'), ('`', '`')];

/// Heads of a category: identifiers, titles and codes of its fields, each with the place of its field.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Heads {
    places: BTreeMap<String, usize>,
    /// Of fields whose titles name a unit: amounts in another one are not theirs.
    units: BTreeMap<usize, &'static str>,
}

impl Heads {
    /// A head of a category's own field goes before the same head in the envelope.
    ///
    /// # Errors
    /// When one head would name two fields.
    pub(super) fn of(category: &Category) -> Result<Self, String> {
        let mut heads = BTreeMap::<String, usize>::new();
        let mut bare_heads = Vec::new();
        for envelope in [false, true] {
            for (i, field) in category.fields.iter().enumerate().filter(|(_, f)| f.envelope == envelope) {
                for text in [&*field.id, &*field.zh].into_iter().chain(field.codes.iter().map(String::as_str)) {
                    let head = whole(text);
                    bare_heads.push((bare(&head).to_owned(), i));
                    match heads.get(&head) {
                        Some(other) if *other != i && category.fields[*other].envelope == envelope => {
                            let other = &category.fields[*other].id;
                            return Err(format!("the head {text:?} would name both {other} and {}", field.id));
                        }
                        Some(_) => {}
                        None => {
                            heads.insert(head, i);
                        }
                    }
                }
            }
        }
        // A bare form that could mean two fields means none.
        let mut meant = BTreeMap::<String, BTreeSet<usize>>::new();
        for (head, i) in bare_heads {
            meant.entry(head).or_default().insert(i);
        }
        for (head, fields) in meant {
            if let (1, Some(i)) = (fields.len(), fields.first()) {
                heads.entry(head).or_insert(*i);
            }
        }
        let unit = |(i, field): (usize, &Field)| Some((i, unit_of_field(&field.zh)?));
        let units = category.fields.iter().enumerate().filter_map(unit).collect();
        Ok(Self { places: heads, units })
    }

    pub(super) fn find(&self, title: &str) -> Option<usize> {
        self.any(title).filter(|(_, other_unit)| !other_unit).map(|(i, _)| i)
    }

    /// The field that a title means but for the unit behind it, which is another one than the field's.
    pub(super) fn in_other_unit(&self, title: &str) -> Option<usize> {
        self.any(title).filter(|(_, other_unit)| *other_unit).map(|(i, _)| i)
    }

    /// The field that a title means, and whether it names another unit.
    fn any(&self, title: &str) -> Option<(usize, bool)> {
        let head = whole(title);
        let bare_of = |head: &str| self.places.get(head).or_else(|| self.places.get(bare(head))).copied();
        let undressed = || Some(undressed(&head)).filter(|plain| plain.len() < head.len()).and_then(bare_of);
        let place = bare_of(&head).or_else(undressed)?;
        let own = self.units.get(&place);
        Some((place, own.is_some_and(|own| unit_in_brackets(&head).is_some_and(|unit| unit != *own))))
    }
}

#[cfg(test)]
mod tests {
    use super::{bare, undressed, unit_in_brackets, unit_of_field, whole};

    #[test]
    fn units_behind_titles_are_read() {
        for (text, unit) in [
            ("罚款金额（元）", Some("元")),
            ("罚款金额(必填)（单位：人民币万元）", Some("万元")),
            ("注册资本（万美元）", Some("万美元")),
            ("罚款金额", None),
            ("许可内容（必填）", None),
        ] {
            assert_eq!(unit_in_brackets(&whole(text)), unit, "{text}");
        }
        assert_eq!(
            (unit_of_field("注册资本折万美元"), unit_of_field("罚款金额（万元）")),
            (Some("万美元"), Some("万元"))
        );
        assert_eq!((unit_of_field("数据来源单位"), unit_of_field("质权处分")), (None, None));
    }

    #[test]
    fn what_a_form_puts_around_a_title_is_no_part_of_it() {
        for (text, plain) in [
            ("1.行政相对人名称", "行政相对人名称"),
            ("（12）、许可内容", "许可内容"),
            ("3、许可内容", "许可内容"),
            ("(必填)许可内容", "许可内容"),
            ("【许可内容】", "许可内容"),
            ("【2.《许可内容》】", "许可内容"),
            ("`xk_wsh`", "XK_WSH"),
            ("(空)", "(空)"),
            ("2026", "2026"),
        ] {
            assert_eq!(undressed(&whole(text)), plain, "{text}");
        }
    }

    #[test]
    fn heads_are_compared_without_their_dress() {
        for (text, plain) in [
            (" *行政相对人名称 ", "行政相对人名称"),
            ("罚款金额（万元）", "罚款金额"),
            ("罚款金额(万元)（必填）", "罚款金额"),
            ("ｘｋ_ＷＳＨ", "XK_WSH"),
            ("行政相对人\n代码：", "行政相对人代码"),
            ("（空）", "(空)"),
            ("\u{1f}许可\u{200e}内容\u{a0}", "许可内容"),
            ("\u{feff}备注\0", "备注"),
            ("intCls", "INTCLS"),
        ] {
            assert_eq!(bare(&whole(text)), plain);
        }
    }
}
