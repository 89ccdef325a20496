//! The front door across processes: drop folders, what the charter decides while everything runs, and verdicts that
//! travel down.

use serde_json::Value;
use std::{fs, path::PathBuf};
use tally_tests::{
    CITY, COUNTY, Federation, LINE, PROVINCE, list, origin,
    sample::{key, record, records, version},
    seconds, shipped, wait_for,
};

const ALL: [&str; 3] = [PROVINCE, CITY, COUNTY];
/// Heads of a table of spot checks, by their Chinese titles.
const HEADS: &str = "检查实施机关,检查实施机关代码,检查任务编号,类型,日期,结果,主体名称,主体代码";

fn row(n: usize, name: &str) -> String {
    format!("福州市鼓楼区市场监督管理局,113501020036012589,抽查〔2025〕{n}号,抽查,2025/6/3,1,{name},91350102MA2TE5T1X0")
}

fn folder(federation: &Federation) -> PathBuf {
    let path = PathBuf::from(federation.file(COUNTY, "exchange"));
    fs::create_dir_all(path.join("inbox")).unwrap();
    federation.configure(COUNTY, "\n[[folder]]\npath = \"exchange\"\npoll_ms = 50\nsettle_ms = 200\n");
    path
}

fn dropped(path: &std::path::Path, name: &str, bytes: &[u8]) {
    // As a careful program does: written under another name, then renamed.
    fs::write(path.join(format!("inbox/{name}.part")), bytes).unwrap();
    fs::rename(path.join(format!("inbox/{name}.part")), path.join(format!("inbox/{name}"))).unwrap();
}

/// The receipt beside a file, wherever it was put.
fn receipt(path: &std::path::Path, name: &str) -> Option<(bool, Value)> {
    for (place, done) in [("done", true), ("rejected", false)] {
        for day in fs::read_dir(path.join(place)).ok()?.filter_map(Result::ok) {
            // The file itself comes last.
            if day.path().join(name).exists() {
                let text = fs::read_to_string(day.path().join(format!("{name}.receipt.json"))).unwrap();
                return Some((done, serde_json::from_str(&text).unwrap()));
            }
        }
    }
    None
}

fn beside(path: &std::path::Path, place: &str, name: &str) -> PathBuf {
    let day = fs::read_dir(path.join(place)).unwrap().next().unwrap().unwrap();
    day.path().join(name)
}

