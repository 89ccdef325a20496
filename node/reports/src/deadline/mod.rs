//! The deadline report: what was due and came in time, what is late and who had it, what
//! is missing although the registry of units says that it is delivered, and what is not expected here at all.
//!
//! One pass over the index, a page at a time; the receipts are a compact copy that the core hands out once. All days are
//! days in China.

mod arrivals;
mod collect;
mod counters;
mod declared;
mod expected;
mod explain;
mod judge;
mod lines;
mod listed;
mod report;
mod sent;
mod survey;
mod table;
mod text;

pub use arrivals::Arrivals;
pub use collect::{DeadlineSources, collect};
pub use counters::{DeadlineCounts, StageCounts, StageDays};
pub use explain::{Explained, explain};
pub use lines::{LiaisonTask, LineCounts, LineKind, LineScope, Provider, ReportLine};
pub use listed::{ListedRecord, RecordFilter, RecordPage, RecordSources, list_records};
pub use report::{DeadlineReport, ReportTotals, ReportWarning};
pub use table::{write_csv, write_workbook};
pub use text::{render, render_explained};

use jiff::civil::Date;
use serde::{Deserialize, Serialize};
use std::{fmt, str::FromStr};
use tally_protocol::ids::Division;
use utoipa::ToSchema;

/// A calendar month, written 2026-11.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Month {
    first: Date,
}

impl Month {
    /// That of a day.
    pub fn of(day: Date) -> Self {
        Self { first: day.first_of_month() }
    }

    /// Its first day.
    pub fn first(self) -> Date {
        self.first
    }

    /// Its last day.
    pub fn last(self) -> Date {
        self.first.last_of_month()
    }

    /// Whether a day lies in it.
    pub fn holds(self, day: Date) -> bool {
        day.first_of_month() == self.first
    }
}

impl FromStr for Month {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let first = format!("{text}-01").parse::<Date>().ok().filter(|_| text.len() == 7);
        first.map(|first| Self { first }).ok_or_else(|| {
            let shown: String = text.chars().take(20).collect();
            format!("{shown:?} is not a month such as 2026-11 / 不是月份，应如 2026-11")
        })
    }
}

impl fmt::Display for Month {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:04}-{:02}", self.first.year(), self.first.month())
    }
}

/// What the lines of a report are of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum GroupBy {
    /// 行政区划
    Division,
    /// 单位
    Unit,
    /// 信息类别
    Category,
}

/// Which report.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DeadlineQuestion {
    /// Records whose collect limit ends in this month; none: those that are open, and those of the current month.
    pub month: Option<Month>,
    /// Only records that count for this division or those below it.
    pub division: Option<Division>,
    /// Totals of these in place of single lines.
    pub by: Option<GroupBy>,
    /// Only these categories; none named: all.
    pub categories: Vec<String>,
}

impl DeadlineQuestion {
    /// Whether a category is asked for.
    fn wants(&self, category: &str) -> bool {
        self.categories.is_empty() || self.categories.iter().any(|c| c == category)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn months_are_read_strictly() {
        let month: Month = "2026-11".parse().unwrap();
        assert_eq!((month.first().to_string(), month.last().to_string()), ("2026-11-01".into(), "2026-11-30".into()));
        assert!(month.holds(month.last()) && !month.holds(month.last().tomorrow().unwrap()));
        assert_eq!(month.to_string(), "2026-11");
        for bad in ["2026-13", "2026-1", "202611", "2026-11-01", "", "2026-00", "-02026-1", "十一月"] {
            assert!(bad.parse::<Month>().unwrap_err().contains("month"), "{bad}");
        }
    }
}
