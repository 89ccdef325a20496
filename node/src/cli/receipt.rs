//! `tally receipt`: since when each level has had records on disk. With files, of whatever form `tally ingest` reads, it names
//! what was handed in and is not held: accepted elsewhere, or lost.

use super::{Client, ConfigFile, Exit, Failure, catalog, ingest::Terms, record};
use clap::Args;
use serde_json::{Value, json};
use std::{
    fs::File,
    io,
    os::fd::AsFd as _,
    path::{Path, PathBuf},
    sync::Arc,
};
use tally_console::{IDS_MAX, Ids, receipts::RecordReceipts};
use tally_intake::{
    InputError, InputNote, JudgedRow, RowChunk, RowContext, RowSink, TableColumns, file_pieces, identify,
    identify_otherwise, read_input,
};
use tally_protocol::{
    canonical::Object,
    finding::{AtLine, Finding, Severity},
    ids::Division,
    record::RecordId,
    tame::tame,
};
use tally_texts::{Lang, lang};
use tally_topology::{catalog::Catalog, charter::Charter, content::BACKFILL};

#[derive(Debug, Args)]
pub(super) struct ReceiptArgs {
    /// Files that were handed in, as they were; `-` is stdin. Terms that were given to `tally ingest` are given here too.
    #[arg(value_name = "FILE", required_unless_present = "record", conflicts_with = "record")]
    files: Vec<PathBuf>,
    /// One record by its id, or the first 8 digits of it.
    #[arg(long, value_name = "ID")]
    record: Option<String>,
    #[command(flatten)]
    terms: Terms,
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
    /// It answers a question of a record, so it amends that one, or says what that one says.
    replies: bool,
}

/// Why a line is no record, in the language of whoever asks.
fn reason(finding: &Finding) -> String {
    match lang() {
        Lang::En => finding.message.to_string(),
        Lang::Zh => finding.message_zh.to_string(),
    }
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
    /// Category of rows that name none.
    category: Option<String>,
    unit: Option<String>,
    division: Option<Division>,
    /// The file that is read, where there are several.
    file: Option<String>,
    /// What the heads of the table say that is read.
    table: Option<String>,
    /// Why the node was asked in vain.
    failure: Option<Failure>,
}

