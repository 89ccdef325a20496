//! The only file that knows fjall.

use super::engine::{Engine, EngineError, Write};
use fjall::{Database, Keyspace, KeyspaceCreateOptions, PersistMode};
use std::path::Path;

/// Block cache in bytes.
const CACHE_BYTES: u64 = 32 << 20;
/// Bytes in memory that are not in a table yet.
const MEMTABLE_BYTES: u64 = 16 << 20;
/// What an open may have to replay.
const JOURNAL_BYTES: u64 = 64 << 20;

pub(super) struct Fjall {
    db: Database,
    pairs: Keyspace,
}

fn failed(e: fjall::Error) -> EngineError {
    match e {
        fjall::Error::Locked => EngineError::Locked,
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
            Database::builder(dir).cache_size(CACHE_BYTES).max_journaling_size(JOURNAL_BYTES).worker_threads(2).open();
        let db = open.map_err(failed)?;
        let pairs = db
            .keyspace("index", || KeyspaceCreateOptions::default().max_memtable_size(MEMTABLE_BYTES))
            .map_err(failed)?;
        Ok(Self { db, pairs })
    }
}

impl Engine for Fjall {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, EngineError> {
        Ok(self.pairs.get(key).map_err(failed)?.map(|v| v.to_vec()))
    }

    fn scan(&self, prefix: &[u8], from: &[u8], limit: usize) -> Result<Write, EngineError> {
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

    fn write(&self, pairs: Write) -> Result<(), EngineError> {
        let mut batch = self.db.batch();
        for (key, value) in pairs {
            batch.insert(&self.pairs, key, value);
        }
        batch.commit().map_err(failed)
    }

    fn flush(&self) -> Result<(), EngineError> {
        self.db.persist(PersistMode::SyncAll).map_err(failed)
    }
}
