//! One cause, told once: what happened to a value on its way is said in place of the rule that it breaks, and what only
//! follows from it is left out. Nothing is made better here than it is: a row that is not taken stays so.

use super::{
    normal::{self, Change},
    prepare::{FieldChange, Prepared},
};
use tally_protocol::{
    canonical::Object,
    finding::{Finding, Severity},
};
use tally_topology::{
    catalog::{Category, Field, FieldType},
    judge::{masked, shown, unreadable},
    signs::named,
};

/// Fields that are named of those in which the same is wrong.
const FIELDS_NAMED: usize = 3;

/// What a value was that a rule refuses.
pub(super) enum Damage {
    /// A spreadsheet took the code for a number and kept 15 digits of it.
    LostDigits,
    /// Why the rule refuses it, in English and Chinese.
    Because(String, String),
}

/// Of a code of which a spreadsheet has lost digits, in the words that its own file gets (F001).
fn lost_digits(field: &Field, value: &str) -> Finding {
    let short = value.contains(['E', 'e']);
    let (id, value) = (&field.id, if field.personal { masked(value) } else { shown(value) });
    if short {
        let en = format!(
            "{id} is a number that a spreadsheet wrote in short ({value}), so it has lost digits already. Make the column text, and type it again"
        );
        let zh = format!(
            "{}：表格软件已将其写成科学计数法（{value}），部分数字已丢失，请将该列设为文本后重新填写",
            field.zh
        );
        return Finding::reject("F001", id, en, zh);
    }
    Finding::reject(
        "F001",
        id,
        format!(
            "{id} is a number of more than 15 digits ({value}): the spreadsheet has lost digits already. Make the column text, and type the code again"
        ),
        format!("{}：超过15位的数字（{value}），表格软件已丢失末尾数字，请将该列设为文本后重新填写", field.zh),
    )
}

/// Rules on single values: what breaks one of them spoils what is made of the value.
const OF_VALUES: [&str; 7] = ["V002", "V003", "V004", "V008", "V021", "F001", "F002"];
/// Rules that look at several fields, with the fields that they look at.
const OF_SEVERAL: [(&str, &[&str]); 4] = [
    ("V009", &["subject_uscc", "subject_type", "party_kind", "party_uscc"]),
    ("V016", &["submitter_uscc", "producer_uscc", "producer_division"]),
    ("V017", &["producer_division", "submitter_division", "producer_uscc", "submitter_uscc", "category"]),
    ("V020", &["produced_on"]),
];
/// What is made of what, besides what the catalog says.
const MADE_OF: [(&str, &[&str]); 8] = [
    ("producer_uscc", &["submitter_uscc"]),
    ("submitter_uscc", &["producer_uscc"]),
    ("producer_name", &["producer_uscc", "submitter_name"]),
    ("submitter_name", &["submitter_uscc", "producer_name"]),
    ("producer_division", &["producer_uscc"]),
    ("submitter_division", &["submitter_uscc", "producer_division"]),
    ("subject_type", &["party_kind", "subject_uscc"]),
    ("party_kind", &["party_uscc", "subject_uscc"]),
];

/// A row that was judged, and what was done to it before.
pub(super) struct Told<'t, 'o> {
    pub(super) category: &'t Category,
    pub(super) object: &'t Object<'o>,
    pub(super) prepared: &'t Prepared<'o>,
}

impl Told<'_, '_> {
    /// What is said of the row: causes, and nothing that only follows from them. Of fields that could not be read nothing
    /// is said: whoever read them does.
    pub(super) fn causes(&self, findings: Vec<Finding>, unreadable: &[&str]) -> Vec<Finding> {
        let silent = self.silent_words(&findings);
        let mut said: Vec<Finding> = findings.into_iter().map(|f| self.explained(f, &silent)).collect();
        self.short_numbers(&mut said);
        said.retain(|f| !unreadable.contains(&f.field.as_str()));
        let is_cause = |f: &Finding| {
            f.severity == Severity::Reject
                && (OF_VALUES.contains(&f.code.as_str()) || self.word_of(&f.field, &silent).is_some())
                && !self.is_made(&f.field)
        };
        let mut causes: Vec<String> = said.iter().filter(|f| is_cause(f)).map(|f| f.field.clone()).collect();
        causes.extend(unreadable.iter().map(|f| (*f).to_owned()));
        // What is copied says nothing of its own.
        let twice = |f: &Finding| {
            f.code == "V029"
                && self.is_made(&f.field)
                && self.sources(&f.field).any(|s| said.iter().any(|g| g.code == f.code && g.field == s))
        };
        let copied: Vec<String> = said.iter().filter(|f| twice(f)).map(|f| f.field.clone()).collect();
        said.retain(|f| f.code != "V029" || !copied.contains(&f.field));
        self.once_wanting(&mut said);
        self.once_a_sign(&mut said);
        if causes.is_empty() {
            return said;
        }
        let spoiled = self.spoiled(&causes);
        let is = |field: &str| spoiled.iter().any(|s| s == field);
        said.retain(|f| {
            if causes.contains(&f.field) {
                // Of one value the rule that it breaks is enough.
                return f.severity == Severity::Reject;
            }
            let several = OF_SEVERAL.iter().find(|(code, _)| *code == f.code);
            let follows = match several {
                Some((_, fields)) => fields.iter().copied().any(is),
                None => is(&f.field) || (f.code == "V026" && self.sources(&f.field).any(is)),
            };
            !follows
        });
        said
    }

