//! Sessions between neighbours as state machines: no time, no transport, no disk of their own.
//!
//! * [`Descent`]: where do two trees differ? [`answer`] is the other side.
//! * [`Wants`]: exactly these records, please.
//! * [`reconcile`]: compare, fetch what is missing here, give what is missing there.

mod descent;
pub mod reconcile;
mod runs;
mod tree_question;
mod wants;

pub use descent::{Descent, DescentError};
pub use tree_question::{HashPrefix, TreeAnswer, TreeQuestion, answer};
pub use wants::Wants;
