//! Requests on their way up and down, and the hole in the own log that leads to one.

use super::*;
use crate::{Append, Disk, Entry, FoundBy, Input, NotSealed, Place, Replica, Ticket};
use tally_protocol::{
    canonical::Object,
    invite::Invite,
    join::JoinRequest,
    keys::NodeKeys,
    record::Record,
    request::{EpochRequest, ProposedKeys},
    wire::{Hello, Welcome},
};
use tally_topology::sample;

const NOW: u64 = 1_790_000_000_000;
const UP: LinkId = LinkId(1);
const DOWN: LinkId = LinkId(2);

/// Keeps what is written.
#[derive(Default)]
struct Kept(Vec<Entry>);

impl Disk for Kept {
    type Error = std::convert::Infallible;
    fn append(&mut self, frames: &[Append]) -> Result<Vec<Place>, Self::Error> {
        let first = self.0.len() as u64;
        self.0.extend(frames.iter().map(|f| f.entry().clone()));
        Ok((first..self.0.len() as u64).map(Place).collect())
    }
    fn flush(&mut self) -> Result<(), Self::Error> {
        Ok(())
    }
}

fn node(division: &str) -> Replica {
    Replica::new(Arc::new(sample::keys(division)), sample::signed(""), "test".into())
}

fn round(replica: &mut Replica, now: u64, input: Input, disk: &mut Kept) -> Vec<Output> {
    let mut out = Vec::new();
    replica.handle(now, input, &mut out);
    replica.commit(|| now, out, disk).unwrap()
}

fn tell(replica: &mut Replica, now: u64, link: LinkId, message: Control) -> Vec<Output> {
    round(replica, now, Input::Control { link, message }, &mut Kept::default())
}

/// A city with a link to the province and one from a county.
fn city() -> Replica {
    let mut city = node("350100");
    let child = sample::keys("350102").node;
    round(&mut city, NOW, Input::ChildUp { link: DOWN, peer: child }, &mut Kept::default());
    let hello = Hello {
        version_min: 1,
        version_max: 1,
        federation: "t.example".into(),
        node: child,
        instance: [0; 16],
        link_count: 1,
        charter: tally_protocol::wire::CharterMark { version: 1, hash: Hash([0; 32]) },
        clock_ms: NOW,
        software: String::new(),
        ancestor_heads: Vec::new(),
    };
    tell(&mut city, NOW, DOWN, Control::Hello(hello));
    link_up(&mut city, UP, NOW);
    city
}

fn link_up(node: &mut Replica, link: LinkId, now: u64) {
    let parent = node.charter().parent(node.me()).unwrap();
    round(node, now, Input::ParentUp { link, parent }, &mut Kept::default());
    let parent = sample::keys(&parent.to_string()).node;
    let welcome = Welcome {
        version: 1,
        node: parent,
        charter: tally_protocol::wire::CharterMark { version: 1, hash: Hash([0; 32]) },
        clock_ms: now,
    };
    tell(node, now, link, Control::Welcome(welcome));
}

fn next_keys(division: &str) -> NodeKeys {
    let now = sample::keys(division);
    let federation = sample::charter("").federation().clone();
    NodeKeys::derive(&federation, LogId::records(now.node.division, 2), &[9; 32])
}

fn request(division: &str, reason: &str) -> String {
    let (now, next) = (sample::keys(division), next_keys(division));
    let request = EpochRequest {
        federation: sample::charter("").federation().clone(),
        log: now.node,
        time: 1,
        size: 0,
        root: Hash([0; 32]),
        nonce: [0; 16],
        keys: ProposedKeys::of(&next),
        reason: reason.into(),
    };
    request.sign(&now, &next)
}

fn sent(out: &[Output], to: LinkId) -> Vec<Control> {
    let of = |o: &Output| match o {
        Output::Send { link, message } if *link == to => Some(message.clone()),
        _ => None,
    };
    let told = |m: &Control| matches!(m, Control::Request { .. } | Control::RequestRejected { .. });
    out.iter().filter_map(of).filter(told).collect()
}

