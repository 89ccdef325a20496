//! The signed charter: the TOML text as a signed note, and which charter may follow which.
//!
//! A node pins one key of the authority, and starts from a charter that this key signed. Each charter names the key's
//! successor. The next charter is signed by the same key, or by that successor, which is then the authority's key; so the
//! key can be changed without touching any node, also when it was lost. A node that has missed two changes of the key does
//! not know the third: it is given the charters between in their order, or pins the new key. The pinned key stays the root
//! of trust of whoever starts anew with it: once it has fallen into wrong hands, pin its successor.

#![warn(clippy::indexing_slicing, clippy::arithmetic_side_effects)]

use crate::charter::{Charter, CharterError};
use tally_protocol::{
    hash::{Hash, sha256},
    keys::{Signer, VerifierKey},
    limits::CHARTER_BYTES_MAX,
    note::{Note, NoteError, sign_line},
    wire::CharterMark,
};

/// A charter with the authority's signature under it, checked.
#[derive(Debug, Clone)]
pub struct SignedCharter {
    note: String,
    charter: Charter,
    signed_by: VerifierKey,
    hash: Hash,
}

/// Why a signed charter is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SignedError {
    /// More than [`CHARTER_BYTES_MAX`].
    #[error("charter: {0} bytes, {CHARTER_BYTES_MAX} are allowed")]
    TooLong(usize),
    /// Form of the note, or its signature.
    #[error("charter: {0}")]
    Note(#[from] NoteError),
    /// The text.
    #[error(transparent)]
    Content(#[from] CharterError),
    /// Not newer than the one in force.
    #[error("charter: version {offered} does not follow version {current}, which is in force")]
    NotNewer {
        /// Version in force.
        current: u64,
        /// Version offered.
        offered: u64,
    },
    /// Another one of the version in force: the authority has signed two.
    #[error(
        "charter: version {version} is in force with other content (here {}, offered {}, by the SHA-256 of the note). Two of one \
         version were signed: find out which the authority signed last, and have it sign what holds as a newer version; \
         nothing else ends this",
        here.short(),
        offered.short()
    )]
    OtherContent {
        /// Version of both.
        version: u64,
        /// Hash of the one in force.
        here: Hash,
        /// Hash of the one offered.
        offered: Hash,
    },
    /// The successor that it names for the authority's key is none.
    #[error("charter: {0}")]
    Successor(&'static str),
    /// It takes back what an earlier charter had admitted.
    #[error("charter: it does not follow version {current}: {what}")]
    NotASuccessor {
        /// Version in force.
        current: u64,
        /// What it takes back.
        what: String,
    },
}

/// Signs a charter's text, which must be valid and end with a newline.
///
/// # Errors
/// [`SignedError::Content`] for a text that is no charter; [`SignedError::Note`] for control characters (tabs,
/// carriage returns), which a note must not hold.
pub fn sign(text: &str, authority: &Signer) -> Result<String, SignedError> {
    Charter::parse(text)?;
    let note = format!("{text}\n{}", sign_line(text, authority));
    SignedCharter::open(&note, authority.public())?;
    Ok(note)
}

