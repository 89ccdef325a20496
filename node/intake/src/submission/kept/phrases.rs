//! What is said of the rows of an answer, without saying it again for each row.
//!
//! A *phrase* is a finding with a blank where the value of a row stands. Phrases of an answer are kept once, in a file
//! beside its rows; a row keeps the numbers of its phrases, and its values. They are worded when they are read, in both
//! languages, exactly as they were said: whatever catalog is in force by then. So a row of 19 bytes of which twenty things
//! are said takes some two hundred bytes, and not six thousand.

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use tally_protocol::finding::{FINDING_BYTES_MAX, Finding, Severity};

/// Name of the file, beside the answer's rows.
pub(super) const FILE: &str = "phrases.json";
/// Phrases of one answer; what is said beyond them is kept with its row, word for word.
const PHRASES_MAX: usize = 512;
/// Phrases of one code, field and severity: its texts differ in more than a value.
const OF_A_KIND_MAX: usize = 8;
/// Largest file of phrases, in bytes: as many as there may be, with what JSON adds to each.
pub(super) const FILE_BYTES_MAX: u64 = (PHRASES_MAX * (FINDING_BYTES_MAX + 256)) as u64;

/// A finding, perhaps with blanks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Phrase {
    #[serde(flatten)]
    finding: Finding,
    /// Where the value stands in `message`, in bytes; none: it has no blank.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    en: Option<usize>,
    /// Where it stands in `message_zh`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    zh: Option<usize>,
}

/// A finding of a row: the number of its phrase, and the values in its blanks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub(super) enum Said {
    /// Without values.
    Plain(u16),
    /// The same value in both languages.
    Value(u16, String),
    /// A value in English, and another in Chinese.
    Values(u16, String, String),
}

/// Phrases that an answer was read with.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Phrases(Vec<Phrase>);

/// Code, field, severity and name of a finding.
type Kind = (String, String, Severity, Option<String>);

/// Phrases of an answer that is being written.
#[derive(Debug, Default)]
pub(super) struct PhraseBook {
    phrases: Phrases,
    kinds: BTreeMap<Kind, Vec<u16>>,
}

/// The part of `text` in a blank at `at` of `around`, if the rest of it is the same.
fn in_blank<'t>(text: &'t str, around: &str, at: Option<usize>) -> Option<&'t str> {
    match at.and_then(|at| around.split_at_checked(at)) {
        None => (text == around).then_some(""),
        Some((before, behind)) => text.strip_prefix(before)?.strip_suffix(behind),
    }
}

/// What two texts have in common: it with a blank, and where that is. None if they have less than half in common.
fn blanked(one: &str, other: &str) -> Option<(String, Option<usize>)> {
    if one == other {
        return Some((one.to_owned(), None));
    }
    let pairs = one.chars().zip(other.chars());
    let before: usize = pairs.take_while(|(a, b)| a == b).map(|(a, _)| a.len_utf8()).sum();
    let (one_rest, other_rest) = (one.get(before..)?, other.get(before..)?);
    let pairs = one_rest.chars().rev().zip(other_rest.chars().rev());
    let behind: usize = pairs.take_while(|(a, b)| a == b).map(|(a, _)| a.len_utf8()).sum();
    let tail = one_rest.get(one_rest.len().checked_sub(behind)?..)?;
    let common = format!("{}{tail}", one.get(..before)?);
    (2 * common.len() >= one.len().min(other.len())).then_some((common, Some(before)))
}

impl Phrase {
    fn said(&self, number: u16, f: &Finding) -> Option<Said> {
        let en = in_blank(&f.message, &self.finding.message, self.en)?;
        let zh = in_blank(&f.message_zh, &self.finding.message_zh, self.zh)?;
        Some(match (self.en, self.zh) {
            (None, None) => Said::Plain(number),
            _ if en == zh => Said::Value(number, en.to_owned()),
            _ => Said::Values(number, en.to_owned(), zh.to_owned()),
        })
    }

    /// The same with blanks where the finding differs.
    fn with_blanks(&self, f: &Finding) -> Option<Self> {
        let (message, en) = blanked(&self.finding.message, &f.message)?;
        let (message_zh, zh) = blanked(&self.finding.message_zh, &f.message_zh)?;
        let mut finding = f.clone();
        (finding.message, finding.message_zh) = (message, message_zh);
        Some(Self { finding, en, zh })
    }
}

