//! Epochs across processes: rotation and revocation of keys while a federation runs, lost disks and old copies of disks.

use serde_json::Value;
use std::{fs, process::Command};
use tally_tests::{
    CITY, COUNTY, FEDERATION, Federation, LINE, PROVINCE, find, origin, run,
    sample::{key, records},
    seconds, wait_for,
};

const ALL: [&str; 3] = [PROVINCE, CITY, COUNTY];

/// Size and root of a log as a node shows them.
fn head(status: &Value, log: &str) -> (u64, String) {
    let log = find(&status["logs"], "log", log);
    (log["size"].as_u64().unwrap(), log["root"].as_str().unwrap().to_owned())
}

fn second(division: &str) -> String {
    format!("{FEDERATION}/{division}/e2")
}

/// Everybody holds records `0..n` of the county, each shown once, and nothing is damaged anywhere.
fn all_hold(federation: &Federation, n: u64) {
    federation.wait_converged(&ALL, seconds(60));
    let mut wanted: Vec<_> = (0..n).map(|i| key(i, COUNTY)).collect();
    wanted.sort();
    for division in ALL {
        let lines = federation.export(division, &["--history"]);
        let mut held: Vec<_> = lines.iter().map(|l| l["business_key"].as_str().unwrap().to_owned()).collect();
        held.sort();
        assert_eq!(held, wanted, "{division}");
        let verified = federation.ask(division, &["verify", "--json"]);
        assert_eq!(verified.code, 0, "{division}: {verified:?}");
    }
}

fn wait_epoch(federation: &Federation, division: &str, epoch: u64) {
    wait_for("the node signs its next epoch", seconds(30), || {
        let status = federation.try_status(division)?;
        (status["node"]["epoch"] == epoch && status["signing"] == "open").then_some(())
    });
}

fn load(federation: &Federation, note: &str) {
    federation.ask(PROVINCE, &["charter", "load", note]).done();
}

#[test]
fn a_key_is_rotated_while_everything_runs() {
    let mut federation = Federation::running(LINE);
    federation.enter(COUNTY, 0..300);
    federation.wait_converged(&ALL, seconds(60));
    let id = federation.export(COUNTY, &[])[0]["_tally"]["id"].as_str().unwrap().to_owned();
    let (size, root) = head(&federation.status(COUNTY), &origin(COUNTY));
    let block = federation.epoch_secret(COUNTY, 2, "next.key");
    federation.next_epoch(COUNTY, size, &root, &block);
    load(&federation, &federation.charter(2, "authority.key"));
    wait_epoch(&federation, COUNTY, 2);
    federation.enter(COUNTY, 300..500);
    all_hold(&federation, 500);
    let status = federation.status(PROVINCE);
    assert_eq!(head(&status, &origin(COUNTY)).0, 300);
    assert_eq!(head(&status, &second(COUNTY)).0, 200);
    // A record of the first epoch is a duplicate, and can still be proved.
    let (code, answer) = federation.ingest(COUNTY, &records(0..10, COUNTY));
    assert_eq!((code, &answer["duplicate"]), (0, &10.into()), "{answer}");
    let file = federation.at("old.evidence");
    federation.ask(COUNTY, &["evidence", "export", "--record", &id, "-o", &file]).done();
    run(&["evidence", "verify", &file, "--authority", &federation.config(COUNTY)]).done();
}

