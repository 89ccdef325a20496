//! What a province knows of every node below, and a county of the levels above.

use crate::repair::flip;
use serde_json::Value;
use tally_tests::{
    CITY, COUNTY, Federation, NEIGHBOUR, PROVINCE, Plan, find, free_port,
    http::{Body, request},
    list, origin,
    sample::{Random, records},
    seconds, wait_for,
};

const PLAN: &[Plan<'static>] = &[
    (PROVINCE, "province", None),
    (CITY, "prefecture", Some(PROVINCE)),
    (COUNTY, "county", Some(CITY)),
    (NEIGHBOUR, "county", Some(CITY)),
];
const ALL: &[&str] = &[PROVINCE, CITY, COUNTY, NEIGHBOUR];
/// The bound for what a province has to know.
const KNOWN_WITHIN: u64 = 60;

fn node(status: &Value, division: &str) -> Value {
    find(&status["nodes"], "division", division).clone()
}

/// Codes of actions that name nodes below, with what they name.
fn named(federation: &Federation, at: &str) -> Vec<(String, String)> {
    let status = federation.status(at);
    let told = list(&status["actions"]).iter().map(|a| {
        let text = |m: &str| a[m].as_str().unwrap().to_owned();
        (text("code"), text("what"))
    });
    told.filter(|(code, _)| code.starts_with("node_") || code.ends_with("_above")).collect()
}

fn names(found: &[(String, String)], code: &str, division: &str) -> bool {
    found.iter().any(|(c, what)| c == code && what.contains(division))
}

fn all_is_well(federation: &Federation) {
    wait_for("all are live everywhere, and nobody is named", seconds(KNOWN_WITHIN), || {
        let status = federation.status(PROVINCE);
        let live = list(&status["nodes"]).iter().all(|n| n["state"] == "live" && n["agrees"] == true);
        (live && ALL.iter().all(|d| named(federation, d).is_empty())).then_some(())
    });
}

#[test]
fn a_province_knows_of_every_node_below_and_names_what_is_lost() {
    let federation = Federation::new(PLAN);
    let port = free_port();
    federation.configure(PROVINCE, &format!("http = \"127.0.0.1:{port}\"\n"));
    ALL.iter().for_each(|d| federation.start(d));
    // What is shown without a token may be a second old.
    let shows = |line: &str| {
        wait_for(line, seconds(10), || {
            request(port, "GET", "/metrics", None, &Body::None).body.contains(line).then_some(())
        });
    };
    for (division, n) in [(COUNTY, 50), (NEIGHBOUR, 20)] {
        federation.enter(division, 0..n);
    }
    federation.wait_converged(ALL, seconds(60));
    all_is_well(&federation);
    let status = federation.status(PROVINCE);
    assert_eq!(list(&status["nodes"]).len(), 3, "{status}");
    let county = node(&status, COUNTY);
    assert_eq!([&county["via"], &county["parent"], &county["level"]], [CITY, CITY, "county"], "{county}");
    assert_eq!([&county["waiting_records"], &county["staged"], &county["damaged_records"]], [0, 0, 0], "{county}");
    assert!(
        county["last_heard"].is_string() && county["frozen"] == false && county["charter_version"] == 1,
        "{county}"
    );
    assert!(county["software"].as_str().unwrap().starts_with("tally "), "{county}");
    assert_eq!(node(&status, CITY)["via"], PROVINCE);

    // A county that dies is named at the province, and its neighbour is not.
    federation.kill9(COUNTY);
    wait_for("the county is lost", seconds(KNOWN_WITHIN), || {
        names(&named(&federation, PROVINCE), "node_lost", COUNTY).then_some(())
    });
    let status = federation.status(PROVINCE);
    let (lost, other) = (node(&status, COUNTY), node(&status, NEIGHBOUR));
    assert!(lost["state"] == "lost" && lost["last_heard"].is_string() && lost["waiting_records"].is_null(), "{lost}");
    assert_eq!(other["state"], "live", "{other}");
    // What was compared before the link was gone says nothing of now.
    let lost = wait_for("the city has lost it", seconds(KNOWN_WITHIN), || {
        let child = find(&federation.status(CITY)["children"], "division", COUNTY).clone();
        (child["state"] == "lost").then_some(child)
    });
    assert!(lost["agrees"].is_null() && lost["since"].is_null(), "{lost}");
    shows(&format!("tally_node_up{{node=\"{COUNTY}\"}} 0"));
    shows(&format!("tally_node_up{{node=\"{NEIGHBOUR}\"}} 1"));
    let screen = federation.ask(PROVINCE, &["status"]).out;
    assert!(screen.contains("BELOW    3 nodes: 2 live, 1 lost") && screen.contains("node_lost"), "{screen}");

    // Behind a city that dies nothing is known: that is not lost.
    federation.kill9(CITY);
    wait_for("the city is lost", seconds(KNOWN_WITHIN), || {
        let named = named(&federation, PROVINCE);
        (names(&named, "node_lost", CITY) && !names(&named, "node_lost", COUNTY)).then_some(())
    });
    let status = federation.status(PROVINCE);
    for county in [COUNTY, NEIGHBOUR] {
        let unknown = node(&status, county);
        assert!(
            unknown["state"].is_null() && unknown["agrees"].is_null() && unknown["waiting_records"].is_null(),
            "{unknown}"
        );
    }
    shows(&format!("tally_node_known{{node=\"{COUNTY}\"}} 0"));
    assert!(find(&status["children"], "division", CITY)["agrees"].is_null(), "{status}");
    let metrics = request(port, "GET", "/metrics", None, &Body::None).body;
    assert!(!metrics.contains("tally_peer_agrees{"), "{metrics}");
    let parent = wait_for("the neighbour has lost its parent", seconds(KNOWN_WITHIN), || {
        let parent = federation.status(NEIGHBOUR)["parent"].clone();
        (parent["state"] == "lost").then_some(parent)
    });
    assert!(parent["agrees"].is_null() && parent["since"].is_null(), "{parent}");
    let lost = find(&status["actions"], "code", "node_lost");
    assert!(lost["why"].as_str().unwrap().contains("2 nodes behind it are unknown"), "{lost}");
    federation.start(CITY);
    federation.start(COUNTY);
    all_is_well(&federation);
}

