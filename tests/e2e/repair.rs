//! Damage is named where it is and nowhere else, and put right from whichever neighbour has the bytes.

mod random;
mod tasks;
mod upkeep;

use serde_json::Value;
use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    ops::Range as Numbers,
    path::Path,
};
use tally_tests::{
    CITY, COUNTY, Federation, LINE, NEIGHBOUR, PROVINCE, Plan,
    damage::Damage,
    feeder::Feeder,
    find, list, named, origin,
    sample::Random,
    seconds,
    segments::{Range, Segments},
    wait_for,
};

const ALL: [&str; 4] = [PROVINCE, CITY, COUNTY, NEIGHBOUR];
const PLAN: &[Plan<'static>] = &[LINE[0], LINE[1], LINE[2], (NEIGHBOUR, "county", Some(CITY))];
/// Many segments with few records; what is damaged stays so until it is repaired by hand.
const SMALL: &str = "\n[storage]\nsegment_kib = 64\n[schedule]\nrepair = false\n";

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

/// Damages one batch of a log on a node's disk, and tells which.
pub(crate) fn flip(
    federation: &Federation,
    division: &str,
    random: &mut Random,
    which: impl Fn(&Range) -> bool,
) -> Range {
    let mut damage = Damage::none(federation.segments(division));
    damage.flip_in_a_batch(random, which);
    damage.apply(federation, division);
    damage.lost().remove(0)
}

#[test]
fn neighbours_heal_from_each_other_and_over_one_in_between() {
    let mut random = Random(7);
    let federation = federation();
    federation.expects(&["verify.damaged", "journal.mended"]);
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
fn repairs_from_both_ends_at_once_both_say_that_it_is_whole() {
    const ROUNDS: usize = 16;
    let mut random = Random(12);
    let federation = federation();
    federation.expects(&["verify.damaged", "journal.mended"]);
    for _ in 0..ROUNDS {
        flip(&federation, CITY, &mut random, |(log, ..)| *log == origin(CITY));
        // Whichever is faster, nothing is left for the other to give or to fetch.
        std::thread::scope(|s| {
            s.spawn(|| federation.repair(CITY, PROVINCE));
            s.spawn(|| federation.repair(PROVINCE, CITY));
        });
        federation.assert_verified(CITY);
    }
}

#[test]
fn damage_and_repair_while_records_come_in_lose_nothing() {
    const ROUNDS: usize = 8;
    let mut random = Random(8);
    let federation = federation();
    federation.expects(&["verify.damaged", "journal.mended"]);
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
    federation.expects(&["index.failed", "index.rebuild", "panic"]);
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

/// An index that is built over damage lacks what nobody can read. That is no fault of it, now or at the next start.
#[test]
fn an_index_built_over_damage_is_no_fault() {
    let mut random = Random(12);
    let federation = federation();
    let before = exports(&federation);
    federation.stop(CITY);
    flip(&federation, CITY, &mut random, |(log, ..)| *log == origin(COUNTY));
    fs::remove_dir_all(federation.file(CITY, "data/index")).unwrap();
    for _ in 0..2 {
        federation.start(CITY);
        wait_for("the index has followed", seconds(60), || federation.status(CITY)["records"].as_u64());
        federation.stop(CITY);
    }
    federation.start(CITY);
    wait_linked(&federation);
    federation.expects(&["verify.damaged", "journal.mended", "export.failed"]);
    // What nobody can read is not left out in silence.
    let ran = federation.ask(CITY, &["export"]);
    assert!(ran.code != 0 && ran.err.contains("broke off"), "{} {}", ran.code, ran.err);
    heal_with_all(&federation);
    ALL.iter().for_each(|d| federation.assert_verified(d));
    assert!(exports(&federation) == before, "an export has changed");
}

#[test]
fn without_repair_nothing_on_the_disk_is_changed() {
    let mut random = Random(11);
    let federation = federation();
    federation.expects(&["verify.damaged", "journal.mended", "reconcile.not_taken"]);
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
    for (division, before) in ALL.iter().zip(&before) {
        let now = federation.segments(division);
        for (segment, bytes) in &before.0 {
            let until = if *segment == before.last() { before.end() } else { bytes.len() };
            let same = now.0.get(segment).is_some_and(|now| now.get(..until) == bytes.get(..until));
            assert!(same, "a comparison has changed segment {segment} of {division}");
        }
        // A receipt may be written with a later round, behind all that was there; records come from nowhere.
        let frames = |s: &Segments| s.frames().into_iter().map(|f| (f.segment, f.at, f.records)).collect::<Vec<_>>();
        let news = frames(&now).split_off(frames(before).len().min(frames(&now).len()));
        assert!(news.iter().all(|(.., records)| records.is_none()), "records came to {division}: {news:?}");
    }
    assert!(ALL.iter().all(|d| !Path::new(&federation.file(d, "data/quarantine")).exists()));
    heal_with_all(&federation);
    ALL.iter().for_each(|d| federation.assert_verified(d));
}
