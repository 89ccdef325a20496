//! The only file that knows sled.

use super::engine::{Engine, EngineError, Write};
use std::{fs, path::Path};

/// Cache in bytes. sled 0.34 does not keep to it strictly, which is one reason for large nodes to use fjall.
const CACHE_BYTES: u64 = 32 << 20;
/// How often sled flushes by itself, in milliseconds.
const FLUSH_EVERY_MS: u64 = 2_000;

#[derive(Debug)]
pub(super) struct Sled(sled::Db);

impl Sled {
    pub(super) fn open(dir: &Path) -> Result<Self, EngineError> {
        fs::create_dir_all(dir)?;
        // A kill while sled was opening leaves a half-written snapshot that makes the next open fail.
        for entry in fs::read_dir(dir)?.flatten() {
            if entry.file_name().to_string_lossy().ends_with(".generating") {
                fs::remove_file(entry.path())?;
            }
        }
        let config = sled::Config::new()
            .path(dir)
            .cache_capacity(CACHE_BYTES)
            .flush_every_ms(Some(FLUSH_EVERY_MS))
            .mode(sled::Mode::HighThroughput);
        let not_opened = |e| if is_locked(dir) { EngineError::Locked } else { failed(e) };
        Ok(Self(config.open().map_err(not_opened)?))
    }
}

fn failed(e: sled::Error) -> EngineError {
    match e {
        sled::Error::Io(e) => EngineError::Files(e),
        e => EngineError::of(&e),
    }
}

/// Whether another process or engine holds sled's lock: sled itself says so only in words.
fn is_locked(dir: &Path) -> bool {
    fs::File::open(dir.join("db")).is_ok_and(|db| matches!(db.try_lock(), Err(fs::TryLockError::WouldBlock)))
}

impl Engine for Sled {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, EngineError> {
        Ok(self.0.get(key).map_err(failed)?.map(|v| v.to_vec()))
    }

    fn scan(&self, prefix: &[u8], from: &[u8], limit: usize) -> Result<Write, EngineError> {
        let from = from.max(prefix);
        let pairs = self.0.range(from..).take(limit).take_while(|r| match r {
            Ok((k, _)) => k.starts_with(prefix),
            Err(_) => true,
        });
        pairs.map(|r| r.map(|(k, v)| (k.to_vec(), v.to_vec())).map_err(failed)).collect()
    }

    fn write(&self, pairs: Write) -> Result<(), EngineError> {
        let mut batch = sled::Batch::default();
        for (key, value) in pairs {
            batch.insert(key, value);
        }
        self.0.apply_batch(batch).map_err(failed)
    }

    fn flush(&self) -> Result<(), EngineError> {
        self.0.flush().map(|_| ()).map_err(failed)
    }
}
