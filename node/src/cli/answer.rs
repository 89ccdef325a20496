//! `tally answer`: what was said of rows that were rejected or asked about.

use super::{ConfigFile, Exit, Failure, language::message};
use axum::body::Body;
use clap::Subcommand;
use serde_json::Value;
use std::{
    io::{self, Write as _},
    path::{Path, PathBuf},
};
use tally_client::{
    ClientError,
    save::{SavedFile, save},
    shown,
};
use tally_sheet::text::pad;

#[derive(Debug, Subcommand)]
pub(super) enum AnswerCommand {
    /// List the kept answers, the newest first.
    Ls {
        /// One JSON document on stdout.
        #[arg(long)]
        json: bool,
        #[command(flatten)]
        config: ConfigFile,
    },
    /// Show one answer with its rows.
    Show {
        /// Its name.
        id: String,
        /// One JSON document on stdout.
        #[arg(long)]
        json: bool,
        #[command(flatten)]
        config: ConfigFile,
    },
    /// Remove answers that are done with, each with its rows, so that there is room for others.
    Rm {
        /// Their names.
        #[arg(required = true)]
        ids: Vec<String>,
        #[command(flatten)]
        config: ConfigFile,
    },
    /// Write the rows to look at as the submitter's own table, with two columns added: correct it and hand it in again.
    File {
        /// Its name.
        id: String,
        /// Where it is written; the ending says the form: .xlsx or .csv.
        #[arg(short, long, value_name = "FILE")]
        output: PathBuf,
        #[command(flatten)]
        config: ConfigFile,
    },
}

fn text<'v>(value: &'v Value, key: &str) -> &'v str {
    value[key].as_str().unwrap_or("")
}

fn id_in_path(id: &str) -> Result<&str, Failure> {
    let valid = !id.is_empty() && id.bytes().all(|b| b.is_ascii_digit() || b == b'-');
    valid.then_some(id).ok_or_else(|| Failure::new(Exit::Usage, format!("{id:?} is not the name of an answer")))
}

/// An answer that is not there is like any name of nothing: exit 2.
fn refused(e: ClientError) -> Failure {
    match &e {
        ClientError::Refused { code, .. } if code == "no_answer" => Failure::new(Exit::Usage, e.to_string()),
        _ => e.into(),
    }
}

pub(super) async fn run(command: AnswerCommand) -> Result<Exit, Failure> {
    match command {
        AnswerCommand::Ls { json, config } => {
            let answer = config.client()?.get("/v1/answers").await?;
            if json {
                let list: Value = serde_json::from_slice(&answer).map_err(Failure::failed)?;
                outln!("{list}");
                return Ok(Exit::Done);
            }
            let list: Value = shown(&answer)?;
            for a in list.as_array().map(Vec::as_slice).unwrap_or_default() {
                let file = if text(a, "file").is_empty() { text(a, "source") } else { text(a, "file") };
                outln!(
                    "{}  {}  {}  {}  rejected {}  questions {}",
                    text(a, "id"),
                    text(a, "at"),
                    pad(file, 30),
                    pad(text(a, "category"), 18),
                    a["rejected"],
                    a["questions"]
                );
            }
        }
        AnswerCommand::Show { id, json, config } => {
            let (client, id) = (config.client()?, id_in_path(&id)?);
            let (mut from, mut whole, mut rows) = (Some(0), Value::Null, Vec::new());
            while let Some(n) = from {
                let page = client.get(&format!("/v1/answers/{id}?from={n}")).await.map_err(refused)?;
                let mut page: Value =
                    if json { serde_json::from_slice(&page).map_err(Failure::failed)? } else { shown(&page)? };
                from = page["next"].as_u64();
                let Value::Array(found) = page["rows"].take() else { break };
                if json {
                    rows.extend(found);
                    whole = page;
                    continue;
                }
                if n == 0 {
                    head(&page);
                }
                found.iter().for_each(row);
            }
            if json {
                whole["rows"] = rows.into();
                outln!("{whole}");
            }
        }
        AnswerCommand::Rm { ids, config } => {
            let client = config.client()?;
            for id in &ids {
                let path = format!("/v1/answers/{}/remove", id_in_path(id)?);
                client.post(&path, Body::empty()).await.map_err(refused)?;
                outln!("{id}: removed");
            }
        }
        AnswerCommand::File { id, output, config } => {
            let form = match output.extension().and_then(|e| e.to_str()) {
                Some("xlsx") => "xlsx",
                Some("csv") => "csv",
                _ => return Err(Failure::new(Exit::Usage, "--output: the name must end with .xlsx or .csv")),
            };
            let (client, path) = (config.client()?, format!("/v1/answers/{}.{form}", id_in_path(&id)?));
            let fail = |e: io::Error| Failure::failed(format!("{}: {e}", output.display()));
            let mut file = io::BufWriter::new(SavedFile::begin(&output).map_err(fail)?);
            let mut bytes = 0;
            let got = client.get_pieces(&path, |piece| {
                bytes += piece.len();
                file.write_all(piece)
            });
            got.await.map_err(refused)?;
            file.into_inner().map_err(|e| fail(e.into_error()))?.keep().map_err(fail)?;
            errln!("{}: {} KiB", output.display(), bytes >> 10);
        }
    }
    Ok(Exit::Done)
}

fn head(answer: &Value) {
    let n = |key: &str| answer[key].as_u64().unwrap_or(0);
    outln!("{}  {}  {}", text(answer, "id"), text(answer, "at"), text(answer, "file"));
    let (read, accepted, duplicate, rejected) = (n("read"), n("accepted"), n("duplicate"), n("rejected"));
    outln!(
        "read {read} = accepted {accepted} + duplicate {duplicate} + rejected {rejected}; questions {}",
        n("questions")
    );
    if n("staged") > 0 {
        outln!("staged {} of the accepted, not signed yet: {}", n("staged"), text(answer, "staged_because"));
    } else if let (Some(log), Some(from), Some(to)) =
        (answer["log"].as_str(), answer["from"].as_u64(), answer["to"].as_u64())
    {
        outln!("durable in {log} {from}..{to}");
    }
    beyond(answer, "");
    if n("staged_lost") > 0 {
        outln!("{} of the accepted were staged and cannot be read any more: hand them in again", n("staged_lost"));
    }
}

/// Says which rows the answer does not keep, and why some were not looked at.
pub(super) fn beyond(answer: &Value, indent: &str) {
    if let Some(rows) = answer["not_kept"]["rows"].as_u64() {
        let (first, last) = (&answer["not_kept"]["first"], &answer["not_kept"]["last"]);
        outln!(
            "{indent}{rows} more rows to look at are counted and not kept, those of lines {first} to {last}: correct the others first"
        );
    }
    let ended = &answer["ended"];
    if ended.is_object() {
        outln!("{indent}{} rows were not looked at: {}", ended["rows"], message(ended));
    }
}

fn row(row: &Value) {
    let since = match &row["corrected"] {
        Value::Null => String::new(),
        by => format!("  corrected {} by record {}", text(by, "sealed_at"), text(by, "id")),
    };
    outln!("line {}{since}", row["line"]);
    for f in row["findings"].as_array().map(Vec::as_slice).unwrap_or_default() {
        let (code, severity, field) = (text(f, "code"), text(f, "severity"), text(f, "field"));
        outln!("  {code}  {severity}  {field}  {}", message(f));
    }
}

/// Writes a file whole or not at all.
pub(super) fn write(path: &Path, bytes: &[u8]) -> Result<(), Failure> {
    save(path, bytes).map_err(|e| Failure::failed(format!("{}: {e}", path.display())))
}
