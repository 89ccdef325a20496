//! Records by the first digits of their ids, as people copy them.

use super::super::{
    Engine, EngineError,
    entry::{self, Lookup},
    positions,
};
use tally_protocol::{hash::Hash, record::RecordId};

/// Index keys read at once.
const PAGE: usize = 256;

/// Ids of records that are held and begin with these hexadecimal digits, ascending, at most `limit`. What is no digit is the
/// beginning of none.
///
/// # Errors
/// The engine's.
pub fn ids_beginning(engine: &dyn Engine, digits: &str, limit: usize) -> Result<Vec<RecordId>, EngineError> {
    let digits = digits.to_ascii_lowercase();
    let pair = |two: &[u8]| u8::from_str_radix(std::str::from_utf8(two).ok()?, 16).ok();
    let whole: Option<Vec<u8>> = digits.as_bytes().chunks_exact(2).map(pair).collect();
    let Some(whole) = whole.filter(|w| w.len() <= 32 && digits.bytes().all(|b| b.is_ascii_hexdigit())) else {
        return Ok(Vec::new());
    };
    let mut least = [0; 32];
    least.iter_mut().zip(&whole).for_each(|(l, w)| *l = *w);
    let begin = Lookup::Record(RecordId(Hash(least))).prefix();
    // Keys have only the beginning of an id.
    let prefix = begin.get(..=whole.len()).unwrap_or(&begin);
    let (mut found, mut from) = (Vec::<RecordId>::new(), prefix.to_vec());
    loop {
        let page = engine.scan(prefix, &from, PAGE)?;
        let mut positions: Vec<_> = page.iter().filter_map(|(key, _)| entry::position(key)).collect();
        positions.sort_unstable();
        positions::at_each(engine, &positions, |_, id, _| {
            // Half a byte is not in the prefix, nor is what stands behind the beginning.
            if id.to_string().starts_with(&digits) {
                found.push(id);
            }
        })?;
        found.sort_unstable();
        // Several logs may hold it.
        found.dedup();
        match page.last() {
            Some((last, _)) if page.len() == PAGE && found.len() <= limit => from = [last.as_slice(), &[0]].concat(),
            _ => break,
        }
    }
    found.truncate(limit);
    Ok(found)
}
