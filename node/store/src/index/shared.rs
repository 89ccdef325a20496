//! The engine that everybody asks, which may be taken away and brought back while the node runs.
//!
//! Whoever holds it holds no engine: while there is none, every question is answered with an error. Why it went, and what
//! comes in its place, is not decided here.

use super::{Engine, EngineError, Write};
use std::{
    sync::{Arc, PoisonError, RwLock},
    time::{Duration, Instant},
};

/// An answer that is under way may hold the engine so long after it was taken away.
const HELD_MAX: Duration = Duration::from_secs(60);

/// A place for an engine.
#[derive(Debug, Default)]
pub(super) struct SharedEngine(RwLock<Option<Arc<dyn Engine>>>);

impl SharedEngine {
    pub(super) fn put(&self, engine: Arc<dyn Engine>) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = Some(engine);
    }

    /// Takes the engine away and waits until nobody works with it, so that it can be opened again. Blocking.
    ///
    /// # Errors
    /// [`EngineError::Locked`] when somebody still does.
    pub(super) fn take_away(&self) -> Result<(), EngineError> {
        let Some(engine) = self.0.write().unwrap_or_else(PoisonError::into_inner).take() else { return Ok(()) };
        let since = Instant::now();
        while Arc::strong_count(&engine) > 1 {
            if since.elapsed() > HELD_MAX {
                return Err(EngineError::Locked);
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        Ok(())
    }

    fn engine(&self) -> Result<Arc<dyn Engine>, EngineError> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).clone().ok_or(EngineError::Away)
    }
}

impl Engine for SharedEngine {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, EngineError> {
        self.engine()?.get(key)
    }

    fn scan(&self, prefix: &[u8], from: &[u8], limit: usize) -> Result<Write, EngineError> {
        self.engine()?.scan(prefix, from, limit)
    }

    fn change(&self, pairs: Write, gone: Vec<Vec<u8>>) -> Result<(), EngineError> {
        self.engine()?.change(pairs, gone)
    }

    fn flush(&self) -> Result<(), EngineError> {
        self.engine()?.flush()
    }
}