impl SignedCharter {
    /// Checks that exactly `authority` signed, then reads the charter. This is how a node starts: `authority` is the key
    /// that it pins, the root of its trust. What follows is opened with [`SignedCharter::open_next`].
    ///
    /// ```
    /// # use tally_protocol::{ids::{Federation, LogId}, keys::NodeKeys};
    /// # use tally_topology::charter::{epoch_entry, heading};
    /// use tally_protocol::keys::authority_signer;
    /// use tally_topology::signed::{SignedCharter, sign};
    ///
    /// # let federation = Federation::try_from("t.example".to_owned())?;
    /// # let log: LogId = "350102/e1".parse()?;
    /// # let keys = NodeKeys::derive(&federation, log, &[7; 32]);
    /// # let successor = authority_signer(&federation, &[2; 32]);
    /// # let text = format!(
    /// #     "{}[[node]]\ndivision = \"350102\"\nname = \"N\"\nlevel = \"county\"\n{}",
    /// #     heading(&federation, 1, successor.public()),
    /// #     epoch_entry(&keys),
    /// # );
    /// let authority = authority_signer(&federation, &[1; 32]);
    /// let note = sign(&text, &authority)?;
    /// let signed = SignedCharter::open(&note, authority.public())?;
    /// assert_eq!(signed.charter().version(), 1);
    /// // Its successor may sign the next one, not this one.
    /// assert!(SignedCharter::open(&note, successor.public()).is_err());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// [`SignedError`].
    pub fn open(note: &str, authority: &VerifierKey) -> Result<Self, SignedError> {
        Self::open_with(note, &[authority])
    }

    /// Opens a charter that is to follow `current`: signed by the key that signed `current`, or by the successor that
    /// `current` names, and in order by [`SignedCharter::follows`]. `current` was itself opened so, or with the pinned key;
    /// so a node needs every charter in which the signing key changed, and may pass over others.
    ///
    /// # Errors
    /// [`SignedError`].
    pub fn open_next(note: &str, current: &Self) -> Result<Self, SignedError> {
        let next = Self::open_with(note, &[&current.signed_by, current.charter.successor()])?;
        next.follows(current)?;
        Ok(next)
    }

    fn open_with(note: &str, keys: &[&VerifierKey]) -> Result<Self, SignedError> {
        if note.len() > CHARTER_BYTES_MAX {
            return Err(SignedError::TooLong(note.len()));
        }
        let parsed = Note::parse(note)?;
        // With two lines, nodes that know different keys would take different ones for the signing key.
        if parsed.signatures().len() != 1 {
            return Err(NoteError::Form("a charter has exactly one signature").into());
        }
        let mut verified = Err(NoteError::Form("no key"));
        for key in keys {
            verified = parsed.verify(key).map(|_| (*key).clone());
            if !matches!(verified, Err(NoteError::Unsigned(_))) {
                break;
            }
        }
        let signed_by = verified?;
        let charter = Charter::parse(parsed.text())?;
        if charter.successor().public() == signed_by.public() {
            return Err(SignedError::Successor("the successor is the key that signed; name another one"));
        }
        Ok(Self { charter, note: note.to_owned(), signed_by, hash: sha256(&[note.as_bytes()]) })
    }

    /// The whole note.
    pub fn note(&self) -> &str {
        &self.note
    }

    /// What tells it apart from every other charter.
    pub fn mark(&self) -> CharterMark {
        CharterMark { version: self.charter.version(), hash: self.hash }
    }

    /// What it says.
    pub fn charter(&self) -> &Charter {
        &self.charter
    }

    /// The authority's key that signed it.
    pub fn signed_by(&self) -> &VerifierKey {
        &self.signed_by
    }

