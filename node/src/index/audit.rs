//! Whether the index holds what the journal holds: an engine that lost entries does not know it.

use super::{Engine, EngineError, entry::read_record};
use std::collections::BTreeMap;
use tally_protocol::ids::LogId;

/// Pairs read at once.
const PAGE: usize = 4_096;

/// Entries of each log, counted one by one. Reads the whole index.
///
/// # Errors
/// The engine's.
pub fn count(engine: &dyn Engine) -> Result<BTreeMap<LogId, u64>, EngineError> {
    let (mut counts, mut from) = (BTreeMap::<LogId, u64>::new(), b"r".to_vec());
    loop {
        let page = engine.scan(b"r", &from, PAGE)?;
        for (key, value) in &page {
            if let Some((_, log, _)) = read_record(key, value) {
                *counts.entry(log).or_default() += 1;
            }
        }
        match page.last() {
            Some((key, _)) if page.len() == PAGE => from = [key.as_slice(), &[0]].concat(),
            _ => return Ok(counts),
        }
    }
}
