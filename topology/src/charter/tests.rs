//! Charters parsed from text: trees, epochs, routes, and what is refused.

use super::*;
use tally_protocol::keys::{Algorithm, NodeKeys, Signer};

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
    epoch_entry(&keys(log)) + more + "\n"
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
    let successor = Signer::new(federation().authority_name(), Algorithm::Ed25519, &[2; 32]);
    heading(&federation(), version, successor.public()) + "\n" + &nodes.concat()
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
        (
            [sample(), vec![node("350103", "county", "350100", "covers = [\"350102 until 2026-06-30\", \"350102\"]")]]
                .concat(),
            "node of its own",
        ),
        (
            [sample(), vec![node("350103", "county", "350100", "covers = [\"350198 since 2026\"]")]].concat(),
            "not a division",
        ),
        (
            [sample(), vec![node("350103", "county", "350100", "covers = [\"350198 until May\"]")]].concat(),
            "\"May\" is not a day",
        ),
        (
            [sample(), vec![node("350103", "county", "350100", "closed = []").replace("last", "")]].concat(),
            "unknown field `closed`",
        ),
        (
            vec![
                sample().concat()
                    + "closed = [{ log = \"350128/e1/ops\", size = 0, root = \""
                    + &"0".repeat(64)
                    + "\" }]\n",
            ],
            "the records log is not",
        ),
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

/// Each kind of log has its key, and ends where its epoch says.
#[test]
fn every_kind_of_log_has_its_key() {
    let c = Charter::parse(&document(1, &sample())).unwrap();
    let (city, county) = (keys("350100/e1"), keys("350102/e1"));
    let key = |log: &str| c.log_key(log.parse().unwrap());
    assert_eq!(key("350102/e1").as_ref(), Some(county.log.public()));
    assert_eq!(key("350102/e1/ops").as_ref(), Some(county.operations.public()));
    let to = city.return_log(d(350_102)).unwrap();
    assert_eq!(key("350100/e1/to/350102").as_ref(), Some(to.public()));
    assert_eq!((key("350100/e1/to/350198"), key("350102/e2/ops"), key("350198/e1")), (None, None, None));
}

/// Covers end by the day on which a record was produced; the division's own node follows the last of them.
#[test]
fn covers_end() {
    let covers = |c: &str| sample().concat().replace("\"350199\"", c);
    let entries = |text: &str| {
        let c = Charter::parse(&document(1, &[text.to_owned()])).unwrap();
        let on = |day: &str| c.entry_node_on(d(350_199), day.parse().unwrap()).map(Division::code);
        ([on("2026-06-30"), on("2026-07-01"), on("2027-01-01")], c.entry_node(d(350_199)).map(Division::code))
    };
    let (city, own, other) = (Some(350_100), Some(350_199), Some(350_128));
    assert_eq!(entries(&covers("\"350199\"")), ([city, city, city], city));
    let ended = covers("\"350199 until 2026-06-30\"");
    assert_eq!(entries(&ended), ([city, None, None], city));
    let with_node = ended.clone() + &node("350199", "county", "350100", "");
    assert_eq!(entries(&with_node), ([city, own, own], own));
    let moved = ended.replacen("name = \"350128\"\n", "name = \"350128\"\ncovers = [\"350199 until 2026-12-31\"]\n", 1);
    assert_eq!(entries(&moved), ([city, other, None], other));
}

/// What is shipped for a province to start from goes together, in any order.
#[test]
fn the_shipped_parts_make_one_charter() {
    const UNITS: &str = include_str!("../../../deploy/charter/units.toml");
    const ROUTES: &str = include_str!("../../../deploy/charter/routes.toml");
    let mut nodes = sample();
    nodes.push(node("350200", "prefecture", "350000", ""));
    let parts = [UNITS, ROUTES, crate::catalog::SHIPPED, crate::calendar::SHIPPED];
    let text = document(1, &nodes) + &parts.concat();
    assert!(!text.contains(['\t', '\r']), "a signed note holds neither");
    assert!(text.len() < tally_protocol::limits::CHARTER_BYTES_MAX / 4);
    let c = Charter::parse(&text).unwrap();
    assert!(!c.catalogs().shipped && c.units().closed && c.routes().len() == 3);
    let back: String = parts.iter().rev().copied().collect();
    assert!(Charter::parse(&(document(1, &nodes) + &back)).is_ok());
}

#[test]
fn keys_and_versions_change_no_rules_and_everything_else_does() {
    let mark = |text: String| Charter::parse(&text).unwrap().rules_mark();
    let first = mark(document(1, &sample()));
    assert_eq!(mark(document(2, &sample())), first, "another version");
    let moved = |from: &str, to: &str| document(1, &[sample().concat().replace(from, to)]);
    assert_ne!(mark(moved("\"350199\"", "\"350199 until 2026-06-03\"")), first, "a cover has ended");
    let route = "[[route]]\nid = \"a\"\ncase = \"provincial\"\n";
    assert_ne!(mark(document(1, &sample()) + route), first, "a route came");
}

#[test]
fn addresses_are_host_and_port_and_ipv6_stands_in_brackets() {
    let at = |address: &str| {
        let nodes = sample().concat().replacen("10.0.0.1:7443", address, 1);
        Charter::parse(&document(1, &[nodes])).map(|_| ()).map_err(|e| e.to_string())
    };
    for good in ["10.20.0.5:7443", "city.example:7443", "[2001:db8::5]:7443", "[::ffff:10.0.0.1]:1", "h:65535"] {
        assert_eq!(at(good), Ok(()), "{good}");
    }
    for bad in [
        "2001:db8::5:7443",
        "[2001:db8::5]",
        "[city]:1",
        "10.20.0.5",
        ":7443",
        "h:0",
        "h:+7",
        "h: 7",
        "a b:1",
        "quic://h:1",
    ] {
        let why = at(bad).unwrap_err();
        assert!(why.contains("[2001:db8::5]:7443") && why.contains(bad), "{bad}: {why}");
    }
}
