//! Tables as text, and the thread that parses a table of whatever kind.
//!
//! Parsers block, so each table has a thread of its own; bounded queues lie between it and the sink. It ends when its
//! reader is dropped.

use super::{
    CHUNK_BYTES, CHUNK_ROWS, InputError, InputPieces, RowSink,
    pieces::PieceReader,
    table::{HeadWords, Table, Taken, Title},
};
use crate::{InputNote, RowChunk, TableColumns};
use futures_util::StreamExt as _;
use std::{ops::ControlFlow, sync::Arc};
use tally_protocol::finding::Finding;
use tally_sheet::{CsvOptions, KnownHeads, Row, SheetError, read_csv};
use tokio::sync::mpsc;

/// Pieces between the network and the thread that parses, and chunks between that and the sink.
const PIECES: usize = 16;
/// See [`PIECES`].
const CHUNKS: usize = 2;

/// What a table was taken for, and what else is to be known of it.
pub(super) struct TableRead {
    /// For people.
    pub(super) format: String,
    pub(super) notes: Vec<InputNote>,
    /// What is added where no heads were found, in English and Chinese.
    pub(super) instead: Option<(String, String)>,
}

/// What the thread that parses a table hands over.
enum ParserEvent {
    Rows(Arc<TableColumns>, String, Vec<Row>),
    Notes(Vec<InputNote>),
    /// What it was taken for.
    Format(String),
    /// It could not be read to its end.
    Fault(SheetError),
}

pub(super) async fn read_text(sink: &mut impl RowSink, mut pieces: InputPieces) -> Result<(), InputError> {
    let (send, receive) = mpsc::channel(PIECES);
    #[expect(clippy::disallowed_methods, reason = "it ends with the pieces, or when the table is read")]
    let forward = tokio::spawn(async move {
        while let Some(piece) = pieces.next().await {
            if send.send(piece).await.is_err() {
                break;
            }
        }
        pieces
    });
    let source = PieceReader::new(receive);
    let heads = words(sink);
    let result = read(sink, Arc::default(), move |take| {
        let known = |cells: &[String]| heads.known(cells);
        let options = CsvOptions { delimiter: None, heads: Some(KnownHeads(&known)) };
        let found = read_csv(source, options, take)?;
        let encoding = found.encoding.map_or("ASCII", tally_sheet::Encoding::name);
        let delimiter = match found.delimiter {
            b'\t' => "tab".to_owned(),
            d => format!("{:?}", char::from(d)),
        };
        let format = format!("CSV, {encoding}, delimiter {delimiter}");
        Ok(TableRead { format, notes: Vec::new(), instead: None })
    })
    .await;
    let rest = forward.await;
    result?;
    // The table ended before the input did, and has its answer: by the digest of all of it a repetition is known.
    let mut rest = rest.map_err(|_| InputError::stopping())?;
    while let Some(piece) = rest.next().await {
        piece.map_err(InputError::BrokenOff)?;
    }
    Ok(())
}

/// The heads that a table of this sink may have.
fn words(sink: &impl RowSink) -> HeadWords {
    HeadWords::new(sink.catalog(), sink.category().map(str::to_owned))
}

/// Parses a table on a thread of its own, and hands its rows to the sink.
pub(super) async fn read(
    sink: &mut impl RowSink,
    title: Title,
    read: impl FnOnce(tally_sheet::Take<'_>) -> Result<TableRead, SheetError> + Send + 'static,
) -> Result<(), InputError> {
    let (send, mut events) = mpsc::channel(CHUNKS);
    let table = Table::new(words(sink), title);
    let parser = tokio::task::spawn_blocking(move || parse(table, read, &send));
    let (mut any, mut fault) = (false, None);
    while let Some(event) = events.recv().await {
        match event {
            ParserEvent::Rows(columns, category, rows) => {
                if !std::mem::replace(&mut any, true) {
                    sink.table_found(&columns, &category);
                }
                sink.rows(RowChunk::Table(columns, rows)).await?;
            }
            ParserEvent::Notes(notes) => notes.into_iter().for_each(|n| sink.note(n)),
            ParserEvent::Format(format) => sink.format_found(format),
            ParserEvent::Fault(e) => fault = Some(e),
        }
    }
    let _ = parser.await;
    match fault {
        // Rows before the fault are taken: it is told as a row that was not.
        Some(e) if any && !e.is_broken_off() => {
            let finding = Finding::reject("F003", "", e.message, e.message_zh).at_line(e.line);
            sink.broken_row(finding).await
        }
        Some(e) if e.is_broken_off() => Err(InputError::BrokenOff(e.message)),
        Some(e) => Err(e.into()),
        None => Ok(()),
    }
}

fn parse(
    mut table: Table,
    read: impl FnOnce(tally_sheet::Take<'_>) -> Result<TableRead, SheetError>,
    send: &mpsc::Sender<ParserEvent>,
) {
    let (mut chunk, mut bytes): (Vec<Row>, usize) = (Vec::new(), 0);
    let mut fault = None;
    let mut hand_over = |table: &Table, taken: Taken, last: bool| -> ControlFlow<()> {
        let Taken::Rows(rows, notes) = taken else { return ControlFlow::Continue(()) };
        if !notes.is_empty() && send.blocking_send(ParserEvent::Notes(notes)).is_err() {
            return ControlFlow::Break(());
        }
        bytes += rows.iter().flat_map(|r| &r.cells).map(|c| c.len() + 8).sum::<usize>();
        chunk.extend(rows);
        if last || bytes >= CHUNK_BYTES || chunk.len() >= CHUNK_ROWS {
            bytes = 0;
            let (Some(columns), Some(category)) = (table.columns(), table.category()) else {
                return ControlFlow::Break(());
            };
            let event = ParserEvent::Rows(columns.clone(), category.to_owned(), std::mem::take(&mut chunk));
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
                fault = table.fault();
            }
            Err(e) => fault = Some(e),
        }
    }
    // What came before a fault is taken.
    if fault.is_some() && table.columns().is_some() {
        let _ = hand_over(&table, Taken::Rows(Vec::new(), Vec::new()), true);
    }
    match done {
        Ok(TableRead { format, notes, instead }) => {
            let _ = send.blocking_send(ParserEvent::Format(format));
            let _ = send.blocking_send(ParserEvent::Notes(notes));
            if let (Some(e), Some((en, zh))) = (fault.as_mut().filter(|e| e.code == "no_heads"), instead) {
                (e.message, e.message_zh) = (format!("{}. {en}", e.message), format!("{}；{zh}", e.message_zh));
            }
        }
        // What the reader could not read explains why there are no heads.
        Err(e) => fault = Some(e),
    }
    if let Some(e) = fault {
        let _ = send.blocking_send(ParserEvent::Fault(e));
    }
}
