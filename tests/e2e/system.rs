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

/// A flush that fails once is no reason to end: what it was for is written anew, and only then said.
#[test]
fn a_node_whose_flush_fails_once_goes_on() {
    let Some(shim) = shim() else { return };
    let federation = Federation::new(LINE);
    federation.expects(&["journal.renewed"]);
    let fault = SystemFault { call: "sync", path: "/data/journal/", error: "EIO", times: 1 };
    federation.will_fail(COUNTY, shim, fault);
    ALL.iter().for_each(|d| federation.start(d));
    federation.enter(COUNTY, 0..10);
    federation.wait_converged(ALL, seconds(60));
    let before = federation.segments(COUNTY).last();

    federation.arm(COUNTY);
    federation.enter(COUNTY, 10..15);
    assert_eq!(federation.segments(COUNTY).last(), before + 1, "in a new segment");
    federation.enter(COUNTY, 15..20);
    federation.wait_converged(ALL, seconds(60));
    federation.assert_verified(COUNTY);

    federation.will_work(COUNTY);
    federation.kill9(COUNTY);
    federation.start(COUNTY);
    federation.wait_converged(ALL, seconds(60));
    wait_for("the index", seconds(60), || ALL.iter().all(|d| federation.count(d) == 20).then_some(()));
    federation.assert_verified(COUNTY);
}

/// B01: want of room, or of descriptors, that passes. The round waits and is not lost; the node says what is wanting, answers,
/// refuses by name what comes anew, and goes on by itself.
#[test]
fn a_node_without_room_waits_and_goes_on() {
    /// More than one segment of 64 KiB takes.
    const ROWS: u64 = 12_000;
    let Some(shim) = shim() else { return };
    for (call, error, wanting) in [("write", "ENOSPC", "free space"), ("open", "EMFILE", "open more files")] {
        let federation = Federation::new(LINE);
        federation.configure(COUNTY, "\n[storage]\nsegment_kib = 64\n");
        federation.expects(&["storage.full"]);
        let fault = SystemFault { call, path: "/data/journal/", error, times: 0 };
        federation.will_fail(COUNTY, shim, fault);
        ALL.iter().for_each(|d| federation.start(d));
        federation.enter(COUNTY, 0..10);
        federation.wait_converged(ALL, seconds(60));

        federation.arm(COUNTY);
        std::thread::scope(|scope| {
            // More than the rest of a segment takes, so that the next one is wanted.
            let waits = scope.spawn(|| federation.ingest(COUNTY, &records(10..ROWS, COUNTY)));
            wait_for("it says what is wanting", seconds(60), || {
                let status = federation.status(COUNTY);
                let action =
                    tally_tests::list(&status["actions"]).iter().find(|a| a["code"] == "storage_full").cloned();
                action.filter(|a| a["why"].as_str().unwrap_or_default().contains(wanting))
            });
            let (code, answer) = federation.ingest(COUNTY, &records(ROWS..ROWS + 1, COUNTY));
            assert!(code != 0, "nothing is taken meanwhile: {answer}");
            federation.disarm(COUNTY);
            let (code, answer) = waits.join().unwrap();
            // What was under way waited; if something that came later was refused, that is said.
            assert!([0, 1].contains(&code), "{code} {answer}");
        });
        wait_for("there is room", seconds(60), || {
            let status = federation.status(COUNTY);
            tally_tests::list(&status["actions"]).iter().all(|a| a["code"] != "storage_full").then_some(())
        });
        let (code, answer) = federation.ingest(COUNTY, &records(0..ROWS, COUNTY));
        let taken = ["accepted", "duplicate"].map(|f| answer[f].as_u64().unwrap_or(0));
        assert_eq!((code, taken[0] + taken[1]), (0, ROWS), "{answer}");
        federation.wait_converged(ALL, seconds(60));
        wait_for("the index", seconds(60), || ALL.iter().all(|d| federation.count(d) == ROWS).then_some(()));
        federation.assert_verified(COUNTY);
    }
}

/// The same where rows are staged: taking them, working them off, and a start.
#[test]
fn staged_rows_wait_for_room_and_go_on() {
    let Some(shim) = shim() else { return };
    for (call, error) in [("write", "ENOSPC"), ("open", "EMFILE")] {
        let federation = Federation::new(LINE);
        federation.expects(&["storage.full", "staged.not_cleared", "staged.not_read"]);
        let fault = SystemFault { call, path: "/data/staged/", error, times: 0 };
        federation.will_fail(COUNTY, shim, fault);
        ALL.iter().for_each(|d| federation.start(d));
        federation.enter(COUNTY, 0..10);
        federation.wait_converged(ALL, seconds(60));
        federation.stop(CITY);
        federation.kill9(COUNTY);
        federation.start(COUNTY);
        let waits =
            || (federation.log(COUNTY).matches("storage.full").count(), federation.status(COUNTY)["division"].clone());
        let mut told = waits().0;
        let mut says_so = || {
            wait_for("it says that it waits", seconds(60), || (waits().0 > told).then_some(()));
            told = waits().0;
        };

        if call == "write" {
            federation.arm(COUNTY);
            std::thread::scope(|scope| {
                let taken = scope.spawn(|| federation.ingest(COUNTY, &records(10..2_500, COUNTY)));
                says_so();
                federation.disarm(COUNTY);
                let (code, answer) = taken.join().unwrap();
                assert_eq!((code, answer["staged"].as_u64()), (0, Some(2_490)), "{answer}");
            });
        } else {
            let (code, answer) = federation.ingest(COUNTY, &records(10..2_500, COUNTY));
            assert_eq!((code, answer["staged"].as_u64()), (0, Some(2_490)), "{answer}");
        }

        // Working off: the gate opens, and not even where sealing began can be written down.
        federation.arm(COUNTY);
        federation.start(CITY);
        wait_for("it may sign", seconds(60), || {
            let (code, answer) = federation.ingest(COUNTY, "");
            let status = federation.status(COUNTY);
            assert!(federation.staged(COUNTY) > 0, "{code} {answer}");
            (status["signing"] == "open").then_some(())
        });
        federation.disarm(COUNTY);
        wait_for("what was staged is signed", seconds(60), || (federation.staged(COUNTY) == 0).then_some(()));

        // A start.
        federation.stop(CITY);
        federation.kill9(COUNTY);
        federation.start(COUNTY);
        let (code, answer) = federation.ingest(COUNTY, &records(2_500..2_600, COUNTY));
        assert_eq!((code, answer["staged"].as_u64()), (0, Some(100)), "{answer}");
        federation.kill9(COUNTY);
        federation.arm(COUNTY);
        federation.spawn(COUNTY);
        wait_for("it waits to start", seconds(60), || {
            federation.log(COUNTY).contains("waiting for room").then_some(())
        });
        federation.disarm(COUNTY);
        federation.ready(COUNTY);
        federation.start(CITY);
        federation.wait_converged(ALL, seconds(60));
        wait_for("the index", seconds(60), || ALL.iter().all(|d| federation.count(d) == 2_600).then_some(()));
        assert_eq!(federation.staged(COUNTY), 0);
    }
}
