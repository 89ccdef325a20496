//! The catalog: English forms with gaps, and the Chinese of each. A message is looked up whole; what fills a gap is kept, or is a
//! message itself.
//!
//! ```text
//! {} records {}..{}: {} records        a form: `{}` is kept as it is, `{*}` is looked up too
//!   {1} 的记录 {2}..{3}，共 {4} 条      its Chinese: gaps by number
//! ```

use crate::lang::{Lang, lang};
use std::{borrow::Cow, collections::HashMap, sync::OnceLock};

const FILES: [&str; 8] = [
    include_str!("../zh/status.txt"),
    include_str!("../zh/records.txt"),
    include_str!("../zh/errors.txt"),
    include_str!("../zh/node.txt"),
    include_str!("../zh/looking.txt"),
    include_str!("../zh/help.txt"),
    include_str!("../zh/joining.txt"),
    include_str!("../zh/commands.txt"),
];
/// Messages within messages that are looked up.
const DEPTH_MAX: u8 = 6;
/// Longest message that is looked up, in bytes: a row of a department may be longer, and is no message.
const MESSAGE_BYTES_MAX: usize = 4 << 10;
/// So much of a form has to be fixed, in bytes, that it may be filled with what the catalog does not know: less would also fit to
/// sentences that say something else.
const FIXED_MIN: usize = 16;
/// Words in a row that make a sentence, which no gap for a name or number holds.
const SENTENCE: usize = 3;
/// What stands between the English and the Chinese of one message.
const BOTH: &str = " / ";
/// What stands between two messages, and in Chinese.
const BETWEEN: [(&str, &str); 4] = [("; ", "；"), (": ", "："), (" / ", " / "), (", ", "，")];

/// One form.
#[derive(Debug)]
struct Form {
    /// What stands around the gaps.
    pieces: Vec<&'static str>,
    /// Of each gap: whether what fills it is looked up.
    looked_up: Vec<bool>,
    zh: &'static str,
}

impl Form {
    fn new(en: &'static str, zh: &'static str) -> Self {
        let (mut pieces, mut looked_up, mut rest) = (Vec::new(), Vec::new(), en);
        while let Some((at, gap)) = ["{}", "{*}"].iter().filter_map(|g| Some((rest.find(g)?, *g))).min() {
            pieces.push(&rest[..at]);
            looked_up.push(gap == "{*}");
            rest = &rest[at + gap.len()..];
        }
        pieces.push(rest);
        Self { pieces, looked_up, zh }
    }

    /// The fixed part, in bytes: more of it is more sure.
    fn fixed(&self) -> usize {
        self.pieces.iter().map(|p| p.len()).sum()
    }

    /// Whether it says enough itself to be sure of it whatever fills it: a long form, or one behind a label.
    fn is_sure(&self) -> bool {
        self.fixed() >= FIXED_MIN || self.pieces.first().is_some_and(|p| p.trim_end().ends_with(':'))
    }

    /// What fills the gaps.
    fn fill<'t>(&self, text: &'t str) -> Option<Vec<&'t str>> {
        let (first, rest) = self.pieces.split_first()?;
        let (last, middle) = rest.split_last()?;
        let mut text = text.strip_prefix(first)?.strip_suffix(last)?;
        let mut filled = Vec::with_capacity(self.looked_up.len());
        for piece in middle {
            let (gap, after) = text.split_once(piece)?;
            filled.push(gap);
            text = after;
        }
        filled.push(text);
        Some(filled)
    }

    fn write(&self, filled: &[Cow<'_, str>]) -> String {
        let (mut out, mut rest) = (String::new(), self.zh);
        while let Some((before, after)) = rest.split_once('{') {
            out.push_str(before);
            let (number, after) = after.split_once('}').unwrap_or((after, ""));
            let at = number.parse::<usize>().ok().and_then(|n| n.checked_sub(1));
            out.push_str(at.and_then(|n| filled.get(n)).map_or("", |f| f));
            rest = after;
        }
        out + rest
    }
}

/// All forms, read once.
#[derive(Debug, Default)]
struct Catalog {
    whole: HashMap<&'static str, &'static str>,
    /// Those with gaps, the surest first.
    forms: Vec<Form>,
}

