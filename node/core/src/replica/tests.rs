//! Rules of the core, with a disk of memory: rounds, links, conflicts, repair.

mod ancestors;
mod charters;
mod heads;
mod health;
mod pushing;
mod receipts;

use super::*;
use crate::{FoundBy, Gate};
use std::fmt::Write as _;
use tally_protocol::{
    canonical::Object,
    fork::ForkEvidence,
    ids::Federation,
    keys::{Algorithm, Signer},
    record::Record,
    wire::{Head, Hello},
};
use tally_topology::signed::sign;

const NOW: u64 = 1_790_000_000_000;

fn federation() -> Federation {
    Federation::try_from("t.example".to_owned()).unwrap()
}

fn keys(code: u32) -> Arc<NodeKeys> {
    let node = LogId::records(code.try_into().unwrap(), 1);
    let mut secret = [5; 32];
    secret[..4].copy_from_slice(&code.to_le_bytes());
    Arc::new(NodeKeys::derive(&federation(), node, &secret))
}

fn authority() -> Signer {
    Signer::new(federation().authority_name(), Algorithm::Ed25519, &[1; 32])
}

/// A city and its counties; those from `retired` on are out of service.
fn charter(version: u64, counties: u32, retired: u32) -> String {
    let mut text = tally_topology::charter::heading(
        &federation(),
        version,
        tally_protocol::keys::authority_signer(&federation(), &[2; 32]).public(),
    );
    for code in 350_100..=350_100 + counties {
        let (k, county) = (keys(code), code > 350_100);
        let (level, parent) = if county { ("county", "parent = \"350100\"\n") } else { ("prefecture", "") };
        let retired = code >= retired;
        let epoch = tally_topology::charter::epoch_entry(&k);
        write!(
            text,
            "[[node]]\ndivision = \"{code}\"\nname = \"n\"\nlevel = \"{level}\"\n{parent}addresses = [\"h:1\"]\n\
             retired = {retired}\n{epoch}"
        )
        .unwrap();
    }
    sign(&text, &authority()).unwrap()
}

fn replica(code: u32, counties: u32) -> Replica {
    let signed = SignedCharter::open(&charter(1, counties, u32::MAX), authority().public()).unwrap();
    Replica::new(keys(code), signed, "test".into())
}

/// A disk that always works.
struct Memory(u64);

impl Disk for Memory {
    type Error = std::convert::Infallible;
    fn append(&mut self, frames: &[Append]) -> Result<Vec<Place>, Self::Error> {
        let first = self.0;
        self.0 += frames.len() as u64;
        Ok((first..self.0).map(Place).collect())
    }
    fn flush(&mut self) -> Result<(), Self::Error> {
        Ok(())
    }
}

fn round(replica: &mut Replica, now: u64, input: Input) -> Vec<Output> {
    let mut out = Vec::new();
    replica.handle(now, input, &mut out);
    replica.commit(|| now, out, &mut Memory(now)).unwrap()
}

fn call(city: &mut Replica, now: u64, code: u32) -> Vec<Control> {
    let (link, peer) = (LinkId((u64::from(code) << 32) | (now % 1_000_000)), keys(code).node);
    let hello = Hello {
        version_min: 1,
        version_max: 1,
        federation: "t.example".into(),
        node: peer,
        instance: [1; 16],
        link_count: 1,
        charter: city.view.charter.mark(),
        clock_ms: now,
        software: "test".into(),
        ancestor_heads: Vec::new(),
    };
    round(city, now, Input::ChildUp { link, peer });
    sent(round(city, now, Input::Control { link, message: Control::Hello(hello) }))
}

fn sent(out: Vec<Output>) -> Vec<Control> {
    let message = |o| if let Output::Send { message, .. } = o { Some(message) } else { None };
    out.into_iter().filter_map(message).collect()
}

fn welcomed(messages: &[Control]) -> bool {
    matches!(messages.first(), Some(Control::Welcome(_)))
}

