//! What is held, asked of the filters and what stands behind the last record found: the same as when it is looked up alone.

use super::*;
use crate::index::{IndexEntry, open, pairs};
use std::collections::BTreeSet;
use tally_topology::{content::Dimensions, sample};

/// An index of one county's log, of some hundred keys of which some have several versions and some another form, and what
/// another county's log holds of it.
struct Held {
    _dir: tempfile::TempDir,
    known: DedupIndex,
    /// By index in the own log.
    own: Vec<(RecordId, ContentId)>,
}

fn held() -> Held {
    let dir = tempfile::tempdir().unwrap();
    let opened = open(dir.path(), |_| true);
    let (own, other): (LogId, LogId) = ("350102/e1".parse().unwrap(), "350103/e1".parse().unwrap());
    let mut all = Vec::new();
    for n in 0..400_u64 {
        // Each tenth is another version of a key before it; each seventh has a number in another form.
        let key = if n % 10 == 9 { n - 5 } else { n };
        let hash = |what: &str| *blake3::hash(format!("{what} {key}").as_bytes()).as_bytes().first_chunk().unwrap();
        let operation = if key == n { Operation::Create } else { Operation::Amend };
        let content = ContentId {
            operation,
            key: hash("key"),
            form: key.is_multiple_of(7).then(|| hash("form")),
            content: *blake3::hash(&n.to_be_bytes()).as_bytes().first_chunk().unwrap(),
            ..ContentId::default()
        };
        let id = RecordId::of(&n.to_be_bytes());
        let dimensions = Dimensions { division: 350_102, produced_on: 20_260_101, ..Dimensions::default() };
        let e = IndexEntry { index: n, sealed_at: 1, content, dimensions };
        let mut written = pairs(id, own, &e).to_vec();
        written.extend(entry::form_pair(content.forms()));
        if n % 13 == 0 {
            written.extend(pairs(id, other, &IndexEntry { index: n / 13, ..e.clone() }));
        }
        opened.engine.write(written).unwrap();
        all.push((id, content));
    }
    let charter = CharterHandle::new(Arc::new(sample::signed("")));
    let known = DedupIndex::new(opened.engine.clone(), charter, own, false);
    known.fill().unwrap();
    known.set_whole(true);
    Held { _dir: dir, known, own: all }
}

/// Whatever was found before, each record is found to be what it is: as when it is looked for alone.
#[test]
fn rows_that_come_again_in_any_order_are_what_they_are() {
    let alone = |n: usize| {
        // One that has found nothing yet.
        let fresh = held();
        let (id, content) = fresh.own[n];
        (
            fresh.known.holds(&id).unwrap(),
            fresh.known.versions(&content.key).unwrap(),
            fresh.known.other_forms(content.forms(), false).unwrap(),
        )
    };
    let held = held();
    let asked = |n: usize| {
        let (id, content) = held.own[n];
        // As the batcher asks: first for the key.
        let versions = held.known.versions(&content.key).unwrap();
        let forms = held.known.other_forms(content.forms(), true).unwrap();
        (held.known.holds(&id).unwrap(), versions, forms)
    };
    let expected: Vec<_> = [0, 4, 9, 13, 26, 49, 54, 399].map(|n| (n, alone(n))).into();
    let check = |n: usize| {
        let found = asked(n);
        assert!(found.0, "{n}");
        for (_, alone) in expected.iter().filter(|(of, _)| *of == n) {
            assert_eq!(&found, alone, "{n}");
        }
    };
    // In order; backwards; leaping; and each second.
    (0..400).for_each(check);
    (0..400).rev().for_each(check);
    (0..400).map(|n| n * 163 % 400).for_each(check);
    (0..400).step_by(2).for_each(check);
    // New ones among them stay new.
    for n in 0..400 {
        check(n);
        let new = RecordId::of(format!("new {n}").as_bytes());
        assert!(!held.known.holds(&new).unwrap());
    }
}

/// What is lost counts as new also where it stands behind a record that was found.
#[test]
fn a_lost_record_is_new_wherever_it_stood() {
    let held = held();
    let own: LogId = "350102/e1".parse().unwrap();
    held.known.set_lost(Ranges::from([(own, vec![(20, 30)])]));
    let found: BTreeSet<usize> = (0..400).filter(|n| held.known.holds(&held.own[*n].0).unwrap()).collect();
    assert_eq!(found, (0..20).chain(30..400).collect());
}

/// Records that stand as they did, asked for together, are those of which the long way says nothing: and after anything that could
/// change that, none of those concerned.
#[test]
fn what_stands_is_what_nothing_else_is_held_of() {
    let mut held = held();
    let own: LogId = "350102/e1".parse().unwrap();
    let subject = held.known.subject_mark().of(Some("91350102MA2TE5T1X0"));
    let ask = |held: &Held| {
        let of = |(n, (id, _)): (u64, &(RecordId, ContentId))| (n, *id.0.0.first_chunk().unwrap(), subject);
        let stand = held.known.stand(own, &(0..).zip(&held.own).map(of).collect::<Vec<_>>()).unwrap();
        let of_it = |(s, (_, content)): (&Option<[u8; 16]>, &(RecordId, ContentId))| {
            s.is_none_or(|s| s == content.forms().common())
        };
        assert!(stand.iter().zip(&held.own).all(of_it));
        stand.iter().map(Option::is_some).collect::<Vec<_>>()
    };
    let stands = ask(&held);
    for (n, (_, content)) in held.own.iter().enumerate() {
        let versions = held.known.versions(&content.key).unwrap().unwrap();
        let alone = versions.own.len() == 1 && versions.versions.len() == 1 && versions.standing.len() == 1;
        // One record in two logs counts in one of them only, so another record may look at it.
        assert!(!stands[n] || alone, "{n}");
        let counts = alone && content.operation == Operation::Create && n % 13 != 0;
        assert_eq!(stands[n], counts, "{n}: {versions:?}");
    }
    assert!(stands.iter().filter(|s| **s).count() > 250);
    // Not as another record, and not beyond the end.
    assert_eq!(held.known.stand(own, &[(1, [0; 3], subject), (9_999, [0; 3], subject)]).unwrap(), [None; 2]);
    let fell = |held: &Held| (0..400).filter(|n| stands[*n] && !ask(held)[*n]).collect::<Vec<_>>();
    // Another version, or one of its number, is on its way.
    let (_, content) = held.own[1];
    held.known.add_pending(RecordId::of(b"later"), &content);
    let (_, numbered) = held.own[21];
    let other = ContentId { key: [1; 16], form: numbered.form, ..numbered };
    held.known.add_pending(RecordId::of(b"another form"), &other);
    assert_eq!(fell(&held), [1, 21]);
    held.known.forget_pending([RecordId::of(b"later"), RecordId::of(b"another form")].iter());
    assert_eq!(fell(&held), [0_usize; 0]);
    held.known.set_lost(Ranges::from([(own, vec![(31, 33)])]));
    assert_eq!(fell(&held), [31, 32]);
    held.known.set_lost(Ranges::default());
    // Another subject than this one changes nothing; this one, or all by another rule, everything.
    held.known.renamed("91350102MA2Y6W3K45");
    assert_eq!(fell(&held), [0_usize; 0]);
    held.known.renamed("91350102MA2TE5T1X0");
    assert!(ask(&held).iter().all(|s| !s));
    held.own.truncate(3);
    held.known.set_whole(false);
    assert_eq!(ask(&held), [false; 3], "while the index is built nobody knows");
}
