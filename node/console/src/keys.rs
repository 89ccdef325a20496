//! Idempotency keys of submissions that are under way.

use super::auth::Caller;
use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex, PoisonError},
};

/// Name of the token, and the client's key.
type Key = (Option<String>, String);

/// Keys that are in use now.
#[derive(Debug, Clone, Default)]
pub struct Keys(Arc<Mutex<BTreeSet<Key>>>);

/// A key in use, until this goes.
#[derive(Debug)]
pub(super) struct Claim(Keys, Key);

impl Keys {
    /// Takes a key into use; `None`: it is in use.
    pub(super) fn claim(&self, caller: &Caller, key: &str) -> Option<Claim> {
        let key = (caller.token.clone(), key.to_owned());
        let mut keys = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        keys.insert(key.clone()).then(|| Claim(self.clone(), key))
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        self.0.0.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.1);
    }
}
