//! The one place that reads the wall clock; and the day in China, which deadlines count.
//!
//! Whoever needs the time of day is told it or asks here. A machine's clock may be wrong: whoever knows by how much says so
//! ([`correct`]), and everybody is told the corrected time from then on. How that is known is not known here.

use std::{
    sync::atomic::{AtomicBool, AtomicI64, Ordering},
    time::{SystemTime, UNIX_EPOCH},
};

static CORRECTION_MS: AtomicI64 = AtomicI64::new(0);
static DOUBTED: AtomicBool = AtomicBool::new(false);

/// What the machine's clock says, right or wrong: POSIX milliseconds; 0 before 1970.
#[expect(clippy::disallowed_methods, reason = "the one place that reads the wall clock")]
pub fn wall_ms() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_millis() as u64)
}

/// Milliseconds since some moment, by a clock that nobody sets and that also runs while the machine sleeps.
pub fn steady_ms() -> u64 {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
    let seconds = u64::try_from(time.tv_sec).unwrap_or(0);
    seconds.saturating_mul(1_000).saturating_add(u64::try_from(time.tv_nsec).unwrap_or(0) / 1_000_000)
}

/// The machine's clock has to be put forward by so many milliseconds to be right; the whole process reckons with it.
/// `doubted`: even so, the day is not known for sure.
pub fn correct(by_ms: i64, doubted: bool) {
    CORRECTION_MS.store(by_ms, Ordering::Relaxed);
    DOUBTED.store(doubted, Ordering::Relaxed);
}

/// The time, as far as it is known: POSIX milliseconds.
pub fn now_ms() -> u64 {
    wall_ms().saturating_add_signed(CORRECTION_MS.load(Ordering::Relaxed))
}

/// The day in China (UTC+8, no summer time since 1991) at a POSIX time in seconds.
pub fn day(posix: u64) -> jiff::civil::Date {
    let seconds = i64::try_from(posix).unwrap_or(i64::MAX).saturating_add(8 * 3_600);
    let time = jiff::Timestamp::from_second(seconds).unwrap_or(jiff::Timestamp::MAX);
    jiff::tz::Offset::UTC.to_datetime(time).date()
}

/// Today in China.
pub fn today() -> jiff::civil::Date {
    day(now_ms() / 1_000)
}

/// The day as of which a row is judged: today in China; `Date::MAX` while that is not known for sure, because a wrong clock
/// must not reject a row.
pub fn judging_day() -> jiff::civil::Date {
    if DOUBTED.load(Ordering::Relaxed) { jiff::civil::Date::MAX } else { today() }
}

/// POSIX seconds as RFC 3339 in UTC; `unknown` for times that no calendar has.
pub fn time(seconds: u64) -> String {
    let timestamp = i64::try_from(seconds).ok().and_then(|s| jiff::Timestamp::from_second(s).ok());
    timestamp.map_or_else(|| "unknown".to_owned(), |t| t.to_string())
}

#[cfg(test)]
mod tests {
    #[test]
    fn a_clock_that_is_wrong_is_corrected() {
        super::correct(-86_400_000, true);
        assert_eq!(super::judging_day(), jiff::civil::Date::MAX);
        assert!(super::wall_ms() - super::now_ms() > 86_000_000);
        super::correct(0, false);
        assert_eq!(super::judging_day(), super::today());
        assert!(super::wall_ms().abs_diff(super::now_ms()) < 86_000_000);
    }

    #[test]
    fn days_are_those_of_china() {
        assert_eq!(super::day(1_790_000_000).to_string(), "2026-09-21");
        assert_eq!(super::day(16 * 3_600 - 1).to_string(), "1970-01-01");
        assert_eq!(super::day(16 * 3_600).to_string(), "1970-01-02");
        assert!(super::day(u64::MAX).year() > 9_000);
    }
}
