//! The follower: reads the journal behind the driver and keeps the index, at low priority, with bounded memory.
//!
//! Entries and cursor are written together, so a stop repeats nothing and loses nothing. Nothing waits for it but questions
//! that need the index; if the index fails, the node goes on without it, and it is brought back with growing pauses. Under a
//! new charter what is in is judged again, behind what comes. It must not know links or who asks, and whatever it finds wrong
//! with a record stands beside it and stops nothing.

mod again;
mod progress;
mod take;

pub use progress::{IndexProgress, Judging};

use super::{
    DedupIndex, EngineError, IndexCounts, OpenedIndex,
    entry::{JudgedAgain, STATE_KEY, State},
    overlay::Overlay,
};
use crate::entries::{self, EntryReader};
use std::{
    collections::HashSet,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
    time::{Duration, Instant},
};
use tally_core::{Entry as KeptAs, Place};
use tally_protocol::{ids::LogId, record::RecordId};
use tally_topology::{charter::Charter, content::KeyForms, in_force::CharterHandle};
use tokio::sync::watch;

/// Records that go into the index in one atomic write, at most: at the end of what is there, what there is. The more, the less
/// each costs; they are in memory until then, some 15 MB, and are read again after a stop.
pub const WRITE_RECORDS: usize = 20_000;
/// Pairs that one write may have.
const WRITE_PAIRS: usize = 3 * WRITE_RECORDS;
/// Flushed this often, as long as something comes and a while longer: the engine merges what came, and frees room with a flush.
const FLUSH_EVERY: Duration = Duration::from_secs(10);
const FLUSH_LONGER: Duration = Duration::from_secs(60);
/// Pauses before the index is brought back: doubled each time up to the longest.
const PAUSE_FIRST: Duration = Duration::from_millis(500);
const PAUSE_LONGEST: Duration = Duration::from_secs(60);
/// So often it is opened as it is; then it begins anew.
const AS_IT_IS: u32 = 3;

/// What the follower reads and tells.
#[derive(Debug)]
pub struct FollowSources {
    /// Ids and keys, kept up to date.
    pub known: Arc<DedupIndex>,
    /// The journal.
    pub reader: EntryReader,
    /// The charter in force.
    pub charter: CharterHandle,
    /// End of the durable journal; the follower ends when it closes.
    pub durable: watch::Receiver<Place>,
    /// How far the index is.
    pub progress: watch::Sender<IndexProgress>,
    /// The own log: its division's logs are what must not be sealed twice.
    pub own: LogId,
}

struct Follower<'s> {
    sources: &'s FollowSources,
    overlay: Arc<Overlay>,
    state: State,
    /// Records that one write may bring in.
    write_at: usize,
    /// Records, with their business keys, that the next write brings in.
    ids: Vec<(LogId, RecordId, KeyForms)>,
    /// Names of units that were written.
    names: HashSet<[u8; 8]>,
    /// Subjects that the next write gives a name, or another one.
    renamed: Vec<String>,
    /// Records that were missing when that was last looked into.
    missing: u64,
    /// When something was written.
    written: Instant,
    /// It has been at the end of the journal.
    whole: bool,
    /// The index was begun anew: what it could not read is damaged in the journal, and building it once more helps nothing.
    anew: bool,
}

