//! One line being written: the blanks of the word lists filled in for one record.

use super::{
    Sampler,
    calendar::{iso, month_day},
    subject::{INDIVIDUAL, Subject},
};
use crate::words::{Form, Licence, Penalty, Rng, WORDS, person};
use std::fmt::Write as _;

/// A line being written: what blanks are filled in with.
pub(super) struct Draft<'a> {
    pub(super) sampler: &'a Sampler,
    pub(super) form: &'static Form,
    pub(super) operation: &'static str,
    pub(super) own: u64,
    /// Name and USCC.
    pub(super) unit: &'a (String, String),
    pub(super) document: String,
    pub(super) decided: u64,
    pub(super) decided_on: String,
    pub(super) produced_on: String,
    pub(super) cause: usize,
    /// Yuan, like `seized`.
    pub(super) fine: u64,
    pub(super) seized: u64,
    pub(super) rng: Rng,
    pub(super) subject: Subject,
    pub(super) licence: &'static Licence,
    pub(super) penalty: &'static Penalty,
}

impl Draft<'_> {
    /// Appends a text of the word lists with its blanks filled in.
    pub(super) fn fill(&mut self, out: &mut String, mut text: &str) {
        while let Some((before, after)) = cut(text, b'{') {
            let (blank, rest) = cut(after, b'}').unwrap_or((after, ""));
            out.push_str(before);
            self.blank(out, blank);
            text = rest;
        }
        out.push_str(text);
    }

    /// Appends nothing where the record has nothing, such as a fine or a reason for a change.
    fn blank(&mut self, out: &mut String, blank: &str) {
        let (subject, place, rng) = (&self.subject, &self.sampler.place, &mut self.rng);
        let amended = self.operation == "amend";
        out.push_str(match blank {
            "unit" => &self.unit.0,
            "unit_uscc" => &self.unit.1,
            "division" => &place.division,
            "uscc" => &subject.uscc,
            "name" => &subject.name,
            "document" => &self.document,
            "decided" => &self.decided_on,
            "produced" => &self.produced_on,
            "category" => &self.form.code,
            "operation" => self.operation,
            "kind" => subject.kind,
            "party_kind" if subject.kind == INDIVIDUAL => "个体工商户",
            "party_kind" => "法人及非法人组织",
            "entity_type" => subject.entity,
            "person" => &subject.person,
            "place" => &self.sampler.full_name,
            "street" if place.division == "350102" => rng.pick(&WORDS.gulou_streets).as_str(),
            "street" => rng.pick(&WORDS.streets).as_str(),
            "building" => rng.pick(&WORDS.buildings).as_str(),
            "bank" => rng.pick(&WORDS.banks).as_str(),
            "license" => &self.licence.document,
            "license_kind" => &self.licence.kind,
            "until" if self.licence.years == 0 => "2099-12-31",
            "violation" => &self.penalty.violation,
            "basis" => &self.penalty.basis,
            "penalty_kinds" => self.penalty.kinds.texts().0,
            "cause" => ["1", "2", "3", "4"][self.cause],
            "serious" => &WORDS.serious_causes[self.cause],
            // An amended listing is a removal, for the cause that answers that of the listing.
            "removal" if amended => ["1", "2", "3", "5"][self.cause],
            "removed" if amended => &self.produced_on,
            "reason" if amended => rng.pick(&WORDS.amend_reasons).as_str(),
            "reason" if self.operation == "withdraw" => rng.pick(&WORDS.withdraw_reasons).as_str(),
            "content" => {
                let content = rng.pick(&self.licence.content);
                return self.fill(out, content);
            }
            "fact" => return self.fill(out, &self.penalty.fact),
            "penalty" => return self.fill(out, self.penalty.kinds.texts().1),
            _ => return self.computed(out, blank),
        });
    }

    /// The blanks that are not there as they stand.
    fn computed(&mut self, out: &mut String, blank: &str) {
        let ((kinds, _), rng) = (self.penalty.kinds.texts(), &mut self.rng);
        // Writing to a String cannot fail.
        let _ = match blank {
            "n" => write!(out, "{}", 2 + rng.below(90)),
            "m" => write!(out, "{}", 120 + rng.below(9_000)),
            "d" => {
                let (month, day) = month_day(self.decided.saturating_sub(rng.below(30)));
                write!(out, "{month}月{day}日")
            }
            "p" => out.write_str(&person(rng)),
            "scope" => {
                let scope = &self.subject.trade.scope;
                let (first, step) = (rng.index(scope.len()), 1 + rng.index(scope.len() - 1));
                write!(out, "{}；{}", scope[first], scope[(first + step) % scope.len()])
            }
            "until" if self.licence.years > 0 => out.write_str(&iso(2026 + self.licence.years, self.decided)),
            "fine" => write!(out, "{}", self.fine),
            "seized" => write!(out, "{}", self.seized),
            "fine_wan" if kinds.contains("罚款") => out.write_str(&wan(self.fine)),
            "seized_wan" if kinds.contains("没收") => out.write_str(&wan(self.seized)),
            // Keeps two amendments of one record apart.
            "row" if self.operation != "create" => write!(out, "{}-{}", self.sampler.place.division, self.own),
            choice if choice.contains('/') => {
                let at = rng.index(choice.split('/').count());
                out.write_str(choice.split('/').nth(at).unwrap_or_default())
            }
            _ => Ok(()),
        };
    }
}

/// `str::split_once` for an ASCII character; on texts this short a plain loop is faster.
fn cut(text: &str, at: u8) -> Option<(&str, &str)> {
    let at = text.bytes().position(|b| b == at)?;
    Some((text.get(..at)?, text.get(at + 1..)?))
}

/// Yuan as 万元 with six decimals.
pub(super) fn wan(yuan: u64) -> String {
    format!("{}.{:04}00", yuan / 10_000, yuan % 10_000)
}
