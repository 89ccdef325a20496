//! Ed25519 keys of signed notes: verifier keys as text, signers, and the keys a node has.
//!
//! A node's key file holds one secret for each epoch. The keys of its roles are derived from it, because an Ed25519
//! cosignature does not name its cosigner's role: distinct keys per role are mandatory (c2sp.org/tlog-cosignature).
//! Secrets, seeds and signing keys are wiped when they are dropped.

use crate::{
    hash::sha256,
    ids::{Division, Federation, LogId, NotALog},
};
use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};
use ed25519_dalek::{Signature, Signer as _, SigningKey, VerifyingKey};
use std::{fmt, str::FromStr};
use zeroize::Zeroize as _;
pub use zeroize::Zeroizing;

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

    /// The same key under another name, and so with another id: a return log's key is the one that the charter lists for
    /// all return logs of the epoch, under the log's origin. `name` must hold no white space and no '+'.
    pub fn under(&self, name: String) -> Self {
        debug_assert!(good_name(&name));
        Self::new(name, self.algorithm, self.key)
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

/// A secret of 32 bytes, wiped when it is dropped.
pub type Secret = Zeroizing<[u8; 32]>;

/// Contexts of the key derivation (BLAKE3 `derive_key`), one a role. They are frozen: another text is another key.
mod context {
    pub(super) const RECORDS: &str = "tally v1 records log key";
    pub(super) const OPERATIONS: &str = "tally v1 operations log key";
    pub(super) const RETURNS: &str = "tally v1 return logs key";
    pub(super) const MIRROR: &str = "tally v1 mirror key";
    pub(super) const LINK: &str = "tally v1 link key";
    pub(super) const AUTHORITY: &str = "tally v1 authority key";
}

/// BLAKE3 `derive_key` of `context`; the key material is the secret and then `bound`, which names whose key it is.
fn derived(context: &str, secret: &[u8; 32], bound: &str) -> Secret {
    let mut hasher = blake3::Hasher::new_derive_key(context);
    hasher.update(secret).update(bound.as_bytes());
    let seed = Zeroizing::new(*hasher.finalize().as_bytes());
    hasher.zeroize();
    seed
}

/// The signer of charters, from its secret. A successor's key has the same name and another key id.
pub fn authority_signer(federation: &Federation, secret: &[u8; 32]) -> Signer {
    let name = federation.authority_name();
    let seed = derived(context::AUTHORITY, secret, &name);
    Signer::new(name, Algorithm::Ed25519, &seed)
}

/// The authority's public key of these bytes, under its name; `None`: they are no usable key.
pub fn authority_key(federation: &Federation, key: &[u8; 32]) -> Option<VerifierKey> {
    let key = VerifyingKey::from_bytes(key).ok().filter(|k| !k.is_weak())?;
    Some(VerifierKey::new(federation.authority_name(), Algorithm::Ed25519, key))
}

/// The keys of a node in one epoch, all derived from the epoch's one secret and bound to federation, division, epoch and
/// role: the same secret under another name gives other keys.
pub struct NodeKeys {
    /// Signs the checkpoints of the node's records log.
    pub log: Signer,
    /// Signs the checkpoints of the node's operations log.
    pub operations: Signer,
    /// Cosigns what the node holds on disk.
    pub mirror: Signer,
    /// Identifies the node in the TLS handshake.
    pub link: Signer,
    /// The key of all return logs, under the name by which the charter lists it.
    returns: VerifierKey,
    returns_seed: Secret,
    link_seed: Secret,
    federation: Federation,
    /// Whose keys these are: the epoch's records log.
    pub node: LogId,
}

impl fmt::Debug for NodeKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "NodeKeys({})", self.node)
    }
}

impl NodeKeys {
    /// Derives the keys of a node's epoch from its secret. `node` names division and epoch; its kind does not matter.
    pub fn derive(federation: &Federation, node: LogId, secret: &[u8; 32]) -> Self {
        let node = node.node();
        // The origin of the records log: no other federation, division or epoch has it.
        let bound = federation.origin(node);
        let seed = |context| derived(context, secret, &bound);
        let signer = |name, algorithm, context| Signer::new(name, algorithm, &seed(context));
        let (link_seed, returns_seed) = (seed(context::LINK), seed(context::RETURNS));
        let returns = Signer::new(federation.returns_name(node), Algorithm::Ed25519, &returns_seed);
        let operations = federation.origin(LogId::operations(node.division, node.epoch));
        Self {
            log: signer(bound.clone(), Algorithm::Ed25519, context::RECORDS),
            operations: signer(operations, Algorithm::Ed25519, context::OPERATIONS),
            mirror: signer(federation.mirror_name(node), Algorithm::CosignatureV1, context::MIRROR),
            link: Signer::new(federation.link_name(node), Algorithm::Ed25519, &link_seed),
            returns: returns.public().clone(),
            returns_seed,
            link_seed,
            federation: federation.clone(),
            node,
        }
    }

