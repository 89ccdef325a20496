//! The charter's content: one TOML document that a person can write and read.
//!
//! A [`Charter`] is a checked one: its nodes are a tree, no key of a node is used twice, and it never changes. Who signed it, and
//! which charter may follow which, is not known here: that is `signed`.

#![warn(clippy::indexing_slicing, clippy::arithmetic_side_effects)]

mod build;
mod change_node;
mod document;
mod expected;
mod new_node;
mod next_epoch;
mod node;
mod replace_node;
mod retire;
#[cfg(test)]
pub(crate) mod tests;

pub use build::is_address;
pub use change_node::{CHANGE_REASON_BYTES_MAX, NodeChange, with_change};
pub use document::{Exceptions, FORMAT, epoch_entry, heading};
pub use expected::Expected;
pub use new_node::{NODE_NAME_BYTES_MAX, NewNode, with_node};
pub use next_epoch::{LogEnd, epoch_block, with_next_epoch};
pub use node::{Cover, Epoch, Level, Node};
pub use replace_node::{Replacement, with_replacement};
pub use retire::{RetireConcern, RowsOfNode, retire_concerns};

use crate::{calendar::Calendar, catalog::Catalogs, route::rule::RouteRule, unit::Units};
use jiff::civil::Date;
use std::{collections::BTreeMap, sync::Arc};
use tally_protocol::{
    hash::Hash,
    ids::{Division, Federation, LogId, LogKind},
    keys::VerifierKey,
};

/// Most nodes in a charter: the province has about 100, the nation 2,846 counties.
pub const NODES_MAX: usize = 4_096;
/// Most epochs of one node.
pub const EPOCHS_MAX: usize = 64;

/// A checked charter.
#[derive(Debug, Clone)]
pub struct Charter {
    federation: Federation,
    version: u64,
    successor: VerifierKey,
    nodes: BTreeMap<Division, Node>,
    /// Covers of a division, those that end first before those that end later or not at all.
    covered: BTreeMap<Division, Vec<(Date, Division)>>,
    by_parent: BTreeMap<Division, Vec<Division>>,
    by_link: BTreeMap<[u8; 32], LogId>,
    top: Option<Division>,
    catalogs: Catalogs,
    units: Arc<Units>,
    routes: Arc<[RouteRule]>,
    exceptions: Arc<Exceptions>,
    calendar: Calendar,
    rules: [u8; 8],
}

/// What is wrong with a charter's text. Every message names the place and what to do.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("charter: {0}")]
pub struct CharterError(pub String);

fn wrong<T>(what: String) -> Result<T, CharterError> {
    Err(CharterError(what))
}

impl Charter {
    /// The federation's name.
    pub fn federation(&self) -> &Federation {
        &self.federation
    }

    /// Mark of all that records are judged by: the tree, routes, units, catalogs, calendar. Keys, addresses and when a node is
    /// expected are no part of it, so two charters with one mark judge every record alike.
    pub fn rules_mark(&self) -> [u8; 8] {
        self.rules
    }

    /// Counts up with every change.
    pub fn version(&self) -> u64 {
        self.version
    }

    /// The key that may sign charters after the one that signed this charter.
    pub fn successor(&self) -> &VerifierKey {
        &self.successor
    }

    /// All nodes by division.
    pub fn nodes(&self) -> impl Iterator<Item = &Node> {
        self.nodes.values()
    }

    /// The node of a division.
    pub fn node(&self, division: Division) -> Option<&Node> {
        self.nodes.get(&division)
    }

    /// The node without a parent.
    pub fn top(&self) -> Option<Division> {
        self.top
    }

    /// Versions of the resource catalog.
    pub fn catalogs(&self) -> &Catalogs {
        &self.catalogs
    }

    /// The registry of units.
    pub fn units(&self) -> &Units {
        &self.units
    }

    /// Rules of the collection paths, in order.
    pub fn routes(&self) -> &[RouteRule] {
        &self.routes
    }

    /// What is in order although a rule says otherwise.
    pub fn exceptions(&self) -> &Exceptions {
        &self.exceptions
    }

