//! One file through three levels: how fast, at what cost, until when each level has it.
//!
//! `cargo bench -p tally-tests --bench chain -- 200000` (records, default 200,000). County, city and province, one process each,
//! on this machine; the file goes through the whole door. One JSON line, with what one core does in a loop of hashes beside
//! it: read the figures against that, and against other lines of the same sitting. Several numbers make a line each, which is how
//! growth is seen: `-- 100000 1000000 10000000`.

use blake3::Hasher;
use serde_json::{Value, json};
use std::{
    io::Read as _,
    process::{Command, Stdio},
    time::{Duration, Instant},
};
use tally_tests::{
    CITY, COUNTY, Federation, LINE, PROVINCE, free_port,
    http::{Body, request},
    origin,
    sample::write_records,
    seconds, tally, wait_for,
};

const ALL: [&str; 3] = [COUNTY, CITY, PROVINCE];

/// What one core hashes in half a second, in MB a second: a measure of the machine in this sitting.
fn machine() -> f64 {
    let (start, block, mut done) = (Instant::now(), vec![7; 1 << 20], 0.0);
    while start.elapsed() < Duration::from_millis(500) {
        std::hint::black_box(Hasher::new().update(&block).finalize());
        done += 1.05;
    }
    done / start.elapsed().as_secs_f64()
}

/// Records of the county's log that the province has on its disk. Asked of its metrics, which wait for nothing: status waits for
/// the index.
fn at_province(port: u16) -> u64 {
    let metrics = request(port, "GET", "/metrics", None, &Body::None).body;
    let log = format!("\"{}\"", origin(COUNTY));
    let line = metrics.lines().find(|l| l.starts_with("tally_log_records{") && l.contains(&log));
    line.and_then(|l| l.rsplit(' ').next()?.parse().ok()).unwrap_or(0)
}

/// Lines of an export, which is not kept.
fn exported(federation: &Federation, division: &str) -> u64 {
    let mut command = Command::new(tally());
    command.args(["export", "--config", &federation.config(division)]).stdout(Stdio::piped());
    let mut child = command.spawn().expect("the program starts");
    let (mut out, mut bytes, mut lines) = (child.stdout.take().expect("its output"), vec![0; 1 << 20], 0);
    loop {
        match out.read(&mut bytes).expect("its output") {
            0 => break,
            n => lines += bytes[..n].iter().filter(|b| **b == b'\n').count() as u64,
        }
    }
    assert!(child.wait().is_ok_and(|s| s.success()), "an export ends well");
    lines
}

/// Seconds that something takes.
fn timed(what: impl FnOnce()) -> f64 {
    let start = Instant::now();
    what();
    (start.elapsed().as_secs_f64() * 1_000.0).round() / 1_000.0
}

fn main() {
    let sizes: Vec<u64> = std::env::args().filter_map(|a| a.parse().ok()).filter(|n| *n > 0).collect();
    for records in if sizes.is_empty() { vec![200_000] } else { sizes } {
        println!("{}", chain(records));
    }
}

fn chain(records: u64) -> Value {
    let (federation, port) = (Federation::new(LINE), free_port());
    federation.configure(PROVINCE, &format!("http = \"127.0.0.1:{port}\"\n"));
    LINE.iter().for_each(|(division, ..)| federation.start(division));
    wait_for("the county may sign", seconds(60), || {
        federation.try_status(COUNTY)?["staged"]["because"].is_null().then_some(())
    });
    let file = federation.at("rows.ndjson");
    write_records(&file, 0..records, COUNTY);
    let cpu = || ALL.map(|d| federation.cpu_ms(d));
    let a_record = |spent: [u64; 3], before: [u64; 3]| -> Value {
        let each = |i: usize| ((spent[i] - before[i]) as f64 * 10_000.0 / records as f64).round() / 10.0;
        json!({ "county": each(0), "city": each(1), "province": each(2), "sum": each(0) + each(1) + each(2) })
    };
    let machine = machine();

    let (before, start) = (cpu(), Instant::now());
    let (code, answer) = federation.ingest_file(COUNTY, &file);
    assert_eq!((code, &answer["accepted"]), (0, &records.into()), "{answer}");
    let acknowledged = start.elapsed();
    wait_for("all at the province", seconds(1_800), || (at_province(port) >= records).then_some(()));
    let (at_province, until_then) = (start.elapsed(), cpu());
    wait_for("all indexes", seconds(1_800), || ALL.iter().all(|d| federation.count(d) == records).then_some(()));
    let (indexed, with_index) = (start.elapsed(), cpu());

    let start = Instant::now();
    let (_, answer) = federation.ingest_file(COUNTY, &file);
    assert_eq!(answer["duplicate"], records, "{answer}");
    let again = start.elapsed();
    let start = Instant::now();
    assert_eq!(exported(&federation, PROVINCE), records);
    let export = start.elapsed();
    let status = timed(|| drop(federation.status(PROVINCE)));
    let verify = timed(|| federation.assert_verified(PROVINCE));
    let reconcile = timed(|| assert_eq!(federation.reconcile(CITY, PROVINCE, &[]).code, 0));
    // What the indexer leaves to be merged is merged, and freed, within a minute.
    std::thread::sleep(Duration::from_secs(65));
    let memory = ALL.map(|d| federation.memory_kib(d).0 / 1_024);
    let restart = ALL.map(|d| {
        federation.stop(d);
        timed(|| federation.start(d))
    });

    let rate = |d: Duration| (records as f64 / d.as_secs_f64()).round();
    let kept = |what: &str| ALL.map(|d| federation.disk_bytes(d, what) / records);
    json!({
        "records": records,
        "machine_mb_per_second": machine.round(),
        "acknowledged_per_second": rate(acknowledged),
        "at_province_per_second": rate(at_province),
        "index_complete_after_seconds": (indexed - at_province).as_secs_f64(),
        "cpu_us_a_record_until_province": a_record(until_then, before),
        "cpu_us_a_record_with_index": a_record(with_index, before),
        "same_file_again_per_second": rate(again),
        "export_per_second": rate(export),
        "memory_mib": memory,
        "status_seconds": status,
        "verify_seconds": verify,
        "reconcile_seconds": reconcile,
        "restart_seconds": restart,
        "journal_bytes_a_record": kept("data/journal"),
        "index_bytes_a_record": kept("data/index"),
    })
}
