//! The working-day calendar: statutory holidays and made-up working days are data of the charter, since
//! they are only published each autumn for the next year.
//!
//! Counting takes no walk: Monday to Friday are a formula, and each listed day holds by how much the lists have departed
//! from it so far. So a far day costs no more than a near one.

#![warn(clippy::indexing_slicing, clippy::arithmetic_side_effects)]

use jiff::{ToSpan as _, civil::Date, civil::Weekday};
use serde::Deserialize;
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, OnceLock},
};

/// The calendar that counts where a charter has none: a copy of `deploy/charter/calendar.toml`.
pub const SHIPPED: &str = include_str!("../../deploy/charter/calendar.toml");
/// Most entries of one list.
const ENTRIES_MAX: usize = 4_000;
/// Longest run of days in one entry.
const RUN_MAX: i64 = 60;
/// Years that a calendar may cover.
const YEARS: std::ops::RangeInclusive<i16> = 1949..=2999;
/// Day 0 of the count: a Monday, so that weeks need no shift.
const MONDAY: Date = jiff::civil::date(1970, 1, 5);

/// `[calendar]`
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CalendarDocument {
    /// Years for which the lists are complete, ascending and without a gap, within 1949 to 2999.
    pub years: Vec<i16>,
    /// Days off from Monday to Friday (weekend days may stand there too): `2026-02-15/2026-02-23 春节`.
    pub holidays: Vec<String>,
    /// Saturdays and Sundays that are worked.
    pub makeups: Vec<String>,
}

/// A day by which something is due.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Due {
    /// The last day on which it is in time.
    pub on: Date,
    /// The calendar covers every day that was counted, and the count came to its end.
    pub certain: bool,
}

/// A checked calendar.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Calendar {
    /// In order; no day twice.
    days: Arc<[Listed]>,
    /// First and last day of the covered years.
    covered: (Date, Date),
}

/// A day that the lists name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Listed {
    day: Date,
    number: i64,
    worked: bool,
    /// Working days up to and including this one, less those that Monday to Friday would give.
    more: i64,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    calendar: CalendarDocument,
}

/// A day as it is written here: YYYY-MM-DD and nothing else.
fn day(text: &str) -> Option<Date> {
    text.parse().ok().filter(|d: &Date| d.to_string() == text && text.len() == 10)
}

fn run(text: &str) -> Result<(Date, Date), String> {
    let days = text.split(' ').next().unwrap_or_default();
    let (first, last) = days.split_once('/').unwrap_or((days, days));
    let day = |t: &str| day(t).ok_or_else(|| format!("{text:?}: {t:?} is not a day such as 2026-01-31"));
    let (first, last) = (day(first)?, day(last)?);
    if last < first || number(last).saturating_sub(number(first)) > RUN_MAX {
        return Err(format!("{text:?}: a run ends after it begins, and within {RUN_MAX} days"));
    }
    Ok((first, last))
}

/// First and last day of the years, which follow one another.
fn covered(years: &[i16]) -> Result<(Date, Date), String> {
    if let Some(y) = years.iter().find(|y| !YEARS.contains(y)) {
        return Err(format!("year {y} is not within {} to {}", YEARS.start(), YEARS.end()));
    }
    if let Some((a, b)) = years.iter().zip(years.iter().skip(1)).find(|(a, b)| a.checked_add(1) != Some(**b)) {
        return Err(format!("years: {b} follows {a}: years ascend without a gap"));
    }
    let end = |year: Option<&i16>, month, day| year.and_then(|y| Date::new(*y, month, day).ok());
    end(years.first(), 1, 1).zip(end(years.last(), 12, 31)).ok_or_else(|| "years: at least one is needed".to_owned())
}

fn is_weekend(day: Date) -> bool {
    matches!(day.weekday(), Weekday::Saturday | Weekday::Sunday)
}

/// Days since day 0. No count of days, weeks or working days comes near the bounds of its type: there are fewer than
/// eight million days, and a deadline has fewer than 2^32.
fn number(day: Date) -> i64 {
    MONDAY.duration_until(day).as_secs() / 86_400
}

/// Days from Monday to Friday up to and including a day, from day 0 on; before it, less than none.
fn monday_to_friday(number: i64) -> i64 {
    let days = number.saturating_add(1);
    days.div_euclid(7).saturating_mul(5).saturating_add(days.rem_euclid(7).min(5))
}

impl Calendar {
    /// The one that comes with the program.
    ///
    /// # Errors
    /// None that a test of this crate would let pass.
    pub fn shipped() -> Result<Self, String> {
        static ONCE: OnceLock<Result<Calendar, String>> = OnceLock::new();
        let read = || {
            let file: File = toml::from_str(SHIPPED).map_err(|e| e.to_string())?;
            Self::new(&file.calendar)
        };
        ONCE.get_or_init(read).clone()
    }

