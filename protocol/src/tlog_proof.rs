//! A proof that a log holds an entry, as a text of its own (c2sp.org/tlog-proof).
//!
//! ```text
//! c2sp.org/tlog-proof@v1
//! index 5
//! <base64 hash>            leaf side first
//!
//! <signed checkpoint with its cosignatures>
//! ```

#![warn(clippy::indexing_slicing, clippy::arithmetic_side_effects)]

use crate::{
    hash::Hash,
    limits::{NOTE_BYTES_MAX, PROOF_HASHES_MAX},
};
use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};

const FIRST_LINE: &str = "c2sp.org/tlog-proof@v1";
/// Longest proof in bytes: first line, index, hashes of 44 characters, blank line, note.
pub const TLOG_PROOF_BYTES_MAX: usize = 64 + PROOF_HASHES_MAX * 45 + NOTE_BYTES_MAX;

/// A proof as it was read or made. Nothing is verified.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlogProof {
    /// Index of the entry.
    pub index: u64,
    /// Inclusion proof, leaf side first.
    pub path: Vec<Hash>,
    /// Signed checkpoint.
    pub note: String,
}

/// Text that is not a proof of the form that is written here.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a tlog-proof: {0}")]
pub struct NotAProof(&'static str);

/// One hash a line, in base64.
pub fn hash_lines(hashes: &[Hash]) -> String {
    hashes.iter().map(|h| BASE64.encode(h.0) + "\n").collect()
}

/// Reads what [`hash_lines`] writes, at most [`PROOF_HASHES_MAX`] of them.
///
/// # Errors
/// [`NotAProof`].
pub fn parse_hash_lines(text: &str) -> Result<Vec<Hash>, NotAProof> {
    let mut hashes = Vec::new();
    for line in text.split_inclusive('\n') {
        if hashes.len() == PROOF_HASHES_MAX {
            return Err(NotAProof("too many hashes"));
        }
        let hash = line.strip_suffix('\n').and_then(|l| BASE64.decode(l).ok()).and_then(|b| b.try_into().ok());
        hashes.push(Hash(hash.ok_or(NotAProof("a line that is no hash in base64"))?));
    }
    Ok(hashes)
}

impl TlogProof {
    /// The proof's text.
    pub fn text(&self) -> String {
        format!("{FIRST_LINE}\nindex {}\n{}\n{}", self.index, hash_lines(&self.path), self.note)
    }

    /// Reads what [`TlogProof::text`] writes, and nothing else: no `extra` line, and one spelling of the index.
    ///
    /// # Errors
    /// [`NotAProof`].
    pub fn parse(text: &str) -> Result<Self, NotAProof> {
        if text.len() > TLOG_PROOF_BYTES_MAX {
            return Err(NotAProof("too long"));
        }
        let rest = text.strip_prefix(FIRST_LINE).and_then(|r| r.strip_prefix("\nindex "));
        let (index, rest) = rest.and_then(|r| r.split_once('\n')).ok_or(NotAProof("its first two lines"))?;
        let decimal = index.bytes().all(|b| b.is_ascii_digit()) && (index == "0" || !index.starts_with('0'));
        let index = decimal.then(|| index.parse().ok()).flatten().ok_or(NotAProof("the index"))?;
        let (hashes, note) = match rest.strip_prefix('\n') {
            Some(note) => ("", note),
            None => {
                let (hashes, note) = rest.split_once("\n\n").ok_or(NotAProof("no blank line before the checkpoint"))?;
                (&rest[..=hashes.len()], note)
            }
        };
        Ok(Self { index, path: parse_hash_lines(hashes)?, note: note.to_owned() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hash::sha256;

    #[test]
    fn round_trip_and_refusals() {
        for n in [0, 1, 3] {
            let path: Vec<_> = (0..n).map(|i| sha256(&[&[i]])).collect();
            let proof = TlogProof { index: 7, path, note: "o\n9\nroot\n\n— o sig\n".into() };
            let text = proof.text();
            assert_eq!(TlogProof::parse(&text), Ok(proof));
            for bad in [
                text.replace("index 7", "index 07"),
                text.replace("index 7", "index -7"),
                text.replace("@v1", "@v2"),
                text.replace("index 7\n", "index 7\nAAAA\n"),
                text.replace("index 7\n", &format!("index 7\n{}", hash_lines(&[Hash([0; 32]); 64]))),
                text.replacen("\n\n", "\n", 1),
                "x".repeat(TLOG_PROOF_BYTES_MAX + 1),
            ] {
                assert!(TlogProof::parse(&bad).is_err(), "{bad}");
            }
        }
    }
}
