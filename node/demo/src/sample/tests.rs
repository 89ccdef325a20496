//! The sample: what it says is right where it should be, and wrong where it should be.

use std::collections::{BTreeMap, HashMap, HashSet};

use super::{
    calendar::month_day,
    code::{ALPHABET, org_check, uscc_check},
    draft::wan,
    *,
};

fn sampler(seed: u64, division: &str, name: &str, city_name: &str) -> Sampler {
    Sampler::new(seed, Place { division: division.into(), name: name.into(), city_name: city_name.into() })
}

fn gulou(seed: u64) -> Sampler {
    sampler(seed, "350102", "鼓楼区", "福州市")
}

/// Both check characters right.
fn check(code: &str) -> bool {
    let code = code.as_bytes();
    code.len() == 18
        && code.iter().all(|c| ALPHABET.contains(c))
        && (char::from(code[16]), char::from(code[17])) == (org_check(&code[8..16]), uscc_check(code))
}

/// Reads a flat object of plain strings; asserts that it is one, with ascending keys and no empty value.
fn parse(line: &str) -> BTreeMap<&str, &str> {
    let body = line.strip_prefix("{\"").and_then(|rest| rest.strip_suffix("\"}")).expect(line);
    let fields: Vec<_> = body.split("\",\"").map(|field| field.split_once("\":\"").expect(line)).collect();
    assert!(fields.is_sorted_by(|a, b| a.0 < b.0), "{line}");
    assert!(!fields.iter().any(|(_, v)| v.is_empty() || v.contains(['"', '\\', '\n', '{', '}'])), "{line}");
    fields.into_iter().collect()
}

#[test]
fn check_digits_of_the_catalog() {
    let serial = |digits: &str| {
        digits.bytes().fold(0, |n, c| 31 * n + ALPHABET.iter().position(|a| *a == c).expect("digit") as u64)
    };
    assert_eq!(uscc("91", "350102", serial("2TE5T1")), "91350102MA2TE5T1X0");
    assert_eq!(uscc("92", "350604", serial("8UAA01")), "92350604MA8UAA019Y");
    assert_eq!(uscc("93", "350703", serial("33CC02")), "93350703MA33CC02XJ");
    assert_eq!(uscc("11", "350000", 123_456), "11350000001234562W");
    assert!(check("9152000071430580XT") && check("91310000741627329A"));
    assert!(!check("91350102MA2TE5T1X1") && !check("91350203M0001QAY9B"));
}

#[test]
fn same_seed_same_lines() {
    let lines = |seed| {
        let mut sampler = gulou(seed);
        (0..3_000).map(|_| sampler.next_line().text).collect::<Vec<_>>()
    };
    assert!(lines(7) == lines(7) && lines(7) != lines(8));
}

#[test]
fn fresh_lines_are_distinct() {
    let mut seen = HashSet::new();
    let others = [sampler(1, "350100", "福州市", "福州市"), sampler(1, "350203", "思明区", "厦门市")];
    for mut sampler in [gulou(1)].into_iter().chain(others) {
        assert!((0..20_000).all(|_| seen.insert(sampler.fresh())));
    }
}

#[test]
fn lengths() {
    for mut sampler in [
        gulou(3),
        sampler(3, "350128", "平潭综合实验区", "平潭综合实验区"),
        sampler(3, "350200", "厦门市", "厦门市"),
        sampler(3, "350000", "福建省", "福建省"),
    ] {
        let lengths: Vec<_> = (0..10_000).map(|_| sampler.fresh().len()).collect();
        assert!(lengths.iter().all(|length| (300..=1_200).contains(length)), "{:?}", lengths.iter().max());
        let mean = lengths.iter().sum::<usize>() / lengths.len();
        assert!((500..=750).contains(&mean), "{mean}");
    }
}