impl PhraseBook {
    /// A finding by its phrase, which is added if it is new; none: it is to be kept word for word.
    pub(super) fn say(&mut self, f: &Finding) -> Option<Said> {
        let kind = (f.code.clone(), f.field.clone(), f.severity, f.name.clone());
        let known = self.kinds.get(&kind).map(Vec::as_slice).unwrap_or_default();
        let phrase = |n: &u16| self.phrases.0.get(usize::from(*n));
        if let Some(said) = known.iter().find_map(|n| phrase(n)?.said(*n, f)) {
            return Some(said);
        }
        if known.len() >= OF_A_KIND_MAX || self.phrases.0.len() >= PHRASES_MAX {
            return None;
        }
        let whole = || Phrase { finding: f.clone(), en: None, zh: None };
        let new = known.iter().find_map(|n| phrase(n).filter(|p| p.en.is_none() && p.zh.is_none())?.with_blanks(f));
        let new = new.unwrap_or_else(whole);
        let number = u16::try_from(self.phrases.0.len()).ok()?;
        let said = new.said(number, f);
        self.phrases.0.push(new);
        self.kinds.entry(kind).or_default().push(number);
        said
    }

    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.phrases.0.len()
    }

    /// Bytes, about, of those from a number on, as they are kept.
    pub(super) fn bytes_from(&self, number: usize) -> usize {
        self.phrases.0.iter().skip(number).map(|p| p.finding.bytes() + 64).sum()
    }

    /// All of them, to be kept.
    pub(super) fn phrases(&self) -> &Phrases {
        &self.phrases
    }
}

impl Phrases {
    /// The finding as it was said; none: there is no such phrase.
    pub(super) fn word(&self, said: &Said) -> Option<Finding> {
        let (number, en, zh) = match said {
            Said::Plain(n) => (n, "", ""),
            Said::Value(n, value) => (n, value.as_str(), value.as_str()),
            Said::Values(n, en, zh) => (n, en.as_str(), zh.as_str()),
        };
        let phrase = self.0.get(usize::from(*number))?;
        let filled = |around: &str, at: Option<usize>, value: &str| match at.and_then(|at| around.split_at_checked(at))
        {
            None => around.to_owned(),
            Some((before, behind)) => [before, value, behind].concat(),
        };
        let mut finding = phrase.finding.clone();
        finding.message = filled(&phrase.finding.message, phrase.en, en);
        finding.message_zh = filled(&phrase.finding.message_zh, phrase.zh, zh);
        Some(finding)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Says all, and reads them back as they are read from the disk.
    fn there_and_back(findings: &[Finding]) -> (Vec<Option<Finding>>, usize) {
        let mut book = PhraseBook::default();
        let said: Vec<Option<Said>> = findings.iter().map(|f| book.say(f)).collect();
        let bytes = serde_json::to_vec(&said).unwrap();
        let phrases: Phrases = serde_json::from_slice(&serde_json::to_vec(book.phrases()).unwrap()).unwrap();
        let said: Vec<Option<Said>> = serde_json::from_slice(&bytes).unwrap();
        (said.iter().map(|s| Some(phrases.word(s.as_ref()?).unwrap())).collect(), bytes.len())
    }

    #[test]
    fn a_phrase_is_kept_once_and_its_values_with_each_row() {
        let finding = |n: usize| {
            let value = format!("2026-13-{n:02}");
            let (en, zh) = (
                format!("decision_date {value} is not a day: write it as 2026-01-31"),
                format!("决定日期 {value} 不是日期"),
            );
            Finding::reject("V004", "decision_date", en, zh)
        };
        let findings: Vec<Finding> = (0..100).map(finding).collect();
        let (back, bytes) = there_and_back(&findings);
        assert_eq!(back.into_iter().map(Option::unwrap).collect::<Vec<_>>(), findings);
        assert!(bytes < 100 * 20, "{bytes}");
    }

    #[test]
    fn phrases_are_bounded_and_what_has_none_is_told() {
        let findings: Vec<Finding> =
            (0..2 * PHRASES_MAX).map(|n| Finding::reject("V025", &format!("field{n}"), "en", "zh")).collect();
        let (back, _) = there_and_back(&findings);
        assert_eq!(back.iter().filter(|f| f.is_some()).count(), PHRASES_MAX);
        assert!(back.iter().zip(&findings).all(|(b, f)| b.as_ref().is_none_or(|b| b == f)));
        assert_eq!(Phrases::default().word(&Said::Plain(3)), None);
    }

    proptest! {
        #[test]
        fn every_finding_reads_back_as_it_was_said(texts in prop::collection::vec(("[ab名字]{0,6}", "[ab名字]{0,6}"), 1..40)) {
            let findings: Vec<Finding> =
                texts.into_iter().map(|(en, zh)| Finding::reject("V001", "f", format!("same {en} end"), format!("同{zh}末"))).collect();
            let (back, _) = there_and_back(&findings);
            for (back, f) in back.iter().zip(&findings) {
                prop_assert!(back.as_ref().is_none_or(|b| b == f), "{back:?} {f:?}");
            }
        }
    }
}
