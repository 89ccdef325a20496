//! The charter's content: one TOML document that a person can write and read.

use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use tally_protocol::{
    hash::Hash,
    ids::{Division, Federation, LogId},
    keys::{Algorithm, VerifierKey},
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
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Document {
    format: u32,
    federation: Federation,
    version: u64,
    #[serde(default)]
    node: Vec<NodeEntry>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct NodeEntry {
    division: Division,
    name: String,
    level: Level,
    parent: Option<Division>,
    #[serde(default)]
    addresses: Vec<String>,
    #[serde(default)]
    covers: Vec<Division>,
    #[serde(default)]
    retired: bool,
    epoch: Vec<EpochEntry>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct EpochEntry {
    epoch: u32,
    log: String,
    mirror: String,
    link: String,
    last_size: Option<u64>,
    last_root: Option<Hash>,
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
    pub covers: Vec<Division>,
    /// Out of service: its logs stay, no link is admitted.
    pub retired: bool,
    /// Epochs from 1 on; the last is current.
    pub epochs: Vec<Epoch>,
}

/// The keys of one epoch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Epoch {
    /// Signs the log's checkpoints.
    pub log: VerifierKey,
    /// Signs receipts.
    pub mirror: VerifierKey,
    /// Identifies the node on links.
    pub link: VerifierKey,
    /// Set when the epoch is closed: nothing beyond this checkpoint is admitted.
    pub last: Option<(u64, Hash)>,
}

/// A checked charter.
#[derive(Debug, Clone)]
pub struct Charter {
    federation: Federation,
    version: u64,
    nodes: BTreeMap<Division, Node>,
    covered: BTreeMap<Division, Division>,
    by_parent: BTreeMap<Division, Vec<Division>>,
    by_link: BTreeMap<[u8; 32], LogId>,
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
    /// # Errors
    /// [`CharterError`]: TOML syntax with its line, unknown names, keys that are not those of their node and epoch,
    /// a tree that is none.
    pub fn parse(text: &str) -> Result<Self, CharterError> {
        let document: Document = toml::from_str(text).map_err(|e| CharterError(e.to_string()))?;
        if document.format != FORMAT {
            return wrong(format!("format {} is not known here ({FORMAT} is): update this program", document.format));
        }
        if document.node.is_empty() || document.node.len() > NODES_MAX {
            return wrong(format!("{} nodes; 1 to {NODES_MAX} are needed", document.node.len()));
        }
        let mut charter = Self {
            federation: document.federation,
            version: document.version,
            nodes: BTreeMap::new(),
            covered: BTreeMap::new(),
            by_parent: BTreeMap::new(),
            by_link: BTreeMap::new(),
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
        for (i, e) in entry.epoch.into_iter().enumerate() {
            let number = i as u32 + 1;
            if e.epoch != number {
                return wrong(format!("node {d}: epoch {} stands where {number} should: they count from 1", e.epoch));
            }
            let log = LogId { division: d, epoch: number };
            let epoch = self.epoch_of(log, &e)?;
            if epoch.last.is_none() && i + 1 < count {
                return wrong(format!("{log}: a later epoch follows, so last_size and last_root are needed"));
            }
            for key in [&epoch.log, &epoch.mirror, &epoch.link] {
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
        Ok(Epoch {
            log: key(&e.log, self.federation.origin(log), Algorithm::Ed25519)?,
            mirror: key(&e.mirror, self.federation.mirror_name(log), Algorithm::CosignatureV1)?,
            link: key(&e.link, self.federation.link_name(log), Algorithm::Ed25519)?,
            last,
        })
    }

    fn check_tree(&mut self) -> Result<(), CharterError> {
        let tops: Vec<_> = self.nodes.values().filter(|n| n.parent.is_none()).map(|n| n.division).collect();
        if tops.len() != 1 {
            return wrong(format!("exactly one node has no parent; here it is {tops:?}"));
        }
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
            for c in &node.covers {
                if self.nodes.contains_key(c) {
                    return wrong(format!("node {} covers {c}, which has a node of its own", node.division));
                }
                if let Some(other) = self.covered.insert(*c, node.division) {
                    return wrong(format!("{c} is covered by both {other} and {}", node.division));
                }
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

    /// All nodes by division.
    pub fn nodes(&self) -> impl Iterator<Item = &Node> {
        self.nodes.values()
    }

    /// The node of a division.
    pub fn node(&self, division: Division) -> Option<&Node> {
        self.nodes.get(&division)
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

    /// The node at which records of `division` enter: its own, or the one that covers it.
    pub fn entry_node(&self, division: Division) -> Option<Division> {
        if self.nodes.contains_key(&division) { Some(division) } else { self.covered.get(&division).copied() }
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
        Some(LogId { division, epoch })
    }

    /// Keys of an epoch.
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
pub(crate) mod tests {
    use super::*;
    use tally_protocol::keys::NodeKeys;

    pub(crate) fn federation() -> Federation {
        Federation::try_from("t.example".to_owned()).unwrap()
    }

    pub(crate) fn keys(log: &str) -> NodeKeys {
        let log: LogId = log.parse().unwrap();
        let mut secret = [log.epoch as u8; 32];
        secret[..4].copy_from_slice(&log.division.code().to_le_bytes());
        NodeKeys::derive(&federation(), log, &secret)
    }

    pub(crate) fn epoch(log: &str, more: &str) -> String {
        let k = keys(log);
        let n = k.node.epoch;
        let (log, mirror, link) = (k.log.public(), k.mirror.public(), k.link.public());
        format!("[[node.epoch]]\nepoch = {n}\nlog = \"{log}\"\nmirror = \"{mirror}\"\nlink = \"{link}\"\n{more}\n")
    }

    pub(crate) fn node(division: &str, level: &str, parent: &str, more: &str) -> String {
        let parent = if parent.is_empty() { String::new() } else { format!("parent = \"{parent}\"\n") };
        format!(
            "[[node]]\ndivision = \"{division}\"\nname = \"{division}\"\nlevel = \"{level}\"\n{parent}\
             addresses = [\"10.0.0.1:7443\"]\n{more}\n{}",
            epoch(&format!("{division}/e1"), "")
        )
    }

    pub(crate) fn document(version: u64, nodes: &[String]) -> String {
        format!("format = 1\nfederation = \"t.example\"\nversion = {version}\n\n{}", nodes.concat())
    }

    pub(crate) fn sample() -> Vec<String> {
        vec![
            node("350000", "province", "", ""),
            node("350100", "prefecture", "350000", "covers = [\"350199\"]"),
            node("350102", "county", "350100", ""),
            node("350128", "county", "350000", ""),
        ]
    }

    fn d(code: u32) -> Division {
        Division::try_from(code).unwrap()
    }

    #[test]
    fn parents_come_from_the_charter_not_from_digits() {
        let c = Charter::parse(&document(1, &sample())).unwrap();
        assert_eq!(c.parent(d(350_128)), Some(d(350_000)));
        assert!(!c.is_within(d(350_128), d(350_100)));
        assert!(c.is_within(d(350_102), d(350_000)) && c.is_within(d(350_102), d(350_102)));
        assert_eq!(c.branch(d(350_102), d(350_000)), Some(d(350_100)));
        assert_eq!(c.branch(d(350_000), d(350_000)), None);
        assert_eq!(c.children(d(350_000)).map(|n| n.division).collect::<Vec<_>>(), [d(350_100), d(350_128)]);
        assert_eq!(c.entry_node(d(350_199)), Some(d(350_100)));
        assert_eq!(c.entry_node(d(110_101)), None);
        let link = keys("350102/e1").link.public().public();
        assert_eq!(c.by_link_key(&link), Some("350102/e1".parse().unwrap()));
    }

    #[test]
    fn a_national_level_may_stand_above() {
        let mut nodes = vec![node("100000", "national", "", "")];
        nodes.extend(
            sample()
                .into_iter()
                .map(|n| n.replace("level = \"province\"\n", "level = \"province\"\nparent = \"100000\"\n")),
        );
        let c = Charter::parse(&document(1, &nodes)).unwrap();
        assert!(c.is_within(d(350_102), d(100_000)));
    }

    #[test]
    fn what_is_wrong_is_named() {
        let cases: Vec<(Vec<String>, &str)> = vec![
            (vec![], "0 nodes"),
            (vec![sample().remove(1)], "exactly one node has no parent"),
            ([sample(), vec![node("350102", "county", "350100", "")]].concat(), "used twice"),
            ([sample(), vec![node("350103", "county", "350900", "")]].concat(), "350900 is not a node"),
            ([sample(), vec![node("350103", "county", "350102", "")]].concat(), "cannot report to 350102"),
            ([sample(), vec![node("350103", "county", "350100", "covers = [\"350102\"]")]].concat(), "node of its own"),
            ([sample(), vec![node("350103", "county", "350100", "covers = [\"350199\"]")]].concat(), "covered by both"),
            ([sample(), vec![node("350103", "county", "350100", "colour = 1")]].concat(), "unknown field `colour`"),
            ([sample(), vec![node("350103", "region", "350100", "")]].concat(), "unknown variant `region`"),
            ([sample(), vec![node("350103", "county", "350100", "").replace("0.1:7443", "0.1")]].concat(), "host:port"),
            (
                [sample(), vec![node("350103", "county", "350100", "").replace("350103/e1", "350104/e1")]].concat(),
                "key id does not match",
            ),
            (
                [sample(), vec![node("350103", "county", "350100", "") + &epoch("350103/e2", "")]].concat(),
                "last_size and last_root are needed",
            ),
            (
                [sample(), vec![node("350103", "county", "350100", "").replace("epoch = 1", "epoch = 3")]].concat(),
                "epoch 3 stands where 1 should",
            ),
        ];
        for (nodes, expected) in cases {
            let why = Charter::parse(&document(1, &nodes)).unwrap_err().to_string();
            assert!(why.contains(expected), "{expected:?} in {why}");
        }
        let text = document(1, &sample()).replace("format = 1", "format = 2");
        assert!(Charter::parse(&text).unwrap_err().to_string().contains("format 2"));
    }

    #[test]
    fn old_and_retired_keys_open_no_link() {
        let closed = format!("last_size = 0\nlast_root = \"{}\"", Hash([0; 32]));
        let second = node("350102", "county", "350100", "").trim_end().to_owned() + "\n" + &closed + "\n";
        let nodes = [sample()[..2].to_vec(), vec![second + &epoch("350102/e2", "")]].concat();
        let c = Charter::parse(&document(2, &nodes)).unwrap();
        assert_eq!(c.by_link_key(&keys("350102/e1").link.public().public()), None);
        assert!(c.by_link_key(&keys("350102/e2").link.public().public()).is_some());
        let nodes = [sample()[..2].to_vec(), vec![node("350102", "county", "350100", "retired = true")]].concat();
        let c = Charter::parse(&document(3, &nodes)).unwrap();
        assert_eq!(c.by_link_key(&keys("350102/e1").link.public().public()), None);
    }
}
