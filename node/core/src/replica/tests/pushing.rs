//! Pushes that stop: what had stopped one passes, and the log goes on.

use super::*;
use tally_protocol::{checkpoint::Checkpoint, note::cosign_line};

const LINK: LinkId = LinkId(1);

/// A city and its county, linked, after all that they have to say to each other.
fn linked() -> (Replica, Replica) {
    let (mut city, mut county) = (replica(350_100, 1), replica(350_101, 1));
    round(&mut city, NOW, Input::ChildUp { link: LINK, peer: county.own() });
    let mut up = sent(round(&mut county, NOW, Input::ParentUp { link: LINK, parent: city.me() }));
    while !up.is_empty() {
        let said = |to: &mut Replica, messages: Vec<Control>| -> Vec<Control> {
            let heard = messages.into_iter().map(|message| round(to, NOW, Input::Control { link: LINK, message }));
            sent(heard.flatten().collect())
        };
        let down = said(&mut city, up);
        up = said(&mut county, down);
    }
    assert_eq!(county.view().closed(), None);
    (city, county)
}

/// Seals a batch of one record; answers how far the log is then.
fn seal(county: &mut Replica, n: u64) -> (u64, Vec<Output>) {
    let out = round(county, NOW, Input::Seal { ticket: Ticket(n), records: rows(n, 1, "n") });
    (county.view().logs()[&county.own()].size(), out)
}

fn pushes(out: &[Output]) -> usize {
    out.iter().filter(|o| matches!(o, Output::Push { .. })).count()
}

/// The city's receipt for the first records of the county's log.
fn receipt(county: &Replica, size: u64) -> Input {
    let (log, city) = (county.own(), keys(350_100));
    let root = county.view().logs()[&log].root_at(size).unwrap();
    let text = Checkpoint { origin: federation().origin(log), size, root }.text();
    let line = cosign_line(&text, NOW / 1_000, &city.mirror);
    Input::Control { link: LINK, message: Control::Receipt { log, size, holder: city.node, line } }
}

/// The second of two batches cannot be read once, while the first is on its way: the receipt of the first forgets that there was
/// a failure, and the push goes on with it.
#[test]
fn a_receipt_for_what_came_before_starts_a_stopped_push_again() {
    let (_city, mut county) = linked();
    let log = county.own();
    let (first, out) = seal(&mut county, 1);
    assert_eq!(pushes(&out), 1);
    assert_eq!(pushes(&seal(&mut county, 2).1), 1);
    round(&mut county, NOW, Input::PushFailed { link: LINK, log, reason: "EIO".into() });
    assert_eq!(pushes(&seal(&mut county, 3).1), 0, "it has stopped");
    let came = receipt(&county, first);
    let out = round(&mut county, NOW, came);
    assert_eq!(pushes(&out), 2, "{out:?}");
    let parent = county.view().parent();
    assert!(parent.rejected.is_empty() && parent.damaged.is_empty());
}

/// The parent takes the first batch and refuses the second in one round: whichever it says first, the second goes out again
/// after a while.
#[test]
fn a_refused_batch_goes_out_again_whatever_is_said_first() {
    for refused_first in [true, false] {
        let (_city, mut county) = linked();
        let log = county.own();
        let (first, _) = seal(&mut county, 1);
        seal(&mut county, 2);
        let refusal = Control::Reject { log, start: first, code: Refusal::Root, reason: "r".into() };
        let refusal = Input::Control { link: LINK, message: refusal };
        let taken = receipt(&county, first);
        let said = if refused_first { [refusal, taken] } else { [taken, refusal] };
        for input in said {
            assert_eq!(pushes(&round(&mut county, NOW, input)), 0);
        }
        assert_eq!(pushes(&round(&mut county, NOW + 60_000, Input::Tick)), 1, "refused first: {refused_first}");
        let all = county.view().logs()[&log].size();
        let taken = receipt(&county, all);
        round(&mut county, NOW + 60_000, taken);
        assert!(county.view().parent().rejected.is_empty(), "what it had refused it has now");
    }
}

/// A read for a child's fetch fails once: a reading of the disk that finds all whole lets it go on.
#[test]
fn a_fetch_whose_read_failed_once_goes_on_after_a_reading_of_the_disk() {
    let (mut city, county) = linked();
    let log = county.own();
    let batch = tally_protocol::batch::seal(&keys(350_101), &Tree::default(), &rows(0, 5, "a"), NOW / 1_000);
    round(&mut city, NOW, Input::Batch { link: LINK, log, bytes: batch });
    let fetch = Input::Control { link: LINK, message: Control::Fetch { log, from: 0 } };
    assert_eq!(pushes(&round(&mut city, NOW, fetch)), 1);
    round(&mut city, NOW, Input::PushFailed { link: LINK, log, reason: "EIO".into() });
    assert!(city.view().parent().damaged.contains_key(&log));
    let read = Input::Surveyed { log, missing: vec![], copies: vec![], from: Place(0), until: Place(u64::MAX) };
    assert_eq!(pushes(&round(&mut city, NOW, read)), 1);
    assert!(city.view().parent().damaged.is_empty(), "nothing is damaged");
}
