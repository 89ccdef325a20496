//! Messages between neighbours: frozen bytes, bounds, and negotiation.

use super::*;
use crate::{
    health::{AboveFault, HealthState, NodeHealth},
    ids::Division,
    limits::HEALTH_NODES_MAX,
};
use proptest::prelude::*;

#[test]
fn versions_meet() {
    for v in VERSION_MIN..=VERSION {
        assert_eq!(negotiate(v, v), Some(v));
    }
    assert_eq!(negotiate(VERSION_MIN, VERSION + 6), Some(VERSION));
    assert_eq!(negotiate(0, VERSION), Some(VERSION));
    assert_eq!(negotiate(VERSION + 1, VERSION + 6), None);
    assert_eq!(negotiate(0, VERSION_MIN - 1), None);
    // As it will be when there are more: N talks to N-1.
    for (a, b, met) in [
        ((1, 2), (2, 3), Some(2)),
        ((1, 2), (1, 1), Some(1)),
        ((2, 3), (1, 2), Some(2)),
        ((2, 3), (2, 3), Some(3)),
        ((1, 9), (4, 5), Some(5)),
        ((1, 2), (3, 4), None),
        ((3, 4), (1, 2), None),
        ((2, 3), (3, 2), None),
    ] {
        assert_eq!((common(a, b), common(b, a)), (met, met), "{a:?} {b:?}");
    }
}

fn hello() -> Hello {
    Hello {
        version_min: 1,
        version_max: 1,
        federation: "f".into(),
        node: "350102/e1".parse().unwrap(),
        instance: *b"0123456789abcdef",
        link_count: 1,
        charter: mark(),
        clock_ms: 3,
        software: "s".into(),
        ancestor_heads: Vec::new(),
    }
}

fn mark() -> CharterMark {
    CharterMark { version: 2, hash: Hash([9; 32]) }
}

fn head() -> Head {
    Head { log: "350102/e1".parse().unwrap(), size: 5, root: Hash([7; 32]), note: "n".into() }
}

fn health() -> NodeHealth {
    NodeHealth {
        division: Division::try_from(350_102).unwrap(),
        via: Division::try_from(350_100).unwrap(),
        state: HealthState::Staging,
        heard_ms: Some(250),
        waiting: Some(3),
        oldest_ms: Some(300),
        staged: Some(0),
        agrees: Some(true),
        damaged: None,
        frozen: None,
        skew_ms: Some(-2),
        charter: Some(1),
        software: Some("s".into()),
    }
}

fn beat() -> Heartbeat {
    let echo = Some(ClockEcho { clock_ms: 2, held_ms: 1 });
    Heartbeat { clock_ms: 3, records: 4, digest: Some(Hash([7; 32])), echo, above_ms: Some(-2) }
}

fn rejected(reason: String) -> Control {
    let node = "350102/e1".parse().unwrap();
    let by = Division::try_from(350_000).unwrap();
    Control::RequestRejected { node, request: Hash([7; 32]), by, reason }
}

fn word() -> AboveWord {
    AboveWord {
        log: "350102/e1/ops".parse().unwrap(),
        by: Division::try_from(350_000).unwrap(),
        fault: AboveFault::Frozen,
        since_ms: 9,
        reason: "r".into(),
    }
}

