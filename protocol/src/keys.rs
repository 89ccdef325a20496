//! Ed25519 keys of signed notes: verifier keys as text, signers, and the three keys a node has.
//!
//! A node's key file holds one secret. The keys of its three roles are derived from it, because an Ed25519
//! cosignature does not name its cosigner's role: distinct keys per role are mandatory (c2sp.org/tlog-cosignature).

use crate::{
    hash::sha256,
    ids::{Federation, LogId},
};
use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};
use ed25519_dalek::{Signature, Signer as _, SigningKey, VerifyingKey};
use std::{fmt, str::FromStr};

/// Signature types of c2sp.org/signed-note that Tally uses.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Algorithm {
    /// 0x01: plain Ed25519 over the note's text.
    Ed25519 = 0x01,
    /// 0x04: Ed25519 over time and text (cosignature/v1).
    CosignatureV1 = 0x04,
}

/// A public key with its name, as in `<name>+<8 hex digits>+<base64(type || key)>`.
#[derive(Clone, PartialEq, Eq)]
pub struct VerifierKey {
    name: String,
    id: u32,
    algorithm: Algorithm,
    key: VerifyingKey,
}

/// Why a verifier key was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// The text does not have the form of a verifier key.
    #[error("not a verifier key: <name>+<8 hex digits>+<base64> is needed")]
    Form,
    /// The type byte names no algorithm that is known here.
    #[error("signature type {0:#04x} is not known; 0x01 (Ed25519) and 0x04 (cosignature) are")]
    Algorithm(u8),
    /// The eight hex digits do not belong to name and key: a digit was mistyped, or the name changed.
    #[error("the key id does not match name and key: copy the whole line again")]
    Id,
    /// The bytes are no Ed25519 point, or a weak one.
    #[error("the key's bytes are not a usable Ed25519 key")]
    Point,
}

fn key_id(name: &str, algorithm: Algorithm, key: &[u8; 32]) -> u32 {
    let h = sha256(&[name.as_bytes(), b"\n", &[algorithm as u8], key]);
    u32::from_be_bytes([h.0[0], h.0[1], h.0[2], h.0[3]])
}

/// Key names are not empty, without white space and without '+'.
pub(crate) fn good_name(name: &str) -> bool {
    !name.is_empty() && !name.contains(|c: char| c.is_whitespace() || c.is_control() || c == '+')
}

impl VerifierKey {
    fn new(name: String, algorithm: Algorithm, key: VerifyingKey) -> Self {
        Self { id: key_id(&name, algorithm, key.as_bytes()), name, algorithm, key }
    }

    /// Name as on a signature line.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// First four bytes of SHA-256(name, newline, type, key).
    pub fn id(&self) -> u32 {
        self.id
    }

    /// Which signatures this key makes.
    pub fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    /// The Ed25519 public key.
    pub fn public(&self) -> [u8; 32] {
        self.key.to_bytes()
    }

    /// Whether `signature` is this key's over `message` (strict: no small-order keys, no malleable forms).
    pub fn verify(&self, message: &[u8], signature: &[u8; 64]) -> bool {
        self.key.verify_strict(message, &Signature::from_bytes(signature)).is_ok()
    }
}

impl fmt::Display for VerifierKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut blob = vec![self.algorithm as u8];
        blob.extend_from_slice(self.key.as_bytes());
        write!(f, "{}+{:08x}+{}", self.name, self.id, BASE64.encode(blob))
    }
}

impl fmt::Debug for VerifierKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}+{:08x}", self.name, self.id)
    }
}

impl FromStr for VerifierKey {
    type Err = KeyError;
    fn from_str(s: &str) -> Result<Self, KeyError> {
        let mut parts = s.trim().splitn(3, '+');
        let (Some(name), Some(id), Some(blob)) = (parts.next(), parts.next(), parts.next()) else {
            return Err(KeyError::Form);
        };
        if !good_name(name) || id.len() != 8 || !id.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f')) {
            return Err(KeyError::Form);
        }
        let id = u32::from_str_radix(id, 16).map_err(|_| KeyError::Form)?;
        let blob = BASE64.decode(blob).map_err(|_| KeyError::Form)?;
        let (&kind, key) = blob.split_first().ok_or(KeyError::Form)?;
        let algorithm = match kind {
            0x01 => Algorithm::Ed25519,
            0x04 => Algorithm::CosignatureV1,
            other => return Err(KeyError::Algorithm(other)),
        };
        let key: [u8; 32] = key.try_into().map_err(|_| KeyError::Form)?;
        let key = VerifyingKey::from_bytes(&key).map_err(|_| KeyError::Point)?;
        if key.is_weak() {
            return Err(KeyError::Point);
        }
        let parsed = Self::new(name.to_owned(), algorithm, key);
        if parsed.id == id { Ok(parsed) } else { Err(KeyError::Id) }
    }
}

