//! Nodes as an operator sees and changes them: listed with what is known, moved, taken out of service and let in again.

use serde_json::Value;
use tally_tests::{CITY, COUNTY, Federation, LINE, PROVINCE, find, run, seconds, wait_for};

fn ls(federation: &Federation) -> Value {
    let ran = federation.ask(PROVINCE, &["node", "ls", "--json"]);
    assert_eq!(ran.code, 0, "{ran:?}");
    ran.json()
}

#[test]
fn nodes_are_listed_moved_and_taken_out_and_back() {
    let federation = Federation::running(LINE);
    federation.expects(&["link.refused", "link.unreached", "link.closed", "charter.refused"]);
    federation.enter(COUNTY, 0..20);
    federation.wait_converged(&[PROVINCE, CITY, COUNTY], seconds(60));
    let known = wait_for("the province has heard of the county", seconds(30), || {
        let all = ls(&federation);
        let county = find(&all, "division", COUNTY).clone();
        (county["state"] == "live" && county["software"].is_string()).then_some(county)
    });
    assert_eq!(
        (&known["parent"], &known["retired"], &known["epoch"]),
        (&CITY.into(), &false.into(), &1.into()),
        "{known}"
    );
    assert_eq!(find(&ls(&federation), "division", PROVINCE)["state"], "here");
    let shown = federation.ask(PROVINCE, &["node", "show", CITY, "--json"]).json();
    assert_eq!((&shown["children"][0], &shown["level"]), (&COUNTY.into(), &"prefecture".into()), "{shown}");
    assert_eq!(federation.ask(PROVINCE, &["node", "show", "350999"]).code, 2);

    let key = federation.at("authority.key");
    let changed = |args: &[&str]| {
        federation
            .ask(PROVINCE, &[&["node"], args, &["--authority", &key, "--reason", "the city moves", "--yes"]].concat())
    };
    let dry = federation.ask(PROVINCE, &["node", "move", COUNTY, "--under", PROVINCE, "--reason", "r", "--dry-run"]);
    assert!(dry.code == 0 && dry.err.contains("reports to 350000, not to 350100"), "{dry:?}");
    assert_eq!(find(&ls(&federation), "division", COUNTY)["parent"], CITY, "nothing was changed");
    changed(&["move", COUNTY, "--under", PROVINCE]).done();
    wait_for("the county is linked with the province", seconds(60), || {
        let status = federation.try_status(COUNTY)?;
        let parent = &status["parent"];
        (parent["division"] == PROVINCE && parent["state"] == "live").then_some(())
    });
    // The same again is nothing that changes; a node that is none, and one below itself, are refused.
    for (args, why) in [
        (&["move", COUNTY, "--under", PROVINCE][..], "already"),
        (&["move", "350999", "--under", PROVINCE], "not a node"),
        (&["move", CITY, "--under", COUNTY], "cannot report"),
        (&["resume", CITY], "already"),
    ] {
        let ran = changed(args);
        assert!(ran.code == 2 && ran.err.contains(why), "{args:?}: {ran:?}");
    }
    let would = changed(&["suspend", COUNTY, "--dry-run", "--json"]).json();
    assert_eq!((&would["follows"], &would["charter_version"]), (&2.into(), &Value::Null), "{would}");
    assert!(would["changes"][0].as_str().unwrap().contains("out of service"), "{would}");
    let told = changed(&["suspend", COUNTY, "--json"]).json();
    assert_eq!((&told["division"], &told["charter_version"]), (&COUNTY.into(), &3.into()), "{told}");
    wait_for("the county is out", seconds(60), || {
        let status = federation.try_status(COUNTY)?;
        (status["parent"]["state"] != "live").then_some(())
    });
    assert_eq!(find(&ls(&federation), "division", COUNTY)["retired"], true);
    changed(&["resume", COUNTY]).done();
    assert_eq!(find(&ls(&federation), "division", COUNTY)["retired"], false);
    let charter = federation.ask(PROVINCE, &["node", "show", COUNTY, "--json"]).json();
    assert_eq!(charter["parent"], PROVINCE);
    let first = federation.file(PROVINCE, "charter.note");
    let shown = run(&["charter", "show", &first, "--json"]).json();
    assert_eq!((&shown["version"], &find(&shown["nodes"], "division", COUNTY)["parent"]), (&1.into(), &CITY.into()));
    let checked = run(&["charter", "check", &first, "--json"]).json();
    assert_eq!((&checked["version"], &checked["nodes"], &checked["signed"]), (&1.into(), &3.into(), &false.into()));
}

