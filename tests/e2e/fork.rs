//! Two histories of one log, as an operator can make them: a node without a link to its parent, started from an old copy
//! of its disk.

use std::{fs, process::Command};
use tally_tests::{
    CITY, COUNTY, Federation, LINE, NEIGHBOUR, PROVINCE, Ran, find, list, origin, sample::records, seconds, wait_for,
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

/// Both checkpoints are kept, that log stops, all others go on; and a comparison names the records at which the two
/// histories part.
#[test]
fn a_fork_is_found_named_and_stops_one_log_only() {
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
    let frozen = |division: &str| {
        let status = federation.try_status(division)?;
        (find(&status["logs"], "log", &origin(COUNTY))["state"] == "frozen").then_some(())
    };
    wait_for("the city freezes the log", seconds(20), || frozen(CITY));
    // What the city holds is what came first, unharmed.
    assert_eq!(federation.ask(CITY, &["verify", "--json"]).code, 0);
    assert_eq!(federation.count(CITY), 900);

    // With a link, everyone on the path learns of it, and a comparison tells where the histories part.
    federation.stop(COUNTY);
    offline(&federation, false);
    federation.start(COUNTY);
    wait_for("all levels know", seconds(30), || frozen(COUNTY).and(frozen(PROVINCE)));
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
