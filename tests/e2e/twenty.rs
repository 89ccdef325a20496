//! Three levels and twenty counties on one machine: what the province knows of four counties with a trouble each, of one that
//! mends its disk by itself, and of a city that dies. Twenty-three processes for some minutes, so only on demand:
//! `cargo test -p tally-tests --test e2e -- --ignored --nocapture twenty`.

use crate::{
    hostile::{Peer, keys_of, port_of, sealed},
    repair::flip,
};
use serde_json::Value;
use std::{
    collections::BTreeMap,
    fs,
    process::{Child, Command, Stdio},
    sync::atomic::{AtomicBool, Ordering},
    time::{Duration, Instant},
};
use tally_protocol::merkle::Tree;
use tally_tests::{
    CITY, Federation, PROVINCE, find, free_port, list, origin, sample::Random, seconds, shim::shim, tally, wait_for,
};

const OTHER_CITY: &str = "350200";
/// How far the clock of one county is ahead, in seconds.
const AHEAD_S: i64 = 3_600;
/// For so long the processor is measured while nothing happens, in seconds.
const IDLE_S: u64 = 20;

fn county(city: &str, n: u32) -> String {
    (city.parse::<u32>().unwrap() + n).to_string()
}

/// The action at the province with this code that names a division.
fn named(status: &Value, code: &str, division: &str) -> Option<Value> {
    let of = |a: &&Value| a["code"] == code && a["what"].as_str().is_some_and(|what| what.contains(division));
    list(&status["actions"]).iter().find(of).cloned()
}

/// A second machine: all that the first one has, at another port.
struct SecondMachine(Child);

impl SecondMachine {
    fn of(federation: &Federation, division: &str) -> Self {
        let (from, to) = (federation.at(division), federation.at("clone"));
        assert!(Command::new("cp").args(["-a", &from, &to]).status().unwrap().success());
        let config = federation.at("clone/tally.toml");
        let old = format!(":{}\"", port_of(federation, division));
        let text = fs::read_to_string(&config).unwrap().replace(&old, &format!(":{}\"", free_port()));
        fs::write(&config, text).unwrap();
        let mut run = Command::new(tally());
        run.args(["run", "--config", &config]).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        Self(run.spawn().unwrap())
    }
}

impl Drop for SecondMachine {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Somebody with a county's key pushes what does not continue its log, again and again.
fn pushes_nonsense(federation: &Federation, division: &str, stop: &AtomicBool) {
    let (port, keys) = (port_of(federation, CITY), keys_of(federation, division));
    let mut tree = Tree::default();
    (0..500_u32).for_each(|n| tree.push(tally_protocol::hash::sha256(&[&n.to_be_bytes()])));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        while !stop.load(Ordering::Relaxed) {
            let peer = Peer::welcomed(port, &keys).await;
            peer.push(keys.node, &[&sealed(&keys, &tree, 1)]).await;
            tokio::time::sleep(Duration::from_secs(3)).await;
        }
    });
}

fn figures(federation: &Federation, all: &[&str]) {
    let cpu = || all.iter().map(|d| federation.cpu_ms(d)).sum::<u64>();
    let (before, started) = (cpu(), Instant::now());
    std::thread::sleep(Duration::from_secs(IDLE_S));
    let used = cpu() - before;
    let share = used as f64 / started.elapsed().as_millis() as f64 * 100.0;
    println!("{} processes at rest: {share:.1} % of one processor together", all.len());
    for division in [PROVINCE, CITY, all[3]] {
        let (high, now) = federation.memory_kib(division);
        println!("{division}: {} MiB resident at most, {} MiB now", high >> 10, now >> 10);
    }
    let together: u64 = all.iter().map(|d| federation.memory_kib(d).1).sum();
    println!("together: {} MiB", together >> 10);
}

