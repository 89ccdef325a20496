//! Nodes that are away for a while: the others go on, and nothing is missing afterwards.

use std::{io::Write as _, time::Instant};
use tally_tests::{
    CITY, COUNTY, Federation, LINE, PROVINCE, Ran,
    feeder::{Feeder, assert_held},
    find, origin,
    sample::{Random, records, write_records},
    seconds, wait_for,
};

const ALL: &[&str] = &[PROVINCE, CITY, COUNTY];
const MEMORY_KIB_MAX: u64 = 256 << 10;

#[test]
fn a_county_whose_city_is_away_takes_all_and_hands_it_on_later() {
    const N: u64 = 100_000;
    let federation = Federation::running(LINE);
    federation.enter(COUNTY, N..N + 1);
    federation.wait_converged(ALL, seconds(60));
    federation.stop(CITY);
    let file = federation.at("records.ndjson");
    write_records(&file, 0..N, COUNTY);
    let started = Instant::now();
    let (code, answer) = federation.ingest_file(COUNTY, &file);
    assert!(code == 0 && answer["accepted"] == N, "{code} {answer}");
    println!("{N} records taken in {:?} while the city was away", started.elapsed());
    let status = federation.status(COUNTY);
    assert_eq!(status["parent"]["unacked_records"], N);
    assert_eq!(find(&status["logs"], "log", &origin(COUNTY))["state"], "behind");
    assert!(status["parent"]["oldest_unacked"].is_string() && status["parent"]["state"] != "live", "{status}");

    federation.start(CITY);
    let started = Instant::now();
    federation.wait_converged(ALL, seconds(180));
    println!("all nodes agree {:?} after the city was back", started.elapsed());
    for division in ALL {
        wait_for("the index", seconds(60), || (federation.count(division) == N + 1).then_some(()));
        let (high, now) = federation.memory_kib(division);
        println!("{division}: {} MiB resident at most, {} MiB now", high >> 10, now >> 10);
        assert!(high <= MEMORY_KIB_MAX, "{division} needed {high} KiB");
    }
}

#[test]
fn city_and_county_go_on_without_the_province() {
    let federation = Federation::running(LINE);
    federation.enter(COUNTY, 0..100);
    federation.enter(CITY, 0..10);
    federation.wait_converged(ALL, seconds(60));
    federation.kill9(PROVINCE);
    federation.enter(COUNTY, 100..600);
    federation.enter(CITY, 10..60);
    federation.wait_converged(&[CITY, COUNTY], seconds(60));
    assert_eq!([CITY, COUNTY].map(|d| federation.count(d)), [660, 600]);
    wait_for("the city sees that the province is away", seconds(60), || {
        let parent = federation.status(CITY)["parent"].clone();
        (parent["state"] != "live" && parent["unacked_records"] == 550).then_some(())
    });
    // A county that restarts meanwhile needs its city only.
    federation.kill9(COUNTY);
    federation.start(COUNTY);
    federation.enter(COUNTY, 600..700);

    federation.start(PROVINCE);
    federation.wait_converged(ALL, seconds(60));
    assert_eq!(federation.count(PROVINCE), 760);
    wait_for("the province's receipt reaches the county", seconds(60), || {
        let status = federation.status(COUNTY);
        let receipts = &find(&status["logs"], "log", &origin(COUNTY))["receipts"];
        (find(receipts, "holder", PROVINCE)["size"] == 700).then_some(())
    });
}

#[test]
fn a_stop_in_the_middle_of_an_upload_loses_nothing() {
    const N: u64 = 20_000;
    let federation = Federation::running(LINE);
    let empty = federation.journal_bytes(COUNTY);
    let mut upload = federation.upload(COUNTY);
    upload.stdin.as_mut().unwrap().write_all(records(0..N / 2, COUNTY).as_bytes()).unwrap();
    wait_for("some of it is on disk", seconds(60), || {
        (federation.journal_bytes(COUNTY) > empty + 50_000).then_some(())
    });
    let started = Instant::now();
    federation.stop(COUNTY);
    println!("stopped within {:?} while a request was under way", started.elapsed());
    let ended = Ran::of(upload.wait_with_output().unwrap());
    assert!(ended.code == 7 && ended.out.is_empty() && !ended.err.is_empty(), "{ended:?}");

    federation.start(COUNTY);
    let status = federation.status(COUNTY);
    let held = find(&status["logs"], "log", &origin(COUNTY))["size"].as_u64().unwrap();
    assert!(held > 0 && held <= N / 2, "{held} of {N} are in the log");
    let (code, answer) = federation.ingest(COUNTY, &records(0..N, COUNTY));
    assert_eq!(code, 0, "{answer}");
    assert!(answer["accepted"] == N - held && answer["duplicate"] == held, "{held} were held: {answer}");
    federation.wait_converged(ALL, seconds(120));
    assert_eq!(federation.count(PROVINCE), N);
}

#[test]
fn stops_and_starts_lose_nothing_that_was_acknowledged() {
    let federation = Federation::running(LINE);
    let feeder = Feeder::new(&federation, COUNTY);
    std::thread::scope(|s| {
        let _stopper = feeder.stopper();
        let mut random = Random(1);
        s.spawn(|| feeder.run(move || 50 + random.below(451)));
        for division in [COUNTY, CITY, PROVINCE, COUNTY] {
            let before = feeder.count();
            wait_for("records are acknowledged", seconds(60), || (feeder.count() > before).then_some(()));
            federation.stop(division);
            federation.start(division);
        }
    });
    federation.wait_converged(ALL, seconds(60));
    for division in ALL {
        assert_held(&federation, division, &feeder.acknowledged());
    }
}

/// U16: whoever looks sees for whom it waits; and it goes on by itself.
#[test]
fn a_restore_whose_parent_is_away_says_so_and_goes_on_with_it() {
    let federation = Federation::running(LINE);
    federation.enter(COUNTY, 0..20);
    federation.wait_converged(ALL, seconds(60));
    federation.stop(CITY);
    std::thread::scope(|s| {
        let restore = s.spawn(|| federation.ask(COUNTY, &["restore", "--json"]));
        wait_for("it is said for whom it waits", seconds(30), || {
            let tasks = federation.ask(COUNTY, &["task", "ls", "--json"]).json();
            let whom = find(&tasks, "kind", "restore")["progress"]["waiting_for"].as_str()?.to_owned();
            whom.contains("the parent 350100").then_some(())
        });
        federation.start(CITY);
        let ran = restore.join().unwrap();
        let said = (ran.code, &ran.json()["records"], &ran.json()["agree"]);
        assert_eq!(said, (0, &20.into(), &true.into()), "{ran:?}");
    });
}
