//! What a limited token sees: every path of the API is asked with it, at nodes that hold what others handed in too.

use serde_json::Value;
use std::collections::BTreeSet;
use tally_tests::{
    CITY, COUNTY, Federation, NEIGHBOUR, Plan, free_port,
    http::{Body, Response, request},
    list, run,
    sample::{key, record, records, version},
    seconds, wait_for,
};

const PLAN: &[Plan<'static>] =
    &[(CITY, "prefecture", None), (COUNTY, "county", Some(CITY)), (NEIGHBOUR, "county", Some(CITY))];
const UNIT: &str = "113501020036012589";
const OTHER_UNIT: &str = "113501020036116248";
const SUBJECT: &str = "福州榕盛餐饮管理有限公司";
const OTHER_SUBJECT: &str = "福州建宁建筑工程有限公司";
const ELSEWHERE_SUBJECT: &str = "福州长乐水产养殖有限公司";
/// What a limit of a token says, and whether a record is theirs.
type Limit = (&'static str, fn(&Value) -> bool);
const LIMITS: [Limit; 3] = [
    ("unit = \"113501020036012589\"", |r| r["producer_uscc"] == UNIT),
    ("divisions = [\"350102\"]", |r| r["producer_division"] == COUNTY),
    ("categories = [\"admin_penalty\"]", |r| r["category"] == "admin_penalty"),
];
/// Fields of a record that tell which it is.
const TELLING: [&str; 5] = ["business_key", "task_no", "subject_name", "source_row_id", "producer_uscc"];

fn of_other_unit(line: &str) -> String {
    line.replace(UNIT, OTHER_UNIT).replace(SUBJECT, OTHER_SUBJECT)
}

fn elsewhere(line: &str) -> String {
    line.replace(UNIT, OTHER_UNIT).replace(SUBJECT, ELSEWHERE_SUBJECT)
}

/// A row that at this node is another unit's, and at the city another county's too.
fn of_others(division: &str, n: u64) -> String {
    if division == CITY { elsewhere(&record(n, NEIGHBOUR)) } else { of_other_unit(&record(n, division)) }
}

struct Doors {
    federation: Federation,
    /// Port and division of the county and of the city above it.
    nodes: [(u16, &'static str); 2],
    /// One for each of the limits, one without, an auditor's, and one that is limited and reads logs.
    tokens: Vec<String>,
}

/// County and city hold rows of two units, with questions about some of each; the city a third county's too.
fn doors() -> Doors {
    let federation = Federation::new(PLAN);
    let nodes = [(free_port(), COUNTY), (free_port(), CITY)];
    let mut tokens = Vec::new();
    let mut blocks = String::new();
    let more = ["", "logs", "divisions = [\"350102\"]\nlogs = true"];
    for (i, limit) in LIMITS.iter().map(|(limit, _)| *limit).chain(more).enumerate() {
        let name = format!("token{i}");
        let mut args = vec!["keygen", "--token", &name];
        args.extend((limit == "logs").then_some("--logs"));
        let made = run(&args);
        blocks += &format!("{}{}\n", made.out, if limit == "logs" { "" } else { limit });
        tokens.push(made.err.split_whitespace().last().unwrap().to_owned());
    }
    for (port, division) in nodes {
        federation.configure(division, &format!("http = \"127.0.0.1:{port}\"\n{blocks}"));
    }
    [CITY, COUNTY, NEIGHBOUR].iter().for_each(|d| federation.start(d));
    for division in [CITY, COUNTY, NEIGHBOUR] {
        wait_for("a node may sign", seconds(60), || {
            federation.status(division)["staged"]["because"].is_null().then_some(())
        });
    }
    // The second version of one number is asked about.
    let lines = records(0..4, COUNTY) + &version(3, COUNTY, "create", "5") + "\n";
    let (code, answer) = federation.ingest(COUNTY, &(lines.clone() + &of_other_unit(&lines)));
    assert_eq!((code, &answer["accepted"], &answer["questions"]), (0, &10.into(), &2.into()), "{answer}");
    let third = elsewhere(&(records(0..3, NEIGHBOUR) + &version(2, NEIGHBOUR, "create", "5") + "\n"));
    assert_eq!(federation.ingest(NEIGHBOUR, &third).1["accepted"], 4);
    wait_for("the city has all", seconds(60), || (federation.count(CITY) == 14).then_some(()));
    Doors { federation, nodes, tokens }
}

fn get(port: u16, path: &str, token: &str) -> Response {
    request(port, "GET", path, Some(token), &Body::None)
}

impl Doors {
    /// What tells of records that are not a token's, and of none that are.
    fn foreign(&self, division: &str, theirs: fn(&Value) -> bool) -> BTreeSet<String> {
        let tells = |record: &Value| -> Vec<String> {
            let fields = TELLING.iter().filter_map(|f| record[*f].as_str().map(str::to_owned));
            fields.chain([record["_tally"]["id"].as_str().unwrap().to_owned()]).collect()
        };
        let (own, foreign): (Vec<_>, Vec<_>) =
            self.federation.export(division, &["--history"]).into_iter().partition(theirs);
        let own: BTreeSet<_> = own.iter().flat_map(tells).collect();
        foreign.iter().flat_map(tells).filter(|t| !own.contains(t)).collect()
    }

    /// Hands in a row that is another's, which by each of the limits it may not, and then has the other hand it in: the kept
    /// answer must not tell. Answers what the token was shown.
    fn intrude(&self, (port, division): (u16, &str), n: u64, token: &str) -> Vec<Response> {
        let line = of_others(division, n);
        let posted = request(port, "POST", "/v1/records", Some(token), &Body::Sized(&line));
        assert!(posted.status == 200 && posted.json()["rejected"] == 1, "{posted:?}");
        let before = self.federation.count(division);
        let owner = if division == CITY { NEIGHBOUR } else { division };
        assert_eq!(self.federation.ingest(owner, &line).1["accepted"], 1);
        wait_for("it is here", seconds(60), || (self.federation.count(division) > before).then_some(()));
        let id = posted.json()["answer"].as_str().unwrap().to_owned();
        let shown = self.federation.ask(division, &["answer", "show", &id, "--json"]).out;
        assert!(shown.contains("\"corrected\""), "the operator sees what became of the row: {shown}");
        let kept = ["", ".csv", ".xlsx"].map(|end| get(port, &format!("/v1/answers/{id}{end}"), token));
        assert!(kept.iter().all(|r| r.status == 200), "{kept:?}");
        assert!(!kept[0].body.contains("corrected"), "another's record corrects the row: {kept:?}");
        [posted].into_iter().chain(kept).collect()
    }

    /// Everything that a path of the document answers to this token. A path that is not named here is asked as it is, and
    /// has to refuse: whoever adds one decides what a limited token sees there.
    fn ask(&self, (port, division): (u16, &str), path: &str, n: u64, token: &str) -> Vec<Response> {
        let ok = |paths: &[&str]| {
            let all: Vec<_> = paths.iter().map(|p| get(port, p, token)).collect();
            assert!(all.iter().all(|r| r.status == 200), "{path}: {all:?}");
            all
        };
        let refused = |paths: &[&str]| {
            for p in paths {
                let response = get(port, p, token);
                let code = (response.status, &response.json()["code"]);
                assert_eq!(code, (403, &"not_allowed".into()), "{p}: {response:?}");
            }
            Vec::new()
        };
        match path {
            "/v1/records" => self.intrude((port, division), n, token),
            "/v1/answers" => ok(&["/v1/answers"]),
            "/v1/answers/{name}" => {
                let operators = self.federation.ask(division, &["answer", "ls", "--json"]).json();
                for answer in list(&operators).iter().filter(|a| a["token"].is_null()) {
                    let path = format!("/v1/answers/{}", answer["id"].as_str().unwrap());
                    assert_eq!(get(port, &path, token).status, 404, "{path}");
                }
                Vec::new()
            }
            "/v1/questions" => ok(&["/v1/questions", "/v1/questions?all=true&limit=1"]),
            // By first digits, which are answered with the id only where it is theirs.
            "/v1/receipts" => {
                let all = self.federation.export(division, &["--history"]);
                let begins = |r: &Value| r["_tally"]["id"].as_str().unwrap()[..12].to_owned();
                all.iter().map(|r| get(port, &format!("/v1/receipts?record={}", begins(r)), token)).collect()
            }
            // A report of one division, for those who may see it.
            "/v1/deadlines" => {
                let mut all = Vec::new();
                for more in ["", "&by=unit", "&by=division", "&format=csv"] {
                    all.push(get(port, &format!("/v1/deadlines?division={COUNTY}{more}"), token));
                }
                all
            }
            "/healthz" | "/readyz" | "/version" | "/metrics" => vec![get(port, path, token)],
            // The program's own, with its examples: strangers see the same.
            "/v1/openapi.json" => {
                assert_eq!(get(port, path, token).body, get(port, path, "").body);
                Vec::new()
            }
            "/tlog/{path}" => {
                let tiles = ["checkpoint", "tile/entries/000.p/10", "tile/0/000.p/10"];
                let paths = tiles.map(|t| format!("/tlog/{COUNTY}/e1/{t}"));
                refused(&paths.each_ref().map(String::as_str))
            }
            "/v1/export" => refused(&["/v1/export", "/v1/export?history=true", "/v1/export?category=admin_penalty"]),
            _ => refused(&[path]),
        }
    }
}

/// S7.
#[test]
fn a_limited_token_sees_nothing_of_others_on_any_path() {
    let doors = doors();
    let document = get(doors.nodes[0].0, "/v1/openapi.json", "").json();
    let paths: Vec<String> = document["paths"].as_object().unwrap().keys().cloned().collect();
    assert!(paths.len() >= 15, "{paths:?}");
    let mut asked = 0;
    for node in doors.nodes {
        for ((limit, theirs), token) in LIMITS.iter().zip(&doors.tokens) {
            let foreign = doors.foreign(node.1, *theirs);
            // The county has nothing of other counties.
            if foreign.is_empty() {
                continue;
            }
            asked += 1;
            let n = 100 + asked;
            // What a row says that the token itself sends comes back with its answer.
            let said = of_others(node.1, n);
            let foreign: Vec<_> = foreign.iter().filter(|f| !said.contains(*f)).collect();
            assert!(foreign.len() > 5, "{foreign:?}");
            for path in &paths {
                for response in doors.ask(node, path, n, token) {
                    for tells in &foreign {
                        assert!(
                            !response.body.contains(*tells),
                            "{limit} at {}: {path} says {tells}:\n{response:?}",
                            node.1
                        );
                    }
                }
            }
        }
        // It is not that nothing is shown at all.
        let own = get(node.0, "/v1/questions", &doors.tokens[0]).json();
        assert!(list(&own["questions"]).iter().all(|q| q["unit"] == UNIT), "{own}");
        assert!(own.to_string().contains(&key(3, COUNTY)), "{own}");
        let all = get(node.0, "/v1/questions", &doors.tokens[3]).json();
        assert!(all.to_string().contains(OTHER_UNIT), "{all}");
    }
    assert_eq!(asked, 2 * LIMITS.len() as u64 - 1);
}

/// A row by which a token asks for a record that is another's: the token's limits are met, the business key is the record's, and
/// the rest is made up.
fn asking(held: &str, (field, value): (&str, &str)) -> String {
    let mut row: Value = serde_json::from_str(held).unwrap();
    for (made_up, text) in
        [("subject_name", "福州一无所知有限公司"), ("source_row_id", "guess"), ("check_result", "8"), (field, value)]
    {
        row[made_up] = text.into();
    }
    row.to_string()
}

/// S7: the question about a row that meets another record (V013) named fields of it and showed the first, so a row that met a
/// foreign record read it field by field, and a trial did so without a trace. A submitter need not be the producer, and a unit
/// can have rows of two divisions.
#[test]
fn a_row_that_meets_another_record_reads_nothing_of_it() {
    let doors = doors();
    let ([county, city], [of_unit, of_division, ..]) = (doors.nodes, doors.tokens.as_slice()) else { panic!() };
    let (own_submitter, own_division) = (("submitter_uscc", UNIT), ("producer_division", COUNTY));
    for ((port, division), token, held, own) in [
        (county, of_unit, of_other_unit(&record(0, COUNTY)), own_submitter),
        (city, of_unit, of_other_unit(&record(1, COUNTY)), own_submitter),
        (city, of_unit, elsewhere(&record(0, NEIGHBOUR)), own_submitter),
        (city, of_division, elsewhere(&record(1, NEIGHBOUR)), own_division),
    ] {
        let line = asking(&held, own);
        let record: Value = serde_json::from_str(&held).unwrap();
        // The trial first: what is taken is held then, and is the sender's own word.
        for path in ["/v1/records?dry_run=true", "/v1/records"] {
            let posted = request(port, "POST", path, Some(token), &Body::Sized(&line));
            let answer = posted.json();
            let met = list(&answer["errors"]).iter().any(|e| e["code"] == "V013");
            assert!(posted.status == 200 && met, "{division} {own:?} {path}: {posted:?}");
            let kept = answer["answer"].as_str().map(|id| get(port, &format!("/v1/answers/{id}"), token));
            for response in kept.iter().chain([&posted]) {
                assert!(!response.body.contains("They differ in "), "{division} {own:?} {path}: {response:?}");
                for field in ["subject_name", "source_row_id"] {
                    let value = record[field].as_str().unwrap();
                    assert!(!response.body.contains(value), "{division} {own:?} {path} says {field}: {response:?}");
                }
            }
        }
    }
    // Of its own records it is told in what the row differs.
    let own = asking(&record(1, COUNTY), own_submitter);
    let posted = request(county.0, "POST", "/v1/records?dry_run=true", Some(of_unit), &Body::Sized(&own));
    assert!(posted.body.contains("They differ in ") && posted.body.contains("V013"), "{posted:?}");
}

/// A record's id is made of its content, so who has the one may guess the other: of what is another's it is said that nothing
/// is held.
#[test]
fn receipts_tell_a_limited_token_of_its_own_records_only() {
    let doors = doors();
    let receipts = |port, what: &str, token: &str| get(port, &format!("/v1/receipts?{what}"), token);
    // From then on nothing comes to what is told of these records.
    wait_for("the county has the city's receipts", seconds(60), || {
        (doors.federation.status(COUNTY)["parent"]["unacked_records"] == 0).then_some(())
    });
    let (mut own, mut foreign) = (0, 0);
    for (port, division) in doors.nodes {
        let all = doors.federation.export(division, &["--history"]);
        for ((limit, theirs), token) in LIMITS.iter().zip(&doors.tokens) {
            for record in &all {
                let id = record["_tally"]["id"].as_str().unwrap();
                let (whole, begins) = (format!("record={id}"), format!("record={}", &id[..8]));
                let (whole, begins) = (receipts(port, &whole, token), receipts(port, &begins, token));
                let (held, missing) = (whole.json()["held"].clone(), whole.json()["missing"].clone());
                if theirs(record) {
                    own += 1;
                    assert_eq!((&held, &missing, begins.status), (&1.into(), &0.into(), 200), "{limit}: {whole:?}");
                    assert_eq!(begins.json(), whole.json());
                    let operators = doors.federation.ask(division, &["receipt", "--record", id, "--json"]).json();
                    let mut shown = operators["records"][0].clone();
                    shown.as_object_mut().unwrap().remove("line");
                    assert_eq!(shown, whole.json()["records"][0], "as the command shows it");
                } else {
                    foreign += 1;
                    assert_eq!((&held, &missing, begins.status), (&0.into(), &1.into(), 404), "{limit}: {whole:?}");
                    let bare = receipts(port, &format!("record={}", "0".repeat(64)), token).json();
                    let mut said = whole.json();
                    said["records"][0]["id"] = bare["records"][0]["id"].clone();
                    assert_eq!(said, bare, "as of a record that nobody has");
                }
            }
        }
    }
    assert!(own > 10 && foreign > 10, "{own} {foreign}");
    let (port, division) = doors.nodes[0];
    let line = version(3, division, "create", "7");
    let posted = request(port, "POST", "/v1/records", Some(&doors.tokens[0]), &Body::Sized(&line)).json();
    let id = posted["answer"].as_str().unwrap_or_else(|| panic!("{posted}")).to_owned();
    let mine = wait_for("the city has it", seconds(60), || {
        let mine = receipts(port, &format!("answer={id}"), &doors.tokens[0]).json();
        (list(&mine["held_by"]).len() == 2).then_some(mine)
    });
    let holders: Vec<_> = list(&mine["held_by"]).iter().map(|h| h["holder"].as_str().unwrap()).collect();
    assert_eq!((holders, &mine["accepted"], &mine["lost"]), (vec![COUNTY, CITY], &1.into(), &0.into()), "{mine}");
    assert_eq!(receipts(port, &format!("answer={id}"), &doors.tokens[1]).status, 404, "another's answer");
    assert_eq!(receipts(port, &format!("answer={id}"), &doors.tokens[4]).status, 403, "an auditor's token");
    for (what, status) in [("", 400), ("record=12345678&answer=1", 400), ("record=xyz", 400), ("answer=1", 404)] {
        assert_eq!(receipts(port, what, &doors.tokens[3]).status, status, "{what}");
    }
}

/// S7: logs are for tokens without limits, and for those that say so.
#[test]
fn logs_are_read_by_tokens_that_say_so_and_auditors_do_nothing_else() {
    let doors = doors();
    let (port, _) = doors.nodes[1];
    let [.., open, auditor, limited] = doors.tokens.as_slice() else { panic!("tokens") };
    let entries = |division: &str, token: &str| get(port, &format!("/tlog/{division}/e1/tile/entries/000.p/4"), token);
    for (token, statuses) in [(open, [200, 200]), (auditor, [200, 200]), (limited, [200, 403])] {
        assert_eq!([COUNTY, NEIGHBOUR].map(|d| entries(d, token).status), statuses);
    }
    assert!(entries(COUNTY, auditor).body.contains(&key(0, COUNTY)));
    for path in ["/v1/answers", "/v1/questions", "/v1/deadlines", "/v1/export", "/v1/status", "/v1/charter"] {
        let response = get(port, path, auditor);
        assert_eq!((response.status, &response.json()["code"]), (403, &"not_allowed".into()), "{path}");
    }
    let line = record(90, COUNTY);
    let refused = request(port, "POST", "/v1/records", Some(auditor), &Body::Sized(&line));
    assert_eq!((refused.status, doors.federation.count(CITY)), (403, 14), "{refused:?}");
    for path in ["/v1/export", "/v1/status", "/v1/charter"] {
        assert_eq!((get(port, path, limited).status, get(port, path, open).status), (403, 200), "{path}");
    }
    let head = format!("bearer {open}");
    let lower = request(port, "GET", "/v1/status", None, &Body::Bytes(b"", &[("authorization", &head)]));
    assert_eq!(lower.status, 200, "names of schemes have no case");
}

/// Nothing is held of what nobody knows, and saying so would look like an answer.
#[test]
fn what_is_not_known_is_an_error_on_every_path() {
    let doors = doors();
    let (port, token) = (doors.nodes[1].0, &doors.tokens[3]);
    for (path, named) in [
        ("/v1/export?category=weather", "category"),
        ("/v1/export?division=110101", "division"),
        ("/v1/export?division=", "division"),
        ("/v1/export?unit=113501020036012589", "unit"),
        ("/v1/questions?division=110101", "division"),
        ("/v1/questions?after=110101/e1:0", "after"),
        ("/v1/questions?category=spot_check", "category"),
        ("/v1/deadlines?division=110101", "division"),
        ("/v1/deadlines?by=colour", "by"),
        ("/v1/deadlines?category=weather", "category"),
        ("/v1/answers?unit=113501020036012589", "unit"),
        ("/v1/status?wait=perhaps", "wait"),
        ("/v1/status?division=350102", "division"),
        ("/v1/charter?version=1", "version"),
        ("/v1/receipts?log=350102/e1", "log"),
        ("/v1/receipts?record=1234", "record"),
        ("/tlog/350102/e1/checkpoint?size=1", "size"),
    ] {
        let response = get(port, path, token);
        assert!(response.status == 400 && response.is("application/problem+json"), "{path}: {response:?}");
        let problem = response.json();
        assert_eq!(problem["code"], "bad_parameter", "{path}");
        assert!(problem["detail"].as_str().unwrap().contains(named), "{path}: {problem}");
    }
    for query in ["category=weather", "division=110101", "colour=red"] {
        let path = format!("/v1/records?{query}");
        let response = request(port, "POST", &path, Some(token), &Body::Sized(&record(1, COUNTY)));
        assert_eq!((response.status, &response.json()["code"]), (400, &"bad_parameter".into()), "{response:?}");
    }
    for path in ["/v1/answers/350100-20200101-0001", "/tlog/110101/e1/checkpoint", "/v1/nowhere"] {
        let response = get(port, path, token);
        assert!(response.status == 404 && response.is("application/problem+json"), "{path}: {response:?}");
    }
}
