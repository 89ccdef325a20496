//! A machine is gone, and another one takes its place: the division goes on in its next epoch with what was held above, what was not
//! is named, and nothing is there twice.

use crate::{bundle, joining::Founded};
use serde_json::Value;
use std::{collections::BTreeSet, fs};
use tally_tests::{
    CITY, COUNTY, FEDERATION, PROVINCE, find, free_port, origin, run, sample::records, seconds, wait_for,
};

const ALL: [&str; 3] = [PROVINCE, CITY, COUNTY];

/// Province, city and county, which joined one after another.
fn founded() -> Founded {
    let founded = Founded::running();
    founded.joins(CITY, PROVINCE);
    founded.joins(COUNTY, CITY);
    founded
}

fn replace(founded: &Founded, at: &str, division: &str, more: &[&str]) -> Value {
    let args = ["node", "replace", division, "--reason", "its disk is gone", "--json"];
    let ran = founded.federation.ask(at, &[&args, more].concat());
    assert_eq!(ran.code, 0, "{ran:?}");
    ran.json()
}

fn charter_version(founded: &Founded) -> u64 {
    founded.federation.status(PROVINCE)["charter_version"].as_u64().unwrap()
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap()
}

/// Each record is shown once, and every level has the same ones.
fn all_hold(founded: &Founded, divisions: &[&str], n: usize) {
    founded.federation.wait_converged(divisions, seconds(60));
    for division in divisions {
        let lines = founded.federation.export(division, &["--history"]);
        let keys: BTreeSet<_> = lines.iter().map(|l| text(&l["business_key"]).to_owned()).collect();
        assert_eq!((lines.len(), keys.len()), (n, n), "{division}");
        founded.federation.ask(division, &["verify", "--json"]).done();
    }
}

/// The county's disk is gone, and with it what its city had not got. What the city held is on the new machine, a row that is handed in
/// again is a duplicate, new ones reach the province, and the old machine's key opens nothing any more.
#[test]
fn another_machine_takes_the_place_of_one_whose_disk_is_gone() {
    let founded = founded();
    let federation = &founded.federation;
    federation.expects(&["link.unreached"]);
    federation.enter(COUNTY, 0..200);
    federation.wait_converged(&ALL, seconds(60));
    // Seven records more, which nobody above gets.
    federation.stop(CITY);
    federation.enter(COUNTY, 200..207);
    federation.kill9(COUNTY);
    let old = founded.dir("old");
    fs::rename(founded.dir(COUNTY), &old).unwrap();
    federation.start(CITY);
    wait_for("the province hears the city", seconds(60), || {
        (find(&federation.try_status(PROVINCE)?["nodes"], "division", CITY)["state"] == "live").then_some(())
    });

    let before = charter_version(&founded);
    let shown = replace(&founded, PROVINCE, COUNTY, &["--dry-run"]);
    assert_eq!((&shown["ends"]["log"], &shown["ends"]["size"]), (&"350102/e1".into(), &200.into()), "{shown}");
    assert_eq!((&shown["begins"], &shown["lost"]["from"]), (&"350102/e2".into(), &200.into()), "{shown}");
    assert_eq!((&shown["token"], &shown["live"]), (&Value::Null, &false.into()), "{shown}");
    assert_eq!(charter_version(&founded), before, "--dry-run changes nothing");
    let said = federation.ask(PROVINCE, &["node", "replace", COUNTY, "--reason", "r", "--dry-run"]);
    assert!(said.err.contains("LOST") && said.err.contains("from number 200 on"), "{said:?}");

    let told = replace(&founded, PROVINCE, COUNTY, &[]);
    let token = text(&told["token"]).to_owned();
    let code = founded.asks(&token, COUNTY);
    assert_eq!(founded.pending(COUNTY), code);
    let listed = federation.ask(PROVINCE, &["node", "pending", "--json"]).json();
    assert_eq!((&listed[0]["kind"], &listed[0]["held"]["size"]), (&"replace".into(), &200.into()), "{listed}");
    founded.approve(COUNTY, &code).done();
    assert_eq!(charter_version(&founded), before + 1);
    founded.is_admitted(COUNTY);
    // Its history comes first: a disk with nothing on it is no first start.
    assert_eq!(federation.refused(COUNTY), 75, "the data directory is not there");
    fs::create_dir(federation.file(COUNTY, "data")).unwrap();
    assert_eq!(federation.refused(COUNTY), 78, "it is there, and empty");
    let restored = federation.ask(COUNTY, &["restore", "--json"]);
    assert_eq!((restored.code, restored.json()["records"].as_u64()), (0, Some(200)), "{restored:?}");
    federation.start(COUNTY);
    // The file of the last days, handed in again: what is held is a duplicate, what was lost is taken.
    let (code, answer) = federation.ingest(COUNTY, &records(190..210, COUNTY));
    assert_eq!((code, &answer["duplicate"], &answer["accepted"]), (0, &10.into(), &10.into()), "{answer}");
    all_hold(&founded, &ALL, 210);
    let status = federation.status(PROVINCE);
    assert_eq!(find(&status["logs"], "log", &origin(COUNTY))["size"], 200);
    assert_eq!(find(&status["logs"], "log", &format!("{FEDERATION}/{COUNTY}/e2"))["size"], 10);

    // Neither the line nor the old machine is good for anything any more.
    founded.refused(&["join", &token, "--dir", &founded.dir("third"), "--no-wait"], 6, "E1102");
    federation.stop(COUNTY);
    fs::rename(founded.dir(COUNTY), founded.dir("new")).unwrap();
    fs::rename(&old, founded.dir(COUNTY)).unwrap();
    federation.start(COUNTY);
    federation.ingest(COUNTY, &records(300..301, COUNTY));
    wait_for("the old machine is told", seconds(60), || {
        (federation.try_status(COUNTY)?["parent"]["state"] == "refused").then_some(())
    });
    federation.stop(COUNTY);
    all_hold(&founded, &[PROVINCE, CITY], 210);
}

