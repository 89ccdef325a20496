//! The charter's content: one TOML document that a person can write and read.

#![warn(clippy::indexing_slicing, clippy::arithmetic_side_effects)]

use crate::{
    calendar::{Calendar, CalendarDocument},
    catalog::{CatalogDocument, Catalogs},
    route::{self, RouteRule},
    unit::{RegistryDocument, Unit, Units},
};
use jiff::civil::Date;
use serde::{Deserialize, Serialize};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};
use tally_protocol::{
    hash::Hash,
    ids::{Division, Federation, LogId, LogKind},
    keys::{Algorithm, NodeKeys, VerifierKey},
};

/// Version of the document's format.
pub const FORMAT: u32 = 1;
/// Most nodes in a charter: the province has about 100, the nation 2,846 counties.
pub const NODES_MAX: usize = 4_096;
/// Most epochs of one node.
pub const EPOCHS_MAX: usize = 64;

/// Level of a node. A parent's level is above its child's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Level {
    /// 国家级
    National,
    /// 省级
    Province,
    /// 设区市级
    Prefecture,
    /// 县（市、区）级
    County,
}

impl Level {
    /// As in JSON and TOML.
    pub fn name(self) -> &'static str {
        match self {
            Self::National => "national",
            Self::Province => "province",
            Self::Prefecture => "prefecture",
            Self::County => "county",
        }
    }
}

/// The TOML text as it stands.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct Document {
    format: u32,
    federation: Federation,
    version: u64,
    successor: String,
    #[serde(default)]
    node: Vec<NodeEntry>,
    #[serde(default)]
    catalog: Vec<CatalogDocument>,
    #[serde(default)]
    registry: RegistryDocument,
    #[serde(default)]
    unit: Vec<Unit>,
    #[serde(default)]
    route: Vec<RouteRule>,
    #[serde(default)]
    exceptions: Exceptions,
    calendar: Option<CalendarDocument>,
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
struct NodeEntry {
    division: Division,
    name: String,
    level: Level,
    parent: Option<Division>,
    #[serde(default)]
    addresses: Vec<String>,
    #[serde(default)]
    covers: Vec<Cover>,
    #[serde(default)]
    retired: bool,
    epoch: Vec<EpochEntry>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct EpochEntry {
    epoch: u32,
    log: String,
    operations: String,
    returns: String,
    mirror: String,
    link: String,
    last_size: Option<u64>,
    last_root: Option<Hash>,
    #[serde(default)]
    closed: Vec<ClosedLog>,
}

/// `closed = [{ log = "350102/e1/ops", size = 5, root = "..." }]`: where another log than the records log ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct ClosedLog {
    log: LogId,
    size: u64,
    root: Hash,
}

/// A division without a node of its own whose records enter at the node that covers it. In the text: `350199`, or
/// `350199 until 2026-06-30` for one that has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct Cover {
    /// The division.
    pub division: Division,
    /// The last day, inclusive, by the day on which a record was produced.
    pub until: Option<Date>,
}

impl TryFrom<String> for Cover {
    type Error = String;
    fn try_from(text: String) -> Result<Self, String> {
        let (division, until) = match text.split_once(" until ") {
            None => (text.as_str(), None),
            Some((division, day)) => (division, Some(day)),
        };
        let day = |d: &str| d.parse().map_err(|_| format!("covers: until {d:?} is not a day such as 2026-01-31"));
        let division = division.parse().map_err(|e| format!("covers: {e}"))?;
        Ok(Self { division, until: until.map(day).transpose()? })
    }
}

impl std::fmt::Display for Cover {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.until {
            None => write!(f, "{}", self.division),
            Some(day) => write!(f, "{} until {day}", self.division),
        }
    }
}

/// A node of the federation.
#[derive(Debug, Clone)]
pub struct Node {
    /// Its division; also its name on the wire.
    pub division: Division,
    /// For people.
    pub name: String,
    /// Its level.
    pub level: Level,
    /// Where it reports to. Only the top has none.
    pub parent: Option<Division>,
    /// `host:port` on which it listens for its children (UDP).
    pub addresses: Vec<String>,
    /// Divisions without a node of their own, whose records enter here.
    pub covers: Vec<Cover>,
    /// Out of service: its logs stay, no link is admitted.
    pub retired: bool,
    /// Epochs from 1 on; the last is current.
    pub epochs: Vec<Epoch>,
}

/// The keys of one epoch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Epoch {
    /// Signs the checkpoints of the records log.
    pub log: VerifierKey,
    /// Signs the checkpoints of the operations log.
    pub operations: VerifierKey,
    /// Signs the checkpoints of all return logs, of each under its own origin: see [`Charter::log_key`].
    pub returns: VerifierKey,
    /// Signs receipts.
    pub mirror: VerifierKey,
    /// Identifies the node on links.
    pub link: VerifierKey,
    /// Set when the epoch is closed: nothing of its records log beyond this checkpoint is admitted.
    pub last: Option<(u64, Hash)>,
    /// The same for its other logs. One that is not named here is not closed: it may still be fetched to its end.
    closed: BTreeMap<LogId, (u64, Hash)>,
}

