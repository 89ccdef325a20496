//! The only copy is damaged: rows are taken all the same, what is lost is named, and with the next epoch everything that is whole
//! goes up.
//!
//! Each action that `status` can show, and the test that follows its next step to the end:
//!
//! ```text
//! lost_records, not_signing (damaged)   a_damaged_only_copy_ends_in_the_next_epoch_with_all_that_is_whole
//! journal_damaged                       the same: reconcile --with all --repair, then verify
//! epoch_requested                       the same; without a network the_next_epoch_is_asked_for_and_approved_by_file
//! epoch_rejected, request_pending       a_rejected_request_is_told_where_it_was_asked
//! log_damaged                           repair.rs neighbours_heal_from_each_other_and_over_one_in_between
//! key_missing                           epochs.rs a_missing_secret_is_named_and_taken_up
//! not_signing (fetching)                epochs.rs an_old_copy_of_a_disk_catches_up_and_signs_no_second_history
//! parent_not_live, node_lost            outage.rs city_and_county_go_on_without_the_province
//! bundle_due                            bundle.rs records_go_up_and_receipts_come_back_as_files
//! index_failed, index_behind            system.rs a_node_whose_index_fails_goes_on_replicating
//! calendar_ends                         door/deadline.rs, as far as it is shown
//! ```
//!
//! Not followed to the end yet: log_frozen and conflict_reported (fork.rs ends at the advice), storage_full, log_rejected,
//! batch_refused, node_refused, unconfirmed, clock_skew.

use serde_json::Value;
use std::{fs, os::unix::fs::FileExt as _, time::Instant};
use tally_tests::{
    CITY, COUNTY, FEDERATION, Federation, LINE, PROVINCE, find, list, origin,
    sample::{key, records},
    seconds, wait_for,
};

const ALL: [&str; 3] = [PROVINCE, CITY, COUNTY];
/// What nodes say on the way.
const EXPECTED: &[&str] = &[
    "journal.damaged",
    "verify.damaged",
    "records.lost",
    "epoch.asked",
    "epoch.not_carried_over",
    "log.cut",
    "index.rebuild",
    "journal.mended",
    "lost.acknowledged",
    "reconcile.not_taken",
    // The epoch changes while the parent is asked for what is missing.
    "task.failed",
    "batch.refused",
    "link.unreached",
];

/// A county that was killed with three unconfirmed batches of ten records behind `confirmed` ones; the first is zeroed.
fn damaged(confirmed: u64) -> Federation {
    let federation = Federation::running(LINE);
    federation.expects(EXPECTED);
    federation.enter(COUNTY, 0..confirmed);
    federation.wait_converged(&ALL, seconds(60));
    federation.stop(CITY);
    for n in 0..3 {
        federation.enter(COUNTY, confirmed + n * 10..confirmed + (n + 1) * 10);
    }
    federation.kill9(COUNTY);
    zero(&federation, confirmed, true);
    federation.start(COUNTY);
    federation.start(CITY);
    federation
}

/// Zeroes the county's batch that starts at `start`: all of it, or only some bytes of its body.
fn zero(federation: &Federation, start: u64, whole: bool) {
    let segments = federation.segments(COUNTY);
    let own = |r: &Option<(String, u64, u64)>| r.as_ref().is_some_and(|r| r.0 == origin(COUNTY) && r.1 == start);
    let frame = segments.frames().into_iter().find(|f| own(&f.records)).unwrap();
    let (from, to) = if whole { (frame.at, frame.end) } else { (frame.body_at + 4, frame.body_at + 40) };
    let path = federation.segment(COUNTY, frame.segment);
    let mode = fs::metadata(&path).unwrap().permissions();
    fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
    let file = fs::OpenOptions::new().write(true).open(&path).unwrap();
    file.write_all_at(&vec![0; to - from], from as u64).unwrap();
    fs::set_permissions(&path, mode).unwrap();
}

fn action(federation: &Federation, division: &str, code: &str) -> Value {
    wait_for(&format!("{division} says {code}"), seconds(30), || {
        let status = federation.try_status(division)?;
        Some(find(&status["actions"], "code", code).clone()).filter(Value::is_object)
    })
}

/// Asks for the next epoch at the county and approves it at the province.
fn next_epoch(federation: &Federation) {
    let asked = federation.ask(COUNTY, &["epoch", "next", "--reason", "the only copy is damaged", "--json"]);
    let code = asked.json()["code"].as_str().unwrap().to_owned();
    wait_for("the request is at the province", seconds(30), || {
        let pending = federation.ask(PROVINCE, &["node", "pending", "--json"]).json();
        (find(&pending, "division", COUNTY)["code"] == code.as_str()).then_some(())
    });
    let key = federation.at("authority.key");
    federation.ask(PROVINCE, &["node", "approve", COUNTY, "--code", &code, "--authority", &key, "--yes"]).done();
}

