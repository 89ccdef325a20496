//! What a flush costs on the disk under the tests: times of a node are read in flushes, not in milliseconds.

use std::{
    fs::File,
    io::Write as _,
    time::{Duration, Instant},
};

/// Small writes with a flush each, as a journal does it; answers how long each took.
pub fn flushes(path: &str, count: usize) -> Vec<Duration> {
    let mut file = File::create(path).unwrap();
    let one = |_| {
        let start = Instant::now();
        file.write_all(&[7; 700]).and_then(|()| file.sync_data()).unwrap();
        start.elapsed()
    };
    (0..count).map(one).collect()
}
