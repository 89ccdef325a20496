//! Findings of the nodes above travel down: each node asks its parent what was found wrong with the records of its own
//! division and below, and keeps that beside its own findings. In this way a city hands on what the province found.
//!
//! They are reports and no proofs: nothing is stored or changed because of them but themselves.

mod follow;
mod serve;

pub use follow::follow;
pub use serve::serve;

use std::sync::Arc;
use tally_driver::Mailbox;
use tally_protocol::ids::Division;
use tally_store::index::{Engine, IndexProgress};
use tally_topology::in_force::CharterHandle;
use tokio::sync::watch;

/// What both sides work with.
#[derive(Debug, Clone)]
pub struct FindingsContext {
    /// This node.
    pub me: Division,
    /// The charter in force.
    pub charter: CharterHandle,
    /// Where findings are.
    pub engine: Arc<dyn Engine>,
    /// How far the index is.
    pub progress: watch::Receiver<IndexProgress>,
    /// The core.
    pub mailbox: Mailbox,
}
