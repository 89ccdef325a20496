//! The charter's TOML text as it stands, before any check.

#![warn(clippy::indexing_slicing, clippy::arithmetic_side_effects)]

use super::{
    expected::Expected,
    node::{Cover, Level},
};
use crate::{
    calendar::CalendarDocument,
    catalog::CatalogDocument,
    route::rule::RouteRule,
    unit::{RegistryDocument, Unit},
};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use tally_protocol::{
    hash::Hash,
    ids::{Division, Federation, LogId},
    keys::{NodeKeys, VerifierKey},
};

/// Version of the document's format.
pub const FORMAT: u32 = 1;

/// The TOML text as it stands.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Document {
    pub(super) format: u32,
    pub(super) federation: Federation,
    pub(super) version: u64,
    pub(super) successor: String,
    #[serde(default)]
    pub(super) node: Vec<NodeEntry>,
    #[serde(default)]
    pub(super) catalog: Vec<CatalogDocument>,
    #[serde(default)]
    pub(super) registry: RegistryDocument,
    #[serde(default)]
    pub(super) unit: Vec<Unit>,
    #[serde(default)]
    pub(super) route: Vec<RouteRule>,
    #[serde(default)]
    pub(super) exceptions: Exceptions,
    pub(super) calendar: Option<CalendarDocument>,
}

/// `[exceptions]`: what is in order although a rule says otherwise.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Exceptions {
    /// Credit codes that really are in use with a wrong check digit.
    #[serde(default)]
    pub uscc: BTreeSet<String>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct NodeEntry {
    pub(super) division: Division,
    pub(super) name: String,
    pub(super) level: Level,
    pub(super) parent: Option<Division>,
    #[serde(default)]
    pub(super) addresses: Vec<String>,
    #[serde(default)]
    pub(super) covers: Vec<Cover>,
    #[serde(default)]
    pub(super) retired: bool,
    #[serde(default)]
    pub(super) expected: Expected,
    pub(super) epoch: Vec<EpochEntry>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct EpochEntry {
    pub(super) epoch: u32,
    pub(super) log: String,
    pub(super) operations: String,
    pub(super) returns: String,
    pub(super) mirror: String,
    pub(super) link: String,
    pub(super) last_size: Option<u64>,
    pub(super) last_root: Option<Hash>,
    #[serde(default)]
    pub(super) closed: Vec<ClosedLog>,
}

/// `closed = [{ log = "350102/e1/ops", size = 5, root = "..." }]`: where another log than the records log ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ClosedLog {
    pub(super) log: LogId,
    pub(super) size: u64,
    pub(super) root: Hash,
}

/// The first lines of a charter's text.
pub fn heading(federation: &Federation, version: u64, successor: &VerifierKey) -> String {
    format!("format = {FORMAT}\nfederation = \"{federation}\"\nversion = {version}\nsuccessor = \"{successor}\"\n")
}

/// The `[[node.epoch]]` part of a charter's text for these keys.
pub fn epoch_entry(keys: &NodeKeys) -> String {
    format!(
        "[[node.epoch]]\nepoch = {}\nlog = \"{}\"\noperations = \"{}\"\nreturns = \"{}\"\nmirror = \"{}\"\nlink = \"{}\"\n",
        keys.node.epoch,
        keys.log.public(),
        keys.operations.public(),
        keys.returns(),
        keys.mirror.public(),
        keys.link.public()
    )
}