/// A restarted parent meets all its children at once: some come in, the others are told when to come back, and a few
/// seconds later all are in. A clock that is set back locks nobody out.
#[test]
fn a_herd_comes_in_one_by_one() {
    let (herd, mut city) = (400, replica(350_100, 400));
    let mut outside: Vec<(u64, u32)> = (350_101..=350_100 + herd).map(|c| (NOW, c)).collect();
    let mut first_round = 0;
    let mut now = NOW;
    while !outside.is_empty() {
        assert!(now < NOW + 10_000, "{} are still outside", outside.len());
        let (due, later): (Vec<_>, Vec<_>) = outside.into_iter().partition(|(at, _)| *at <= now);
        outside = later;
        for (_, code) in due {
            match call(&mut city, now, code).as_slice() {
                m if welcomed(m) => first_round += u32::from(now == NOW),
                [Control::Busy { retry_after_ms }] => {
                    assert!((1..5_000).contains(retry_after_ms));
                    outside.push((now + retry_after_ms, code));
                }
                other => panic!("{other:?}"),
            }
        }
        now += 10;
    }
    assert!((50..=110).contains(&first_round), "{first_round}");
    assert!(welcomed(&call(&mut city, NOW - 3_600_000, 350_101)), "an hour back");
}

/// A node that loses its link by a new charter gets that charter first.
#[test]
fn a_retired_child_learns_why() {
    let mut city = replica(350_100, 3);
    assert!(welcomed(&call(&mut city, NOW, 350_103)));
    let out = round(&mut city, NOW, Input::Charter { ticket: Ticket(1), note: charter(2, 3, 350_103) });
    let position = |wanted: fn(&Output) -> bool| out.iter().position(wanted).unwrap();
    let told = position(|o| matches!(o, Output::Send { message: Control::Charter { .. }, .. }));
    let closed = position(|o| matches!(o, Output::Close { code: Refusal::NotAdmitted, .. }));
    assert!(told < closed);
    assert!(out.iter().any(|o| matches!(o, Output::CharterLoaded { result: Ok(2), .. })));
}

/// An empty disk under the old key: the log comes back from the parent, with its receipts, and only then is it signed.
#[test]
fn an_old_copy_fetches_its_tail_and_its_receipts() {
    let (mut city, mut county) = (replica(350_100, 1), replica(350_101, 1));
    let own = county.own();
    let connect = |city: &mut Replica, county: &mut Replica, link: LinkId| {
        round(city, NOW, Input::ChildUp { link, peer: own });
        let mut up = sent(round(county, NOW, Input::ParentUp { link, parent: city.me() }));
        let mut refused = 0;
        // Messages go to and fro until nobody has anything to say.
        for _ in 0..20 {
            let mut down = Vec::new();
            for message in up.drain(..) {
                down.extend(round(city, NOW, Input::Control { link, message }));
            }
            let mut more = Vec::new();
            for output in down {
                match output {
                    Output::Send { message, .. } => {
                        // Whoever tells one of more records than there are keeps no true one out.
                        if let Control::Receipt { log, holder, ref line, .. } = message {
                            let lie = Control::Receipt { log, size: u64::MAX, holder, line: line.clone() };
                            more.extend(round(county, NOW, Input::Control { link, message: lie }));
                        }
                        more.extend(round(county, NOW, Input::Control { link, message }));
                    }
                    Output::Push { log, .. } => {
                        let held = &city.view().logs()[&log];
                        assert_eq!(held.size(), 1);
                        let record = record();
                        let bytes =
                            tally_protocol::batch::seal(&keys(350_101), &Tree::default(), &[record], NOW / 1_000);
                        if county.view().closed().is_some() {
                            let (ticket, records) = (Ticket(9), vec![self::record()]);
                            let out = round(county, NOW, Input::Seal { ticket, records });
                            refused +=
                                out.iter().filter(|o| matches!(o, Output::Sealed { result: Err(_), .. })).count();
                        }
                        more.extend(round(county, NOW, Input::Batch { link, log, bytes }));
                    }
                    _ => {}
                }
            }
            up.extend(sent(more));
        }
        refused
    };
    connect(&mut city, &mut county, LinkId(1));
    assert_eq!(county.view().closed(), None);
    let out = round(&mut county, NOW, Input::Seal { ticket: Ticket(1), records: vec![record()] });
    assert!(out.iter().any(|o| matches!(o, Output::Push { .. })));
    let bytes = tally_protocol::batch::seal(&keys(350_101), &Tree::default(), &[record()], NOW / 1_000);
    let receipts = sent(round(&mut city, NOW, Input::Batch { link: LinkId(1), log: own, bytes }));
    assert!(receipts.iter().any(|m| matches!(m, Control::Receipt { size: 1, .. })), "{receipts:?}");

    let mut empty = replica(350_101, 1);
    let refused = connect(&mut city, &mut empty, LinkId(2));
    assert!(refused > 0, "nothing is signed before the tail is back");
    assert_eq!((empty.view().logs()[&own].size(), empty.view().closed()), (1, None));
    let receipt = &empty.view().logs()[&own].receipts[&city.me()];
    assert_eq!(receipt.size, 1, "the receipt came before its record and counts all the same");
}

