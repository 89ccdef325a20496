//! Clocks on the wall that are wrong from a node's first start on, while nobody is there who could say so.

use serde_json::Value;
use std::time::{SystemTime, UNIX_EPOCH};
use tally_tests::{
    CITY, COUNTY, Federation, LINE, PROVINCE, Plan, find, sample::records, seconds, shim::shim, wait_for,
};

const ALL: &[&str] = &[PROVINCE, CITY, COUNTY];
/// So far ahead is a wrong clock, in seconds: 400 days.
const AHEAD_S: i64 = 400 * 86_400;
/// A second of the mean Gregorian year.
const YEAR_S: u64 = 31_556_952;

/// This year, by the machine's own clock.
#[expect(clippy::disallowed_methods, reason = "what the nodes' clocks are held against")]
fn year() -> u64 {
    1_970 + SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs() / YEAR_S
}

/// In which years a node's records were sealed, one for each.
fn sealed_in(federation: &Federation, at: &str) -> Vec<u64> {
    let sealed = |r: &Value| r["_tally"]["sealed_at"].as_str().unwrap()[..4].parse().unwrap();
    federation.export(at, &["--history"]).iter().map(sealed).collect()
}

/// What was handed in, staged, rejected; and why it is staged.
fn hand_in(federation: &Federation, at: &str, rows: std::ops::Range<u64>) -> ([u64; 3], Value) {
    let (code, answer) = federation.ingest(at, &records(rows, at));
    assert_eq!(code, 0, "{answer}");
    (["accepted", "staged", "rejected"].map(|n| answer[n].as_u64().unwrap()), answer["staged_because"].clone())
}

/// The action about the clock, once it is told.
fn told(federation: &Federation, at: &str) -> Value {
    wait_for("the clock is named", seconds(60), || {
        let status = federation.try_status(at)?;
        let action = find(&status["actions"], "code", "clock_off");
        action.is_object().then(|| action.clone())
    })
}

/// F7, M8, B13: a county takes its first rows in the future, with nobody there: nothing is signed until a neighbour has said
/// what time it is, nothing is rejected, and no time of then is left once the clock is right.
#[test]
fn a_county_that_first_starts_in_the_future_signs_nothing_before_its_clock_is_right() {
    let Some(shim) = shim() else { return };
    let federation = Federation::new(LINE);
    federation.expects(&["link.unreached", "clock.off"]);
    federation.clock_ahead(COUNTY, shim, AHEAD_S);
    federation.start(COUNTY);
    assert_eq!(hand_in(&federation, COUNTY, 0..5), ([5, 5, 0], "parent_unknown".into()));

    [CITY, PROVINCE].iter().for_each(|d| federation.start(d));
    let action = told(&federation, COUNTY);
    assert!(action["why"].as_str().unwrap().contains("400 d ahead"), "{action}");
    assert_eq!(hand_in(&federation, COUNTY, 5..8), ([3, 3, 0], "clock".into()));
    assert_eq!(federation.count(CITY), 0, "nothing was signed in the future");

    federation.stop(COUNTY);
    federation.will_work(COUNTY);
    federation.start(COUNTY);
    federation.wait_converged(ALL, seconds(90));
    wait_for("all is signed", seconds(60), || (federation.count(PROVINCE) == 8).then_some(()));
    assert_eq!(sealed_in(&federation, PROVINCE), [year(); 8]);
    let status = federation.status(COUNTY);
    assert!(!find(&status["actions"], "code", "clock_off").is_object(), "{status}");
}

/// Nobody at all can say what time it is where a top has no children. Once its clock is right, its own journal speaks against
/// it; the operator's word counts then, and what is signed after that is dated as it should be, at each later start too.
#[test]
fn a_node_alone_that_first_started_in_the_future_goes_on_by_its_operators_word() {
    const ALONE: &[Plan<'static>] = &[(COUNTY, "county", None)];
    let Some(shim) = shim() else { return };
    let federation = Federation::new(ALONE);
    federation.expects(&["gate.opened", "clock.off"]);
    federation.clock_ahead(COUNTY, shim, AHEAD_S);
    federation.start(COUNTY);
    assert_eq!(hand_in(&federation, COUNTY, 0..2), ([2, 0, 0], Value::Null));

    federation.stop(COUNTY);
    federation.will_work(COUNTY);
    federation.start(COUNTY);
    let action = told(&federation, COUNTY);
    let (why, next) = (action["why"].as_str().unwrap(), action["next"].as_str().unwrap());
    assert!(why.contains("behind") && why.contains("signed before") && next.contains("tally gate open"), "{action}");
    assert_eq!(hand_in(&federation, COUNTY, 2..4), ([2, 2, 0], "clock".into()));
    // What the schedule does is not put off until then.
    let scheduled = federation.ask(COUNTY, &["verify", "--json"]);
    assert_eq!(scheduled.code, 0, "{scheduled:?}");

    federation.ask(COUNTY, &["gate", "open", "--reason", "the clock was ahead, and is right now"]).done();
    wait_for("what was staged is signed", seconds(60), || (federation.staged(COUNTY) == 0).then_some(()));
    for from in [4, 6] {
        assert_eq!(hand_in(&federation, COUNTY, from..from + 2), ([2, 0, 0], Value::Null));
        federation.stop(COUNTY);
        federation.start(COUNTY);
    }
    let sealed = sealed_in(&federation, COUNTY);
    assert_eq!((sealed.len(), sealed.iter().filter(|y| **y == year()).count()), (8, 6), "{sealed:?}");
}
