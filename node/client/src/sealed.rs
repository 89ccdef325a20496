//! A secret sealed with a passphrase: Argon2id (RFC 9106) makes a key of it, ChaCha20-Poly1305 (RFC 8439) seals.
//!
//! The text is `argon2id,m=65536,t=3,p=1 <salt> <nonce and sealed secret>`, both in base64. What it costs to open stands in it, so
//! that later files may cost more; what this program is made to spend on a file has a bound. What stands before it in the file,
//! and the costs, are sealed with it. Files and modes must not be known here.

use argon2::{Algorithm, Argon2, Params, Version};
use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};
use ring::aead::{Aad, CHACHA20_POLY1305, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use tally_protocol::keys::{Secret, Zeroizing};

/// Memory of one guess, KiB; passes over it; lanes: the second recommendation of RFC 9106, 4, some 0.2 s.
const COSTS: (u32, u32, u32) = (64 << 10, 3, 1);
/// The most that a file may cost: 1 GiB, in KiB.
const MEMORY_MAX_KIB: u32 = 1 << 20;
/// Passes that a file may ask for.
const PASSES_MAX: u32 = 16;
/// Lanes that a file may ask for.
const LANES_MAX: u32 = 4;
/// Bytes of a salt.
const SALT: usize = 16;

/// Why a sealed secret is not opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NotOpened {
    /// It is none.
    Form,
    /// The passphrase is another one, or the text was changed.
    Passphrase,
}

fn key_of(passphrase: &[u8], salt: &[u8], (memory, passes, lanes): (u32, u32, u32)) -> Option<LessSafeKey> {
    let params = Params::new(memory, passes, lanes, Some(32)).ok()?;
    let mut key = Zeroizing::new([0; 32]);
    Argon2::new(Algorithm::Argon2id, Version::V0x13, params).hash_password_into(passphrase, salt, &mut *key).ok()?;
    Some(LessSafeKey::new(UnboundKey::new(&CHACHA20_POLY1305, &*key).ok()?))
}

fn named((memory, passes, lanes): (u32, u32, u32)) -> String {
    format!("argon2id,m={memory},t={passes},p={lanes}")
}

/// Seals a secret; `head` is what stands before it.
///
/// # Errors
/// What the system lacks: randomness, or memory.
pub(crate) fn seal(secret: &Secret, head: &str, passphrase: &[u8]) -> Result<String, String> {
    let (mut salt, mut nonce) = ([0; SALT], [0; NONCE_LEN]);
    let random = |bytes: &mut [u8]| getrandom::fill(bytes).map_err(|e| e.to_string());
    random(&mut salt)?;
    random(&mut nonce)?;
    let costs = named(COSTS);
    let key = key_of(passphrase, &salt, COSTS).ok_or("no memory to seal it")?;
    let mut sealed = Zeroizing::new(secret.to_vec());
    let tag = key
        .seal_in_place_separate_tag(
            Nonce::assume_unique_for_key(nonce),
            Aad::from(format!("{head}{costs}")),
            &mut sealed,
        )
        .map_err(|e| e.to_string())?;
    let bytes = [&nonce[..], &sealed, tag.as_ref()].concat();
    Ok(format!("{costs} {} {}", BASE64.encode(salt), BASE64.encode(bytes)))
}

/// Opens what [`seal`] has made.
///
/// # Errors
/// [`NotOpened`].
pub(crate) fn open(text: &str, head: &str, passphrase: &[u8]) -> Result<Secret, NotOpened> {
    let (costs, salt, bytes) = parts(text).ok_or(NotOpened::Form)?;
    let key = key_of(passphrase, &salt, costs).ok_or(NotOpened::Form)?;
    let (nonce, sealed) = bytes.split_first_chunk::<NONCE_LEN>().ok_or(NotOpened::Form)?;
    let mut sealed = Zeroizing::new(sealed.to_vec());
    let head = Aad::from(format!("{head}{}", named(costs)));
    let secret = key.open_in_place(Nonce::assume_unique_for_key(*nonce), head, &mut sealed);
    let secret = secret.map_err(|_| NotOpened::Passphrase)?;
    Ok(Zeroizing::new(<[u8; 32]>::try_from(&*secret).map_err(|_| NotOpened::Form)?))
}

/// Whether the text has the form of a sealed secret.
pub(crate) fn is_one(text: &str) -> bool {
    parts(text).is_some()
}

/// Costs, salt, and nonce with the sealed secret.
type Parts = ((u32, u32, u32), [u8; SALT], Vec<u8>);

fn parts(text: &str) -> Option<Parts> {
    let mut words = text.split(' ');
    let (costs, salt, sealed) = (words.next()?, words.next()?, words.next()?);
    let mut figures = costs.strip_prefix("argon2id,m=")?.split(',');
    let memory: u32 = figures.next()?.parse().ok()?;
    let passes: u32 = figures.next()?.strip_prefix("t=")?.parse().ok()?;
    let lanes: u32 = figures.next()?.strip_prefix("p=")?.parse().ok()?;
    let over = figures.next().is_some() || words.next().is_some();
    if over || memory > MEMORY_MAX_KIB || passes > PASSES_MAX || lanes > LANES_MAX {
        return None;
    }
    let bytes = BASE64.decode(sealed).ok()?;
    // A secret, its nonce, and the tag.
    (bytes.len() == NONCE_LEN + 32 + 16).then_some(())?;
    Some(((memory, passes, lanes), BASE64.decode(salt).ok()?.try_into().ok()?, bytes))
}
