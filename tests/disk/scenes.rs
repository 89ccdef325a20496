//! Scenes of one thing each: a crash at every single call, durable bytes that go bad, and what is cut off.

use crate::{
    media::Media,
    nodes::{City, journal_dir},
    none_broken,
    oracle::{Broken, hold},
    random::Rng,
    run,
    volume::RecordingVolume,
    world::World,
};
use tally_journal::{Journal, Position, Reader, segment_path, segments_on};

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

/// What is cut off at a start is kept first: it is in the quarantine folder also if the power goes right after.
#[test]
fn what_is_cut_off_outlives_the_next_power_cut() {
    let (sum, broken) = run(1..40, |seed, sum| {
        let world = life(seed, 20 + seed * 2)?;
        for image in 2..8 {
            let before = world.volume.image(seed, image);
            let volume = RecordingVolume::new(before.clone(), seed);
            let mut city = City::open(&volume, world.segment_bytes).map_err(Broken)?;
            let (cut, durable) = (city.found.cut_bytes as usize, city.journal.journal().durable());
            if cut == 0 {
                continue;
            }
            sum.cut += 1;
            let was = before.read(&segment_path(&journal_dir(), durable.segment)).unwrap_or_default();
            let after = volume.image(seed, 0);
            let kept = was.len() == durable.offset as usize + cut && is_kept(&after, &was[durable.offset as usize..]);
            hold!(kept, "image {image}: {cut} bytes at {durable:?} were cut off and are gone");
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

/// Where frames stand of which the journal itself says that they were durable, and how many frames there are.
fn durable_frames(volume: &RecordingVolume) -> (Vec<(Position, u64)>, usize) {
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
        frames.push((place, bytes));
        // Frames stand one behind the other; behind the last of a segment comes the next segment.
        let len = reader.walk(place.segment, until).unwrap().unwrap().bytes();
        if at.offset >= len {
            at = Position { segment: place.segment + 1, offset: Journal::origin().offset };
        }
    }
    let all = frames.len();
    frames.retain(|(place, bytes)| place.segment < last || place.offset + bytes <= told);
    (frames, all)
}

/// Durable bytes go bad: the place is named, all else is there, and the node signs or says why not (I4).
#[test]
fn damage_is_named_and_hides_nothing() {
    let (sum, broken) = run(1..40, |seed, sum| {
        let mut world = life(seed, u64::MAX / 2)?;
        world.rests()?;
        let mut media = world.volume.media();
        let (frames, all) = durable_frames(&RecordingVolume::new(media.clone(), 0));
        let mut rng = Rng(seed);
        let (victim, bytes) = frames[rng.below(frames.len() as u64) as usize];
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
