//! How a node asks to join: the request that it signs, and the messages with which it hands it to the parent that its invitation
//! names.
//!
//! The request binds the invitation, and with it the parent's key and the authority's, to the keys of whoever asks. Both ends
//! show twelve digits of it. Nobody in the middle can bring two requests to the same digits: who asks first says only what the
//! request's hash will be ([`JoinRequest::commitment`]), then the parent chooses a part of it at random ([`JoinRequest::answer`]),
//! and then the request is shown. So each end's digits are settled by something that the other end chose when it could no
//! longer be weighed, and a stranger has one guess in 10^12 for each invitation. A request that is carried as a file has no such
//! answer: there the digits alone have to hold, which come out of many hashes.

#![warn(clippy::indexing_slicing, clippy::arithmetic_side_effects)]

use crate::{
    bounded,
    codec::{self, CodecError},
    hash::{Hash, sha256},
    ids::{Division, LogId},
    invite::SignedInvite,
    keys::NodeKeys,
    limits::{
        ADDRESS_BYTES_MAX, CHARTER_BYTES_MAX, CONTROL_BYTES_MAX, INVITE_ADDRESSES_MAX, INVITE_TOKEN_BYTES_MAX,
        JOIN_ASK_BYTES_MAX, NOTE_BYTES_MAX,
    },
    note::{Note, sign_line},
    request::{ProposedKeys, RequestError, code_of, nonce},
};
use serde::{Deserialize, Serialize};

/// TLS application protocol of whoever wants to join.
pub const JOIN_ALPN: &[u8] = b"tally-join/1";
/// Version of the messages below.
pub const JOIN_VERSION: u16 = 1;

/// First line of a request to join.
const JOIN: &str = "tally request: join, version 1";
/// Before what is hashed to the digits.
const CODE: &[u8] = b"tally join code 1\n";
/// Before what is hashed to the commitment.
const COMMITMENT: &[u8] = b"tally join commitment 1\n";
/// Hashes from a request to its digits: 0.1 s with SHA instructions. For a request that is carried, forty bits times this
/// is what a second one with the same digits costs.
const CODE_HASHES: u32 = 1 << 20;

/// A node asks to join.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JoinRequest {
    /// By what right.
    pub invite: SignedInvite,
    /// When it was asked, POSIX seconds, by the node's clock: for people.
    pub time: u64,
    /// Where its children are to find it, at most [`INVITE_ADDRESSES_MAX`].
    pub addresses: Vec<String>,
    /// Random: nobody knows the request before it is shown.
    pub nonce: [u8; 16],
    /// Its keys in the epoch that is to begin.
    pub keys: ProposedKeys,
    /// What the parent has answered to the commitment; `None`: the request is carried as a file.
    pub answer: Option<[u8; 16]>,
}

impl JoinRequest {
    /// All of the text but the parent's answer.
    fn asked(&self) -> String {
        let hex = |bytes: &[u8]| bytes.iter().map(|b| format!("{b:02x}")).collect::<String>();
        let invite = &self.invite.invite;
        let keys: String = self.keys.named().iter().map(|(name, key)| format!("{name} {key}\n")).collect();
        let at = if self.addresses.is_empty() { "-".to_owned() } else { self.addresses.join(" ") };
        format!(
            "{JOIN}\nof {}\nasked {}\ninvite {}\nat {at}\nnonce {}\n{keys}",
            invite.federation.origin(invite.node()),
            self.time,
            self.invite.token(),
            hex(&self.nonce)
        )
    }

    /// The text that is signed.
    pub fn text(&self) -> String {
        let answer = match self.answer {
            Some(answer) => answer.iter().map(|b| format!("{b:02x}")).collect(),
            None => "none".to_owned(),
        };
        format!("{}answer {answer}\n", self.asked())
    }

    /// What is said of the request before it is shown.
    pub fn commitment(&self) -> Hash {
        sha256(&[COMMITMENT, self.asked().as_bytes()])
    }

