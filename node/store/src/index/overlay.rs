//! What is about to be written, seen as if it were: an index over another one, for the follower alone.
//!
//! Records gather in memory, by chunks, until they go in as one atomic write. A chunk that is complete goes in whole; of one that is
//! not, each record by itself, and these go when the rest has come. What a record is worth is not known here.

use super::{
    Engine, EngineError, IndexEntry, Write,
    chunk::ChunkBuilder,
    entry::{
        self, CHUNK_KEYS, LOOKUP_BYTES, LOOKUP_PREFIX_BYTES, Lookup, chunk_key, first_of, read_chunk_key, single_key,
    },
};
use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};
use tally_protocol::{ids::LogId, record::RecordId};

/// An engine and what is about to be written to it.
#[derive(Debug)]
pub struct Overlay {
    below: Arc<dyn Engine>,
    fresh: Mutex<Fresh>,
}

/// What is about to be written.
#[derive(Debug, Default)]
struct Fresh {
    lookups: Lookups,
    chunks: BTreeMap<(LogId, u64), ChunkBuilder>,
    others: BTreeMap<Vec<u8>, Vec<u8>>,
}

/// Keys that lead to positions, found by the hash in them: asked for several times a record, they would cost a tree fifteen
/// comparisons each time.
#[derive(Debug, Default)]
struct Lookups {
    /// Each with the place of the one before it that begins the same.
    keys: Vec<([u8; LOOKUP_BYTES], Option<u32>)>,
    /// The one that came last of those that begin so.
    last: HashMap<[u8; LOOKUP_PREFIX_BYTES], u32>,
}

impl Lookups {
    /// Keys that begin so.
    fn alike(&self, prefix: [u8; LOOKUP_PREFIX_BYTES]) -> impl Iterator<Item = &[u8; LOOKUP_BYTES]> {
        let mut next = self.last.get(&prefix).copied();
        std::iter::from_fn(move || {
            let (key, before) = self.keys.get(next? as usize)?;
            next = *before;
            Some(key)
        })
    }

    fn put(&mut self, prefix: [u8; LOOKUP_PREFIX_BYTES], key: [u8; LOOKUP_BYTES]) {
        if !self.alike(prefix).any(|k| *k == key) {
            let before = self.last.insert(prefix, self.keys.len() as u32);
            self.keys.push((key, before));
        }
    }

    /// Keys with this prefix, in no order.
    fn with(&self, prefix: &[u8]) -> Vec<&[u8; LOOKUP_BYTES]> {
        match prefix.first_chunk() {
            Some(beginning) => self.alike(*beginning).filter(|key| key.starts_with(prefix)).collect(),
            None => self.keys.iter().map(|(key, _)| key).filter(|key| key.starts_with(prefix)).collect(),
        }
    }
}

/// Whether a key leads to a position.
fn is_lookup(key: &[u8]) -> bool {
    key.len() == LOOKUP_BYTES && (key.starts_with(entry::RECORDS) || key.starts_with(entry::KEYS))
}

impl Fresh {
    fn get(&self, key: &[u8]) -> Option<Vec<u8>> {
        if is_lookup(key) {
            return self.lookups.with(key).first().map(|_| Vec::new());
        }
        let Some((log, first, false)) = read_chunk_key(key).filter(|_| key.starts_with(entry::CHUNKS)) else {
            return self.others.get(key).cloned();
        };
        self.chunks.get(&(log, first))?.single_at(*key.last()?)
    }

    /// Pairs with this prefix, in no order.
    fn with(&self, prefix: &[u8]) -> Write {
        let of_others = self.others.range(prefix.to_vec()..).take_while(|(k, _)| k.starts_with(prefix));
        let mut found: Write = of_others.map(|(k, v)| (k.clone(), v.clone())).collect();
        let kind = prefix.get(..1).unwrap_or_default();
        if [b"", entry::RECORDS, entry::KEYS].contains(&kind) {
            found.extend(self.lookups.with(prefix).into_iter().map(|key| (key.to_vec(), Vec::new())));
        }
        if [b"", entry::CHUNKS].contains(&kind) {
            // Of one chunk, as it is mostly asked, without looking at the others.
            let of_one = read_chunk_key(prefix).map(|(log, first, _)| (log, first)..=(log, first));
            let chunks = match of_one {
                Some(one) => self.chunks.range(one),
                None => self.chunks.range(..),
            };
            for ((log, first), chunk) in chunks {
                let singles = chunk.singles().map(|(at, bytes)| (single_key(*log, first + u64::from(at)), bytes));
                found.extend(singles.filter(|(key, _)| key.starts_with(prefix)));
            }
        }
        found
    }

