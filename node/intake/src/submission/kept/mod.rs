//! Submissions that are kept: for every one with rows that were rejected or asked about, what was said of each of them,
//! with the row as it came, so that it can be given back in the submitter's own form (R-52, R-53).
//!
//! ```text
//! data/answers/350102-20261125-0007/answer.json    counts, terms, heads of the table
//!                                  /rows.ndjson    one row, and its findings by their phrases, a line
//!                                  /phrases.json    what is said of the rows, once
//!                                  /corrected.ndjson    a row and the record by which it was corrected, a line
//!             /plain/9f86d081884c7d65-00000003.ndjson    answers without rows: one a line
//!             /index.ndjson    what a start needs to know of each folder
//! ```
//!
//! How much may be kept is bounded, for each answer, for each that hands in, and for all: [`KeptLimits`].
//!
//! An answer is there as a whole or not at all: its folder gets its name when everything in it is on the disk. A kept
//! answer is not changed any more; later submissions only add to what was corrected of it. Everything here blocks. It
//! knows neither how rows are judged nor who asks for an answer.

mod book;
mod corrections;
mod index;
mod model;
mod opened;
mod phrases;
mod plain;
mod shared;
mod store;
mod table;
mod writer;

pub use book::{AnswerOwner, AnswersFull, KeptLimits};
pub use corrections::Correction;
pub use model::{KeptRow, SubmissionMeta};
pub use opened::KeptSubmission;
pub(super) use shared::SharedWriter;
pub use store::{KEPT_DAYS, SubmissionStore};
pub use table::{TableForm, write_table};
pub use writer::AnswerWriter;
