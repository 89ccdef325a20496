//! `tally ingest`.

use super::{ConfigFile, Exit, Failure, catalog, language::message};
use axum::body::{Body, Bytes};
use clap::{Args, ValueEnum};
use serde_json::{Value, json};
use std::{
    io::{IsTerminal as _, Read as _},
    path::{Path, PathBuf},
    time::Duration,
};
use tally_client::{
    Client, ClientError,
    print::{draw, tame_all},
};
use tally_intake::InputFormat;
use tally_protocol::tame::tame;
use tally_texts::said;
use tokio::sync::mpsc;

/// Pause before a file is sent again for which there was no room.
const BUSY: Duration = Duration::from_secs(2);
/// Piece of a file that is sent at once.
const PIECE: usize = 256 << 10;

#[derive(Debug, Args)]
pub(super) struct IngestArgs {
    /// CSV, TSV, XLSX or NDJSON files; `-` is stdin.
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    #[command(flatten)]
    terms: Terms,
    /// The rows are a load of history (历史补录), produced before there was anybody to hand them to: they do not count as
    /// late. Reports count them by themselves.
    #[arg(long)]
    backfill: bool,
    /// Take nothing: tell what would become of each row, with every value that is not stored as it came.
    #[arg(long)]
    dry_run: bool,
    /// One JSON document on stdout.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    config: ConfigFile,
}

/// As what rows are handed in.
#[derive(Debug, Args)]
pub(super) struct Terms {
    /// Format of the files; by default their names say it, and without a name NDJSON.
    #[arg(long, value_enum)]
    pub(super) format: Option<Format>,
    /// Category of rows that name none, by identifier or Chinese name; a row of another category is rejected. Tables: by default
    /// the heads say it.
    #[arg(long, value_name = "C")]
    pub(super) category: Option<String>,
    /// Credit code of the unit that hands in, for rows that name none.
    #[arg(long, value_name = "CODE")]
    pub(super) unit: Option<String>,
    /// Division of rows that name none, by code or name.
    #[arg(long, value_name = "D")]
    pub(super) division: Option<String>,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
pub(super) enum Format {
    /// One JSON object a line.
    Ndjson,
    /// CSV or TSV, of any delimiter, in UTF-8, GB18030 or UTF-16.
    Csv,
    /// Excel workbook.
    Xlsx,
}

impl Terms {
    /// How a file is read.
    pub(super) fn format_of(&self, file: &Path) -> InputFormat {
        match self.format.unwrap_or_else(|| by_name(file)) {
            Format::Ndjson => InputFormat::Ndjson,
            Format::Csv => InputFormat::Csv,
            Format::Xlsx => InputFormat::Xlsx,
        }
    }