    /// Whether this charter may follow `current`: newer, of the same federation, signed by the same key or by the
    /// successor that `current` names (and then it names a successor that is new), and nothing that took effect is taken
    /// back:
    ///
    /// * Every epoch that was ever admitted is still there with its keys, so that old evidence stays verifiable; a closed
    ///   log stays closed at the same checkpoint. A node may move to another parent, retire, or be added.
    /// * Every unit, cover and route is still there. Each may be given an `until`, and that may be moved: there is no clock
    ///   here by which it could have passed. A unit stays in its division and keeps what it serves; a route rule says the
    ///   same of the same records, and the rules keep their order among each other. A unit's name, kind, categories and
    ///   contact may change, a route's owner, due day and note too.
    ///
    /// # Errors
    /// [`SignedError::NotNewer`], [`SignedError::OtherContent`], [`SignedError::NotASuccessor`], [`SignedError::Successor`].
    pub fn follows(&self, current: &Self) -> Result<(), SignedError> {
        let (next, before) = (&self.charter, &current.charter);
        if next.version() == before.version() && self.hash != current.hash {
            let (version, here, offered) = (next.version(), current.hash, self.hash);
            return Err(SignedError::OtherContent { version, here, offered });
        }
        if next.version() <= before.version() {
            return Err(SignedError::NotNewer { current: before.version(), offered: next.version() });
        }
        let refuse = |what| Err(SignedError::NotASuccessor { current: before.version(), what });
        if next.federation() != before.federation() {
            return refuse(format!("the federation {} is another one", next.federation()));
        }
        if self.signed_by.public() == before.successor().public() {
            if next.successor().public() == current.signed_by.public() {
                return Err(SignedError::Successor("the successor is the key that was replaced; name another one"));
            }
        } else if self.signed_by.public() != current.signed_by.public() {
            return refuse("neither the key that signed it before nor the successor named there signed it".into());
        }
        match epochs_stay(before, next).and_then(|()| rules_stay(before, next)) {
            Ok(()) => Ok(()),
            Err(what) => refuse(what),
        }
    }
}

/// Nodes, epochs and covers.
fn epochs_stay(before: &Charter, next: &Charter) -> Result<(), String> {
    for node in before.nodes() {
        let d = node.division;
        let Some(new) = next.node(d) else {
            return Err(format!("node {d} is gone; mark it `retired = true` instead"));
        };
        let mut later = new.epochs.iter();
        for (n, old) in (1_u32..).zip(&node.epochs) {
            let Some(new) = later.next() else {
                return Err(format!("epoch {n} of node {d} is gone"));
            };
            if !new.same_keys(old) {
                return Err(format!("the keys of {d}/e{n} changed; add an epoch instead"));
            }
            if old.last.is_some() && new.last != old.last {
                return Err(format!("{d}/e{n} was closed at another checkpoint"));
            }
            if let Some(log) = old.reopened(new) {
                return Err(format!("{log} was closed at another checkpoint"));
            }
        }
        if let Some(gone) = node.covers.iter().find(|c| new.covers.iter().all(|n| n.division != c.division)) {
            let c = gone.division;
            return Err(format!("node {d} does not cover {c} any more; write \"{c} until 2026-01-31\" instead"));
        }
    }
    Ok(())
}

/// Units and routes.
fn rules_stay(before: &Charter, next: &Charter) -> Result<(), String> {
    for old in before.units().iter() {
        let code = &old.code;
        let Some(new) = next.units().get(code) else {
            return Err(format!("unit {code} is gone; give it an `until` instead"));
        };
        if new.division != old.division {
            return Err(format!("unit {code} moved from {} to {}", old.division, new.division));
        }
        if let Some(gone) = old.serves.iter().find(|d| !new.serves.contains(d)) {
            return Err(format!("unit {code} does not serve {gone} any more"));
        }
    }
    let mut after = 0;
    for old in before.routes() {
        let id = &old.id;
        let Some((at, new)) = next.routes().iter().enumerate().find(|(_, r)| r.id == *id) else {
            return Err(format!("route {id:?} is gone; give it an `until` instead"));
        };
        if !new.says_the_same(old) {
            return Err(format!("route {id:?} says something else; end it with `until` and add another"));
        }
        if at < after {
            return Err(format!("route {id:?} stands before one that it stood behind: the first that fits counts"));
        }
        after = at;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
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
    fn text_that_no_note_can_hold_is_not_signed() {
        let text = document(1, &sample()).replace("format = 1", "format\t= 1");
        assert!(matches!(sign(&text, &authority(1)), Err(SignedError::Note(NoteError::Form(_)))));
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
            let list =
                format!("closed = [{{ log = \"350102/e1/ops\", size = {size}, root = \"{}\" }}]\n", Hash([1; 32]));
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
        let own =
            document(1, &sample()).replace(&authority(2).public().to_string(), &authority(1).public().to_string());
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
}
