//! Whether every key the index claims is there: an engine does not notice that it lost entries.

use super::{
    Engine, EngineError,
    entry::{STATE_KEY, State, read_record},
};
use std::collections::BTreeMap;
use tally_protocol::ids::LogId;

/// Pairs read at once.
const PAGE: usize = 4_096;

/// Counts the keys of each log one by one, while the index may grow. Reads the whole index.
///
/// # Errors
/// The engine's, also when its own account cannot be read.
pub fn is_whole(engine: &dyn Engine) -> Result<bool, EngineError> {
    let (before, counted, after) = (account(engine)?, count(engine)?, account(engine)?);
    let of = |counts: &BTreeMap<LogId, u64>, log: &LogId| counts.get(log).copied().unwrap_or(0);
    let logs = counted.keys().chain(after.keys());
    Ok(logs.into_iter().all(|log| (of(&before, log)..=of(&after, log)).contains(&of(&counted, log))))
}

fn account(engine: &dyn Engine) -> Result<BTreeMap<LogId, u64>, EngineError> {
    match engine.get(STATE_KEY)? {
        Some(bytes) => Ok(State::decode(&bytes)?.keys),
        None => Ok(BTreeMap::new()),
    }
}

fn count(engine: &dyn Engine) -> Result<BTreeMap<LogId, u64>, EngineError> {
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

#[cfg(test)]
mod tests {
    use super::{
        super::{
            entry::{IndexEntry, pairs},
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
    }
}
