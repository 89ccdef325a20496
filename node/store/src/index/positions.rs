//! What the index knows of a record, found by its position, its id or its business key.
//!
//! Keys lead to positions by the beginning of a hash only, so what stands there is compared before it counts. Whether it counts
//! for anything more is not decided here.

use super::{
    Engine, EngineError, IndexEntry,
    chunk::Chunk,
    entry::{self, CHUNKS, Lookup, Position, chunk_key, first_of, read_chunk_key, single_key},
};
use tally_protocol::{ids::LogId, record::RecordId};

/// Keys read at once: of most records there is one.
const PAGE: usize = 16;
/// Chunks read at once: less than a megabyte.
const CHUNKS_PAGE: usize = 64;
/// Records of one log with one beginning of an id that are looked at. A node that makes more of them hides its own.
pub(super) const SAME_MAX: usize = 64;
/// Keys of versions read at once.
const VERSIONS_PAGE: usize = 4_096;

/// The record that stands at a position.
///
/// # Errors
/// The engine's, or what stands there has no right form.
pub(super) fn at(engine: &dyn Engine, (log, index): Position) -> Result<Option<(RecordId, IndexEntry)>, EngineError> {
    let position = (index - first_of(index)) as u8;
    for key in [chunk_key(log, index), single_key(log, index)] {
        if let Some(bytes) = engine.get(&key)? {
            return Ok(Chunk::read(&bytes)?.at(first_of(index), position));
        }
    }
    Ok(None)
}

/// The records that stand at `positions`, in their order; each chunk is read once if they are sorted. Where none stands nothing
/// is told.
///
/// # Errors
/// The same as of [`at`].
pub(super) fn at_each(
    engine: &dyn Engine,
    positions: &[Position],
    mut take: impl FnMut(LogId, RecordId, IndexEntry),
) -> Result<(), EngineError> {
    for of_chunk in positions.chunk_by(|a, b| (a.0, first_of(a.1)) == (b.0, first_of(b.1))) {
        let Some((log, index)) = of_chunk.first().copied() else { continue };
        let first = first_of(index);
        let mut tell = |bytes: &[u8], wanted: &[Position]| -> Result<(), EngineError> {
            let chunk = Chunk::read(bytes)?;
            for (_, index) in wanted {
                if let Some((id, e)) = chunk.at(first, (index - first) as u8) {
                    take(log, id, e);
                }
            }
            Ok(())
        };
        let key = chunk_key(log, index);
        if let Some(bytes) = engine.get(&key)? {
            tell(&bytes, of_chunk)?;
        } else if let [_] = of_chunk {
            engine.get(&single_key(log, index))?.map_or(Ok(()), |bytes| tell(&bytes, of_chunk))?;
        } else {
            let singles = engine.scan(&key, b"", entry::CHUNK_KEYS)?;
            for position in of_chunk {
                let key = single_key(log, position.1);
                if let Ok(found) = singles.binary_search_by(|(k, _)| k.cmp(&key)) {
                    singles.get(found).map_or(Ok(()), |(_, bytes)| tell(bytes, &[*position]))?;
                }
            }
        }
    }
    Ok(())
}

/// Where logs hold a record: of each log the first position, in the order of the logs.
///
/// # Errors
/// The same as of [`at`].
pub(super) fn of_record(engine: &dyn Engine, id: RecordId) -> Result<Vec<(LogId, IndexEntry)>, EngineError> {
    let lookup = Lookup::Record(id);
    of_record_under(engine, id, &lookup.prefix(), |log| lookup.key(log, u64::MAX).to_vec())
}

/// The first position at which a log holds a record.
///
/// # Errors
/// The same as of [`at`].
pub(super) fn of_record_in(engine: &dyn Engine, id: RecordId, log: LogId) -> Result<Option<IndexEntry>, EngineError> {
    let (lookup, key) = (Lookup::Record(id), Lookup::Record(id).key(log, 0));
    let prefix = key.get(..entry::LOOKUP_LOG_BYTES).unwrap_or(&key);
    let held = of_record_under(engine, id, prefix, |log| lookup.key(log, u64::MAX).to_vec())?;
    Ok(held.into_iter().next().map(|(_, e)| e))
}