    /// The signed note.
    pub fn sign(&self, keys: &NodeKeys) -> String {
        let text = self.text();
        format!("{text}\n{}", sign_line(&text, &keys.log))
    }

    /// Whether a note claims to be a request to join.
    pub fn is_one(note: &str) -> bool {
        note.strip_prefix(JOIN).is_some_and(|rest| rest.starts_with('\n'))
    }

    /// Reads a note and checks that the log key in it signed it. Whether the invitation counts is not looked at.
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

    /// Reads the text; exactly what [`JoinRequest::text`] writes is read.
    fn parse(text: &str) -> Result<Self, RequestError> {
        let form = RequestError::Form;
        let body = text.strip_suffix('\n').ok_or(form("no newline at its end"))?;
        let mut lines = body.split('\n');
        if lines.next() != Some(JOIN) {
            return Err(form("another first line"));
        }
        let mut value = |name: &'static str| {
            let line = lines.next().and_then(|l| l.strip_prefix(name)).and_then(|l| l.strip_prefix(' '));
            line.ok_or(form(name))
        };
        value("of")?;
        let time = value("asked")?.parse().map_err(|_| form("asked"))?;
        let invite = SignedInvite::read(value("invite")?).map_err(|_| form("invite"))?;
        let at = value("at")?;
        let addresses: Vec<String> = if at == "-" { Vec::new() } else { at.split(' ').map(str::to_owned).collect() };
        if addresses.len() > INVITE_ADDRESSES_MAX || addresses.iter().any(|a| a.len() > ADDRESS_BYTES_MAX) {
            return Err(form("at"));
        }
        let own = nonce(value("nonce")?).ok_or(form("nonce"))?;
        let mut key = |name| value(name)?.parse().map_err(|_| form(name));
        let keys = ProposedKeys {
            log: key("log")?,
            operations: key("operations")?,
            returns: key("returns")?,
            mirror: key("mirror")?,
            link: key("link")?,
        };
        let answer = match value("answer")? {
            "none" => None,
            digits => Some(nonce(digits).ok_or(form("answer"))?),
        };
        let request = Self { invite, time, addresses, nonce: own, keys, answer };
        // The text has one form: other spellings would have other digits.
        if request.text() != text {
            return Err(form("it is not written as such requests are"));
        }
        if !request.keys.are_of(&request.invite.invite.federation, request.node()) {
            return Err(form("a key is not one of the epoch of the invitation"));
        }
        Ok(request)
    }

    /// Who asks, in the epoch that is to begin.
    pub fn node(&self) -> LogId {
        self.invite.invite.node()
    }

    /// Names the request: another text has another digest.
    pub fn digest(&self) -> Hash {
        sha256(&[self.text().as_bytes()])
    }

    /// The twelve digits that both ends show, as `4821-7730-1956`. Takes 0.1 s and more.
    pub fn code(&self) -> String {
        code_of(&self.digest(), CODE, CODE_HASHES)
    }
}

/// What whoever wants to join says to the parent. New kinds go at the end: the number is on the wire.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum JoinAsk {
    /// First: the invitation, and what the request's hash will be.
    Call {
        /// Newest version spoken.
        version: u16,
        /// The invitation as a line.
        #[serde(deserialize_with = "bounded::text::<_, INVITE_TOKEN_BYTES_MAX>")]
        token: String,
        /// See [`JoinRequest::commitment`].
        commitment: Hash,
    },
    /// Then: the request, and what has become of it.
    Request {
        /// The signed note.
        #[serde(deserialize_with = "bounded::text::<_, NOTE_BYTES_MAX>")]
        note: String,
    },
    /// Instead of both, of a node that is no longer admitted, or finds a key there that its charter does not name: the charter in
    /// force, if it is newer than this version. It is signed by the authority, so it does not matter who answers.
    Charter {
        /// Newest version spoken.
        version: u16,
        /// The version of the charter that the caller has.
        newer_than: u64,
    },
}

