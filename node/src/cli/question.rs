//! `tally question`: records that are held and asked about, by this node or by those above.

use super::{ConfigFile, Exit, Failure, ingest::encoded, language::message};
use clap::Subcommand;
use serde_json::Value;
use tally_client::shown;

/// Records asked for at once.
const PAGE: usize = 1_000;

#[derive(Debug, Subcommand)]
pub(super) enum QuestionCommand {
    /// List the records that are asked about; an amendment or withdrawal answers a question.
    Ls {
        /// Only of this division and those below it, by code or name.
        #[arg(long, value_name = "D")]
        division: Option<String>,
        /// Also those that were answered.
        #[arg(long)]
        all: bool,
        /// One JSON document on stdout.
        #[arg(long)]
        json: bool,
        #[command(flatten)]
        config: ConfigFile,
    },
}

pub(super) async fn run(command: QuestionCommand) -> Result<Exit, Failure> {
    let QuestionCommand::Ls { division, all, json, config } = command;
    let division = division.map_or(String::new(), |d| format!("&division={}", encoded(&d)));
    let client = config.client()?;
    let (mut questions, mut number, mut open, mut after) = (Vec::new(), 0_u64, false, String::new());
    loop {
        let path = format!("/v1/questions?all={all}{division}&limit={PAGE}{after}");
        let page = client.get(&path).await?;
        let mut page: Value =
            if json { serde_json::from_slice(&page).map_err(Failure::failed)? } else { shown(&page)? };
        let next = page["next"].as_str().map(|n| format!("&after={n}"));
        let Value::Array(found) = page["questions"].take() else { break };
        number += found.len() as u64;
        open |= found.iter().any(|q| q["state"] == "open");
        if json {
            questions.extend(found);
        } else {
            found.iter().for_each(show);
        }
        match next {
            Some(next) => after = next,
            None => break,
        }
    }
    if json {
        outln!("{}", serde_json::json!({ "questions": questions, "omitted": 0 }));
    } else {
        outln!("{number} records are asked about{}", if all { ", or were" } else { "" });
    }
    Ok(if open { Exit::Look } else { Exit::Done })
}

fn show(q: &Value) {
    let text = |v: &Value, key: &str| v[key].as_str().unwrap_or("").to_owned();
    let (log, index, state) = (text(q, "log"), &q["index"], text(q, "state"));
    outln!("{}  {log} {index}  {}  {}  {state}", text(q, "id"), text(q, "category"), text(q, "unit"));
    outln!("  {}  {}", text(q, "business_key"), text(q, "subject_name"));
    for by in q["judged_by"].as_array().map(Vec::as_slice).unwrap_or_default() {
        for f in by["findings"].as_array().map(Vec::as_slice).unwrap_or_default() {
            let (code, severity) = (text(f, "code"), text(f, "severity"));
            let (division, field) = (text(by, "division"), text(f, "field"));
            outln!("  by {division}  {code}  {severity}  {field}  {}", message(f));
        }
    }
}
