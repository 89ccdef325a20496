//! Names of divisions, epochs and logs.

#![warn(clippy::indexing_slicing, clippy::arithmetic_side_effects)]

use crate::limits::FEDERATION_BYTES_MAX;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};
use std::{fmt, ops::RangeInclusive, str::FromStr};

/// The HTTP header of the admin socket that says which node is meant, and in answers which node answers: its division.
pub const NODE_HEADER: &str = "tally-node";

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

/// What a log is for. The order is that of the logs of one epoch: records first.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum LogKind {
    /// The node's records.
    Records,
    /// Who changed or used what at the node (R-73, R-75).
    Operations,
    /// What the node tells one node below it, the addressee.
    Return(Division),
}

/// One log of one division in one epoch. The origin of a log is this, with the federation's name before it.
///
/// The order is that of division, epoch and kind, so the logs of a division lie together ([`LogId::range_of`]). The
/// same type names a node in one of its epochs (who holds, who calls): that is then the epoch's records log.
///
/// ```
/// use tally_protocol::ids::{LogId, LogKind};
///
/// let log: LogId = "350000/e2/to/350102".parse()?;
/// assert_eq!((log.division.code(), log.epoch), (350_000, 2));
/// assert_eq!(log.kind(), LogKind::Return("350102".parse()?));
/// assert_eq!(log.node().to_string(), "350000/e2");
/// assert_eq!(LogId::from_bytes(&log.to_bytes()), Ok(log));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LogId {
    /// The node that writes the log.
    pub division: Division,
    /// Counts from 1; an epoch has one secret.
    pub epoch: u32,
    kind: LogKind,
}

/// Bytes of a log's binary form.
pub const LOG_ID_BYTES: usize = 10;

impl LogId {
    /// The records log of a division's epoch; also the name of the node in that epoch.
    pub fn records(division: Division, epoch: u32) -> Self {
        Self { division, epoch, kind: LogKind::Records }
    }

    /// The operations log of a division's epoch.
    pub fn operations(division: Division, epoch: u32) -> Self {
        Self { division, epoch, kind: LogKind::Operations }
    }

    /// The return log of a division's epoch to one node below it.
    ///
    /// # Errors
    /// [`NotALog`] for a return log to the division itself. Whether the addressee lies below, only the charter says.
    pub fn to(division: Division, epoch: u32, addressee: Division) -> Result<Self, NotALog> {
        if addressee == division {
            Err(NotALog)
        } else {
            Ok(Self { division, epoch, kind: LogKind::Return(addressee) })
        }
    }

    /// What the log is for.
    pub fn kind(self) -> LogKind {
        self.kind
    }

    /// The node that writes the log, in its epoch: the name of the epoch's records log.
    pub fn node(self) -> Self {
        Self::records(self.division, self.epoch)
    }

    /// All logs of a division, of any epoch and kind.
    pub fn range_of(division: Division) -> RangeInclusive<Self> {
        let last = Self { division, epoch: u32::MAX, kind: LogKind::Return(Division(999_999)) };
        Self::records(division, 0)..=last
    }

    /// The binary form, in the wire, the journal and the index: three bytes of division, four of epoch, three of kind,
    /// all big-endian, so that bytes sort as logs do. Kind is 0 for records, 1 for operations, and the addressee's
    /// division for a return log.
    pub fn to_bytes(self) -> [u8; LOG_ID_BYTES] {
        let kind = match self.kind {
            LogKind::Records => 0,
            LogKind::Operations => 1,
            LogKind::Return(addressee) => addressee.0,
        };
        let ([_, d0, d1, d2], [e0, e1, e2, e3]) = (self.division.0.to_be_bytes(), self.epoch.to_be_bytes());
        let [_, k0, k1, k2] = kind.to_be_bytes();
        [d0, d1, d2, e0, e1, e2, e3, k0, k1, k2]
    }

    /// Reads what [`LogId::to_bytes`] writes.
    ///
    /// # Errors
    /// [`NotALog`] for a division that is none, epoch 0, a kind that is none, or a return log to oneself.
    pub fn from_bytes(bytes: &[u8; LOG_ID_BYTES]) -> Result<Self, NotALog> {
        let [d0, d1, d2, e0, e1, e2, e3, k0, k1, k2] = *bytes;
        let code = |a, b, c| Division::try_from(u32::from_be_bytes([0, a, b, c])).map_err(|_| NotALog);
        let (division, epoch) = (code(d0, d1, d2)?, u32::from_be_bytes([e0, e1, e2, e3]));
        match [k0, k1, k2] {
            _ if epoch == 0 => Err(NotALog),
            [0, 0, 0] => Ok(Self::records(division, epoch)),
            [0, 0, 1] => Ok(Self::operations(division, epoch)),
            [a, b, c] => Self::to(division, epoch, code(a, b, c)?),
        }
    }

    /// Splits a name into what stands before the log, without its slash, and the log.
    fn split(name: &str) -> Result<(Option<&str>, Self), NotALog> {
        let mut at = 0_usize;
        // The first segment of six digits is the division: a federation's name has none.
        let division = name.split('/').find(|part| {
            let six = is_six_digits(part);
            if !six {
                at = at.saturating_add(part.len()).saturating_add(1);
            }
            six
        });
        let division = division.ok_or(NotALog)?;
        let before = at.checked_sub(1).and_then(|slash| name.get(..slash));
        let rest = name.get(at..).and_then(|r| r.strip_prefix(division)?.strip_prefix("/e")).ok_or(NotALog)?;
        let division: Division = division.parse().map_err(|_| NotALog)?;
        let (epoch, kind) = rest.split_once('/').map_or((rest, None), |(e, k)| (e, Some(k)));
        let canonical = epoch.bytes().all(|b| b.is_ascii_digit()) && !epoch.starts_with('0');
        let epoch: u32 = canonical.then(|| epoch.parse().ok()).flatten().ok_or(NotALog)?;
        let log = match kind {
            None => Self::records(division, epoch),
            Some("ops") => Self::operations(division, epoch),
            Some(to) => {
                let addressee = to.strip_prefix("to/").and_then(|d| d.parse().ok()).ok_or(NotALog)?;
                Self::to(division, epoch, addressee)?
            }
        };
        Ok((before, log))
    }
}

