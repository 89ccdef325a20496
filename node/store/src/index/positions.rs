//! What the index knows of a record, found by its position, its id or its business key.
//!
//! Keys lead to positions by the beginning of a hash only, so what stands there is compared before it counts. Whether it counts
//! for anything more is not decided here.

use super::{
    Engine, EngineError, IndexEntry, Write,
    chunk::Chunk,
    entry::{self, CHUNKS, Lookup, Position, chunk_key, chunks_of, first_of, read_chunk_key, single_key},
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

/// The record that stands at a position, also while the index grows.
///
/// # Errors
/// The engine's, or what stands there has no right form.
pub(super) fn at(engine: &dyn Engine, (log, index): Position) -> Result<Option<(RecordId, IndexEntry)>, EngineError> {
    let (chunk, single) = (chunk_key(log, index), single_key(log, index));
    // A record that stood by itself goes into its chunk at any time: if it is at neither place, it went there meanwhile.
    for key in [&chunk, &single, &chunk] {
        if let Some(bytes) = engine.get(key)? {
            return Ok(Chunk::read(&bytes)?.at(first_of(index), (index - first_of(index)) as u8));
        }
    }
    Ok(None)
}

/// What stands of a chunk at one moment: the whole one, or each record by itself.
fn in_one_piece(engine: &dyn Engine, chunk: &[u8]) -> Result<Write, EngineError> {
    let mut held = engine.scan(chunk, b"", entry::CHUNK_KEYS)?;
    if held.first().is_some_and(|(key, _)| key == chunk) {
        held.truncate(1);
    }
    Ok(held)
}

/// The records that stand at `positions`, in their order, also while the index grows; each chunk is read once if they are
/// sorted. Where none stands nothing is told.
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
        if let [one] = of_chunk {
            if let Some((id, e)) = at(engine, *one)? {
                take(log, id, e);
            }
            continue;
        }
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
        let chunk = chunk_key(log, index);
        if let Some(bytes) = engine.get(&chunk)? {
            tell(&bytes, of_chunk)?;
            continue;
        }
        let held = in_one_piece(engine, &chunk)?;
        if let [(key, bytes)] = &held[..]
            && *key == chunk
        {
            tell(bytes, of_chunk)?;
            continue;
        }
        for position in of_chunk {
            let key = single_key(log, position.1);
            if let Ok(found) = held.binary_search_by(|(k, _)| k.cmp(&key)) {
                held.get(found).map_or(Ok(()), |(_, bytes)| tell(bytes, &[*position]))?;
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

/// Every record that is held, in the order of logs and indexes, also while the index grows: none that stood there at the
/// beginning is left out, none is told twice. Some chunks are in memory at a time.
///
/// # Errors
/// The engine's, a chunk without right form, and those of `take`.
pub fn each(
    engine: &dyn Engine,
    take: impl FnMut(LogId, RecordId, &IndexEntry) -> Result<(), EngineError>,
) -> Result<(), EngineError> {
    each_under(engine, CHUNKS, take)
}

/// Positions before `until` of a log at which a record stands. Reads all of them.
///
/// # Errors
/// The engine's, a chunk without right form.
pub(super) fn count(engine: &dyn Engine, log: LogId, until: u64) -> Result<u64, EngineError> {
    let mut count = 0_u64;
    each_under(engine, &chunks_of(log), |_, _, e| {
        count = count.saturating_add(u64::from(e.index < until));
        Ok(())
    })?;
    Ok(count)
}

/// The same as [`each`], of those whose chunks' keys begin so.
fn each_under(
    engine: &dyn Engine,
    prefix: &[u8],
    mut take: impl FnMut(LogId, RecordId, &IndexEntry) -> Result<(), EngineError>,
) -> Result<(), EngineError> {
    let (mut from, mut told) = (prefix.to_vec(), None);
    loop {
        let page = engine.scan(prefix, &from, CHUNKS_PAGE)?;
        for (key, value) in &page {
            let Some((log, first, whole)) = read_chunk_key(key) else { continue };
            if told.replace((log, first)) == Some((log, first)) {
                continue;
            }
            let mut tell = |bytes: &[u8]| Chunk::read(bytes)?.all(first).try_for_each(|(id, e)| take(log, id, &e));
            if whole {
                tell(value)?;
            } else {
                // By the next page it may be whole, and then it stands before what was read.
                in_one_piece(engine, &chunk_key(log, first))?.iter().try_for_each(|(_, bytes)| tell(bytes))?;
            }
        }
        match page.last() {
            Some((last, _)) if page.len() == CHUNKS_PAGE => from = [last.as_slice(), &[0]].concat(),
            _ => return Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{
        super::{
            audit,
            chunk::CHUNK,
            entry::{STATE_KEY, State},
            open,
            overlay::Overlay,
        },
        *,
    };
    use std::sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    };

    /// An engine in which somebody completes a chunk right after it was read so many times.
    #[derive(Debug)]
    struct Growing {
        engine: Arc<dyn Engine>,
        left: AtomicUsize,
    }

    fn record(n: u64) -> (RecordId, IndexEntry) {
        let mut e = IndexEntry { index: n, sealed_at: 1, ..IndexEntry::default() };
        e.content.key = [(n % 3) as u8; 16];
        (RecordId::of(&n.to_be_bytes()), e)
    }

    fn log() -> LogId {
        "350102/e1".parse().unwrap()
    }

    fn put(engine: &Arc<dyn Engine>, records: std::ops::Range<u64>) {
        let (overlay, end) = (Overlay::new(engine.clone()), records.end);
        for n in records {
            let (id, e) = record(n);
            overlay.put_record(id, log(), &e);
        }
        let state = State { keys: [(log(), end)].into(), ..State::default() };
        overlay.commit((STATE_KEY.to_vec(), state.encode())).unwrap();
    }

    impl Growing {
        fn read(&self) {
            if self.left.fetch_sub(1, Ordering::Relaxed) == 1 {
                put(&self.engine, CHUNK - 28..CHUNK);
            }
        }
    }

    impl Engine for Growing {
        fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, EngineError> {
            let found = self.engine.get(key);
            self.read();
            found
        }
        fn scan(&self, prefix: &[u8], from: &[u8], limit: usize) -> Result<Vec<(Vec<u8>, Vec<u8>)>, EngineError> {
            let found = self.engine.scan(prefix, from, limit);
            self.read();
            found
        }
        fn change(&self, pairs: Write, gone: Vec<Vec<u8>>) -> Result<(), EngineError> {
            self.engine.change(pairs, gone)
        }
        fn flush(&self) -> Result<(), EngineError> {
            self.engine.flush()
        }
    }

    /// What stood by itself goes into its chunk between two readings of one question: no answer lacks it.
    #[test]
    fn what_is_held_is_found_while_the_index_grows() {
        let held: Vec<RecordId> = (0..CHUNK - 28).map(|n| record(n).0).collect();
        for readings in 1..8 {
            let ask = |question: &dyn Fn(&dyn Engine) -> Vec<RecordId>| {
                let dir = tempfile::tempdir().unwrap();
                let engine = open(&dir.path().join("index"), |_| true).engine;
                put(&engine, 0..CHUNK - 28);
                question(&Growing { engine, left: AtomicUsize::new(readings) })
            };
            for position in [0, 77] {
                let found = ask(&|e| at(e, (log(), position)).unwrap().into_iter().map(|(id, _)| id).collect());
                assert_eq!(found, [record(position).0], "{readings}");
            }
            let positions: Vec<Position> = (0..CHUNK - 28).map(|n| (log(), n)).collect();
            for wanted in [&positions[..], &positions[5..6], &positions[60..62]] {
                let found = ask(&|e| {
                    let mut found = Vec::new();
                    at_each(e, wanted, |_, id, _| found.push(id)).unwrap();
                    found
                });
                assert_eq!(found, wanted.iter().map(|(_, n)| record(*n).0).collect::<Vec<_>>(), "{readings}");
            }
            let of_key = ask(&|e| of_key(e, &[1; 16]).unwrap().into_iter().map(|(_, id, _)| id).collect());
            assert!(held.iter().skip(1).step_by(3).all(|id| of_key.contains(id)), "{readings}");
            let of_record = ask(&|e| of_record(e, held[9]).unwrap().iter().map(|_| held[9]).collect());
            assert_eq!(of_record, [held[9]], "{readings}");
            let mut all = ask(&|e| {
                let mut found = Vec::new();
                each(e, |_, id, _| {
                    found.push(id);
                    Ok(())
                })
                .unwrap();
                found
            });
            assert!(all.starts_with(&held), "{readings}: {}", all.len());
            let told = all.len();
            all.sort();
            all.dedup();
            assert_eq!(all.len(), told, "{readings}: one is told twice");
            ask(&|e| {
                assert!(audit::is_whole(e).unwrap(), "{readings}");
                Vec::new()
            });
        }
    }
}
