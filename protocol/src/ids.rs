//! Names of divisions, epochs and logs.

use crate::limits::FEDERATION_BYTES_MAX;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};
use std::{fmt, str::FromStr};

/// A division code of GB/T 2260: six digits, the first not zero. Who a division's parent is, only the charter says.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Division(u32);

/// A number or text that is not a division code.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a division code: six digits are needed, such as 350102")]
pub struct NotADivision(pub String);

impl TryFrom<u32> for Division {
    type Error = NotADivision;
    fn try_from(code: u32) -> Result<Self, NotADivision> {
        if (100_000..=999_999).contains(&code) { Ok(Self(code)) } else { Err(NotADivision(code.to_string())) }
    }
}

impl FromStr for Division {
    type Err = NotADivision;
    fn from_str(s: &str) -> Result<Self, NotADivision> {
        let digits = s.len() == 6 && s.bytes().all(|b| b.is_ascii_digit());
        let code = digits.then(|| s.parse().ok()).flatten();
        code.and_then(|c: u32| Self::try_from(c).ok()).ok_or_else(|| NotADivision(s.chars().take(40).collect()))
    }
}

impl Division {
    /// The code as a number, 100000 to 999999.
    pub fn code(self) -> u32 {
        self.0
    }
}

impl fmt::Display for Division {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:06}", self.0)
    }
}

impl fmt::Debug for Division {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

impl Serialize for Division {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        if s.is_human_readable() { s.collect_str(self) } else { self.0.serialize(s) }
    }
}

impl<'de> Deserialize<'de> for Division {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        if d.is_human_readable() {
            String::deserialize(d)?.parse().map_err(D::Error::custom)
        } else {
            Self::try_from(u32::deserialize(d)?).map_err(D::Error::custom)
        }
    }
}

/// One division's log in one epoch. The origin of a log is this, with the federation's name before it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct LogId {
    /// The node that writes the log.
    pub division: Division,
    /// Counts from 1; an epoch has one key.
    pub epoch: u32,
}

impl fmt::Display for LogId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/e{}", self.division, self.epoch)
    }
}

impl fmt::Debug for LogId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

/// Text that does not name a log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a log: <division>/e<epoch> is needed, such as 350102/e1")]
pub struct NotALog;

impl FromStr for LogId {
    type Err = NotALog;
    /// Reads `350102/e1`; a federation name before it (a whole origin) is passed over.
    fn from_str(s: &str) -> Result<Self, NotALog> {
        let (rest, epoch) = s.rsplit_once("/e").ok_or(NotALog)?;
        let division = rest.rsplit('/').next().and_then(|d| d.parse().ok()).ok_or(NotALog)?;
        let canonical = epoch.bytes().all(|b| b.is_ascii_digit()) && !epoch.starts_with('0');
        let epoch = canonical.then(|| epoch.parse().ok()).flatten().ok_or(NotALog)?;
        Ok(Self { division, epoch })
    }
}

/// The federation's name: starts every origin and key name, so a log of one federation is never taken for another's.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Federation(String);

/// A federation name that cannot stand in a checkpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "not a federation name: 1 to {FEDERATION_BYTES_MAX} letters, digits, '.', '-' or '/', such as credit.fj.example"
)]
pub struct NotAFederation;

impl TryFrom<String> for Federation {
    type Error = NotAFederation;
    fn try_from(s: String) -> Result<Self, NotAFederation> {
        let plain = s.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'/'));
        let ends = s.starts_with('/') || s.ends_with('/');
        if plain && !ends && (1..=FEDERATION_BYTES_MAX).contains(&s.len()) { Ok(Self(s)) } else { Err(NotAFederation) }
    }
}

impl From<Federation> for String {
    fn from(f: Federation) -> Self {
        f.0
    }
}

impl fmt::Display for Federation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Federation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Federation {
    /// First line of the log's checkpoints, and the name of the key that signs them (c2sp.org/tlog-checkpoint).
    pub fn origin(&self, log: LogId) -> String {
        format!("{self}/{log}")
    }

    /// Name of the key with which a node says "I hold this on disk".
    pub fn mirror_name(&self, node: LogId) -> String {
        format!("{self}/{node}/mirror")
    }

    /// Name of the key that identifies a node on a link.
    pub fn link_name(&self, node: LogId) -> String {
        format!("{self}/{node}/link")
    }

    /// Name of the key that signs the charter.
    pub fn authority_name(&self) -> String {
        format!("{self}/authority")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_parse_and_print() {
        let log: LogId = "350102/e1".parse().unwrap();
        assert_eq!(log.to_string(), "350102/e1");
        let f = Federation::try_from("credit.fj.example".to_owned()).unwrap();
        assert_eq!(f.origin(log), "credit.fj.example/350102/e1");
        assert_eq!(f.origin(log).parse(), Ok(log));
        for bad in ["35010/e1", "350102/e0", "350102/e01", "350102/e", "350102", "350102/e-1", "x/e1"] {
            assert!(bad.parse::<LogId>().is_err(), "{bad}");
        }
        for bad in ["", "a b", "a+b", "/a", "福建"] {
            assert!(Federation::try_from(bad.to_owned()).is_err(), "{bad}");
        }
        for bad in ["035010", "+35010", "3501022", "三五零一零二"] {
            assert!(bad.parse::<Division>().is_err(), "{bad}");
        }
    }
}