    /// Checks a document.
    ///
    /// # Errors
    /// What is wrong, with its place.
    pub fn new(document: &CalendarDocument) -> Result<Self, String> {
        let covered = covered(&document.years).map_err(|e| format!("calendar: {e}"))?;
        let mut days = BTreeMap::new();
        for (list, worked) in [(&document.holidays, false), (&document.makeups, true)] {
            if list.len() > ENTRIES_MAX {
                return Err(format!("calendar: more than {ENTRIES_MAX} entries"));
            }
            for text in list {
                let (first, last) = run(text).map_err(|e| format!("calendar: {e}"))?;
                for day in first.series(1.day()).take_while(|d| *d <= last) {
                    if day < covered.0 || covered.1 < day {
                        return Err(format!("calendar: {text:?}: {day} is not in the years that `years` lists"));
                    }
                    if worked && !is_weekend(day) {
                        return Err(format!("calendar: {day} is worked anyway: makeups are Saturdays and Sundays"));
                    }
                    if days.insert(day, worked).is_some() {
                        return Err(format!("calendar: {day} stands there twice"));
                    }
                }
            }
        }
        // A year that is listed before its notice came would be taken for one of bare weeks.
        let off: BTreeSet<i16> = days.iter().filter(|(_, worked)| !**worked).map(|(d, _)| d.year()).collect();
        if let Some(bare) = document.years.iter().find(|y| !off.contains(y)) {
            return Err(format!("calendar: {bare} has no holiday: list its days, or take it out of `years`"));
        }
        let mut more = 0_i64;
        let listed = days.into_iter().map(|(day, worked)| {
            more = more.saturating_add(i64::from(worked)).saturating_sub(i64::from(!is_weekend(day)));
            Listed { day, number: number(day), worked, more }
        });
        Ok(Self { days: listed.collect(), covered })
    }

    /// Last day for which the calendar is complete: that of the last covered year.
    pub fn until(&self) -> Option<Date> {
        Some(self.covered.1)
    }

    /// Whether the day lies in a year for which the lists are complete.
    pub fn covers(&self, day: Date) -> bool {
        (self.covered.0..=self.covered.1).contains(&day)
    }

    /// Whether the calendar covers every day that [`Self::workdays_between`] counts: those after the earlier day up to
    /// and including the later.
    pub fn covers_between(&self, from: Date, to: Date) -> bool {
        let (from, to) = (from.min(to), from.max(to));
        from == to || (from.tomorrow().is_ok_and(|first| self.covers(first)) && self.covers(to))
    }

    /// Whether a day is worked.
    pub fn is_workday(&self, day: Date) -> bool {
        let listed = self.days.binary_search_by_key(&day, |l| l.day).ok().and_then(|i| self.days.get(i));
        listed.map_or_else(|| !is_weekend(day), |l| l.worked)
    }

    /// Working days up to and including a day; only differences mean anything.
    fn count(&self, number: i64) -> i64 {
        let before = self.days.partition_point(|l| l.number <= number);
        let more = before.checked_sub(1).and_then(|i| self.days.get(i)).map_or(0, |l| l.more);
        monday_to_friday(number).saturating_add(more)
    }

    /// The `working_days`-th working day after `from`, which itself is not counted. Past the end of time it is
    /// the last day there is, and not certain.
    pub fn due(&self, from: Date, working_days: u32) -> Due {
        let (from_number, days) = (number(from), i64::from(working_days));
        let wanted = self.count(from_number).saturating_add(days);
        let end = number(Date::MAX);
        // A day adds one or none: at least as many days pass.
        let (mut low, mut high) = (from_number.saturating_add(days), end);
        if self.count(end) < wanted {
            return Due { on: Date::MAX, certain: false };
        }
        // It lies a few weeks ahead but for the longest holidays: most of time need not be searched.
        let near = low.saturating_add(days).saturating_add(32);
        if near < high && self.count(near) >= wanted {
            high = near;
        }
        while low < high {
            let middle = low.saturating_add(high.saturating_sub(low) / 2);
            if self.count(middle) < wanted { low = middle.saturating_add(1) } else { high = middle }
        }
        match i32::try_from(low).ok().and_then(|n| MONDAY.checked_add(n.days()).ok()) {
            Some(on) => Due { on, certain: self.covers_between(from, on) },
            None => Due { on: Date::MAX, certain: false },
        }
    }

