//! Habits of the sources that no compiler checks: sizes, names, heads and words.
//!
//! What does not keep a rule today stands in a list in `lists.rs`. The lists only get shorter: an entry that is not
//! needed any more fails too, and a failure prints the list as it should be.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod documents;
mod lists;
mod source;

use source::{Source, sources};
use std::collections::{BTreeMap, BTreeSet};

const FILE_LINES: usize = 500;
const FN_LINES: usize = 80;
/// Put together, so that this file does not have them itself.
const UNFINISHED: [&str; 4] =
    [concat!("to", "do!("), concat!("unimpl", "emented!("), concat!("db", "g!("), concat!("FIX", "ME")];

/// What was found must be what the list says.
fn assert_listed(rule: &str, found: &BTreeSet<String>, list: &[&str]) {
    assert!(list.is_sorted(), "{rule}: the list is not sorted");
    let listed: BTreeSet<_> = list.iter().map(|e| (*e).to_owned()).collect();
    let new: Vec<_> = found.difference(&listed).collect();
    let gone: Vec<_> = listed.difference(found).collect();
    let should = || found.iter().map(|f| format!("    {f:?},\n")).collect::<String>();
    assert!(new.is_empty(), "{rule}: these break the rule: {new:#?}\nThe list would have to be:\n{}", should());
    assert!(gone.is_empty(), "{rule}: these keep it now, take them out: {gone:#?}\nThe list is then:\n{}", should());
}

/// Found of each source, as `path: what`.
fn each(found: impl Fn(&Source) -> Vec<String>) -> BTreeSet<String> {
    let of = |s: &Source| found(s).into_iter().map(|what| format!("{}: {what}", s.path)).collect::<Vec<_>>();
    sources().iter().flat_map(of).collect()
}

#[test]
fn the_sources_are_found() {
    let paths: Vec<_> = sources().iter().map(|s| s.path.as_str()).collect();
    for known in ["protocol/src/lib.rs", "tests/tidy/main.rs"] {
        assert!(paths.contains(&known), "{known} is not among {} files", paths.len());
    }
}

#[test]
fn public_types_have_names_of_their_own() {
    let mut places: BTreeMap<String, BTreeSet<&str>> = BTreeMap::new();
    for source in sources().iter().filter(|s| !s.is_test()) {
        for name in source.public_types() {
            places.entry(name).or_default().insert(&source.path);
        }
    }
    places.retain(|_, paths| paths.len() > 1);
    for (name, paths) in &places {
        println!("{name}: {}", paths.iter().copied().collect::<Vec<_>>().join(", "));
    }
    let found = places.into_keys().collect();
    assert_listed("a public type's name stands for one thing in the workspace", &found, lists::SHARED_NAMES);
}

#[test]
fn no_file_is_too_long() {
    let long = |s: &Source| s.text.lines().count() > FILE_LINES;
    let found = sources().iter().filter(|s| long(s)).map(|s| s.path.clone()).collect();
    assert_listed(&format!("a file has at most {FILE_LINES} lines"), &found, lists::LONG_FILES);
}

#[test]
fn no_function_is_too_long() {
    let long = |s: &Source| {
        let functions = s.functions().into_iter().filter(|(_, lines)| *lines > FN_LINES);
        functions.map(|(name, _)| name).collect()
    };
    assert_listed(&format!("a function has at most {FN_LINES} lines"), &each(long), lists::LONG_FUNCTIONS);
}

#[test]
fn every_file_says_first_what_it_is_about() {
    let headless = |s: &&Source| !s.text.starts_with("//! ");
    let found = sources().iter().filter(headless).map(|s| s.path.clone()).collect();
    assert_listed("a file starts with a module's head", &found, lists::NO_HEAD);
}

#[test]
fn nothing_is_left_unfinished() {
    let unfinished = |s: &Source| {
        let of = |(n, line): (usize, &str)| {
            UNFINISHED.iter().find(|word| line.contains(*word)).map(|word| format!("{}: {word}", n + 1))
        };
        s.text.lines().enumerate().filter_map(of).collect()
    };
    assert_listed("what is not finished is not committed", &each(unfinished), &[]);
}

#[test]
fn comments_and_messages_use_the_words_we_agreed_on() {
    let banned = |s: &Source| {
        let mut found = Vec::new();
        for (n, words) in s.words() {
            let used = lists::BANNED_WORDS.iter().filter(|(word, _)| source::has_word(&words, word));
            found.extend(used.map(|(word, better)| format!("{n}: {word:?}, better {better:?}")));
        }
        found
    };
    assert_listed("a word that has a better one is not used", &each(banned), &[]);
}