fn record() -> Record {
    Record::new(&Object::parse(b"{\"n\":\"1\"}").unwrap()).unwrap()
}

fn rows(from: u64, n: u64, what: &str) -> Vec<Record> {
    let row = |i| Record::new(&Object::parse(format!("{{\"{what}\":\"{i}\"}}").as_bytes()).unwrap()).unwrap();
    (from..from + n).map(row).collect()
}

/// A county that signs two batches for the same place, and gives both for it before either is on the city's disk: one is
/// written, whatever the way it came.
#[test]
fn two_batches_for_one_place_are_never_both_written() {
    use tally_protocol::{batch::seal, merkle::Tree};
    use tally_topology::admit::{AdmittedBatch, admit};
    let county = keys(350_101);
    let first = |r: &Replica| -> [AdmittedBatch; 3] {
        let charter = r.charter();
        let admitted = |tree: &Tree, records: &[Record]| {
            admit(charter, county.node, tree, seal(&county, tree, records, 1)).unwrap()
        };
        let head = admitted(&Tree::default(), &rows(0, 5, "a"));
        let (one, other) = (admitted(head.tree(), &rows(5, 5, "a")), admitted(head.tree(), &rows(5, 5, "b")));
        [head, one, other]
    };
    let put = |n: u64, batch: &AdmittedBatch| Input::Repair { ticket: Ticket(n), batch: batch.clone() };
    let written = |out: &[Output]| out.iter().filter(|o| matches!(o, Output::Append(_))).count();
    // As news: the second does not continue what the first is about to make of the log.
    let mut city = replica(350_100, 2);
    let [head, one, other] = first(&city);
    round(&mut city, NOW, put(1, &head));
    let mut out = Vec::new();
    city.handle(NOW, put(2, &one), &mut out);
    city.handle(NOW, put(3, &other), &mut out);
    assert_eq!(written(&out), 1, "{out:?}");
    // Into a gap.
    let mut city = replica(350_100, 2);
    let [head, one, other] = first(&city);
    let last = admit(city.charter(), county.node, one.tree(), seal(&county, one.tree(), &rows(10, 5, "a"), 1)).unwrap();
    for (offset, batch) in [(1, &head), (3, &last)] {
        let (tree, note) = (batch.tree().clone(), batch.note().to_owned());
        let place = Place(offset);
        let (log, start, sealed_at) = (batch.log(), batch.start(), 1);
        city.recover(Entry::Batch { log, start, tree, sealed_at, note }, place, FoundBy::Search);
    }
    assert_eq!(city.view().logs()[&county.node].missing(), [(5, 10)]);
    let mut out = Vec::new();
    city.handle(NOW, put(4, &one), &mut out);
    city.handle(NOW, put(5, &other), &mut out);
    city.handle(NOW, put(6, &one), &mut out);
    assert_eq!(written(&out), 1, "{out:?}");
    city.commit(|| NOW, out, &mut Memory(9)).unwrap();
    assert!(city.view().logs()[&county.node].is_whole());
}

/// What stands in the journal counts by its log's newest checkpoint. Where that is not signed by the log's key, each batch is
/// looked at by itself; behind damage each always is.
#[test]
fn what_nobody_signed_does_not_count_however_it_was_found() {
    use tally_protocol::{batch::seal, merkle::Tree};
    use tally_topology::admit::admit;
    let county = keys(350_101);
    let read = |by: &[FoundBy], forged: bool| {
        let mut city = replica(350_100, 2);
        let mut tree = Tree::default();
        for (n, by) in (0..).zip(by) {
            let bytes = seal(&county, &tree, &rows(n * 5, 5, "a"), 1);
            let batch = admit(city.charter(), county.node, &tree, bytes).unwrap();
            let (log, start, mut note) = (batch.log(), batch.start(), batch.note().to_owned());
            tree = batch.tree().clone();
            if forged && n == 1 {
                // Signed, and by somebody else: the text stands, and the signature is that of another text.
                note = note.replacen("\n10\n", "\n11\n", 1);
            }
            city.recover(Entry::Batch { log, start, tree: tree.clone(), sealed_at: 1, note }, Place(n + 1), *by);
        }
        let holds = city.edges_hold();
        city.all_read();
        (holds, city.view().unproved(), city.view().logs().get(&county.node).map_or(0, |l| l.size()))
    };
    let (order, search) = (FoundBy::Order, FoundBy::Search);
    assert_eq!(read(&[order, order], false), (true, 0, 10));
    assert_eq!(read(&[order, search], false), (true, 0, 10));
    assert_eq!(read(&[order, order], true), (false, 0, 10), "to be read again");
    assert_eq!(read(&[search, search], true), (true, 1, 5));
    assert_eq!(read(&[order, search], true), (true, 1, 5));
}