    fn len(&self) -> usize {
        self.lookups.keys.len() + self.others.len()
    }
}

impl Overlay {
    /// Over an engine.
    pub fn new(below: Arc<dyn Engine>) -> Self {
        Self { below, fresh: Mutex::default() }
    }

    fn fresh(&self) -> MutexGuard<'_, Fresh> {
        self.fresh.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Gathers a record of a log, with the keys that lead to it.
    pub fn put_record(&self, id: RecordId, log: LogId, e: &IndexEntry) {
        let mut fresh = self.fresh();
        for lookup in [Lookup::Record(id), Lookup::Key(e.content.key)] {
            fresh.lookups.put(lookup.prefix(), lookup.key(log, e.index));
        }
        fresh.chunks.entry((log, first_of(e.index))).or_default().put(id, e);
    }

    /// Gathers another pair.
    pub(super) fn put(&self, key: Vec<u8>, value: Vec<u8>) {
        self.fresh().others.insert(key, value);
    }

    /// Whether a record or business key may be about to be written: if not, nothing fresh leads to it.
    pub(super) fn is_fresh(&self, lookup: Lookup) -> bool {
        self.fresh().lookups.last.contains_key(&lookup.prefix())
    }

    /// Whether a pair of another kind with this prefix is about to be written.
    pub(super) fn is_fresh_pair(&self, prefix: &[u8]) -> bool {
        let fresh = self.fresh();
        fresh.others.range(prefix.to_vec()..).next().is_some_and(|(k, _)| k.starts_with(prefix))
    }

    /// Pairs that are about to be written, but for the records themselves.
    pub(super) fn waiting(&self) -> usize {
        self.fresh().len()
    }

    /// Writes what was gathered, with `last`, in one piece.
    ///
    /// # Errors
    /// The engine's; then what was gathered is forgotten, and nothing of it was written.
    pub fn commit(&self, last: (Vec<u8>, Vec<u8>)) -> Result<(), EngineError> {
        let fresh = std::mem::take(&mut *self.fresh());
        let (mut pairs, mut gone) = (Write::with_capacity(fresh.len() + fresh.chunks.len() + 1), Vec::new());
        for ((log, first), chunk) in fresh.chunks {
            self.write_chunk((log, first), chunk, &mut pairs, &mut gone)?;
        }
        pairs.extend(fresh.lookups.keys.into_iter().map(|(key, _)| (key.to_vec(), Vec::new())));
        pairs.extend(fresh.others);
        pairs.push(last);
        self.below.change(pairs, gone)
    }

    /// A chunk that is complete now, with what stands of it by itself already, or its new records.
    fn write_chunk(
        &self,
        (log, first): (LogId, u64),
        mut chunk: ChunkBuilder,
        pairs: &mut Write,
        gone: &mut Vec<Vec<u8>>,
    ) -> Result<(), EngineError> {
        let key = chunk_key(log, first);
        if !chunk.is_complete() {
            let held = self.below.scan(&key, b"", CHUNK_KEYS)?;
            if held.first().is_some_and(|(k, _)| *k == key) {
                // It is whole, and what came again is in it.
                return Ok(());
            }
            let fresh = chunk.singles().map(|(at, bytes)| (single_key(log, first + u64::from(at)), bytes));
            let fresh: Write = fresh.collect();
            for (_, bytes) in &held {
                chunk.put_all(bytes, first)?;
            }
            if !chunk.is_complete() {
                pairs.extend(fresh);
                return Ok(());
            }
            gone.extend(held.into_iter().map(|(key, _)| key));
        }
        pairs.push((key, chunk.encode()));
        Ok(())
    }
}

impl Engine for Overlay {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, EngineError> {
        let fresh = self.fresh().get(key);
        fresh.map_or_else(|| self.below.get(key), |value| Ok(Some(value)))
    }

    fn scan(&self, prefix: &[u8], from: &[u8], limit: usize) -> Result<Write, EngineError> {
        let mut pairs = self.below.scan(prefix, from, limit)?;
        let mut above = self.fresh().with(prefix);
        above.retain(|(k, _)| k.as_slice() >= from);
        if above.is_empty() {
            return Ok(pairs);
        }
        // Sorted in this order, what is about to be written comes first of two with one key.
        above.append(&mut pairs);
        above.sort_by(|(a, _), (b, _)| a.cmp(b));
        above.dedup_by(|later, first| later.0 == first.0);
        above.truncate(limit);
        Ok(above)
    }

