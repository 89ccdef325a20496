//! Slips of the pen: each is named as what it is, by one exit code for one kind, and never looks like an empty answer.

use std::fs;
use tally_tests::{
    CITY, COUNTY, Federation, LINE, PROVINCE, run,
    sample::{records, write_records},
};

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

/// Of several files the one that ends the command takes nothing back from those before it: what was taken of them is told.
#[test]
fn what_was_taken_before_a_file_that_is_not_there_is_told() {
    let federation = Federation::running(&[(COUNTY, "county", None)]);
    let (rows, none) = (federation.at("rows.ndjson"), federation.at("none.ndjson"));
    write_records(&rows, 0..3, COUNTY);
    let ran = federation.ask(COUNTY, &["ingest", &rows, &none, "--json"]);
    let told = ran.json();
    assert!(ran.code != 0 && told["accepted"] == 3, "{ran:?}");
    assert!(told["failed"][0]["file"].as_str().unwrap().ends_with("none.ndjson"), "{told}");
    // A node that is away ends it at once.
    federation.stop(COUNTY);
    let away = federation.ask(COUNTY, &["ingest", &rows, &rows, "--json"]);
    assert_eq!((away.code, &away.json()["accepted"]), (7, &0.into()), "{away:?}");
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

/// A kind of mistake: its exit code, and commands that make it, each at a node.
type Kind<'k> = (&'k str, i32, &'k [(&'k str, &'k [&'k str])]);

