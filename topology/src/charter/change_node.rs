//! The next version of a charter's text, in which one node is in or out of service, reports to another one, or is elsewhere.
//!
//! The text is a person's, as in `next_epoch`: what was there stays, the change comes with a comment that says why, and what was
//! written is read again and compared.

use super::{Charter, CharterError, Node, new_node::address_list, wrong};
use serde::Deserialize;
use tally_protocol::ids::Division;
use toml::{Spanned, Table, Value};

/// Longest reason of a change, in bytes.
pub const CHANGE_REASON_BYTES_MAX: usize = 500;

/// What changes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NodeChange {
    /// Out of service, or in it again.
    Retired(bool),
    /// It reports to another node.
    Parent(Division),
    /// Its children find it elsewhere, `host:port` each.
    Addresses(Vec<String>),
}

impl NodeChange {
    fn key(&self) -> &'static str {
        match self {
            Self::Retired(_) => "retired",
            Self::Parent(_) => "parent",
            Self::Addresses(_) => "addresses",
        }
    }

    fn value(&self) -> Value {
        match self {
            Self::Retired(retired) => Value::Boolean(*retired),
            Self::Parent(parent) => Value::String(parent.to_string()),
            Self::Addresses(all) => Value::Array(all.iter().map(|a| Value::String(a.clone())).collect()),
        }
    }

    fn written(&self) -> String {
        match self {
            Self::Retired(retired) => retired.to_string(),
            Self::Parent(parent) => format!("\"{parent}\""),
            Self::Addresses(all) => address_list(all),
        }
    }

    /// Whether it says nothing new of a node.
    pub(super) fn is_so(&self, node: &Node) -> bool {
        match self {
            Self::Retired(retired) => node.retired == *retired,
            Self::Parent(parent) => node.parent == Some(*parent),
            Self::Addresses(all) => node.addresses == *all,
        }
    }
}

#[derive(Deserialize)]
struct Places {
    version: Spanned<u64>,
    node: Vec<NodePlaces>,
}

#[derive(Deserialize)]
struct NodePlaces {
    division: Spanned<String>,
    parent: Option<Spanned<String>>,
    retired: Option<Spanned<bool>>,
    addresses: Option<Spanned<Vec<String>>>,
}

/// The next version of the text; `why` is one line, which is written beside the change.
///
/// # Errors
/// [`CharterError`]: no such node, nothing that changes, a tree that would be none, or a text that this cannot change, with what is
/// to be written by hand.
pub fn with_change(text: &str, division: Division, change: &NodeChange, why: &str) -> Result<String, CharterError> {
    let charter = Charter::parse(text)?;
    let Some(node) = charter.node(division) else {
        return wrong(format!("{division} is not a node of charter version {}", charter.version()));
    };
    if change.is_so(node) {
        return wrong(format!("{division} has {} = {} already", change.key(), change.written()));
    }
    if why.trim().is_empty() || why.len() > CHANGE_REASON_BYTES_MAX || why.contains(char::is_control) {
        return wrong(format!("a reason is one line of 1 to {CHANGE_REASON_BYTES_MAX} bytes"));
    }
    let (key, written) = (change.key(), change.written());
    let by_hand = || {
        CharterError(format!(
            "this text cannot be changed in place; write by hand, at node {division}: {key} = {written}, and count the version up"
        ))
    };
    let changed = in_place(text, division, change, why.trim()).ok_or_else(by_hand)?;
    let expected = expected(text, division, change).ok_or_else(by_hand)?;
    if changed.parse::<Table>().ok() != Some(expected) {
        return Err(by_hand());
    }
    Charter::parse(&changed)?;
    Ok(changed)
}

