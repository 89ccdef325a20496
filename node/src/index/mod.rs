//! The index: where a record lies, versions by business key, counts. Derived from the journal and never its master:
//! it can be deleted at any time (I8), and nothing on the replication path asks it.

pub mod audit;
mod engine;
mod entry;
mod filter;
mod fjall_engine;
mod follow;
mod open;
pub mod query;
mod sled_engine;

pub use engine::{Engine, EngineError, Write};
pub use entry::{Entry, Operation};
pub use filter::Known;
pub use follow::{Progress, WRITE_RECORDS, follow};
pub use open::{Counts, Opened, open};
