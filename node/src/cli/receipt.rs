//! `tally receipt`: since when each level has had records on disk. With files it names what was handed in and is not
//! held: accepted elsewhere, or lost.

use super::{Client, ConfigFile, Exit, Failure, catalog};
use clap::Args;
use serde_json::{Value, json};
use std::{
    fs::File,
    io::{self, Read},
    path::{Path, PathBuf},
};
use tally_console::{IDS_MAX, Ids, receipts::RecordReceipts};
use tally_intake::{LineSplitter, RowContext, identify};
use tally_protocol::{ids::Division, record::RecordId, tame::tame};
use tally_topology::charter::Charter;

/// Piece of a file that is read at once, in bytes.
const PIECE: usize = 64 << 10;

#[derive(Debug, Args)]
pub(super) struct ReceiptArgs {
    /// NDJSON files that were handed in; `-` is stdin.
    #[arg(value_name = "FILE", required_unless_present = "record", conflicts_with = "record")]
    files: Vec<PathBuf>,
    /// One record by its id.
    #[arg(long, value_name = "ID")]
    record: Option<RecordId>,
    /// Category of lines that name none, as it was for `tally ingest`.
    #[arg(long, value_name = "C", conflicts_with = "record")]
    category: Option<String>,
    /// One JSON document on stdout.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    config: ConfigFile,
}

/// A line that is asked for.
struct Line {
    file: Option<String>,
    number: Option<u64>,
    /// The record's id, or why the line is none.
    record: Result<RecordId, String>,
}

/// Asks page by page and prints as the answers come, so that a file may be of any length.
struct Asker {
    client: Client,
    json: bool,
    page: Vec<Line>,
    read: u64,
    held: u64,
    staged: u64,
    /// The node's charter: what rows leave unsaid is filled in by it, as when they are handed in.
    charter: Charter,
    me: Division,
}

pub(super) async fn run(args: ReceiptArgs) -> Result<Exit, Failure> {
    let client = args.config.client()?;
    catalog::known(&client, args.category.as_deref()).await?;
    let charter = client.charter().await?;
    let me = args.config.load()?.node.division;
    let mut asker = Asker { client, json: args.json, page: Vec::new(), read: 0, held: 0, staged: 0, charter, me };
    if let Some(id) = args.record {
        asker.page.push(Line { file: None, number: None, record: Ok(id) });
    }
    let several = args.files.len() > 1;
    for file in &args.files {
        asker.file(file, several, args.category.as_deref()).await?;
    }
    asker.ask().await?;
    let Asker { read, held, staged, .. } = asker;
    let missing = read - held - staged;
    if args.json {
        // The list was begun with the first record.
        let open = if read == 0 { "{\"records\":[" } else { "" };
        outln!("{open}],\"read\":{read},\"held\":{held},\"staged\":{staged},\"missing\":{missing}}}");
    } else if args.record.is_none() {
        let staged = if staged > 0 { format!(" + staged here {staged}") } else { String::new() };
        outln!("read {read} = held {held}{staged} + not held here {missing}");
    }
    Ok(if held < read { Exit::Look } else { Exit::Done })
}

impl Asker {
    async fn file(&mut self, path: &Path, several: bool, category: Option<&str>) -> Result<(), Failure> {
        let name = path.display().to_string();
        let fail = |e: io::Error| Failure::failed(format!("{name}: {e}"));
        let mut source: Box<dyn Read> =
            if path.as_os_str() == "-" { Box::new(io::stdin()) } else { Box::new(File::open(path).map_err(fail)?) };
        let (mut lines, mut piece) = (LineSplitter::default(), vec![0; PIECE]);
        loop {
            let n = source.read(&mut piece).map_err(fail)?;
            let mut take = |number, line: &[u8]| {
                let (charter, me, today) = (&self.charter, self.me, tally_clock::today());
                let context = RowContext { charter, me, today, category, unit: None, division: None, rights: None };
                let record = identify(&context, line).map_err(|f| f.message);
                self.page.push(Line { file: several.then(|| name.clone()), number: Some(number), record });
            };
            if n == 0 {
                lines.finish(&mut take);
                return Ok(());
            }
            lines.feed(&piece[..n], &mut take);
            if self.page.len() >= IDS_MAX {
                self.ask().await?;
            }
        }
    }

    /// Asks for the lines that are waiting, and prints them.
    async fn ask(&mut self) -> Result<(), Failure> {
        let page = std::mem::take(&mut self.page);
        for page in page.chunks(IDS_MAX) {
            let ids: Vec<_> = page.iter().filter_map(|l| l.record.as_ref().ok().copied()).collect();
            let body = serde_json::to_string(&Ids { ids }).map_err(Failure::failed)?;
            let answer = self.client.post_json("/v1/receipts", body).await?;
            let answer: Vec<RecordReceipts> = serde_json::from_slice(&answer).map_err(Failure::failed)?;
            let mut answers = answer.into_iter();
            for line in page {
                let receipts = match &line.record {
                    Ok(id) => answers.next().filter(|a| a.id == *id).ok_or_else(|| Failure::failed("no answer"))?,
                    Err(_) => RecordReceipts::missing(RecordId::of(b"")),
                };
                self.print(line, &receipts);
                self.read += 1;
                self.held += u64::from(receipts.log.is_some());
                self.staged += u64::from(receipts.staged_since.is_some());
            }
        }
        Ok(())
    }

    fn print(&self, line: &Line, receipts: &RecordReceipts) {
        if !self.json {
            return print(line, receipts);
        }
        let mut element = json!(receipts);
        element["line"] = json!(line.number);
        if let Err(why) = &line.record {
            element["id"] = Value::Null;
            element["error"] = json!(why);
        }
        if let Some(file) = &line.file {
            element["file"] = json!(file);
        }
        outln!("{}{element}", if self.read == 0 { "{\"records\":[" } else { "," });
    }
}

fn print(line: &Line, receipts: &RecordReceipts) {
    let file = line.file.as_ref().map_or(String::new(), |f| format!("{} ", tame(f)));
    let start = line.number.map_or(String::new(), |n| format!("{file}line {n}  "));
    let id = match &line.record {
        Ok(id) => id.to_string(),
        Err(why) => return outln!("{start}NOT A RECORD  {}", tame(why)),
    };
    if let Some(lost) = &receipts.lost {
        return outln!("{start}{id}  LOST: it was {} {}, on no disk any more; hand it in again", lost.log, lost.index);
    }
    let (Some(log), Some(index)) = (&receipts.log, receipts.index) else {
        return match &receipts.staged_since {
            Some(since) => outln!("{start}{id}  staged here since {since}, nobody else has it"),
            None => outln!("{start}{id}  NOT HELD HERE"),
        };
    };
    let holder = |h: &tally_console::receipts::HeldBy| format!("  {} {}", h.holder, h.time);
    let held: String = receipts.held_by.iter().map(holder).collect();
    outln!("{start}{id}  {log} {index}{held}");
}
