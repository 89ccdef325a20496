//! Whether a row has been handed in again since and taken by some other way than the answer's file: then its
//! business key says so.

use super::ApiContext;
use serde_json::{Value, json};
use std::sync::Arc;
use tally_intake::submission::KeptRow;
use tally_protocol::finding::Severity;
use tally_store::index::{Engine, versions_of_key};

/// Looks business keys up in the index.
#[derive(Debug)]
pub(super) struct CorrectionLookup(Arc<dyn Engine>);

impl CorrectionLookup {
    pub(super) fn new(api: &ApiContext) -> Self {
        Self(api.engine.clone())
    }

    /// The record that was taken later under the row's key, and when.
    pub(super) fn find(&self, category: Option<&str>, row: &KeptRow) -> Option<Value> {
        let key = row.key.as_deref()?;
        let (category, unit) = (row.category.as_deref().or(category)?, row.unit.as_deref()?);
        let versions = versions_of_key(&*self.0, category, unit, key).ok()?;
        // A row that was taken is itself one of them: only a later one corrects it.
        let rejected = row.findings.iter().any(|f| f.severity == Severity::Reject);
        let (sealed_at, id) = versions.into_iter().rfind(|(at, _)| *at > row.at || (rejected && *at == row.at))?;
        Some(json!({ "id": id, "sealed_at": tally_clock::time(sealed_at) }))
    }
}