/// The charter closes an epoch before what was accepted in it: elsewhere that does not count any more, and here, where it
/// was acknowledged, it goes into the next epoch.
#[test]
fn what_lies_beyond_the_end_of_an_epoch_is_carried_over() {
    let mut federation = Federation::running(LINE);
    federation.expects(&["log.cut", "index.rebuild", "epoch.not_carried_over"]);
    federation.enter(COUNTY, 0..100);
    let (size, root) = head(&federation.status(COUNTY), &origin(COUNTY));
    federation.enter(COUNTY, 100..250);
    federation.wait_converged(&ALL, seconds(60));
    let block = federation.epoch_secret(COUNTY, 2, "next.key");
    federation.next_epoch(COUNTY, size, &root, &block);
    load(&federation, &federation.charter(2, "authority.key"));
    wait_epoch(&federation, COUNTY, 2);
    wait_for("what was cut is in the next epoch everywhere", seconds(60), || {
        let status = federation.try_status(PROVINCE)?;
        let sizes = (head(&status, &origin(COUNTY)).0, find(&status["logs"], "log", &second(COUNTY))["size"].clone());
        (sizes == (100, 150.into())).then_some(())
    });
    all_hold(&federation, 250);
    // The same after everything starts anew.
    for division in ALL {
        federation.stop(division);
    }
    ALL.iter().for_each(|d| federation.start(d));
    all_hold(&federation, 250);
}

/// A node without the secret of its next epoch signs nothing, says why, and goes on as soon as it is there: what was taken
/// meanwhile is in the next epoch.
#[test]
fn a_missing_secret_is_named_and_taken_up() {
    let mut federation = Federation::running(LINE);
    federation.enter(COUNTY, 0..50);
    federation.wait_converged(&ALL, seconds(60));
    let (size, root) = head(&federation.status(COUNTY), &origin(COUNTY));
    let block = federation.epoch_secret(COUNTY, 2, "next.key");
    let (hidden, place) = (federation.at("hidden.key"), federation.file(COUNTY, "keys/next.key"));
    fs::rename(&place, &hidden).unwrap();
    federation.next_epoch(COUNTY, size, &root, &block);
    load(&federation, &federation.charter(2, "authority.key"));
    wait_for("the missing secret is named", seconds(30), || {
        let status = federation.try_status(COUNTY)?;
        find(&status["actions"], "code", "key_missing").is_object().then_some(())
    });
    let (code, answer) = federation.ingest(COUNTY, &records(50..55, COUNTY));
    assert_eq!((code, &answer["staged"]), (0, &5.into()), "the old key signs nothing any more: {answer}");
    assert_eq!((&answer["staged_because"], &answer["log"]), (&"frozen".into(), &Value::Null), "{answer}");
    let name = answer["answers"][0].as_str().unwrap();
    fs::rename(&hidden, &place).unwrap();
    wait_epoch(&federation, COUNTY, 2);
    federation.enter(COUNTY, 55..60);
    all_hold(&federation, 60);
    let answer = federation.ask(COUNTY, &["answer", "show", name, "--json"]).json();
    let range = (answer["log"].as_str(), answer["from"].as_u64(), answer["to"].as_u64());
    assert_eq!(range, (Some(second(COUNTY).as_str()), Some(0), Some(5)), "{answer}");
}

#[test]
fn a_lost_disk_comes_back_in_the_next_epoch() {
    let mut federation = Federation::running(LINE);
    federation.enter(COUNTY, 0..1_500);
    federation.wait_converged(&ALL, seconds(60));
    federation.stop(COUNTY);
    fs::remove_dir_all(federation.file(COUNTY, "data")).unwrap();
    let (size, root) = head(&federation.status(CITY), &origin(COUNTY));
    fs::remove_file(federation.file(COUNTY, "keys/node.key")).unwrap();
    let block = federation.epoch_secret(COUNTY, 2, "node.key");
    federation.next_epoch(COUNTY, size, &root, &block);
    let note = federation.charter(2, "authority.key");
    load(&federation, &note);
    federation.install(COUNTY, &note);
    wait_for("the city admits the next epoch", seconds(30), || {
        (federation.try_status(CITY)?["charter_version"] == 2).then_some(())
    });
    let restored = federation.ask(COUNTY, &["restore", "--json"]);
    assert_eq!((restored.code, restored.json()["records"].as_u64()), (0, Some(1_500)), "{restored:?}");
    federation.start(COUNTY);
    federation.enter(COUNTY, 1_500..1_600);
    all_hold(&federation, 1_600);
    let receipt = federation.file(COUNTY, "rows.ndjson");
    fs::write(&receipt, records(1_590..1_605, COUNTY)).unwrap();
    let ran = federation.ask(COUNTY, &["receipt", &receipt, "--json"]);
    assert_eq!((ran.code, &ran.json()["held"], &ran.json()["missing"]), (3, &10.into(), &5.into()), "{ran:?}");
}

