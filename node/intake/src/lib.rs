//! Intake: rows become records, records become batches of the own log; the answer means durable.
//!
//! ```text
//! input: bytes ─> rows ─> row: a record, judged ─> batcher: what is held, group commit ─> journal
//!   └────────────── submission: from its first byte to the answer that is kept ──────────────┘
//! folder: files that are dropped are handed in
//! ```
//!
//! [`submission`] is the one way in; nothing else knows how its parts follow one another. HTTP, rights and quotas are the
//! console's; links and other nodes are not known here at all.

mod batcher;
mod blocking;
mod chain;
pub mod folder;
mod input;
mod row;
pub mod submission;

pub use batcher::{
    BatcherHandle, BatcherParts, CarryHandle, ChunkAnswer, ChunkError, ChunkResult, DedupPolicy, DedupSources,
    HeldFinding, IntakeTotals, RecordChunk, RowFate, RowOutcome, batcher,
};
pub use chain::chain;
pub use input::{
    InputDigest, InputError, InputFormat, InputPieces, LineSplitter, RowSink, digested, file_pieces, read_input,
};
pub use row::{
    ADDED_HEADS, Change, CheckedRecord, FieldChange, JudgedRow, RawRow, Reply, Rights, RowChunk, RowContext, RowKey,
    TableColumns, identify, identify_otherwise, read_line, read_object,
};
pub use submission::{
    ERRORS_MAX, InputNote, IntakeHandle, ListedErrors, SubmissionAnswer, SubmissionTerms, Upload, UploadError,
};
