//! Records by the first digits of their ids, as people copy them.

use super::super::{Engine, EngineError, entry::read_record};
use tally_protocol::record::RecordId;

/// Index pairs read at once.
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
    let Some(whole) = whole.filter(|_| digits.bytes().all(|b| b.is_ascii_hexdigit())) else { return Ok(Vec::new()) };
    let prefix = [b"r", &whole[..]].concat();
    let (mut found, mut from) = (Vec::<RecordId>::new(), prefix.clone());
    while found.len() < limit {
        let page = engine.scan(&prefix, &from, PAGE)?;
        for (id, ..) in page.iter().filter_map(|(key, value)| read_record(key, value)) {
            // Several logs may hold it; and half a byte is not in the prefix.
            if found.last() != Some(&id) && id.to_string().starts_with(&digits) {
                found.push(id);
            }
        }
        match page.last() {
            Some((last, _)) if page.len() == PAGE => from = [last.as_slice(), &[0]].concat(),
            _ => break,
        }
    }
    found.truncate(limit);
    Ok(found)
}
