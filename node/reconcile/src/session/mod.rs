//! Comparing with a neighbour over an exchange, and giving each other what is missing.
//!
//! Whoever opened the exchange asks (`asking`), the other side answers (`answering`); what to say next is decided by
//! `protocol::session::reconcile`. What comes in is proved by the repair's writer and by nothing here.

mod allowance;
mod answering;
mod asking;
mod descent;

pub use answering::serve;
pub use asking::{FoundDifference, Reconciled, SessionOptions};

use crate::ReconcileContext;
use tally_protocol::{hash::Hash, ids::LogId};

/// Roots of logs at sizes where a batch ends.
fn roots(context: &ReconcileContext, wanted: &[(LogId, u64)]) -> Vec<Option<Hash>> {
    let view = context.mailbox.view();
    wanted.iter().map(|(log, size)| view.log(*log)?.root_at(*size)).collect()
}