fn tick(replica: &mut Replica, now: u64) -> Vec<Control> {
    sent(&round(replica, now, Input::Tick, &mut Kept::default()), UP)
}

#[test]
fn a_request_goes_up_once_a_link_and_its_rejection_comes_down() {
    let mut city = city();
    let note = request("350102", "a");
    tell(&mut city, NOW, DOWN, Control::Request { note: note.clone() });
    let message = Control::Request { note: note.clone() };
    assert_eq!(tick(&mut city, NOW + 2_000), std::slice::from_ref(&message));
    assert_eq!(tick(&mut city, NOW + 4_000), []);
    // A new link is told again.
    link_up(&mut city, UP, NOW + 5_000);
    let again = LinkId(9);
    link_up(&mut city, again, NOW + 5_000);
    let told = round(&mut city, NOW + 7_000, Input::Tick, &mut Kept::default());
    assert_eq!(sent(&told, again), [message]);
    // The latest counts, and goes up at most once a second whatever comes.
    for reason in ["b", "c", "d"] {
        tell(&mut city, NOW + 7_000, DOWN, Control::Request { note: request("350102", reason) });
    }
    let pending = city.view().requests().pending.values().next().unwrap().clone();
    assert_eq!((city.view().requests().pending.len(), pending.request.reason()), (1, "d"));
    assert_eq!(sent(&round(&mut city, NOW + 7_100, Input::Tick, &mut Kept::default()), again), []);
    let by = "350000".parse().unwrap();
    let rejected = Control::RequestRejected {
        node: pending.request.node(),
        request: pending.digest,
        by,
        reason: "not now".into(),
    };
    let down = tell(&mut city, NOW + 8_000, again, rejected.clone());
    assert_eq!(sent(&down, DOWN), std::slice::from_ref(&rejected));
    assert!(city.view().requests().pending.is_empty());
    // Who has not heard it asks again, and is told again; another request is a new one.
    let again = tell(&mut city, NOW + 9_000, DOWN, Control::Request { note: request("350102", "d") });
    assert_eq!((sent(&again, DOWN), city.view().requests().pending.len()), (vec![rejected], 0));
    tell(&mut city, NOW + 9_000, DOWN, Control::Request { note: request("350102", "e") });
    assert_eq!((city.view().requests().pending.len(), city.view().requests().rejected.len()), (1, 0));
}

/// I7: whatever a child sends, one request of a node below it is kept, and only one that the node's key signed.
#[test]
fn a_child_cannot_ask_for_others_nor_keep_others_from_asking() {
    let mut city = city();
    tell(&mut city, NOW, DOWN, Control::Request { note: request("350102", "mine") });
    let forged = request("350102", "mine").replace("reason mine", "reason other");
    for note in [forged, request("350103", "a neighbour's"), request("350000", "above"), "x".into()] {
        let out = tell(&mut city, NOW, DOWN, Control::Request { note });
        assert!(out.iter().any(|o| matches!(o, Output::Note(Event::RequestRefused { .. }))), "{out:?}");
    }
    let kept: Vec<_> = city.view().requests().pending.values().map(|p| p.request.reason().to_owned()).collect();
    assert_eq!(kept, ["mine"]);
    assert!(city.view().children.values().all(|c| c.link.is_some()), "the link goes on");
    // The same fault is told once.
    let out = tell(&mut city, NOW, DOWN, Control::Request { note: "x".into() });
    assert!(out.is_empty(), "{out:?}");
    // The operator's own, and one that was brought by hand.
    for division in ["350100", "350103"] {
        round(&mut city, NOW, Input::Request { note: request(division, "r") }, &mut Kept::default());
    }
    assert_eq!(city.view().requests().pending.len(), 3);
}

