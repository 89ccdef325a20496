//! The only file that knows fjall.
//!
//! Few pairs go in by its journal and its table in memory, many as a sorted run of their own, straight into a table on the
//! disk: so an indexer that is far behind costs less the further it is behind.
//!
//! A reading sees all of a change or nothing: the engine itself puts a batch in pair by pair, under the eyes of whoever reads. A
//! run is seen all at once.
//!
//! It has one worker: two pass what is to be merged to and fro for as long as one of them merges. As that one may be busy for
//! seconds, what is in memory is bounded here, and not left to its turn.

use super::engine::{Engine, EngineError, Write};
use fjall::{Database, Keyspace, KeyspaceCreateOptions, PersistMode};
use std::{
    path::Path,
    sync::{
        PoisonError, RwLock,
        atomic::{AtomicU32, AtomicUsize, Ordering},
    },
    thread::sleep,
    time::{Duration, Instant},
};

/// Block cache in bytes.
const CACHE_BYTES: u64 = 32 << 20;
/// Bytes in memory that are not in a table yet; the engine would count twice as many.
const MEMTABLE_BYTES: u64 = 16 << 20;
/// What an open may have to replay.
const JOURNAL_BYTES: u64 = 64 << 20;
/// So many pairs go in as a run of their own.
const RUN_PAIRS: usize = 8_192;
/// More tables than this that overlap, and a run waits until some are merged: the engine itself lets any number pile up, and
/// each makes every reading slower.
const TABLES_MAX: usize = 12;
/// Tables in memory that wait for the disk, beside the one that is written to.
const SEALED_MAX: usize = 1;
/// Flushes after a run that also free the tables that were merged into others: the engine does so only when it puts another
/// table aside, and merging goes on for a while.
const FREEING_FLUSHES: u32 = 6;
/// A key of nobody: the engine puts no empty table aside.
const NO_KEY: &[u8] = &[0xff];
/// Tables that are not merged within this time say that the engine does not work any more.
const MERGED_WITHIN: Duration = Duration::from_secs(300);

pub(super) struct Fjall {
    db: Database,
    pairs: Keyspace,
    /// Bytes in the table in memory, about.
    in_memory: AtomicUsize,
    /// Flushes that are to free merged tables yet.
    freeing: AtomicU32,
    /// Held to write while a change goes in pair by pair, so that nobody reads a part of it.
    changing: RwLock<()>,
}

fn failed(e: fjall::Error) -> EngineError {
    match e {
        fjall::Error::Locked => EngineError::Locked,
        // A thread of its own failed, mostly for want of room.
        fjall::Error::Poisoned => EngineError::Stopped,
        fjall::Error::Io(e) => EngineError::Files(e),
        e => EngineError::of(&e),
    }
}

impl std::fmt::Debug for Fjall {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Fjall")
    }
}

impl Fjall {
    pub(super) fn open(dir: &Path) -> Result<Self, EngineError> {
        let open =
            Database::builder(dir).cache_size(CACHE_BYTES).max_journaling_size(JOURNAL_BYTES).worker_threads(1).open();
        let db = open.map_err(failed)?;
        let pairs = db
            .keyspace("index", || KeyspaceCreateOptions::default().max_memtable_size(2 * MEMTABLE_BYTES))
            .map_err(failed)?;
        Ok(Self { db, pairs, in_memory: AtomicUsize::new(0), freeing: AtomicU32::new(0), changing: RwLock::default() })
    }

    /// Waits until the engine has caught up as far as `is_behind` asks.
    fn wait_while(&self, is_behind: impl Fn(&Keyspace) -> bool) -> Result<(), EngineError> {
        let since = Instant::now();
        while is_behind(&self.pairs) {
            if since.elapsed() > MERGED_WITHIN {
                return Err(EngineError::Engine("its tables are not merged any more".into()));
            }
            sleep(Duration::from_millis(5));
        }
        Ok(())
    }

    /// Puts the table in memory aside, to be written to the disk, and frees what was merged into other tables. Waits for nothing:
    /// a node that stops flushes, also while a full disk lets no table be written.
    fn put_aside(&self) -> Result<(), EngineError> {
        self.in_memory.store(0, Ordering::Relaxed);
        self.pairs.rotate_memtable().map(|_| ()).map_err(failed)
    }

