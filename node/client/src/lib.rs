//! What the commands share: the node's admin socket, exit codes, key files.

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
pub use socket::{bind, connect};
