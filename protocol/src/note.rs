//! C2SP signed notes: text that a person can read, and signature lines under it (c2sp.org/signed-note).

#![warn(clippy::indexing_slicing, clippy::arithmetic_side_effects)]

use crate::{
    keys::{Algorithm, Signer, VerifierKey, good_name},
    limits::NOTE_SIGNATURES_MAX,
};
use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};

/// A note as it was read. Nothing is verified yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Note<'a> {
    text: &'a str,
    signatures: Vec<NoteSignature<'a>>,
}

/// One signature line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NoteSignature<'a> {
    /// Who claims to have signed.
    pub name: &'a str,
    /// Key id as on the line.
    pub id: u32,
    /// What follows the key id: 64 bytes, or 8 bytes of time and 64 for a cosignature.
    pub blob: Vec<u8>,
}

/// Why a note was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NoteError {
    /// No blank line between text and signatures, a control character, or no newline at the end.
    #[error("not a signed note: {0}")]
    Form(&'static str),
    /// A key that is known signed something else.
    #[error("the signature of {0} is wrong")]
    BadSignature(String),
    /// None of the known keys signed it.
    #[error("no signature of {0}")]
    Unsigned(String),
}

impl<'a> Note<'a> {
    /// Splits a note at its last blank line.
    ///
    /// ```
    /// use tally_protocol::note::Note;
    ///
    /// let note = Note::parse("a text\n\n— t.example/350102/e1 AAAAAf8=\n")?;
    /// assert_eq!(note.text(), "a text\n");
    /// assert_eq!((note.signatures()[0].name, note.signatures()[0].id), ("t.example/350102/e1", 1));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// [`NoteError::Form`] for anything that is not exactly of the standard's form, or has more than
    /// [`NOTE_SIGNATURES_MAX`] signatures.
    pub fn parse(note: &'a str) -> Result<Self, NoteError> {
        if note.bytes().any(|b| b < 0x20 && b != b'\n') {
            return Err(NoteError::Form("a control character"));
        }
        let (text, lines) = note.rsplit_once("\n\n").ok_or(NoteError::Form("no blank line before the signatures"))?;
        // The newline at its end is signed too.
        let text = &note[..=text.len()];
        let lines = lines.strip_suffix('\n').ok_or(NoteError::Form("no newline at the end"))?;
        let mut signatures = Vec::new();
        for line in lines.split('\n') {
            if signatures.len() == NOTE_SIGNATURES_MAX {
                return Err(NoteError::Form("too many signatures"));
            }
            signatures.push(NoteSignature::parse(line)?);
        }
        Ok(Self { text, signatures })
    }

    /// The signed text, with its final newline.
    pub fn text(&self) -> &'a str {
        self.text
    }

    /// All signature lines in their order.
    pub fn signatures(&self) -> &[NoteSignature<'a>] {
        &self.signatures
    }

    /// Checks that `key` signed. For a cosignature key the answer is the time it names, else 0.
    ///
    /// ```
    /// use tally_protocol::{keys::NodeKeys, note::{Note, cosign_line, sign_line}};
    /// # use tally_protocol::ids::Federation;
    ///
    /// # let federation = Federation::try_from("t.example".to_owned())?;
    /// let keys = NodeKeys::derive(&federation, "350102/e1".parse()?, &[7; 32]);
    /// let text = "a text\n";
    /// let signed = sign_line(text, &keys.log) + &cosign_line(text, 1_790_000_000, &keys.mirror);
    /// let note = format!("{text}\n{signed}");
    /// let note = Note::parse(&note)?;
    /// assert_eq!(note.verify(keys.log.public()), Ok(0));
    /// assert_eq!(note.verify(keys.mirror.public()), Ok(1_790_000_000));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// [`NoteError::Unsigned`] without a line of this key; [`NoteError::BadSignature`] when such a line is wrong
    /// (the whole note is then to be refused); [`NoteError::Form`] when there is more than one of it.
    pub fn verify(&self, key: &VerifierKey) -> Result<u64, NoteError> {
        let mut of_key = self.signatures.iter().filter(|s| s.name == key.name() && s.id == key.id());
        match (of_key.next(), of_key.next()) {
            (None, _) => Err(NoteError::Unsigned(key.name().to_owned())),
            (Some(one), None) => one.verify(key, self.text),
            // One says all; each more would only have to be checked.
            (Some(_), Some(_)) => Err(NoteError::Form("two signatures of one key")),
        }
    }
}

