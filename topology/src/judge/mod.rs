//! Whether a record is right: every rule of the catalog that can be judged from the record, the
//! charter and the day alone. The entry node judges before it signs; mirrors judge again and report (I3).
//!
//! What depends on the records held (V010 to V014) is judged where they are known.

mod codes;
mod fields;
mod path;
mod text;

use crate::{
    catalog::{Catalog, Category, Claim, Field, Rule, Severity},
    charter::Charter,
    content::{BACKFILL, BACKFILL_YES},
};
use jiff::civil::Date;
use std::{borrow::Cow, sync::Arc};
use tally_protocol::{
    canonical::{Object, Value},
    ids::Division,
};

pub use fields::SEPARATORS;
pub use tally_protocol::finding::Finding;
pub use text::{masked, shown, unreadable};

/// Most things that are said of one record.
pub const FINDINGS_MAX: usize = 64;

/// From where a record is judged.
#[derive(Debug, Clone, Copy)]
pub struct JudgeContext<'s> {
    /// The charter in force.
    pub charter: &'s Charter,
    /// The day in China: of the submission, or of the sealing for records that are held. `Date::MAX`: it is not known, so
    /// nothing is judged by it, and the newest catalog counts.
    pub today: Date,
    /// The node whose log the record is to enter, or has entered.
    pub origin: Division,
    /// What weighs less is not said.
    pub least: Severity,
}

/// What was found.
#[derive(Debug, Clone, Default)]
pub struct RecordJudgement {
    /// In the order of the fields.
    pub findings: Vec<Finding>,
    /// By which catalog's category the record was judged; none if it has no such category.
    pub by: Option<(Arc<Catalog>, Arc<Category>)>,
}

impl RecordJudgement {
    /// The worst that follows.
    pub fn worst(&self) -> Option<Severity> {
        self.findings.iter().map(|f| f.severity).max()
    }
}

/// Judges a record.
pub fn judge(context: &JudgeContext<'_>, object: &Object<'_>) -> RecordJudgement {
    let version = object.text("catalog_version").unwrap_or_default();
    let (catalog, claim) = context.charter.catalogs().claimed(version, context.today);
    let id = object.text("category").unwrap_or_default();
    let mut judge = RecordJudge { context, object, catalog, findings: Vec::new() };
    if judge.excluded(id) {
        return RecordJudgement { findings: judge.findings, by: None };
    }
    let Some(category) = catalog.category(id) else {
        let ids: Vec<_> = catalog.categories().map(|c| &*c.id).collect();
        let names: Vec<_> = catalog.categories().map(|c| c.zh.as_str()).collect();
        let (en, zh) = (
            format!("category is not one of its code list: {} ({})", shown(id), ids.join(", ")),
            format!("代码不在代码表：信息类别={}（可填：{}）", shown(id), names.join("、")),
        );
        judge.say_so(Severity::Reject, "V003", "category", (en, zh));
        return RecordJudgement { findings: judge.findings, by: None };
    };
    match claim {
        Claim::Good => {}
        Claim::Unknown if version.is_empty() => {}
        Claim::Unknown | Claim::NotInForce => {
            let (unknown, now) = (claim == Claim::Unknown, &context.charter.catalogs().current(context.today).version);
            let (most, en, zh) = match unknown {
                true => (Severity::Question, "known here", "未知"),
                false => (Severity::Reject, "in force", "未生效或已失效"),
            };
            let version = shown(version);
            let en = format!("catalog_version {version} is not {en}: use {now}");
            judge.say_so(most, "V003", "catalog_version", (en, format!("目录版本 {version} {zh}，请使用 {now}")));
        }
    }
    judge.fields(category);
    judge.subject(category);
    judge.derived(category);
    judge.path(category);
    judge.units(category);
    judge.lateness(category);
    RecordJudgement { findings: judge.findings, by: Some((catalog.clone(), category.clone())) }
}

struct RecordJudge<'c> {
    context: &'c JudgeContext<'c>,
    object: &'c Object<'c>,
    catalog: &'c Catalog,
    findings: Vec<Finding>,
}