#[test]
fn a_lost_disk_comes_back_in_the_same_epoch() {
    let federation = Federation::running(LINE);
    federation.enter(COUNTY, 0..400);
    federation.wait_converged(&ALL, seconds(60));
    for division in [COUNTY, CITY] {
        federation.stop(division);
        fs::remove_dir_all(federation.file(division, "data")).unwrap();
        if division == CITY {
            // Its county does not run: what the city held of it comes from the province.
            federation.stop(COUNTY);
        }
        let restored = federation.ask(division, &["restore", "--json"]);
        let field = if division == CITY { "below" } else { "records" };
        assert_eq!((restored.code, restored.json()[field].as_u64()), (0, Some(400)), "{restored:?}");
        federation.start(division);
    }
    federation.start(COUNTY);
    federation.enter(COUNTY, 400..450);
    all_hold(&federation, 450);
}

/// The disk is lost that had the newer charters, and the file is that of the first day: its key opens no link any more. The
/// parent tells the charter in force all the same, and the restore goes on with the key of the next epoch.
#[test]
fn a_restore_that_starts_from_an_old_charter_learns_the_newest() {
    let mut federation = Federation::running(LINE);
    federation.expects(&["link.unreached"]);
    federation.enter(COUNTY, 0..40);
    federation.wait_converged(&ALL, seconds(60));
    let (size, root) = head(&federation.status(COUNTY), &origin(COUNTY));
    let block = federation.epoch_secret(COUNTY, 2, "next.key");
    federation.next_epoch(COUNTY, size, &root, &block);
    let note = federation.charter(2, "authority.key");
    load(&federation, &note);
    wait_epoch(&federation, COUNTY, 2);
    federation.stop(COUNTY);
    fs::remove_dir_all(federation.file(COUNTY, "data")).unwrap();
    let restored = federation.ask(COUNTY, &["restore", "--json"]);
    assert_eq!((restored.code, restored.json()["records"].as_u64()), (0, Some(40)), "{restored:?}");
    federation.start(COUNTY);
    federation.enter(COUNTY, 40..50);
    all_hold(&federation, 50);
}

/// An old copy of the data folder, after a thousand more records were confirmed above.
#[test]
fn an_old_copy_of_a_disk_catches_up_and_signs_no_second_history() {
    let federation = Federation::running(LINE);
    federation.expects(&["disk.old_copy"]);
    federation.enter(COUNTY, 0..500);
    federation.wait_converged(&ALL, seconds(60));
    federation.stop(COUNTY);
    let (data, copy) = (federation.file(COUNTY, "data"), federation.file(COUNTY, "copy"));
    assert!(Command::new("cp").args(["-a", &data, &copy]).status().unwrap().success());
    federation.start(COUNTY);
    federation.enter(COUNTY, 500..1_500);
    federation.wait_converged(&ALL, seconds(60));
    let before = head(&federation.status(PROVINCE), &origin(COUNTY));
    federation.kill9(COUNTY);
    fs::remove_dir_all(&data).unwrap();
    fs::rename(&copy, &data).unwrap();
    federation.start(COUNTY);
    federation.enter(COUNTY, 1_500..1_600);
    all_hold(&federation, 1_600);
    let status = federation.status(PROVINCE);
    assert_eq!(head(&status, &origin(COUNTY)).0, before.0 + 100);
    for division in ALL {
        let log = federation.status(division);
        assert_eq!(find(&log["logs"], "log", &origin(COUNTY))["state"], "ok", "{division}");
    }
}
