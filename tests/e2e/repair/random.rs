//! Random damage to the journals of a federation, running and stopped, again and again.
//!
//! `TALLY_DAMAGES` says how often there is damage (40), `TALLY_SEED` makes other choices (1).

use super::{ALL, assert_identical, enter, exports, federation, originals, parent, spoil, wait_linked};
use std::{collections::BTreeMap, fs, path::Path, time::Instant};
use tally_tests::{
    CITY, Federation, PROVINCE,
    damage::{Damage, pick},
    list, named, number, origin,
    sample::Random,
    seconds,
    segments::{Range, Segments, overlap, within},
    wait_for,
};

/// What nodes say of damage, at a start, in a comparison and when it is put right.
const PROVOKED: [&str; 14] = [
    "batch.refused",
    "disk.old_copy",
    "index.failed",
    // A node that asks its parent by itself may meet it just when it stops.
    "task.failed",
    "index.rebuild",
    "journal.cut",
    "journal.damaged",
    "journal.mended",
    "journal.rescued",
    "journal.unproved",
    "panic",
    "parent.set_back",
    "tasks.unreadable",
    "verify.damaged",
];

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
            // Of its open file a running node puts back what it can, at once: e2e/journal.rs.
            if !stopped && hurt.iter().any(|(_, damage)| damage.takes_the_open_file()) {
                continue;
            }
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
        // A node that finds damage in its own log asks its parent by itself, which then mends what it has too: the parent first.
        self.hurt.iter().rev().for_each(|(division, damage)| self.check_verify(division, damage));
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
        for name in ["data/journal.mark", "data/state/sled/db"] {
            if random.below(4) == 0 {
                println!("    {name} is spoilt");
                spoil(name, random);
            }
        }
        match random.below(6) {
            0 => {
                println!("    the index is deleted");
                fs::remove_dir_all(self.federation.file(division, "data/index")).unwrap();
            }
            1 => {
                println!("    the index is spoilt");
                spoil("data/index", random);
            }
            _ => {}
        }
        self.federation.start(division);
        wait_linked(self.federation);
        // What stands before a hole is not confirmed again before the hole is repaired.
        wait_for("all nodes hold the same heads", seconds(60), || self.federation.hold_the_same(&ALL).then_some(()));
    }

    fn check_verify(&self, division: &str, damage: &Damage) {
        let ran = self.federation.verify(division);
        let report = ran.json();
        let (named, lost) = (named(&report), damage.lost());
        let places = list(&report["damaged"]).len();
        assert_eq!(ran.code, if places > 0 { 4 } else { 0 }, "{ran:?}");
        if self.stopped {
            // What was lost at the end of a log came back by replication when the node started; what it lacks of its own log,
            // the node asks its parent for by itself.
            let own = origin(division);
            let sure: Vec<_> = damage.lost_for_sure().into_iter().filter(|(log, ..)| *log != own).collect();
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
            let written = &old[..before.end().min(old.len())];
            // What is not known to be durable at a start is written anew, into the next segment; what is left behind does not
            // count, nor what somebody has added there, and may go.
            let left = |segments: &Segments| segments.carried_on_from(*segment);
            let moved = || {
                left(after).is_some_and(|end| new.len() >= end) && old.starts_with(new)
                    || left(before).is_some_and(|end| old.get(..end).is_some_and(|counts| new.starts_with(counts)))
            };
            let same = if *segment == before.last() { new.starts_with(written) } else { new == old } || moved();
            assert!(same, "{division}: segment {segment} was not damaged and is not what it was");
        }
    }
}

#[test]
fn random_damage_is_named_exactly_and_comes_back_byte_for_byte() {
    const CHECK_EVERY: u64 = 50;
    let cases = number("TALLY_DAMAGES").unwrap_or(40);
    let seed = number("TALLY_SEED").unwrap_or(1);
    println!("TALLY_SEED={seed} TALLY_DAMAGES={cases}");
    let mut random = Random(seed);
    let federation = federation();
    federation.expects(&PROVOKED);
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
