//! Records as JSON, in whatever encoding: one a line, or all of them in a document.
//!
//! UTF-8 is read as it comes, and a line of it that is another encoding is refused by itself. Other encodings are decoded on a
//! thread first; there the reading ends where the encoding changes, as with a table.

use super::{
    CHUNK_BYTES, CHUNK_ROWS, InputError, InputPieces, LineSplitter, RowSink,
    document::{self, TextInput},
    pieces::PieceReader,
    records::JsonRecords,
    tabular,
};
use crate::{InputNote, RowChunk};
use bytes::Bytes;
use futures_util::{Stream, StreamExt as _};
use std::{ops::ControlFlow, pin::Pin};
use tally_protocol::finding::Finding;
use tally_sheet::{Encoding, SheetError, read_text, text_beginning};
use tally_topology::judge::shown;
use tokio::sync::mpsc;

/// Bytes that are cut into lines at once.
const PART_BYTES: usize = 4 << 10;
/// Bytes among which the first Chinese character is looked for, which tells the encoding; what is ASCII until there is UTF-8.
const LOOKED_AT_BYTES: usize = 256 << 10;
/// Bytes behind that character by which the encoding is decided.
const DECIDED_BY_BYTES: usize = 4 << 10;
/// Pieces between the thread that decodes and the sink, on either side.
const PIECES: usize = 4;

/// Why a text ended before its end.
enum TextEnd {
    /// The bytes stopped coming.
    BrokenOff(String),
    /// It cannot be read from here on.
    Fault(SheetError),
}

/// A text in UTF-8, as it comes.
type TextPieces = Pin<Box<dyn Stream<Item = Result<Bytes, TextEnd>> + Send>>;

/// Reads a text that calls itself JSON; `first` is its beginning.
pub(super) async fn read(
    sink: &mut impl RowSink,
    mut first: Vec<u8>,
    mut pieces: InputPieces,
) -> Result<(), InputError> {
    while !is_decided(&first)
        && let Some(piece) = pieces.next().await
    {
        first.extend_from_slice(&piece.map_err(InputError::BrokenOff)?);
    }
    let (encoding, beginning) = text_beginning(&first);
    let pieces: InputPieces = Box::pin(futures_util::stream::iter([Ok(Bytes::from(first))]).chain(pieces));
    let input = document::look(&beginning);
    if input == TextInput::Table {
        return tabular::read_text(sink, pieces).await;
    }
    let encoding = encoding.unwrap_or(Encoding::Utf8);
    if (input, encoding) != (TextInput::Lines, Encoding::Utf8) {
        let form = if input == TextInput::Lines { "NDJSON" } else { "JSON" };
        sink.format_found(format!("{form}, {}", encoding.name()));
    }
    let text: TextPieces = match encoding {
        Encoding::Utf8 => Box::pin(pieces.map(|piece| piece.map_err(TextEnd::BrokenOff))),
        Encoding::Gb18030 | Encoding::Utf16 => decoded(pieces),
    };
    let cutter = match input {
        TextInput::Document => Cutter::Document(Box::default()),
        _ => Cutter::Lines(LineSplitter::default()),
    };
    rows(sink, text, cutter).await
}

/// Whether the encoding can be told.
fn is_decided(first: &[u8]) -> bool {
    let chinese = first.iter().position(|b| !b.is_ascii() || *b == 0);
    first.len() >= chinese.map_or(LOOKED_AT_BYTES, |at| at + DECIDED_BY_BYTES)
}

/// Pieces of another encoding as UTF-8, decoded on a thread. It ends with the pieces, or when nobody takes more.
fn decoded(mut pieces: InputPieces) -> TextPieces {
    let (send, receive) = mpsc::channel(PIECES);
    #[expect(clippy::disallowed_methods, reason = "it ends with the pieces, or when nobody decodes them")]
    tokio::spawn(async move {
        while let Some(piece) = pieces.next().await {
            if send.send(piece).await.is_err() {
                return;
            }
        }
    });
    let (give, text) = mpsc::channel(PIECES);
    tokio::task::spawn_blocking(move || {
        let mut take = |piece: &[u8]| match give.blocking_send(Ok(Bytes::copy_from_slice(piece))) {
            Ok(()) => ControlFlow::Continue(()),
            Err(_) => ControlFlow::Break(()),
        };
        let end = match read_text(PieceReader::new(receive), &mut take) {
            Ok(()) => return,
            Err(e) if e.is_broken_off() => TextEnd::BrokenOff(e.message),
            Err(e) => TextEnd::Fault(e),
        };
        let _ = give.blocking_send(Err(end));
    });
    Box::pin(futures_util::stream::unfold(text, |mut r| async { r.recv().await.map(|p| (p, r)) }))
}

/// What cuts a text into rows.
enum Cutter {
    Lines(LineSplitter),
    Document(Box<JsonRecords>),
}

async fn rows(sink: &mut impl RowSink, mut text: TextPieces, mut cutter: Cutter) -> Result<(), InputError> {
    let (mut chunk, mut bytes): (Vec<(u64, Vec<u8>)>, usize) = (Vec::new(), 0);
    let mut fault = None;
    while let Some(piece) = text.next().await {
        let piece = match piece {
            Ok(piece) => piece,
            Err(TextEnd::BrokenOff(e)) => return Err(InputError::BrokenOff(e)),
            Err(TextEnd::Fault(e)) => {
                fault = Some(e);
                break;
            }
        };
        // A large piece is fed in parts, so that a chunk stays near its size.
        for part in piece.chunks(PART_BYTES) {
            match &mut cutter {
                Cutter::Lines(lines) => lines.feed(part, |n, line| {
                    bytes += line.len();
                    chunk.push((n, line.to_vec()));
                }),
                Cutter::Document(records) => records.feed(part, |n, record| {
                    bytes += record.len();
                    chunk.push((n, record));
                }),
            }
            if bytes >= CHUNK_BYTES || chunk.len() >= CHUNK_ROWS {
                sink.rows(RowChunk::Lines(std::mem::take(&mut chunk))).await?;
                bytes = 0;
            }
        }
    }
    match &mut cutter {
        Cutter::Lines(lines) => lines.finish(|n, line| chunk.push((n, line.to_vec()))),
        Cutter::Document(records) => {
            records.finish(|n, record| chunk.push((n, record)));
            // Where the text ends before its end, that is the cause.
            fault = fault.or(records.fault());
            numbered(records).into_iter().for_each(|note| sink.note(note));
        }
    }
    sink.rows(RowChunk::Lines(chunk)).await?;
    match fault {
        Some(e) => {
            sink.broken_row(Finding::reject("F003", "", e.message, e.message_zh).named(e.code).at_line(e.line)).await
        }
        None => Ok(()),
    }
}

/// What is to be known of a document: that its records are numbered, and what in it was not read.
fn numbered(records: &JsonRecords) -> Vec<InputNote> {
    let note = |code: &str, message: String, message_zh: String| {
        let (field, code) = (String::new(), code.to_owned());
        InputNote { field, code, count: 1, line: 0, message, message_zh }
    };
    let en = "the records stand in one JSON document: instead of lines their numbers are told, the first one is 1";
    let zh = "记录写在同一个 JSON 文档中：下文所称行号为记录的序号，第一条为 1";
    let mut notes = vec![note("json_document", en.to_owned(), zh.to_owned())];
    if let Some(name) = records.only_list() {
        let name = shown(name);
        let en = format!("of the JSON document the list {name} was read; what stands beside it was not");
        let zh = format!("JSON 文档中只读取了列表“{name}”，其余内容未读取");
        notes.push(note("json_beside", en, zh));
    }
    notes
}
