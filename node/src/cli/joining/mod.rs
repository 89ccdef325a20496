//! From a package to a node of a federation: `tally federation init`, `tally node invite`, `tally join`, and the answers to whoever
//! wants to join.
//!
//! ```text
//! federation.rs  the top node, the authority's keys, the first charter
//! invite.rs      the line with which a machine may ask
//! replace.rs     what it means that another machine takes a node's place, and its line
//! join.rs        the machine that asks; ask.rs one question to the parent, state.rs what it keeps
//! approve.rs     the charter that names it
//! words.rs       what people are told
//! place.rs       what a new node has on its disk: tally.toml, keys, the word for its first start
//! ```

pub(super) mod approve;
mod ask;
pub(super) mod federation;
pub(super) mod invite;
pub(super) mod join;
mod place;
pub(super) mod replace;
mod state;
mod words;