impl<'a> NoteSignature<'a> {
    /// Reads one line, without its newline.
    ///
    /// # Errors
    /// [`NoteError::Form`] when it is not `— name base64`.
    pub fn parse(line: &'a str) -> Result<Self, NoteError> {
        let form = || NoteError::Form("a signature line is not of the form '— name base64'");
        let (name, blob) = line.strip_prefix("— ").and_then(|l| l.split_once(' ')).ok_or_else(form)?;
        let blob = BASE64.decode(blob).map_err(|_| form())?;
        let (id, blob) = blob.split_first_chunk::<4>().ok_or_else(form)?;
        if !good_name(name) || blob.is_empty() {
            return Err(form());
        }
        Ok(Self { name, id: u32::from_be_bytes(*id), blob: blob.to_vec() })
    }

    /// Checks this line against `key` over `text`; the answer is the time of a cosignature, else 0.
    ///
    /// # Errors
    /// [`NoteError::BadSignature`] when name, key id, length or signature do not fit.
    pub fn verify(&self, key: &VerifierKey, text: &str) -> Result<u64, NoteError> {
        let bad = || NoteError::BadSignature(key.name().to_owned());
        if self.name != key.name() || self.id != key.id() {
            return Err(bad());
        }
        let good = match key.algorithm() {
            Algorithm::Ed25519 => {
                let signature = self.blob.as_slice().try_into().map_err(|_| bad())?;
                key.verify(text.as_bytes(), signature).then_some(0)
            }
            Algorithm::CosignatureV1 => {
                let (time, signature) = self.blob.split_first_chunk::<8>().ok_or_else(bad)?;
                let time = u64::from_be_bytes(*time);
                let signature = signature.try_into().map_err(|_| bad())?;
                key.verify(cosigned(time, text).as_bytes(), signature).then_some(time)
            }
        };
        good.ok_or_else(bad)
    }
}

/// What a cosignature/v1 signs (c2sp.org/tlog-cosignature).
fn cosigned(time: u64, text: &str) -> String {
    format!("cosignature/v1\ntime {time}\n{text}")
}

fn line(key: &VerifierKey, blob: &[u8]) -> String {
    let blob = BASE64.encode([&key.id().to_be_bytes(), blob].concat());
    format!("— {} {blob}\n", key.name())
}

/// A signature line over `text`, with its newline. `text` ends with a newline.
pub fn sign_line(text: &str, signer: &Signer) -> String {
    debug_assert!(text.ends_with('\n') && signer.public().algorithm() == Algorithm::Ed25519);
    line(signer.public(), &signer.sign(text.as_bytes()))
}

