//! What is about to be written, seen as if it were: an index over another one, for the follower alone.
//!
//! Pairs gather in memory until they go in as one atomic write. It knows bytes only, as an engine does.

use super::{Engine, EngineError, Write};
use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

/// An engine and what is about to be written to it.
#[derive(Debug)]
pub(super) struct Overlay {
    below: Arc<dyn Engine>,
    fresh: Mutex<BTreeMap<Vec<u8>, Vec<u8>>>,
}

impl Overlay {
    pub(super) fn new(below: Arc<dyn Engine>) -> Self {
        Self { below, fresh: Mutex::default() }
    }

    fn fresh(&self) -> MutexGuard<'_, BTreeMap<Vec<u8>, Vec<u8>>> {
        self.fresh.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Gathers a pair.
    pub(super) fn put(&self, key: Vec<u8>, value: Vec<u8>) {
        self.fresh().insert(key, value);
    }

    /// Whether a pair with this prefix is about to be written.
    pub(super) fn is_fresh(&self, prefix: &[u8]) -> bool {
        self.fresh().range(prefix.to_vec()..).next().is_some_and(|(k, _)| k.starts_with(prefix))
    }

    /// Pairs that are about to be written.
    pub(super) fn waiting(&self) -> usize {
        self.fresh().len()
    }

    /// Writes what was gathered, with `last`, in one piece.
    ///
    /// # Errors
    /// The engine's; then what was gathered is forgotten, and nothing of it was written.
    pub(super) fn commit(&self, last: (Vec<u8>, Vec<u8>)) -> Result<(), EngineError> {
        let mut pairs = std::mem::take(&mut *self.fresh());
        pairs.insert(last.0, last.1);
        self.below.write(pairs.into_iter().collect())
    }
}

impl Engine for Overlay {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, EngineError> {
        let fresh = self.fresh().get(key).cloned();
        fresh.map_or_else(|| self.below.get(key), |value| Ok(Some(value)))
    }

    fn scan(&self, prefix: &[u8], from: &[u8], limit: usize) -> Result<Write, EngineError> {
        let mut pairs = self.below.scan(prefix, from, limit)?;
        let fresh = self.fresh();
        let start = from.max(prefix).to_vec();
        let above: Write = fresh
            .range(start..)
            .take_while(|(k, _)| k.starts_with(prefix))
            .take(limit)
            .map(|(k, v)| (k.clone(), v.clone()))
            .collect();
        if above.is_empty() {
            return Ok(pairs);
        }
        pairs.retain(|(k, _)| !fresh.contains_key(k));
        pairs.extend(above);
        pairs.sort_unstable();
        pairs.truncate(limit);
        Ok(pairs)
    }

    fn write(&self, pairs: Write) -> Result<(), EngineError> {
        self.fresh().extend(pairs);
        Ok(())
    }

    fn flush(&self) -> Result<(), EngineError> {
        self.below.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::index::open;

    #[test]
    fn what_is_about_to_be_written_is_seen_as_if_it_were() {
        let dir = tempfile::tempdir().unwrap();
        let opened = open(&dir.path().join("index"), |_| true);
        let pair = |k: &str, v: &str| (k.as_bytes().to_vec(), v.as_bytes().to_vec());
        opened.engine.write(vec![pair("a1", "old"), pair("a3", "old"), pair("b", "old")]).unwrap();
        let overlay = Overlay::new(opened.engine.clone());
        let put = |k: &str, v: &str| overlay.put(k.into(), v.into());
        put("a2", "new");
        put("a3", "new");
        assert_eq!(overlay.get(b"a3").unwrap(), Some(b"new".to_vec()));
        let all = overlay.scan(b"a", b"", 9).unwrap();
        assert_eq!(all, [pair("a1", "old"), pair("a2", "new"), pair("a3", "new")]);
        assert_eq!(overlay.scan(b"a", b"a1x", 1).unwrap(), [pair("a2", "new")]);
        assert!(overlay.is_fresh(b"a2") && !overlay.is_fresh(b"a1"));
        assert_eq!(opened.engine.get(b"a2").unwrap(), None);
        overlay.commit(pair("m", "state")).unwrap();
        assert_eq!(opened.engine.scan(b"a", b"", 9).unwrap(), all);
        assert_eq!((overlay.waiting(), opened.engine.get(b"m").unwrap()), (0, Some(b"state".to_vec())));
    }
}