    /// Whether it is in order that a node is silent at `now_s`, POSIX seconds: it is not expected to be linked then, and
    /// `silent_s`, for how long nothing has come from it, is not too long.
    pub fn excuses_silence(&self, division: Division, now_s: u64, silent_s: Option<u64>) -> bool {
        self.node(division).is_some_and(|n| n.expected.excuses(&self.calendar, now_s, silent_s))
    }

    /// The working-day calendar.
    pub fn calendar(&self) -> &Calendar {
        &self.calendar
    }

    /// Where a node reports to.
    pub fn parent(&self, division: Division) -> Option<Division> {
        self.node(division)?.parent
    }

    /// Nodes that report to `division`, in order.
    pub fn children(&self, division: Division) -> impl Iterator<Item = &Node> {
        let children = self.by_parent.get(&division).map_or(&[][..], Vec::as_slice);
        children.iter().filter_map(|d| self.nodes.get(d))
    }

    /// The node at which records of `division` enter: its own, or the one that covers it, or did so last.
    pub fn entry_node(&self, division: Division) -> Option<Division> {
        self.entry_node_on(division, Date::MAX).or_else(|| Some(self.covered.get(&division)?.last()?.1))
    }

    /// The node at which records of `division` enter that were produced on `day`. Of several covers the one that ends
    /// first after that day counts; after the last of them the division's own node does.
    pub fn entry_node_on(&self, division: Division, day: Date) -> Option<Division> {
        let covers = self.covered.get(&division).map_or(&[][..], Vec::as_slice);
        let cover = covers.iter().find(|(until, _)| day <= *until).map(|(_, node)| *node);
        cover.or_else(|| self.nodes.contains_key(&division).then_some(division))
    }

    /// Whether node `below` is `top` or reports to it, directly or through others.
    pub fn is_within(&self, below: Division, top: Division) -> bool {
        let mut at = Some(below);
        while let Some(d) = at {
            if d == top {
                return self.nodes.contains_key(&top);
            }
            at = self.parent(d);
        }
        false
    }

    /// The child of `top` through which node `below` reports (`below` itself if it is that child).
    pub fn branch(&self, below: Division, top: Division) -> Option<Division> {
        let mut at = below;
        loop {
            let parent = self.parent(at)?;
            if parent == top {
                return Some(at);
            }
            at = parent;
        }
    }

    /// The log that a node writes now.
    pub fn current_log(&self, division: Division) -> Option<LogId> {
        let epoch = self.node(division)?.epochs.len() as u32;
        Some(LogId::records(division, epoch))
    }

    /// The key that signs a log's checkpoints, under the log's origin. A return log has one if its addressee is a node of
    /// this charter.
    pub fn log_key(&self, log: LogId) -> Option<VerifierKey> {
        let epoch = self.epoch(log)?;
        match log.kind() {
            LogKind::Records => Some(epoch.log.clone()),
            LogKind::Operations => Some(epoch.operations.clone()),
            LogKind::Return(addressee) => {
                self.node(addressee)?;
                Some(epoch.returns.under(self.federation.origin(log)))
            }
        }
    }

    /// Where a log was closed: size and root, beyond which nothing is admitted.
    pub fn closed_at(&self, log: LogId) -> Option<(u64, Hash)> {
        let epoch = self.epoch(log)?;
        if log.kind() == LogKind::Records { epoch.last } else { epoch.closed.get(&log).copied() }
    }

    /// Keys of the epoch that a log is of, whatever its kind.
    pub fn epoch(&self, log: LogId) -> Option<&Epoch> {
        self.node(log.division)?.epochs.get((log.epoch as usize).checked_sub(1)?)
    }

    /// Who has this link key now. Keys of earlier epochs and of retired nodes open no link.
    pub fn by_link_key(&self, key: &[u8; 32]) -> Option<LogId> {
        let log = *self.by_link.get(key)?;
        let current = self.current_log(log.division) == Some(log);
        (current && !self.node(log.division)?.retired).then_some(log)
    }

    /// Whether this is or was a node's link key, in whatever epoch, in service or not.
    pub fn has_named(&self, link_key: &[u8; 32]) -> bool {
        self.by_link.contains_key(link_key)
    }
}
