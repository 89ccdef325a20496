//! Tables as people and programs really write them, each a file in `tables/`, with what is expected of it beside it in
//! `NAME.expect`. One statement a line; `#` begins a remark:
//!
//! ```text
//! counts READ ACCEPTED DUPLICATE REJECTED
//! read READ
//! accepted all                    no row is rejected or asked about
//! line N CODE …                   exactly these codes are said of the line, in any order
//! note CODE [WORD …]              a note of this code holds all of the words, in either language
//! says WORD …                     something that is said of a row holds all of the words, codes included
//! held FIELD=VALUE …              exactly one record of the node has all of these
//! not FIELD=VALUE …               none has
//! refused WORD …                  the file is refused whole, for a reason that holds all of the words
//! ```
//!
//! Codes of firms are made up: that their check digits are wrong (V007) is passed over.
//! A value may hold spaces: it ends before the next `FIELD=`. All files are handed in to one node, so keys differ.

use super::sheet::{ALONE, Handed, hand_in, unharmed};
use serde_json::Value;
use std::{fs, path::PathBuf};
use tally_tests::{COUNTY, Federation, list};

/// A check digit is wrong, as it is in codes that are made up.
const MADE_UP: &str = "V007";

fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("door/intake/tables")
}

/// Names of the tables, in order.
fn names() -> Vec<String> {
    let entries = fs::read_dir(folder()).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap());
    let mut names: Vec<_> = entries.filter(|name| !name.ends_with(".expect")).collect();
    names.sort();
    names
}

/// `FIELD=VALUE …` as pairs.
fn pairs(rest: &str) -> Vec<(String, String)> {
    let mut pairs: Vec<(String, String)> = Vec::new();
    for word in rest.split(' ') {
        match (word.split_once('='), pairs.last_mut()) {
            (Some((field, value)), _) if field.bytes().all(|b| b.is_ascii_lowercase() || b == b'_') => {
                pairs.push((field.to_owned(), value.to_owned()));
            }
            (_, Some((_, value))) => *value += &format!(" {word}"),
            _ => panic!("{word}"),
        }
    }
    pairs
}

fn records_with(records: &[Value], rest: &str) -> usize {
    let wanted = pairs(rest);
    records.iter().filter(|r| wanted.iter().all(|(field, value)| r[field] == value.as_str())).count()
}

/// Whether one of some messages holds all the words.
fn holds(messages: &[Value], words: &[&str]) -> bool {
    messages.iter().any(|m| {
        let text = format!(
            "{} {} {}",
            m["code"].as_str().unwrap(),
            m["message"].as_str().unwrap(),
            m["message_zh"].as_str().unwrap()
        );
        words.iter().all(|w| text.contains(w))
    })
}

/// What is not as a statement says.
fn unmet(statement: &str, handed: &Handed, records: &[Value]) -> bool {
    let (verb, rest) = statement.split_once(' ').unwrap_or((statement, ""));
    let words: Vec<&str> = rest.split(' ').collect();
    let numbers = || words.iter().map(|w| w.parse().unwrap()).collect::<Vec<u64>>();
    if verb == "refused" {
        return !(handed.answer.is_null() && words.iter().all(|w| handed.ran.err.contains(w)));
    }
    if handed.answer.is_null() {
        return true;
    }
    let is_told = |m: &&Value| m["code"] != MADE_UP;
    let messages = |list_of: &str| list(&handed.answer[list_of]).iter().filter(is_told).cloned().collect::<Vec<_>>();
    let met = match verb {
        "counts" => handed.counts().to_vec() == numbers(),
        "read" => handed.counts()[0] == numbers()[0],
        "accepted" => handed.counts()[1] == handed.counts()[0] && messages("errors").is_empty(),
        "line" => {
            let mut codes = handed.codes(words[0].parse().unwrap());
            codes.retain(|code| *code != MADE_UP);
            let mut wanted = words[1..].to_vec();
            codes.sort_unstable();
            wanted.sort_unstable();
            codes == wanted
        }
        "note" => {
            let notes: Vec<Value> = messages("notes").into_iter().filter(|n| n["code"] == words[0]).collect();
            holds(&notes, &words[1..])
        }
        "says" => holds(&messages("errors"), &words),
        "held" => records_with(records, rest) == 1,
        "not" => records_with(records, rest) == 0,
        verb => panic!("{verb}"),
    };
    !met
}

#[test]
fn tables_are_read_as_a_person_sees_them() {
    let federation = Federation::running(ALONE);
    let mut handed = Vec::new();
    for name in names() {
        let bytes = fs::read(folder().join(&name)).unwrap();
        assert!(bytes.len() <= 20 << 10, "{name} is a small file");
        handed.push((hand_in(&federation, &name, &bytes, &[]), name));
    }
    let records = federation.export(COUNTY, &[]);
    let mut wrong = Vec::new();
    for (handed, name) in &handed {
        let expected =
            fs::read_to_string(folder().join(format!("{name}.expect"))).unwrap_or_else(|e| panic!("{name}: {e}"));
        let statements: Vec<_> = expected.lines().filter(|l| !l.is_empty() && !l.starts_with('#')).collect();
        assert!(!statements.is_empty(), "{name}: nothing is expected");
        let unmet: Vec<_> = statements.into_iter().filter(|s| unmet(s, handed, &records)).collect();
        if !unmet.is_empty() {
            wrong.push(format!("{name}: {unmet:?}\n  {}\n  {}", handed.ran.err.trim(), handed.answer));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    unharmed(&federation);
}
