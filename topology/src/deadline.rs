//! Whether a record is in time (R-30, R-31), and who had it when it was not (R-35): pure judgement from the days at which
//! each node on its path received it.

use crate::{
    calendar::Calendar,
    charter::{Charter, Level},
};
use jiff::civil::Date;
use serde::{Deserialize, Serialize, Serializer};
use tally_protocol::ids::Division;

/// Limits, in working days.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Until it reaches the province, counted from the day it was produced (R-30).
    pub collect_days: u32,
    /// Until it is published, counted from the same day (R-31).
    pub publish_days: u32,
    /// So long before the end of the collect limit it is due soon; 0: on its last day only.
    pub due_soon_days: u32,
}

impl Default for Limits {
    /// Those of the plan: 7 and 20 working days; due soon two working days before.
    fn default() -> Self {
        Self { collect_days: 7, publish_days: 20, due_soon_days: 2 }
    }
}

/// The nodes that a record passes: the unit hands it in at the first of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Path {
    /// County, city, province.
    County,
    /// County, province: no city lies between them.
    DirectCounty,
    /// City, province.
    City,
    /// Province: what is received there has arrived.
    Province,
}

impl Path {
    /// The path of the records that enter at a node; `None`: the charter has no such node.
    pub fn of(charter: &Charter, entry: Division) -> Option<Self> {
        let mut levels = charter.path(entry).filter_map(|d| charter.node(d)).map(|n| n.level);
        Some(match levels.next()? {
            Level::National | Level::Province => Self::Province,
            Level::Prefecture => Self::City,
            Level::County if levels.any(|l| l == Level::Prefecture) => Self::County,
            Level::County => Self::DirectCounty,
        })
    }
}

/// Where a record has been received, by the receiver's own clock, as days in China.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Received {
    /// Which nodes it passes.
    pub path: Path,
    /// Durable at the first of them. At the city or the province that is also its receipt.
    pub entry: Option<Date>,
    /// The city's receipt; where no city lies on the path, it does not count.
    pub city: Option<Date>,
    /// The province's receipt: this stops the clock of R-30.
    pub province: Option<Date>,
}

/// How a record stands to its limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DeadlineState {
    /// 按时: arrived within the limit.
    OnTime,
    /// 迟报: arrived after it.
    Late,
    /// On its way, and not soon due.
    Pending,
    /// 临期: on its way, due within [`Limits::due_soon_days`].
    DueSoon,
    /// 逾期: on its way, and the limit has passed.
    Overdue,
}

/// A stage of the collection path, named by who has the record meanwhile (R-35).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Stage {
    /// The unit, until the first node that is known to have received it.
    Unit,
    /// The county's node, until the next above received it. Only of records that enter there.
    County,
    /// The city's node, until the province received it: of records that come from a county or enter there.
    City,
}

/// Working days that each stage took, or has taken so far. Together they are those from the day it was produced to its
/// arrival, or to today: no day counts twice.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Stages {
    /// [`Stage::Unit`]
    pub unit: i64,
    /// [`Stage::County`]; none: it is not known to have had the record.
    pub county: Option<i64>,
    /// [`Stage::City`]; none: it is not known to have had the record.
    pub city: Option<i64>,
}

impl Stages {
    /// The stage that took longest, of equal ones the first; none if none took a working day.
    pub fn longest(&self) -> Option<Stage> {
        let all = [(Stage::Unit, Some(self.unit)), (Stage::County, self.county), (Stage::City, self.city)];
        let took = all.into_iter().filter_map(|(stage, days)| Some((stage, days.filter(|d| *d > 0)?)));
        // Of equal ones `max_by_key` takes the last.
        took.rev().max_by_key(|(_, days)| *days).map(|(stage, _)| stage)
    }
}

/// A judged record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Judged {
    /// How it stands.
    pub state: DeadlineState,
    /// Day by which it must have reached the province (R-30).
    #[serde(serialize_with = "day")]
    pub collect_due: Date,
    /// The calendar covers every day that `collect_due` was counted by.
    pub collect_certain: bool,
    /// Day by which it must be published (R-31).
    #[serde(serialize_with = "day")]
    pub publish_due: Date,
    /// The calendar covers every day that `publish_due` was counted by.
    pub publish_certain: bool,
    /// Working days after the collect limit; 0 if it is in time.
    pub days_over: i64,
    /// The calendar covers every day that was counted for anything here, also those up to its arrival or to today.
    pub certain: bool,
    /// Working days by stage.
    pub stages: Stages,
    /// The stage that took longest: [`Stages::longest`].
    pub longest: Option<Stage>,
    /// Who had it when the limit passed; none if it is in time.
    pub held_up_by: Option<Stage>,
}

