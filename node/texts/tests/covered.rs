//! Every sentence that these sources tell people is in the catalog: whoever writes another one puts its Chinese beside it.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::{fs, path::Path};
use tally_texts::{english_run, zh};

/// What a reader in Chinese meets: states and their reasons, refusals, what commands say. Paths count from `node/`.
const COVERED: [&str; 47] = [
    "console/src/status/advice.rs",
    "console/src/status/below.rs",
    "console/src/status/disk.rs",
    "core/src/clock.rs",
    "link/src/trouble.rs",
    "link/src/call.rs",
    "link/src/dial.rs",
    "link/src/tls.rs",
    "client/src/client.rs",
    "client/src/keyfile.rs",
    "client/src/socket.rs",
    "intake/src/batcher/outcome.rs",
    "intake/src/submission/mod.rs",
    "intake/src/submission/upload.rs",
    "src/config.rs",
    "src/daemon/first.rs",
    "src/daemon/start.rs",
    "src/daemon/supervisor.rs",
    "demo/src/fleet.rs",
    "demo/src/lib.rs",
    "reports/src/deadline/text.rs",
    "src/cli/joining/approve.rs",
    "src/cli/joining/ask.rs",
    "src/cli/joining/federation.rs",
    "src/cli/joining/invite.rs",
    "src/cli/joining/join.rs",
    "src/cli/joining/place.rs",
    "src/cli/joining/replace.rs",
    "src/cli/answer.rs",
    "src/cli/bundle.rs",
    "src/cli/catalog.rs",
    "src/cli/charter.rs",
    "src/cli/compare.rs",
    "src/cli/deadline.rs",
    "src/cli/epoch.rs",
    "src/cli/gate.rs",
    "src/cli/ingest.rs",
    "src/cli/node.rs",
    "src/cli/nodes.rs",
    "src/cli/place.rs",
    "src/cli/question.rs",
    "src/cli/receipt.rs",
    "src/cli/reconcile.rs",
    "src/cli/restore.rs",
    "src/cli/route.rs",
    "src/cli/task.rs",
    "src/cli/verify.rs",
];

/// Words that stand in a row in a sentence, at least.
const SENTENCE: usize = 3;
/// Parts of sentences and what nobody reads: the file's first message of a stopping program, a file's content.
const NO_SENTENCES: [&str; 8] = [
    "This node has never run. The file goes with its first start.",
    "somebody who does not say which node it is",
    "no answer",
    ". {waiting} records here have no receipt of {parent}: start it with node.offline = true, and carry them (tally bundle export --to {parent})",
    ", which has read",
    "(comes with the program)",
    "# Written by `{by}`. What may stand here besides: deploy/config/ and OPERATING.md.",
    "; {} records have no receipt of {}",
];

/// The texts of a source before its tests, without comments and without what only the log file gets.
fn texts(source: &str) -> Vec<String> {
    let source = source.split("#[cfg(test)]").next().unwrap();
    let code: String = source.lines().filter(|l| !l.trim_start().starts_with("//")).map(|l| format!("{l}\n")).collect();
    let (mut found, mut rest) = (Vec::new(), code.as_str());
    while let Some(at) = rest.find('"') {
        let (before, after) = (&code[..code.len() - rest.len() + at], &rest[at + 1..]);
        let mut text = String::new();
        let mut chars = after.char_indices();
        let mut end = after.len();
        while let Some((n, c)) = chars.next() {
            match c {
                '"' => {
                    end = n;
                    break;
                }
                '\\' => match chars.next() {
                    Some((_, '\n')) => {
                        let skip = after[n + 2..].len() - after[n + 2..].trim_start().len();
                        (0..skip).for_each(|_| _ = chars.next());
                    }
                    Some((_, 'n')) => text.push('\n'),
                    Some((_, other)) => text.push(other),
                    None => {}
                },
                c => text.push(c),
            }
        }
        let expected = before.trim_end().ends_with("reason =");
        let to_the_log = before.rfind("tracing::").is_some_and(|at| !before[at..].contains(';'));
        if !expected && !to_the_log {
            found.push(text);
        }
        rest = after.get(end + 1..).unwrap_or("");
    }
    found
}

/// A form as it would be said: what is put in is neither English nor Chinese, and what may follow at the end does not.
fn filled(form: &str) -> String {
    let mut form = form;
    while let Some((before, _)) = form.ends_with('}').then(|| form.rsplit_once('{')).flatten() {
        if !before.ends_with(|c: char| c.is_ascii_alphabetic() || c == '}') {
            break;
        }
        form = before;
    }
    let (mut out, mut rest) = (String::new(), form);
    while let Some((before, after)) = rest.split_once('{') {
        out.push_str(before);
        if let Some(after) = after.strip_prefix('{') {
            out.push('{');
            rest = after;
            continue;
        }
        out.push_str("350102");
        rest = after.split_once('}').map_or("", |(_, after)| after);
    }
    out + rest
}

#[test]
fn every_sentence_of_these_sources_has_its_chinese() {
    let node = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let mut missing = Vec::new();
    for path in COVERED {
        let source = fs::read_to_string(node.join(path)).unwrap_or_else(|e| panic!("{path}: {e}"));
        for text in texts(&source).iter().flat_map(|t| t.split('\n')) {
            // A command that is told as it is typed is one in any language.
            let skipped = NO_SENTENCES.contains(&text.trim()) || text.trim().starts_with("tally ");
            let said = filled(text.trim());
            if skipped || english_run(&said) < SENTENCE || said.chars().any(|c| ('一'..='龥').contains(&c)) {
                continue;
            }
            match zh(&said) {
                Some(zh) if english_run(&zh) < SENTENCE || zh.contains("tally ") => {}
                other => missing.push(format!("{path}: {text}  =>  {other:?}")),
            }
        }
    }
    assert!(missing.is_empty(), "{} sentences have no Chinese:\n{}", missing.len(), missing.join("\n"));
}

#[test]
fn texts_are_found_and_what_goes_to_the_log_is_not() {
    let source = "fn f() {\n    // \"a comment\"\n    say(\"one \\\n         two {x}\");\n    tracing::warn!(event = \"e.f\", \"no text\");\n    g(\"b\\\"c\");\n}\n#[cfg(test)]\nmod tests { \"t\" }";
    assert_eq!(texts(source), ["one two {x}", "b\"c"]);
    assert_eq!(filled("{a:?} of {} said{more}"), "350102 of 350102 said");
}
