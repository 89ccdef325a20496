//! Rows that come one at a time, for a while: how long each takes to its answer and to the province's receipt, how many batches and
//! bytes they become, and what memory and processor the three nodes take.
//!
//! `cargo bench -p tally-tests --bench trickle -- 10 1200` (rows a second, default 10; seconds, default 60). Three real nodes on this
//! machine, each row on a connection of its own. One JSON line, with the flush of the same disk: read times in flushes.

use serde_json::json;
use std::{
    sync::{
        Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};
use tally_tests::{
    CITY, COUNTY, Federation, LINE, PROVINCE, flushes, free_port,
    http::{Body, request},
    list, run,
    sample::records,
    seconds, wait_for,
};

const ALL: [&str; 3] = [COUNTY, CITY, PROVINCE];
/// How often the county is asked for the province's receipt: what a receipt's time is exact to.
const LOOK_EVERY: Duration = Duration::from_millis(5);

/// The middle, the 99th of a hundred and the last, in milliseconds.
fn spread(mut all: Vec<Duration>) -> serde_json::Value {
    all.sort_unstable();
    let at = |part: f64| (all[((all.len() - 1) as f64 * part) as usize].as_secs_f64() * 1e5).round() / 100.0;
    json!({ "p50": at(0.5), "p99": at(0.99), "most": at(1.0) })
}

fn main() {
    let mut numbers = std::env::args().filter_map(|a| a.parse::<u64>().ok()).filter(|n| *n > 0);
    let (a_second, seconds_long) = (numbers.next().unwrap_or(10), numbers.next().unwrap_or(60));
    let rows = a_second * seconds_long;
    let federation = Federation::new(LINE);
    let port = free_port();
    let made = run(&["keygen", "--token", "bench"]);
    let secret = made.err.split_whitespace().last().expect("a secret").to_owned();
    federation.configure(COUNTY, &format!("http = \"127.0.0.1:{port}\"\n{}", made.out));
    LINE.iter().for_each(|(division, ..)| federation.start(division));
    let hand_in = |n: u64| {
        let line = records(n..n + 1, COUNTY);
        let answer = request(port, "POST", "/v1/records", Some(&secret), &Body::Sized(&line)).json();
        assert_eq!(answer["accepted"], 1, "{answer}");
    };
    let confirmed = || {
        let status = request(port, "GET", "/v1/status", Some(&secret), &Body::None).json();
        let own = list(&status["logs"]).first().cloned().unwrap_or_default();
        list(&own["receipts"]).iter().find(|r| r["level"] == "province").and_then(|r| r["size"].as_u64()).unwrap_or(0)
    };
    hand_in(0);
    wait_for("the first receipt", seconds(60), || (confirmed() == 1).then_some(()));

    let flush = spread(flushes(&federation.at("flushes"), 200));
    let state =
        || ALL.map(|d| (federation.cpu_ms(d), federation.memory_kib(d).0, federation.disk_bytes(d, "data/journal")));
    let (before, over) = (state(), AtomicBool::new(false));
    let (begun, received) = (Mutex::new(vec![Instant::now()]), Mutex::new(Vec::new()));
    let mut answers = Vec::new();
    std::thread::scope(|threads| {
        threads.spawn(|| {
            let mut known = 1;
            while known < rows + 1 && !over.load(Ordering::Relaxed) {
                let size = confirmed();
                let now = Instant::now();
                let begun = begun.lock().expect("nobody panics");
                let news = begun.get(known as usize..(size as usize).min(begun.len())).unwrap_or_default();
                received.lock().expect("nobody panics").extend(news.iter().map(|at| now - *at));
                known = known.max(size);
                drop(begun);
                std::thread::sleep(LOOK_EVERY);
            }
        });
        let start = Instant::now();
        for n in 1..=rows {
            let due = Duration::from_secs_f64((n - 1) as f64 / a_second as f64);
            std::thread::sleep(due.saturating_sub(start.elapsed()));
            let at = Instant::now();
            begun.lock().expect("nobody panics").push(at);
            hand_in(n);
            answers.push(at.elapsed());
        }
        wait_for("the last receipt", seconds(60), || (confirmed() == rows + 1).then_some(()));
        std::thread::sleep(Duration::from_millis(100));
        over.store(true, Ordering::Relaxed);
    });
    let after = state();
    let each = |what: &dyn Fn(usize) -> f64| [0, 1, 2].map(|i| (what(i) * 10.0).round() / 10.0);
    let took = json!({
        "rows_a_second": a_second,
        "seconds": seconds_long,
        "flush_ms": flush,
        "answer_ms": spread(answers),
        "receipt_ms": spread(received.into_inner().expect("nobody panics")),
        "cpu_percent": each(&|i| (after[i].0 - before[i].0) as f64 / (seconds_long as f64 * 10.0)),
        "memory_mib": each(&|i| after[i].1 as f64 / 1_024.0),
        "memory_grew_mib": each(&|i| (after[i].1 as f64 - before[i].1 as f64) / 1_024.0),
        "journal_bytes_a_row": each(&|i| (after[i].2 as f64 - before[i].2 as f64) / rows as f64),
    });
    println!("{took}");
}
