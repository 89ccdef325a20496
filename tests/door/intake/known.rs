//! Rows that are handed in again byte for byte are known before they are read, and answered as if they were read.

use super::sheet::{ALONE, SUBJECT, SUBJECT_CODE, Sheet, UNIT_CODE, hand_in};
use serde_json::Value;
use std::fmt::Write as _;
use tally_tests::{
    COUNTY, Federation, free_port,
    http::{Body, request},
    list,
    sample::{record, version},
    seconds, wait_for,
};

const ROWS: u64 = 300;

struct Desk {
    federation: Federation,
    port: u16,
}

impl Desk {
    fn open() -> Self {
        let federation = Federation::new(ALONE);
        let port = free_port();
        federation.configure(COUNTY, &format!("http = \"127.0.0.1:{port}\""));
        federation.start(COUNTY);
        Self { federation, port }
    }

    /// Rows that were known since the start.
    fn known(&self) -> u64 {
        let told = request(self.port, "GET", "/metrics", None, &Body::None).body;
        let line = told.lines().find_map(|l| l.strip_prefix("tally_ingest_known_total "));
        line.unwrap_or_else(|| panic!("{told}")).parse().unwrap()
    }

    fn restart(&mut self) {
        self.federation.stop(COUNTY);
        self.federation.start(COUNTY);
        // A status waits for the index, which says what is held.
        self.federation.count(COUNTY);
    }

    /// What is said of the file, but for the name of the answer.
    fn again(&self, name: &str, bytes: &[u8]) -> Value {
        let handed = hand_in(&self.federation, name, bytes, &["--unit", UNIT_CODE]);
        self.federation.count(COUNTY);
        let of = |field: &str| handed.answer[field].clone();
        Value::Array(["read", "accepted", "duplicate", "rejected", "questions", "errors", "notes"].map(of).to_vec())
    }

    fn change(&self, lines: &str) {
        let (code, answer) = self.federation.ingest(COUNTY, lines);
        assert!([0, 3].contains(&code) && answer["accepted"] != 0, "{answer}");
        self.federation.count(COUNTY);
    }
}

type Change = Box<dyn Fn(&Desk)>;

fn lines() -> String {
    (0..ROWS).fold(String::new(), |mut all, n| {
        let _ = writeln!(all, "{}", record(n, COUNTY));
        all
    })
}

/// Whatever has come in between, the answer is that of a node that knows no row.
#[test]
fn a_row_that_is_known_is_answered_as_one_that_is_read() {
    let mut desk = Desk::open();
    let (file, table) = (lines(), Sheet::licenses(0..100).csv());
    desk.change(&file);
    assert_eq!(desk.again("table.csv", table.as_bytes())[1], 100);
    let in_form = |n: u64, form: &str| version(n, COUNTY, "create", "1").replace(&format!("-{n}号"), form);
    let changes: [(&str, Change); 6] = [
        ("nothing", Box::new(|_| {})),
        ("an amendment", Box::new(|d| d.change(&version(1, COUNTY, "amend", "2")))),
        ("a withdrawal", Box::new(|d| d.change(&version(2, COUNTY, "withdraw", "1")))),
        ("a number in another form", Box::new(move |d| d.change(&in_form(3, "－３号")))),
        ("a subject that is registered", Box::new(|d| register(d, SUBJECT, "2025-06-03"))),
        ("a subject that is called otherwise", Box::new(|d| register(d, "福州榕盛餐饮有限公司", "2025-07-03"))),
    ];
    for (what, change) in changes {
        // Known, as long as nothing has come.
        let before = desk.known();
        for (name, bytes) in [("file.ndjson", file.as_bytes()), ("table.csv", table.as_bytes())] {
            desk.again(name, bytes);
            desk.again(name, bytes);
        }
        wait_for("rows are known", seconds(20), || (desk.known() >= before + ROWS).then_some(()));
        change(&desk);
        let told = [desk.again("file.ndjson", file.as_bytes()), desk.again("table.csv", table.as_bytes())];
        desk.restart();
        let read = [desk.again("file.ndjson", file.as_bytes()), desk.again("table.csv", table.as_bytes())];
        assert_eq!(told, read, "{what}");
        assert_eq!((&told[0][0], &told[0][1]), (&ROWS.into(), &0.into()), "{what}: {told:?}");
    }
    // The last one is asked about in every row.
    assert!(!list(&desk.again("file.ndjson", file.as_bytes())[5]).is_empty());
}

/// F7: what stands before a known row in its own file is not held yet when that row is known.
#[test]
fn what_stands_before_a_known_row_in_its_file_is_seen() {
    let (knows, mut reads) = (Desk::open(), Desk::open());
    let file = lines();
    for desk in [&knows, &reads] {
        desk.change(&file);
        desk.again("file.ndjson", file.as_bytes());
    }
    reads.restart();
    let before = knows.known();
    wait_for("rows are known", seconds(20), || {
        knows.again("file.ndjson", file.as_bytes());
        (knows.known() >= before + ROWS).then_some(())
    });
    let of = |n: u64| record(n, COUNTY);
    let (withdraw, form) = (
        |n: u64| version(n, COUNTY, "withdraw", "1"),
        |n: u64, form: &str| version(n, COUNTY, "create", "1").replace(&format!("-{n}号"), form),
    );
    // So many known rows between them that they are not judged together, but while the first is on its way.
    let others = || (20..ROWS).cycle().take(500).map(of).collect::<Vec<_>>().join("\n");
    for (what, lines) in [
        ("a withdrawal", [withdraw(2), of(2)].join("\n")),
        ("a withdrawal far before", [withdraw(3), others(), of(3)].join("\n")),
        ("a number in another form", [form(5, "－５号"), of(5)].join("\n")),
        ("a number in another form far before", [form(6, "－６号"), others(), of(6)].join("\n")),
        ("one behind it", [of(7), withdraw(7)].join("\n")),
    ] {
        let [told, read] = [&knows, &reads].map(|desk| desk.again("again.ndjson", lines.as_bytes()));
        assert_eq!(told, read, "{what}");
        assert_eq!(told[1], 1, "{what}: {told}");
        let said = list(&told[5]).len() + list(&told[6]).len();
        assert!(said > 0 || what == "one behind it", "{what}: {told}");
    }
}

fn register(desk: &Desk, name: &str, day: &str) {
    let base = Sheet::registration(name, SUBJECT_CODE, day);
    let handed = hand_in(&desk.federation, "base.csv", base.csv().as_bytes(), &["--unit", UNIT_CODE]);
    assert_eq!(handed.counts(), [1, 1, 0, 0], "{handed:?}");
    desk.federation.count(COUNTY);
}
