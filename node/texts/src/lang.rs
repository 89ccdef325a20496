//! Which language: `--lang`, then `TALLY_LANG`, then the locale's variables in POSIX' order.

use std::sync::atomic::{AtomicBool, Ordering};

/// A language that people are spoken to in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lang {
    /// English.
    En,
    /// Chinese.
    Zh,
}

impl Lang {
    /// By its code.
    pub fn of_code(code: &str) -> Option<Self> {
        match code {
            "en" => Some(Self::En),
            "zh" => Some(Self::Zh),
            _ => None,
        }
    }

    /// What the command line says, or the environment: the first of `TALLY_LANG`, `LC_ALL`, `LC_MESSAGES`, `LANG` that says
    /// anything decides. English if nothing does.
    pub fn choose(told: Option<&str>, variable: impl Fn(&str) -> Option<String>) -> Self {
        if let Some(lang) = told.and_then(Self::of_code) {
            return lang;
        }
        let said = ["TALLY_LANG", "LC_ALL", "LC_MESSAGES", "LANG"];
        let first = said.iter().filter_map(|name| variable(name)).find(|value| !value.is_empty());
        let chinese = first.is_some_and(|locale| locale.to_ascii_lowercase().starts_with("zh"));
        if chinese { Self::Zh } else { Self::En }
    }
}

/// Whether the process speaks Chinese.
static CHINESE: AtomicBool = AtomicBool::new(false);

/// From now on this process speaks to people in this language. A node's own log and answers stay as they are.
pub fn speak(lang: Lang) {
    CHINESE.store(lang == Lang::Zh, Ordering::Relaxed);
}

/// The language in which this process speaks to people.
pub fn lang() -> Lang {
    if CHINESE.load(Ordering::Relaxed) { Lang::Zh } else { Lang::En }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_that_says_anything_decides() {
        type Case<'c> = (Option<&'c str>, &'c [(&'c str, &'c str)], Lang);
        let cases: [Case<'_>; 8] = [
            (None, &[], Lang::En),
            (Some("zh"), &[("TALLY_LANG", "en")], Lang::Zh),
            (Some("en"), &[("LANG", "zh_CN.UTF-8")], Lang::En),
            (None, &[("TALLY_LANG", "zh"), ("LC_ALL", "en_US.UTF-8")], Lang::Zh),
            (None, &[("LC_ALL", "C"), ("LANG", "zh_CN.UTF-8")], Lang::En),
            (None, &[("LC_ALL", ""), ("LANG", "zh_CN.GB18030")], Lang::Zh),
            (None, &[("LC_MESSAGES", "zh_CN.UTF-8"), ("LANG", "en_US.UTF-8")], Lang::Zh),
            (None, &[("LANG", "de_DE.UTF-8")], Lang::En),
        ];
        for (told, variables, expected) in cases {
            let variable = |name: &str| variables.iter().find(|(n, _)| *n == name).map(|(_, v)| (*v).to_owned());
            assert_eq!(Lang::choose(told, variable), expected, "{told:?} {variables:?}");
        }
    }
}
