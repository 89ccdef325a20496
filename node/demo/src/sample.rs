//! Sample records for the demo: built from the catalog's real field lists and code lists, with valid check digits.
//!
//! Companies and persons are made up. A record is a function of (seed, place, number), so that the same federation
//! can be filled again, and an amendment finds its original by its number alone.

mod calendar;
mod code;
mod draft;
mod subject;

use super::words::{Office, Rng, WORDS, mix};
use calendar::{iso, workday};
use code::uscc;
use draft::Draft;
use std::{collections::VecDeque, fmt::Write as _};
use subject::Subject;

/// Place where records are produced.
#[derive(Debug, Clone)]
pub(super) struct Place {
    /// Six digits, GB/T 2260, e.g. `350102`.
    pub division: String,
    /// E.g. 鼓楼区.
    pub name: String,
    /// The city above, e.g. 福州市; equal to `name` for a city and for the province.
    pub city_name: String,
}

/// What the receiver should make of a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// Valid and new.
    Fresh,
    /// Byte for byte one of the last 1,000 fresh lines.
    Duplicate,
    /// To be rejected.
    Faulty,
}

/// One line to submit.
#[derive(Debug)]
pub(super) struct Line {
    /// NDJSON without the newline; a faulty one may be broken JSON, but is UTF-8.
    pub text: String,
    /// What it is.
    #[cfg_attr(not(test), expect(dead_code, reason = "only tests judge lines by it"))]
    pub kind: Kind,
}

/// Generator of sample lines: the same seed and place give the same lines. Holds about 1 MiB.
#[derive(Debug)]
pub(super) struct Sampler {
    seed: u64,
    rng: Rng,
    place: Place,
    /// The division as a number.
    digits: u64,
    /// Prefix of units and addresses, e.g. 福州市鼓楼区.
    full_name: String,
    /// Prefix of document numbers, e.g. 榕鼓.
    short_name: String,
    /// Name and USCC, as the departments.
    units: Vec<(String, String)>,
    complete: bool,
    /// Number of the last record; part of every document number.
    number: u64,
    faults: u64,
    recent: VecDeque<String>,
    /// Numbers of records that can still be amended or withdrawn.
    originals: Vec<u64>,
}

/// Fresh lines remembered for repetition, and originals for amendment.
const RECENT: usize = 1_000;
/// Records are produced from 2026-06-01, a Monday and day 0, to 2026-11-20, a Friday.
const DAYS: u64 = 173;

impl Sampler {
    /// A sampler for one place; document numbers count from 1.
    pub(super) fn new(seed: u64, place: Place) -> Self {
        let digits: u64 = place.division.parse().unwrap_or(0);
        let (column, city) = match (digits % 10_000, digits % 100) {
            (0, _) => (2, ""),
            (_, 0) => (1, ""),
            // Offices of counties and county-level cities go without the city's name.
            _ if place.city_name == place.name || !place.name.ends_with('区') => (0, ""),
            _ => (0, place.city_name.as_str()),
        };
        let full_name = format!("{city}{}", place.name);
        let mut short_name: String = WORDS.short.chars().nth((digits / 100 % 100) as usize).into_iter().collect();
        if column == 0 {
            short_name.extend(place.name.chars().next());
        }
        let mut units: Vec<(String, String)> = Vec::with_capacity(WORDS.depts.len());
        for (serial, dept) in (360_125..).step_by(1_037).zip(&WORDS.depts) {
            let name = [full_name.as_str(), &dept.names[column]].concat();
            // Departments that are one office at this level have one code.
            let same = units.iter().find(|unit| unit.0 == name).map(|unit| unit.1.clone());
            units.push((name, same.unwrap_or_else(|| uscc("11", &place.division, serial))));
        }
        let seed = mix(seed ^ mix(digits));
        Self {
            seed,
            rng: Rng(seed),
            place,
            digits,
            full_name,
            short_name,
            units,
            complete: false,
            number: 0,
            faults: 0,
            recent: VecDeque::with_capacity(RECENT),
            originals: Vec::with_capacity(RECENT),
        }
    }

    /// Adds every other field that the catalog requires of a category, also those that repeat the envelope (party,
    /// authority, source unit). Lines are then about 1,100 bytes on average, at most 2,000.
    pub(super) fn complete(mut self) -> Self {
        self.complete = true;
        self
    }

    /// Name and USCC of the producing units, for the unit registry; an office of two departments comes twice.
    pub(super) fn units(&self) -> impl Iterator<Item = (&str, &str)> {
        self.units.iter().map(|(name, code)| (name.as_str(), code.as_str()))
    }

    /// The next line: about 3 % exact repetitions, 1 % faulty, else fresh.
    pub(super) fn next_line(&mut self) -> Line {
        let (roll, at) = (self.rng.below(100), self.rng.index(self.recent.len()));
        match (roll, self.recent.get(at)) {
            (0..=2, Some(text)) => Line { text: text.clone(), kind: Kind::Duplicate },
            (3, _) => Line { text: self.faulty(), kind: Kind::Faulty },
            _ => Line { text: self.fresh(), kind: Kind::Fresh },
        }
    }