/// Why somebody may not ask to join, or not so. Numbers are on the wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum JoinRefusal {
    /// No version in common, or a message that is none.
    Protocol,
    /// The invitation cannot be read here, or nobody above has signed it.
    Invite,
    /// Its time is over.
    Expired,
    /// Somebody else has used it.
    Used,
    /// It names another parent, or a key that this one no longer has.
    OtherParent,
    /// It is for another division than the request.
    OtherDivision,
    /// The division has a node, with other keys, or the epoch of the invitation is not its next one.
    Taken,
    /// The request is not the one that was said before.
    NotCommitted,
    /// The request cannot be looked at.
    Request,
    /// Too many wait: later.
    Busy,
    /// The caller has the charter in force already, or no charter has ever named its key.
    NoCharter,
}

/// What the parent says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum JoinAnswer {
    /// To a call.
    Go {
        /// Version chosen.
        version: u16,
        /// The parent's clock, POSIX milliseconds.
        clock_ms: u64,
        /// See [`JoinRequest::answer`].
        answer: [u8; 16],
    },
    /// The request is on its way to the authority.
    Pending,
    /// The charter in force names the node with these keys.
    Admitted {
        /// The signed charter.
        #[serde(deserialize_with = "bounded::text::<_, CHARTER_BYTES_MAX>")]
        charter: String,
    },
    /// It is not given.
    Rejected {
        /// Where that was decided.
        by: Division,
        /// For people.
        #[serde(with = "bounded::reason")]
        reason: String,
    },
    /// Instead of any of these.
    Refused {
        /// Stable.
        code: JoinRefusal,
        /// The parent's clock, POSIX milliseconds.
        clock_ms: u64,
        /// For people.
        #[serde(with = "bounded::reason")]
        reason: String,
    },
    /// The charter in force that was asked for.
    Charter {
        /// The signed charter.
        #[serde(deserialize_with = "bounded::text::<_, CHARTER_BYTES_MAX>")]
        note: String,
    },
}

impl JoinAsk {
    /// The bytes of a frame.
    pub fn encode(&self) -> Vec<u8> {
        codec::encode(self)
    }

    /// Reads a frame.
    ///
    /// # Errors
    /// [`CodecError`]; at most [`JOIN_ASK_BYTES_MAX`] bytes are looked at.
    pub fn decode(bytes: &[u8]) -> Result<Self, CodecError> {
        codec::decode::<Self, JOIN_ASK_BYTES_MAX>(bytes)
    }
}

impl JoinAnswer {
    /// The bytes of a frame.
    pub fn encode(&self) -> Vec<u8> {
        codec::encode(self)
    }

