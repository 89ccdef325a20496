//! What is in force of one business key, given every version of it that is held (I11). Pure: a function of the versions and of
//! what their logs may do, in whatever order they came. No clock is asked, neither this node's nor a sender's.
//!
//! * A version whose log may not submit for its producer is void: it changes nothing.
//! * Within a node's logs the later one, by epoch and index, takes the place of the earlier one.
//! * Another node's version is replaced only by one that names it in `amends`, directly or through a chain, and only if that
//!   one's log may submit for the record that it names; else the one that names it is void.
//! * Of what then stands at one door, the log that the route names counts, then a node above it, then the lower log id; the
//!   others are contested. Versions that belong at different doors are different records under one number.
//! * An amendment or withdrawal without an original of its own is void where another node holds one.

use std::collections::{BTreeMap, BTreeSet};
use tally_protocol::{
    ids::{Division, LogId},
    record::RecordId,
};
use tally_topology::{
    content::{Operation, half_id},
    route::{Door, LogStanding},
};

/// A version of a business key, as one log holds it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct KeyVersion {
    /// The record.
    pub(super) id: RecordId,
    /// The log.
    pub(super) log: LogId,
    /// Its index there.
    pub(super) index: u64,
    /// What it does.
    pub(super) operation: Operation,
    /// The record that it amends or withdraws: the first half of its id.
    pub(super) amends: Option<[u8; 16]>,
    /// Where it belongs, and how its log stands to that.
    pub(super) door: Door,
}

/// What became of a version.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effect {
    /// It counts. If it withdraws, nothing is in force where it counts.
    InForce,
    /// Another took its place.
    Replaced,
    /// Nothing took its place, and another log's version counts.
    Contested,
    /// It changes nothing: its log may not submit for its producer.
    Closed,
    /// It changes nothing: it names a record that its log may not change.
    NotItsRecord,
    /// It changes nothing: it amends or withdraws, its log has no original, and another node holds one.
    NoOriginal,
}

impl Effect {
    /// Whether it is left out of all that is counted.
    pub fn is_void(self) -> bool {
        matches!(self, Self::Closed | Self::NotItsRecord | Self::NoOriginal)
    }
}

/// What becomes of each version, in the order of `versions`. `may_change` tells whether a node may change the record at a
/// place of `versions` that another node holds.
pub(super) fn effects(versions: &[KeyVersion], may_change: impl Fn(Division, usize) -> bool) -> Vec<Effect> {
    let mut effects = vec![Effect::Closed; versions.len()];
    let mut order: Vec<usize> = (0..versions.len()).collect();
    order.retain(|i| versions.get(*i).is_some_and(|v| v.door.standing != LogStanding::Closed));
    order.sort_by_key(|i| versions.get(*i).map(|v| (v.log.division, v.log.epoch, v.index)));
    let lines = Lines::of(versions, &order, &may_change, &mut effects);
    let reach: BTreeMap<Division, BTreeMap<Division, usize>> =
        lines.by_node.keys().map(|d| (*d, lines.reach(*d))).collect();
    // A line's last version is replaced by another line that reaches it, unless each reaches the other's.
    let covers = |a: Division, b: Division| {
        reach.get(&a).and_then(|r| r.get(&b)).is_some_and(|reached| *reached >= lines.len(b))
    };
    let stands =
        |d: Division| !lines.by_node.keys().any(|other| *other != d && covers(*other, d) && !covers(d, *other));
    let mut at_door: BTreeMap<Division, Vec<usize>> = BTreeMap::new();
    for (division, line) in &lines.by_node {
        line.iter().for_each(|i| set(&mut effects, *i, Effect::Replaced));
        if let Some(last) = line.last().filter(|_| stands(*division))
            && let Some(v) = versions.get(*last)
        {
            at_door.entry(v.door.node).or_default().push(*last);
        }
    }
    for mut standing in at_door.into_values() {
        standing.sort_by_key(|i| versions.get(*i).map(|v| (v.door.standing, v.log)));
        for (n, i) in standing.into_iter().enumerate() {
            set(&mut effects, i, if n == 0 { Effect::InForce } else { Effect::Contested });
        }
    }
    repeat(versions, &order, &mut effects);
    effects
}

