//! An invitation to join: one line that a node above signs, and whoever is invited hands in.
//!
//! It names one division and its place, the parent with its link key and addresses, and the authority, so whoever holds it
//! knows whom to call and whose word counts. It gives the right to ask, and no more: what is asked for, the authority decides.
//! The inviting node's log key signs the text below, whose first line has spaces, which no origin has. The line itself is
//! `tly1_` and base64url of the fields, the signature, and four bytes of SHA-256 against slips of the pen. An invitation of
//! another machine for a division that is a node already names the epoch that is to begin, and its line begins with `tly2_`.
//! Whether a charter knows who invites is not known here, nor whether the invitation was used.

#![warn(clippy::indexing_slicing, clippy::arithmetic_side_effects)]

use crate::{
    bounded, codec,
    hash::{Hash, sha256},
    ids::{Division, Federation, LogId, node_epoch},
    keys::{Signer, VerifierKey, authority_key},
    limits::{ADDRESS_BYTES_MAX, INVITE_ADDRESSES_MAX, INVITE_NAME_BYTES_MAX, INVITE_TOKEN_BYTES_MAX, LEVEL_BYTES_MAX},
};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use serde::{Deserialize, Serialize};

/// Before the fields of who is to be a node first.
const PREFIX: &str = "tly1_";
/// Before the epoch and the fields of who is to take a node's place.
const NEXT_PREFIX: &str = "tly2_";
/// First line of what is signed, of who is to be a node first.
const FIRST_LINE: &str = "tally invite: node, version 1";
/// The same of who is to take a node's place.
const NEXT_FIRST_LINE: &str = "tally invite: another machine, version 1";
/// Bytes of the sum against slips.
const SUM: usize = 4;

/// What an invitation says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Invite {
    /// The federation.
    pub federation: Federation,
    /// Who is invited.
    pub division: Division,
    /// The epoch that is to begin: 1 of a division that is no node yet, else the one after the node's current epoch.
    #[serde(skip, default = "first")]
    pub epoch: u32,
    /// Its name in the charter; one line of at most [`INVITE_NAME_BYTES_MAX`] bytes.
    #[serde(deserialize_with = "bounded::text::<_, INVITE_NAME_BYTES_MAX>")]
    pub name: String,
    /// Its level, by the name that the charter has for it.
    #[serde(deserialize_with = "bounded::text::<_, LEVEL_BYTES_MAX>")]
    pub level: String,
    /// Whom it is to report to, and whom it calls.
    pub parent: Division,
    /// The parent's link key, by which it is known.
    pub parent_link: [u8; 32],
    /// Where the parent is, at most [`INVITE_ADDRESSES_MAX`].
    #[serde(deserialize_with = "addresses")]
    pub addresses: Vec<String>,
    /// The authority's key that signed the charter in force.
    pub authority: [u8; 32],
    /// Who invites, in which epoch.
    #[serde(deserialize_with = "node_epoch")]
    pub by: LogId,
    /// Random: names the invitation.
    pub id: [u8; 16],
    /// It is good before this, POSIX seconds, by the parent's clock.
    pub expires: u64,
}

/// The epoch of an invitation that names none.
fn first() -> u32 {
    1
}

/// At most [`INVITE_ADDRESSES_MAX`] addresses of at most [`ADDRESS_BYTES_MAX`] bytes.
fn addresses<'de, D: serde::Deserializer<'de>>(d: D) -> Result<Vec<String>, D::Error> {
    let all: Vec<String> = bounded::list::<_, _, INVITE_ADDRESSES_MAX>(d)?;
    let fits = |a: &String| !a.is_empty() && a.len() <= ADDRESS_BYTES_MAX && !a.contains(is_gap);
    match all.iter().all(fits) {
        true => Ok(all),
        false => Err(serde::de::Error::custom("an address is too long, or has a gap")),
    }
}

fn is_gap(c: char) -> bool {
    c.is_whitespace() || c.is_control()
}

/// An invitation with its signature.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SignedInvite {
    /// What it says.
    pub invite: Invite,
    /// Ed25519 over [`Invite::text`], in two halves.
    signature: [[u8; 32]; 2],
}

