//! From the bytes of an input to rows in a [`RowSink`], whatever its format.
//!
//! An input is read once, from its beginning to its end, and in bounded memory: a sink that waits holds the sender back.
//! Nothing here knows what a record is, who hands it in, or what becomes of a row: that is the sink's.

mod document;
mod json;
mod lines;
mod pieces;
mod records;
mod sink;
mod table;
mod tabular;
mod workbook;

pub use lines::LineSplitter;
pub use pieces::{InputDigest, InputPieces, digested, file_pieces};
pub use sink::RowSink;

use crate::UploadError;
use bytes::Bytes;
use futures_util::StreamExt as _;
use std::{io, path::Path};
use tally_sheet::{FileKind, SheetError};

/// Rows that are handed to a sink together, and their bytes.
pub(crate) const CHUNK_ROWS: usize = 2_000;
/// See [`CHUNK_ROWS`].
pub(crate) const CHUNK_BYTES: usize = 256 << 10;
/// Bytes looked at to know what the input is.
const SNIFF_BYTES: usize = 512;

/// How an input is to be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum InputFormat {
    /// JSON: one object a line, or a document that holds them.
    Ndjson,
    /// CSV or TSV.
    Csv,
    /// Excel workbook.
    Xlsx,
}

impl InputFormat {
    /// As in the API.
    pub fn name(self) -> &'static str {
        match self {
            Self::Ndjson => "ndjson",
            Self::Csv => "csv",
            Self::Xlsx => "xlsx",
        }
    }
}

/// Why an input was not read to its end.
#[derive(Debug, thiserror::Error)]
pub enum InputError {
    /// The submission cannot go on.
    #[error(transparent)]
    Upload(#[from] UploadError),
    /// The bytes stopped coming.
    #[error("the input broke off: {0}; send it again, nothing is doubled")]
    BrokenOff(String),
    /// It is no table or list of records, and nothing of it was taken.
    #[error(transparent)]
    Refused(#[from] SheetError),
    /// The folder for what is needed meanwhile cannot be used.
    #[error("a workbook cannot be put on the disk")]
    Spool(#[from] io::Error),
    /// The sink can take no more rows.
    #[error("{message}")]
    SinkEnded {
        /// Stable name.
        code: &'static str,
        /// For people.
        message: String,
    },
}

impl InputError {
    /// A task that this one waits for was ended.
    pub fn stopping() -> Self {
        Self::SinkEnded { code: "stopping", message: "the node is stopping".to_owned() }
    }
}

/// Reads an input to its end.
///
/// Cancel-safe: a future that is dropped hands over no more rows, and lets go of its threads and of its file.
///
/// # Errors
/// [`InputError`]; what the sink took until then stays.
pub async fn read_input(
    sink: &mut impl RowSink,
    pieces: InputPieces,
    format: InputFormat,
    spool: &Path,
) -> Result<(), InputError> {
    // Not every stream may be asked again after its end.
    let mut pieces: InputPieces = Box::pin(pieces.fuse());
    let mut first = Vec::new();
    while first.len() < SNIFF_BYTES
        && let Some(piece) = pieces.next().await
    {
        first.extend_from_slice(&piece.map_err(InputError::BrokenOff)?);
    }
    let kind = tally_sheet::sniff(&first);
    // What a file is counts, not its name.
    if kind == FileKind::Text && (format == InputFormat::Ndjson || document::is_json(&first)) {
        return json::read(sink, first, pieces).await;
    }
    let pieces: InputPieces = Box::pin(futures_util::stream::iter([Ok(Bytes::from(first))]).chain(pieces));
    match (kind, format) {
        // A byte of an archive cannot begin a line of JSON or a head.
        (FileKind::Zip, _) => workbook::read(sink, pieces, spool).await,
        (FileKind::Text, _) => tabular::read_text(sink, pieces).await,
        (kind, _) => Ok(tally_sheet::refuse(kind)?),
    }
}
