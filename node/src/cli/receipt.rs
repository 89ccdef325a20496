//! `tally receipt`: since when each level has had records on disk. With files it names what was handed in and is not
//! held: accepted elsewhere, or lost.

use super::{Client, ConfigFile, Exit, Failure, catalog, record};
use clap::Args;
use serde_json::{Value, json};
use std::{
    fs::File,
    io::{self, Read},
    path::{Path, PathBuf},
};
use tally_console::{IDS_MAX, Ids, receipts::RecordReceipts};
use tally_intake::{LineSplitter, RowContext, identify, identify_otherwise};
use tally_protocol::{ids::Division, record::RecordId, tame::tame};
use tally_topology::charter::Charter;

/// Piece of a file that is read at once, in bytes.
const PIECE: usize = 64 << 10;

#[derive(Debug, Args)]
pub(super) struct ReceiptArgs {
    /// NDJSON files that were handed in; `-` is stdin.
    #[arg(value_name = "FILE", required_unless_present = "record", conflicts_with = "record")]
    files: Vec<PathBuf>,
    /// One record by its id, or the first 8 digits of it.
    #[arg(long, value_name = "ID")]
    record: Option<String>,
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
    /// The line, where it may have become another record on another day.
    text: Vec<u8>,
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
    /// Category of lines that name none.
    category: Option<String>,
}

pub(super) async fn run(args: ReceiptArgs) -> Result<Exit, Failure> {
    let client = args.config.client()?;
    let charter = client.charter().await?;
    let category = args.category.as_deref().map(|name| catalog::in_charter(&charter, name)).transpose()?;
    let me = args.config.load()?.node.division;
    let json = args.json;
    let mut asker = Asker { client, json, page: Vec::new(), read: 0, held: 0, staged: 0, charter, me, category };
    if let Some(digits) = &args.record {
        let id = record::whole(&asker.client, digits).await?;
        asker.page.push(Line { file: None, number: None, record: Ok(id), text: Vec::new() });
    }
    let several = args.files.len() > 1;
    for file in &args.files {
        asker.file(file, several).await?;
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
    /// As what lines are read.
    fn context(&self) -> RowContext<'_> {
        let (charter, me, today) = (&self.charter, self.me, tally_clock::today());
        let category = self.category.as_deref();
        RowContext { charter, me, today, category, unit: None, division: None, rights: None, backfill: false }
    }

    async fn file(&mut self, path: &Path, several: bool) -> Result<(), Failure> {
        let name = path.display().to_string();
        let fail = |e: io::Error| Failure::failed(format!("{name}: {e}"));
        let mut source: Box<dyn Read> =
            if path.as_os_str() == "-" { Box::new(io::stdin()) } else { Box::new(File::open(path).map_err(fail)?) };
        let (mut lines, mut piece) = (LineSplitter::default(), vec![0; PIECE]);
        loop {
            let n = source.read(&mut piece).map_err(fail)?;
            let mut take = |number, line: &[u8]| {
                let record = identify(&self.context(), line).map_err(|f| f.message);
                let (file, text) = (several.then(|| name.clone()), line.to_vec());
                self.page.push(Line { file, number: Some(number), record, text });
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
        let mut page = std::mem::take(&mut self.page);
        for page in page.chunks_mut(IDS_MAX) {
            let ids: Vec<_> = page.iter().filter_map(|l| l.record.as_ref().ok().copied()).collect();
            let mut answers = self.receipts(ids).await?.into_iter();
            let mut said = Vec::with_capacity(page.len());
            for line in page.iter() {
                said.push(match &line.record {
                    Ok(id) => answers.next().filter(|a| a.id == *id).ok_or_else(|| Failure::failed("no answer"))?,
                    Err(_) => RecordReceipts::missing(RecordId::of(b"")),
                });
            }
            self.look_otherwise(page, &mut said).await?;
            for (line, receipts) in page.iter().zip(&said) {
                self.print(line, receipts);
                self.read += 1;
                self.held += u64::from(receipts.log.is_some());
                self.staged += u64::from(receipts.staged_since.is_some());
            }
        }
        Ok(())
    }

    /// Lines of which nothing is held may have been handed in under the catalog of that day, or as a load of history.
    async fn look_otherwise(&self, page: &mut [Line], said: &mut [RecordReceipts]) -> Result<(), Failure> {
        let mut others = Vec::new();
        for (at, (line, receipts)) in page.iter().zip(said.iter()).enumerate() {
            if line.record.is_ok() && is_missing(receipts) {
                others.extend(identify_otherwise(&self.context(), &line.text).into_iter().map(|id| (at, id)));
            }
        }
        for asked in others.chunks(IDS_MAX) {
            let answers = self.receipts(asked.iter().map(|(_, id)| *id).collect()).await?;
            for ((at, _), found) in asked.iter().zip(answers).filter(|(_, found)| !is_missing(found)) {
                if let (Some(line), Some(receipts)) = (page.get_mut(*at), said.get_mut(*at)) {
                    line.record = Ok(found.id);
                    *receipts = found;
                }
            }
        }
        Ok(())
    }

    /// What the node says of records, in their order.
    async fn receipts(&self, ids: Vec<RecordId>) -> Result<Vec<RecordReceipts>, Failure> {
        if ids.is_empty() {
            return Ok(Vec::new());
        }
        let body = serde_json::to_string(&Ids { ids }).map_err(Failure::failed)?;
        let answer = self.client.post_json("/v1/receipts", body).await?;
        serde_json::from_slice(&answer).map_err(Failure::failed)
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

/// Whether nothing is known of a record.
fn is_missing(r: &RecordReceipts) -> bool {
    r.log.is_none() && r.staged_since.is_none() && r.lost.is_none()
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