    /// A finding, in words that tell what happened to the value.
    fn explained(&self, f: Finding, silent: &[&FieldChange]) -> Finding {
        let Some(field) = self.category.field(&f.field) else { return f };
        if let Some(FieldChange { field: at, from: word, .. }) = self.word_of(&f.field, silent) {
            let message = format!("{}: the cell of {at} holds {word}, which says nothing", f.message);
            let title = self.category.field(at).map_or(at.as_str(), |f| &f.zh);
            let zh = format!("{}（{title}填写的是 {word}，视为空）", f.message_zh);
            return Finding::of(f.severity, &f.code, &f.field, message, zh);
        }
        let questioned = f.code == "V007" && matches!(field.kind, FieldType::Uscc | FieldType::IdNo);
        if !questioned && !["V002", "V004", "V008"].contains(&f.code.as_str()) {
            return f;
        }
        let Some(value) = self.object.text(&f.field) else { return f };
        match normal::damage(field, value) {
            Some(Damage::LostDigits) => lost_digits(field, value),
            Some(Damage::Because(en, zh)) if !questioned => Finding::of(
                f.severity,
                &f.code,
                &f.field,
                format!("{}: {en}", f.message),
                format!("{}：{zh}", f.message_zh),
            ),
            _ => f,
        }
    }

    /// What is made of fields that must not be empty, and are, is not said to be empty beside them. Where none of them must be
    /// filled in, their titles are named: the person does not know the field that is made of them.
    fn once_wanting(&self, said: &mut Vec<Finding>) {
        const EMPTY: &str = "V001";
        let empty: Vec<String> = said.iter().filter(|f| f.code == EMPTY).map(|f| f.field.clone()).collect();
        let parts = |field: &str| -> Vec<&Field> {
            let key = self.category.key.iter().flatten().filter(|_| field == "business_key");
            let day = self.category.produced_on.iter().filter(|_| field == "produced_on");
            let same = self.category.fields().iter().filter(|f| f.same_as.as_deref() == Some(field));
            key.chain(day).filter_map(|id| self.category.field(id)).chain(same).collect()
        };
        said.retain(|f| f.code != EMPTY || !parts(&f.field).iter().any(|part| empty.iter().any(|e| *e == *part.id)));
        for f in said.iter_mut().filter(|f| f.code == EMPTY) {
            let silent = |part: &&Field| self.object.text(&part.id).is_none_or(|t| t.trim().is_empty());
            let parts: Vec<&Field> = parts(&f.field).into_iter().filter(silent).collect();
            // Whoever names the field knows it.
            if parts.is_empty() || f.message_zh.contains('（') || self.object.get(&f.field).is_some() {
                continue;
            }
            let (ids, titles): (Vec<&str>, Vec<&str>) = parts.iter().map(|p| (&*p.id, &*p.zh)).unzip();
            f.message = format!("{} (it is that of {})", f.message, ids.join(", "));
            f.message_zh = format!("{}（即 {}）", f.message_zh, titles.join("、"));
        }
    }

