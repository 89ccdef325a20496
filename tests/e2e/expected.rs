//! Nodes whose silence is in order by charter: off at night, or carrying bundles.

use crate::bundle::{export, import, unplug};
use serde_json::Value;
use tally_tests::{
    CITY, COUNTY, Federation, LINE, NEIGHBOUR, PROVINCE, find, free_port,
    http::{Body, request},
    list, seconds, wait_for,
};

/// Hours of China that begin in six hours from now and last one.
fn later_today() -> String {
    let now = jiff::tz::Offset::constant(8).to_datetime(jiff::Timestamp::now());
    let hour = |ahead: i8| (now.hour() + ahead) % 24;
    format!("expected = {{ hours = \"{:02}:00-{:02}:00\" }}", hour(6), hour(7))
}

/// Codes and texts of what names nodes below.
fn named(federation: &Federation, at: &str) -> Vec<String> {
    let status = federation.status(at);
    let told = list(&status["actions"]).iter().map(|a| format!("{} {} {}", a["code"], a["what"], a["next"]));
    told.filter(|text| text.contains("node_")).collect()
}

fn node(federation: &Federation, at: &str, division: &str) -> Value {
    find(&federation.status(at)["nodes"], "division", division).clone()
}

/// U22: an offline county is no alarm at its city for ever, and one that is off at night none at night. Once it is missed, it is.
#[test]
fn silence_that_the_charter_excuses_is_no_alarm() {
    let plan = [LINE, &[(NEIGHBOUR, "county", Some(CITY))]].concat();
    let mut federation = Federation::new(&plan);
    federation.say(COUNTY, "expected = { by_file_days = 3 }");
    federation.say(NEIGHBOUR, &later_today());
    let note = federation.charter(2, "authority.key");
    let running = [PROVINCE, CITY, COUNTY];
    running.iter().for_each(|division| federation.install(division, &note));
    unplug(&federation, COUNTY);
    let port = free_port();
    federation.configure(CITY, &format!("http = \"127.0.0.1:{port}\"\n"));
    running.iter().for_each(|division| federation.start(division));

    // A bundle has never come: the city is told how to get one. The neighbour, which never ran, is not missed.
    let of_county = |at: &str| named(&federation, at).into_iter().find(|text| text.contains(COUNTY));
    let said = wait_for("the county's bundle is missed", seconds(60), || of_county(CITY));
    assert!(said.contains("has brought no bundle") && said.contains("tally bundle export"), "{said}");
    assert!(!named(&federation, CITY).iter().any(|text| text.contains(NEIGHBOUR)));
    let off = node(&federation, CITY, NEIGHBOUR);
    assert!(off["state"] == "never_seen" && off["excused"] == true, "{off}");
    assert!(off["expected"].as_str().unwrap().contains(":00-"), "{off}");

    federation.enter(COUNTY, 0..50);
    let up = export(&federation, COUNTY, CITY, "receipt", "up");
    assert_eq!(import(&federation, CITY, &up).code, 0);
    for at in [CITY, PROVINCE] {
        wait_for("nobody is named", seconds(60), || named(&federation, at).is_empty().then_some(()));
    }
    let county = node(&federation, CITY, COUNTY);
    assert!(county["excused"] == true && county["last_heard"].is_string(), "{county}");
    assert_eq!(county["expected"], "by file within 3 d");
    let screen = federation.ask(CITY, &["status"]).out;
    assert!(screen.contains("BELOW    2 nodes: 2 silent as expected"), "{screen}");
    let metrics = request(port, "GET", "/metrics", None, &Body::None).body;
    for line in [
        format!("tally_peer_up{{peer=\"{COUNTY}\"}} 0"),
        format!("tally_peer_expected{{peer=\"{COUNTY}\"}} 0"),
        format!("tally_peer_expected{{peer=\"{NEIGHBOUR}\"}} 0"),
        format!("tally_peer_expected{{peer=\"{PROVINCE}\"}} 1"),
        format!("tally_node_expected{{node=\"{NEIGHBOUR}\"}} 0"),
    ] {
        assert!(metrics.contains(&line), "{line}\n{metrics}");
    }

    // What was confirmed says when something came last, also after a restart.
    federation.stop(CITY);
    federation.start(CITY);
    wait_for("nobody is named after a restart", seconds(60), || named(&federation, CITY).is_empty().then_some(()));

    // A newer charter expects the neighbour always, and it is missed at both levels.
    federation.say(NEIGHBOUR, "");
    federation.ask(PROVINCE, &["charter", "load", &federation.charter(3, "authority.key")]).done();
    for at in [CITY, PROVINCE] {
        wait_for("the neighbour is missed", seconds(60), || {
            named(&federation, at).iter().any(|text| text.contains(NEIGHBOUR)).then_some(())
        });
    }
}
