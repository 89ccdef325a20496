//! Batches on their way out: to the parent, for each log from where it stands, and to a child that asked for them.
//!
//! Of a log, batches go in order and not more at once than the window; a hole, a refusal or a failed read stops that log and
//! no other. It must not know how a link carries them, or read a batch: it names places.

use super::{LinkId, Output, Replica, heads::Proven, state::Rejected};
use crate::{Push, log::HeldLog};
use std::sync::Arc;
use tally_protocol::{ids::LogId, wire::Refusal};

/// Half of the first wait before a refused log is tried again, in milliseconds: 10 s at first, and it doubles each time, up to
/// 320 s at the sixth.
const RETRY_MS: u64 = 5_000;
/// Upper bound of such a wait, in milliseconds. The doubling ends before it.
const RETRY_MAX_MS: u64 = 15 * 60 * 1_000;

impl Replica {
    /// Pushes refused logs again, each after a wait that doubles: the fault may have been a passing one.
    pub(super) fn retry_rejected(&mut self, now_ms: u64, out: &mut Vec<Output>) {
        let Some(up) = self.view.parent.link.as_ref().filter(|l| l.frontier_known) else { return };
        let stopped: Vec<_> = up.pushes.iter().filter(|(_, push)| push.stopped()).map(|(id, _)| *id).collect();
        for id in stopped {
            let refusal = self.view.parent.rejected.get(&id).map(|r| (r.start, r.since_ms, r.times));
            match refusal {
                _ if self.is_at_rest(id) => {}
                Some((start, since_ms, times)) => {
                    let wait = RETRY_MS.saturating_mul(1 << times.min(6)).min(RETRY_MAX_MS);
                    if now_ms.abs_diff(since_ms) >= wait {
                        self.push_from(id, start);
                    }
                }
                None => self.restart_push(id),
            }
        }
        self.pump_parent(out);
    }

    /// Pushes a log from where the parent says to stand: what it had confirmed earlier it may have lost since. From the start where
    /// that place is not known here.
    fn push_from(&mut self, id: LogId, stands: u64) {
        let Some(log) = self.view.logs.get(&id) else { return };
        let known = log.root_at(stands).or_else(|| self.proven.root_at(id, stands));
        if let Some(up) = self.view.parent.link.as_mut().filter(|l| l.frontier_known) {
            up.pushes.insert(id, Push::from(known.map_or(0, |_| stands)));
        }
    }

    /// The parent stands at `size` of a log. If that is behind what it had refused, or what could not be read here, the refusal is
    /// over, and a push that it had stopped goes on from there.
    pub(super) fn parent_stands_at(&mut self, id: LogId, size: u64) {
        if self.view.parent.rejected.get(&id).is_none_or(|r| size <= r.start) {
            return;
        }
        self.view.parent.rejected.remove(&id);
        self.view.parent.damaged.remove(&id);
        let up = self.view.parent.link.as_ref();
        let stopped = up.and_then(|up| up.pushes.get(&id)).is_some_and(Push::stopped);
        if stopped && !self.is_at_rest(id) {
            self.push_from(id, size);
        }
    }

    /// Whether a log takes nothing and gives nothing: two histories of it were signed, and the charter does not say yet which of
    /// them counts, and how far.
    pub(super) fn is_at_rest(&self, id: LogId) -> bool {
        self.view.log(id).is_some_and(|log| log.frozen.is_some()) && self.charter().closed_at(id).is_none()
    }

    /// Pushes a log again, from where the parent stands: what was damaged here is back.
    pub(super) fn restart_push(&mut self, id: LogId) {
        let Some(log) = self.view.logs.get(&id) else { return };
        let Some(up) = self.view.parent.link.as_mut().filter(|l| l.frontier_known) else { return };
        let confirmed = log.receipts.get(&up.peer).map_or(0, |r| r.size);
        let stands = up.ahead.get(&id).copied().filter(|a| *a != u64::MAX).unwrap_or(confirmed);
        if up.pushes.get(&id).is_none_or(Push::stopped) && log.root_at(stands).is_some() {
            up.ahead.remove(&id);
            up.pushes.insert(id, Push::from(stands));
        }
    }

    /// Serves a log again to children whose fetch had met the damage.
    pub(super) fn restart_serving(&mut self, id: LogId) {
        for child in self.view.children.values_mut() {
            if let Some(push) = child.link.as_mut().and_then(|l| l.serving.get_mut(&id)).filter(|p| p.stopped()) {
                *push = push.again();
            }
        }
    }

