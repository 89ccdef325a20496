//! Whoever reads Chinese alone meets no English sentence: in no help, on no man page, and in nothing that commands say day by day.
//! All that is still English is listed at once.

use crate::{joining::Founded, looking::english};
use std::{collections::BTreeSet, fs};
use tally_tests::{
    CITY, COUNTY, FEDERATION, Federation, LINE, NEIGHBOUR, PROVINCE, Ran, free_port, run,
    sample::{record, records},
    seconds,
};

/// Words in a row that make a sentence.
const SENTENCE: usize = 3;

/// What is still English, by command.
#[derive(Default)]
struct English(BTreeSet<String>);

impl English {
    fn look(&mut self, what: &str, text: &str) {
        // Names of options and of their values are none.
        let is_name = |word: &&str| !word.starts_with(['-', '<', '[']);
        let words = |line: &str| line.split(' ').filter(is_name).collect::<Vec<_>>().join(" ");
        for line in text.lines().filter(|l| english(&words(l)) >= SENTENCE) {
            self.0.insert(format!("{what}: {}", line.trim()));
        }
    }

    /// Runs a command in Chinese and looks at all that it says.
    fn run(&mut self, args: &[&str]) -> Ran {
        let ran = run(&[&["--lang", "zh"], args].concat());
        let name = args
            .iter()
            .take_while(|a| !a.starts_with(['-', '/']) && a.len() < 30)
            .copied()
            .collect::<Vec<_>>()
            .join(" ");
        self.look(&name, &ran.out);
        self.look(&name, &ran.err);
        ran
    }

    /// At a node.
    fn at(&mut self, federation: &Federation, division: &str, args: &[&str]) -> Ran {
        self.run(&[args, &["--config", &federation.config(division)]].concat())
    }

    fn none(self) {
        let all: Vec<_> = self.0.into_iter().collect();
        assert!(all.is_empty(), "{} lines are English:\n{}", all.len(), all.join("\n"));
    }
}

/// The commands that a help page lists.
fn below(page: &str) -> Vec<String> {
    let listed = page.lines().skip_while(|l| !l.starts_with("命令")).skip(1).take_while(|l| l.starts_with("  "));
    let names = listed.filter(|l| !l.starts_with("   ")).filter_map(|l| l.split_whitespace().next());
    names.filter(|n| *n != "help").map(str::to_owned).collect()
}

fn help_of(path: &[String], english: &mut English, seen: &mut usize) {
    let args: Vec<_> = path.iter().map(String::as_str).chain(["--help"]).collect();
    let page = english.run(&args).done();
    assert!(page.contains("用法"), "{path:?}: {page}");
    *seen += 1;
    for name in below(&page) {
        help_of(&[path, &[name]].concat(), english, seen);
    }
}

#[test]
fn no_help_and_no_man_page_has_an_english_sentence() {
    let (mut english, mut seen) = (English::default(), 0);
    help_of(&[], &mut english, &mut seen);
    assert!(seen > 60, "{seen} pages were found");
    let dir = tempfile::tempdir().unwrap();
    english.run(&["man", dir.path().to_str().unwrap()]).done();
    let pages: Vec<_> = fs::read_dir(&dir).unwrap().map(|p| p.unwrap().path()).collect();
    assert!(pages.len() > 60, "{}", pages.len());
    for page in pages {
        let text = fs::read_to_string(&page).unwrap();
        assert!(text.contains(".SH 名称") && text.contains(".SH 概要"), "{page:?}");
        // What is a command for troff, and an example, is no sentence.
        let said: String =
            text.lines().filter(|l| !l.starts_with('.') || l.starts_with(".SH")).map(|l| format!("{l}\n")).collect();
        english.look(
            &page.file_name().unwrap().to_string_lossy(),
            &said.replace("\\fB", " ").replace("\\fR", " ").replace('\\', ""),
        );
    }
    english.none();
}

#[test]
fn what_commands_say_day_by_day_is_chinese() {
    let federation = Federation::running(LINE);
    federation.enter(COUNTY, 0..6);
    federation.wait_converged(&[PROVINCE, CITY, COUNTY], seconds(60));
    let (mut e, things) = (English::default(), Things::of(&federation));
    at_the_county(&mut e, &federation, &things);
    at_the_province(&mut e, &federation, &things);
    without_a_node(&mut e, &federation, &things);
    e.none();
    // Asked of the top node, and said by the operator.
    federation.expects(&["gate.opened", "task.failed"]);
}

