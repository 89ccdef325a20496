//! `tally explain`: what a code means that was printed somewhere, and what to do about it.

use super::{Exit, Failure};
use clap::Args;
use serde_json::json;
use tally_texts::{Lang, explain, explained_codes, lang};
use tally_topology::catalog::Catalogs;

#[derive(Debug, Args)]
pub(super) struct ExplainArgs {
    /// A code: of status, of a row (V001), of a refusal, an exit code.
    #[arg(value_name = "CODE", required_unless_present = "all")]
    code: Option<String>,
    /// List all codes with their meaning.
    #[arg(long, conflicts_with = "code")]
    all: bool,
    /// One JSON document on stdout.
    #[arg(long)]
    json: bool,
}

pub(super) fn run(args: &ExplainArgs) -> Result<Exit, Failure> {
    let codes: Vec<String> = match &args.code {
        Some(code) => vec![code.clone()],
        None => explained_codes().map(str::to_owned).collect(),
    };
    let found: Vec<_> = codes.iter().flat_map(|code| explain(code)).collect();
    if let (Some(code), true) = (&args.code, found.is_empty()) {
        let near: Vec<_> = explained_codes().filter(|c| c.contains(code.as_str())).collect();
        let near = if near.is_empty() { String::new() } else { format!("; there are: {}", near.join(", ")) };
        return Err(Failure::new(Exit::Usage, format!("nothing has the code {code:?}{near}")));
    }
    if args.json {
        let all: Vec<_> = found.iter().map(|e| json!({ "code": e.code, "en": e.en, "zh": e.zh })).collect();
        outln!("{}", serde_json::Value::from(all));
    } else {
        found.iter().for_each(|e| outln!("{}\n  {}", e.code, e.text(lang())));
        if let Some(rule) = args.code.as_deref().and_then(rule_text) {
            outln!("  {rule}");
        }
    }
    Ok(Exit::Done)
}

/// What a rule of the catalog that comes with the program says of a row, with dots for what stands in the row. A charter may
/// have other words for it.
fn rule_text(code: &str) -> Option<String> {
    let catalogs = Catalogs::shipped().ok()?;
    let code = code.to_ascii_uppercase();
    let rule = catalogs.versions().iter().rev().find_map(|c| c.rule(&code))?;
    let text = match lang() {
        Lang::En => &rule.en,
        Lang::Zh => &rule.zh,
    };
    Some(text.replace("{field}", "...").replace("{value}", "..."))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{collections::BTreeSet, fs, path::Path};

    fn known(code: &str) -> bool {
        !explain(code).is_empty()
    }

    /// Codes in the sources of a folder of `node/`: words in quotes behind one of these marks.
    fn behind(folder: &str, marks: &[&str]) -> BTreeSet<String> {
        let mut found = BTreeSet::new();
        let mut folders = vec![Path::new(env!("CARGO_MANIFEST_DIR")).join(folder)];
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(&folder).unwrap().map(|e| e.unwrap().path()) {
                if entry.is_dir() {
                    folders.push(entry);
                    continue;
                }
                let text = fs::read_to_string(&entry).unwrap();
                let code = text.split("#[cfg(test)]").next().unwrap();
                for mark in marks {
                    let words = code.split(mark).skip(1).filter_map(|after| {
                        let word = after.split_once('"')?.1.split_once('"')?.0;
                        let near = after.find('"')? < 60;
                        let is = !word.is_empty() && word.bytes().all(|b| b.is_ascii_lowercase() || b == b'_');
                        (near && is).then(|| word.to_owned())
                    });
                    found.extend(words);
                }
            }
        }
        found
    }

    #[test]
    fn every_code_that_is_printed_is_explained() {
        let mut codes: BTreeSet<String> = tally_console::action_codes().map(str::to_owned).collect();
        let catalogs = Catalogs::shipped().unwrap();
        codes.extend(catalogs.versions().iter().flat_map(|c| c.rules()).map(|r| r.id.to_string()));
        codes.extend((1..=7).map(|n| format!("F00{n}")));
        // The exit codes of `tally_client::Exit`.
        codes.extend([0, 1, 2, 3, 4, 5, 6, 7, 75, 78, 130].map(|n: u8| n.to_string()));
        codes.extend(["parent_unknown", "behind", "clock", "same_key", "frozen", "damaged"].map(str::to_owned));
        codes.extend(["live", "stalled", "lost", "never_seen", "refused"].map(str::to_owned));
        let refusals = behind("console/src", &["Problem::new("]);
        assert!(refusals.contains("storage_full") && refusals.len() > 20, "{refusals:?}");
        codes.extend(refusals);
        codes.extend(behind("sheet/src", &["SheetError::new("]));
        codes.extend(behind("client/src", &["code: "]));
        let wire = tally_protocol::wire::Refusal::Version;
        assert!(known(&wire.to_string()));
        let missing: Vec<_> = codes.iter().filter(|c| !known(c)).collect();
        assert!(missing.is_empty(), "node/texts/explain.txt lacks {missing:?}");
    }

    #[test]
    fn a_rule_of_a_row_is_named_in_capitals_or_not() {
        assert!(known("v001") && known("V001") && !known("V999"));
        assert!(rule_text("v028").is_some_and(|t| t.contains("brackets") && !t.contains('{')));
        assert_eq!((rule_text("V999"), rule_text("node_lost")), (None, None));
    }
}
