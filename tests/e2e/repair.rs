//! Damage is named where it is and nowhere else, and put right from whichever neighbour has the bytes.
//!
//! `TALLY_DAMAGES` says how often there is random damage (300), `TALLY_SEED` makes other choices (1).

use serde_json::Value;
use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    ops::Range as Numbers,
    path::Path,
    time::Instant,
};
use tally_tests::{
    CITY, COUNTY, Federation, LINE, NEIGHBOUR, PROVINCE, Plan,
    damage::{Damage, pick},
    feeder::Feeder,
    find, list, named, number, origin, poll,
    sample::{Random, write_records},
    seconds,
    segments::{Range, Segments, overlap, within},
    wait_for,
};

const ALL: [&str; 4] = [PROVINCE, CITY, COUNTY, NEIGHBOUR];
const PLAN: &[Plan<'static>] = &[LINE[0], LINE[1], LINE[2], (NEIGHBOUR, "county", Some(CITY))];
/// Many segments with few records.
const SMALL: &str = "\n[storage]\nsegment_kib = 64\n";

/// More than the bytes of one frame here.
const STEP: u64 = 100_000;

fn parent(division: &str) -> &str {
    PLAN.iter().find(|(d, ..)| *d == division).unwrap().2.unwrap()
}

/// Runs with small segments and some thousand records in three logs, in batches of many sizes.
fn federation() -> Federation {
    let federation = Federation::new(PLAN);
    for division in ALL {
        federation.configure(division, SMALL);
        federation.spawn(division);
    }
    ALL.iter().for_each(|d| federation.ready(d));
    let mut next = 0;
    for size in [1_000, 20, 300, 2_000, 1, 700, 1_500, 150] {
        enter(&federation, next..next + size);
        next += size;
    }
    federation
}

/// The same numbers at both counties, a third of them at the city; converged at the end.
fn enter(federation: &Federation, numbers: Numbers<u64>) {
    let some = numbers.start..numbers.start + (numbers.end - numbers.start).div_ceil(3);
    for (division, numbers) in [(COUNTY, &numbers), (NEIGHBOUR, &numbers), (CITY, &some)] {
        federation.enter(division, numbers.clone());
    }
    federation.wait_converged(&ALL, seconds(60));
}

/// Both ends of every link say that it is up.
fn wait_linked(federation: &Federation) {
    let up = |child: &str, parent: &str| {
        let (mine, theirs) = (federation.status(child), federation.status(parent));
        mine["parent"]["state"] == "live" && find(&theirs["children"], "division", child)["state"] == "live"
    };
    let all = || PLAN.iter().all(|(child, _, parent)| parent.is_none_or(|parent| up(child, parent))).then_some(());
    wait_for("all links are up", seconds(60), all);
}

/// Every log as its origin has it: bytes of each batch.
fn originals(federation: &Federation) -> BTreeMap<Range, Vec<u8>> {
    let own = |division: &&str| {
        let segments = federation.segments(division);
        let batches = segments.batches().into_iter().filter(|((log, ..), _)| *log == origin(division));
        batches.map(|(range, bytes)| (range, bytes.to_vec())).collect::<Vec<_>>()
    };
    ALL.iter().flat_map(own).collect()
}

/// A node holds the same batches as their origins, byte for byte.
fn assert_identical(division: &str, held: &Segments, originals: &BTreeMap<Range, Vec<u8>>) {
    let batches = held.batches();
    let wanted = originals.iter().filter(|((log, ..), _)| {
        let of = log.rsplit('/').nth(1).unwrap();
        division == PROVINCE || of == division || division == CITY && of != PROVINCE
    });
    let mut count = 0;
    for (range, bytes) in wanted {
        assert!(batches.get(range) == Some(&bytes.as_slice()), "{range:?} at {division} is not as its origin has it");
        count += 1;
    }
    assert_eq!(batches.len(), count, "{division} holds batches that nobody wrote");
}

/// One case of random damage.
struct Case<'f> {
    federation: &'f Federation,
    originals: &'f BTreeMap<Range, Vec<u8>>,
    hurt: Vec<(&'static str, Damage)>,
    stopped: bool,
}

impl<'f> Case<'f> {
    fn draw(
        federation: &'f Federation,
        originals: &'f BTreeMap<Range, Vec<u8>>,
        stopped: bool,
        random: &mut Random,
    ) -> Self {
        let one = *pick(&ALL, random);
        let two = (!stopped && one != PROVINCE && random.below(4) == 0).then(|| parent(one));
        let draw = |division: &'static str, random: &mut Random| {
            let damage = Damage::random(federation.segments(division), random);
            (division, if stopped { damage.while_stopped() } else { damage })
        };
        loop {
            let hurt: Vec<_> = [Some(one), two].into_iter().flatten().map(|d| draw(d, random)).collect();
            // What is lost at both ends nobody may be able to give back.
            let lost: Vec<_> = hurt.iter().map(|(_, damage)| damage.lost_to_repair()).collect();
            let both = lost.get(1).is_some_and(|theirs| overlap(&lost[0], theirs));
            if !both {
                return Self { federation, originals, hurt, stopped };
            }
        }
    }

    fn tell(&self, n: u64) {
        let what = self.hurt.iter().map(|(d, damage)| format!("{d}: {}", damage.what.join(" and ")));
        let how = if self.stopped { " (stopped)" } else { "" };
        println!(
            "{n}{how}: {}; lost {:?}",
            what.collect::<Vec<_>>().join("; "),
            self.hurt.iter().map(|h| h.1.lost()).collect::<Vec<_>>()
        );
    }

    fn run(&self, random: &mut Random) {
        let before: BTreeMap<_, _> = ALL.iter().map(|d| (*d, self.federation.segments(d))).collect();
        if self.stopped {
            self.strike_stopped(random);
        } else {
            self.hurt.iter().for_each(|(division, damage)| damage.apply(self.federation, division));
        }
        self.hurt.iter().for_each(|(division, damage)| self.check_verify(division, damage));
        self.repair(random);
        for (division, _) in &self.hurt {
            self.federation.assert_verified(division);
        }
        for division in ALL {
            let after = self.federation.segments(division);
            assert_identical(division, &after, self.originals);
            let damage = self.hurt.iter().find(|(d, _)| *d == division).map(|(_, damage)| damage);
            self.check_unmoved(division, &before[division], &after, damage);
        }
    }

    /// While the node is stopped, what is derived may be damaged too: nothing is lost by that.
    fn strike_stopped(&self, random: &mut Random) {
        let (division, damage) = &self.hurt[0];
        self.federation.stop(division);
        damage.apply(self.federation, division);
        let spoil = |name: &str, random: &mut Random| spoil(Path::new(&self.federation.file(division, name)), random);
        for name in ["data/journal.mark", "data/tasks.json"] {
            if random.below(4) == 0 {
                spoil(name, random);
            }
        }
        match random.below(6) {
            0 => fs::remove_dir_all(self.federation.file(division, "data/index")).unwrap(),
            1 => spoil("data/index", random),
            _ => {}
        }
        self.federation.start(division);
        wait_linked(self.federation);
        self.federation.wait_converged(&ALL, seconds(60));
    }

    fn check_verify(&self, division: &str, damage: &Damage) {
        let ran = self.federation.verify(division);
        let report = ran.json();
        let (named, lost) = (named(&report), damage.lost());
        let places = list(&report["damaged"]).len();
        assert_eq!(ran.code, if places > 0 { 4 } else { 0 }, "{ran:?}");
        if self.stopped {
            // What was lost at the end of a log came back by replication when the node started.
            let sure = damage.lost_for_sure();
            assert!(within(&named, &lost) && within(&sure, &named), "lost {lost:?}, for sure {sure:?}: {report}");
        } else {
            assert_eq!(named, lost, "{division}: {report}");
            assert_eq!(places > 0, damage.matters(), "{division}: {report}");
        }
    }

    /// At one end of a link that has all that is needed, now from this side, now from the other.
    fn repair(&self, random: &mut Random) {
        let (division, damage) = &self.hurt[0];
        let above = if *division == PROVINCE { CITY } else { parent(division) };
        let (at, with) = match random.below(2) {
            _ if self.hurt.len() == 2 && *division != CITY => (CITY, "all"),
            0 => (*division, above),
            _ => (above, *division),
        };
        let report = self.federation.repair(at, with);
        // A node that starts knows of a damaged batch in its last segment only that it is missing, and fetches it whole.
        let alone = !self.stopped && self.hurt.len() == 1 && !damage.lost().is_empty();
        if let (Some(body), true) = (damage.small, alone) {
            let moved = report["fetched_bytes"].as_u64().unwrap() + report["sent_bytes"].as_u64().unwrap();
            println!("    {moved} bytes moved for a flip in {body}");
            assert!(body < 8_000 || moved < body as u64 / 2, "{moved} bytes moved for a flip in {body}: {report}");
        }
    }

    /// Segments that were not damaged are as they were; the last one may have grown.
    fn check_unmoved(&self, division: &str, before: &Segments, after: &Segments, damage: Option<&Damage>) {
        let touched = damage.map(Damage::touched).unwrap_or_default();
        for (segment, old) in before.0.iter().filter(|(s, _)| !touched.contains(s)) {
            let new = after.0.get(segment).unwrap_or_else(|| panic!("{division}: segment {segment} is gone"));
            let same = if *segment == before.last() { new.starts_with(&old[..before.end()]) } else { new == old };
            assert!(same, "{division}: segment {segment} was not damaged and is not what it was");
        }
    }
}

