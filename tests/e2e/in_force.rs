//! What is in force (I11): no county changes what another's log says, whatever it signs and whatever time it writes; and an
//! export goes on where the last one ended.

use crate::hostile::{Peer, keys_of, port_of};
use serde_json::Value;
use std::fs;
use tally_protocol::{batch, canonical::Object, merkle::Tree, record::Record};
use tally_tests::{
    CITY, COUNTY, Federation, LINE, NEIGHBOUR, PROVINCE, Plan, list, origin,
    sample::{records, version},
    seconds, wait_for,
};

const TREE: &[Plan<'static>] = &[LINE[0], LINE[1], LINE[2], (NEIGHBOUR, "county", Some(CITY))];
/// A second before the year 10000.
const YEAR_9999: u64 = 253_402_300_799;

/// A record about the county's first business key; `members` take the place of others.
fn forged(operation: &str, members: &[(&str, &str)]) -> Record {
    let line = version(1, COUNTY, operation, "9");
    let mut object = Object::parse(line.as_bytes()).unwrap();
    for (name, value) in members {
        object.set(name, tally_protocol::canonical::Value::text(*value));
    }
    Record::new(&object).unwrap()
}

/// Withdrawals and amendments of a record, under every division's name, with and without saying which record.
fn forgeries(victim: &str) -> Vec<Record> {
    let mut all = Vec::new();
    for operation in ["withdraw", "amend"] {
        for producer in [COUNTY, NEIGHBOUR] {
            for submitter in [COUNTY, NEIGHBOUR] {
                let divisions = [("producer_division", producer), ("submitter_division", submitter)];
                all.push(forged(operation, &divisions));
                all.push(forged(operation, &[divisions[0], divisions[1], ("amends", victim)]));
            }
        }
    }
    all
}

#[test]
fn a_county_that_signs_withdrawals_of_anothers_records_changes_no_export() {
    let federation = Federation::running(TREE);
    federation.enter(COUNTY, 0..3);
    federation.wait_converged(&[PROVINCE, CITY, COUNTY], seconds(60));
    let exports = || [PROVINCE, CITY, COUNTY].map(|at| (federation.export_text(at, &[]), deadlines(&federation, at)));
    let before = exports();
    let first =
        federation.export(COUNTY, &[]).into_iter().find(|l| l["business_key"] == tally_tests::sample::key(1, COUNTY));
    let victim = first.unwrap()["_tally"]["id"].as_str().unwrap().to_owned();

    federation.stop(NEIGHBOUR);
    let (keys, port) = (keys_of(&federation, NEIGHBOUR), port_of(&federation, CITY));
    let (mut tree, mut frames) = (Tree::default(), Vec::new());
    let forgeries = forgeries(&victim);
    for record in &forgeries {
        frames.push(batch::seal(&keys, &tree, std::slice::from_ref(record), YEAR_9999));
        tree.push(tally_protocol::merkle::leaf_hash(record.bytes()));
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    runtime.block_on(async {
        let peer = Peer::welcomed(port, &keys).await;
        peer.push(keys.node, &frames.iter().map(Vec::as_slice).collect::<Vec<_>>()).await;
        wait_for("the province holds all of it", seconds(30), || {
            let status = federation.status(PROVINCE);
            let log = list(&status["logs"]).iter().find(|l| l["log"] == origin(NEIGHBOUR).as_str())?;
            (log["size"] == forgeries.len() as u64).then_some(())
        });
    });
    let history = federation.export(PROVINCE, &["--history"]);
    assert_eq!(history.len(), 3 + forgeries.len(), "it is kept, and shown");
    assert!(exports() == before, "{:?}", exports());
    // The county's own correction counts everywhere, although it is of an earlier time by the forged clocks.
    let (code, answer) = federation.ingest(COUNTY, &version(1, COUNTY, "amend", "5"));
    assert!(code == 0 && answer["accepted"] == 1, "{answer}");
    federation.wait_converged(&[PROVINCE, CITY, COUNTY], seconds(60));
    for at in [PROVINCE, CITY, COUNTY] {
        let result = |l: &Value| l["check_result"].as_str().unwrap().to_owned();
        let mut results: Vec<_> = federation.export(at, &[]).iter().map(result).collect();
        results.sort();
        assert_eq!(results, ["1", "1", "5"], "{at}");
    }
    // An index that is built anew says the same.
    let city = federation.export_text(CITY, &["--history"]);
    let current = federation.export_text(CITY, &[]);
    federation.stop(CITY);
    fs::remove_dir_all(federation.file(CITY, "data/index")).unwrap();
    federation.start(CITY);
    wait_for("the index is built again", seconds(60), || federation.status(CITY)["records"].as_u64());
    assert!(federation.export_text(CITY, &["--history"]) == city && federation.export_text(CITY, &[]) == current);
}

/// What the deadline report counts.
fn deadlines(federation: &Federation, at: &str) -> Value {
    let asked = federation.ask(at, &["deadline", "report", "--month", "2025-06", "--json"]);
    asked.json()["total"]["counts"].clone()
}

#[test]
fn an_export_goes_on_where_the_last_one_ended() {
    let federation = Federation::running(LINE);
    federation.enter(COUNTY, 0..40);
    federation.wait_converged(&[PROVINCE, CITY, COUNTY], seconds(60));
    let cursor = federation.file(CITY, "cursor");
    let go_on = || {
        let ran = federation.ask(CITY, &["export", "--cursor", &cursor]);
        assert_eq!(ran.code, 0, "{ran:?}");
        ran.out.lines().map(|l| serde_json::from_str::<Value>(l).unwrap()).collect::<Vec<_>>()
    };
    let all = go_on();
    assert_eq!(all.len(), 40);
    assert!(all.iter().all(|l| l["_tally"]["arrived_at"].is_null()), "nodes that hold the same say the same");
    assert_eq!(federation.export_text(CITY, &[]), federation.export_text(PROVINCE, &[]));
    assert_eq!(go_on().len(), 0, "nothing has come since");
    let text = fs::read_to_string(&cursor).unwrap();
    assert!(text.contains("350102/e1:40"), "{text}");
    let (code, _) = federation.ingest(COUNTY, &(records(40..45, COUNTY) + &version(3, COUNTY, "amend", "5")));
    assert_eq!(code, 0);
    federation.wait_converged(&[PROVINCE, CITY, COUNTY], seconds(60));
    let new = go_on();
    assert!(new.len() == 6 && new.iter().all(|l| l["_tally"]["arrived_at"].is_string()), "{new:?}");
    // The same by time: by when it came to this node. A day that is to come tells nothing, one that was tells all.
    assert_eq!(federation.export(CITY, &["--since", "2020-01-01"]).len(), 45);
    assert_eq!(federation.export(CITY, &["--since", "2199-01-01"]).len(), 0);
    let ran = federation.ask(CITY, &["export", "--since", "yesterday"]);
    assert_ne!(ran.code, 0, "{ran:?}");
}
