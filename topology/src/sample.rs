//! A charter for the tests of other crates: province, city, two counties and one that reports to the province directly.

#![allow(clippy::unwrap_used, reason = "a constant text that the tests of this crate read")]

use crate::{
    charter::Charter,
    signed::{SignedCharter, sign},
};
use tally_protocol::{
    ids::{Federation, LogId},
    keys::{NodeKeys, authority_signer},
};

/// The keys of a node of these charters, in its first epoch.
pub fn keys(division: &str) -> NodeKeys {
    let f = Federation::try_from("t.example".to_owned()).unwrap();
    let log: LogId = format!("{division}/e1").parse().unwrap();
    let mut secret = [7; 32];
    secret[..4].copy_from_slice(&log.division.code().to_le_bytes());
    NodeKeys::derive(&f, log, &secret)
}

fn node(d: &str, level: &str, more: &str) -> String {
    let epoch = crate::charter::epoch_entry(&keys(d));
    format!(
        "[[node]]\ndivision = \"{d}\"\nname = \"N{d}\"\nlevel = \"{level}\"\naddresses = [\"h:1\"]\n{more}\n\
         {epoch}"
    )
}

fn text(nodes: &[String], more: &str) -> String {
    let f = Federation::try_from("t.example".to_owned()).unwrap();
    let head = crate::charter::heading(&f, 1, authority_signer(&f, &[2; 32]).public());
    format!("{head}{}{more}", nodes.concat())
}

/// With `more` of the document at its end: units, routes, catalog.
pub fn charter(more: &str) -> Charter {
    Charter::parse(&text(&nodes(), more)).unwrap()
}

/// The same, where these divisions have these names.
pub fn called(names: &[(&str, &str)]) -> Charter {
    let own = text(&nodes(), "");
    let named = names
        .iter()
        .fold(own, |text, (d, name)| text.replace(&format!("name = \"N{d}\""), &format!("name = \"{name}\"")));
    Charter::parse(&named).unwrap()
}

/// The same, signed.
pub fn signed(more: &str) -> SignedCharter {
    let f = Federation::try_from("t.example".to_owned()).unwrap();
    let authority = authority_signer(&f, &[1; 32]);
    SignedCharter::open(&sign(&text(&nodes(), more), &authority).unwrap(), authority.public()).unwrap()
}

fn nodes() -> [String; 5] {
    [
        node("350000", "province", ""),
        node("350100", "prefecture", "parent = \"350000\"\ncovers = [\"350199\"]"),
        node("350102", "county", "parent = \"350100\""),
        node("350103", "county", "parent = \"350100\""),
        node("350128", "county", "parent = \"350000\""),
    ]
}

/// A city and one county, and nobody above.
pub fn without_province() -> Charter {
    let nodes = [node("350100", "prefecture", ""), node("350102", "county", "parent = \"350100\"")];
    Charter::parse(&text(&nodes, "")).unwrap()
}
