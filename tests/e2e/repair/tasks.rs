//! Verify and reconcile as tasks: held, resumed, killed amid their work, and side by side.

use super::{ALL, PLAN, federation};
use serde_json::Value;
use tally_tests::{CITY, COUNTY, Federation, NEIGHBOUR, PROVINCE, list, poll, sample::write_records, seconds};

/// More than the bytes of one frame here.
const STEP: u64 = 100_000;

#[test]
fn tasks_are_held_and_survive_a_kill_and_neighbours_away_are_named() {
    const N: u64 = 120_000;
    let federation = Federation::running(PLAN);
    federation.expects(&["task.failed"]);
    let file = federation.at("records.ndjson");
    write_records(&file, 0..N, COUNTY);
    assert_eq!(federation.ingest_file(COUNTY, &file).0, 0);
    let slow = || {
        let ran = federation.ask(COUNTY, &["verify", "--rate", "1", "--detach"]);
        ran.done().trim().to_owned()
    };
    let done = |task: &Value| {
        let (done, total) = (&task["progress"]["done"], &task["progress"]["total"]);
        assert!(total.is_null() || done.as_u64() <= total.as_u64(), "{task}");
        done.as_u64().unwrap()
    };
    let moves = |id: &str, from: u64| federation.wait_task(COUNTY, id, seconds(20), |t| done(t) > from);
    // Held, it stands still; then it goes on.
    let id = slow();
    moves(&id, 0);
    assert_eq!(federation.task(COUNTY, "pause", &id)["state"], "paused");
    // A frame that was begun is read to its end.
    let held = done(&federation.wait_task(COUNTY, &id, seconds(5), |t| t["state"] == "paused"));
    let still = poll(seconds(1), || Some(done(&federation.task(COUNTY, "show", &id))).filter(|now| *now > held + STEP));
    assert_eq!(still, None, "a task that is held goes on from {held}");
    let resumed = federation.task(COUNTY, "resume", &id);
    assert!(["running", "queued"].contains(&resumed["state"].as_str().unwrap()), "{resumed}");
    moves(&id, held + STEP);
    federation.task(COUNTY, "cancel", &id);
    federation.wait_task(COUNTY, &id, seconds(5), |t| t["state"] == "cancelled");
    assert_ne!(federation.ask(COUNTY, &["task", "resume", &id]).code, 0, "what has ended does not go on");
    // Killed in the middle, it goes on under its name.
    let id = slow();
    moves(&id, STEP);
    federation.kill9(COUNTY);
    federation.start(COUNTY);
    moves(&id, 0);
    federation.ask(COUNTY, &["task", "rate", "0", &id]).done();
    let over =
        federation.wait_task(COUNTY, &id, seconds(30), |t| ["done", "failed"].contains(&t["state"].as_str().unwrap()));
    done(&over);
    assert_eq!(
        (&over["state"], &over["result"]["records"], &over["exit"]),
        (&"done".into(), &N.into(), &0.into()),
        "{over}"
    );
    assert_eq!(over["progress"]["done"], over["progress"]["total"], "{over}");
    // A neighbour that is away.
    federation.wait_converged(&ALL, seconds(60));
    federation.stop(NEIGHBOUR);
    let ran = federation.reconcile(CITY, NEIGHBOUR, &[]);
    assert!(ran.code != 0 && ran.out.is_empty() && ran.err.contains(NEIGHBOUR), "{ran:?}");
    let ran = federation.reconcile(CITY, "all", &[]);
    let report = ran.json();
    let skipped = list(&report["skipped"]);
    assert!([3, 4].contains(&ran.code) && skipped.len() == 1 && skipped[0]["division"] == NEIGHBOUR, "{ran:?}");
    assert!(skipped[0]["why"].as_str().unwrap().contains(NEIGHBOUR), "{report}");
}

/// Two neighbours that compare with each other at the same time, and a verify that is held meanwhile: none waits for
/// ever for the other's disk.
#[test]
fn neighbours_that_compare_with_each_other_at_the_same_time_both_end() {
    let federation = federation();
    let held = federation.ask(CITY, &["verify", "--rate", "1", "--detach"]).done();
    federation.task(CITY, "pause", held.trim());
    for _ in 0..3 {
        let start = |division: &str, with: &str| {
            let ran = federation.ask(division, &["reconcile", "--with", with, "--repair", "--detach"]);
            ran.done().trim().to_owned()
        };
        let tasks = [(PROVINCE, start(PROVINCE, CITY)), (COUNTY, start(COUNTY, CITY)), (CITY, start(CITY, PROVINCE))];
        for (division, id) in &tasks {
            let task =
                federation.wait_task(division, id, seconds(40), |t| t["state"] == "done" || t["state"] == "failed");
            assert_eq!((&task["state"], &task["exit"]), (&"done".into(), &0.into()), "{division}: {task}");
        }
    }
    federation.task(CITY, "cancel", held.trim());
    let both = || {
        [(PROVINCE, CITY), (CITY, PROVINCE)].map(|(division, with)| {
            let ran = federation.ask(division, &["reconcile", "--with", with, "--detach"]);
            (division, ran.done().trim().to_owned())
        })
    };
    for _ in 0..5 {
        for (division, id) in both() {
            let task =
                federation.wait_task(division, &id, seconds(40), |t| t["state"] == "done" || t["state"] == "failed");
            assert_eq!((&task["state"], &task["exit"]), (&"done".into(), &0.into()), "{division}: {task}");
        }
    }
}
