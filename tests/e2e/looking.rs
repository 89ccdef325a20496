//! Looking at a node, day by day: whichever node is meant is found, in the reader's language, with one judgement for people and
//! for monitoring, and each code and record can be asked about.

use serde_json::Value;
use std::{fs, process::Command};
use tally_tests::{
    CITY, COUNTY, Federation, LINE, PROVINCE, Ran, list, poll, run,
    sample::{record, records},
    seconds, tally, wait_for,
};

/// Programs that a message may tell people to run: what follows them is a command, up to the next sign that is no ASCII.
const PROGRAMS: [&str; 5] = ["tally", "systemctl", "chronyc", "chmod", "journalctl"];

/// Words of letters that stand in a row in a line, where commands are none: at most so many.
pub(crate) fn english(line: &str) -> usize {
    let (mut longest, mut run, mut command) = (0, 0, false);
    for word in line.split_inclusive(|c: char| c.is_whitespace() || !c.is_ascii()) {
        let bare = word.trim_matches(|c: char| !c.is_ascii_alphanumeric());
        command |= PROGRAMS.contains(&bare);
        let is_word = !bare.is_empty() && bare.bytes().all(|b| b.is_ascii_alphabetic()) && !command;
        run = if is_word { run + 1 } else { 0 };
        longest = longest.max(run);
        if !word.is_ascii() {
            (run, command) = (0, false);
        }
    }
    longest
}

/// Both outputs of a command, none of which has an English sentence.
fn chinese(federation: &Federation, division: &str, args: &[&str]) -> Ran {
    let ran = federation.ask(division, &[&["--lang", "zh"], args].concat());
    for line in ran.out.lines().chain(ran.err.lines()) {
        assert!(english(line) < 3, "{args:?}: {line:?} is English, in {}{}", ran.out, ran.err);
    }
    ran
}

#[test]
fn sentences_are_told_from_commands_and_paths() {
    assert_eq!(english("see the reason, then wait"), 5);
    assert_eq!(english("处理：tally reconcile --with all --repair，检查磁盘"), 0);
    assert_eq!(english("处理：tally status，look at the disk"), 4);
    assert_eq!(english("350102 鼓楼区 data/journal 2026-11-29 08:00:00+08:00"), 0);
}

