//! When a node is expected to be linked: always, in certain hours, or never, because it carries bundles by file.
//!
//! It changes nothing that is signed, judged or replicated: only whether silence is an alarm. Hours are those of China.

#![warn(clippy::indexing_slicing, clippy::arithmetic_side_effects)]

use crate::calendar::Calendar;
use jiff::{civil::Date, civil::Time};
use serde::Deserialize;
use std::fmt;

/// Seconds by which the clocks of China are ahead of UTC.
const CHINA_S: u64 = 8 * 3_600;
const DAY_S: u64 = 86_400;
/// After its hours have begun a node has so long to start and link, in seconds.
const GRACE_S: u64 = 15 * 60;
/// Most days between two bundles.
const BY_FILE_DAYS_MAX: u16 = 90;

/// When a node is expected to be linked to its parent.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(try_from = "ExpectedEntry")]
pub enum Expected {
    /// At all times.
    #[default]
    Always,
    /// In these hours only.
    Hours {
        /// Its day begins.
        from: Time,
        /// And ends; before `from` it ends on the day after.
        to: Time,
        /// On working days only, by the charter's calendar.
        workdays: bool,
    },
    /// Never: it carries bundles, and one comes at least every so many days.
    ByFile {
        /// 1 to 90.
        days: u16,
    },
}

/// `expected = { hours = "08:00-18:00", workdays = true }` or `expected = { by_file_days = 3 }`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct ExpectedEntry {
    hours: Option<String>,
    workdays: Option<bool>,
    by_file_days: Option<u16>,
}

impl TryFrom<ExpectedEntry> for Expected {
    type Error = String;
    fn try_from(entry: ExpectedEntry) -> Result<Self, String> {
        match (entry.hours, entry.by_file_days) {
            (Some(hours), None) => {
                let (from, to) = read_hours(&hours)
                    .ok_or_else(|| format!("expected: hours {hours:?} are not two times such as 08:00-18:00"))?;
                Ok(Self::Hours { from, to, workdays: entry.workdays.unwrap_or(false) })
            }
            (None, Some(days)) if entry.workdays.is_none() => match days {
                1..=BY_FILE_DAYS_MAX => Ok(Self::ByFile { days }),
                _ => Err(format!("expected: by_file_days is 1 to {BY_FILE_DAYS_MAX}, not {days}")),
            },
            _ => Err("expected: either hours, perhaps with workdays, or by_file_days".to_owned()),
        }
    }
}

fn read_hours(text: &str) -> Option<(Time, Time)> {
    let time = |t: &str| (t.len() == 5).then(|| t.parse::<Time>().ok()).flatten();
    let (from, to) = text.split_once('-')?;
    let (from, to) = (time(from)?, time(to)?);
    (from != to).then_some((from, to))
}

fn seconds(time: Time) -> u64 {
    let (hour, minute) = (u64::from(time.hour().unsigned_abs()), u64::from(time.minute().unsigned_abs()));
    hour.saturating_mul(3_600).saturating_add(minute.saturating_mul(60))
}

impl Expected {
    /// Whether silence is in order at `now_s`, POSIX seconds; `silent_s`: for how long nothing has come, if anything ever has.
    pub fn excuses(&self, calendar: &Calendar, now_s: u64, silent_s: Option<u64>) -> bool {
        match *self {
            Self::Always => false,
            Self::Hours { from, to, workdays } => !is_in(calendar, now_s, (seconds(from), seconds(to)), workdays),
            Self::ByFile { days } => silent_s.is_some_and(|s| s <= u64::from(days).saturating_mul(DAY_S)),
        }
    }

    /// Whether bundles are carried, so that there is never a link.
    pub fn is_by_file(&self) -> bool {
        matches!(self, Self::ByFile { .. })
    }
}

/// Whether a node is on since [`GRACE_S`] at least. A span over midnight is of the day on which it began.
fn is_in(calendar: &Calendar, now_s: u64, (from, to): (u64, u64), workdays: bool) -> bool {
    let local = now_s.saturating_add(CHINA_S);
    let (day, at) = (local.checked_div(DAY_S).unwrap_or(0), local.checked_rem(DAY_S).unwrap_or(0));
    let ready = from.saturating_add(GRACE_S);
    let (begun, on) = if from < to {
        (day, (ready..to).contains(&at))
    } else if at < to {
        // The span began yesterday, less than the grace ago if it began just before midnight.
        (day.saturating_sub(1), at.saturating_add(DAY_S) >= ready)
    } else {
        (day, at >= ready)
    };
    on && (!workdays || date(begun).is_none_or(|day| calendar.is_workday(day)))
}