impl Epoch {
    /// Whether another epoch has the same keys.
    pub(crate) fn same_keys(&self, other: &Self) -> bool {
        let keys = |e: &Self| [&e.log, &e.operations, &e.returns, &e.mirror, &e.link].map(ToString::to_string);
        keys(self) == keys(other)
    }

    /// The first log that is closed here and not at the same checkpoint there.
    pub(crate) fn reopened(&self, there: &Self) -> Option<LogId> {
        self.closed.iter().find(|(log, last)| there.closed.get(log) != Some(last)).map(|(log, _)| *log)
    }
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
}

/// What is wrong with a charter's text. Every message names the place and what to do.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("charter: {0}")]
pub struct CharterError(pub String);

fn wrong<T>(what: String) -> Result<T, CharterError> {
    Err(CharterError(what))
}

impl Charter {
    /// Reads and checks a document.
    ///
    /// ```
    /// use tally_protocol::{ids::{Federation, LogId}, keys::{NodeKeys, authority_signer}};
    /// use tally_topology::charter::{Charter, epoch_entry, heading};
    ///
    /// let federation = Federation::try_from("t.example".to_owned())?;
    /// let log: LogId = "350102/e1".parse()?;
    /// let keys = NodeKeys::derive(&federation, log, &[7; 32]);
    /// let successor = authority_signer(&federation, &[2; 32]);
    /// let text = format!(
    ///     "{}[[node]]\ndivision = \"350102\"\nname = \"N\"\nlevel = \"county\"\n{}",
    ///     heading(&federation, 1, successor.public()),
    ///     epoch_entry(&keys),
    /// );
    /// let charter = Charter::parse(&text)?;
    /// assert_eq!((charter.version(), charter.top()), (1, Some(log.division)));
    /// assert_eq!(charter.log_key(log).as_ref(), Some(keys.log.public()));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// [`CharterError`]: TOML syntax with its line, unknown names, keys that are not those of their node and epoch,
    /// a tree that is none.
    pub fn parse(text: &str) -> Result<Self, CharterError> {
        let document: Document = toml::from_str(text).map_err(|e| CharterError(e.to_string()))?;
        if !(1..=FORMAT).contains(&document.format) {
            return wrong(format!("format {} is not known here ({FORMAT} is): update this program", document.format));
        }
        if document.node.is_empty() || document.node.len() > NODES_MAX {
            return wrong(format!("{} nodes; 1 to {NODES_MAX} are needed", document.node.len()));
        }
        let catalogs = match document.catalog.is_empty() {
            true => Catalogs::shipped(),
            false => Catalogs::compile(document.catalog),
        };
        let catalogs = catalogs.map_err(CharterError)?;
        let calendar = match &document.calendar {
            None => Calendar::shipped(),
            Some(own) => Calendar::new(own),
        };
        let calendar = calendar.map_err(CharterError)?;
        let successor: VerifierKey = match document.successor.parse() {
            Ok(key) => key,
            Err(why) => return wrong(format!("successor: {why}")),
        };
        let name = document.federation.authority_name();
        if successor.name() != name || successor.algorithm() != Algorithm::Ed25519 {
            return wrong(format!("successor: {:?} stands where a key {name:?} should", successor.name()));
        }
        let units = Units::new(&document.registry, document.unit, &catalogs).map_err(CharterError)?;
        let mut charter = Self {
            federation: document.federation,
            version: document.version,
            successor,
            nodes: BTreeMap::new(),
            covered: BTreeMap::new(),
            by_parent: BTreeMap::new(),
            by_link: BTreeMap::new(),
            top: None,
            catalogs,
            units: Arc::new(units),
            routes: document.route.into(),
            exceptions: Arc::new(document.exceptions),
            calendar,
        };
        let mut public = BTreeSet::new();
        for entry in document.node {
            let node = charter.node_of(entry, &mut public)?;
            let division = node.division;
            if charter.nodes.insert(division, node).is_some() {
                return wrong(format!("node {division} stands there twice"));
            }
        }
        charter.check_tree()?;
        route::check(&charter.routes, &charter).map_err(CharterError)?;
        Ok(charter)
    }

