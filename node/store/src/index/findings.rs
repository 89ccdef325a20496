//! What this node finds wrong with the records that it holds. Each node judges them once more, whoever let them in, and keeps the
//! findings in the index: they are derived, as everything there, and never in the way of replication.
use super::{Engine, EngineError, IndexEntry, Version, entry};
use serde::{Deserialize, Serialize};
use tally_protocol::{canonical::Object, codec, ids::LogId, record::RecordId};
use tally_topology::content::Operation;
use tally_topology::{
    catalog::Severity,
    charter::Charter,
    judge::{Finding, JudgeContext, judge},
};

/// Longest encoded findings of one record, in bytes.
const FINDINGS_BYTES_MAX: usize = 64 << 10;
/// Most findings kept of one record.
const FINDINGS_MAX: usize = 32;

/// Records that bear on the judgement of another.
#[derive(Debug, Default)]
pub(super) struct Neighbours {
    /// Other versions of its business key that came before it.
    pub(super) versions: Vec<Version>,
    /// Logs of other nodes that hold the same, whoever submitted it.
    pub(super) other_paths: Vec<LogId>,
}

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

/// Judges a record that is held, as on the day when it was sealed.
pub(super) fn judged(
    charter: &Charter,
    log: LogId,
    e: &IndexEntry,
    object: &Object<'_>,
    neighbours: &Neighbours,
) -> Judgement {
    let context = JudgeContext { charter, today: tally_clock::day(e.sealed_at), origin: log.division };
    let judged = judge(&context, object);
    let base = judged.by.as_ref().is_some_and(|(_, c)| c.base);
    let mut findings = judged.findings;
    if let Some((catalog, _)) = &judged.by {
        let mut say = |rule: &str, name: Option<&str>, most: Severity, en: String, zh: String| {
            if let Some(severity) = catalog.rule(rule).and_then(|r| r.severity) {
                findings.push(Finding {
                    field: "business_key".to_owned(),
                    code: rule.to_owned(),
                    name: name.map(str::to_owned),
                    severity: severity.min(most),
                    message: en,
                    message_zh: zh,
                });
            }
        };
        if let Some(other) = neighbours.other_paths.first() {
            let (me, other) = (log.division, other.division);
            let en = format!("the same record entered at {other} too: one of the two paths is not the prescribed one");
            let zh = format!("重复归集：同一记录已由 {other} 报送，现又由 {me} 报送");
            say("V012", Some("DOUBLE_PATH"), Severity::Question, en, zh);
        }
        let last = neighbours.versions.last().map(|v| v.operation);
        let other_content = neighbours.versions.iter().all(|v| v.substance != e.content.substance);
        match e.content.operation {
            Operation::Create if other_content && last.is_some_and(|o| o != Operation::Withdraw) => {
                let en = "another record with the same business key and other content is held: amend that one, or correct the number";
                say("V013", None, Severity::Question, en.into(), "同一文号内容不一致：请变更原记录或更正文号".into());
            }
            // It was let in without an original, which another node may hold.
            Operation::Amend | Operation::Withdraw if last.is_none() => {
                let en = "no original of this amendment or withdrawal is held here";
                say("V014", None, Severity::Question, en.into(), "变更/撤销无原记录".into());
            }
            _ => {}
        }
    }
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
    let pairs = engine.scan(&entry::finding_prefix(log), &entry::finding_key(log, from), limit)?;
    let read = |(key, value): &(Vec<u8>, Vec<u8>)| {
        let (_, index) = entry::read_finding_key(key)?;
        Some((index, codec::decode::<RecordFindings, FINDINGS_BYTES_MAX>(value).ok()?))
    };
    Ok(pairs.iter().filter_map(read).collect())
}