    /// Ed25519 seed of the link key, for the TLS library.
    pub fn link_seed(&self) -> &[u8; 32] {
        &self.link_seed
    }

    /// The public key of all return logs, as the charter lists it.
    pub fn returns(&self) -> &VerifierKey {
        &self.returns
    }

    /// Signs the checkpoints of the return log to `addressee`: the key of all return logs, under that log's origin.
    ///
    /// # Errors
    /// [`NotALog`] for a return log to oneself.
    pub fn return_log(&self, addressee: Division) -> Result<Signer, NotALog> {
        let log = LogId::to(self.node.division, self.node.epoch, addressee)?;
        Ok(Signer::new(self.federation.origin(log), Algorithm::Ed25519, &self.returns_seed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FROZEN: [&str; 5] = [
        "t.example/350102/e1+2b05f2d9+AehCIUD/hBf2SvGBuUaDYUxRWqlVhYiCwuWcL8n2SmwK",
        "t.example/350102/e1/ops+0c78be07+ASTq8fNZORliMV2MXbjz7zNEa2WfSVISKZfKji/XzGnO",
        "t.example/350102/e1/to+3cc6358e+AehAdMhxa2ZyXr84rEHX3BhV5xbePn5oz4/C1gGCEz+C",
        "t.example/350102/e1/mirror+8478c3b9+BJrm5mCXac3+CfnWrJ/5wAyfMIhrCh+RIqWs9cmy8FFL",
        "t.example/350102/e1/link+2c79ccc2+AYqRJv1SIPSuOK0MvY6WuBmo6EetJeHE0FJFoTyga9Vt",
    ];
    const FROZEN_AUTHORITY: &str = "t.example/authority+7681a280+AXQvjM95W6pteZEGaZYTTOFebsVwijBfigdxBWJYz3Ag";
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

    fn derive(federation: &str, node: &str, secret: u8) -> NodeKeys {
        let f = Federation::try_from(federation.to_owned()).unwrap();
        NodeKeys::derive(&f, node.parse().unwrap(), &[secret; 32])
    }

    fn all(k: &NodeKeys) -> Vec<VerifierKey> {
        let (log, operations) = (k.log.public().clone(), k.operations.public().clone());
        vec![log, operations, k.returns().clone(), k.mirror.public().clone(), k.link.public().clone()]
    }

    /// Names and keys are frozen: the charters of the first day list them.
    #[test]
    fn frozen_keys() {
        let keys = derive("t.example", "350102/e1", 7);
        let texts: Vec<_> = all(&keys).iter().map(ToString::to_string).collect();
        assert_eq!(texts, FROZEN);
        let f = Federation::try_from("t.example".to_owned()).unwrap();
        assert_eq!(authority_signer(&f, &[7; 32]).public().to_string(), FROZEN_AUTHORITY);
        for text in texts {
            assert_eq!(text.parse::<VerifierKey>().unwrap().to_string(), text);
        }
    }

    #[test]
    fn keys_are_bound_to_role_federation_division_epoch_and_secret() {
        let variants = [
            derive("t.example", "350102/e1", 7),
            derive("t.example", "350102/e1", 8),
            derive("t.example", "350102/e2", 7),
            derive("t.example", "350103/e1", 7),
            derive("u.example", "350102/e1", 7),
        ];
        let mut publics: Vec<_> = variants.iter().flat_map(all).map(|k| k.public()).collect();
        publics.sort_unstable();
        publics.dedup();
        assert_eq!(publics.len(), 25);
        // Any log of the epoch names the node.
        assert_eq!(all(&derive("t.example", "350102/e1/ops", 7)), all(&variants[0]));
    }

    #[test]
    fn a_return_log_has_the_key_under_its_origin() {
        let keys = derive("t.example", "350000/e1", 7);
        let county = Division::try_from(350_102).unwrap();
        let signer = keys.return_log(county).unwrap();
        let public = keys.returns().under("t.example/350000/e1/to/350102".into());
        assert_eq!(signer.public(), &public);
        assert_eq!(public.public(), keys.returns().public());
        assert_ne!(public.id(), keys.returns().id());
        assert!(public.verify(b"x", &signer.sign(b"x")));
        assert!(keys.return_log(keys.node.division).is_err());
    }
}