fn day<S: Serializer>(day: &Date, s: S) -> Result<S::Ok, S::Error> {
    s.collect_str(day)
}

/// Judges a record on the day `today`.
///
/// Days that contradict one another are taken in favour of the earlier holder: what a later node has received, the nodes
/// before it have passed on by then; and no stage begins before the record was produced.
pub fn judge(calendar: &Calendar, produced_on: Date, limits: &Limits, received: &Received, today: Date) -> Judged {
    let collect = calendar.due(produced_on, limits.collect_days);
    let publish = calendar.due(produced_on, limits.publish_days);
    let arrived = match received.path {
        Path::Province => received.province.or(received.entry),
        _ => received.province,
    };
    let clock = arrived.unwrap_or(today);
    let state = match arrived {
        Some(day) if day <= collect.on => DeadlineState::OnTime,
        Some(_) => DeadlineState::Late,
        None if today > collect.on => DeadlineState::Overdue,
        None if calendar.workdays_between(today, collect.on) <= i64::from(limits.due_soon_days) => {
            DeadlineState::DueSoon
        }
        None => DeadlineState::Pending,
    };
    let missed = matches!(state, DeadlineState::Late | DeadlineState::Overdue);
    let held = Held::new(produced_on, received, clock);
    let stages = held.stages(calendar);
    Judged {
        state,
        collect_due: collect.on,
        collect_certain: collect.certain,
        publish_due: publish.on,
        publish_certain: publish.certain,
        // On a day off after the limit no further working day has passed.
        days_over: if missed { calendar.workdays_between(collect.on, clock).max(1) } else { 0 },
        certain: collect.certain && publish.certain && calendar.covers_between(clock, collect.on),
        stages,
        longest: stages.longest(),
        held_up_by: missed.then(|| held.on(collect.on)),
    }
}

/// From when on each stage had the record: ascending, and without a gap until the end.
struct Held {
    unit: Date,
    county: Option<Date>,
    city: Option<Date>,
    until: Date,
}

impl Held {
    fn new(produced_on: Date, received: &Received, clock: Date) -> Self {
        let (county, city) = match received.path {
            Path::County => (received.entry, received.city),
            Path::DirectCounty => (received.entry, None),
            Path::City => (None, received.entry.into_iter().chain(received.city).min()),
            Path::Province => (None, None),
        };
        let until = clock.max(produced_on);
        let city = city.map(|d| d.min(until).max(produced_on));
        let county = county.map(|d| d.min(city.unwrap_or(until)).max(produced_on));
        Self { unit: produced_on, county, city, until }
    }

    fn stages(&self, calendar: &Calendar) -> Stages {
        let to_city = self.city.unwrap_or(self.until);
        Stages {
            unit: calendar.workdays_between(self.unit, self.county.unwrap_or(to_city)),
            county: self.county.map(|from| calendar.workdays_between(from, to_city)),
            city: self.city.map(|from| calendar.workdays_between(from, self.until)),
        }
    }

