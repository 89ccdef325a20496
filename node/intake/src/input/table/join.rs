//! What a column means whose head stands in several rows, or is the same as another one's: by what stands above it, or
//! before it. `许可机关` above `名称` and `代码` names an authority and its code.

use std::collections::BTreeSet;
use tally_topology::{
    catalog::{Category, Field},
    signs::is_margin,
};
use unicode_normalization::UnicodeNormalization as _;

/// Words behind a group's name that say nothing of what it is.
const GROUP_ENDS: [&str; 5] = ["基本信息", "信息", "情况", "名称", "姓名"];
/// Heads below a group's name that mean what the group is called by.
const ITSELF: [&str; 4] = ["名称", "姓名", "全称", "单位名称"];
/// Other words for heads below a group's name.
const SAME: [(&str, &str); 6] =
    [("起", "自"), ("始", "自"), ("起始", "自"), ("止", "至"), ("截止", "至"), ("终止", "至")];
/// Groups that hold what is known of the subject of a record.
const SUBJECTS: [&str; 8] = ["企业", "主体", "市场主体", "相对人", "行政相对人", "当事人", "自然人", "单位"];

/// Names of the fields of a category, to put heads together by.
#[derive(Debug)]
pub(super) struct HeadNames {
    /// As they are compared, and as they stand.
    names: Vec<(String, String)>,
}

/// A head as parts of it are compared: half-width, without space, stars, brackets and numbers behind `_`.
fn plain(text: &str) -> String {
    let mut numbered = false;
    let keep = |c: &char| {
        numbered = *c == '_' || (numbered && c.is_ascii_digit());
        !numbered && !is_margin(*c) && !c.is_control() && !matches!(c, '*' | '(' | ')' | ':' | '、')
    };
    text.nfkc().filter(keep).collect()
}

impl HeadNames {
    pub(super) fn of(category: &Category) -> Self {
        let texts =
            category.fields().iter().flat_map(|f| [&*f.zh].into_iter().chain(f.codes.iter().map(String::as_str)));
        Self { names: texts.map(|t| (plain(t), t.to_owned())).collect() }
    }

    /// The field that a column means which has these heads, from the uppermost to the lowest.
    pub(super) fn field<'c>(&self, category: &'c Category, heads: &[&str]) -> Option<&'c Field> {
        match heads {
            [] => None,
            [one] => category.column(one),
            [groups @ .., head] => {
                let all = heads.concat();
                let whole = || category.column(&all);
                let below = || groups.iter().rev().find_map(|group| self.below(category, group, head));
                let group = || {
                    groups.last().filter(|_| ITSELF.contains(&plain(head).as_str())).and_then(|g| category.column(g))
                };
                whole().or_else(below).or_else(group).or_else(|| self.alone(category, groups, head))
            }
        }
    }

    /// The field that a head means below, or behind, a group's name.
    pub(super) fn below<'c>(&self, category: &'c Category, group: &str, head: &str) -> Option<&'c Field> {
        let (group, head) = (plain(group), plain(head));
        let head = SAME.iter().find(|(word, _)| *word == head).map_or(head.as_str(), |(_, same)| same);
        let short = GROUP_ENDS.iter().filter_map(|end| group.strip_suffix(end)).filter(|g| !g.is_empty());
        [group.as_str()].into_iter().chain(short).find_map(|group| self.fits(category, group, head))
    }

    /// The field whose name begins with the group's and ends with what the head says; the nearest, if it is one.
    fn fits<'c>(&self, category: &'c Category, group: &str, head: &str) -> Option<&'c Field> {
        if group.is_empty() || head.is_empty() {
            return None;
        }
        // A unit below a title is part of no other name: 元 is none of 万元.
        let is_unit = head.ends_with(['元', '股']);
        let distance = |rest: &str| match rest {
            "" => None,
            rest if is_unit && rest != head => None,
            rest if rest == head => Some(0),
            rest if rest.contains(head) || head.ends_with(rest) => Some(rest.len()),
            _ => None,
        };
        let fits = || {
            let all = self.names.iter().filter_map(|(plain, text)| Some((distance(plain.strip_prefix(group)?)?, text)));
            all.filter_map(|(distance, text)| Some((distance, category.column(text)?)))
        };
        let nearest = fits().map(|(distance, _)| distance).min()?;
        let mut found = fits().filter(|(distance, _)| *distance == nearest).map(|(_, field)| field);
        let first = found.next()?;
        found.all(|f| f.id == first.id).then_some(first)
    }

    /// The field that the head means without its group: only if no other field's name ends so, or the group is the subject.
    fn alone<'c>(&self, category: &'c Category, groups: &[&str], head: &str) -> Option<&'c Field> {
        let field = category.column(head)?;
        let subject = groups.iter().all(|group| {
            let group = plain(group);
            SUBJECTS.contains(&GROUP_ENDS.iter().find_map(|end| group.strip_suffix(end)).unwrap_or(&group))
        });
        (subject || !self.is_shared(category, head, field)).then_some(field)
    }

    /// Whether names of other fields end with this head, so that it may be theirs.
    pub(super) fn is_shared(&self, category: &Category, head: &str, field: &Field) -> bool {
        let head = plain(head);
        let ends: BTreeSet<_> =
            self.names.iter().filter(|(name, _)| name.ends_with(&head)).map(|(_, text)| text).collect();
        ends.into_iter().filter_map(|text| category.column(text)).any(|other| other.id != field.id && !other.envelope)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tally_topology::catalog::Catalogs;

    #[test]
    fn heads_in_two_rows_mean_what_both_say() {
        let catalogs = Catalogs::shipped().unwrap();
        let category = catalogs.versions()[0].category("admin_license").unwrap();
        let names = HeadNames::of(category);
        for (heads, id) in [
            (&["行政相对人代码", "统一社会信用代码"][..], Some("party_uscc")),
            (&["行政相对人代码", "工商注册号"], Some("party_reg_no")),
            (&["法定代表人信息", "姓名"], Some("legal_rep")),
            (&["法定代表人信息", "证件类型"], Some("legal_rep_id_type")),
            (&["法定代表人信息", "证件号码"], Some("legal_rep_id_no")),
            (&["行政许可决定文书", "名称"], Some("document_name")),
            (&["行政许可决定文书", "文号"], Some("document_no")),
            (&["有效期", "自"], Some("valid_from")),
            (&["有效期", "止"], Some("valid_until")),
            (&["许可机关", "名称"], Some("authority_name")),
            (&["许可机关", "代码"], Some("authority_uscc")),
            (&["许可机关", "统一社会信用代码"], Some("authority_uscc")),
            (&["数据来源", "单位"], Some("source_unit")),
            (&["数据来源", "代码"], Some("source_unit_uscc")),
            (&["企业信息", "统一社会信用代码"], Some("party_uscc")),
            (&["许可信息", "许可类别"], Some("license_kind")),
            (&["行政许可信息", "许可机关", "代码"], Some("authority_uscc")),
            (&["委托机关", "统一社会信用代码"], None),
            (&["委托人", "证件号码"], None),
            (&["许可机关"], Some("authority_name")),
            (&["无此列", "也无"], None),
        ] {
            assert_eq!(names.field(category, heads).map(|f| &*f.id), id, "{heads:?}");
        }
    }
}
