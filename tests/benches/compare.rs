//! How fast a full export is compared with what is held, beside parsing its lines alone.
//!
//! `TALLY_BENCH_RECORDS=1000000 cargo bench -p tally-tests --bench compare` (default 100,000). One real node that holds
//! the records; the file has the same ones, but for one in a hundred that differs. Parsing alone is `Object::parse` of
//! every line in one thread. Read the figures as ratios.

use std::{
    fs::{self, File},
    io::{BufRead as _, BufReader, BufWriter, Write as _},
    time::Instant,
};
use tally_protocol::canonical::Object;
use tally_tests::{COUNTY, Federation, number, sample, seconds, wait_for};

/// Seconds for a million rows, on two cores.
const GOAL: f64 = 20.0;
/// One row in so many differs.
const DIFFERENT: u64 = 100;

fn main() {
    let records = number("TALLY_BENCH_RECORDS").unwrap_or(100_000);
    let federation = Federation::running(&[(COUNTY, "county", None)]);
    let file = federation.at("held.ndjson");
    sample::write_records(&file, 0..records, COUNTY);
    let (code, answer) = federation.ingest_file(COUNTY, &file);
    assert_eq!((code, answer["accepted"].as_u64()), (0, Some(records)), "{answer}");
    fs::remove_file(&file).expect("the file");
    wait_for("the index has caught up", seconds(1_200), || {
        federation.try_status(COUNTY)?["records"].as_u64().filter(|n| *n == records)
    });

    let file = federation.at("full.ndjson");
    let mut out = BufWriter::new(File::create(&file).expect("a file"));
    for n in 0..records {
        let result = if n % DIFFERENT == 0 { "2" } else { "1" };
        writeln!(out, "{}", sample::version(n, COUNTY, "create", result)).expect("writes");
    }
    out.flush().expect("writes");

    let lines = BufReader::new(File::open(&file).expect("the file")).split(b'\n');
    let lines: Vec<Vec<u8>> = lines.map(|l| l.expect("reads")).collect();
    let start = Instant::now();
    let fields: usize = lines.iter().map(|l| Object::parse(l).expect("JSON").members().count()).sum();
    let parsing = start.elapsed().as_secs_f64();
    drop(lines);

    let (before, _) = federation.memory_kib(COUNTY);
    let args = ["compare", &file, "--json", "--unit", "113501020036012589", "--category", "spot_check"];
    let start = Instant::now();
    let ran = federation.ask(COUNTY, &args);
    let compared = start.elapsed().as_secs_f64();
    let answer = ran.json();
    let of = |class: &str| answer[class]["count"].as_u64();
    assert_eq!((ran.code, of("different")), (4, Some(records.div_ceil(DIFFERENT))), "{}", ran.err);
    assert_eq!((answer["read"].as_u64(), of("missing_here"), of("unknown_there")), (Some(records), Some(0), Some(0)));
    let (after, _) = federation.memory_kib(COUNTY);

    let rate = |s: f64| records as f64 / s;
    println!(
        "{records} rows against {records} records: {compared:.2} s ({:.0} rows/s), memory at most {} MiB (before {} MiB)",
        rate(compared),
        after >> 10,
        before >> 10
    );
    println!(
        "parsing alone ({fields} fields): {parsing:.2} s ({:.0} rows/s), ratio {:.2}",
        rate(parsing),
        compared / parsing
    );
    let million = compared * 1e6 / records as f64;
    println!("a million rows: {million:.1} s; goal {GOAL}: {}", if million <= GOAL { "met" } else { "missed" });
}