/// U-L: a clerk of a county looks, hands in, corrects, and finds out why the node takes nothing, in Chinese alone.
#[test]
fn a_clerk_who_reads_chinese_alone_can_do_a_days_work() {
    let federation = Federation::running(LINE);
    federation.enter(COUNTY, 0..3);
    federation.wait_converged(&[PROVINCE, CITY, COUNTY], seconds(60));
    let screen = chinese(&federation, COUNTY, &["status"]).done();
    assert!(screen.contains("需要处理") && screen.contains("已落盘") && screen.contains("上次确认"), "{screen}");
    // A row without its subject's name is rejected.
    let wrong = record(3, COUNTY).replace("福州榕盛餐饮管理有限公司", "");
    let file = federation.at("今日.ndjson");
    fs::write(&file, format!("{}{wrong}\n", records(4..6, COUNTY))).unwrap();
    let unknown = chinese(&federation, COUNTY, &["ingest", &file, "--category", "双随机"]);
    assert!(unknown.code == 2 && unknown.err.contains("抽查检查结果"), "{unknown:?}");
    let handed_in = chinese(&federation, COUNTY, &["ingest", &file, "--category", "抽查检查结果"]);
    assert!(handed_in.code == 3 && handed_in.out.contains("接收 2"), "{handed_in:?}");
    assert!(handed_in.out.contains("V001  退回") && handed_in.out.contains("必填项为空"), "{handed_in:?}");
    let answers = federation.ask(COUNTY, &["answer", "ls", "--json"]).json();
    let id = answers[0]["id"].as_str().unwrap_or_else(|| panic!("{answers}")).to_owned();
    chinese(&federation, COUNTY, &["answer", "ls"]).done();
    let told = chinese(&federation, COUNTY, &["answer", "show", &id]).done();
    assert!(told.contains("第 3 行") && told.contains("必填项为空"), "{told}");
    let table = federation.at("需更正.xlsx");
    chinese(&federation, COUNTY, &["answer", "file", &id, "-o", &table]).done();
    chinese(&federation, COUNTY, &["receipt", &file]);
    chinese(&federation, COUNTY, &["verify"]).done();
    chinese(&federation, COUNTY, &["reconcile", "--with", "parent"]).done();
    chinese(&federation, COUNTY, &["task", "ls"]).done();
    chinese(&federation, COUNTY, &["question", "ls"]);
    for code in ["V001", "not_signing", "parent_not_live", "3"] {
        let told = run(&["--lang", "zh", "explain", code]).done();
        assert!(told.contains(code) && told.lines().all(|line| english(line) < 3), "{told}");
    }
    // The city goes away, and the county starts again: it takes rows, and signs none.
    federation.stop(CITY);
    federation.stop(COUNTY);
    federation.start(COUNTY);
    let why = chinese(&federation, COUNTY, &["status"]).done();
    assert!(why.contains("[not_signing]") && why.contains("等待上级确认重启前本级台账的进度"), "{why}");
    fs::write(&file, records(7..8, COUNTY)).unwrap();
    let staged = chinese(&federation, COUNTY, &["ingest", &file]);
    assert!(staged.code == 0 && staged.out.contains("暂存") && staged.out.contains("上级进度未知"), "{staged:?}");
    chinese(&federation, COUNTY, &["receipt", &file]);
    wait_for("the cause is known", seconds(60), || {
        chinese(&federation, COUNTY, &["status"]).done().contains("UDP").then_some(())
    });
    // And when it does not run at all.
    federation.stop(COUNTY);
    let gone = chinese(&federation, COUNTY, &["status"]);
    assert!(gone.code == 7 && gone.err.contains("无应答"), "{gone:?}");
    let examined = chinese(&federation, COUNTY, &["doctor"]);
    assert!(examined.code == 3 && examined.out.contains("不通过"), "{examined:?}");
    let wrong = chinese(&federation, COUNTY, &["status", "--jsn"]);
    assert!(wrong.code == 2 && wrong.err.contains("未知参数"), "{wrong:?}");
    let help = run(&["--lang", "zh", "ingest", "--help"]).done();
    assert!(help.contains("用法") && help.contains("示例"), "{help}");
    help.lines().for_each(|line| assert!(english(line) < 3, "{line}"));
}

fn with(name: &str, value: &str, args: &[&str]) -> Ran {
    Ran::of(Command::new(tally()).args(args).env(name, value).output().unwrap())
}

/// 31 characters less on every line of every day.
#[test]
fn the_configuration_and_the_language_are_found_without_being_said() {
    let federation = Federation::running(&LINE[..1]);
    let config = federation.config(PROVINCE);
    let status = with("TALLY_CONFIG", &config, &["status", "--json"]);
    assert_eq!((status.code, &status.json()["node"]["division"]), (0, &PROVINCE.into()), "{status:?}");
    let none = run(&["status"]);
    assert!(none.code == 2 && none.err.contains("TALLY_CONFIG") && none.out.is_empty(), "{none:?}");
    let gone = with("TALLY_CONFIG", "/no/such/tally.toml", &["status"]);
    assert!(gone.code == 78 && gone.err.contains("/no/such/tally.toml"), "{gone:?}");
    let args = ["status", "--config", &config];
    for (name, value, chinese) in
        [("TALLY_LANG", "zh", true), ("TALLY_LANG", "en", false), ("LC_ALL", "zh_CN.UTF-8", true)]
    {
        let screen = with(name, value, &args).done();
        assert_eq!(
            (screen.contains("总体"), screen.contains("OVERALL")),
            (chinese, !chinese),
            "{name}={value}: {screen}"
        );
    }
    let shown = federation.ask(PROVINCE, &["config", "show", "--origin", "--json"]).json();
    let data = list(&shown["settings"]).iter().find(|s| s["name"] == "storage.staged_mib").unwrap().clone();
    assert_eq!((&data["value"], &data["origin"]), (&"1024".into(), &"default".into()), "{shown}");
    let by_variable =
        with("TALLY__STORAGE__STAGED_MIB", "9", &["config", "show", "--json", "--config", &config]).json();
    let staged = list(&by_variable["settings"]).iter().find(|s| s["name"] == "storage.staged_mib").unwrap().clone();
    assert_eq!((&staged["value"], &staged["variable"]), (&"9".into(), &"TALLY__STORAGE__STAGED_MIB".into()));
    assert_eq!(federation.ask(PROVINCE, &["config", "check"]).code, 0);
    fs::write(&config, "[node]\ndivisoin = 1\n").unwrap();
    assert_eq!(federation.ask(PROVINCE, &["config", "check"]).code, 78);
}

