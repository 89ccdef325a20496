//! The door over HTTP: what a department's program may send, repeat, and not do.

use super::sheet::{ALONE, SUBJECT_CODE, Sheet, UNIT_CODE, counts, unharmed};
use serde_json::Value;
use tally_tests::{
    COUNTY, Federation, free_port,
    http::{Body, Response, request},
    list, run,
};

struct Door {
    federation: Federation,
    port: u16,
    tokens: Vec<String>,
}

type Lines<'l> = &'l [(&'l str, &'l str)];
const CSV: (&str, &str) = ("Content-Type", "text/csv");

impl Door {
    /// With one token for each of these limits.
    fn open(limits: &[&str]) -> Self {
        let federation = Federation::new(ALONE);
        let (port, mut tokens) = (free_port(), Vec::new());
        federation.configure(COUNTY, &format!("http = \"127.0.0.1:{port}\"\n"));
        for (i, limit) in limits.iter().enumerate() {
            let made = run(&["keygen", "--token", &format!("局{i}")]);
            federation.configure(COUNTY, &format!("{}{limit}\n", made.out));
            tokens.push(made.err.split_whitespace().last().unwrap().to_owned());
        }
        federation.start(COUNTY);
        Self { federation, port, tokens }
    }

    fn post(&self, token: usize, query: &str, lines: Lines<'_>, bytes: &[u8]) -> Response {
        let path = format!("/v1/records{query}");
        request(self.port, "POST", &path, Some(&self.tokens[token]), &Body::Bytes(bytes, lines))
    }

    /// The answer to what is read.
    fn taken(&self, token: usize, lines: Lines<'_>, bytes: &[u8]) -> Value {
        let response = self.post(token, "", lines, bytes);
        assert!(response.status == 200 && response.is("application/json"), "{response:?}");
        counts(&response.json());
        response.json()
    }

    fn refused(&self, response: &Response, status: u16, code: &str) {
        assert!(response.status == status && response.is("application/problem+json"), "{response:?}");
        let problem = response.json();
        assert!(problem["code"] == code && problem["status"] == status && problem["detail"].is_string(), "{problem}");
    }
}

