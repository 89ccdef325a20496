//! Whether a row has been handed in again since and taken by some other way than the answer's file: then its
//! business key says so.

use super::{ApiContext, auth::Caller};
use serde_json::{Value, json};
use std::sync::Arc;
use tally_core::View;
use tally_intake::{Rights, submission::KeptRow};
use tally_protocol::finding::Severity;
use tally_store::{
    batch_map::BatchMap,
    index::{Engine, InForce},
};
use tally_topology::content::{Dimensions, business_key_hash};

/// Looks business keys up in the index.
#[derive(Debug)]
pub(super) struct CorrectionLookup {
    engine: Arc<dyn Engine>,
    view: Arc<View>,
    /// What the caller may see: a row may name the key of a record that is not theirs.
    rights: Rights,
}

impl CorrectionLookup {
    pub(super) fn new(api: &ApiContext, caller: &Caller) -> Self {
        let rights = caller.rights.clone().unwrap_or_default();
        Self { engine: api.engine.clone(), view: api.mailbox.view(), rights }
    }

    /// The record that was taken later under the row's key, and when.
    pub(super) fn find(&self, category: Option<&str>, row: &KeptRow) -> Option<Value> {
        let key = row.key.as_deref()?;
        let (category, unit) = (row.category.as_deref().or(category)?, row.unit.as_deref()?);
        let in_force = InForce::new(&*self.engine, self.view.charter());
        let versions = in_force.versions(&business_key_hash(category, unit, key)).ok()?;
        // By when they came here, whatever clock a sender has.
        let came = |log| self.view.logs().get(&log).map(BatchMap::of);
        let theirs = |d: &Dimensions| self.rights.cover(&d.category, &d.unit, d.division.try_into().ok());
        let counting = versions.iter().filter(|v| !v.effect.is_void() && theirs(&v.entry.dimensions));
        let mut versions: Vec<_> = counting
            .filter_map(|v| Some((came(v.log)?.arrived(self.view.me(), v.log, v.index)?, v.log, v.index, v.version.id)))
            .collect();
        versions.sort();
        // A row that was taken is itself one of them: only a later one corrects it.
        let rejected = row.findings.iter().any(|f| f.severity == Severity::Reject);
        let later = |at: u64| at > row.at || (rejected && at == row.at);
        let (at, .., id) = versions.into_iter().rfind(|(at, ..)| later(*at))?;
        Some(json!({ "id": id, "sealed_at": tally_clock::time(at) }))
    }
}
