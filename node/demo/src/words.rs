//! Words of the sample records (`data/words.json`): fields of each category, departments, trades, licences, violations, names,
//! streets; and the dice that draw from them.
//!
//! Laws are real and their articles fit the facts; companies and persons are put together from the lists. Blanks in
//! braces are filled in by `Draft::fill`: `{d}` is a date, `{n}` and `{m}` are numbers, `{p}` is a personal name,
//! `{a/b}` one of a and b; the others are parts of the record.

use serde::Deserialize;
use std::sync::LazyLock;

/// All words, read once.
pub(super) static WORDS: LazyLock<Words> =
    LazyLock::new(|| serde_json::from_str(include_str!("../data/words.json")).expect("the words of the program"));

/// The file.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Words {
    /// Catalog §0. Fields that come out empty are left out of the line.
    pub(super) envelope: Vec<Field>,
    /// Catalog §2, §3, §4, §6, §9, §10, §11.
    pub(super) forms: Vec<Form>,
    /// In the order of [`Office`]. Counties and cities have no drug administration of their own, the province has no
    /// office for streets.
    pub(super) depts: Vec<Dept>,
    /// The first is that of farmers' cooperatives.
    pub(super) groups: Vec<Group>,
    /// A trade name is one character of this list and one or two of the next. All characters of these two lists and the
    /// two after them take three bytes.
    pub(super) name_first: String,
    pub(super) name_second: String,
    pub(super) surnames: String,
    pub(super) given: String,
    /// Characters of the document numbers: province, then the cities 350100 to 350900.
    pub(super) short: String,
    /// Streets of Gulou.
    pub(super) gulou_streets: Vec<String>,
    /// Street names found in nearly every town of the province.
    pub(super) streets: Vec<String>,
    pub(super) buildings: Vec<String>,
    /// 质权人 of an equity pledge.
    pub(super) banks: Vec<String>,
    /// Causes of a listing as a serious violation (市场监管总局令第44号).
    pub(super) serious_causes: Vec<String>,
    pub(super) amend_reasons: Vec<String>,
    pub(super) withdraw_reasons: Vec<String>,
}

/// Key and text of a field.
pub(super) type Field = (String, String);

/// The departments that produce records.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Office {
    Market,
    Health,
    Emergency,
    Housing,
    Urban,
    Transport,
    Farm,
    Culture,
    Drug,
    Labour,
    School,
}

/// A department: its name at a county, at a city and at the province, and its short form in document numbers.
#[derive(Debug, Deserialize)]
pub(super) struct Dept {
    #[cfg_attr(not(test), expect(dead_code, reason = "it names the entry for people; a test compares it"))]
    pub(super) office: Office,
    pub(super) names: [String; 3],
    pub(super) short: String,
}

/// A trade: how a company is called, how an individual business or cooperative is, and what they do.
#[derive(Debug, Deserialize)]
pub(super) struct Trade {
    pub(super) company: String,
    pub(super) shop: String,
    pub(super) scope: Vec<String>,
}

/// `kind` is of the catalog's list; `years` of validity, 0 = long-term.
#[derive(Debug, Deserialize)]
pub(super) struct Licence {
    pub(super) dept: Office,
    pub(super) document: String,
    pub(super) kind: String,
    pub(super) years: u32,
    pub(super) content: Vec<String>,
}

/// `yuan` bounds the fine.
#[derive(Debug, Deserialize)]
pub(super) struct Penalty {
    pub(super) dept: Office,
    pub(super) violation: String,
    pub(super) fact: String,
    pub(super) basis: String,
    pub(super) kinds: PenaltyKinds,
    pub(super) yuan: (u64, u64),
}

/// What a penalty is made of.
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum PenaltyKinds {
    Fine,
    Warn,
    WarnFine,
    FineSeize,
}

impl PenaltyKinds {
    /// Kinds of the catalog's list, joined by `;`, and the content of the penalty.
    pub(super) fn texts(self) -> (&'static str, &'static str) {
        match self {
            Self::Fine => ("罚款", "罚款人民币{fine}元"),
            Self::Warn => ("警告", "警告"),
            Self::WarnFine => ("警告;罚款", "警告；罚款人民币{fine}元"),
            Self::FineSeize => ("罚款;没收违法所得、没收非法财物", "罚款人民币{fine}元；没收违法所得{seized}元"),
        }
    }
}

/// Trades with the licences they need and the violations they are prone to, so that a record fits its subject.
#[derive(Debug, Deserialize)]
pub(super) struct Group {
    pub(super) trades: Vec<Trade>,
    pub(super) licences: Vec<Licence>,
    pub(super) penalties: Vec<Penalty>,
}

/// A category of the catalog.
#[derive(Debug, Deserialize)]
pub(super) struct Form {
    pub(super) code: String,
    /// Its share of the records, in percent.
    pub(super) share: u64,
    /// What document numbers call the act.
    pub(super) act: String,
    /// The fields by which its records differ.
    pub(super) fields: Vec<Field>,
    /// The other fields that the catalog requires; most of them repeat the envelope.
    pub(super) more: Vec<Field>,
}

/// The group of farmers' cooperatives.
pub(super) const FARMING: usize = 0;

/// SplitMix64.
#[derive(Debug)]
pub(super) struct Rng(pub(super) u64);

impl Rng {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// Below `n`; 0 when `n` is 0.
    pub(super) fn below(&mut self, n: u64) -> u64 {
        ((u128::from(self.next()) * u128::from(n)) >> 64) as u64
    }

    pub(super) fn index(&mut self, n: usize) -> usize {
        self.below(n as u64) as usize
    }

    /// One of a list, which must not be empty: no list of the words is.
    pub(super) fn pick<'l, T>(&mut self, list: &'l [T]) -> &'l T {
        &list[self.index(list.len())]
    }
}

/// Spreads a number, so that streams seeded with neighbours have nothing in common.
pub(super) fn mix(n: u64) -> u64 {
    Rng(n).next()
}

/// A personal name.
pub(super) fn person(rng: &mut Rng) -> String {
    let second = if rng.below(4) == 0 { "" } else { glyph(&WORDS.given, rng) };
    [glyph(&WORDS.surnames, rng), glyph(&WORDS.given, rng), second].concat()
}

/// One character of a list whose characters all take three bytes.
pub(super) fn glyph(list: &'static str, rng: &mut Rng) -> &'static str {
    let at = 3 * rng.index(list.len() / 3);
    list.get(at..at + 3).unwrap_or_default()
}
