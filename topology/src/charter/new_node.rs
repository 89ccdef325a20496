//! A node that is new in a charter: its block of text, and the next version of a text with it.
//!
//! The text is a person's, as in `next_epoch`: what was there stays as it is, the block comes at its end, and the version counts
//! up. What was written is read again and compared, so that nothing else changes.

use super::{Charter, CharterError, epoch_block, node::Level, wrong};
use serde::Deserialize;
use tally_protocol::{ids::Division, request::ProposedKeys};
use toml::{Spanned, Table, Value};

/// Longest name of a node, in bytes.
pub const NODE_NAME_BYTES_MAX: usize = 120;

/// A node that a charter is to name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewNode {
    /// Its division.
    pub division: Division,
    /// Its name: one line of 1 to [`NODE_NAME_BYTES_MAX`] bytes.
    pub name: String,
    /// Its level.
    pub level: Level,
    /// Whom it reports to; `None`: nobody, it is the top.
    pub parent: Option<Division>,
    /// Where its children find it, `host:port` each.
    pub addresses: Vec<String>,
}

impl NewNode {
    /// Its part of a charter, in its first epoch.
    ///
    /// # Errors
    /// [`CharterError`] for a name that cannot stand in a charter.
    pub fn block(&self, keys: &ProposedKeys) -> Result<String, CharterError> {
        let name = self.name.trim();
        if name.is_empty() || name.len() > NODE_NAME_BYTES_MAX || name.contains(char::is_control) {
            return wrong(format!("a node's name is one line of 1 to {NODE_NAME_BYTES_MAX} bytes, not {name:?}"));
        }
        let mut block = format!("[[node]]\ndivision = \"{}\"\nname = {}\n", self.division, quoted(name));
        block += &format!("level = \"{}\"\n", self.level.name());
        if let Some(parent) = self.parent {
            block += &format!("parent = \"{parent}\"\n");
        }
        if !self.addresses.is_empty() {
            block += &format!("addresses = {}\n", address_list(&self.addresses));
        }
        Ok(block + &epoch_block(1, keys))
    }
}

/// A TOML list of addresses.
pub(super) fn address_list(all: &[String]) -> String {
    let all: Vec<_> = all.iter().map(|a| quoted(a)).collect();
    format!("[{}]", all.join(", "))
}

/// A TOML string; the text has no control characters.
fn quoted(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
}

#[derive(Deserialize)]
struct Version {
    version: Spanned<u64>,
}

/// The next version of a charter's text, in which `node` is new.
///
/// # Errors
/// [`CharterError`]: the node is in the charter already, or cannot be where it is to be; or the text has a form that this
/// cannot change, with what is to be written into it by hand.
pub fn with_node(text: &str, node: &NewNode, keys: &ProposedKeys) -> Result<String, CharterError> {
    let charter = Charter::parse(text)?;
    if charter.node(node.division).is_some() {
        return wrong(format!("{} is a node of charter version {} already", node.division, charter.version()));
    }
    let block = node.block(keys)?;
    let by_hand = || {
        CharterError(format!(
            "this text cannot be added to; write at its end, by hand:\n{block}and count the version up"
        ))
    };
    let added = added(text, &block).ok_or_else(by_hand)?;
    let expected = expected(text, &block).ok_or_else(by_hand)?;
    if added.parse::<Table>().ok() != Some(expected) {
        return Err(by_hand());
    }
    Charter::parse(&added)?;
    Ok(added)
}

fn added(text: &str, block: &str) -> Option<String> {
    let Version { version } = toml::from_str(text).ok()?;
    let (span, next) = (version.span(), version.get_ref().checked_add(1)?);
    let (before, after) = (text.get(..span.start)?, text.get(span.end..)?.trim_end());
    Some(format!("{before}{next}{after}\n\n{block}"))
}

/// What the new text has to say.
fn expected(text: &str, block: &str) -> Option<Table> {
    let mut table: Table = text.parse().ok()?;
    let version = table.get_mut("version")?;
    *version = Value::Integer(version.as_integer()?.checked_add(1)?);
    let mut new: Table = block.parse().ok()?;
    let new = new.get_mut("node")?.as_array_mut()?.pop()?;
    table.get_mut("node")?.as_array_mut()?.push(new);
    Some(table)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::charter::tests::{document, keys, sample};

    fn node(division: &str, parent: &str) -> (NewNode, ProposedKeys) {
        let keys = ProposedKeys::of(&keys(&format!("{division}/e1")));
        let (division, parent) = (division.parse().unwrap(), parent.parse().ok());
        let (name, addresses) = ("台江区 \"新\" \\".into(), vec!["10.0.0.9:7443".into()]);
        (NewNode { division, name, level: Level::County, parent, addresses }, keys)
    }

    #[test]
    fn a_node_is_added_and_nothing_else_changes() {
        let text = document(4, &sample()) + "\n[registry]\n# the last words stay\n";
        let (new, keys) = node("350103", "350100");
        let next = with_node(&text, &new, &keys).unwrap();
        let charter = Charter::parse(&next).unwrap();
        let there = charter.node(new.division).unwrap();
        assert_eq!((charter.version(), there.parent, there.level), (5, new.parent, Level::County));
        assert_eq!((&there.name, &there.addresses), (&new.name, &new.addresses));
        assert_eq!(charter.log_key("350103/e1".parse().unwrap()).as_ref(), Some(&keys.log));
        for line in text.lines().filter(|l| !l.starts_with("version")) {
            assert!(next.lines().any(|l| l == line), "{line:?} is gone");
        }
        assert!(with_node(&next, &new, &keys).unwrap_err().to_string().contains("already"));
        // Another one after it.
        let (another, keys) = node("350104", "350100");
        assert_eq!(Charter::parse(&with_node(&next, &another, &keys).unwrap()).unwrap().nodes().count(), 6);
    }

    #[test]
    fn what_cannot_be_in_a_charter_is_refused() {
        let text = document(4, &sample());
        let (new, keys) = node("350103", "350100");
        for name in ["", " ", "a\nb", &"x".repeat(NODE_NAME_BYTES_MAX + 1)] {
            assert!(with_node(&text, &NewNode { name: name.into(), ..new.clone() }, &keys).is_err(), "{name:?}");
        }
        let under = |parent: &str| NewNode { parent: parent.parse().ok(), ..new.clone() };
        assert!(with_node(&text, &under("350199"), &keys).is_err(), "a parent that is none");
        assert!(with_node(&text, &under("350102"), &keys).is_err(), "a county under a county");
        let address = NewNode { addresses: vec!["nowhere".into()], ..new.clone() };
        assert!(with_node(&text, &address, &keys).is_err());
    }
}
