//! What a node asks of the authority: its next epoch. A signed note, so that a person can read what is asked.
//!
//! The note is signed by the log's key of the epoch that is to end, and by the log's key of the epoch that is asked for: so
//! nobody asks for another node, and nobody asks for keys that he does not have. Its first line has spaces, which no origin
//! has: it can be taken for no checkpoint. Both ends show twelve digits of it; they come out of so many hashes that nobody
//! makes another request with the same digits. Whether the charter knows the keys, and what follows, is not known here.

#![warn(clippy::indexing_slicing, clippy::arithmetic_side_effects)]

use crate::{
    hash::{Hash, sha256},
    ids::{Federation, LogId},
    keys::{Algorithm, NodeKeys, VerifierKey},
    limits::{NOTE_BYTES_MAX, REQUEST_REASON_BYTES_MAX},
    note::{Note, NoteError, sign_line},
};

/// First line of a request for the next epoch.
const NEXT_EPOCH: &str = "tally request: next epoch, version 1";
/// Before what is hashed to the digits that both ends show.
const CODE: &[u8] = b"tally request code 1\n";
/// Hashes from a request to its digits: some tens of milliseconds. Forty bits times this is what a second request with
/// the same digits costs.
const CODE_HASHES: u32 = 1 << 18;

/// The public keys of one epoch of a node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProposedKeys {
    /// Signs the checkpoints of the records log.
    pub log: VerifierKey,
    /// Signs the checkpoints of the operations log.
    pub operations: VerifierKey,
    /// Signs the checkpoints of all return logs.
    pub returns: VerifierKey,
    /// Signs receipts.
    pub mirror: VerifierKey,
    /// Identifies the node on links.
    pub link: VerifierKey,
}

impl ProposedKeys {
    /// The public part of a node's keys.
    pub fn of(keys: &NodeKeys) -> Self {
        Self {
            log: keys.log.public().clone(),
            operations: keys.operations.public().clone(),
            returns: keys.returns().clone(),
            mirror: keys.mirror.public().clone(),
            link: keys.link.public().clone(),
        }
    }

    /// Whether every key has the name of its role in the epoch of `node`, and its algorithm.
    pub(crate) fn are_of(&self, f: &Federation, node: LogId) -> bool {
        let operations = LogId::operations(node.division, node.epoch);
        let names =
            [f.origin(node), f.origin(operations), f.returns_name(node), f.mirror_name(node), f.link_name(node)];
        self.named().into_iter().zip(names).all(|((role, key), name)| {
            let algorithm = if role == "mirror" { Algorithm::CosignatureV1 } else { Algorithm::Ed25519 };
            key.name() == name && key.algorithm() == algorithm
        })
    }

    /// Each under the name of its line in a request and in a charter.
    pub fn named(&self) -> [(&'static str, &VerifierKey); 5] {
        [
            ("log", &self.log),
            ("operations", &self.operations),
            ("returns", &self.returns),
            ("mirror", &self.mirror),
            ("link", &self.link),
        ]
    }
}

/// A node asks to end its epoch and to begin the next one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EpochRequest {
    /// The federation.
    pub federation: Federation,
    /// The records log of the epoch that is to end.
    pub log: LogId,
    /// When it was asked, POSIX seconds, by the node's clock: for people.
    pub time: u64,
    /// Records up to which the node can read all of the log from its disk.
    pub size: u64,
    /// Root at that size.
    pub root: Hash,
    /// Random: nobody can work out the digits before they are asked for.
    pub nonce: [u8; 16],
    /// Keys of the next epoch.
    pub keys: ProposedKeys,
    /// Why; one line of at most [`REQUEST_REASON_BYTES_MAX`] bytes.
    pub reason: String,
}

