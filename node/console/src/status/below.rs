//! Every enrolled node below, at any depth, as far as it is known here, and what of it needs attention.
//!
//! What is not known is null, and never taken for well. Behind a node that is lost the others are unknown and not lost: they are
//! counted with it, not named one by one.

use super::{Action, PeerState, advice::UNCONFIRMED_MS, neighbours::is_whole};
use serde::{Deserialize, Serialize};
use tally_clock::time;
use tally_core::{
    Reach, View,
    clock::{TRUST_MS, in_words},
};
use tally_protocol::{
    health::{AboveFault, HealthState, NodeHealth},
    ids::Division,
};
use tally_topology::charter::Level;
use utoipa::ToSchema;

/// One node below.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct NodeBelowStatus {
    /// Division code.
    #[schema(value_type = String)]
    pub division: Division,
    /// Name by charter.
    pub name: String,
    /// Level by charter.
    #[schema(value_type = String)]
    pub level: Level,
    /// To whom it reports, by charter.
    #[schema(value_type = Option<String>)]
    pub parent: Option<Division>,
    /// Who told of it last; this node itself for its children.
    #[schema(value_type = String)]
    pub via: Division,
    /// State of its link to its parent; null when nobody knows.
    pub state: Option<PeerState>,
    /// When it was last heard, by this node's clock; of one that carries bundles: when one came last.
    pub last_heard: Option<String>,
    /// When it is expected to be linked, by charter.
    pub expected: String,
    /// It is silent, and the charter says that this is in order now: no alarm.
    pub excused: bool,
    /// Records that its parent has not confirmed.
    pub waiting_records: Option<u64>,
    /// When the oldest of them was sealed, by this node's clock.
    pub oldest_waiting: Option<String>,
    /// How long ago, in milliseconds.
    #[serde(skip)]
    pub(crate) oldest_ms: Option<u64>,
    /// How long ago it was heard, in milliseconds.
    #[serde(skip)]
    pub(crate) heard_ms: Option<u64>,
    /// What it does with rows, as far as it is known: `signing`, `asking`, `fetching`, `staging`, `frozen`, `refused`, `same_key`.
    #[schema(value_type = Option<String>)]
    pub signing: Option<HealthState>,
    /// Rows that it has taken and not signed.
    pub staged: Option<u64>,
    /// Whether it and its parent hold the same; null unless it is live and was compared, and while either cannot read all of it.
    pub agrees: Option<bool>,
    /// Records that it cannot read from its disk.
    pub damaged_records: Option<u64>,
    /// Whether it holds a log of which two histories were signed.
    pub frozen: Option<bool>,
    /// Its clock minus its parent's.
    pub clock_skew_ms: Option<i64>,
    /// Version of the charter in force there.
    pub charter_version: Option<u64>,
    /// Its release.
    pub software: Option<String>,
}

fn state(reach: Reach) -> Option<PeerState> {
    Some(match reach {
        Reach::Live => PeerState::Live,
        Reach::Stalled => PeerState::Stalled,
        Reach::Lost => PeerState::Lost,
        Reach::NeverSeen => PeerState::NeverSeen,
        Reach::Refused => PeerState::Refused,
        Reach::Unknown => return None,
    })
}

fn is_silent(state: Option<PeerState>) -> bool {
    matches!(state, Some(PeerState::Lost | PeerState::Stalled | PeerState::NeverSeen))
}

