//! What the commands share: the node's admin socket, exit codes, key files.
//!
//! A command knows a node by what its socket answers and nothing else. Exit codes are a contract with scripts and the service
//! manager; a secret on disk is its owner's only. The parts of a node must not be known here.

/// A line on stdout. Whoever reads it may have seen enough and gone, which is no failure.
#[macro_export]
macro_rules! outln {
    ($($text:tt)*) => {{
        use std::io::Write as _;
        let _ = writeln!(std::io::stdout(), $($text)*);
    }};
}

mod client;
mod exit;
pub mod keyfile;
mod socket;

pub use client::*;
pub use exit::*;
pub use socket::{BindError, LeftSocket, bind, connect, look};
