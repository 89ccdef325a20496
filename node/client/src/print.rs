//! The one place where commands write for people and programs.
//!
//! Nothing that a terminal obeys gets through ([`tame_lines`]); a JSON document stays what it is, because what is written out
//! has JSON's own form. A line break is one of ours: fields that others wrote go through [`shown`] or [`tame`] first. What
//! could not be written on stdout is a failure of the command ([`written`]); whoever reads it may have seen enough and gone,
//! which is none.
//!
//! Lines for people are told in the reader's language, with local times, as far as the catalog of texts knows them. What
//! programs read on stdout is said so first ([`for_programs`]), and stays as it is.

use crate::Failure;
use serde::de::DeserializeOwned;
use serde_json::Value;
use std::{
    borrow::Cow,
    fmt::Arguments,
    io::{self, IsTerminal as _, Write},
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
};
use tally_protocol::tame::{tame, tame_lines};
use tally_texts::{Lang, is_chinese, lang, local_times, said};

/// Why stdout could not be written, the first time.
static FAILED: Mutex<Option<io::Error>> = Mutex::new(None);

fn keep(result: io::Result<()>) {
    if let Err(e) = result {
        FAILED.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(e);
    }
}

/// Whether programs read what is written on stdout.
static FOR_PROGRAMS: AtomicBool = AtomicBool::new(false);

/// What is written on stdout from now on is read by programs.
pub fn for_programs() {
    FOR_PROGRAMS.store(true, Ordering::Relaxed);
}

/// Lines as their reader wants them. What indents a line stays, since a table's columns hang on it.
fn told(text: &str) -> Cow<'_, str> {
    let line = |line: &str| {
        let bare = line.trim_start();
        let indent = line.get(..line.len() - bare.len()).unwrap_or("");
        format!("{indent}{}", said(bare.trim_end()))
    };
    let text = match lang() {
        Lang::En => Cow::Borrowed(text),
        Lang::Zh => Cow::Owned(without_english(&text.lines().collect::<Vec<_>>(), line)),
    };
    match local_times(&text) {
        Cow::Borrowed(_) => text,
        Cow::Owned(local) => Cow::Owned(local),
    }
}

/// Lines of which the English of a fault with a code (`E1103: ...`) is left out where the next says the same in Chinese,
/// indented below it, or in the same words as the catalog. Any other line is `told` as it can be, also one that is not known in Chinese.
fn without_english(lines: &[&str], told: impl Fn(&str) -> String) -> String {
    let mut out = String::new();
    for (n, line) in lines.iter().enumerate() {
        let below = lines.get(n + 1).is_some_and(|next| next.starts_with(' ') && is_chinese(next));
        match fault(line).filter(|_| below) {
            Some(code) => out += &format!("{}\n", code.replace(": ", "：")),
            None => {
                let in_chinese = told(line);
                // What the next line says in Chinese already is said once.
                let next = lines.get(n + 1).map(|next| next.trim());
                if next != Some(in_chinese.trim()) || next == Some(line.trim()) {
                    out += &format!("{in_chinese}\n");
                }
            }
        }
    }
    out
}

/// The beginning of a line up to the code of a fault in it, E and four digits.
fn fault(line: &str) -> Option<&str> {
    let is_code =
        |word: &str| word.len() == 5 && word.starts_with('E') && word[1..].bytes().all(|b| b.is_ascii_digit());
    let begins = line.match_indices(": ").filter_map(|(at, _)| line.get(..at));
    let ends_with_code =
        |begin: &&str| begin.rsplit(['：', ' ']).next().is_some_and(|word| word.is_ascii() && is_code(word));
    begins.into_iter().find(ends_with_code)
}

/// Lines on stdout.
pub fn out(text: Arguments<'_>) {
    let text = format!("{text}\n");
    let text = if FOR_PROGRAMS.load(Ordering::Relaxed) { Cow::Borrowed(&*text) } else { told(&text) };
    keep(io::stdout().write_all(tame_lines(&text).as_bytes()));
}

/// Lines on stderr. A log file that is full stops nothing.
pub fn err(text: Arguments<'_>) {
    let text = format!("{text}\n");
    let _ = io::stderr().write_all(tame_lines(&told(&text)).as_bytes());
}

