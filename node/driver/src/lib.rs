//! The driver: one thread that owns the core and the journal, and the mailbox by which everybody else speaks to it.
//!
//! Nothing of a round is said before its flush has returned (I2); readers look at the published view and do not wait for the
//! thread. Rows, HTTP and tasks must not be known here.

#![cfg_attr(
    test,
    allow(clippy::disallowed_methods, reason = "tests may block: what is built for the program is checked")
)]

mod anchor;
mod driver;
mod link_host;
mod mailbox;
mod patience;
mod seal_order;

pub use anchor::{Anchor, AnchorError};
pub use driver::{Driver, DriverError};
pub use link_host::NodeLinkHost;
pub use mailbox::*;
pub use tally_journal::Shortage;
