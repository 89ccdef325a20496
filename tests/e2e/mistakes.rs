//! Slips of the pen: each is named as what it is, by one exit code for one kind, and never looks like an empty answer.

use std::fs;
use tally_tests::{CITY, COUNTY, Federation, LINE, PROVINCE, run, sample::records};

/// U19, U20: what does not exist is 2, whatever it is, and nothing is printed on stdout.
#[test]
fn what_does_not_exist_has_one_exit_code_and_no_empty_answer() {
    let federation = Federation::running(LINE);
    federation.enter(COUNTY, 0..3);
    let (out, table) = (federation.at("out"), federation.at("export.ndjson"));
    fs::write(&table, records(0..3, COUNTY)).unwrap();
    let nobody = "0".repeat(64);
    let unit = "113501020036012589";
    let cases: [(&str, &[&str]); 23] = [
        (CITY, &["reconcile", "--with", "350999"]),
        (CITY, &["reconcile", "--with", PROVINCE, "--log", "350199/e1"]),
        (COUNTY, &["reconcile", "--with", "parent", "--log", "350100/e1"]),
        (COUNTY, &["reconcile", "--with", "parent", "--log", "350102/e7", "--detach"]),
        (PROVINCE, &["reconcile", "--with", "parent"]),
        (PROVINCE, &["reconcile", "--with", COUNTY]),
        (CITY, &["verify", "--log", "350199/e1"]),
        (CITY, &["bundle", "export", "--to", "350999", "-o", &out]),
        (COUNTY, &["bundle", "export", "--to", PROVINCE, "-o", &out]),
        (COUNTY, &["task", "show", "t-99"]),
        (COUNTY, &["task", "watch", "t-99"]),
        (COUNTY, &["task", "cancel", "no such"]),
        (COUNTY, &["answer", "show", "350102-20261129-9999"]),
        (COUNTY, &["answer", "show", "nope"]),
        (COUNTY, &["evidence", "export", "--record", &nobody, "-o", &out]),
        (COUNTY, &["export", "--division", "110101"]),
        (COUNTY, &["export", "--category", "admin_licence"]),
        (COUNTY, &["question", "ls", "--division", "110101"]),
        (COUNTY, &["deadline", "report", "--division", "110101"]),
        (COUNTY, &["compare", &table, "--unit", "113501020036012588", "--category", "spot_check"]),
        (COUNTY, &["compare", &table, "--unit", unit, "--category", "weather"]),
        (COUNTY, &["compare", &table, "--unit", unit, "--category", "spot_check", "--division", "110101"]),
        (CITY, &["node", "reject", "350999", "--reason", "r"]),
    ];
    for (division, args) in cases {
        let ran = federation.ask(division, args);
        assert!(ran.code == 2 && ran.out.is_empty() && !ran.err.is_empty(), "{division} {args:?}: {ran:?}");
    }
    assert!(!fs::exists(&out).unwrap(), "nothing was written");
}

/// U18: one JSON document also where the command does not wait.
#[test]
fn a_task_that_is_not_waited_for_is_one_json_document_too() {
    let federation = Federation::running(LINE);
    for args in [&["verify"][..], &["reconcile", "--with", "parent"]] {
        let ran = federation.ask(COUNTY, &[args, &["--detach", "--json"]].concat());
        let task = ran.json();
        assert!(ran.code == 0 && task["kind"] == args[0], "{ran:?}");
        let id = task["id"].as_str().unwrap();
        let plain = federation.ask(COUNTY, &["task", "watch", id, "--json"]);
        assert_eq!((plain.code, &plain.json()["state"]), (0, &"done".into()), "{plain:?}");
    }
}

/// A charter is signed by the authority's key; a node's, also one of another federation, is told apart by its file.
#[test]
fn a_nodes_key_signs_no_charter_and_opens_no_epoch() {
    let federation = Federation::running(LINE);
    let text = federation.charter_text(2, "");
    let stranger = federation.at("stranger.key");
    assert_eq!(run(&["keygen", "--federation", "another.example", "--division", "350102", "-o", &stranger]).code, 0);
    let out = federation.at("signed.note");
    for key in [stranger, federation.file(COUNTY, "keys/node.key")] {
        let ran = run(&["charter", "sign", &text, "--key", &key, "-o", &out]);
        assert!(ran.code == 2 && ran.err.contains("node"), "{ran:?}");
        assert!(!fs::exists(&out).unwrap());
    }
    assert_eq!(run(&["charter", "sign", &text, "--key", &federation.at("authority.key"), "-o", &out]).code, 0);
}