    fn change(&self, pairs: Write, gone: Vec<Vec<u8>>) -> Result<(), EngineError> {
        if !gone.is_empty() {
            // Nobody who gathers removes: what is no longer found wrong becomes an empty list.
            return Err(EngineError::Engine("what gathers removes nothing".into()));
        }
        self.fresh().others.extend(pairs);
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
        assert!(overlay.is_fresh_pair(b"a2") && !overlay.is_fresh_pair(b"a1"));
        assert_eq!(opened.engine.get(b"a2").unwrap(), None);
        overlay.commit(pair("m", "state")).unwrap();
        assert_eq!(opened.engine.scan(b"a", b"", 9).unwrap(), all);
        assert_eq!((overlay.waiting(), opened.engine.get(b"m").unwrap()), (0, Some(b"state".to_vec())));
    }

    /// Records come in pieces of every size, some late and some again: each is found by position, id and key, whether it is about
    /// to be written or not, and what stood by itself goes when its chunk is complete.
    #[test]
    fn records_are_found_wherever_they_stand() {
        use crate::index::{chunk::CHUNK, positions};
        let dir = tempfile::tempdir().unwrap();
        let opened = open(&dir.path().join("index"), |_| true);
        let overlay = Overlay::new(opened.engine.clone());
        let log: LogId = "350102/e1".parse().unwrap();
        let record = |n: u64| {
            let mut e = IndexEntry { index: n, sealed_at: n / 50, ..IndexEntry::default() };
            e.content.key = [(n % 251) as u8; 16];
            (RecordId::of(&n.to_be_bytes()), e)
        };
        let all = 3 * CHUNK + 40;
        let check = |engine: &dyn Engine, held: &dyn Fn(u64) -> bool| {
            let mut seen = Vec::new();
            positions::each(engine, |_, id, e| {
                seen.push((id, e.clone()));
                Ok(())
            })
            .unwrap();
            assert_eq!(seen, (0..all).filter(|n| held(*n)).map(record).collect::<Vec<_>>());
            for n in (0..all).step_by(7) {
                let (id, e) = record(n);
                let expected = held(n).then(|| (id, e.clone()));
                assert_eq!(positions::at(engine, (log, n)).unwrap(), expected);
                assert_eq!(positions::of_record_in(engine, id, log).unwrap(), expected.map(|(_, e)| e));
                let same_key = (n % 251..all).step_by(251).filter(|n| held(*n)).map(|n| record(n).0);
                let found = positions::of_key(engine, &e.content.key).unwrap();
                assert_eq!(found.into_iter().map(|(_, id, _)| id).collect::<Vec<_>>(), same_key.collect::<Vec<_>>());
            }
        };
        let late = |n: u64| (CHUNK + 10..CHUNK + 20).contains(&n);
        let put = |n: u64| overlay.put_record(record(n).0, log, &record(n).1);
        let singles = || opened.engine.scan(entry::CHUNKS, b"", 9_999).unwrap().len();
        let mut done = 0;
        for until in [1, 2, CHUNK / 2, CHUNK + 5, 2 * CHUNK + 9, all] {
            (done..until).filter(|n| !late(*n)).for_each(put);
            done = until;
            check(&overlay, &|n| n < until && !late(n));
            overlay.commit((b"m".to_vec(), vec![])).unwrap();
            check(&overlay, &|n| n < until && !late(n));
            check(&*opened.engine, &|n| n < until && !late(n));
        }
        assert_eq!(singles() as u64, 2 + 40 + CHUNK - 10);
        // What was missing comes, and some of the others again.
        (CHUNK..2 * CHUNK).filter(|n| late(*n) || n.is_multiple_of(9)).for_each(put);
        check(&overlay, &|_| true);
        overlay.commit((b"m".to_vec(), vec![])).unwrap();
        check(&*opened.engine, &|_| true);
        assert_eq!(singles(), 3 + 40);
        put(5);
        overlay.commit((b"m".to_vec(), vec![])).unwrap();
        check(&*opened.engine, &|_| true);
        assert_eq!(singles(), 3 + 40, "it stands in its chunk already");
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