#[test]
fn damage_is_known_above_it_and_below_it() {
    let mut random = Random(21);
    let federation = Federation::new(PLAN);
    // Damage that is mended at once is known to nobody.
    ALL.iter().for_each(|d| federation.configure(d, "\n[schedule]\nrepair = false\n"));
    PLAN.iter().for_each(|(division, ..)| federation.start(division));
    federation.expects(&["verify.damaged", "journal.mended", "journal.damaged"]);
    federation.enter(COUNTY, 0..300);
    federation.wait_converged(ALL, seconds(60));
    all_is_well(&federation);
    // At the city, of the county's log: the province names the city, and the county hears of it.
    flip(&federation, CITY, &mut random, |(log, ..)| *log == origin(COUNTY));
    assert_eq!(federation.verify(CITY).code, 4);
    wait_for("both know", seconds(KNOWN_WITHIN), || {
        let (above, below) = (named(&federation, PROVINCE), named(&federation, COUNTY));
        (names(&above, "node_damaged", CITY) && names(&below, "damaged_above", CITY)).then_some(())
    });
    // The roots are the same, and the records are not: nobody says that the two copies agree, and that repairs nothing.
    let of = |at: &str, list: &str, division: &str| {
        find(&federation.status(at)[list], "division", division)["agrees"].clone()
    };
    let parents = |at: &str| federation.status(at)["parent"]["agrees"].clone();
    assert_eq!([parents(CITY), parents(COUNTY)], [Value::Null, Value::Null]);
    assert_eq!([of(PROVINCE, "children", CITY), of(PROVINCE, "nodes", CITY)], [Value::Null, Value::Null]);
    assert_eq!([of(CITY, "children", COUNTY), of(CITY, "nodes", COUNTY)], [Value::Null, Value::Null]);
    assert_eq!(of(CITY, "children", NEIGHBOUR), true, "its log is whole");
    assert_eq!(federation.reconcile(CITY, "all", &["--repair"]).code, 0);
    all_is_well(&federation);
    assert_eq!([parents(CITY), parents(COUNTY), of(CITY, "children", COUNTY)], [true, true, true]);
    // At the province: the county hears what became of its log there.
    flip(&federation, PROVINCE, &mut random, |(log, ..)| *log == origin(COUNTY));
    assert_eq!(federation.verify(PROVINCE).code, 4);
    wait_for("the county knows", seconds(KNOWN_WITHIN), || {
        names(&named(&federation, COUNTY), "damaged_above", PROVINCE).then_some(())
    });
    assert!(!names(&named(&federation, NEIGHBOUR), "damaged_above", PROVINCE), "it is not its log");
    assert_eq!([of(PROVINCE, "children", CITY), parents(CITY)], [Value::Null, Value::Null]);
    assert_eq!(federation.reconcile(PROVINCE, CITY, &["--repair"]).code, 0);
    all_is_well(&federation);
}

#[test]
fn what_was_staged_names_nobody_once_it_is_signed() {
    let federation = Federation::new(PLAN);
    ALL.iter().for_each(|d| federation.start(d));
    federation.enter(COUNTY, 0..20);
    federation.wait_converged(ALL, seconds(60));
    // A city that may not sign yet; nobody above it can know, and once somebody can, it signs.
    federation.stop(PROVINCE);
    federation.kill9(CITY);
    federation.start(CITY);
    let (code, answer) = federation.ingest(CITY, &records(500..520, CITY));
    assert!(code == 0 && answer["staged"] == 20, "{answer}");
    federation.start(PROVINCE);
    federation.wait_converged(ALL, seconds(60));
    all_is_well(&federation);
}
