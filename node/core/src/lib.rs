//! The core of a node: every decision about logs, links, receipts and the charter.
//!
//! No clock, no socket, no disk, no thread: [`Replica::handle`] takes what happened and returns what is to be done.
//! The driver and the simulation run the same code. What must not be here: tokio, std::fs, std::net, std::time.

mod chunks;
mod entry;
mod gate;
pub mod log;
mod push;
mod replica;
mod view;

pub use entry::{Append, Entry, Place};
pub use gate::Gate;
pub use push::Push;
pub use replica::*;
pub use view::View;
