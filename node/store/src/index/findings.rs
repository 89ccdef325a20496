//! What this node finds wrong with the records that it holds. Each node judges them once more, whoever let them in, and keeps the
//! findings in the index: they are derived, as everything there, and never in the way of replication.
//!
//! They follow from the bytes that are held and the newest charter, whatever came first. What depends on other versions of a
//! record's business key is judged in `key_findings`.

use super::{Engine, EngineError, IndexEntry, entry};
use serde::{Deserialize, Serialize};
use tally_protocol::{canonical::Object, codec, ids::LogId, record::RecordId};
use tally_topology::{
    catalog::Severity,
    charter::Charter,
    judge::{Finding, JudgeContext, judge},
};

/// Longest encoded findings of one record, in bytes.
const FINDINGS_BYTES_MAX: usize = 64 << 10;
/// Most findings kept of one record.
const FINDINGS_MAX: usize = 32;

/// What was found about one record.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RecordFindings {
    /// Which record.
    pub id: RecordId,
    /// Questions and rejects; notes are not kept.
    pub findings: Vec<Finding>,
}

#[derive(Debug)]
pub(super) struct Judgement {
    /// The record belongs to the registration base.
    pub(super) base: bool,
    pub(super) findings: Vec<Finding>,
}

/// Judges a record that is held, as on the day when it was sealed: by itself, without its business key's other versions.
pub(super) fn judged(charter: &Charter, log: LogId, e: &IndexEntry, object: &Object<'_>) -> Judgement {
    let context =
        JudgeContext { charter, today: tally_clock::day(e.sealed_at), origin: log.division, least: Severity::Question };
    let judged = judge(&context, object);
    let base = judged.by.as_ref().is_some_and(|(_, c)| c.base);
    let mut findings = judged.findings;
    findings.retain(|f| f.severity > Severity::Note);
    findings.truncate(FINDINGS_MAX);
    Judgement { base, findings }
}

pub(super) fn encode(id: RecordId, findings: &[Finding]) -> Vec<u8> {
    let mut found = RecordFindings { id, findings: findings.to_vec() };
    let mut bytes = codec::encode(&found);
    while bytes.len() > FINDINGS_BYTES_MAX && found.findings.pop().is_some() {
        bytes = codec::encode(&found);
    }
    bytes
}

/// What was found about the record at a place, as it is kept.
pub(super) fn kept(engine: &dyn Engine, log: LogId, index: u64) -> Result<Vec<Finding>, EngineError> {
    let value = engine.get(&entry::finding_key(log, index))?;
    let found = value.and_then(|v| codec::decode::<RecordFindings, FINDINGS_BYTES_MAX>(&v).ok());
    Ok(found.map(|f| f.findings).unwrap_or_default())
}

/// What this node found about the record at a place; empty: nothing.
///
/// # Errors
/// The engine's.
pub fn at(engine: &dyn Engine, log: LogId, index: u64) -> Result<Vec<Finding>, EngineError> {
    kept(engine, log, index)
}

/// What this node found in a log, from an index on, at most `limit` records.
///
/// # Errors
/// The engine's.
pub fn of_log(
    engine: &dyn Engine,
    log: LogId,
    from: u64,
    limit: usize,
) -> Result<Vec<(u64, RecordFindings)>, EngineError> {
    let mut found = Vec::new();
    let mut from = entry::finding_key(log, from);
    while found.len() < limit {
        let pairs = engine.scan(&entry::finding_prefix(log), &from, limit)?;
        for (key, value) in &pairs {
            let Some((_, index)) = entry::read_finding_key(key) else { continue };
            let read = codec::decode::<RecordFindings, FINDINGS_BYTES_MAX>(value).ok();
            // What is no longer found wrong leaves an empty list behind.
            found.extend(read.filter(|f| !f.findings.is_empty()).map(|f| (index, f)));
        }
        match pairs.last() {
            Some((last, _)) if pairs.len() == limit => from = [last.as_slice(), &[0]].concat(),
            _ => break,
        }
    }
    found.truncate(limit);
    Ok(found)
}