/// A journal in which two histories stand all the same: the node starts, and that log alone is frozen.
#[test]
fn two_histories_in_the_journal_stop_one_log_and_not_the_node() {
    use tally_protocol::{batch::seal, merkle::Tree};
    use tally_topology::admit::admit;
    let (county, mut city) = (keys(350_101), replica(350_100, 2));
    for (offset, what) in [(1, "a"), (2, "b")] {
        let bytes = seal(&county, &Tree::default(), &rows(0, 5, what), 1);
        let batch = admit(city.charter(), county.node, &Tree::default(), bytes).unwrap();
        let (log, start, sealed_at) = (batch.log(), batch.start(), 1);
        let (tree, note) = (batch.tree().clone(), batch.note().to_owned());
        city.recover(Entry::Batch { log, start, tree, sealed_at, note }, Place(offset), FoundBy::Search);
    }
    city.all_read();
    city.recovered();
    round(&mut city, NOW, Input::Tick);
    let frozen = city.view().logs()[&county.node].frozen.as_ref().unwrap();
    assert!(
        frozen.evidence.notes.iter().all(|n| n.starts_with("t.example/350101/e1\n5\n"))
            && frozen.evidence.verify(county.log.public()).is_ok()
    );
    assert_ne!(*city.view().gate(), Gate::Frozen, "the city's own log goes on");
}

/// Whoever has no link learns of a second history from a bundle: by what is signed, and from a neighbour.
#[test]
fn a_bundle_carries_what_shows_two_histories() {
    use tally_protocol::{batch::seal, merkle::Tree};
    let (county, reason) = (keys(350_101), "shown".to_owned());
    let note = |what: &str| {
        let bytes = seal(&county, &Tree::default(), &rows(0, 5, what), NOW / 1_000);
        tally_protocol::batch::Batch::decode(&bytes).unwrap().note
    };
    let evidence = ForkEvidence::of([note("a"), note("b")], county.log.public());
    assert!(evidence.verify(county.log.public()).is_ok());
    let told = |replica: &mut Replica, from: u32, evidence: ForkEvidence| {
        let (log, from, reason) = (county.node, from.try_into().unwrap(), reason.clone());
        round(replica, NOW, Input::BundledConflict { from, log, evidence, reason });
        replica.view().logs().get(&log).and_then(|l| l.frozen.clone()).map(|f| f.evidence)
    };
    // Up, at the city; and down, at the county itself.
    let (mut city, mut itself) = (replica(350_100, 2), replica(350_101, 2));
    assert_eq!(told(&mut city, 350_102, evidence.clone()), None, "another county says nothing of this one");
    assert_eq!(told(&mut city, 350_999, evidence.clone()), None, "a stranger");
    let forged = ForkEvidence { notes: [note("a"), note("a")], ..evidence.clone() };
    assert_eq!(told(&mut city, 350_101, forged), None, "one history");
    assert_eq!(told(&mut city, 350_101, evidence.clone()), Some(evidence.clone()));
    assert_eq!(told(&mut itself, 350_100, evidence.clone()), Some(evidence));
    assert_eq!(*itself.view().gate(), Gate::Frozen);
}

/// Batches were signed while the clock ran ahead, then it was put right: what was signed since says so, at each later start.
#[test]
fn a_clock_that_once_ran_ahead_stops_no_later_start() {
    use tally_protocol::{batch::seal, merkle::Tree};
    use tally_topology::admit::admit;
    let ahead_s = (NOW + 400 * 86_400_000) / 1_000;
    let started = |times: &[u64]| {
        let mut county = replica(350_101, 1);
        let mut tree = Tree::default();
        let mut entries = Vec::new();
        for (n, time) in (0..).zip(times) {
            let bytes = seal(&keys(350_101), &tree, &rows(n * 5, 5, "a"), *time);
            let batch = admit(county.charter(), keys(350_101).node, &tree, bytes).unwrap();
            tree = batch.tree().clone();
            let (log, note) = (batch.log(), batch.note().to_owned());
            entries.push(Entry::Batch { log, start: batch.start(), tree: tree.clone(), sealed_at: *time, note });
        }
        // A copy of the first one was repaired since, and stands behind.
        entries.push(entries[0].clone());
        entries.into_iter().zip(1..).for_each(|(entry, at)| county.recover(entry, Place(at), FoundBy::Search));
        county.all_read();
        county.recovered();
        round(&mut county, NOW, Input::Tick);
        county.view().clock.is_some()
    };
    assert!(started(&[NOW / 1_000, ahead_s]), "it signed in the future last");
    assert!(!started(&[ahead_s, NOW / 1_000]));
}

