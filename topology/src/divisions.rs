//! The table of divisions, GB/T 2260 (national table of 2024 with Fujian's own): which codes exist at all. Which of
//! them take part, the charter says.

use std::{collections::BTreeMap, sync::OnceLock};
use tally_protocol::ids::Division;

const TABLE: &str = include_str!("../data/divisions.csv");

/// Codes of Fujian that are no more: code, name, the last year whose table has it, and the codes that stand for it today,
/// the one with the seat first. From the revisions of GB/T 2260 of 1980 to 2019 (as collected by the gb2260 project) and the
/// changes of 2021 (三元、沙县、长泰、龙海). A code that was given out again, as 350205 was, is in the table of today.
const FORMER: &str = include_str!("../data/former_divisions.csv");

/// A code that is no more.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FormerDivision {
    /// What it was called.
    pub name: &'static str,
    /// The last year whose table has it.
    pub until: u16,
    /// Codes that stand for it today: at least one.
    pub now: Vec<Division>,
}

/// What a code stood for that is no more, if it is known.
pub fn former(division: Division) -> Option<FormerDivision> {
    static ONCE: OnceLock<BTreeMap<u32, FormerDivision>> = OnceLock::new();
    let row = |l: &'static str| {
        let [code, name, until, now] = l.split(',').collect::<Vec<_>>().try_into().ok()?;
        let now: Vec<Division> = now.split(' ').map(str::parse).collect::<Result<_, _>>().ok()?;
        Some((code.parse().ok()?, FormerDivision { name, until: until.parse().ok()?, now }))
    };
    ONCE.get_or_init(|| FORMER.lines().filter_map(row).collect()).get(&division.code()).cloned()
}

/// That a code is no more, and which stands for it, in English and Chinese; `None`: nothing is known of it.
pub fn told_of_former(division: Division) -> Option<(String, String)> {
    let former = former(division)?;
    let now: Vec<String> =
        former.now.iter().map(|d| format!("{d} {}", name(*d).unwrap_or_default()).trim_end().to_owned()).collect();
    let FormerDivision { name, until, .. } = &former;
    let en = format!("{division} was {name} until {until}: write its code of today, {}", now.join(" or "));
    let zh = format!("{division} 为 {name} 旧代码（使用至{until}年），请填写现行代码 {}", now.join(" 或 "));
    Some((en, zh))
}

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

    /// C08: an old code names that of today.
    #[test]
    fn codes_that_are_no_more_name_those_of_today() {
        let d = |code: &str| code.parse::<Division>().unwrap();
        for line in FORMER.lines() {
            let code = d(line.split(',').next().unwrap());
            let found = former(code).unwrap_or_else(|| panic!("{line}"));
            assert!(!known(code) && found.now.iter().all(|n| known(*n)), "{line}");
            assert!((1980..=2024).contains(&found.until) && !found.now.is_empty(), "{line}");
        }
        for (old, name, until, now) in [
            ("350182", "长乐市", 2017, "350112"),
            ("350402", "梅列区", 2021, "350404"),
            ("350427", "沙县", 2021, "350405"),
            ("350784", "建阳市", 2014, "350703"),
            ("350822", "永定县", 2014, "350803"),
            ("350202", "鼓浪屿区", 2002, "350203"),
            ("352202", "福安市", 1998, "350981"),
            ("359002", "石狮市", 1994, "350581"),
        ] {
            let found = former(d(old)).unwrap();
            assert_eq!((found.name, found.until, found.now), (name, until, vec![d(now)]), "{old}");
        }
        let (en, zh) = told_of_former(d("350182")).unwrap();
        assert!(en.contains("350112 长乐区") && zh.contains("350112 长乐区"), "{en}");
        assert_eq!((told_of_former(d("350199")), told_of_former(d("350102"))), (None, None));
    }

    #[test]
    fn provinces() {
        let known: Vec<u32> = (0..=101).filter(|p| has_province(*p)).collect();
        assert_eq!(known.len(), 34, "{known:?}");
        assert!([11, 35, 65, 71, 81, 82].iter().all(|p| known.contains(p)));
        assert!(!has_province(u32::MAX) && !has_province(83));
    }
}
