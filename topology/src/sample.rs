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
    let epoch = crate::charter::epoch_entry(&k);
    format!(
        "[[node]]\ndivision = \"{d}\"\nname = \"N{d}\"\nlevel = \"{level}\"\naddresses = [\"h:1\"]\n{more}\n\
         {epoch}"
    )
}

fn parse(nodes: &[String], more: &str) -> Charter {
    let f = Federation::try_from("t.example".to_owned()).unwrap();
    let head = crate::charter::heading(&f, 1, tally_protocol::keys::authority_signer(&f, &[2; 32]).public());
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
