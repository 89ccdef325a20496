//! Bundles: a county without a network to its city, whose records and receipts are carried as files.

use serde_json::Value;
use std::fs;
use tally_tests::{
    CITY, COUNTY, Federation, LINE, PROVINCE, Ran, find, origin, run, sample::records, seconds, wait_for,
};

/// Configs keep `listen` last, so the node's own section is changed in place.
pub(crate) fn unplug(federation: &Federation, division: &str) {
    let path = federation.config(division);
    let text = fs::read_to_string(&path).unwrap();
    fs::write(&path, text.replacen("[node]\n", "[node]\noffline = true\n", 1)).unwrap();
}

pub(crate) fn export(federation: &Federation, from: &str, to: &str, since: &str, name: &str) -> String {
    let file = federation.at(name);
    federation.ask(from, &["bundle", "export", "--to", to, "--since", since, "-o", &file]).done();
    file
}

pub(crate) fn import(federation: &Federation, at: &str, file: &str) -> Ran {
    federation.ask(at, &["bundle", "import", file, "--json"])
}

fn receipts(federation: &Federation) -> Value {
    let status = federation.status(COUNTY);
    find(&status["logs"], "log", &origin(COUNTY))["receipts"].clone()
}

#[test]
fn records_go_up_and_receipts_come_back_as_files() {
    let federation = Federation::new(LINE);
    unplug(&federation, COUNTY);
    LINE.iter().for_each(|(division, ..)| federation.start(division));
    // It signs without a parent to ask, and says what is due.
    federation.enter(COUNTY, 0..700);
    let status = federation.status(COUNTY);
    assert!(find(&status["actions"], "code", "bundle_due").is_object(), "{status}");
    let up = export(&federation, COUNTY, CITY, "receipt", "up-1");
    assert!(run(&["bundle", "show", &up]).done().contains("whole"));
    let shown = run(&["bundle", "show", &up, "--json"]).json();
    assert_eq!(
        (&shown["from"], &shown["to"], &shown["whole"]),
        (&COUNTY.into(), &CITY.into(), &true.into()),
        "{shown}"
    );
    assert_eq!(shown["heads"][0]["size"], 700, "{shown}");
    let taken = import(&federation, CITY, &up);
    assert_eq!((taken.code, taken.json()["records"].as_u64()), (0, Some(700)), "{taken:?}");
    // Again, as files are copied twice: nothing changes.
    let again = import(&federation, CITY, &up);
    assert_eq!((again.code, again.json()["records"].as_u64()), (0, Some(0)), "{again:?}");
    wait_for("the city hands it on, and the province's receipt is at the city", seconds(30), || {
        let status = federation.try_status(CITY)?;
        let log = find(&status["logs"], "log", &origin(COUNTY));
        let sizes: Vec<_> = log["receipts"].as_array()?.iter().map(|r| r["size"].as_u64()).collect();
        (sizes == [Some(700), Some(700)]).then_some(())
    });
    let down = export(&federation, CITY, COUNTY, "receipt", "down-1");
    let back = import(&federation, COUNTY, &down);
    assert_eq!((back.code, back.json()["receipts"].as_u64()), (0, Some(2)), "{back:?}");
    assert_eq!(receipts(&federation).as_array().unwrap().len(), 2);
    assert_eq!(federation.status(COUNTY)["parent"]["unacked_records"], 0);
    // From now on only what is new goes along.
    federation.enter(COUNTY, 700..720);
    let more = export(&federation, COUNTY, CITY, "receipt", "up-2");
    assert!(fs::metadata(&more).unwrap().len() < fs::metadata(&up).unwrap().len() / 4);
    assert_eq!(import(&federation, CITY, &more).json()["records"], 20);
    // A node that starts again signs on.
    federation.stop(COUNTY);
    federation.start(COUNTY);
    federation.enter(COUNTY, 720..730);
}

#[test]
fn what_is_wrong_with_a_bundle_is_named_and_what_was_good_stays() {
    let federation = Federation::new(LINE);
    unplug(&federation, COUNTY);
    LINE.iter().for_each(|(division, ..)| federation.start(division));
    federation.enter(COUNTY, 0..100);
    federation.enter(COUNTY, 100..200);
    let up = export(&federation, COUNTY, CITY, "receipt", "up");
    let wrong = import(&federation, PROVINCE, &up);
    assert_eq!(wrong.code, 6, "it is for the city: {wrong:?}");
    let bytes = fs::read(&up).unwrap();
    let part = federation.at("part");
    fs::write(&part, &bytes[..bytes.len() - 3]).unwrap();
    let cut = import(&federation, CITY, &part);
    assert!(cut.code == 1 && cut.err.contains("breaks off"), "{cut:?}");
    let mut flipped = bytes.clone();
    let middle = flipped.len() - 200;
    flipped[middle] ^= 4;
    fs::write(&part, &flipped).unwrap();
    let altered = import(&federation, CITY, &part);
    assert!(altered.code != 0, "{altered:?}");
    assert!(run(&["bundle", "show", &part]).code == 1);
    assert!(run(&["bundle", "show", &federation.config(CITY)]).err.contains("not a bundle"));
    let whole = import(&federation, CITY, &up);
    assert_eq!(whole.code, 0, "{whole:?}");
    federation.wait_converged(&[PROVINCE, CITY], seconds(30));
    assert_eq!(federation.count(CITY), 200);
    // Never over an existing file.
    assert_eq!(federation.ask(COUNTY, &["bundle", "export", "--to", CITY, "-o", &up]).code, 1);
    assert_eq!(federation.ask(COUNTY, &["bundle", "export", "--to", "350200", "-o", &federation.at("x")]).code, 2);
}

/// A county without a network that lost its disk: what the city holds of it comes back in a bundle.
#[test]
fn a_lost_disk_comes_back_in_a_bundle() {
    let federation = Federation::new(LINE);
    federation.expects(&["disk.old_copy"]);
    unplug(&federation, COUNTY);
    LINE.iter().for_each(|(division, ..)| federation.start(division));
    federation.enter(COUNTY, 0..300);
    let up = export(&federation, COUNTY, CITY, "receipt", "up");
    import(&federation, CITY, &up).done();
    federation.stop(COUNTY);
    fs::remove_dir_all(federation.file(COUNTY, "data")).unwrap();
    federation.may_begin(COUNTY);
    federation.start(COUNTY);
    // The anchor, which is not among the data, knows how far the log had got.
    let why = find(&federation.status(COUNTY)["actions"], "code", "not_signing")["why"].clone();
    assert!(why.as_str().unwrap().starts_with("fetching 300 records"), "{why}");
    let down = export(&federation, CITY, COUNTY, "start", "down");
    let back = import(&federation, COUNTY, &down);
    assert_eq!((back.code, back.json()["records"].as_u64()), (0, Some(300)), "{back:?}");
    let (code, answer) = federation.ingest(COUNTY, &records(0..310, COUNTY));
    assert_eq!((code, &answer["duplicate"], &answer["accepted"]), (0, &300.into(), &10.into()), "{answer}");
    let second = export(&federation, COUNTY, CITY, "receipt", "up-2");
    assert_eq!(import(&federation, CITY, &second).json()["records"], 10);
}
