//! The follower: reads the journal behind the driver and keeps the index, at low priority, with bounded memory.
//!
//! Entries and cursor are written together, so a stop repeats nothing and loses nothing. Nothing waits for it but questions
//! that need the index; if the index fails, the node goes on without it. It must not know links or who asks, and whatever it
//! finds wrong with a record stands beside it and stops nothing.

use super::{
    DedupIndex, Engine, EngineError, OpenedIndex, Write,
    entry::{self, IndexEntry, STATE_KEY, State},
    findings::{self, Neighbours},
};
use crate::entries::{self, EntryReader};
use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
    time::{Duration, Instant},
};
use tally_core::Place;
use tally_protocol::{batch::Batch, canonical::Object, ids::LogId, record::RecordId};
use tally_topology::content::{ContentId, Dimensions, Operation};
use tally_topology::in_force::CharterHandle;
use tally_topology::{catalog::Severity, charter::Charter};
use tokio::sync::watch;

/// Records that go into the index in one atomic write. Small, and not a whole
/// batch: sled keeps memory in proportion to its largest write, which adds up to hundreds of megabytes.
pub const WRITE_RECORDS: usize = 200;
/// Flushed this often.
const FLUSH_EVERY: Duration = Duration::from_secs(10);

/// How far the index is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IndexProgress {
    /// Everything before this place is in.
    pub cursor: Place,
    /// Distinct records in the index.
    pub distinct: u64,
    /// Why the index does not work, if it does not.
    pub trouble: Option<String>,
}

struct Follower {
    engine: Arc<dyn Engine>,
    known: Arc<DedupIndex>,
    reader: EntryReader,
    state: State,
    pairs: Write,
    /// Records, with their business keys, that the next write brings in.
    ids: Vec<(LogId, RecordId, [u8; 16])>,
    fresh: HashSet<RecordId>,
    /// Versions and subjects that the next write brings in.
    fresh_keys: HashMap<[u8; 16], Vec<(LogId, entry::Version)>>,
    fresh_subjects: HashMap<String, (u32, String)>,
}

/// Follows the journal until `durable` closes. Runs on a thread of its own.
pub fn follow(
    opened: &OpenedIndex,
    known: Arc<DedupIndex>,
    reader: EntryReader,
    charter: &CharterHandle,
    mut durable: watch::Receiver<Place>,
    progress: &watch::Sender<IndexProgress>,
    runtime: &tokio::runtime::Handle,
) {
    // The replication path must not wait for the index: this thread stands back when both want the processor.
    let _ = rustix::process::nice(10);
    let mut follower = Follower {
        engine: opened.engine.clone(),
        known,
        reader,
        state: opened.state.clone(),
        pairs: Vec::new(),
        ids: Vec::new(),
        fresh: HashSet::new(),
        fresh_keys: HashMap::new(),
        fresh_subjects: HashMap::new(),
    };
    if follower.state.place == 0 {
        follower.state.place = entries::origin().0;
    }
    if let Err(e) = follower.known.fill() {
        tracing::error!(event = "index.failed", reason = %e, "the index cannot be read");
    }
    let mut flushed = Instant::now();
    loop {
        let until = *durable.borrow_and_update();
        let in_force = charter.charter();
        let stopping = || durable.has_changed().is_err();
        let result = follower.catch_up(in_force.charter(), until, progress, stopping);
        drop(in_force);
        let (cursor, distinct) = (follower.cursor(), follower.state.distinct);
        let trouble = result.err().map(|e| e.reason());
        if let Some(reason) = &trouble {
            tracing::error!(event = "index.failed", %reason, "the index does not go on; it is rebuilt at the next start");
        }
        let stop = trouble.is_some();
        progress.send_replace(IndexProgress { cursor, distinct, trouble });
        if stop {
            return;
        }
        if flushed.elapsed() > FLUSH_EVERY {
            flushed = Instant::now();
            let _ = follower.engine.flush();
        }
        if runtime.block_on(durable.changed()).is_err() {
            return;
        }
    }
}

/// Whether a batch that ends at `end` counts: not if its epoch was closed before.
fn counts(charter: &Charter, log: LogId, end: u64) -> bool {
    charter.closed_at(log).is_none_or(|(last, _)| end <= last)
}

impl Follower {
    fn cursor(&self) -> Place {
        Place(self.state.place)
    }

    /// Everything before `place` is in.
    fn move_to(&mut self, place: Place) {
        (self.state.place, self.state.done) = (place.0, 0);
    }

    fn catch_up(
        &mut self,
        charter: &Charter,
        until: Place,
        progress: &watch::Sender<IndexProgress>,
        stopping: impl Fn() -> bool,
    ) -> Result<(), EngineError> {
        let mut at = self.cursor();
        while let Some((place, kept, next)) = self.reader.next(at, until)? {
            if let tally_core::Entry::Batch { log, start, tree, sealed_at, .. } = kept.entry
                && counts(charter, log, tree.size())
            {
                self.take(charter, log, (start, sealed_at), place, &kept.body)?;
                let (cursor, distinct) = (self.cursor(), self.state.distinct);
                progress.send_replace(IndexProgress { cursor, distinct, trouble: None });
            }
            at = next;
            self.move_to(at);
            if stopping() {
                return self.write();
            }
        }
        self.write()?;
        self.move_to(until);
        Ok(())
    }

