//! What each code that is ever printed means, and what to do about it.

use crate::lang::Lang;

const CODES: &str = include_str!("../explain.txt");

/// What a code means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CodeMeaning {
    /// The code.
    pub code: &'static str,
    /// In English.
    pub en: &'static str,
    /// In Chinese.
    pub zh: &'static str,
}

impl CodeMeaning {
    /// In a language.
    pub fn text(&self, lang: Lang) -> &'static str {
        match lang {
            Lang::En => self.en,
            Lang::Zh => self.zh,
        }
    }
}

fn all() -> impl Iterator<Item = CodeMeaning> {
    let mut lines = CODES.lines().filter(|l| !l.trim().is_empty() && !l.starts_with('#'));
    std::iter::from_fn(move || {
        let (code, en, zh) = (lines.next()?, lines.next()?, lines.next()?);
        Some(CodeMeaning { code: code.trim(), en: en.trim(), zh: zh.trim() })
    })
}

/// All meanings of a code: some stand for several things. Case does not count.
pub fn explain(code: &str) -> Vec<CodeMeaning> {
    all().filter(|e| e.code.eq_ignore_ascii_case(code)).collect()
}

/// Every code.
pub fn explained_codes() -> impl Iterator<Item = &'static str> {
    all().map(|e| e.code)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_has_both_languages() {
        let lines: Vec<_> = CODES.lines().filter(|l| !l.trim().is_empty() && !l.starts_with('#')).collect();
        for three in lines.chunks(3) {
            let [code, en, zh] = three else { panic!("{three:?} is not a code with two texts") };
            assert!(!code.contains(' ') && en.starts_with("  ") && zh.starts_with("  "), "{three:?}");
            assert!(en.is_ascii() && !zh.is_ascii(), "{code}");
            assert!(crate::english_run(zh) < 3 || zh.contains("tally "), "{code}: {zh}");
        }
        assert_eq!(explain("NODE_LOST").len(), 1);
        assert!(explain("nothing").is_empty());
    }
}