    fn node_of(&mut self, entry: NodeEntry, public: &mut BTreeSet<[u8; 32]>) -> Result<Node, CharterError> {
        let d = entry.division;
        if entry.epoch.is_empty() || entry.epoch.len() > EPOCHS_MAX {
            return wrong(format!("node {d}: {} epochs; 1 to {EPOCHS_MAX} are needed", entry.epoch.len()));
        }
        if let Some(bad) = entry.addresses.iter().find(|a| !is_address(a)) {
            return wrong(format!("node {d}: address {bad:?} is not host:port, such as 10.20.0.5:7443"));
        }
        let (count, mut epochs) = (entry.epoch.len(), Vec::new());
        for (number, e) in (1_u32..).zip(entry.epoch) {
            if e.epoch != number {
                return wrong(format!("node {d}: epoch {} stands where {number} should: they count from 1", e.epoch));
            }
            let log = LogId::records(d, number);
            if e.last_size.is_none() && !e.closed.is_empty() {
                return wrong(format!("{log}: other logs are closed and the records log is not: last_size is needed"));
            }
            let epoch = self.epoch_of(log, &e)?;
            if epoch.last.is_none() && (number as usize) < count {
                return wrong(format!("{log}: a later epoch follows, so last_size and last_root are needed"));
            }
            for key in [&epoch.log, &epoch.operations, &epoch.returns, &epoch.mirror, &epoch.link] {
                if !public.insert(key.public()) {
                    return wrong(format!("{log}: the key of {} is used twice", key.name()));
                }
            }
            self.by_link.insert(epoch.link.public(), log);
            epochs.push(epoch);
        }
        Ok(Node {
            division: d,
            name: entry.name,
            level: entry.level,
            parent: entry.parent,
            addresses: entry.addresses,
            covers: entry.covers,
            retired: entry.retired,
            epochs,
        })
    }

    fn epoch_of(&self, log: LogId, e: &EpochEntry) -> Result<Epoch, CharterError> {
        let key = |text: &str, name: String, algorithm: Algorithm| {
            let key: VerifierKey = text.parse().map_err(|why| CharterError(format!("{log}: {name}: {why}")))?;
            if key.name() != name || key.algorithm() != algorithm {
                return wrong(format!("{log}: {:?} stands where the key {name:?} should", key.name()));
            }
            Ok(key)
        };
        let last = match (e.last_size, e.last_root) {
            (None, None) => None,
            (Some(size), Some(root)) => Some((size, root)),
            _ => return wrong(format!("{log}: last_size and last_root go together")),
        };
        let mut closed = BTreeMap::new();
        for c in &e.closed {
            if c.log.node() != log || c.log.kind() == LogKind::Records {
                return wrong(format!("{log}: closed: {} is not another log of this epoch", c.log));
            }
            if closed.insert(c.log, (c.size, c.root)).is_some() {
                return wrong(format!("{log}: closed: {} stands there twice", c.log));
            }
        }
        let operations = LogId::operations(log.division, log.epoch);
        Ok(Epoch {
            log: key(&e.log, self.federation.origin(log), Algorithm::Ed25519)?,
            operations: key(&e.operations, self.federation.origin(operations), Algorithm::Ed25519)?,
            returns: key(&e.returns, self.federation.returns_name(log), Algorithm::Ed25519)?,
            mirror: key(&e.mirror, self.federation.mirror_name(log), Algorithm::CosignatureV1)?,
            link: key(&e.link, self.federation.link_name(log), Algorithm::Ed25519)?,
            last,
            closed,
        })
    }

    fn check_tree(&mut self) -> Result<(), CharterError> {
        let tops: Vec<_> = self.nodes.values().filter(|n| n.parent.is_none()).map(|n| n.division).collect();
        if tops.len() != 1 {
            return wrong(format!("exactly one node has no parent; here it is {tops:?}"));
        }
        self.top = tops.first().copied();
        for node in self.nodes.values() {
            let d = node.division;
            let Some(parent) = node.parent else { continue };
            let Some(above) = self.nodes.get(&parent) else {
                return wrong(format!("node {d}: its parent {parent} is not a node of this charter"));
            };
            // Levels fall strictly from parent to child, so there is no circle either.
            if above.level >= node.level {
                let (l, p) = (node.level.name(), above.level.name());
                return wrong(format!("node {d} ({l}) cannot report to {parent} ({p}): a parent's level is above"));
            }
            if above.addresses.is_empty() {
                return wrong(format!("node {parent} has children, so it needs an address"));
            }
            self.by_parent.entry(parent).or_default().push(d);
        }
        for node in self.nodes.values() {
            for Cover { division: c, until } in &node.covers {
                if until.is_none() && self.nodes.contains_key(c) {
                    return wrong(format!("node {} covers {c}, which has a node of its own", node.division));
                }
                let until = until.unwrap_or(Date::MAX);
                let covers = self.covered.entry(*c).or_default();
                if let Some((_, other)) = covers.iter().find(|(u, d)| *u == until || *d == node.division) {
                    return wrong(format!("{c} is covered by both {other} and {}", node.division));
                }
                covers.push((until, node.division));
                covers.sort();
            }
        }
        Ok(())
    }

    /// The federation's name.
    pub fn federation(&self) -> &Federation {
        &self.federation
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
}

/// `host:port` with a port above 0.
fn is_address(text: &str) -> bool {
    text.rsplit_once(':').is_some_and(|(host, port)| !host.is_empty() && port.parse::<u16>().is_ok_and(|p| p > 0))
}

#[cfg(test)]
pub(crate) mod tests;
