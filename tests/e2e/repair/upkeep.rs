//! What a node mends without being asked, and when it leaves that to its operator.

use super::{ALL, PLAN, flip};
use serde_json::Value;
use tally_tests::{
    CITY, COUNTY, Federation, NEIGHBOUR, PROVINCE, damage::Damage, find, origin, sample::Random, seconds, wait_for,
};

/// With segments of a size that is closed soon, and repair by itself, as it is by default.
fn federation() -> Federation {
    let federation = Federation::new(PLAN);
    for division in ALL {
        federation.configure(division, "\n[storage]\nsegment_kib = 64\n");
        federation.spawn(division);
    }
    ALL.iter().for_each(|d| federation.ready(d));
    for n in 0..3 {
        for division in [COUNTY, NEIGHBOUR, CITY] {
            federation.enter(division, n * 1_000..(n + 1) * 1_000);
        }
        federation.wait_converged(&ALL, seconds(60));
    }
    federation
}

fn action(federation: &Federation, division: &str, code: &str) -> Option<Value> {
    Some(find(&federation.try_status(division)?["actions"], "code", code).clone()).filter(Value::is_object)
}

/// A verify finds it, and it is whole again without another word.
fn found_and_mended(federation: &Federation, division: &str) {
    assert_eq!(federation.verify(division).code, 4, "the damage is found");
    noted(federation, division, true);
    noted(federation, division, false);
    federation.assert_verified(division);
    assert!(action(federation, division, "log_damaged").is_none());
}

/// Waits until the node has noted that something is damaged, or that nothing is any more.
fn noted(federation: &Federation, division: &str, damaged: bool) {
    let file = federation.file(division, "data/damage.json");
    wait_for(&format!("{division} has noted that it is damaged: {damaged}"), seconds(60), || {
        let found: Value = serde_json::from_slice(&std::fs::read(&file).ok()?).ok()?;
        (found["open"] == damaged).then_some(())
    });
}

/// Copies of other nodes' logs too: at the top, which has no parent, from the child below, and in between.
#[test]
fn damage_that_is_found_is_mended_without_anybody_asking_until_it_comes_a_third_time() {
    let mut random = Random(11);
    let federation = federation();
    federation.expects(&["verify.damaged", "journal.mended", "task.failed"]);
    flip(&federation, PROVINCE, &mut random, |(log, ..)| *log == origin(COUNTY));
    found_and_mended(&federation, PROVINCE);
    for round in 0..2 {
        let whose = if round == 0 { NEIGHBOUR } else { CITY };
        flip(&federation, CITY, &mut random, |(log, ..)| *log == origin(whose));
        found_and_mended(&federation, CITY);
        assert!(action(&federation, CITY, "damaged_again").is_none());
    }
    // The third time within a day the disk is not trusted any more: nothing is written to it by itself.
    flip(&federation, CITY, &mut random, |(log, ..)| *log == origin(COUNTY));
    assert_eq!(federation.verify(CITY).code, 4);
    let again = wait_for("the city says so", seconds(20), || action(&federation, CITY, "damaged_again"));
    assert!(again["what"].as_str().unwrap().contains("3 times"), "{again}");
    assert!(again["next"].as_str().unwrap().contains("tally reconcile --with all --repair"), "{again}");
    federation.stop(CITY);
    federation.start(CITY);
    wait_for("a start forgets nothing", seconds(20), || action(&federation, CITY, "damaged_again"));
    // By hand, as the next step says.
    wait_for("the neighbours are linked", seconds(30), || {
        let ran = federation.reconcile(CITY, "all", &["--repair"]);
        (ran.code == 0).then_some(())
    });
    federation.assert_verified(CITY);
    assert!(action(&federation, CITY, "damaged_again").is_some(), "the day is not over");
}

/// What a push meets while it reads is found without any verify.
#[test]
fn damage_that_a_push_meets_is_mended() {
    let mut random = Random(12);
    let federation = federation();
    federation.expects(&["journal.mended", "batch.refused", "reconcile.not_taken", "verify.damaged", "task.failed"]);
    // The province loses all, so that everything is read again at the city.
    federation.stop(PROVINCE);
    let lost = {
        let mut damage = Damage::none(federation.segments(CITY));
        damage.flip_in_a_batch(&mut random, |(log, ..)| *log == origin(COUNTY));
        damage.apply(&federation, CITY);
        damage.lost().remove(0)
    };
    std::fs::remove_dir_all(federation.file(PROVINCE, "data")).unwrap();
    federation.may_begin(PROVINCE);
    federation.start(PROVINCE);
    wait_for("the province has all again", seconds(90), || federation.converged(&ALL).then_some(()));
    noted(&federation, CITY, false);
    federation.assert_verified(CITY);
    assert_eq!(lost.0, origin(COUNTY));
}