/// Why a note is not a request.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RequestError {
    /// Longer than [`NOTE_BYTES_MAX`].
    #[error("the request is longer than {NOTE_BYTES_MAX} bytes")]
    TooLong,
    /// The note itself, or a signature.
    #[error("the request: {0}")]
    Note(#[from] NoteError),
    /// Another text.
    #[error("not a request of a node: {0}")]
    Form(&'static str),
}

impl EpochRequest {
    /// The epoch that is asked for.
    pub fn next(&self) -> LogId {
        LogId::records(self.log.division, self.log.epoch.saturating_add(1))
    }

    /// The text that is signed.
    pub fn text(&self) -> String {
        let nonce: String = self.nonce.iter().map(|b| format!("{b:02x}")).collect();
        let keys: String = self.keys.named().iter().map(|(name, key)| format!("{name} {key}\n")).collect();
        let origin = self.federation.origin(self.log);
        format!(
            "{NEXT_EPOCH}\nof {origin}\nasked {}\nwhole {} {}\nnonce {nonce}\n{keys}reason {}\n",
            self.time, self.size, self.root, self.reason
        )
    }

    /// The signed note; `now` are the keys of the epoch that is to end, `next` those of the epoch that is asked for.
    pub fn sign(&self, now: &NodeKeys, next: &NodeKeys) -> String {
        let text = self.text();
        format!("{text}\n{}{}", sign_line(&text, &now.log), sign_line(&text, &next.log))
    }

    /// Reads a note and checks that the proposed log key signed it. Whether the key of the epoch that is to end did so
    /// too, [`EpochRequest::signed_by`] tells, once the charter has said which key that is.
    ///
    /// # Errors
    /// [`RequestError`].
    pub fn open(note: &str) -> Result<Self, RequestError> {
        if note.len() > NOTE_BYTES_MAX {
            return Err(RequestError::TooLong);
        }
        let parsed = Note::parse(note)?;
        let request = Self::parse(parsed.text())?;
        parsed.verify(&request.keys.log)?;
        Ok(request)
    }

    /// Checks that `key` signed the note too.
    ///
    /// # Errors
    /// [`RequestError`].
    pub fn signed_by(note: &str, key: &VerifierKey) -> Result<(), RequestError> {
        Ok(Note::parse(note)?.verify(key).map(|_| ())?)
    }

    /// Reads the text; exactly what [`EpochRequest::text`] writes is read.
    fn parse(text: &str) -> Result<Self, RequestError> {
        let form = RequestError::Form;
        let body = text.strip_suffix('\n').ok_or(form("no newline at its end"))?;
        let mut lines = body.split('\n');
        if lines.next() != Some(NEXT_EPOCH) {
            return Err(form("another first line"));
        }
        let mut value = |name: &'static str| {
            let line = lines.next().and_then(|l| l.strip_prefix(name)).and_then(|l| l.strip_prefix(' '));
            line.ok_or(form(name))
        };
        let origin = value("of")?;
        let log: LogId = origin.parse().map_err(|_| form("of"))?;
        let federation = origin.strip_suffix(&format!("/{log}")).unwrap_or_default().to_owned();
        let federation = Federation::try_from(federation).map_err(|_| form("of"))?;
        let time = value("asked")?.parse().map_err(|_| form("asked"))?;
        let (size, root) = value("whole")?.split_once(' ').ok_or(form("whole"))?;
        let (size, root) = (size.parse().map_err(|_| form("whole"))?, root.parse().map_err(|_| form("whole"))?);
        let nonce = nonce(value("nonce")?).ok_or(form("nonce"))?;
        let mut key = |name| value(name)?.parse::<VerifierKey>().map_err(|_| form(name));
        let keys = ProposedKeys {
            log: key("log")?,
            operations: key("operations")?,
            returns: key("returns")?,
            mirror: key("mirror")?,
            link: key("link")?,
        };
        let reason = value("reason")?.to_owned();
        let request = Self { federation, log, time, size, root, nonce, keys, reason };
        // The text has one form: other spellings of a number or a key would have other digits.
        if request.text() != text {
            return Err(form("it is not written as such requests are"));
        }
        if request.reason.len() > REQUEST_REASON_BYTES_MAX {
            return Err(form("the reason is too long"));
        }
        if log != log.node() || log.epoch == u32::MAX {
            return Err(form("it names no records log"));
        }
        request.keys_are_the_next_epochs()?;
        Ok(request)
    }

    /// Every key has the name of its role in the next epoch.
    fn keys_are_the_next_epochs(&self) -> Result<(), RequestError> {
        if !self.keys.are_of(&self.federation, self.next()) {
            return Err(RequestError::Form("a key is not one of the next epoch"));
        }
        Ok(())
    }

    /// Names the request: another text has another digest.
    pub fn digest(&self) -> Hash {
        sha256(&[self.text().as_bytes()])
    }

    /// The twelve digits that both ends show, as `4821-7730-1956`. Takes some tens of milliseconds.
    pub fn code(&self) -> String {
        code_of(&self.digest(), CODE, CODE_HASHES)
    }
}

/// Twelve digits of a digest, behind so many hashes.
pub(crate) fn code_of(text: &Hash, context: &[u8], hashes: u32) -> String {
    let mut hash = sha256(&[context, &text.0]);
    for _ in 0..hashes {
        hash = sha256(&[context, &hash.0, &text.0]);
    }
    let number = hash.0.first_chunk().map_or(0, |b| u64::from_be_bytes(*b)) % 1_000_000_000_000;
    let digits = format!("{number:012}");
    let parts: Vec<_> = digits.as_bytes().chunks(4).map(String::from_utf8_lossy).collect();
    parts.join("-")
}

