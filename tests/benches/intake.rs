//! How fast rows are taken at the door: parsed, judged by every rule, signed and durable, as a department sees it.
//!
//! `cargo bench -p tally-tests --bench intake -- 300000` (rows, default 300,000; at most 400,000, of which the index
//! may lag behind). One real node with a large node's index, NDJSON and CSV of the same rows of ~600 bytes, beside
//! parsing the JSON alone on one thread. Read the figures as ratios.

use std::{
    fs::{self, File},
    io::{BufWriter, Write as _},
    time::Instant,
};
use tally_protocol::canonical::Object;
use tally_tests::{Federation, PROVINCE, sample};

/// Rows a second.
const GOALS: [(&str, f64); 2] = [("ndjson", 100_000.0), ("csv", 60_000.0)];
const HEADS: &str = "category,catalog_version,producer_name,producer_uscc,producer_division,submitter_name,submitter_uscc,submitter_division,produced_on,operation,business_key,subject_type,subject_name,subject_uscc,authority_name,authority_uscc,task_no,check_type,checked_on,check_result,source_row_id,remark";
/// Fields of a sample that repeat others: without them a line has about 600 bytes.
const REPEATED: [&str; 3] = ["authority_name", "authority_uscc", "source_row_id"];

fn main() {
    let rows = std::env::args().filter_map(|a| a.parse::<u64>().ok()).next().unwrap_or(300_000);
    let lines: Vec<String> = (0..rows).map(|n| sample::record(n, PROVINCE)).collect();
    let short: Vec<String> = lines.iter().map(|l| ndjson(l)).collect();
    let start = Instant::now();
    let fields: usize = short.iter().map(|l| Object::parse(l.as_bytes()).expect("JSON").members().count()).sum();
    let parsing = rows as f64 / start.elapsed().as_secs_f64();
    println!("parsing the JSON alone ({fields} fields): {parsing:.0} rows/s on one thread");
    for (format, goal) in GOALS {
        // A node of its own for each: duplicates are another thing.
        let federation = Federation::new(&[(PROVINCE, "province", None)]);
        let file = federation.at(&format!("rows.{format}"));
        let mut out = BufWriter::new(File::create(&file).expect("a file"));
        if format == "csv" {
            writeln!(out, "{HEADS}").expect("writes");
        }
        for (line, short) in lines.iter().zip(&short) {
            match format {
                "csv" => writeln!(out, "{}", csv(line)).expect("writes"),
                _ => writeln!(out, "{short}").expect("writes"),
            }
        }
        out.flush().expect("writes");
        drop(out);
        federation.start(PROVINCE);
        let bytes = fs::metadata(&file).expect("the file").len() / rows;
        let start = Instant::now();
        let (code, answer) = federation.ingest_file(PROVINCE, &file);
        let seconds = start.elapsed().as_secs_f64();
        assert_eq!((code, answer["accepted"].as_u64()), (0, Some(rows)), "{}", answer["errors"][0]);
        let (most, _) = federation.memory_kib(PROVINCE);
        let rate = rows as f64 / seconds;
        let verdict = if rate >= goal { "met" } else { "missed" };
        println!(
            "{format}: {rows} rows of {bytes} bytes durable in {seconds:.2} s: {rate:.0} rows/s, {:.2} of parsing alone, \
             memory at most {} MiB; goal {goal:.0}: {verdict}",
            rate / parsing,
            most >> 10
        );
    }
}

fn ndjson(line: &str) -> String {
    let object = Object::parse(line.as_bytes()).expect("JSON");
    let mut out = Vec::new();
    object.write_without(&REPEATED, &mut out);
    String::from_utf8(out).expect("text")
}

/// The values of a flat line in the order of the heads.
fn csv(line: &str) -> String {
    let object = Object::parse(line.as_bytes()).expect("JSON");
    let cells = HEADS.split(',').map(|h| object.text(h).unwrap_or_default());
    cells.collect::<Vec<_>>().join(",")
        + "现场检查时经营者在场，已当场送达检查结果，无异议；相关材料留存于本局档案室备查"
}
