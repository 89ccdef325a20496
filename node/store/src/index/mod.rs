//! The index: where a record lies, versions by business key, counts. Derived from the journal and never its master:
//! it can be deleted at any time (I8), and nothing on the replication path asks it.

pub mod audit;
mod engine;
mod engine_name;
mod entry;
mod filter;
pub mod findings;
pub mod findings_above;
mod fjall_engine;
mod follow;
mod open;
pub mod query;
mod sled_engine;
mod walk;

pub use engine::{Engine, EngineError, Write};
pub use engine_name::EngineName;
pub use entry::{IndexEntry, Version, pairs};
pub use filter::{DedupIndex, KeyHistory};
pub use follow::{IndexProgress, WRITE_RECORDS, follow};
pub use open::{IndexCounts, OpenedIndex, open};
pub use query::{entry_of, versions_by_hash, versions_of_key};
pub use walk::walk;