/// Flips a bit in a file, or in each file of a folder.
fn spoil(path: &Path, random: &mut Random) {
    if path.is_dir() {
        return fs::read_dir(path).unwrap().for_each(|f| spoil(&f.unwrap().path(), random));
    }
    let mut bytes = fs::read(path).unwrap_or_default();
    if !bytes.is_empty() {
        let at = random.below(bytes.len() as u64) as usize;
        bytes[at] ^= 1 << random.below(8);
        fs::write(path, bytes).unwrap();
    }
}

fn exports(federation: &Federation) -> Vec<String> {
    let whole = |division: &&str| {
        let wanted = federation.status(division)["records"].clone();
        wait_for("the index has all", seconds(60), || {
            let text = federation.export_text(division, &["--history"]);
            (wanted == text.lines().count()).then_some(text)
        })
    };
    ALL.iter().map(whole).collect()
}

#[test]
fn random_damage_is_named_exactly_and_comes_back_byte_for_byte() {
    const CHECK_EVERY: u64 = 50;
    let cases = number("TALLY_DAMAGES").unwrap_or(300);
    let seed = number("TALLY_SEED").unwrap_or(1);
    println!("TALLY_SEED={seed} TALLY_DAMAGES={cases}");
    let mut random = Random(seed);
    let federation = federation();
    let mut originals_now = originals(&federation);
    let mut exported = exports(&federation);
    let started = Instant::now();
    for n in 1..=cases {
        let stopped = n % 8 == 0;
        let case = Case::draw(&federation, &originals_now, stopped, &mut random);
        case.tell(n);
        case.run(&mut random);
        if n % CHECK_EVERY == 0 {
            println!("{n} cases in {:?}", started.elapsed());
            assert!(exports(&federation) == exported, "an export has changed");
            enter(&federation, 10_000 + n..10_000 + n + CHECK_EVERY);
            (originals_now, exported) = (originals(&federation), exports(&federation));
        }
    }
    ALL.iter().for_each(|d| federation.assert_verified(d));
}

