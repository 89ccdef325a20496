//! Signals: what a running node takes over from its config, and that none ends it without a word.

use serde_json::Value;
use std::{fs, path::Path};
use tally_tests::{
    COUNTY, Federation, free_port,
    http::{Body, request},
    run,
    sample::records,
    seconds, wait_for,
};

/// A token's block for the config, and its secret.
fn token(name: &str) -> (String, String) {
    let made = run(&["keygen", "--token", name]);
    (made.out, made.err.split_whitespace().last().unwrap().to_owned())
}

/// Waits for an event in the node's log that was not there before.
fn told(federation: &Federation, event: &str, before: usize) -> String {
    wait_for(event, seconds(20), || {
        let log = federation.log(COUNTY);
        let all: Vec<&str> = log.lines().filter(|l| l.contains(&format!("\"event\":\"{event}\""))).collect();
        all.get(before).map(|line| (*line).to_owned())
    })
}

/// B05: what ended the daemon without a word does not end it, and what an operator sends it for is done.
#[test]
fn no_signal_but_two_ends_a_node_and_a_config_is_read_again() {
    let federation = Federation::new(&[(COUNTY, "county", None)]);
    federation.expects(&["config.refused", "config.later", "signal.ignored"]);
    let (port, (first, first_secret), (second, second_secret)) = (free_port(), token("first"), token("second"));
    let config = federation.config(COUNTY);
    let plain = fs::read_to_string(&config).unwrap() + &format!("http = \"127.0.0.1:{port}\"\n");
    let write = |more: &str| fs::write(&config, format!("{plain}{more}")).unwrap();
    write(&first);
    federation.start(COUNTY);
    let post = |secret: &str, n: u64| {
        let lines = records(n..n + 1, COUNTY);
        request(port, "POST", "/v1/records", Some(secret), &Body::Sized(&lines)).status
    };
    let posted = |secret: &str, n: u64, status: u16| {
        wait_for("an answer", seconds(30), || (post(secret, n) == status).then_some(()));
    };
    posted(&first_secret, 1, 200);
    assert_eq!(post(&second_secret, 2), 401);

    // Another token, a folder, another level, and what counts from the next start on.
    let folder = federation.file(COUNTY, "exchange");
    fs::create_dir_all(Path::new(&folder).join("inbox")).unwrap();
    let section = "\n[[folder]]\npath = \"exchange\"\npoll_ms = 50\nsettle_ms = 100\n";
    write(&format!("{second}{section}\n[storage]\nreserve_mib = 1\n"));
    federation.signal(COUNTY, "HUP");
    let later: Value = serde_json::from_str(&told(&federation, "config.later", 0)).unwrap();
    assert_eq!(later["fields"]["sections"], "storage");
    told(&federation, "config.reloaded", 0);
    assert_eq!((post(&first_secret, 2), post(&second_secret, 2)), (401, 200));
    let drop_in = |name: &str, n: u64| {
        fs::write(format!("{folder}/inbox/{name}.part"), records(n..n + 1, COUNTY)).unwrap();
        fs::rename(format!("{folder}/inbox/{name}.part"), format!("{folder}/inbox/{name}")).unwrap();
    };
    drop_in("one.ndjson", 3);
    wait_for("the file is taken", seconds(30), || (federation.count(COUNTY) == 3).then_some(()));

    // A config that cannot be used changes nothing.
    write(&format!("{first}{section}[storage]\nsegment_kib = 1\n"));
    federation.signal(COUNTY, "HUP");
    assert!(told(&federation, "config.refused", 0).contains("segment_kib"));
    assert_eq!((post(&first_secret, 4), post(&second_secret, 4)), (401, 200));

    // The folder gets another setting: the same folder, one thread after the other.
    write(&format!("{first}{}", section.replace("settle_ms = 100", "settle_ms = 150")));
    federation.signal(COUNTY, "HUP");
    told(&federation, "config.reloaded", 1);
    drop_in("two.ndjson", 5);
    wait_for("the file is taken", seconds(30), || (federation.count(COUNTY) == 5).then_some(()));
    // And then none at all: what is dropped there stays.
    write(&first);
    federation.signal(COUNTY, "HUP");
    told(&federation, "config.reloaded", 2);

    federation.signal(COUNTY, "USR1");
    let state: Value = serde_json::from_str(&told(&federation, "node.state", 0)).unwrap();
    assert_eq!((&state["fields"]["own_records"], &state["fields"]["gate"]), (&5.into(), &"open".into()));
    let ignored = ["USR2", "ALRM", "QUIT", "VTALRM", "PROF", "XCPU", "XFSZ", "IO", "PWR", "STKFLT", "34", "64", "PIPE"];
    for (n, name) in ignored.into_iter().enumerate() {
        federation.signal(COUNTY, name);
        if name != "PIPE" {
            assert!(told(&federation, "signal.ignored", n).contains(name));
        }
    }
    assert_eq!(post(&first_secret, 6), 200);
    federation.stop(COUNTY);
}

/// What was said of a drop folder stayed for ever once the config was read again: the watcher that had said it was gone.
#[test]
fn a_folder_that_cannot_be_used_is_told_of_while_it_is_watched_only() {
    let federation = Federation::new(&[(COUNTY, "county", None)]);
    federation.expects(&["folder.refused", "folder.failed"]);
    let config = federation.config(COUNTY);
    let plain = fs::read_to_string(&config).unwrap();
    let write = |more: &str| fs::write(&config, format!("{plain}{more}")).unwrap();
    let section = |settle: u64| format!("\n[[folder]]\npath = \"exchange\"\npoll_ms = 50\nsettle_ms = {settle}\n");
    let (folder, elsewhere) = (federation.file(COUNTY, "exchange"), federation.file(COUNTY, "elsewhere"));
    let is_refused = || {
        let status = federation.status(COUNTY);
        tally_tests::list(&status["actions"]).iter().any(|a| a["code"] == "folder_refused")
    };
    let refused = |is: bool| wait_for("what is said of the folder", seconds(30), || (is_refused() == is).then_some(()));
    let to_a_link = || {
        fs::remove_dir_all(&folder).unwrap();
        fs::create_dir_all(&elsewhere).unwrap();
        std::os::unix::fs::symlink(&elsewhere, &folder).unwrap();
    };
    fs::create_dir_all(&folder).unwrap();
    write(&section(100));
    federation.start(COUNTY);
    // The watcher that follows finds it in order.
    to_a_link();
    refused(true);
    write(&section(150));
    federation.signal(COUNTY, "HUP");
    told(&federation, "config.reloaded", 0);
    refused(true);
    fs::remove_file(&folder).unwrap();
    fs::create_dir_all(&folder).unwrap();
    refused(false);
    // It is mended while nobody watches it: between two watchers, and after the last.
    to_a_link();
    refused(true);
    write("");
    federation.signal(COUNTY, "HUP");
    told(&federation, "config.reloaded", 1);
    refused(false);
    fs::remove_file(&folder).unwrap();
    fs::create_dir_all(&folder).unwrap();
    write(&section(100));
    federation.signal(COUNTY, "HUP");
    told(&federation, "config.reloaded", 2);
    refused(false);
    federation.stop(COUNTY);
}
