//! The index's engine under the indexer's load: two pairs a record, random keys; in small writes, as when records trickle in, and
//! in the largest, as when the indexer is behind.
//!
//! `cargo bench -p tally-tests --bench index -- 1000000` (records, default 200,000). Each size of writes runs in a process of its own, one after
//! the other, so that memory is its own; read the figures as ratios.

use std::{process::Command, time::Instant};
use tally_store::index::{WRITE_RECORDS, open};

/// Records in a small write.
const SMALL: usize = 200;

struct Rng(u64);

impl Rng {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
    fn bytes(&mut self, prefix: u8, random: usize, total: usize) -> Vec<u8> {
        let mut out = vec![prefix];
        while out.len() <= random {
            out.extend_from_slice(&self.next().to_be_bytes());
        }
        out.resize(total, 7);
        out
    }
}

fn memory(field: &str) -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find(|l| l.starts_with(field)).unwrap_or_default();
    line.split_whitespace().nth(1).and_then(|n| n.parse().ok()).unwrap_or(0) / 1_024
}

fn disk(dir: &std::path::Path) -> u64 {
    let entries = std::fs::read_dir(dir).into_iter().flatten().flatten();
    entries.map(|e| if e.path().is_dir() { disk(&e.path()) } else { e.metadata().map_or(0, |m| m.len()) }).sum()
}

fn one(records: usize, write: usize) {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let opened = open(dir.path(), |_| true);
    let mut rng = Rng(1);
    let start = Instant::now();
    let (mut done, mut lap) = (0, Instant::now());
    for _ in 0..records / write {
        let mut pairs = Vec::with_capacity(2 * write);
        for _ in 0..write {
            pairs.push((rng.bytes(b'r', 32, 41), rng.bytes(0, 30, 34)));
            pairs.push((rng.bytes(b'k', 16, 41), rng.bytes(0, 32, 33)));
        }
        pairs.sort_unstable();
        opened.engine.write(pairs).expect("writes");
        done += write;
        if done.is_multiple_of(1_000_000) {
            let (million, high) = (lap.elapsed().as_secs_f64(), memory("VmHWM"));
            eprintln!("{write} at {done}: {:.0} records/s in the last million, {high} MiB at most", 1e6 / million);
            lap = Instant::now();
        }
    }
    opened.engine.flush().expect("flushes");
    let written = start.elapsed().as_secs_f64();
    let (mut again, looked) = (Rng(1), Instant::now());
    let lookups = (records / 10).min(100_000);
    for _ in 0..lookups {
        let key = again.bytes(b'r', 32, 41);
        let _ = (again.bytes(0, 30, 34), again.bytes(b'k', 16, 41), again.bytes(0, 32, 33));
        assert!(opened.engine.get(&key).expect("reads").is_some());
    }
    let lookup_rate = lookups as f64 / looked.elapsed().as_secs_f64();
    let (peak, used) = (memory("VmHWM"), disk(dir.path()) >> 20);
    opened.closer()(true);
    drop(opened);
    let reopened = Instant::now();
    let again = open(dir.path(), |_| true);
    println!(
        "{write:>6} a write, {records:>9} records: {:>7.0} records/s, {lookup_rate:>7.0} lookups/s, {peak:>5} MiB at most, \
         {used:>5} MiB on disk, {:.2} s to open, trusted {}",
        records as f64 / written,
        reopened.elapsed().as_secs_f64(),
        again.rebuilt.is_none()
    );
}

fn main() {
    let numbers: Vec<usize> = std::env::args().filter_map(|a| a.parse().ok()).collect();
    match numbers[..] {
        [records, write, ..] => one(records, write),
        _ => {
            let records = numbers.first().copied().unwrap_or(200_000);
            let program = std::env::current_exe().expect("this program");
            for write in [SMALL, WRITE_RECORDS] {
                let run = Command::new(&program).args([records, write].map(|n| n.to_string())).status();
                assert!(run.is_ok_and(|s| s.success()), "{write} a write failed");
            }
        }
    }
}