pub(crate) fn nonce(digits: &str) -> Option<[u8; 16]> {
    let mut nonce = [0; 16];
    if digits.len() != 32 {
        return None;
    }
    for (byte, pair) in nonce.iter_mut().zip(digits.as_bytes().chunks(2)) {
        *byte = u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()?;
    }
    Some(nonce)
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    fn federation() -> Federation {
        Federation::try_from("t.example".to_owned()).unwrap()
    }

    fn keys(epoch: u32) -> NodeKeys {
        let secret = [u8::try_from(epoch).unwrap() | 0x40; 32];
        NodeKeys::derive(&federation(), LogId::records(350_102.try_into().unwrap(), epoch), &secret)
    }

    /// The request that stands in FORMATS.md, and its note.
    pub(crate) fn sample() -> (EpochRequest, String) {
        let request = EpochRequest {
            federation: federation(),
            log: keys(1).node,
            time: 1_790_000_000,
            size: 5,
            root: Hash([7; 32]),
            nonce: *b"0123456789abcdef",
            keys: ProposedKeys::of(&keys(2)),
            reason: "records 5..8 are damaged / 第5至8条损坏".into(),
        };
        let note = request.sign(&keys(1), &keys(2));
        (request, note)
    }

    /// What is installed reads these for ever.
    #[test]
    fn frozen_request() {
        let (request, note) = sample();
        assert_eq!(crate::formats::text("request"), note);
        assert_eq!(crate::formats::text("request code"), request.code() + "\n");
        assert_eq!(EpochRequest::open(&note), Ok(request));
    }

    #[test]
    fn both_keys_sign_and_no_other_text_is_read() {
        let (request, note) = sample();
        assert_eq!(EpochRequest::signed_by(&note, keys(1).log.public()), Ok(()));
        // A stranger who proposes keys of his own cannot sign with the key of the epoch that is to end.
        let text = request.text();
        let alone = format!("{text}\n{}", sign_line(&text, &keys(2).log));
        assert_eq!(EpochRequest::open(&alone), Ok(request.clone()));
        assert!(matches!(EpochRequest::signed_by(&alone, keys(1).log.public()), Err(RequestError::Note(_))));
        // Nor does anybody ask for keys that he does not have.
        let borrowed = format!("{text}\n{}", sign_line(&text, &keys(1).log));
        assert!(matches!(EpochRequest::open(&borrowed), Err(RequestError::Note(NoteError::Unsigned(_)))));
        for (from, to) in [
            ("asked 1790000000", "asked 01790000000"),
            ("asked 1790000000", "asked 1790000001"),
            ("whole 5 ", "whole 6 "),
            ("nonce 30", "nonce 31"),
            ("t.example/350102/e1\n", "t.example/350102/e1/ops\n"),
            ("t.example/350102/e1\n", "t.example/350102/e3\n"),
            ("next epoch, version 1", "next epoch, version 2"),
            ("reason ", "reason  "),
        ] {
            assert!(note.contains(from), "{from}");
            assert!(EpochRequest::open(&note.replacen(from, to, 1)).is_err(), "{from} -> {to}");
        }
        assert!(EpochRequest::open(&(note + &"x".repeat(NOTE_BYTES_MAX))).is_err());
    }

    #[test]
    fn a_reason_is_one_line_of_bounded_length() {
        let (request, _) = sample();
        let with = |reason: String| {
            let request = EpochRequest { reason, ..request.clone() };
            EpochRequest::open(&request.sign(&keys(1), &keys(2)))
        };
        assert!(with("x".repeat(REQUEST_REASON_BYTES_MAX)).is_ok() && with(String::new()).is_ok());
        assert!(with("x".repeat(REQUEST_REASON_BYTES_MAX + 1)).is_err());
        assert!(with("a\nb".into()).is_err() && with("a\tb".into()).is_err());
    }

    #[test]
    fn another_request_has_other_digits() {
        let (request, _) = sample();
        let code = request.code();
        assert!(code.len() == 14 && code.bytes().all(|b| b.is_ascii_digit() || b == b'-'), "{code}");
        let mut others = [request.clone(), request.clone(), request.clone()];
        others[0].nonce[15] ^= 1;
        others[1].size = 6;
        others[2].keys = ProposedKeys::of(&keys(3));
        for other in others {
            assert!(other.code() != code && other.digest() != request.digest());
        }
    }

    #[test]
    fn a_request_is_no_checkpoint() {
        let (_, note) = sample();
        assert!(crate::checkpoint::Checkpoint::open(&note, keys(1).log.public()).is_err());
    }
}