    /// Changes as a table of their own: durable, and seen all at once, when this returns.
    fn write_run(&self, pairs: Write, gone: Vec<Vec<u8>>) -> Result<(), EngineError> {
        let written = pairs.into_iter().map(|(key, value)| (key, Some(value)));
        let mut changes: Vec<_> = gone.into_iter().map(|key| (key, None)).chain(written).collect();
        // The order is that of the keys, and no key stands there twice; of two the later one counts.
        changes.sort_by(|(a, _), (b, _)| a.cmp(b));
        self.wait_while(|pairs| pairs.l0_table_count() > TABLES_MAX)?;
        let mut run = self.pairs.start_ingestion().map_err(failed)?;
        let mut changes = changes.into_iter().peekable();
        while let Some((key, value)) = changes.next() {
            if changes.peek().is_some_and(|(next, _)| *next == key) {
                continue;
            }
            let done = match value {
                Some(value) => run.write(key, value),
                None => run.write_tombstone(key),
            };
            done.map_err(failed)?;
        }
        self.freeing.store(FREEING_FLUSHES, Ordering::Relaxed);
        run.finish().map_err(failed)
    }
}

impl Engine for Fjall {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, EngineError> {
        let _whole = self.changing.read().unwrap_or_else(PoisonError::into_inner);
        Ok(self.pairs.get(key).map_err(failed)?.map(|v| v.to_vec()))
    }

    fn scan(&self, prefix: &[u8], from: &[u8], limit: usize) -> Result<Write, EngineError> {
        let _whole = self.changing.read().unwrap_or_else(PoisonError::into_inner);
        let mut found = Vec::new();
        for guard in self.pairs.range(from.max(prefix)..).take(limit) {
            let (key, value) = guard.into_inner().map_err(failed)?;
            if !key.starts_with(prefix) {
                break;
            }
            found.push((key.to_vec(), value.to_vec()));
        }
        Ok(found)
    }

    fn change(&self, pairs: Write, gone: Vec<Vec<u8>>) -> Result<(), EngineError> {
        if pairs.len() >= RUN_PAIRS {
            return self.write_run(pairs, gone);
        }
        let bytes: usize = pairs.iter().map(|(key, value)| key.len() + value.len()).sum();
        let mut batch = self.db.batch();
        for key in gone {
            batch.remove(&self.pairs, key);
        }
        for (key, value) in pairs {
            batch.insert(&self.pairs, key, value);
        }
        let changing = self.changing.write().unwrap_or_else(PoisonError::into_inner);
        batch.commit().map_err(failed)?;
        drop(changing);
        if self.in_memory.fetch_add(bytes, Ordering::Relaxed) + bytes > MEMTABLE_BYTES as usize {
            self.put_aside()?;
            self.wait_while(|pairs| pairs.sealed_memtable_count() > SEALED_MAX)?;
        }
        Ok(())
    }