/// Part of a line on stderr with commands for the terminal, such as a bar that is drawn again. What others wrote in it is
/// tamed by the caller.
pub fn draw(text: Arguments<'_>) {
    let mut err = io::stderr().lock();
    let _ = err.write_fmt(text).and_then(|()| err.flush());
}

/// Bytes on stdout as they are: records, proofs. On a terminal they are tamed.
///
/// # Errors
/// The system's, which is kept too.
pub fn raw(bytes: &[u8]) -> io::Result<()> {
    let mut out = io::stdout().lock();
    let done = if out.is_terminal() {
        // A character that is cut in two by a piece is shown as a replacement.
        out.write_all(tame_lines(&String::from_utf8_lossy(bytes)).as_bytes())
    } else {
        out.write_all(bytes)
    };
    keep(done.as_ref().copied().map_err(|e| e.kind().into()));
    done
}

/// Clears the terminal on stdout, for what is shown again and again.
pub fn clear() {
    keep(io::stdout().write_all(b"\x1b[H\x1b[2J"));
}

/// Whether stdout takes nothing more.
pub fn is_over() -> bool {
    FAILED.lock().unwrap_or_else(PoisonError::into_inner).is_some()
}

/// Whether everything that was written on stdout has got there, or its reader has gone.
///
/// # Errors
/// Exit 1: the output is not whole.
pub fn written() -> Result<(), Failure> {
    keep(io::stdout().flush());
    match FAILED.lock().unwrap_or_else(PoisonError::into_inner).take() {
        Some(e) if e.kind() != io::ErrorKind::BrokenPipe => {
            Err(Failure::failed(format!("the output cannot be written: {e}")))
        }
        _ => Ok(()),
    }
}

/// A node's JSON answer for people: all texts in it are tamed, line breaks too.
///
/// # Errors
/// Exit 1: it is not of this form.
pub fn shown<T: DeserializeOwned>(answer: &[u8]) -> Result<T, Failure> {
    let mut value = serde_json::from_slice(answer).map_err(Failure::failed)?;
    tame_all(&mut value);
    serde_json::from_value(value).map_err(Failure::failed)
}

/// Tames all texts of a document. Its depth is bounded by the parser.
pub fn tame_all(value: &mut Value) {
    match value {
        Value::String(text) => *text = tame(text).into_owned(),
        Value::Array(all) => all.iter_mut().for_each(tame_all),
        Value::Object(members) => {
            let wild = members.keys().any(|name| matches!(tame(name), Cow::Owned(_)));
            members.values_mut().for_each(tame_all);
            if wild {
                *members = std::mem::take(members).into_iter().map(|(n, v)| (tame(&n).into_owned(), v)).collect();
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_lines_in_both_languages_the_chinese_is_left_with_its_code() {
        let of = |text: &str| without_english(&text.lines().collect::<Vec<_>>(), str::to_owned);
        let told = "tally：E1103\n  公钥与令牌不符\n";
        assert_eq!(of("tally: E1103: the key at x is another: so\n  公钥与令牌不符\n"), told);
        assert_eq!(of("tally：E1103: the key at x is another\n  公钥与令牌不符\n"), told);
        assert_eq!(of("E1107: it waits\nand nothing else\n"), "E1107: it waits\nand nothing else\n");
        let known = |line: &str| if line.contains("Read it") { "  请告知\n".trim_end() } else { line }.to_owned();
        let twice = without_english(&["code", "  Read it out.", "  请告知", "same", "same"], known);
        assert_eq!(twice, "code\n  请告知\nsame\nsame\n", "what the catalog and the next line say is said once");
        let unknown = "  1 [some_code] nobody has put this into Chinese\n      原因：见上\n";
        assert_eq!(of(unknown), unknown, "what is not known is never left out");
    }

    #[test]
    fn every_text_of_an_answer_is_tamed() {
        let wild = serde_json::json!({ "a\u{1b}": ["x\ny", { "deep": "\u{202e}z" }], "n": 7 }).to_string();
        let value: Value = shown(wild.as_bytes()).unwrap();
        assert_eq!(value, serde_json::json!({ "a\\u001b": ["x\\ny", { "deep": "\\u202ez" }], "n": 7 }));
        assert!(shown::<Value>(b"no document").is_err());
    }
}
