//! Scenes of one thing each: a crash at every single call, durable bytes that go bad, and what is cut off.

use crate::{
    media::{Leave, Media},
    nodes::{City, journal_dir, said},
    none_broken,
    oracle::{Broken, hold},
    run,
    volume::{Doing, EDQUOT, EIO, EMFILE, ENOSPC, Fault, KILLED, RecordingVolume},
    world::World,
};
use tally_journal::{Journal, Position, Reader, segment_path, segments_on};
use tally_tests::rng::Rng;

/// A life from the first call on: so many steps, or until the power goes.
fn life(seed: u64, off_after: u64) -> Result<World, Broken> {
    let mut world = World::new(seed);
    world.volume.power_off_after(off_after);
    world.start()?;
    world.connect_all();
    for _ in 0..40 {
        if !world.volume.has_power() {
            break;
        }
        world.step()?;
    }
    Ok(world)
}

/// Nothing is left to chance: the power goes in the middle of the first call, of the second, and so on to the last.
#[test]
fn a_power_cut_at_every_call() {
    const SEED: u64 = 7;
    let calls = life(SEED, u64::MAX / 2).unwrap_or_else(|b| panic!("{}", b.0)).volume.calls();
    assert!(calls > 100, "{calls} calls are no life");
    let (sum, broken) = run(0..calls, |call, sum| {
        let world = life(SEED, call)?;
        hold!(!world.volume.has_power(), "there is power at the end");
        for image in 0..3 {
            sum.images += 1;
            world.judge(world.volume.image(call, image)).map_err(|b| Broken(format!("image {image}: {}", b.0)))?;
        }
        Ok(())
    });
    none_broken(&broken);
    assert_eq!(sum.images, calls * 3);
}

/// After a clean stop nothing is taken for a torn tail, not even the last frame: the stop said that it was durable, and
/// that is durable too.
#[test]
fn a_clean_stop_is_told_after_a_power_cut() {
    let (_, broken) = run(1..10, |seed, _| {
        let mut world = life(seed, u64::MAX / 2)?;
        world.ends_cleanly()?;
        let mut media = world.volume.image(seed, 0);
        let (frames, all) = frames(&RecordingVolume::new(media.clone(), 0));
        let (place, bytes, _) = frames[all - 1];
        media.damage(&segment_path(&journal_dir(), place.segment), place.offset as usize, 8);
        let city = City::open(&RecordingVolume::new(media, 0), world.segment_bytes).map_err(Broken)?;
        let named: Vec<_> = city.found.damage.iter().map(|d| (d.segment, d.offset, d.bytes)).collect();
        hold!(named == [(place.segment, place.offset, bytes)], "the last frame, {place:?}, is bad, named is {named:?}");
        Ok(())
    });
    none_broken(&broken);
}

/// A process is killed before its flush, and the next one finds what it wrote in the cache: that is flushed before
/// anybody is told of it. Receipts alone are flushed for by nobody else.
#[test]
fn what_a_start_finds_is_flushed_first() {
    let (sum, broken) = run(1..30, |seed, sum| {
        let mut world = life(seed, u64::MAX / 2)?;
        world.connect_all();
        world.pump(10_000)?;
        world.volume.fail(Some(Fault {
            doing: Doing::Flush,
            after: seed % 4,
            times: 1,
            error: KILLED,
            destroys: false,
        }));
        for _ in 0..60 {
            if world.runs() {
                world.step()?;
            }
        }
        sum.failed += world.volume.failed();
        world.start()?;
        world.connect_all();
        world.pump(10_000)?;
        world.judge(world.volume.image(seed, 0))?;
        Ok(())
    });
    none_broken(&broken);
    assert!(sum.failed > 20, "{sum:?}");
}

/// One call fails while a node runs, in each of the ways that may pass: it goes on, and everything is there.
#[test]
fn one_call_that_fails_ends_nothing() {
    let one = [
        (Doing::Flush, EIO),
        (Doing::Flush, ENOSPC),
        (Doing::Write, EIO),
        (Doing::Write, ENOSPC),
        (Doing::Write, EDQUOT),
        (Doing::Open, EMFILE),
        (Doing::Open, ENOSPC),
    ];
    let (sum, broken) = run(0..20 * one.len() as u64, |seed, sum| {
        let (doing, error) = one[seed as usize % one.len()];
        let mut world = life(seed, u64::MAX / 2)?;
        world.volume.fail(Some(Fault { doing, after: seed % 5, times: 1, error, destroys: false }));
        for _ in 0..200 {
            world.step()?;
            hold!(world.runs(), "{doing:?} failed with {error}, and the node has ended");
            if world.volume.failed() > 0 {
                break;
            }
        }
        sum.failed += world.volume.failed();
        world.is_not_stuck()?;
        world.judge(world.volume.image(seed, 0))?;
        Ok(())
    });
    none_broken(&broken);
    assert!(sum.failed > 100, "{sum:?}");
}

