//! `tally question`: records that are held and asked about, by this node or by those above.

use super::{ConfigFile, Exit, Failure};
use clap::Subcommand;
use serde_json::Value;
use tally_protocol::ids::Division;

#[derive(Debug, Subcommand)]
pub(super) enum QuestionCommand {
    /// List the records that are asked about; an amendment or withdrawal answers a question.
    Ls {
        /// Only of this division and those below it.
        #[arg(long, value_name = "D")]
        division: Option<Division>,
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
    let division = division.map_or(String::new(), |d| format!("&division={d}"));
    let answer = config.client()?.get(&format!("/v1/questions?all={all}{division}")).await?;
    let answer: Value = serde_json::from_slice(&answer).map_err(Failure::failed)?;
    let questions = answer["questions"].as_array().map(Vec::as_slice).unwrap_or_default();
    if json {
        outln!("{answer}");
    } else {
        let text = |v: &Value, key: &str| v[key].as_str().unwrap_or("").to_owned();
        for q in questions {
            let (log, index, state) = (text(q, "log"), &q["index"], text(q, "state"));
            outln!("{}  {log} {index}  {}  {}  {state}", text(q, "id"), text(q, "category"), text(q, "unit"));
            for by in q["judged_by"].as_array().map(Vec::as_slice).unwrap_or_default() {
                for f in by["findings"].as_array().map(Vec::as_slice).unwrap_or_default() {
                    let (code, severity) = (text(f, "code"), text(f, "severity"));
                    let (division, field) = (text(by, "division"), text(f, "field"));
                    outln!(
                        "  by {division}  {code}  {severity}  {field}  {}  {}",
                        text(f, "message"),
                        text(f, "message_zh")
                    );
                }
            }
        }
        let omitted = answer["omitted"].as_u64().unwrap_or(0);
        outln!("{} records are asked about{}", questions.len() as u64 + omitted, if all { ", or were" } else { "" });
    }
    let open = questions.iter().any(|q| q["state"] == "open");
    Ok(if open { Exit::Look } else { Exit::Done })
}