    /// Who had it at the end of a day.
    fn on(&self, day: Date) -> Stage {
        match (self.county, self.city) {
            (_, Some(from)) if from <= day => Stage::City,
            (Some(from), _) if from <= day => Stage::County,
            _ => Stage::Unit,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::charter::tests::{document, sample};

    fn d(text: &str) -> Date {
        text.parse().unwrap()
    }

    /// Produced on 2026-09-18: the 7th working day is 2026-09-29, the 20th 2026-10-22.
    fn on(path: Path, days: [&str; 3], today: &str) -> Judged {
        let [entry, city, province] = days.map(|t| (!t.is_empty()).then(|| d(t)));
        let received = Received { path, entry, city, province };
        judge(&Calendar::shipped().unwrap(), d("2026-09-18"), &Limits::default(), &received, d(today))
    }

    fn at(entry: &str, city: &str, province: &str, today: &str) -> Judged {
        on(Path::County, [entry, city, province], today)
    }

    fn stages(unit: i64, county: impl Into<Option<i64>>, city: impl Into<Option<i64>>) -> Stages {
        Stages { unit, county: county.into(), city: city.into() }
    }

    #[test]
    fn the_receivers_day_decides() {
        let j = at("2026-09-21", "2026-09-21", "2026-09-29", "2026-11-01");
        assert_eq!((j.state, j.days_over, j.held_up_by), (DeadlineState::OnTime, 0, None));
        assert_eq!((j.collect_due, j.publish_due, j.certain), (d("2026-09-29"), d("2026-10-22"), true));
        let j = at("2026-09-21", "2026-09-21", "2026-09-30", "2026-11-01");
        assert_eq!((j.state, j.days_over, j.held_up_by), (DeadlineState::Late, 1, Some(Stage::City)));
        assert_eq!(j.stages, stages(2, 0, 6), "Sunday the 20th is worked");
        assert_eq!(at("2026-09-21", "", "", "2026-09-22").state, DeadlineState::Pending);
        assert_eq!(at("2026-09-21", "", "", "2026-09-28").state, DeadlineState::DueSoon);
        assert_eq!(at("2026-09-21", "", "", "2026-09-29").state, DeadlineState::DueSoon);
        let j = at("2026-09-21", "", "", "2026-10-03");
        assert_eq!(
            (j.state, j.days_over, j.held_up_by),
            (DeadlineState::Overdue, 1, Some(Stage::County)),
            "09-30 is worked"
        );
    }

    #[test]
    fn how_soon_is_soon_can_be_said() {
        let state = |due_soon_days, today| {
            let received = Received { path: Path::City, entry: None, city: None, province: None };
            let limits = Limits { due_soon_days, ..Limits::default() };
            judge(&Calendar::shipped().unwrap(), d("2026-09-18"), &limits, &received, d(today)).state
        };
        assert_eq!((state(0, "2026-09-28"), state(0, "2026-09-29")), (DeadlineState::Pending, DeadlineState::DueSoon));
        assert_eq!((state(5, "2026-09-20"), state(5, "2026-09-21")), (DeadlineState::Pending, DeadlineState::DueSoon));
        assert_eq!(state(u32::MAX, "2026-09-30"), DeadlineState::Overdue);
    }

    #[test]
    fn lateness_is_charged_to_whoever_had_it() {
        use Path::{City, County, DirectCounty, Province};
        for (path, days, held_up_by, took) in [
            (County, ["2026-10-09", "2026-10-09", "2026-10-09"], Stage::Unit, stages(10, 0, 0)),
            (County, ["2026-09-29", "2026-10-09", "2026-10-09"], Stage::County, stages(7, 3, 0)),
            (County, ["2026-09-21", "2026-09-22", "2026-10-09"], Stage::City, stages(2, 1, 7)),
            (County, ["2026-09-21", "2026-09-22", ""], Stage::City, stages(2, 1, 8)),
            (County, ["2026-09-21", "", ""], Stage::County, stages(2, 9, None)),
            (County, ["", "", ""], Stage::Unit, stages(11, None, None)),
            // The county's receipt is not known: its days are the unit's, once.
            (County, ["", "2026-09-22", "2026-10-09"], Stage::City, stages(3, None, 7)),
            (County, ["", "2026-09-30", ""], Stage::Unit, stages(8, None, 3)),
            (County, ["", "", "2026-10-09"], Stage::Unit, stages(10, None, None)),
            (DirectCounty, ["2026-09-21", "", "2026-10-09"], Stage::County, stages(2, 8, None)),
            (DirectCounty, ["2026-09-21", "2026-09-22", "2026-10-09"], Stage::County, stages(2, 8, None)),
            (City, ["2026-09-21", "", "2026-10-09"], Stage::City, stages(2, None, 8)),
            (City, ["2026-09-21", "2026-09-21", ""], Stage::City, stages(2, None, 9)),
            (City, ["", "2026-09-21", ""], Stage::City, stages(2, None, 9)),
            (City, ["2026-09-30", "", "2026-10-09"], Stage::Unit, stages(8, None, 2)),
            (Province, ["2026-10-09", "", ""], Stage::Unit, stages(10, None, None)),
            (Province, ["2026-10-09", "", "2026-10-09"], Stage::Unit, stages(10, None, None)),
            (Province, ["", "", ""], Stage::Unit, stages(11, None, None)),
        ] {
            let j = on(path, days, "2026-10-10");
            assert_eq!((j.held_up_by, j.stages), (Some(held_up_by), took), "{path:?} {days:?}");
        }
        // At the province it has arrived.
        assert_eq!(on(Province, ["2026-09-29", "", ""], "2026-10-10").state, DeadlineState::OnTime);
        assert_eq!(on(City, ["2026-09-29", "", ""], "2026-10-10").state, DeadlineState::Overdue);
    }

    #[test]
    fn whatever_the_days_are_none_counts_twice() {
        let c = Calendar::shipped().unwrap();
        let days = ["", "2026-09-10", "2026-09-18", "2026-09-23", "2026-10-12", "9999-12-31"];
        for path in [Path::County, Path::DirectCounty, Path::City, Path::Province] {
            for (entry, city) in days.iter().flat_map(|e| days.iter().map(move |c| (*e, *c))) {
                for (province, today) in days.iter().flat_map(|p| days[1..].iter().map(move |t| (*p, *t))) {
                    let j = on(path, [entry, city, province], today);
                    let s = j.stages;
                    let arrived = [province, if path == Path::Province { entry } else { "" }, today];
                    let end = arrived.iter().find(|t| !t.is_empty()).map(|t| d(t).max(d("2026-09-18"))).unwrap();
                    let all = s.unit + s.county.unwrap_or(0) + s.city.unwrap_or(0);
                    assert_eq!(all, c.workdays_between(d("2026-09-18"), end), "{path:?} {entry} {city} {province}");
                    assert!(s.unit >= 0 && s.county.is_none_or(|n| n >= 0) && s.city.is_none_or(|n| n >= 0));
                }
            }
        }
    }

    #[test]
    fn the_longest_stage() {
        assert_eq!(at("2026-09-21", "2026-09-22", "2026-10-09", "2026-10-10").longest, Some(Stage::City));
        assert_eq!(stages(3, 3, 3).longest(), Some(Stage::Unit));
        assert_eq!(stages(1, 3, 3).longest(), Some(Stage::County));
        assert_eq!(stages(0, None, 1).longest(), Some(Stage::City));
        assert_eq!(stages(0, 0, None).longest(), None);
    }

    #[test]
    fn what_the_calendar_does_not_cover_is_not_certain() {
        let certain = |produced_on: &str, province: &str, today: &str| {
            let province = (!province.is_empty()).then(|| d(province));
            let received = Received { path: Path::City, entry: None, city: None, province };
            let j = judge(&Calendar::shipped().unwrap(), d(produced_on), &Limits::default(), &received, d(today));
            (j.collect_certain, j.publish_certain, j.certain)
        };
        assert_eq!(certain("2026-09-18", "", "2026-12-31"), (true, true, true));
        // The limits are certain; how long it has been overdue is not.
        assert_eq!(certain("2026-09-18", "", "2027-01-04"), (true, true, false));
        // What has arrived is not counted further.
        assert_eq!(certain("2026-09-18", "2026-12-31", "2027-01-04"), (true, true, true));
        assert_eq!(certain("2026-12-11", "2026-12-14", "2026-12-14"), (true, false, false));
        assert_eq!(certain("2026-12-28", "2026-12-29", "2026-12-29"), (false, false, false));
        assert_eq!(certain("2015-12-31", "2016-01-04", "2016-01-04"), (true, true, true));
        // A day of production that is yet to come: the days until it are counted too.
        assert_eq!(certain("2016-01-04", "", "2015-12-01"), (true, true, false));
        for produced_on in ["9999-12-30", "9999-12-31", "-009999-01-01", "0001-01-01"] {
            assert_eq!(certain(produced_on, "", "2026-09-18"), (false, false, false), "{produced_on}");
            assert_eq!(certain(produced_on, "9999-12-31", "9999-12-31"), (false, false, false), "{produced_on}");
        }
    }

    #[test]
    fn the_charter_says_the_path() {
        let charter = Charter::parse(&document(1, &sample())).unwrap();
        let of = |code: u32| Path::of(&charter, Division::try_from(code).unwrap());
        assert_eq!((of(350_102), of(350_128)), (Some(Path::County), Some(Path::DirectCounty)));
        assert_eq!((of(350_100), of(350_000)), (Some(Path::City), Some(Path::Province)));
        assert_eq!(of(110_101), None);
    }

    #[test]
    fn as_others_read_it() {
        let j = at("2026-09-21", "", "", "2026-09-30");
        let expected = r#"
            state = "overdue"
            collect_due = "2026-09-29"
            collect_certain = true
            publish_due = "2026-10-22"
            publish_certain = true
            days_over = 1
            certain = true
            stages = { unit = 2, county = 6 }
            longest = "county"
            held_up_by = "county"
        "#;
        assert_eq!(toml::Table::try_from(j).unwrap(), toml::from_str::<toml::Table>(expected).unwrap());
    }
}