/// A flush fails and takes along what the disk had of its pages: with the end of the round before. The node still has
/// that in memory, and writes it anew with the rest.
#[test]
fn what_shares_a_page_with_a_failed_flush_is_kept() {
    let (sum, broken) = run(1..60, |seed, sum| {
        let mut world = life(seed, u64::MAX / 2)?;
        world.connect_all();
        world.pump(10_000)?;
        world.promises.destroyed = true;
        world.volume.fail(Some(Fault { doing: Doing::Flush, after: 0, times: 1, error: EIO, destroys: true }));
        while world.volume.failed() == 0 {
            world.step()?;
        }
        hold!(world.runs(), "the node has ended");
        sum.failed += 1;
        let media = world.volume.image(seed, 0);
        world.judge(media.clone())?;
        let damaged = City::open(&RecordingVolume::new(media, 0), world.segment_bytes).map_err(Broken)?.found.damage;
        sum.cut += u64::from(!damaged.is_empty());
        Ok(())
    });
    none_broken(&broken);
    assert!(sum.cut > 10, "the end of the round before was hardly ever hit: {sum:?}");
}

/// There is no room at a start that has something to write anew: nothing is lost by the attempts, and once there is, it
/// starts.
#[test]
fn a_start_without_room_changes_nothing() {
    let (sum, broken) = run(1..30, |seed, sum| {
        let world = life(seed, 40 + seed * 3)?;
        for image in 0..6 {
            let volume = RecordingVolume::new(world.volume.image(seed, image), seed);
            volume.fail(Some(Fault { doing: Doing::Write, after: seed % 4, times: 5, error: ENOSPC, destroys: false }));
            let city = City::open(&volume, world.segment_bytes).map_err(Broken)?;
            world.promises.judge(&volume, &city)?;
            sum.failed += volume.failed();
            drop(city);
            world.judge(volume.image(seed, 0))?;
        }
        Ok(())
    });
    none_broken(&broken);
    assert!(sum.failed > 100, "{sum:?}");
}

/// What is cut off at a start is kept first: it is in the quarantine folder also if the power goes right after.
#[test]
fn what_is_cut_off_outlives_the_next_power_cut() {
    let (sum, broken) = run(1..40, |seed, sum| {
        let world = life(seed, 20 + seed * 2)?;
        for image in 2..8 {
            let before = world.volume.image(seed, image);
            let volume = RecordingVolume::new(before.clone(), seed);
            let mut city = City::open(&volume, world.segment_bytes).map_err(Broken)?;
            let (cut, goes_on) = (city.found.cut_bytes as usize, city.journal.journal().durable().segment);
            if cut == 0 {
                continue;
            }
            sum.cut += 1;
            let was = before.read(&segment_path(&journal_dir(), goes_on - 1)).unwrap_or_default();
            let after = volume.image(seed, 0);
            hold!(is_kept(&after, &was[was.len() - cut..]), "image {image}: {cut} bytes were cut off and are gone");
        }
        Ok(())
    });
    none_broken(&broken);
    assert!(sum.cut > 40, "{sum:?}");
}

fn is_kept(media: &Media, bytes: &[u8]) -> bool {
    let folder = Journal::quarantine(&journal_dir());
    media.names.keys().filter(|p| p.parent() == Some(&folder)).any(|p| media.read(p) == Some(bytes))
}

/// Where frames stand, how long they are, and whether the journal itself says that they were durable; and their number.
fn frames(volume: &RecordingVolume) -> (Vec<(Position, u64, bool)>, usize) {
    let reader = Reader::on(volume.clone(), journal_dir());
    let last = segments_on(volume, &journal_dir()).unwrap().pop().unwrap();
    let until = Position { segment: last + 1, offset: 0 };
    let (mut frames, mut told, mut at) = (Vec::new(), 0, Journal::origin());
    while let Some((place, frame)) = reader.next(at, until).unwrap() {
        at = frame.next;
        let bytes = at.offset - place.offset;
        if place.segment == last {
            told = frame.head.durable_to.max(told);
        }
        frames.push((place, bytes, false));
        // Frames stand one behind the other; behind the last of a segment comes the next segment.
        let len = reader.walk(place.segment, until).unwrap().unwrap().bytes();
        if at.offset >= len {
            at = Position { segment: place.segment + 1, offset: Journal::origin().offset };
        }
    }
    let all = frames.len();
    frames.iter_mut().for_each(|(place, bytes, durable)| {
        *durable = place.segment < last || place.offset + *bytes <= told;
    });
    (frames, all)
}

