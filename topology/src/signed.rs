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
    /// The text holds a sign that no note may hold.
    #[error(
        "charter: line {line} holds {}, which no signed text may hold: put spaces in its place",
        if *is_tab { "a tab" } else { "a control character" }
    )]
    ControlCharacter {
        /// Its line, from 1 on.
        line: usize,
        /// It is a tab.
        is_tab: bool,
    },
    /// It is what the authority signed but for what a program did to the file on its way.
    #[error(
        "charter: the authority signed it, and the file was changed on its way: {0}. Nothing else is wrong with it; copy it again \
         as it is, without opening it in an editor"
    )]
    Changed(String),
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
/// [`SignedError::Content`] for a text that is no charter; those of [`may_be_signed`].
pub fn sign(text: &str, authority: &Signer) -> Result<String, SignedError> {
    Charter::parse(text)?;
    may_be_signed(text)?;
    let note = format!("{text}\n{}", sign_line(text, authority));
    SignedCharter::open(&note, authority.public())?;
    Ok(note)
}

/// Whether a charter's text can be signed as it stands.
///
/// # Errors
/// [`SignedError::ControlCharacter`]: a note holds none but line ends (C2SP signed-note); editors leave tabs.
pub fn may_be_signed(text: &str) -> Result<(), SignedError> {
    let control = |line: &str| line.chars().find(|c| c.is_control());
    let found = text.split('\n').enumerate().find_map(|(n, line)| control(line).map(|c| (n, c)));
    match found {
        None => Ok(()),
        Some((n, c)) => Err(SignedError::ControlCharacter { line: n.saturating_add(1), is_tab: c == '\t' }),
    }
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
        let opened = Self::open_as_is(note, keys);
        if let Err(SignedError::Note(NoteError::Form(_) | NoteError::BadSignature(_))) = opened
            && let Some((whole, changes)) = mended(note)
            && Self::open_as_is(&whole, keys).is_ok()
        {
            return Err(SignedError::Changed(changes));
        }
        opened
    }

    fn open_as_is(note: &str, keys: &[&VerifierKey]) -> Result<Self, SignedError> {
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

/// What editors and mail programs seem to have done to a note; `None`: nothing that is known. For a text that is refused already.
pub fn changes_to(note: &str) -> Option<String> {
    mended(note).map(|(_, changes)| changes)
}

/// A note without what editors and mail programs do to a text, and what that was; `None`: nothing of the kind.
fn mended(note: &str) -> Option<(String, String)> {
    let mut changes = Vec::new();
    let mut text = note;
    if let Some(rest) = text.strip_prefix('\u{feff}') {
        changes.push("a byte order mark stands before it");
        text = rest;
    }
    let mut text = text.to_owned();
    if text.contains('\r') {
        changes.push("lines end with CR LF instead of LF");
        text = text.replace("\r\n", "\n").replace('\r', "\n");
    }
    let lines: Vec<_> = text.lines().map(|line| line.trim_end_matches([' ', '\t', '\u{a0}'])).collect();
    let mut trimmed = lines.join("\n").trim_end_matches('\n').to_owned();
    trimmed.push('\n');
    if trimmed != text {
        changes.push("spaces or empty lines were put at ends, or the last line's end is missing");
    }
    (!changes.is_empty()).then(|| (trimmed, changes.join("; ")))
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
mod tests;
