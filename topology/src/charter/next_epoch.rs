//! The next version of a charter's text, in which one node's epoch ends and the next one begins.
//!
//! The text is a person's: comments, order and spelling stay. What was written is read again and compared with what the old text
//! says and what was to change, so that nothing else changes; where that does not hold, the text has to be edited by hand.

use super::{Charter, CharterError, wrong};
use serde::Deserialize;
use std::ops::Range;
use tally_protocol::{
    hash::Hash,
    ids::{LogId, LogKind},
    request::ProposedKeys,
};
use toml::{Spanned, Table, Value};

/// Where a log ends: its size and root there.
pub type LogEnd = (LogId, u64, Hash);

/// What is looked for in the text, and where it stands.
#[derive(Deserialize)]
struct Places {
    version: Spanned<u64>,
    node: Vec<NodePlaces>,
}

#[derive(Deserialize)]
struct NodePlaces {
    division: String,
    epoch: Vec<EpochPlaces>,
}

#[derive(Deserialize)]
struct EpochPlaces {
    log: Spanned<String>,
}

/// The `[[node.epoch]]` part of a charter's text for these public keys.
pub fn epoch_block(epoch: u32, keys: &ProposedKeys) -> String {
    let keys: String = keys.named().iter().map(|(name, key)| format!("{name} = \"{key}\"\n")).collect();
    format!("[[node.epoch]]\nepoch = {epoch}\n{keys}")
}

/// The text of the charter that follows `text`: one version higher, the epoch of `ends[0]` closed there, and its node's next
/// epoch with `keys` behind it. The first end is that of the epoch's records log; others may be closed with it.
///
/// # Errors
/// [`CharterError`]: `text` is no charter, the epoch is not its node's last one, or the text is written so that it cannot be
/// changed in place.
pub fn with_next_epoch(text: &str, ends: &[LogEnd], keys: &ProposedKeys) -> Result<String, CharterError> {
    let charter = Charter::parse(text)?;
    let Some(((log, size, root), others)) = ends.split_first() else {
        return wrong("no log to close".into());
    };
    if charter.current_log(log.division) != Some(*log) || log.kind() != LogKind::Records {
        return wrong(format!("{log} is not the current records log of a node"));
    }
    let closing = closing_lines(*size, root, others);
    let block = epoch_block(log.epoch.saturating_add(1), keys);
    let by_hand = || {
        let what = format!(
            "this text cannot be changed in place; write into it by hand, in epoch {} of node {}:\n{closing}and behind \
             that epoch:\n{block}and count the version up",
            log.epoch, log.division
        );
        CharterError(what)
    };
    let changed = in_place(text, *log, &closing, &block).ok_or_else(by_hand)?;
    let expected = expected(text, *log, &closing, &block).ok_or_else(by_hand)?;
    if changed.parse::<Table>().ok() != Some(expected) {
        return Err(by_hand());
    }
    Charter::parse(&changed)?;
    Ok(changed)
}

fn closing_lines(size: u64, root: &Hash, others: &[LogEnd]) -> String {
    let mut lines = format!("last_size = {size}\nlast_root = \"{root}\"\n");
    if !others.is_empty() {
        let one = |(log, size, root): &LogEnd| format!("{{ log = \"{log}\", size = {size}, root = \"{root}\" }}");
        let all: Vec<_> = others.iter().map(one).collect();
        lines += &format!("closed = [{}]\n", all.join(", "));
    }
    lines
}

/// The text with the lines put in behind the log's key, the block behind the epoch's table, and the version counted up.
fn in_place(text: &str, log: LogId, closing: &str, block: &str) -> Option<String> {
    let places: Places = toml::from_str(text).ok()?;
    let node = places.node.iter().find(|n| n.division == log.division.to_string())?;
    let key = node.epoch.last()?.log.span();
    let after_key = end_of_line(text, key.end);
    // The epoch's table ends where the next one begins.
    let rest = text.get(after_key..)?;
    let mut at = after_key;
    let mut end = text.len();
    for line in rest.split_inclusive('\n') {
        if line.trim_start().starts_with('[') {
            end = at;
            break;
        }
        at = at.saturating_add(line.len());
    }
    // Comments and blank lines before the next table are that table's.
    let table = text.get(after_key..end)?;
    let table_end = after_key.saturating_add(without_comments_at_end(table).len());
    let edits = [
        (places.version.span(), places.version.get_ref().checked_add(1)?.to_string()),
        (after_key..after_key, closing.to_owned()),
        (table_end..table_end, format!("\n{block}")),
    ];
    let mut sorted: Vec<(Range<usize>, String)> = edits.into();
    // Of edits at one place the lines of the epoch come before the block behind it.
    sorted.sort_by_key(|(range, _)| range.start);
    let mut changed = String::with_capacity(text.len().saturating_mul(2));
    let mut from = 0;
    for (range, new) in sorted {
        changed += text.get(from..range.start)?;
        if !changed.is_empty() && !changed.ends_with('\n') && new.starts_with("last_size") {
            changed.push('\n');
        }
        changed += &new;
        from = range.end;
    }
    changed += text.get(from..)?;
    Some(changed)
}