    fn flush(&self) -> Result<(), EngineError> {
        let freeing = self.freeing.load(Ordering::Relaxed);
        if freeing > 0 {
            self.freeing.store(freeing - 1, Ordering::Relaxed);
            self.pairs.remove(NO_KEY).map_err(failed)?;
            self.put_aside()?;
        }
        self.db.persist(PersistMode::SyncAll).map_err(failed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pair(k: &str, v: &str) -> (Vec<u8>, Vec<u8>) {
        (k.into(), v.into())
    }

    #[test]
    fn get_after_write_and_overwrite() {
        let dir = tempfile::tempdir().unwrap();
        let e = Fjall::open(dir.path()).unwrap();
        e.write(vec![pair("a", "1"), pair("b", "2")]).unwrap();
        e.write(vec![pair("b", "3")]).unwrap();
        assert_eq!(e.get(b"a").unwrap(), Some(b"1".to_vec()));
        assert_eq!(e.get(b"b").unwrap(), Some(b"3".to_vec()));
        assert_eq!(e.get(b"c").unwrap(), None);
    }

    #[test]
    fn scans_are_ordered_bounded_and_resume() {
        let dir = tempfile::tempdir().unwrap();
        let e = Fjall::open(dir.path()).unwrap();
        let all: Write = (0..100).map(|i| pair(&format!("x{i:03}"), "v")).collect();
        e.write(all.iter().rev().cloned().collect()).unwrap();
        e.write(vec![pair("w", ""), pair("y", ""), pair("\u{ff}", "")]).unwrap();
        assert_eq!(e.scan(b"x", b"", 1_000).unwrap(), all);
        assert_eq!(e.scan(b"x", b"x050", 10).unwrap(), all[50..60]);
        assert_eq!(e.scan(b"x", b"x0505", 1).unwrap(), all[51..52]);
        assert_eq!(e.scan(b"x", b"z", 1).unwrap(), []);
        assert_eq!(e.scan("\u{ff}".as_bytes(), b"", 9).unwrap().len(), 1);
        assert_eq!(e.scan(b"q", b"", 9).unwrap(), []);
    }

    /// Runs and small writes in turn: whatever came last of a key counts, before and after opening anew.
    #[test]
    fn what_came_last_counts_however_it_came() {
        let dir = tempfile::tempdir().unwrap();
        let key = |n: usize| format!("k{n:06}");
        let run = |value: &str| -> Write { (0..RUN_PAIRS).rev().map(|n| pair(&key(n), value)).collect() };
        let check = |e: &Fjall| {
            let all = e.scan(b"k", b"", 3 * RUN_PAIRS).unwrap();
            assert_eq!(all.len(), RUN_PAIRS + 1);
            for (n, (k, v)) in all.iter().enumerate() {
                let value = if n == 7 || n == RUN_PAIRS { "small" } else { "second" };
                assert_eq!((k.as_slice(), v.as_slice()), (key(n).as_bytes(), value.as_bytes()));
                assert_eq!(e.get(k).unwrap().as_ref(), Some(v));
            }
        };
        {
            let e = Fjall::open(dir.path()).unwrap();
            e.write(vec![pair(&key(3), "small"), pair(&key(RUN_PAIRS), "small")]).unwrap();
            e.write(run("first")).unwrap();
            // Of two in one write the later one counts.
            e.write([run("lost"), run("second")].concat()).unwrap();
            e.write(vec![pair(&key(7), "small")]).unwrap();
            check(&e);
            e.flush().unwrap();
        }
        check(&Fjall::open(dir.path()).unwrap());
    }

    /// Removed and written in one change, small or as a run: what is removed is away, before and after opening anew.
    #[test]
    fn what_is_removed_is_away() {
        for more in [0, RUN_PAIRS] {
            let dir = tempfile::tempdir().unwrap();
            let check = |e: &Fjall| {
                assert_eq!(e.scan(b"x", b"", 9).unwrap(), [pair("x2", "new"), pair("x3", "old")]);
                assert_eq!(e.get(b"x1").unwrap(), None);
            };
            {
                let e = Fjall::open(dir.path()).unwrap();
                e.write(vec![pair("x1", "old"), pair("x2", "old"), pair("x3", "old")]).unwrap();
                let fill = (0..more).map(|n| pair(&format!("y{n}"), "v"));
                e.change(fill.chain([pair("x2", "new")]).collect(), vec![b"x1".to_vec(), b"x2".to_vec()]).unwrap();
                check(&e);
                e.flush().unwrap();
            }
            check(&Fjall::open(dir.path()).unwrap());
        }
    }

    /// What was removed by a change stands in what came with it: whoever reads meanwhile finds one of the two.
    #[test]
    fn a_change_is_seen_whole() {
        const PAIRS: usize = 500;
        let dir = tempfile::tempdir().unwrap();
        let e = Fjall::open(dir.path()).unwrap();
        let singles = |round: usize| (0..PAIRS).map(move |n| pair(&format!("x{round:04}s{n:04}"), "single"));
        let ended = std::sync::atomic::AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                for round in 0..200 {
                    e.write(singles(round).collect()).unwrap();
                    let gone = singles(round).map(|(key, _)| key).collect();
                    e.change(vec![pair(&format!("x{round:04}whole"), "whole")], gone).unwrap();
                }
                ended.store(true, Ordering::Release);
            });
            let mut round = 0;
            while !ended.load(Ordering::Acquire) {
                let of_round = format!("x{round:04}");
                let found = e.scan(of_round.as_bytes(), b"", PAIRS + 1).unwrap();
                let whole = found.iter().any(|(_, value)| value == b"whole");
                assert!(found.is_empty() || whole && found.len() == 1 || found.len() == PAIRS, "{}", found.len());
                round += usize::from(whole && round < 199);
            }
        });
    }

    /// More runs than may pile up: each waits for its turn.
    #[test]
    fn runs_do_not_pile_up() {
        let dir = tempfile::tempdir().unwrap();
        let e = Fjall::open(dir.path()).unwrap();
        for round in 0..3 * TABLES_MAX {
            let run = (0..RUN_PAIRS).map(|n| pair(&format!("{:04}{round}", n * 7_919 % 10_007), "v")).collect();
            e.write(run).unwrap();
            assert!(e.pairs.l0_table_count() <= TABLES_MAX + 1);
        }
    }
}
