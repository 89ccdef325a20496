//! Code lists.

use super::document::ListDocument;
use std::collections::BTreeMap;

/// Allowed values, and the words that mean them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CodeList {
    /// Identifier.
    pub id: String,
    /// Values in order, each with its label if it has one.
    values: Vec<(String, Option<String>)>,
    /// Label or other word to value.
    words: BTreeMap<String, usize>,
    open: Vec<String>,
}

/// How a value stands to a list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Matched<'l> {
    /// It is one of the values.
    Value,
    /// It is a label of, or another word for, this value.
    Word(&'l str),
    /// It is none.
    None,
}

impl CodeList {
    pub(super) fn new(d: &ListDocument) -> Result<Self, String> {
        let mut list = Self { id: d.id.clone(), values: Vec::new(), words: BTreeMap::new(), open: d.open.clone() };
        for text in &d.values {
            let (value, label) = match text.split_once('=') {
                Some((v, l)) => (v.to_owned(), Some(l.to_owned())),
                None => (text.clone(), None),
            };
            if value.is_empty() || list.place(&value).is_some() {
                return Err(format!("list {}: {value:?} is empty or stands there twice", d.id));
            }
            let place = list.values.len();
            list.values.push((value, label.clone()));
            if let Some(label) = label {
                list.word(label, place)?;
            }
        }
        for text in &d.also {
            let Some((word, value)) = text.split_once('=') else {
                return Err(format!("list {}: also: {text:?} is not `word=value`", d.id));
            };
            let Some(place) = list.place(value) else {
                return Err(format!("list {}: also: {value:?} is not one of its values", d.id));
            };
            list.word(word.to_owned(), place)?;
        }
        // A value goes before a word, so such a word would never count.
        let shadowed = list.words.iter().find(|(word, place)| list.place(word).is_some_and(|p| p != **place));
        if let Some((word, _)) = shadowed {
            return Err(format!("list {}: {word:?} is a value of its own, and a word for another", d.id));
        }
        Ok(list)
    }

    fn word(&mut self, word: String, place: usize) -> Result<(), String> {
        match self.words.insert(word.clone(), place) {
            Some(other) if other != place => Err(format!("list {}: {word:?} would mean two values", self.id)),
            _ => Ok(()),
        }
    }

    fn place(&self, value: &str) -> Option<usize> {
        self.values.iter().position(|(v, _)| v == value)
    }

    /// How a value stands to the list.
    pub fn find(&self, value: &str) -> Matched<'_> {
        if self.place(value).is_some()
            || self.open.iter().any(|o| value.strip_prefix(o.as_str()).is_some_and(|rest| !rest.trim().is_empty()))
        {
            return Matched::Value;
        }
        match self.words.get(value) {
            Some(i) => Matched::Word(&self.values[*i].0),
            None => Matched::None,
        }
    }

    /// Values in order, with their labels.
    pub fn values(&self) -> impl Iterator<Item = (&str, Option<&str>)> {
        self.values.iter().map(|(v, l)| (v.as_str(), l.as_deref()))
    }

    /// All of it in one line, for messages.
    pub fn shown(&self) -> String {
        let one = |(v, l): (&str, Option<&str>)| l.map_or_else(|| v.to_owned(), |l| format!("{v} {l}"));
        let open = self.open.iter().map(|o| format!("{o}..."));
        self.values().map(one).chain(open).collect::<Vec<_>>().join(" / ")
    }
}
