//! From the bytes of an input to rows in a sink, whatever its format.

use crate::{
    Columns, Lines, Noted, Rows, Sink, UploadError,
    input::table::{Table, Taken, Title},
    submission::upload::{CHUNK_BYTES, CHUNK_ROWS},
};
use bytes::Bytes;
use futures_util::{Stream, StreamExt as _};
use std::{
    io::{self, Read, Write as _},
    ops::ControlFlow,
    path::{Path, PathBuf},
    pin::Pin,
    sync::Arc,
};
use tally_protocol::finding::Finding;
use tally_sheet::{CsvOptions, Kind, Row, SheetError, read_csv, read_xlsx};
use tally_topology::judge::shown;
use tokio::sync::{Semaphore, mpsc};

/// Bytes that are cut into lines at once.
const PART_BYTES: usize = 4 << 10;
/// Bytes looked at to know what the input is.
const SNIFF_BYTES: usize = 512;
/// Largest workbook, in bytes.
const WORKBOOK_BYTES_MAX: u64 = 512 << 20;
/// Workbooks read at the same time: the texts of each stand in memory whole, which may be some hundreds of megabytes.
const WORKBOOKS: usize = 2;
/// Pieces between the network and the thread that parses, and chunks between that and the sink.
const PIECES: usize = 16;
/// See [`PIECES`].
const CHUNKS: usize = 2;

/// How an input is to be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// One JSON object a line.
    Ndjson,
    /// CSV or TSV.
    Csv,
    /// Excel workbook.
    Xlsx,
}

/// Bytes of an input as they come.
pub type Pieces = Pin<Box<dyn Stream<Item = Result<Bytes, String>> + Send>>;

/// Bytes of a file that are read at once.
const FILE_PIECE: u64 = 256 << 10;

/// A file as pieces, read on a thread of its own.
pub fn file_pieces(mut file: std::fs::File) -> Pieces {
    let (send, receive) = mpsc::channel(2);
    tokio::task::spawn_blocking(move || {
        loop {
            let mut piece = Vec::new();
            let read = Read::by_ref(&mut file).take(FILE_PIECE).read_to_end(&mut piece);
            let end = matches!(read, Ok(0)) || read.is_err();
            let piece = read.map(|_| Bytes::from(piece)).map_err(|e| e.to_string());
            if send.blocking_send(piece).is_err() || end {
                return;
            }
        }
    });
    Box::pin(futures_util::stream::unfold(receive, |mut r| async { r.recv().await.map(|p| (p, r)) }))
}

