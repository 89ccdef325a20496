//! What is held of a record before it is taken: whether it is a duplicate, conflicts with what is held, or has no
//! original (V010 to V014).
use crate::Good;
use std::collections::HashMap;
use tally_protocol::record::RecordId;
use tally_store::index::{EngineError, Known, Seen, Version};
use tally_topology::catalog::Severity;
use tally_topology::content::{ContentId, Operation};

/// What follows from the rules that depend on what is held; `None`: the rule is off.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Policy {
    /// V010: the subject has another name in the registrations held.
    pub other_name: Option<Severity>,
    /// V011: the subject is not among the registrations held; judged only where these are complete.
    pub no_subject: Option<Severity>,
    /// V013: a create for a business key that is held with other content.
    pub conflict: Option<Severity>,
    /// V014: an amend or withdraw without an original.
    pub no_original: Option<Severity>,
}

/// Something found about one record of a chunk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// V010, with the name that the registration says.
    OtherName(String),
    /// V011
    NoSubject,
    /// V013
    Conflict,
    /// V014
    NoOriginal,
    /// Of a duplicate: the same record is held, but another of its business key came after it.
    NotInForce,
}

/// What is known of a record before it is taken.
#[derive(Debug, Default)]
pub(crate) struct Looked {
    /// It is held, or on its way.
    pub(crate) held: Option<RecordId>,
    /// The batch after which that is durable, if it is not yet.
    pub(crate) on_its_way: Option<u64>,
    pub(crate) verdicts: Vec<(Verdict, Severity)>,
}

/// What the node holds, and what is about to be held.
pub(crate) struct Before<'b> {
    pub(crate) known: &'b Known,
    /// Ids on their way to the disk, with the number of their batch.
    pub(crate) unsealed: &'b HashMap<RecordId, u64>,
}

impl Before<'_> {
    /// What is known of a record before it is taken.
    pub(crate) fn look(&self, good: &Good, policy: &Policy) -> Result<Looked, EngineError> {
        let (id, content) = (good.record.id(), &good.content);
        // A retry of something that is on its way counts as durable when that is.
        let on_its_way = self.unsealed.get(&id).copied();
        if on_its_way.is_some() || self.known.holds(&id)? {
            return self.held(good, policy, (id, on_its_way), self.known.versions(&content.key)?.as_ref());
        }
        let seen = self.known.versions(&content.key)?;
        let in_own = |seen: &Seen| seen.own.iter().rev().find(|v| is_same(v, content)).map(|v| v.id);
        let mut verdicts = Vec::new();
        let mut say = |verdict: Verdict, severity: Option<Severity>| verdicts.extend(severity.map(|s| (verdict, s)));
        match (content.operation, &seen) {
            (Operation::Create, None) => {}
            // After a withdrawal the same may be created again.
            (Operation::Create, Some(seen)) if seen.is_withdrawn() => {}
            (Operation::Create, Some(seen)) => {
                if let Some(held) = in_own(seen) {
                    return self.held(good, policy, self.way(held), Some(seen));
                }
                // The same by another path: whoever holds both logs tells.
                if seen.versions.iter().all(|v| v.substance != content.substance) {
                    say(Verdict::Conflict, policy.conflict);
                }
            }
            // A question that nothing was changed for; and of what was withdrawn since, nothing is left to be amended.
            (Operation::Amend, Some(seen)) if good.replies && seen.is_withdrawn() => {
                say(Verdict::NoOriginal, policy.no_original);
            }
            (Operation::Amend, Some(seen)) => {
                let unchanged = good.replies && seen.latest().is_some_and(|v| is_same(v, content));
                if let Some(held) = in_own(seen).filter(|_| unchanged) {
                    return self.held(good, policy, self.way(held), Some(seen));
                }
            }
            (Operation::Withdraw, Some(_)) => {}
            (Operation::Amend | Operation::Withdraw, None) => say(Verdict::NoOriginal, policy.no_original),
        }
        verdicts.extend(self.by_registration(good, policy)?);
        Ok(Looked { held: None, on_its_way: None, verdicts })
    }

    /// A record of the own log, and the batch that it waits for: another row counts when that is durable.
    fn way(&self, held: RecordId) -> (RecordId, Option<u64>) {
        (held, self.unsealed.get(&held).copied())
    }

    /// Of a record that is held. Whoever hands it in again, perhaps after an answer that never came, is asked again what
    /// he was asked; and takes it to be in force afterwards.
    fn held(
        &self,
        good: &Good,
        policy: &Policy,
        (held, on_its_way): (RecordId, Option<u64>),
        seen: Option<&Seen>,
    ) -> Result<Looked, EngineError> {
        let mut verdicts = Vec::new();
        if let Some(seen) = seen {
            if !in_force(seen, &good.content) {
                verdicts.push((Verdict::NotInForce, Severity::Note));
                return Ok(Looked { held: Some(held), on_its_way, verdicts });
            }
            let conflict = policy.conflict.filter(|_| conflicted(seen, &good.content));
            verdicts.extend(conflict.map(|s| (Verdict::Conflict, s)));
        }
        verdicts.extend(self.by_registration(good, policy)?);
        // It is held: nothing rejects it any more.
        verdicts.iter_mut().for_each(|(_, s)| *s = (*s).min(Severity::Question));
        Ok(Looked { held: Some(held), on_its_way, verdicts })
    }

    /// What the registrations held say of the subject (V010, V011).
    fn by_registration(&self, good: &Good, policy: &Policy) -> Result<Option<(Verdict, Severity)>, EngineError> {
        let Some((code, name)) = &good.subject else { return Ok(None) };
        if policy.other_name.is_none() && policy.no_subject.is_none() {
            return Ok(None);
        }
        Ok(match self.known.subject(code)? {
            Some(registered) if registered != *name => {
                policy.other_name.map(|severity| (Verdict::OtherName(registered), severity))
            }
            Some(_) => None,
            None => policy.no_subject.map(|severity| (Verdict::NoSubject, severity)),
        })
    }
}

/// Whether a version says what a record that creates or amends does.
fn is_same(version: &Version, content: &ContentId) -> bool {
    version.operation != Operation::Withdraw && version.content == content.content
}

/// Whether a record that is held is the one of its business key that counts.
fn in_force(seen: &Seen, content: &ContentId) -> bool {
    let same = || seen.latest().is_some_and(|v| is_same(v, content));
    seen.cut || if content.operation == Operation::Withdraw { seen.is_withdrawn() } else { same() }
}

/// Whether a record that is held was created although another of its business key was in force.
fn conflicted(seen: &Seen, content: &ContentId) -> bool {
    let mut other = false;
    for v in &seen.versions {
        match v.operation {
            Operation::Withdraw => other = false,
            Operation::Create if v.content == content.content => return other,
            Operation::Create | Operation::Amend => other |= v.substance != content.substance,
        }
    }
    false
}