/// One message of each kind, in the order of their numbers.
pub(crate) fn samples() -> Vec<(&'static str, Control)> {
    let log: LogId = "350102/e1".parse().unwrap();
    let holder: LogId = "350100/e1".parse().unwrap();
    let evidence =
        ForkEvidence { notes: ["a".into(), "b".into()], root_at: Some(Hash([7; 32])), proof: vec![Hash([8; 32])] };
    vec![
        ("hello", Control::Hello(Hello { ancestor_heads: vec![head()], ..hello() })),
        ("welcome", Control::Welcome(Welcome { version: 1, node: log, charter: mark(), clock_ms: 3 })),
        ("busy", Control::Busy { retry_after_ms: 250 }),
        ("refused", Control::Refused { code: Refusal::Identity, reason: "r".into() }),
        ("frontier", Control::Frontier { heads: vec![head()], last: true }),
        ("heartbeat", Control::Heartbeat(beat())),
        ("receipt", Control::Receipt { log, size: 5, holder, line: "l".into() }),
        ("charter", Control::Charter { note: "n".into() }),
        ("reject", Control::Reject { log, start: 1, code: Refusal::Root, reason: "r".into() }),
        ("conflict", Control::Conflict { log, evidence, reason: "r".into() }),
        ("fetch", Control::Fetch { log, from: 9 }),
        ("stands", Control::Stands { log, head: Some(head()), sure: true }),
        ("health", Control::Health(HealthSummary { whole: true, nodes: vec![health()] })),
        ("above", Control::Above(vec![word()])),
        ("in force", Control::InForce(mark())),
        ("request", Control::Request { note: "n".into() }),
        ("request rejected", rejected("r".into())),
    ]
}

/// As sent from the first day; FORMATS.md explains each.
#[test]
fn frozen_bytes() {
    for (number, (name, message)) in samples().into_iter().enumerate() {
        let bytes = message.encode();
        assert_eq!(usize::from(bytes[0]), number, "{name}");
        assert_eq!(crate::formats::hex(&bytes), crate::formats::example(&format!("control {name}")), "{name}");
        assert_eq!(Control::decode(&bytes), Ok(message));
    }
    let open = StreamOpen { log: "350102/e1".parse().unwrap() };
    assert_eq!(crate::formats::hex(&open.encode()), crate::formats::example("stream open"));
    assert_eq!(StreamOpen::decode(&open.encode()), Ok(open));
}

/// Whatever is longer than its bound is refused; what is as long is not.
#[test]
fn every_text_and_list_has_a_bound() {
    use crate::limits::{REASON_BYTES_MAX, SOFTWARE_BYTES_MAX};
    let text = |n: usize| "x".repeat(n);
    let log: LogId = "350102/e1".parse().unwrap();
    let holder = log;
    let noted = |n: usize| Head { note: text(n), ..head() };
    let conflict = |first: usize, second: usize, hashes: usize| {
        let notes = [text(first), text(second)];
        let evidence = ForkEvidence { notes, root_at: None, proof: vec![Hash([1; 32]); hashes] };
        Control::Conflict { log, evidence, reason: String::new() }
    };
    type Maker<'a> = Box<dyn Fn(usize) -> Control + 'a>;
    let cases: Vec<(usize, Maker<'_>)> = vec![
        (FEDERATION_BYTES_MAX, Box::new(|n| Control::Hello(Hello { federation: text(n), ..hello() }))),
        (ANCESTOR_HEADS_MAX, Box::new(|n| Control::Hello(Hello { ancestor_heads: vec![head(); n], ..hello() }))),
        (NOTE_BYTES_MAX, Box::new(|n| Control::Hello(Hello { ancestor_heads: vec![noted(n)], ..hello() }))),
        (FRONTIER_HEADS_MAX, Box::new(|n| Control::Frontier { heads: vec![head(); n], last: true })),
        (NOTE_BYTES_MAX, Box::new(|n| Control::Frontier { heads: vec![noted(n)], last: true })),
        (NOTE_BYTES_MAX, Box::new(|n| Control::Receipt { log, size: 1, holder, line: text(n) })),
        (CHARTER_BYTES_MAX, Box::new(|n| Control::Charter { note: text(n) })),
        (NOTE_BYTES_MAX, Box::new(|n| Control::Request { note: text(n) })),
        (NOTE_BYTES_MAX, Box::new(|n| conflict(n, 0, 0))),
        (NOTE_BYTES_MAX, Box::new(|n| conflict(0, n, 0))),
        (crate::limits::PROOF_HASHES_MAX, Box::new(|n| conflict(0, 0, n))),
        (NOTE_BYTES_MAX, Box::new(|n| Control::Stands { log, head: Some(noted(n)), sure: true })),
        (HEALTH_NODES_MAX, Box::new(|n| Control::Health(HealthSummary { whole: true, nodes: vec![health(); n] }))),
        (ABOVE_WORDS_MAX, Box::new(|n| Control::Above(vec![word(); n]))),
    ];
    for (i, (most, make)) in cases.iter().enumerate() {
        let (fits, longer) = (make(*most), make(most + 1));
        assert_eq!(Control::decode(&fits.encode()), Ok(fits), "case {i}");
        assert!(Control::decode(&longer.encode()).is_err(), "case {i}");
    }
    // Texts for people are cut by who sends them, so that no reason of ours ends a link.
    let long = text(5_000);
    for message in [
        Control::Refused { code: Refusal::Busy, reason: long.clone() },
        Control::Reject { log, start: 1, code: Refusal::Root, reason: long.clone() },
        Control::Conflict { log, evidence: ForkEvidence::default(), reason: long.clone() },
        Control::Above(vec![AboveWord { reason: long.clone(), ..word() }]),
        rejected(long.clone()),
        Control::Hello(Hello { software: long.clone(), ..hello() }),
        Control::Health(HealthSummary { whole: false, nodes: vec![NodeHealth { software: Some(long), ..health() }] }),
    ] {
        let bytes = message.encode();
        assert!(bytes.len() < 2 * REASON_BYTES_MAX && Control::decode(&bytes).is_ok(), "{message:?}");
    }
    // One byte more than may be, from somebody who does not cut.
    let refused = |n: usize| [b"\x03\x00\xfb".as_slice(), &(n as u16).to_le_bytes(), &vec![b'r'; n]].concat();
    assert!(Control::decode(&refused(REASON_BYTES_MAX)).is_ok());
    assert!(Control::decode(&refused(REASON_BYTES_MAX + 1)).is_err());
    let hello = hello();
    let software = |n: usize| {
        let bytes = Control::Hello(Hello { software: text(n.min(SOFTWARE_BYTES_MAX)), ..hello.clone() }).encode();
        let (start, length) = bytes.split_at(bytes.len() - 2 - SOFTWARE_BYTES_MAX);
        assert_eq!(length[0], SOFTWARE_BYTES_MAX as u8);
        [start, &[n as u8], &vec![b's'; n], &[0]].concat()
    };
    assert!(Control::decode(&software(SOFTWARE_BYTES_MAX)).is_ok());
    assert!(Control::decode(&software(SOFTWARE_BYTES_MAX + 1)).is_err());
}

