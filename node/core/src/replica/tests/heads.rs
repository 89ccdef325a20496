//! Logs of which two histories were signed, and heads of which it is not known yet whether they are of one.

use super::*;
use tally_protocol::batch::{Batch, seal};

/// A frozen log takes nothing until the charter says how far it counts, and then as far as that: whoever had lost it gets it back.
#[test]
fn a_frozen_log_takes_what_the_charter_closed_it_at() {
    let (county, mut city) = (keys(350_101), replica(350_100, 1));
    call(&mut city, NOW, 350_101);
    let link = city.view().children()[&350_101.try_into().unwrap()].link.as_ref().unwrap().id;
    let sealed = |what: &str| seal(&county, &Tree::default(), &rows(0, 5, what), NOW / 1_000);
    let note = |what: &str| Batch::decode(&sealed(what)).unwrap().note;
    let evidence = ForkEvidence::of([note("a"), note("b")], county.log.public());
    let (log, reason) = (county.node, "shown".to_owned());
    round(&mut city, NOW, Input::Control { link, message: Control::Conflict { log, evidence, reason } });
    let push = |city: &mut Replica| {
        let out = sent(round(city, NOW, Input::Batch { link, log, bytes: sealed("a") }));
        (city.view().logs()[&log].size(), out)
    };
    let (size, out) = push(&mut city);
    assert!(size == 0 && matches!(out[..], [Control::Reject { code: Refusal::Frozen, .. }]), "{out:?}");
    let root = tally_topology::admit::admit(city.charter(), log, &Tree::default(), sealed("a")).unwrap().tree().root();
    let text = charter(2, 1, u32::MAX);
    let text = text.split("\n\n").next().unwrap();
    let closed = sign(&format!("{text}\nlast_size = 5\nlast_root = \"{root}\"\n"), &authority()).unwrap();
    round(&mut city, NOW, Input::Charter { ticket: Ticket(1), note: closed });
    assert_eq!(push(&mut city).0, 5);
}

/// The root at a head's size cannot be read once: it is asked for again.
#[test]
fn a_head_in_doubt_is_looked_at_again_after_a_read_that_failed() {
    let (county, mut city) = (keys(350_101), replica(350_100, 1));
    call(&mut city, NOW, 350_101);
    let link = city.view().children()[&350_101.try_into().unwrap()].link.as_ref().unwrap().id;
    let (log, sealed) = (county.node, |n| seal(&county, &Tree::default(), &rows(0, n, "a"), NOW / 1_000));
    round(&mut city, NOW, Input::Batch { link, log, bytes: sealed(5) });
    let note = Batch::decode(&sealed(3)).unwrap().note;
    let root = tally_protocol::checkpoint::Checkpoint::open(&note, county.log.public()).unwrap().root;
    let head = Head { log, size: 3, root, note };
    let asked = |out: &[Output]| out.iter().filter(|o| matches!(o, Output::CompareHead { size: 3, .. })).count();
    let told = Control::Frontier { heads: vec![head], last: true };
    assert_eq!(asked(&round(&mut city, NOW, Input::Control { link, message: told })), 1);
    round(&mut city, NOW, Input::HeadCompared { log, size: 3, shown: None });
    assert_eq!(asked(&round(&mut city, NOW + 1_000, Input::Tick)), 0, "not at once");
    assert_eq!(asked(&round(&mut city, NOW + 20_000, Input::Tick)), 1);
    assert_eq!(asked(&round(&mut city, NOW + 40_000, Input::Tick)), 0, "the answer is waited for");
}
