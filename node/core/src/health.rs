//! What is known here of every node below, as far as it is known (design: health travels).
//!
//! A node tells its parent of itself and of all that it knows below; each hop adds the age of what it was told. Behind a node that
//! is not linked nothing is known, which is not the same as lost. It decides nothing, and nothing that has to be believed is in it.

use crate::{
    NotSealed, View,
    replica::{Agreement, Child, ChildLink, SAME_KEY_MS, STALLED_MS},
};
use tally_protocol::{
    health::{AboveFault, HealthState, NodeHealth},
    ids::Division,
};

/// What a child tells whole comes once a minute; after this it is not what is now, in milliseconds.
const OLD_MS: u64 = 150_000;
/// Two copies differ while records are on their way; after this, in milliseconds, with nothing on its way, they disagree.
const DIFFERS_MS: u64 = 30_000;

/// What was last told of a node, and when, by this node's clock in POSIX milliseconds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ToldHealth {
    /// Its words.
    pub health: NodeHealth,
    /// When.
    pub at_ms: u64,
}

/// How a node below stands to its parent, as far as it is known here.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Reach {
    /// Linked, and heard from.
    Live,
    /// Linked, and silent.
    Stalled,
    /// It was linked once.
    Lost,
    /// Its parent never heard of it.
    NeverSeen,
    /// Its parent does not admit it, or does not take what it pushes.
    Refused,
    /// Whoever would know is not linked.
    Unknown,
}

/// Nothing is known of it.
fn nothing(division: Division, via: Division) -> NodeHealth {
    NodeHealth {
        division,
        via,
        state: HealthState::Unknown,
        heard_ms: None,
        waiting: None,
        oldest_ms: None,
        staged: None,
        agrees: None,
        damaged: None,
        frozen: None,
        skew_ms: None,
        charter: None,
        software: None,
    }
}

/// What a node's words say of its link, where they were told by another.
fn reach_of(health: &NodeHealth) -> Reach {
    match (health.state, health.heard_ms) {
        (HealthState::Refused, _) => Reach::Refused,
        (HealthState::Unknown, None) => Reach::NeverSeen,
        (HealthState::Unknown, Some(_)) => Reach::Unknown,
        (_, Some(age)) if age <= STALLED_MS => Reach::Live,
        (_, _) => Reach::Lost,
    }
}

/// Of a node that is not linked only what does not change by itself is known.
fn as_of_then(health: NodeHealth) -> NodeHealth {
    let NodeHealth { division, via, state, charter, software, damaged, frozen, .. } = health;
    NodeHealth { state, charter, software, damaged, frozen, ..nothing(division, via) }
}

impl View {
    /// What this node is: `staged` rows are the intake's to count, `software` is its release.
    pub(crate) fn own_health(&self, now_ms: u64, staged: u64, software: &str) -> NodeHealth {
        let me = self.me();
        let (waiting, oldest) = self.waiting();
        let link = self.parent().link.as_ref().filter(|l| l.welcomed);
        let state = match self.closed() {
            None => HealthState::Signing,
            Some(NotSealed::Asking) => HealthState::Asking,
            Some(NotSealed::Fetching(_)) => HealthState::Fetching,
            Some(NotSealed::Frozen(_)) => HealthState::Frozen,
            Some(NotSealed::SameKey) => HealthState::SameKey,
            Some(NotSealed::Clock(_) | NotSealed::Damaged(_)) => HealthState::Staging,
        };
        let missing = |(from, to): &(u64, u64)| to.saturating_sub(*from);
        let lost: u64 = self.logs().values().flat_map(|log| log.missing()).map(|range| missing(&range)).sum();
        // Roots stay as they are when records under them cannot be read, here or at the parent.
        let by = self.charter().parent(me);
        let above = self.above.iter().any(|t| Some(t.word.by) == by && t.word.fault == AboveFault::Damaged);
        let whole = lost == 0 && !above && self.parent().damaged.is_empty();
        let agrees = match self.parent().agreement {
            _ if link.is_none() => None,
            Agreement::Agrees(_) => whole.then_some(true),
            Agreement::Differs(since) if waiting == 0 && now_ms.saturating_sub(since) > DIFFERS_MS => Some(false),
            Agreement::Differs(_) | Agreement::Unknown => None,
        };
        NodeHealth {
            state,
            heard_ms: Some(0),
            waiting: Some(waiting),
            oldest_ms: oldest.map(|at_s| now_ms.saturating_sub(at_s.saturating_mul(1_000))),
            staged: Some(staged),
            agrees,
            damaged: Some(lost),
            frozen: Some(self.logs().values().filter(|log| log.frozen.is_some()).count() as u64),
            skew_ms: link.map(|l| l.skew_ms.saturating_neg()),
            charter: Some(self.charter().version()),
            software: Some(software.to_owned()),
            ..nothing(me, me)
        }
    }

    /// Records of all logs that the parent has not confirmed, and when the oldest of them was sealed, POSIX seconds. Nothing
    /// waits at the top.
    pub fn waiting(&self) -> (u64, Option<u64>) {
        let Some(parent) = self.charter().parent(self.me()) else { return (0, None) };
        let (mut waiting, mut oldest) = (0_u64, None::<u64>);
        let of_branch = self.logs().iter().filter(|(id, _)| self.charter().is_within(id.division, self.me()));
        for (id, log) in of_branch {
            let receipt = log.receipts.get(&parent).map_or(0, |r| r.size);
            let confirmed = self.parent().set_back.get(id).map_or(receipt, |now| receipt.min(*now));
            waiting = waiting.saturating_add(log.size().saturating_sub(confirmed));
            let first = log.batch_of(confirmed).map(|(_, held)| held.sealed_at);
            oldest = oldest.into_iter().chain(first).min();
        }
        (waiting, oldest)
    }

