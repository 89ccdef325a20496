//! Retiring a node: what would be lost by it without anybody having said so.
//!
//! A retired node has no link any more, so rows that it alone holds come up by hand or never, and nodes that report to it
//! are cut off. Who signs or loads such a charter has to name the node; nothing here forbids it, because a charter in force
//! must stay readable. How many rows a node has is known to the one who asks: it is told here.

#![warn(clippy::indexing_slicing, clippy::arithmetic_side_effects)]

use super::Charter;
use tally_protocol::ids::{Division, LogId};

/// What is known of a node's records where the question is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RowsOfNode {
    /// Records of its logs, and of those that come through it, that are held.
    pub held: u64,
    /// How many there are: as the charter closes its last epoch, else as the node says. `None`: that is not known.
    pub had: Option<u64>,
}

impl RowsOfNode {
    /// Whether all of them are known to be held.
    pub fn are_accounted_for(self) -> bool {
        self.had.is_some_and(|had| self.held >= had)
    }
}

/// Why retiring a node needs a word.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum RetireConcern {
    /// A node that stays in service reports to it.
    #[error(
        "{node} is retired, and {child} reports to it: {child} would be cut off. Let it report to another node (`parent`), or \
         retire it too"
    )]
    CutsOff {
        /// The retired node.
        node: Division,
        /// The one that stays.
        child: Division,
    },
    /// It has records that are not held here.
    #[error(
        "{node} is retired with {had} records, of which {held} are held here. Let it send the rest first, or carry them \
         (`tally bundle export` there, `tally bundle import` here)"
    )]
    Missing {
        /// The retired node.
        node: Division,
        /// Records that there are.
        had: u64,
        /// Of them held.
        held: u64,
    },
    /// How many records it has is not known.
    #[error(
        "{node} is retired, and how many records it has is not known here ({held} are held). Retire it while it is linked, or \
         close its last epoch in the charter (last_size, last_root)"
    )]
    Unknown {
        /// The retired node.
        node: Division,
        /// Records held of it.
        held: u64,
    },
}

impl RetireConcern {
    /// The retired node.
    pub fn node(&self) -> Division {
        match self {
            Self::CutsOff { node, .. } | Self::Missing { node, .. } | Self::Unknown { node, .. } => *node,
        }
    }
}

impl Charter {
    /// Nodes in service that report to a retired one: each with its parent.
    pub fn cut_off(&self) -> impl Iterator<Item = (Division, Division)> {
        let parent = |d: Division| self.node(d).filter(|p| p.retired);
        let serving = self.nodes().filter(|n| !n.retired);
        serving.filter_map(move |n| Some((n.division, parent(n.parent?)?.division)))
    }

    /// Nodes that are retired here and were not `before`; without one, all that are retired here.
    pub fn newly_retired(&self, before: Option<&Self>) -> impl Iterator<Item = Division> {
        let was = move |d: Division| before.and_then(|b| b.node(d)).is_some_and(|n| n.retired);
        self.nodes().filter(|n| n.retired).map(|n| n.division).filter(move |d| !was(*d))
    }

    /// At how many records the logs of a node end, if its last epoch is closed too, as that of a retired node should be.
    pub fn closed_records(&self, division: Division) -> Option<u64> {
        let sizes = self.node(division)?.epochs.iter().map(|e| e.last.map(|(size, _)| size));
        sizes.sum()
    }

    /// The records logs of a node, of all its epochs.
    pub fn records_logs(&self, division: Division) -> impl Iterator<Item = LogId> {
        let epochs = self.node(division).map_or(0, |n| n.epochs.len() as u32);
        (1..=epochs).map(move |epoch| LogId::records(division, epoch))
    }
}