/// A request to join under a parent, with an invitation that `by` signed.
fn join(by: &str, parent: &str, division: u32) -> String {
    join_in(by, parent, division, 1)
}

/// The same for the epoch that is to begin.
fn join_in(by: &str, parent: &str, division: u32, epoch: u32) -> String {
    let invite = Invite {
        federation: sample::charter("").federation().clone(),
        division: division.try_into().unwrap(),
        epoch,
        name: "N".into(),
        level: "county".into(),
        parent: parent.parse().unwrap(),
        parent_link: sample::keys(parent).link.public().public(),
        addresses: vec!["h:1".into()],
        authority: [0; 32],
        by: sample::keys(by).node,
        id: [0; 16],
        expires: 0,
    };
    let invite = invite.sign(&sample::keys(by).log).unwrap();
    let keys = NodeKeys::derive(&invite.invite.federation, invite.invite.node(), &[9; 32]);
    let (nonce, own) = ([0; 16], ProposedKeys::of(&keys));
    JoinRequest { invite, time: 1, addresses: Vec::new(), nonce, keys: own, answer: None }.sign(&keys)
}

/// Another machine that is to take a node's place asks like any other, for the epoch that follows; a rejection of it is kept.
#[test]
fn another_machine_asks_for_the_next_epoch_and_hears_its_rejection() {
    let mut city = city();
    let note = join_in("350100", "350100", 350_102, 2);
    let ask = |city: &mut Replica, now_ms, note: &str| {
        round(city, now_ms, Input::Request { note: note.into() }, &mut Kept::default());
    };
    for epoch in [1, 3] {
        ask(&mut city, NOW, &join_in("350100", "350100", 350_102, epoch));
        assert!(city.view().requests().pending.is_empty(), "epoch {epoch}");
    }
    ask(&mut city, NOW, &note);
    let pending = city.view().requests().pending[&350_102.try_into().unwrap()].clone();
    let (node, log) = (pending.request.node().to_string(), pending.request.log().to_string());
    assert_eq!((node.as_str(), log.as_str()), ("350102/e2", "350102/e1"));
    assert_eq!(tick(&mut city, NOW + 2_000).len(), 1, "it goes up");
    let (by, node) = ("350000".parse().unwrap(), pending.request.node());
    let rejected = Control::RequestRejected { node, request: pending.digest, by, reason: "no".into() };
    tell(&mut city, NOW + 3_000, UP, rejected);
    round(&mut city, NOW + 9_000, Input::Tick, &mut Kept::default());
    ask(&mut city, NOW + 10_000, &note);
    let requests = city.view().requests();
    assert!(requests.pending.is_empty() && requests.rejected[&node.division].reason == "no");
}

/// I7: of divisions without a key a bounded number waits, whatever a child makes up, and nobody joins elsewhere by it.
#[test]
fn requests_to_join_go_up_and_have_a_bound() {
    let mut city = city();
    let first = join("350102", "350102", 350_200);
    // A county has no level below it.
    tell(&mut city, NOW, DOWN, Control::Request { note: first });
    assert!(city.view().requests().pending.is_empty());
    // At another parent than the child that brings it.
    tell(&mut city, NOW, DOWN, Control::Request { note: join("350100", "350100", 350_104) });
    assert!(city.view().requests().pending.is_empty());
    for n in 0..600 {
        let note = join("350100", "350100", 360_001 + n);
        round(&mut city, NOW, Input::Request { note }, &mut Kept::default());
    }
    assert_eq!(city.view().requests().pending.len(), JOINS_MAX);
    let note = request("350102", "an epoch is no join");
    tell(&mut city, NOW, DOWN, Control::Request { note });
    assert_eq!(city.view().requests().pending.len(), JOINS_MAX + 1);
    assert_eq!(tick(&mut city, NOW + 2_000).len(), JOINS_MAX + 1, "all of them go up");
    // One is rejected above: it is known here, and who asks is told when it asks again.
    let pending = city.view().requests().pending[&360_001.try_into().unwrap()].clone();
    let (by, node) = ("350000".parse().unwrap(), pending.request.node());
    let rejected = Control::RequestRejected { node, request: pending.digest, by, reason: "no".into() };
    tell(&mut city, NOW + 3_000, UP, rejected);
    round(&mut city, NOW + 9_000, Input::Tick, &mut Kept::default());
    let kept = city.view().requests().rejected.get(&node.division).cloned().unwrap();
    assert_eq!((kept.reason.as_str(), kept.place), ("no", city.me()));
}

