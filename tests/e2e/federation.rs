//! What a federation of running nodes promises, seen from outside.

use serde_json::Value;
use std::{collections::BTreeSet, fs};
use tally_tests::{
    CITY, COUNTY, FEDERATION, Federation, LINE, NEIGHBOUR, PROVINCE, Plan, Ran, find, free_port,
    http::{Body, request},
    list, origin, run,
    sample::{key, record, records, version, write_records},
    seconds, shipped, wait_for,
};

const TREE: &[Plan<'static>] = &[LINE[0], LINE[1], LINE[2], (NEIGHBOUR, "county", Some(CITY))];
const ALL: &[&str] = &[PROVINCE, CITY, COUNTY, NEIGHBOUR];
const PINGTAN: &str = "350128";
const NEWCOMER: &str = "350104";

fn ids(lines: &[Value]) -> Vec<String> {
    lines.iter().map(|l| l["_tally"]["id"].as_str().unwrap().to_owned()).collect()
}

fn is_time(value: &Value) -> bool {
    value.as_str().is_some_and(|t| t.len() >= 20 && &t[10..11] == "T" && (t.ends_with('Z') || t[19..].contains('+')))
}

/// Waits until a log's receipt of `holder` covers `size` records.
fn receipted(federation: &Federation, at: &str, log: &str, holder: &str, size: u64) -> Value {
    wait_for(&format!("receipt of {holder} for {log} at {at}"), seconds(60), || {
        let status = federation.status(at);
        let receipt = find(&find(&status["logs"], "log", &origin(log))["receipts"], "holder", holder);
        (receipt["size"] == size).then(|| receipt.clone())
    })
}

#[test]
fn three_levels_converge_and_receipts_come_down() {
    let federation = Federation::running(TREE);
    for (division, n) in [(COUNTY, 300), (NEIGHBOUR, 200), (CITY, 20), (PROVINCE, 10)] {
        federation.enter(division, 0..n);
    }
    federation.wait_converged(ALL, seconds(60));
    for (division, n) in [(COUNTY, 300), (NEIGHBOUR, 200), (CITY, 520), (PROVINCE, 530)] {
        assert_eq!(federation.count(division), n, "{division}");
    }
    for (holder, level) in [(CITY, "prefecture"), (PROVINCE, "province")] {
        let receipt = receipted(&federation, COUNTY, COUNTY, holder, 300);
        assert!(receipt["level"] == level && is_time(&receipt["time"]), "{receipt}");
    }
    let county = wait_for("the county's parent confirms", seconds(30), || {
        let status = federation.status(COUNTY);
        (status["parent"]["state"] == "live" && status["parent"]["oldest_unacked"].is_null()).then_some(status)
    });
    let node = &county["node"];
    assert!(node["division"] == COUNTY && node["level"] == "county" && node["epoch"] == 1, "{node}");
    assert!(is_time(&county["parent"]["last_ack"]), "{county}");
    // That the calendar of the charter ends is true of every node, and of the day on which this runs.
    assert!(list(&county["actions"]).iter().all(|a| a["code"] == "calendar_ends"), "{county}");
    let own = find(&county["logs"], "log", &origin(COUNTY));
    assert!(own["state"] == "ok" && own["size"] == 300 && own["records"] == 300, "{own}");
    for above in [CITY, PROVINCE] {
        let status = federation.status(above);
        assert_eq!(find(&status["logs"], "log", &origin(COUNTY))["root"], own["root"], "{above}");
    }
    for (parent, children) in [(PROVINCE, &[CITY][..]), (CITY, &[COUNTY, NEIGHBOUR])] {
        wait_for("children are live and agree", seconds(30), || {
            let status = federation.status(parent);
            let good = |c: &&str| {
                let child = find(&status["children"], "division", c);
                child["state"] == "live" && child["agrees"] == true && child["behind_records"] == 0
            };
            children.iter().all(good).then_some(())
        });
    }
    assert!(federation.status(PROVINCE)["parent"].is_null());
}

#[test]
fn an_export_at_the_top_is_the_union_of_those_below() {
    let federation = Federation::running(TREE);
    for (division, n) in [(COUNTY, 150), (NEIGHBOUR, 120), (CITY, 30), (PROVINCE, 20)] {
        federation.enter(division, 0..n);
    }
    federation.wait_converged(ALL, seconds(60));
    let top = federation.export(PROVINCE, &[]);
    let held = ids(&top);
    assert!(held.is_sorted() && held.len() == 320, "{} lines", held.len());
    for line in &top {
        let t = &line["_tally"];
        let good = t["log"].is_string() && t["index"].is_u64() && is_time(&t["sealed_at"]);
        assert!(good && t["attested"].is_null(), "{line}");
    }
    let text = |at: &&str| federation.export_text(at, &[]).lines().map(str::to_owned).collect::<BTreeSet<_>>();
    let own = format!("\"log\":\"{}\"", origin(PROVINCE));
    let (own, from_below): (BTreeSet<_>, BTreeSet<_>) = text(&PROVINCE).into_iter().partition(|l| l.contains(&own));
    assert_eq!(own.len(), 20);
    assert!(from_below == ALL[1..].iter().flat_map(text).collect(), "the same lines, byte for byte");
    let of_county = ids(&federation.export(COUNTY, &[]));
    assert_eq!(ids(&federation.export(PROVINCE, &["--division", COUNTY])), of_county);
    assert_eq!(federation.export(PROVINCE, &["--division", CITY]).len(), 300);
    assert_eq!(federation.export(PROVINCE, &["--category", "spot_check"]).len(), 320);
    assert!(federation.export(PROVINCE, &["--category", "admin_penalty"]).is_empty());
    assert!(federation.export(PROVINCE, &["--since", "2199-01-01"]).is_empty());
    assert_eq!(federation.export(PROVINCE, &["--since", "2020-01-01T00:00:00Z"]).len(), 320);
}

#[test]
fn a_file_handed_in_again_changes_nothing() {
    const N: u64 = 20_000;
    let federation = Federation::running(LINE);
    let file = federation.at("records.ndjson");
    write_records(&file, 0..N, COUNTY);
    let (code, first) = federation.ingest_file(COUNTY, &file);
    assert!(code == 0 && first["accepted"] == N && first["duplicate"] == 0, "{code} {first}");
    assert!(first["from"] == 0 && first["to"] == N && first["log"] == origin(COUNTY), "{first}");
    federation.wait_converged(&ALL[..3], seconds(120));
    receipted(&federation, COUNTY, COUNTY, PROVINCE, N);
    let before = (federation.status(COUNTY)["digest"].clone(), federation.journal_bytes(COUNTY));
    let (code, again) = federation.ingest_file(COUNTY, &file);
    assert!(code == 0 && again["accepted"] == 0 && again["duplicate"] == N && again["read"] == N, "{code} {again}");
    assert!(again["from"].is_null() && again["to"].is_null(), "{again}");
    let after = (federation.status(COUNTY)["digest"].clone(), federation.journal_bytes(COUNTY));
    assert_eq!((&before.0, federation.count(COUNTY)), (&after.0, N));
    println!("journal: {} bytes, {} after the same file again", before.1, after.1);
    assert!(before.1 > 0 && (after.1 - before.1) * 100 < before.1, "{} -> {} bytes", before.1, after.1);
}

#[test]
fn a_record_that_came_two_ways_counts_once() {
    let federation = Federation::running(LINE);
    federation.enter(COUNTY, 0..3);
    let (code, answer) = federation.ingest(CITY, &records(1..2, COUNTY));
    assert!(code == 0 && answer["accepted"] == 1, "{answer}");
    federation.wait_converged(&ALL[..3], seconds(60));
    for above in [CITY, PROVINCE] {
        assert_eq!(federation.count(above), 3, "{above}");
        let lines = federation.export(above, &[]);
        assert_eq!(lines.len(), 3);
        let twice: Vec<_> = lines.iter().filter(|l| !l["_tally"]["attested"].is_null()).collect();
        assert!(twice.len() == 1 && twice[0]["business_key"] == key(1, COUNTY), "{lines:?}");
        let attested = list(&twice[0]["_tally"]["attested"]);
        let mut logs: Vec<_> = attested.iter().map(|a| a["log"].as_str().unwrap()).collect();
        logs.sort_unstable();
        assert_eq!(logs, [origin(CITY), origin(COUNTY)]);
    }
    assert!(federation.export(COUNTY, &[]).iter().all(|l| l["_tally"]["attested"].is_null()));
}

/// Produced in one county, submitted by a unit of another: either is a right door, and it is one record.
#[test]
fn a_record_of_two_counties_counts_once_and_is_attested_twice() {
    let federation = Federation::running(TREE);
    let shared = record(1, COUNTY).replacen(
        &format!("\"submitter_division\":\"{COUNTY}\""),
        &format!("\"submitter_division\":\"{NEIGHBOUR}\""),
        1,
    );
    assert!(shared.contains(NEIGHBOUR), "{shared}");
    for county in [COUNTY, NEIGHBOUR] {
        let (code, answer) = federation.ingest(county, &shared);
        assert!(code == 0 && answer["accepted"] == 1, "{answer}");
    }
    federation.wait_converged(ALL, seconds(60));
    assert_eq!(federation.count(CITY), 1);
    let lines = federation.export(CITY, &[]);
    let logs: Vec<_> = list(&lines[0]["_tally"]["attested"]).iter().map(|a| a["log"].as_str().unwrap()).collect();
    assert_eq!((lines.len(), logs), (1, vec![&*origin(COUNTY), &*origin(NEIGHBOUR)]));
}

#[test]
fn an_export_has_the_current_version_and_the_history() {
    let federation = Federation::running(LINE);
    let enter = |operation: &str, result: &str| {
        let (code, answer) = federation.ingest(COUNTY, &version(1, COUNTY, operation, result));
        assert!(code == 0 && answer["accepted"] == 1, "{answer}");
    };
    federation.enter(COUNTY, 7..8);
    enter("create", "1");
    enter("amend", "5");
    let current = |at: &str| {
        let lines = federation.export(at, &[]);
        let of_key = lines.into_iter().filter(|l| l["business_key"] == key(1, COUNTY));
        of_key.map(|l| l["check_result"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    federation.wait_converged(&ALL[..3], seconds(60));
    for at in &ALL[..3] {
        assert_eq!(current(at), ["5"], "{at}");
    }
    enter("withdraw", "5");
    federation.wait_converged(&ALL[..3], seconds(60));
    for at in &ALL[..3] {
        assert!(current(at).is_empty(), "{at}");
        assert_eq!(federation.export(at, &[]).len(), 1, "{at}: the other key stays");
        assert_eq!(federation.export(at, &["--history"]).len(), 4, "{at}");
    }
}

#[test]
fn rows_that_cannot_be_taken_are_named() {
    let federation = Federation::running(TREE);
    let good = record(1, COUNTY);
    let bad = [
        (3, "S001", "", "{".to_owned()),
        (
            4,
            "V004",
            "produced_on",
            record(2, COUNTY).replace("\"produced_on\":\"2025-06-03\"", "\"produced_on\":\"2025-02-30\""),
        ),
        (5, "V001", "subject_name", record(3, COUNTY).replace("\"subject_name\"", "\"other_name\"")),
        (6, "V017", "submitter_division", record(4, NEIGHBOUR)),
    ];
    // The second line is blank: it is no row, but it counts as a line.
    let rows: Vec<_> = bad.iter().map(|(.., row)| row.as_str()).collect();
    let (code, answer) = federation.ingest(COUNTY, &format!("{good}\n\n{}\n{good}\n", rows.join("\n")));
    assert_eq!(code, 3, "{answer}");
    let count = |field: &str| answer[field].as_u64().unwrap();
    assert_eq!([count("read"), count("accepted"), count("duplicate"), count("rejected")], [6, 1, 1, 4]);
    let errors = list(&answer["errors"]);
    assert_eq!(errors.len(), bad.len(), "{answer}");
    for (error, (line, code, field, _)) in errors.iter().zip(&bad) {
        assert!(error["line"] == *line && error["code"] == *code && error["field"] == *field, "{error}");
        let told =
            ["severity", "message", "message_zh"].iter().all(|f| error[f].as_str().is_some_and(|t| !t.is_empty()));
        assert!(told, "{error}");
    }
    let (code, answer) = federation.ingest_file(COUNTY, &shipped("deploy/samples/gulou.ndjson"));
    let count = |field: &str| answer[field].as_u64().unwrap();
    assert_eq!((code, [count("read"), count("accepted"), count("duplicate"), count("rejected")]), (3, [12, 8, 1, 3]));
    assert_eq!(federation.count(COUNTY), 9);
}

#[test]
fn the_index_can_be_deleted_and_no_answer_changes() {
    let federation = Federation::running(LINE);
    federation.enter(COUNTY, 0..2_000);
    federation.enter(CITY, 0..50);
    federation.ingest(CITY, &records(10..20, COUNTY));
    federation.wait_converged(&ALL[..3], seconds(60));
    let answers = |at: &str| {
        let status = federation.status(at);
        let logs = list(&status["logs"]).iter().map(|l| (l["log"].clone(), l["size"].clone(), l["root"].clone()));
        let export = federation.export_text(at, &["--history"]);
        (status["records"].clone(), status["digest"].clone(), logs.collect::<Vec<_>>(), export)
    };
    let before: Vec<_> = ALL[..3].iter().map(|d| answers(d)).collect();
    for (division, before) in ALL.iter().zip(&before) {
        federation.stop(division);
        fs::remove_dir_all(federation.file(division, "data/index")).unwrap();
        federation.start(division);
        wait_for("the index is built again", seconds(60), || federation.status(division)["records"].as_u64());
        assert!(answers(division) == *before, "{division}");
    }
}

#[test]
fn exit_codes_tell_what_happened() {
    let federation = Federation::new(LINE);
    let code = |ran: Ran| (ran.code, ran.out.is_empty());
    let config = federation.config(COUNTY);
    for args in [&["status", "--json"][..], &["export"], &["ingest", "-", "--json"]] {
        assert_eq!(code(federation.ask(COUNTY, args)), (7, true), "{args:?}: nobody runs");
    }
    for args in
        [&["status"][..], &["nonsense"], &["ingest", "--config", &config], &["status", "--config", &config, "-x"]]
    {
        assert_eq!(run(args).code, 2, "{args:?}");
    }
    let text = fs::read_to_string(&config).unwrap();
    federation.configure(COUNTY, "colour = \"red\"\n");
    let told = federation.ask(COUNTY, &["status", "--json"]);
    assert!(told.code == 78 && told.err.contains("colour") && told.out.is_empty(), "{told:?}");
    assert_eq!(federation.refused(COUNTY), 78);
    fs::write(&config, text).unwrap();
    assert_eq!(run(&["status", "--config", &federation.at("nowhere.toml")]).code, 78);

    let note = federation.file(COUNTY, "charter.note");
    let good = fs::read_to_string(&note).unwrap();
    federation.authority_key("other.key");
    let foreign = federation.charter(1, "other.key");
    federation.install(COUNTY, &foreign);
    assert_eq!(federation.refused(COUNTY), 6, "a charter of another authority");
    fs::write(&note, good).unwrap();
    federation.new_secret(COUNTY);
    assert_eq!(federation.refused(COUNTY), 6, "a key that is not the charter's");

    federation.start(PROVINCE);
    assert!(federation.status(PROVINCE)["node"].is_object());
    assert_eq!(code(federation.ask(PROVINCE, &["charter", "load", &foreign])), (6, true));
    let (code, answer) = federation.ingest(PROVINCE, &(record(1, PROVINCE) + "\n{\n"));
    assert!(code == 3 && answer["read"] == 2 && answer["rejected"] == 1, "{answer}");
}

#[test]
fn a_new_charter_reaches_all_while_they_run() {
    let mut federation = Federation::running(LINE);
    federation.enter(COUNTY, 0..10);
    federation.enroll((NEWCOMER, "county", Some(CITY)));
    let same = federation.charter(1, "authority.key");
    let refused = federation.ask(PROVINCE, &["charter", "load", &same]);
    assert!(refused.code == 6 && refused.out.is_empty(), "{refused:?}");
    let next = federation.charter(2, "authority.key");
    federation.ask(PROVINCE, &["charter", "load", &next]).done();
    for division in &ALL[..3] {
        wait_for("the charter arrives", seconds(30), || {
            (federation.status(division)["charter_version"] == 2).then_some(())
        });
    }
    federation.install(NEWCOMER, &next);
    federation.start(NEWCOMER);
    federation.enter(NEWCOMER, 0..40);
    federation.wait_converged(&[PROVINCE, CITY, COUNTY, NEWCOMER], seconds(60));
    assert_eq!([PROVINCE, CITY].map(|d| federation.count(d)), [50, 50]);
    // Its own copy of the file is still the first; what it was told counts.
    federation.stop(CITY);
    federation.start(CITY);
    assert_eq!(federation.status(CITY)["charter_version"], 2);
    federation.enter(NEWCOMER, 40..50);
    federation.wait_converged(&[PROVINCE, CITY, COUNTY, NEWCOMER], seconds(60));
}

#[test]
fn pingtan_reports_to_the_province_itself() {
    let plan: Vec<_> = LINE.iter().copied().chain([(PINGTAN, "prefecture", Some(PROVINCE))]).collect();
    let federation = Federation::running(&plan);
    federation.enter(PINGTAN, 0..25);
    federation.enter(COUNTY, 0..15);
    federation.wait_converged(&[PROVINCE, CITY, COUNTY, PINGTAN], seconds(60));
    assert_eq!(federation.status(PINGTAN)["parent"]["division"], PROVINCE);
    assert_eq!([PROVINCE, CITY, PINGTAN].map(|d| federation.count(d)), [40, 15, 25]);
    let city = federation.status(CITY);
    assert!(find(&city["logs"], "log", &origin(PINGTAN)).is_null(), "{city}");
    assert!(federation.export(CITY, &[]).iter().all(|l| l["producer_division"] != PINGTAN));
    assert_eq!(find(&federation.status(PROVINCE)["logs"], "log", &origin(PINGTAN))["size"], 25);
    let (code, answer) = federation.ingest(CITY, &record(99, PINGTAN));
    assert!(code == 3 && answer["errors"][0]["code"] == "V017", "{answer}");
}

#[test]
fn departments_hand_in_over_http_with_a_token() {
    let federation = Federation::new(LINE);
    let port = free_port();
    let made = run(&["keygen", "--token", "卫健委"]);
    let secret = made.err.split_whitespace().last().unwrap();
    federation.configure(COUNTY, &format!("http = \"127.0.0.1:{port}\"\n{}", made.out));
    let city = free_port();
    federation.configure(CITY, &format!("http = \"127.0.0.1:{city}\"\n"));
    for (division, ..) in LINE {
        federation.start(division);
    }
    let get = |path: &str, token| request(port, "GET", path, token, &Body::None);
    for path in ["/healthz", "/metrics"] {
        assert_eq!(get(path, None).status, 200, "{path}");
    }
    wait_for("the node is ready for records", seconds(30), || (get("/readyz", None).status == 200).then_some(()));
    let lines = records(0..3, COUNTY);
    for (token, body) in [(None, Body::Sized(&lines)), (Some("wrong"), Body::Chunked(&lines, 100))] {
        let refused = request(port, "POST", "/v1/records", token, &body);
        assert!(refused.status == 401 && refused.is("application/problem+json"), "{refused:?}");
        assert!(refused.json()["status"] == 401 && refused.json()["code"].is_string(), "{refused:?}");
    }
    for path in ["/v1/status", "/v1/export", "/v1/charter"] {
        assert_eq!(get(path, None).status, 401, "{path}");
    }
    let answer = request(port, "POST", "/v1/records", Some(secret), &Body::Sized(&lines));
    assert!(answer.status == 200 && answer.json()["accepted"] == 3, "{answer:?}");
    let lines = records(2..9, COUNTY);
    let answer = request(port, "POST", "/v1/records", Some(secret), &Body::Chunked(&lines, 100));
    assert!(answer.status == 200 && answer.json()["accepted"] == 6 && answer.json()["duplicate"] == 1, "{answer:?}");
    assert_eq!(get("/v1/status", Some(secret)).json()["records"], 9);
    assert_eq!(get("/v1/export", Some(secret)).body, federation.export_text(COUNTY, &[]));
    assert!(get("/v1/charter", Some(secret)).body.contains(FEDERATION));
    // What is shown to all is made once a second at most.
    wait_for("the metrics", seconds(10), || {
        get("/metrics", None).body.contains("tally_ingest_accepted_total 9").then_some(())
    });
    assert_eq!(get("/nowhere", Some(secret)).status, 404);
    assert_eq!(
        request(port, "POST", "/v1/charter", Some(secret), &Body::Sized("x")).status,
        405,
        "the operator's only"
    );
    federation.wait_converged(&ALL[..3], seconds(60));
    assert_eq!(federation.count(PROVINCE), 9);

    // What the alerts look at is told: by a node that has a parent and one below, and was compared and verified.
    federation.assert_verified(CITY);
    assert_eq!(federation.reconcile(CITY, "all", &[]).code, 0);
    let rules = fs::read_to_string(shipped("deploy/prometheus/tally.rules.yml")).unwrap();
    let names = rules.split(|c: char| !(c.is_ascii_lowercase() || c == '_')).filter(|n| n.starts_with("tally_"));
    let names: BTreeSet<&str> = names.collect();
    assert!(names.len() > 20, "{names:?}");
    let missing = || {
        let metrics = request(city, "GET", "/metrics", None, &Body::None).body;
        let told = |name: &&str| !metrics.contains(&format!("# TYPE {} ", name.trim_end_matches("_total")));
        names.iter().copied().filter(told).collect::<Vec<&str>>()
    };
    // Nothing waits, so nothing has an age.
    let none = ["tally_node_oldest_waiting_seconds"];
    wait_for("every series of the alerts", seconds(30), || (missing() == none).then_some(()));
}
