//! An ordered list that is cheap to share and small: a copy shares all its chunks, and a change copies one of them.
//!
//! A log grows at its end, one batch after another, for years; readers are given a copy after each round. A copy costs one
//! counter for 512 items, an append at most 512 items. What is not at the end any more is packed: numbers as differences from the
//! item before, in groups that are read by themselves. It must not know what is kept in it.

use std::{borrow::Cow, sync::Arc};
use tally_protocol::codec;

/// Items of a full chunk.
const CHUNK: usize = 512;
/// Items of a packed chunk that are read at once.
const GROUP: usize = 16;
/// Bytes that a packed group may take.
const GROUP_BYTES_MAX: usize = 4 << 10;

/// What is kept in order of a number of its own.
pub(crate) trait Keyed {
    /// The number; no two items of a list share it.
    fn key(&self) -> u64;
}

/// What can be packed: numbers that change little from one item to the next, and bytes that cannot be foreseen.
pub(crate) trait Packs: Keyed + Copy {
    /// All its numbers.
    fn numbers(&self) -> [u64; 4];
    /// The other bytes; each item has as many.
    fn bytes(&self) -> &[u8];
    /// The item with these.
    fn of(numbers: [u64; 4], bytes: &[u8]) -> Option<Self>;
}

/// Items in order of their keys.
#[derive(Debug, Clone)]
pub(crate) struct Chunks<T> {
    chunks: Vec<Chunk<T>>,
}

#[derive(Debug, Clone)]
enum Chunk<T> {
    /// At the end, or changed since.
    Open(Arc<Vec<T>>),
    Packed(Arc<PackedChunk>),
}

#[derive(Debug)]
struct PackedChunk {
    last: u64,
    /// Of each group the last key, and where its bytes end.
    groups: Box<[(u64, u32)]>,
    bytes: Box<[u8]>,
}

impl PackedChunk {
    fn of<T: Packs>(items: &[T]) -> Option<Self> {
        let (mut groups, mut bytes) = (Vec::with_capacity(items.len().div_ceil(GROUP)), Vec::new());
        for group in items.chunks(GROUP) {
            let mut before = [0; 4];
            let mut differences: Vec<[i64; 4]> = Vec::with_capacity(group.len());
            for item in group {
                let now = item.numbers();
                let mut all = now.iter().zip(before).map(|(n, b)| n.wrapping_sub(b).cast_signed());
                differences.push(std::array::from_fn(|_| all.next().unwrap_or_default()));
                before = now;
            }
            bytes.extend(codec::encode(&differences));
            group.iter().for_each(|item| bytes.extend_from_slice(item.bytes()));
            groups.push((group.last()?.key(), u32::try_from(bytes.len()).ok()?));
        }
        Some(Self { last: items.last()?.key(), groups: groups.into(), bytes: bytes.into() })
    }

    /// The items of a group.
    fn group<T: Packs>(&self, at: usize) -> Vec<T> {
        let end = |at: usize| self.groups.get(at).map(|(_, end)| *end as usize);
        let range = at.checked_sub(1).map_or(Some(0), end).zip(end(at));
        let bytes = range.and_then(|(from, to)| self.bytes.get(from..to)).unwrap_or_default();
        let read = codec::decode_prefix::<Vec<[i64; 4]>, GROUP_BYTES_MAX>(bytes);
        debug_assert!(read.is_ok(), "what was packed can be read");
        let Ok((differences, rest)) = read else { return Vec::new() };
        let (each, mut before) = (rest.len() / differences.len().max(1), [0_u64; 4]);
        let mut items = Vec::with_capacity(differences.len());
        for (n, all) in differences.iter().enumerate() {
            before.iter_mut().zip(all).for_each(|(b, d)| *b = b.wrapping_add(d.cast_unsigned()));
            items.extend(T::of(before, rest.get(n * each..(n + 1) * each).unwrap_or_default()));
        }
        items
    }
}

impl<T: Packs> Chunk<T> {
    fn of(items: Vec<T>) -> Self {
        Self::Open(Arc::new(items))
    }

    fn last(&self) -> Option<u64> {
        match self {
            Self::Open(items) => items.last().map(Keyed::key),
            Self::Packed(packed) => Some(packed.last),
        }
    }

    /// Its items with a key of `key` or more, some at a time.
    fn from(&self, key: u64) -> impl Iterator<Item = Cow<'_, [T]>> {
        let (open, packed) = match self {
            Self::Open(items) => {
                (Some(items.get(items.partition_point(|i| i.key() < key)..).unwrap_or_default()), None)
            }
            Self::Packed(packed) => (None, Some(packed)),
        };
        let groups = packed.into_iter().flat_map(move |packed| {
            let first = packed.groups.partition_point(|(last, _)| *last < key);
            (first..packed.groups.len()).map(move |at| {
                let mut group = packed.group::<T>(at);
                group.drain(..group.partition_point(|i| i.key() < key));
                Cow::Owned(group)
            })
        });
        open.map(Cow::Borrowed).into_iter().chain(groups)
    }

    /// Changes its items.
    fn change<R>(&mut self, change: impl FnOnce(&mut Vec<T>) -> R) -> R {
        match self {
            Self::Open(items) => change(Arc::make_mut(items)),
            Self::Packed(_) => {
                let mut items = self.from(0).flat_map(Cow::into_owned).collect();
                let done = change(&mut items);
                *self = Self::of(items);
                done
            }
        }
    }

    fn pack(&mut self) {
        if let Self::Open(items) = self
            && let Some(packed) = PackedChunk::of(items)
        {
            *self = Self::Packed(Arc::new(packed));
        }
    }
}

