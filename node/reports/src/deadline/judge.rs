//! The one place that judges: a record's days against the limits of its category.

use jiff::civil::Date;
use std::collections::{BTreeSet, HashMap};
use tally_topology::{
    catalog::{Catalogs, Category},
    charter::Charter,
    deadline::{DeadlineState, Judged, Limits, Path, Received, judge},
};

/// Judgements that are remembered: records of one day that went one way are judged alike.
const REMEMBERED: usize = 1 << 16;
/// Years that are named as not covered.
const YEARS_MAX: usize = 100;

type JudgedCase = (Date, u32, u32, PathDays);
type PathDays = (u8, Option<Date>, Option<Date>, Option<Date>);

/// Judges records on one day.
#[derive(Debug)]
pub(super) struct DeadlineJudge<'c> {
    charter: &'c Charter,
    today: Date,
    remembered: HashMap<JudgedCase, Judged>,
    /// Years that deadlines were counted in and the calendar does not cover.
    pub(super) years: BTreeSet<i16>,
}

/// Limits of a category on a day, for whoever asks by its name: those of the catalog in force then, else of the
/// newest version that has the category.
pub(super) fn category<'c>(catalogs: &'c Catalogs, id: &str, day: Date) -> Option<&'c Category> {
    let newest = || catalogs.versions().iter().rev().find_map(|v| v.category(id));
    catalogs.current(day).category(id).or_else(newest).map(AsRef::as_ref)
}

/// A number YYYYMMDD as a day.
pub(super) fn day(number: u32) -> Option<Date> {
    let (year, rest) = (number / 10_000, number % 10_000);
    let part = |n: u32| i8::try_from(n).ok();
    Date::new(i16::try_from(year).ok().filter(|y| *y > 0)?, part(rest / 100)?, part(rest % 100)?).ok()
}

impl<'c> DeadlineJudge<'c> {
    pub(super) fn new(charter: &'c Charter, today: Date) -> Self {
        Self { charter, today, remembered: HashMap::new(), years: BTreeSet::new() }
    }

    pub(super) fn judge(&mut self, produced_on: Date, category: &Category, received: &Received) -> Judged {
        let way = (received.path as u8, received.entry, received.city, received.province);
        let case = (produced_on, category.collect_days, category.publish_days, way);
        if let Some(judged) = self.remembered.get(&case) {
            return *judged;
        }
        if self.remembered.len() >= REMEMBERED {
            self.remembered.clear();
        }
        let limits =
            Limits { collect_days: category.collect_days, publish_days: category.publish_days, ..Limits::default() };
        let judged = judge(self.charter.calendar(), produced_on, &limits, received, self.today);
        self.remembered.insert(case, judged);
        judged
    }

    /// This deadline counts in the report: years that it was counted in and that are not covered are remembered.
    pub(super) fn note_years(&mut self, produced_on: Date, judged: &Judged) {
        if !judged.collect_certain && self.years.len() < YEARS_MAX {
            self.years.extend(uncovered_years(self.charter, produced_on, judged.collect_due));
        }
    }
}

/// Years that days after `from` up to `to` lie in and the calendar does not cover, looked at by their two ends: covered
/// years have no gap.
pub(super) fn uncovered_years(charter: &Charter, from: Date, to: Date) -> BTreeSet<i16> {
    let ends = [from.tomorrow().unwrap_or(from), to];
    ends.into_iter().filter(|d| !charter.calendar().covers(*d)).map(Date::year).collect()
}

/// What is known of a stage that is on a record's path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Took {
    /// It is over, and took so many working days.
    Over(i64),
    /// It goes on, or how long it took is not known here.
    Unknown,
}

/// Stages on a record's path, and how long those that are over took: unit, county, city.
pub(super) fn took(judged: &Judged, received: &Received) -> [Option<Took>; 3] {
    let (county, city) = match received.path {
        Path::County => (true, true),
        Path::DirectCounty => (true, false),
        Path::City => (false, true),
        Path::Province => (false, false),
    };
    let of = |(on_path, days): (bool, Option<i64>)| on_path.then(|| days.map_or(Took::Unknown, Took::Over));
    let [unit_days, county_days, city_days] = finished(judged, received);
    [(true, unit_days), (county, county_days), (city, city_days)].map(of)
}

/// Working days of the stages that do not grow any more.
fn finished(judged: &Judged, received: &Received) -> [Option<i64>; 3] {
    let arrived = matches!(judged.state, DeadlineState::OnTime | DeadlineState::Late);
    let known = received.entry.or(received.city).or(received.province).is_some();
    let passed_on = arrived || (received.path == Path::County && received.city.is_some());
    [
        Some(judged.stages.unit).filter(|_| known),
        judged.stages.county.filter(|_| passed_on),
        judged.stages.city.filter(|_| arrived),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use tally_topology::sample::charter;

    fn d(text: &str) -> Date {
        text.parse().unwrap()
    }

    #[test]
    fn numbers_that_are_no_days_are_none() {
        assert_eq!(day(20_260_131), Some(d("2026-01-31")));
        for bad in [0, 20_260_231, 20_261_301, 131, u32::MAX] {
            assert_eq!(day(bad), None, "{bad}");
        }
    }

    #[test]
    fn what_is_remembered_is_what_is_judged() {
        let charter = charter("");
        let licence = category(charter.catalogs(), "admin_license", d("2026-09-18")).unwrap();
        let mut by = DeadlineJudge::new(&charter, d("2026-10-12"));
        let received = |city: Option<&str>| Received {
            path: Path::County,
            entry: Some(d("2026-09-21")),
            city: city.map(d),
            province: None,
        };
        for _ in 0..2 {
            let open = by.judge(d("2026-09-18"), licence, &received(None));
            assert_eq!((open.state, open.collect_due), (DeadlineState::Overdue, d("2026-09-29")));
            assert_eq!(took(&open, &received(None)), [Some(Took::Over(2)), Some(Took::Unknown), Some(Took::Unknown)]);
            let open = by.judge(d("2026-09-18"), licence, &received(Some("2026-09-22")));
            assert_eq!(took(&open, &received(Some("2026-09-22"))), {
                [Some(Took::Over(2)), Some(Took::Over(1)), Some(Took::Unknown)]
            });
        }
        let at_province = Received { path: Path::Province, ..received(None) };
        let arrived = by.judge(d("2026-09-18"), licence, &at_province);
        assert_eq!(took(&arrived, &at_province), [Some(Took::Over(2)), None, None], "no other stage is on its path");
        let far = by.judge(d("2026-12-28"), licence, &received(None));
        by.note_years(d("2026-12-28"), &far);
        assert_eq!((far.collect_certain, by.years.into_iter().collect::<Vec<_>>()), (false, vec![2027]));
        assert!(category(charter.catalogs(), "weather", d("2026-09-18")).is_none());
    }
}
