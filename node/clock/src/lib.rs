//! The one place that reads the wall clock; and the day in China, which deadlines count.
//!
//! Whoever needs the time of day is told it or asks here. It keeps nothing and knows nothing of Tally: what a clock that jumps
//! does to a log is for others to decide.

use std::time::{SystemTime, UNIX_EPOCH};

/// POSIX milliseconds; 0 before 1970.
#[expect(clippy::disallowed_methods, reason = "the one place that reads the wall clock")]
pub fn now_ms() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_millis() as u64)
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

/// POSIX seconds as RFC 3339 in UTC; `unknown` for times that no calendar has.
pub fn time(seconds: u64) -> String {
    let timestamp = i64::try_from(seconds).ok().and_then(|s| jiff::Timestamp::from_second(s).ok());
    timestamp.map_or_else(|| "unknown".to_owned(), |t| t.to_string())
}

#[cfg(test)]
mod tests {
    #[test]
    fn days_are_those_of_china() {
        assert_eq!(super::day(1_790_000_000).to_string(), "2026-09-21");
        assert_eq!(super::day(16 * 3_600 - 1).to_string(), "1970-01-01");
        assert_eq!(super::day(16 * 3_600).to_string(), "1970-01-02");
        assert!(super::day(u64::MAX).year() > 9_000);
    }
}