/// Charters that come into force while a node is off: its old parent no longer admits it, and tells it why and whom to call.
#[test]
fn a_node_that_was_off_learns_that_it_was_moved_and_taken_out_of_service() {
    let federation = Federation::running(LINE);
    federation.expects(&["link.refused", "link.unreached", "link.closed"]);
    federation.enter(COUNTY, 0..20);
    federation.wait_converged(&[PROVINCE, CITY, COUNTY], seconds(60));
    let key = federation.at("authority.key");
    let changed = |args: &[&str]| {
        let args = [&["node"], args, &["--authority", &key, "--reason", "merged", "--yes"]].concat();
        federation.ask(PROVINCE, &args).json()["charter_version"].as_u64().unwrap()
    };
    let city_has = |version: u64| {
        wait_for("the city has the charter", seconds(60), || {
            (federation.try_status(CITY)?["charter_version"] == version).then_some(())
        });
    };
    let county_has = |version: u64| {
        wait_for("the county has the charter", seconds(60), || {
            (federation.try_status(COUNTY)?["charter_version"] == version).then_some(())
        });
    };
    federation.stop(COUNTY);
    city_has(changed(&["suspend", COUNTY, "--json"]));
    federation.start(COUNTY);
    county_has(2);
    changed(&["resume", COUNTY, "--json"]);
    county_has(3);
    federation.stop(COUNTY);
    city_has(changed(&["move", COUNTY, "--under", PROVINCE, "--json"]));
    federation.start(COUNTY);
    federation.enter(COUNTY, 20..30);
    county_has(4);
    wait_for("the county is linked to the province", seconds(60), || {
        let parent = federation.try_status(COUNTY)?["parent"].clone();
        (parent["division"] == PROVINCE && parent["state"] == "live").then_some(())
    });
    federation.wait_converged(&[PROVINCE, COUNTY], seconds(60));
}

/// Right after a move nobody at the new parent knows how many records a node has: that is waited for, or it is said what for.
#[test]
fn a_node_that_was_moved_a_moment_ago_is_retired_once_it_has_told_what_it_has() {
    let federation = Federation::running(LINE);
    federation.expects(&["link.refused", "link.unreached", "link.closed", "charter.refused"]);
    federation.enter(COUNTY, 0..20);
    federation.wait_converged(&[PROVINCE, CITY, COUNTY], seconds(60));
    let key = federation.at("authority.key");
    let changed = |args: &[&str]| {
        federation.ask(PROVINCE, &[&["node"], args, &["--authority", &key, "--reason", "merged", "--yes"]].concat())
    };
    let below = changed(&["retire", COUNTY]);
    assert!(below.code == 6 && below.err.contains("it tells 350100, to which it reports"), "{below:?}");
    changed(&["move", COUNTY, "--under", PROVINCE]).done();
    let waited = changed(&["retire", COUNTY]);
    assert!(waited.code == 0 && find(&ls(&federation), "division", COUNTY)["retired"] == true, "{waited:?}");
}

/// The file that a node starts from is the oldest charter that it knows; what is in force the running node says.
#[test]
fn doctor_tells_the_charter_in_force_from_that_of_the_file() {
    let federation = Federation::running(LINE);
    let charter = || {
        let tests = federation.ask(PROVINCE, &["doctor", "--json"]).json();
        find(&tests["tests"], "name", "charter").clone()
    };
    let said = |words: &[&str]| {
        let test = charter();
        assert!(words.iter().all(|w| test["what"].as_str().unwrap().contains(w)) && test["verdict"] == "ok", "{test}");
    };
    said(&["version 1 is in force, that of ", "charter.note; 350000"]);
    let note = federation.charter(2, "authority.key");
    federation.ask(PROVINCE, &["charter", "load", &note]).done();
    said(&["version 2 is in force", "charter.note has version 1 still"]);
    federation.stop(PROVINCE);
    said(&["charter.note is version 1", "only the node can say"]);
}