/// A secret key with its name. `Debug` shows the public part.
pub struct Signer {
    key: SigningKey,
    public: VerifierKey,
}

impl fmt::Debug for Signer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Signer({:?})", self.public)
    }
}

impl Signer {
    /// The signer of `seed` under `name`, which must hold no white space and no '+'.
    pub fn new(name: String, algorithm: Algorithm, seed: &[u8; 32]) -> Self {
        debug_assert!(good_name(&name));
        let key = SigningKey::from_bytes(seed);
        let public = VerifierKey::new(name, algorithm, key.verifying_key());
        Self { key, public }
    }

    /// The public half.
    pub fn public(&self) -> &VerifierKey {
        &self.public
    }

    /// Plain Ed25519 over `message`.
    pub fn sign(&self, message: &[u8]) -> [u8; 64] {
        self.key.sign(message).to_bytes()
    }
}

/// The secret of a node's epoch and the keys derived from it.
pub struct NodeKeys {
    /// Signs the checkpoints of the node's own log.
    pub log: Signer,
    /// Cosigns what the node holds on disk.
    pub mirror: Signer,
    /// Identifies the node in the TLS handshake.
    pub link: Signer,
    link_seed: [u8; 32],
    /// Whose keys these are.
    pub node: LogId,
}

impl fmt::Debug for NodeKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "NodeKeys({})", self.node)
    }
}

impl NodeKeys {
    /// Derives the three keys of `node` from its secret (BLAKE3 key derivation, one context a role).
    pub fn derive(federation: &Federation, node: LogId, secret: &[u8; 32]) -> Self {
        let seed = |role: &str| blake3::derive_key(&format!("tally 2026-11 {role} key"), secret);
        let link_seed = seed("link");
        Self {
            log: Signer::new(federation.origin(node), Algorithm::Ed25519, &seed("log")),
            mirror: Signer::new(federation.mirror_name(node), Algorithm::CosignatureV1, &seed("mirror")),
            link: Signer::new(federation.link_name(node), Algorithm::Ed25519, &link_seed),
            link_seed,
            node,
        }
    }

    /// Ed25519 seed of the link key, for the TLS library.
    pub fn link_seed(&self) -> &[u8; 32] {
        &self.link_seed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PUBLISHED: &str = "example.com/foo+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k";

    #[test]
    fn published_key_reads_and_prints() {
        let k: VerifierKey = PUBLISHED.parse().unwrap();
        assert_eq!((k.name(), k.id(), k.algorithm()), ("example.com/foo", 0x530d_903a, Algorithm::Ed25519));
        assert_eq!(k.to_string(), PUBLISHED);
    }

    #[test]
    fn refusals_say_why() {
        let cases = [
            ("", KeyError::Form),
            ("example.com/foo+530d903a", KeyError::Form),
            ("exa mple+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k", KeyError::Form),
            ("example.com/foo+530D903A+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k", KeyError::Form),
            ("example.com/fop+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k", KeyError::Id),
            ("example.com/foo+530d903a+AukyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k", KeyError::Algorithm(2)),
        ];
        for (text, why) in cases {
            assert_eq!(text.parse::<VerifierKey>(), Err(why), "{text}");
        }
        // The neutral element is a point, and a key that would accept forgeries.
        let mut weak = vec![1, 1];
        weak.resize(33, 0);
        let text = format!("a+00000000+{}", BASE64.encode(weak));
        assert_eq!(text.parse::<VerifierKey>(), Err(KeyError::Point));
    }

    #[test]
    fn roles_have_different_keys() {
        let f = Federation::try_from("t.example".to_owned()).unwrap();
        let k = NodeKeys::derive(&f, "350102/e1".parse().unwrap(), &[7; 32]);
        assert_ne!(k.log.public().public(), k.mirror.public().public());
        assert_ne!(k.log.public().public(), k.link.public().public());
        let text = k.mirror.public().to_string();
        assert_eq!(&text.parse::<VerifierKey>().unwrap(), k.mirror.public());
    }
}