/// Why a text is not an invitation.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InviteError {
    /// It is something else.
    #[error("not an invitation: it begins with {PREFIX} and is one line")]
    Form,
    /// A character is another one, or some are missing.
    #[error("the invitation was changed on its way, or is cut off: copy the whole line again")]
    Changed,
    /// Written by a later program.
    #[error("the invitation is of a form that is not known here: update this program")]
    Unknown,
    /// A field that cannot be.
    #[error("the invitation cannot be made: {0}")]
    Field(&'static str),
}

impl Invite {
    /// The text that is signed.
    pub fn text(&self) -> String {
        let federation = &self.federation;
        let first_line = if self.epoch == 1 { FIRST_LINE } else { NEXT_FIRST_LINE };
        let hex = |bytes: &[u8]| bytes.iter().map(|b| format!("{b:02x}")).collect::<String>();
        format!(
            "{first_line}\nto {}\nname {}\nlevel {}\nunder {} {}\nat {}\nauthority {}\nby {}\nid {}\nexpires {}\n",
            federation.origin(self.node()),
            self.name,
            self.level,
            self.parent,
            hex(&self.parent_link),
            self.addresses.join(" "),
            hex(&self.authority),
            federation.origin(self.by),
            hex(&self.id),
            self.expires
        )
    }

    /// Signs it with the inviting node's log key.
    ///
    /// # Errors
    /// [`InviteError::Field`] for fields beyond their bounds.
    pub fn sign(self, signer: &Signer) -> Result<SignedInvite, InviteError> {
        if self.name.trim().is_empty()
            || self.name.len() > INVITE_NAME_BYTES_MAX
            || self.name.contains(char::is_control)
        {
            return Err(InviteError::Field("a name is one line of 1 to 120 bytes"));
        }
        if self.epoch == 0 {
            return Err(InviteError::Field("epochs count from 1"));
        }
        let address = |a: &String| !a.is_empty() && a.len() <= ADDRESS_BYTES_MAX && !a.contains(is_gap);
        let few = (1..=INVITE_ADDRESSES_MAX).contains(&self.addresses.len());
        if !few || !self.addresses.iter().all(address) {
            return Err(InviteError::Field("the parent has 1 to 4 addresses of at most 100 bytes each"));
        }
        let signature = signer.sign(self.text().as_bytes());
        let (a, b) = signature.split_at(32);
        let half = |h: &[u8]| <[u8; 32]>::try_from(h).unwrap_or_default();
        Ok(SignedInvite { invite: self, signature: [half(a), half(b)] })
    }

    /// The authority's key, under its name.
    pub fn authority(&self) -> Option<VerifierKey> {
        authority_key(&self.federation, &self.authority)
    }

    /// The node that is invited, in the epoch that is to begin.
    pub fn node(&self) -> LogId {
        LogId::records(self.division, self.epoch)
    }

    /// The epoch that ends with it; `None`: the division is no node yet.
    pub fn ends(&self) -> Option<LogId> {
        let before = self.epoch.checked_sub(1).filter(|e| *e > 0)?;
        Some(LogId::records(self.division, before))
    }
}

impl SignedInvite {
    /// The line that is handed on.
    pub fn token(&self) -> String {
        let (prefix, mut bytes) = match self.invite.epoch {
            1 => (PREFIX, codec::encode(self)),
            epoch => (NEXT_PREFIX, codec::encode(&(epoch, self))),
        };
        bytes.extend_from_slice(&sum(prefix, &bytes));
        format!("{prefix}{}", URL_SAFE_NO_PAD.encode(bytes))
    }