/// A stolen machine is put out of service at once; the new one brings the division back, at another address. The counties below are
/// given the charter by hand, because they do not know their parent's new key.
#[test]
fn a_stolen_city_is_out_at_once_and_comes_back_elsewhere() {
    let founded = founded();
    let federation = &founded.federation;
    federation.expects(&["link.unreached"]);
    federation.enter(COUNTY, 0..40);
    federation.enter(CITY, 0..10);
    federation.wait_converged(&ALL, seconds(60));
    federation.kill9(CITY);
    fs::remove_dir_all(founded.dir(CITY)).unwrap();
    let before = charter_version(&founded);
    let (key, words) = (founded.dir(&format!("{PROVINCE}/authority.key")), founded.dir("passphrase"));
    let told = replace(&founded, PROVINCE, CITY, &["--authority", &key, "--passphrase-file", &words, "--yes"]);
    assert_eq!((charter_version(&founded), &told["out_of_service"]), (before + 1, &true.into()), "{told}");
    assert_eq!(told["charter_by_hand"], Value::from(vec![COUNTY]), "{told}");
    let code = founded.asks(text(&told["token"]), CITY);
    founded.pending(CITY);
    founded.approve(CITY, &code).done();
    founded.is_admitted(CITY);
    let node = federation.ask(PROVINCE, &["node", "show", CITY, "--json"]).json();
    assert_eq!((&node["retired"], &node["epoch"]), (&false.into(), &2.into()), "{node}");
    let config = fs::read_to_string(federation.config(CITY)).unwrap();
    let address = text(&node["addresses"][0]).to_owned();
    assert!(config.contains(&address), "the charter names where the new machine is: {address} {config}");
    let restored = federation.ask(CITY, &["restore", "--json"]);
    let counts = restored.json();
    assert_eq!((restored.code, &counts["records"], &counts["below"]), (0, &10.into(), &40.into()), "{restored:?}");
    federation.start(CITY);
    let note = federation.at("next.note");
    fs::write(&note, fs::read_to_string(federation.file(CITY, "charter.note")).unwrap()).unwrap();
    federation.ask(COUNTY, &["charter", "load", &note, "--here"]).done();
    federation.enter(COUNTY, 40..50);
    federation.wait_converged(&ALL, seconds(60));
    all_hold(&founded, &[PROVINCE, CITY], 60);
    assert_eq!(federation.count(COUNTY), 50);
}

