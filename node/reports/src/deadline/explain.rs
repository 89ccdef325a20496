//! How a deadline is counted, day by day.

use super::{
    ReportWarning,
    judge::{category, uncovered_years},
    lines::category_name,
    report::{not_covered, years},
};
use jiff::civil::{Date, Weekday};
use serde::{Deserialize, Serialize};
use tally_topology::{charter::Charter, deadline::Limits};

/// Days that are listed at most: 366 working days are no more than two years.
const DAYS_MAX: usize = 800;

/// What a day is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DayKind {
    /// 工作日: Monday to Friday.
    Workday,
    /// 调休上班: a Saturday or Sunday that is worked.
    Makeup,
    /// 节假日: Monday to Friday, and not worked.
    Holiday,
    /// 周末: a Saturday or Sunday that is not worked.
    Weekend,
}

impl DayKind {
    pub(super) fn name_zh(self) -> &'static str {
        match self {
            Self::Workday => "工作日",
            Self::Makeup => "调休上班",
            Self::Holiday => "节假日",
            Self::Weekend => "周末",
        }
    }
}

/// A day on the way.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Day {
    /// YYYY-MM-DD
    pub day: String,
    /// In Chinese.
    pub weekday: String,
    /// What it is.
    pub kind: DayKind,
    /// Which working day it is; null: it does not count.
    pub counts: Option<u32>,
    /// The calendar covers it.
    pub covered: bool,
}

/// How the limits of a day are counted. Its JSON is the contract of `tally deadline explain --json`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Explained {
    /// Day 0: it is not counted.
    pub produced_on: String,
    /// Category; null: none was named, and the plan's limits count.
    pub category: Option<String>,
    /// Its name.
    pub category_name: Option<String>,
    /// Working days until it must have reached the province.
    pub collect_days: u32,
    /// The day that is.
    pub collect_due: String,
    /// The calendar covers every day that was counted for it.
    pub collect_certain: bool,
    /// Working days until it must be published.
    pub publish_days: u32,
    /// The day that is.
    pub publish_due: String,
    /// The calendar covers every day that was counted for it.
    pub publish_certain: bool,
    /// Last day that the calendar covers.
    pub calendar_until: Option<String>,
    /// Version of the charter.
    pub charter_version: u64,
    /// What makes it uncertain, and what to do.
    pub warnings: Vec<ReportWarning>,
    /// Every day from the one after `produced_on` to `publish_due`.
    pub days: Vec<Day>,
    /// Days that are not listed because they are too many.
    pub days_omitted: u64,
}

fn weekday(day: Date) -> &'static str {
    match day.weekday() {
        Weekday::Monday => "周一",
        Weekday::Tuesday => "周二",
        Weekday::Wednesday => "周三",
        Weekday::Thursday => "周四",
        Weekday::Friday => "周五",
        Weekday::Saturday => "周六",
        Weekday::Sunday => "周日",
    }
}