/// All of them run, hold the same, and nobody is named.
fn at_peace(counties: &[String]) -> Federation {
    let mut plan = vec![(PROVINCE, "province", None)];
    plan.extend([CITY, OTHER_CITY].map(|city| (city, "prefecture", Some(PROVINCE))));
    let city = |n: usize| if n < counties.len() / 2 { CITY } else { OTHER_CITY };
    plan.extend(counties.iter().enumerate().map(|(n, c)| (c.as_str(), "county", Some(city(n)))));
    let federation = Federation::running(&plan);
    federation.expects(&[
        "verify.damaged",
        "journal.damaged",
        "journal.mended",
        "batch.refused",
        "link.unreached",
        "key.twice",
        "clock.off",
        "disk.old_copy",
    ]);
    counties.iter().for_each(|c| federation.enter(c, 0..40));
    let all: Vec<_> = plan.iter().map(|(d, ..)| *d).collect();
    federation.wait_converged(&all, seconds(180));
    let well = federation.poll_status(PROVINCE, seconds(120), |status| {
        let nodes = list(&status["nodes"]);
        let live = nodes.iter().all(|n| n["state"] == "live" && n["agrees"] == true);
        live && nodes.len() == counties.len() + 2 && list(&status["actions"]).is_empty()
    });
    assert!(well, "{}", federation.status(PROVINCE));
    figures(&federation, &all);
    federation
}

/// Waits until each of these is named at the province, with why and what to do next.
fn are_named(federation: &Federation, troubles: &[(&str, &str)]) {
    let started = Instant::now();
    let mut seen = BTreeMap::new();
    let told = federation.poll_status(PROVINCE, seconds(60), |status| {
        for (code, division) in troubles {
            if let Some(action) = named(status, code, division) {
                seen.entry(*code).or_insert_with(|| {
                    println!("after {:?}: {action}", started.elapsed());
                    action
                });
            }
        }
        seen.len() == troubles.len()
    });
    assert!(told, "only these are named: {:?}", seen.keys());
    assert!(seen.values().all(|a| a["why"] != "" && a["next"] != ""), "{seen:?}");
}

#[test]
#[ignore = "23 processes for some minutes"]
fn troubles_among_twenty_counties_and_a_dead_city_are_named_within_a_minute() {
    let Some(shim) = shim() else { return };
    let counties: Vec<String> = [CITY, OTHER_CITY].iter().flat_map(|city| (2..12).map(|n| county(city, n))).collect();
    let federation = at_peace(&counties);
    let [killed, damaged, refused, cloned, skewed] = [0, 1, 2, 3, 4].map(|n| counties[n].as_str());
    flip(&federation, damaged, &mut Random(7), |(log, ..)| *log == origin(damaged));
    [refused, cloned, skewed].iter().for_each(|c| federation.stop(c));
    federation.clock_ahead(skewed, shim, AHEAD_S);
    let _clone = SecondMachine::of(&federation, cloned);
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let _stop = Stop(&stop);
        scope.spawn(|| pushes_nonsense(&federation, refused, &stop));
        [cloned, skewed].iter().for_each(|c| federation.start(c));
        // What the city can give back is asked for at once, and is no trouble any more.
        assert_eq!(federation.verify(damaged).code, 4);
        let started = Instant::now();
        wait_for("the damage is mended", seconds(60), || (federation.verify(damaged).code == 0).then_some(()));
        println!("after {:?} the damage is mended", started.elapsed());
        federation.kill9(killed);
        are_named(
            &federation,
            &[("node_lost", killed), ("node_refused", refused), ("same_key_twice", cloned), ("node_clock", skewed)],
        );
    });

    federation.kill9(OTHER_CITY);
    are_named(&federation, &[("node_lost", OTHER_CITY)]);
    let behind = &counties[counties.len() / 2..];
    let unknown = federation.poll_status(PROVINCE, seconds(60), |status| {
        behind.iter().all(|c| find(&status["nodes"], "division", c)["state"].is_null())
    });
    let status = federation.status(PROVINCE);
    assert!(unknown && behind.iter().all(|c| named(&status, "node_lost", c).is_none()), "{status}");
    assert!(named(&status, "node_lost", killed).is_some() && named(&status, "node_damaged", damaged).is_none());
}

/// Ends a loop also when what is around it fails.
struct Stop<'s>(&'s AtomicBool);

impl Drop for Stop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}
