//! Ids and business keys that are known: filters in memory keep the common answer, "new", off the disk.
//!
//! A filter's "no" is certain; until it holds the whole index, and after each "perhaps", the engine is asked. What is about to be
//! sealed counts as held until the index has it. What follows from being held is not decided here.

use super::{Engine, EngineError, Version, entry};
use fastbloom::BloomFilter;
use std::{
    collections::{HashMap, HashSet, hash_map::Entry as Slot},
    hash::Hash,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
};
use tally_protocol::{ids::LogId, record::RecordId};
use tally_topology::content::{ContentId, Operation};

/// First size of the filter, in ids; each further layer is twice the last.
const FIRST_LAYER: usize = 1 << 20;
/// More logs than this are not asked whether they hold a record.
const ATTESTED: usize = 4_096;
/// One lookup in so many finds a new id "perhaps known" and asks the engine.
const FALSE_POSITIVE: f64 = 0.005;

/// Answers "is this id in that log", exactly, mostly without the engine.
#[derive(Debug)]
pub struct DedupIndex {
    engine: Arc<dyn Engine>,
    own: LogId,
    ids: Mutex<Layers>,
    keys: Mutex<Layers>,
    /// The filters hold every id and key of the index.
    complete: AtomicBool,
    /// What is in the own log, or about to be, and not in the index yet.
    pending: Mutex<Pending>,
}

#[derive(Debug, Default)]
struct Pending {
    ids: HashMap<RecordId, [u8; 16]>,
    /// Versions that wait for the index.
    keys: HashMap<[u8; 16], Vec<Version>>,
}

impl Pending {
    fn remove(&mut self, id: &RecordId) {
        let Some(key) = self.ids.remove(id) else { return };
        if let Slot::Occupied(mut waiting) = self.keys.entry(key) {
            waiting.get_mut().retain(|w| w.id != *id);
            if waiting.get().is_empty() {
                waiting.remove();
            }
        }
    }
}

/// Versions of a business key that are held here, by whatever path they came: at least one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyHistory {
    /// In the order in which they came, each at its first attestation; the last one counts.
    pub versions: Vec<Version>,
    /// Those of the own log.
    pub own: Vec<Version>,
    /// Those that are not in the index yet, so perhaps not durable yet either.
    pub pending: Vec<Version>,
    /// There are more than were read: which is the last is not known.
    pub cut: bool,
}

impl KeyHistory {
    /// The one that counts, as far as is known.
    pub fn latest(&self) -> Option<&Version> {
        self.versions.last()
    }

    /// Whether the last of them withdraws.
    pub fn is_withdrawn(&self) -> bool {
        self.latest().is_some_and(|v| v.operation == Operation::Withdraw)
    }
}

#[derive(Debug)]
struct Layers {
    layers: Vec<BloomFilter>,
    last_items: usize,
}

impl Layers {
    fn new() -> Self {
        Self { layers: vec![Self::layer(FIRST_LAYER)], last_items: 0 }
    }

    fn layer(items: usize) -> BloomFilter {
        // Ids are hashes already, and known to everybody: a fixed seed gives nothing away that a random one would not.
        BloomFilter::with_false_pos(FALSE_POSITIVE).seed(&0).expected_items(items)
    }

    fn contains(&self, item: &impl Hash) -> bool {
        self.layers.iter().any(|l| l.contains(item))
    }