/// The pairs of a file: a line, and the indented one below it.
fn pairs(file: &'static str) -> impl Iterator<Item = (&'static str, &'static str)> {
    let mut lines = file.lines().filter(|l| !l.trim().is_empty() && !l.starts_with('#'));
    std::iter::from_fn(move || Some((lines.next()?.trim(), lines.next().unwrap_or("").trim())))
}

fn catalog() -> &'static Catalog {
    static CATALOG: OnceLock<Catalog> = OnceLock::new();
    CATALOG.get_or_init(|| {
        let mut all = Catalog::default();
        for (en, zh) in FILES.into_iter().flat_map(pairs) {
            if en.contains("{}") || en.contains("{*}") {
                all.forms.push(Form::new(en, zh));
            } else {
                all.whole.insert(en, zh);
            }
        }
        all.forms.sort_by_key(|f| std::cmp::Reverse(f.fixed()));
        all
    })
}

/// A message in Chinese; `None`: the catalog does not know it.
pub fn zh(message: &str) -> Option<String> {
    (message.len() <= MESSAGE_BYTES_MAX).then(|| found(message, 0)).flatten()
}

/// A message in the reader's language, as far as it is known there.
pub fn said(message: &str) -> Cow<'_, str> {
    match lang() {
        Lang::En => Cow::Borrowed(message),
        Lang::Zh => zh(message).map_or(Cow::Borrowed(message), Cow::Owned),
    }
}

fn found(text: &str, depth: u8) -> Option<String> {
    if let Some(zh) = catalog().whole.get(text) {
        return Some((*zh).to_owned());
    }
    if depth >= DEPTH_MAX {
        return None;
    }
    // One whose parts are all known wins over a surer one with an unknown part.
    let known = in_both(text, depth).or_else(|| by_form(text, depth, true)).or_else(|| in_parts(text, depth));
    known.or_else(|| by_form(text, depth, false))
}

/// Whether a text is Chinese: it has Han characters, and no English sentence.
pub fn is_chinese(text: &str) -> bool {
    text.chars().any(|c| ('\u{4e00}'..='\u{9fff}').contains(&c)) && english_run(text) < SENTENCE
}

/// The Chinese of a message that is in both languages already, as those for departments are: English / Chinese.
fn in_both(text: &str, depth: u8) -> Option<String> {
    let (english, chinese) = text.split_once(BOTH)?;
    if english_run(english) < SENTENCE || !is_chinese(chinese) {
        return None;
    }
    // A form may say more, such as a list that the English alone has.
    let mut longer = catalog().forms.iter().filter(|f| f.pieces.iter().any(|p| p.contains(BOTH)));
    longer.find_map(|f| filled(f, text, depth, true)).or_else(|| Some(chinese.to_owned()))
}

fn by_form(text: &str, depth: u8, all_known: bool) -> Option<String> {
    let longest = |f: &Form| f.pieces.iter().copied().max_by_key(|p| p.len()).unwrap_or("");
    let likely = catalog().forms.iter().filter(|f| text.contains(longest(f)));
    let mut likely = likely.filter(|f| all_known || f.is_sure());
    likely.find_map(|form| filled(form, text, depth, all_known))
}

/// What a form makes of a message, if it fits.
fn filled(form: &Form, text: &str, depth: u8, all_known: bool) -> Option<String> {
    let filled = form.fill(text)?;
    // What stands before a colon, such as the name of a file or an option, is a part of its own and no beginning of a sentence.
    let is_led = form.pieces.first().is_some_and(|p| p.is_empty()) && form.looked_up.first() == Some(&false);
    if is_led && filled.first().is_some_and(|gap| gap.contains(": ")) {
        return None;
    }
    let one = |(gap, looked_up): (&&str, &bool)| {
        let kept = |most| (!all_known || english_run(gap) < most).then(|| Cow::Owned((*gap).to_owned()));
        match looked_up {
            false => kept(if form.is_sure() { SENTENCE } else { 2 }),
            true => found(gap, depth + 1).map(Cow::Owned).or_else(|| kept(2)),
        }
    };
    let filled = filled.iter().zip(&form.looked_up).map(one).collect::<Option<Vec<_>>>()?;
    Some(form.write(&filled))
}