/// The text up to its last line that is neither blank nor a comment.
fn without_comments_at_end(text: &str) -> &str {
    let mut end = 0_usize;
    let mut at = 0_usize;
    for line in text.split_inclusive('\n') {
        at = at.saturating_add(line.len());
        let content = line.trim();
        if !content.is_empty() && !content.starts_with('#') {
            end = at;
        }
    }
    text.get(..end).unwrap_or_default().trim_end()
}

fn end_of_line(text: &str, at: usize) -> usize {
    text.get(at..).and_then(|rest| rest.find('\n')).map_or(text.len(), |n| at.saturating_add(n).saturating_add(1))
}

/// What the changed text has to say: all that the old one says, with the version, the end and the new epoch.
fn expected(text: &str, log: LogId, closing: &str, block: &str) -> Option<Table> {
    let mut table: Table = text.parse().ok()?;
    let version = table.get_mut("version")?;
    *version = Value::Integer(version.as_integer()?.checked_add(1)?);
    let nodes = table.get_mut("node")?.as_array_mut()?;
    let division = log.division.to_string();
    let mut own = nodes.iter_mut().filter(|n| n.get("division").and_then(Value::as_str) == Some(&division));
    let epochs = own.next()?.get_mut("epoch")?.as_array_mut()?;
    let last = epochs.last_mut()?.as_table_mut()?;
    for (name, value) in closing.parse::<Table>().ok()? {
        if last.insert(name, value).is_some() {
            return None;
        }
    }
    let block: Table = block.replacen("[[node.epoch]]\n", "", 1).parse().ok()?;
    epochs.push(Value::Table(block));
    Some(table)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::charter::tests::{document, keys, sample};

    fn next(text: &str, log: &str, size: u64) -> Result<String, CharterError> {
        let log: LogId = log.parse().unwrap();
        let keys = keys(&LogId::records(log.division, log.epoch.saturating_add(1)).to_string());
        with_next_epoch(text, &[(log, size, Hash([3; 32]))], &ProposedKeys::of(&keys))
    }

    #[test]
    fn an_epoch_ends_and_the_next_one_begins_wherever_the_node_stands() {
        let text = document(4, &sample());
        for division in ["350000", "350100", "350102", "350128"] {
            let mut text = text.clone();
            for epoch in 1..=3_u32 {
                let log = format!("{division}/e{epoch}");
                text = next(&text, &log, u64::from(epoch)).unwrap();
                let charter = Charter::parse(&text).unwrap();
                assert_eq!(charter.version(), 4 + u64::from(epoch));
                let closed: LogId = log.parse().unwrap();
                assert_eq!(charter.closed_at(closed), Some((u64::from(epoch), Hash([3; 32]))));
                let current = format!("{division}/e{}", epoch.saturating_add(1));
                assert_eq!(charter.current_log(closed.division), current.parse().ok());
                assert_eq!(charter.log_key(current.parse().unwrap()).as_ref(), Some(keys(&current).log.public()));
                assert_eq!(charter.nodes().count(), 4);
            }
            assert!(next(&text, &format!("{division}/e1"), 9).is_err(), "not its last epoch");
        }
    }

    #[test]
    fn comments_and_order_stay() {
        let mut nodes = sample();
        nodes[2] += "# the last word on this county\n\n# about the next node\n";
        nodes[3] = nodes[3].replace("[[node.epoch]]", "  [[ node.epoch ]]  # its first");
        let text = document(1, &nodes).replace("version = 1", "version   =   1 # counts up");
        for log in ["350102/e1", "350128/e1"] {
            let changed = next(&text, log, 7).unwrap();
            for line in text.lines().filter(|l| !l.starts_with("version")) {
                assert!(changed.lines().any(|l| l == line), "{line:?} is gone");
            }
            assert!(changed.contains("version   =   2 # counts up"));
        }
        let changed = next(&text, "350102/e1", 7).unwrap();
        let at = |what: &str| changed.find(what).unwrap();
        assert!(at("350102/e2+") < at("# about the next node"), "{changed}");
    }

    /// What is not written as such texts are is left to a person, with what to write.
    #[test]
    fn a_text_that_cannot_be_changed_in_place_is_left_alone() {
        let text = document(1, &sample());
        let block = crate::charter::tests::epoch("350128/e1", "");
        let inline = block.replace("[[node.epoch]]\n", "").trim_end().replace('\n', ", ");
        let text = text.replacen(&block, &format!("epoch = [{{ {inline} }}]\n"), 1);
        assert!(Charter::parse(&text).is_ok(), "{text}");
        let why = next(&text, "350128/e1", 7).unwrap_err().to_string();
        assert!(why.contains("by hand") && why.contains("last_size = 7") && why.contains("350128/e2"), "{why}");
    }

    #[test]
    fn other_logs_of_the_epoch_are_closed_with_it() {
        let (records, ops): (LogId, LogId) = ("350102/e1".parse().unwrap(), "350102/e1/ops".parse().unwrap());
        let ends = [(records, 7, Hash([3; 32])), (ops, 2, Hash([4; 32]))];
        let text = with_next_epoch(&document(1, &sample()), &ends, &ProposedKeys::of(&keys("350102/e2"))).unwrap();
        assert_eq!(Charter::parse(&text).unwrap().closed_at(ops), Some((2, Hash([4; 32]))));
    }
}
