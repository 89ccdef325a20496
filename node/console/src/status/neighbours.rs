//! How the neighbours stand: the parent, and each child.

use super::{ChildStatus, NodeBelowStatus, ParentStatus, PeerState};
use tally_clock::time;
use tally_core::{Agreement, Child, STALLED_MS, View};
use tally_protocol::{health::AboveFault, ids::Division};

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
    let damaged_there = r.above().iter().any(|t| t.word.by == division && t.word.fault == AboveFault::Damaged);
    let (agrees, since) = agreement(state, p.agreement, is_whole(r, r.me()) && !damaged_there);
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
    let of_child = |n: &&NodeBelowStatus| n.division == division;
    let damaged_there = nodes.iter().find(of_child).and_then(|n| n.damaged_records).is_some_and(|n| n > 0);
    let (agrees, since) = agreement(state, c.agreement, is_whole(r, division) && !damaged_there);
    ChildStatus {
        division,
        name,
        state,
        last_seen: c.seen_ms.map(|t| time(t / 1_000)),
        behind_records: c.records.map(|theirs| theirs.saturating_sub(r.records_of(division))),
        agrees,
        since,
        retired,
        excused: nodes.iter().any(|n| of_child(&n) && n.excused),
    }
}

/// Whether, and since when; nothing before the first comparison, nor of a neighbour that is not live: what was compared on a link
/// that is gone says nothing of now. Digests are made of roots, which stay as they are when records under them cannot be read: where one
/// of the two copies is not whole, equal digests do not say that both hold the same.
pub(super) fn agreement(state: PeerState, agreement: Agreement, is_whole: bool) -> (Option<bool>, Option<String>) {
    match agreement {
        _ if state != PeerState::Live => (None, None),
        Agreement::Agrees(_) if !is_whole => (None, None),
        Agreement::Unknown => (None, None),
        Agreement::Agrees(t) => (Some(true), Some(time(t / 1_000))),
        Agreement::Differs(t) => (Some(false), Some(time(t / 1_000))),
    }
}

/// Whether everything that is held here of a division and those below it can be read, as far as it is known.
pub(super) fn is_whole(r: &View, top: Division) -> bool {
    let mut of_it = r.logs().iter().filter(|(id, _)| r.charter().is_within(id.division, top));
    of_it.all(|(id, log)| log.is_whole() && !r.parent().damaged.contains_key(id))
}
