//! What this node and those below it ask of the authority, on its way up, and a rejection on its way down.
//!
//! Of a division one request is kept, the latest that came, and only if the key of its current epoch signed it: nobody below
//! can hold up another's, or fill memory. It is kept until a charter has answered it or it was rejected, and told to the parent
//! once a link. An approval needs no message: the next charter is one. Nothing here is on disk: who asks keeps its request
//! and tells it again with each link.

use super::{Event, LinkId, Output, Replica};
use std::{collections::BTreeMap, sync::Arc};
use tally_protocol::{
    hash::Hash,
    ids::{Division, LogId},
    request::EpochRequest,
    wire::Control,
};
use tally_topology::request::open_request;

/// Requests are told upward this often, in milliseconds, whatever comes from below.
const TOLD_EVERY_MS: u64 = 1_000;

/// A request that nobody has answered yet.
#[derive(Debug, Clone)]
pub struct PendingRequest {
    /// What is asked for.
    pub request: EpochRequest,
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
        let opened = open_request(note, self.charter()).map_err(|e| e.to_string());
        let below = via.unwrap_or(self.me());
        let within = |r: EpochRequest| match self.charter().is_within(r.log.division, below) {
            true => Ok(r),
            false => Err(format!("{} is not below {below}", r.log.division)),
        };
        let request = match opened.and_then(within) {
            Ok(request) => request,
            Err(reason) => return self.request_refused(below, reason, out),
        };
        let (node, digest) = (request.log, request.digest());
        let rejected = self.view.requests.rejected.get(&node.division).filter(|r| r.digest == digest).cloned();
        if let Some(rejected) = rejected {
            // Who asks did not hear it yet.
            self.send_rejection(&rejected, out);
            return;
        }
        let requests = Arc::make_mut(&mut self.view.requests);
        requests.rejected.remove(&node.division);
        let pending = PendingRequest { request, note: note.into(), digest, via, since_ms: now_ms };
        requests.pending.insert(node.division, pending);
        out.push(Output::Note(Event::Requested { node }));
    }

    /// Says once, and again only when the reason is another one, that a child's request is not taken.
    fn request_refused(&mut self, peer: Division, reason: String, out: &mut Vec<Output>) {
        if self.requests_told.refused.get(&peer) != Some(&reason) {
            self.requests_told.refused.insert(peer, reason.clone());
            out.push(Output::Note(Event::RequestRefused { peer, reason }));
        }
    }

    /// A pending request is rejected: here by the operator, or above as the parent tells. Who asks is told.
    pub(super) fn reject_request(&mut self, rejected: RejectedRequest, out: &mut Vec<Output>) {
        let division = rejected.node.division;
        if self.view.requests.pending.get(&division).is_none_or(|p| p.digest != rejected.digest) {
            return;
        }
        let RejectedRequest { node, by, reason, .. } = rejected.clone();
        out.push(Output::Note(Event::RequestRejected { node, by, reason }));
        self.send_rejection(&rejected, out);
        let requests = Arc::make_mut(&mut self.view.requests);
        requests.pending.remove(&division);
        requests.rejected.insert(division, rejected);
    }

    fn send_rejection(&self, rejected: &RejectedRequest, out: &mut Vec<Output>) {
        let RejectedRequest { node, digest, by, reason } = rejected.clone();
        let branch = self.charter().branch(node.division, self.me());
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
        let stands = |node: LogId| {
            let serves = charter.node(node.division).is_some_and(|n| !n.retired);
            serves && charter.current_log(node.division) == Some(node) && charter.is_within(node.division, me)
        };
        let answered = requests.pending.values().any(|p| !stands(p.request.log))
            || requests.rejected.values().any(|r| !stands(r.node));
        if answered {
            let requests = Arc::make_mut(&mut self.view.requests);
            requests.pending.retain(|_, p| stands(p.request.log));
            requests.rejected.retain(|_, r| stands(r.node));
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
