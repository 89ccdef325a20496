//! The reader's language: which one it is, what is told in it, and local time.
//!
//! Messages are written in English where they arise; `zh/*.txt` holds the Chinese of each, as a catalog of forms with gaps.
//! Only whoever shows a message to a person looks it up, so no part of a node knows the reader. A message that the catalog does
//! not know is shown as it is. Nothing is decided by what is found here. JSON is never translated.

mod catalog;
mod explain;
mod lang;
mod time;

pub use catalog::{english_run, is_chinese, said, zh};
pub use explain::{CodeMeaning, explain, explained_codes};
pub use lang::{Lang, lang, speak};
pub use time::local_times;
