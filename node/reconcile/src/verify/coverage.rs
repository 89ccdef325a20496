//! Which records of a log were seen to be good, as few ranges.

use std::collections::BTreeMap;

/// Ranges that do not touch, by start.
#[derive(Debug, Default)]
pub(super) struct Coverage(BTreeMap<u64, u64>);

impl Coverage {
    /// `from..to` is good.
    pub(super) fn add(&mut self, mut from: u64, mut to: u64) {
        let touching: Vec<_> =
            self.0.range(..=to).rev().take_while(|(_, end)| **end >= from).map(|(s, _)| *s).collect();
        for start in touching {
            if let Some(end) = self.0.remove(&start) {
                from = from.min(start);
                to = to.max(end);
            }
        }
        self.0.insert(from, to);
    }

    /// Whether all of `from..to` is good.
    pub(super) fn covers(&self, from: u64, to: u64) -> bool {
        self.0.range(..=from).next_back().is_some_and(|(_, end)| *end >= to)
    }

    /// What is not good of `0..size`.
    pub(super) fn holes(&self, size: u64) -> Vec<(u64, u64)> {
        let (mut at, mut holes) = (0, Vec::new());
        for (start, end) in &self.0 {
            if *start > at && at < size {
                holes.push((at, (*start).min(size)));
            }
            at = at.max(*end);
        }
        if at < size {
            holes.push((at, size));
        }
        holes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_merge_and_holes_remain() {
        let mut c = Coverage::default();
        assert_eq!(c.holes(5), [(0, 5)]);
        for (from, to) in [(10, 20), (30, 40), (0, 5), (20, 25), (38, 50)] {
            c.add(from, to);
        }
        assert_eq!(c.holes(60), [(5, 10), (25, 30), (50, 60)]);
        assert_eq!(c.holes(27), [(5, 10), (25, 27)]);
        assert!(c.covers(10, 25) && c.covers(0, 5) && !c.covers(4, 6) && !c.covers(50, 51));
        c.add(5, 30);
        assert_eq!((c.holes(50), c.0.len()), (vec![], 1));
    }
}