/// All nodes below, in the order of their codes.
pub(super) fn nodes(r: &View, now_ms: u64) -> Vec<NodeBelowStatus> {
    let ago = |ms: u64| time(now_ms.saturating_sub(ms) / 1_000);
    let one = |(reach, h): (Reach, NodeHealth)| {
        let node = r.charter().node(h.division);
        // Roots that agree say nothing of what one of the two cannot read.
        let damaged = h.damaged.is_some_and(|n| n > 0)
            || (r.charter().parent(h.division) == Some(r.me()) && !is_whole(r, h.division));
        NodeBelowStatus {
            division: h.division,
            name: node.map_or_else(String::new, |n| n.name.clone()),
            level: node.map_or(Level::County, |n| n.level),
            parent: r.charter().parent(h.division),
            via: h.via,
            state: state(reach),
            last_heard: h.heard_ms.map(ago),
            expected: node.map_or_else(String::new, |n| n.expected.to_string()),
            excused: is_silent(state(reach))
                && r.charter().excuses_silence(h.division, now_ms / 1_000, h.heard_ms.map(|ms| ms / 1_000)),
            waiting_records: h.waiting,
            oldest_waiting: h.oldest_ms.map(ago),
            oldest_ms: h.oldest_ms,
            heard_ms: h.heard_ms,
            signing: (h.state != HealthState::Unknown).then_some(h.state),
            staged: h.staged,
            agrees: h.agrees.filter(|agrees| reach == Reach::Live && !(*agrees && damaged)),
            damaged_records: h.damaged,
            frozen: h.frozen.map(|n| n > 0),
            clock_skew_ms: h.skew_ms,
            charter_version: h.charter,
            software: h.software,
        }
    };
    r.health_below(now_ms).into_iter().map(one).collect()
}

/// What of the nodes below needs attention: the lost ones first, then what is wrong with the others.
pub(super) fn actions(r: &View, nodes: &[NodeBelowStatus]) -> Vec<Action> {
    let mut found: Vec<(u8, Action)> = nodes.iter().flat_map(|n| of_node(r, n, nodes)).collect();
    found.sort_by_key(|(rank, _)| *rank);
    found.into_iter().map(|(_, action)| action).collect()
}

fn action(code: &str, what: String, why: String, next: &str) -> Action {
    Action { code: code.into(), what, why, next: next.into() }
}

fn of_node(r: &View, n: &NodeBelowStatus, all: &[NodeBelowStatus]) -> Vec<(u8, Action)> {
    let who = format!("{} {}", n.division, n.name);
    let through = if n.via == r.me() { String::new() } else { format!(", as {} says", n.via) };
    let mut found: Vec<_> = of_link(r, n, all).into_iter().collect();
    let mut add = |rank, code, what: String, why: String, next| found.push((rank, action(code, what, why, next)));
    if let Some(damaged) = n.damaged_records.filter(|d| *d > 0) {
        let why = format!("{damaged} records cannot be read from its disk{through}");
        add(
            2,
            "node_damaged",
            format!("{who} has damage"),
            why,
            "there: tally reconcile --with all --repair; check its disk",
        );
    }
    if n.agrees == Some(false) {
        let why = format!("its copy and that of {} differ, and nothing is on its way{through}", parent_of(n));
        add(2, "node_disagrees", format!("{who} disagrees"), why, "there: tally reconcile --with parent --repair");
    }
    // Its parent says so itself, with when.
    if n.signing == Some(HealthState::SameKey) && n.via != r.me() {
        let why = format!("its link is taken over to and fro, or a run of it has come back{through}");
        let next = "there: stop one of the two; neither signs before the other was silent for 60 s";
        add(1, "same_key_twice", format!("two machines run with the key of {who}"), why, next);
    }
    if let Some(skew) = n.clock_skew_ms.filter(|ms| ms.unsigned_abs() > TRUST_MS) {
        let why = format!("it is {} by that of {}{through}", in_words(skew), parent_of(n));
        add(2, "node_clock", format!("the clock of {who}"), why, "set the clock there: chronyc makestep");
    }
    if let Some(rows) = n.staged.filter(|rows| *rows > 0) {
        let why = format!("{rows} rows are on its disk alone{through}");
        add(
            3,
            "node_staged",
            format!("{who} signs nothing now"),
            why,
            "there: tally status names the reason (not_signing)",
        );
    }
    let late = n.oldest_ms.is_some_and(|ms| ms > UNCONFIRMED_MS);
    if let Some(waiting) = n.waiting_records.filter(|n| *n > 0 && late) {
        let since = n.oldest_waiting.as_deref().unwrap_or("long ago");
        let why = format!("{waiting} records wait since {since} for {} to confirm them{through}", parent_of(n));
        add(3, "node_late", format!("{who} is late"), why, "there: tally status names the reason (unconfirmed)");
    }
    found
}

