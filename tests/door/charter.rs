//! What the charter decides at the door while everything runs: new categories, and which door is a record's right one.

use crate::questions::questions;
use serde_json::Value;
use std::fs;
use tally_tests::{
    CITY, COUNTY, Federation, LINE, PROVINCE, list,
    sample::{key, record, records, version},
    seconds, shipped, wait_for,
};

const ALL: [&str; 3] = [PROVINCE, CITY, COUNTY];

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

#[test]
fn routes_are_explained_and_a_wrong_door_names_the_right_one() {
    let federation = Federation::running(LINE);
    let note = federation.charter_with(
        2,
        "authority.key",
        "[[route]]\nid = \"a\"\ncase = \"provincial\"\ncategory = \"registration\"\n\
         [[route]]\nid = \"b\"\ncase = \"prefecture\"\ncategory = \"spot_check\"\ndivision = \"350102\"\n\
         [[route]]\nid = \"c\"\ncase = \"central\"\nunit_word = \"税务局\"\nowner = \"省税务局\"\ndue_on = \"2026-12-31\"\n",
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
    let rule =
        |from: &str| format!("[[route]]\nid = \"spot\"\ncase = \"prefecture\"\ncategory = \"spot_check\"\n{from}");
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