/// What commands are given.
struct Things {
    rows: String,
    wrong: String,
    id: String,
    unit: String,
    proof: String,
    bundle: String,
    table: String,
    authority: String,
    key: String,
    text: String,
    note: String,
    again: String,
}

impl Things {
    fn of(federation: &Federation) -> Self {
        let at = |name: &str| federation.at(name);
        let (rows, wrong) = (at("rows.ndjson"), at("wrong.ndjson"));
        fs::write(&rows, records(4..8, COUNTY)).unwrap();
        fs::write(&wrong, format!("{}\n{{\n", record(9, COUNTY).replace("福州榕盛餐饮管理有限公司", ""))).unwrap();
        let first = &federation.export(COUNTY, &[])[0];
        Self {
            rows,
            wrong,
            id: first["_tally"]["id"].as_str().unwrap().to_owned(),
            unit: first["producer_uscc"].as_str().unwrap().to_owned(),
            proof: at("one.evidence"),
            bundle: at("one.bundle"),
            table: at("empty.xlsx"),
            authority: federation.config(COUNTY),
            key: at("authority.key"),
            text: at("charter.toml"),
            note: at("again.note"),
            again: federation.charter(2, "authority.key"),
        }
    }
}

fn at_the_county(e: &mut English, f: &Federation, t: &Things) {
    for args in [
        &["status"][..],
        &["check"],
        &["check", "deadlines"],
        &["doctor"],
        &["history"],
        &["config", "check"],
        &["config", "show", "--origin"],
        &["ingest", &t.rows],
        &["ingest", &t.rows, "--dry-run"],
        &["ingest", &t.wrong],
        &["ingest", "/no/such/file"],
        &["answer", "ls"],
        &["answer", "show", "nothing"],
        &["question", "ls"],
        &["record", "ls"],
        &["record", "show", &t.id],
        &["record", "show", "1234"],
        &["receipt", &t.rows],
        &["receipt", &t.wrong],
        &["deadline", "report"],
        &["deadline", "report", "--month", "2025-06", "--by", "division"],
        &["deadline", "explain", "--produced-on", "2026-11-20"],
        &["verify"],
        &["reconcile", "--with", "parent"],
        &["reconcile", "--with", "350200"],
        &["evidence", "export", "--record", &t.id, "-o", &t.proof],
        &["bundle", "export", "--to", CITY, "-o", &t.bundle],
        &["bundle", "export", "--to", "350200", "-o", &t.bundle],
        &["task", "ls"],
        &["task", "show", "t-99"],
        &["epoch", "lost"],
        &["gate", "open", "--reason", "r"],
        &["catalog", "show"],
        &["catalog", "show", "spot_check"],
        &["catalog", "template", "spot_check", "-o", &t.table],
        &["route", "ls"],
        &["route", "explain", "--unit", &t.unit, "--category", "spot_check"],
        &["route", "explain", "--unit", "1", "--category", "spot_check"],
        &["route", "explain", "--unit", &t.unit, "--category", "nothing"],
        &["compare", &t.rows, "--unit", &t.unit, "--category", "spot_check"],
        &["node", "ls"],
        &["node", "show", COUNTY],
        &["node", "show", "350200"],
        &["node", "pending"],
        &["node", "reject", CITY, "--reason", "r"],
        &["node", "invite", "350103", "--name", "x"],
        &["charter", "load", &t.again],
    ] {
        e.at(f, COUNTY, args);
    }
}

