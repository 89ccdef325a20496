//! Tally's formats and sessions.
//!
//! Everything here is pure: no clock, no socket, no disk, no randomness (`.ci/purity` checks sources and
//! dependencies). Time is an argument; what must be written or sent is returned as a value.
//!
//! * [`ids`], [`hash`], [`limits`]: names of divisions, epochs and logs; SHA-256 values; every bound and their relations.
//! * [`record`], [`canonical`]: a record is one line of canonical JSON, named by its leaf hash.
//! * [`merkle`]: the RFC 9162 tree, proofs, and tiles.
//! * [`note`], [`keys`], [`checkpoint`]: C2SP signed notes, checkpoints and timestamped cosignatures.
//! * [`tlog_proof`]: a record's proof as a text of its own.
//! * [`batch`]: the unit of signing, transport and storage.
//! * [`session`]: descent, reconcile and want-lists, as state machines. Push and the gate before signing are in `tally-core`.
//! * [`bundle`]: what a link would carry, as a file.
//! * [`blocks`]: a damaged copy mended by the blocks that differ.
//! * [`digest`]: one value for everything held of a division and those below it.
//! * [`fork`]: the proof that a log was signed twice.
//! * [`wire`], [`codec`], [`bounded`]: the messages between neighbours.
//! * [`request`]: what a node asks of the authority.
//! * [`health`]: how the nodes below and the logs above are.
//! * [`finding`], [`findings_exchange`]: what a rule found, and how a node above tells it.
//!
//! `FORMATS.md` beside this crate describes every format byte by byte; its examples are tested.

pub mod batch;
pub mod blocks;
pub mod bounded;
pub mod bundle;
pub mod canonical;
pub mod checkpoint;
pub mod codec;
pub mod digest;
pub mod finding;
pub mod findings_exchange;
pub mod fork;
#[cfg(test)]
mod formats;
pub mod hash;
pub mod health;
pub mod ids;
pub mod invite;
pub mod join;
pub mod keys;
pub mod limits;
pub mod merkle;
pub mod note;
pub mod record;
pub mod request;
pub mod session;
pub mod tame;
pub mod tlog_proof;
pub mod wire;
