//! Charters of a running federation: two of one version, and nodes that are retired.

use serde_json::Value;
use std::fs;
use tally_tests::{
    CITY, COUNTY, Federation, LINE, NEIGHBOUR, PROVINCE, Plan, Ran, find, list, origin, run, sample::record, seconds,
    wait_for,
};

const TREE: &[Plan<'static>] = &[LINE[0], LINE[1], LINE[2], (NEIGHBOUR, "county", Some(CITY))];

/// A charter's note under a name of its own, because the next of the same version would take its place.
fn kept(federation: &Federation, note: &str, name: &str) -> String {
    let copy = federation.at(name);
    fs::rename(note, &copy).unwrap();
    copy
}

fn action(federation: &Federation, at: &str, code: &str) -> Option<Value> {
    let status = federation.try_status(at)?;
    Some(find(&status["actions"], "code", code).clone()).filter(Value::is_object)
}

fn load(federation: &Federation, at: &str, note: &str, more: &[&str]) -> Ran {
    federation.ask(at, &[&["charter", "load", note][..], more].concat())
}

/// The link stays, nothing is taken over, both ends say so, and a newer version heals it.
#[test]
fn two_charters_of_one_version_are_told_at_both_ends_until_a_newer_one_comes() {
    let federation = Federation::new(LINE);
    federation.expects(&["charter.differs"]);
    let one = kept(&federation, &federation.charter_with(2, "authority.key", "# one\n"), "one.note");
    let other = kept(&federation, &federation.charter_with(2, "authority.key", "# other\n"), "other.note");
    [PROVINCE, CITY].iter().for_each(|d| federation.start(d));
    load(&federation, PROVINCE, &one, &[]).done();
    // The county starts from the other one, as if it had been carried there.
    federation.install(COUNTY, &other);
    federation.start(COUNTY);
    for (at, neighbour) in [(CITY, COUNTY), (COUNTY, CITY)] {
        let told = wait_for("both ends say so", seconds(30), || action(&federation, at, "charter_differs"));
        assert!(told["what"].as_str().unwrap().contains(neighbour), "{told}");
        assert!(told["next"].as_str().unwrap().contains("newer version"), "{told}");
    }
    federation.enter(COUNTY, 0..5);
    federation.wait_converged(&[PROVINCE, CITY, COUNTY], seconds(30));
    // At the top, and at one node alone: refused, with the reason.
    for (at, note) in [(PROVINCE, &other), (COUNTY, &one)] {
        let refused = load(&federation, at, note, &["--here"]);
        assert!(refused.code == 6 && refused.err.contains("other content"), "{refused:?}");
    }
    assert_eq!(load(&federation, PROVINCE, &one, &[]).code, 0, "the same one again is no news");
    let elsewhere = load(&federation, COUNTY, &one, &[]);
    assert!(elsewhere.code == 2 && elsewhere.err.contains("--here"), "{elsewhere:?}");
    let newer = federation.charter_with(3, "authority.key", "");
    load(&federation, PROVINCE, &newer, &[]).done();
    wait_for("a newer one heals it", seconds(30), || {
        let here = |d: &str| federation.try_status(d).is_some_and(|s| s["charter_version"] == 3);
        let told = |d: &str| action(&federation, d, "charter_differs").is_some();
        ([PROVINCE, CITY, COUNTY].iter().all(|d| here(d) && !told(d))).then_some(())
    });
}

/// A city with a county below: retiring it alone needs a word at each step, and both sides say what follows.
#[test]
fn a_node_with_children_is_not_retired_without_a_word() {
    let mut federation = Federation::running(LINE);
    federation.retire(CITY);
    let text = federation.charter_text(2, "");
    let (key, note) = (federation.at("authority.key"), federation.at("next.note"));
    let sign = ["charter", "sign", &text, "--key", &key, "-o", &note];
    for refused in [run(&sign), run(&["charter", "check", &text])] {
        assert!(refused.code == 6 && refused.err.contains("350102 would be cut off"), "{refused:?}");
    }
    assert!(!fs::exists(&note).unwrap(), "nothing is signed");
    run(&[&sign[..], &["--retire-anyway", CITY]].concat()).done();
    let authority = federation.authority().split('"').nth(1).unwrap().to_owned();
    let check = ["charter", "check", &note, "--authority", &authority];
    assert_eq!(run(&check).code, 6);
    assert_eq!(run(&[&check[..], &["--retire-anyway", CITY]].concat()).code, 0);
    let refused = load(&federation, PROVINCE, &note, &["--retire-anyway", COUNTY]);
    assert!(refused.code == 6 && refused.err.contains("--retire-anyway 350100"), "{refused:?}");
    assert_eq!(federation.status(PROVINCE)["charter_version"], 1);
    federation.expects(&["link.refused"]);
    load(&federation, PROVINCE, &note, &["--retire-anyway", CITY]).done();
    let told =
        wait_for("the province says who is cut off", seconds(30), || action(&federation, PROVINCE, "parent_retired"));
    assert!(told["what"].as_str().unwrap().contains(COUNTY), "{told}");
    let node_key = federation.file(PROVINCE, "keys/node.key");
    let wrong = run(&["charter", "sign", &text, "--key", &node_key, "-o", &note, "--retire-anyway", CITY]);
    assert!(wrong.code == 2 && wrong.err.contains("this secret is a node's"), "{wrong:?}");
}

/// Rows that a retired county alone has: it stays on the screen at its parent and at the top until they are there; it says
/// itself what it is, takes nothing more, and does not start, except to carry what it has.
#[test]
fn a_retired_node_stays_on_the_screen_until_its_rows_are_accounted_for() {
    let mut federation = Federation::running(TREE);
    [COUNTY, NEIGHBOUR].iter().for_each(|d| federation.enter(d, 0..10));
    federation.wait_converged(&[PROVINCE, CITY, COUNTY, NEIGHBOUR], seconds(60));
    // Records that nobody above has: taken while the city is away.
    federation.stop(CITY);
    federation.enter(COUNTY, 10..13);
    federation.stop(COUNTY);
    federation.start(CITY);
    wait_for("the neighbour is linked", seconds(30), || {
        let status = federation.try_status(CITY)?;
        (find(&status["children"], "division", NEIGHBOUR)["state"] == "live").then_some(())
    });
    federation.retire(COUNTY);
    let note = federation.charter(2, "authority.key");
    let refused = load(&federation, PROVINCE, &note, &[]);
    assert!(refused.code == 6 && refused.err.contains("is not known here"), "{refused:?}");
    load(&federation, PROVINCE, &note, &["--retire-anyway", COUNTY]).done();
    for at in [PROVINCE, CITY] {
        let told = wait_for("it stays on the screen", seconds(30), || action(&federation, at, "retired_rows"));
        assert!(told["what"].as_str().unwrap().contains(COUNTY), "{told}");
        let status = federation.status(at);
        let retired = find(&status["retired"], "division", COUNTY);
        assert_eq!((&retired["held"], &retired["had"]), (&10.into(), &Value::Null), "{status}");
    }
    let status = federation.status(CITY);
    assert_eq!(find(&status["children"], "division", COUNTY)["retired"], true, "{status}");
    let screen = federation.ask(CITY, &["status"]).done();
    assert!(screen.contains("never_seen, retired") && screen.contains("[retired_rows]"), "{screen}");

    // Its own start: by its name, with the code of what is not admitted.
    federation.install(COUNTY, &note);
    let config = federation.config(COUNTY);
    let refused = run(&["run", "--config", &config]);
    assert!(refused.code == 6 && refused.err.contains("retired by charter version 2"), "{refused:?}");
    assert!(refused.err.contains("3 records here have no receipt of 350100"), "{refused:?}");
    let text = fs::read_to_string(&config).unwrap();
    fs::write(&config, text.replacen("[node]\n", "[node]\noffline = true\n", 1)).unwrap();
    federation.start(COUNTY);
    let told = wait_for("it says so itself", seconds(30), || action(&federation, COUNTY, "retired"));
    assert!(told["why"].as_str().unwrap().contains("3 records have no receipt"), "{told}");
    let rows = federation.at("rows.ndjson");
    fs::write(&rows, record(20, COUNTY)).unwrap();
    let refused = federation.ask(COUNTY, &["ingest", &rows]);
    assert!(refused.code == 6 && refused.err.contains("retired"), "{refused:?}");
    let file = federation.at("up");
    federation.ask(COUNTY, &["bundle", "export", "--to", CITY, "-o", &file]).done();
    let taken = federation.ask(CITY, &["bundle", "import", &file, "--json"]);
    assert_eq!((taken.code, &taken.json()["records"]), (0, &3.into()), "{taken:?}");

    // The authority closes its epoch there: then nothing is open any more.
    let status = federation.status(CITY);
    let log = find(&status["logs"], "log", &origin(COUNTY));
    assert_eq!(log["size"], 13, "{status}");
    federation.close_epoch(COUNTY, 13, log["root"].as_str().unwrap());
    let ended = federation.charter(3, "authority.key");
    load(&federation, PROVINCE, &ended, &[]).done();
    for at in [PROVINCE, CITY] {
        wait_for("nothing is open any more", seconds(30), || {
            let status = federation.try_status(at)?;
            let shown = list(&status["children"]).iter().any(|c| c["division"] == COUNTY);
            let open = !list(&status["retired"]).is_empty() || shown;
            (status["charter_version"] == 3 && !open).then_some(())
        });
    }
}

/// A linked child whose records are all here is retired without a word, and is gone from the screen.
#[test]
fn a_node_whose_rows_are_all_here_is_retired_without_a_word() {
    let mut federation = Federation::running(&LINE[..2]);
    federation.enter(CITY, 0..10);
    federation.wait_converged(&[PROVINCE, CITY], seconds(60));
    wait_for("the province has heard of all of them", seconds(30), || {
        let status = federation.try_status(PROVINCE)?;
        (find(&status["children"], "division", CITY)["behind_records"] == 0).then_some(())
    });
    federation.retire(CITY);
    let note = federation.charter(2, "authority.key");
    federation.expects(&["link.refused"]);
    load(&federation, PROVINCE, &note, &[]).done();
    let status = federation.status(PROVINCE);
    assert!(list(&status["children"]).is_empty() && list(&status["retired"]).is_empty(), "{status}");
    let told = wait_for("it says so itself", seconds(30), || action(&federation, CITY, "retired"));
    assert!(told["why"].as_str().unwrap().contains("charter version 2"), "{told}");
}
