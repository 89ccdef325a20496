//! What an answer lists of what was found: bounded in number and in bytes, whatever stands in the rows.

use serde::{Deserialize, Serialize};
use tally_protocol::finding::{AtLine, Finding};

/// Findings that an answer lists.
pub const ERRORS_MAX: usize = 10_000;
/// Bytes of memory that they take together, at most; as JSON it is about as much.
pub const ERRORS_BYTES_MAX: usize = 4 << 20;

/// Findings in the order of their lines, up to both bounds; behind the first that has no room, all are only counted.
#[derive(Debug, Clone, Default)]
pub struct ListedErrors {
    list: Vec<AtLine>,
    bytes: usize,
    omitted: u64,
}

impl ListedErrors {
    /// Lists a finding, or counts it.
    pub fn say(&mut self, line: u64, finding: &Finding) {
        let bytes = self.bytes.saturating_add(finding.bytes());
        if self.omitted > 0 || self.list.len() >= ERRORS_MAX || bytes > ERRORS_BYTES_MAX {
            self.omitted += 1;
        } else {
            self.bytes = bytes;
            self.list.push(finding.clone().at_line(line));
        }
    }

    /// What is listed.
    pub fn list(&self) -> &[AtLine] {
        &self.list
    }

    /// How many were only counted.
    pub fn omitted(&self) -> u64 {
        self.omitted
    }

    /// What is listed, and how many were only counted.
    pub fn into_parts(self) -> (Vec<AtLine>, u64) {
        (self.list, self.omitted)
    }
}

/// Rows to look at that are counted, and not kept with the answer: there was no room for them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct RowsNotKept {
    /// How many.
    pub rows: u64,
    /// Line of the first.
    pub first: u64,
    /// Line of the last.
    pub last: u64,
}

impl RowsNotKept {
    /// One more row is not kept.
    pub(super) fn count(of: &mut Option<Self>, line: u64) {
        let all = of.get_or_insert(Self { rows: 0, first: line, last: line });
        (all.rows, all.last) = (all.rows + 1, line);
    }
}

/// Why the rows of a submission were not looked at to their end, although all of them came.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EarlyEnd {
    /// Stable name: `all_rejected`.
    pub code: String,
    /// Line of the first row that was not looked at.
    pub line: u64,
    /// How many were not.
    pub rows: u64,
    /// For people: why, and what to do.
    pub message: String,
    /// The same in Chinese.
    pub message_zh: String,
}

/// A submission of which so many rows were rejected, and none was taken, is not looked at any further.
pub const HOPELESS_ROWS: u64 = 10_000;

impl EarlyEnd {
    /// Every row until now was rejected; the next one stands on this line.
    pub(super) fn all_rejected(line: u64) -> Self {
        Self {
            code: "all_rejected".to_owned(),
            line,
            rows: 0,
            message: format!(
                "the first {HOPELESS_ROWS} rows and more are all rejected, so the rows from line {line} on were not looked at: correct what the errors name (often one column, or the category, is wrong in all of them), and hand the whole file in again"
            ),
            message_zh: format!(
                "前 {HOPELESS_ROWS} 行以上全部退回，自第 {line} 行起未再审核：请按错误说明更正（多为整列或信息类别有误）后重新报送整个文件"
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_listed_is_bounded_in_number_and_in_bytes() {
        let fill = |text: &str| {
            let mut errors = ListedErrors::default();
            let finding = Finding::reject("V001", "f", text, text);
            (0..2 * ERRORS_MAX as u64).for_each(|line| errors.say(line, &finding));
            errors.say(7, &Finding::reject("V001", "f", "", ""));
            let (bytes, (list, omitted)) = (errors.bytes, errors.into_parts());
            assert_eq!(list.len() as u64 + omitted, 2 * ERRORS_MAX as u64 + 1);
            assert!(bytes <= ERRORS_BYTES_MAX && list.iter().zip(0..).all(|(at, n)| at.line == n), "the first ones");
            list.len()
        };
        assert_eq!(fill("short"), ERRORS_MAX);
        let long = fill(&"长".repeat(60_000));
        assert!(long > 1_000 && long < ERRORS_MAX, "{long}");
    }
}
