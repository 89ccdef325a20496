//! Waits are for conditions, with a limit; never for luck.

use std::{
    thread::sleep,
    time::{Duration, Instant},
};

/// So many seconds.
pub fn seconds(n: u64) -> Duration {
    Duration::from_secs(n)
}

/// Asks every 50 ms, at least once, until there is an answer or the time is over.
pub fn poll<T>(within: Duration, mut ask: impl FnMut() -> Option<T>) -> Option<T> {
    let deadline = Instant::now() + within;
    loop {
        let answer = ask();
        if answer.is_some() || Instant::now() > deadline {
            return answer;
        }
        sleep(Duration::from_millis(50));
    }
}

/// The same; the test fails when the time is over.
pub fn wait_for<T>(what: &str, within: Duration, ask: impl FnMut() -> Option<T>) -> T {
    poll(within, ask).unwrap_or_else(|| panic!("not within {within:?}: {what}"))
}
