//! `tally record`: single records, by the first digits of their ids or by what they count for.

use super::{Client, ConfigFile, Exit, Failure, catalog, ingest::encoded, language::message};
use clap::{Args, Subcommand};
use jiff::civil::Date;
use serde_json::{Value, json};
use tally_client::shown;
use tally_protocol::record::RecordId;
use tally_reports::deadline::{ListedRecord, RecordPage};
use tally_sheet::text::table;
use tally_texts::{local_times, said};

/// Records asked for at once.
const PAGE: usize = 1_000;
/// Digits of an id that are shown in a list: enough to name it by.
const SHORT: usize = 12;
/// Digits of a whole id.
const DIGITS: usize = 64;

#[derive(Debug, Subcommand)]
pub(super) enum RecordCommand {
    /// Show one record: what it says, where it is, and what is asked about it.
    Show {
        /// Its id, or at least the first 8 digits of it.
        id: String,
        /// One JSON document on stdout.
        #[arg(long)]
        json: bool,
        #[command(flatten)]
        config: ConfigFile,
    },
    /// List records in force that fit all that is named.
    Ls(RecordList),
}

#[derive(Debug, Args)]
pub(super) struct RecordList {
    /// Only records that count for this division or those below it, by code or name.
    #[arg(long, value_name = "D")]
    division: Option<String>,
    /// Only this category, by identifier or Chinese name.
    #[arg(long, value_name = "C")]
    category: Option<String>,
    /// Only produced by the unit with this credit code.
    #[arg(long, value_name = "CODE")]
    unit: Option<String>,
    /// Only produced on this day or later.
    #[arg(long, value_name = "DAY", value_parser = super::day)]
    from: Option<Date>,
    /// Only produced on this day or earlier.
    #[arg(long, value_name = "DAY", value_parser = super::day)]
    to: Option<Date>,
    /// Only those that are late or overdue.
    #[arg(long)]
    late: bool,
    /// Only those that are asked about by this node.
    #[arg(long)]
    question: bool,
    /// At most so many.
    #[arg(long, value_name = "N", default_value_t = 200)]
    limit: usize,
    /// One JSON document on stdout.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    config: ConfigFile,
}

/// The record that is meant by an id or its first digits.
pub(super) async fn whole(client: &Client, digits: &str) -> Result<RecordId, Failure> {
    if digits.len() == DIGITS {
        return digits.parse().map_err(|e| Failure::new(Exit::Usage, format!("{digits}: {e}")));
    }
    let answer = client.get(&format!("/v1/record?only_id=true&id={}", encoded(digits))).await?;
    let answer: Value = serde_json::from_slice(&answer).map_err(Failure::failed)?;
    serde_json::from_value(answer["id"].clone()).map_err(Failure::failed)
}

pub(super) async fn run(command: RecordCommand) -> Result<Exit, Failure> {
    match command {
        RecordCommand::Show { id, json, config } => {
            let answer = config.client()?.get(&format!("/v1/record?id={}", encoded(&id))).await?;
            if json {
                outln!("{}", String::from_utf8_lossy(&answer));
            } else {
                print(&shown(&answer)?)?;
            }
        }
        RecordCommand::Ls(list) => ls(list).await?,
    }
    Ok(Exit::Done)
}

async fn ls(list: RecordList) -> Result<(), Failure> {
    let client = list.config.client()?;
    let category = catalog::known(&client, list.category.as_deref()).await?;
    let (from, to) = (list.from.map(|d| d.to_string()), list.to.map(|d| d.to_string()));
    let mut query = format!("late={}&question={}", list.late, list.question);
    for (name, value) in
        [("division", list.division), ("category", category), ("unit", list.unit), ("from", from), ("to", to)]
    {
        if let Some(value) = value {
            query += &format!("&{name}={}", encoded(&value));
        }
    }
    let (mut records, mut after) = (Vec::<ListedRecord>::new(), String::new());
    let more = loop {
        let limit = PAGE.min(list.limit.saturating_sub(records.len()));
        let answer = client.get(&format!("/v1/record/list?{query}&limit={limit}{after}")).await?;
        let page: RecordPage =
            if list.json { serde_json::from_slice(&answer).map_err(Failure::failed)? } else { shown(&answer)? };
        records.extend(page.records);
        match page.next {
            Some(next) if records.len() < list.limit => after = format!("&after={next}"),
            next => break next.is_some(),
        }
    };
    if list.json {
        outln!("{}", json!({ "records": records, "more": more }));
        return Ok(());
    }
    let rows: Vec<Vec<String>> = records.iter().map(row).collect();
    let heads = ["ID", "CATEGORY", "DIVISION", "PRODUCED", "COLLECT BY", "DEADLINE", "SUBJECT", "ASKED"];
    let heads: Vec<String> = heads.iter().map(|h| said(h).into_owned()).collect();
    let mut out = String::new();
    table(&mut out, &heads.iter().map(String::as_str).collect::<Vec<_>>(), &[], &rows);
    outln!("{}", out.trim_end());
    outln!("{} records{}", records.len(), if more { "; there are more, see --limit" } else { "" });
    Ok(())
}

fn state(r: &ListedRecord) -> String {
    let name = r.deadline.and_then(|d| serde_json::to_value(d).ok()).and_then(|d| d.as_str().map(str::to_owned));
    let days = if r.days_over > 0 { format!(" +{}", r.days_over) } else { String::new() };
    name.map_or_else(|| "-".to_owned(), |name| format!("{}{days}", said(&name)))
}

fn row(r: &ListedRecord) -> Vec<String> {
    let or = |text: &Option<String>| text.clone().unwrap_or_else(|| "-".to_owned());
    vec![
        r.id.to_string().chars().take(SHORT).collect(),
        r.category.clone(),
        r.division.map_or_else(|| "-".to_owned(), |d| d.to_string()),
        or(&r.produced_on),
        or(&r.collect_due),
        state(r),
        or(&r.subject_name),
        r.questions.join(" "),
    ]
}

fn print(answer: &Value) -> Result<(), Failure> {
    let listed: Option<ListedRecord> = serde_json::from_value(answer["listed"].clone()).map_err(Failure::failed)?;
    outln!("{}", answer["id"].as_str().unwrap_or_default());
    if let Some(r) = &listed {
        let due = r.collect_due.as_deref().unwrap_or("-");
        outln!("  deadline {}, collect by {due}", state(r));
    }
    for held in answer["receipts"].as_array().map(Vec::as_slice).unwrap_or_default() {
        let (log, index) = (held["log"].as_str().unwrap_or_default(), &held["index"]);
        outln!("  in {log} {index}");
        for by in held["held_by"].as_array().map(Vec::as_slice).unwrap_or_default() {
            let time = local_times(by["time"].as_str().unwrap_or_default()).into_owned();
            outln!("    on disk at {} since {time}", by["holder"].as_str().unwrap_or_default());
        }
    }
    for f in answer["findings"].as_array().map(Vec::as_slice).unwrap_or_default() {
        let text = |key: &str| f[key].as_str().unwrap_or("").to_owned();
        outln!("  {}  {}  {}  {}", text("code"), text("severity"), text("field"), message(f));
    }
    outln!("{}", serde_json::to_string_pretty(&answer["record"]).map_err(Failure::failed)?);
    Ok(())
}
