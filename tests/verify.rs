//! `tally verify` on running nodes.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod support;

use std::{fs::OpenOptions, os::unix::fs::FileExt as _};
use support::{CITY, COUNTY, Federation, LINE, PROVINCE, list, origin, seconds, tally};

#[test]
fn damage_is_named_where_it_is_and_nowhere_else() {
    let federation = Federation::running(LINE);
    federation.enter(COUNTY, 0..3_000);
    federation.wait_converged(&[PROVINCE, CITY, COUNTY], seconds(60));
    let verify = |division: &str| tally(&["verify", "--json", "--config", &federation.config(division)]);
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
    let own = tally(&["verify", "--json", "--log", "350100/e1", "--config", &federation.config(CITY)]);
    assert_eq!(own.code, 2, "the city holds no log of its own yet: {own:?}");
    segment.write_all_at(&byte, middle).unwrap();
    assert_eq!(verify(CITY).code, 0, "mended by hand, in order again");
}
