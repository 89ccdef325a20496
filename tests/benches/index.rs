//! The index's engine under the indexer's load: ids and business keys of records in their order in a log, in small writes, as when
//! records trickle in, and in the largest, as when the indexer is behind; then what is asked of it.
//!
//! `cargo bench -p tally-tests --bench index -- 1000000` (records, default 200,000). Each size of writes runs in a process of its own, one after
//! the other, so that memory is its own; read the figures as ratios.

use std::{ops::ControlFlow, process::Command, sync::Arc, time::Instant};
use tally_protocol::{hash::Hash, ids::LogId, record::RecordId};
use tally_store::index::{
    InForce, IndexEntry, Overlay, WRITE_RECORDS, open,
    query::{each_record, entry_of},
};
use tally_topology::{
    content::{ContentId, Dimensions},
    sample,
};

/// Records in a small write.
const SMALL: usize = 200;
/// Records of a batch: they are sealed at one time.
const BATCH: u64 = 500;

struct Rng(u64);

impl Rng {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn bytes<const N: usize>(&mut self) -> [u8; N] {
        let mut out = [0; N];
        for part in out.chunks_mut(8) {
            part.copy_from_slice(&self.next().to_be_bytes()[..part.len()]);
        }
        out
    }

    /// The record at an index: its units change now and then, as in a table that is handed in.
    fn record(&mut self, index: u64) -> (RecordId, IndexEntry) {
        let content =
            ContentId { key: self.bytes(), content: self.bytes(), substance: self.bytes(), ..ContentId::default() };
        let unit = (self.next() % 5) as u32;
        let dimensions = Dimensions {
            produced_on: 20_260_101 + (self.next() % 28) as u32,
            division: 350_102,
            category: "administrative_licence".into(),
            unit: format!("11350102003601{unit:04}"),
            submitter_division: 350_102,
            submitter: [unit as u8; 8],
            unit_name: [unit as u8; 8],
            backfill: false,
        };
        (RecordId(Hash(self.bytes())), IndexEntry { index, sealed_at: index / BATCH, content, dimensions })
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

/// User and system time of this process, in microseconds.
fn cpu() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let ticks: f64 =
        stat.rsplit(')').next().unwrap_or("").split_whitespace().skip(11).take(2).flat_map(str::parse::<f64>).sum();
    ticks * 10_000.0
}

fn one(records: usize, write: usize) {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let opened = open(dir.path(), |_| true);
    let log: LogId = "350102/e1".parse().expect("a log");
    let overlay = Overlay::new(Arc::clone(&opened.engine));
    let mut rng = Rng(1);
    let (start, cpu_before) = (Instant::now(), cpu());
    for index in 0..records as u64 {
        let (id, e) = rng.record(index);
        overlay.put_record(id, log, &e);
        if (index + 1).is_multiple_of(write as u64) {
            overlay.commit((b"state".to_vec(), vec![0])).expect("writes");
        }
    }
    overlay.commit((b"state".to_vec(), vec![0])).expect("writes");
    opened.engine.flush().expect("flushes");
    let (written, cpu_used) = (start.elapsed().as_secs_f64(), cpu() - cpu_before);
    let engine = &*opened.engine;
    let (mut again, looked) = (Rng(1), Instant::now());
    let lookups = records.min(20_000);
    for index in 0..lookups as u64 {
        let (id, e) = again.record(index);
        assert_eq!(entry_of(engine, id, log).expect("reads"), Some(e));
    }
    let lookup = looked.elapsed().as_secs_f64() * 1e6 / lookups as f64;
    let (walked, mut seen) = (Instant::now(), 0_usize);
    let charter = sample::charter("");
    each_record(&InForce::new(engine, &charter), |_, attested| {
        seen += attested.len();
        Ok(ControlFlow::Continue(()))
    })
    .expect("reads");
    assert_eq!(seen, records);
    let walk = walked.elapsed().as_secs_f64() * 1e6 / records as f64;
    // As the indexer does while nothing comes.
    for _ in 0..6 {
        std::thread::sleep(std::time::Duration::from_millis(500));
        opened.engine.flush().expect("flushes");
    }
    let (peak, used) = (memory("VmHWM"), disk(dir.path()) / records as u64);
    opened.closer()(true);
    drop((overlay, opened));
    let reopened = Instant::now();
    let again = open(dir.path(), |_| true);
    let (open, trusted) = (reopened.elapsed().as_secs_f64(), again.rebuilt.is_none());
    println!(
        "{write:>6} a write, {records:>9} records: {:>7.0} records/s, {:.2} us CPU a record; {lookup:.1} us a lookup by id, \
         {walk:.2} us a record of all by id; {peak:>4} MiB at most; {used} bytes a record on disk, {} opened anew; \
         {open:.2} s to open, trusted {trusted}",
        records as f64 / written,
        cpu_used / records as f64,
        disk(dir.path()) / records as u64,
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
