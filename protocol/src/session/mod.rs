//! Sessions between neighbours as state machines: no time, no transport, no disk of their own.

mod gate;
mod push;

pub use gate::Gate;
pub use push::Push;
