//! Which charter is followed: signatures, successors, and what may not be taken back.

use super::*;
use crate::charter::tests::{document, epoch, federation, keys, node, sample};
use tally_protocol::{
    hash::Hash,
    ids::LogId,
    keys::{Algorithm, NodeKeys},
};

fn authority(seed: u8) -> Signer {
    Signer::new(federation().authority_name(), Algorithm::Ed25519, &[seed; 32])
}

fn signed_text(text: &str) -> SignedCharter {
    SignedCharter::open(&sign(text, &authority(1)).unwrap(), authority(1).public()).unwrap()
}

fn signed(version: u64, nodes: &[String]) -> SignedCharter {
    signed_text(&document(version, nodes))
}

#[test]
fn only_the_pinned_authority_counts() {
    let note = sign(&document(1, &sample()), &authority(1)).unwrap();
    assert!(SignedCharter::open(&note, authority(1).public()).is_ok());
    let why = SignedCharter::open(&note, authority(2).public()).unwrap_err();
    assert!(matches!(why, SignedError::Note(NoteError::Unsigned(_))));
    let altered = note.replace("version = 1", "version = 2");
    let why = SignedCharter::open(&altered, authority(1).public()).unwrap_err();
    assert!(matches!(why, SignedError::Note(NoteError::BadSignature(_))));
    let long = note + &"x".repeat(CHARTER_BYTES_MAX);
    assert!(matches!(SignedCharter::open(&long, authority(1).public()), Err(SignedError::TooLong(_))));
}

#[test]
fn what_a_program_did_to_the_file_is_told_from_a_forgery() {
    let note = sign(&document(1, &sample()), &authority(1)).unwrap();
    let open = |note: &str| SignedCharter::open(note, authority(1).public()).unwrap_err();
    for (changed, said) in [
        (format!("\u{feff}{note}"), "byte order mark"),
        (note.replace('\n', "\r\n"), "CR LF"),
        (note.replace('\n', "\r"), "CR LF"),
        (format!("\u{feff}{}", note.replace('\n', "\r\n")), "byte order mark stands before it; lines end"),
        (note.replacen("version = 1\n", "version = 1 \n", 1), "spaces"),
        (note.trim_end().to_owned() + " \n", "spaces"),
        (note.trim_end().to_owned(), "last line's end is missing"),
        (note.clone() + "\n", "empty lines"),
    ] {
        let why = open(&changed);
        assert!(matches!(&why, SignedError::Changed(_)) && why.to_string().contains(said), "{said}: {why}");
    }
    // Another content is a forgery, whatever else was done to the file; and so is another's signature.
    let forged = format!("\u{feff}{}", note.replace("version = 1", "version = 2"));
    assert!(matches!(open(&forged), SignedError::Note(_)));
    let others = format!("\u{feff}{}", sign(&document(1, &sample()), &authority(3)).unwrap());
    assert!(matches!(open(&others), SignedError::Note(_)));
}

#[test]
fn text_that_no_note_can_hold_is_not_signed() {
    let text = document(1, &sample()).replace("format = 1", "format\t= 1");
    let why = sign(&text, &authority(1)).unwrap_err();
    assert_eq!(why, SignedError::ControlCharacter { line: 1, is_tab: true });
    assert!(why.to_string().contains("line 1 holds a tab"), "{why}");
    let text = document(1, &sample()).replacen("\nversion", "\r\nversion", 1);
    assert!(matches!(sign(&text, &authority(1)), Err(SignedError::ControlCharacter { is_tab: false, .. })));
    assert!(matches!(sign("nonsense\n", &authority(1)), Err(SignedError::Content(_))));
}

