//! The core's entries in the journal, and what is derived from it: the index, the map of batches, hashes of the trees. And
//! what the journal cannot tell: which of its records are lost. Beside them, what is only of use while the node runs.
//!
//! [`entries`] is the only part that writes the journal, [`staged`] keeps rows until they are sealed. The rest is derived, can
//! be deleted, and is made anew from the journal.
//! What must not be here: links, HTTP, decisions about replication.

pub mod batch_map;
pub mod entries;
pub mod index;
mod left;
pub mod lost;
pub mod merkle_store;
pub mod operational;
pub mod staged;
