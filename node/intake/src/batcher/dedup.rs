//! What is held of a record before it is taken: whether it is a duplicate, conflicts with what is held, or has no original
//! (V010 to V014, V028).
//!
//! A record is a duplicate if the own log holds it, or holds its content in force under its business key. What other logs
//! hold makes no duplicate: both paths stay, as they were signed. Nothing here is written.

use super::outcome::HeldFinding;
use crate::CheckedRecord;
use std::collections::HashMap;
use tally_protocol::record::RecordId;
use tally_store::index::{DedupIndex, EngineError, KeyHistory, Version};
use tally_topology::{
    catalog::Severity,
    content::{ContentId, Operation, half_id},
};

/// What follows from the rules that depend on what is held; `None`: the rule is off.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct DedupPolicy {
    /// V010: the subject has another name in the registrations held.
    pub other_name: Option<Severity>,
    /// V011: the subject is not among the registrations held; judged only where these are complete.
    pub no_subject: Option<Severity>,
    /// V013: a create for a business key that is held with other content.
    pub conflict: Option<Severity>,
    /// V014: an amend or withdraw without an original.
    pub no_original: Option<Severity>,
    /// V028: a create whose number is held in another form.
    pub other_form: Option<Severity>,
}

/// The record of the own log that another one is a duplicate of.
#[derive(Debug)]
pub(super) struct HeldRecord {
    pub(super) id: RecordId,
    /// The batch after which it is durable, if it is not yet: the duplicate waits for that one too.
    pub(super) on_its_way: Option<u64>,
    /// No other of its business key came after it.
    pub(super) in_force: bool,
}

/// What is known of a record before it is taken.
#[derive(Debug, Default)]
pub(super) struct Looked {
    /// It is a duplicate of this one.
    pub(super) held: Option<HeldRecord>,
    pub(super) findings: Vec<(HeldFinding, Severity)>,
}

/// What the node holds, and what is about to be held.
pub(super) struct DedupLookup<'b> {
    pub(super) index: &'b DedupIndex,
    /// Ids on their way to the disk, with the number of their batch.
    pub(super) unsealed: &'b HashMap<RecordId, u64>,
}

