//! Answers that are kept: for every submission with rows that were rejected or asked about, what was said of each of them,
//! with the row as it came, so that it can be given back in the submitter's own form (R-52, R-53).
//!
//! ```text
//! data/answers/350102-20261125-0007/answer.json    counts, terms, heads of the table
//!                                  /rows.ndjson    one row and its findings a line
//!                                  /corrected.ndjson    a row and the record by which it was corrected, a line
//! ```

mod corrections;
mod file;
mod kept;
mod store;

pub use file::{Form, write};
pub use kept::{KeptRow, Meta};
pub use store::{KEPT_DAYS, Keeping, Kept, Store};