/// Counts the limits of a record that was produced on a day.
///
/// # Errors
/// A category that no version of the catalog has, for people.
pub fn explain(charter: &Charter, produced_on: Date, category_id: Option<&str>) -> Result<Explained, String> {
    let plan = Limits::default();
    let (collect_days, publish_days) = match category_id {
        None => (plan.collect_days, plan.publish_days),
        Some(id) => {
            let found = category(charter.catalogs(), id, produced_on).ok_or_else(|| no_category(charter, id))?;
            (found.collect_days, found.publish_days)
        }
    };
    let calendar = charter.calendar();
    let (collect, publish) = (calendar.due(produced_on, collect_days), calendar.due(produced_on, publish_days));
    let last = collect.on.max(publish.on);
    let way = std::iter::successors(produced_on.tomorrow().ok(), |d| d.tomorrow().ok().filter(|d| *d <= last));
    let mut counted = 0;
    let days: Vec<Day> = way
        .take(DAYS_MAX)
        .map(|d| {
            let off = matches!(d.weekday(), Weekday::Saturday | Weekday::Sunday);
            let worked = calendar.is_workday(d);
            counted += u32::from(worked);
            let kind = match (worked, off) {
                (true, false) => DayKind::Workday,
                (true, true) => DayKind::Makeup,
                (false, false) => DayKind::Holiday,
                (false, true) => DayKind::Weekend,
            };
            let counts = worked.then_some(counted);
            Day { day: d.to_string(), weekday: weekday(d).to_owned(), kind, counts, covered: calendar.covers(d) }
        })
        .collect();
    let all = u64::try_from((last - produced_on).get_days()).unwrap_or(0);
    let mut warnings = Vec::new();
    if !(collect.certain && publish.certain) {
        let which =
            if collect.certain { ("the publish limit is", "公示期限") } else { ("the limits are", "各时限") };
        warnings.push(not_covered(&years(uncovered_years(charter, produced_on, last)), which.0, which.1));
    }
    Ok(Explained {
        produced_on: produced_on.to_string(),
        category: category_id.map(str::to_owned),
        category_name: category_id.and_then(|c| category_name(charter.catalogs(), c)),
        collect_days,
        collect_due: collect.on.to_string(),
        collect_certain: collect.certain,
        publish_days,
        publish_due: publish.on.to_string(),
        publish_certain: publish.certain,
        calendar_until: calendar.until().map(|d| d.to_string()),
        charter_version: charter.version(),
        warnings,
        days_omitted: all.saturating_sub(days.len() as u64),
        days,
    })
}

fn no_category(charter: &Charter, id: &str) -> String {
    let shown: String = id.chars().take(64).collect();
    let newest = charter.catalogs().versions().last();
    let known: Vec<_> = newest.iter().flat_map(|c| c.categories()).map(|c| c.id.as_ref()).collect();
    format!("{shown:?} is not a category of the catalog / 目录中无此信息类别; there are: {}", known.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;
    use tally_topology::sample::charter;

    fn at(day: &str, category: Option<&str>) -> Result<Explained, String> {
        explain(&charter(""), day.parse().unwrap(), category)
    }

    #[test]
    fn every_day_of_the_vector_is_told() {
        // requirements.md, "Deadline test vectors".
        let e = at("2026-09-18", Some("admin_license")).unwrap();
        assert_eq!((e.collect_due.as_str(), e.publish_due.as_str()), ("2026-09-29", "2026-10-22"));
        assert!(e.collect_certain && e.publish_certain && e.warnings.is_empty());
        assert_eq!((e.collect_days, e.publish_days, e.category_name.as_deref()), (7, 20, Some("行政许可")));
        let day = |text: &str| e.days.iter().find(|d| d.day == text).unwrap();
        assert_eq!((day("2026-09-20").kind, day("2026-09-20").counts), (DayKind::Makeup, Some(1)));
        assert_eq!((day("2026-09-25").kind, day("2026-09-25").counts), (DayKind::Holiday, None));
        assert_eq!((day("2026-09-19").kind, day("2026-09-19").weekday.as_str()), (DayKind::Weekend, "周六"));
        assert_eq!((day("2026-09-29").counts, day("2026-10-22").counts), (Some(7), Some(20)));
        assert_eq!((e.days.first().unwrap().day.as_str(), e.days.len()), ("2026-09-19", 34));
        assert_eq!((e.days.last().unwrap().day.as_str(), e.days_omitted), ("2026-10-22", 0));
    }

    #[test]
    fn what_the_calendar_does_not_cover_is_said_of_each_limit() {
        let e = at("2026-12-14", None).unwrap();
        assert!(e.collect_certain && !e.publish_certain && e.category.is_none());
        assert!(e.warnings[0].message.contains("2027") && e.warnings[0].message_zh.contains("2027年"));
        assert!(e.days.iter().any(|d| !d.covered) && e.days.iter().any(|d| d.covered));
        let e = at("2026-12-30", None).unwrap();
        assert!(!e.collect_certain && e.warnings.len() == 1);
        let e = at("9999-12-30", None).unwrap();
        assert_eq!((e.days.len(), e.publish_certain), (1, false), "the end of time");
        assert!(at("2026-09-18", Some("weather")).unwrap_err().contains("admin_license"));
    }
}