/// Damages one batch of a log on a node's disk, and tells which.
fn flip(federation: &Federation, division: &str, random: &mut Random, which: impl Fn(&Range) -> bool) -> Range {
    let mut damage = Damage::none(federation.segments(division));
    damage.flip_in_a_batch(random, which);
    damage.apply(federation, division);
    damage.lost().remove(0)
}

#[test]
fn neighbours_heal_from_each_other_and_over_one_in_between() {
    let mut random = Random(7);
    let federation = federation();
    let originals = originals(&federation);
    let healed = || {
        for division in ALL {
            federation.assert_verified(division);
            assert_identical(division, &federation.segments(division), &originals);
        }
    };
    // Different records at both ends: one repair gives and fetches.
    let at_city = flip(&federation, CITY, &mut random, |(log, ..)| *log == origin(NEIGHBOUR));
    let at_province = flip(&federation, PROVINCE, &mut random, |(log, ..)| *log == origin(CITY));
    let found = federation.reconcile(CITY, PROVINCE, &[]);
    let ends = |report: &Value| -> Vec<(Value, Value)> {
        list(&report["differences"]).iter().map(|d| (d["here"].clone(), d["there"].clone())).collect()
    };
    assert_eq!(found.code, 4, "{found:?}");
    assert_eq!(ends(&found.json()), [("ok".into(), "damaged".into()), ("damaged".into(), "ok".into())], "{found:?}");
    let report = federation.repair(CITY, PROVINCE);
    let lost = [at_city, at_province].iter().map(|(_, from, to)| to - from).sum::<u64>();
    assert_eq!(report["repaired"], lost, "{report}");
    healed();
    // The same records at both ends of a link: only the county below has them.
    let lost = flip(&federation, CITY, &mut random, |(log, ..)| *log == origin(COUNTY));
    flip(&federation, PROVINCE, &mut random, |range| *range == lost);
    let helpless = federation.reconcile(PROVINCE, CITY, &["--repair"]);
    assert_eq!((helpless.code, &helpless.json()["agree"]), (4, &false.into()), "{helpless:?}");
    heal_with_all(&federation);
    healed();
    // The same, and the one above has them.
    let lost = flip(&federation, CITY, &mut random, |(log, ..)| *log == origin(COUNTY));
    flip(&federation, COUNTY, &mut random, |range| *range == lost);
    heal_with_all(&federation);
    healed();
}

