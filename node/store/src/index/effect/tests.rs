//! Which version is in force: each rule by itself, and that no order of arrival changes an answer.

use super::{Effect::*, *};
use proptest::prelude::*;

const COUNTY: &str = "350102";
const NEIGHBOUR: &str = "350103";
const CITY: &str = "350100";

fn id(n: u8) -> RecordId {
    RecordId::of(&[n])
}

fn d(division: &str) -> Division {
    division.parse().unwrap()
}

/// Version `n` of a log, at an index, which belongs to the county.
fn of(n: u8, log: &str, index: u64, operation: Operation) -> KeyVersion {
    let log: LogId = log.parse().unwrap();
    let standing = match log.division.code() {
        350_102 => LogStanding::Named,
        350_103 => LogStanding::Closed,
        _ => LogStanding::Above,
    };
    KeyVersion { id: id(n), log, index, operation, amends: None, door: Door { node: d(COUNTY), standing } }
}

fn naming(named: u8, v: KeyVersion) -> KeyVersion {
    KeyVersion { amends: Some(half_id(id(named))), ..v }
}

fn at_own_door(v: KeyVersion) -> KeyVersion {
    KeyVersion { door: Door { node: v.log.division, standing: LogStanding::Named }, ..v }
}

/// A node may change what belongs to it, and the city also what belongs below it.
fn effects_of(versions: &[KeyVersion]) -> Vec<Effect> {
    effects(versions, |node, i| versions[i].door.node == node || node == d(CITY))
}

use Operation::{Amend, Create, Withdraw};

#[test]
fn the_later_one_of_a_nodes_logs_counts_by_epoch_and_index() {
    let versions = [
        of(1, "350102/e1", 7, Create),
        of(2, "350102/e2", 0, Amend),
        of(3, "350102/e1", 9, Amend),
        of(1, "350102/e2", 5, Create),
    ];
    assert_eq!(effects_of(&versions), [Replaced, InForce, Replaced, Replaced], "a repetition revives nothing");
}

#[test]
fn a_log_that_may_not_submit_changes_nothing() {
    let victim = of(1, "350102/e1", 0, Create);
    for operation in [Create, Amend, Withdraw] {
        let versions = [victim, of(2, "350103/e1", 0, operation), naming(1, of(3, "350103/e1", 1, operation))];
        assert_eq!(effects_of(&versions), [InForce, Closed, Closed]);
        // Under its own division's name it may submit, and still not change what belongs elsewhere.
        let own = [victim, naming(1, at_own_door(of(2, "350103/e1", 0, operation)))];
        assert_eq!(effects_of(&own), [InForce, NotItsRecord]);
    }
    for operation in [Amend, Withdraw] {
        let own = [victim, at_own_door(of(2, "350103/e1", 0, operation))];
        assert_eq!(effects_of(&own), [InForce, NoOriginal]);
    }
    // What it creates under its own division's name is a record of its own beside the other.
    let own = [victim, at_own_door(of(2, "350103/e1", 0, Create)), at_own_door(of(3, "350103/e1", 1, Withdraw))];
    assert_eq!(effects_of(&own), [InForce, Replaced, InForce]);
}

#[test]
fn another_logs_record_changes_only_by_its_name() {
    let county = of(1, "350102/e1", 0, Create);
    let city = of(2, "350100/e1", 0, Create);
    assert_eq!(effects_of(&[county, city]), [InForce, Contested], "the log that the route names counts");
    assert_eq!(effects_of(&[county, naming(1, city)]), [Replaced, InForce]);
    let withdrawn = naming(1, of(2, "350100/e1", 0, Withdraw));
    assert_eq!(effects_of(&[county, withdrawn]), [Replaced, InForce]);
    // Through a chain: the city's second version follows one that names the county's.
    let chain = [county, naming(1, of(2, "350100/e1", 0, Amend)), of(3, "350100/e1", 1, Amend)];
    assert_eq!(effects_of(&chain), [Replaced, Replaced, InForce]);
    // Two amend one: the county went on too.
    let both = [county, naming(1, of(2, "350100/e1", 0, Amend)), of(3, "350102/e1", 1, Amend)];
    assert_eq!(effects_of(&both), [Replaced, Contested, InForce]);
    let joined = [both[0], both[1], naming(2, both[2])];
    assert_eq!(effects_of(&joined), [Replaced, Replaced, InForce]);
    // Also where the node that names it holds it as well.
    let held = [county, of(1, "350100/e1", 0, Create), naming(1, of(2, "350100/e1", 1, Amend))];
    assert_eq!(effects_of(&held), [Replaced, Replaced, InForce]);
}

