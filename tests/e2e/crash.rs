//! Power cuts: nodes are killed at random moments under load, and everything acknowledged is still there, once.
//!
//! `TALLY_CRASHES` says how often (40), `TALLY_SEED` repeats a run's choices.

use std::{
    thread,
    time::{Duration, SystemTime},
};
use tally_tests::{
    CITY, COUNTY, Federation, LINE, PROVINCE,
    feeder::{Feeder, assert_held},
    find, number, origin,
    sample::Random,
    seconds, wait_for,
};

const ALL: [&str; 3] = [PROVINCE, CITY, COUNTY];

fn clock() -> u64 {
    SystemTime::UNIX_EPOCH.elapsed().map_or(1, |d| d.as_nanos() as u64)
}

#[test]
fn nothing_acknowledged_is_lost_or_doubled_whoever_is_killed_when() {
    let crashes = number("TALLY_CRASHES").unwrap_or(40);
    let seed = number("TALLY_SEED").unwrap_or_else(clock);
    println!("TALLY_SEED={seed} TALLY_CRASHES={crashes}");
    let federation = Federation::running(LINE);
    let feeder = Feeder::new(&federation, COUNTY);
    thread::scope(|s| {
        let _stopper = feeder.stopper();
        let mut sizes = Random(seed ^ 1);
        s.spawn(|| feeder.run(move || 50 + sizes.below(451)));
        let mut random = Random(seed);
        for n in 1..=crashes {
            // Short lives hit starts and recoveries, long ones hit work under way.
            let longest = if random.below(2) == 0 { 300 } else { 2_500 };
            thread::sleep(Duration::from_millis(random.below(longest)));
            let one = random.below(3) as usize;
            // Now and then the lights go out everywhere.
            let killed = if random.below(8) == 0 { &ALL[..] } else { &ALL[one..=one] };
            println!("{n}: kill {killed:?} with {} acknowledged", feeder.count());
            killed.iter().for_each(|d| federation.kill9(d));
            killed.iter().for_each(|d| federation.spawn(d));
        }
        ALL.iter().for_each(|d| federation.ready(d));
        let before = feeder.count();
        wait_for("records are acknowledged again", seconds(60), || (feeder.count() > before).then_some(()));
    });
    federation.wait_converged(&ALL, seconds(120));
    let acknowledged = feeder.acknowledged();
    println!("{crashes} crashes, {} records acknowledged", acknowledged.len());
    for division in ALL {
        assert_held(&federation, division, &acknowledged);
        assert_eq!(federation.count(division), acknowledged.len() as u64, "{division}");
        // Not one record stands in the log twice, whatever intake knew at each restart.
        let status = federation.status(division);
        assert_eq!(find(&status["logs"], "log", &origin(COUNTY))["size"], acknowledged.len(), "{division}");
    }
}
