//! From a package to a node of a federation: `tally federation init`, `tally node invite`, `tally join`, and the answers to whoever
//! wants to join.
//!
//! ```text
//! federation.rs  the top node, the authority's keys, the first charter
//! place.rs       what a new node has on its disk: tally.toml, keys, the word for its first start
//! ```

pub(super) mod federation;
mod place;
