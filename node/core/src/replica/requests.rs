//! What this node and those below it ask of the authority, on its way up, and a rejection on its way down.
//!
//! Of a division one request is kept, the latest that came, and only if the key of its current epoch signed it: nobody below
//! can hold up another's, or fill memory. Requests to join come of divisions that have no key yet: they need an invitation that a
//! node at the parent or above has signed, and of them a bounded number is kept. A request is kept until a charter has answered it or it was rejected, and told to the parent
//! once a link. An approval needs no message: the next charter is one. Nothing here is on disk: who asks keeps its request
//! and tells it again with each link.

use super::{Event, LinkId, Output, Replica};
use std::{collections::BTreeMap, sync::Arc};
use tally_protocol::{
    hash::Hash,
    ids::{Division, LogId},
    wire::Control,
};
use tally_topology::request::NodeRequest;

/// Requests are told upward this often, in milliseconds, whatever comes from below.
const TOLD_EVERY_MS: u64 = 1_000;
/// Requests to join that are kept, of all nodes that are below: some 4 KiB each.
const JOINS_MAX: usize = 512;
/// Of them, that came by one child.
const JOINS_OF_CHILD_MAX: usize = 128;

/// A request that nobody has answered yet.
#[derive(Debug, Clone)]
pub struct PendingRequest {
    /// What is asked for.
    pub request: NodeRequest,
    /// The signed note.
    pub note: Arc<str>,
    /// Digest of its text.
    pub digest: Hash,
    /// The child that brought it; `None`: this node's own, or brought by hand.
    pub via: Option<Division>,
    /// When it came, POSIX milliseconds.
    pub since_ms: u64,
}

/// A request that is not given.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RejectedRequest {
    /// Whose, in which epoch.
    pub node: LogId,
    /// Digest of its text.
    pub digest: Hash,
    /// Where it was rejected.
    pub by: Division,
    /// For people.
    pub reason: String,
    /// The node at or below which whoever asks is: itself, or the parent that it wants to have.
    pub place: Division,
}

/// Requests by who asks.
#[derive(Debug, Clone, Default)]
pub struct Requests {
    /// Not answered yet.
    pub pending: BTreeMap<Division, PendingRequest>,
    /// Rejected, and not asked again since.
    pub rejected: BTreeMap<Division, RejectedRequest>,
}

/// What was told to which parent.
#[derive(Debug, Default)]
pub(super) struct RequestsTold {
    told: BTreeMap<Division, (LinkId, Hash)>,
    last_ms: u64,
    /// The last reason for which a child's request was not taken.
    refused: BTreeMap<Division, String>,
}

impl Replica {
    /// Takes a request: this node's own, one that was brought by hand, or one that a child sends.
    pub(super) fn take_request(&mut self, now_ms: u64, via: Option<Division>, note: &str, out: &mut Vec<Output>) {
        let known = |p: &PendingRequest| &*p.note == note;
        if self.view.requests.pending.values().any(known) {
            return;
        }
        let opened = NodeRequest::open(note, self.charter());
        let below = via.unwrap_or(self.me());
        let within = |r: NodeRequest| match self.charter().is_within(r.place(), below) {
            true => Ok(r),
            false => Err(format!("{} is not below {below}", r.place())),
        };
        let request = match opened.and_then(within).and_then(|r| self.has_room_for(via, r)) {
            Ok(request) => request,
            Err(reason) => return self.request_refused(below, reason, out),
        };
        let (node, digest) = (request.node(), request.digest());
        let rejected = self.view.requests.rejected.get(&node.division).filter(|r| r.digest == digest).cloned();
        if let Some(rejected) = rejected {
            // Who asks did not hear it yet.
            self.send_rejection(&rejected, out);
            return;
        }
        let requests = Arc::make_mut(&mut self.view.requests);
        requests.rejected.remove(&node.division);
        let joins = matches!(request, NodeRequest::Join(_));
        let pending = PendingRequest { request, note: note.into(), digest, via, since_ms: now_ms };
        requests.pending.insert(node.division, pending);
        out.push(Output::Note(Event::Requested { node, joins }));
    }

