//! A charter for the tests of other crates: province, city, two counties and one that reports to the province directly.

#![allow(clippy::unwrap_used, reason = "a constant text that the tests of this crate read")]

use crate::charter::Charter;
use tally_protocol::{
    ids::{Federation, LogId},
    keys::NodeKeys,
};

fn node(d: &str, level: &str, more: &str) -> String {
    let f = Federation::try_from("t.example".to_owned()).unwrap();
    let log: LogId = format!("{d}/e1").parse().unwrap();
    let mut secret = [7; 32];
    secret[..4].copy_from_slice(&log.division.code().to_le_bytes());
    let k = NodeKeys::derive(&f, log, &secret);
    let (l, m, n) = (k.log.public(), k.mirror.public(), k.link.public());
    format!(
        "[[node]]\ndivision = \"{d}\"\nname = \"N{d}\"\nlevel = \"{level}\"\naddresses = [\"h:1\"]\n{more}\n\
         [[node.epoch]]\nepoch = 1\nlog = \"{l}\"\nmirror = \"{m}\"\nlink = \"{n}\"\n"
    )
}

fn parse(nodes: &[String], more: &str) -> Charter {
    let head = "format = 2\nfederation = \"t.example\"\nversion = 1\n";
    Charter::parse(&format!("{head}{}{more}", nodes.concat())).unwrap()
}

/// With `more` of the document at its end: units, routes, catalog.
pub fn charter(more: &str) -> Charter {
    let nodes = [
        node("350000", "province", ""),
        node("350100", "prefecture", "parent = \"350000\"\ncovers = [\"350199\"]"),
        node("350102", "county", "parent = \"350100\""),
        node("350103", "county", "parent = \"350100\""),
        node("350128", "county", "parent = \"350000\""),
    ];
    parse(&nodes, more)
}

/// A city and one county, and nobody above.
pub fn without_province() -> Charter {
    parse(&[node("350100", "prefecture", ""), node("350102", "county", "parent = \"350100\"")], "")
}