fn date(days: u64) -> Option<Date> {
    let days = i64::try_from(days).ok()?;
    Date::constant(1970, 1, 1).checked_add(jiff::Span::new().try_days(days).ok()?).ok()
}

impl fmt::Display for Expected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let hm = |t: Time| format!("{:02}:{:02}", t.hour(), t.minute());
        match *self {
            Self::Always => write!(f, "always"),
            Self::Hours { from, to, workdays } => {
                write!(f, "{}-{}{}", hm(from), hm(to), if workdays { " on working days" } else { "" })
            }
            Self::ByFile { days } => write!(f, "by file within {days} d"),
        }
    }
}

#[cfg(test)]
#[allow(clippy::arithmetic_side_effects, reason = "in a test a panic is a finding")]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Expected, String> {
        toml::from_str(text).map_err(|e| e.to_string())
    }

    /// POSIX seconds of a time in China.
    fn at(text: &str) -> u64 {
        format!("{text}:00+08:00").parse::<jiff::Timestamp>().unwrap().as_second().unsigned_abs()
    }

    fn alarms(expected: Expected, times: &[&str]) -> Vec<bool> {
        let calendar = Calendar::shipped().unwrap();
        times.iter().map(|t| !expected.excuses(&calendar, at(t), Some(1))).collect()
    }

    #[test]
    fn a_node_that_is_off_at_night_is_missed_by_day() {
        let day = read("hours = \"08:00-18:00\"").unwrap();
        let times =
            ["2026-07-06T07:59", "2026-07-06T08:14", "2026-07-06T08:15", "2026-07-06T17:59", "2026-07-06T18:00"];
        assert_eq!(alarms(day, &times), [false, false, true, true, false]);
        assert_eq!(alarms(day, &["2026-07-05T12:00"]), [true], "a Sunday is a day like any other");
        let workdays = read("hours = \"08:00-18:00\"\nworkdays = true").unwrap();
        // A Sunday, a Monday, National Day.
        assert_eq!(
            alarms(workdays, &["2026-07-05T12:00", "2026-07-06T12:00", "2026-10-01T12:00"]),
            [false, true, false]
        );
        assert_eq!(
            (day.to_string(), workdays.to_string()),
            ("08:00-18:00".into(), "08:00-18:00 on working days".into())
        );
    }

    #[test]
    fn hours_may_go_over_midnight() {
        let night = read("hours = \"23:50-06:00\"\nworkdays = true").unwrap();
        // From Friday on until Saturday, and not from Saturday on.
        let times =
            ["2026-07-03T23:59", "2026-07-04T00:04", "2026-07-04T00:05", "2026-07-04T05:59", "2026-07-05T03:00"];
        assert_eq!(alarms(night, &times), [false, false, true, true, false]);
        assert_eq!(alarms(night, &["2026-07-06T12:00", "2026-07-07T03:00"]), [false, true]);
    }

    #[test]
    fn one_that_carries_bundles_is_missed_when_none_comes() {
        let (calendar, by_file) = (Calendar::shipped().unwrap(), read("by_file_days = 3").unwrap());
        let now = at("2026-07-06T12:00");
        let excused = |silent| by_file.excuses(&calendar, now, silent);
        assert_eq!([excused(Some(3 * DAY_S)), excused(Some(3 * DAY_S + 1)), excused(None)], [true, false, false]);
        assert!(by_file.is_by_file() && !Expected::Always.is_by_file());
        assert!(!Expected::Always.excuses(&calendar, now, Some(0)));
    }

    #[test]
    fn what_makes_no_sense_is_refused_with_an_example() {
        for (text, part) in [
            ("hours = \"8-18\"", "such as 08:00-18:00"),
            ("hours = \"08:00-08:00\"", "such as 08:00-18:00"),
            ("hours = \"08:00-24:30\"", "such as 08:00-18:00"),
            ("hours = \"08:00-18:00\"\nby_file_days = 3", "either"),
            ("workdays = true", "either"),
            ("by_file_days = 3\nworkdays = true", "either"),
            ("by_file_days = 0", "1 to 90"),
            ("by_file_days = 91", "1 to 90"),
            ("night = true", "unknown field"),
        ] {
            let why = read(text).unwrap_err();
            assert!(why.contains(part), "{text}: {why}");
        }
    }
}
