//! Both sides of a comparison, played without a link or a disk.

#![allow(clippy::single_range_in_vec_init, reason = "lists of ranges, some with one")]

use super::*;
use crate::{hash::sha256, ids::Division, session::Wants};
use proptest::prelude::*;

fn log(n: u32) -> LogId {
    LogId::records(Division::try_from(350_100 + n).unwrap(), 1)
}

fn root(log: LogId, size: u64) -> Hash {
    sha256(&[log.to_string().as_bytes(), &size.to_be_bytes()])
}

fn head(log: LogId, size: u64) -> Head {
    Head { log, size, root: root(log, size), note: String::new() }
}

fn standing(logs: &[(u32, u64, &[std::ops::Range<u64>])]) -> ScopeStanding {
    let mut s = ScopeStanding::default();
    for (n, size, lost) in logs {
        if *size > 0 {
            s.heads.insert(log(*n), head(log(*n), *size));
        }
        let mut wants = Wants::new(log(*n));
        lost.iter().for_each(|r| wants.insert(r.clone()));
        if !wants.is_empty() {
            s.lacks.insert(log(*n), Lacking { wants: wants.encode(), remains: Vec::new() });
        }
    }
    s
}

fn all() -> Scope {
    Scope::Division(Division::try_from(350_000).unwrap())
}
type Moved = Vec<(LogId, Wants)>;

/// Plays both sides; what is fetched and given, by log.
fn play(mine: &ScopeStanding, theirs: &ScopeStanding, repair: bool) -> (Reconcile, Moved, Moved) {
    let same = mine == theirs && mine.lacks.is_empty();
    let mut r = Reconcile::new(all(), None, mine.clone(), false, repair);
    let (mut fetched, mut given) = (Vec::new(), Vec::new());
    loop {
        match r.step() {
            ReconcileStep::Send(ask) => {
                assert_eq!(ReconcileRequest::decode(&ask.encode()), Ok(ask.clone()));
                let answers: Vec<_> = match ask {
                    ReconcileRequest::Compare { .. } if same => vec![ReconcileReply::Agree],
                    ReconcileRequest::Compare { .. } => theirs.messages().collect(),
                    ReconcileRequest::Roots(wanted) => {
                        vec![ReconcileReply::Roots(wanted.iter().map(|(l, n)| Some(root(*l, *n))).collect())]
                    }
                    ReconcileRequest::Want { log, lacking } => {
                        fetched.push((log, Wants::decode(&lacking.wants).unwrap()));
                        vec![ReconcileReply::Piece(Piece::Whole { log, bytes: vec![1] }), ReconcileReply::End]
                    }
                    other => panic!("{other:?}"),
                };
                let last = answers.len() - 1;
                for (i, answer) in answers.into_iter().enumerate() {
                    let (_, more) = r.take(answer).unwrap();
                    assert_eq!(more, i < last);
                }
            }
            ReconcileStep::OwnRoots(wanted) => {
                r.own_roots(wanted.iter().map(|(l, n)| (*l, Some(root(*l, *n)))).collect())
            }
            ReconcileStep::Give { log, lacking } => given.push((log, Wants::decode(&lacking.wants).unwrap())),
            ReconcileStep::Descend { log, size } => r.descended(log, &[size - 1..size]),
            ReconcileStep::Finished => return (r, fetched, given),
        }
    }
}

#[test]
fn the_same_takes_one_round_trip() {
    let both = standing(&[(2, 10, &[]), (3, 5, &[])]);
    let (r, fetched, given) = play(&both, &both, true);
    assert!(r.agree() && fetched.is_empty() && given.is_empty());
    assert_eq!(r.rounds, 1);
}