/// What one neighbour brings may be what another waits for: twice is enough.
fn heal_with_all(federation: &Federation) {
    let first = federation.reconcile(CITY, "all", &["--repair"]);
    assert!([0, 4].contains(&first.code), "{first:?}");
    if first.code == 4 {
        federation.repair(CITY, "all");
    }
}

#[test]
fn damage_and_repair_while_records_come_in_lose_nothing() {
    const ROUNDS: usize = 8;
    let mut random = Random(8);
    let federation = federation();
    for division in [COUNTY, NEIGHBOUR, CITY] {
        let held = federation.status(division)["records"].as_u64();
        assert!(held.is_some_and(|n| n > 1_000), "{division}: {held:?}");
    }
    let feeder = Feeder::from(&federation, COUNTY, 100_000);
    std::thread::scope(|s| {
        let _stopper = feeder.stopper();
        let mut sizes = Random(9);
        s.spawn(|| feeder.run(move || 50 + sizes.below(451)));
        for _ in 0..ROUNDS {
            let before = feeder.count();
            wait_for("records are acknowledged", seconds(60), || (feeder.count() > before).then_some(()));
            let lost = flip(&federation, CITY, &mut random, |_| true);
            let ran = federation.verify(CITY);
            assert_eq!((ran.code, named(&ran.json())), (4, vec![lost]), "{ran:?}");
            federation.repair(CITY, "parent");
            federation.assert_verified(CITY);
        }
    });
    federation.wait_converged(&ALL, seconds(60));
    let originals = originals(&federation);
    for division in ALL {
        federation.assert_verified(division);
        assert_identical(division, &federation.segments(division), &originals);
    }
    let acknowledged = feeder.acknowledged();
    let held = federation.export(PROVINCE, &["--history"]);
    let held: BTreeSet<_> = held.iter().map(|l| l["business_key"].as_str().unwrap()).collect();
    let lost: Vec<_> = acknowledged.iter().filter(|k| !held.contains(k.as_str())).take(3).collect();
    assert!(lost.is_empty(), "of {} acknowledged, such as {lost:?}", acknowledged.len());
}

#[test]
fn a_damaged_index_is_no_fault_and_changes_no_answer() {
    let mut random = Random(10);
    let federation = federation();
    let before = exports(&federation);
    for division in [COUNTY, CITY] {
        let index = federation.file(division, "data/index");
        for deleted in [true, false] {
            federation.stop(division);
            if deleted {
                fs::remove_dir_all(&index).unwrap();
            } else {
                spoil(Path::new(&index), &mut random);
            }
            federation.start(division);
            federation.assert_verified(division);
            assert!(exports(&federation) == before, "an export has changed with the index of {division}");
        }
    }
}

#[test]
fn without_repair_nothing_on_the_disk_is_changed() {
    let mut random = Random(11);
    let federation = federation();
    flip(&federation, CITY, &mut random, |(log, ..)| *log == origin(COUNTY));
    let mut more = Damage::none(federation.segments(PROVINCE));
    more.after.0.remove(&2);
    more.apply(&federation, PROVINCE);
    let before = ALL.map(|d| federation.segments(d));
    for (at, with) in [(CITY, "parent"), (PROVINCE, CITY), (CITY, "all"), (COUNTY, "parent")] {
        let ran = federation.reconcile(at, with, &[]);
        let report = ran.json();
        let found = !list(&report["differences"]).is_empty();
        assert!(ran.code == 4 && report["agree"] == false && report["dry_run"] == true && found, "{ran:?}");
        assert_eq!(report["repaired"], 0, "{report}");
    }
    assert!(ALL.map(|d| federation.segments(d)) == before, "a comparison has changed a journal");
    assert!(ALL.iter().all(|d| !Path::new(&federation.file(d, "data/quarantine")).exists()));
    heal_with_all(&federation);
    ALL.iter().for_each(|d| federation.assert_verified(d));
}