fn set(effects: &mut [Effect], at: usize, effect: Effect) {
    if let Some(e) = effects.get_mut(at) {
        *e = effect;
    }
}

/// A record that stands twice in a node's logs fares as it did where it came first.
fn repeat(versions: &[KeyVersion], order: &[usize], effects: &mut [Effect]) {
    let mut first: BTreeMap<(Division, RecordId), Effect> = BTreeMap::new();
    for i in order {
        let (Some(v), Some(effect)) = (versions.get(*i), effects.get(*i).copied()) else { continue };
        let held = *first.entry((v.log.division, v.id)).or_insert(effect);
        set(effects, *i, held);
    }
}

/// Each node's versions that count, in order, and what they replace of other nodes'.
#[derive(Default)]
struct Lines {
    by_node: BTreeMap<Division, Vec<usize>>,
    /// Where a version stands in its line.
    places: BTreeMap<usize, (Division, usize)>,
    /// Versions of other nodes that one names in `amends` and may change.
    changes: BTreeMap<usize, Vec<usize>>,
}

impl Lines {
    /// Sorts out what changes nothing. A record that a node's logs hold twice counts where it came first.
    fn of(
        versions: &[KeyVersion],
        order: &[usize],
        may_change: &impl Fn(Division, usize) -> bool,
        effects: &mut [Effect],
    ) -> Self {
        let (mut lines, mut seen) = (Self::default(), BTreeSet::new());
        let (mut originals, mut by_id) = (BTreeSet::new(), BTreeMap::<[u8; 16], Vec<usize>>::new());
        for (i, v) in order.iter().filter_map(|i| Some((*i, versions.get(*i)?))) {
            by_id.entry(half_id(v.id)).or_default().push(i);
            if v.operation == Operation::Create {
                originals.insert(v.log.division);
            }
        }
        for (i, v) in order.iter().filter_map(|i| Some((*i, versions.get(*i)?))) {
            let node = v.log.division;
            let named = v.amends.and_then(|id| by_id.get(&id)).map_or(&[][..], Vec::as_slice);
            let (own, others): (Vec<usize>, Vec<usize>) =
                named.iter().partition(|n| versions.get(**n).is_some_and(|n| n.log.division == node));
            let changes: Vec<usize> = others.iter().copied().filter(|n| may_change(node, *n)).collect();
            let begun = lines.by_node.contains_key(&node);
            if own.is_empty() && changes.len() < others.len() {
                set(effects, i, Effect::NotItsRecord);
            } else if v.operation != Operation::Create
                && !begun
                && changes.is_empty()
                && originals.iter().any(|d| *d != node)
            {
                set(effects, i, Effect::NoOriginal);
            } else if seen.insert((node, v.id)) {
                let line = lines.by_node.entry(node).or_default();
                lines.places.insert(i, (node, line.len()));
                line.push(i);
                lines.changes.insert(i, changes);
            }
        }
        lines
    }

    fn len(&self, node: Division) -> usize {
        self.by_node.get(&node).map_or(0, Vec::len)
    }

    /// How many versions of each node's line the last one of `node` has replaced, with those of its own line.
    fn reach(&self, node: Division) -> BTreeMap<Division, usize> {
        let mut reach: BTreeMap<Division, usize> = BTreeMap::new();
        let mut to_visit = vec![(node, self.len(node))];
        while let Some((division, until)) = to_visit.pop() {
            let from = reach.get(&division).copied().unwrap_or(0);
            if until <= from {
                continue;
            }
            reach.insert(division, until);
            let line = self.by_node.get(&division).map_or(&[][..], Vec::as_slice);
            for i in line.get(from..until).unwrap_or_default() {
                let changed = self.changes.get(i).into_iter().flatten().filter_map(|n| self.places.get(n));
                to_visit.extend(changed.map(|(d, place)| (*d, place + 1)));
            }
        }
        reach
    }
}

#[cfg(test)]
mod tests;
