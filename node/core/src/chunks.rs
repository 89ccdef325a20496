//! An ordered list that is cheap to share: a copy shares all its chunks, and a change copies one of them.
//!
//! A log grows at its end, one batch after another, for years; readers are given a copy after each round. A copy costs one
//! counter for 512 items, an append at most 512 items. It must not know what is kept in it.

use std::sync::Arc;

/// Items of a full chunk.
const CHUNK: usize = 512;

/// What is kept in order of a number of its own.
pub(crate) trait Keyed {
    /// The number; no two items of a list share it.
    fn key(&self) -> u64;
}

/// Items in order of their keys.
#[derive(Debug, Clone)]
pub(crate) struct Chunks<T> {
    chunks: Vec<Arc<Vec<T>>>,
}

impl<T> Default for Chunks<T> {
    fn default() -> Self {
        Self { chunks: Vec::new() }
    }
}

impl<T: Keyed + Clone> Chunks<T> {
    /// The first chunk with a key of `key` or more.
    fn chunk_at(&self, key: u64) -> usize {
        self.chunks.partition_point(|c| c.last().is_none_or(|last| last.key() < key))
    }

    /// Puts an item at its place; answers the one that had the same key.
    pub(crate) fn insert(&mut self, item: T) -> Option<T> {
        let at = self.chunk_at(item.key());
        if at == self.chunks.len() {
            match self.chunks.last_mut().filter(|last| last.len() < CHUNK) {
                Some(last) => Arc::make_mut(last).push(item),
                None => self.chunks.push(Arc::new(vec![item])),
            }
            return None;
        }
        let chunk = Arc::make_mut(self.chunks.get_mut(at)?);
        let place = chunk.partition_point(|i| i.key() < item.key());
        if let Some(same) = chunk.get_mut(place).filter(|i| i.key() == item.key()) {
            return Some(std::mem::replace(same, item));
        }
        chunk.insert(place, item);
        if chunk.len() > 2 * CHUNK {
            let rest = chunk.split_off(CHUNK);
            self.chunks.insert(at + 1, Arc::new(rest));
        }
        None
    }

    /// The item with this key.
    pub(crate) fn get(&self, key: u64) -> Option<&T> {
        self.from(key).next().filter(|i| i.key() == key)
    }

    /// Items with a key of `key` or more, ascending.
    pub(crate) fn from(&self, key: u64) -> impl Iterator<Item = &T> + use<'_, T> {
        let at = self.chunk_at(key);
        let first =
            self.chunks.get(at).map_or(&[][..], |c| c.get(c.partition_point(|i| i.key() < key)..).unwrap_or(&[]));
        first.iter().chain(self.chunks.iter().skip(at + 1).flat_map(|c| c.iter()))
    }

    /// All items, ascending.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &T> {
        self.chunks.iter().flat_map(|c| c.iter())
    }

    /// Replaces each item for which `change` returns `Some`; its key must stay the same.
    pub(crate) fn replace(&mut self, mut change: impl FnMut(&T) -> Option<T>) {
        for chunk in &mut self.chunks {
            let changes: Vec<_> = chunk.iter().enumerate().filter_map(|(i, item)| Some((i, change(item)?))).collect();
            for (i, item) in changes {
                if let Some(place) = Arc::make_mut(chunk).get_mut(i) {
                    *place = item;
                }
            }
        }
    }

    /// Takes away every item with a key of `key` or more.
    pub(crate) fn cut(&mut self, key: u64) -> Vec<T> {
        let beyond: Vec<_> = self.from(key).cloned().collect();
        let at = self.chunk_at(key);
        self.chunks.truncate(at + 1);
        if let Some(chunk) = self.chunks.get_mut(at) {
            Arc::make_mut(chunk).retain(|i| i.key() < key);
        }
        self.chunks.retain(|c| !c.is_empty());
        beyond
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    impl Keyed for (u64, u64) {
        fn key(&self) -> u64 {
            self.0
        }
    }

    proptest! {
        /// Whatever is done, it is what a map does.
        #[test]
        fn it_is_an_ordered_map(steps in prop::collection::vec((0_u64..4_000, 0..100_u8), 1..3_000)) {
            let (mut chunks, mut map) = (Chunks::default(), BTreeMap::new());
            let mut shared = None;
            for (i, (key, what)) in steps.into_iter().enumerate() {
                let value = i as u64;
                match what {
                    0 => {
                        let cut: Vec<_> = map.split_off(&key).into_iter().collect();
                        prop_assert_eq!(chunks.cut(key), cut);
                    }
                    1 => {
                        chunks.replace(|(k, v)| (k % 7 == key % 7).then_some((*k, v + 1)));
                        map.iter_mut().filter(|(k, _)| *k % 7 == key % 7).for_each(|(_, v)| *v += 1);
                    }
                    2 => shared = Some((chunks.clone(), map.clone())),
                    _ => {
                        // Mostly at the end, as a log grows.
                        let key = if what < 80 { map.last_key_value().map_or(0, |(k, _): (&u64, _)| k + 1) } else { key };
                        prop_assert_eq!(chunks.insert((key, value)).map(|(_, v)| v), map.insert(key, value));
                    }
                }
                prop_assert_eq!(chunks.get(key).map(|(_, v)| *v), map.get(&key).copied());
                prop_assert_eq!(chunks.from(key).next().copied(), map.range(key..).next().map(|(k, v)| (*k, *v)));
            }
            prop_assert!(chunks.iter().copied().eq(map.into_iter()));
            if let Some((chunks, map)) = shared {
                prop_assert!(chunks.iter().copied().eq(map.into_iter()), "a copy stays as it was");
            }
        }
    }
}