/// I7: a child decides how long the notes of its logs are, and not whether its parent can tell of them.
#[test]
fn frontiers_fit_whatever_the_notes_are() {
    for (count, note, pages) in [(0, 0, 1), (1, 9, 1), (512, 9, 1), (513, 9, 2), (1_000, NOTE_BYTES_MAX, 8)] {
        let heads = vec![Head { note: "x".repeat(note), ..head() }; count];
        let messages = Control::frontier(heads.clone());
        assert_eq!(messages.len(), pages, "{count} of {note}");
        let mut told = Vec::new();
        for (i, message) in messages.iter().enumerate() {
            let bytes = message.encode();
            assert!(bytes.len() <= CONTROL_BYTES_MAX, "{count} of {note}");
            let Ok(Control::Frontier { heads, last }) = Control::decode(&bytes) else { panic!("{count} of {note}") };
            assert_eq!(last, i + 1 == pages);
            told.extend(heads);
        }
        assert_eq!(told, heads);
    }
}

#[test]
fn a_node_is_named_by_its_records_log_only() {
    let ops: LogId = "350102/e1/ops".parse().unwrap();
    for message in [
        Control::Hello(Hello { node: ops, ..hello() }),
        Control::Welcome(Welcome { version: 1, node: ops, charter: mark(), clock_ms: 3 }),
        Control::Receipt { log: ops, size: 5, holder: ops, line: "l".into() },
    ] {
        assert!(Control::decode(&message.encode()).is_err());
    }
}

proptest! {
    #[test]
    fn any_bytes_are_answered(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        if let Ok(message) = Control::decode(&bytes) {
            let again = Control::decode(&message.encode());
            prop_assert_eq!(again, Ok(message));
        }
        let _ = StreamOpen::decode(&bytes);
    }
}
