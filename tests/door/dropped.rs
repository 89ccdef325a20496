//! Drop folders: a file that is put there is taken, gets its receipt, and loses and doubles no row.

use serde_json::Value;
use std::{
    fs,
    os::unix::fs::{MetadataExt as _, symlink},
    path::{Path, PathBuf},
};
use tally_tests::{CITY, COUNTY, Federation, LINE, PROVINCE, seconds, wait_for};

const ALL: [&str; 3] = [PROVINCE, CITY, COUNTY];
/// Heads of a table of spot checks, by their Chinese titles.
const HEADS: &str = "检查实施机关,检查实施机关代码,检查任务编号,类型,日期,结果,主体名称,主体代码";

fn row(n: usize, name: &str) -> String {
    format!("福州市鼓楼区市场监督管理局,113501020036012589,抽查〔2025〕{n}号,抽查,2025/6/3,1,{name},91350102MA2TE5T1X0")
}

fn folder(federation: &Federation) -> PathBuf {
    folder_with(federation, "")
}

/// A folder with more said of it.
fn folder_with(federation: &Federation, more: &str) -> PathBuf {
    // A file may be there before the node may sign.
    federation.expects(&["folder.later"]);
    let path = PathBuf::from(federation.file(COUNTY, "exchange"));
    fs::create_dir_all(path.join("inbox")).unwrap();
    federation.configure(COUNTY, &format!("\n[[folder]]\npath = \"exchange\"\npoll_ms = 50\nsettle_ms = 200\n{more}"));
    path
}

fn dropped(path: &Path, name: &str, bytes: &[u8]) {
    // As a careful program does: written under another name, then renamed.
    fs::write(path.join(format!("inbox/{name}.part")), bytes).unwrap();
    fs::rename(path.join(format!("inbox/{name}.part")), path.join(format!("inbox/{name}"))).unwrap();
}

