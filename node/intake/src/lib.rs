//! Intake: rows become records, records become batches of the own log; the answer means durable.
//!
//! ```text
//! lines / table ─> door (prepare: values in form; judge: the catalog's rules) ─> batcher (what is held) ─> journal
//!        └──────────────────── upload: one submission from its first byte to its answer ───────────┘
//! ```

mod answer;
pub mod answers;
mod batcher;
mod door;
pub mod folder;
mod held;
mod lines;
mod normal;
mod pour;
mod prepare;
mod reply;
mod rows;
mod sink;
mod table;
mod upload;

pub use answer::{Answer, ERRORS_MAX, Noted};
pub use batcher::{Chunk, ChunkAnswer, ChunkError, ChunkResult, Holdings, Intake, start};
pub use door::{Door, Good, Rights, Row, RowKey, identify, read_line, read_object};
pub use held::{Policy, Verdict};
pub use lines::Lines;
pub use normal::Change;
pub use pour::{Format, Pieces, PourError, Told, file_pieces, pour};
pub use prepare::Changed;
pub use reply::Reply;
pub use rows::{ADDED_HEADS, Columns, Raw, Rows};
pub use sink::Sink;
pub use upload::{Desk, Keeper, Submission, Upload, UploadError};