#[test]
fn shares_of_duplicates_and_faults() {
    let mut sampler = gulou(5);
    let (mut fresh, mut duplicates, mut faulty) = (VecDeque::new(), 0, Vec::new());
    for _ in 0..10_000 {
        let Line { text, kind } = sampler.next_line();
        match kind {
            Kind::Fresh => fresh.push_front(text),
            Kind::Duplicate => {
                duplicates += 1;
                assert!(fresh.iter().take(RECENT).any(|line| *line == text));
            }
            Kind::Faulty => faulty.push(text),
        }
    }
    assert!((240..360).contains(&duplicates) && (70..130).contains(&faulty.len()), "{duplicates} {}", faulty.len());
    for (i, line) in faulty.iter().enumerate() {
        assert!(match i % 8 {
            0 => !parse(line).contains_key("producer_uscc"),
            1 => line.contains("\"subject_name\":\"\","),
            2 => line.contains("\"produced_on\":\"2026-13-40\","),
            3 => line.contains("\"operation\":\"delete\","),
            4 => !line.ends_with('}'),
            5 => line.contains("\"fine_wan\":1.5,"),
            6 => line.contains("\"producer_division\":\"110101\","),
            _ => line.contains("\"subject_name\":\"福\u{fffd}"),
        });
    }
}

#[test]
fn records_by_the_catalog() {
    let (mut short, mut long) = (gulou(9), gulou(9).complete());
    let units: HashMap<_, _> = short.units().map(|(name, code)| (name.to_owned(), code.to_owned())).collect();
    let optional = ["fine_wan", "confiscation_wan", "removal_cause", "removed_on"];
    let (mut keys, mut counts) = (HashMap::new(), HashMap::<String, usize>::new());
    for _ in 0..20_000 {
        let (line, full) = (short.fresh(), long.fresh());
        let (row, full_row) = (parse(&line), parse(&full));
        assert!(full.len() <= 2_000 && row.iter().all(|(key, value)| full_row.get(key) == Some(value)), "{full}");
        assert!(WORDS.envelope[..13].iter().all(|(key, _)| row.contains_key(key.as_str())), "{line}");
        let form = WORDS.forms.iter().find(|form| form.code == row["category"]).expect(&line);
        let missing = |key: &str| !full_row.contains_key(key) && !optional.contains(&key);
        assert!(!form.fields.iter().chain(&form.more).any(|(key, _)| missing(key)), "{full}");
        assert!(check(row["subject_uscc"]) && check(row["producer_uscc"]), "{line}");
        assert_eq!(units.get(row["producer_name"]).map(String::as_str), Some(row["producer_uscc"]));
        assert!(("2026-06-01"..="2026-11-20").contains(&row["produced_on"]), "{line}");
        // A created key is new; an amended or withdrawn one is known, of the same category and producer.
        let origin = format!("{} {}", row["category"], row["producer_uscc"]);
        let known = keys.insert(row["business_key"].to_owned(), origin.clone());
        assert_eq!(known, (row["operation"] != "create").then_some(origin), "{line}");
        for name in [row["operation"], row["category"]] {
            *counts.entry(name.to_owned()).or_default() += 1;
        }
    }
    for (name, percent) in
        WORDS.forms.iter().map(|f| (f.code.as_str(), f.share)).chain([("create", 96), ("amend", 3), ("withdraw", 1)])
    {
        let count = counts.get(name).copied().unwrap_or_default();
        assert!(count.abs_diff(200 * percent as usize) < 240.min(160 * percent as usize), "{name} {count}");
    }
}

#[test]
fn texts_and_dates() {
    let mut out = String::new();
    escape(&mut out, "a\"\\\n鼓");
    assert_eq!(out, "a\\u0022\\u005c\\u000a鼓");
    assert_eq!([0, 29, 30, DAYS - 1].map(month_day), [(6, 1), (6, 30), (7, 1), (11, 20)]);
    assert_eq!([15_000, 205].map(wan), ["1.500000", "0.020500"]);
    assert!(
        [&WORDS.name_first, &WORDS.name_second, &WORDS.surnames, &WORDS.given]
            .iter()
            .all(|list| list.chars().all(|c| c.len_utf8() == 3))
    );
    assert!(WORDS.depts.iter().enumerate().all(|(i, dept)| dept.office as usize == i));
}