    /// The query that says them for a file.
    pub(super) fn query(&self, file: &Path) -> Result<String, Failure> {
        let format = self.format.unwrap_or_else(|| by_name(file));
        let format = format.to_possible_value().map(|v| v.get_name().to_owned()).unwrap_or_default();
        let mut query = vec![("format", format), ("source", "cli".to_owned())];
        for (name, value) in [("category", &self.category), ("unit", &self.unit), ("division", &self.division)] {
            if let Some(value) = value {
                query.push((name, encoded(value)));
            }
        }
        if let Some(name) = file.file_name().filter(|_| file.as_os_str() != "-") {
            query.push(("file", encoded(&name.to_string_lossy())));
        }
        Ok(query.iter().map(|(n, v)| format!("{n}={v}")).collect::<Vec<_>>().join("&"))
    }
}

fn by_name(file: &Path) -> Format {
    match file.extension().map(|e| e.to_string_lossy().to_ascii_lowercase()).as_deref() {
        Some("csv" | "tsv" | "txt") => Format::Csv,
        Some("xlsx" | "xls" | "xlsm" | "et") => Format::Xlsx,
        _ => Format::Ndjson,
    }
}

/// A value of a query (RFC 3986).
pub(super) fn encoded(text: &str) -> String {
    let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.' | b'_' | b'~');
    text.bytes().map(|b| if plain(b) { char::from(b).to_string() } else { format!("%{b:02X}") }).collect()
}

pub(super) async fn run(args: IngestArgs) -> Result<Exit, Failure> {
    let client = args.config.client()?;
    let mut terms = args.terms;
    terms.category = catalog::known(&client, terms.category.as_deref()).await?;
    let mut total = json!({
        "read": 0, "accepted": 0, "staged": 0, "duplicate": 0, "rejected": 0, "questions": 0,
        "log": null, "from": null, "to": null, "errors": [], "notes": [], "answers": [], "formats": [], "failed": [],
    });
    let several = args.files.len() > 1;
    for file in &args.files {
        let name = file.display().to_string();
        let mut path = format!("/v1/records?{}", terms.query(file)?);
        for (flag, is_set) in [("backfill", args.backfill), ("dry_run", args.dry_run)] {
            if is_set {
                path += &format!("&{flag}=true");
            }
        }
        let answer = match hand_in(&client, &path, file, !args.json).await {
            Ok(answer) => serde_json::from_slice::<Value>(&answer).map_err(Failure::failed)?,
            Err(e) => {
                let failure = Failure::new(e.exit, format!("{name}: {e}"));
                if let Some(failed) = total["failed"].as_array_mut() {
                    failed.push(json!({ "file": name, "message": e.to_string() }));
                }
                // One that is refused does not keep the others out; a node that is away does. What was taken before is told.
                if !several || failure.exit != Exit::Failed {
                    if args.json && several {
                        tell(total);
                    }
                    return Err(failure);
                }
                errln!("tally: {}", tame(&failure.to_string()));
                continue;
            }
        };
        if !args.json {
            let mut for_people = answer.clone();
            tame_all(&mut for_people);
            print(&tame(&name), &for_people);
        }
        add(&mut total, answer, several.then_some(&name));
    }
    let rejected = total["rejected"].as_u64().unwrap_or(0);
    let failed = total["failed"].as_array().is_some_and(|f| !f.is_empty());
    if args.json {
        tell(total);
    }
    Ok(match (failed, rejected) {
        (true, _) => Exit::Failed,
        (false, 0) => Exit::Done,
        (false, _) => Exit::Look,
    })
}

/// The sums as one document.
fn tell(mut total: Value) {
    // Where only a part of the rows went is no range of them.
    if total["staged"] != 0 {
        (total["log"], total["from"], total["to"]) = (Value::Null, Value::Null, Value::Null);
    }
    outln!("{total}");
}

/// Hands a file in; where others hold all places, it waits.
async fn hand_in(client: &Client, path: &str, file: &Path, progress: bool) -> Result<Bytes, Failure> {
    let mut told = false;
    loop {
        match client.post(path, body(file.to_owned(), progress)?).await {
            Err(ClientError::Refused { code, detail, .. }) if code == "busy" && file.as_os_str() != "-" => {
                if !std::mem::replace(&mut told, true) {
                    errln!("tally: {}: waiting: {detail}", tame(&file.display().to_string()));
                }
                tokio::time::sleep(BUSY).await;
            }
            other => return other.map_err(Failure::from),
        }
    }
}

/// Adds one file's answer to the sums.
fn add(total: &mut Value, mut answer: Value, file: Option<&String>) {
    for sum in ["read", "accepted", "staged", "duplicate", "rejected", "questions"] {
        total[sum] = json!(total[sum].as_u64().unwrap_or(0) + answer[sum].as_u64().unwrap_or(0));
    }
    for last in ["log", "staged_because", "not_kept", "ended"] {
        if !answer[last].is_null() {
            total[last] = answer[last].clone();
        }
    }
    if let Some(from) = answer["from"].as_u64() {
        total["from"] = json!(total["from"].as_u64().map_or(from, |f| f.min(from)));
    }
    if let Some(to) = answer["to"].as_u64() {
        total["to"] = json!(total["to"].as_u64().map_or(to, |t| t.max(to)));
    }
    for list in ["errors", "notes"] {
        if let (Some(all), Value::Array(mut found)) = (total[list].as_array_mut(), answer[list].take()) {
            for e in &mut found {
                if let Some(file) = file {
                    e["file"] = json!(file);
                }
            }
            all.append(&mut found);
        }
    }
    if let Some(trial) = answer["trial"].as_object() {
        let trials = &mut total["trial"];
        if trials.is_null() {
            *trials = json!({ "rows": [], "rows_omitted": 0 });
        }
        trials["rows_omitted"] =
            json!(trials["rows_omitted"].as_u64().unwrap_or(0) + trial["rows_omitted"].as_u64().unwrap_or(0));
        let rows = trial["rows"].as_array().cloned().unwrap_or_default().into_iter().map(|mut row| {
            if let Some(file) = file {
                row["file"] = json!(file);
            }
            row
        });
        if let Some(all) = trials["rows"].as_array_mut() {
            all.extend(rows);
        }
    }
    for (list, one) in [("answers", "answer"), ("formats", "format")] {
        if let (Some(all), Some(name)) = (total[list].as_array_mut(), answer[one].as_str()) {
            all.push(json!(name));
        }
    }
    if let Some(omitted) = answer["errors_omitted"].as_u64() {
        total["errors_omitted"] = json!(total["errors_omitted"].as_u64().unwrap_or(0) + omitted);
    }
}

fn print(name: &str, answer: &Value) {
    const SHOWN: usize = 20;
    let n = |key: &str| answer[key].as_u64().unwrap_or(0);
    let text = |v: &Value, key: &str| v[key].as_str().unwrap_or("").to_owned();
    let (read, accepted, duplicate, rejected) = (n("read"), n("accepted"), n("duplicate"), n("rejected"));
    if let Some(format) = answer["format"].as_str() {
        outln!("{name}: {format}");
    }
    let trial = answer["trial"].as_object();
    let would = if trial.is_some() { " (dry run: nothing is taken 试运行，未入库)" } else { "" };
    outln!("{name}: read {read} = accepted {accepted} + duplicate {duplicate} + rejected {rejected}{would}");
    if read == 0 {
        outln!("  nothing was handed in: there is no row with data in it");
    }
    if let Some(trial) = trial {
        print_trial(&trial["rows"], trial["rows_omitted"].as_u64().unwrap_or(0));
    }
    if n("questions") > 0 {
        outln!("  {} of these rows are asked about (疑问)", n("questions"));
    }
    if let (true, Some(log)) = (accepted > 0, answer["log"].as_str()) {
        outln!("  durable in {log} {}..{}", n("from"), n("to"));
    }
    if n("staged") > 0 {
        let because = text(answer, "staged_because");
        outln!(
            "  {} of the accepted are staged (暂存): durable on this node's disk, not signed yet ({because});",
            n("staged")
        );
        outln!("  nobody else has them. Later: tally answer show {}", text(answer, "answer"));
    }
    for note in answer["notes"].as_array().map(Vec::as_slice).unwrap_or_default() {
        let (field, count, line) = (text(note, "field"), note["count"].as_u64().unwrap_or(0), &note["line"]);
        let rows = if count > 1 { format!(", {count} rows") } else { String::new() };
        outln!("  note  {field} (line {line}{rows}): {}", message(note));
    }
    let errors = answer["errors"].as_array().map(Vec::as_slice).unwrap_or_default();
    for e in errors.iter().take(SHOWN) {
        let (code, field, severity) = (text(e, "code"), text(e, "field"), text(e, "severity"));
        outln!("  line {}  {code}  {severity}  {field}  {}", e["line"], message(e));
    }
    let omitted = errors.len().saturating_sub(SHOWN) as u64 + n("errors_omitted");
    if omitted > 0 {
        outln!("  ... and {omitted} more");
    }
    super::answer::beyond(answer, "  ");
    if let Some(id) = answer["answer"].as_str().filter(|_| n("rejected") + n("questions") > 0) {
        outln!("  the rows to look at, with the reasons: tally answer file {id} -o {id}.xlsx --config ...");
    }
}

/// Rows of a trial: what would become of each, what of it would be stored in another form, and the record.
fn print_trial(rows: &Value, omitted: u64) {
    let text = |v: &Value, key: &str| v[key].as_str().unwrap_or("").to_owned();
    for row in rows.as_array().map(Vec::as_slice).unwrap_or_default() {
        outln!("  line {}  {}", row["line"], text(row, "verdict"));
        for c in row["changes"].as_array().map(Vec::as_slice).unwrap_or_default() {
            let to = if c["to"] == "" { said("(empty 空)").into_owned() } else { text(c, "to") };
            outln!("    {}: {} -> {to}  {}", text(c, "field"), text(c, "from"), message(c));
        }
        if !row["record"].is_null() {
            outln!("    {}", row["record"]);
        }
    }
    if omitted > 0 {
        outln!("  ... and {omitted} rows more");
    }
}

/// A file as a stream, read on a thread so that the upload runs meanwhile. Whoever asks for it names the file in what is said.
pub(super) fn body(file: PathBuf, progress: bool) -> Result<Body, Failure> {
    let name = file.display().to_string();
    let mut source: Box<dyn std::io::Read + Send> = if file.as_os_str() == "-" {
        Box::new(std::io::stdin())
    } else {
        let f = std::fs::File::open(&file).map_err(Failure::failed)?;
        if f.metadata().is_ok_and(|m| m.is_dir()) {
            return Err(Failure::failed("this is a folder, a file is needed"));
        }
        Box::new(f)
    };
    let total = std::fs::metadata(&file).map_or(0, |m| m.len());
    let show = progress && std::io::stderr().is_terminal() && total > 32 << 20;
    let (send, receive) = mpsc::channel::<Result<Vec<u8>, std::io::Error>>(4);
    std::thread::spawn(move || {
        let (mut done, mut shown) = (0_u64, 0_u64);
        loop {
            let mut piece = Vec::with_capacity(PIECE);
            let read = source.by_ref().take(PIECE as u64).read_to_end(&mut piece);
            let end = matches!(read, Ok(0));
            done += piece.len() as u64;
            if show && (end || done - shown >= total / 100) {
                shown = done;
                progress_bar(&name, done, total, end);
            }
            if end || send.blocking_send(read.map(|_| piece)).is_err() {
                return;
            }
        }
    });
    Ok(Body::from_stream(futures_util::stream::unfold(receive, |mut r| async { r.recv().await.map(|p| (p, r)) })))
}

fn progress_bar(name: &str, done: u64, total: u64, end: bool) {
    const WIDTH: u64 = 30;
    let total = total.max(1);
    let full = (done.min(total) * WIDTH / total) as usize;
    let (bar, rest) = ("#".repeat(full), "-".repeat(WIDTH as usize - full));
    let (name, end) = (tame(name), if end { "\n" } else { "" });
    let percent = done.min(total) * 100 / total;
    draw(format_args!("\r{name}  [{bar}{rest}] {percent:3}%  {} of {} MiB{end}", done >> 20, total >> 20));
}