/// Follows the journal until `durable` closes. Runs on a thread of its own. `agrees` judges the index's counts by the journal
/// as it is then.
pub fn follow(
    mut opened: OpenedIndex,
    sources: &FollowSources,
    agrees: impl Fn(&IndexCounts<'_>) -> bool,
    runtime: &tokio::runtime::Handle,
) {
    // The replication path must not wait for the index: this thread stands back when both want the processor.
    let _ = rustix::process::nice(10);
    let mut failed = 0;
    let mut trouble = opened.trouble.take();
    loop {
        if trouble.is_none() {
            let since = Instant::now();
            let mut follower = Follower::new(sources, &opened);
            let run = catch_unwind(AssertUnwindSafe(|| follower.run(&agrees, runtime)));
            if since.elapsed() > PAUSE_LONGEST {
                failed = 0;
            }
            trouble = match run {
                Ok(Ok(())) => return,
                Ok(Err(e)) => Some(e),
                Err(_) => Some(EngineError::Panicked("the engine")),
            };
        }
        let Some(e) = trouble.take() else { continue };
        let pause = (PAUSE_FIRST * 2_u32.pow(failed.min(10))).min(PAUSE_LONGEST);
        let reason = format!("{}; it is brought back in {} s", e.reason(), pause.as_secs().max(1));
        tracing::error!(event = "index.failed", %reason, "the index does not go on");
        // Before the pause: the engine still answers meanwhile, and knows what the filters may lack.
        sources.known.doubt();
        sources.progress.send_modify(|p| (p.trouble, p.whole) = (Some(reason), false));
        if waited(&sources.durable, pause, runtime) {
            return;
        }
        failed += 1;
        sources.known.set_whole(false);
        let is_full = e.is_full() || matches!(e, EngineError::Stopped) && opened.lacks_room();
        let anew = if e.may_pass() { !is_full && failed > AS_IT_IS } else { e.is_of_content() || failed > 1 };
        let back = catch_unwind(AssertUnwindSafe(|| opened.bring_back(anew, &agrees)));
        trouble = match back {
            Ok(done) => done.err(),
            Err(_) => Some(EngineError::Panicked("the engine")),
        };
        if let Some(why) = opened.rebuilt.as_deref().filter(|_| trouble.is_none()) {
            tracing::warn!(event = "index.rebuild", reason = %why, "the index is rebuilt from the journal");
        }
    }
}

/// Waits; whether the journal has ended meanwhile.
fn waited(durable: &watch::Receiver<Place>, pause: Duration, runtime: &tokio::runtime::Handle) -> bool {
    let mut durable = durable.clone();
    let ended = async { while durable.changed().await.is_ok() {} };
    runtime.block_on(async { tokio::time::timeout(pause, ended).await }).is_ok()
}

/// Whether a batch that ends at `end` counts: not if its epoch was closed before.
fn counts(charter: &Charter, log: LogId, end: u64) -> bool {
    charter.closed_at(log).is_none_or(|(last, _)| end <= last)
}

impl<'s> Follower<'s> {
    fn new(sources: &'s FollowSources, opened: &OpenedIndex) -> Self {
        let mut follower = Self {
            sources,
            overlay: Arc::new(Overlay::new(opened.engine.clone())),
            state: opened.state.clone(),
            write_at: WRITE_RECORDS,
            ids: Vec::new(),
            names: HashSet::new(),
            renamed: Vec::new(),
            missing: 0,
            written: Instant::now(),
            whole: false,
            anew: opened.rebuilt.is_some(),
        };
        if follower.state.place == 0 {
            follower.state.place = entries::origin().0;
        }
        follower
    }

    fn cursor(&self) -> Place {
        Place(self.state.place)
    }

    /// Everything before `place` is in.
    fn move_to(&mut self, place: Place) {
        (self.state.place, self.state.done) = (place.0, 0);
    }

    /// Until the journal ends, or the index fails.
    fn run(
        &mut self,
        agrees: &impl Fn(&IndexCounts<'_>) -> bool,
        runtime: &tokio::runtime::Handle,
    ) -> Result<(), EngineError> {
        self.sources.known.fill()?;
        let mut durable = self.sources.durable.clone();
        let mut flushed = Instant::now();
        loop {
            let until = *durable.borrow_and_update();
            let in_force = self.sources.charter.charter();
            let charter = in_force.charter();
            self.judge_by(charter);
            self.catch_up(charter, until, || durable.has_changed().is_err())?;
            self.look_for_missing(agrees)?;
            self.whole = true;
            self.sources.known.set_whole(true);
            self.tell();
            if flushed.elapsed() > FLUSH_EVERY {
                flushed = Instant::now();
                self.overlay_flush()?;
            }
            if self.state.judged.again.is_some() {
                // What comes goes before what is judged again.
                self.judge_again(charter, || durable.has_changed().is_ok_and(|c| !c))?;
                self.tell();
                if durable.has_changed().is_err() {
                    return Ok(());
                }
                continue;
            }
            let charters = self.sources.charter.clone();
            let rules = charter.rules_mark();
            let version = charter.version();
            drop(in_force);
            let flushes = self.written.elapsed() < FLUSH_LONGER;
            let ended = runtime.block_on(async {
                loop {
                    match tokio::time::timeout(Duration::from_secs(1), durable.changed()).await {
                        Ok(changed) => return changed.is_err(),
                        Err(_) => {
                            let now = charters.charter();
                            let other = (now.charter().rules_mark(), now.charter().version()) != (rules, version);
                            if other || flushes && flushed.elapsed() > FLUSH_EVERY {
                                return false;
                            }
                        }
                    }
                }
            });
            if ended {
                return Ok(());
            }
        }
    }

    /// By a charter with other rules all that is in has to be judged again.
    fn judge_by(&mut self, charter: &Charter) {
        let (rules, version) = (charter.rules_mark(), charter.version());
        let judged = &mut self.state.judged;
        let begun = judged.again.as_ref().map(|a| a.rules);
        if begun.unwrap_or(judged.rules) == rules {
            match &mut judged.again {
                Some(again) => again.charter = version,
                None => judged.charter = version,
            }
        } else if self.state.place == entries::origin().0 && self.state.done == 0 {
            (judged.rules, judged.charter, judged.again) = (rules, version, None);
        } else {
            let (place, until) = (entries::origin().0, self.state.place);
            // One batch more: of that at the cursor a part may be in.
            let until = until + u64::from(self.state.done > 0);
            judged.again = Some(JudgedAgain { rules, charter: version, place, until });
        }
        self.sources.known.set_judged(self.state.judged.again.is_none().then_some(rules));
    }

    fn catch_up(&mut self, charter: &Charter, until: Place, stopping: impl Fn() -> bool) -> Result<(), EngineError> {
        let mut at = self.cursor();
        while let Some((place, kept, next)) = self.sources.reader.next(at, until)? {
            if let KeptAs::Batch { log, start, tree, sealed_at, .. } = kept.entry
                && counts(charter, log, tree.size())
            {
                let range = (start, tree.size());
                self.take(charter, (log, range, sealed_at), place, &kept.body)?;
                self.tell();
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

    /// A read error that passed looks like damage: then records are missing here that the journal has. Where they are
    /// missing after everything was read again, they are damaged.
    fn look_for_missing(&mut self, agrees: &impl Fn(&IndexCounts<'_>) -> bool) -> Result<(), EngineError> {
        let missing = self.state.missing(|_| true);
        if missing != std::mem::replace(&mut self.missing, missing)
            && !self.anew
            && !agrees(&IndexCounts { state: &self.state, engine: &*self.overlay })
        {
            return Err(EngineError::Differs);
        }
        Ok(())
    }

    fn overlay_flush(&self) -> Result<(), EngineError> {
        super::Engine::flush(&*self.overlay)
    }

    /// Says how far the index is, and that it works: as of the last write, because what was only gathered nobody finds.
    fn tell(&self) {
        if self.overlay.waiting() > 0 {
            return;
        }
        let own = self.sources.own.division;
        let own_missing = self.state.missing(|log| log.division == own);
        let judged = &self.state.judged;
        let judging = judged.again.as_ref().map(|a| Judging {
            charter: a.charter,
            cursor: Place(a.place),
            until: Place(a.until),
        });
        self.sources.progress.send_replace(IndexProgress {
            cursor: self.cursor(),
            distinct: self.state.distinct,
            trouble: None,
            whole: self.whole,
            own_missing,
            judged_by: judged.charter,
            judging,
        });
    }

    /// Entries and cursor go in together, so a stop in between repeats nothing and loses nothing.
    fn write(&mut self) -> Result<(), EngineError> {
        if self.overlay.waiting() == 0 { Ok(()) } else { self.write_state() }
    }

    fn write_state(&mut self) -> Result<(), EngineError> {
        // Before it: whoever asks in between looks at the row itself.
        self.renamed.drain(..).for_each(|code| self.sources.known.renamed(&code));
        self.overlay.commit((STATE_KEY.to_vec(), self.state.encode()))?;
        self.written = Instant::now();
        self.sources.known.indexed(&self.ids);
        self.ids.clear();
        self.tell();
        Ok(())
    }
}

#[cfg(test)]
mod tests;
