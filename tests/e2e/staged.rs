//! Rows that a node takes while it may sign nothing: durable at once, told as such, and at the province once and in their
//! order when it may again.

use serde_json::{Value, json};
use std::{fs, time::Instant};
use tally_tests::{
    CITY, COUNTY, Federation, LINE, PROVINCE, find, free_port,
    http::{Body, Response, request},
    list, origin, run,
    sample::{key, records, version, write_records},
    seconds, wait_for,
};

const ALL: &[&str] = &[PROVINCE, CITY, COUNTY];

/// Counts of an answer, and what it says of what is staged.
fn told(answer: &Value) -> [u64; 4] {
    ["accepted", "staged", "duplicate", "rejected"].map(|n| answer[n].as_u64().unwrap_or_else(|| panic!("{answer}")))
}

fn is_unsigned(answer: &Value) -> bool {
    answer["staged_because"] == "parent_unknown" && ["log", "from", "to"].iter().all(|n| answer[*n].is_null())
}

/// Business keys of a division's records at a node, in the order of their log.
fn in_log_order(federation: &Federation, at: &str, division: &str) -> Vec<String> {
    let mut lines = federation.export(at, &["--history"]);
    lines.retain(|l| l["_tally"]["log"].as_str().is_some_and(|log| log.contains(division)));
    lines.sort_by_key(|l| l["_tally"]["index"].as_u64());
    lines.iter().map(|l| l["business_key"].as_str().unwrap().to_owned()).collect()
}

/// The county starts again while its city is away.
fn alone(federation: &Federation) {
    federation.stop(CITY);
    federation.kill9(COUNTY);
    federation.start(COUNTY);
}

#[test]
fn a_county_that_restarts_without_its_city_takes_rows_and_signs_them_once_it_is_back() {
    const N: u64 = 6_000;
    let federation = Federation::running(LINE);
    federation.enter(COUNTY, 0..50);
    federation.wait_converged(ALL, seconds(60));
    alone(&federation);
    let file = federation.at("rows.ndjson");
    write_records(&file, 50..50 + N, COUNTY);
    let started = Instant::now();
    let (code, answer) = federation.ingest_file(COUNTY, &file);
    println!("{N} rows taken in {:?} while nothing could be signed", started.elapsed());
    assert!(code == 0 && told(&answer) == [N, N, 0, 0] && is_unsigned(&answer), "{code} {answer}");
    let name = answer["answers"][0].as_str().unwrap().to_owned();
    // What is handed in again is staged once, and what the log has is known.
    let (code, again) = federation.ingest(COUNTY, &records(40..60, COUNTY));
    assert_eq!((code, told(&again)), (0, [0, 0, 20, 0]), "{again}");
    // Killed with the gate still shut.
    federation.kill9(COUNTY);
    federation.start(COUNTY);
    let status = federation.status(COUNTY);
    assert_eq!((&status["staged"]["records"], &status["records"]), (&N.into(), &50.into()), "{status}");
    assert!(status["staged"]["oldest"].is_string() && status["parent"]["unacked_records"] == 0, "{status}");
    let action = find(&status["actions"], "code", "staged");
    assert!(["what", "why", "next"].iter().all(|m| !action[*m].as_str().unwrap().is_empty()), "{status}");
    assert_eq!(list(&federation.export(COUNTY, &[]).into()).len(), 50, "they are no records yet");
    let receipt = federation.ask(COUNTY, &["receipt", &file]);
    assert!(receipt.code == 3 && receipt.out.contains("staged here since"), "{receipt:?}");
    let receipt = federation.ask(COUNTY, &["receipt", &file, "--json"]).json();
    assert_eq!((&receipt["held"], &receipt["staged"], &receipt["missing"]), (&0.into(), &N.into(), &0.into()));
    let kept = federation.ask(COUNTY, &["answer", "show", &name, "--json"]).json();
    assert!(told(&kept) == [N, N, 0, 0] && is_unsigned(&kept), "{kept}");

    // The city is back, and the county is killed as soon as it has signed some of it.
    federation.start(CITY);
    wait_for("some are signed", seconds(60), || (federation.staged(COUNTY) < N).then_some(()));
    federation.kill9(COUNTY);
    federation.start(COUNTY);
    federation.wait_converged(ALL, seconds(60));
    let wanted: Vec<_> = (0..50 + N).map(|n| key(n, COUNTY)).collect();
    assert_eq!(in_log_order(&federation, PROVINCE, COUNTY), wanted, "once, and in the order in which they came");
    let kept = federation.ask(COUNTY, &["answer", "show", &name, "--json"]).json();
    assert_eq!(told(&kept), [N, 0, 0, 0], "{kept}");
    assert_eq!((&kept["log"], &kept["from"], &kept["to"]), (&origin(COUNTY).into(), &50.into(), &(50 + N).into()));
    assert_eq!(federation.ask(COUNTY, &["receipt", &file]).code, 0);
    let left: Vec<_> = fs::read_dir(federation.file(COUNTY, "data/staged")).unwrap().map(|f| f.unwrap()).collect();
    let segments: Vec<_> = left.iter().filter(|f| f.path().extension().is_some_and(|e| e == "seg")).collect();
    assert!(segments.len() == 1 && segments[0].metadata().unwrap().len() < 1_000, "{segments:?}");
    ALL.iter().for_each(|d| assert_eq!(federation.ask(d, &["verify", "--json"]).code, 0, "{d}"));
}

