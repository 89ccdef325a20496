//! Many rows, and a node that dies while they come.

use super::sheet::{ALONE, Sheet, counts, hand_in, unharmed};
use serde_json::Value;
use std::{
    collections::BTreeSet,
    fs,
    io::Write as _,
    process::{Command, Stdio},
};
use tally_tests::{COUNTY, Federation, number, seconds, tally, wait_for};

/// Business keys held; each must be there once.
fn keys(federation: &Federation) -> BTreeSet<String> {
    // The index follows the journal: until it has all, an export is refused.
    wait_for("the index", seconds(120), || federation.status(COUNTY)["records"].as_u64());
    let export = || Some(federation.ask(COUNTY, &["export", "--history"])).filter(|ran| ran.code == 0);
    let text = wait_for("an export", seconds(120), export).out;
    let lines: Vec<Value> = text.lines().map(|l| serde_json::from_str(l).unwrap()).collect();
    let keys: BTreeSet<_> = lines.iter().map(|l| l["business_key"].as_str().unwrap().to_owned()).collect();
    assert_eq!(keys.len(), lines.len(), "a record is held twice");
    keys
}

/// `TALLY_INTAKE_ROWS=300000` makes it a large county's first delivery.
#[test]
fn every_row_of_a_large_file_is_accounted_for() {
    let rows = usize::try_from(number("TALLY_INTAKE_ROWS").unwrap_or(60_000)).unwrap();
    let federation = Federation::running(ALONE);
    let mut sheet = Sheet::licenses(0..rows);
    let (mut bad, mut twice) = (0, 0);
    for i in 1..rows {
        if i % 997 == 0 {
            sheet.set(i, "当前状态", "8");
            bad += 1;
        } else if i % 1_009 == 0 {
            sheet.rows[i] = sheet.rows[0].clone();
            twice += 1;
        }
    }
    let csv = sheet.csv();
    let (rows, good) = (rows as u64, rows as u64 - bad - twice);
    let handed = hand_in(&federation, "large.csv", csv.as_bytes(), &[]);
    assert_eq!(handed.counts(), [rows, good, twice, bad], "{:?}", handed.ran.err);
    assert_eq!(keys(&federation).len() as u64, good);
    let (highest, _) = federation.memory_kib(COUNTY);
    println!("{rows} rows, {} KiB; memory of the node at most {highest} KiB", csv.len() >> 10);
    let again = hand_in(&federation, "large.csv", csv.as_bytes(), &[]);
    assert_eq!(again.counts(), [rows, 0, good + twice, bad], "{:?}", again.ran.err);
    assert_eq!(keys(&federation).len() as u64, good);
    unharmed(&federation);
}

#[test]
fn a_node_killed_during_an_upload_loses_no_row_and_doubles_none() {
    const ROWS: usize = 20_000;
    let federation = Federation::running(ALONE);
    let text = Sheet::licenses(0..ROWS).csv();
    let mut command = Command::new(tally());
    command.args(["ingest", "-", "--format", "csv", "--json", "--config", &federation.config(COUNTY)]);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut upload = command.spawn().unwrap();
    let mut stdin = upload.stdin.take().unwrap();
    let (half, rest) = text.as_bytes().split_at(text.len() / 2);
    stdin.write_all(half).unwrap();
    wait_for("some rows are taken", seconds(60), || {
        federation.try_status(COUNTY).and_then(|s| s["records"].as_u64()).filter(|n| *n > 0)
    });
    federation.kill9(COUNTY);
    // The command may have ended: its exit code says why.
    let _ = stdin.write_all(rest);
    drop(stdin);
    let ended = upload.wait_with_output().unwrap();
    let code = ended.status.code();
    assert!(code == Some(1) || code == Some(7), "the upload says that it failed: {ended:?}");
    assert!(ended.stdout.is_empty() && !ended.stderr.is_empty(), "{ended:?}");
    federation.start(COUNTY);
    let before = keys(&federation).len() as u64;
    println!("{before} of {ROWS} rows were durable when the node died");
    assert!(before > 0 && before < ROWS as u64, "{before}");
    let handed = hand_in(&federation, "upload.csv", text.as_bytes(), &[]);
    let rows = ROWS as u64;
    assert_eq!(handed.counts(), [rows, rows - before, before, 0], "{handed:?}");
    let wanted: BTreeSet<_> =
        Sheet::licenses(0..ROWS).rows.iter().map(|r| format!("{}|{}|{}", r[12], r[5], r[2])).collect();
    assert!(keys(&federation) == wanted, "every row once");
    assert_eq!(counts(&hand_in(&federation, "upload.csv", text.as_bytes(), &[]).answer), [rows, 0, rows, 0]);
    // Beside the list of answers, and the folder of those without rows, which has none.
    let names = |folder: &str| {
        fs::read_dir(federation.file(COUNTY, folder)).into_iter().flatten().map(|f| f.unwrap().file_name())
    };
    let left = names("data/answers").filter(|name| name != "index.ndjson" && name != "plain");
    let left: Vec<_> = left.chain(names("data/answers/plain")).collect();
    assert!(left.is_empty(), "nothing half written is left: {left:?}");
    unharmed(&federation);
}