fn record(n: usize) -> Record {
    Record::new(&Object::parse(format!("{{\"n\":\"{n}\"}}").as_bytes()).unwrap()).unwrap()
}

/// The county has signed batches of one record; it starts again without the batches that start at `gone`. What its parent
/// holds of it is `told`.
fn county(batches: usize, gone: &[u64], told: u64) -> Replica {
    let (mut before, mut disk) = (node("350102"), Kept::default());
    link_up(&mut before, UP, NOW);
    let log = before.own();
    tell(&mut before, NOW, UP, Control::Frontier { heads: Vec::new(), last: true });
    tell(&mut before, NOW, UP, Control::Stands { log, head: None, sure: true });
    for n in 0..batches {
        let records = vec![record(n)];
        round(&mut before, NOW, Input::Seal { ticket: Ticket(n as u64), records }, &mut disk);
    }
    let mut after = node("350102");
    let mut heads = Vec::new();
    for (place, entry) in (1..).map(Place).zip(disk.0) {
        let Entry::Batch { log, start, tree, note, .. } = &entry else { continue };
        if tree.size() == told {
            heads = vec![tally_protocol::wire::Head { log: *log, size: told, root: tree.root(), note: note.clone() }];
        }
        if !gone.contains(start) {
            after.recover(entry, place, FoundBy::Search);
        }
    }
    after.all_read();
    after.recovered();
    link_up(&mut after, UP, NOW);
    assert!(matches!(after.view().closed(), Some(NotSealed::Asking)) && after.view().lost().is_empty());
    let head = heads.first().cloned();
    tell(&mut after, NOW, UP, Control::Frontier { heads, last: true });
    tell(&mut after, NOW, UP, Control::Stands { log, head, sure: true });
    after
}

/// Nothing is signed behind records that are nowhere any more: it could never be sent.
#[test]
fn a_hole_that_nobody_above_can_fill_shuts_the_gate() {
    for (gone, told, lost) in [
        (&[1][..], 1, &[(1, 2)][..]),
        (&[2, 3], 1, &[(2, 4)]),
        (&[0], 0, &[(0, 1)]),
        (&[1, 3], 0, &[(1, 2), (3, 4)]),
        // The parent has a part of it.
        (&[1, 2], 2, &[(2, 3)]),
    ] {
        let county = county(5, gone, told);
        assert_eq!(county.view().lost(), lost, "{gone:?}");
        let closed = county.view().closed();
        assert!(matches!(&closed, Some(NotSealed::Damaged(_))), "{gone:?}: {closed:?}");
        assert_eq!(county.view().whole_head(county.own()).0, gone[0], "{gone:?}");
    }
    // The parent has them: they come back by repair.
    let healed = county(5, &[1], 4);
    assert!(healed.view().lost().is_empty() && healed.view().closed().is_none());
}

/// A receipt from above says that the record is there, although the parent was set back.
#[test]
fn what_somebody_above_has_confirmed_is_not_lost() {
    let mut county = county(3, &[1], 1);
    assert!(county.view().closed().is_some());
    let receipt = crate::log::Receipt { size: 3, time: 1, epoch: 1, line: String::new() };
    let own = county.own();
    county.log_mut(own).receipt("350000".parse().unwrap(), receipt);
    assert!(county.view().lost().is_empty() && county.view().closed().is_none());
}
