//! The driver: one thread that owns the core and the journal, and the mailbox by which everybody else speaks to it.

mod driver;
mod for_links;
mod mailbox;

pub use driver::Driver;
pub use for_links::ForLinks;
pub use mailbox::*;
