//! Whether every record that the index claims is there, and may be found by its id and its business key: an engine does not
//! notice that it lost entries.

use super::{Engine, EngineError, entry, positions};
use std::collections::BTreeMap;
use tally_protocol::ids::LogId;

/// Pairs read at once.
const PAGE: usize = 4_096;

/// Counts the records of each log one by one, and the keys that lead to them, while the index may grow. Reads the whole index.
///
/// # Errors
/// The engine's, also when its own account cannot be read.
pub fn is_whole(engine: &dyn Engine) -> Result<bool, EngineError> {
    let before = account(engine)?;
    let counted = [keys(engine, entry::RECORDS)?, keys(engine, entry::KEYS)?, records(engine)?];
    let after = account(engine)?;
    let of = |counts: &BTreeMap<LogId, u64>, log: &LogId| counts.get(log).copied().unwrap_or(0);
    let are_there = |counted: &BTreeMap<LogId, u64>| {
        let mut logs = counted.keys().chain(after.keys());
        logs.all(|log| (of(&before, log)..=of(&after, log)).contains(&of(counted, log)))
    };
    Ok(counted.iter().all(are_there))
}

fn account(engine: &dyn Engine) -> Result<BTreeMap<LogId, u64>, EngineError> {
    Ok(entry::state(engine)?.keys)
}

/// Keys of a kind that lead to positions, by log.
fn keys(engine: &dyn Engine, kind: &[u8]) -> Result<BTreeMap<LogId, u64>, EngineError> {
    let (mut counts, mut from) = (BTreeMap::<LogId, u64>::new(), kind.to_vec());
    loop {
        let page = engine.scan(kind, &from, PAGE)?;
        for (log, _) in page.iter().filter_map(|(key, _)| entry::position(key)) {
            *counts.entry(log).or_default() += 1;
        }
        match page.last() {
            Some((key, _)) if page.len() == PAGE => from = [key.as_slice(), &[0]].concat(),
            _ => return Ok(counts),
        }
    }
}

fn records(engine: &dyn Engine) -> Result<BTreeMap<LogId, u64>, EngineError> {
    let mut counts = BTreeMap::<LogId, u64>::new();
    positions::each(engine, |log, _, _| {
        *counts.entry(log).or_default() += 1;
        Ok(())
    })?;
    Ok(counts)
}

#[cfg(test)]
mod tests {
    use super::{
        super::{
            entry::{IndexEntry, STATE_KEY, State, pairs},
            open,
        },
        *,
    };
    use tally_protocol::record::RecordId;

    #[test]
    fn a_key_too_few_or_too_many_is_seen() {
        let dir = tempfile::tempdir().unwrap();
        let opened = open(&dir.path().join("index"), |_| true);
        let log: LogId = "350102/e1".parse().unwrap();
        let entry = |n: u64| {
            let e = IndexEntry { index: n, sealed_at: 1, ..IndexEntry::default() };
            pairs(RecordId::of(&n.to_be_bytes()), log, &e).to_vec()
        };
        let state = |keys: u64| {
            let state = State { keys: BTreeMap::from([(log, keys)]), ..State::default() };
            vec![(STATE_KEY.to_vec(), state.encode())]
        };
        let engine = &*opened.engine;
        assert!(is_whole(engine).unwrap());
        engine.write([entry(1), entry(2), state(2)].concat()).unwrap();
        assert!(is_whole(engine).unwrap());
        engine.write(state(3)).unwrap();
        assert!(!is_whole(engine).unwrap(), "a key was lost");
        engine.write([entry(3), entry(4)].concat()).unwrap();
        assert!(!is_whole(engine).unwrap(), "a key came from nowhere");
        engine.write(state(4)).unwrap();
        assert!(is_whole(engine).unwrap());
        // Each of the three alone.
        for (gone, pair) in entry(4).into_iter().enumerate() {
            engine.change(Vec::new(), vec![pair.0.clone()]).unwrap();
            assert!(!is_whole(engine).unwrap(), "{gone}");
            engine.write(vec![pair]).unwrap();
        }
    }
}