impl RecordJudge<'_> {
    /// A rule is broken.
    fn say(&mut self, rule: &str, field: &str, zh: &str, value: &str) {
        self.say_at_most(Severity::Reject, rule, field, zh, value);
    }

    /// A rule is broken, which for this reason weighs no more than `most`.
    fn say_at_most(&mut self, most: Severity, rule: &str, field: &str, zh: &str, value: &str) {
        let Some((r, severity)) = self.is_said(rule, most) else { return };
        let fill = |text: &str, field: &str| filled(text, field, value);
        let found = Finding::of(severity, rule, field, fill(&r.en, field), fill(&r.zh, zh));
        self.findings.push(found);
    }

    /// The rule, and how much it weighs here; `None`: nothing is said of it.
    fn is_said(&self, rule: &str, most: Severity) -> Option<(&Rule, Severity)> {
        let rule = self.catalog.rule(rule).filter(|_| self.findings.len() < FINDINGS_MAX)?;
        let severity = rule.severity?.min(most);
        (severity >= self.context.least).then_some((rule, severity))
    }

    /// A rule is broken, said in words of its own.
    fn say_so(&mut self, most: Severity, rule: &str, field: &str, (en, zh): (String, String)) {
        let Some((_, severity)) = self.is_said(rule, most) else { return };
        self.findings.push(Finding::of(severity, rule, field, en, zh));
    }

    fn say_of(&mut self, rule: &str, field: &Field, value: &str) {
        let value: Cow<'_, str> = if field.personal { masked(value).into() } else { shown(value).into() };
        self.say(rule, &field.id, &field.zh, &value);
    }

    /// Text of a field, if there is any.
    fn text(&self, field: &str) -> Option<&str> {
        self.object.text(field).filter(|t| !t.is_empty())
    }

    /// Information that is not collected at all.
    fn excluded(&mut self, category: &str) -> bool {
        let name = |f: &str| self.object.text(f).unwrap_or_default();
        let names = [name("producer_name"), name("authority_name")];
        let catalog = self.catalog;
        let found = catalog.exclusions.iter().find(|e| {
            e.category.as_deref().is_none_or(|c| c == category)
                && (e.unit_words.is_empty()
                    || e.unit_words.iter().any(|w| names.iter().any(|n| n.contains(w.as_str()))))
        });
        let Some(e) = found else { return false };
        let before = self.findings.len();
        // Whether it is collected does not depend on how much is said of it.
        let rules = self.catalog.rule("V018").is_some_and(|r| r.severity.is_some());
        self.say_so(
            Severity::Reject,
            "V018",
            "category",
            (format!("{}: {}", e.code, e.en), format!("{}：{}", e.code, e.zh)),
        );
        if let Some(f) = self.findings.get_mut(before) {
            f.name = Some(e.code.clone());
        }
        rules
    }

    fn division(&self, field: &str) -> Option<Division> {
        self.text(field)?.parse().ok()
    }

    /// Late already at its first receipt (V020): the clock of R-30 has run out before it came. A load of history is not late.
    fn lateness(&mut self, category: &Category) {
        if !category.counts || self.text(BACKFILL) == Some(BACKFILL_YES) {
            return;
        }
        let today = self.context.today;
        if today == Date::MAX || self.is_said("V020", Severity::Reject).is_none() {
            return;
        }
        let Some(day) = self.text("produced_on").and_then(text::date) else { return };
        let due = self.context.charter.calendar().due(day, category.collect_days);
        if due.on < today {
            self.say("V020", "produced_on", "信息产生日期", &due.on.to_string());
        }
    }
}

/// A rule's text with its blanks filled in: said of millions of rows, so in one piece.
fn filled(text: &str, field: &str, value: &str) -> String {
    let mut out = String::with_capacity(text.len() + field.len() + value.len());
    let mut rest = text;
    while let Some(at) = rest.find('{') {
        let (before, blank) = rest.split_at(at);
        out.push_str(before);
        rest = match (blank.strip_prefix("{field}"), blank.strip_prefix("{value}")) {
            (Some(after), _) => {
                out.push_str(field);
                after
            }
            (_, Some(after)) => {
                out.push_str(value);
                after
            }
            _ => {
                out.push('{');
                &blank[1..]
            }
        };
    }
    out.push_str(rest);
    out
}

/// Whether a value is there.
fn is_empty(value: Option<&Value<'_>>) -> bool {
    match value {
        None | Some(Value::Null) => true,
        Some(Value::Text(t)) => t.trim().is_empty(),
        Some(_) => false,
    }
}

#[cfg(test)]
mod tests;
