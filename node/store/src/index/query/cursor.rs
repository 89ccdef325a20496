//! Where an export ended, so that the next one goes on behind it.
//!
//! It names for each log how many of its records were there without a hole, never a place on a disk, and the rules by which
//! was judged what is in force. What comes late, into a hole or into a log that was not there, lies behind it. It may be given
//! to another node that holds the same logs.

use super::Source;
use std::{collections::BTreeMap, fmt, str::FromStr};
use tally_protocol::ids::LogId;
use tally_topology::charter::Charter;

/// Most logs that a cursor names.
const LOGS_MAX: usize = 100_000;
const RULES: &str = "rules:";

/// See the module. Written `rules:0123456789abcdef,350102/e1:500,350103/e1:20`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ExportCursor {
    rules: [u8; 8],
    logs: BTreeMap<LogId, u64>,
}

impl ExportCursor {
    /// Behind everything that an export with this source can tell. Of the logs in `not_indexed` that is not known: they stay
    /// out, and are told again as a whole.
    pub fn of(source: &Source<'_>, not_indexed: &BTreeMap<LogId, u64>) -> Self {
        let known = source.batch_maps.iter().filter(|(log, _)| !not_indexed.contains_key(log));
        let logs = known.map(|(log, map)| (*log, map.whole_to())).filter(|(_, to)| *to > 0);
        Self { rules: source.charter.rules_mark(), logs: logs.collect() }
    }

    /// Whether a record lies behind it: by other rules, everything does.
    pub(super) fn is_behind(&self, charter: &Charter, log: LogId, index: u64) -> bool {
        self.rules != charter.rules_mark() || self.logs.get(&log).is_none_or(|to| index >= *to)
    }
}

impl fmt::Display for ExportCursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{RULES}{:016x}", u64::from_be_bytes(self.rules))?;
        self.logs.iter().try_for_each(|(log, to)| write!(f, ",{log}:{to}"))
    }
}

/// It is no cursor.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a cursor: it is given as an export named it, such as rules:0123456789abcdef,350102/e1:500")]
pub struct NotACursor;

impl FromStr for ExportCursor {
    type Err = NotACursor;
    fn from_str(text: &str) -> Result<Self, NotACursor> {
        let mut parts = text.split(',');
        let rules = parts.next().and_then(|r| r.strip_prefix(RULES)).filter(|r| r.len() == 16).ok_or(NotACursor)?;
        let rules = u64::from_str_radix(rules, 16).map_err(|_| NotACursor)?.to_be_bytes();
        let mut logs = BTreeMap::new();
        for part in parts {
            let (log, to) = part.rsplit_once(':').ok_or(NotACursor)?;
            let (log, to) = (log.parse().map_err(|_| NotACursor)?, to.parse().map_err(|_| NotACursor)?);
            if logs.insert(log, to).is_some() || logs.len() > LOGS_MAX {
                return Err(NotACursor);
            }
        }
        Ok(Self { rules, logs })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cursors_read_back_and_nothing_else_is_one() {
        let log = |text: &str| text.parse::<LogId>().unwrap();
        let logs = BTreeMap::from([(log("350102/e1"), 500), (log("350100/e2"), 7)]);
        let cursor = ExportCursor { rules: [1, 0x23, 0x45, 0x67, 0x89, 0xab, 0xcd, 0xef], logs };
        assert_eq!(cursor.to_string(), "rules:0123456789abcdef,350100/e2:7,350102/e1:500");
        assert_eq!(cursor.to_string().parse(), Ok(cursor));
        let none = ExportCursor::default();
        assert_eq!(none.to_string().parse(), Ok(none));
        for bad in
            ["", "2026-11-24", "2026-11-24T00:00:00Z", "rules:1", "rules:0123456789abcdef,350102/e1", "350102/e1:5"]
        {
            assert_eq!(bad.parse::<ExportCursor>(), Err(NotACursor), "{bad}");
        }
    }

    #[test]
    fn by_other_rules_everything_lies_behind() {
        let charter = tally_topology::sample::charter("");
        let log: LogId = "350102/e1".parse().unwrap();
        let cursor = ExportCursor { rules: charter.rules_mark(), logs: BTreeMap::from([(log, 5)]) };
        assert!(!cursor.is_behind(&charter, log, 4) && cursor.is_behind(&charter, log, 5));
        assert!(cursor.is_behind(&charter, "350103/e1".parse().unwrap(), 0), "a log that was not there");
        let strict = tally_topology::sample::charter("[registry]\nstrict_paths = true\n");
        assert!(cursor.is_behind(&strict, log, 4));
    }
}
