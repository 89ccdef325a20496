//! Column heads of tables: which field a title or code means.

use super::Category;
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

/// Heads of a category: identifiers, titles and codes of its fields, each with the place of its field.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Heads(BTreeMap<String, usize>);

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
        Ok(Self(heads))
    }

    pub(super) fn find(&self, title: &str) -> Option<usize> {
        let head = whole(title);
        self.0.get(&head).or_else(|| self.0.get(bare(&head))).copied()
    }
}

#[cfg(test)]
mod tests {
    use super::{bare, whole};

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
