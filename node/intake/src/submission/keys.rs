//! Idempotency keys of submissions that are under way: of two with the same key only one runs.
//!
//! A key is in use as long as its claim is not dropped, however the submission ends. All of it is in memory; the keys of answers
//! that are kept are not known here.

use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex, PoisonError},
};

/// Name of the token, and the client's key.
type UsedKey = (Option<String>, String);

/// Keys that are in use now; clones share them.
#[derive(Debug, Clone, Default)]
pub(super) struct KeysInUse(Arc<Mutex<BTreeSet<UsedKey>>>);

/// A key in use, until this is dropped.
#[derive(Debug)]
pub(super) struct KeyClaim(KeysInUse, UsedKey);

impl KeysInUse {
    /// Takes a key into use; `None`: it is in use.
    pub(super) fn claim(&self, token: Option<&str>, key: &str) -> Option<KeyClaim> {
        let key = (token.map(str::to_owned), key.to_owned());
        let mut keys = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        keys.insert(key.clone()).then(|| KeyClaim(self.clone(), key))
    }
}

impl Drop for KeyClaim {
    fn drop(&mut self) {
        self.0.0.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_in_use_until_its_claim_is_dropped() {
        let keys = KeysInUse::default();
        let claim = keys.claim(Some("a"), "k").unwrap();
        assert!(keys.claim(Some("a"), "k").is_none());
        assert!(keys.claim(Some("b"), "k").is_some() && keys.claim(None, "k").is_some(), "another's");
        drop(claim);
        assert!(keys.claim(Some("a"), "k").is_some());
    }
}