#[test]
fn where_no_log_is_named_the_lower_one_counts() {
    let guest = |n, log| {
        let v = of(n, log, 0, Create);
        KeyVersion { door: Door { standing: LogStanding::Guest, ..v.door }, ..v }
    };
    assert_eq!(effects_of(&[guest(1, "350105/e1"), guest(2, "350104/e1")]), [Contested, InForce]);
    assert_eq!(effects_of(&[guest(1, "350103/e1"), of(2, "350100/e1", 0, Create)]), [Contested, InForce]);
}

#[test]
fn the_same_record_by_two_paths_counts_where_the_route_leads() {
    let versions = [of(1, "350100/e1", 0, Create), of(1, "350102/e1", 3, Create), of(2, "350102/e1", 4, Amend)];
    assert_eq!(effects_of(&versions), [Contested, Replaced, InForce], "a late second path revives no old version");
}

#[test]
fn versions_that_name_each_other_leave_one_in_force() {
    let versions = [
        naming(4, of(1, "350100/e1", 0, Create)),
        of(2, "350100/e1", 1, Amend),
        naming(2, of(3, "350102/e1", 0, Create)),
        of(4, "350102/e1", 1, Amend),
    ];
    assert_eq!(effects_of(&versions), [Replaced, Contested, Replaced, InForce]);
}

#[test]
fn an_amendment_whose_original_nobody_holds_counts() {
    assert_eq!(effects_of(&[of(1, "350102/e1", 0, Amend)]), [InForce]);
    assert_eq!(effects_of(&[naming(9, of(1, "350102/e1", 0, Amend))]), [InForce]);
}

fn any_version() -> impl Strategy<Value = KeyVersion> {
    let log = prop_oneof![Just(CITY), Just(COUNTY), Just(NEIGHBOUR)];
    let operation = prop_oneof![Just(Create), Just(Amend), Just(Withdraw)];
    let standing = prop_oneof![
        Just(LogStanding::Named),
        Just(LogStanding::Above),
        Just(LogStanding::Guest),
        Just(LogStanding::Closed)
    ];
    let names = proptest::option::of(0_u8..8);
    (log, 1_u32..3, operation, names, standing, prop_oneof![Just(CITY), Just(COUNTY), Just(NEIGHBOUR)]).prop_map(
        |(division, epoch, operation, names, standing, door)| KeyVersion {
            id: id(0),
            log: LogId::records(d(division), epoch),
            index: 0,
            operation,
            amends: names.map(|n| half_id(id(n))),
            door: Door { node: d(door), standing },
        },
    )
}

/// Up to eight versions, each at a place of its own.
fn any_versions() -> impl Strategy<Value = Vec<KeyVersion>> {
    proptest::collection::vec(any_version(), 0..8).prop_map(|mut versions| {
        for (n, v) in (0_u8..).zip(&mut versions) {
            (v.id, v.index) = (id(n), u64::from(n));
        }
        versions
    })
}

fn by_record(versions: &[KeyVersion]) -> BTreeMap<RecordId, Effect> {
    versions.iter().map(|v| v.id).zip(effects_of(versions)).collect()
}

proptest! {
    /// Whatever the order in which versions came, each fares the same.
    #[test]
    fn no_order_of_arrival_changes_an_answer(
        (versions, shuffled) in any_versions().prop_flat_map(|v| (Just(v.clone()), Just(v).prop_shuffle()))
    ) {
        prop_assert_eq!(by_record(&versions), by_record(&shuffled));
    }

    /// At most one version of a door is in force, and one is wherever any counts.
    #[test]
    fn one_counts_at_a_door(versions in any_versions()) {
        let effects = effects_of(&versions);
        let mut doors = BTreeSet::new();
        for (v, _) in versions.iter().zip(&effects).filter(|(_, e)| **e == InForce) {
            prop_assert!(doors.insert(v.door.node));
        }
        prop_assert!(effects.iter().all(|e| e.is_void()) || !doors.is_empty());
    }

    /// What a log that may not submit signs, in any number and under any name, changes what becomes of no other record.
    #[test]
    fn a_closed_log_changes_no_other_record(
        versions in any_versions(),
        hostile in proptest::collection::vec(any_version(), 1..5)
    ) {
        let honest: Vec<_> = versions.into_iter().filter(|v| v.log.division != d(NEIGHBOUR)).collect();
        let before = by_record(&honest);
        let hostile = (100_u8..).zip(hostile).map(|(n, v)| KeyVersion {
            id: id(n),
            index: u64::from(n),
            log: LogId::records(d(NEIGHBOUR), v.log.epoch),
            door: Door { standing: LogStanding::Closed, ..v.door },
            ..v
        });
        let mut all = honest;
        all.extend(hostile);
        let after = by_record(&all);
        for (id, effect) in before {
            prop_assert_eq!(after.get(&id), Some(&effect));
        }
    }
}
