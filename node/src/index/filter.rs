//! Ids that are known: a filter in memory keeps the common answer, "new", off the disk.

use super::{Engine, EngineError, entry};
use fastbloom::BloomFilter;
use std::{
    collections::HashSet,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
};
use tally_protocol::{ids::LogId, record::RecordId};

/// First size of the filter, in ids; each further layer is twice the last.
const FIRST_LAYER: usize = 1 << 20;
/// More logs than this are not asked whether they hold a record.
const ATTESTED: usize = 4_096;
/// One lookup in so many finds a new id "perhaps known" and asks the engine.
const FALSE_POSITIVE: f64 = 0.005;

/// Answers "is this id in that log", exactly, mostly without the engine.
#[derive(Debug)]
pub struct Known {
    engine: Arc<dyn Engine>,
    own: LogId,
    filter: Mutex<Layers>,
    /// The filter holds every id of the index.
    complete: AtomicBool,
    /// Ids of the own log that are not in the index yet.
    pending: Mutex<HashSet<RecordId>>,
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

    fn contains(&self, id: &RecordId) -> bool {
        self.layers.iter().any(|l| l.contains(id))
    }

    fn insert(&mut self, id: &RecordId) {
        if self.last_items >= FIRST_LAYER << (self.layers.len() - 1) {
            self.layers.push(Self::layer(FIRST_LAYER << self.layers.len()));
            self.last_items = 0;
        }
        if let Some(last) = self.layers.last_mut() {
            last.insert(id);
            self.last_items += 1;
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Known {
    /// Of an index. `empty`: nothing is in it yet, so the filter is complete from the start.
    pub fn new(engine: Arc<dyn Engine>, own: LogId, empty: bool) -> Self {
        Self {
            engine,
            own,
            filter: Mutex::new(Layers::new()),
            complete: AtomicBool::new(empty),
            pending: Mutex::default(),
        }
    }

    /// Fills the filter from the index; until this is done the engine is asked.
    ///
    /// # Errors
    /// The engine's.
    pub fn fill(&self) -> Result<(), EngineError> {
        const PAGE: usize = 4_096;
        let mut from = b"r".to_vec();
        loop {
            let page = self.engine.scan(b"r", &from, PAGE)?;
            let mut filter = lock(&self.filter);
            for (key, value) in &page {
                if let Some((id, _, _)) = entry::read_record(key, value) {
                    filter.insert(&id);
                }
            }
            drop(filter);
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
        !self.complete.load(Ordering::Acquire) || lock(&self.filter).contains(id)
    }

    /// Whether the own log, of whatever epoch, holds `id`, counting ids that were added and are not indexed yet.
    ///
    /// # Errors
    /// The engine's.
    pub fn holds(&self, id: &RecordId) -> Result<bool, EngineError> {
        if lock(&self.pending).contains(id) {
            return Ok(true);
        }
        if !self.maybe(id) {
            return Ok(false);
        }
        let attested = self.engine.scan(&entry::record_prefix(*id), b"", ATTESTED)?;
        let log = |(key, value): &(Vec<u8>, Vec<u8>)| entry::read_record(key, value).map(|(_, log, _)| log);
        Ok(attested.iter().filter_map(log).any(|log| log.division == self.own.division))
    }

    /// An id of the own log is about to be sealed.
    pub fn add_pending(&self, id: RecordId) {
        lock(&self.pending).insert(id);
    }

    /// These were not sealed after all.
    pub fn forget_pending<'a>(&self, ids: impl Iterator<Item = &'a RecordId>) {
        let mut pending = lock(&self.pending);
        for id in ids {
            pending.remove(id);
        }
    }

    /// These are in the index now.
    pub(super) fn indexed(&self, ids: &[(LogId, RecordId)]) {
        let mut filter = lock(&self.filter);
        ids.iter().for_each(|(_, id)| filter.insert(id));
        drop(filter);
        let mut pending = lock(&self.pending);
        // The same record in another log says nothing about the own one.
        for (_, id) in ids.iter().filter(|(log, _)| *log == self.own) {
            pending.remove(id);
        }
        if pending.is_empty() && pending.capacity() > 1 << 16 {
            pending.shrink_to_fit();
        }
    }

    /// Ids waiting for the index.
    pub fn pending(&self) -> usize {
        lock(&self.pending).len()
    }
}