/// Nothing is printed on stdout, and what it is and what to do on stderr.
fn all_end(federation: &Federation, kinds: &[Kind<'_>]) {
    let mut others = Vec::new();
    for (kind, code, cases) in kinds {
        for (at, args) in *cases {
            let ran = federation.ask(at, args);
            if ran.code != *code || !ran.out.is_empty() || ran.err.trim().is_empty() {
                others.push(format!("{kind} is {code}: {at} {args:?}: {ran:?}"));
            }
        }
    }
    assert!(others.is_empty(), "{}", others.join("\n"));
}

const UNIT: &str = "113501020036012589";

/// Wrong arguments.
const USAGE: &[(&str, &[&str])] = &[
    (COUNTY, &["status", "--now"]),
    (COUNTY, &["ingest"]),
    (COUNTY, &["export", "--since", "yesterday"]),
    (COUNTY, &["receipt", "--record", "12"]),
    (COUNTY, &["receipt", "--record", "no digits at all"]),
    (COUNTY, &["record", "ls", "--from", "someday"]),
    (COUNTY, &["deadline", "report", "--by", "planet"]),
    (COUNTY, &["gate", "open", "--reason", " "]),
    (COUNTY, &["task", "rate", "quickly", "t-1"]),
    (PROVINCE, &["node", "retire", CITY]),
    (COUNTY, &["explain", "no_such_code"]),
    (COUNTY, &["route", "explain", "--unit", UNIT, "--category", "spot_check", "--division", "110101"]),
];

/// What does not exist.
const NOT_THERE: &[(&str, &[&str])] = &[
    (COUNTY, &["receipt", "--record", "0123456789abcdef"]),
    (COUNTY, &["record", "show", "0123456789abcdef"]),
    (COUNTY, &["record", "ls", "--category", "weather"]),
    (COUNTY, &["record", "ls", "--division", "110101"]),
    (COUNTY, &["catalog", "show", "weather"]),
    (COUNTY, &["history", "--division", "110101"]),
    (COUNTY, &["task", "pause", "t-99"]),
    (PROVINCE, &["node", "show", "350999"]),
];

/// What needs a node that runs.
const NEEDS_A_NODE: &[(&str, &[&str])] = &[
    (COUNTY, &["status"]),
    (COUNTY, &["export"]),
    (COUNTY, &["verify"]),
    (COUNTY, &["answer", "ls"]),
    (COUNTY, &["question", "ls"]),
    (COUNTY, &["task", "ls"]),
    (COUNTY, &["receipt", "--record", "0123456789abcdef"]),
    (COUNTY, &["reconcile", "--with", "parent"]),
    (COUNTY, &["record", "ls"]),
    (COUNTY, &["record", "show", "0123456789abcdef"]),
    (COUNTY, &["history"]),
    (COUNTY, &["deadline", "report"]),
    (COUNTY, &["route", "ls"]),
    (COUNTY, &["node", "ls"]),
    (COUNTY, &["node", "pending"]),
    (COUNTY, &["gate", "open", "--reason", "r"]),
    (COUNTY, &["epoch", "next", "--reason", "r"]),
];

/// U19: one exit code for one kind of mistake, whichever command it is made with.
#[test]
fn each_kind_of_mistake_has_one_exit_code() {
    let federation = Federation::running(LINE);
    federation.enter(COUNTY, 0..3);
    federation.wait_converged(&[PROVINCE, CITY, COUNTY], tally_tests::seconds(60));
    let (out, rows) = (federation.at("out"), federation.at("rows.ndjson"));
    fs::write(&rows, records(0..3, COUNTY)).unwrap();
    let authority = federation.authority().split('"').nth(1).unwrap().to_owned();
    let first = federation.file(PROVINCE, "charter.note");
    let (forged, altered) = (federation.at("forged.note"), federation.at("altered.txt"));
    fs::write(&forged, fs::read_to_string(&first).unwrap().replacen("version = 1", "version = 9", 1)).unwrap();
    let (evidence, key) = (federation.at("evidence.txt"), federation.at("authority.pub"));
    fs::write(&key, &authority).unwrap();
    let id = federation.export(COUNTY, &[])[0]["_tally"]["id"].as_str().unwrap().to_owned();
    assert_eq!(federation.ask(COUNTY, &["evidence", "export", "--record", &id, "-o", &evidence]).code, 0);
    fs::write(&altered, fs::read_to_string(&evidence).unwrap().replacen("spot_check", "spot_chock", 1)).unwrap();
    let usage: [(&str, &[&str]); 3] = [
        (COUNTY, &["ingest", &rows, "--format", "pdf"]),
        (COUNTY, &["ingest", &rows, "--category", "weather"]),
        (CITY, &["charter", "load", &first]),
    ];
    let not_there: [(&str, &[&str]); 4] = [
        (COUNTY, &["catalog", "template", "weather", "-o", &out]),
        (COUNTY, &["answer", "file", "350102-20261129-9999", "-o", &out]),
        (PROVINCE, &["node", "approve", "350999", "--code", "1", "--authority", &key, "--yes"]),
        (PROVINCE, &["node", "pending", "350999", "--save", &out]),
    ];
    let refused: [(&str, &[&str]); 1] = [(PROVINCE, &["charter", "load", &forged])];
    let kinds = [("usage", 2, USAGE), ("usage", 2, &usage), ("not there", 2, NOT_THERE), ("not there", 2, &not_there)];
    all_end(&federation, &kinds);
    all_end(&federation, &[("refused", 6, &refused)]);
    let runs: [(&[&str], i32); 7] = [
        (&["charter", "check", &forged, "--authority", &authority], 5),
        (&["evidence", "verify", &altered, "--authority", &key], 5),
        (&["charter", "check", &first, "--authority", &authority, "--follows", &first], 6),
        (&["charter", "check", &evidence], 1),
        (&["evidence", "verify", &evidence, "--authority", &rows], 2),
        (&["status", "--config", &federation.at("none.toml")], 78),
        (&["ingest", &rows, "--config", &federation.at("none.toml")], 78),
    ];
    for (args, code) in runs {
        let ran = run(args);
        assert_eq!(ran.code, code, "{args:?}: {ran:?}");
    }
    assert!(!fs::exists(&out).unwrap(), "nothing was written");

    federation.stop(COUNTY);
    let off: [(&str, &[&str]); 5] = [
        (COUNTY, &["ingest", &rows]),
        (COUNTY, &["receipt", &rows]),
        (COUNTY, &["bundle", "export", "--to", CITY, "-o", &out]),
        (COUNTY, &["compare", &rows, "--unit", UNIT, "--category", "spot_check"]),
        (COUNTY, &["evidence", "export", "--record", &id, "-o", &out]),
    ];
    all_end(&federation, &[("not running", 7, NEEDS_A_NODE), ("not running", 7, &off)]);
    assert!(!fs::exists(&out).unwrap(), "nothing was written");
}

/// What a person has to mend before a node can start: each is named with its next step, in both languages, by one exit code.
#[test]
fn a_start_that_a_person_has_to_mend_says_what_to_do() {
    let federation = Federation::new(LINE);
    let (config, charter, key) =
        (federation.config(COUNTY), federation.file(COUNTY, "charter.note"), federation.file(COUNTY, "keys/node.key"));
    let (text, note) = (fs::read_to_string(&config).unwrap(), fs::read_to_string(&charter).unwrap());
    federation.authority_key("stranger.key");
    let foreign = fs::read_to_string(federation.charter(1, "stranger.key")).unwrap();
    let node = |more: &str| text.replacen("[node]\n", &format!("[node]\n{more}\n"), 1);
    let renamed = text.replacen(&format!("\"{COUNTY}\""), "\"350199\"", 1);
    let cases: [(&str, &str, i32, &str, &str); 8] = [
        (&text, "", 78, "ask whoever signs charters", "请向签发机关索取"),
        (&text, &note.replacen("county", "County", 1), 6, "Copy the charter again", "请原样重新复制"),
        (&text, &foreign, 6, "is signed by", "请原样复制主管机关公布的一行"),
        (&renamed, &note, 6, "correct node.division", "请更正 node.division"),
        (
            &node("data = \"/proc/data\""),
            &note,
            78,
            "node.data /proc/data cannot be made",
            "node.data /proc/data 无法创建",
        ),
        (&node("datum = \"x\""), &note, 78, "line 2, column 1, datum in [node]", "第 2 行第 1 列，[node] 下的 datum"),
        (&text.replacen('"', "“", 1), &note, 78, "line 2, column 12, division in [node]", "不符合 TOML 的写法"),
        (&node("key = \"keys/none.key\""), &note, 78, "tally keygen makes it", "由 tally join 或 tally keygen 生成"),
    ];
    for (config_text, note, code, en, zh) in cases {
        fs::write(&config, config_text).unwrap();
        if note.is_empty() {
            fs::remove_file(&charter).unwrap()
        } else {
            fs::write(&charter, note).unwrap()
        }
        let aside = format!("{key}.aside");
        let without_key = config_text.contains("none.key");
        if without_key {
            fs::rename(&key, &aside).unwrap();
        }
        for (lang, words) in [("en", en), ("zh", zh)] {
            let ran = run(&["run", "--new", "--lang", lang, "--config", &config]);
            assert!(ran.code == code && ran.err.contains(words) && ran.out.is_empty(), "{words}: {ran:?}");
        }
        if without_key {
            fs::rename(&aside, &key).unwrap();
        }
    }
    // A secret that lies beside the one that is named is taken, and that is said.
    fs::write(&config, node("key = \"keys/none.key\"")).unwrap();
    federation.expects(&["key.beside", "link.unreached"]);
    federation.start(COUNTY);
    assert!(federation.log(COUNTY).contains("was found in another *.key file beside it"), "{}", federation.log(COUNTY));
}
