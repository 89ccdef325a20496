//! What units declare besides records: zero reports and liaison tasks, read from their records.

use super::Month;
use jiff::civil::Date;
use std::collections::BTreeMap;
use tally_protocol::{
    canonical::Object,
    ids::{Division, LogId},
};

/// Category of zero reports.
pub(super) const ZERO_REPORT: &str = "zero_report";
/// Category of liaison tasks.
pub(super) const LIAISON: &str = "liaison";
/// Most units and categories of each.
const DECLARED_MAX: usize = 50_000;
/// Longest text that is kept, in characters: the catalog allows as many.
const TEXT_MAX: usize = 200;

/// Unit and category.
pub(super) type Pair = (String, String);

/// Zero reports of a unit for a category.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct ZeroReport {
    pub(super) division: Option<Division>,
    pub(super) reports: u64,
    /// Days of the month that they cover: bit 0 is the first.
    days: u32,
}

impl ZeroReport {
    /// Whether a day of the month is covered.
    pub(super) fn covers(&self, day: Date) -> bool {
        self.days & (1 << (day.day() - 1)) != 0
    }
}

/// Epoch and index of a record, then its log: whoever keeps a task goes on in its own logs.
pub(super) type TaskPlace = (u32, u64, LogId);

/// The newest record of a liaison task.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct DeclaredTask {
    pub(super) division: Option<Division>,
    pub(super) owner: Option<String>,
    pub(super) due_on: Option<String>,
    pub(super) state: Option<String>,
    place: Option<TaskPlace>,
}

/// All of them.
#[derive(Debug, Default)]
pub(super) struct Declared {
    pub(super) zero: BTreeMap<Pair, ZeroReport>,
    pub(super) liaison: BTreeMap<Pair, DeclaredTask>,
    /// Some were left out.
    pub(super) full: bool,
}

fn room<V: Default>(map: &mut BTreeMap<Pair, V>, pair: Pair) -> Option<&mut V> {
    (map.len() < DECLARED_MAX || map.contains_key(&pair)).then(|| map.entry(pair).or_default())
}

impl Declared {
    /// Takes a record's bytes. What is not in form says nothing.
    pub(super) fn take(&mut self, month: Month, place: TaskPlace, bytes: &[u8]) {
        let Ok(object) = Object::parse(bytes) else { return };
        let text = |f: &str| object.text(f).map(|t| t.chars().take(TEXT_MAX).collect::<String>());
        let day = |f: &str| object.text(f)?.parse::<Date>().ok();
        let Some(pair) = text("producer_uscc").zip(text("reported_category")) else { return };
        let division = object.text("producer_division").and_then(|d| d.parse().ok());
        match object.text("category") {
            Some(ZERO_REPORT) => {
                let Some((from, until)) = day("period_from").zip(day("period_until")) else { return };
                let (from, until) = (from.max(month.first()), until.min(month.last()));
                if from > until {
                    return;
                }
                let Some(zero) = room(&mut self.zero, pair) else { return self.full = true };
                zero.division = division;
                zero.reports += 1;
                (from.day()..=until.day()).for_each(|d| zero.days |= 1 << (d - 1));
            }
            Some(LIAISON) => {
                let task = DeclaredTask {
                    division,
                    owner: text("owner"),
                    due_on: text("due_on"),
                    state: text("state"),
                    place: Some(place),
                };
                let Some(held) = room(&mut self.liaison, pair) else { return self.full = true };
                if held.place.is_none_or(|p| p <= place) {
                    *held = task;
                }
            }
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn d(text: &str) -> Date {
        text.parse().unwrap()
    }

    fn take(declared: &mut Declared, index: u64, json: &str) {
        let place = (1, index, "350102/e1".parse().unwrap());
        declared.take("2026-11".parse().unwrap(), place, json.as_bytes());
    }

    fn zero(from: &str, until: &str) -> String {
        format!(
            r#"{{"category":"zero_report","period_from":"{from}","period_until":"{until}","producer_division":"350102","producer_uscc":"U","reported_category":"spot_check"}}"#
        )
    }

    #[test]
    fn periods_add_up_to_days_of_the_month() {
        let mut declared = Declared::default();
        for (from, until) in [("2026-10-20", "2026-11-03"), ("2026-11-29", "2027-01-01"), ("2026-12-01", "2026-12-31")]
        {
            take(&mut declared, 1, &zero(from, until));
        }
        take(&mut declared, 1, &zero("2026-11-20", "2026-11-10"));
        take(&mut declared, 1, &zero("2026-11-31", "2026-11-10"));
        take(&mut declared, 1, "no json");
        let zero = &declared.zero[&("U".to_owned(), "spot_check".to_owned())];
        assert_eq!((zero.reports, zero.division), (2, Some("350102".parse().unwrap())));
        let covered = |day: &str| zero.covers(d(day));
        assert!(covered("2026-11-01") && covered("2026-11-03") && covered("2026-11-29") && covered("2026-11-30"));
        assert!(!covered("2026-11-04") && !covered("2026-11-28"));
    }

    #[test]
    fn the_newest_record_of_a_task_counts() {
        let task = |state: &str| {
            format!(
                r#"{{"category":"liaison","due_on":"2026-12-31","owner":"办公室","producer_uscc":"U","reported_category":"other","state":"{state}"}}"#
            )
        };
        let mut declared = Declared::default();
        take(&mut declared, 5, &task("done"));
        take(&mut declared, 3, &task("open"));
        let held = &declared.liaison[&("U".to_owned(), "other".to_owned())];
        assert_eq!((held.state.as_deref(), held.owner.as_deref()), (Some("done"), Some("办公室")));
        take(&mut declared, 9, &task("open"));
        assert_eq!(declared.liaison.values().next().unwrap().state.as_deref(), Some("open"));
        assert!(!declared.full);
    }
}