/// One judgement: what status lists is what the check says, what /readyz shows, and what the exit code is.
#[test]
fn monitoring_is_told_what_people_are_told() {
    let federation = Federation::running(LINE);
    federation.enter(COUNTY, 0..2);
    federation.wait_converged(&[PROVINCE, CITY, COUNTY], seconds(60));
    let quiet = poll(seconds(30), || (federation.ask(PROVINCE, &["check", "peers"]).code == 0).then_some(()));
    assert!(quiet.is_some(), "{:?}", federation.ask(PROVINCE, &["check", "peers"]));
    let well = federation.ask(PROVINCE, &["check", "store"]);
    assert!(well.code == 0 && well.out.starts_with("TALLY OK - 350000") && well.out.contains("| "), "{well:?}");
    // A city that is lost, with a county behind it, is critical at the province, however it is asked.
    federation.kill9(CITY);
    wait_for("the province misses its city", seconds(60), || {
        (federation.ask(PROVINCE, &["check", "peers"]).code == 2).then_some(())
    });
    let text = federation.ask(PROVINCE, &["check"]);
    assert!(text.code == 2 && text.out.contains("[node_lost]"), "{text:?}");
    let document = federation.ask(PROVINCE, &["check", "all", "--format", "json"]);
    assert_eq!((document.code, &document.json()["level"]), (2, &"critical".into()), "{document:?}");
    let metrics = federation.ask(PROVINCE, &["check", "peers", "--format", "prometheus"]);
    assert!(metrics.code == 2 && metrics.out.contains("tally_check{scope=\"peers\"} 2\n"), "{metrics:?}");
    let action =
        list(&federation.status(PROVINCE)["actions"]).iter().find(|a| a["code"] == "node_lost").unwrap().clone();
    let (what, what_zh) = (action["what"].as_str().unwrap(), action["what_zh"].as_str().unwrap());
    // It is called lost once its link has ended.
    assert!(what.ends_with("is lost") || what.ends_with("is stalled"), "JSON stays English: {action}");
    assert!(what_zh.ends_with("断开") || what_zh.ends_with("停滞"), "{action}");
    // It is noted, by day, and when it is over too.
    let noted = || federation.ask(PROVINCE, &["history", "--division", CITY, "--json"]).json();
    wait_for("the loss is noted", seconds(30), || {
        list(&noted()).iter().any(|n| n["kind"] == "link" && n["code"] == "lost").then_some(())
    });
    federation.start(CITY);
    wait_for("the return is noted", seconds(60), || {
        list(&noted()).last().is_some_and(|n| n["kind"] == "link" && n["code"] == "live").then_some(())
    });
    assert!(list(&federation.ask(PROVINCE, &["history", "--json"]).json()).iter().any(|n| n["kind"] == "started"));
    assert_eq!(federation.ask(PROVINCE, &["history", "--since", "yesterday"]).code, 2);
    let day = federation.ask(PROVINCE, &["history"]).done();
    assert!(day.contains("link") && day.lines().next().is_some_and(|l| l.starts_with("20")), "{day}");
    // A node that does not answer is unknown, and so is a check that is called wrongly.
    federation.stop(COUNTY);
    let gone = federation.ask(COUNTY, &["check", "--format", "json"]);
    assert_eq!((gone.code, &gone.json()["level"]), (3, &"unknown".into()), "{gone:?}");
    assert_eq!(federation.ask(COUNTY, &["check", "weather"]).code, 3);
    // Wherever the language stands, to monitoring 2 would be CRITICAL.
    for lang in [&["--lang", "zh"][..], &["--lang=zh"], &["--lang", "en"]] {
        assert_eq!(federation.ask(COUNTY, &[lang, &["check", "weather"]].concat()).code, 3, "{lang:?}");
        assert_eq!(federation.ask(COUNTY, &[lang, &["status", "weather"]].concat()).code, 2, "{lang:?}");
    }
}

