//! Links between nodes: dialled, in order for each stream and in no order among them, closed with a last word, and broken.

use super::{Link, Stream, What, World};
use crate::federation::keys;
use std::collections::BTreeMap;
use tally_core::{Input, LinkId};
use tally_protocol::ids::{Division, LogId};

/// A parent that says to be busy is left alone no longer than this, in milliseconds.
const BUSY_MAX_MS: u64 = 300_000;

impl World {
    /// Both ends learn of it when they hear; what is on its way is lost.
    pub(super) fn break_link(&mut self, child: Division) {
        let Some(link) = self.links.remove(&child) else { return };
        self.sum.breaks += 1;
        self.downs.extend([(child, link.id), (link.parent, link.id)]);
    }

    pub(super) fn hear(&mut self, code: Division) {
        let (mine, others) = std::mem::take(&mut self.downs).into_iter().partition(|(node, _)| *node == code);
        self.downs = others;
        let mine: Vec<(Division, LinkId)> = mine;
        for (_, link) in mine {
            if self.nodes[&code].link == Some(link) {
                self.node(code).link = None;
                self.leave_alone(code);
            }
            self.put(code, Input::LinkDown { link });
        }
    }

    /// A parent that said to be busy is left alone for a while.
    fn leave_alone(&mut self, code: Division) {
        let now = self.clock(code);
        let until = self.nodes[&code].replica.as_ref().and_then(|r| r.view().parent().busy_until_ms).unwrap_or(0);
        let pause = until.saturating_sub(now).min(BUSY_MAX_MS);
        self.node(code).calls_after = self.now + pause;
    }

    /// A call as the transport makes it: it succeeds when each side's charter knows the other's key of today.
    pub(super) fn dial(&mut self, child: Division) {
        let node = &self.nodes[&child];
        let Some(replica) = node.replica.as_ref().filter(|_| node.link.is_none()) else { return };
        let Some(parent) = replica.view().charter().parent(child) else { return };
        let above = &self.nodes[&parent];
        if self.now < node.calls_after || self.cut.contains(&child) {
            return;
        }
        let Some(other) = above.replica.as_ref() else {
            let reason = "no answer".to_owned();
            return self.put(child, Input::DialFailed { reason, refused: false, linked: false });
        };
        let link_key = |log: LogId| keys(log).link.public().public();
        let peer = other.view().charter().by_link_key(&link_key(node.keys.node));
        let known = replica.view().charter().by_link_key(&link_key(above.keys.node)).is_some();
        let (Some(peer), true) = (peer, known) else {
            let reason = "the key is not admitted".to_owned();
            // It asks for the charter, as the transport does.
            let (theirs, mine) = (other.view().signed_charter(), replica.view().charter().version());
            let newer = theirs.charter().has_named(&link_key(node.keys.node)) && theirs.charter().version() > mine;
            let heard = newer.then(|| Input::CharterHeard { note: theirs.note().to_owned() });
            self.put(child, Input::DialFailed { reason, refused: true, linked: false });
            return heard.into_iter().for_each(|heard| self.put(child, heard));
        };
        let id = LinkId(self.name());
        self.break_link(child);
        self.links.insert(child, Link { id, parent, streams: BTreeMap::new(), closing: None });
        self.node(child).link = Some(id);
        self.put(parent, Input::ChildUp { link: id, peer });
        self.put(child, Input::ParentUp { link: id, parent });
    }

    fn by_name(&mut self, id: LinkId) -> Option<(Division, &mut Link)> {
        self.links.iter_mut().find(|(_, l)| l.id == id).map(|(child, link)| (*child, link))
    }

    pub(super) fn send(&mut self, from: Division, link: LinkId, log: Option<LogId>, what: What) {
        if let Some((child, link)) = self.by_name(link)
            && link.closing.is_none()
        {
            link.streams.entry((from == child, log)).or_default().push_back(what);
        }
    }

    /// One side closes: what it has said on the control stream still arrives, nothing else does.
    pub(super) fn close(&mut self, from: Division, link: LinkId) {
        if let Some((child, link)) = self.by_name(link) {
            let up = from == child;
            link.closing.get_or_insert(up);
            link.streams.retain(|stream, _| *stream == (up, None));
            if link.streams.values().all(|s| s.is_empty()) {
                self.break_link(child);
            }
        }
    }

    /// A last word that nobody took in time is lost.
    pub(super) fn end_goodbyes(&mut self) {
        let closing: Vec<_> = self.links.iter().filter(|(_, l)| l.closing.is_some()).map(|(c, _)| *c).collect();
        closing.into_iter().for_each(|child| self.break_link(child));
    }

    /// Messages arrive. A node whose disk is full reads no batches. A peer may say a thing twice.
    pub(super) fn deliver(&mut self, child: Division, stream: Stream, count: u8, twice: bool) {
        let Some(link) = self.links.get_mut(&child) else { return };
        let (id, parent) = (link.id, link.parent);
        let (sender, receiver) = if stream.0 { (child, parent) } else { (parent, child) };
        if stream.1.is_some() && self.nodes[&receiver].full {
            return;
        }
        let Some(queue) = link.streams.get_mut(&stream) else { return };
        let arriving: Vec<_> = queue.drain(..usize::from(count).min(queue.len())).collect();
        let drained = queue.is_empty() && link.closing.is_some();
        if queue.is_empty() {
            link.streams.remove(&stream);
        }
        let last = arriving.len().saturating_sub(1);
        arriving.iter().for_each(|what| self.hears(receiver, what));
        for (n, what) in arriving.into_iter().enumerate() {
            match what {
                What::Control(message) => {
                    if twice && n == last && may_repeat(&message) {
                        self.put(receiver, Input::Control { link: id, message: message.clone() });
                    }
                    self.put(receiver, Input::Control { link: id, message });
                }
                What::Batch(log, bytes) => {
                    if twice && n == last && stream.0 {
                        self.put(receiver, Input::Batch { link: id, log, bytes: bytes.clone() });
                    }
                    self.put(receiver, Input::Batch { link: id, log, bytes });
                    self.put(sender, Input::Pushed { link: id, log });
                }
            }
        }
        if drained {
            self.break_link(child);
        }
    }
}

/// What an honest node may say twice: it restarts a push, or repeats a receipt, a beat, a charter.
fn may_repeat(message: &tally_protocol::wire::Control) -> bool {
    use tally_protocol::wire::Control::{Charter, Conflict, Heartbeat, Receipt};
    matches!(message, Receipt { .. } | Heartbeat(_) | Charter { .. } | Conflict { .. })
}