/// A city that is not linked may hold more of its county than the province: closing there would throw it away.
#[test]
fn nothing_that_a_node_between_holds_is_thrown_away() {
    let founded = founded();
    let federation = &founded.federation;
    federation.expects(&["link.unreached"]);
    federation.enter(COUNTY, 0..20);
    federation.wait_converged(&ALL, seconds(60));
    // The city gets ten more while the province is away.
    federation.stop(PROVINCE);
    federation.enter(COUNTY, 20..30);
    federation.wait_converged(&[CITY, COUNTY], seconds(60));
    federation.kill9(COUNTY);
    fs::remove_dir_all(founded.dir(COUNTY)).unwrap();
    federation.stop(CITY);
    federation.start(PROVINCE);
    let told = replace(&founded, PROVINCE, COUNTY, &[]);
    // The request is carried: the city is not there.
    let (request, dir) = (founded.dir("request"), founded.dir(COUNTY));
    let asked = run(&["join", text(&told["token"]), "--dir", &dir, "--request", &request, "--json"]).json();
    let code = text(&asked["code"]);
    let charter = founded.dir("charter");
    let args: Vec<_> = founded
        .approval(COUNTY, code)
        .into_iter()
        .chain(["--file", &request, "--copy", &charter].map(str::to_owned))
        .collect();
    let args: Vec<_> = args.iter().map(String::as_str).collect();
    let refused = federation.ask(PROVINCE, &args);
    assert!(refused.code == 1 && refused.err.contains("350100 is not linked"), "{refused:?}");
    federation.start(CITY);
    wait_for("it is given once the city has handed on what it holds", seconds(60), || {
        (federation.ask(PROVINCE, &args).code == 0).then_some(())
    });
    run(&["join", "--dir", &dir, "--charter", &charter]).done();
    founded.tell_json(COUNTY);
    let restored = federation.ask(COUNTY, &["restore", "--json"]);
    assert_eq!((restored.code, restored.json()["records"].as_u64()), (0, Some(30)), "{restored:?}");
    federation.start(COUNTY);
    all_hold(&founded, &ALL, 30);
}

/// By files alone: invitation, request and charter are carried, and so is the history.
#[test]
fn another_machine_without_a_network_gets_its_history_in_a_bundle() {
    let founded = founded();
    let federation = &founded.federation;
    federation.expects(&["link.unreached"]);
    federation.enter(COUNTY, 0..25);
    federation.wait_converged(&ALL, seconds(60));
    federation.kill9(COUNTY);
    fs::remove_dir_all(founded.dir(COUNTY)).unwrap();
    let (line, request, charter) = (founded.dir("line"), founded.dir("request"), founded.dir("charter"));
    replace(&founded, PROVINCE, COUNTY, &["--save", &line]);
    let dir = founded.dir(COUNTY);
    let quic = format!("127.0.0.1:{}", free_port());
    let ask = ["join", "--file", &line, "--dir", &dir, "--quic", &quic, "--offline", "--request", &request, "--json"];
    let asked = run(&ask).json();
    let carried = ["--file", &request, "--copy", &charter].map(str::to_owned);
    let args: Vec<_> = founded.approval(COUNTY, text(&asked["code"])).into_iter().chain(carried).collect();
    federation.ask(PROVINCE, &args.iter().map(String::as_str).collect::<Vec<_>>()).done();
    let joined = run(&["join", "--dir", &dir, "--charter", &charter]);
    assert!(joined.done().contains("bundle import"));
    founded.tell_json(COUNTY);
    federation.start(COUNTY);
    wait_for("the city has the charter", seconds(30), || {
        (federation.try_status(CITY)?["charter_version"] == charter_version(&founded)).then_some(())
    });
    let down = bundle::export(federation, CITY, COUNTY, "start", "down");
    let back = bundle::import(federation, COUNTY, &down);
    assert_eq!((back.code, back.json()["records"].as_u64()), (0, Some(25)), "{back:?}");
    let (code, answer) = federation.ingest(COUNTY, &records(20..30, COUNTY));
    assert_eq!((code, &answer["duplicate"], &answer["accepted"]), (0, &5.into(), &5.into()), "{answer}");
    let up = bundle::export(federation, COUNTY, CITY, "receipt", "up");
    bundle::import(federation, CITY, &up).done();
    all_hold(&founded, &[PROVINCE, CITY], 30);
}

/// Who is no node, the top, or a machine that is invited for another epoch, is refused by name.
#[test]
fn what_cannot_be_replaced_is_refused_by_name() {
    let founded = Founded::running();
    let federation = &founded.federation;
    let ask = |division: &str, more: &[&str]| {
        federation.ask(PROVINCE, &[&["node", "replace", division, "--reason", "r"], more].concat())
    };
    let none = ask(CITY, &["--dry-run"]);
    assert!(none.code == 2 && none.err.contains("350100 is not a node"), "{none:?}");
    let top = ask(PROVINCE, &[]);
    assert!(top.code == 2 && top.err.contains("reports to nobody"), "{top:?}");
    founded.joins(CITY, PROVINCE);
    // Two lines for the same epoch: the first machine that is approved uses up both.
    let lines = [(); 2].map(|()| text(&replace(&founded, PROVINCE, CITY, &[])["token"]).to_owned());
    federation.stop(CITY);
    fs::rename(founded.dir(CITY), founded.dir("old")).unwrap();
    let code = founded.asks(&lines[0], CITY);
    founded.pending(CITY);
    founded.approve(CITY, &code).done();
    let late = founded.refused(&["join", &lines[1], "--dir", &founded.dir("late"), "--no-wait"], 6, "E1106");
    assert!(late.err.contains("350100/e2"), "{late:?}");
}