impl DedupLookup<'_> {
    /// What is known of a record before it is taken.
    pub(super) fn look(&self, checked: &CheckedRecord, policy: &DedupPolicy) -> Result<Looked, EngineError> {
        let (id, content) = (checked.record.id(), &checked.content);
        let history = self.index.versions(&content.key)?;
        if self.unsealed.contains_key(&id) || self.index.holds(&id)? {
            return self.duplicate(checked, policy, id, history.as_ref());
        }
        let same_in_own = |h: &KeyHistory| h.own.iter().rev().find(|v| is_same(v, content)).map(|v| v.id);
        let mut findings = Vec::new();
        let mut say = |finding, severity: Option<Severity>| findings.extend(severity.map(|s| (finding, s)));
        match (content.operation, &history) {
            (Operation::Create, None) => {}
            // After a withdrawal the same may be created again.
            (Operation::Create, Some(history)) if history.is_withdrawn() => {}
            (Operation::Create, Some(history)) => {
                if let Some(held) = same_in_own(history) {
                    return self.duplicate(checked, policy, held, Some(history));
                }
                // The same record by another path is no conflict here: a node that holds both logs asks about it (V012).
                if let Some(held) = history.latest().or(history.versions.last())
                    && history.versions.iter().all(|v| v.substance != content.substance)
                {
                    say(HeldFinding::Conflict(held.id), policy.conflict);
                }
            }
            // Another log's record is changed only by its name: without it this would change nothing.
            (Operation::Amend | Operation::Withdraw, Some(history)) if !has_original(history, content) => {
                say(HeldFinding::NoOriginal, policy.no_original);
            }
            // The row answers a question about a record that was withdrawn since: nothing is left to be amended.
            (Operation::Amend, Some(history)) if checked.replies && history.is_withdrawn() => {
                say(HeldFinding::NoOriginal, policy.no_original);
            }
            (Operation::Amend, Some(history)) => {
                // The row answers a question and says what is held: nothing was changed, so nothing is amended.
                let unchanged = checked.replies && history.any_standing(|v| is_same(v, content));
                if let Some(held) = same_in_own(history).filter(|_| unchanged) {
                    return self.duplicate(checked, policy, held, Some(history));
                }
            }
            (Operation::Withdraw, Some(_)) => {}
            (Operation::Amend | Operation::Withdraw, None) => say(HeldFinding::NoOriginal, policy.no_original),
        }
        findings.extend(self.by_form(checked, false, policy)?);
        findings.extend(self.by_registration(checked, policy)?);
        Ok(Looked { held: None, findings })
    }

    /// The record is held. Its submitter may hand it in again because no answer came, so he gets the same questions as the
    /// first time; and if another version is in force, that is said instead.
    fn duplicate(
        &self,
        checked: &CheckedRecord,
        policy: &DedupPolicy,
        id: RecordId,
        history: Option<&KeyHistory>,
    ) -> Result<Looked, EngineError> {
        let on_its_way = self.unsealed.get(&id).copied();
        if history.is_some_and(|h| !is_in_force(h, &checked.content)) {
            return Ok(Looked { held: Some(HeldRecord { id, on_its_way, in_force: false }), findings: Vec::new() });
        }
        let other = history.and_then(|h| conflicted(h, &checked.content));
        let mut findings: Vec<_> =
            policy.conflict.zip(other).map(|(s, other)| (HeldFinding::Conflict(other), s)).into_iter().collect();
        findings.extend(self.by_form(checked, on_its_way.is_none() && history.is_some(), policy)?);
        findings.extend(self.by_registration(checked, policy)?);
        // It is held: nothing rejects it any more.
        findings.iter_mut().for_each(|(_, s)| *s = (*s).min(Severity::Question));
        Ok(Looked { held: Some(HeldRecord { id, on_its_way, in_force: true }), findings })
    }

    /// Whether the number of a new record counts already, in another form (V028).
    fn by_form(
        &self,
        checked: &CheckedRecord,
        key_is_held: bool,
        policy: &DedupPolicy,
    ) -> Result<Option<(HeldFinding, Severity)>, EngineError> {
        let Some(severity) = policy.other_form.filter(|_| checked.numbered) else { return Ok(None) };
        if checked.content.operation != Operation::Create {
            return Ok(None);
        }
        for key in self.index.other_forms(checked.content.forms(), key_is_held)? {
            let history = self.index.versions(&key)?;
            let counts = history.as_ref().and_then(KeyHistory::latest).filter(|v| v.operation != Operation::Withdraw);
            if let Some(held) = counts {
                return Ok(Some((HeldFinding::OtherForm(held.id), severity)));
            }
        }
        Ok(None)
    }

    /// What the registrations held say of the subject (V010, V011).
    fn by_registration(
        &self,
        checked: &CheckedRecord,
        policy: &DedupPolicy,
    ) -> Result<Option<(HeldFinding, Severity)>, EngineError> {
        let Some((code, name)) = &checked.subject else { return Ok(None) };
        if policy.other_name.is_none() && policy.no_subject.is_none() {
            return Ok(None);
        }
        Ok(match self.index.subject(code)? {
            Some(registered) if registered != *name => {
                policy.other_name.map(|severity| (HeldFinding::OtherName(registered), severity))
            }
            Some(_) => None,
            None => policy.no_subject.map(|severity| (HeldFinding::NoSubject, severity)),
        })
    }
}

/// Whether a version says what a record that creates or amends does.
fn is_same(version: &Version, content: &ContentId) -> bool {
    version.operation != Operation::Withdraw && version.content == content.content
}

/// Whether the own log holds what a record amends or withdraws, or the record names it.
fn has_original(history: &KeyHistory, content: &ContentId) -> bool {
    let named = |v: &Version| content.amends == Some(half_id(v.id));
    !history.own.is_empty() || history.versions.iter().any(named)
}

/// Whether a record that is held is the one of its business key that counts.
fn is_in_force(history: &KeyHistory, content: &ContentId) -> bool {
    let same = || history.any_standing(|v| is_same(v, content));
    history.cut || if content.operation == Operation::Withdraw { history.is_withdrawn() } else { same() }
}

/// The other record of its business key that was in force when a record that is held was created.
fn conflicted(history: &KeyHistory, content: &ContentId) -> Option<RecordId> {
    let mut other = None;
    for v in &history.versions {
        match v.operation {
            Operation::Withdraw => other = None,
            Operation::Create if v.content == content.content => return other,
            Operation::Create | Operation::Amend if v.substance != content.substance => other = Some(v.id),
            Operation::Create | Operation::Amend => {}
        }
    }
    None
}
