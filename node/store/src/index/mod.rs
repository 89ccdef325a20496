//! The index: where a record lies, versions by business key, counts. Derived from the journal and never its master:
//! it can be deleted at any time (I8), and nothing on the replication path asks it.

pub mod audit;
mod beside;
mod chunk;
mod effect;
mod engine;
mod entry;
mod filter;
pub mod findings;
pub mod findings_above;
mod fjall_engine;
mod follow;
mod key_findings;
mod open;
mod overlay;
mod positions;
pub mod query;
mod shared;
mod versions;
mod walk;

pub use effect::Effect;
pub use engine::{Engine, EngineError, Write};
pub use entry::{IndexEntry, Version, pairs};
pub use filter::{DedupIndex, KeyHistory, SubjectMark};
pub use follow::{FollowSources, IndexProgress, Judging, WRITE_RECORDS, follow};
pub use key_findings::other_form;
pub use open::{IndexCounts, OpenedIndex, open};
pub use overlay::Overlay;
pub use positions::each as each_position;
pub use query::entry_of;
pub use versions::{HeldKeyVersion, InForce, KeyVersions};
pub use walk::walk;
