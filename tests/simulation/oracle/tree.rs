//! The Merkle tree hash of RFC 9162 §2.1.1, word for word; hashes of complete subtrees are remembered, as they never change.

use std::collections::HashMap;
use tally_protocol::hash::{Hash, sha256};

/// The leaves of a log, from the first on.
#[derive(Debug, Clone, Default)]
pub struct Leaves {
    all: Vec<Hash>,
    complete: HashMap<(usize, usize), Hash>,
}

impl Leaves {
    pub fn all(&self) -> &[Hash] {
        &self.all
    }

    pub fn len(&self) -> u64 {
        self.all.len() as u64
    }

    pub fn extend(&mut self, leaves: &[Hash]) {
        self.all.extend_from_slice(leaves);
    }

    pub fn truncate(&mut self, size: u64) {
        self.all.truncate(size as usize);
        self.complete.clear();
    }

    /// The root of the first `size` leaves.
    pub fn root(&mut self, size: u64) -> Hash {
        self.hash(0, size as usize)
    }

    /// MTH(D[from : from + n]).
    fn hash(&mut self, from: usize, n: usize) -> Hash {
        match n {
            0 => return sha256(&[]),
            1 => return self.all[from],
            _ => {}
        }
        let complete = n.is_power_of_two();
        if complete && let Some(known) = self.complete.get(&(from, n)) {
            return *known;
        }
        let k = n.next_power_of_two() / 2;
        let hash = sha256(&[&[1], &self.hash(from, k).0, &self.hash(from + k, n - k).0]);
        if complete {
            self.complete.insert((from, n), hash);
        }
        hash
    }
}
