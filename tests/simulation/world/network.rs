//! Links between nodes: dialled, slow, in order for each stream, and broken.

use super::{Event, Link, What, World};
use std::collections::BTreeMap;
use tally_core::{Input, LinkId};
use tally_protocol::ids::{Division, LogId};

impl World {
    /// Both ends learn of it at times of their own; what is on its way is lost.
    pub(super) fn break_link(&mut self, name: u64) {
        let Some(link) = self.links.remove(&name) else { return };
        for node in [link.child, link.parent] {
            let wait = self.rng.below(3_000);
            self.at(wait, Event::Down { node, link: name });
        }
    }

    pub(super) fn dial(&mut self, code: Division) {
        if self.nodes[&code].replica.is_none() {
            return;
        }
        let wait = 300 + self.rng.below(2_000);
        self.at(wait, Event::Dial(code));
        let Some(parent) = self.charter().parent(code) else { return };
        let up = self.nodes[&parent].replica.is_some() && !self.cut.contains(&(code, parent));
        if self.nodes[&code].link_to_parent.is_some() || !up {
            return;
        }
        self.names += 1;
        let name = self.names;
        self.links.insert(name, Link { child: code, parent, streams: BTreeMap::new() });
        self.nodes.get_mut(&code).unwrap().link_to_parent = Some(name);
        let peer = self.nodes[&code].keys.node;
        self.input(parent, Input::ChildUp { link: LinkId(name), peer });
        self.input(code, Input::ParentUp { link: LinkId(name), parent });
    }

    pub(super) fn arrive(&mut self, name: u64, up: bool, what: What) {
        let Some(link) = self.links.get(&name) else { return };
        let to = if up { link.parent } else { link.child };
        let link = LinkId(name);
        match what {
            What::Control(message) => self.input(to, Input::Control { link, message }),
            What::Batch(log, bytes) => {
                self.input(to, Input::Batch { link, log, bytes });
                let wait = self.rng.below(50);
                self.at(wait, Event::Taken { link: name, up, log });
            }
        }
    }

    pub(super) fn send(&mut self, from: Division, name: u64, stream: Option<LogId>, what: What) {
        let now = self.now;
        let wait = 1 + self.rng.below(if self.rng.clone().one_in(10) { 1_500 } else { 60 });
        let Some(link) = self.links.get_mut(&name) else { return };
        let up = link.child == from;
        let last = link.streams.entry((up, stream)).or_insert(0);
        *last = (*last).max(now + wait);
        let delay = *last - now;
        self.at(delay, Event::Arrive { link: name, up, what });
    }
}