/// What is missing on this disk is not attested; once it is back, it is.
#[test]
fn no_receipt_is_given_for_a_log_with_a_gap() {
    use tally_protocol::{batch::seal, merkle::Tree};
    use tally_topology::admit::admit;
    let (county, mut city) = (keys(350_101), replica(350_100, 2));
    let mut tree = Tree::default();
    let mut batches = Vec::new();
    for b in 0..3 {
        let bytes = seal(&county, &tree, &rows(b * 5, 5, "a"), 1);
        let batch = admit(city.charter(), county.node, &tree, bytes).unwrap();
        tree = batch.tree().clone();
        batches.push(batch);
    }
    for (offset, batch) in [(1, &batches[0]), (3, &batches[2])] {
        let (tree, note) = (batch.tree().clone(), batch.note().to_owned());
        let (log, start, place) = (batch.log(), batch.start(), Place(offset));
        city.recover(Entry::Batch { log, start, tree, sealed_at: 1, note }, place, FoundBy::Search);
    }
    city.recovered();
    round(&mut city, NOW, Input::Tick);
    assert!(city.view().logs()[&county.node].receipts.is_empty());
    round(&mut city, NOW, Input::Repair { ticket: Ticket(1), batch: batches[1].clone() });
    let receipts = &city.view().logs()[&county.node].receipts;
    assert_eq!(receipts.values().map(|r| r.size).collect::<Vec<_>>(), [15]);
}

/// Silence is the link's to measure, by a clock that does not jump.
#[test]
fn a_clock_that_jumps_closes_no_link() {
    let mut city = replica(350_100, 1);
    assert!(welcomed(&call(&mut city, NOW, 350_101)));
    for jumped in [NOW + 86_400_000, NOW - 86_400_000, NOW + 400 * 86_400_000] {
        let out = round(&mut city, jumped, Input::Tick);
        assert!(!out.iter().any(|o| matches!(o, Output::Close { .. })), "{out:?}");
        assert!(!sent(out).is_empty(), "heartbeats go on");
    }
}

/// S4: a child's frontier has its parent check up to 512 signatures, and it may tell one after another.
#[test]
fn a_child_that_has_signatures_checked_without_end_is_closed_and_named() {
    let mut city = replica(350_100, 2);
    for code in [350_101, 350_102] {
        assert!(welcomed(&call(&mut city, NOW, code)));
    }
    let log = keys(350_101).node;
    let link = |city: &Replica, node: LogId| city.view().children()[&node.division].link.as_ref().map(|l| l.id);
    let bytes = tally_protocol::batch::seal(&keys(350_101), &Tree::default(), &rows(0, 5, "a"), 1);
    let at = link(&city, log).unwrap();
    round(&mut city, NOW, Input::Batch { link: at, log, bytes });
    let held = &city.view().logs()[&log];
    let head = Head { log, size: 5, root: held.tree().root(), note: held.note.clone() };
    let told = Control::Frontier { heads: vec![head; 512], last: false };
    let mut times = 0;
    while let Some(link) = link(&city, log) {
        times += 1;
        assert!(times < 100, "it is not closed");
        round(&mut city, NOW, Input::Control { link, message: told.clone() });
    }
    assert!(times > 10, "a child with many logs tells as many");
    let refused = city.view().children()[&log.division].refused.as_ref();
    assert!(refused.is_some_and(|(_, why)| why.contains("signatures")), "{refused:?}");
    assert!(link(&city, keys(350_102).node).is_some(), "nobody else is");
    // A link that is opened anew brings nothing back; time does.
    call(&mut city, NOW, 350_101);
    let again = link(&city, log).unwrap();
    round(&mut city, NOW, Input::Control { link: again, message: told.clone() });
    assert_eq!(link(&city, log), None);
    call(&mut city, NOW + 60_000, 350_101);
    let later = link(&city, log).unwrap();
    round(&mut city, NOW + 60_000, Input::Control { link: later, message: told });
    assert!(link(&city, log).is_some());
}
