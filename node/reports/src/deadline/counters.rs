//! Counts of judged records, and what is shown of them.

use super::judge::Took;
use serde::{Deserialize, Serialize};
use tally_topology::deadline::{DeadlineState, Judged, Stage};
use utoipa::ToSchema;

/// What is added up while records are judged.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Counters {
    on_time: u64,
    late: u64,
    due_soon: u64,
    overdue: u64,
    pending: u64,
    backfill: u64,
    uncertain: u64,
    worst_days_over: i64,
    /// Unit, county, city.
    stages: [StageCounter; 3],
    held_up: [u64; 3],
}

/// Working days of a stage.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct StageCounter {
    days: u64,
    /// Records of which they are.
    over: u64,
    /// Records on whose path the stage is.
    passing: u64,
}

/// Counts of records as they are shown. Shares are of 1; days are working days; null is not known.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct DeadlineCounts {
    /// Records that this is about.
    pub records: u64,
    /// 按时: the province received them within the limit.
    pub on_time: u64,
    /// 迟报: it received them later.
    pub late: u64,
    /// 临期: not known to have arrived, and due within two working days.
    pub due_soon: u64,
    /// 逾期: not known to have arrived, and the limit has passed.
    pub overdue: u64,
    /// Not known to have arrived, and not soon due.
    pub pending: u64,
    /// 历史补录: records of loads of history. They are in none of the other counts.
    #[serde(default)]
    pub backfill: u64,
    /// Of those that are not known to have arrived, those that may have: this node is not the province, and the
    /// province's receipt comes down later. 0 at the province.
    pub unconfirmed: u64,
    /// Share of `on_time` in those that are decided: on time, late and overdue. Null: none is, which is too small a
    /// sample to rank by.
    pub on_time_rate: Option<f64>,
    /// Most working days after the limit; null if none is late or overdue.
    pub worst_days_over: Option<i64>,
    /// Average working days by stage.
    pub stage_days: StageDays,
    /// Records that these are averages of: those of which the stage is known to be over.
    pub stages_over: StageCounts,
    /// Records on whose path the stage is. More than `stages_over`: of the rest it is not known, or goes on.
    pub stages_passed: StageCounts,
    /// Who had those that are late or overdue when their limit passed.
    pub held_up_by: StageCounts,
    /// The calendar covers every day that the limits were counted by.
    pub certain: bool,
}

/// Average working days of the stages that are over; null: of no record is it known.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct StageDays {
    /// From the unit to the node where it entered.
    pub unit: Option<f64>,
    /// At the county's node, until the city (or the province) received it.
    pub county: Option<f64>,
    /// At the city's node, until the province received it.
    pub city: Option<f64>,
}

/// Records by stage.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct StageCounts {
    /// The unit had them.
    pub unit: u64,
    /// The county's node had them.
    pub county: u64,
    /// The city's node had them.
    pub city: u64,
}

fn rounded(part: u64, whole: u64, digits: i32) -> Option<f64> {
    let unit = 10_f64.powi(digits);
    (whole > 0).then(|| (part as f64 / whole as f64 * unit).round() / unit)
}

impl Counters {
    /// Adds a record, and what its stages took.
    pub(super) fn add(&mut self, judged: &Judged, took: &[Option<Took>; 3]) {
        let state = match judged.state {
            DeadlineState::OnTime => &mut self.on_time,
            DeadlineState::Late => &mut self.late,
            DeadlineState::DueSoon => &mut self.due_soon,
            DeadlineState::Overdue => &mut self.overdue,
            DeadlineState::Pending => &mut self.pending,
        };
        *state += 1;
        self.uncertain += u64::from(!judged.collect_certain);
        self.worst_days_over = self.worst_days_over.max(judged.days_over);
        for (stage, took) in self.stages.iter_mut().zip(took) {
            stage.passing += u64::from(took.is_some());
            if let Some(Took::Over(days)) = took {
                stage.days = stage.days.saturating_add(u64::try_from(*days).unwrap_or(0));
                stage.over += 1;
            }
        }
        let [unit, county, city] = &mut self.held_up;
        match judged.held_up_by {
            Some(Stage::Unit) => *unit += 1,
            Some(Stage::County) => *county += 1,
            Some(Stage::City) => *city += 1,
            None => {}
        }
    }

    /// Adds a record of a load of history: nobody was late with it.
    pub(super) fn add_backfill(&mut self) {
        self.backfill += 1;
    }

