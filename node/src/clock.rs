//! The one place that reads the wall clock.

use std::time::{SystemTime, UNIX_EPOCH};

/// POSIX milliseconds; 0 before 1970.
pub fn now_ms() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_millis() as u64)
}
