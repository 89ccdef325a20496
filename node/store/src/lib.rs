//! What is derived from the journal, and can be deleted at any time: the index, the map of batches, hashes of the trees.
//!
//! It follows the journal and never writes to it. What must not be here: links, HTTP, decisions about replication.

pub mod batch_map;
pub mod entries;
pub mod index;
pub mod merkle_store;
