//! The driver: one thread that owns the core and the journal, and the mailbox by which everybody else speaks to it.

mod driver;
mod link_host;
mod mailbox;

pub use driver::Driver;
pub use link_host::NodeLinkHost;
pub use mailbox::*;
