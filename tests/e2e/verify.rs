//! `tally verify` on running nodes.

use std::{fs::OpenOptions, os::unix::fs::FileExt as _};
use tally_tests::{CITY, COUNTY, Federation, LINE, PROVINCE, list, origin, run, seconds, wait_for};

#[test]
fn damage_is_named_where_it_is_and_nowhere_else() {
    // Repair by itself would race with the bytes that this test puts back by hand.
    let federation = Federation::running_with(LINE, "\n[schedule]\nrepair = false\n");
    federation.expects(&["verify.damaged"]);
    federation.enter(COUNTY, 0..3_000);
    federation.wait_converged(&[PROVINCE, CITY, COUNTY], seconds(60));
    let verify = |division: &str| run(&["verify", "--json", "--config", &federation.config(division)]);
    for division in [PROVINCE, CITY, COUNTY] {
        let ran = verify(division);
        let report = ran.json();
        assert_eq!((ran.code, report["records"].as_u64()), (0, Some(3_000)), "{division}: {ran:?}");
        assert!(list(&report["damaged"]).is_empty());
    }
    // One bit in the middle of the city's only segment, while the city runs.
    let path = federation.file(CITY, "data/journal/00000001.seg");
    let segment = OpenOptions::new().read(true).write(true).open(path).unwrap();
    let middle = segment.metadata().unwrap().len() / 2;
    let mut byte = [0];
    segment.read_exact_at(&mut byte, middle).unwrap();
    segment.write_all_at(&[byte[0] ^ 1], middle).unwrap();
    let ran = verify(CITY);
    let report = ran.json();
    assert_eq!(ran.code, 4, "{ran:?}");
    let damaged = list(&report["damaged"]);
    assert_eq!(damaged.len(), 1, "{report}");
    let d = &damaged[0];
    assert_eq!((&d["log"], &d["segment"]), (&origin(COUNTY).into(), &1.into()));
    let (from, to) = (d["from"].as_u64().unwrap(), d["to"].as_u64().unwrap());
    assert!(from < to && to <= 3_000 && d["offset"].as_u64().unwrap() <= middle, "{d}");
    assert_eq!(report["records"].as_u64().unwrap() + (to - from), 3_000, "all others hold");
    for division in [PROVINCE, COUNTY] {
        assert_eq!(verify(division).code, 0);
    }
    let own = run(&["verify", "--json", "--log", "350100/e1", "--config", &federation.config(CITY)]);
    assert_eq!(own.code, 2, "the city holds no log of its own yet: {own:?}");
    segment.write_all_at(&byte, middle).unwrap();
    assert_eq!(verify(CITY).code, 0, "mended by hand, in order again");
}

/// The index is built anew while the node stays: same answers, and it never stopped serving its neighbours for long.
#[test]
fn the_index_is_built_anew_on_demand() {
    let federation = Federation::running(LINE);
    federation.expects(&["index.rebuild"]);
    federation.enter(COUNTY, 0..1_200);
    federation.wait_converged(&[PROVINCE, CITY, COUNTY], seconds(60));
    for division in [CITY, COUNTY] {
        let before = federation.export_text(division, &["--history"]);
        let id = {
            let ran = federation.ask(division, &["task", "rebuild-index", "--json"]);
            assert_eq!(ran.code, 0, "{ran:?}");
            ran.json()["id"].as_str().unwrap().to_owned()
        };
        wait_for("the task is done and the node answers again", seconds(30), || {
            let ran = federation.ask(division, &["task", "show", &id, "--json"]);
            let log = std::fs::read_to_string(federation.file(division, "node.log")).unwrap();
            (ran.code == 0 && ran.json()["state"] == "done" && log.contains("index.rebuild")).then_some(())
        });
        wait_for("the index is whole", seconds(30), || {
            let verified = federation.ask(division, &["verify", "--json"]);
            (verified.code == 0 && verified.json()["index"] == "ok").then_some(())
        });
        assert_eq!(federation.export_text(division, &["--history"]), before, "{division}");
    }
    federation.enter(COUNTY, 1_200..1_300);
    federation.wait_converged(&[PROVINCE, CITY, COUNTY], seconds(60));
}