    /// A valid line, unlike all others of this sampler and of samplers of other places. About 3 % amend and 1 %
    /// withdraw one of the records before.
    pub(super) fn fresh(&mut self) -> String {
        self.number += 1;
        let (own, roll, at) = (self.number, self.rng.below(100), self.rng.index(self.originals.len()));
        let text = match self.originals.get(at) {
            Some(&original) if roll < 3 => self.build(original, own, "amend"),
            // What is withdrawn is not changed again.
            Some(_) if roll == 3 => {
                let original = self.originals.swap_remove(at);
                self.build(original, own, "withdraw")
            }
            Some(_) if self.originals.len() == RECENT => {
                self.originals[at] = own;
                self.build(own, own, "create")
            }
            _ => {
                self.originals.push(own);
                self.build(own, own, "create")
            }
        };
        if self.recent.len() == RECENT {
            self.recent.pop_front();
        }
        self.recent.push_back(text.clone());
        text
    }

    /// The faults in turn; but for its fault a line is valid.
    fn faulty(&mut self) -> String {
        let fault = self.faults % 8;
        self.faults += 1;
        let mut line = loop {
            self.number += 1;
            let line = self.build(self.number, self.number, "create");
            if fault != 5 || line.contains("\"fine_wan\"") {
                break line;
            }
        };
        match fault {
            0 => edit(&mut line, "producer_uscc", None),
            1 => edit(&mut line, "subject_name", Some("\"\"")),
            2 => edit(&mut line, "produced_on", Some("\"2026-13-40\"")),
            3 => edit(&mut line, "operation", Some("\"delete\"")),
            4 => line = line.chars().take(line.chars().count() / 2).collect(),
            5 => edit(&mut line, "fine_wan", Some("1.5")),
            6 => edit(&mut line, "producer_division", Some("\"110101\"")),
            _ => edit(&mut line, "subject_name", Some("\"福\u{fffd}\u{fffd}\u{fffd}贸易有限公司\"")),
        }
        line
    }

    /// Line `own`, applying `operation` to record `number`: who, what and when follow from `number`, the amounts and
    /// texts of an amendment from `own`.
    fn build(&self, number: u64, own: u64, operation: &'static str) -> String {
        let mut id = Rng(mix(self.seed ^ mix(number)));
        let mut roll = id.below(100);
        let form = WORDS.forms.iter().find(|form| match roll.checked_sub(form.share) {
            Some(rest) => {
                roll = rest;
                false
            }
            None => true,
        });
        let form = form.unwrap_or(&WORDS.forms[0]);
        let recurring = id.below(number + 500);
        let subject = match form.code.as_str() {
            // Nothing but the subject makes the key unique.
            "registration" | "abnormal_operation" | "serious_violation" => Subject::of(self, number),
            // Pledged equity is a company's.
            "equity_pledge" => Subject::of(self, recurring / 25 * 25 + 7),
            _ => Subject::of(self, recurring),
        };
        let (licence, penalty) = (id.pick(&subject.group.licences), id.pick(&subject.group.penalties));
        let dept = match form.code.as_str() {
            "admin_license" => licence.dept,
            "admin_penalty" => penalty.dept,
            "spot_check" if id.below(3) == 0 => licence.dept,
            _ => Office::Market,
        } as usize;
        let decided = workday(id.below(DAYS));
        let later = (decided + 1 + mix(own) % 20).min(DAYS - 1);
        let mut rng = Rng(mix(!self.seed ^ mix(if operation == "amend" { own } else { number })));
        let (short, division, (least, most)) = (&self.short_name, &self.place.division, penalty.yuan);
        let mut draft = Draft {
            sampler: self,
            form,
            operation,
            own,
            unit: &self.units[dept],
            document: format!("{short}{}{}〔2026〕{division}{number:06}号", WORDS.depts[dept].short, form.act),
            decided,
            decided_on: iso(2026, decided),
            produced_on: iso(2026, if operation == "create" { decided } else { workday(later) }),
            cause: id.index(4),
            fine: (least + rng.below(most - least + 1)) / 100 * 100,
            seized: 50 + rng.below(9_000),
            rng,
            subject,
            licence,
            penalty,
        };
        let mut values = String::with_capacity(1_000);
        let mut fields = Vec::with_capacity(40);
        let more = if self.complete { form.more.as_slice() } else { &[] };
        for (key, text) in WORDS.envelope.iter().chain(&form.fields).chain(more) {
            let start = values.len();
            draft.fill(&mut values, text);
            if values.len() > start {
                fields.push((key.as_str(), start..values.len()));
            }
        }
        // Ascending keys are what canonical JSON wants.
        fields.sort_unstable_by_key(|field| field.0);
        let mut line = String::with_capacity(values.len() + 26 * fields.len());
        for (key, range) in fields {
            line.push_str(if line.is_empty() { "{\"" } else { ",\"" });
            line.push_str(key);
            line.push_str("\":\"");
            escape(&mut line, &values[range]);
            line.push('"');
        }
        line.push('}');
        line
    }
}

/// Appends `text` as the inside of a JSON string.
fn escape(out: &mut String, text: &str) {
    let special = |c: char| c < ' ' || c == '"' || c == '\\';
    if !text.bytes().any(|b| special(char::from(b))) {
        return out.push_str(text);
    }
    for c in text.chars() {
        let _ = if special(c) { write!(out, "\\u{:04x}", u32::from(c)) } else { out.write_char(c) };
    }
}

/// Replaces the value of `key` by raw JSON, or takes the field out. Not for the last field of a line.
fn edit(line: &mut String, key: &str, raw: Option<&str>) {
    let name = format!("\"{key}\":\"");
    let Some((before, rest)) = line.split_once(&name) else { return };
    let Some((_, after)) = rest.split_once("\",") else { return };
    *line = match raw {
        Some(raw) => format!("{before}\"{key}\":{raw},{after}"),
        None => format!("{before}{after}"),
    };
}

#[cfg(test)]
mod tests;
