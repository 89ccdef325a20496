//! The table of divisions, GB/T 2260 (national table of 2024 with Fujian's own): which codes exist at all. Which of
//! them take part, the charter says.

use std::sync::OnceLock;
use tally_protocol::ids::Division;

const TABLE: &str = include_str!("../data/divisions.csv");

fn table() -> &'static [(u32, &'static str)] {
    static ONCE: OnceLock<Vec<(u32, &'static str)>> = OnceLock::new();
    ONCE.get_or_init(|| {
        let row = |l: &'static str| l.split_once(',').and_then(|(code, name)| Some((code.parse().ok()?, name)));
        let mut rows: Vec<_> = TABLE.lines().filter_map(row).collect();
        rows.sort_unstable();
        rows
    })
}

/// Name of a division, if the table has it.
pub fn name(division: Division) -> Option<&'static str> {
    let table = table();
    table.binary_search_by_key(&division.code(), |(code, _)| *code).ok().map(|i| table[i].1)
}

/// Whether the table has it.
pub fn known(division: Division) -> bool {
    name(division).is_some()
}

/// Whether the table has a division of the province that these first two digits stand for.
pub fn has_province(two_digits: u32) -> bool {
    let table = table();
    let first = table.partition_point(|(code, _)| code / 10_000 < two_digits);
    table.get(first).is_some_and(|(code, _)| code / 10_000 == two_digits)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_row_is_read() {
        assert_eq!(table().len(), TABLE.lines().count());
        assert_eq!(table().len(), 3_213);
        assert!(table().is_sorted_by(|a, b| a.0 < b.0), "no code twice");
        let d = |code: u32| Division::try_from(code).unwrap();
        assert_eq!(name(d(350_102)), Some("鼓楼区"));
        assert_eq!(name(d(350_128)), Some("平潭县"));
        assert_eq!(name(d(350_527)), Some("金门县"));
        assert!(known(d(110_101)) && !known(d(350_199)) && !known(d(999_999)));
    }
    #[test]
    fn provinces() {
        let known: Vec<u32> = (0..=101).filter(|p| has_province(*p)).collect();
        assert_eq!(known.len(), 34, "{known:?}");
        assert!([11, 35, 65, 71, 81, 82].iter().all(|p| known.contains(p)));
        assert!(!has_province(u32::MAX) && !has_province(83));
    }
}