#[test]
fn a_dropped_file_gets_its_receipt_and_the_rows_to_correct_beside_it() {
    let federation = Federation::new(LINE);
    let path = folder(&federation);
    ALL.iter().for_each(|d| federation.start(d));
    let table = [HEADS.to_owned(), row(1, "甲公司"), row(2, ""), row(3, "丙公司")].join("\r\n");
    let (gb, _, _) = encoding_rs::GB18030.encode(&table);
    dropped(&path, "抽查.csv", &gb);
    let (done, answer) = wait_for("the receipt", seconds(30), || receipt(&path, "抽查.csv"));
    assert!(done, "{answer}");
    let count = |field: &str| answer[field].as_u64().unwrap();
    assert_eq!([count("read"), count("accepted"), count("duplicate"), count("rejected")], [3, 2, 0, 1]);
    assert_eq!((&answer["errors"][0]["line"], &answer["errors"][0]["code"]), (&3.into(), &"V001".into()));
    let text = fs::read_to_string(beside(&path, "done", "抽查.csv.receipt.txt")).unwrap();
    assert!(text.starts_with("部分退回") && text.contains("V001"), "{text}");
    assert!(beside(&path, "done", "抽查.csv_需更正.xlsx").exists());
    dropped(&path, "空.csv", b"");
    dropped(&path, "旧表.xls", b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1 old workbook");
    for (name, code) in [("空.csv", "empty"), ("旧表.xls", "old_excel")] {
        let (done, answer) = wait_for("the refusal", seconds(30), || receipt(&path, name));
        assert!(!done && answer["refused"]["code"] == code, "{name}: {answer}");
    }
    federation.wait_converged(&ALL, seconds(60));
    assert_eq!(federation.count(PROVINCE), 2);
}

#[test]
fn a_file_that_grows_after_it_was_taken_is_read_to_its_end() {
    let federation = Federation::new(&[(COUNTY, "county", None)]);
    let path = folder(&federation);
    federation.start(COUNTY);
    let mut slow = fs::File::create(path.join("inbox/慢.csv")).unwrap();
    let mut write = |text: &str| {
        std::io::Write::write_all(&mut slow, text.as_bytes()).unwrap();
        slow.sync_all().unwrap();
    };
    write(&format!("{HEADS}\n{}\n{}", row(1, "甲公司"), &row(2, "乙公司")[..59]));
    let (done, answer) = wait_for("the first receipt", seconds(30), || receipt(&path, "慢.csv"));
    assert!(done && answer["read"] == 2 && answer["rejected"] == 1, "cut in its last row: {answer}");
    write(&format!("{}\n{}\n", &row(2, "乙公司")[59..], row(3, "丙公司")));
    let (done, answer) = wait_for("the second receipt", seconds(30), || receipt(&path, "慢-2.csv"));
    assert!(done && answer["read"] == 3 && answer["duplicate"] == 1 && answer["accepted"] == 2, "{answer}");
    assert_eq!(federation.count(COUNTY), 3);
}

#[test]
fn a_node_that_is_killed_amid_a_dropped_file_loses_and_doubles_no_row() {
    const ROWS: usize = 60_000;
    let federation = Federation::new(LINE);
    let path = folder(&federation);
    ALL.iter().for_each(|d| federation.start(d));
    let rows: Vec<String> = (0..ROWS).map(|n| row(n, "甲公司")).collect();
    dropped(&path, "many.csv", format!("{HEADS}\n{}\n", rows.join("\n")).as_bytes());
    let mut kills = 0;
    for _ in 0..3 {
        let before = federation.journal_bytes(COUNTY);
        wait_for("some more rows are taken, or all", seconds(60), || {
            let more = federation.journal_bytes(COUNTY) > before;
            (more || receipt(&path, "many.csv").is_some()).then_some(())
        });
        if receipt(&path, "many.csv").is_some() {
            break;
        }
        federation.kill9(COUNTY);
        federation.start(COUNTY);
        kills += 1;
    }
    assert!(kills > 0, "the node was never killed amid the file: make it longer");
    let (done, answer) = wait_for("the receipt", seconds(120), || receipt(&path, "many.csv"));
    let count = |field: &str| answer[field].as_u64().unwrap();
    assert!(done && count("rejected") == 0, "{answer}");
    assert_eq!((count("read"), count("accepted") + count("duplicate")), (ROWS as u64, ROWS as u64));
    federation.wait_converged(&ALL, seconds(120));
    let lines = federation.export(PROVINCE, &["--history"]);
    let mut tasks: Vec<_> = lines.iter().map(|l| l["task_no"].as_str().unwrap().to_owned()).collect();
    tasks.sort();
    tasks.dedup();
    assert_eq!((lines.len(), tasks.len()), (ROWS, ROWS));
}

#[test]
fn a_new_category_comes_by_the_charter_alone_while_everything_runs() {
    let federation = Federation::running(LINE);
    let line = record(1, COUNTY).replace("\"category\":\"spot_check\"", "\"category\":\"green_label\"");
    let line = line.replace("\"check_type\":\"1\"", "\"label_no\":\"绿001\"");
    let (code, answer) = federation.ingest(COUNTY, &line);
    assert_eq!((code, &answer["errors"][0]["code"]), (3, &"V003".into()), "{answer}");
    let more = fs::read_to_string(shipped("deploy/charter/catalog.toml")).unwrap()
        + r#"
[[catalog]]
version = "2026.2"
extends = "2026.1"
effective = "2026-11-01"
[[catalog.category]]
id = "green_label"
zh = "绿色标识"
en = "Green label"
key = ["producer_uscc", "label_no"]
fields = [{ id = "label_no", zh = "标识编号", required = true }]
"#;
    let note = federation.charter_with(2, "authority.key", &more);
    federation.ask(PROVINCE, &["charter", "load", &note]).done();
    wait_for("the county has the charter", seconds(30), || {
        (federation.try_status(COUNTY)?["charter_version"] == 2).then_some(())
    });
    let line = line.replace("2026.1", "2026.2");
    let (code, answer) = federation.ingest(COUNTY, &line);
    assert_eq!((code, &answer["accepted"]), (0, &1.into()), "{answer}");
    let (_, answer) = federation.ingest(COUNTY, &line.replace("\"label_no\":\"绿001\"", "\"label_no\":\"\""));
    assert!(list(&answer["errors"]).iter().any(|e| e["field"] == "label_no" && e["code"] == "V001"), "{answer}");
    federation.wait_converged(&ALL, seconds(60));
    assert_eq!(federation.export(PROVINCE, &["--category", "green_label"]).len(), 1);
    let shown = federation.ask(COUNTY, &["catalog", "show", "green_label", "--json"]);
    assert_eq!(shown.json()["zh"], "绿色标识", "{shown:?}");
}

fn questions(federation: &Federation, at: &str) -> Vec<Value> {
    let asked = federation.ask(at, &["question", "ls", "--json"]);
    assert!([0, 3].contains(&asked.code), "{asked:?}");
    list(&asked.json()["questions"]).to_vec()
}

fn by(question: &Value) -> Vec<(String, String)> {
    let of = |j: &Value| {
        let division = j["division"].as_str().unwrap().to_owned();
        list(&j["findings"])
            .iter()
            .map(move |f| {
                let code = f["name"].as_str().or(f["code"].as_str()).unwrap().to_owned();
                (division.clone(), code)
            })
            .collect::<Vec<_>>()
    };
    list(&question["judged_by"]).iter().flat_map(of).collect()
}

#[test]
fn what_the_nodes_above_find_is_shown_where_the_record_entered() {
    let federation = Federation::running(LINE);
    federation.enter(COUNTY, 0..3);
    // The same record by two paths, and one that the city takes although it belongs to the county.
    for n in [1, 7] {
        let (code, answer) = federation.ingest(CITY, &record(n, COUNTY));
        assert_eq!((code, &answer["questions"]), (0, &1.into()), "{answer}");
    }
    federation.wait_converged(&ALL, seconds(60));
    let at_city = wait_for("the province's verdicts are at the city", seconds(60), || {
        let questions = questions(&federation, CITY);
        let from_above = |q: &Value| by(q).iter().any(|(d, code)| d == PROVINCE && code == "V017");
        (questions.iter().filter(|q| q["log"] == origin(CITY).as_str() && from_above(q)).count() == 2)
            .then_some(questions)
    });
    assert!(at_city.iter().any(|q| by(q).contains(&(CITY.into(), "DOUBLE_PATH".into()))), "{at_city:?}");
    let both = version(2, COUNTY, "create", "5");
    let (code, answer) = federation.ingest(COUNTY, &both);
    assert_eq!((code, &answer["accepted"], &answer["questions"]), (0, &1.into(), &1.into()), "{answer}");
    assert_eq!(answer["errors"][0]["code"], "V013");
    let open = wait_for("every level asks about the conflict", seconds(60), || {
        let questions = questions(&federation, COUNTY);
        let about = questions.iter().find(|q| by(q).contains(&(PROVINCE.into(), "V013".into())))?.clone();
        by(&about).contains(&(CITY.into(), "V013".into())).then_some(about)
    });
    assert_eq!(open["log"], origin(COUNTY));
    let (code, answer) = federation.ingest(COUNTY, &version(2, COUNTY, "amend", "7"));
    assert_eq!((code, &answer["accepted"]), (0, &1.into()), "{answer}");
    wait_for("the amendment answers it", seconds(30), || {
        (!questions(&federation, COUNTY).iter().any(|q| q["id"] == open["id"])).then_some(())
    });
    let (code, answer) = federation.ingest(COUNTY, &version(99, COUNTY, "withdraw", "1"));
    assert_eq!((code, &answer["errors"][0]["code"]), (3, &"V014".into()), "{answer}");
}

#[test]
fn routes_are_explained_and_a_wrong_door_names_the_right_one() {
    let federation = Federation::running(LINE);
    let note = federation.charter_with(
        2,
        "authority.key",
        "[[route]]\ncase = \"provincial\"\ncategory = \"registration\"\n\
         [[route]]\ncase = \"prefecture\"\ncategory = \"spot_check\"\ndivision = \"350102\"\n\
         [[route]]\ncase = \"central\"\nunit_word = \"税务局\"\nowner = \"省税务局\"\ndue_on = \"2026-12-31\"\n",
    );
    federation.ask(PROVINCE, &["charter", "load", &note]).done();
    wait_for("the county has the charter", seconds(30), || {
        (federation.try_status(COUNTY)?["charter_version"] == 2).then_some(())
    });
    let explain = |category: &str| {
        let args = [
            "route",
            "explain",
            "--unit",
            "113501020036012589",
            "--category",
            category,
            "--division",
            COUNTY,
            "--json",
        ];
        federation.ask(COUNTY, &args).json()
    };
    for (category, case, entry) in [
        ("registration", "provincial", PROVINCE),
        ("spot_check", "prefecture", CITY),
        ("admin_license", "territorial", COUNTY),
    ] {
        let route = explain(category);
        assert_eq!((&route["case"], &route["entry"]), (&case.into(), &entry.into()), "{route}");
        assert_eq!(list(&route["path"]).last().unwrap(), PROVINCE);
    }
    let (code, answer) = federation.ingest(COUNTY, &records(0..1, COUNTY));
    assert_eq!((code, &answer["errors"][0]["code"]), (3, &"V017".into()), "{answer}");
    assert!(answer["errors"][0]["message"].as_str().unwrap().contains(CITY), "{answer}");
    let (code, _) = federation.ingest(CITY, &records(0..1, COUNTY));
    assert_eq!(code, 0);
    assert_eq!(federation.export(CITY, &[])[0]["business_key"], key(0, COUNTY));
    // A path is no permission: what the door would say besides is told.
    let args =
        ["route", "explain", "--unit", "113501020036012589", "--category", "statistical_annual_report", "--json"];
    let unknown = federation.ask(COUNTY, &args);
    assert_eq!(unknown.code, 2, "{unknown:?}");
    // Whoever keeps a liaison task tells of it at the county too, though nothing else of the unit enters there.
    let of_tax = |category: &str, more: &str| {
        let line = record(7, COUNTY).replace("spot_check", category).replace("鼓楼区市场监督管理局", "鼓楼区税务局");
        line.replace("}", more)
    };
    let license = federation.ingest(COUNTY, &of_tax("other", "}")).1;
    assert!(list(&license["errors"]).iter().any(|e| e["code"] == "V017"), "{license}");
    let task = r#","reported_category":"other","owner":"李四","due_on":"2026-12-01","state":"open"}"#;
    let (code, answer) = federation.ingest(COUNTY, &of_tax("liaison", task));
    assert_eq!((code, &answer["accepted"]), (0, &1.into()), "{answer}");
}

#[test]
fn a_change_of_paths_counts_from_its_day_also_when_the_index_is_built_again() {
    let federation = Federation::running(LINE);
    federation.enter(COUNTY, 0..3);
    let rule = |from: &str| format!("[[route]]\ncase = \"prefecture\"\ncategory = \"spot_check\"\n{from}");
    let note = federation.charter_with(2, "authority.key", &rule("from = \"2025-06-04\"\n"));
    federation.ask(PROVINCE, &["charter", "load", &note]).done();
    federation.wait_converged(&ALL, seconds(60));
    wait_for("all have the charter", seconds(30), || {
        ALL.iter().all(|d| federation.try_status(d).is_some_and(|s| s["charter_version"] == 2)).then_some(())
    });
    let later = record(9, COUNTY).replace("2025-06-03", "2025-06-05");
    let (code, answer) = federation.ingest(COUNTY, &later);
    assert_eq!((code, &answer["errors"][0]["code"]), (3, &"V017".into()), "{answer}");
    // What entered before is amended where it is held.
    let amended =
        version(0, COUNTY, "amend", "5").replace("\"produced_on\":\"2025-06-03\"", "\"produced_on\":\"2025-06-05\"");
    let (code, answer) = federation.ingest(COUNTY, &amended);
    assert_eq!((code, &answer["accepted"]), (0, &1.into()), "{answer}");
    federation.enter(COUNTY, 3..5);
    for division in ALL {
        federation.stop(division);
        fs::remove_dir_all(federation.file(division, "data/index")).unwrap();
        federation.start(division);
    }
    federation.wait_converged(&ALL, seconds(60));
    for division in ALL {
        assert_eq!(federation.count(division), 6);
        assert_eq!(questions(&federation, division), [] as [Value; 0], "{division}");
    }
}
