//! Starts in which nobody who could answer is there: what is shown, and that it works to its end.

use serde_json::Value;
use tally_tests::{
    CITY, COUNTY, Federation, LINE, NEIGHBOUR, PROVINCE, Plan, find, origin, sample::records, seconds, wait_for,
};

fn action(federation: &Federation, at: &str, code: &str) -> Option<Value> {
    let status = federation.try_status(at)?;
    let found = find(&status["actions"], "code", code);
    found.is_object().then(|| found.clone())
}

/// Half of its children are not more than half: the top takes rows, says who has called, and signs by the operator's word.
#[test]
fn a_top_that_only_half_of_its_children_call_signs_by_word() {
    const PLAN: &[Plan<'static>] =
        &[(PROVINCE, "province", None), (CITY, "prefecture", Some(PROVINCE)), (NEIGHBOUR, "county", Some(PROVINCE))];
    let federation = Federation::running(PLAN);
    federation.expects(&["gate.opened"]);
    federation.enter(PROVINCE, 0..20);
    federation.stop(NEIGHBOUR);
    federation.stop(PROVINCE);
    federation.start(PROVINCE);
    wait_for("one child has called", seconds(30), || {
        let status = federation.try_status(PROVINCE)?;
        (find(&status["children"], "division", CITY)["state"] == "live").then_some(())
    });
    let (code, answer) = federation.ingest(PROVINCE, &records(100..110, PROVINCE));
    assert!(code == 0 && answer["staged"] == 10, "{answer}");
    let told = action(&federation, PROVINCE, "not_signing").unwrap();
    let (why, next) = (told["why"].as_str().unwrap(), told["next"].as_str().unwrap());
    assert!(why.contains("1 of 2") && next.contains("tally gate open --reason"), "{told}");
    federation.ask(PROVINCE, &["gate", "open", "--reason", "the neighbour is being rebuilt"]).done();
    wait_for("what was staged is signed", seconds(30), || {
        let status = federation.try_status(PROVINCE)?;
        (status["staged"]["records"] == 0 && find(&status["logs"], "log", &origin(PROVINCE))["size"] == 30)
            .then_some(())
    });
    assert!(action(&federation, PROVINCE, "gate_opened").is_some());
}

/// The city's key is changed while the county is off: the county finds a key there that its charter does not name, and asks there
/// for the charter that does.
#[test]
fn a_node_that_was_off_while_its_parents_key_changed_learns_of_it() {
    let mut federation = Federation::running(LINE);
    federation.expects(&["link.unreached", "link.refused"]);
    federation.enter(CITY, 0..30);
    federation.enter(COUNTY, 0..40);
    let all = [PROVINCE, CITY, COUNTY];
    federation.wait_converged(&all, seconds(60));
    federation.stop(COUNTY);
    let status = federation.status(CITY);
    let log = find(&status["logs"], "log", &origin(CITY));
    let (size, root) = (log["size"].as_u64().unwrap(), log["root"].as_str().unwrap().to_owned());
    let block = federation.epoch_secret(CITY, 2, "next.key");
    federation.next_epoch(CITY, size, &root, &block);
    let note = federation.charter(2, "authority.key");
    federation.ask(PROVINCE, &["charter", "load", &note]).done();
    wait_for("the city has its next epoch", seconds(60), || {
        (federation.try_status(CITY)?["node"]["epoch"] == 2).then_some(())
    });
    federation.start(COUNTY);
    federation.enter(CITY, 100..110);
    federation.wait_converged(&all, seconds(90));
}