#[test]
fn tasks_are_held_and_survive_a_kill_and_neighbours_away_are_named() {
    const N: u64 = 120_000;
    let federation = Federation::running(PLAN);
    let file = federation.at("records.ndjson");
    write_records(&file, 0..N, COUNTY);
    assert_eq!(federation.ingest_file(COUNTY, &file).0, 0);
    let slow = || {
        let ran = federation.ask(COUNTY, &["verify", "--rate", "1", "--detach"]);
        ran.done().trim().to_owned()
    };
    let done = |task: &Value| {
        let (done, total) = (&task["progress"]["done"], &task["progress"]["total"]);
        assert!(total.is_null() || done.as_u64() <= total.as_u64(), "{task}");
        done.as_u64().unwrap()
    };
    let moves = |id: &str, from: u64| federation.wait_task(COUNTY, id, seconds(20), |t| done(t) > from);
    // Held, it stands still; then it goes on.
    let id = slow();
    moves(&id, 0);
    assert_eq!(federation.task(COUNTY, "pause", &id)["state"], "paused");
    // A frame that was begun is read to its end.
    let held = done(&federation.wait_task(COUNTY, &id, seconds(5), |t| t["state"] == "paused"));
    let still = poll(seconds(1), || Some(done(&federation.task(COUNTY, "show", &id))).filter(|now| *now > held + STEP));
    assert_eq!(still, None, "a task that is held goes on from {held}");
    let resumed = federation.task(COUNTY, "resume", &id);
    assert!(["running", "queued"].contains(&resumed["state"].as_str().unwrap()), "{resumed}");
    moves(&id, held + STEP);
    federation.task(COUNTY, "cancel", &id);
    federation.wait_task(COUNTY, &id, seconds(5), |t| t["state"] == "cancelled");
    assert_ne!(federation.ask(COUNTY, &["task", "resume", &id]).code, 0, "what has ended does not go on");
    // Killed in the middle, it goes on under its name.
    let id = slow();
    moves(&id, STEP);
    federation.kill9(COUNTY);
    federation.start(COUNTY);
    moves(&id, 0);
    federation.ask(COUNTY, &["task", "rate", "0", &id]).done();
    let over =
        federation.wait_task(COUNTY, &id, seconds(30), |t| ["done", "failed"].contains(&t["state"].as_str().unwrap()));
    done(&over);
    assert_eq!(
        (&over["state"], &over["result"]["records"], &over["exit"]),
        (&"done".into(), &N.into(), &0.into()),
        "{over}"
    );
    assert_eq!(over["progress"]["done"], over["progress"]["total"], "{over}");
    // A neighbour that is away.
    federation.wait_converged(&ALL, seconds(60));
    federation.stop(NEIGHBOUR);
    let ran = federation.reconcile(CITY, NEIGHBOUR, &[]);
    assert!(ran.code != 0 && ran.out.is_empty() && ran.err.contains(NEIGHBOUR), "{ran:?}");
    let ran = federation.reconcile(CITY, "all", &[]);
    let report = ran.json();
    let skipped = list(&report["skipped"]);
    assert!([3, 4].contains(&ran.code) && skipped.len() == 1 && skipped[0]["division"] == NEIGHBOUR, "{ran:?}");
    assert!(skipped[0]["why"].as_str().unwrap().contains(NEIGHBOUR), "{report}");
}

/// Two neighbours that compare with each other at the same time, and a verify that is held meanwhile: none waits for
/// ever for the other's disk.
#[test]
fn neighbours_that_compare_with_each_other_at_the_same_time_both_end() {
    let federation = federation();
    let held = federation.ask(CITY, &["verify", "--rate", "1", "--detach"]).done();
    federation.task(CITY, "pause", held.trim());
    for _ in 0..3 {
        let start = |division: &str, with: &str| {
            let ran = federation.ask(division, &["reconcile", "--with", with, "--repair", "--detach"]);
            ran.done().trim().to_owned()
        };
        let tasks = [(PROVINCE, start(PROVINCE, CITY)), (COUNTY, start(COUNTY, CITY)), (CITY, start(CITY, PROVINCE))];
        for (division, id) in &tasks {
            let task =
                federation.wait_task(division, id, seconds(40), |t| t["state"] == "done" || t["state"] == "failed");
            assert_eq!((&task["state"], &task["exit"]), (&"done".into(), &0.into()), "{division}: {task}");
        }
    }
    federation.task(CITY, "cancel", held.trim());
    let both = || {
        [(PROVINCE, CITY), (CITY, PROVINCE)].map(|(division, with)| {
            let ran = federation.ask(division, &["reconcile", "--with", with, "--detach"]);
            (division, ran.done().trim().to_owned())
        })
    };
    for _ in 0..5 {
        for (division, id) in both() {
            let task =
                federation.wait_task(division, &id, seconds(40), |t| t["state"] == "done" || t["state"] == "failed");
            assert_eq!((&task["state"], &task["exit"]), (&"done".into(), &0.into()), "{division}: {task}");
        }
    }
}