#[test]
fn a_city_that_restarts_without_the_province_takes_its_own_rows_and_its_countys() {
    let federation = Federation::running(LINE);
    federation.enter(COUNTY, 0..50);
    federation.enter(CITY, 0..20);
    federation.wait_converged(ALL, seconds(60));
    federation.stop(PROVINCE);
    for division in [CITY, COUNTY] {
        federation.kill9(division);
        federation.start(division);
    }
    let (code, answer) = federation.ingest(CITY, &records(20..420, CITY));
    assert!(code == 0 && told(&answer) == [400, 400, 0, 0] && is_unsigned(&answer), "{code} {answer}");
    // Whether the county may sign depends on what its city is sure of; its rows are taken in any case.
    let take = |range: std::ops::Range<u64>| {
        let (code, answer) = federation.ingest(COUNTY, &records(range.clone(), COUNTY));
        assert_eq!((code, answer["accepted"].as_u64()), (0, Some(range.end - range.start)), "{answer}");
    };
    take(50..550);
    federation.kill9(CITY);
    federation.start(CITY);
    assert_eq!(federation.staged(CITY), 400);
    take(550..600);
    federation.start(PROVINCE);
    federation.wait_converged(ALL, seconds(60));
    for (division, n) in [(COUNTY, 600), (CITY, 420)] {
        let wanted: Vec<_> = (0..n).map(|i| key(i, division)).collect();
        assert_eq!(in_log_order(&federation, PROVINCE, division), wanted, "{division}");
    }
}