fn in_place(text: &str, division: Division, change: &NodeChange, why: &str) -> Option<String> {
    let Places { version, node } = toml::from_str(text).ok()?;
    let node = node.iter().find(|n| *n.division.get_ref() == division.to_string())?;
    let there = match change {
        NodeChange::Retired(_) => node.retired.as_ref().map(Spanned::span),
        NodeChange::Parent(_) => node.parent.as_ref().map(Spanned::span),
        NodeChange::Addresses(_) => node.addresses.as_ref().map(Spanned::span),
    };
    let next = version.get_ref().checked_add(1)?;
    let comment = format!("# version {next}: {why}\n");
    let behind = node.division.span().end;
    let line =
        text.get(behind..).and_then(|rest| rest.find('\n')).map(|n| behind.saturating_add(n).saturating_add(1))?;
    let mut edits = vec![(version.span(), next.to_string())];
    match there {
        Some(place) => edits.extend([(line..line, comment), (place, change.written())]),
        None => edits.push((line..line, format!("{comment}{} = {}\n", change.key(), change.written()))),
    }
    edits.sort_by_key(|(range, _)| range.start);
    let (mut changed, mut from) = (String::with_capacity(text.len().saturating_mul(2)), 0);
    for (range, new) in edits {
        changed += text.get(from..range.start)?;
        changed += &new;
        from = range.end;
    }
    changed += text.get(from..)?;
    Some(changed)
}

/// What the new text has to say.
fn expected(text: &str, division: Division, change: &NodeChange) -> Option<Table> {
    let mut table: Table = text.parse().ok()?;
    let version = table.get_mut("version")?;
    *version = Value::Integer(version.as_integer()?.checked_add(1)?);
    let division = division.to_string();
    let nodes = table.get_mut("node")?.as_array_mut()?;
    let node = nodes.iter_mut().find(|n| n.get("division").and_then(Value::as_str) == Some(&division))?;
    node.as_table_mut()?.insert(change.key().to_owned(), change.value());
    Some(table)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::charter::tests::{document, sample};

    fn d(code: &str) -> Division {
        code.parse().unwrap()
    }

    #[test]
    fn a_node_moves_retires_and_comes_back_and_nothing_else_changes() {
        let text = document(1, &sample());
        let moved =
            with_change(&text, d("350102"), &NodeChange::Parent(d("350000")), "the city's line is down").unwrap();
        let charter = Charter::parse(&moved).unwrap();
        assert_eq!((charter.version(), charter.parent(d("350102"))), (2, Some(d("350000"))));
        assert!(moved.contains("# version 2: the city's line is down\n"), "{moved}");
        let retired = with_change(&moved, d("350102"), &NodeChange::Retired(true), "it is closed").unwrap();
        assert!(Charter::parse(&retired).unwrap().node(d("350102")).unwrap().retired);
        let back = with_change(&retired, d("350102"), &NodeChange::Retired(false), "it is open").unwrap();
        let charter = Charter::parse(&back).unwrap();
        assert!(!charter.node(d("350102")).unwrap().retired && charter.version() == 4);
        let elsewhere = NodeChange::Addresses(vec!["10.0.0.9:7443".into(), "[2001:db8::9]:7443".into()]);
        let there = with_change(&back, d("350100"), &elsewhere, "another machine").unwrap();
        assert_eq!(Charter::parse(&there).unwrap().node(d("350100")).unwrap().addresses.len(), 2, "{there}");
        let nowhere = with_change(&there, d("350100"), &NodeChange::Addresses(Vec::new()), "it has none").unwrap();
        assert!(Charter::parse(&nowhere).unwrap().node(d("350100")).unwrap().addresses.is_empty(), "{nowhere}");
        for line in text.lines().filter(|l| !l.starts_with("version") && !l.starts_with("parent")) {
            assert!(back.lines().any(|l| l == line), "{line:?} is gone");
        }
    }

    #[test]
    fn what_cannot_be_is_refused() {
        let text = document(1, &sample());
        let refused = |node: &str, change, why: &str| with_change(&text, d(node), &change, why).unwrap_err().0;
        assert!(refused("350199", NodeChange::Retired(true), "r").contains("not a node"));
        assert!(refused("350102", NodeChange::Parent(d("350100")), "r").contains("already"));
        assert!(refused("350102", NodeChange::Parent(d("350128")), "r").contains("cannot report"));
        assert!(refused("350102", NodeChange::Parent(d("350199")), "r").contains("not a node"));
        for why in ["", " ", "a\nb", &"x".repeat(CHANGE_REASON_BYTES_MAX + 1)] {
            assert!(refused("350102", NodeChange::Retired(true), why).contains("reason"), "{why:?}");
        }
    }
}
