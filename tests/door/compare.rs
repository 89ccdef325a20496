//! A department's full export against what is held: what is found, and what becomes of it.

use serde_json::{Value, json};
use std::{
    collections::BTreeMap,
    fs,
    io::Write as _,
    process::{Command, Stdio},
};
use tally_tests::{
    COUNTY, Federation, PROVINCE, Plan, Ran, find, free_port,
    http::{Body, request},
    list, origin,
    sample::{key, record, version},
    tally,
};

const UNIT: &str = "113501020036012589";
const PERSONAL: &str = "350102199001011237";
const OTHER_PERSON: &str = "350102198505052318";
const PLAN: &[Plan<'static>] = &[(PROVINCE, "province", None), (COUNTY, "county", Some(PROVINCE))];

/// One node; a parent is not needed for this.
fn county() -> Federation {
    Federation::running(&[(COUNTY, "county", None)])
}

fn compare(f: &Federation, file: &str, category: &str, more: &[&str]) -> Ran {
    f.ask(COUNTY, &[&["compare", file, "--json", "--unit", UNIT, "--category", category], more].concat())
}

/// Exit code, and counts: same, missing here, different, unknown there, rejected.
fn counts(ran: &Ran) -> (i32, [u64; 5]) {
    let answer = ran.json();
    let n = |v: &Value| v.as_u64().unwrap_or_else(|| panic!("{ran:?}"));
    let of = |class: &str| n(&answer[class]["count"]);
    let all = [n(&answer["same"]), of("missing_here"), of("different"), of("unknown_there"), n(&answer["rejected"])];
    assert_eq!(all[..3].iter().sum::<u64>() + all[4] + n(&answer["repeated"]), n(&answer["read"]), "{answer}");
    (ran.code, all)
}

fn write(f: &Federation, name: &str, lines: &[String]) -> String {
    let path = f.at(name);
    fs::write(&path, lines.join("\n") + "\n").unwrap();
    path
}

/// Current versions as an export has them, by business key, without what belongs to the node.
fn held(f: &Federation, category: &str) -> BTreeMap<String, Value> {
    let lines = f.export(COUNTY, &["--category", category]).into_iter();
    lines.map(|l| (l["business_key"].as_str().unwrap().to_owned(), content(l))).collect()
}

fn content(mut line: Value) -> Value {
    let o = line.as_object_mut().unwrap();
    for field in ["_tally", "amends", "operation", "catalog_version"] {
        o.remove(field);
    }
    line
}

fn contents(lines: &[String]) -> BTreeMap<String, Value> {
    let parsed = lines.iter().map(|l| serde_json::from_str::<Value>(l).unwrap());
    parsed.map(|l| (l["business_key"].as_str().unwrap().to_owned(), content(l))).collect()
}

#[test]
fn from_the_four_classes_to_the_same() {
    let f = county();
    f.enter(COUNTY, 0..20);
    // 0..15 as held, 15 with another result, 16 with a result that no list has, 17..20 gone, 30 and 31 new.
    let mut lines: Vec<String> = (0..15).map(|n| record(n, COUNTY)).collect();
    lines.push(version(15, COUNTY, "create", "2"));
    lines.push(version(16, COUNTY, "create", "nonsense"));
    lines.extend([record(30, COUNTY), version(31, COUNTY, "create", "2"), record(31, COUNTY)]);
    let file = write(&f, "full.ndjson", &lines);

    // Nothing was shown yet, so nothing is applied, whoever says yes.
    let refused = compare(&f, &file, "spot_check", &["--apply", "--yes"]);
    assert_eq!(refused.code, 2, "{refused:?}");
    assert!(refused.err.contains("--apply"), "{refused:?}");

    let dry = compare(&f, &file, "spot_check", &[]);
    assert_eq!(counts(&dry), (4, [15, 2, 1, 3, 1]));
    let answer = dry.json();
    assert_eq!((&answer["unit"], &answer["category"]), (&json!(UNIT), &json!("spot_check")));
    assert_eq!((&answer["division"], &answer["applied"]), (&Value::Null, &Value::Null));
    let missing = list(&answer["missing_here"]["rows"]);
    assert_eq!(missing[0], json!({"line": 18, "business_key": key(30, COUNTY)}));
    assert_eq!(missing[1], json!({"line": 20, "business_key": key(31, COUNTY)}));
    let different = &answer["different"]["records"][0];
    assert_eq!((&different["line"], &different["business_key"]), (&json!(16), &json!(key(15, COUNTY))));
    assert_eq!(different["fields"], json!([{"field": "check_result", "here": "1", "there": "2"}]));
    let exported = f.export(COUNTY, &[]);
    let of_key = |n: u64| exported.iter().find(|l| l["business_key"] == key(n, COUNTY)).unwrap();
    assert_eq!(different["id"], of_key(15)["_tally"]["id"]);
    for n in 17..20 {
        let gone = find(&answer["unknown_there"]["records"], "business_key", &key(n, COUNTY));
        let at = &of_key(n)["_tally"];
        assert_eq!(
            *gone,
            json!({"id": at["id"], "business_key": key(n, COUNTY), "log": origin(COUNTY), "index": at["index"]})
        );
    }
    let errors: Vec<_> =
        list(&answer["errors"]).iter().map(|e| (e["line"].as_u64().unwrap(), e["code"].clone())).collect();
    assert!(errors.contains(&(17, json!("V003"))) && errors.contains(&(19, json!("C003"))), "{errors:?}");
    assert_eq!(f.count(COUNTY), 20, "a dry run changes nothing");

    // No terminal to ask at; another file; other terms.
    assert_eq!(compare(&f, &file, "spot_check", &["--apply"]).code, 2);
    let other = write(&f, "other.ndjson", &lines[1..]);
    assert_eq!(compare(&f, &other, "spot_check", &["--apply", "--yes"]).code, 2);
    assert_eq!(compare(&f, &file, "spot_check", &["--division", COUNTY, "--apply", "--yes"]).code, 2);
    assert_eq!(f.count(COUNTY), 20);

    let applied = compare(&f, &file, "spot_check", &["--apply", "--yes"]);
    assert_eq!(counts(&applied), (3, [15, 2, 1, 3, 1]), "a row was rejected");
    let done = &applied.json()["applied"];
    let number = |field: &str| done[field].as_u64();
    assert_eq!((number("read"), number("accepted"), number("rejected")), (Some(6), Some(6), Some(0)), "{done}");
    assert_eq!((&done["log"], number("from"), number("to")), (&json!(origin(COUNTY)), Some(20), Some(26)));

    let again = compare(&f, &file, "spot_check", &[]);
    assert_eq!(counts(&again), (3, [18, 0, 0, 0, 1]), "only the row that is not in order is left");
    // What was applied has been: a second time there is nothing to apply it from but this new dry run.
    let again = compare(&f, &file, "spot_check", &["--apply", "--yes"]);
    assert_eq!((again.code, again.json()["applied"]["read"].as_u64()), (3, Some(0)));

    // The row put right: the export equals the file.
    lines[16] = record(16, COUNTY);
    lines.remove(18);
    let file = write(&f, "full.ndjson", &lines);
    assert_eq!(counts(&compare(&f, &file, "spot_check", &[])), (0, [19, 0, 0, 0, 0]));
    assert_eq!(held(&f, "spot_check"), contents(&lines));
    let history = f.export(COUNTY, &["--history"]);
    let withdrawn: Vec<_> = history.iter().filter(|l| l["operation"] == "withdraw").collect();
    assert_eq!(withdrawn.len(), 3);
    assert!(withdrawn.iter().all(|l| l["produced_on"] != "2025-06-03"), "withdrawn today: {withdrawn:?}");

    // What comes back is taken up again, although its very bytes are held.
    lines.push(record(17, COUNTY));
    let file = write(&f, "full.ndjson", &lines);
    assert_eq!(counts(&compare(&f, &file, "spot_check", &[])), (4, [19, 1, 0, 0, 0]));
    assert_eq!(compare(&f, &file, "spot_check", &["--apply", "--yes"]).code, 0);
    assert_eq!(counts(&compare(&f, &file, "spot_check", &[])), (0, [20, 0, 0, 0, 0]));
    assert_eq!(held(&f, "spot_check"), contents(&lines));
}

/// A licence as a department's own table has it.
fn licence(n: u64, person: &str, content: &str) -> String {
    format!(
        "鼓卫许〔2025〕{n}号,福州市某某有限公司,91350102MA2TE5T1X0,法人及非法人组织,陈志强,身份证,{person},食品经营许可决定书,普通,{content},2025-06-03,2025-06-03,2030-06-02,福州市鼓楼区市场监督管理局,{UNIT},1\n"
    )
}

const HEADS: &str = "XK_WSH,XK_XDR_MC,XK_XDR_SHXYM,XK_XDR_LB,XK_FRDB,XK_FR_ZJLX,XK_FR_ZJHM,XK_XKWS,XK_XKLB,XK_NR,XK_JDRQ,XK_YXQZ,XK_YXQZI,XK_XKJG,XK_XKJGDM,XK_ZT\n";

#[test]
fn a_table_is_compared_like_the_records_it_was_handed_in_as_and_persons_stay_hidden() {
    let f = county();
    let table = |rows: &[(u64, &str, &str)]| {
        let path = f.at("licences.csv");
        let rows: String = rows.iter().map(|(n, person, content)| licence(*n, person, content)).collect();
        fs::write(&path, format!("{HEADS}{rows}")).unwrap();
        path
    };
    let file = table(&[(1, PERSONAL, "热食类"), (2, PERSONAL, "热食类"), (3, PERSONAL, "热食类")]);
    let terms = ["--unit", UNIT, "--category", "admin_license", "--division", COUNTY];
    let ran = f.ask(COUNTY, &[&["ingest", &file, "--json"], &terms[..]].concat());
    assert_eq!((ran.code, ran.json()["accepted"].as_u64()), (0, Some(3)), "{ran:?}");
    let ask = |file: &str, more: &[&str]| compare(&f, file, "admin_license", &[&["--division", COUNTY], more].concat());
    assert_eq!(counts(&ask(&file, &[])), (0, [3, 0, 0, 0, 0]));

    let file = table(&[(1, OTHER_PERSON, "热食类"), (2, PERSONAL, "冷食类"), (3, PERSONAL, "热食类")]);
    let ran = ask(&file, &[]);
    assert_eq!(counts(&ran), (4, [1, 0, 2, 0, 0]));
    let answer = ran.json();
    let masked = json!([{"field": "legal_rep_id_no", "here": "3501**********1237", "there": "3501**********2318"}]);
    assert_eq!(answer["different"]["records"][0]["fields"], masked);
    assert_eq!(answer["different"]["records"][1]["fields"][0]["there"], "冷食类");
    assert!(answer["format"].as_str().unwrap().starts_with("CSV"));
    for shown in [&ran, &ask_text(&f, &file)] {
        assert!(!shown.out.contains(PERSONAL) && !shown.out.contains(OTHER_PERSON), "{shown:?}");
    }
    assert_eq!(ask(&file, &["--apply", "--yes"]).code, 0);
    assert_eq!(counts(&ask(&file, &[])), (0, [3, 0, 0, 0, 0]));
}

fn ask_text(f: &Federation, file: &str) -> Ran {
    let ran = f.ask(COUNTY, &["compare", file, "--unit", UNIT, "--category", "admin_license", "--division", COUNTY]);
    assert_eq!(ran.code, 4, "{ran:?}");
    assert!(ran.out.contains("different") && ran.out.contains("内容不同"), "{ran:?}");
    ran
}

#[test]
fn what_changed_since_it_was_shown_is_not_applied() {
    let f = county();
    f.enter(COUNTY, 0..5);
    let lines: Vec<String> = (0..4).map(|n| record(n, COUNTY)).collect();
    let file = write(&f, "full.ndjson", &lines);
    assert_eq!(counts(&compare(&f, &file, "spot_check", &[])), (4, [4, 0, 0, 1, 0]));
    // One more record that the file does not have: nobody was shown that it would be withdrawn.
    f.enter(COUNTY, 5..6);
    let refused = compare(&f, &file, "spot_check", &["--apply", "--yes"]);
    assert_eq!(refused.code, 1, "{refused:?}");
    assert!(refused.err.contains("changed"), "{refused:?}");
    assert_eq!(f.count(COUNTY), 6);

    // As long as a row might be any record, nothing is withdrawn.
    let broken = write(&f, "broken.ndjson", &[&lines[..3], &["{\"category\":".to_owned(), record(8, COUNTY)]].concat());
    assert_eq!(counts(&compare(&f, &broken, "spot_check", &[])), (4, [3, 1, 0, 3, 1]));
    let ran = compare(&f, &broken, "spot_check", &["--apply", "--yes"]);
    let answer = ran.json();
    assert_eq!(
        (ran.code, answer["applied"]["accepted"].as_u64(), answer["not_applied"].as_u64()),
        (3, Some(1), Some(3))
    );
    assert!(list(&answer["errors"]).iter().any(|e| e["code"] == "C005"), "{answer}");
    assert_eq!(held(&f, "spot_check").len(), 7);

    // A file without a row in order would withdraw everything.
    let empty = write(&f, "empty.ndjson", &[]);
    assert_eq!(counts(&compare(&f, &empty, "spot_check", &[])), (4, [0, 0, 0, 7, 0]));
    let ran = compare(&f, &empty, "spot_check", &["--apply", "--yes"]);
    assert_eq!(ran.code, 1, "{ran:?}");
    assert_eq!(held(&f, "spot_check").len(), 7);
}

/// A department's table goes from A to B, back to A, and to B again; a row goes, comes back, and goes.
#[test]
fn what_comes_back_comes_back_and_goes_again() {
    let f = county();
    let a = write(&f, "a.ndjson", &[record(0, COUNTY), record(1, COUNTY)]);
    let b = write(&f, "b.ndjson", &[version(0, COUNTY, "create", "5")]);
    for (file, round) in [&a, &b].into_iter().cycle().zip(0..6) {
        compare(&f, file, "spot_check", &[]);
        let applied = compare(&f, file, "spot_check", &["--apply", "--yes"]).json();
        assert_eq!((&applied["applied"]["accepted"], &applied["not_applied"]), (&json!(2), &json!(0)), "{round}");
        let same = if file == &a { 2 } else { 1 };
        assert_eq!(counts(&compare(&f, file, "spot_check", &[])), (0, [same, 0, 0, 0, 0]), "{round}");
        let now = held(&f, "spot_check");
        assert_eq!(
            (now.len() as u64, &now[&key(0, COUNTY)]["check_result"]),
            (same, &json!(if same == 2 { "1" } else { "5" }))
        );
    }
}

#[test]
fn terms_that_cannot_be_and_stdin() {
    let f = Federation::running(PLAN);
    f.enter(COUNTY, 0..2);
    let file = write(&f, "full.ndjson", &[record(0, COUNTY)]);
    let wrong = compare(&f, &file, "weather", &[]);
    assert_eq!(wrong.code, 2, "{wrong:?}");
    assert!(wrong.err.contains("spot_check"), "{wrong:?}");
    assert_eq!(compare(&f, &file, "spot_check", &["--yes"]).code, 2, "--yes goes with --apply");
    assert_eq!(compare(&f, &f.at("nowhere.csv"), "spot_check", &[]).code, 1);

    let stdin = |more: &[&str]| {
        let config = f.config(COUNTY);
        let args = ["compare", "-", "--json", "--unit", UNIT, "--category", "spot_check", "--config", &config];
        let mut command = Command::new(tally());
        command.args(args).args(more).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        child.stdin.take().unwrap().write_all(fs::read(&file).unwrap().as_slice()).unwrap();
        Ran::of(child.wait_with_output().unwrap())
    };
    assert_eq!(stdin(&["--apply", "--yes"]).code, 2, "no dry run yet");
    assert_eq!(counts(&stdin(&[])), (4, [1, 0, 0, 1, 0]));
    let ran = stdin(&["--apply", "--yes"]);
    assert_eq!((ran.code, ran.json()["applied"]["accepted"].as_u64()), (0, Some(1)), "{ran:?}");
    assert_eq!(counts(&stdin(&[])), (0, [1, 0, 0, 0, 0]));
    // By TCP nobody compares: it is the operator's.
    f.stop(COUNTY);
    let port = free_port();
    f.configure(COUNTY, &format!("http = \"127.0.0.1:{port}\"\n"));
    f.start(COUNTY);
    let path = format!("/v1/compare?unit={UNIT}&category=spot_check");
    let answer = request(port, "POST", &path, None, &Body::Sized("{}"));
    assert_eq!(answer.status, 404, "{answer:?}");
}