/// The receipt beside a file, wherever it was put.
fn receipt(path: &Path, name: &str) -> Option<(bool, Value)> {
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

fn beside(path: &Path, place: &str, name: &str) -> PathBuf {
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

/// A folder may be there for loads of history: each row is marked, and the receipt tells it. Of this year nothing is history.
#[test]
fn a_folder_of_history_marks_the_rows_of_earlier_years() {
    let federation = Federation::new(LINE);
    let path = folder_with(&federation, "backfill = true\n");
    ALL.iter().for_each(|d| federation.start(d));
    let today = jiff::tz::Offset::constant(8).to_datetime(jiff::Timestamp::now()).date().to_string();
    let now = row(3, "福州丙公司").replace("2025/6/3", &today);
    let table = [HEADS.to_owned(), row(1, "福州甲公司"), row(2, "福州乙公司"), now].join("\r\n");
    dropped(&path, "补录.csv", table.as_bytes());
    let (done, answer) = wait_for("the receipt", seconds(30), || receipt(&path, "补录.csv"));
    assert!(done && answer["accepted"] == 3, "{answer}");
    let note = |code: &str| {
        let note = answer["notes"].as_array().unwrap().iter().find(|n| n["code"] == code);
        note.unwrap_or_else(|| panic!("{code}: {answer}"))["count"].as_u64()
    };
    assert_eq!((note("backfill"), note("not_history")), (Some(2), Some(1)));
    federation.wait_converged(&ALL, seconds(60));
    let held = federation.export(PROVINCE, &[]);
    let marked = held.iter().filter(|r| r["backfill"] == "1" && r["checked_on"] == "2025-06-03").count();
    assert_eq!((held.len(), marked), (3, 2), "{held:?}");
}

#[test]
fn a_file_that_grows_after_it_was_taken_is_read_to_its_end() {
    let federation = Federation::new(&[(COUNTY, "county", None)]);
    federation.expects(&["folder.unfinished"]);
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

/// What the node has logged under this event since it was started, as JSON lines.
fn told(federation: &Federation, event: &str) -> Vec<Value> {
    let log = federation.log(COUNTY);
    let lines = log.lines().filter_map(|l| serde_json::from_str::<Value>(l).ok());
    lines.filter(|l| l["fields"]["event"] == event).collect()
}

/// S13: wherever a link is put, nothing is moved, read or quoted through it, and the folder goes on once it is put right.
#[test]
fn a_link_in_the_place_of_a_folder_is_refused_until_it_is_put_right() {
    let federation = Federation::new(&[(COUNTY, "county", None)]);
    federation.expects(&["folder.refused"]);
    let path = folder(&federation);
    let keys = PathBuf::from(federation.file(COUNTY, "copy-of-keys"));
    fs::create_dir(&keys).unwrap();
    let secret = fs::read(federation.file(COUNTY, "keys/node.key")).unwrap();
    fs::write(keys.join("node.key"), &secret).unwrap();
    federation.start(COUNTY);
    dropped(&path, "0.csv", format!("{HEADS}\n{}\n", row(0, "甲公司")).as_bytes());
    wait_for("the folder works", seconds(30), || receipt(&path, "0.csv"));
    for (n, place) in ["inbox", "work", "done", "rejected"].iter().enumerate() {
        let name = format!("{}.csv", n + 1);
        // What is there already lies elsewhere while the link is there.
        fs::rename(path.join(place), path.join("aside")).unwrap();
        symlink(&keys, path.join(place)).unwrap();
        wait_for("the refusal", seconds(30), || {
            let refused = told(&federation, "folder.refused");
            refused.iter().any(|l| l["fields"]["reason"].as_str().unwrap().contains(&format!("/{place}"))).then_some(())
        });
        if *place != "inbox" {
            dropped(&path, &name, format!("{HEADS}\n{}\n", row(n + 1, "甲公司")).as_bytes());
            std::thread::sleep(seconds(1));
            assert!(path.join("inbox").join(&name).exists(), "{place}: nothing is moved meanwhile");
        }
        let left: Vec<_> = fs::read_dir(&keys).unwrap().map(|e| e.unwrap().file_name()).collect();
        assert_eq!(
            (left, fs::read(keys.join("node.key")).unwrap()),
            (vec!["node.key".into()], secret.clone()),
            "{place}"
        );
        fs::remove_file(path.join(place)).unwrap();
        fs::rename(path.join("aside"), path.join(place)).unwrap();
        if *place == "inbox" {
            dropped(&path, &name, format!("{HEADS}\n{}\n", row(n + 1, "甲公司")).as_bytes());
        }
        let (done, _) = wait_for("it goes on by itself", seconds(30), || receipt(&path, &name));
        assert!(done, "{place}");
    }
    assert_eq!(federation.count(COUNTY), 5);
}

/// S13: the folder itself, and links and other names of files in the inbox.
#[test]
fn what_is_no_file_of_its_own_is_never_read() {
    let federation = Federation::new(&[(COUNTY, "county", None)]);
    federation.expects(&["folder.refused", "folder.linked"]);
    let path = folder(&federation);
    let key = federation.file(COUNTY, "keys/node.key");
    symlink(&key, path.join("inbox/link.csv")).unwrap();
    fs::hard_link(&key, path.join("inbox/hard.csv")).unwrap();
    symlink(&key, path.join("inbox/whole.csv.ok")).unwrap();
    dropped(&path, "plain.csv", format!("{HEADS}\n{}\n", row(1, "甲公司")).as_bytes());
    // The folder's own name leads there only by a link at first.
    let elsewhere = path.with_file_name("elsewhere");
    fs::rename(&path, &elsewhere).unwrap();
    symlink(&elsewhere, &path).unwrap();
    federation.start(COUNTY);
    wait_for("the refusal", seconds(30), || (!told(&federation, "folder.refused").is_empty()).then_some(()));
    assert!(elsewhere.join("inbox/plain.csv").exists());
    fs::remove_file(&path).unwrap();
    fs::rename(&elsewhere, &path).unwrap();
    assert!(wait_for("the receipt", seconds(30), || receipt(&path, "plain.csv")).0);
    for name in ["link.csv", "hard.csv", "whole.csv.ok"] {
        assert!(fs::symlink_metadata(path.join("inbox").join(name)).is_ok(), "{name} lies where it lay");
    }
    assert!(!told(&federation, "folder.linked").is_empty());
}

/// S13: the modes of what a department drops into and reads do not follow the umask.
#[test]
fn a_department_drops_and_reads_whatever_the_umask() {
    for mask in ["0077", "0000"] {
        let federation = Federation::new(&[(COUNTY, "county", None)]);
        federation.expects(&["folder.later"]);
        let path = PathBuf::from(federation.file(COUNTY, "exchange"));
        federation.configure(COUNTY, "\n[[folder]]\npath = \"exchange\"\npoll_ms = 50\nsettle_ms = 200\n");
        federation.starts_with_umask(COUNTY, mask);
        federation.start(COUNTY);
        wait_for("the inbox is made", seconds(30), || path.join("rejected").exists().then_some(()));
        let table = [HEADS.to_owned(), row(1, "甲公司"), row(2, "")].join("\n");
        dropped(&path, "抽查.csv", table.as_bytes());
        wait_for("the receipt", seconds(30), || receipt(&path, "抽查.csv"));
        let mode = |path: &Path| fs::metadata(path).unwrap().mode() & 0o7777;
        let folders = ["", "inbox", "work", "done", "rejected"].map(|f| format!("{:o}", mode(&path.join(f))));
        assert_eq!(folders, ["2750", "2770", "2700", "2750", "2750"], "{mask}");
        for end in [".receipt.txt", ".receipt.json", "_需更正.xlsx"] {
            let file = beside(&path, "done", &format!("抽查.csv{end}"));
            assert_eq!(mode(&file), 0o640, "{mask}: {file:?}");
            assert_eq!(mode(file.parent().unwrap()), 0o2750, "{mask}");
        }
    }
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
