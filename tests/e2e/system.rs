//! Nodes whose system fails them: flushes, writes and descriptors, in the journal and in what is derived from it.

use tally_tests::{
    CITY, COUNTY, Federation, LINE, PROVINCE,
    sample::records,
    seconds,
    shim::{SystemFault, shim},
    wait_for,
};

const ALL: &[&str] = &[PROVINCE, CITY, COUNTY];

/// I1, I2: what could not be flushed was never acknowledged, and the node ends rather than say more.
#[test]
fn a_node_whose_flush_fails_acknowledges_nothing() {
    let Some(shim) = shim() else { return };
    let federation = Federation::new(LINE);
    federation.expects(&["journal.failed", "part.ended", "journal.cut", "index.rebuild"]);
    let fault = SystemFault { call: "sync", path: "/data/journal/", error: "EIO", times: 0 };
    federation.will_fail(COUNTY, shim, fault);
    ALL.iter().for_each(|d| federation.start(d));
    federation.enter(COUNTY, 0..10);
    federation.wait_converged(ALL, seconds(60));

    federation.arm(COUNTY);
    let (code, answer) = federation.ingest(COUNTY, &records(10..15, COUNTY));
    assert!(code != 0 && answer["accepted"].as_u64().unwrap_or(0) == 0, "{code} {answer}");
    assert_ne!(federation.ends(COUNTY), 0, "a failed disk is a failure");
    assert_eq!(federation.count(CITY), 10, "nothing of the round has left the node");

    federation.will_work(COUNTY);
    federation.start(COUNTY);
    federation.wait_converged(ALL, seconds(60));
    // The same rows once more: each is there once, whatever became of the round that failed.
    let (code, answer) = federation.ingest(COUNTY, &records(10..15, COUNTY));
    let taken = ["accepted", "duplicate"].map(|f| answer[f].as_u64().unwrap_or(0));
    assert_eq!((code, taken[0] + taken[1]), (0, 5), "{answer}");
    federation.wait_converged(ALL, seconds(60));
    wait_for("the index", seconds(60), || ALL.iter().all(|d| federation.count(d) == 15).then_some(()));
}

/// The index is derived: where it fails, the journal goes on, and with it receipts and replication.
#[test]
fn a_node_whose_index_fails_goes_on_replicating() {
    let Some(shim) = shim() else { return };
    let federation = Federation::new(LINE);
    federation.expects(&["index.failed", "index.rebuild"]);
    let fault = SystemFault { call: "write,sync,open", path: "/data/index/", error: "ENOSPC", times: 0 };
    federation.will_fail(CITY, shim, fault);
    ALL.iter().for_each(|d| federation.start(d));
    federation.enter(COUNTY, 0..10);
    federation.wait_converged(ALL, seconds(60));

    federation.arm(CITY);
    federation.enter(COUNTY, 10..60);
    // Converged but for the count of distinct records, which only the index of the city knows.
    wait_for("the province has all", seconds(60), || {
        let (county, province) = (federation.status(COUNTY), federation.status(PROVINCE));
        let held = tally_tests::find(&province["divisions"], "division", COUNTY)["digest"] == county["digest"];
        (held && county["parent"]["unacked_records"] == 0).then_some(())
    });
    wait_for("the city says what is wrong", seconds(60), || {
        let status = federation.status(CITY);
        tally_tests::list(&status["actions"]).iter().any(|a| a["code"] == "index_failed").then_some(())
    });

    // Not before its next start does it come back today.
    federation.will_work(CITY);
    federation.stop(CITY);
    federation.start(CITY);
    federation.wait_converged(ALL, seconds(60));
    wait_for("the index", seconds(60), || (federation.count(CITY) == 60).then_some(()));
}