/// Why an input was not read to its end.
#[derive(Debug, Clone, thiserror::Error)]
pub enum PourError {
    /// The submission cannot go on.
    #[error(transparent)]
    Upload(#[from] UploadError),
    /// The bytes stopped coming.
    #[error("the input broke off: {0}; send it again, nothing is doubled")]
    BrokenOff(String),
    /// It is no table or list of records, and nothing of it was taken.
    #[error(transparent)]
    Refused(#[from] SheetError),
    /// The folder for workbooks cannot be used.
    #[error("a workbook cannot be put on the disk: {0}")]
    Spool(String),
    /// Whoever takes the rows can take no more of them.
    #[error("{message}")]
    Ended {
        /// Stable name.
        code: &'static str,
        /// For people.
        message: String,
    },
}

/// Told what is known of a table once its heads are.
pub type Told<'t> = &'t mut (dyn FnMut(&Columns, &str) + Send);

/// Reads an input to its end.
///
/// # Errors
/// [`PourError`]; what was accepted until then stays.
pub async fn pour(
    sink: &mut impl Sink,
    pieces: Pieces,
    format: Format,
    spool: &Path,
    told: Told<'_>,
) -> Result<(), PourError> {
    // Not every stream may be asked again after its end.
    let mut pieces: Pieces = Box::pin(pieces.fuse());
    let mut first = Vec::new();
    while first.len() < SNIFF_BYTES
        && let Some(piece) = pieces.next().await
    {
        first.extend_from_slice(&piece.map_err(PourError::BrokenOff)?);
    }
    let kind = tally_sheet::sniff(&first);
    let pieces: Pieces = Box::pin(futures_util::stream::iter([Ok(Bytes::from(first))]).chain(pieces));
    match (kind, format) {
        // A byte of an archive cannot begin a line of JSON or a head.
        (Kind::Zip, _) => xlsx(sink, pieces, spool, told).await,
        (Kind::Text, Format::Ndjson) => ndjson(sink, pieces).await,
        (Kind::Text, Format::Csv | Format::Xlsx) => csv(sink, pieces, told).await,
        (kind, _) => Ok(tally_sheet::refuse(kind)?),
    }
}

async fn ndjson(sink: &mut impl Sink, mut pieces: Pieces) -> Result<(), PourError> {
    let mut lines = Lines::default();
    let (mut chunk, mut bytes): (Vec<(u64, Vec<u8>)>, usize) = (Vec::new(), 0);
    while let Some(piece) = pieces.next().await {
        // A large piece is fed in parts, so that a chunk stays near its size.
        for part in piece.map_err(PourError::BrokenOff)?.chunks(PART_BYTES) {
            lines.feed(part, |n, line| {
                bytes += line.len();
                chunk.push((n, line.to_vec()));
            });
            if bytes >= CHUNK_BYTES || chunk.len() >= CHUNK_ROWS {
                sink.rows(Rows::Lines(std::mem::take(&mut chunk))).await?;
                bytes = 0;
            }
        }
    }
    lines.finish(|n, line| chunk.push((n, line.to_vec())));
    sink.rows(Rows::Lines(chunk)).await?;
    Ok(())
}

/// What the thread that parses a table hands over.
enum Event {
    Rows(Arc<Columns>, String, Vec<Row>),
    Notes(Vec<Noted>),
    /// What it was taken for.
    Format(String),
    /// It could not be read to its end.
    Fault(SheetError),
}

/// A stream of pieces as a blocking reader.
struct PieceReader {
    pieces: mpsc::Receiver<Result<Bytes, String>>,
    rest: Bytes,
}

impl Read for PieceReader {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        while self.rest.is_empty() {
            match self.pieces.blocking_recv() {
                None => return Ok(0),
                Some(Ok(piece)) => self.rest = piece,
                Some(Err(e)) => return Err(io::Error::other(e)),
            }
        }
        let n = self.rest.len().min(out.len());
        out[..n].copy_from_slice(&self.rest.split_to(n));
        Ok(n)
    }
}

async fn csv(sink: &mut impl Sink, mut pieces: Pieces, told: Told<'_>) -> Result<(), PourError> {
    let (send, receive) = mpsc::channel(PIECES);
    let forward = tokio::spawn(async move {
        while let Some(piece) = pieces.next().await {
            if send.send(piece).await.is_err() {
                return;
            }
        }
    });
    let source = PieceReader { pieces: receive, rest: Bytes::new() };
    let result = table(sink, told, Arc::default(), move |take| {
        let found = read_csv(source, CsvOptions::default(), take)?;
        let encoding = found.encoding.map_or("ASCII", tally_sheet::Encoding::name);
        let delimiter = match found.delimiter {
            b'\t' => "tab".to_owned(),
            d => format!("{:?}", char::from(d)),
        };
        Ok((format!("CSV, {encoding}, delimiter {delimiter}"), None))
    })
    .await;
    let _ = forward.await;
    result
}

async fn xlsx(sink: &mut impl Sink, mut pieces: Pieces, spool: &Path, told: Told<'_>) -> Result<(), PourError> {
    static ROOM: Semaphore = Semaphore::const_new(WORKBOOKS);
    let spooled = Spooled::new(spool).map_err(|e| PourError::Spool(e.to_string()))?;
    let mut file = std::fs::File::create(&spooled.0).map_err(|e| PourError::Spool(e.to_string()))?;
    let mut total = 0;
    while let Some(piece) = pieces.next().await {
        let piece = piece.map_err(PourError::BrokenOff)?;
        total += piece.len() as u64;
        if total > WORKBOOK_BYTES_MAX {
            let most = WORKBOOK_BYTES_MAX >> 20;
            let en = format!("the workbook has more than {most} MiB: split it, or save it as CSV");
            return Err(
                SheetError::new("too_large", 0, en, format!("工作簿超过 {most} MiB，请拆分或另存为 CSV")).into()
            );
        }
        file.write_all(&piece).map_err(|e| PourError::Spool(e.to_string()))?;
    }
    drop(file);
    let _room = ROOM.acquire().await.map_err(|e| PourError::Spool(e.to_string()))?;
    let path = spooled.0.clone();
    let title: Title = Arc::default();
    let named = title.clone();
    table(sink, told, title, move |take| {
        let found = read_xlsx(&path, &mut |sheet| drop(named.set(sheet.to_owned())), take)?;
        let names: Vec<_> = found.others.iter().map(|n| shown(n)).collect();
        let unread = (!names.is_empty()).then(|| Noted {
            field: String::new(),
            code: "other_sheets".to_owned(),
            count: names.len() as u64,
            line: 0,
            message: format!("other sheets were not read, hand them in as files of their own: {}", names.join(", ")),
            message_zh: format!("以下工作表未读取，请另存为单独文件报送：{}", names.join("、")),
        });
        Ok((format!("XLSX, sheet {}", shown(&found.sheet)), unread))
    })
    .await
}

/// A file that goes when it is no longer needed.
struct Spooled(PathBuf);

impl Spooled {
    fn new(dir: &Path) -> io::Result<Self> {
        use std::sync::atomic::{AtomicU64, Ordering};
        static NUMBER: AtomicU64 = AtomicU64::new(0);
        std::fs::create_dir_all(dir)?;
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        Ok(Self(dir.join(format!("{}-{number}.xlsx", std::process::id()))))
    }
}

impl Drop for Spooled {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

/// Parses a table on a thread of its own, and hands its rows to the sink.
async fn table(
    sink: &mut impl Sink,
    told: Told<'_>,
    title: Title,
    read: impl FnOnce(tally_sheet::Take<'_>) -> Result<(String, Option<Noted>), SheetError> + Send + 'static,
) -> Result<(), PourError> {
    let (send, mut events) = mpsc::channel(CHUNKS);
    let catalog = sink.charter().charter().catalogs().current(tally_clock::today()).clone();
    let table = Table::new(catalog, sink.category().map(str::to_owned), title);
    let parser = tokio::task::spawn_blocking(move || parse(table, read, &send));
    let (mut any, mut fault) = (false, None);
    while let Some(event) = events.recv().await {
        match event {
            Event::Rows(columns, category, rows) => {
                if !std::mem::replace(&mut any, true) {
                    told(&columns, &category);
                    sink.of_category(&category);
                }
                sink.rows(Rows::Table(columns, rows)).await?;
            }
            Event::Notes(notes) => notes.into_iter().for_each(|n| sink.note(n)),
            Event::Format(format) => sink.of_format(format),
            Event::Fault(e) => fault = Some(e),
        }
    }
    let _ = parser.await;
    match fault {
        // Rows before the fault are taken: it is told as a row that was not.
        Some(e) if any && e.code != "broken_off" => {
            let finding = Finding::reject("F003", "", e.message, e.message_zh).at_line(e.line);
            sink.broken_row(finding).await
        }
        Some(e) if e.code == "broken_off" => Err(PourError::BrokenOff(e.message)),
        Some(e) => Err(e.into()),
        None => Ok(()),
    }
}

fn parse(
    mut table: Table,
    read: impl FnOnce(tally_sheet::Take<'_>) -> Result<(String, Option<Noted>), SheetError>,
    send: &mpsc::Sender<Event>,
) {
    let (mut chunk, mut bytes): (Vec<Row>, usize) = (Vec::new(), 0);
    let mut fault = None;
    let mut hand_over = |table: &Table, taken: Taken, last: bool| -> ControlFlow<()> {
        let Taken::Rows(rows, notes) = taken else { return ControlFlow::Continue(()) };
        if !notes.is_empty() && send.blocking_send(Event::Notes(notes)).is_err() {
            return ControlFlow::Break(());
        }
        bytes += rows.iter().flat_map(|r| &r.cells).map(|c| c.len() + 8).sum::<usize>();
        chunk.extend(rows);
        if last || bytes >= CHUNK_BYTES || chunk.len() >= CHUNK_ROWS {
            bytes = 0;
            let (Some(columns), Some(category)) = (table.columns(), table.category()) else {
                return ControlFlow::Break(());
            };
            let event = Event::Rows(columns.clone(), category.to_owned(), std::mem::take(&mut chunk));
            if send.blocking_send(event).is_err() {
                return ControlFlow::Break(());
            }
        }
        ControlFlow::Continue(())
    };
    let done = read(&mut |row| match table.take(row) {
        Ok(taken) => hand_over(&table, taken, false),
        Err(e) => {
            fault = Some(e);
            ControlFlow::Break(())
        }
    });
    if fault.is_none() {
        match table.finish() {
            Ok(taken) => {
                let _ = hand_over(&table, taken, true);
            }
            Err(e) => fault = Some(e),
        }
    }
    match done {
        Ok((format, noted)) => {
            let _ = send.blocking_send(Event::Format(format));
            let _ = send.blocking_send(Event::Notes(noted.into_iter().collect()));
        }
        // What the reader could not read explains why there are no heads.
        Err(e) => fault = Some(e),
    }
    if let Some(e) = fault {
        let _ = send.blocking_send(Event::Fault(e));
    }
}