/// A cosignature line over `text` at `time` (POSIX seconds), with its newline.
pub fn cosign_line(text: &str, time: u64, signer: &Signer) -> String {
    debug_assert!(text.ends_with('\n') && signer.public().algorithm() == Algorithm::CosignatureV1);
    let signature = signer.sign(cosigned(time, text).as_bytes());
    line(signer.public(), &[&time.to_be_bytes()[..], &signature].concat())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{ids::Federation, keys::NodeKeys};

    const KEY: &str = "example.com/foo+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k";
    const SIGNATURE: &str =
        "Uw2QOkn8srV1yJGh2VYRlL1Tnagv1YEq6TfXppzi2ONncAlTgK7Ztg1ERYNZXsYjOBH3mFXmRKuwHjG1Yu72IneyaQM=";

    fn published() -> String {
        format!("This is an example message.\n\n— example.com/foo {SIGNATURE}\n")
    }

    fn keys() -> NodeKeys {
        let f = Federation::try_from("t.example".to_owned()).unwrap();
        NodeKeys::derive(&f, "350102/e1".parse().unwrap(), &[7; 32])
    }

    /// S4: a note with many lines of one key has its reader check each of them.
    #[test]
    fn one_key_signs_a_note_once() {
        let (keys, text) = (keys(), "a text\n");
        let (log, mirror) = (sign_line(text, &keys.log), cosign_line(text, 1_790_000_000, &keys.mirror));
        let verified = |lines: &[&str]| {
            let note = format!("{text}\n{}", lines.concat());
            let note = Note::parse(&note).unwrap();
            [keys.log.public(), keys.mirror.public()].map(|key| note.verify(key))
        };
        assert_eq!(verified(&[&log, &mirror]), [Ok(0), Ok(1_790_000_000)]);
        let twice = Err(NoteError::Form("two signatures of one key"));
        assert_eq!(verified(&[&log, &mirror, &log]), [twice.clone(), Ok(1_790_000_000)]);
        assert_eq!(verified(&[&mirror, &log, &cosign_line(text, 1_790_000_001, &keys.mirror)]), [Ok(0), twice]);
    }

    #[test]
    fn published_vector_verifies_and_an_altered_one_does_not() {
        let key = KEY.parse().unwrap();
        let note = published();
        assert_eq!(Note::parse(&note).unwrap().verify(&key), Ok(0));
        let altered = note.replace("example message", "exemple message");
        let why = Note::parse(&altered).unwrap().verify(&key);
        assert_eq!(why, Err(NoteError::BadSignature("example.com/foo".into())));
    }

    #[test]
    fn unknown_signers_are_passed_over_and_a_missing_one_is_named() {
        let keys = keys();
        let note = published() + &sign_line("This is an example message.\n", &keys.log);
        let note = Note::parse(&note).unwrap();
        assert_eq!(note.verify(keys.log.public()), Ok(0));
        let why = note.verify(keys.mirror.public()).unwrap_err();
        assert_eq!(why, NoteError::Unsigned("t.example/350102/e1/mirror".into()));
    }

    #[test]
    fn cosignature_carries_its_time() {
        let keys = keys();
        let text = "o\n1\nAAAA\n";
        let note = format!("{text}\n{}", cosign_line(text, 1_679_315_147, &keys.mirror));
        assert_eq!(Note::parse(&note).unwrap().verify(keys.mirror.public()), Ok(1_679_315_147));
    }

    #[test]
    fn published_cosignature_time() {
        // c2sp.org/tlog-cosignature: the example line's blob starts with key id 8d66cf3f and this time.
        let s = NoteSignature { name: "w", id: 1, blob: 1_679_315_147_u64.to_be_bytes().to_vec() };
        assert_eq!(u64::from_be_bytes(s.blob[..8].try_into().unwrap()), 1_679_315_147);
    }

    #[test]
    fn bad_forms_are_refused() {
        for bad in [
            "",
            "text\n",
            "text\n\n",
            "text\n\n— a\n",
            "text\n\n- a AAAAAAA=\n",
            "te\txt\n\n— a AAAAAAA=\n",
            "text\n\n— a AAAAAAA=",
            "text\n\n— a AAAA\n",
            "text\n\n— a+b AAAAAAA=\n",
            "text\n\n— a AAAAAAB=\n",
        ] {
            assert!(Note::parse(bad).is_err(), "{bad:?}");
        }
        let many = format!("text\n\n{}", "— a AAAAAAA=\n".repeat(NOTE_SIGNATURES_MAX + 1));
        assert!(Note::parse(&many).is_err());
    }

    #[test]
    fn text_may_hold_blank_lines() {
        let keys = keys();
        let text = "a\n\nb\n";
        let note = format!("{text}\n{}", sign_line(text, &keys.log));
        let note = Note::parse(&note).unwrap();
        assert_eq!(note.text(), text);
        assert_eq!(note.verify(keys.log.public()), Ok(0));
    }

    /// Cloudflare's signed_note reads and verifies what we sign, and the other way round.
    #[test]
    fn agrees_with_signed_note() {
        use signed_note::{Note as Theirs, StandardVerifier, VerifierList};
        let keys = keys();
        let text = "t.example/350102/e1\n1\nAAAA\n\nmore\n";
        let ours = format!("{text}\n{}", sign_line(text, &keys.log));
        let verifier = StandardVerifier::new(&keys.log.public().to_string()).unwrap();
        let theirs = Theirs::from_bytes(ours.as_bytes()).unwrap();
        let (good, unknown) = theirs.verify(&VerifierList::new(vec![Box::new(verifier)])).unwrap();
        assert_eq!((good.len(), unknown.len(), theirs.text()), (1, 0, text.as_bytes()));
        let back = String::from_utf8(theirs.to_bytes()).unwrap();
        assert_eq!(Note::parse(&back).unwrap().verify(keys.log.public()), Ok(0));
    }
}
