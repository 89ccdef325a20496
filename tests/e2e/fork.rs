//! Two histories of one log, as an operator can make them: a node without a link to its parent, started from an old copy
//! of its disk.

use std::{fs, process::Command};
use tally_tests::{
    CITY, COUNTY, FEDERATION, Federation, LINE, NEIGHBOUR, PROVINCE, Ran, find, list, origin,
    sample::{key, records},
    seconds, wait_for,
};

fn offline(federation: &Federation, on: bool) {
    let path = federation.config(COUNTY);
    let text = fs::read_to_string(&path).unwrap().replace("offline = true\n", "");
    let text = if on { text.replacen("[node]\n", "[node]\noffline = true\n", 1) } else { text };
    fs::write(&path, text).unwrap();
}

fn carry(federation: &Federation, name: &str) -> Ran {
    let file = federation.at(name);
    federation.ask(COUNTY, &["bundle", "export", "--to", CITY, "--since", "start", "-o", &file]).done();
    federation.ask(CITY, &["bundle", "import", &file, "--json"])
}

/// A county whose log was signed twice from record 600 on: 600..900 are above, and 1,000..1,300 on its disk. All know.
fn forked() -> Federation {
    let plan = [LINE, &[(NEIGHBOUR, "county", Some(CITY))]].concat();
    let federation = Federation::new(&plan);
    federation.expects(&["log.frozen", "batch.refused", "gate.opened"]);
    offline(&federation, true);
    plan.iter().for_each(|(division, ..)| federation.spawn(division));
    plan.iter().for_each(|(division, ..)| federation.ready(division));
    federation.enter(COUNTY, 0..600);
    federation.stop(COUNTY);
    let (data, copy) = (federation.file(COUNTY, "data"), federation.file(COUNTY, "copy"));
    assert!(Command::new("cp").args(["-a", &data, &copy]).status().unwrap().success());
    federation.start(COUNTY);
    federation.enter(COUNTY, 600..900);
    assert_eq!(carry(&federation, "first").json()["records"], 900);
    // The old copy takes its place, and signs other records at the same positions.
    federation.stop(COUNTY);
    fs::remove_dir_all(&data).unwrap();
    fs::rename(&copy, &data).unwrap();
    federation.start(COUNTY);
    // The anchor, which is not among the data, knows that this disk was set back. The operator knows better.
    let status = federation.status(COUNTY);
    assert_eq!(status["signing"], "fetching", "{status}");
    let opened = federation.ask(COUNTY, &["gate", "open", "--reason", "test"]);
    assert!(opened.code == 0 && opened.err.contains("second history"), "{opened:?}");
    federation.enter(COUNTY, 1_000..1_300);
    let second = carry(&federation, "second");
    assert_eq!((second.code, second.json()["records"].as_u64()), (3, Some(0)), "{second:?}");
    assert!(list(&second.json()["refused"])[0].as_str().unwrap().contains("two histories"), "{second:?}");
    wait_for("the city freezes the log", seconds(20), || frozen(&federation, CITY));
    // What the city holds is what came first, unharmed.
    assert_eq!(federation.ask(CITY, &["verify", "--json"]).code, 0);
    assert_eq!(federation.count(CITY), 900);

    // With a link, everyone on the path learns of it, and a comparison tells where the histories part.
    federation.stop(COUNTY);
    offline(&federation, false);
    federation.start(COUNTY);
    wait_for("all levels know", seconds(30), || frozen(&federation, COUNTY).and(frozen(&federation, PROVINCE)));
    federation
}

fn frozen(federation: &Federation, division: &str) -> Option<()> {
    let status = federation.try_status(division)?;
    (find(&status["logs"], "log", &origin(COUNTY))["state"] == "frozen").then_some(())
}

/// Both checkpoints are kept, that log stops, all others go on; and a comparison names the records at which the two
/// histories part.
#[test]
fn a_fork_is_found_named_and_stops_one_log_only() {
    let federation = forked();
    let ran = federation.ask(COUNTY, &["reconcile", "--with", "parent", "--repair", "--json"]);
    let answer = ran.json();
    assert_eq!((ran.code, &answer["agree"], &answer["repaired"]), (4, &false.into(), &0.into()), "{ran:?}");
    let parts: Vec<_> = list(&answer["differences"])
        .iter()
        .map(|d| (d["index"].as_u64().unwrap(), d["to"].as_u64().unwrap(), d["here"].as_str(), d["there"].as_str()))
        .collect();
    assert_eq!(parts, [(600, 900, Some("other"), Some("other"))], "{ran:?}");
    // Nothing more is signed there, what is handed in is staged, and other logs go on.
    let (code, answer) = federation.ingest(COUNTY, &records(2_000..2_001, COUNTY));
    assert_eq!((code, &answer["staged"], &answer["staged_because"]), (0, &1.into(), &"frozen".into()), "{answer}");
    federation.enter(NEIGHBOUR, 0..50);
    wait_for("the neighbour's records are at the province", seconds(30), || {
        let status = federation.try_status(PROVINCE)?;
        (find(&status["logs"], "log", &origin(NEIGHBOUR))["size"] == 50).then_some(())
    });
    let status = federation.status(COUNTY);
    let way_out = &find(&status["actions"], "code", "log_frozen")["next"];
    assert!(way_out.as_str().unwrap().contains("new epoch"), "{way_out}");
}

