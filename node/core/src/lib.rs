//! The core of a node: every decision about logs, links, receipts and the charter.
//!
//! No clock, no socket, no disk, no thread: [`Replica::handle`] takes what happened and returns what is to be done.
//! The driver and the simulation run the same code. What must not be here: tokio, std::fs, std::net, std::time.

mod chunks;
pub mod clock;
mod entry;
mod gate;
mod head;
mod health;
pub mod log;
mod push;
mod replica;
mod view;

pub use clock::{ClockJudge, ClockTrouble};
pub use entry::{Append, Entry, FoundBy, Place};
pub use gate::{Gate, GateFacts};
pub use head::{HeadStanding, SignedHead};
pub use health::{Reach, ToldHealth};
pub use push::Push;
pub use replica::*;
pub use view::{ToldAbove, View};