pub(super) async fn run(args: ReceiptArgs) -> Result<Exit, Failure> {
    let client = args.config.client()?;
    let charter = client.charter().await?;
    let Terms { category, unit, division, .. } = &args.terms;
    let category = category.as_deref().map(|name| catalog::in_charter(&charter, name)).transpose()?;
    let wrong = |e: &dyn std::fmt::Display| Failure::new(Exit::Usage, e.to_string());
    let division = division.as_deref().map(|name| charter.division_named(name)).transpose().map_err(|e| wrong(&e))?;
    let mut asker = Asker {
        client,
        json: args.json,
        page: Vec::new(),
        read: 0,
        held: 0,
        staged: 0,
        me: args.config.load()?.node.division,
        charter,
        category,
        unit: unit.clone(),
        division,
        file: None,
        table: None,
        failure: None,
    };
    if let Some(digits) = &args.record {
        let id = record::whole(&asker.client, digits).await?;
        asker.page.push(Line { file: None, number: None, record: Ok(id), text: Vec::new(), replies: false });
    }
    let several = args.files.len() > 1;
    for file in &args.files {
        asker.file(file, &args.terms, several).await?;
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
    /// As what rows are read.
    fn context(&self) -> RowContext<'_> {
        let (charter, me, today) = (&self.charter, self.me, tally_clock::today());
        let (category, unit) = (self.category.as_deref().or(self.table.as_deref()), self.unit.as_deref());
        RowContext { charter, me, today, category, unit, division: self.division, rights: None, backfill: false }
    }

    async fn file(&mut self, path: &Path, terms: &Terms, several: bool) -> Result<(), Failure> {
        let name = path.display().to_string();
        let open = || -> io::Result<File> {
            if path.as_os_str() == "-" {
                Ok(io::stdin().as_fd().try_clone_to_owned()?.into())
            } else {
                File::open(path)
            }
        };
        let file = open().map_err(|e| Failure::failed(format!("{name}: {e}")))?;
        (self.file, self.table) = (several.then(|| name.clone()), None);
        let read = read_input(self, file_pieces(file), terms.format_of(path), &std::env::temp_dir()).await;
        match (self.failure.take(), read) {
            (Some(failure), _) => Err(failure),
            (None, Err(e)) => Err(Failure::failed(format!("{name}: {}", tally_intake::chain(&e)))),
            (None, Ok(())) => Ok(()),
        }
    }

    /// A row of a table: the record that it is, as far as its values are in order.
    fn line_of(&self, row: &JudgedRow) -> Line {
        let why = || {
            let worst = row.findings.iter().find(|f| f.severity == Severity::Reject).or(row.findings.first());
            worst.map_or_else(|| "no record".to_owned(), reason)
        };
        let record = row.record.as_ref().map(|r| &r.record);
        let text = record.and_then(|r| without_version(r.bytes())).unwrap_or_default();
        let replies = row.record.as_ref().is_some_and(|r| r.replies);
        let (file, record) = (self.file.clone(), record.map(|r| r.id()).ok_or_else(why));
        Line { file, number: Some(row.line), record, text, replies }
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

    /// Lines of which nothing is held may have been handed in under the catalog of that day, or as a load of history, or say what
    /// another record says that is held.
    async fn look_otherwise(&self, page: &mut [Line], said: &mut [RecordReceipts]) -> Result<(), Failure> {
        let mut others = Vec::new();
        for (at, (line, receipts)) in page.iter().zip(said.iter()).enumerate() {
            if line.record.is_ok() && is_missing(receipts) {
                others.extend(
                    identify_otherwise(&self.context(), &line.text, line.replies).into_iter().map(|id| (at, id)),
                );
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

/// A record as it would be said without the catalog's version: a table seldom has a column for it, so that on another day it was
/// another record.
fn without_version(bytes: &[u8]) -> Option<Vec<u8>> {
    let mut object = Object::parse(bytes).ok()?;
    ["catalog_version", BACKFILL].iter().for_each(|name| object.remove(name));
    let mut text = Vec::new();
    object.write(&mut text);
    Some(text)
}

impl RowSink for Asker {
    async fn rows(&mut self, rows: RowChunk) -> Result<(), InputError> {
        match &rows {
            RowChunk::Lines(lines) => {
                for (number, line) in lines {
                    let record = identify(&self.context(), line).map_err(|f| reason(&f));
                    let (file, text) = (self.file.clone(), line.clone());
                    self.page.push(Line { file, number: Some(*number), record, text, replies: false });
                }
            }
            RowChunk::Table(..) => {
                let read: Vec<_> = rows.judged(&self.context()).iter().map(|row| self.line_of(row)).collect();
                self.page.extend(read);
            }
        }
        if self.page.len() >= IDS_MAX
            && let Err(failure) = self.ask().await
        {
            let message = failure.message.clone();
            self.failure = Some(failure);
            return Err(InputError::SinkEnded { code: "node", message });
        }
        Ok(())
    }

    async fn broken_row(&mut self, at: AtLine) -> Result<(), InputError> {
        let (file, number) = (self.file.clone(), Some(at.line));
        self.page.push(Line { file, number, record: Err(reason(&at.finding)), text: Vec::new(), replies: false });
        Ok(())
    }

    fn note(&mut self, _: InputNote) {}

    fn catalog(&self) -> Arc<Catalog> {
        self.charter.catalogs().current(tally_clock::today()).clone()
    }

    fn category(&self) -> Option<&str> {
        self.category.as_deref()
    }

    fn table_found(&mut self, _: &TableColumns, category: &str) {
        self.table = Some(category.to_owned());
    }

    fn format_found(&mut self, _: String) {}
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
