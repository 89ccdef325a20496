//! The signed charter: the TOML text as a signed note, and which charter may follow which.

use crate::charter::{Charter, CharterError};
use tally_protocol::{
    keys::{Signer, VerifierKey},
    limits::CHARTER_BYTES_MAX,
    note::{Note, NoteError, sign_line},
};

/// A charter with the authority's signature under it, checked.
#[derive(Debug, Clone)]
pub struct SignedCharter {
    note: String,
    charter: Charter,
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
    /// Checks the authority's signature, then reads the charter.
    ///
    /// # Errors
    /// [`SignedError`].
    pub fn open(note: &str, authority: &VerifierKey) -> Result<Self, SignedError> {
        if note.len() > CHARTER_BYTES_MAX {
            return Err(SignedError::TooLong(note.len()));
        }
        let parsed = Note::parse(note)?;
        parsed.verify(authority)?;
        Ok(Self { charter: Charter::parse(parsed.text())?, note: note.to_owned() })
    }

    /// The whole note.
    pub fn note(&self) -> &str {
        &self.note
    }

    /// What it says.
    pub fn charter(&self) -> &Charter {
        &self.charter
    }

    /// Whether this charter may follow `current`: newer, of the same federation, and every epoch that was ever
    /// admitted is still there with its keys, so that old evidence stays verifiable. A closed epoch stays closed at
    /// the same checkpoint. A node may move to another parent, retire, or be added.
    ///
    /// # Errors
    /// [`SignedError::NotNewer`], [`SignedError::NotASuccessor`].
    pub fn follows(&self, current: &Charter) -> Result<(), SignedError> {
        if self.charter.version() <= current.version() {
            let offered = self.charter.version();
            return Err(SignedError::NotNewer { current: current.version(), offered });
        }
        let refuse = |what| Err(SignedError::NotASuccessor { current: current.version(), what });
        if self.charter.federation() != current.federation() {
            return refuse(format!("the federation {} is another one", self.charter.federation()));
        }
        for node in current.nodes() {
            let d = node.division;
            let Some(next) = self.charter.node(d) else {
                return refuse(format!("node {d} is gone; mark it `retired = true` instead"));
            };
            for (i, old) in node.epochs.iter().enumerate() {
                match next.epochs.get(i) {
                    None => return refuse(format!("epoch {} of node {d} is gone", i + 1)),
                    Some(new) if (&new.log, &new.mirror, &new.link) != (&old.log, &old.mirror, &old.link) => {
                        return refuse(format!("the keys of {d}/e{} changed; add an epoch instead", i + 1));
                    }
                    Some(new) if old.last.is_some() && new.last != old.last => {
                        return refuse(format!("{d}/e{} was closed at another checkpoint", i + 1));
                    }
                    Some(_) => {}
                }
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::charter::tests::{document, epoch, federation, keys, node, sample};
    use tally_protocol::{
        hash::Hash,
        keys::{Algorithm, NodeKeys},
    };

    fn authority(seed: u8) -> Signer {
        Signer::new(federation().authority_name(), Algorithm::Ed25519, &[seed; 32])
    }

    fn signed(version: u64, nodes: &[String]) -> SignedCharter {
        let note = sign(&document(version, nodes), &authority(1)).unwrap();
        SignedCharter::open(&note, authority(1).public()).unwrap()
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
        assert_eq!(signed(2, &more).follows(first.charter()), Ok(()));
        assert!(matches!(signed(1, &more).follows(first.charter()), Err(SignedError::NotNewer { .. })));
        let refused =
            |nodes: &[String], base: &SignedCharter| signed(9, nodes).follows(base.charter()).unwrap_err().to_string();
        assert!(refused(&sample()[..3], &first).contains("350128 is gone"));
        let closed = |n: u64| {
            let close = format!("last_size = {n}\nlast_root = \"{}\"\n", Hash([0; 32]));
            let e1 = epoch("350102/e1", &close);
            let own = node("350102", "county", "350100", "").replace(&epoch("350102/e1", ""), &e1);
            [sample()[..2].to_vec(), vec![own + &epoch("350102/e2", "")], sample()[3..].to_vec()].concat()
        };
        let second = signed(2, &closed(5));
        assert_eq!(second.follows(first.charter()), Ok(()));
        assert!(refused(&closed(6), &second).contains("closed at another checkpoint"));
        assert!(refused(&sample(), &second).contains("350102/e1 was closed"));
        let reused = closed(5).concat().replace(&keys("350102/e2").log.public().to_string(), &{
            let other = NodeKeys::derive(&federation(), "350102/e2".parse().unwrap(), &[42; 32]);
            other.log.public().to_string()
        });
        assert!(refused(&[reused], &second).contains("the keys of 350102/e2 changed"));
    }
}