    /// Reads a frame.
    ///
    /// # Errors
    /// [`CodecError`]; at most [`CONTROL_BYTES_MAX`] bytes are looked at.
    pub fn decode(bytes: &[u8]) -> Result<Self, CodecError> {
        codec::decode::<Self, CONTROL_BYTES_MAX>(bytes)
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::invite::tests::{federation, keys, sample as invite};

    /// The request that stands in FORMATS.md, and its note.
    pub(crate) fn sample() -> (JoinRequest, String) {
        let county = keys("350102", 9);
        let request = JoinRequest {
            invite: invite(),
            time: 1_789_990_000,
            addresses: vec!["10.0.3.17:7443".into()],
            nonce: *b"fedcba9876543210",
            keys: ProposedKeys::of(&county),
            answer: Some(*b"0011223344556677"),
        };
        let note = request.sign(&county);
        (request, note)
    }

    /// Every message of these forms, as FORMATS.md has them.
    pub(crate) fn messages() -> Vec<(&'static str, Vec<u8>)> {
        let commitment = Hash([7; 32]);
        vec![
            ("join call", JoinAsk::Call { version: 1, token: "t".into(), commitment }.encode()),
            ("join request", JoinAsk::Request { note: "n".into() }.encode()),
            ("join ask for the charter", JoinAsk::Charter { version: 1, newer_than: 3 }.encode()),
            ("join go", JoinAnswer::Go { version: 1, clock_ms: 2, answer: [3; 16] }.encode()),
            ("join pending", JoinAnswer::Pending.encode()),
            ("join admitted", JoinAnswer::Admitted { charter: "c".into() }.encode()),
            ("join rejected", JoinAnswer::Rejected { by: "350000".parse().unwrap(), reason: "r".into() }.encode()),
            ("join refused", JoinAnswer::Refused { code: JoinRefusal::Used, clock_ms: 2, reason: "r".into() }.encode()),
            ("join charter", JoinAnswer::Charter { note: "c".into() }.encode()),
        ]
    }

    #[test]
    fn frozen_join_request() {
        let (request, note) = sample();
        assert_eq!(crate::formats::text("join request note"), note);
        assert_eq!(crate::formats::text("join request code"), request.code() + "\n");
        assert_eq!(JoinRequest::open(&note), Ok(request));
        assert!(JoinRequest::is_one(&note) && !JoinRequest::is_one("tally request: next epoch, version 1\n"));
    }

    #[test]
    fn no_other_text_is_read_and_no_other_key_signs() {
        let (request, note) = sample();
        for (from, to) in [
            ("asked 1789990000", "asked 01789990000"),
            ("asked 1789990000", "asked 1789990001"),
            ("at 10.0.3.17:7443", "at 10.0.3.18:7443"),
            ("at 10.0.3.17:7443", "at 10.0.3.17:7443 "),
            ("nonce 66", "nonce 67"),
            ("answer 30", "answer 31"),
            ("t.example/350102/e1\n", "t.example/350103/e1\n"),
            ("join, version 1", "join, version 2"),
        ] {
            assert!(note.contains(from), "{from}");
            assert!(JoinRequest::open(&note.replacen(from, to, 1)).is_err(), "{from} -> {to}");
        }
        let other = keys("350102", 8);
        assert!(JoinRequest::open(&request.sign(&other)).is_err(), "signed by keys that it does not name");
        let foreign = JoinRequest { keys: ProposedKeys::of(&keys("350103", 9)), ..request };
        assert!(JoinRequest::open(&foreign.sign(&keys("350103", 9))).is_err(), "keys of another division");
        assert!(JoinRequest::open(&(note + &"x".repeat(NOTE_BYTES_MAX))).is_err());
        assert_eq!(federation().to_string(), "t.example");
    }

    /// Whoever stands in the middle can choose what it likes after the parent has answered: the commitment says all of it before.
    #[test]
    fn what_was_said_before_settles_all_but_the_answer() {
        let (request, _) = sample();
        let said = request.commitment();
        let mut others: Vec<JoinRequest> = vec![request.clone(); 5];
        others[0].time += 1;
        others[1].nonce[0] ^= 1;
        others[2].addresses.clear();
        others[3].keys = ProposedKeys::of(&keys("350102", 8));
        others[4].invite = invite().invite.sign(&keys("350000", 3).log).unwrap();
        for other in &others {
            assert_ne!(other.commitment(), said);
            assert_ne!(other.code(), request.code());
        }
        let answered = JoinRequest { answer: Some([1; 16]), ..request.clone() };
        assert_eq!(answered.commitment(), said);
        assert_ne!(answered.code(), request.code(), "the answer is in the digits");
    }

    #[test]
    fn messages_have_bounds() {
        for (name, bytes) in messages() {
            let read = JoinAsk::decode(&bytes).is_ok() || JoinAnswer::decode(&bytes).is_ok();
            assert!(read, "{name}");
        }
        let long = JoinAsk::Request { note: "x".repeat(NOTE_BYTES_MAX + 1) };
        assert!(JoinAsk::decode(&long.encode()).is_err());
        let long =
            JoinAsk::Call { version: 1, token: "x".repeat(INVITE_TOKEN_BYTES_MAX + 1), commitment: Hash([0; 32]) };
        assert!(JoinAsk::decode(&long.encode()).is_err());
        assert!(JoinAnswer::decode(b"\x09").is_err());
    }
}
