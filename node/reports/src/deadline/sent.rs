//! A line of the report as its JSON is: the counts of its kind stand beside its own members, and a description that is derived
//! would ask for all of them.

use super::counters::{StageCounts, StageDays};
use super::lines::{LiaisonTask, LineKind, LineScope, Provider, ReportLine};
use std::borrow::Cow;
use utoipa::{
    PartialSchema, ToSchema,
    openapi::{RefOr, Schema},
};

/// A line of the report. Which members there are besides `kind` depends on it.
#[derive(ToSchema)]
#[expect(dead_code, reason = "a description")]
struct SentLine {
    /// What it is about.
    kind: LineKind,
    /// Division; null in totals over all, and where records name none of this federation.
    division: Option<String>,
    /// Its name.
    division_name: Option<String>,
    /// Of a division's total.
    scope: Option<LineScope>,
    /// Code of the producing unit; empty: several that are in no registry, put together.
    unit: Option<String>,
    /// Its name by the registry.
    unit_name: Option<String>,
    /// Category; null: all that the route fits.
    category: Option<String>,
    /// Its name.
    category_name: Option<String>,
    /// Collection path: `territorial`, `central`, `provincial` or `prefecture`.
    route: Option<String>,
    /// Who delivers and answers for the time, if not the unit.
    provider: Option<Provider>,
    /// Of lines about records, and of totals: records that it is about.
    #[schema(required = false)]
    records: u64,
    /// 按时: the province received them within the limit.
    #[schema(required = false)]
    on_time: u64,
    /// 迟报: it received them later.
    #[schema(required = false)]
    late: u64,
    /// 临期: not known to have arrived, and due within two working days.
    #[schema(required = false)]
    due_soon: u64,
    /// 逾期: not known to have arrived, and the limit has passed.
    #[schema(required = false)]
    overdue: u64,
    /// Not known to have arrived, and not soon due.
    #[schema(required = false)]
    pending: u64,
    /// 历史补录: records of loads of history, in none of the other counts.
    #[schema(required = false)]
    backfill: u64,
    /// Of those that are not known to have arrived, those that may have.
    #[schema(required = false)]
    unconfirmed: u64,
    /// Share of `on_time` in those that are decided; null: none is.
    on_time_rate: Option<f64>,
    /// Most working days after the limit; null if none is late or overdue.
    worst_days_over: Option<i64>,
    /// Average working days by stage.
    #[schema(required = false)]
    stage_days: StageDays,
    /// Records that these are averages of.
    #[schema(required = false)]
    stages_over: StageCounts,
    /// Records on whose path the stage is.
    #[schema(required = false)]
    stages_passed: StageCounts,
    /// Who had those that are late or overdue when their limit passed.
    #[schema(required = false)]
    held_up_by: StageCounts,
    /// The calendar covers every day that the limits were counted by.
    #[schema(required = false)]
    certain: bool,
    /// Of totals: lines of 漏报 that it takes in.
    #[schema(required = false)]
    missing: u64,
    /// Of totals: 零报告.
    #[schema(required = false)]
    zero_reports: u64,
    /// Of totals: 对接任务.
    #[schema(required = false)]
    liaisons: u64,
    /// Of these, those that are not done.
    #[schema(required = false)]
    liaisons_open: u64,
    /// Of totals: 统一归集.
    #[schema(required = false)]
    covered: u64,
    /// Of liaison tasks.
    liaison: Option<LiaisonTask>,
    /// Zero reports that the line is about.
    zero_reports_held: Option<u64>,
    /// What is to be said of it, for people.
    note: Option<String>,
}

impl PartialSchema for ReportLine {
    fn schema() -> RefOr<Schema> {
        SentLine::schema()
    }
}

impl ToSchema for ReportLine {
    fn name() -> Cow<'static, str> {
        Cow::Borrowed("ReportLine")
    }

    fn schemas(schemas: &mut Vec<(String, RefOr<Schema>)>) {
        SentLine::schemas(schemas);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::deadline::{counters::Counters, lines::LineCounts};
    use std::collections::BTreeSet;

    #[test]
    fn a_line_is_described_as_it_is_sent() {
        let line = ReportLine {
            counts: Some(Counters::default().counts(false)),
            lines: Some(LineCounts::default()),
            ..ReportLine::new(LineKind::Total)
        };
        let names = |v: &serde_json::Value| -> BTreeSet<String> { v.as_object().unwrap().keys().cloned().collect() };
        let schema = serde_json::to_value(ReportLine::schema()).unwrap();
        assert_eq!(names(&serde_json::to_value(&line).unwrap()), names(&schema["properties"]));
        assert_eq!(schema["required"], serde_json::json!(["kind"]), "the others depend on it");
    }
}
