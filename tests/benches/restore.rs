//! How fast a lost disk comes back, beside the plain push of the same records.
//!
//! `cargo bench -p tally-tests --bench restore -- 1000000` (records, default 200,000). Two real nodes on this machine.
//! The push is timed from the start of an empty parent until it has confirmed everything; the restore from the
//! command's start until it ends, the node's start and its stop included. Read the figures as ratios.

use std::{fs, time::Instant};
use tally_tests::{COUNTY, Federation, PROVINCE, sample::write_records, seconds, wait_for};

/// Restore against push.
const GOAL: f64 = 0.8;

fn main() {
    let records = std::env::args().filter_map(|a| a.parse::<u64>().ok()).next().unwrap_or(200_000);
    let plan = [(PROVINCE, "province", None), (COUNTY, "county", Some(PROVINCE))];
    let federation = Federation::running(&plan);
    federation.enter(COUNTY, 0..1);
    federation.wait_converged(&[PROVINCE, COUNTY], seconds(60));
    federation.stop(PROVINCE);
    let file = federation.at("rows.ndjson");
    write_records(&file, 1..records, COUNTY);
    let (code, answer) = federation.ingest_file(COUNTY, &file);
    assert_eq!((code, answer["accepted"].as_u64()), (0, Some(records - 1)), "{answer}");

    let start = Instant::now();
    federation.start(PROVINCE);
    wait_for("the parent has confirmed everything", seconds(600), || {
        let metrics = federation.try_status(COUNTY)?;
        (metrics["parent"]["unacked_records"] == 0).then_some(())
    });
    let push = start.elapsed().as_secs_f64();

    federation.stop(COUNTY);
    fs::remove_dir_all(federation.file(COUNTY, "data")).expect("the county's data");
    let start = Instant::now();
    let ran = federation.ask(COUNTY, &["restore", "--json"]);
    let restore = start.elapsed().as_secs_f64();
    assert_eq!((ran.code, ran.json()["records"].as_u64()), (0, Some(records)), "{ran:?}");

    let rate = |s: f64| records as f64 / s;
    println!(
        "{records} records: push {push:.2} s ({:.0}/s), restore {restore:.2} s ({:.0}/s)",
        rate(push),
        rate(restore)
    );
    let verdict = if push / restore >= GOAL { "met" } else { "missed" };
    println!("restore is {:.2} of push; goal {GOAL}: {verdict}", push / restore);
}
