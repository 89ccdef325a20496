//! The division digest: one value for everything held of a division and those below it.
//!
//! Logs fold into divisions, counties into cities, cities into the province. Two neighbours that hold the same
//! bytes have the same digest; where digests differ, the parts show where. BLAKE3: local work, nothing signed.

use crate::{hash::Hash, ids::Division};

/// A log's part: its head.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogPart<'a> {
    /// Origin line.
    pub origin: &'a str,
    /// Records.
    pub size: u64,
    /// Root at that size.
    pub root: Hash,
}

/// Folds a division's own logs and its children's digests. Order of the arguments does not matter; empty logs and
/// empty divisions do not count, so "nothing yet" and "not there" are equal. `None`: nothing is held.
pub fn fold(division: Division, logs: &[LogPart<'_>], children: &[(Division, Option<Hash>)]) -> Option<Hash> {
    let mut logs: Vec<_> = logs.iter().filter(|l| l.size > 0).collect();
    let mut children: Vec<_> = children.iter().filter_map(|(d, h)| h.map(|h| (*d, h))).collect();
    if logs.is_empty() && children.is_empty() {
        return None;
    }
    logs.sort_by_key(|l| l.origin);
    children.sort();
    let mut h = blake3::Hasher::new_derive_key("tally v1 division digest");
    h.update(&division.code().to_be_bytes());
    h.update(&(logs.len() as u64).to_be_bytes());
    for l in logs {
        h.update(&(l.origin.len() as u64).to_be_bytes());
        h.update(l.origin.as_bytes());
        h.update(&l.size.to_be_bytes());
        h.update(&l.root.0);
    }
    for (division, digest) in children {
        h.update(&division.code().to_be_bytes());
        h.update(&digest.0);
    }
    Some(Hash(*h.finalize().as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hash::sha256;

    #[test]
    fn frozen_and_sensitive() {
        let d = |c: u32| Division::try_from(c).unwrap();
        let log = |origin, size| LogPart { origin, size, root: sha256(&[b"r"]) };
        let county = fold(d(350_102), &[log("t/350102/e1", 3)], &[]);
        assert_eq!(county.unwrap().to_string(), "9e8c40391d7d105f040c9f360588d5de51050059d8c934a339ed79aa607c5095");
        assert_eq!(fold(d(350_102), &[log("t/350102/e1", 0)], &[(d(1_00000), None)]), None);
        assert_ne!(fold(d(350_102), &[log("t/350102/e1", 4)], &[]), county);
        assert_ne!(fold(d(350_103), &[log("t/350102/e1", 3)], &[]), county);
        let logs = [log("t/350100/e1", 1), log("t/350100/e2", 2)];
        let back = [logs[1].clone(), logs[0].clone()];
        let below = [(d(350_102), county), (d(350_103), None)];
        assert_eq!(fold(d(350_100), &logs, &below), fold(d(350_100), &back, &below[..1]));
        assert_ne!(fold(d(350_100), &logs, &below), fold(d(350_100), &logs, &[]));
    }
}