    fn insert(&mut self, item: &impl Hash) {
        if self.last_items >= FIRST_LAYER << (self.layers.len() - 1) {
            self.layers.push(Self::layer(FIRST_LAYER << self.layers.len()));
            self.last_items = 0;
        }
        if let Some(last) = self.layers.last_mut() {
            last.insert(item);
            self.last_items += 1;
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl DedupIndex {
    /// Of an index. `empty`: nothing is in it yet, so the filter is complete from the start.
    pub fn new(engine: Arc<dyn Engine>, own: LogId, empty: bool) -> Self {
        Self {
            engine,
            own,
            ids: Mutex::new(Layers::new()),
            keys: Mutex::new(Layers::new()),
            complete: AtomicBool::new(empty),
            pending: Mutex::default(),
        }
    }

    /// Fills the filters from the index; until this is done the engine is asked.
    ///
    /// # Errors
    /// The engine's.
    pub fn fill(&self) -> Result<(), EngineError> {
        const PAGE: usize = 4_096;
        let mut from = b"r".to_vec();
        loop {
            let page = self.engine.scan(b"r", &from, PAGE)?;
            let (mut ids, mut keys) = (lock(&self.ids), lock(&self.keys));
            for (key, value) in &page {
                if let Some((id, _, e)) = entry::read_record(key, value) {
                    ids.insert(&id);
                    keys.insert(&e.content.key);
                }
            }
            drop((ids, keys));
            match page.last() {
                Some((key, _)) if page.len() == PAGE => {
                    from = [key.as_slice(), &[0]].concat();
                }
                _ => break,
            }
        }
        self.complete.store(true, Ordering::Release);
        Ok(())
    }

    /// Whether `id` may be in any log here; `false` is certain.
    pub(super) fn maybe(&self, id: &RecordId) -> bool {
        !self.complete.load(Ordering::Acquire) || lock(&self.ids).contains(id)
    }

    /// Whether the own log, of whatever epoch, holds `id`, counting ids that were added and are not indexed yet.
    ///
    /// # Errors
    /// The engine's.
    pub fn holds(&self, id: &RecordId) -> Result<bool, EngineError> {
        if lock(&self.pending).ids.contains_key(id) {
            return Ok(true);
        }
        if !self.maybe(id) {
            return Ok(false);
        }
        let attested = self.engine.scan(&entry::record_prefix(*id), b"", ATTESTED)?;
        let log = |(key, value): &(Vec<u8>, Vec<u8>)| entry::read_record(key, value).map(|(_, log, _)| log);
        Ok(attested.iter().filter_map(log).any(|log| log.division == self.own.division))
    }

    /// Whether a business key may be held here; `false` is certain.
    pub(super) fn maybe_key(&self, key: &[u8; 16]) -> bool {
        !self.complete.load(Ordering::Acquire) || lock(&self.keys).contains(key)
    }

    /// The versions of a business key that are held here; `None`: there is none.
    ///
    /// # Errors
    /// The engine's.
    pub fn versions(&self, key: &[u8; 16]) -> Result<Option<KeyHistory>, EngineError> {
        let pending = lock(&self.pending).keys.get(key).cloned().unwrap_or_default();
        let (mut versions, mut own, mut ids, mut cut) = (Vec::new(), Vec::new(), HashSet::new(), false);
        if self.maybe_key(key) {
            let held = self.engine.scan(&entry::version_prefix(key), b"", ATTESTED)?;
            cut = held.len() == ATTESTED;
            for (pair_key, value) in held {
                let Some(v) = entry::read_version(&value) else { continue };
                // A late second path revives no old version.
                if ids.insert(v.id) {
                    versions.push(v);
                }
                // What came by another path stays in both logs, as signed.
                if entry::version_log(&pair_key).is_some_and(|log| log.division == self.own.division) {
                    own.push(v);
                }
            }
        }
        // One that is indexed just now is in both.
        let pending: Vec<Version> = pending.into_iter().filter(|v| ids.insert(v.id)).collect();
        versions.extend(&pending);
        own.extend(&pending);
        Ok((!versions.is_empty()).then_some(KeyHistory { versions, own, pending, cut }))
    }

    /// Name of a subject by the newest registration held.
    ///
    /// # Errors
    /// The engine's.
    pub fn subject(&self, code: &str) -> Result<Option<String>, EngineError> {
        let name = self.engine.get(&entry::subject_key(code))?;
        Ok(name.and_then(|n| entry::read_subject(&n)).map(|(_, name)| name))
    }

    /// A record of the own log is about to be sealed.
    pub fn add_pending(&self, id: RecordId, content: &ContentId) {
        let mut pending = lock(&self.pending);
        if pending.ids.insert(id, content.key).is_some() {
            return;
        }
        let waiting = Version::of(id, content);
        // Most keys have one version: no room for more is made.
        pending.keys.entry(content.key).or_insert_with(|| Vec::with_capacity(1)).push(waiting);
    }

    /// These were not sealed after all.
    pub fn forget_pending<'a>(&self, ids: impl Iterator<Item = &'a RecordId>) {
        let mut pending = lock(&self.pending);
        ids.for_each(|id| pending.remove(id));
    }

    /// These are in the index now.
    pub(super) fn indexed(&self, records: &[(LogId, RecordId, [u8; 16])]) {
        let (mut ids, mut keys) = (lock(&self.ids), lock(&self.keys));
        for (_, id, key) in records {
            ids.insert(id);
            keys.insert(key);
        }
        drop((ids, keys));
        let mut pending = lock(&self.pending);
        // The same record in another log says nothing about the own one.
        for (_, id, _) in records.iter().filter(|(log, _, _)| *log == self.own) {
            pending.remove(id);
        }
        if pending.ids.is_empty() && pending.ids.capacity() > 1 << 16 {
            *pending = Pending::default();
        }
    }

    /// Ids waiting for the index.
    pub fn pending(&self) -> usize {
        lock(&self.pending).ids.len()
    }
}
