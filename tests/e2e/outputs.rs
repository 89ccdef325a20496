//! What commands and the log write: what cannot be written, and words of others that a terminal would obey.

use std::{
    fs::{self, File},
    process::{Command, Stdio},
};
use tally_tests::{COUNTY, Federation, Ran, poll, run, sample::records, seconds, tally};

fn alone() -> Federation {
    let federation = Federation::running(&[(COUNTY, "county", None)]);
    federation.enter(COUNTY, 0..5);
    federation
}

/// A command whose stdout goes there.
fn into(stdout: impl Into<Stdio>, args: &[&str]) -> Ran {
    Ran::of(Command::new(tally()).args(args).stdin(Stdio::null()).stdout(stdout).output().unwrap())
}

/// C10: an output that is not whole is a failure, and says so; a reader that has gone is none.
#[test]
fn an_output_that_cannot_be_written_is_a_failure() {
    let federation = alone();
    let (config, charter) = (federation.config(COUNTY), federation.at("charter.toml"));
    let of_node: &[&[&str]] = &[
        &["status"],
        &["status", "--json"],
        &["export"],
        &["task", "ls"],
        &["verify"],
        &["verify", "--json"],
        &["question", "ls"],
        &["deadline", "report"],
        &["deadline", "report", "--csv"],
        &["route", "ls"],
    ];
    let others: &[&[&str]] = &[
        &["--help"],
        &["--version"],
        &["catalog", "show"],
        &["charter", "show", &charter],
        &["charter", "check", &charter],
        &["charter", "new", "--federation", "a.example"],
    ];
    let of_node = of_node.iter().map(|args| [*args, &["--config", &config]].concat());
    for args in of_node.chain(others.iter().map(|args| args.to_vec())) {
        let full = into(File::options().write(true).open("/dev/full").unwrap(), &args);
        assert_eq!(full.code, 1, "{args:?}: {full:?}");
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let gone = into(writer, &args);
        let whole = run(&args);
        assert_eq!((gone.code, gone.err), (whole.code, whole.err), "{args:?}: whoever reads has seen enough");
    }
}

/// C10: a file that cannot be written whole leaves what was there, and nothing beside it.
#[test]
fn a_file_that_cannot_be_written_leaves_the_older_one() {
    let federation = alone();
    let (config, text, key) =
        (federation.config(COUNTY), federation.at("charter.toml"), federation.at("authority.key"));
    let id = federation.export(COUNTY, &[])[0]["_tally"]["id"].as_str().unwrap().to_owned();
    let (_, answer) = federation.ingest(COUNTY, "{}\n");
    let rejected = answer["answers"][0].as_str().unwrap();
    let folder = federation.at("out");
    for args in [
        &["charter", "sign", &text, "--key", &key][..],
        &["evidence", "export", "--record", &id, "--config", &config],
        &["deadline", "report", "--csv", "--config", &config],
        &["answer", "file", rejected, "--config", &config],
        &["catalog", "template", "admin_license"],
    ] {
        fs::create_dir_all(&folder).unwrap();
        let file = format!("{folder}/older.csv");
        fs::write(&file, "older").unwrap();
        // No file may grow: a disk that is full.
        let mut shell = Command::new("sh");
        shell.args(["-c", "trap '' XFSZ; ulimit -f 0; exec \"$@\"", "sh"]).arg(tally()).args(args).args(["-o", &file]);
        let ran = Ran::of(shell.output().unwrap());
        assert_eq!((ran.code, fs::read_to_string(&file).unwrap().as_str()), (1, "older"), "{args:?}: {ran:?}");
        assert_eq!(fs::read_dir(&folder).unwrap().count(), 1, "{args:?}");
        let whole = run(&[args, &["-o", &file]].concat());
        assert!([0, 3].contains(&whole.code) && fs::read(&file).unwrap().len() > 10, "{args:?}: {whole:?}");
        fs::remove_dir_all(&folder).unwrap();
    }
    let secret = federation.at("half.key");
    let mut shell = Command::new("sh");
    shell.args(["-c", "trap '' XFSZ; ulimit -f 0; exec \"$@\"", "sh"]).arg(tally());
    shell.args(["keygen", "--authority", "--federation", "a.example", "-o", &secret]);
    assert_eq!(Ran::of(shell.output().unwrap()).code, 1);
    assert!(fs::metadata(&secret).is_err(), "half a secret would keep the next try from making a whole one");
}

