//! Links across processes: whoever comes back is linked again at once, and the log says why a link had ended.

use serde_json::Value;
use std::time::Instant;
use tally_tests::{CITY, COUNTY, Federation, LINE, PROVINCE, seconds, wait_for};

/// Lines of a node's log with this event, from the given line on.
fn events(federation: &Federation, division: &str, event: &str, from: usize) -> Vec<Value> {
    let log = std::fs::read_to_string(federation.file(division, "node.log")).unwrap();
    let lines = log.lines().skip(from).filter_map(|l| serde_json::from_str::<Value>(l).ok());
    lines.filter(|l| l["fields"]["event"] == event).collect()
}

fn length(federation: &Federation, division: &str) -> usize {
    std::fs::read_to_string(federation.file(division, "node.log")).unwrap().lines().count()
}

#[test]
fn a_city_that_was_killed_tells_its_neighbours_as_soon_as_it_is_back() {
    let federation = Federation::running(LINE);
    federation.enter(COUNTY, 0..50);
    federation.wait_converged(&[PROVINCE, CITY, COUNTY], seconds(60));
    for round in 0..3 {
        let before = length(&federation, COUNTY);
        federation.kill9(CITY);
        federation.start(CITY);
        let back = Instant::now();
        let ended = wait_for("the county's old link ends", seconds(30), || {
            events(&federation, COUNTY, "link.ended", before).into_iter().next()
        });
        wait_for("the county is linked again", seconds(60), || {
            events(&federation, COUNTY, "link.up", before).into_iter().next()
        });
        println!("round {round}: linked again {} ms after the city was ready", back.elapsed().as_millis());
        assert_eq!(ended["fields"]["kind"], "reset", "not by waiting for its silence: {ended}");
    }
    federation.enter(COUNTY, 50..80);
    federation.wait_converged(&[PROVINCE, CITY, COUNTY], seconds(60));
}
