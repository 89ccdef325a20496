//! The report as a document: its JSON is the contract of `tally deadline report --json` and `/v1/deadlines`.

use super::{GroupBy, lines::ReportLine};
use serde::{Deserialize, Serialize};
use tally_protocol::ids::Division;
use tally_topology::charter::Level;
use utoipa::ToSchema;

/// Something that the reader must know.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ReportWarning {
    /// Stable name.
    pub code: String,
    /// What it is, and what to do.
    pub message: String,
    /// In Chinese.
    pub message_zh: String,
}

/// Totals of the lines.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct ReportTotals {
    /// By division: each alone, and with those below it.
    pub divisions: Vec<ReportLine>,
    /// By producing unit.
    pub units: Vec<ReportLine>,
    /// By category.
    pub categories: Vec<ReportLine>,
}

/// The whole report.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct DeadlineReport {
    /// When it was made.
    pub generated_at: String,
    /// The day in China that it was judged on.
    pub today: String,
    /// Node that answers: what it does not know of, the report does not either.
    #[schema(value_type = String)]
    pub node: Division,
    /// Its name.
    pub node_name: String,
    /// Its level.
    #[schema(value_type = String)]
    pub node_level: Level,
    /// Records whose collect limit ends in this month; null: those that are open, and those of the current month.
    pub month: Option<String>,
    /// The month is over: nothing more is due in it. (Without a month: of the current one.)
    pub month_over: bool,
    /// Only this division and those below it.
    #[schema(value_type = Option<String>)]
    pub division: Option<Division>,
    /// What `rows` are totals of; null: single lines.
    pub by: Option<GroupBy>,
    /// Version of the charter by which it was judged.
    pub charter_version: u64,
    /// Last day that its calendar covers.
    pub calendar_until: Option<String>,
    /// Every limit was counted by the calendar.
    pub certain: bool,
    /// Records that have no deadline: without a day, or of a category that no catalog has.
    pub without_deadline: u64,
    /// Zero reports and liaison tasks that cannot be read from this disk.
    pub unreadable: u64,
    /// What makes the report less than whole: look at it first.
    pub warnings: Vec<ReportWarning>,
    /// What else is to be known.
    pub notes: Vec<ReportWarning>,
    /// Over everything.
    pub total: ReportLine,
    /// Lines, or totals if `by` says so.
    pub rows: Vec<ReportLine>,
    /// Only if `rows` are single lines.
    pub totals: Option<ReportTotals>,
}

impl ReportWarning {
    pub(super) fn new(code: &str, message: String, message_zh: String) -> Self {
        Self { code: code.to_owned(), message, message_zh }
    }
}

/// Said wherever the calendar ends too early.
pub(super) fn not_covered(years: &str, what: &str, what_zh: &str) -> ReportWarning {
    let message = format!(
        "the charter's calendar does not cover {years}: {what} counted by Monday to Friday only and NOT CERTAIN; add the \
         days of the State Council's holiday notice to [calendar] of the charter, sign the next version, then `tally \
         charter load`"
    );
    let zh = format!(
        "工作日历未覆盖{years}年：{what_zh}仅按周一至周五推算，不确定；请按国务院办公厅放假通知补充章程 [calendar]，签发新版本后执行 tally charter load"
    );
    ReportWarning::new("calendar_not_covered", message, zh)
}

pub(super) fn years(years: impl IntoIterator<Item = i16>) -> String {
    years.into_iter().map(|y| y.to_string()).collect::<Vec<_>>().join(", ")
}