/// B06: a log that cannot be written stops nothing.
#[test]
fn a_node_whose_log_cannot_be_written_goes_on() {
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let full = File::options().write(true).open("/dev/full").unwrap();
    for stderr in [Stdio::from(writer), Stdio::from(full)] {
        let federation = Federation::new(&[(COUNTY, "county", None)]);
        let config = federation.config(COUNTY);
        let mut node = Command::new(tally());
        node.args(["run", "--config", &config]).env("TALLY__LOG__LEVEL", "debug").stdin(Stdio::null()).stderr(stderr);
        let mut node = node.stdout(Stdio::null()).spawn().unwrap();
        let entered = poll(seconds(30), || {
            let (code, answer) = federation.ingest(COUNTY, &records(0..3, COUNTY));
            (code == 0).then_some(answer)
        });
        let verified = federation.ask(COUNTY, &["verify"]);
        let stopped = Command::new("kill").args(["-TERM", &node.id().to_string()]).status();
        let ended = poll(seconds(15), || node.try_wait().unwrap());
        let _ = node.kill();
        assert!(entered.is_some() && verified.code == 0 && stopped.unwrap().success(), "{entered:?} {verified:?}");
        assert_eq!(ended.and_then(|s| s.code()), Some(0));
    }
}

/// S12: names and values that a terminal would obey are written out wherever people read them, and JSON stays JSON.
#[test]
fn words_of_others_are_tamed_wherever_they_are_shown() {
    const WILD: &str = "x\u{1b}]0;owned\u{7}\u{1b}[2J\nERROR forged\u{202e}\u{9b}1m.ndjson";
    let federation = alone();
    let file = federation.at(WILD);
    let value = serde_json::to_string(WILD).unwrap();
    let good: Vec<String> = records(5..7, COUNTY).lines().map(str::to_owned).collect();
    let mut wild: Vec<String> =
        good.iter().map(|line| line.replacen("{", &format!("{{\"remark\":{value},"), 1)).collect();
    wild.push(format!("{{\"category\":{value},{value}:{value},\"decision_date\":{value}}}"));
    fs::write(&file, wild.join("\n")).unwrap();
    let told = |args: &[&str]| {
        let ran = federation.ask(COUNTY, args);
        let said = format!("{}{}", ran.out, ran.err);
        let raw = said.chars().find(|c| (c.is_control() && *c != '\n') || ('\u{202a}'..='\u{202e}').contains(c));
        assert_eq!(raw, None, "{args:?}: {said:?}");
        assert!(!said.lines().any(|l| l.starts_with("ERROR")), "{args:?}: a forged line: {said:?}");
        ran
    };
    let (_, answer) = federation.ingest_file(COUNTY, &file);
    let id = answer["answers"][0].as_str().unwrap_or_else(|| panic!("{answer}"));
    told(&["ingest", &file]);
    let listed = told(&["answer", "ls"]);
    assert!(listed.out.contains("\\u001b"), "{listed:?}");
    told(&["answer", "show", id]);
    let json = told(&["answer", "show", id, "--json"]).json();
    assert_eq!(json["file"], WILD, "in JSON a name is what it is");
    for args in [&["question", "ls"][..], &["deadline", "report"], &["status"], &["receipt", &file], &["task", "ls"]] {
        told(args);
    }
    for line in federation.log(COUNTY).lines() {
        assert_eq!(line.as_bytes().iter().find(|b| b.is_ascii_control()), None, "{line:?}");
    }
}