/// Whether a part of a name is exactly six digits, as the codes of divisions are.
fn is_six_digits(part: &str) -> bool {
    part.len() == 6 && part.bytes().all(|b| b.is_ascii_digit())
}

impl fmt::Display for LogId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/e{}", self.division, self.epoch)?;
        match self.kind {
            LogKind::Records => Ok(()),
            LogKind::Operations => f.write_str("/ops"),
            LogKind::Return(addressee) => write!(f, "/to/{addressee}"),
        }
    }
}

impl fmt::Debug for LogId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

/// Text or bytes that do not name a log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a log: <division>/e<epoch> is needed, such as 350102/e1, with /ops or /to/<division> behind it or not")]
pub struct NotALog;

impl FromStr for LogId {
    type Err = NotALog;
    /// Reads `350102/e1`, `350102/e1/ops` or `350000/e1/to/350102`; a federation's name before it (a whole origin) is
    /// passed over. Only canonical forms are read.
    fn from_str(s: &str) -> Result<Self, NotALog> {
        let (before, log) = Self::split(s)?;
        match before {
            Some(federation) if !Federation::is_name(federation) => Err(NotALog),
            _ => Ok(log),
        }
    }
}

impl Serialize for LogId {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        if s.is_human_readable() { s.collect_str(self) } else { self.to_bytes().serialize(s) }
    }
}

impl<'de> Deserialize<'de> for LogId {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        if d.is_human_readable() {
            String::deserialize(d)?.parse().map_err(D::Error::custom)
        } else {
            Self::from_bytes(&<[u8; LOG_ID_BYTES]>::deserialize(d)?).map_err(D::Error::custom)
        }
    }
}

/// Reads the name of a node in its epoch (`#[serde(deserialize_with = "node_epoch")]`).
///
/// # Errors
/// The deserializer's, also for the name of another log than the epoch's records log.
pub fn node_epoch<'de, D: Deserializer<'de>>(d: D) -> Result<LogId, D::Error> {
    let log = LogId::deserialize(d)?;
    if log.kind == LogKind::Records { Ok(log) } else { Err(D::Error::custom("a log stands where a node should")) }
}

/// The federation's name: starts every origin and key name, so a log of one federation is never taken for another's.
/// No part of it between slashes is exactly six digits, so in an origin the first such part is the division.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Federation(String);

/// A federation name that cannot stand in a checkpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "not a federation name: 1 to {FEDERATION_BYTES_MAX} letters, digits, '.', '-' or '/', such as credit.fj.example; \
     no part between '/' may be exactly six digits, as divisions are"
)]
pub struct NotAFederation;

impl TryFrom<String> for Federation {
    type Error = NotAFederation;
    fn try_from(s: String) -> Result<Self, NotAFederation> {
        if Self::is_name(&s) { Ok(Self(s)) } else { Err(NotAFederation) }
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
    fn is_name(s: &str) -> bool {
        let plain = s.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'/'));
        let ends = s.starts_with('/') || s.ends_with('/');
        plain && !ends && (1..=FEDERATION_BYTES_MAX).contains(&s.len()) && !s.split('/').any(is_six_digits)
    }

    /// First line of the log's checkpoints, and the name of the key that signs them (c2sp.org/tlog-checkpoint).
    ///
    /// ```
    /// use tally_protocol::ids::Federation;
    ///
    /// let federation = Federation::try_from("credit.fj.example".to_owned())?;
    /// let origin = federation.origin("350102/e1".parse()?);
    /// assert_eq!(origin, "credit.fj.example/350102/e1");
    /// assert_eq!(Federation::of_origin(&origin)?, (federation, "350102/e1".parse()?));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn origin(&self, log: LogId) -> String {
        format!("{self}/{log}")
    }

    /// Reads a whole origin of any federation.
    ///
    /// # Errors
    /// [`NotALog`] for what [`Federation::origin`] never writes.
    pub fn of_origin(origin: &str) -> Result<(Self, LogId), NotALog> {
        let (before, log) = LogId::split(origin)?;
        let federation = before.and_then(|f| Self::try_from(f.to_owned()).ok()).ok_or(NotALog)?;
        Ok((federation, log))
    }

    /// Name of the key with which a node says "I hold this on disk". Only the log's division and epoch count.
    pub fn mirror_name(&self, node: LogId) -> String {
        format!("{self}/{}/mirror", node.node())
    }

    /// Name of the key that identifies a node on a link. Only the log's division and epoch count.
    pub fn link_name(&self, node: LogId) -> String {
        format!("{self}/{}/link", node.node())
    }

    /// Name under which the charter lists the key of all return logs of an epoch. Each of them has the key under its
    /// own origin ([`crate::keys::VerifierKey::under`]). Only the log's division and epoch count.
    pub fn returns_name(&self, node: LogId) -> String {
        format!("{self}/{}/to", node.node())
    }

    /// Name of the key that signs the charter.
    pub fn authority_name(&self) -> String {
        format!("{self}/authority")
    }
}

#[cfg(test)]
mod tests;
