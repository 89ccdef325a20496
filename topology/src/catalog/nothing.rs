//! Words that stand in a cell and say nothing.

use unicode_normalization::UnicodeNormalization as _;

/// Such words, as they are compared: of compatible characters, in lower case.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct EmptyWords {
    words: Vec<String>,
    /// The longest, in bytes: most values are longer, and are not looked at.
    longest: usize,
    /// A bit for each byte of ASCII with which one of them begins: dates, codes and amounts do not.
    begin: u128,
}

/// Bytes of a character that is compatible with one of a word, at most.
const WIDEST: usize = 4;

fn form(text: &str) -> String {
    text.nfkc().flat_map(char::to_lowercase).collect()
}

/// The bit of the byte of ASCII with which a text begins, whatever its case.
fn bit(text: &str) -> Option<u128> {
    text.bytes().next().filter(u8::is_ascii).map(|b| 1 << b.to_ascii_lowercase())
}

impl EmptyWords {
    pub(super) fn new<'w>(words: impl IntoIterator<Item = &'w String>) -> Self {
        let words: Vec<String> = words.into_iter().map(|w| form(w.trim())).filter(|w| !w.is_empty()).collect();
        let longest = words.iter().map(|w| w.chars().count()).max().unwrap_or(0) * WIDEST;
        let begin = words.iter().filter_map(|w| bit(w)).fold(0, |all, bit| all | bit);
        Self { words, longest, begin }
    }

    /// Whether a text is one of them, whatever its width and case.
    pub fn hold(&self, text: &str) -> bool {
        if text.len() > self.longest || text.is_empty() {
            return false;
        }
        if text.is_ascii() {
            return bit(text).is_some_and(|bit| self.begin & bit != 0)
                && self.words.iter().any(|w| w.eq_ignore_ascii_case(text));
        }
        // A Chinese character has no other form: U+4E00 to U+9FFF.
        if text.chars().all(|c| matches!(c, '\u{4e00}'..='\u{9fff}')) {
            return self.words.iter().any(|w| w == text);
        }
        let formed = form(text);
        self.words.contains(&formed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_compared_whatever_their_width_and_case() {
        let words = EmptyWords::new(&["\\N", "NULL", "无", "--"].map(str::to_owned));
        for word in ["\\N", "null", "Null", "ＮＵＬＬ", "无", "--", "－－"] {
            assert!(words.hold(word), "{word}");
        }
        for other in ["", "N", "NULLS", "无锡", "-", "无 ", "annulled"] {
            assert!(!words.hold(other), "{other}");
        }
        assert!(!EmptyWords::default().hold("") && !EmptyWords::default().hold("无"));
    }
}
