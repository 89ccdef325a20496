//! Receipts over power cuts: a first time never moves.

use super::*;
use tally_protocol::{batch::seal, wire::ClockEcho};

/// The county's one batch.
fn batch() -> Vec<u8> {
    seal(&keys(350_101), &Tree::default(), &rows(0, 5, "a"), NOW / 1_000)
}

fn link(city: &Replica) -> LinkId {
    city.view().children()[&350_101.try_into().unwrap()].link.as_ref().unwrap().id
}

/// What the city says of the county's log, with its time.
fn given(messages: &[Control]) -> Vec<String> {
    let line = |m: &Control| if let Control::Receipt { line, .. } = m { Some(line.clone()) } else { None };
    messages.iter().filter_map(line).collect()
}

fn beat(now: u64) -> Control {
    Control::Heartbeat(Heartbeat { clock_ms: now, records: 5, digest: None, echo: None, above_ms: None })
}

/// A city that has the county's batch on its disk, and no receipt for it, an hour later.
fn after_a_power_cut() -> Replica {
    let mut city = replica(350_100, 1);
    let admitted = tally_topology::admit::admit(city.charter(), keys(350_101).node, &Tree::default(), batch()).unwrap();
    let (tree, note) = (admitted.tree().clone(), admitted.note().to_owned());
    let log = admitted.log();
    city.recover(Entry::Batch { log, start: 0, tree, sealed_at: NOW / 1_000, note }, Place(1), FoundBy::Search);
    city.all_read();
    city.recovered();
    city
}

const LATER: u64 = NOW + 3_600_000;

/// L13: of many logs and holders a child is told some at a time, so that its link's queue of 4,096 never fills; and of each once.
#[test]
fn a_child_with_many_logs_is_told_its_receipts_some_at_a_time() {
    let mut city = replica(350_100, 1);
    let (county, holders) = (Division::try_from(350_101).unwrap(), [350_000, 350_100]);
    for epoch in 1..=2_500 {
        let mut log = HeldLog::default();
        for holder in holders {
            let receipt = Receipt { size: 1, time: 1, epoch: 1, line: format!("{epoch} {holder}") };
            log.receipts.insert(holder.try_into().unwrap(), receipt);
        }
        city.view.logs.insert(LogId::records(county, epoch), Arc::new(log));
    }
    let mut told = given(&call(&mut city, NOW, 350_101));
    assert!(!told.is_empty() && told.len() < 2_048, "{}", told.len());
    for beat in 1..=200 {
        let more = given(&sent(round(&mut city, NOW + beat * 1_000, Input::Tick)));
        assert!(more.len() <= 256, "{}", more.len());
        told.extend(more);
    }
    let distinct: BTreeSet<_> = told.iter().collect();
    assert_eq!((told.len(), distinct.len()), (5_000, 5_000), "of each once, and of all");
}

/// The receipt was told and is not in the journal: the city takes it back from the county, and gives no other.
#[test]
fn a_receipt_that_a_power_cut_took_is_taken_back_and_not_given_anew() {
    let mut city = replica(350_100, 1);
    call(&mut city, NOW, 350_101);
    let (at, log) = (link(&city), keys(350_101).node);
    let told = given(&sent(round(&mut city, NOW, Input::Batch { link: at, log, bytes: batch() })));
    let [line] = told.as_slice() else { panic!("{told:?}") };

    let mut city = after_a_power_cut();
    let mut said = given(&sent(round(&mut city, LATER, Input::Tick)));
    said.extend(given(&call(&mut city, LATER, 350_101)));
    assert!(said.is_empty(), "it waits for what the county knows: {said:?}");
    let at = link(&city);
    let message = Control::Receipt { log, size: 5, holder: keys(350_100).node, line: line.clone() };
    // One that nobody signed is none.
    let forged = Control::Receipt { log, size: 5, holder: keys(350_100).node, line: line.replace('A', "B") };
    for message in [forged, message, beat(LATER)] {
        said.extend(given(&sent(round(&mut city, LATER, Input::Control { link: at, message }))));
    }
    assert!(said.iter().all(|l| l == line), "{said:?}");
    let held = &city.view().logs()[&log];
    assert_eq!(held.receipts[&city.me()].line, *line);
    assert_eq!(held.first_receipt(city.me(), 0).map(|r| r.time), Some(NOW / 1_000), "its frame is written again");
}