/// Rows that stand on staged ones, programs that ask again, and a folder: each is told the same, and later where its rows are.
#[test]
fn programs_and_folders_are_told_what_is_staged_and_later_where_it_is() {
    let federation = Federation::new(LINE);
    let port = free_port();
    let made = run(&["keygen", "--token", "局"]);
    let token = made.err.split_whitespace().last().unwrap().to_owned();
    let folder = "[[folder]]\npath = \"exchange\"\npoll_ms = 50\nsettle_ms = 100\n";
    federation.configure(COUNTY, &format!("http = \"127.0.0.1:{port}\"\n{}\n{folder}", made.out));
    ALL.iter().for_each(|d| federation.start(d));
    federation.enter(COUNTY, 0..3);
    federation.wait_converged(ALL, seconds(60));
    alone(&federation);
    let lines = [("Content-Type", "application/x-ndjson"), ("Idempotency-Key", "once")];
    let post = |body: &str, lines: &[(&str, &str)]| -> Response {
        request(port, "POST", "/v1/records", Some(&token), &Body::Bytes(body.as_bytes(), lines))
    };
    // An amendment of a staged record is taken, one of nothing is not, and a record in force is not created anew.
    let amend = version(3, COUNTY, "amend", "2");
    let orphan = version(900, COUNTY, "amend", "2");
    let body = [records(3..5, COUNTY), amend, "\n".into(), orphan].concat();
    let first = post(&body, &lines);
    let answer = first.json();
    assert!(first.status == 200 && is_unsigned(&answer), "{first:?}");
    assert_eq!(told(&answer), [3, 3, 0, 1], "{answer}");
    let mut repeated = post(&body, &lines).json();
    assert_eq!(repeated["repeated"].take(), true, "{repeated}");
    repeated.as_object_mut().unwrap().remove("repeated");
    assert_eq!(repeated, answer, "the same key has the same answer");
    let inbox = federation.file(COUNTY, "exchange/inbox");
    fs::write(format!("{inbox}/rows.ndjson.part"), records(4..10, COUNTY)).unwrap();
    fs::rename(format!("{inbox}/rows.ndjson.part"), format!("{inbox}/rows.ndjson")).unwrap();
    let receipt = wait_for("the folder's receipt", seconds(20), || {
        let day = fs::read_dir(federation.file(COUNTY, "exchange/done")).ok()?.next()?.ok()?.path();
        day.join("rows.ndjson").exists().then(|| fs::read_to_string(day.join("rows.ndjson.receipt.txt")).unwrap())
    });
    assert!(receipt.contains("暂存 5") && receipt.contains("parent_unknown"), "{receipt}");
    assert_eq!(federation.staged(COUNTY), 8);

    federation.start(CITY);
    federation.wait_converged(ALL, seconds(60));
    let path = format!("/v1/answers/{}", answer["answer"].as_str().unwrap());
    let later = request(port, "GET", &path, Some(&token), &Body::None).json();
    assert_eq!(told(&later), [3, 0, 0, 1], "{later}");
    assert_eq!([&later["log"], &later["from"], &later["to"]], [&json!(origin(COUNTY)), &json!(3), &json!(6)]);
    assert!(later["staged_because"].is_null() && later["staged_runs"].is_null(), "{later}");
    assert_eq!(federation.count(PROVINCE), 11);
    let current = federation.export(PROVINCE, &[]);
    let amended = current.iter().find(|l| l["business_key"] == key(3, COUNTY)).unwrap();
    assert_eq!(amended["check_result"], "2", "the amendment came after what it amends");
}

#[test]
fn beyond_their_bound_rows_are_refused_by_name() {
    let federation = Federation::new(LINE);
    let config = fs::read_to_string(federation.config(COUNTY)).unwrap();
    let config = config.replacen("[listen]", "[storage]\nstaged_mib = 1\n\n[listen]", 1);
    fs::write(federation.config(COUNTY), config).unwrap();
    ALL.iter().for_each(|d| federation.start(d));
    federation.wait_converged(ALL, seconds(60));
    alone(&federation);
    let file = federation.at("rows.ndjson");
    write_records(&file, 0..3_000, COUNTY);
    let ran = federation.ask(COUNTY, &["ingest", &file, "--json"]);
    assert!(ran.code == 1 && ran.err.contains("staged_mib"), "{ran:?}");
    let staged = federation.staged(COUNTY);
    assert!(staged > 0 && staged < 1_500, "{staged} of about a thousand in a MiB");
    federation.start(CITY);
    wait_for("what was staged is signed", seconds(30), || (federation.staged(COUNTY) == 0).then_some(()));
    let (code, answer) = federation.ingest_file(COUNTY, &file);
    assert_eq!((code, told(&answer)), (0, [3_000 - staged, 0, staged, 0]), "{answer}");
    federation.wait_converged(ALL, seconds(60));
    assert_eq!(federation.count(PROVINCE), 3_000);
}
