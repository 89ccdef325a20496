//! The programmers' page, run: every `curl` of it against a county with a city and a province above.

use serde_json::Value;
use std::{collections::BTreeMap, fs};
use tally_tests::{
    CITY, COUNTY, Federation, LINE, PROVINCE, free_port,
    pages::{Machine, Page, PageRun},
    run, seconds, shipped, wait_for,
};

const PAGES: [&str; 2] = ["deploy/API.md", "deploy/接口.md"];

/// A county with a token without limits and one of a unit.
fn county() -> (Federation, Machine) {
    let (federation, port) = (Federation::new(LINE), free_port());
    let mut blocks = format!("http = \"127.0.0.1:{port}\"\n");
    let mut environment = Vec::new();
    for (name, limit) in [("TOKEN", ""), ("LIMITED", "unit = \"113501020036012589\"\n")] {
        let made = run(&["keygen", "--token", name]);
        blocks += &format!("{}{limit}", made.out);
        environment.push((name.to_owned(), made.err.split_whitespace().last().unwrap().to_owned()));
    }
    federation.configure(COUNTY, &blocks);
    [PROVINCE, CITY, COUNTY].iter().for_each(|d| federation.start(d));
    let home = federation.at("department");
    fs::create_dir(&home).unwrap();
    for file in ["gulou.ndjson", "licences.csv"] {
        fs::copy(shipped(&format!("deploy/samples/{file}")), format!("{home}/{file}")).unwrap();
    }
    environment.push(("HOME".to_owned(), home));
    let words = vec![
        ("127.0.0.1:8443".to_owned(), format!("127.0.0.1:{port}")),
        ("test.tally.example".to_owned(), "test.tally.example".to_owned()),
    ];
    (federation, Machine { division: COUNTY.to_owned(), environment, words })
}

/// An amendment of the first record that is asked about, as a program makes it of what it was told and of what it has.
fn amendment(federation: &Federation, home: &str) {
    let asked = federation.ask(COUNTY, &["question", "ls", "--json"]).json();
    let id = asked["questions"][0]["id"].as_str().unwrap_or_else(|| panic!("{asked}")).to_owned();
    let all = federation.export(COUNTY, &["--history"]);
    let mut record = all.into_iter().find(|r| r["_tally"]["id"] == id.as_str()).unwrap();
    let object = record.as_object_mut().unwrap();
    object.remove("_tally");
    object.insert("operation".to_owned(), "amend".into());
    object.insert("amends".to_owned(), Value::from(id));
    object.insert("remark".to_owned(), "核对无误".into());
    fs::write(format!("{home}/amendment.ndjson"), format!("{record}\n")).unwrap();
}

fn run_page(name: &str) {
    let (federation, machine) = county();
    let home = machine.environment.iter().find(|(n, _)| n == "HOME").unwrap().1.clone();
    let hook = |what: &str| match what {
        "signing" => {
            wait_for("the county may sign", seconds(60), || {
                federation.status(COUNTY)["staged"]["because"].is_null().then_some(())
            });
        }
        "amendment" => amendment(&federation, &home),
        other => panic!("{other}?"),
    };
    PageRun::new(&federation, BTreeMap::from([("department", machine)]), hook).run(&Page::read(name));
}

#[test]
fn the_programmers_page_is_true() {
    run_page(PAGES[0]);
}

#[test]
fn the_programmers_page_is_true_in_chinese() {
    run_page(PAGES[1]);
}

#[test]
fn both_programmers_pages_have_the_same_commands() {
    let [english, chinese] = PAGES.map(|name| Page::read(name).commands());
    assert!(english.len() >= 24, "{}", english.len());
    assert_eq!(english, chinese);
    assert!(PAGES.iter().all(|name| Page::read(name).not_run().is_empty()), "all of it is run");
}