    /// Reads a line. Who signed it, [`SignedInvite::signed_by`] tells.
    ///
    /// # Errors
    /// [`InviteError`].
    pub fn read(token: &str) -> Result<Self, InviteError> {
        let token = token.trim();
        if token.len() > INVITE_TOKEN_BYTES_MAX {
            return Err(InviteError::Form);
        }
        let form = [PREFIX, NEXT_PREFIX].into_iter().find_map(|p| Some((p, token.strip_prefix(p)?)));
        let Some((prefix, rest)) = form else {
            let later = token.starts_with("tly") && token.contains('_');
            return Err(if later { InviteError::Unknown } else { InviteError::Form });
        };
        let bytes = URL_SAFE_NO_PAD.decode(rest).map_err(|_| InviteError::Changed)?;
        let (fields, found) = bytes.split_last_chunk::<SUM>().ok_or(InviteError::Changed)?;
        if *found != sum(prefix, fields) {
            return Err(InviteError::Changed);
        }
        let signed = if prefix == PREFIX {
            codec::decode::<Self, INVITE_TOKEN_BYTES_MAX>(fields).map_err(|_| InviteError::Unknown)?
        } else {
            let read = codec::decode::<(u32, Self), INVITE_TOKEN_BYTES_MAX>(fields);
            let (epoch, mut signed) = read.map_err(|_| InviteError::Unknown)?;
            signed.invite.epoch = epoch;
            if epoch == 0 {
                return Err(InviteError::Unknown);
            }
            signed
        };
        // One form only: the line names the invitation wherever it is compared.
        if signed.token() != token || signed.invite.name.contains(char::is_control) {
            return Err(InviteError::Unknown);
        }
        Ok(signed)
    }

    /// Whether `key` signed it.
    pub fn signed_by(&self, key: &VerifierKey) -> bool {
        let [a, b] = &self.signature;
        let mut signature = [0; 64];
        for (to, from) in signature.iter_mut().zip(a.iter().chain(b)) {
            *to = *from;
        }
        key.verify(self.invite.text().as_bytes(), &signature)
    }
}