/// All nodes show exactly these records of the county, each once.
fn all_hold(federation: &Federation, numbers: impl Iterator<Item = u64>) {
    let mut wanted: Vec<_> = numbers.map(|n| key(n, COUNTY)).collect();
    wanted.sort();
    wait_for("all that is whole is everywhere", seconds(60), || {
        let shown = |division: &str| {
            let ran = federation.ask(division, &["export", "--history"]);
            let keys = ran.out.lines().filter_map(|l| serde_json::from_str::<Value>(l).ok());
            let mut held: Vec<_> = keys.map(|l| l["business_key"].as_str().unwrap().to_owned()).collect();
            held.sort();
            held == wanted && ran.code == 0
        };
        ALL.iter().all(|d| shown(d)).then_some(())
    });
    federation.wait_converged(&ALL, seconds(60));
}

/// The story from its beginning to its end, following what `status` says.
#[test]
fn a_damaged_only_copy_ends_in_the_next_epoch_with_all_that_is_whole() {
    let federation = damaged(20);
    let lost = action(&federation, COUNTY, "lost_records");
    assert!(lost["what"].as_str().unwrap().contains(&format!("{} records 20..30", origin(COUNTY))), "{lost}");
    assert!(lost["next"].as_str().unwrap().contains("tally epoch next --reason"), "{lost}");
    let status = federation.status(COUNTY);
    assert_eq!(status["signing"], "damaged", "{status}");
    // No advice that cannot help.
    let helpless = list(&status["actions"]).iter().find(|a| a["code"] == "log_damaged");
    assert!(helpless.is_none(), "{status}");
    let file = federation.at("rows.ndjson");
    fs::write(&file, records(18..32, COUNTY)).unwrap();
    let ran = federation.ask(COUNTY, &["receipt", &file, "--json"]);
    assert_eq!((ran.code, &ran.json()["held"], &ran.json()["missing"]), (3, &4.into(), &10.into()), "{ran:?}");

    // New rows are taken all the same, and wait.
    let (code, answer) = federation.ingest(COUNTY, &records(100..103, COUNTY));
    let said = (code, &answer["accepted"], &answer["staged"], &answer["staged_because"]);
    assert_eq!(said, (0, &3.into(), &3.into(), &"damaged".into()), "{answer}");

    next_epoch(&federation);
    let approved = Instant::now();
    // 20..30 are lost, the rest of what was acknowledged goes up without anybody's help.
    all_hold(&federation, (0..20).chain(30..50).chain(100..103));
    assert!(approved.elapsed() < seconds(60));
    let status = federation.status(PROVINCE);
    let size = |log: &str| find(&status["logs"], "log", log)["size"].clone();
    assert_eq!((size(&origin(COUNTY)), size(&format!("{FEDERATION}/{COUNTY}/e2"))), (20.into(), 23.into()));
    // The lost rows are named still; handed in again they are new.
    let lost = action(&federation, COUNTY, "lost_records");
    assert!(lost["next"].as_str().unwrap().contains("hand these rows in again"), "{lost}");
    federation.enter(COUNTY, 20..30);
    federation.ask(COUNTY, &["epoch", "acknowledge", "--reason", "the department handed them in again"]).done();
    all_hold(&federation, (0..50).chain(100..103));
    // What is left of the damage is mended, and nothing is wrong any more.
    assert_eq!(federation.ask(COUNTY, &["reconcile", "--with", "all", "--repair", "--json"]).code, 0);
    let verified = federation.ask(COUNTY, &["verify", "--json"]);
    assert_eq!(verified.code, 0, "{verified:?}");
    let status = federation.status(COUNTY);
    let actions: Vec<_> = list(&status["actions"]).iter().map(|a| a["code"].as_str().unwrap()).collect();
    assert!(actions.iter().all(|a| *a == "calendar_ends"), "{status}");
}

