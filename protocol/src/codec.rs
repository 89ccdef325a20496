//! The one place that knows bincode: frames of the wire, the journal and the index.
//!
//! Nothing signed depends on this encoding. bincode 2.0.1 is the last real release of the crate, so the bytes are
//! frozen by golden tests; a successor has only to pass them.

#![warn(clippy::indexing_slicing, clippy::arithmetic_side_effects)]

use bincode::config::{Configuration, Limit, LittleEndian, Varint, standard};
use serde::{Serialize, de::DeserializeOwned};

/// Bytes that are not the value that was expected.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CodecError {
    /// More bytes than the stated bound; nothing was read.
    #[error("{bytes} bytes, {limit} are allowed")]
    TooLong {
        /// Bytes that were offered.
        bytes: usize,
        /// The bound.
        limit: usize,
    },
    /// Truncated, or of another form.
    #[error("malformed: {0}")]
    Malformed(String),
    /// Bytes are left over.
    #[error("{0} bytes too many")]
    Trailing(usize),
}

fn limited<const N: usize>() -> Configuration<LittleEndian, Varint, Limit<N>> {
    standard().with_limit::<N>()
}

/// Encodes a value of our own.
pub fn encode<T: Serialize>(value: &T) -> Vec<u8> {
    bincode::serde::encode_to_vec(value, standard()).expect("encoding our own types into memory cannot fail")
}

/// Decodes a value from the start of `bytes`; also answers what follows it. Allocates at most in
/// proportion to `N`, whatever lengths the bytes claim.
///
/// # Errors
/// [`CodecError::Malformed`].
pub fn decode_prefix<T: DeserializeOwned, const N: usize>(bytes: &[u8]) -> Result<(T, &[u8]), CodecError> {
    let head = bytes.get(..N).unwrap_or(bytes);
    let (value, used) = bincode::serde::decode_from_slice(head, limited::<N>())
        .map_err(|e: bincode::error::DecodeError| CodecError::Malformed(e.to_string()))?;
    Ok((value, bytes.get(used..).unwrap_or_default()))
}

/// Decodes a value that takes all of `bytes`, at most `N`.
///
/// # Errors
/// Any [`CodecError`].
pub fn decode<T: DeserializeOwned, const N: usize>(bytes: &[u8]) -> Result<T, CodecError> {
    if bytes.len() > N {
        return Err(CodecError::TooLong { bytes: bytes.len(), limit: N });
    }
    let (value, rest) = decode_prefix::<T, N>(bytes)?;
    if rest.is_empty() { Ok(value) } else { Err(CodecError::Trailing(rest.len())) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frozen_bytes() {
        let value = (300_u64, "合符".to_owned(), vec![Some(1_u8), None], -2_i64, [7_u8; 3]);
        let bytes = encode(&value);
        assert_eq!(bytes, b"\xfb\x2c\x01\x06\xe5\x90\x88\xe7\xac\xa6\x02\x01\x01\x00\x03\x07\x07\x07");
        assert_eq!(decode::<(u64, String, Vec<Option<u8>>, i64, [u8; 3]), 64>(&bytes), Ok(value));
    }

    #[test]
    fn bounds_hold_before_allocation() {
        // A length of 2^60 in a few bytes.
        let bomb = b"\xfd\x00\x00\x00\x00\x00\x00\x00\x10rest";
        assert!(matches!(decode::<String, 1_000>(bomb), Err(CodecError::Malformed(_))));
        assert!(matches!(decode::<Vec<u64>, 1_000>(bomb), Err(CodecError::Malformed(_))));
        assert_eq!(decode::<u8, 1>(b"ab"), Err(CodecError::TooLong { bytes: 2, limit: 1 }));
        assert_eq!(decode::<u8, 2>(b"ab"), Err(CodecError::Trailing(1)));
        assert!(matches!(decode::<u64, 9>(b"\xfb"), Err(CodecError::Malformed(_))));
    }
}