fn of_record_under(
    engine: &dyn Engine,
    id: RecordId,
    prefix: &[u8],
    last_of: impl Fn(LogId) -> Vec<u8>,
) -> Result<Vec<(LogId, IndexEntry)>, EngineError> {
    let (mut found, mut from) = (Vec::<(LogId, IndexEntry)>::new(), prefix.to_vec());
    let (mut of_log, mut tried) = (None, 0);
    loop {
        let page = engine.scan(prefix, &from, PAGE)?;
        for (log, index) in page.iter().filter_map(|(key, _)| entry::position(key)) {
            if of_log.replace(log) != Some(log) {
                tried = 0;
            }
            if tried < SAME_MAX
                && let Some((_, e)) = at(engine, (log, index))?.filter(|(held, _)| *held == id)
            {
                found.push((log, e));
                tried = SAME_MAX;
            }
            tried += 1;
        }
        match (page.last(), of_log) {
            // Whatever else this log has of it changes nothing.
            (Some(_), Some(log)) if page.len() == PAGE && tried >= SAME_MAX => {
                from = [&last_of(log)[..], &[0]].concat()
            }
            (Some((last, _)), _) if page.len() == PAGE => from = [last.as_slice(), &[0]].concat(),
            _ => return Ok(found),
        }
    }
}

/// Records of one business key: where each stands, in the order of logs and indexes.
///
/// # Errors
/// The same as of [`at`].
pub(super) fn of_key(engine: &dyn Engine, key: &[u8; 16]) -> Result<Vec<(LogId, RecordId, IndexEntry)>, EngineError> {
    let prefix = Lookup::Key(*key).prefix();
    let (mut found, mut from) = (Vec::new(), prefix.to_vec());
    loop {
        let page = engine.scan(&prefix, &from, VERSIONS_PAGE)?;
        of_key_at(engine, key, &page, &mut found)?;
        match page.last() {
            Some((last, _)) if page.len() == VERSIONS_PAGE => from = [last.as_slice(), &[0]].concat(),
            _ => return Ok(found),
        }
    }
}

/// The same, of those to which some keys lead.
///
/// # Errors
/// The same as of [`at`].
pub(super) fn of_key_at(
    engine: &dyn Engine,
    key: &[u8; 16],
    keys: &[(Vec<u8>, Vec<u8>)],
    found: &mut Vec<(LogId, RecordId, IndexEntry)>,
) -> Result<(), EngineError> {
    let positions: Vec<_> = keys.iter().filter_map(|(key, _)| entry::position(key)).collect();
    at_each(engine, &positions, |log, id, e| {
        if e.content.key == *key {
            found.push((log, id, e));
        }
    })
}

/// Every record that is held, in the order of logs and indexes. Some chunks are in memory at a time.
///
/// # Errors
/// The engine's, a chunk without right form, and those of `take`.
pub fn each(
    engine: &dyn Engine,
    mut take: impl FnMut(LogId, RecordId, &IndexEntry) -> Result<(), EngineError>,
) -> Result<(), EngineError> {
    let (mut from, mut complete) = (CHUNKS.to_vec(), None);
    loop {
        let page = engine.scan(CHUNKS, &from, CHUNKS_PAGE)?;
        for (key, value) in &page {
            let Some((log, first, whole)) = read_chunk_key(key) else { continue };
            if whole {
                complete = Some((log, first));
            } else if complete == Some((log, first)) {
                // It stood by itself before.
                continue;
            }
            for (id, e) in Chunk::read(value)?.all(first) {
                take(log, id, &e)?;
            }
        }
        match page.last() {
            Some((last, _)) if page.len() == CHUNKS_PAGE => from = [last.as_slice(), &[0]].concat(),
            _ => return Ok(()),
        }
    }
}
