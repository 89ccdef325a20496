//! A data directory that was copied: two machines run with one key. Both are told so in words, at their parent too, and neither signs.

use serde_json::Value;
use std::{
    fs,
    process::{Child, Command, Stdio},
};
use tally_tests::{
    CITY, COUNTY, Federation, LINE, PROVINCE, find, free_port, run, sample::records, seconds, tally, wait_for,
};

/// All that a node has, at other ports, in a process of its own.
struct SecondMachine(Child);

impl SecondMachine {
    fn of(federation: &Federation, division: &str) -> (Self, String) {
        let (from, to) = (federation.at(division), federation.at("clone"));
        assert!(Command::new("cp").args(["-a", &from, &to]).status().unwrap().success());
        let config = federation.at("clone/tally.toml");
        let text = fs::read_to_string(&config).unwrap();
        let lines = text.lines().map(|l| match l.starts_with("quic = ") {
            true => format!("quic = \"127.0.0.1:{}\"\n", free_port()),
            false => format!("{l}\n"),
        });
        fs::write(&config, lines.collect::<String>()).unwrap();
        let mut run = Command::new(tally());
        run.args(["run", "--config", &config]).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        (Self(run.spawn().unwrap()), config)
    }
}

impl Drop for SecondMachine {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn status(config: &str) -> Option<Value> {
    let ran = run(&["status", "--json", "--config", config]);
    (ran.code == 0 || ran.code == 3).then(|| ran.json())
}

fn says_so(status: &Value) -> bool {
    find(&status["actions"], "code", "same_key_twice").is_object()
}

#[test]
fn a_copied_node_is_named_at_both_and_above_and_neither_signs() {
    let federation = Federation::running(LINE);
    federation.expects(&["key.twice"]);
    federation.enter(COUNTY, 0..30);
    federation.wait_converged(&[PROVINCE, CITY, COUNTY], seconds(60));
    federation.stop(COUNTY);
    let (clone, config) = SecondMachine::of(&federation, COUNTY);
    federation.start(COUNTY);
    let own = federation.config(COUNTY);
    wait_for("both and the city say so", seconds(90), || {
        let all = [status(&own)?, status(&config)?, federation.try_status(CITY)?];
        all.iter().all(says_so).then_some(())
    });
    // In words: what it is, and what to do.
    let said = find(&status(&config).unwrap()["actions"], "code", "same_key_twice").clone();
    assert!(said["next"].as_str().unwrap().contains("stop one of the two"), "{said}");
    let explained = run(&["explain", "same_key_twice"]).done();
    assert!(explained.contains("Two machines"), "{explained}");
    assert!(run(&["explain", "E1110"]).done().contains("same_key_twice"));
    // Rows are taken and kept at either, and signed by none: two histories cannot come of it.
    let rows = federation.at("rows.ndjson");
    for (n, at) in [(100, &own), (200, &config)] {
        fs::write(&rows, records(n..n + 3, COUNTY)).unwrap();
        let ran = run(&["ingest", &rows, "--json", "--config", at]);
        assert!(ran.code == 0 && ran.json()["staged"] == 3, "{ran:?}");
        assert_eq!(ran.json()["staged_because"], "same_key", "{ran:?}");
    }
    assert_eq!(federation.count(PROVINCE), 30);
    // One of them stops: the other one signs what it kept, once it has been alone for a minute.
    drop(clone);
    wait_for("the one that is left goes on", seconds(150), || {
        (federation.try_status(COUNTY)?["staged"]["records"] == 0).then_some(())
    });
    federation.wait_converged(&[PROVINCE, CITY, COUNTY], seconds(60));
    assert_eq!(federation.count(PROVINCE), 33);
    assert!(!says_so(&federation.status(COUNTY)));
}
