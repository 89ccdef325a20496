//! `tally ingest`.

use super::{ConfigFile, Exit, Failure};
use axum::body::Body;
use clap::{Args, ValueEnum};
use serde_json::{Value, json};
use std::{
    io::{IsTerminal as _, Read as _},
    path::PathBuf,
};
use tokio::sync::mpsc;

/// Piece of a file that is sent at once.
const PIECE: usize = 256 << 10;

#[derive(Debug, Args)]
pub(super) struct IngestArgs {
    /// Files with one JSON record a line; `-` is stdin.
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// Format of the files.
    #[arg(long, value_enum, default_value = "ndjson")]
    format: Format,
    /// Category of lines that name none; a line of another category is rejected.
    #[arg(long, value_name = "C")]
    category: Option<String>,
    /// One JSON document on stdout.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    config: ConfigFile,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Format {
    /// One JSON object a line.
    Ndjson,
}

pub(super) async fn run(args: IngestArgs) -> Result<Exit, Failure> {
    let client = args.config.client()?;
    let Format::Ndjson = args.format;
    let path = match &args.category {
        Some(c) if c.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_') => format!("/v1/records?category={c}"),
        Some(c) => return Err(Failure::new(Exit::Usage, format!("{c:?} is not a category's identifier"))),
        None => "/v1/records".to_owned(),
    };
    let mut total = json!({
        "read": 0, "accepted": 0, "duplicate": 0, "rejected": 0, "questions": 0,
        "log": null, "from": null, "to": null, "errors": [],
    });
    let several = args.files.len() > 1;
    for file in &args.files {
        let name = file.display().to_string();
        let answer = client.post(&path, body(file.clone(), !args.json)?).await.map_err(|e| {
            let failure = Failure::from(e);
            Failure::new(failure.exit, format!("{name}: {failure}"))
        })?;
        let answer: Value = serde_json::from_slice(&answer).map_err(Failure::failed)?;
        if !args.json {
            print(&name, &answer);
        }
        add(&mut total, answer, several.then_some(&name));
    }
    if args.json {
        outln!("{total}");
    }
    let rejected = total["rejected"].as_u64().unwrap_or(0);
    Ok(if rejected > 0 { Exit::Look } else { Exit::Done })
}

/// Adds one file's answer to the sums.
fn add(total: &mut Value, answer: Value, file: Option<&String>) {
    for sum in ["read", "accepted", "duplicate", "rejected", "questions"] {
        total[sum] = json!(total[sum].as_u64().unwrap_or(0) + answer[sum].as_u64().unwrap_or(0));
    }
    total["log"] = answer["log"].clone();
    if let Some(from) = answer["from"].as_u64() {
        total["from"] = json!(total["from"].as_u64().map_or(from, |f| f.min(from)));
    }
    if let Some(to) = answer["to"].as_u64() {
        total["to"] = json!(total["to"].as_u64().map_or(to, |t| t.max(to)));
    }
    if let (Some(all), Value::Array(mut errors)) = (total["errors"].as_array_mut(), answer["errors"].clone()) {
        for e in &mut errors {
            if let Some(file) = file {
                e["file"] = json!(file);
            }
        }
        all.append(&mut errors);
    }
    if let Some(omitted) = answer["errors_omitted"].as_u64() {
        total["errors_omitted"] = json!(total["errors_omitted"].as_u64().unwrap_or(0) + omitted);
    }
}

fn print(name: &str, answer: &Value) {
    const SHOWN: usize = 20;
    let n = |key: &str| answer[key].as_u64().unwrap_or(0);
    let (read, accepted, duplicate, rejected) = (n("read"), n("accepted"), n("duplicate"), n("rejected"));
    outln!("{name}: read {read} = accepted {accepted} + duplicate {duplicate} + rejected {rejected}");
    if accepted > 0 {
        outln!("  durable in {} {}..{}", answer["log"].as_str().unwrap_or(""), n("from"), n("to"));
    }
    let errors = answer["errors"].as_array().map(Vec::as_slice).unwrap_or_default();
    for e in errors.iter().take(SHOWN) {
        let text = |key: &str| e[key].as_str().unwrap_or("").to_owned();
        outln!(
            "  line {}  {}  {}  {}  {}",
            e["line"],
            text("code"),
            text("field"),
            text("message"),
            text("message_zh")
        );
    }
    if n("rejected") > SHOWN as u64 {
        outln!("  ... and {} more; all of them: --json", n("rejected") - SHOWN as u64);
    }
}

/// A file as a stream, read on a thread so that the upload runs meanwhile.
fn body(file: PathBuf, progress: bool) -> Result<Body, Failure> {
    let name = file.display().to_string();
    let mut source: Box<dyn std::io::Read + Send> = if file.as_os_str() == "-" {
        Box::new(std::io::stdin())
    } else {
        let f = std::fs::File::open(&file).map_err(|e| Failure::failed(format!("{name}: {e}")))?;
        if f.metadata().is_ok_and(|m| m.is_dir()) {
            return Err(Failure::failed(format!("{name}: this is a folder, a file is needed")));
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
            if show && (end || done - shown >= total / 20) {
                shown = done;
                eprintln!("{name}: {} of {} MiB sent", done >> 20, total >> 20);
            }
            if end || send.blocking_send(read.map(|_| piece)).is_err() {
                return;
            }
        }
    });
    Ok(Body::from_stream(futures_util::stream::unfold(receive, |mut r| async { r.recv().await.map(|p| (p, r)) })))
}