    /// Adds other sums.
    pub(super) fn merge(&mut self, other: &Self) {
        self.on_time += other.on_time;
        self.late += other.late;
        self.due_soon += other.due_soon;
        self.overdue += other.overdue;
        self.pending += other.pending;
        self.backfill += other.backfill;
        self.uncertain += other.uncertain;
        self.worst_days_over = self.worst_days_over.max(other.worst_days_over);
        for (mine, theirs) in self.stages.iter_mut().zip(&other.stages) {
            mine.days = mine.days.saturating_add(theirs.days);
            mine.over += theirs.over;
            mine.passing += theirs.passing;
        }
        for (mine, theirs) in self.held_up.iter_mut().zip(&other.held_up) {
            *mine += theirs;
        }
    }

    /// As they are shown. `collected_here`: this node is where records have arrived.
    pub(super) fn counts(&self, collected_here: bool) -> DeadlineCounts {
        let open = self.due_soon + self.overdue + self.pending;
        let [unit, county, city] = self.stages.map(|s| rounded(s.days, s.over, 2));
        let by_stage = |[unit, county, city]: [u64; 3]| StageCounts { unit, county, city };
        let missed = self.late + self.overdue;
        DeadlineCounts {
            records: self.on_time + self.late + open,
            on_time: self.on_time,
            late: self.late,
            due_soon: self.due_soon,
            overdue: self.overdue,
            pending: self.pending,
            backfill: self.backfill,
            unconfirmed: if collected_here { 0 } else { open },
            on_time_rate: rounded(self.on_time, self.on_time + missed, 4),
            worst_days_over: (missed > 0).then_some(self.worst_days_over),
            stage_days: StageDays { unit, county, city },
            stages_over: by_stage(self.stages.map(|s| s.over)),
            stages_passed: by_stage(self.stages.map(|s| s.passing)),
            held_up_by: by_stage(self.held_up),
            certain: self.uncertain == 0,
        }
    }

    /// How many are open although their limit has passed.
    pub(super) fn overdue(&self) -> u64 {
        self.overdue
    }

    /// How many limits the calendar does not cover.
    pub(super) fn uncertain(&self) -> u64 {
        self.uncertain
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tally_topology::deadline::{Limits, Path, Received, judge};

    fn add(sums: &mut Counters, days: [&str; 3], today: &str) {
        let [entry, city, province] = days.map(|t| t.parse().ok());
        let received = Received { path: Path::County, entry, city, province };
        let calendar = tally_topology::calendar::Calendar::shipped().unwrap();
        let day = |t: &str| t.parse().unwrap();
        let judged = judge(&calendar, day("2026-09-18"), &Limits::default(), &received, day(today));
        sums.add(&judged, &super::super::judge::took(&judged, &received));
    }

    #[test]
    fn counts_add_up_and_what_is_not_known_is_null() {
        let none = Counters::default().counts(true);
        assert_eq!((none.records, none.on_time_rate, none.worst_days_over), (0, None, None));
        assert_eq!((none.stage_days.clone(), none.certain), (StageDays::default(), true));
        let mut sums = Counters::default();
        add(&mut sums, ["2026-09-21", "2026-09-21", "2026-09-29"], "2026-10-20");
        add(&mut sums, ["2026-09-21", "2026-09-22", "2026-10-09"], "2026-10-20");
        add(&mut sums, ["2026-09-21", "", ""], "2026-10-12");
        add(&mut sums, ["2026-09-21", "", ""], "2026-09-28");
        add(&mut sums, ["2026-09-21", "", ""], "2026-09-22");
        let c = sums.counts(false);
        assert_eq!((c.records, c.on_time, c.late, c.overdue, c.due_soon, c.pending), (5, 1, 1, 1, 1, 1));
        assert_eq!((c.on_time_rate, c.unconfirmed, c.worst_days_over), (Some(0.3333), 3, Some(5)));
        assert_eq!(c.stage_days, StageDays { unit: Some(2.0), county: Some(0.5), city: Some(6.0) });
        let counts = |unit, county, city| StageCounts { unit, county, city };
        assert_eq!((&c.stages_over, &c.stages_passed), (&counts(5, 2, 2), &counts(5, 5, 5)));
        assert_eq!(c.held_up_by, StageCounts { unit: 0, county: 1, city: 1 });
        let mut twice = sums.clone();
        twice.merge(&sums);
        let t = twice.counts(true);
        assert_eq!((t.records, t.unconfirmed, t.on_time_rate, t.worst_days_over), (10, 0, Some(0.3333), Some(5)));
        assert_eq!(t.stage_days, c.stage_days);
        // Of pending ones nothing is decided.
        let mut open = Counters::default();
        add(&mut open, ["2026-09-21", "", ""], "2026-09-22");
        assert_eq!((open.counts(true).on_time_rate, open.counts(true).stage_days.city), (None, None));
    }
}
