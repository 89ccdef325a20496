//! Staged rows: records that were taken while the own log may not be signed (I12). They are durable here and nowhere else, in
//! frames of the journal's form, until they are sealed.
//!
//! ```text
//! data/staged/00000003.seg     frames: rows as they came, and where the own log ended when sealing them began
//!            /0…7-0…9.done    what became of the rows of frames that are gone, by their numbers
//! data/staged.mark             after a clean stop only, as beside the journal
//! ```
//!
//! What holds:
//! * Rows count as staged once the flush behind them has returned, and are sealed in the order in which they came.
//! * A segment goes when all its rows are sealed, and what became of them stands in its file of outcomes, which is on the
//!   disk before. A stop in between only repeats.
//! * A row that is in the own log at or behind the place where sealing began was sealed from here; one before it had been held.
//!   So a kill between seal and removal neither loses nor doubles a row, and no count moves.
//! * A frame that cannot be read is named and passed over, and its segment goes to the quarantine.
//!
//! What a record says, when anything may be signed, and who waits for an answer is not known here.

mod book;
mod done;
mod frames;
mod store;

pub use book::{StagedBook, StagedCounts, StagedOutcome};
pub use done::FrameOutcome;
pub use frames::StagedRun;
pub use store::{LostRows, ReadRows, StagedFrame, StagedLimits, StagedStore};

/// Rows that may be staged, whatever their bytes: each takes some 250 bytes of memory.
pub const STAGED_ROWS_MAX: u64 = 400_000;

#[cfg(test)]
mod tests;
