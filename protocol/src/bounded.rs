//! Fields with a bound: what is longer than the bound is refused while it is decoded.
//!
//! For `#[serde(deserialize_with = "bounded::text::<_, 64>")]` and the like. The bound of the whole message limits what
//! is allocated before; these limit what a single field may take of it.

#![warn(clippy::indexing_slicing, clippy::arithmetic_side_effects)]

use crate::tame::tame;
use serde::{
    Deserialize, Deserializer,
    de::{Error as _, SeqAccess, Visitor},
};
use std::{fmt, marker::PhantomData};

fn too_long<E: serde::de::Error>(found: usize, most: usize, what: &str) -> E {
    E::custom(format_args!("{found} {what}, at most {most} are allowed"))
}

/// A text of at most `N` bytes.
///
/// # Errors
/// The deserializer's, also for a longer text.
pub fn text<'de, D: Deserializer<'de>, const N: usize>(d: D) -> Result<String, D::Error> {
    let text = String::deserialize(d)?;
    if text.len() <= N { Ok(text) } else { Err(too_long(text.len(), N, "bytes of text")) }
}

/// `K` texts of at most `N` bytes each.
///
/// # Errors
/// The deserializer's, also for a longer text.
pub fn texts<'de, D: Deserializer<'de>, const K: usize, const N: usize>(d: D) -> Result<[String; K], D::Error>
where
    [String; K]: Deserialize<'de>,
{
    let texts = <[String; K]>::deserialize(d)?;
    match texts.iter().map(String::len).max() {
        Some(longest) if longest > N => Err(too_long(longest, N, "bytes of text")),
        _ => Ok(texts),
    }
}

/// A list of at most `N` values. A longer one is refused at its stated length, before anything is allocated for it.
///
/// # Errors
/// The deserializer's, also for a longer list.
pub fn list<'de, D: Deserializer<'de>, T: Deserialize<'de>, const N: usize>(d: D) -> Result<Vec<T>, D::Error> {
    struct Bounded<T, const N: usize>(PhantomData<T>);

    impl<'de, T: Deserialize<'de>, const N: usize> Visitor<'de> for Bounded<T, N> {
        type Value = Vec<T>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            write!(f, "a list of at most {N}")
        }

        fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Vec<T>, A::Error> {
            let stated = list.size_hint().unwrap_or(0);
            if stated > N {
                return Err(too_long(stated, N, "values"));
            }
            // What is stated is not there yet: room comes as the values do.
            let mut values = Vec::with_capacity(stated.min(64));
            while let Some(value) = list.next_element()? {
                if values.len() == N {
                    return Err(A::Error::custom(format_args!("more than {N} values")));
                }
                values.push(value);
            }
            Ok(values)
        }
    }

    d.deserialize_seq(Bounded::<T, N>(PhantomData))
}

/// As much of `text` as `most` bytes hold, cut between two characters.
pub fn cut(text: &str, most: usize) -> &str {
    &text[..text.floor_char_boundary(most)]
}

/// A text for people: what is longer than [`REASON_BYTES_MAX`] is cut when it is sent and refused when it arrives.
/// A text for people as it is kept: with nothing that a terminal obeys, and not longer than it may be passed on.
fn tamed(text: &str, max: usize) -> String {
    cut(&tame(text), max).to_owned()
}

/// For `#[serde(with = "bounded::reason")]`: [`tame`]d when it is read.
///
/// [`REASON_BYTES_MAX`]: crate::limits::REASON_BYTES_MAX
pub mod reason {
    use crate::limits::REASON_BYTES_MAX;
    use serde::{Deserializer, Serializer};

    /// Writes as much as may be sent.
    ///
    /// # Errors
    /// The serializer's.
    pub fn serialize<S: Serializer>(text: &str, s: S) -> Result<S::Ok, S::Error> {
        s.serialize_str(super::cut(text, REASON_BYTES_MAX))
    }

    /// Reads a text that is not longer than may be sent.
    ///
    /// # Errors
    /// The deserializer's, also for a longer text.
    pub fn deserialize<'de, D: Deserializer<'de>>(d: D) -> Result<String, D::Error> {
        Ok(super::tamed(&super::text::<D, REASON_BYTES_MAX>(d)?, REASON_BYTES_MAX))
    }
}

/// Name and release of a software: like [`reason`], with [`SOFTWARE_BYTES_MAX`].
///
/// [`SOFTWARE_BYTES_MAX`]: crate::limits::SOFTWARE_BYTES_MAX
pub mod software {
    use crate::limits::SOFTWARE_BYTES_MAX;
    use serde::{Deserializer, Serializer};

    /// Writes as much as may be sent.
    ///
    /// # Errors
    /// The serializer's.
    pub fn serialize<S: Serializer>(text: &str, s: S) -> Result<S::Ok, S::Error> {
        s.serialize_str(super::cut(text, SOFTWARE_BYTES_MAX))
    }

