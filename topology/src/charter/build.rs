//! How a charter is made of its text: every key is that of its node and epoch, and the nodes are a tree.

#![warn(clippy::indexing_slicing, clippy::arithmetic_side_effects)]

use super::{
    Charter, CharterError, EPOCHS_MAX, NODES_MAX,
    document::{Document, EpochEntry, FORMAT, NodeEntry},
    node::{Cover, Epoch, Node},
    wrong,
};
use crate::{calendar::Calendar, catalog::Catalogs, route::rule, toml_fault::TomlFault, unit::Units};
use jiff::civil::Date;
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};
use tally_protocol::{
    ids::{LogId, LogKind},
    keys::{Algorithm, VerifierKey},
};

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
        let document: Document =
            toml::from_str(text).map_err(|e| CharterError(TomlFault::new(text, &e).to_string()))?;
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
            rules: rules_mark(text)?,
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
        rule::check(&charter.routes, &charter.catalogs, |d| charter.entry_node(d).is_some()).map_err(CharterError)?;
        Ok(charter)
    }

    fn node_of(&mut self, entry: NodeEntry, public: &mut BTreeSet<[u8; 32]>) -> Result<Node, CharterError> {
        let d = entry.division;
        if entry.epoch.is_empty() || entry.epoch.len() > EPOCHS_MAX {
            return wrong(format!("node {d}: {} epochs; 1 to {EPOCHS_MAX} are needed", entry.epoch.len()));
        }
        if let Some(bad) = entry.addresses.iter().find(|a| !is_address(a)) {
            return wrong(format!(
                "node {d}: address {bad:?} is not host:port, such as 10.20.0.5:7443, or [2001:db8::5]:7443 for IPv6"
            ));
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
            expected: entry.expected,
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
}

/// See [`Charter::rules_mark`].
fn rules_mark(text: &str) -> Result<[u8; 8], CharterError> {
    let mut table: toml::Table =
        toml::from_str(text).map_err(|e| CharterError(TomlFault::new(text, &e).to_string()))?;
    for name in ["format", "version", "successor"] {
        table.remove(name);
    }
    for node in table.get_mut("node").and_then(toml::Value::as_array_mut).into_iter().flatten() {
        if let Some(node) = node.as_table_mut() {
            node.remove("epoch");
            node.remove("addresses");
            node.remove("expected");
        }
    }
    Ok(crate::content::unit_mark(&format!("{table:?}")))
}

/// Whether a text is `host:port` with a port above 0. An IPv6 address stands in brackets, or its last part would be taken for the
/// port.
pub fn is_address(text: &str) -> bool {
    let Some((host, port)) = text.rsplit_once(':') else { return false };
    let literal = host.strip_prefix('[').and_then(|h| h.strip_suffix(']'));
    let host_fits = match literal {
        Some(v6) => v6.contains(':') && v6.chars().all(|c| c.is_ascii_hexdigit() || ":.".contains(c)),
        None => !host.is_empty() && !host.contains(|c: char| c.is_whitespace() || c.is_control() || "[]:/".contains(c)),
    };
    host_fits && port.bytes().all(|b| b.is_ascii_digit()) && port.parse::<u16>().is_ok_and(|p| p > 0)
}