    /// Starts a push for each log that has none: from 0 if the parent has not named it. A log may appear at any time.
    fn start_missing_pushes(&mut self) {
        let me = self.me();
        let may = |id: &LogId| self.charter().is_within(id.division, me) && !self.is_at_rest(*id);
        let within: Vec<_> = self.view.logs.keys().copied().filter(may).collect();
        let Some(up) = self.view.parent.link.as_mut().filter(|l| l.frontier_known) else { return };
        for id in within {
            let Some(log) = self.view.logs.get(&id) else { continue };
            // Where the parent was ahead, pushing starts once this node has caught up with it.
            let from = up.ahead.get(&id).copied().unwrap_or(0);
            if log.size() >= from && log.root_at(from).is_some() {
                up.pushes.entry(id).or_insert_with(|| Push::from(from));
            }
        }
    }

    /// Hands batches to the link to the parent, as far as the windows allow.
    pub(super) fn pump_parent(&mut self, out: &mut Vec<Output>) {
        self.start_missing_pushes();
        let Some(up) = self.view.parent.link.as_mut().filter(|l| l.frontier_known) else { return };
        for (id, push) in &mut up.pushes {
            pump(up.id, *id, push, (self.view.logs.get(id), &self.proven), out);
        }
    }

    /// Hands batches to children that asked for them.
    pub(super) fn pump_children(&mut self, out: &mut Vec<Output>) {
        for child in self.view.children.values_mut() {
            let Some(up) = child.link.as_mut() else { continue };
            for (id, push) in &mut up.serving {
                pump(up.id, *id, push, (self.view.logs.get(id), &self.proven), out);
            }
        }
    }

    /// The transport has taken a batch: the window of its log has room again.
    pub(super) fn pushed(&mut self, link: LinkId, log: LogId, out: &mut Vec<Output>) {
        if let Some(up) = self.view.parent.link.as_mut().filter(|l| l.id == link) {
            if let Some(push) = up.pushes.get_mut(&log) {
                push.taken();
                pump(link, log, push, (self.view.logs.get(&log), &self.proven), out);
            }
            return;
        }
        for child in self.view.children.values_mut() {
            if let Some(up) = child.link.as_mut().filter(|l| l.id == link)
                && let Some(push) = up.serving.get_mut(&log)
            {
                push.taken();
                pump(link, log, push, (self.view.logs.get(&log), &self.proven), out);
            }
        }
    }

    /// A batch could not be read from this disk: its log is damaged here, and its push stops.
    pub(super) fn push_failed(&mut self, now_ms: u64, link: LinkId, log: LogId, reason: String) {
        if let Some(up) = self.view.parent.link.as_mut().filter(|l| l.id == link) {
            if let Some(push) = up.pushes.get_mut(&log) {
                push.stop();
            }
            // Tried again like a refusal: a read may fail once.
            let start = self.view.logs.get(&log).and_then(|l| l.receipts.get(&up.peer)).map_or(0, |r| r.size);
            let times = self.view.parent.rejected.get(&log).map_or(0, |r| r.times) + 1;
            let (code, since_ms) = (Refusal::Malformed, now_ms);
            let refused = Rejected { code, reason: reason.clone(), start, since_ms, times };
            self.view.parent.rejected.insert(log, refused);
            self.view.parent.damaged.insert(log, reason);
            return;
        }
        // A child that fetches gets no further here until the log is repaired.
        for child in self.view.children.values_mut() {
            if let Some(push) = child.link.as_mut().filter(|l| l.id == link).and_then(|l| l.serving.get_mut(&log)) {
                push.stop();
                self.view.parent.damaged.insert(log, reason.clone());
            }
        }
    }
}

/// Hands the batches that `push` wants to the link, as far as the windows allow. Where the other side stands inside a batch, the
/// rest of it goes out, once both are known to hold one history.
fn pump(
    link: LinkId,
    log: LogId,
    push: &mut Push,
    (held, proven): (Option<&Arc<HeldLog>>, &Proven),
    out: &mut Vec<Output>,
) {
    let Some(held) = held else { return };
    while let Some(start) = push.wants(held.size()) {
        let inside = || held.batch_of(start).filter(|_| proven.root_at(log, start).is_some());
        // A gap (frames lost to damage here) stops this log, and so does a batch that is known to be damaged; status shows
        // it. What is not handed over was not sent: see `View::lost`.
        let whole = held.batch_at(start).or_else(inside).filter(|(end, _)| !held.misses(start, *end));
        let Some((end, batch)) = whole else { return };
        push.sent(end);
        out.push(Output::Push { link, log, place: batch.place, from: start });
    }
}
