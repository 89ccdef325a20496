//! The indexer: follows the journal and keeps the index behind it, at low priority, with bounded memory.

use super::{
    Engine, EngineError, Known, Opened, Write,
    entry::{self, Entry, STATE_KEY, State},
};
use crate::{
    journal::{Journal, Meta, Reader},
    link::Trust,
};
use std::{
    collections::HashSet,
    sync::Arc,
    time::{Duration, Instant},
};
use tally_protocol::{batch::Batch, ids::LogId, log::Place, record::RecordId};
use tally_topology::charter::Charter;
use tokio::sync::watch;

/// Records that go into the index in one atomic write. Small, and not a whole
/// batch: sled keeps memory in proportion to its largest write, which adds up to hundreds of megabytes.
pub const WRITE_RECORDS: usize = 200;
/// Flushed this often.
const FLUSH_EVERY: Duration = Duration::from_secs(10);

/// How far the index is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Progress {
    /// Everything before this place is in.
    pub cursor: Place,
    /// Distinct records in the index.
    pub distinct: u64,
    /// Why the index does not work, if it does not.
    pub trouble: Option<String>,
}

struct Follower {
    engine: Arc<dyn Engine>,
    known: Arc<Known>,
    reader: Reader,
    state: State,
    pairs: Write,
    ids: Vec<(LogId, RecordId)>,
    fresh: HashSet<RecordId>,
}

/// Follows the journal until `durable` closes. Runs on a thread of its own.
pub fn follow(
    opened: &Opened,
    known: Arc<Known>,
    reader: Reader,
    trust: &Trust,
    mut durable: watch::Receiver<Place>,
    progress: &watch::Sender<Progress>,
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
    };
    if follower.state.segment == 0 {
        let Place { segment, offset } = Journal::origin();
        (follower.state.segment, follower.state.offset) = (segment, offset);
    }
    if let Err(e) = follower.known.fill() {
        tracing::error!(event = "index.failed", reason = %e, "the index cannot be read");
    }
    let mut flushed = Instant::now();
    loop {
        let until = *durable.borrow_and_update();
        let charter = trust.charter();
        let result = follower.catch_up(charter.charter(), until, progress);
        drop(charter);
        let (cursor, distinct) = (follower.cursor(), follower.state.distinct);
        let trouble = result.err().map(|e| e.0);
        if let Some(reason) = &trouble {
            tracing::error!(event = "index.failed", %reason, "the index does not go on; it is rebuilt at the next start");
        }
        let stop = trouble.is_some();
        progress.send_replace(Progress { cursor, distinct, trouble });
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

/// Records beyond the end of a closed epoch do not count.
fn counts(charter: &Charter, log: LogId, end: u64) -> bool {
    charter.epoch(log).and_then(|e| e.last.as_ref()).is_none_or(|(last, _)| end <= *last)
}

impl Follower {
    fn cursor(&self) -> Place {
        Place { segment: self.state.segment, offset: self.state.offset }
    }

    /// Everything before `place` is in.
    fn move_to(&mut self, place: Place) {
        (self.state.segment, self.state.offset, self.state.done) = (place.segment, place.offset, 0);
    }

    fn catch_up(
        &mut self,
        charter: &Charter,
        until: Place,
        progress: &watch::Sender<Progress>,
    ) -> Result<(), EngineError> {
        let mut at = self.cursor();
        while let Some((place, frame)) = self.reader.next(at, until).map_err(EngineError::of)? {
            if let Meta::Batch { log, start, end, sealed_at, .. } = frame.meta
                && counts(charter, log, end)
            {
                self.take(log, start, sealed_at, place, &frame.body)?;
                let (cursor, distinct) = (self.cursor(), self.state.distinct);
                progress.send_replace(Progress { cursor, distinct, trouble: None });
            }
            at = frame.next;
            self.move_to(at);
        }
        self.write()?;
        self.move_to(until);
        Ok(())
    }

    fn take(&mut self, log: LogId, start: u64, sealed_at: u64, place: Place, body: &[u8]) -> Result<(), EngineError> {
        let batch = Batch::decode(body).map_err(EngineError::of)?;
        let records = batch.records().map_err(EngineError::of)?;
        let done = if self.cursor() == place { usize::from(self.state.done) } else { 0 };
        (self.state.segment, self.state.offset) = (place.segment, place.offset);
        let reached = self.state.reached.get(&log).copied().unwrap_or(0);
        for (i, bytes) in records.iter().enumerate().skip(done) {
            let id = RecordId::of(bytes);
            let (operation, key) = entry::facts(id, bytes);
            let e = Entry { index: start + i as u64, sealed_at, operation, key };
            // A batch that was repaired comes a second time, or late.
            let new = self.is_new(id)?;
            let known =
                !new && (self.ids.contains(&(log, id)) || self.engine.get(&entry::record_key(id, log))?.is_some());
            if !known {
                *self.state.keys.entry(log).or_default() += 1;
            }
            if new {
                self.state.distinct += 1;
            }
            if !(known && e.index < reached) {
                *self.state.logs.entry(log).or_default() += 1;
            }
            self.state.reached.insert(log, reached.max(e.index + 1));
            self.pairs.extend(entry::pairs(id, log, &e));
            self.ids.push((log, id));
            self.state.done = i as u16 + 1;
            if self.ids.len() >= WRITE_RECORDS {
                self.write()?;
            }
        }
        Ok(())
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
        pairs.sort_unstable();
        pairs.push((STATE_KEY.to_vec(), self.state.encode()));
        self.engine.write(pairs)?;
        self.known.indexed(&self.ids);
        self.ids.clear();
        self.fresh.clear();
        Ok(())
    }
}

#[cfg(test)]
mod tests;
