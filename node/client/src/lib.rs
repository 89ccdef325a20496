//! What the commands share: the node's admin socket, exit codes, key files, whose files are.
//!
//! A command knows a node by what its socket answers and nothing else. Exit codes are a contract with scripts and the service
//! manager; a secret on disk is its owner's only. The parts of a node must not be known here.

/// Lines on stdout, see print.rs.
#[macro_export]
macro_rules! outln {
    ($($text:tt)*) => { $crate::print::out(format_args!($($text)*)) };
}

/// Lines on stderr, see print.rs.
#[macro_export]
macro_rules! errln {
    ($($text:tt)*) => { $crate::print::err(format_args!($($text)*)) };
}

mod client;
mod exit;
pub mod keyfile;
pub mod owner;
pub mod passphrase;
pub mod print;
pub mod save;
mod sealed;
mod socket;

pub use client::*;
pub use exit::*;
pub use print::shown;
pub use socket::{BindError, LeftSocket, bind, connect, look};