#[test]
fn successors() {
    let first = signed(1, &sample());
    let more = [sample(), vec![node("350103", "county", "350100", "")]].concat();
    assert_eq!(signed(2, &more).follows(&first), Ok(()));
    assert!(matches!(first.follows(&first), Err(SignedError::NotNewer { .. })));
    let why = signed(1, &more).follows(&first).unwrap_err();
    let [here, offered] = [first.mark(), signed(1, &more).mark()].map(|m| m.hash);
    assert_eq!(why, SignedError::OtherContent { version: 1, here, offered });
    assert!(why.to_string().contains(&here.short()) && why.to_string().contains(&offered.short()));
    let refused = |nodes: &[String], base: &SignedCharter| signed(9, nodes).follows(base).unwrap_err().to_string();
    assert!(refused(&sample()[..3], &first).contains("350128 is gone"));
    let closed = |n: u64| {
        let close = format!("last_size = {n}\nlast_root = \"{}\"\n", Hash([0; 32]));
        let e1 = epoch("350102/e1", &close);
        let own = node("350102", "county", "350100", "").replace(&epoch("350102/e1", ""), &e1);
        [sample()[..2].to_vec(), vec![own + &epoch("350102/e2", "")], sample()[3..].to_vec()].concat()
    };
    let second = signed(2, &closed(5));
    assert_eq!(second.follows(&first), Ok(()));
    assert!(refused(&closed(6), &second).contains("closed at another checkpoint"));
    assert!(refused(&sample(), &second).contains("350102/e1 was closed"));
    let reused = closed(5).concat().replace(&keys("350102/e2").log.public().to_string(), &{
        let other = NodeKeys::derive(&federation(), "350102/e2".parse().unwrap(), &[42; 32]);
        other.log.public().to_string()
    });
    assert!(refused(&[reused], &second).contains("the keys of 350102/e2 changed"));
    // The other logs of a closed epoch are closed by name, and stay so.
    let close = |size: u64| {
        let list = format!("closed = [{{ log = \"350102/e1/ops\", size = {size}, root = \"{}\" }}]\n", Hash([1; 32]));
        closed(5).concat().replace("last_size = 5\n", &format!("last_size = 5\n{list}"))
    };
    let third = signed(3, &[close(7)]);
    assert_eq!(third.follows(&second), Ok(()));
    let ops: LogId = "350102/e1/ops".parse().unwrap();
    assert_eq!(third.charter().closed_at(ops), Some((7, Hash([1; 32]))));
    assert_eq!(
        (second.charter().closed_at(ops), second.charter().closed_at(ops.node())),
        (None, Some((5, Hash([0; 32]))))
    );
    for nodes in [close(8), closed(5).concat()] {
        assert!(refused(&[nodes], &third).contains("350102/e1/ops was closed"));
    }
}

/// The document with another successor, signed by another key.
fn note(version: u64, signer: u8, successor: u8) -> String {
    let named = |seed: u8| format!("successor = \"{}\"", authority(seed).public());
    let text = document(version, &sample()).replace(&named(2), &named(successor));
    sign(&text, &authority(signer)).unwrap()
}

#[test]
fn the_successor_takes_over() {
    let next = SignedCharter::open_next;
    let first = SignedCharter::open(&note(1, 1, 2), authority(1).public()).unwrap();
    assert_eq!(first.signed_by(), authority(1).public());
    // The same key may name another successor; nobody else may sign.
    let renamed = next(&note(2, 1, 3), &first).unwrap();
    assert!(matches!(next(&note(3, 2, 4), &renamed), Err(SignedError::Note(NoteError::Unsigned(_)))));
    assert!(matches!(next(&note(2, 3, 4), &first), Err(SignedError::Note(NoteError::Unsigned(_)))));
    // The successor signs, and names a new one: from then on the old key counts for nothing.
    let second = next(&note(2, 2, 3), &first).unwrap();
    assert_eq!(second.signed_by(), authority(2).public());
    assert!(matches!(next(&note(3, 1, 4), &second), Err(SignedError::Note(NoteError::Unsigned(_)))));
    assert!(next(&note(3, 2, 4), &second).is_ok());
    let third = next(&note(3, 3, 4), &second).unwrap();
    assert_eq!((third.signed_by(), third.charter().successor()), (authority(3).public(), authority(4).public()));
    // Who has missed one change follows still; who has missed two does not.
    assert!(next(&note(9, 2, 3), &first).is_ok());
    assert!(matches!(next(third.note(), &first), Err(SignedError::Note(NoteError::Unsigned(_)))));
    assert!(matches!(next(second.note(), &second), Err(SignedError::NotNewer { .. })));
    // The replaced key is not a new one.
    let back = next(&note(2, 2, 1), &first);
    assert!(matches!(back, Err(SignedError::Successor(_))), "{back:?}");
    // Opened on its own, a charter still has to be signed by one of the two keys.
    let stranger = SignedCharter::open(&note(2, 7, 8), authority(7).public()).unwrap();
    assert!(stranger.follows(&first).unwrap_err().to_string().contains("nor the successor"));
}