    /// Every enrolled node below, at any depth, in the order of their codes: what is known of it now, with ages as of now.
    pub fn health_below(&self, now_ms: u64) -> Vec<(Reach, NodeHealth)> {
        let (charter, me) = (self.charter(), self.me());
        let mut below: Vec<_> =
            charter.nodes().filter(|n| !n.retired && n.division != me).map(|n| n.division).collect();
        below.retain(|d| charter.is_within(*d, me));
        below.sort_unstable();
        below.into_iter().filter_map(|division| self.health_of(division, now_ms)).collect()
    }

    fn health_of(&self, division: Division, now_ms: u64) -> Option<(Reach, NodeHealth)> {
        let branch = self.charter().branch(division, self.me())?;
        let unseen = Child::default();
        let child = self.children().get(&branch).unwrap_or(&unseen);
        let link = child.link.as_ref().filter(|l| l.welcomed);
        let told = self.health.get(&division);
        let aged = |told: &ToldHealth| {
            let age = now_ms.saturating_sub(told.at_ms);
            let older = |ms: Option<u64>| ms.map(|ms| ms.saturating_add(age));
            NodeHealth { oldest_ms: older(told.health.oldest_ms), ..told.health.clone() }
        };
        if division == branch {
            return Some(self.health_of_child(division, child, link, told.map(aged), now_ms));
        }
        let silent = link.is_none_or(|l| now_ms.saturating_sub(l.heard_ms) > STALLED_MS);
        let told = told.filter(|t| !silent && now_ms.saturating_sub(t.at_ms) <= OLD_MS);
        let Some(told) = told else {
            let last = self.health.get(&division);
            let age = |t: &ToldHealth| Some(t.health.heard_ms?.saturating_add(now_ms.saturating_sub(t.at_ms)));
            let heard_ms = last.and_then(age);
            return Some((Reach::Unknown, NodeHealth { heard_ms, ..nothing(division, branch) }));
        };
        let (mut reach, mut health) = (reach_of(&told.health), aged(told));
        health.via = branch;
        if reach == Reach::Unknown && health.heard_ms.is_some() && self.is_by_file(division) {
            reach = Reach::Lost;
        }
        if reach == Reach::Live {
            // It was told as such; how long ago says when, not that it is silent since.
            health.heard_ms = Some(told.health.heard_ms.unwrap_or(0).min(STALLED_MS));
        } else {
            health.heard_ms = health.heard_ms.map(|ms| ms.saturating_add(now_ms.saturating_sub(told.at_ms)));
        }
        Some((reach, health))
    }

    fn is_by_file(&self, division: Division) -> bool {
        self.charter().node(division).is_some_and(|n| n.expected.is_by_file())
    }

    /// When something came last of a child that carries bundles, POSIX milliseconds: also by what this node has confirmed.
    fn last_carried(&self, division: Division, child: &Child) -> Option<u64> {
        let logs = self.logs().iter().filter(|(id, _)| id.division == division);
        let confirmed = logs.filter_map(|(_, log)| log.receipts.get(&self.me())).map(|r| r.time.saturating_mul(1_000));
        confirmed.max().max(child.seen_ms).max(child.carried_ms)
    }

    /// A direct child: what its link shows, and what it says of itself.
    fn health_of_child(
        &self,
        division: Division,
        child: &Child,
        link: Option<&ChildLink>,
        told: Option<NodeHealth>,
        now_ms: u64,
    ) -> (Reach, NodeHealth) {
        let me = self.me();
        let mut health = told.unwrap_or_else(|| nothing(division, me));
        health.via = me;
        let word = if self.is_by_file(division) { self.last_carried(division, child) } else { child.seen_ms };
        let heard = word.map(|at| now_ms.saturating_sub(at));
        health.heard_ms = heard;
        if health.software.is_none() && !child.software.is_empty() {
            health.software = Some(child.software.clone());
        }
        health.charter = child.charter.map(|mark| mark.version).or(health.charter);
        if child.same_key_ms.is_some_and(|at| now_ms.abs_diff(at) < SAME_KEY_MS) {
            health.state = HealthState::SameKey;
        }
        let Some(link) = link else {
            let refused = child.refused.is_some();
            health = as_of_then(health);
            // However short ago it was heard: there is no link.
            health.heard_ms = heard.map(|age| age.max(STALLED_MS.saturating_add(1)));
            return match heard {
                _ if refused => (Reach::Refused, NodeHealth { state: HealthState::Refused, ..health }),
                None => (Reach::NeverSeen, health),
                Some(_) => (Reach::Lost, health),
            };
        };
        health.skew_ms = Some(link.skew_ms);
        if !child.rejected.is_empty() && now_ms.saturating_sub(link.heard_ms) <= STALLED_MS {
            return (Reach::Refused, NodeHealth { state: HealthState::Refused, ..health });
        }
        if now_ms.saturating_sub(link.heard_ms) <= STALLED_MS {
            return (Reach::Live, health);
        }
        (Reach::Stalled, NodeHealth { heard_ms: heard, ..as_of_then(health) })
    }
}