/// What has to be said before `next` takes the place of `before`: nodes that are cut off by it and were not, and nodes that
/// it retires although their records are not all accounted for, by `rows`. Without `rows` (no node is asked) only the first.
pub fn retire_concerns(
    before: Option<&Charter>,
    next: &Charter,
    rows: Option<&dyn Fn(Division) -> RowsOfNode>,
) -> Vec<RetireConcern> {
    let known: Vec<_> = before.map(|b| b.cut_off().collect()).unwrap_or_default();
    let cut = next.cut_off().filter(|pair| !known.contains(pair));
    let mut all: Vec<_> = cut.map(|(child, node)| RetireConcern::CutsOff { node, child }).collect();
    let Some(rows) = rows else { return all };
    for node in next.newly_retired(before) {
        let RowsOfNode { held, had } = rows(node);
        match had {
            None => all.push(RetireConcern::Unknown { node, held }),
            Some(had) if held < had => all.push(RetireConcern::Missing { node, had, held }),
            Some(_) => {}
        }
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::charter::tests::{document, epoch, node, sample};
    use tally_protocol::hash::Hash;

    fn charter(change: impl Fn(&mut Vec<String>)) -> Charter {
        let mut nodes = sample();
        change(&mut nodes);
        Charter::parse(&document(2, &nodes)).unwrap()
    }

    fn d(code: u32) -> Division {
        Division::try_from(code).unwrap()
    }

    fn retire(node: &mut String) {
        *node = node.replacen("level =", "retired = true\nlevel =", 1);
    }

    #[test]
    fn a_node_whose_parent_is_retired_is_named_and_can_be_moved() {
        let before = charter(|_| {});
        assert_eq!(before.cut_off().count(), 0);
        let next = charter(|n| retire(&mut n[1]));
        let cut = RetireConcern::CutsOff { node: d(350_100), child: d(350_102) };
        assert_eq!(retire_concerns(None, &next, None), [cut]);
        assert_eq!(retire_concerns(Some(&before), &next, None), [cut]);
        assert_eq!(retire_concerns(Some(&next), &next, None), [], "it was said when it began");
        assert!(cut.to_string().contains("350102 would be cut off"), "{cut}");
        let moved = charter(|n| {
            retire(&mut n[1]);
            n[2] = n[2].replacen("parent = \"350100\"", "parent = \"350000\"", 1);
        });
        assert_eq!(retire_concerns(Some(&before), &moved, None), []);
        let both = charter(|n| n[1..3].iter_mut().for_each(retire));
        assert_eq!(retire_concerns(Some(&before), &both, None), []);
    }

    #[test]
    fn rows_that_are_missing_or_not_known_need_a_word_and_those_that_are_here_do_not() {
        let (before, next) = (charter(|_| {}), charter(|n| retire(&mut n[2])));
        let node = d(350_102);
        let concerns = |held, had| {
            let rows = |asked| {
                assert_eq!(asked, node, "only nodes that are retired now are asked about");
                RowsOfNode { held, had }
            };
            retire_concerns(Some(&before), &next, Some(&rows))
        };
        assert_eq!(concerns(9, Some(9)), []);
        assert_eq!(concerns(10, Some(9)), []);
        assert_eq!(concerns(9, Some(12)), [RetireConcern::Missing { node, had: 12, held: 9 }]);
        assert_eq!(concerns(9, None), [RetireConcern::Unknown { node, held: 9 }]);
        assert!(!RowsOfNode { held: 9, had: None }.are_accounted_for());
        let again = retire_concerns(Some(&next), &next, Some(&|_| RowsOfNode { held: 0, had: None }));
        assert_eq!(again, [], "it was said when it was retired");
    }

    #[test]
    fn a_node_ends_where_all_its_epochs_are_closed() {
        let closed = format!("last_size = 5\nlast_root = \"{}\"\n", Hash([0; 32]));
        let open = charter(|n| n[2] = node("350102", "county", "350100", ""));
        assert_eq!(open.closed_records(d(350_102)), None);
        let old = node("350102", "county", "350100", "").replace(&epoch("350102/e1", ""), &epoch("350102/e1", &closed));
        let ended = charter(|n| n[2].clone_from(&old));
        assert_eq!(ended.closed_records(d(350_102)), Some(5));
        let going_on = charter(|n| n[2] = old.clone() + &epoch("350102/e2", ""));
        assert_eq!(going_on.closed_records(d(350_102)), None);
        assert_eq!(
            going_on.records_logs(d(350_102)).map(|l| l.to_string()).collect::<Vec<_>>(),
            ["350102/e1", "350102/e2"]
        );
        assert_eq!(ended.closed_records(d(350_199)), None, "not a node");
    }
}