#[test]
fn a_successor_is_named_and_is_another_key() {
    let own = document(1, &sample()).replace(&authority(2).public().to_string(), &authority(1).public().to_string());
    assert!(matches!(sign(&own, &authority(1)), Err(SignedError::Successor(_))));
    let why = |text: &str| Charter::parse(text).unwrap_err().to_string();
    let line = format!("successor = \"{}\"\n", authority(2).public());
    assert!(why(&document(1, &sample()).replace(&line, "")).contains("missing field `successor`"));
    let other = keys("350102/e1").log.public().to_string();
    let named = document(1, &sample()).replace(&authority(2).public().to_string(), &other);
    assert!(why(&named).contains("stands where a key \"t.example/authority\" should"));
}

#[test]
fn two_signatures_are_refused() {
    let once = note(2, 1, 3);
    let text = Note::parse(&once).unwrap().text();
    let twice = once.clone() + &sign_line(text, &authority(2));
    let first = SignedCharter::open(&note(1, 1, 2), authority(1).public()).unwrap();
    for opened in [SignedCharter::open_next(&twice, &first), SignedCharter::open(&twice, authority(1).public())] {
        assert!(matches!(opened, Err(SignedError::Note(NoteError::Form(_)))));
    }
}

#[test]
fn units_covers_and_routes_end_and_never_go() {
    const UNIT: &str = "[[unit]]\ncode = \"113501020036012589\"\nname = \"n\"\ndivision = \"350102\"\n\
                        kind = \"county_dept\"\nserves = [\"350102\"]\n";
    const ROUTES: &str = "[[route]]\nid = \"a\"\ncase = \"provincial\"\ncategory = \"registration\"\n\
                          [[route]]\nid = \"b\"\ncase = \"central\"\nunit_word = \"税务局\"\n";
    let whole = |version| document(version, &sample()) + UNIT + ROUTES;
    let first = signed_text(&whole(1));
    let follows = |from: &str, to: &str| {
        let text = whole(2).replacen(from, to, 1);
        assert!(text != whole(2) || from == to, "{from:?}");
        signed_text(&text).follows(&first).map_err(|e| e.to_string())
    };
    for (from, to) in [
        ("", ""),
        ("\"350199\"", "\"350199 until 2026-06-30\""),
        ("case = \"provincial\"\n", "case = \"provincial\"\nuntil = \"2026-06-30\"\n"),
        ("name = \"n\"\n", "name = \"m\"\nuntil = \"2026-06-30\"\ncontact = \"c\"\n"),
        ("unit_word", "owner = \"o\"\nunit_word"),
        ("[[route]]\nid = \"b\"", "[[route]]\nid = \"c\"\ncase = \"territorial\"\n[[route]]\nid = \"b\""),
    ] {
        assert_eq!(follows(from, to), Ok(()), "{to:?}");
    }
    let (a, b) = ROUTES.split_at(ROUTES.rfind("[[route]]").unwrap());
    let (swapped, renamed) = (format!("{b}{a}"), a.replace("\"a\"", "\"z\""));
    for (from, to, what) in [
        ("covers = [\"350199\"]", "", "node 350100 does not cover 350199 any more"),
        (UNIT, "", "unit 113501020036012589 is gone"),
        ("\"350102\"\nkind", "\"350100\"\nkind", "unit 113501020036012589 moved"),
        ("serves = [\"350102\"]", "", "does not serve 350102"),
        (b, "", "route \"b\" is gone"),
        (a, renamed.as_str(), "route \"a\" is gone"),
        ("unit_word = \"税务局\"", "unit_word = \"海关\"", "route \"b\" says something else"),
        (ROUTES, swapped.as_str(), "route \"b\" stands before"),
    ] {
        let why = follows(from, to).unwrap_err();
        assert!(why.contains(what), "{what:?} in {why}");
    }
    // An end may be moved, and taken back.
    let ended = signed_text(&whole(2).replace("\"350199\"", "\"350199 until 2026-06-30\""));
    let later = signed_text(&whole(3).replace("\"350199\"", "\"350199 until 2027-06-30\""));
    assert_eq!((later.follows(&ended), signed_text(&whole(3)).follows(&ended)), (Ok(()), Ok(())));
}
