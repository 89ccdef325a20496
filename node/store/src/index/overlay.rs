//! What is about to be written, seen as if it were: an index over another one, for the follower alone.
//!
//! Pairs gather in memory until they go in as one atomic write. It knows bytes only, as an engine does; that long keys begin
//! with a hash makes it fast, and nothing else depends on it.

use super::{Engine, EngineError, Write};
use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

/// An engine and what is about to be written to it.
#[derive(Debug)]
pub(super) struct Overlay {
    below: Arc<dyn Engine>,
    fresh: Mutex<Fresh>,
}

/// Keys of so many bytes are found by their first [`MARK`] bytes, a kind and a hash: asked for several times a record, they
/// cost a tree of them fifteen comparisons each time.
const LONG: usize = 32;
const MARK: usize = 17;

/// Pairs that are about to be written, each key once.
#[derive(Debug, Default)]
struct Fresh {
    long: Vec<LongPair>,
    /// The pair that came last of those with these first bytes.
    last: HashMap<[u8; MARK], usize>,
    short: BTreeMap<Vec<u8>, Vec<u8>>,
}

#[derive(Debug)]
struct LongPair {
    key: Vec<u8>,
    value: Vec<u8>,
    /// The one before it with the same first bytes.
    before: Option<usize>,
}

fn mark(key: &[u8]) -> Option<[u8; MARK]> {
    key.first_chunk().copied()
}

impl Fresh {
    /// Long pairs whose keys begin as this one.
    fn alike(&self, key: &[u8]) -> impl Iterator<Item = (usize, &LongPair)> {
        let mut next = mark(key).and_then(|mark| self.last.get(&mark).copied());
        std::iter::from_fn(move || {
            let at = next?;
            let pair = self.long.get(at)?;
            next = pair.before;
            Some((at, pair))
        })
    }

    fn get(&self, key: &[u8]) -> Option<&Vec<u8>> {
        if key.len() < LONG {
            return self.short.get(key);
        }
        self.alike(key).find(|(_, pair)| pair.key == key).map(|(_, pair)| &pair.value)
    }

    fn put(&mut self, key: Vec<u8>, value: Vec<u8>) {
        let Some(mark) = mark(&key).filter(|_| key.len() >= LONG) else {
            self.short.insert(key, value);
            return;
        };
        let held = self.alike(&key).find(|(_, pair)| pair.key == key).map(|(at, _)| at);
        if let Some(pair) = held.and_then(|at| self.long.get_mut(at)) {
            pair.value = value;
            return;
        }
        let before = self.last.insert(mark, self.long.len());
        self.long.push(LongPair { key, value, before });
    }

    /// Pairs with this prefix, in no order.
    fn with(&self, prefix: &[u8]) -> Vec<(&Vec<u8>, &Vec<u8>)> {
        let of_short = self.short.range(prefix.to_vec()..).take_while(|(k, _)| k.starts_with(prefix));
        let mut found: Vec<_> = of_short.collect();
        let add = |pair: &LongPair| pair.key.starts_with(prefix);
        if prefix.len() >= MARK {
            found.extend(self.alike(prefix).map(|(_, p)| p).filter(|p| add(p)).map(|p| (&p.key, &p.value)));
        } else {
            found.extend(self.long.iter().filter(|p| add(p)).map(|p| (&p.key, &p.value)));
        }
        found
    }

    fn len(&self) -> usize {
        self.long.len() + self.short.len()
    }
}

impl Overlay {
    pub(super) fn new(below: Arc<dyn Engine>) -> Self {
        Self { below, fresh: Mutex::default() }
    }

    fn fresh(&self) -> MutexGuard<'_, Fresh> {
        self.fresh.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Gathers a pair.
    pub(super) fn put(&self, key: Vec<u8>, value: Vec<u8>) {
        self.fresh().put(key, value);
    }

    /// Whether a pair with this prefix is about to be written.
    pub(super) fn is_fresh(&self, prefix: &[u8]) -> bool {
        !self.fresh().with(prefix).is_empty()
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
        let mut fresh = std::mem::take(&mut *self.fresh());
        fresh.put(last.0, last.1);
        let mut pairs: Write = fresh.long.into_iter().map(|p| (p.key, p.value)).chain(fresh.short).collect();
        pairs.sort_unstable_by(|(a, _), (b, _)| a.cmp(b));
        self.below.write(pairs)
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
        let above = fresh.with(prefix).into_iter().filter(|(k, _)| k.as_slice() >= from);
        let above: Write = above.map(|(k, v)| (k.clone(), v.clone())).collect();
        if above.is_empty() {
            return Ok(pairs);
        }
        pairs.retain(|(k, _)| fresh.get(k).is_none());
        pairs.extend(above);
        pairs.sort_unstable();
        pairs.truncate(limit);
        Ok(pairs)
    }

    fn write(&self, pairs: Write) -> Result<(), EngineError> {
        let mut fresh = self.fresh();
        pairs.into_iter().for_each(|(key, value)| fresh.put(key, value));
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

    /// Keys of every length that share beginnings of every length: the same as if all had been written at once.
    #[test]
    fn keys_of_any_length_are_found_by_any_prefix() {
        let dir = tempfile::tempdir().unwrap();
        let opened = open(&dir.path().join("index"), |_| true);
        let overlay = Overlay::new(opened.engine.clone());
        let mut expected = BTreeMap::new();
        let put = |to: &dyn Engine, key: Vec<u8>, value: Vec<u8>| to.write(vec![(key, value)]).unwrap();
        for n in 0..400_usize {
            // Written long ago, about to be written, and both.
            let mut key = vec![b'a' + (n % 3) as u8; 10 + n % 30];
            key.extend((n / 20).to_be_bytes());
            let value = n.to_be_bytes().to_vec();
            if n % 2 == 0 {
                put(&*opened.engine, key.clone(), b"old".to_vec());
                expected.insert(key.clone(), b"old".to_vec());
            }
            if n % 3 != 0 {
                put(&overlay, key.clone(), value.clone());
                expected.insert(key, value);
            }
        }
        let keys: Vec<Vec<u8>> = expected.keys().cloned().collect();
        let check = |engine: &dyn Engine| {
            for key in &keys {
                assert_eq!(engine.get(key).unwrap().as_ref(), expected.get(key));
                for cut in [0, 1, 16, 17, 18, key.len()] {
                    let prefix = key.get(..cut).unwrap_or(key);
                    let all: Write = expected
                        .range(key.clone()..)
                        .filter(|(k, _)| k.starts_with(prefix))
                        .take(7)
                        .map(|(k, v)| (k.clone(), v.clone()))
                        .collect();
                    assert_eq!(engine.scan(prefix, key, 7).unwrap(), all);
                }
            }
        };
        check(&overlay);
        overlay.commit((b"m".to_vec(), b"state".to_vec())).unwrap();
        assert_eq!(opened.engine.get(b"m").unwrap(), Some(b"state".to_vec()));
        assert!(keys.iter().all(|k| opened.engine.get(k).unwrap().as_ref() == expected.get(k)));
    }
}
