//! Telling: a node's health and that of all below goes upward, what is wrong with logs goes down to those whose logs they are.
//!
//! With each heartbeat goes what has changed, and the whole once a minute. Words of a neighbour are taken for the nodes of its
//! branch in the charter in force here, and for the logs of this node's branch, and for no others.

use super::{LinkId, Output, Replica, SAME_KEY_MS};
use crate::{ToldAbove, ToldHealth};
use std::collections::BTreeMap;
use tally_protocol::{
    health::{AboveFault, AboveWord, HealthSummary, NodeHealth},
    ids::{Division, LogId},
    limits::{ABOVE_WORDS_MAX, HEALTH_NODES_MAX},
    wire::Control,
};

/// The whole is told so often, in milliseconds.
const WHOLE_MS: u64 = 60_000;

/// What the parent was told on the link that is up.
#[derive(Debug, Default)]
pub(super) struct ToldUpward {
    link: Option<LinkId>,
    nodes: BTreeMap<Division, NodeHealth>,
    whole_ms: u64,
}

/// What does not change only because time goes by.
fn but_for_ages(health: &NodeHealth) -> NodeHealth {
    let live = health.heard_ms.map(|age| u64::from(age > super::STALLED_MS));
    let late = health.oldest_ms.map(|age| age / WHOLE_MS);
    NodeHealth { heard_ms: live, oldest_ms: late, skew_ms: health.skew_ms.map(|ms| ms / 60_000), ..health.clone() }
}

impl Replica {
    /// How many rows are staged, which the core cannot know by itself.
    pub fn set_staged(&mut self, rows: u64) {
        self.staged = rows;
    }

    /// With the heartbeat: what has changed below and here, or the whole.
    pub(super) fn tell_health(&mut self, now_ms: u64, out: &mut Vec<Output>) {
        let Some(link) = self.view.parent.link.as_ref().filter(|l| l.welcomed).map(|l| l.id) else { return };
        let me = self.me();
        if self.told_upward.link != Some(link) {
            self.told_upward = ToldUpward { link: Some(link), ..ToldUpward::default() };
        }
        let whole = now_ms.abs_diff(self.told_upward.whole_ms) >= WHOLE_MS;
        let own = self.view.own_health(now_ms, self.staged, &self.software);
        let below = self.view.health_below(now_ms).into_iter().map(|(_, health)| NodeHealth { via: me, ..health });
        let mut nodes: Vec<_> = std::iter::once(own).chain(below).take(HEALTH_NODES_MAX).collect();
        if whole {
            self.told_upward.whole_ms = now_ms;
            self.told_upward.nodes.clear();
        }
        let told = &mut self.told_upward.nodes;
        nodes.retain(|health| {
            let news = but_for_ages(health);
            told.insert(health.division, news.clone()).is_none_or(|before| before != news)
        });
        if whole || !nodes.is_empty() {
            out.push(Output::Send { link, message: Control::Health(HealthSummary { whole, nodes }) });
        }
    }

    /// Takes what a child tells of itself and of those below it.
    pub(super) fn on_health(&mut self, now_ms: u64, peer: Division, summary: HealthSummary) {
        let charter = self.view.charter.clone();
        let of_peer = |d: Division| charter.charter().node(d).is_some() && charter.charter().is_within(d, peer);
        if summary.whole {
            self.view.health_mut().retain(|d, _| !of_peer(*d));
        }
        for health in summary.nodes.into_iter().filter(|h| of_peer(h.division)) {
            self.view.health_mut().insert(health.division, ToldHealth { health, at_ms: now_ms });
        }
    }

    /// With the heartbeat: tells each child what is wrong with logs of its branch, here and above; nothing, once, when nothing is
    /// any more.
    pub(super) fn tell_faults(&mut self, now_ms: u64, out: &mut Vec<Output>) {
        let children: Vec<_> = self.view.children.keys().copied().collect();
        for division in children {
            let words = self.words_for(now_ms, division);
            let Some(child) = self.view.children.get_mut(&division) else { continue };
            let Some(link) = child.link.as_mut().filter(|l| l.welcomed) else { continue };
            if words.is_empty() && !link.told_faults {
                continue;
            }
            link.told_faults = !words.is_empty();
            out.push(Output::Send { link: link.id, message: Control::Above(words) });
        }
    }

    fn words_for(&self, now_ms: u64, division: Division) -> Vec<AboveWord> {
        let me = self.me();
        let mut words = Vec::new();
        let mut say = |log: LogId, fault, since_ms: u64, reason: String| {
            words.push(AboveWord { log, by: me, fault, since_ms, reason });
        };
        let Some(child) = self.view.children.get(&division) else { return words };
        // Until one of the two was alone for long enough.
        let same_key = child.same_key_ms.map(|at| now_ms.abs_diff(at)).filter(|age| *age < SAME_KEY_MS);
        if let (Some(age), Some(link)) = (same_key, &child.link) {
            say(link.peer, AboveFault::SameKeyTwice, age, "two machines run with this key".to_owned());
        }
        for (log, (_, reason)) in &child.rejected {
            say(*log, AboveFault::Refused, 0, reason.clone());
        }
        for (id, log) in &self.view.logs {
            if !self.charter().is_within(id.division, division) {
                continue;
            }
            if let Some(frozen) = &log.frozen {
                say(*id, AboveFault::Frozen, 0, frozen.reason.clone());
            }
            if let Some((from, to)) = log.missing().first() {
                say(*id, AboveFault::Damaged, 0, format!("records {from}..{to} cannot be read there"));
            }
        }
        let further = self.view.above.iter().filter(|t| self.charter().is_within(t.word.log.division, division));
        words.extend(further.map(|t| t.now(now_ms)));
        words.truncate(ABOVE_WORDS_MAX);
        words
    }

    /// Takes what the levels above say of logs of this node and those below it: all that they have to say now.
    pub(super) fn on_above(&mut self, now_ms: u64, words: Vec<AboveWord>) {
        let (own, me) = (self.own(), self.me());
        let mine = words.iter().filter(|w| w.log == own && w.fault == AboveFault::SameKeyTwice);
        if let Some(age) = mine.map(|w| w.since_ms).min() {
            self.same_key_ms = Some(now_ms.saturating_sub(age));
        }
        let charter = self.view.charter.clone();
        let counts = |w: &AboveWord| {
            let (charter, of) = (charter.charter(), w.log.division);
            charter.is_within(of, me) && w.by != me && charter.is_within(me, w.by)
        };
        let before = std::mem::take(&mut self.view.above);
        for word in words.into_iter().filter(counts) {
            // Since when it is known here, unless it is known better there.
            let known = before.iter().find(|t| t.is_of(&word)).map(|t| t.since_ms);
            let since_ms = known.unwrap_or(now_ms).min(now_ms.saturating_sub(word.since_ms));
            self.view.above.push(ToldAbove { word, since_ms });
        }
    }
}
