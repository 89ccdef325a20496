//! The next version of a charter's text, in which another machine takes a node's place: the epoch ends, the next one begins with the
//! new machine's keys, and the node is in service, where the new machine is.
//!
//! It is one version, put together of the changes that `next_epoch` and `change_node` make, each of which checks what it wrote.

use super::{Charter, CharterError, LogEnd, NodeChange, with_change, with_next_epoch, wrong};
use serde::Deserialize;
use tally_protocol::request::ProposedKeys;
use toml::{Spanned, Table, Value};

/// What takes a node's place.
#[derive(Debug, Clone, Copy)]
pub struct Replacement<'a> {
    /// Where the records log of the epoch ends.
    pub end: LogEnd,
    /// Keys of the next epoch.
    pub keys: &'a ProposedKeys,
    /// Where the node's children find it from then on.
    pub addresses: &'a [String],
    /// One line, which is written beside what changes of the node.
    pub why: &'a str,
}

#[derive(Deserialize)]
struct Version {
    version: Spanned<u64>,
}

/// The text of the charter that follows `text`, one version higher.
///
/// # Errors
/// [`CharterError`]: the epoch is not its node's last one, or is closed already, or the text has a form that this cannot change.
pub fn with_replacement(text: &str, by: &Replacement<'_>) -> Result<String, CharterError> {
    let charter = Charter::parse(text)?;
    let (log, ..) = by.end;
    let Some(node) = charter.node(log.division) else {
        return wrong(format!("{} is not a node of charter version {}", log.division, charter.version()));
    };
    let changes = [NodeChange::Retired(false), NodeChange::Addresses(by.addresses.to_vec())];
    let mut changed = text.to_owned();
    for change in changes.iter().filter(|c| !c.is_so(node)) {
        changed = with_change(&changed, log.division, change, by.why)?;
        // The second change is of the same version as the first.
        changed = with_version(&changed, charter.version())?;
    }
    changed = with_next_epoch(&changed, &[by.end], by.keys)?;
    Ok(changed)
}

/// The same text with another version, which says nothing else.
fn with_version(text: &str, version: u64) -> Result<String, CharterError> {
    let replaced = || -> Option<String> {
        let span = toml::from_str::<Version>(text).ok()?.version.span();
        let replaced = format!("{}{version}{}", text.get(..span.start)?, text.get(span.end..)?);
        let mut expected: Table = text.parse().ok()?;
        *expected.get_mut("version")? = Value::Integer(i64::try_from(version).ok()?);
        (replaced.parse::<Table>().ok()? == expected).then_some(replaced)
    };
    replaced().map_or_else(|| wrong("the version cannot be changed in place: write it by hand".into()), Ok)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::charter::tests::{document, keys, sample};
    use tally_protocol::{hash::Hash, ids::LogId};

    fn owned(addresses: &[&str]) -> Vec<String> {
        addresses.iter().map(|a| (*a).to_owned()).collect()
    }

    fn replaced(text: &str, log: &str, addresses: &[&str]) -> Result<String, CharterError> {
        let end = (log.parse::<LogId>().unwrap(), 7, Hash([3; 32]));
        let next = format!("{}/e{}", end.0.division, end.0.epoch.saturating_add(1));
        let addresses = owned(addresses);
        let keys = ProposedKeys::of(&keys(&next));
        with_replacement(text, &Replacement { end, keys: &keys, addresses: &addresses, why: "another machine" })
    }

    #[test]
    fn a_node_goes_on_elsewhere_with_other_keys_in_one_version() {
        let text = document(4, &sample());
        for (division, addresses) in [("350100", &["10.0.0.9:7443"][..]), ("350102", &[])] {
            let log = format!("{division}/e1");
            let before = Charter::parse(&text).unwrap();
            let d = log.parse::<LogId>().unwrap().division;
            // As it is, and after it was taken out of service.
            let away = with_change(&text, d, &NodeChange::Retired(true), "stolen").unwrap();
            for text in [&text, &away] {
                let version = Charter::parse(text).unwrap().version();
                let next = replaced(text, &log, addresses).unwrap();
                let charter = Charter::parse(&next).unwrap();
                let (node, was) = (charter.node(d).unwrap(), before.node(d).unwrap());
                assert_eq!(charter.version(), version + 1, "{next}");
                assert_eq!((node.addresses.as_slice(), node.retired), (&owned(addresses)[..], false), "{next}");
                assert_eq!((&node.name, node.level, node.parent), (&was.name, was.level, was.parent));
                assert_eq!(charter.closed_at(log.parse().unwrap()), Some((7, Hash([3; 32]))));
                assert_eq!(charter.current_log(d), format!("{division}/e2").parse().ok());
                assert_eq!(charter.nodes().count(), before.nodes().count());
            }
        }
        // Where nothing but the epoch changes.
        let same = Charter::parse(&text).unwrap();
        let addresses = same.node("350100".parse().unwrap()).unwrap().addresses.clone();
        let addresses: Vec<_> = addresses.iter().map(String::as_str).collect();
        assert_eq!(Charter::parse(&replaced(&text, "350100/e1", &addresses).unwrap()).unwrap().version(), 5);
        assert!(replaced(&text, "350100/e2", &[]).is_err() && replaced(&text, "350199/e1", &[]).is_err());
    }
}
