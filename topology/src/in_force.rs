//! The charter in force: one handle for everybody who judges by it.
//!
//! It is replaced whole, so whoever took it judges by one charter to the end. Whether a charter may come into force is decided
//! before it is set, and not here.

use crate::signed::SignedCharter;
use std::sync::{Arc, PoisonError, RwLock};

/// The charter in force; replaced whole when it changes.
#[derive(Debug, Clone)]
pub struct CharterHandle(Arc<RwLock<Arc<SignedCharter>>>);

impl CharterHandle {
    /// Starts with this charter.
    pub fn new(charter: Arc<SignedCharter>) -> Self {
        Self(Arc::new(RwLock::new(charter)))
    }

    /// Another charter is in force.
    pub fn set(&self, charter: Arc<SignedCharter>) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = charter;
    }

    /// The charter in force.
    pub fn charter(&self) -> Arc<SignedCharter> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).clone()
    }
}