    /// Working days after `from` up to and including `to`; negative if `to` lies before.
    pub fn workdays_between(&self, from: Date, to: Date) -> i64 {
        self.count(number(to)).saturating_sub(self.count(number(from)))
    }
}

#[cfg(test)]
#[allow(clippy::arithmetic_side_effects, reason = "in a test a panic is a finding")]
mod tests {
    use super::*;
    use tally_protocol::hash::sha256;

    const ALL: u32 = 2_608_487;

    fn d(text: &str) -> Date {
        text.parse().unwrap()
    }

    fn calendar(years: &[i16], holidays: &[&str], makeups: &[&str]) -> Result<Calendar, String> {
        let own = |l: &[&str]| l.iter().map(|t| (*t).to_owned()).collect();
        Calendar::new(&CalendarDocument { years: years.to_vec(), holidays: own(holidays), makeups: own(makeups) })
    }

    /// The plain way: one day after the other.
    fn walk(c: &Calendar, from: Date, working_days: u32) -> Date {
        let mut left = working_days;
        let mut day = from;
        while left > 0 {
            day = day.tomorrow().unwrap();
            left -= u32::from(c.is_workday(day));
        }
        day
    }

    #[test]
    fn vectors_of_the_plan() {
        // requirements.md, "Deadline test vectors", and clause H.8.
        let c = Calendar::shipped().unwrap();
        for (from, seventh, twentieth) in [
            ("2016-12-29", "2017-01-10", "2017-01-26"),
            ("2025-10-01", "2025-10-16", "2025-11-04"),
            ("2026-02-12", "2026-02-28", "2026-03-18"),
            ("2026-09-18", "2026-09-29", "2026-10-22"),
        ] {
            assert_eq!(c.due(d(from), 7), Due { on: d(seventh), certain: true }, "{from}");
            assert_eq!(c.due(d(from), 20), Due { on: d(twentieth), certain: true }, "{from}");
            assert_eq!(c.workdays_between(d(from), d(seventh)), 7);
            assert_eq!(c.workdays_between(d(seventh), d(from)), -7);
        }
        assert_eq!(c.due(d("2025-10-01"), 1).on, d("2025-10-09"));
        assert!(c.is_workday(d("2026-02-28")) && !c.is_workday(d("2026-02-16")) && c.is_workday(d("2026-09-20")));
    }

    #[test]
    fn the_shipped_file_has_every_day_of_the_notices() {
        let c = Calendar::shipped().unwrap();
        let in_year = |y: i16, worked: bool| c.days.iter().filter(|l| l.day.year() == y && l.worked == worked).count();
        let years = |worked: bool| (2016..=2026).map(|y| in_year(y, worked)).collect::<Vec<_>>();
        assert_eq!(years(false), [24, 24, 25, 28, 30, 31, 32, 28, 28, 28, 33]);
        assert_eq!(years(true), [6, 5, 7, 6, 6, 7, 7, 7, 8, 5, 6]);
        assert_eq!(c.days.len(), 381);
        // Made from the table that the file was checked against: each day, and whether it is worked.
        let lines: String = c.days.iter().map(|l| format!("{} {}\n", l.day, u8::from(l.worked))).collect();
        let expected = "049f677dd9a8dfe34ecb3dbbf39fd37fdbbf7e8c5ef941ad5a514a50081e2ffe";
        assert_eq!(sha256(&[lines.as_bytes()]).to_string(), expected);
    }

    #[test]
    fn whole_years_are_covered_and_nothing_else() {
        let c = Calendar::shipped().unwrap();
        assert_eq!(c.until(), Some(d("2026-12-31")));
        assert!(c.covers(d("2016-01-01")) && c.covers(d("2026-12-31")));
        assert!(!c.covers(d("2015-12-31")) && !c.covers(d("2027-01-01")));
        // The year is covered from its first day although its first entry comes later.
        let c = calendar(&[2030], &["2030-05-01"], &[]).unwrap();
        assert!(c.covers(d("2030-01-01")) && !c.covers(d("2029-12-31")) && !c.covers(d("2031-01-01")));
    }

    #[test]
    fn beyond_its_years_monday_to_friday_count_and_it_is_said() {
        let c = Calendar::shipped().unwrap();
        assert_eq!(c.due(d("2026-12-30"), 7), Due { on: d("2027-01-08"), certain: false });
        assert_eq!(c.due(d("2015-01-01"), 7), Due { on: d("2015-01-12"), certain: false });
        assert!(
            c.covers_between(d("2015-12-31"), d("2026-12-31")) && c.covers_between(d("2030-01-01"), d("2030-01-01"))
        );
        assert!(
            !c.covers_between(d("2015-12-30"), d("2026-12-31")) && !c.covers_between(d("2026-12-31"), d("2027-01-01"))
        );
    }

