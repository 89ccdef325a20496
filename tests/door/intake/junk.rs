//! Rows of which none is right, in numbers: what they cost, and how room for others is made.

use super::sheet::{ALONE, hand_in, unharmed};
use serde_json::Value;
use std::{fs, path::Path};
use tally_tests::{COUNTY, Federation, list};

/// Bytes of all files below a folder.
fn bytes_below(dir: &Path) -> u64 {
    let entries = fs::read_dir(dir).unwrap().map(Result::unwrap);
    entries.map(|e| if e.path().is_dir() { bytes_below(&e.path()) } else { e.metadata().unwrap().len() }).sum()
}

/// S5: 100,000 rows of 19 bytes made 308 MB.
#[test]
fn junk_costs_little_and_is_not_looked_at_to_its_end() {
    let federation = Federation::running(ALONE);
    let text = "{\"remark\":\"x1234\"}\n".repeat(100_000);
    let handed = hand_in(&federation, "junk.ndjson", text.as_bytes(), &["--category", "admin_license"]);
    let [read, accepted, duplicate, rejected] = handed.counts();
    let ended = &handed.answer["ended"];
    assert!((accepted, duplicate, rejected) == (0, 0, read) && (10_000..20_000).contains(&read), "{read}");
    assert_eq!((ended["code"].as_str(), ended["rows"].as_u64()), (Some("all_rejected"), Some(100_000 - read)));
    let answers = federation.file(COUNTY, "data/answers");
    let bytes = bytes_below(Path::new(&answers));
    println!("{} bytes of junk: {bytes} bytes on disk, {} of JSON", text.len(), handed.ran.out.len());
    assert!(bytes < 300 * read && handed.ran.out.len() < 10 << 20, "{bytes} {}", handed.ran.out.len());
    // What was said of each row is there in words.
    let id = handed.answer["answers"][0].as_str().unwrap();
    let shown = federation.ask(COUNTY, &["answer", "show", id, "--json"]).json();
    let row = &list(&shown["rows"])[read as usize - 1];
    let found = list(&row["findings"]);
    assert!(row["line"] == read && found.len() > 5 && found.iter().all(|f| f["message_zh"].is_string()), "{row}");
    let text = federation.ask(COUNTY, &["answer", "show", id]).out;
    assert!(text.contains("were not looked at") && text.contains("未再审核"), "{}", &text[..500]);
    // Done with, it leaves its room to others.
    let removed = federation.ask(COUNTY, &["answer", "rm", id]);
    assert_eq!(removed.code, 0, "{removed:?}");
    assert!(bytes_below(Path::new(&answers)) < 10_000);
    for command in ["rm", "show"] {
        assert_eq!(federation.ask(COUNTY, &["answer", command, id]).code, 2, "there is none any more");
    }
    let left: Value = federation.ask(COUNTY, &["answer", "ls", "--json"]).json();
    assert!(list(&left).is_empty(), "{left}");
    unharmed(&federation);
}

/// S6: an answer of 102 MB, and 450 MiB of memory.
#[test]
fn long_values_make_no_long_answer() {
    let federation = Federation::running(ALONE);
    let (value, mut text) = ("9".repeat(60_000), String::new());
    for field in ["checked_on", "subject_type", "subject_uscc", "produced_on", "business_key", "task_no"].repeat(200) {
        let mut row = serde_json::json!({ "operation": "create", "produced_on": "2026-06-03", "subject_uscc": "x" });
        row[field] = value.clone().into();
        text += &format!("{row}\n");
    }
    let handed = hand_in(&federation, "long.ndjson", text.as_bytes(), &["--category", "spot_check"]);
    assert_eq!(handed.counts(), [1_200, 0, 0, 1_200]);
    let (most, _) = federation.memory_kib(COUNTY);
    println!("{} bytes: memory at most {most} KiB, {} bytes of JSON", text.len(), handed.ran.out.len());
    assert!(handed.ran.out.len() < 8 << 20, "{}", handed.ran.out.len());
    unharmed(&federation);
}
