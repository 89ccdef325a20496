//! The driver: one thread that owns the core and the journal, and the mailbox by which everybody else speaks to it.

mod driver;
mod mailbox;

pub use driver::Driver;
pub use mailbox::*;