    /// The same sign in several fields of a row is told once: it comes from the export, not from the fields.
    fn once_a_sign(&self, said: &mut Vec<Finding>) {
        const SIGN: &str = "V021";
        let sign = |f: &Finding| self.object.text(&f.field).and_then(unreadable).filter(|_| f.code == SIGN);
        let Some(first) = said.iter().find_map(sign) else { return };
        let is_it = |f: &Finding| sign(f) == Some(first);
        let own = said.iter().filter(|f| is_it(f) && !self.is_made(&f.field));
        let fields: Vec<&Field> = own.filter_map(|f| self.category.field(&f.field)).collect();
        let [field, .., _] = fields.as_slice() else { return };
        let (number, en, zh) = named(first);
        let (ids, titles): (Vec<&str>, Vec<&str>) = fields.iter().take(FIELDS_NAMED).map(|f| (&*f.id, &*f.zh)).unzip();
        let (ids, titles, n) = (ids.join(", "), titles.join("、"), fields.len());
        let message = format!(
            "{n} cells of the row hold {number} ({en}), which nobody sees and which is no part of a value: {ids} and so on; take it out, or export the table again"
        );
        let message_zh = format!(
            "该行 {n} 格含有 {number}（{zh}），不可见且不属于内容（{titles}等）：请在导出程序中去除，或以逗号分隔、UTF-8 编码重新导出"
        );
        let one = Finding::reject(SIGN, &field.id, message, message_zh);
        let place = said.iter().position(is_it).unwrap_or(0);
        let mut kept: Vec<Finding> = said.drain(..).filter(|f| sign(f) != Some(first)).collect();
        kept.insert(place.min(kept.len()), one);
        *said = kept;
    }

    /// Names and numbers of documents that a spreadsheet took for numbers: no rule refuses such a text.
    fn short_numbers(&self, said: &mut Vec<Finding>) {
        for id in &self.prepared.damaged {
            let Some(field) = self.category.field(id) else { continue };
            said.retain(|f| f.field != **id);
            said.push(lost_digits(field, self.object.text(id).unwrap_or_default()));
        }
    }

    /// Words for empty cells that stood in fields of which nothing is found, so they are told with what is made of them.
    fn silent_words(&self, findings: &[Finding]) -> Vec<&FieldChange> {
        let words = self.prepared.changes.iter().filter(|c| c.change == Change::Nothing);
        words.filter(|c| findings.iter().all(|f| f.field != c.field)).collect()
    }

    /// The word for an empty cell because of which a field is empty: its own, or of a field that it is made of.
    fn word_of<'c>(&'c self, field: &'c str, silent: &[&'c FieldChange]) -> Option<&'c FieldChange> {
        if !self.prepared.changes.iter().any(|c| c.change == Change::Nothing) || self.object.get(field).is_some() {
            return None;
        }
        let own = self.prepared.changes.iter().find(|c| c.field == field && c.change == Change::Nothing);
        own.or_else(|| self.sources(field).find_map(|s| silent.iter().find(|c| c.field == s).copied()))
    }

    /// Whether the value of a field was made of others.
    fn is_made(&self, field: &str) -> bool {
        self.prepared.filled.contains(&field)
    }

    /// Fields that a field's value is made of, where the row does not say it.
    fn sources<'s>(&'s self, field: &'s str) -> impl Iterator<Item = &'s str> {
        let by_name = MADE_OF.iter().find(|(f, _)| *f == field).map_or(&[][..], |(_, of)| *of).iter().copied();
        let same = self.category.fields().iter().filter(move |f| f.same_as.as_deref() == Some(field)).map(|f| &*f.id);
        let own = self.category.field(field);
        let copied = own.into_iter().flat_map(|f| f.same_as.as_deref().into_iter().chain(f.default_from.as_deref()));
        let key = self.category.key.iter().flatten().filter(move |_| field == "business_key").map(|id| &**id);
        let day = self.category.produced_on.iter().filter(move |_| field == "produced_on").map(|id| &**id);
        by_name.chain(same).chain(copied).chain(key).chain(day)
    }

    /// The fields with a cause, and those that are made of them.
    fn spoiled(&self, causes: &[String]) -> Vec<String> {
        let mut spoiled = causes.to_vec();
        loop {
            let unsaid = |field: &&Field| {
                !spoiled.iter().any(|s| *s == *field.id)
                    && (self.is_made(&field.id) || self.object.text(&field.id).is_none_or(|t| t.trim().is_empty()))
            };
            let made = |field: &&Field| self.sources(&field.id).any(|s| spoiled.iter().any(|have| have == s));
            let more: Vec<String> =
                self.category.fields().iter().filter(unsaid).filter(made).map(|f| f.id.to_string()).collect();
            if more.is_empty() {
                return spoiled;
            }
            spoiled.extend(more);
        }
    }
}
