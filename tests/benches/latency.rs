//! How long one row takes: to its answer, and until the county holds the province's receipt; beside the fsync of the same disk.
//!
//! `cargo bench -p tally-tests --bench latency -- 200` (rows, default 200). Three real nodes on this machine, rows one after the
//! other, each on a connection of its own. The way to the receipt is three flushes, one at each level: read the figures in
//! flushes, not in milliseconds.

use std::time::{Duration, Instant};
use tally_tests::{
    COUNTY, Federation, LINE, flushes, free_port,
    http::{Body, request},
    list, run,
    sample::records,
    seconds, wait_for,
};

/// What design and measurements of other systems allow beyond the three flushes.
const BEYOND_MS: f64 = 4.0;

/// The middle, and the 99th of a hundred, in milliseconds.
fn middle_and_late(mut all: Vec<Duration>) -> (f64, f64) {
    all.sort_unstable();
    let at = |part: f64| all[((all.len() - 1) as f64 * part) as usize].as_secs_f64() * 1e3;
    (at(0.5), at(0.99))
}

fn main() {
    let rows = std::env::args().filter_map(|a| a.parse::<u64>().ok()).next().unwrap_or(200);
    let federation = Federation::new(LINE);
    let port = free_port();
    let made = run(&["keygen", "--token", "bench"]);
    let secret = made.err.split_whitespace().last().expect("a secret").to_owned();
    federation.configure(COUNTY, &format!("http = \"127.0.0.1:{port}\"\n{}", made.out));
    LINE.iter().for_each(|(division, ..)| federation.start(division));
    let confirmed = || {
        let status = request(port, "GET", "/v1/status", Some(&secret), &Body::None).json();
        let own = list(&status["logs"]).first()?;
        list(&own["receipts"]).iter().find(|r| r["level"] == "province")?["size"].as_u64()
    };
    let hand_in = |n: u64| {
        let line = records(n..n + 1, COUNTY);
        let answer = request(port, "POST", "/v1/records", Some(&secret), &Body::Sized(&line)).json();
        assert_eq!(answer["accepted"], 1, "{answer}");
    };
    hand_in(0);
    wait_for("the first receipt", seconds(60), || (confirmed() == Some(1)).then_some(()));

    let (flush, flush_late) = middle_and_late(flushes(&federation.at("flushes"), 200));
    let (mut answers, mut receipts) = (Vec::new(), Vec::new());
    for n in 1..=rows {
        let start = Instant::now();
        hand_in(n);
        answers.push(start.elapsed());
        while confirmed().is_none_or(|size| size <= n) {
            std::thread::sleep(Duration::from_micros(200));
        }
        receipts.push(start.elapsed());
    }
    let ((answer, answer_late), (receipt, receipt_late)) = (middle_and_late(answers), middle_and_late(receipts));
    println!("flush: {flush:.2} ms, 99 of 100 within {flush_late:.2}");
    println!("answer: {answer:.2} ms ({:.1} flushes), 99 of 100 within {answer_late:.2}", answer / flush);
    println!(
        "province's receipt: {receipt:.2} ms ({:.1} flushes), 99 of 100 within {receipt_late:.2}",
        receipt / flush
    );
    let goal = 3.0 * flush + BEYOND_MS;
    let verdict = if receipt <= goal { "met" } else { "missed" };
    println!("goal for the receipt {goal:.2} ms, 3 flushes and {BEYOND_MS} ms: {verdict}");
}
