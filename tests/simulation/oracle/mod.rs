//! Judges what nodes do, by definitions of its own: trees from RFC 9162, signatures from the note format.
//!
//! It reads disks and messages. It must not ask the core what it thinks.

pub mod bounds;
pub mod logs;
pub mod promises;
pub mod tree;

pub use logs::Logs;
pub use promises::Oracle;

/// A promise that was not kept: which, and how.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Broken(pub String);

/// Whether all promises were kept so far.
pub type Judgement = Result<(), Broken>;

/// Says that a promise is broken unless it holds.
pub fn promise(holds: bool, what: impl FnOnce() -> String) -> Judgement {
    if holds { Ok(()) } else { Err(Broken(what())) }
}

impl Broken {
    /// The promise alone: what a smaller run must break too.
    pub fn which(&self) -> &str {
        self.0.split(':').next().unwrap_or_default()
    }
}