fn verdict(examined: &Value, name: &str) -> String {
    let found = list(&examined["tests"]).iter().find(|t| t["name"] == name);
    found.and_then(|t| t["verdict"].as_str()).unwrap_or_else(|| panic!("{name}: {examined}")).to_owned()
}

#[test]
fn the_doctor_examines_a_node_that_runs_and_one_that_does_not() {
    let federation = Federation::running(LINE);
    let examined = federation.ask(COUNTY, &["doctor", "--json"]).json();
    for name in ["config", "charter", "key", "data", "time", "ports", "parent"] {
        assert_eq!(verdict(&examined, name), "ok", "{name}: {examined}");
    }
    // Without the node the parent answers all the same, and no link of anybody is disturbed.
    federation.stop(COUNTY);
    let examined = federation.ask(COUNTY, &["doctor", "--json"]);
    assert_eq!((examined.code, verdict(&examined.json(), "node").as_str()), (3, "failed"));
    assert_eq!((verdict(&examined.json(), "parent"), verdict(&examined.json(), "ports")), ("ok".into(), "ok".into()));
    federation.stop(CITY);
    let key = federation.file(COUNTY, "keys/node.key");
    fs::copy(federation.file(CITY, "keys/node.key"), &key).unwrap();
    let examined = federation.ask(COUNTY, &["doctor", "--json"]).json();
    assert_eq!(
        (verdict(&examined, "parent"), verdict(&examined, "key")),
        ("failed".into(), "failed".into()),
        "{examined}"
    );
    fs::remove_file(federation.file(COUNTY, "charter.note")).unwrap();
    let examined = federation.ask(COUNTY, &["doctor", "--json"]).json();
    assert_eq!((verdict(&examined, "charter"), verdict(&examined, "parent")), ("failed".into(), "skipped".into()));
}

/// 42: eight digits name a record everywhere.
#[test]
fn a_record_is_named_by_its_first_digits_and_found_by_what_it_counts_for() {
    let federation = Federation::running(LINE);
    federation.enter(COUNTY, 0..5);
    federation.wait_converged(&[PROVINCE, CITY, COUNTY], seconds(60));
    let lines = federation.export(COUNTY, &[]);
    let id = lines[0]["_tally"]["id"].as_str().unwrap();
    for digits in [&id[..8], &id[..9], id] {
        let shown = federation.ask(COUNTY, &["record", "show", digits, "--json"]).json();
        assert_eq!(
            (&shown["id"], &shown["record"]["business_key"]),
            (&id.into(), &lines[0]["business_key"]),
            "{shown}"
        );
        let held = list(&shown["receipts"][0]["held_by"]).len();
        assert!(held >= 1, "{shown}");
        let receipt = federation.ask(PROVINCE, &["receipt", "--record", digits, "--json"]).json();
        assert_eq!(receipt["held"], 1, "{receipt}");
        let proof = federation.at(&format!("{}.evidence", digits.len()));
        assert_eq!(federation.ask(CITY, &["evidence", "export", "--record", digits, "-o", &proof]).code, 0);
    }
    for wrong in [&id[..7], "not hexadecimal", "ffffffff00000000"] {
        let ran = federation.ask(COUNTY, &["record", "show", wrong]);
        assert!(ran.code == 2 && ran.out.is_empty() && !ran.err.is_empty(), "{wrong}: {ran:?}");
    }
    let text = federation.ask(COUNTY, &["record", "show", &id[..8]]).done();
    assert!(text.contains(id) && text.contains("on disk at 350102"), "{text}");
    let name = federation.status(COUNTY)["node"]["name"].as_str().unwrap().to_owned();
    let count = |args: &[&str]| {
        let listed = federation.ask(PROVINCE, &[&["record", "ls", "--json"], args].concat());
        list(&listed.json()["records"]).len()
    };
    assert_eq!((count(&[]), count(&["--limit", "2"])), (5, 2));
    assert_eq!((count(&["--division", COUNTY]), count(&["--division", &name])), (5, 5));
    assert_eq!((count(&["--category", "spot_check"]), count(&["--category", "admin_license"])), (5, 0));
    assert_eq!(
        (count(&["--from", "2025-06-03"]), count(&["--from", "2025-06-04"]), count(&["--to", "2025-06-02"])),
        (5, 0, 0)
    );
    // Produced in 2025 and handed in now: all of them are late.
    assert_eq!(count(&["--late"]), 5);
    assert_eq!(federation.export(PROVINCE, &["--division", &name]).len(), 5, "by name, as by code");
    assert_eq!(federation.ask(PROVINCE, &["record", "ls", "--division", "110101"]).code, 2);
    let table = federation.ask(PROVINCE, &["record", "ls"]).done();
    assert!(table.contains(&id[..12]) && table.contains("late"), "{table}");
}