    /// Reads a text that is not longer than may be sent.
    ///
    /// # Errors
    /// The deserializer's, also for a longer text.
    pub fn deserialize<'de, D: Deserializer<'de>>(d: D) -> Result<String, D::Error> {
        Ok(super::tamed(&super::text::<D, SOFTWARE_BYTES_MAX>(d)?, SOFTWARE_BYTES_MAX))
    }
}

/// The same for one that may not be known.
pub mod software_if_known {
    use crate::limits::SOFTWARE_BYTES_MAX;
    use serde::{Deserialize, Deserializer, Serialize as _, Serializer};

    #[derive(Deserialize)]
    struct Software(#[serde(with = "super::software")] String);

    /// Writes as much as may be sent.
    ///
    /// # Errors
    /// The serializer's.
    pub fn serialize<S: Serializer>(text: &Option<String>, s: S) -> Result<S::Ok, S::Error> {
        text.as_deref().map(|t| super::cut(t, SOFTWARE_BYTES_MAX)).serialize(s)
    }

    /// Reads a text that is not longer than may be sent.
    ///
    /// # Errors
    /// The deserializer's, also for a longer text.
    pub fn deserialize<'de, D: Deserializer<'de>>(d: D) -> Result<Option<String>, D::Error> {
        Ok(Option::<Software>::deserialize(d)?.map(|s| s.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec;
    use serde::Serialize;

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct Sample {
        #[serde(deserialize_with = "text::<_, 3>")]
        text: String,
        #[serde(deserialize_with = "texts::<_, 2, 3>")]
        texts: [String; 2],
        #[serde(deserialize_with = "list::<_, _, 2>")]
        list: Vec<u16>,
        #[serde(with = "reason")]
        reason: String,
        #[serde(with = "software_if_known")]
        software: Option<String>,
    }

    fn sample(text: &str, second: &str, list: usize) -> Sample {
        let texts = ["a".into(), second.into()];
        Sample { text: text.into(), texts, list: vec![7; list], reason: "r".into(), software: None }
    }

    #[test]
    fn bounds_are_kept() {
        let read = |s: &Sample| codec::decode::<Sample, 4_096>(&codec::encode(s));
        for good in [sample("abc", "abc", 2), sample("", "", 0)] {
            assert_eq!(read(&good), Ok(good));
        }
        for bad in [sample("abcd", "", 0), sample("合符", "", 0), sample("", "abcd", 0), sample("", "", 3)] {
            assert!(read(&bad).is_err(), "{bad:?}");
        }
        // 2^60 values in a few bytes.
        let bomb = b"\0\0\0\xfd\0\0\0\0\0\0\0\x10";
        assert!(codec::decode::<Sample, 4_096>(bomb).is_err());
        let json = serde_json::to_string(&sample("", "", 3)).unwrap();
        assert!(serde_json::from_str::<Sample>(&json).is_err());
    }

    #[test]
    fn texts_for_people_are_cut_where_they_are_sent() {
        use crate::limits::{REASON_BYTES_MAX, SOFTWARE_BYTES_MAX};
        let long = "名".repeat(1_000);
        let sent = Sample { reason: long.clone(), software: Some(long), ..sample("", "", 0) };
        let read = codec::decode::<Sample, 4_096>(&codec::encode(&sent)).unwrap();
        assert_eq!(read.reason, "名".repeat(REASON_BYTES_MAX / 3));
        assert_eq!(read.software, Some("名".repeat(SOFTWARE_BYTES_MAX / 3)));
        // What a terminal obeys is written out where it comes in, and is then not longer than it may be passed on.
        let wild = "\u{1b}".repeat(SOFTWARE_BYTES_MAX);
        let sent = Sample { reason: "a\nb\u{202e}".into(), software: Some(wild), ..sample("", "", 0) };
        let read = codec::decode::<Sample, 4_096>(&codec::encode(&sent)).unwrap();
        assert_eq!(read.reason, "a\\nb\\u202e");
        assert!(read.software.is_some_and(|s| s.len() <= SOFTWARE_BYTES_MAX && s.starts_with("\\u001b")));
        // Who does not cut is refused.
        let raw = |reason: usize, software: usize| {
            let (reason, software) = ("r".repeat(reason), Some("s".repeat(software)));
            let bytes = codec::encode(&("", ["", ""], Vec::<u16>::new(), reason, software));
            codec::decode::<Sample, 4_096>(&bytes).is_ok()
        };
        assert!(raw(REASON_BYTES_MAX, SOFTWARE_BYTES_MAX));
        assert!(!raw(REASON_BYTES_MAX + 1, 0) && !raw(0, SOFTWARE_BYTES_MAX + 1));
    }
}
