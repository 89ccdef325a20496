//! Words about health: for whom they count, and how old they are.

use super::*;
use crate::Reach;
use tally_protocol::health::{AboveFault, AboveWord, HealthState, HealthSummary, NodeHealth};
use tally_protocol::wire::Welcome;

fn division(code: u32) -> Division {
    Division::try_from(code).unwrap()
}

fn live(code: u32, waiting: u64) -> NodeHealth {
    NodeHealth {
        division: division(code),
        via: division(code),
        state: HealthState::Signing,
        heard_ms: Some(0),
        waiting: Some(waiting),
        oldest_ms: None,
        staged: Some(0),
        agrees: Some(true),
        damaged: Some(0),
        frozen: Some(0),
        skew_ms: Some(0),
        charter: Some(1),
        software: Some("tally test".into()),
    }
}

/// A child speaks for its own branch and for no other, and of a child that is not linked nothing counts that changes by itself.
#[test]
fn a_child_speaks_for_its_own_branch() {
    let mut city = replica(350_100, 2);
    for code in [350_101, 350_102] {
        assert!(welcomed(&call(&mut city, NOW, code)));
    }
    let link = |city: &Replica, code| city.view().children()[&division(code)].link.as_ref().unwrap().id;
    let nodes = vec![live(350_101, 7), live(350_102, 9), live(999_999, 1)];
    let told = Control::Health(HealthSummary { whole: true, nodes });
    let at = link(&city, 350_101);
    round(&mut city, NOW, Input::Control { link: at, message: told });
    let of = |city: &Replica, now, code| {
        city.view().health_below(now).into_iter().find(|(_, h)| h.division == division(code)).unwrap()
    };
    let (reach, health) = of(&city, NOW, 350_101);
    assert_eq!((reach, health.waiting, health.via), (Reach::Live, Some(7), division(350_100)));
    assert_eq!(of(&city, NOW, 350_102).1.waiting, None, "it is its neighbour's to tell");
    assert_eq!(city.view().health_below(NOW).len(), 2, "nobody else is enrolled");
    // Silent, then gone: what it was waiting for is not known any more, what it ran is.
    let (reach, health) = of(&city, NOW + 11_000, 350_101);
    assert_eq!((reach, health.waiting, health.heard_ms), (Reach::Stalled, None, Some(11_000)));
    round(&mut city, NOW + 12_000, Input::LinkDown { link: at });
    let (reach, health) = of(&city, NOW + 12_000, 350_101);
    assert_eq!((reach, health.agrees, health.software.as_deref()), (Reach::Lost, None, Some("tally test")));
}

/// What the levels above say counts for the logs of this node and below, and only from levels above; it goes when it is told no more.
#[test]
fn levels_above_speak_of_the_logs_below_them() {
    let mut county = replica(350_101, 2);
    let (own, other) = (county.own(), keys(350_102).node);
    let (parent, link) = (division(350_100), LinkId(1));
    round(&mut county, NOW, Input::ParentUp { link, parent });
    let welcome = Welcome { version: 1, node: keys(350_100).node, charter: county.view.charter.mark(), clock_ms: NOW };
    round(&mut county, NOW, Input::Control { link, message: Control::Welcome(welcome) });
    let word = |log, by: u32, since_ms| AboveWord {
        log,
        by: division(by),
        fault: AboveFault::Damaged,
        since_ms,
        reason: "gone".into(),
    };
    let words = vec![word(own, 350_100, 5_000), word(other, 350_100, 0), word(own, 350_102, 0), word(own, 350_101, 0)];
    round(&mut county, NOW, Input::Control { link, message: Control::Above(words) });
    let told: Vec<_> = county.view().above().iter().map(|t| (t.word.log, t.word.by, t.since_ms)).collect();
    assert_eq!(told, [(own, parent, NOW - 5_000)]);
    // Told again, it is as old as it was.
    round(&mut county, NOW + 1_000, Input::Control { link, message: Control::Above(vec![word(own, 350_100, 0)]) });
    assert_eq!(county.view().above()[0].since_ms, NOW - 5_000);
    round(&mut county, NOW + 2_000, Input::Control { link, message: Control::Above(Vec::new()) });
    assert!(county.view().above().is_empty());
}

/// Two machines with one key that take turns are told once, and again if it was quiet for a minute.
#[test]
fn machines_that_take_turns_are_told_once() {
    let mut city = replica(350_100, 1);
    let mut told = |now: u64| {
        let (link, peer) = (LinkId(now), keys(350_101).node);
        let hello = Hello {
            version_min: 1,
            version_max: 1,
            federation: "t.example".into(),
            node: peer,
            // The same count each time, as of two that do not know of each other.
            instance: [1; 16],
            link_count: 1,
            charter: city.view.charter.mark(),
            clock_ms: now,
            software: "test".into(),
            ancestor_heads: Vec::new(),
        };
        round(&mut city, now, Input::ChildUp { link, peer });
        let out = round(&mut city, now, Input::Control { link, message: Control::Hello(hello) });
        out.iter().filter(|o| matches!(o, Output::Note(Event::SameKeyTwice { .. }))).count()
    };
    assert_eq!(told(NOW), 0, "the first is alone");
    let turns: Vec<usize> = (1..=300).map(|turn| told(NOW + turn * 500)).collect();
    assert_eq!((turns[0], turns.iter().sum::<usize>()), (1, 1));
    assert_eq!(told(NOW + 150_000 + SAME_KEY_MS), 1);
}