#[test]
fn what_is_missing_goes_both_ways_and_nothing_else_does() {
    let mine = standing(&[(2, 100, &[10..20, 50..60]), (3, 5, &[]), (4, 7, &[])]);
    let theirs = standing(&[(2, 120, &[15..30]), (3, 5, &[]), (5, 9, &[])]);
    let (r, fetched, given) = play(&mine, &theirs, true);
    assert!(!r.agree());
    let ranges = |found: &[(LogId, Wants)]| {
        let mut all: Vec<_> = found.iter().map(|(l, w)| (*l, w.ranges().collect::<Vec<_>>())).collect();
        all.sort_by_key(|(l, _)| *l);
        all
    };
    assert_eq!(ranges(&fetched), [(log(2), vec![10..15, 50..60, 100..120]), (log(5), std::iter::once(0..9).collect())]);
    assert_eq!(
        ranges(&given),
        [(log(2), std::iter::once(20..30).collect()), (log(4), std::iter::once(0..7).collect())]
    );
    let named: Vec<_> = r.differences().iter().map(|d| (d.log, d.from, d.to, d.here, d.there)).collect();
    use RangeHolding::{Damaged, Missing, Ok};
    assert_eq!(
        named,
        [
            (log(2), 10, 15, Damaged, Ok),
            (log(2), 15, 20, Damaged, Damaged),
            (log(2), 20, 30, Ok, Damaged),
            (log(2), 50, 60, Damaged, Ok),
            (log(2), 100, 120, Missing, Ok),
            (log(4), 0, 7, Ok, Missing),
            (log(5), 0, 9, Missing, Ok),
        ]
    );
    let (_, fetched, given) = play(&mine, &theirs, false);
    assert!(fetched.is_empty() && given.is_empty(), "a comparison moves nothing");
}

#[test]
fn across_two_histories_nothing_is_moved() {
    let mine = standing(&[(2, 10, &[3..4])]);
    let mut theirs = standing(&[(2, 10, &[]), (3, 4, &[])]);
    theirs.heads.get_mut(&log(2)).unwrap().root = root(log(9), 1);
    let (r, fetched, given) = play(&mine, &theirs, true);
    assert_eq!((fetched.len(), given.len()), (1, 0));
    assert_eq!(fetched[0].0, log(3));
    assert!(r.differences().iter().any(|d| (d.log, d.from, d.here) == (log(2), 9, RangeHolding::Other)));
    assert!(!r.agree());
}

#[test]
fn answers_out_of_turn_end_it() {
    let mut r = Reconcile::new(all(), None, ScopeStanding::default(), false, true);
    assert_eq!(r.take(ReconcileReply::End), Err(Violation::OutOfTurn));
    r.step();
    assert_eq!(r.take(ReconcileReply::Piece(Piece::Whole { log: log(2), bytes: vec![] })), Err(Violation::OutOfTurn));
    let lacking = Lacking { wants: vec![0xff; 30], remains: vec![] };
    assert!(matches!(r.take(ReconcileReply::Lacks { log: log(2), lacking }), Err(Violation::Malformed(_))));
    let refused = ReconcileReply::Refused { code: Refusal::Busy, reason: "x".repeat(5_000) };
    assert!(matches!(r.take(refused), Err(Violation::Refused(Refusal::Busy, why)) if why.len() == 300));
}

#[test]
fn frozen_bytes() {
    let ask = ReconcileRequest::Compare { scope: Scope::Log(log(2)), digest: None, deep: true };
    assert_eq!(ask.encode(), b"\x00\x01\x05\x57\x96\0\0\0\x01\0\0\0\x00\x01");
    let answer =
        ReconcileReply::Piece(Piece::Blocks { log: log(2), start: 7, total: 9, blocks: vec![(1, vec![2, 3])] });
    assert_eq!(answer.encode(), b"\x07\x01\x05\x57\x96\0\0\0\x01\0\0\0\x07\x09\x01\x01\x02\x02\x03");
}

proptest! {
    #[test]
    fn any_bytes_are_answered(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        if let Ok(answer) = ReconcileReply::decode(&bytes) {
            let mut r = Reconcile::new(all(), None, standing(&[(2, 10, &[3..4])]), true, true);
            r.step();
            let _ = r.take(answer);
        }
        let _ = ReconcileRequest::decode(&bytes);
    }
}