/// A message that is put together of others, at least one of which is known, and the rest of which is no English.
fn in_parts(text: &str, depth: u8) -> Option<String> {
    BETWEEN.iter().find_map(|(between, in_zh)| {
        text.match_indices(between).find_map(|(at, _)| {
            let (left, right) = (text.get(..at)?, text.get(at + between.len()..)?);
            let (left_zh, right_zh) = (found(left, depth + 1), found(right, depth + 1));
            let known = left_zh.is_some() || right_zh.is_some();
            let part = |zh: Option<String>, en: &str| zh.or_else(|| (english_run(en) < 2).then(|| en.to_owned()));
            known.then_some(())?;
            Some(part(left_zh, left)? + in_zh + &part(right_zh, right)?)
        })
    })
}

/// How many words of ASCII letters stand in a row, at most. Single letters, and words with other signs in them (codes, paths,
/// options, commands in backticks) are none; a sign that is not ASCII ends a row.
pub fn english_run(text: &str) -> usize {
    let (mut longest, mut run, mut quoted) = (0, 0, false);
    for word in text.split_inclusive(|c: char| c.is_whitespace() || !c.is_ascii()) {
        let bare = word.trim_matches(|c: char| !c.is_ascii() || c.is_whitespace() || ",.;:()\"'?!".contains(c));
        let ticks = word.matches('`').count();
        let is_word = !quoted && ticks == 0 && bare.len() > 1 && bare.bytes().all(|b| b.is_ascii_alphabetic());
        quoted ^= ticks % 2 == 1;
        run = if is_word { run + 1 } else { 0 };
        longest = longest.max(run);
        if !word.is_ascii() {
            run = 0;
        }
    }
    longest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_form_has_its_chinese_with_the_same_gaps() {
        let (mut seen, mut wrong) = (std::collections::BTreeSet::new(), Vec::new());
        for (n, file) in FILES.into_iter().enumerate() {
            let lines: Vec<_> = file.lines().filter(|l| !l.trim().is_empty() && !l.starts_with('#')).collect();
            for pair in lines.chunks(2) {
                let [en, zh] = pair else { panic!("file {n}: {pair:?} stands alone") };
                let gaps = Form::new(en, zh).looked_up.len();
                let has_all = (1..=gaps).all(|gap| zh.contains(&format!("{{{gap}}}")));
                let is_chinese = !zh.is_ascii() || !zh.bytes().any(|b| b.is_ascii_alphabetic());
                let right = !en.starts_with(' ') && zh.starts_with("  ") && is_chinese;
                let no_english = english_run(zh) < SENTENCE || zh.contains("tally ");
                if !(right && has_all && zh.matches('{').count() == gaps && no_english && seen.insert(*en)) {
                    wrong.push(format!("file {n}: {en:?}: {zh:?}"));
                }
            }
        }
        assert!(wrong.is_empty(), "misplaced, twice, without Chinese, or with other gaps:\n{}", wrong.join("\n"));
    }

    #[test]
    fn gaps_are_filled_and_messages_within_messages_are_looked_up() {
        let form = Form::new("{} is {*}; {} records wait", "{1} {2}，{3} 条");
        assert_eq!(form.fill("parent 350100 is lost; 5 records wait"), Some(vec!["parent 350100", "lost", "5"]));
        assert_eq!(form.fill("parent 350100 is lost"), None);
        let text = "parent 350100 is lost; 5 records wait";
        assert_eq!(zh(text).as_deref(), Some("上级 350100 断开，5 条记录待确认"));
        // A label is told, whatever stands behind it; a form that fits by chance is not.
        assert_eq!(zh("why:  nobody has said this").as_deref(), Some("原因：nobody has said this"));
        assert_eq!(zh("this is said in both languages / 两种语言").as_deref(), Some("两种语言"));
        assert_eq!(zh("compare a full export with what is held; with more"), None);
        // What leads to a sentence is no part of it.
        let text = "--with: 350999 is neither the parent nor a child of 350102";
        assert_eq!(zh(text).as_deref(), Some("--with：350999 既不是 350102 的上级，也不是其下级"));
    }

    #[test]
    fn words_in_a_row_are_counted_and_commands_are_none() {
        assert_eq!(english_run("see the reason, then wait"), 5);
        assert_eq!(english_run("执行 `tally epoch next --reason R` 后"), 0);
        assert_eq!(english_run("350100 live 2026-11-29 data/journal"), 1);
        assert_eq!((english_run("I、O、S"), english_run("one 二 two three")), (0, 2));
    }
}
