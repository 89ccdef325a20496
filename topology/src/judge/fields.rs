//! Rules on single fields, and of one field with another: what the catalog's field lists say.

use super::{RecordJudge, is_empty, text};
use crate::{
    catalog::{Bound, Category, Condition, Field, FieldType, Matched, Severity},
    digits, signs,
};
use tally_protocol::canonical::{NameMark, Value};

/// Separators of several values in one field.
pub const SEPARATORS: [char; 5] = ['、', ';', '；', ',', '，'];

impl RecordJudge<'_> {
    /// Fields and members stand in the same order, so one walk over both does it.
    pub(super) fn fields(&mut self, category: &Category) {
        let object = self.object;
        let mut members = object.marked_members().peekable();
        for field in category.fields() {
            let is_it = |(mark, name, _): &(NameMark, &str, _)| *mark == field.mark && *name == &*field.id;
            let value = members.next_if(is_it).or_else(|| {
                while let Some((_, name, value)) = members.next_if(|(_, name, _)| *name < &*field.id) {
                    self.unlisted(name, value);
                }
                members.next_if(is_it)
            });
            let value = value.map(|(_, _, v)| v);
            if is_empty(value) {
                self.missing(field);
            } else if let Some(value) = value {
                self.value(field, value);
            }
        }
        for (_, name, value) in members {
            self.unlisted(name, value);
        }
    }

    fn missing(&mut self, field: &Field) {
        let said_elsewhere = field.same_as.as_deref().is_some_and(|e| !is_empty(self.object.get(e)));
        if !said_elsewhere && (field.required || field.required_if.iter().any(|c| self.holds(c))) {
            let waived = field.waived_by.as_deref().is_some_and(|f| self.text(f).is_some());
            let most = if waived { Severity::Question } else { Severity::Reject };
            self.say_at_most(most, &field.missing, &field.id, &field.zh, "");
        }
    }

    fn holds(&self, condition: &Condition) -> bool {
        match condition {
            Condition::Is(field, value) => self.text(field) == Some(value),
            Condition::IsNot(field, value) => self.text(field).is_some_and(|t| t != &**value),
            Condition::Holds(field, part) => self.text(field).is_some_and(|t| t.contains(&**part)),
        }
    }

    fn value(&mut self, field: &Field, value: &Value<'_>) {
        let t = match value {
            Value::Text(t) => &**t,
            Value::Integer(n) if field.kind == FieldType::Integer && *n >= 0 => return,
            Value::Integer(n) => return self.say_of("V002", field, &n.to_string()),
            Value::List(_) => return self.say("V002", &field.id, &field.zh, "[ … ]"),
            Value::Object(_) => return self.say("V002", &field.id, &field.zh, "{ … }"),
            other => {
                return self.say(
                    "V002",
                    &field.id,
                    &field.zh,
                    if *other == Value::Bool(true) { "true" } else { "false" },
                );
            }
        };
        if let Some(c) = text::unreadable(t) {
            return self.unreadable(&field.id, &field.zh, c);
        }
        if t.len() > field.max as usize && t.chars().count() > field.max as usize {
            return self.say_of("V002", field, t);
        }
        match field.kind {
            FieldType::Text => self.plain(field, t),
            FieldType::Date => self.day(field, t),
            FieldType::Decimal => self.amount(field, t),
            FieldType::Integer if t.len() <= 15 && t.bytes().all(|b| b.is_ascii_digit()) => {}
            FieldType::Integer => self.say_of("V002", field, t),
            FieldType::Uscc | FieldType::OrgCode | FieldType::RegNo | FieldType::IdNo | FieldType::Division => {
                self.code(field, t);
            }
        }
        if let Some(other) = &field.paired_with
            && is_empty(self.object.get(other))
        {
            self.say("V024", other, &field.zh, "");
        }
        if let Some(same) = field.same_as.as_deref()
            && let Some(other) = self.text(same)
            && other != t
        {
            let value = format!("{} / {same} {}", text::shown(t), text::shown(other));
            self.say("V026", &field.id, &field.zh, &value);
        }
    }

    /// Of a new record: the day from which the limits count is the one that the catalog names, and the business
    /// key is made of what the catalog names (V026). What amends or withdraws has a day of its own.
    pub(super) fn derived(&mut self, category: &Category) {
        if self.text("operation") == Some("create")
            && let Some(day) = self.text("produced_on").filter(|t| text::date(t).is_some())
        {
            let mut named = category.produced_on.iter().filter_map(|f| self.text(f)).peekable();
            if named.peek().is_some() && named.all(|d| d != day) {
                let named: Vec<_> = category.produced_on.iter().filter_map(|f| self.text(f)).map(text::shown).collect();
                let value = format!("{} / {} {}", text::shown(day), category.produced_on.join(", "), named.join(", "));
                self.say("V026", "produced_on", "信息产生日期", &value);
            }
        }
        if self.is_said("V026", Severity::Note).is_some()
            && let Some(key) = self.text("business_key")
            && !category.is_business_key(key, self.object)
            && let Some(by_catalog) = category.business_key(self.object)
        {
            // Its parts were looked at one by one; that it is another text loses nothing but a comparison.
            let value = format!("{} / {}", text::shown(key), text::shown(&by_catalog));
            self.say_at_most(Severity::Note, "V026", "business_key", "业务主键", &value);
        }
    }

    /// A sign that no value has (V021). A control character is named: it comes from an export whose delimiter was taken for a
    /// part of the value. The replacement character comes from an encoding that was taken for another.
    fn unreadable(&mut self, field: &str, zh: &str, c: char) {
        if c == '\u{fffd}' {
            return self.say("V021", field, zh, "");
        }
        let (number, en, name) = signs::named(c);
        let en = format!(
            "{field} holds {number} ({en}), which nobody sees and which is no part of a value: take it out, or export the table again with a comma between the cells"
        );
        let zh = format!("{zh}：含有 {number}（{name}），不可见且不属于内容，请删除，或以逗号分隔重新导出");
        self.say_so(Severity::Reject, "V021", field, (en, zh));
    }

    /// A sign that another machine shows as another, or not at all (V029).
    fn local_sign(&mut self, field: &Field, t: &str) {
        let strange = |c: &char| signs::is_private(*c) || signs::is_radical(*c);
        if signs::is_plain(t) {
            return;
        }
        if let Some(c) = t.chars().find(strange) {
            let (number, en, _) = signs::named(c);
            self.say("V029", &field.id, &field.zh, &format!("{} ({c} {number}, {en})", text::shown(t)));
        }
    }

    fn plain(&mut self, field: &Field, t: &str) {
        self.local_sign(field, t);
        if let Some(list) = &field.list {
            let mut one = |v: &str| {
                if list.find(v) != Matched::Value {
                    let value = format!("{} ({})", text::shown(v), list.shown());
                    self.say("V003", &field.id, &field.zh, &value);
                }
            };
            if field.several {
                t.split(SEPARATORS).map(str::trim).filter(|v| !v.is_empty()).for_each(one);
            } else {
                one(t);
            }
            return;
        }
        if self.catalog.placeholders.hold(t.trim()) {
            self.say_of("V022", field, t);
        }
        if !field.personal && digits::find_id_card(t).is_some() {
            self.say("V025", &field.id, &field.zh, "");
        }
    }

    /// A member that the catalog does not name: it is kept, but not anything may stand in it.
    fn unlisted(&mut self, name: &str, value: &Value<'_>) {
        match value {
            Value::Text(t) => {
                if let Some(c) = text::unreadable(t) {
                    self.unreadable(&text::shown(name), &text::shown(name), c);
                } else if digits::find_id_card(t).is_some() {
                    self.say("V025", &text::shown(name), &text::shown(name), "");
                }
            }
            Value::List(items) => items.iter().for_each(|i| self.unlisted(name, i)),
            Value::Object(o) => o.members().for_each(|(n, v)| self.unlisted(n, v)),
            _ => {}
        }
    }

    fn day(&mut self, field: &Field, t: &str) {
        let Some(day) = text::date(t) else { return self.say_of("V004", field, t) };
        let against = |bound: &Bound| match bound {
            // A day that nobody knows bounds nothing.
            Bound::Today => Some(self.context.today).filter(|day| *day != jiff::civil::Date::MAX),
            Bound::Day(d) => Some(*d),
            Bound::Field(f) => self.text(f).and_then(text::date),
        };
        let latest = field.not_after.as_ref().and_then(|b| Some((b, against(b)?)));
        let earliest = field.not_before.as_ref().and_then(|b| Some((b, against(b)?)));
        if let Some((bound, latest)) = latest
            && day > latest
        {
            self.say_of(if *bound == Bound::Today { "V005" } else { "V006" }, field, t);
        }
        if let Some((_, earliest)) = earliest
            && day < earliest
        {
            self.say_of(&field.not_before_rule, field, t);
        }
    }

    fn amount(&mut self, field: &Field, t: &str) {
        if !text::is_decimal(t, field.scale) {
            return self.say_of("V002", field, t);
        }
        if let Some(limit) = &field.doubtful_above
            && text::is_above(t, limit)
        {
            self.say_of("V015", field, t);
        }
    }

    /// A record has a subject that can be found (V001), of a kind that is enterprise information (V023).
    pub(super) fn subject(&mut self, category: &Category) {
        if !category.subject {
            return;
        }
        if self.text("subject_uscc").is_none() && self.text("subject_reg_no").is_none() {
            self.say("V001", "subject_uscc", "主体代码", "");
        }
        if self.text("subject_type") == Some("natural_person") || self.text("party_kind") == Some("自然人") {
            self.say("V023", "subject_type", "主体类型", "");
        }
        self.class();
        if let (Some(from), Some(day)) = (category.closed_from, self.text("produced_on").and_then(text::date))
            && day >= from
            && self.text("operation") == Some("create")
        {
            let en =
                format!("{} records produced from {from} on are collected elsewhere: do not deliver them", category.en);
            let zh = format!("{}自{from}起不再由本渠道归集", category.zh);
            self.say_so(Severity::Reject, "V018", "category", (en, zh));
        }
    }
}