fn sum(prefix: &str, bytes: &[u8]) -> [u8; SUM] {
    let Hash(hash) = sha256(&[prefix.as_bytes(), bytes]);
    hash.first_chunk().copied().unwrap_or_default()
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::keys::{NodeKeys, authority_signer};

    pub(crate) fn federation() -> Federation {
        Federation::try_from("t.example".to_owned()).unwrap()
    }

    pub(crate) fn keys(division: &str, secret: u8) -> NodeKeys {
        NodeKeys::derive(&federation(), LogId::records(division.parse().unwrap(), 1), &[secret; 32])
    }

    /// The invitation that stands in FORMATS.md.
    pub(crate) fn sample() -> SignedInvite {
        let (city, province) = (keys("350100", 1), keys("350000", 2));
        let invite = Invite {
            federation: federation(),
            division: "350102".parse().unwrap(),
            epoch: 1,
            name: "鼓楼区".into(),
            level: "county".into(),
            parent: city.node.division,
            parent_link: city.link.public().public(),
            addresses: vec!["10.0.0.5:7443".into()],
            authority: authority_signer(&federation(), &[7; 32]).public().public(),
            by: province.node,
            id: *b"0123456789abcdef",
            expires: 1_790_000_000,
        };
        invite.sign(&province.log).unwrap()
    }

    /// The same for another machine, in the node's second epoch.
    pub(crate) fn sample_of_another() -> SignedInvite {
        Invite { epoch: 2, ..sample().invite }.sign(&keys("350000", 2).log).unwrap()
    }

    /// What is handed out is read for ever.
    #[test]
    fn frozen_invite() {
        let signed = sample();
        assert_eq!(crate::formats::text("invite"), signed.invite.text());
        assert_eq!(crate::formats::text("invite token"), signed.token() + "\n");
        assert_eq!(SignedInvite::read(crate::formats::text("invite token")), Ok(signed.clone()));
        assert!(signed.signed_by(keys("350000", 2).log.public()));
        assert!(!signed.signed_by(keys("350000", 3).log.public()));
        assert_eq!(signed.invite.authority().as_ref(), Some(authority_signer(&federation(), &[7; 32]).public()));
    }

    #[test]
    fn a_line_that_was_changed_is_named_as_that() {
        let token = sample().token();
        assert_eq!(SignedInvite::read(&format!("  {token}\n")), Ok(sample()), "gaps around it are the mail's");
        for at in PREFIX.len()..token.len() {
            let mut bytes = token.clone().into_bytes();
            bytes[at] = if bytes[at] == b'A' { b'B' } else { b'A' };
            let changed = String::from_utf8(bytes).unwrap();
            assert!(SignedInvite::read(&changed).is_err(), "{at}");
        }
        assert_eq!(SignedInvite::read(&token[..token.len() - 5]), Err(InviteError::Changed));
        assert_eq!(SignedInvite::read("hello"), Err(InviteError::Form));
        assert_eq!(SignedInvite::read(&token.replacen("tly1", "tly2", 1)), Err(InviteError::Changed));
        assert_eq!(SignedInvite::read(&token.replacen("tly1", "tly3", 1)), Err(InviteError::Unknown));
        assert_eq!(SignedInvite::read(&"x".repeat(INVITE_TOKEN_BYTES_MAX + 1)), Err(InviteError::Form));
    }

    /// The line of another machine is a form of its own: neither can be made of the other, and what was said of a first epoch says
    /// nothing of a later one.
    #[test]
    fn frozen_invite_of_another_machine() {
        let (first, next) = (sample(), sample_of_another());
        assert_eq!(crate::formats::text("invite of another machine"), next.invite.text());
        assert_eq!(crate::formats::text("invite token of another machine"), next.token() + "\n");
        assert_eq!(SignedInvite::read(&next.token()), Ok(next.clone()));
        assert_eq!((next.invite.node(), next.invite.ends()), ("350102/e2".parse().unwrap(), "350102/e1".parse().ok()));
        assert_eq!((first.invite.ends(), first.invite.node().epoch), (None, 1));
        let key = keys("350000", 2).log.public().clone();
        for epoch in [0, 1, 3] {
            let other = SignedInvite { invite: Invite { epoch, ..next.invite.clone() }, ..next.clone() };
            assert!(!SignedInvite::read(&other.token()).is_ok_and(|read| read.signed_by(&key)), "{epoch}");
        }
        // A first epoch has one form.
        let mut bytes = codec::encode(&(1_u32, &first));
        bytes.extend_from_slice(&sum(NEXT_PREFIX, &bytes));
        let spelled = format!("{NEXT_PREFIX}{}", URL_SAFE_NO_PAD.encode(bytes));
        assert_eq!(SignedInvite::read(&spelled), Err(InviteError::Unknown));
    }

    #[test]
    fn no_field_can_be_changed_without_the_signature() {
        let (signed, key) = (sample(), keys("350000", 2).log.public().clone());
        let with = |change: &dyn Fn(&mut Invite)| {
            let mut other = signed.clone();
            change(&mut other.invite);
            let read = SignedInvite::read(&other.token()).unwrap();
            read.signed_by(&key)
        };
        assert!(with(&|_| ()));
        assert!(!with(&|i| i.division = "350103".parse().unwrap()));
        assert!(!with(&|i| i.name.push('x')) && !with(&|i| i.level = "province".into()));
        assert!(!with(&|i| i.parent = "350000".parse().unwrap()) && !with(&|i| i.parent_link[0] ^= 1));
        assert!(!with(&|i| i.addresses[0] = "10.0.0.6:7443".into()) && !with(&|i| i.authority[0] ^= 1));
        assert!(!with(&|i| i.id[0] ^= 1) && !with(&|i| i.expires += 1));
    }

    #[test]
    fn fields_have_bounds() {
        let with = |change: &dyn Fn(&mut Invite)| {
            let mut invite = sample().invite;
            change(&mut invite);
            invite.sign(&keys("350000", 2).log)
        };
        assert!(with(&|i| i.name = "x".repeat(INVITE_NAME_BYTES_MAX)).is_ok());
        assert!(with(&|i| i.name = "x".repeat(INVITE_NAME_BYTES_MAX + 1)).is_err());
        assert!(with(&|i| i.name = "a\nb".into()).is_err());
        assert!(with(&|i| i.addresses = Vec::new()).is_err());
        assert!(with(&|i| i.addresses = vec!["a b:1".into()]).is_err());
        // The longest that can be made can be read.
        let longest = with(&|i| {
            i.name = "x".repeat(INVITE_NAME_BYTES_MAX);
            i.addresses = vec!["a".repeat(ADDRESS_BYTES_MAX); INVITE_ADDRESSES_MAX];
            i.federation = Federation::try_from("f".repeat(crate::limits::FEDERATION_BYTES_MAX)).unwrap();
        });
        let longest = longest.unwrap();
        assert_eq!(SignedInvite::read(&longest.token()), Ok(longest));
    }
}