    fn take(
        &mut self,
        charter: &Charter,
        log: LogId,
        (start, sealed_at): (u64, u64),
        place: Place,
        body: &[u8],
    ) -> Result<(), EngineError> {
        let batch = Batch::decode(body)?;
        let records = batch.records()?;
        let done = if self.cursor() == place { usize::from(self.state.done) } else { 0 };
        self.state.place = place.0;
        for (i, bytes) in records.iter().enumerate().skip(done) {
            let id = RecordId::of(bytes);
            let object = Object::parse(bytes).ok();
            let content = match &object {
                Some(object) => ContentId::of(id, object),
                None => ContentId::unreadable(id),
            };
            let dimensions = object.as_ref().map(Dimensions::of).unwrap_or_default();
            let e = IndexEntry { index: start + i as u64, sealed_at, content, dimensions };
            let again = self.count(log, id, e.index)?;
            if let Some(object) = object.filter(|_| !again) {
                self.judge(charter, log, id, &e, &object)?;
            }
            self.pairs.extend(entry::pairs(id, log, &e));
            self.ids.push((log, id, content.key));
            let version = entry::Version::of(id, &content);
            self.fresh_keys.entry(content.key).or_default().push((log, version));
            self.state.done = i as u16 + 1;
            if self.ids.len() >= WRITE_RECORDS {
                self.write()?;
            }
        }
        Ok(())
    }

    /// Counts a record. Answers whether the index knows already that this log holds it: a batch that was repaired comes a second
    /// time, or late, and must not count twice.
    fn count(&mut self, log: LogId, id: RecordId, index: u64) -> Result<bool, EngineError> {
        let reached = self.state.reached.get(&log).copied().unwrap_or(0);
        let new = self.is_new(id)?;
        let among_fresh = || self.ids.iter().any(|(l, i, _)| (*l, *i) == (log, id));
        let known = !new && (among_fresh() || self.engine.get(&entry::record_key(id, log))?.is_some());
        if !known {
            *self.state.keys.entry(log).or_default() += 1;
        }
        if new {
            self.state.distinct += 1;
        }
        if !(known && index < reached) {
            *self.state.logs.entry(log).or_default() += 1;
        }
        self.state.reached.insert(log, reached.max(index + 1));
        Ok(known)
    }

    /// Judges a record and keeps what is wrong with it beside it (I3: reported, and never in the way of replication).
    fn judge(
        &mut self,
        charter: &Charter,
        log: LogId,
        id: RecordId,
        e: &IndexEntry,
        object: &Object<'_>,
    ) -> Result<(), EngineError> {
        let neighbours = self.neighbours(log, id, &e.content)?;
        let judged = findings::judged(charter, log, e, object, &neighbours);
        let right = judged.findings.iter().all(|f| f.severity != Severity::Reject);
        if judged.base
            && right
            && e.content.operation != Operation::Withdraw
            && let Some((code, name)) = object.text("subject_uscc").zip(object.text("subject_name"))
            && self.is_newer_subject(code, e.dimensions.produced_on)?
        {
            self.fresh_subjects.insert(code.to_owned(), (e.dimensions.produced_on, name.to_owned()));
        }
        if !judged.findings.is_empty() {
            self.pairs.push((entry::finding_key(log, e.index), findings::encode(id, &judged.findings)));
        }
        Ok(())
    }

    /// Other versions of a record's business key, and other nodes' logs that hold the same.
    fn neighbours(&self, log: LogId, id: RecordId, content: &ContentId) -> Result<Neighbours, EngineError> {
        const VERSIONS_MAX: usize = 256;
        let mut versions = Vec::new();
        if self.known.maybe_key(&content.key) {
            let held = self.engine.scan(&entry::version_prefix(&content.key), b"", VERSIONS_MAX)?;
            versions.extend(held.iter().filter_map(|(k, v)| Some((entry::version_log(k)?, entry::read_version(v)?))));
        }
        versions.extend(self.fresh_keys.get(&content.key).into_iter().flatten());
        let same = |v: &entry::Version| v.operation == content.operation && v.substance == content.substance;
        let others = versions.iter().filter(|(l, v)| l.division != log.division && same(v));
        let other_paths = others.map(|(l, _)| *l).collect();
        let versions = versions.into_iter().map(|(_, v)| v).filter(|v| v.id != id).collect();
        Ok(Neighbours { versions, other_paths })
    }

    fn is_newer_subject(&self, code: &str, day: u32) -> Result<bool, EngineError> {
        if let Some(fresh) = self.fresh_subjects.get(code) {
            return Ok(fresh.0 <= day);
        }
        let held = self.engine.get(&entry::subject_key(code))?;
        Ok(held.and_then(|v| entry::read_subject(&v)).is_none_or(|(held, _)| held <= day))
    }

    /// Whether no log is known to hold the record yet.
    fn is_new(&mut self, id: RecordId) -> Result<bool, EngineError> {
        if !self.fresh.insert(id) {
            return Ok(false);
        }
        if !self.known.maybe(&id) {
            return Ok(true);
        }
        Ok(self.engine.scan(&entry::record_prefix(id), b"", 1)?.is_empty())
    }

    /// Entries and cursor go in together, so a stop in between repeats nothing and loses nothing.
    fn write(&mut self) -> Result<(), EngineError> {
        if self.ids.is_empty() {
            return Ok(());
        }
        let mut pairs = std::mem::take(&mut self.pairs);
        let subjects = self.fresh_subjects.iter();
        pairs.extend(subjects.map(|(code, (day, name))| (entry::subject_key(code), entry::subject_value(*day, name))));
        pairs.sort_unstable();
        pairs.push((STATE_KEY.to_vec(), self.state.encode()));
        self.engine.write(pairs)?;
        self.known.indexed(&self.ids);
        self.ids.clear();
        self.fresh.clear();
        self.fresh_keys.clear();
        self.fresh_subjects.clear();
        Ok(())
    }
}

#[cfg(test)]
mod tests;
