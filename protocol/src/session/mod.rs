//! Sessions between neighbours as state machines: no time, no transport, no disk of their own.
//!
//! * [`Gate`]: may the node sign its own log?
//! * [`Push`]: what of a log to send next.
//! * [`Descent`]: where do two trees differ? [`answer`] is the other side.
//! * [`Wants`]: exactly these records, please.

mod descent;
mod gate;
mod push;
mod question;
mod runs;
mod wants;

pub use descent::{Descent, DescentError};
pub use gate::Gate;
pub use push::Push;
pub use question::{Answer, Cut, Question, answer};
pub use wants::Wants;