/// U11: a receipt reads whatever is handed in, with the same terms: the table that a department has, and the corrected one.
#[test]
fn receipts_are_asked_for_by_the_file_that_was_handed_in() {
    let federation = Federation::running(LINE);
    let rows: Vec<Value> = (0..30).map(|n| serde_json::from_str(&record(n, COUNTY)).unwrap()).collect();
    // Without what follows from others, as a department's table is; and the unit only by word.
    let left_out =
        ["business_key", "operation", "catalog_version", "submitter_uscc", "submitter_name", "submitter_division"];
    let unit = rows[0]["submitter_uscc"].as_str().unwrap().to_owned();
    let heads: Vec<String> =
        rows[0].as_object().unwrap().keys().filter(|k| !left_out.contains(&k.as_str())).cloned().collect();
    let cells = |row: &Value| heads.iter().map(|h| row[h].as_str().unwrap().to_owned()).collect::<Vec<_>>();
    let csv: String =
        std::iter::once(heads.clone()).chain(rows[..20].iter().map(cells)).map(|line| line.join(",") + "\n").collect();
    let mut book = rust_xlsxwriter::Workbook::new();
    let sheet = book.add_worksheet();
    for (r, line) in std::iter::once(heads.clone()).chain(rows[10..].iter().map(cells)).enumerate() {
        for (c, cell) in line.iter().enumerate() {
            sheet.write_string(r as u32, c as u16, cell).unwrap();
        }
    }
    let (table, workbook) = (federation.at("rows.csv"), federation.at("rows.xlsx"));
    fs::write(&table, csv).unwrap();
    book.save(&workbook).unwrap();
    let terms = ["--unit", &unit, "--json"];
    let asked = |command: &str, file: &str| federation.ask(COUNTY, &[&[command, file][..], &terms].concat());

    let before = asked("receipt", &table);
    assert_eq!((before.code, &before.json()["missing"]), (3, &20.into()), "{before:?}");
    let taken = asked("ingest", &table);
    assert_eq!((taken.code, &taken.json()["accepted"]), (0, &20.into()), "{taken:?}");
    federation.wait_converged(&[PROVINCE, CITY, COUNTY], seconds(60));
    let held = asked("receipt", &table);
    assert_eq!((held.code, &held.json()["held"]), (0, &20.into()), "{held:?}");
    let levels = list(&held.json()["records"][0]["held_by"]).len();
    assert_eq!(levels, 3, "{held:?}");
    // Ten of the workbook's rows are the table's last ones.
    let part = asked("receipt", &workbook);
    let counts = part.json();
    assert_eq!((part.code, &counts["held"], &counts["missing"]), (3, &10.into(), &10.into()), "{part:?}");
    let numbers: Vec<_> = list(&counts["records"]).iter().map(|r| r["line"].as_u64().unwrap()).collect();
    assert_eq!(numbers, (2..22).collect::<Vec<_>>(), "rows of the sheet");
}
