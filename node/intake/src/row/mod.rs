//! From a row as it was handed in to a record: read, brought into form, and judged by the catalog's rules.
//!
//! All of it follows from the row, the charter and the day. What is held is not known here, and nothing is written.

mod cells;
mod chunk;
mod context;
mod damage;
mod keys;
mod normal;
mod prepare;
mod read;
mod reply;

pub use chunk::{ADDED_HEADS, RawRow, RowChunk, TableColumns};
pub use context::{Rights, RowContext};
pub use normal::Change;
pub use prepare::FieldChange;
pub use read::{CheckedRecord, JudgedRow, RowKey, identify, identify_otherwise, read_line, read_object};
pub use reply::Reply;