fn at_the_province(e: &mut English, f: &Federation, t: &Things) {
    for args in [
        &["status"][..],
        &["deadline", "report"],
        &["question", "ls"],
        &["node", "ls"],
        &["node", "suspend", COUNTY, "--reason", "r", "--dry-run"],
        &["node", "resume", COUNTY, "--reason", "r", "--dry-run"],
        &["node", "move", COUNTY, "--under", PROVINCE, "--reason", "r", "--dry-run"],
        &["node", "retire", CITY, "--reason", "r", "--dry-run"],
        &["node", "replace", COUNTY, "--reason", "r", "--dry-run"],
        &["node", "replace", CITY, "--reason", "r"],
        &["node", "replace", "350200", "--reason", "r"],
        &["node", "replace", PROVINCE, "--reason", "r"],
        &["node", "invite", CITY, "--name", "x"],
        &["node", "invite", "350103", "--name", "x", "--under", "350200"],
        &["node", "approve", CITY, "--code", "1", "--authority", &t.key],
        &["charter", "load", &t.again],
        &["restore"],
    ] {
        e.at(f, PROVINCE, args);
    }
}

fn without_a_node(e: &mut English, f: &Federation, t: &Things) {
    for args in [
        &["evidence", "verify", &t.proof, "--authority", &t.authority][..],
        &["evidence", "verify", &t.rows, "--authority", &t.authority],
        &["bundle", "show", &t.bundle],
        &["bundle", "show", &t.rows],
        &["catalog", "check", &t.text],
        &["charter", "check", &t.text],
        &["charter", "show", &t.again],
        &["charter", "sign", &t.text, "--key", &t.key, "-o", &t.note],
        &["charter", "sign", &t.text, "--key", &f.file(CITY, "keys/node.key"), "-o", &t.note],
        &["keygen", "--federation", FEDERATION, "--authority", "-o", &f.at("more.key")],
        &["keygen", "--federation", FEDERATION, "--authority", "-o", &f.at("more.key")],
        &["explain", "E1103"],
        &["explain", "nothing"],
        &["status", "--config", "/no/such/file"],
        &["ingest"],
        &["nothing"],
    ] {
        e.run(args);
    }
}

#[test]
fn founding_joining_and_the_demo_speak_chinese() {
    let (founded, mut e) = (Founded::running(), English::default());
    let federation = &founded.federation;
    let (dir, words) = (founded.dir("other"), founded.dir("passphrase"));
    let init = ["federation", "init", "--federation", FEDERATION, "--division", PROVINCE, "--name", "福建省"];
    let here = ["--dir", &dir, "--quic", "127.0.0.1:9"];
    e.run(&[&init[..], &here].concat());
    e.run(&[&init[..], &here, &["--yes"]].concat()).done();
    e.run(&[&init[..], &here, &["--passphrase-file", &words]].concat());
    let invited = e.at(federation, PROVINCE, &["node", "invite", CITY, "--name", "福州市"]);
    let (token, quic) = (invited.out.trim().to_owned(), format!("127.0.0.1:{}", free_port()));
    let place = founded.dir(CITY);
    let join = e.run(&["join", &token, "--dir", &place, "--quic", &quic, "--no-wait"]);
    assert_eq!(join.code, 0, "{join:?}");
    let code = founded.pending(CITY);
    e.at(federation, PROVINCE, &["node", "pending"]);
    e.run(&["join", "--status", "--dir", &place]);
    e.run(&["join", &token, "--dir", &founded.dir("third"), "--no-wait"]);
    e.run(&["join", "tly1_x", "--dir", &founded.dir("third")]);
    e.run(&["join", "--dir", &founded.dir("third")]);
    e.run(&["join", &token, "--dir", &place, "--division", NEIGHBOUR]);
    let approval = founded.approval(CITY, &code);
    let approval: Vec<_> = approval.iter().map(String::as_str).collect();
    let mut wrong = approval.clone();
    wrong[4] = "0000-0000-0000";
    e.at(federation, PROVINCE, &wrong);
    e.at(federation, PROVINCE, &approval).done();
    founded.is_admitted(CITY);
    e.run(&["join", "--status", "--dir", &place]).done();
    let replaced = e.at(federation, PROVINCE, &["node", "replace", CITY, "--reason", "r"]);
    let token = replaced.out.trim().to_owned();
    e.run(&["join", &token, "--dir", &founded.dir("new"), "--quic", &quic, "--request", &founded.dir("request")])
        .done();
    e.run(&["demo", "--dir", &founded.dir("demo"), "--counties", "1", "--records", "40", "--exit"]).done();
    e.run(&["demo", "--dir", &founded.dir("demo"), "--counties", "2", "--exit"]);
    e.none();
}
