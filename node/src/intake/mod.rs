//! Intake: lines become records, records become batches of the own log; the answer means durable.

mod batcher;
mod lines;
mod shape;

pub use batcher::{Chunk, ChunkError, ChunkResult, Holdings, Intake, start};
pub use lines::Lines;
pub use shape::{Door, Finding, Severity, identify, read_line};