/// Durable bytes go bad: the place is named, all else is there, and the node signs or says why not (I4).
#[test]
fn damage_is_named_and_hides_nothing() {
    let (sum, broken) = run(1..40, |seed, sum| {
        let mut world = life(seed, u64::MAX / 2)?;
        world.rests()?;
        let mut media = world.volume.media();
        let (mut frames, all) = frames(&RecordingVolume::new(media.clone(), 0));
        frames.retain(|(.., durable)| *durable);
        let mut rng = Rng(seed);
        let (victim, bytes, _) = frames[rng.below(frames.len() as u64) as usize];
        // In the head: bodies are looked at when they are read, and by verify.
        let at = victim.offset + rng.below(64);
        media.damage(&segment_path(&journal_dir(), victim.segment), at as usize, 8);
        world.goes_on_with(media, seed);
        let city = City::open(&world.volume, world.segment_bytes).map_err(Broken)?;
        let damage = &city.found.damage;
        let named =
            |d: &tally_journal::Damage| (d.segment, d.offset, d.bytes) == (victim.segment, victim.offset, bytes);
        hold!(damage.len() == 1 && named(&damage[0]), "{bytes} bytes at {victim:?} are bad, named is {damage:?}");
        hold!(city.found.frames as usize == all - 1, "{} of {all} frames are left", city.found.frames);
        drop(city);
        world.start_damaged()?;
        let closed = world.asks_its_neighbours()?;
        let taken = world.takes_records()?;
        hold!(taken == closed.is_none(), "the node says {closed:?}, and records are taken: {taken}");
        sum.cut += u64::from(world.own_log_lacks());
        Ok(())
    });
    none_broken(&broken);
    assert!(sum.cut > 5, "the node's own log was hardly touched: {sum:?}");
}

/// A place is put right, and the power goes in the middle of it: what was whole stays whole, the place is named or
/// right, and the next attempt puts it right.
#[test]
fn mending_outlives_power_cuts() {
    let (sum, broken) = run(1..6, |seed, sum| {
        let mut world = life(seed, u64::MAX / 2)?;
        world.rests()?;
        let mut media = world.volume.media();
        let (whole, _) = frames(&RecordingVolume::new(media.clone(), 0));
        let durable: Vec<_> = whole.iter().filter(|(.., durable)| *durable).collect();
        let (victim, bytes, _) = *durable[Rng(seed).below(durable.len() as u64) as usize];
        media.damage(&segment_path(&journal_dir(), victim.segment), victim.offset as usize, 8);
        for call in 0.. {
            let volume = RecordingVolume::new(media.image(Leave::Everything, &mut Rng(0)), seed);
            volume.power_off_after(call);
            if mend(&volume, world.segment_bytes).is_ok() {
                hold!(call > 5, "mending takes {call} calls");
                return Ok(());
            }
            hold!(!volume.has_power(), "mending fails without a reason");
            for image in 0..3 {
                sum.images += 1;
                let named = |why: String| Broken(format!("call {call}, image {image}: {why}"));
                let after = RecordingVolume::new(volume.image(seed, image), seed);
                let city = City::open(&after, world.segment_bytes).map_err(named)?;
                let other = city.found.damage.iter().find(|d| {
                    d.segment != victim.segment
                        || d.offset < victim.offset
                        || d.offset + d.bytes > victim.offset + bytes
                });
                hold!(other.is_none(), "call {call}, image {image}: {other:?} is damaged now, it was {victim:?}");
                drop(city);
                mend(&after, world.segment_bytes).map_err(named)?;
                let city = City::open(&after, world.segment_bytes).map_err(named)?;
                hold!(city.found.damage.is_empty(), "call {call}, image {image}: {:?}", city.found.damage);
                let reader = Reader::on(after.clone(), journal_dir());
                let gone = whole.iter().find(|(place, ..)| *place != victim && reader.read(*place).is_err());
                hold!(gone.is_none(), "call {call}, image {image}: the frame at {gone:?} is gone");
            }
        }
        Ok(())
    });
    none_broken(&broken);
    assert!(sum.images > 100, "{sum:?}");
}

/// Opens a journal and puts right what is named.
fn mend(volume: &RecordingVolume, segment_bytes: u64) -> Result<(), String> {
    let mut city = City::open(volume, segment_bytes)?;
    for damage in &city.found.damage {
        let journal = city.journal.journal();
        journal.leave(damage.segment).and_then(|()| journal.mend(damage, "test")).map_err(|e| said(&e))?;
    }
    Ok(())
}