/// The same where the frame's head is whole and its body is not: the damage is noticed when the batch is to go up.
#[test]
fn a_damaged_body_is_lost_too_and_its_rows_are_new_again() {
    let federation = Federation::running(LINE);
    federation.expects(EXPECTED);
    federation.enter(COUNTY, 0..20);
    federation.wait_converged(&ALL, seconds(60));
    federation.stop(CITY);
    (0..3).for_each(|n| federation.enter(COUNTY, 20 + n * 10..30 + n * 10));
    federation.stop(COUNTY);
    zero(&federation, 20, false);
    federation.start(COUNTY);
    federation.start(CITY);
    let lost = action(&federation, COUNTY, "lost_records");
    assert!(lost["what"].as_str().unwrap().contains("records 20..30"), "{lost}");
    // The index was left in order, so it knows which they were.
    wait_for("the lost ones are known by id", seconds(30), || {
        let lost = federation.ask(COUNTY, &["epoch", "lost", "--json"]).json();
        (list(&lost).first()?["ids"].as_object()?.len() == 10).then_some(())
    });
    let file = federation.at("rows.ndjson");
    fs::write(&file, records(18..32, COUNTY)).unwrap();
    let ran = federation.ask(COUNTY, &["receipt", &file, "--json"]);
    let told = |n: usize| ran.json()["records"][n]["lost"]["index"].clone();
    assert_eq!((ran.code, &ran.json()["held"], &ran.json()["missing"]), (3, &4.into(), &10.into()), "{ran:?}");
    assert_eq!((told(2), told(1), told(12)), (20.into(), Value::Null, Value::Null));
    next_epoch(&federation);
    all_hold(&federation, (0..20).chain(30..50));
    let ran = federation.ask(COUNTY, &["verify", "--json"]);
    let beyond = list(&ran.json()["closed_branch"]).iter().filter(|b| b["readable"] == false).count();
    assert_eq!((ran.code, beyond), (0, 1), "{ran:?}");
    assert_eq!(federation.ask(COUNTY, &["receipt", &file]).code, 3);
    federation.enter(COUNTY, 20..30);
    assert_eq!(federation.ask(COUNTY, &["receipt", &file]).code, 0);
    all_hold(&federation, 0..50);
}

/// A request that is not given: the county is told why, and asks again.
#[test]
fn a_rejected_request_is_told_where_it_was_asked() {
    let federation = damaged(20);
    action(&federation, COUNTY, "lost_records");
    let ask = || federation.ask(COUNTY, &["epoch", "next", "--reason", "r", "--json"]).json();
    let first = ask();
    assert_eq!(ask()["code"], first["code"], "the same question gets the same request");
    action(&federation, PROVINCE, "request_pending");
    let wrong = federation.at("authority.key");
    let approve = |code: &str| {
        federation.ask(PROVINCE, &["node", "approve", COUNTY, "--code", code, "--authority", &wrong, "--yes"])
    };
    assert_eq!(approve("0000-0000-0000").code, 5);
    federation.ask(PROVINCE, &["node", "reject", COUNTY, "--reason", "not before Monday"]).done();
    let told = action(&federation, COUNTY, "epoch_rejected");
    assert!(told["why"].as_str().unwrap().contains("350000 rejects it: not before Monday"), "{told}");
    assert_eq!(federation.ask(PROVINCE, &["node", "pending", "--json"]).json(), Value::Array(Vec::new()));
    let second = ask();
    assert_ne!(second["code"], first["code"]);
    next_epoch(&federation);
    all_hold(&federation, (0..20).chain(30..50));
}

/// Where there is no network to the county, and none where the authority's key is.
#[test]
fn the_next_epoch_is_asked_for_and_approved_by_file() {
    let federation = damaged(20);
    action(&federation, COUNTY, "lost_records");
    let (request, matter, next) = (federation.at("request"), federation.at("matter.json"), federation.at("next.note"));
    let asked = federation.ask(COUNTY, &["epoch", "next", "--reason", "r", "-o", &request, "--json"]).json();
    let code = asked["code"].as_str().unwrap();
    wait_for("the request is at the province", seconds(30), || {
        (federation.ask(PROVINCE, &["node", "pending", COUNTY, "--save", &matter]).code == 0).then_some(())
    });
    let key = federation.at("authority.key");
    let offline =
        ["node", "approve", COUNTY, "--code", code, "--authority", &key, "--file", &matter, "-o", &next, "--yes"];
    tally_tests::run(&offline).done();
    // The request alone is enough where the province's node can be asked.
    let by_hand = ["node", "approve", COUNTY, "--code", code, "--authority", &key, "--file", &request, "--yes"];
    federation.ask(PROVINCE, &by_hand).done();
    // The charter that was made without a network says the same, so it is no news.
    let other = federation.ask(PROVINCE, &["charter", "load", &next]);
    assert_eq!((other.code, federation.status(PROVINCE)["charter_version"].as_u64()), (0, Some(2)), "{other:?}");
    all_hold(&federation, (0..20).chain(30..50));
}