/// What is wrong with its link to its parent.
fn of_link(r: &View, n: &NodeBelowStatus, all: &[NodeBelowStatus]) -> Option<(u8, Action)> {
    let who = format!("{} {}", n.division, n.name);
    let through = if n.via == r.me() { String::new() } else { format!(", as {} says", n.via) };
    let run = "ask its operator whether machine, network and service run: systemctl status tally, tally status";
    let unknown =
        all.iter().filter(|b| b.state.is_none() && r.charter().branch(b.division, n.division).is_some()).count();
    let behind = if unknown > 0 { format!("; {unknown} nodes behind it are unknown") } else { String::new() };
    let heard = n.last_heard.as_deref().unwrap_or("never");
    let by_file = r.charter().node(n.division).is_some_and(|node| node.expected.is_by_file());
    Some(match n.state {
        _ if n.excused => return None,
        _ if by_file && is_silent(n.state) => {
            let (code, rank) = if n.last_heard.is_some() { ("node_lost", 0) } else { ("node_never_seen", 1) };
            let why = format!("the last bundle came {heard}; by charter it is heard {}{through}{behind}", n.expected);
            let next = "there: tally bundle export --to PARENT; at its parent: tally bundle import";
            (rank, action(code, format!("{who} has brought no bundle"), why, next))
        }
        Some(PeerState::Lost | PeerState::Stalled) => {
            let state = n.state.map_or("lost", PeerState::name);
            let why = format!("last heard {heard}{through}{behind}");
            (0, action("node_lost", format!("{who} is {state}"), why, run))
        }
        Some(PeerState::NeverSeen) => {
            let why = format!(
                "the charter names it, and it has not linked since the last start of its parent{through}{behind}"
            );
            (1, action("node_never_seen", format!("{who} was never linked"), why, run))
        }
        Some(PeerState::Refused) => {
            let refused = r.children().get(&n.division).and_then(|c| c.refused.as_ref());
            let why = refused.map_or_else(
                || format!("its parent does not take all that it pushes{through}{behind}"),
                |(code, reason)| format!("{code}: {reason}{behind}"),
            );
            let next = "compare the charters of both nodes; tally status at its parent names the logs";
            (0, action("node_refused", format!("{who} is refused"), why, next))
        }
        // Behind a node that is named itself, if it is not live.
        None | Some(PeerState::Live) => return None,
    })
}

fn parent_of(n: &NodeBelowStatus) -> String {
    n.parent.map_or_else(|| "its parent".to_owned(), |p| p.to_string())
}

/// What the levels above say of logs of this node and those below.
pub(super) fn above(r: &View) -> Vec<Action> {
    let one = |told: &tally_core::ToldAbove| {
        let word = &told.word;
        let log = r.charter().federation().origin(word.log);
        let since = time(told.since_ms / 1_000);
        let (code, what, next) = match word.fault {
            AboveFault::Refused => (
                "refused_above",
                format!("{} does not take {log}", word.by),
                "compare the charters of both nodes; that node's `tally status` names the batch",
            ),
            AboveFault::Damaged => (
                "damaged_above",
                format!("{} has lost a part of {log}", word.by),
                "tally reconcile --with parent --repair gives it back, where the parent is that node; else it is mended from there",
            ),
            AboveFault::Frozen => (
                "frozen_above",
                format!("{log} is frozen at {}", word.by),
                "find out which copy is right; then tally epoch next --reason R at the node that signs it",
            ),
            // The gate says so.
            AboveFault::SameKeyTwice => return None,
        };
        Some(action(code, what, format!("{}, since {since}", word.reason), next))
    };
    r.above().iter().filter_map(one).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_state_that_nobody_knows_is_null() {
        assert_eq!(state(Reach::Unknown), None);
        let names = [Reach::Live, Reach::Stalled, Reach::Lost, Reach::NeverSeen, Reach::Refused]
            .map(|r| state(r).unwrap().name());
        assert_eq!(names, ["live", "stalled", "lost", "never_seen", "refused"]);
    }
}