impl<T> Default for Chunks<T> {
    fn default() -> Self {
        Self { chunks: Vec::new() }
    }
}

impl<T: Packs> Chunks<T> {
    /// The first chunk with a key of `key` or more.
    fn chunk_at(&self, key: u64) -> usize {
        self.chunks.partition_point(|c| c.last().is_none_or(|last| last < key))
    }

    /// Puts an item at its place; answers the one that had the same key.
    pub(crate) fn insert(&mut self, item: T) -> Option<T> {
        let at = self.chunk_at(item.key());
        if at == self.chunks.len() {
            match self.chunks.last_mut() {
                Some(Chunk::Open(last)) if last.len() < CHUNK => Arc::make_mut(last).push(item),
                _ => {
                    self.chunks.iter_mut().for_each(Chunk::pack);
                    self.chunks.push(Chunk::of(vec![item]));
                }
            }
            return None;
        }
        let (same, rest) = self.chunks.get_mut(at)?.change(|chunk| {
            let place = chunk.partition_point(|i| i.key() < item.key());
            if let Some(same) = chunk.get_mut(place).filter(|i| i.key() == item.key()) {
                return (Some(std::mem::replace(same, item)), None);
            }
            chunk.insert(place, item);
            (None, (chunk.len() > 2 * CHUNK).then(|| chunk.split_off(CHUNK)))
        });
        if let Some(rest) = rest {
            self.chunks.insert(at + 1, Chunk::of(rest));
        }
        same
    }

    /// The item with this key.
    pub(crate) fn get(&self, key: u64) -> Option<T> {
        self.from(key).next().filter(|i| i.key() == key)
    }

    /// Items with a key of `key` or more, ascending.
    pub(crate) fn from(&self, key: u64) -> impl Iterator<Item = T> + use<'_, T> {
        let chunks = self.chunks.get(self.chunk_at(key)..).unwrap_or_default();
        let groups = chunks.iter().flat_map(move |c| c.from(key));
        groups.flat_map(|group| (0..group.len()).filter_map(move |at| group.get(at).copied()))
    }

    /// All items, ascending.
    pub(crate) fn iter(&self) -> impl Iterator<Item = T> {
        self.from(0)
    }

    /// Replaces each item for which `change` returns `Some`; its key must stay the same.
    pub(crate) fn replace(&mut self, mut change: impl FnMut(&T) -> Option<T>) {
        for chunk in &mut self.chunks {
            let items = chunk.from(0).flat_map(|group| (0..group.len()).filter_map(move |at| group.get(at).copied()));
            let changes: Vec<_> = items.enumerate().filter_map(|(i, item)| Some((i, change(&item)?))).collect();
            if changes.is_empty() {
                continue;
            }
            chunk.change(|items| {
                for (i, item) in changes {
                    if let Some(place) = items.get_mut(i) {
                        *place = item;
                    }
                }
            });
        }
    }

    /// Takes away every item with a key of `key` or more.
    pub(crate) fn cut(&mut self, key: u64) -> Vec<T> {
        let beyond: Vec<_> = self.from(key).collect();
        let at = self.chunk_at(key);
        self.chunks.truncate(at + 1);
        if let Some(chunk) = self.chunks.get_mut(at) {
            chunk.change(|items| items.retain(|i| i.key() < key));
        }
        self.chunks.retain(|c| c.last().is_some());
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

    impl Packs for (u64, u64) {
        fn numbers(&self) -> [u64; 4] {
            // Also such as leap from one end of what a number can be to the other.
            [self.0, u64::MAX.wrapping_mul(self.1), 0, u64::MAX]
        }
        fn bytes(&self) -> &[u8] {
            b"bytes"
        }
        fn of([key, value, zero, max]: [u64; 4], bytes: &[u8]) -> Option<Self> {
            assert_eq!((zero, max, bytes), (0, u64::MAX, &b"bytes"[..]));
            Some((key, value.wrapping_mul(u64::MAX)))
        }
    }

    #[test]
    fn what_is_not_at_the_end_is_small() {
        let mut chunks = Chunks::default();
        (0..10 * CHUNK as u64).for_each(|n| assert_eq!(chunks.insert((n, n)), None));
        let packed = chunks.chunks.iter().filter(|c| matches!(c, Chunk::Packed(_))).count();
        assert_eq!((chunks.chunks.len(), packed), (10, 9));
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
                prop_assert_eq!(chunks.get(key).map(|(_, v)| v), map.get(&key).copied());
                prop_assert_eq!(chunks.from(key).next(), map.range(key..).next().map(|(k, v)| (*k, *v)));
            }
            prop_assert!(chunks.iter().eq(map.into_iter()));
            if let Some((chunks, map)) = shared {
                prop_assert!(chunks.iter().eq(map.into_iter()), "a copy stays as it was");
            }
        }
    }
}
