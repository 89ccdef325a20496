//! How the neighbours stand: the parent, and each child.

use super::{ChildStatus, NodeBelowStatus, ParentStatus, PeerState};
use tally_clock::time;
use tally_core::{Agreement, Child, STALLED_MS, View};
use tally_protocol::ids::Division;

pub(super) fn parent(r: &View, now_ms: u64) -> Option<ParentStatus> {
    let division = r.charter().parent(r.me())?;
    let p = r.parent();
    let state = match &p.link {
        Some(l) if l.welcomed && now_ms.saturating_sub(l.heard_ms) <= STALLED_MS => PeerState::Live,
        Some(l) if l.welcomed => PeerState::Stalled,
        _ if p.refused.is_some() => PeerState::Refused,
        _ if p.lost_ms.is_some() => PeerState::Lost,
        _ => PeerState::NeverSeen,
    };
    let (agrees, since) = agreement(state, p.agreement);
    let (unacked, oldest) = r.waiting();
    let excused = |d| r.charter().excuses_silence(d, now_ms / 1_000, Some(0));
    Some(ParentStatus {
        division,
        state,
        last_ack: p.last_ack_ms.map(|t| time(t / 1_000)),
        unacked_records: unacked,
        oldest_unacked: oldest.map(time),
        clock_skew_ms: p.link.as_ref().filter(|l| l.welcomed).map(|l| l.skew_ms),
        agrees,
        since,
        excused: r.is_offline() || excused(division) || excused(r.me()),
    })
}

/// `nodes`: what is known of all nodes below.
pub(super) fn child(r: &View, now_ms: u64, division: Division, nodes: &[NodeBelowStatus]) -> ChildStatus {
    let node = r.charter().node(division);
    let (name, retired) = node.map_or((String::new(), false), |n| (n.name.clone(), n.retired));
    let unseen = Child::default();
    let c = r.children().get(&division).unwrap_or(&unseen);
    let state = match &c.link {
        Some(l) if l.welcomed && now_ms.saturating_sub(l.heard_ms) <= STALLED_MS => PeerState::Live,
        Some(l) if l.welcomed => PeerState::Stalled,
        _ if c.refused.is_some() => PeerState::Refused,
        _ if c.seen_ms.is_some() => PeerState::Lost,
        _ => PeerState::NeverSeen,
    };
    let (agrees, since) = agreement(state, c.agreement);
    ChildStatus {
        division,
        name,
        state,
        last_seen: c.seen_ms.map(|t| time(t / 1_000)),
        behind_records: c.records.map(|theirs| theirs.saturating_sub(r.records_of(division))),
        agrees,
        since,
        retired,
        excused: nodes.iter().any(|n| n.division == division && n.excused),
    }
}

/// Whether, and since when; nothing before the first comparison, nor of a neighbour that is not live: what was compared on a link
/// that is gone says nothing of now.
pub(super) fn agreement(state: PeerState, agreement: Agreement) -> (Option<bool>, Option<String>) {
    match agreement {
        _ if state != PeerState::Live => (None, None),
        Agreement::Unknown => (None, None),
        Agreement::Agrees(t) => (Some(true), Some(time(t / 1_000))),
        Agreement::Differs(t) => (Some(false), Some(time(t / 1_000))),
    }
}