    #[test]
    fn the_first_day_is_not_counted_so_it_need_not_be_covered() {
        let c = Calendar::shipped().unwrap();
        assert_eq!(c.due(d("2015-12-31"), 1), Due { on: d("2016-01-04"), certain: true });
        assert!(!c.due(d("2015-12-30"), 1).certain, "2015-12-31 is counted");
        assert_eq!(c.due(d("2026-12-30"), 1), Due { on: d("2026-12-31"), certain: true });
        assert!(!c.due(d("2026-12-31"), 1).certain);
    }

    #[test]
    fn as_a_walk_from_day_to_day() {
        let c = Calendar::shipped().unwrap();
        // From before the covered years until after them.
        for from in d("2015-11-01").series(1.day()).take_while(|x| *x <= d("2027-03-01")).step_by(3) {
            for n in [0, 1, 2, 5, 7, 20, 61] {
                let on = walk(&c, from, n);
                assert_eq!(c.due(from, n).on, on, "{from} {n}");
                assert_eq!(c.workdays_between(from, on), i64::from(n), "{from} {n}");
                assert_eq!(c.workdays_between(on, from), -i64::from(n), "{from} {n}");
            }
        }
        assert_eq!(c.due(d("2016-01-01"), 366 * 5).on, walk(&c, d("2016-01-01"), 366 * 5));
        assert_eq!(c.due(d("-000500-03-01"), 11).on, walk(&c, d("-000500-03-01"), 11));
    }

    #[test]
    fn the_ends_of_time_are_no_panic_and_no_guess() {
        let c = Calendar::shipped().unwrap();
        // 0001-01-01 is a Monday, which is not counted; the shipped entries take 127 days more than they give.
        assert_eq!(c.workdays_between(d("0001-01-01"), d("9999-12-31")), i64::from(ALL));
        assert_eq!(c.workdays_between(d("9999-12-31"), d("0001-01-01")), -i64::from(ALL));
        assert_eq!(c.due(d("0001-01-01"), ALL).on, d("9999-12-31"));
        assert_eq!(c.due(d("9999-12-24"), 5), Due { on: d("9999-12-31"), certain: false });
        for (from, n) in [(d("9999-12-30"), 20), (Date::MAX, 1), (Date::MIN, u32::MAX), (d("2026-01-01"), u32::MAX)] {
            assert_eq!(c.due(from, n), Due { on: Date::MAX, certain: false }, "{from} {n}");
        }
        assert_eq!(c.due(Date::MAX, 0).on, Date::MAX);
        assert!(c.workdays_between(Date::MIN, Date::MAX) > 2 * i64::from(ALL) - 1_000);
        assert_eq!(c.due(Date::MIN, 1).on, walk(&c, Date::MIN, 1));
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (years, holidays, makeups, expected) in [
            (&[][..], &[][..], &[][..], "years"),
            (&[2026, 2025], &["2025-01-01", "2026-01-01"], &[], "2025 follows 2026"),
            (&[2024, 2026], &["2024-01-01", "2026-01-01"], &[], "2026 follows 2024"),
            (&[2026, 2026], &["2026-01-01"], &[], "2026 follows 2026"),
            (&[1], &["0001-01-01"], &[], "year 1 "),
            (&[i16::MAX], &[], &[], "year 32767"),
            (&[2025, 2026], &["2026-01-01"], &[], "2025 has no holiday"),
            (&[2026], &[], &["2026-01-04"], "2026 has no holiday"),
            (&[2026], &["2026-13-01"], &[], "is not a day"),
            (&[2026], &["20260101 元旦"], &[], "is not a day"),
            (&[2026], &["2026-01-01T00:00:00"], &[], "is not a day"),
            (&[2026], &["+002026-01-01"], &[], "is not a day"),
            (&[2026], &["2026-02-10/2026-02-01 x"], &[], "a run ends after"),
            (&[2026], &["2026-02-10/2026-06-01 x"], &[], "a run ends after"),
            (&[2026], &["2026-12-31/2027-01-01 元旦"], &[], "2027-01-01 is not in the years"),
            (&[2026], &["2025-12-31/2026-01-01 元旦"], &[], "2025-12-31 is not in the years"),
            (&[2026], &["2026-01-01", "2026-01-01"], &[], "twice"),
            (&[2026], &["2026-01-01", "2026-01-04"], &["2026-01-04"], "twice"),
            (&[2026], &["2026-01-01"], &["2026-01-05"], "worked anyway"),
        ] {
            let why = calendar(years, holidays, makeups).unwrap_err();
            assert!(why.contains(expected), "{expected:?} in {why}");
        }
    }
}
