//! What the fuzz targets share: inputs read and judged as at the door, and seeds that are the repository's own examples.
//!
//! A target ends with a panic where a promise is broken. Besides "no panic, no hang, no more memory than stated", the readers
//! of rows promise that a record, handed in as it was stored, is the same record: a row that is sent again after an export
//! doubles nothing.

mod door;
mod examples;
mod member;

pub use door::read;
pub use examples::{example, hex_example, seeded};
pub use member::mutate_member;