#[test]
fn the_content_type_says_what_it_is_and_the_content_decides() {
    let door = Door::open(&[""]);
    let sheet = Sheet::licenses(0..3);
    let csv = sheet.csv();
    assert_eq!(counts(&door.taken(0, &[CSV], csv.as_bytes())), [3, 3, 0, 0]);
    let (gb, _, _) = encoding_rs::GB18030.encode(&csv);
    let tsv = sheet.text('\t', "\n");
    for (kind, bytes) in [
        ("text/csv; charset=gb18030", &*gb),
        ("text/tab-separated-values", tsv.as_bytes()),
        ("TEXT/CSV", csv.as_bytes()),
        ("application/vnd.openxmlformats-officedocument.spreadsheetml.sheet", csv.as_bytes()),
    ] {
        assert_eq!(counts(&door.taken(0, &[("Content-Type", kind)], bytes)), [3, 0, 3, 0], "{kind}");
    }
    let response = door.post(0, "?format=csv&category=admin_license", &[], csv.as_bytes());
    assert_eq!(counts(&response.json()), [3, 0, 3, 0], "{response:?}");
    for (query, lines, status, code) in [
        ("", &[("Content-Type", "application/pdf")][..], 415, "media_type"),
        ("?format=pdf", &[CSV], 400, "bad_parameter"),
        ("?colour=red", &[CSV], 400, "bad_parameter"),
        ("?division=Fuzhou", &[CSV], 400, "bad_parameter"),
        ("?category=weather", &[CSV], 422, "no_category"),
        ("?category=admin_penalty", &[CSV], 200, ""),
    ] {
        let response = door.post(0, query, lines, csv.as_bytes());
        match status {
            200 => assert_eq!(counts(&response.json())[3], 3, "a licence is no penalty: {response:?}"),
            _ => door.refused(&response, status, code),
        }
    }
    door.refused(&door.post(0, "", &[CSV], b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"), 422, "old_excel");
    door.refused(&door.post(0, "", &[CSV], b""), 422, "empty");
    // A large body that is refused at once still gets its answer.
    let pdf = [b"%PDF-1.7\n".to_vec(), vec![b'x'; 30 << 20]].concat();
    door.refused(&door.post(0, "", &[CSV], &pdf), 422, "no_table");
    unharmed(&door.federation);
}

#[test]
fn a_key_makes_a_submission_repeatable() {
    let door = Door::open(&["", ""]);
    let (first, other) = (Sheet::licenses(0..3).with(1, "当前状态", "8").csv(), Sheet::licenses(3..5).csv());
    let key = ("Idempotency-Key", "20251126-局-1");
    let key = (key.0, key.1.replace('局', "ju"));
    let with: Lines<'_> = &[CSV, (key.0, &key.1)];
    let given = door.taken(0, with, first.as_bytes());
    assert_eq!(counts(&given), [3, 2, 0, 1], "{given}");
    let mut again = door.taken(0, with, first.as_bytes());
    let repeated = again.as_object_mut().unwrap().remove("repeated");
    assert_eq!((repeated, &again), (Some(Value::Bool(true)), &given), "the same answer");
    door.refused(&door.post(0, "", with, other.as_bytes()), 422, "key_reused");
    assert_eq!(door.federation.count(COUNTY), 2);
    // Keys are the token's own.
    assert_eq!(counts(&door.taken(1, with, other.as_bytes())), [2, 2, 0, 0]);
    let long = "k".repeat(201);
    for bad in ["", &long, "键"] {
        door.refused(&door.post(0, "", &[CSV, ("Idempotency-Key", bad)], other.as_bytes()), 400, "bad_parameter");
    }
    // A submission that was refused has no answer to repeat.
    let refused = [CSV, ("Idempotency-Key", "k2")];
    door.refused(&door.post(0, "", &refused, b"a,b\n1,2\n"), 422, "no_heads");
    assert_eq!(counts(&door.taken(0, &refused, other.as_bytes())), [2, 0, 2, 0]);
    // It is kept over a restart.
    door.federation.stop(COUNTY);
    door.federation.start(COUNTY);
    let mut again = door.taken(0, with, first.as_bytes());
    again.as_object_mut().unwrap().remove("repeated");
    assert_eq!(again, given);
    unharmed(&door.federation);
}

#[test]
fn a_token_is_for_what_it_is_limited_to() {
    let unit = format!("unit = \"{UNIT_CODE}\"");
    let door = Door::open(&[
        &unit,
        "unit = \"113501020036116248\"",
        "divisions = [350103]",
        "categories = [\"admin_penalty\"]",
        "",
    ]);
    let sheet = Sheet::licenses(0..2);
    let csv = sheet.csv();
    for (token, field) in [(1, "submitter_uscc"), (2, "producer_division"), (3, "category")] {
        let answer = door.taken(token, &[CSV], csv.as_bytes());
        assert_eq!(counts(&answer), [2, 0, 0, 2], "{answer}");
        for e in list(&answer["errors"]) {
            assert!(e["code"] == "V016" && e["field"] == field && e["severity"] == "reject", "{e}");
            super::sheet::in_both_languages(e);
        }
        let id = answer["answer"].as_str().unwrap();
        let get =
            |t: usize| request(door.port, "GET", &format!("/v1/answers/{id}"), Some(&door.tokens[t]), &Body::None);
        assert_eq!(get(token).status, 200);
        door.refused(&get(0), 404, "no_answer");
        let ids = request(door.port, "GET", "/v1/answers", Some(&door.tokens[0]), &Body::None);
        assert!(list(&ids.json()).is_empty(), "others' answers are not listed: {ids:?}");
    }
    // What a row leaves unsaid, the token says.
    let mut short = sheet.clone();
    for head in ["数据来源单位", "数据来源单位统一社会信用代码"] {
        let at = short.heads.iter().position(|h| h == head).unwrap();
        std::iter::once(&mut short.heads).chain(&mut short.rows).for_each(|r| drop(r.remove(at)));
    }
    assert_eq!(counts(&door.taken(0, &[CSV], short.csv().as_bytes()))[1..], [2, 0, 0]);
    // A parameter is no way around the limit.
    let response = door.post(1, &format!("?unit={UNIT_CODE}"), &[CSV], short.csv().as_bytes());
    assert_eq!(counts(&response.json()), [2, 0, 0, 2], "{response:?}");
    for path in ["/v1/answers/..%2f..%2ftally.toml", "/v1/answers/x.csv", "/v1/answers/350102-20200101-0001.xlsx"] {
        let response = request(door.port, "GET", path, Some(&door.tokens[4]), &Body::None);
        door.refused(&response, 404, "no_answer");
    }
    assert_eq!(request(door.port, "GET", "/v1/answers", None, &Body::None).status, 401);
    assert!(door.federation.export(COUNTY, &[]).iter().all(|r| r["subject_uscc"] == SUBJECT_CODE));
    unharmed(&door.federation);
}

/// A client that sends everything before it listens: the reason must reach it all the same.
#[test]
fn a_refusal_amid_an_upload_reaches_the_client() {
    let door = Door::open(&[""]);
    let large = vec![b'\n'; 32 << 20];
    door.refused(&door.post(0, "?format=pdf", &[CSV], &large), 400, "bad_parameter");
    let unknown = request(door.port, "POST", "/v1/records", Some("nobody"), &Body::Bytes(&large, &[CSV]));
    door.refused(&unknown, 401, "no_token");
    let nowhere = request(door.port, "POST", "/v1/nowhere", None, &Body::Bytes(&large, &[CSV]));
    door.refused(&nowhere, 404, "not_found");
    let file = door.federation.file(COUNTY, "large.csv");
    std::fs::write(&file, &large).unwrap();
    let config = door.federation.config(COUNTY);
    let unknown = run(&["compare", &file, "--unit", UNIT_CODE, "--category", "weather", "--config", &config]);
    assert!(unknown.code == 2 && unknown.err.contains("spot_check"), "{unknown:?}");
}
