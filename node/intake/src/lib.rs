//! Intake: rows become records, records become batches of the own log; the answer means durable.
//!
//! ```text
//! input: bytes ─> rows ─> row: a record, judged ─> batcher: what is held, group commit ─> journal
//!   └────────────── submission: from its first byte to the answer that is kept ──────────────┘
//! folder: files that are dropped are handed in
//! ```

mod batcher;
pub mod folder;
mod input;
mod row;
pub mod submission;

pub use batcher::dedup::{Policy, Verdict};
pub use batcher::{Chunk, ChunkAnswer, ChunkError, ChunkResult, Holdings, Intake, start};
pub use input::lines::Lines;
pub use input::read::{Format, Pieces, PourError, Told, file_pieces, pour};
pub use input::sink::Sink;
pub use row::chunk::{ADDED_HEADS, Columns, Raw, Rows};
pub use row::normal::Change;
pub use row::prepare::Changed;
pub use row::read::{Door, Good, Rights, Row, RowKey, identify, read_line, read_object};
pub use row::reply::Reply;
pub use submission::answer::{Answer, ERRORS_MAX, Noted};
pub use submission::kept as answers;
pub use submission::upload::{Desk, Keeper, Submission, Upload, UploadError};