    /// Refuses one more request to join where many wait; one that takes another's place always has room.
    fn has_room_for(&self, via: Option<Division>, request: NodeRequest) -> Result<NodeRequest, String> {
        let pending = &self.view.requests.pending;
        if !matches!(request, NodeRequest::Join(_)) || pending.contains_key(&request.node().division) {
            return Ok(request);
        }
        let joins = || pending.values().filter(|p| matches!(p.request, NodeRequest::Join(_)));
        let (all, of_child) = (joins().count(), joins().filter(|p| via.is_some() && p.via == via).count());
        if all >= JOINS_MAX || of_child >= JOINS_OF_CHILD_MAX {
            return Err(format!("{all} requests to join wait already: no more are taken before some are answered"));
        }
        Ok(request)
    }

    /// Says once, and again only when the reason is another one, that a child's request is not taken.
    fn request_refused(&mut self, peer: Division, reason: String, out: &mut Vec<Output>) {
        if self.requests_told.refused.get(&peer) != Some(&reason) {
            self.requests_told.refused.insert(peer, reason.clone());
            out.push(Output::Note(Event::RequestRefused { peer, reason }));
        }
    }

    /// A pending request is rejected: here by the operator, or above as the parent tells. Who asks is told.
    pub(super) fn reject_request(&mut self, mut rejected: RejectedRequest, out: &mut Vec<Output>) {
        let division = rejected.node.division;
        let pending = self.view.requests.pending.get(&division).filter(|p| p.digest == rejected.digest);
        let Some(pending) = pending else { return };
        rejected.place = pending.request.place();
        let RejectedRequest { node, by, reason, .. } = rejected.clone();
        out.push(Output::Note(Event::RequestRejected { node, by, reason }));
        self.send_rejection(&rejected, out);
        let requests = Arc::make_mut(&mut self.view.requests);
        requests.pending.remove(&division);
        requests.rejected.insert(division, rejected);
    }

    fn send_rejection(&self, rejected: &RejectedRequest, out: &mut Vec<Output>) {
        let RejectedRequest { node, digest, by, reason, place } = rejected.clone();
        let branch = self.charter().branch(place, self.me());
        let link = branch.and_then(|b| self.view.children.get(&b)).and_then(|c| c.link.as_ref()).filter(|l| l.welcomed);
        if let Some(link) = link {
            let message = Control::RequestRejected { node, request: digest, by, reason };
            out.push(Output::Send { link: link.id, message });
        }
    }

    /// Drops what a charter has answered, and tells the parent what it has not heard over this link yet.
    pub(super) fn tend_requests(&mut self, now_ms: u64, out: &mut Vec<Output>) {
        let requests = &self.view.requests;
        if requests.pending.is_empty() && requests.rejected.is_empty()
            || now_ms.abs_diff(self.requests_told.last_ms) < TOLD_EVERY_MS
        {
            return;
        }
        self.requests_told.last_ms = now_ms;
        let charter = self.view.charter.clone();
        let (charter, me) = (charter.charter(), self.me());
        let stands = |r: &NodeRequest| r.stands(charter) && charter.is_within(r.place(), me);
        let rejected_stands = |r: &RejectedRequest| {
            let serves = charter.node(r.place).is_some_and(|n| !n.retired) && charter.is_within(r.place, me);
            // Of a node that asks for itself the epoch is still current. A machine that asks to be one asks for the epoch after it.
            let current = charter.current_log(r.node.division);
            let next = current.map_or(1, |log| log.epoch.saturating_add(1));
            serves && if r.place == r.node.division { current == Some(r.node) } else { next == r.node.epoch }
        };
        let answered = requests.pending.values().any(|p| !stands(&p.request))
            || requests.rejected.values().any(|r| !rejected_stands(r));
        if answered {
            let requests = Arc::make_mut(&mut self.view.requests);
            requests.pending.retain(|_, p| stands(&p.request));
            requests.rejected.retain(|_, r| rejected_stands(r));
        }
        let Some(up) = self.view.parent.link.as_ref().filter(|l| l.welcomed) else { return };
        for (division, pending) in &self.view.requests.pending {
            let told = Some((up.id, pending.digest));
            if self.requests_told.told.get(division).copied() != told {
                self.requests_told.told.insert(*division, (up.id, pending.digest));
                let message = Control::Request { note: pending.note.as_ref().to_owned() };
                out.push(Output::Send { link: up.id, message });
            }
        }
    }
}

#[cfg(test)]
mod tests;