/// The way out, by the commands that `status` names: every row that was acknowledged, in either history, ends at the province.
#[test]
fn a_frozen_log_goes_on_in_the_next_epoch_with_all_that_was_acknowledged() {
    let federation = forked();
    federation.expects(&[
        "epoch.asked",
        "log.dead_branch",
        "link.refused",
        "link.unreached",
        "epoch.not_carried_over",
        "task.failed",
        "index.rebuild",
    ]);
    let (code, answer) = federation.ingest(COUNTY, &records(2_000..2_003, COUNTY));
    assert_eq!((code, &answer["staged"]), (0, &3.into()), "{answer}");
    let action = |division: &str, code: &str| {
        wait_for(&format!("{division} says {code}"), seconds(30), || {
            let status = federation.try_status(division)?;
            Some(find(&status["actions"], "code", code).clone()).filter(|a| a.is_object())
        })
    };
    let signing = action(COUNTY, "not_signing");
    assert!(signing["next"].as_str().unwrap().starts_with("tally epoch next --reason R"), "{signing}");
    let asked = federation.ask(COUNTY, &["epoch", "next", "--reason", "two machines ran", "--json"]).json();
    let code = asked["code"].as_str().unwrap();
    let pending = action(PROVINCE, "request_pending");
    assert!(pending["next"].as_str().unwrap().contains("tally node approve 350102"), "{pending}");
    let authority = federation.at("authority.key");
    federation.ask(PROVINCE, &["node", "approve", COUNTY, "--code", code, "--authority", &authority, "--yes"]).done();
    wait_for("the county signs its next epoch", seconds(40), || {
        let status = federation.try_status(COUNTY)?;
        (status["node"]["epoch"] == 2 && status["signing"] == "open").then_some(())
    });
    let mut wanted: Vec<_> = (0..900).chain(1_000..1_300).chain(2_000..2_003).map(|n| key(n, COUNTY)).collect();
    wanted.sort();
    wait_for("all that was acknowledged is at the province", seconds(60), || {
        let ran = federation.ask(PROVINCE, &["export", "--history"]);
        let lines = ran.out.lines().filter_map(|l| serde_json::from_str::<serde_json::Value>(l).ok());
        let mut held: Vec<_> = lines.map(|l| l["business_key"].as_str().unwrap().to_owned()).collect();
        held.sort();
        (ran.code == 0 && held == wanted).then_some(())
    });
    // Handed in again, each row is a duplicate; and a receipt names a holder at every level.
    let again = federation.at("again.ndjson");
    fs::write(&again, records(1_000..1_300, COUNTY)).unwrap();
    let (code, answer) = federation.ingest_file(COUNTY, &again);
    assert_eq!((code, &answer["duplicate"], &answer["accepted"]), (0, &300.into(), &0.into()), "{answer}");
    wait_for("the receipts are there", seconds(30), || {
        let ran = federation.ask(COUNTY, &["receipt", &again, "--json"]);
        let all = list(&ran.json()["records"]).iter().all(|r| list(&r["held_by"]).len() == 3);
        (ran.code == 0 && all).then_some(())
    });
    // Nothing of it is damage. The disk still has the history that does not count, which `status` says with the way out.
    let verified = federation.ask(COUNTY, &["verify", "--json"]);
    assert_eq!(verified.code, 0, "{verified:?}");
    assert!(!list(&verified.json()["closed_branch"]).is_empty(), "{verified:?}");
    let dead = action(COUNTY, "dead_branch");
    assert!(dead["next"].as_str().unwrap().contains("tally restore"), "{dead}");
    wait_for("nothing is staged and nothing waits", seconds(30), || {
        let status = federation.try_status(COUNTY)?;
        let e2 = find(&status["logs"], "log", &format!("{FEDERATION}/{COUNTY}/e2"));
        let confirmed = list(&e2["receipts"]).iter().any(|r| r["holder"] == PROVINCE && r["size"] == e2["size"]);
        (status["staged"]["records"] == 0 && confirmed).then_some(())
    });
    let size = |log: &str| find(&federation.status(PROVINCE)["logs"], "log", log)["size"].as_u64();
    assert_eq!(size(&origin(COUNTY)), Some(900));
    assert!(size(&format!("{FEDERATION}/{COUNTY}/e2")) >= Some(303));
}