/// Nobody had heard of it: the county has told all that it knows, and the city gives a receipt.
#[test]
fn a_receipt_that_was_never_told_is_given_once_the_child_has_spoken() {
    let mut city = after_a_power_cut();
    call(&mut city, LATER, 350_101);
    let at = link(&city);
    let said = given(&sent(round(&mut city, LATER, Input::Control { link: at, message: beat(LATER) })));
    assert_eq!(said.len(), 1, "{said:?}");
    let time = city.view().logs()[&keys(350_101).node].receipts[&city.me()].time;
    assert_eq!(time, LATER / 1_000);
}

/// A city that was set back far fetches the records again, and their receipt of then counts before any new one.
#[test]
fn an_old_copy_gives_no_new_receipt_for_what_it_had_confirmed() {
    let mut city = replica(350_100, 1);
    call(&mut city, NOW, 350_101);
    let (at, log) = (link(&city), keys(350_101).node);
    let mut tree = Tree::default();
    let mut batches = Vec::new();
    for b in 0..2 {
        let bytes = seal(&keys(350_101), &tree, &rows(b * 5, 5, "a"), NOW / 1_000);
        tree = tally_topology::admit::admit(city.charter(), log, &tree, bytes.clone()).unwrap().tree().clone();
        batches.push(bytes);
    }
    let mut lines = Vec::new();
    for bytes in &batches {
        lines = given(&sent(round(&mut city, NOW, Input::Batch { link: at, log, bytes: bytes.clone() })));
    }
    let held = &city.view().logs()[&log];
    let head = Head { log, size: 10, root: held.tree().root(), note: held.note.clone() };

    let mut city = replica(350_100, 1);
    call(&mut city, LATER, 350_101);
    let at = link(&city);
    let message = Control::Receipt { log, size: 10, holder: keys(350_100).node, line: lines[0].clone() };
    let frontier = Control::Frontier { heads: vec![head], last: true };
    let mut said = Vec::new();
    for message in [frontier, message, beat(LATER)] {
        said.extend(given(&sent(round(&mut city, LATER, Input::Control { link: at, message }))));
    }
    for bytes in batches {
        said.extend(given(&sent(round(&mut city, LATER, Input::Batch { link: at, log, bytes }))));
    }
    assert!(said.iter().all(|l| *l == lines[0]), "{said:?}");
    assert_eq!(city.view().logs()[&log].first_receipt(city.me(), 0).map(|r| r.time), Some(NOW / 1_000));
}

/// A first time never moves: while the time is in doubt no receipt is given, and the one that is given then has the right time.
#[test]
fn a_clock_in_doubt_dates_no_receipt() {
    let mut city = after_a_power_cut();
    let above = |city: &mut Replica, clock_ms| {
        let echo = ClockEcho { clock_ms: LATER, held_ms: 0 };
        city.clock.parent_beat(LATER, clock_ms, Some(echo), None);
    };
    above(&mut city, LATER - 400 * 86_400_000);
    call(&mut city, LATER, 350_101);
    let at = link(&city);
    let said = given(&sent(round(&mut city, LATER, Input::Control { link: at, message: beat(LATER) })));
    assert!(city.view().clock().is_some() && said.is_empty(), "{said:?}");
    above(&mut city, LATER);
    assert_eq!(given(&sent(round(&mut city, LATER, Input::Tick))).len(), 1);
    let time = city.view().logs()[&keys(350_101).node].receipts[&city.me()].time;
    assert_eq!(time, LATER / 1_000);
}
