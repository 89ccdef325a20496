//! When each level received the records of each log: every receipt that the core knows, as one day per run.

use jiff::civil::Date;
use std::collections::BTreeMap;
use tally_core::log::HeldLog;
use tally_protocol::ids::{Division, LogId};
use tally_topology::{
    charter::{Charter, Level},
    deadline::{Path, Received},
};

/// A copy of the receipts' days, made in the core. Small: consecutive receipts of one day are one pair.
#[derive(Debug, Clone, Default)]
pub struct Arrivals(BTreeMap<LogId, Way>);

/// Records below the size were received on that day; ascending.
type Days = Vec<(u64, Date)>;

#[derive(Debug, Clone)]
struct Way {
    path: Path,
    city: Days,
    province: Days,
}

fn days(log: &HeldLog, holder: Option<Division>) -> Days {
    let mut days = Days::new();
    for receipt in holder.into_iter().flat_map(|h| log.receipts_over(h, 0)) {
        let day = tally_clock::day(receipt.time);
        match days.last_mut() {
            Some(last) if last.1 == day => last.0 = receipt.size,
            _ => days.push((receipt.size, day)),
        }
    }
    days
}

/// Day of the first receipt that covers a record.
fn first(days: &Days, index: u64) -> Option<Date> {
    days.get(days.partition_point(|(size, _)| *size <= index)).map(|(_, day)| *day)
}

fn earliest(a: Option<Date>, b: Option<Date>) -> Option<Date> {
    a.into_iter().chain(b).min()
}

impl Arrivals {
    /// Of the logs that a node holds.
    pub fn of<'l>(charter: &Charter, logs: impl IntoIterator<Item = (&'l LogId, &'l HeldLog)>) -> Self {
        let way = |(id, log): (&LogId, &HeldLog)| {
            let at = |level| charter.path(id.division).find(|d| charter.node(*d).is_some_and(|n| n.level == level));
            // A federation that has no province collects at its top.
            let last = at(Level::Province).or(charter.top())?;
            let city = at(Level::Prefecture).filter(|c| *c != last);
            let path = match Path::of(charter, id.division)? {
                _ if id.division == last => Path::Province,
                Path::County if city.is_none() => Path::DirectCounty,
                path => path,
            };
            Some((*id, Way { path, city: days(log, city), province: days(log, Some(last)) }))
        };
        Self(logs.into_iter().filter_map(way).collect())
    }

    /// Where a record was received, as far as it is known here, by any of the logs that hold it: each log, its place in
    /// it, and when it was sealed there. The path is that of the first. `None`: no node of the charter wrote that log.
    pub fn received(&self, attested: impl IntoIterator<Item = (LogId, u64, u64)>) -> Option<Received> {
        let mut all: Option<Received> = None;
        for (log, index, sealed_at) in attested {
            let Some(way) = self.0.get(&log) else { continue };
            let entry = Some(tally_clock::day(sealed_at));
            let (city, province) = match way.path {
                Path::Province => (None, entry),
                Path::City => (entry, first(&way.province, index)),
                Path::County | Path::DirectCounty => (first(&way.city, index), first(&way.province, index)),
            };
            all = Some(match all {
                None => Received { path: way.path, entry, city, province },
                Some(r) => Received {
                    path: r.path,
                    entry: earliest(r.entry, entry),
                    city: earliest(r.city, city),
                    province: earliest(r.province, province),
                },
            });
        }
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tally_core::Place;
    use tally_topology::sample::charter;

    fn d(text: &str) -> Date {
        text.parse().unwrap()
    }

    fn log(text: &str) -> LogId {
        text.parse().unwrap()
    }

    fn division(code: u32) -> Division {
        code.try_into().unwrap()
    }

    /// POSIX seconds of noon in China.
    fn noon(day: &str) -> u64 {
        let time: jiff::Timestamp = format!("{day}T12:00:00+08:00").parse().unwrap();
        time.as_second().cast_unsigned()
    }

    fn held(receipts: &[(u32, u64, &str)]) -> HeldLog {
        let mut held = HeldLog::default();
        for (holder, size, day) in receipts {
            let place = Place(*size);
            held.keep_receipt(division(*holder), (*size, noon(day), 1), place);
        }
        held
    }

    #[test]
    fn the_first_receipt_over_a_record_says_the_day() {
        let county = held(&[
            (350_100, 3, "2026-09-21"),
            (350_100, 5, "2026-09-21"),
            (350_100, 9, "2026-09-23"),
            (350_000, 5, "2026-09-22"),
        ]);
        let logs = BTreeMap::from([(log("350102/e1"), county)]);
        let arrivals = Arrivals::of(&charter(""), &logs);
        assert_eq!(arrivals.0[&log("350102/e1")].city.len(), 2, "one pair a day");
        let at = |index| arrivals.received([(log("350102/e1"), index, noon("2026-09-20"))]).unwrap();
        assert_eq!(
            (at(0).city, at(4).city, at(5).city),
            (Some(d("2026-09-21")), Some(d("2026-09-21")), { Some(d("2026-09-23")) })
        );
        // Not known is none, and never the day of another record.
        assert_eq!((at(4).province, at(5).province, at(9).city), (Some(d("2026-09-22")), None, None));
        assert_eq!((at(0).path, at(0).entry), (Path::County, Some(d("2026-09-20"))));
        assert!(arrivals.received([(log("350103/e1"), 0, 0)]).is_none());
    }

    #[test]
    fn the_earliest_of_several_logs_counts() {
        let logs = BTreeMap::from([
            (log("350102/e1"), held(&[(350_000, 9, "2026-10-20")])),
            (log("350100/e1"), held(&[(350_000, 9, "2026-10-12")])),
            (log("350000/e1"), held(&[])),
        ]);
        let arrivals = Arrivals::of(&charter(""), &logs);
        let all = [(log("350102/e1"), 0, noon("2026-10-09")), (log("350100/e1"), 3, noon("2026-10-10"))];
        let r = arrivals.received(all).unwrap();
        assert_eq!((r.path, r.entry), (Path::County, Some(d("2026-10-09"))));
        assert_eq!((r.city, r.province), (Some(d("2026-10-10")), Some(d("2026-10-12"))));
        let r = arrivals.received([(log("350000/e1"), 0, noon("2026-10-09"))]).unwrap();
        assert_eq!((r.path, r.province), (Path::Province, Some(d("2026-10-09"))), "its seal is its arrival");
    }

    #[test]
    fn where_there_is_no_province_the_top_collects() {
        let charter = tally_topology::sample::without_province();
        let logs =
            BTreeMap::from([(log("350102/e1"), held(&[(350_100, 9, "2026-10-12")])), (log("350100/e1"), held(&[]))]);
        let arrivals = Arrivals::of(&charter, &logs);
        let r = arrivals.received([(log("350102/e1"), 0, noon("2026-10-09"))]).unwrap();
        assert_eq!((r.path, r.city, r.province), (Path::DirectCounty, None, Some(d("2026-10-12"))));
        let r = arrivals.received([(log("350100/e1"), 0, noon("2026-10-09"))]).unwrap();
        assert_eq!((r.path, r.province), (Path::Province, Some(d("2026-10-09"))));
    }
}
